//! Events in their two spellings: kept as core/v1 has them, and shown as events.k8s.io/v1 has them to whoever asks there. Owns
//! what the fields are called; whose the rules are that differ is validation's.

use super::status::{Outcome, Refusal};
use super::validate;
use super::write::typed;
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::object::{remove, set, text};
use crate::store::Kept;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// The fields that are called otherwise: in core/v1, and in events.k8s.io/v1.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
/// Of these events.k8s.io/v1 shows none that is empty.
const LEFT_OUT: [&str; 2] = ["reportingController", "reportingInstance"];

/// Whether objects of this kind are kept as another one's.
pub(crate) fn is_another(kind: &Kind) -> bool {
    kind.stored() != kind.resource()
}

/// An object as its kind shows it.
pub(crate) fn shown<'a>(kind: &Kind, object: &'a Arc<Value>) -> Cow<'a, Value> {
    if !is_another(kind) {
        return Cow::Borrowed(object);
    }
    let mut shown = Value::clone(object);
    rename(&mut shown, FIELDS);
    for field in LEFT_OUT {
        if text(&shown, field).is_empty() {
            remove(&mut shown, field);
        }
    }
    set(&mut shown, "apiVersion", kind.api_version());
    Cow::Owned(shown)
}

/// The same with who manages its fields.
pub(crate) fn whole<'a>(kind: &Kind, kept: &'a Kept) -> Cow<'a, Kept> {
    match shown(kind, &kept.object) {
        Cow::Borrowed(_) => Cow::Borrowed(kept),
        Cow::Owned(object) => Cow::Owned(Kept::new(Arc::new(object), kept.managers.clone())),
    }
}

/// A new object as it is kept, and as which kind; none where it is kept as it comes.
pub(crate) fn stored(
    cluster: &Cluster,
    kind: &Kind,
    namespace: &str,
    object: &Value,
) -> Outcome<Option<(Arc<Kind>, Value)>> {
    let Some(stored) = cluster.kinds.named(&kind.stored()).filter(|_| is_another(kind)) else {
        return Ok(None);
    };
    let mut object = object.clone();
    typed(cluster, kind, &mut object)?;
    rename(&mut object, FIELDS.map(|(core, other)| (other, core)));
    set(&mut object, "apiVersion", stored.api_version());
    let mut judged = object.clone();
    if text(&judged, "metadata.namespace").is_empty() {
        set(&mut judged, "metadata.namespace", namespace);
    }
    let name = text(&object, "metadata.name");
    let causes = validate::new_event(&judged);
    if !causes.is_empty() {
        // A real server says it of the kind that is kept, and what follows of the one that was asked for.
        return Err(Refusal::invalid(stored, name, &causes));
    }
    if cluster.store.find(&stored.resource(), namespace, name).is_some() {
        return Err(Refusal::already_exists(kind, name));
    }
    Ok(Some((stored.clone(), object)))
}

fn rename(object: &mut Value, names: [(&str, &str); 7]) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;
    use serde_json::json;

    #[test]
    fn an_event_is_called_by_each_spellings_names_and_nothing_of_it_is_lost() {
        let kinds = Kinds::built_in();
        let kind = kinds.of("events.k8s.io/v1", "Event").unwrap();
        let core = Arc::new(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod"}, "message": "hm", "count": 2, "source": {},
            "reportingComponent": "", "reportingInstance": "", "unknown": {"kept": true},
        }));
        assert_eq!(
            *shown(kind, &core),
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "regarding": {"kind": "Pod"}, "note": "hm", "deprecatedCount": 2, "deprecatedSource": {},
                "unknown": {"kept": true},
            })
        );
        let own = kinds.of("v1", "Event").unwrap();
        assert!(matches!(shown(own, &core), Cow::Borrowed(_)));
    }
}
