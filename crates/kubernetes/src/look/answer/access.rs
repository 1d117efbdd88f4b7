//! Whether the user may do something, and whether somebody else is at work: the two questions about people.

use super::super::fetch::post;
use super::Around;
use crate::failure::{Attempt, Verb};
use crate::lock::{LeaseLock, told};
use astern_model::question::Answer;
use astern_port::lock::Lock as _;
use kube::Client;
use serde_json::{Value, json};

/// What somebody wishes to do.
pub(super) struct Wish<'a> {
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    /// The plural, with its subresource after a `/`.
    pub(super) resource: &'a str,
    pub(super) namespace: &'a str,
}

/// Asks the API server's own authorizers, by a SelfSubjectAccessReview.
pub(super) async fn may_i(client: &Client, wish: &Wish<'_>) -> Answer {
    let (resource, subresource) = wish.resource.split_once('/').unwrap_or((wish.resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": wish.verb, "group": wish.group, "resource": resource, "subresource": subresource,
            "namespace": wish.namespace,
        }},
    });
    let operation = format!("ask for the right to {} {}", wish.verb, wish.resource);
    let attempt = Attempt::new(Verb::Create, "selfsubjectaccessreviews", operation).without_effect();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    match post(client, path, &review, false, &attempt).await {
        Ok(answer) => allowed(&answer, wish),
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

/// What the user may do in a namespace, asked for at once instead of verb by verb.
pub(super) struct Rights(Vec<Value>);

/// Asks for all rights in a namespace, by a SelfSubjectRulesReview. None when the answer is not the whole truth: some
/// authorizers cannot list their rules, and may refuse what others list.
pub(super) async fn rights(client: &Client, namespace: &str) -> Option<Rights> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let operation = format!("ask for the rights in namespace {namespace}");
    let attempt = Attempt::new(Verb::Create, "selfsubjectrulesreviews", operation).without_effect();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    listed(&post(client, path, &review, false, &attempt).await.ok()?)
}

fn listed(answer: &Value) -> Option<Rights> {
    let whole = answer.pointer("/status/incomplete").and_then(Value::as_bool) == Some(false);
    let rules = answer.pointer("/status/resourceRules")?.as_array()?;
    whole.then(|| Rights(rules.clone()))
}

impl Rights {
    /// Whether a rule allows it for every object. No says nothing: only a review of its own knows why not.
    pub(super) fn allow(&self, wish: &Wish<'_>) -> bool {
        let any_part = wish
            .resource
            .split_once('/')
            .map(|(_, subresource)| format!("*/{subresource}"));
        self.0.iter().any(|rule| {
            let names = |field: &str, wanted: &str| {
                let listed = rule.get(field).and_then(Value::as_array).into_iter().flatten();
                listed
                    .filter_map(Value::as_str)
                    .any(|one| one == "*" || one == wanted)
            };
            let some_objects_only = rule
                .get("resourceNames")
                .and_then(Value::as_array)
                .is_some_and(|names| !names.is_empty());
            !some_objects_only
                && names("verbs", wish.verb)
                && names("apiGroups", wish.group)
                && (names("resources", wish.resource)
                    || any_part.as_deref().is_some_and(|part| names("resources", part)))
        })
    }
}

fn allowed(answer: &Value, wish: &Wish<'_>) -> Answer {
    let text = |name: &str| {
        answer
            .pointer(&format!("/status/{name}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if answer.pointer("/status/allowed").and_then(Value::as_bool) == Some(true) {
        return Answer::Yes;
    }
    let what = format!(
        "no right to {} {} in namespace {}",
        wish.verb, wish.resource, wish.namespace
    );
    match (text("evaluationError"), text("reason")) {
        // An authorizer that failed has not said no.
        (error, _) if !error.is_empty() => Answer::Unknown {
            why: format!("{what} was found: {error}"),
        },
        // Argo CD's own API says no by its own policy.
        (_, reason) if !text("remedy").is_empty() => Answer::Barred {
            why: reason.to_owned(),
            remedy: text("remedy").to_owned(),
        },
        (_, "") => Answer::No { why: what },
        (_, reason) => Answer::No {
            why: format!("{what}: {reason}"),
        },
    }
}

/// Looks at the run lock of a namespace, for the time of a renewal where somebody holds it. A look only: taking it is
/// what decides.
pub(super) async fn lock_free(around: &Around<'_>, namespace: &str) -> Answer {
    let lock = LeaseLock::new(around.client.clone(), around.clock.clone());
    match lock.living(namespace).await {
        Ok(None) => Answer::Yes,
        Ok(Some(holding)) => Answer::No {
            why: format!("{}; it is renewed", told(&holding)),
        },
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_taken_from_the_list_of_rights_only_where_it_holds_for_every_object() {
        let check = |rule: Value, (verb, group, resource): (&str, &str, &str), expected: bool| {
            let rights = listed(&json!({"status": {"incomplete": false, "resourceRules": [rule]}})).unwrap();
            let wish = Wish {
                verb,
                group,
                resource,
                namespace: "shop",
            };
            assert_eq!(rights.allow(&wish), expected, "{rule}: {verb} {group} {resource}");
        };
        let rule = |verb: &str, group: &str, resource: &str| json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]});
        check(rule("*", "*", "*"), ("get", "", "pods/log"), true);
        check(rule("get", "", "pods"), ("get", "", "pods/log"), false);
        check(rule("get", "", "*/log"), ("get", "", "pods/log"), true);
        check(
            rule("update", "apps", "deployments"),
            ("update", "apps", "deployments"),
            true,
        );
        check(
            rule("update", "", "deployments"),
            ("update", "apps", "deployments"),
            false,
        );
        check(
            rule("get", "apps", "deployments"),
            ("update", "apps", "deployments"),
            false,
        );
        let mut some = rule("update", "apps", "deployments");
        some["resourceNames"] = json!(["web"]);
        check(some, ("update", "apps", "deployments"), false);
        assert!(listed(&json!({"status": {"incomplete": true, "resourceRules": []}})).is_none());
    }

    #[test]
    fn an_authorizer_that_failed_has_not_said_no() {
        let wish = Wish {
            verb: "update",
            group: "apps",
            resource: "deployments",
            namespace: "shop",
        };
        let check = |status: Value, expected: &Answer| {
            assert_eq!(&allowed(&json!({"status": status}), &wish), expected);
        };
        check(json!({"allowed": true}), &Answer::Yes);
        let why = "no right to update deployments in namespace shop".to_owned();
        check(json!({"allowed": false}), &Answer::No { why: why.clone() });
        check(
            json!({"allowed": false, "evaluationError": "webhook timed out"}),
            &Answer::Unknown {
                why: format!("{why} was found: webhook timed out"),
            },
        );
    }
}
