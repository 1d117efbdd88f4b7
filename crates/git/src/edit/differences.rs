//! What differs between two templates, as ways that a manifest has too: list items by the field that Kubernetes merges them by.

use crate::yaml::Step;
use astern_model::template::RESTARTED_AT;
use serde_json::Value;

/// The merge keys of a pod template's lists. Source: the `patchMergeKey` of
/// <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#podspec-v1-core>.
const MERGED_BY: [(&str, &str); 8] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("ports", "containerPort"),
    ("hostAliases", "ip"),
];

/// One place that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) way: Vec<Step>,
    pub(crate) from: Option<Value>,
    pub(crate) to: Option<Value>,
}

impl Difference {
    /// Whether it is the image of a container.
    pub(crate) fn is_image(&self) -> bool {
        matches!(self.way.as_slice(), [.., Step::Item { .. }, Step::Key(key)] if key == "image")
    }

    /// Whether its values may be told: what an environment variable is set to may be a secret.
    pub(crate) fn is_open(&self) -> bool {
        self.is_image()
    }
}

/// Every place in which two templates differ.
pub(crate) fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), from, to, &mut found);
    found
}

fn compare(way: &mut Vec<Step>, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before
                .keys()
                .chain(after.keys().filter(|key| !before.contains_key(*key)))
            {
                // `kubectl rollout restart` leaves it in the cluster alone.
                if key != RESTARTED_AT {
                    inside(
                        way,
                        Step::Key(key.clone()),
                        before.get(key),
                        after.get(key),
                        found,
                    );
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => match merged_by(way, before, after) {
            Some(by) => {
                let item = |items: &[Value], name: &Value| {
                    items.iter().find(|item| item.get(by) == Some(name)).cloned()
                };
                let names = before
                    .iter()
                    .chain(
                        after
                            .iter()
                            .filter(|item| item.get(by).is_some_and(|name| item_missing(before, by, name))),
                    )
                    .filter_map(|item| item.get(by));
                for name in names {
                    let (old, new) = (item(before, name), item(after, name));
                    let step = Step::Item { by, is: name.clone() };
                    inside(way, step, old.as_ref(), new.as_ref(), found);
                }
            }
            None => found.push(difference(way, Some(from), Some(to))),
        },
        _ => found.push(difference(way, Some(from), Some(to))),
    }
}

fn inside(
    way: &mut Vec<Step>,
    step: Step,
    from: Option<&Value>,
    to: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    way.push(step);
    match (from, to) {
        (Some(from), Some(to)) => compare(way, from, to, found),
        (from, to) => found.push(difference(way, from, to)),
    }
    way.pop();
}

fn difference(way: &[Step], from: Option<&Value>, to: Option<&Value>) -> Difference {
    Difference {
        way: way.to_vec(),
        from: from.cloned(),
        to: to.cloned(),
    }
}

/// The field that tells the items of this list apart; none where two share one, or the order is what counts.
fn merged_by(way: &[Step], before: &[Value], after: &[Value]) -> Option<&'static str> {
    let Some(Step::Key(list)) = way.last() else {
        return None;
    };
    let (_, by) = MERGED_BY.iter().find(|(name, _)| name == list)?;
    let apart = |items: &[Value]| {
        items.iter().enumerate().all(|(place, item)| {
            item.get(by)
                .is_some_and(|name| item_missing(&items[..place], by, name))
        })
    };
    (apart(before) && apart(after)).then_some(*by)
}

fn item_missing(items: &[Value], by: &str, name: &Value) -> bool {
    items.iter().all(|item| item.get(by) != Some(name))
}
