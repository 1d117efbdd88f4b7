//! Sets of fields, and how two objects differ in theirs. Owns the sets' form (`FieldsV1`); which fields are one whole is
//! `shape`'s.

use super::shape::{self, Shape};
use crate::object::Name;
use serde_json::{Map, Value};

/// What stands for the field itself where it has fields of its own.
const SELF: &str = ".";

/// A set of fields as a tree: whether the field itself is in the set, and what of it is, by its path element (`f:NAME`,
/// `k:{KEYS}`, `v:VALUE`), sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    own: bool,
    inner: Vec<(Name, Fields)>,
}

/// What became of an object's fields.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// New, or of another value.
    pub(crate) gained: Fields,
    /// Not there any more.
    pub(crate) lost: Fields,
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        !self.own && self.inner.is_empty()
    }

    /// Whether all of another set is in this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (self.own || !other.own)
            && other
                .inner
                .iter()
                .all(|(name, theirs)| self.get(name).is_some_and(|ours| ours.covers(theirs)))
    }

    /// Whether anything is in both.
    pub(crate) fn touches(&self, other: &Self) -> bool {
        (self.own && other.own)
            || other
                .inner
                .iter()
                .any(|(name, theirs)| self.get(name).is_some_and(|ours| ours.touches(theirs)))
    }

    /// Adds what is in another set.
    pub(crate) fn add(&mut self, other: &Self) {
        self.own |= other.own;
        for (name, theirs) in &other.inner {
            match self.place(name) {
                Ok(at) => self.inner[at].1.add(theirs),
                Err(at) => self.inner.insert(at, (name.clone(), theirs.clone())),
            }
        }
    }

    /// Takes away what is in another set.
    pub(crate) fn take(&mut self, other: &Self) {
        self.own &= !other.own;
        for (name, theirs) in &other.inner {
            if let Ok(at) = self.place(name) {
                self.inner[at].1.take(theirs);
                if self.inner[at].1.is_empty() {
                    self.inner.remove(at);
                }
            }
        }
    }

    /// A set as an object holds it; none where it is none.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let all = Self::read_part(value)?;
        // An object is no field of its own.
        Some(Self { own: false, ..all })
    }

    fn read_part(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let mut fields = Self {
            own: map.is_empty(),
            inner: Vec::new(),
        };
        for (name, inner) in map {
            if name == SELF {
                fields.own = true;
            } else {
                fields.insert(name.as_str().into(), Self::read_part(inner)?);
            }
        }
        Some(fields)
    }

    /// As JSON.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(b'{');
        let mut first = true;
        if self.own && !self.inner.is_empty() {
            bytes.extend(b"\".\":{}");
            first = false;
        }
        for (name, inner) in &self.inner {
            if !first {
                bytes.push(b',');
            }
            first = false;
            quote(bytes, name);
            bytes.push(b':');
            inner.write(bytes);
        }
        bytes.push(b'}');
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.place(name).ok().map(|at| &self.inner[at].1)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.inner.binary_search_by(|(each, _)| each.as_ref().cmp(name))
    }

    /// Puts what is not empty under a name.
    fn insert(&mut self, name: Name, fields: Self) {
        if fields.is_empty() {
            return;
        }
        if self.inner.last().is_none_or(|(last, _)| *last < name) {
            self.inner.push((name, fields));
            return;
        }
        match self.place(&name) {
            Ok(at) => self.inner[at].1.add(&fields),
            Err(at) => self.inner.insert(at, (name, fields)),
        }
    }
}

impl Change {
    /// What became of the field as a whole.
    fn whole(before: Option<&Value>, after: Option<&Value>) -> Self {
        let own = Fields {
            own: true,
            inner: Vec::new(),
        };
        let mut change = Self::default();
        match (before, after) {
            (_, None) => change.lost = own,
            (before, after) if before != after => change.gained = own,
            _ => {}
        }
        change
    }

    fn within(&mut self, element: impl FnOnce() -> Name, inner: Self) {
        if inner.gained.is_empty() && inner.lost.is_empty() {
            return;
        }
        let element = element();
        self.gained.insert(element.clone(), inner.gained);
        self.lost.insert(element, inner.lost);
    }

    /// Marks the field itself, where it came or went.
    fn mark(mut self, before: Option<&Value>, after: Option<&Value>) -> Self {
        self.gained.own |= before.is_none();
        self.lost.own |= after.is_none();
        self
    }
}

/// A text as JSON.
pub(super) fn quote(bytes: &mut Vec<u8>, text: &str) {
    // Writing JSON to memory cannot fail.
    let _ = serde_json::to_writer(bytes, text);
}

/// How two objects of one kind differ; `before` is nothing at all for one that is new. What the server sets itself, and
/// what `ignored` names at the top, nobody manages.
pub(crate) fn compared(
    typed: &shape::Typed<'_>,
    before: Option<&Value>,
    after: &Value,
    ignored: &[&str],
) -> Change {
    let empty = Map::new();
    let before = before.and_then(Value::as_object).unwrap_or(&empty);
    let Some(after) = after.as_object() else {
        return Change::default();
    };
    let mut change = Change::default();
    for name in names(before, after) {
        if matches!(name, "apiVersion" | "kind") || ignored.contains(&name) {
            continue;
        }
        let inner = if name == "metadata" {
            metadata(before.get(name), after.get(name))
        } else {
            field(typed, "", name, before.get(name), after.get(name), true)
        };
        change.within(|| element(name), inner);
    }
    change
}

fn metadata(before: Option<&Value>, after: Option<&Value>) -> Change {
    let empty = Map::new();
    let before = before.and_then(Value::as_object).unwrap_or(&empty);
    let after = after.and_then(Value::as_object).unwrap_or(&empty);
    let mut change = Change::default();
    for name in names(before, after).filter(|name| !shape::SERVERS_OWN.contains(name)) {
        let inner = field(
            &shape::Typed::METADATA,
            "metadata",
            name,
            before.get(name),
            after.get(name),
            true,
        );
        change.within(|| element(name), inner);
    }
    change
}

/// The names in either, each once.
fn names<'a>(before: &'a Map<String, Value>, after: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    after.keys().chain(gone).map(String::as_str)
}

/// How a field differs. `above` is the field that holds it (or holds the list whose item does); `there` whether what holds
/// it was there before.
fn field(
    typed: &shape::Typed<'_>,
    above: &str,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    there: bool,
) -> Change {
    static NOTHING: Value = Value::Null;
    // Most of an object stays as it is: that is found out fastest as a whole.
    if before == after || (before.is_none() && there && typed.zero(above, name, after)) {
        return Change::default();
    }
    let embedded = there && typed.embedded(above, name);
    let shape = typed.shape(above, name, after.or(before).unwrap_or(&NOTHING));
    match shape {
        Shape::Map => map(typed, name, before, after, embedded),
        Shape::Items(keys) => items(typed, name, keys, before, after, embedded),
        Shape::Set => set(before, after),
        _ => Change::whole(before, after),
    }
}

fn map(
    typed: &shape::Typed<'_>,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    embedded: bool,
) -> Change {
    let empty = Map::new();
    let there = before.is_some() || embedded;
    let old = before.and_then(Value::as_object).unwrap_or(&empty);
    let new = after.and_then(Value::as_object).unwrap_or(&empty);
    let mut change = Change::default();
    for inner in names(old, new) {
        let differs = field(typed, name, inner, old.get(inner), new.get(inner), there);
        change.within(|| element(inner), differs);
    }
    if embedded {
        change
    } else {
        change.mark(before, after)
    }
}

fn items(
    typed: &shape::Typed<'_>,
    name: &str,
    keys: &[&str],
    before: Option<&Value>,
    after: Option<&Value>,
    embedded: bool,
) -> Change {
    let (old, new) = (list(before), list(after));
    let of = |items: &[Value], item: &Value| {
        items
            .iter()
            .position(|each| keys.iter().all(|key| each.get(*key) == item.get(*key)))
    };
    let mut change = Change::default();
    let gone = old.iter().filter(|item| of(new, item).is_none());
    for item in new.iter().chain(gone) {
        let (was, is) = (of(old, item).map(|at| &old[at]), of(new, item).map(|at| &new[at]));
        let inner = if typed.whole_items(name) {
            Change::whole(was, is)
        } else {
            map(typed, name, was, is, false)
        };
        change.within(|| key(keys, item), inner);
    }
    if embedded {
        change
    } else {
        change.mark(before, after)
    }
}

fn set(before: Option<&Value>, after: Option<&Value>) -> Change {
    let (old, new) = (list(before), list(after));
    let mut change = Change::default();
    for item in new.iter().chain(old) {
        let inner = Change::whole(
            old.contains(item).then_some(item),
            new.contains(item).then_some(item),
        );
        change.within(|| format!("v:{item}").into(), inner);
    }
    change.mark(before, after)
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn element(name: &str) -> Name {
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element.into()
}

/// `k:{"containerPort":80,"protocol":"TCP"}`
fn key(keys: &[&str], item: &Value) -> Name {
    let named: Map<String, Value> = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
        .collect();
    format!("k:{}", Value::Object(named)).into()
}
