//! The structured difference of two templates: place by place, list entries by name. Owns which values are not shown; knows a handful of names of the pod template and treats all else as plain JSON.

use astern_model::diff::{Change, Marks, Shown};
use astern_model::helm::HIDDEN;
use astern_model::inventory::Inventory;
use astern_model::template::{RESTARTED_AT, Template, canonical};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What kubectl puts beside a manifest; it may hold literal values of any field.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Words in an argument that make its value one to hide.
const TELLTALES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "-pass",
    "_pass",
    "pwd",
    "private-key",
    "token",
    "secret",
    "apikey",
    "api-key",
    "api_key",
    "credential",
];
/// Lists whose entries are told apart by a field. Source: the merge keys of the API reference; a port's name comes
/// first because people know it by that.
const KEYED: [(&str, &[&str]); 15] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("httpHeaders", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    ("ports", &["name", "containerPort"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("hostAliases", &["ip"]),
    ("items", &["key"]),
    ("topologySpreadConstraints", &["topologyKey"]),
];

/// Every place where `to` differs from `from`, in the order of their paths. A literal env value is masked on either
/// side, by its mark where it has one. The mark of `kubectl rollout restart` is left out, unless nothing else differs.
pub fn diff(from: &Template, to: &Template, marks: &Marks) -> Vec<Change> {
    let hide = |value: &str| marks.masked(value);
    let mut walk = Walk::new(&hide);
    let places: BTreeSet<&String> = [from, to]
        .iter()
        .filter_map(|template| template.json().as_object())
        .flat_map(Map::keys)
        .collect();
    for place in places {
        // `spec` is where nearly everything lies, so paths leave it out.
        let path = if place == "spec" { "" } else { place.as_str() };
        walk.compare(path, place, from.json().get(place), to.json().get(place));
    }
    let (noise, told): (Vec<Change>, Vec<Change>) = walk
        .found
        .into_iter()
        .partition(|change| change.path.ends_with(&format!("[{RESTARTED_AT}]")));
    if told.is_empty() { noise } else { told }
}

/// Every place where any other JSON differs, masked by the same names.
pub(crate) fn differences(path: &str, from: &Value, to: &Value, marks: &Marks) -> Vec<Change> {
    let hide = |value: &str| marks.masked(value);
    let mut walk = Walk::new(&hide);
    walk.compare(path, path, Some(from), Some(to));
    walk.found
}

/// The values that a difference between templates of the inventory, or between records of its Helm releases, does not show: those
/// that need a mark. What the reader of the records has hidden by itself is none.
pub fn hidden(inventory: &Inventory) -> BTreeSet<String> {
    let templates = inventory.workloads.values().flat_map(|workload| {
        let revisions = workload.all_revisions().map(|revision| &revision.template);
        revisions.chain([workload.made()]).map(Template::json)
    });
    let records = inventory.releases.iter().flat_map(|release| {
        let records = release.revisions.iter().filter_map(|revision| revision.content());
        let held = records.flat_map(|record| {
            let templates = record.templates.values().map(Template::json);
            record.objects.values().chain([&record.values]).chain(templates)
        });
        release.standing.objects.values().chain(held)
    });
    hidden_in(templates.chain(records))
}

/// The values that are not shown in any difference of these.
pub fn hidden_in<'a>(all: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let values = RefCell::new(BTreeSet::new());
    let hide = |value: &str| {
        if !value.contains(HIDDEN) {
            values.borrow_mut().insert(value.to_owned());
        }
        Shown::Masked
    };
    for one in all {
        Walk::new(&hide).compare("", "", None, Some(one));
    }
    values.into_inner()
}

/// A way through two JSON values, with what stands in the place of a value that is not shown.
struct Walk<'h> {
    hide: &'h dyn Fn(&str) -> Shown,
    found: Vec<Change>,
}

type Side<'a> = (&'a [Value], Option<&'a Value>);

impl<'h> Walk<'h> {
    fn new(hide: &'h dyn Fn(&str) -> Shown) -> Self {
        Self {
            hide,
            found: Vec::new(),
        }
    }

    fn compare(&mut self, path: &str, field: &str, from: Option<&Value>, to: Option<&Value>) {
        if from == to {
            return;
        }
        match (from, to) {
            // A whole that comes or goes is told by its parts, so that masking sees each of them.
            (Some(Value::Object(map)), None) if !map.is_empty() => self.objects(path, field, Some(map), None),
            (None, Some(Value::Object(map))) if !map.is_empty() => self.objects(path, field, None, Some(map)),
            (Some(Value::Object(a)), Some(Value::Object(b))) => self.objects(path, field, Some(a), Some(b)),
            (Some(Value::Array(a)), Some(Value::Array(b))) => self.lists(path, field, (a, from), (b, to)),
            (Some(Value::Array(a)), None) if !a.is_empty() => self.lists(path, field, (a, from), (&[], to)),
            (None, Some(Value::Array(b))) if !b.is_empty() => self.lists(path, field, (&[], from), (b, to)),
            _ => self.found.push(Change {
                path: path.to_owned(),
                from: self.shown(field, from),
                to: self.shown(field, to),
            }),
        }
    }

    fn objects(
        &mut self,
        path: &str,
        field: &str,
        from: Option<&Map<String, Value>>,
        to: Option<&Map<String, Value>>,
    ) {
        if field == "env" || field == "httpHeaders" {
            let entry = |entry: Option<&Map<String, Value>>| entry.map(|entry| self.shown_entry(entry));
            self.found.push(Change {
                path: path.to_owned(),
                from: entry(from),
                to: entry(to),
            });
            return;
        }
        let keys: BTreeSet<&String> = from.into_iter().chain(to).flat_map(Map::keys).collect();
        for key in keys {
            let get = |map: Option<&'_ Map<String, Value>>| map.and_then(|map| map.get(key)).cloned();
            let (a, b) = (get(from), get(to));
            self.compare(&join(path, key), key, a.as_ref(), b.as_ref());
        }
    }

    fn lists(&mut self, path: &str, field: &str, (a, from): Side<'_>, (b, to): Side<'_>) {
        let Some((key, a, b)) = keyed(field, a, b) else {
            self.found.push(Change {
                path: path.to_owned(),
                from: self.shown(field, from),
                to: self.shown(field, to),
            });
            return;
        };
        let before = self.found.len();
        let (by_name_a, by_name_b): (BTreeMap<_, _>, BTreeMap<_, _>) = (
            a.iter().map(|(name, entry)| (name, *entry)).collect(),
            b.iter().map(|(name, entry)| (name, *entry)).collect(),
        );
        let names: BTreeSet<&String> = by_name_a.keys().chain(by_name_b.keys()).copied().collect();
        for name in names {
            let path = format!("{path}[{name}]");
            match (by_name_a.get(name), by_name_b.get(name)) {
                (Some(from), Some(to)) => self.compare(&path, field, Some(from), Some(to)),
                (from, to) => {
                    let (from, to) = (
                        from.map(|entry| without(entry, key)),
                        to.map(|entry| without(entry, key)),
                    );
                    self.compare(&path, field, from.as_ref(), to.as_ref());
                }
            }
        }
        if self.found.len() == before {
            // The same entries in another order: it decides which init container comes first.
            let order = |entries: &[(String, &Value)]| {
                let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
                Some(Shown::Value(names.join(", ")))
            };
            self.found.push(Change {
                path: format!("{path} (order)"),
                from: order(&a),
                to: order(&b),
            });
        }
    }

    /// An entry of `env` or of a probe's headers: where its value comes from, or that it is a literal.
    fn shown_entry(&self, entry: &Map<String, Value>) -> Shown {
        match entry.get("valueFrom") {
            Some(from) => Shown::Value(canonical(from)),
            None => (self.hide)(entry.get("value").and_then(Value::as_str).unwrap_or_default()),
        }
    }

    fn shown(&self, field: &str, value: Option<&Value>) -> Option<Shown> {
        let value = value?;
        let is_literal = matches!(field, "env" | "httpHeaders" | LAST_APPLIED);
        let may_hold_one = matches!(field, "args" | "command") && holds_telltale(value);
        let text = text(value);
        if is_literal || may_hold_one || holds_user(&text) {
            return Some((self.hide)(&text));
        }
        Some(Shown::Value(text))
    }
}

pub(crate) type Keyed<'a> = Vec<(String, &'a Value)>;

/// Both lists with the names of their entries, if there is a field that names each entry of both alone.
pub(crate) fn keyed<'a>(
    field: &str,
    a: &'a [Value],
    b: &'a [Value],
) -> Option<(&'static str, Keyed<'a>, Keyed<'a>)> {
    let (_, keys) = KEYED.iter().find(|(list, _)| *list == field)?;
    keys.iter()
        .find_map(|key| Some((*key, named(key, a)?, named(key, b)?)))
}

/// An entry that comes or goes, without the field that its path names already.
fn without(entry: &Value, key: &str) -> Value {
    let mut entry = entry.clone();
    if let Some(map) = entry.as_object_mut() {
        map.remove(key);
    }
    entry
}

fn named<'a>(key: &str, list: &'a [Value]) -> Option<Keyed<'a>> {
    let name = |entry: &'a Value| match entry.get(key)? {
        Value::String(name) => Some((name.clone(), entry)),
        Value::Number(number) => Some((number.to_string(), entry)),
        _ => None,
    };
    let named: Keyed<'a> = list.iter().map(name).collect::<Option<_>>()?;
    let distinct: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
    (distinct.len() == named.len()).then_some(named)
}

/// A value as text; masked where it may hold a credential by itself.
pub(crate) fn shown_value(value: &Value) -> Shown {
    let text = text(value);
    if holds_user(&text) {
        Shown::Masked
    } else {
        Shown::Value(text)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            canonical(value)
        }
    }
}

/// Whether the name of a value says that it is one to hide.
pub(crate) fn says_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLTALES.iter().any(|telltale| name.contains(telltale))
}

fn holds_telltale(value: &Value) -> bool {
    says_a_secret(&canonical(value))
}

/// Whether an address in the text names a user, as `postgres://api:hunter2@db/shop` does. A token may stand there alone.
fn holds_user(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | ',') || c.is_whitespace();
        let authority = rest.split(ends).next().unwrap_or_default();
        authority.contains('@')
    })
}

fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/'])) {
        (_, true) => format!("{path}[{key}]"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}
