//! What is live, held against a release: object by object, place by place. Owns what differs and what of it is harmless;
//! who owns a place is `ownership`'s, and reading is the caller's.

use crate::diff::{diff, says_a_secret, shown_value};
use crate::ownership::owner;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::diff::{Change, Marks, Shown};
use astern_model::drift::{Compared, FieldDrift, Harmless, How, ObjectDrift};
use astern_model::release::ReleasedWorkload;
use astern_model::template::{RESTARTED_AT, Template};
use astern_model::workload::Workload;
use serde_json::{Map, Value};
use similar::{DiffTag, TextDiff};
use std::collections::BTreeSet;

/// The ways in which a workload differs from what a release holds of it; none where it does not. `then` is the release's
/// template, needed where its hash is not the live one's; `managed` the live object's `managedFields`.
pub fn workload_drift(
    released: &ReleasedWorkload,
    then: Option<&Template>,
    now: &Workload,
    managed: &[Value],
    marks: &Marks,
) -> Option<ObjectDrift> {
    let mut fields = Vec::new();
    if let Some(then) = then.filter(|_| now.template.hash() != released.template) {
        fields.extend(
            diff(then, &now.template, marks)
                .into_iter()
                .map(|change| of_template(change, managed)),
        );
    }
    fields.extend(digests(released, now));
    fields.extend(count(released, now, managed));
    fields.extend(autoscaler(released, now));
    (!fields.is_empty()).then(|| ObjectDrift {
        object: Compared::Workload(released.target.clone()),
        how: How::Changed { fields },
    })
}

fn of_template(change: Change, managed: &[Value]) -> FieldDrift {
    let root: &[&str] = if change.path.starts_with("metadata") {
        &["spec", "template"]
    } else {
        &["spec", "template", "spec"]
    };
    let by = owner(managed, root, &change.path);
    let harmless = if change.path.ends_with(&format!("[{RESTARTED_AT}]")) {
        Some(Harmless::Restarted)
    } else {
        // Whatever somebody has written has a manager.
        let appeared = change.from.is_none() && change.to.is_some();
        (appeared && by.is_none() && !managed.is_empty()).then_some(Harmless::Defaulted)
    };
    FieldDrift { change, by, harmless }
}

/// Images of the same name that run with another digest.
fn digests(released: &ReleasedWorkload, now: &Workload) -> Vec<FieldDrift> {
    let running = now.running_images(&now.template.hash());
    let other = |then: &astern_model::workload::RunningImage| {
        let now = running.iter().find(|now| now.image == then.image)?;
        let (from, to) = (then.digest.clone()?, now.digest.clone()?);
        (from != to).then(|| FieldDrift {
            change: Change {
                path: format!("digest that runs of {}", then.image),
                from: Some(Shown::Value(from)),
                to: Some(Shown::Value(to)),
            },
            by: None,
            harmless: None,
        })
    };
    released.images.iter().filter_map(other).collect()
}

fn count(released: &ReleasedWorkload, now: &Workload, managed: &[Value]) -> Option<FieldDrift> {
    if released.replicas == now.desired {
        return None;
    }
    let bounded = now.autoscaler.as_ref().filter(|autoscaler| {
        let bounds = autoscaler.min..=autoscaler.max;
        bounds.contains(&now.desired)
    });
    Some(FieldDrift {
        change: numbers("replicas", released.replicas, now.desired),
        by: owner(managed, &["spec"], "replicas"),
        harmless: bounded.map(|autoscaler| Harmless::Autoscaled {
            by: format!("hpa/{}", autoscaler.name),
        }),
    })
}

fn autoscaler(released: &ReleasedWorkload, now: &Workload) -> Vec<FieldDrift> {
    let plain = |change| FieldDrift {
        change,
        by: None,
        harmless: None,
    };
    match (&released.autoscaler, &now.autoscaler) {
        (Some(then), Some(now)) => [
            ("autoscaler.minReplicas", then.min, now.min),
            ("autoscaler.maxReplicas", then.max, now.max),
        ]
        .into_iter()
        .filter(|(_, then, now)| then != now)
        .map(|(path, then, now)| plain(numbers(path, then, now)))
        .collect(),
        (Some(then), None) => vec![plain(Change {
            path: "autoscaler".to_owned(),
            from: Some(Shown::Value(then.name.clone())),
            to: None,
        })],
        (None, Some(now)) => vec![plain(Change {
            path: "autoscaler".to_owned(),
            from: None,
            to: Some(Shown::Value(now.name.clone())),
        })],
        (None, None) => Vec::new(),
    }
}

fn numbers(path: &str, from: u32, to: u32) -> Change {
    Change {
        path: path.to_owned(),
        from: Some(Shown::Value(from.to_string())),
        to: Some(Shown::Value(to.to_string())),
    }
}

/// The ways in which the content of a ConfigMap or Secret differs from a release's; none where it does not. `then` and
/// `now` are whole objects. A value of several lines, such as a file, is told by the lines that differ. Values of Secrets are
/// masked, and of ConfigMaps those whose key says what they are, and lines that say it themselves; of whole ones, `marks` say
/// whether two are the same.
pub fn config_drift(
    name: &ConfigName,
    then: &Value,
    now: &Value,
    managed: &[Value],
    marks: &Marks,
) -> Option<ObjectDrift> {
    let mut fields = Vec::new();
    for part in ["data", "binaryData"] {
        let of = |object: &Value| {
            object
                .get(part)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let (then, now): (Map<String, Value>, Map<String, Value>) = (of(then), of(now));
        let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        for key in keys {
            let (from, to) = (then.get(key), now.get(key));
            if from == to {
                continue;
            }
            let path = format!("{part}[{key}]");
            let value =
                |value: Option<&Value>| value.map(|value| content(name.kind, part, key, value, marks));
            let by = owner(managed, &[], &path);
            let change = Change {
                from: value(from),
                to: value(to),
                path,
            };
            fields.extend(line_by_line(change, marks).into_iter().map(|change| FieldDrift {
                by: by.clone(),
                change,
                harmless: None,
            }));
        }
    }
    for field in ["immutable", "type"] {
        let value = |object: &Value| object.get(field).map(shown_value);
        let (from, to) = (value(then), value(now));
        if from != to {
            fields.push(FieldDrift {
                by: owner(managed, &[field], ""),
                change: Change {
                    path: field.to_owned(),
                    from,
                    to,
                },
                harmless: None,
            });
        }
    }
    (!fields.is_empty()).then(|| ObjectDrift {
        object: Compared::Config(name.clone()),
        how: How::Changed { fields },
    })
}

/// What changes in a ConfigMap or Secret, from one whole object to another.
pub fn config_changes(name: &ConfigName, from: &Value, to: &Value, marks: &Marks) -> Vec<Change> {
    let drift = config_drift(name, from, to, &[], marks);
    let Some(How::Changed { fields }) = drift.map(|drift| drift.how) else {
        return Vec::new();
    };
    fields.into_iter().map(|field| field.change).collect()
}

fn line_by_line(change: Change, marks: &Marks) -> Vec<Change> {
    let (Some(from), Some(to)) = (text(&change.from), text(&change.to)) else {
        return vec![change];
    };
    if !has_lines(from) && !has_lines(to) {
        return vec![change];
    }
    if from.lines().chain(to.lines()).any(opens_a_secret) {
        let masked = |side: &Option<Shown>| {
            side.as_ref()
                .map(|_| marks.masked(text(side).unwrap_or_default()))
        };
        return vec![Change {
            from: masked(&change.from),
            to: masked(&change.to),
            path: change.path,
        }];
    }
    let diff = TextDiff::from_lines(from, to);
    let (old, new): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    let differing = diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal);
    let lines = differing.flat_map(|op| {
        let (then, now) = (op.old_range(), op.new_range());
        let first = then.start;
        let (then, now) = (
            old.get(then).unwrap_or_default(),
            new.get(now).unwrap_or_default(),
        );
        (0..then.len().max(now.len())).map(move |place| (first + place + 1, then.get(place), now.get(place)))
    });
    let told: Vec<Change> = lines
        .map(|(number, from, to)| Change {
            path: format!("{} line {number}", change.path),
            from: from.map(|line| shown_line(line)),
            to: to.map(|line| shown_line(line)),
        })
        .collect();
    // Nothing but the end of the last line.
    if told.is_empty() { vec![change] } else { told }
}

/// One side of a change as text: empty where it has none, and none where it is not shown.
fn text(side: &Option<Shown>) -> Option<&str> {
    match side {
        None => Some(""),
        Some(Shown::Value(text)) => Some(text),
        Some(_) => None,
    }
}

fn has_lines(text: &str) -> bool {
    text.trim_end().contains('\n')
}

/// Whether what a line says to be secret stands on the lines after it, as in a block of YAML or a key in PEM: where that ends
/// only its reader knows.
fn opens_a_secret(line: &str) -> bool {
    let line = line.trim_end();
    line.contains("-----BEGIN")
        || says_a_secret(line) && line.ends_with(['|', '>', ':', '-', '+', '=', '{', '[', '\\'])
}

/// A line of a file may say itself that what it holds is not to be shown.
fn shown_line(line: &str) -> Shown {
    if says_a_secret(line) {
        Shown::Masked
    } else {
        shown_value(&Value::from(line))
    }
}

fn content(kind: ConfigKind, part: &str, key: &str, value: &Value, marks: &Marks) -> Shown {
    let masked = || marks.masked(value.as_str().unwrap_or_default());
    match kind {
        ConfigKind::Secret => masked(),
        ConfigKind::ConfigMap if says_a_secret(key) => masked(),
        ConfigKind::ConfigMap if part == "binaryData" => Shown::Value("bytes".to_owned()),
        ConfigKind::ConfigMap => match value.as_str() {
            Some(line) if !has_lines(line) => shown_line(line),
            _ => shown_value(value),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_appears_in_a_template_and_nobody_manages_is_the_servers_default_and_all_else_counts() {
        let managed = [json!({
            "manager": "night-shift", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-24T10:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {".": {}, "f:image": {}}}}}}},
        })];
        let shown = |value: Option<&str>| value.map(|value| Shown::Value(value.to_owned()));
        let told = |managed: &[Value], place: &str, from: Option<&str>, to: Option<&str>| {
            let change = Change {
                path: format!("containers[api].{place}"),
                from: shown(from),
                to: shown(to),
            };
            let field = of_template(change, managed);
            let by = field
                .by
                .map(|by| format!("{} {}", by.name, by.at.unwrap_or_default()));
            (by, field.harmless)
        };
        let policy = "terminationMessagePolicy";
        assert_eq!(
            told(&managed, policy, None, Some("File")),
            (None, Some(Harmless::Defaulted))
        );
        assert_eq!(told(&managed, policy, Some("File"), None), (None, None));
        assert_eq!(told(&[], policy, None, Some("File")), (None, None));
        let by = Some("night-shift 2026-11-24T10:00:00Z".to_owned());
        assert_eq!(
            told(&managed, "image", Some("api:v1"), Some("api:v2")),
            (by.clone(), None)
        );
        assert_eq!(told(&managed, "image", None, Some("api:v2")), (by, None));
    }
}
