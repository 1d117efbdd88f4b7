//! Who manages which fields: `metadata.managedFields`, as a server keeps it for creations, updates and patches. Owns whom a
//! field belongs to after a write. Server-side apply is refused elsewhere; entries that it left on a loaded object are kept.

mod fields;
mod shape;

use crate::kinds::Kind;
use crate::object::{Name, get, text};
use crate::time;
use fields::{Fields, compared, quote};
use jiff::Timestamp;
use serde_json::Value;
use shape::Typed;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// So many entries of updates are kept apart; older ones become one. Source: apimachinery's `DefaultMaxUpdateManagers`.
const MOST: usize = 10;
/// Whom the older ones become.
const ANCIENT: &str = "ancient-changes";
/// A writer without a name.
const UNKNOWN: &str = "unknown";
/// The longest name that a User-Agent gives, in bytes.
const LONGEST: usize = 128;
const UPDATE: &str = "Update";

/// Which part of an object a write is made through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object itself.
    #[default]
    Whole,
    Status,
    Scale,
    Finalize,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
        }
    }

    /// What a write through this part leaves alone.
    fn ignored(self, kind: &Kind) -> &'static [&'static str] {
        match self {
            Self::Whole if kind.status => &["status"],
            Self::Status => &["spec"],
            _ => &[],
        }
    }
}

/// All entries of one object, in the order in which they are told. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Managers(Arc<Vec<Entry>>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    who: Arc<Who>,
    /// When it last got a field; what is written through a scale has none.
    at: Option<Timestamp>,
    owned: Arc<Owned>,
}

/// Whom an entry is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    manager: Name,
    operation: Name,
    api_version: Name,
    part: Name,
}

/// The fields of an entry, and their text once somebody asked for it.
#[derive(Debug)]
struct Owned {
    fields: Fields,
    text: OnceLock<Vec<u8>>,
}

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Owned {
    fn new(fields: Fields) -> Arc<Self> {
        Arc::new(Self {
            fields,
            text: OnceLock::new(),
        })
    }

    fn text(&self) -> &[u8] {
        self.text.get_or_init(|| {
            let mut bytes = Vec::new();
            self.fields.write(&mut bytes);
            bytes
        })
    }
}

/// A write, as far as it is noted: by whom, through what, when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) manager: &'a str,
    pub(crate) part: Part,
    pub(crate) at: Timestamp,
}

impl Write<'_> {
    /// The time that its entry is given: whole seconds, as it is told.
    fn noted(&self) -> Option<Timestamp> {
        let at = Timestamp::from_second(self.at.as_second()).ok();
        at.filter(|_| self.part != Part::Scale)
    }
}

/// The name that a User-Agent gives its writes.
pub(crate) fn of_user_agent(agent: &str) -> String {
    let first = agent.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for letter in first.chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > LONGEST {
            break;
        }
        name.push(letter);
    }
    name
}

impl Managers {
    /// The entries of a new object.
    pub(crate) fn created(kind: &Kind, object: &Value, write: &Write<'_>) -> Self {
        Self::default().written(kind, None, object, write)
    }

    /// The entries after a write that made one object of another: who changes a field's value has it from then on, and
    /// what is gone nobody has. An object that nobody manages stays so: only what is new begins to be managed.
    pub(crate) fn written(
        &self,
        kind: &Kind,
        before: Option<&Value>,
        after: &Value,
        write: &Write<'_>,
    ) -> Self {
        if before.is_some() && self.is_empty() {
            return self.clone();
        }
        let resource = kind.resource();
        let typed = Typed::of(&resource, kind.custom);
        let change = compared(&typed, before, after, write.part.ignored(kind));
        if change.gained.is_empty() && change.lost.is_empty() {
            return self.clone();
        }
        let who = self.who(kind, write);
        let mut entries: Vec<Entry> = Vec::with_capacity(self.0.len() + 1);
        let mut own = None;
        for entry in self.0.iter() {
            let mine = entry.who == who;
            let mut entry = entry.clone();
            let taken = !mine && entry.owned.fields.touches(&change.gained);
            let gone = entry.owned.fields.touches(&change.lost);
            if taken || gone {
                let mut fields = entry.owned.fields.clone();
                if taken {
                    fields.take(&change.gained);
                }
                if gone {
                    fields.take(&change.lost);
                }
                if fields.is_empty() && !mine {
                    continue;
                }
                entry.owned = Owned::new(fields);
            }
            if mine {
                own = Some(entries.len());
            }
            entries.push(entry);
        }
        if !change.gained.is_empty() {
            match own {
                Some(place) => {
                    let entry = &mut entries[place];
                    entry.at = write.noted();
                    if !entry.owned.fields.covers(&change.gained) {
                        let mut fields = entry.owned.fields.clone();
                        fields.add(&change.gained);
                        entry.owned = Owned::new(fields);
                    }
                }
                None => entries.push(Entry {
                    who,
                    at: write.noted(),
                    owned: Owned::new(change.gained),
                }),
            }
        }
        entries.retain(|entry| !entry.owned.fields.is_empty());
        Self::of(entries)
    }

    /// The entries that a client sends; none where it sends none or some that cannot be read, which leaves the former
    /// ones. An empty list takes all away, and so does a single empty entry.
    pub(crate) fn sent(object: &Value) -> Option<Self> {
        let sent = get(object, "metadata.managedFields")?.as_array()?;
        let empty = |entry: &Value| entry.as_object().is_some_and(serde_json::Map::is_empty);
        if sent.len() < 2 && sent.iter().all(empty) {
            return Some(Self::default());
        }
        let entries: Option<Vec<Entry>> = sent.iter().map(Entry::read).collect();
        entries.filter(|entries| !entries.is_empty()).map(Self::of)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON: what stands in `metadata.managedFields`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(b'[');
        for (at, entry) in self.0.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            entry.write(bytes);
        }
        bytes.push(b']');
    }

    /// The same as a value.
    pub(crate) fn value(&self) -> Value {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn who(&self, kind: &Kind, write: &Write<'_>) -> Arc<Who> {
        let manager = if write.manager.is_empty() {
            UNKNOWN
        } else {
            write.manager
        };
        let known = self.0.iter().find(|entry| {
            let who = &entry.who;
            &*who.manager == manager
                && &*who.operation == UPDATE
                && &*who.part == write.part.name()
                && who.is_of(kind)
        });
        known.map_or_else(
            || {
                Arc::new(Who {
                    manager: manager.into(),
                    operation: UPDATE.into(),
                    api_version: kind.api_version().into(),
                    part: write.part.name().into(),
                })
            },
            |entry| entry.who.clone(),
        )
    }

    fn of(mut entries: Vec<Entry>) -> Self {
        cap(&mut entries);
        entries.sort_by(|one, other| {
            let order = |entry: &Entry| entry.at.map(Timestamp::as_second);
            one.who
                .operation
                .cmp(&other.who.operation)
                .then_with(|| order(one).cmp(&order(other)))
                .then_with(|| one.who.cmp(&other.who))
        });
        Self(Arc::new(entries))
    }
}

impl Who {
    fn is_of(&self, kind: &Kind) -> bool {
        match self.api_version.rsplit_once('/') {
            Some((group, version)) => group == &*kind.group && version == &*kind.version,
            None => kind.group.is_empty() && self.api_version == kind.version,
        }
    }
}

/// Makes one of the oldest updates until there are few enough.
fn cap(entries: &mut Vec<Entry>) {
    let updates = |entries: &[Entry]| {
        let updates = entries.iter().filter(|entry| &*entry.who.operation == UPDATE);
        updates.count()
    };
    if updates(entries) <= MOST {
        return;
    }
    entries.sort_by(|one, other| one.at.cmp(&other.at).then_with(|| one.who.cmp(&other.who)));
    let mut buckets: BTreeMap<Name, usize> = BTreeMap::new();
    let mut at = 0;
    while updates(entries) > MOST && at < entries.len() {
        let who = entries[at].who.clone();
        if &*who.operation != UPDATE {
            at += 1;
            continue;
        }
        match buckets.get(&who.api_version) {
            Some(&bucket) => {
                let gone = entries.remove(at);
                let mut fields = entries[bucket].owned.fields.clone();
                fields.add(&gone.owned.fields);
                entries[bucket].owned = Owned::new(fields);
                entries[bucket].at = gone.at;
            }
            None => {
                entries[at].who = Arc::new(Who {
                    manager: ANCIENT.into(),
                    part: "".into(),
                    ..Who::clone(&who)
                });
                buckets.insert(who.api_version.clone(), at);
                at += 1;
            }
        }
    }
}

impl Entry {
    fn read(value: &Value) -> Option<Self> {
        let named = |field: &str| Name::from(text(value, field));
        let at = match text(value, "time") {
            "" => None,
            at => Some(time::parsed(at)?),
        };
        let fields = value
            .get("fieldsV1")
            .map_or(Some(Fields::default()), Fields::read)?;
        let operation = named("operation");
        if !matches!(&*operation, UPDATE | "Apply") {
            return None;
        }
        Some(Self {
            who: Arc::new(Who {
                manager: named("manager"),
                operation,
                api_version: named("apiVersion"),
                part: named("subresource"),
            }),
            at,
            owned: Owned::new(fields),
        })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let who = &self.who;
        bytes.extend(b"{\"manager\":");
        quote(bytes, &who.manager);
        bytes.extend(b",\"operation\":");
        quote(bytes, &who.operation);
        bytes.extend(b",\"apiVersion\":");
        quote(bytes, &who.api_version);
        if let Some(at) = self.at {
            bytes.extend(b",\"time\":");
            quote(bytes, &time::seconds(at));
        }
        bytes.extend(b",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        bytes.extend(self.owned.text());
        if !who.part.is_empty() {
            bytes.extend(b",\"subresource\":");
            quote(bytes, &who.part);
        }
        bytes.push(b'}');
    }
}
