//! Who may be an operator by what it left on a workload, where nobody else is known to write it: an owner reference that is no
//! controller's, and the field manager that wrote the template last. Neither proves it alone; both together do. Reads objects;
//! asks nobody.

use super::marks::{references, text};
use crate::effects::FIELD_MANAGER;
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use serde_json::Value;

/// Programs with which people and pipelines write: they write when they are told to. A name counts also with a dash and
/// more after it where the program itself does that (`kubectl-set`).
const TOLD_TO: [(&str, bool); 17] = [
    ("kubectl", true),
    ("pulumi", true),
    ("helm", false),
    ("kustomize", false),
    ("oc", false),
    ("kapp", false),
    ("werf", false),
    ("skaffold", false),
    ("tilt", false),
    ("Terraform", false),
    ("HashiCorp", false),
    ("k9s", false),
    ("dashboard", false),
    ("Mozilla", false),
    ("curl", false),
    // What an object had before field managers were kept.
    ("before-first-apply", false),
    (FIELD_MANAGER, false),
];

/// The operator that two signs make, or what one sign is presumed to be. `owners` are those that are known by more.
pub(in crate::look) fn presumed(object: &Value, owners: &[Owner]) -> Vec<Owner> {
    let explains = |owner: &Owner| match owner.kind {
        OwnerKind::ArgoCd
        | OwnerKind::Flux
        | OwnerKind::Controller
        | OwnerKind::Olm
        | OwnerKind::Canary
        | OwnerKind::Presumed => true,
        OwnerKind::Helm | OwnerKind::PodAutoscaler => false,
    };
    if owners.iter().any(explains) {
        return Vec::new();
    }
    let manager = newest_writer(object).filter(|writer| !writer.is_told_to());
    let referred = references(object).find(|reference| is_custom(text(reference, "apiVersion")));
    let referred = referred.map(|reference| {
        format!(
            "{}/{}",
            text(reference, "kind").to_lowercase(),
            text(reference, "name")
        )
    });
    let found = match (referred, manager) {
        (Some(name), Some(writer)) => (
            OwnerKind::Controller,
            name,
            "ownerReferences".to_owned(),
            OwnerState::WritesBack {
                because: format!("{writer} wrote the template last"),
            },
        ),
        (Some(name), None) => (
            OwnerKind::Presumed,
            name,
            "ownerReferences, without controller: true".to_owned(),
            not_seen(),
        ),
        (None, Some(writer)) => (
            OwnerKind::Presumed,
            format!("field manager {}", writer.name),
            format!("it wrote the template last: {writer}"),
            not_seen(),
        ),
        (None, None) => return Vec::new(),
    };
    let (kind, name, known_by, state) = found;
    vec![Owner {
        kind,
        name,
        known_by,
        state,
        object: None,
    }]
}

fn not_seen() -> OwnerState {
    OwnerState::Unknown {
        why: "whether it is an operator cannot be seen in the cluster".to_owned(),
    }
}

/// Whether an API version is of a resource that somebody added; built-in ones own things so that they go with them.
fn is_custom(version: &str) -> bool {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && !group.ends_with(".k8s.io")
}

/// An entry of `metadata.managedFields`.
struct Writer<'a> {
    name: &'a str,
    operation: &'a str,
    at: &'a str,
}

impl Writer<'_> {
    fn is_told_to(&self) -> bool {
        TOLD_TO.iter().any(|(program, with_more)| {
            let more = self.name.strip_prefix(program);
            more.is_some_and(|more| more.is_empty() || (*with_more && more.starts_with('-')))
        })
    }
}

impl std::fmt::Display for Writer<'_> {
    /// `manager (Update at 2026-01-01T00:00:00Z)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} at {})", self.name, self.operation, self.at)
    }
}

/// Who wrote the template last. Whoever was written over and let it stand does not write back: only the newest counts. Times
/// are RFC 3339 in UTC with whole seconds, whose order is that of their texts.
fn newest_writer(object: &Value) -> Option<Writer<'_>> {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let writers = entries.into_iter().flatten().filter_map(|entry| {
        let of_template = entry.pointer("/fieldsV1/f:spec/f:template").is_some();
        (of_template && entry.get("subresource").is_none()).then(|| Writer {
            name: text(entry, "manager"),
            operation: text(entry, "operation"),
            at: text(entry, "time"),
        })
    });
    writers.max_by_key(|writer| writer.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrote(manager: &str, at: &str) -> Value {
        json!({"manager": manager, "operation": "Update", "time": at,
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}})
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-02T00:00:00Z";

    fn told(metadata: &Value, owners: &[Owner]) -> Option<String> {
        let found = presumed(&json!({"metadata": metadata}), owners);
        found
            .first()
            .map(|owner| format!("{:?} {} ({})", owner.kind, owner.name, owner.known_by))
    }

    #[test]
    fn the_program_that_wrote_the_template_last_may_be_an_operator_where_nobody_knows_it() {
        let check = |entries: Vec<Value>, expected: Option<&str>| {
            assert_eq!(told(&json!({"managedFields": entries}), &[]).as_deref(), expected);
        };
        let operator = Some(
            "Presumed field manager manager (it wrote the template last: manager (Update at 2026-01-02T00:00:00Z))",
        );
        check(
            vec![wrote("kubectl-set", EARLY), wrote("manager", LATE)],
            operator,
        );
        // It was written over, and let that stand.
        check(
            vec![wrote("manager", EARLY), wrote("kubectl-rollout", LATE)],
            None,
        );
        for told_to in [
            "kubectl",
            "kubectl-client-side-apply",
            "helm",
            "Terraform",
            "pulumi-kubernetes",
            "astern",
            "before-first-apply",
        ] {
            check(vec![wrote(told_to, LATE)], None);
        }
        // Not by the beginning of a name: this one is an operator.
        assert!(told(&json!({"managedFields": [wrote("helm-controller", LATE)]}), &[]).is_some());
        let status = json!({"manager": "manager", "operation": "Update", "time": LATE, "subresource": "status",
            "fieldsV1": {"f:spec": {"f:template": {}}}});
        let replicas = json!({"manager": "manager", "operation": "Update", "time": LATE,
            "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        check(vec![wrote("kubectl", EARLY), status, replicas], None);
        check(Vec::new(), None);
    }

    #[test]
    fn an_owner_reference_that_is_no_controllers_counts_with_the_field_manager_beside_it() {
        let owned = |version: &str, entries: Vec<Value>| json!({"ownerReferences": [{"apiVersion": version, "kind": "Widget", "name": "w"}], "managedFields": entries});
        let one = owned("shop.test/v1", vec![wrote("kubectl", LATE)]);
        assert_eq!(
            told(&one, &[]).as_deref(),
            Some("Presumed widget/w (ownerReferences, without controller: true)")
        );
        let both = owned("shop.test/v1", vec![wrote("widget-operator", LATE)]);
        assert_eq!(
            told(&both, &[]).as_deref(),
            Some("Controller widget/w (ownerReferences)")
        );
        for built_in in ["v1", "apps/v1", "rbac.authorization.k8s.io/v1"] {
            assert_eq!(told(&owned(built_in, Vec::new()), &[]), None);
        }
    }

    #[test]
    fn nobody_is_presumed_where_an_owner_is_known_by_more() {
        let metadata = json!({"managedFields": [wrote("argocd-controller", LATE)]});
        let owner = |kind: OwnerKind| Owner {
            kind,
            name: "shop".to_owned(),
            known_by: "a mark".to_owned(),
            state: not_seen(),
            object: None,
        };
        assert_eq!(told(&metadata, &[owner(OwnerKind::ArgoCd)]), None);
        assert!(told(&metadata, &[owner(OwnerKind::Helm)]).is_some());
        assert!(told(&metadata, &[]).is_some());
    }
}
