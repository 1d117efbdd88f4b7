//! What applying does beyond what a dry run of it shows: Flux first takes over what kubectl has written, and leaves what is others'.

use super::{Changes, ConfigSeen, is_marked};
use crate::ownership::{Alone, alone};
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::FIELD_MANAGER;
use serde_json::Value;

/// The managers whose fields Flux hands to itself before it applies, so that what no file says goes away with them: by what their
/// names begin with, and which operation; none for any. Source: `ApplyCleanupOptions` in kustomize-controller's
/// `internal/controller/kustomization_controller.go`, `PatchReplaceFieldsManagers` in fluxcd/pkg/ssa.
const TAKEN_OVER: [(&str, Option<&str>); 3] = [
    ("kubectl", None),
    ("before-first-apply", Some("Update")),
    (FLUX, Some("Update")),
];

/// The field manager under which Flux applies.
const FLUX: &str = "kustomize-controller";

/// What keeps Flux from taking fields over, on the manifest or on the object.
const MERGED: [(&str, &[&str]); 1] = [("kustomize.toolkit.fluxcd.io/ssa", &["Merge"])];

/// The only value that it can have in a workload's template, so that hardly a file says it: whoever owns it has made the object, and
/// owns all that the API server has filled in.
const FILLED_IN: &str = "spec.restartPolicy";

/// The entries of `managedFields`, by what becomes of their fields as Flux applies.
struct Managed<'a> {
    /// Taken over by Flux.
    taken: Vec<&'a Value>,
    /// Of runs.
    ours: Vec<&'a Value>,
    /// Left to whom they belong, Flux among them.
    others: Vec<&'a Value>,
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Managed<'a> {
    fn of(managed: &'a [Value], merged: bool) -> Self {
        let is_taken = |entry: &&Value| {
            !merged
                && TAKEN_OVER.iter().any(|(name, operation)| {
                    text(entry, "manager").starts_with(name)
                        && operation.is_none_or(|operation| text(entry, "operation") == operation)
                })
        };
        let (taken, left): (Vec<_>, Vec<_>) = managed.iter().partition(is_taken);
        let (ours, others) = left
            .into_iter()
            .partition(|entry| text(entry, "manager") == FIELD_MANAGER);
        Self { taken, ours, others }
    }
}

/// A workload as it would be once its manifest was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What it would ask for, with what is taken away.
    pub(super) template: Template,
    /// What only a write of ours owns: no file says it, and applying leaves it.
    pub(super) ours: Alone,
    /// What Flux takes over from kubectl: no file says it, and applying takes it away.
    pub(super) taken: Alone,
}

impl Applied {
    /// Of the API server's answer to a dry run, which has its `managedFields`, and in which nothing was taken over.
    pub fn of(object: &Value) -> Self {
        let managed = object
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array);
        let managed = managed.map(Vec::as_slice).unwrap_or_default();
        let managed = Managed::of(managed, is_marked(object.get("metadata"), &MERGED));
        let root = ["spec", "template"];
        let but_taken = [&managed.ours[..], &managed.others[..]].concat();
        Self {
            template: Template::clean(object.pointer("/spec/template").cloned().unwrap_or_default()),
            ours: alone(&managed.ours, &managed.others, &root),
            taken: alone(&managed.taken, &but_taken, &root),
        }
    }
}

/// What kubectl has written, and Flux takes away.
pub(super) fn taken(target: &Target, taken: &Alone, untold: &dyn Fn(&str) -> String, found: &mut Changes) {
    if taken.places.contains(FILLED_IN) {
        found.untold.push(untold(
            "kubectl has made it anew, and what of it the file does not say is taken away by Flux or filled in again",
        ));
        return;
    }
    let places = taken.places.iter();
    found.differs.extend(
        places.map(|place| format!("{target} {place}, which kubectl has written and Flux takes away")),
    );
    if taken.restart {
        found.untold.push(untold(
            "Flux takes the mark of kubectl's restart away, so that its pods start anew",
        ));
    }
}

/// What becomes of a key that only the live object has.
pub(super) enum Left {
    /// It goes with the next apply.
    Goes,
    /// It is somebody else's.
    Stays,
    /// Why that is not told, a clause.
    Untold(&'static str),
}

/// What becomes of the key at this place of a ConfigMap, which the file does not say.
pub(super) fn left(now: &ConfigSeen<'_>, said: &Value, [field, key]: [&str; 2]) -> Left {
    let merged = [now.json, said].map(|object| is_marked(object.get("metadata"), &MERGED));
    let managed = Managed::of(now.managed, merged.contains(&true));
    let owns = |entry: &&&Value| {
        let fields = entry
            .get("fieldsV1")
            .and_then(|fields| fields.get(format!("f:{field}")));
        fields.is_some_and(|fields| fields.get(format!("f:{key}")).is_some())
    };
    let is_flux = |entry: &&&Value| text(entry, "manager") == FLUX;
    let owned = |entries: &[&Value]| entries.iter().any(|entry| owns(&entry));
    let by_flux = managed.others.iter().filter(is_flux).any(|entry| owns(&entry));
    let by_others = managed
        .others
        .iter()
        .filter(|entry| !is_flux(entry))
        .any(|entry| owns(&entry));
    if by_others {
        Left::Stays
    } else if owned(&managed.ours) {
        Left::Untold("stands by a run's write alone, and the file does not say it")
    } else if by_flux || owned(&managed.taken) {
        Left::Goes
    } else {
        Left::Untold("is not said by the file, and who has written it is not known")
    }
}
