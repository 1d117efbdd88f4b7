//! Where the template that is written back comes from: the object that keeps the revision, or what a run has kept
//! of it. Owns finding it and proving that it is the planned one; writes nothing.

use super::access::{Access, revision_phrase};
use super::delivery;
use super::last_applied::LAST_APPLIED;
use astern_model::choice::RevisionRef;
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::TemplateHash;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::RevisionKind;
use astern_port::vault::Vault;
use serde_json::Value;

/// A revision's template, and from where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remembered {
    pub(crate) template: Template,
    pub(crate) from: Origin,
}

/// Who remembered a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    /// The planned object, with the manifest that was applied when it was made, where it keeps that:
    /// ControllerRevisions do, ReplicaSets never.
    Cluster { last_applied: Option<String> },
    /// The vault, since the cluster does not any more.
    Vault,
}

impl Remembered {
    /// The manifest that was applied when the revision was made.
    pub(crate) fn last_applied(&self) -> Option<&str> {
        match &self.from {
            Origin::Cluster { last_applied } => last_applied.as_deref(),
            Origin::Vault => None,
        }
    }
}

/// The planned revision as the cluster keeps it, or as a run has kept it where the cluster does not any more.
/// `Conflict` when neither has it.
pub(crate) async fn read(
    access: &Access,
    vault: &dyn Vault,
    target: &Target,
    revision: &RevisionRef,
    kept: Option<&ContentRef>,
    operation: &str,
) -> Result<Remembered, Failure> {
    if revision.kind == RevisionKind::HelmRecord {
        let message = format!(
            "helm alone goes back to {}; nothing was written",
            revision.label()
        );
        return Err(Failure::new(FailureClass::Permanent, operation, message));
    }
    let found = access
        .revision(target, revision.kind, &revision.name, operation)
        .await?;
    let missing = match is_planned(revision, found) {
        Ok(remembered) => return Ok(remembered),
        Err(why) => why,
    };
    let Some(kept) = kept else {
        return Err(Failure::new(
            FailureClass::Conflict,
            operation,
            format!("{missing}; nothing was written"),
        )
        .hint("make a new plan from what the cluster still remembers: astern releases, then astern plan"));
    };
    let template = from_vault(vault, kept, &revision.template, operation).await?;
    Ok(Remembered {
        template,
        from: Origin::Vault,
    })
}

/// A template out of the vault, proven by its hash.
pub(crate) async fn from_vault(
    vault: &dyn Vault,
    reference: &ContentRef,
    hash: &TemplateHash,
    operation: &str,
) -> Result<Template, Failure> {
    let broken = |what: String| {
        Failure::new(
            FailureClass::Permanent,
            operation,
            format!("the kept template {} {what}; nothing was written", reference.name),
        )
    };
    let bytes = vault.get(reference).await?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|_| broken("is no JSON".to_owned()))?;
    let template = Template::clean(json);
    let found = template.hash();
    if &found == hash {
        Ok(template)
    } else {
        Err(broken(format!("has hash {found} instead of {hash}")))
    }
}

/// The template inside the object that keeps a revision, cleaned.
pub(crate) fn template_in(kind: RevisionKind, object: &Value) -> Template {
    match kind {
        RevisionKind::ReplicaSet => delivery::template_of(object),
        RevisionKind::ControllerRevision => {
            let template = object.pointer("/data/spec/template");
            Template::clean(template.cloned().unwrap_or(Value::Null))
        }
        // A record holds a manifest, which stands for a template and is none.
        RevisionKind::HelmRecord => Template::clean(Value::Null),
    }
}

/// The planned revision, or what is wrong with what was found.
fn is_planned(revision: &RevisionRef, found: Option<Value>) -> Result<Remembered, String> {
    let name = revision_phrase(revision);
    let Some(object) = found else {
        return Err(format!("{name}, which kept {}, is gone", revision.version));
    };
    let uid = object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if uid != revision.uid.as_str() {
        return Err(format!(
            "{name} was made again: its uid changed from {} to {uid}",
            revision.uid
        ));
    }
    let template = template_in(revision.kind, &object);
    let hash = template.hash();
    if hash != revision.template {
        return Err(format!(
            "the template in {name} changed from {} to {hash}",
            revision.template
        ));
    }
    let last_applied = object
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .map(str::to_owned);
    Ok(Remembered {
        template,
        from: Origin::Cluster { last_applied },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_planned_revision_is_taken_for_it() {
        let template = json!({"spec": {"containers": [{"name": "api", "image": "api:v1"}]}});
        let revision = RevisionRef {
            number: 2,
            kind: RevisionKind::ControllerRevision,
            name: "web-6b".to_owned(),
            uid: "u-1".into(),
            template: Template::clean(template.clone()).hash(),
            version: "v1".to_owned(),
            images: vec!["api:v1".to_owned()],
        };
        let object = |uid: &str, image: &str| {
            let mut kept = template.clone();
            kept["$patch"] = json!("replace");
            kept["spec"]["containers"][0]["image"] = json!(image);
            json!({"metadata": {"uid": uid, "annotations": {LAST_APPLIED: "{}"}}, "data": {"spec": {"template": kept}}})
        };
        let check = |found: Option<Value>, says: &str| {
            let why = is_planned(&revision, found).err().unwrap_or_default();
            assert!(why.contains(says) && why.is_empty() == says.is_empty(), "{why}");
        };
        check(None, "is gone");
        check(
            Some(object("u-2", "api:v1")),
            "was made again: its uid changed from u-1 to u-2",
        );
        check(
            Some(object("u-1", "api:v9")),
            "the template in controllerrevision/web-6b changed from sha256:",
        );
        check(Some(object("u-1", "api:v1")), "");
        let taken = is_planned(&revision, Some(object("u-1", "api:v1"))).unwrap();
        assert_eq!(taken.last_applied(), Some("{}"));
        assert_eq!(taken.template.json(), &template);
    }
}
