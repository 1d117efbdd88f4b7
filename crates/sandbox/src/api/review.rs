//! Reviews of one's own identity and rights. Owns their answers; the table of rights is the embedder's.

use super::route::Place;
use super::status::{Cause, Outcome, Refusal};
use crate::cluster::Cluster;
use crate::object::{get, text};
use serde_json::{Value, json};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    Access,
    Rules,
    Subject,
}

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The groups that have reviews only.
pub(super) const GROUPS: [(&str, &str); 2] = [(AUTHENTICATION, "v1"), (AUTHORIZATION, "v1")];

const REVIEWS: [(&str, &str, &str, Review); 3] = [
    (
        AUTHORIZATION,
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        Review::Access,
    ),
    (
        AUTHORIZATION,
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        Review::Rules,
    ),
    (
        AUTHENTICATION,
        "selfsubjectreviews",
        "SelfSubjectReview",
        Review::Subject,
    ),
];

pub(super) fn of(place: &Place<'_>) -> Option<Review> {
    let whole = place.version == "v1" && place.namespace.is_none() && place.name.is_none();
    REVIEWS
        .iter()
        .find(|(group, plural, ..)| whole && *group == place.group && *plural == place.plural)
        .map(|(.., review)| *review)
}

pub(super) fn resources(group: &str, version: &str) -> Vec<Value> {
    let here = REVIEWS
        .iter()
        .filter(|(each, ..)| *each == group && version == "v1");
    here.map(|(_, plural, kind, _)| {
        json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": false,
            "kind": kind,
            "verbs": ["create"],
        })
    })
    .collect()
}

pub(super) fn answer(cluster: &Cluster, review: Review, body: &Value) -> Outcome<Value> {
    let access = &cluster.options.access;
    let spec = body.get("spec").cloned().unwrap_or_default();
    let (group, kind, status) = match review {
        Review::Access => {
            one_subject(&spec)?;
            let allowed = match get(&spec, "resourceAttributes") {
                Some(asked) => {
                    let (resource, part) = (text(asked, "resource"), text(asked, "subresource"));
                    let resource = if part.is_empty() {
                        resource.to_owned()
                    } else {
                        format!("{resource}/{part}")
                    };
                    access.allows(
                        text(asked, "verb"),
                        text(asked, "group"),
                        &resource,
                        text(asked, "namespace"),
                    )
                }
                None => true,
            };
            (
                AUTHORIZATION,
                "SelfSubjectAccessReview",
                json!({"allowed": allowed}),
            )
        }
        Review::Rules => {
            if text(&spec, "namespace").is_empty() {
                return Err(Refusal::bad_request("no namespace on request"));
            }
            let rules = access.rules(text(&spec, "namespace"));
            let status = json!({
                "resourceRules": rules,
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            });
            (AUTHORIZATION, "SelfSubjectRulesReview", status)
        }
        Review::Subject => {
            let user = json!({
                "username": cluster.options.user,
                "groups": ["system:masters", "system:authenticated"],
            });
            (AUTHENTICATION, "SelfSubjectReview", json!({"userInfo": user}))
        }
    };
    let mut answer = json!({
        "kind": kind,
        "apiVersion": format!("{group}/v1"),
        "metadata": {},
        "status": status,
    });
    if review != Review::Subject {
        answer["spec"] = spec;
    }
    Ok(answer)
}

/// One thing is asked about: a resource, or a path.
fn one_subject(spec: &Value) -> Outcome<()> {
    let cause = match (
        get(spec, "resourceAttributes"),
        get(spec, "nonResourceAttributes"),
    ) {
        (None, None) => Cause::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (Some(_), Some(page)) => Cause::invalid(
            "spec.nonResourceAttributes",
            &json!({"Path": text(page, "path"), "Verb": text(page, "verb")}),
            "cannot be specified in combination with resourceAttributes",
        ),
        _ => return Ok(()),
    };
    Err(Refusal::invalid_as("", AUTHORIZATION, "", &[cause]))
}
