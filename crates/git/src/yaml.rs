//! YAML with the place of everything in its text, so that one value can be changed and every other byte stays. Knows no
//! Kubernetes. A change is proven: what is read from the new text differs from the old in that place alone.

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::Range;

/// Manifests nest some ten levels; more is an attempt to exhaust the stack.
const MAX_DEPTH: usize = 64;

/// One step of a way into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key of a mapping.
    Key(String),
    /// The item of a list whose field says this.
    Item { by: &'static str, is: Value },
    /// The item of a list that is this. It is not told: it may be a secret.
    Same(Value),
}

/// A way into a document, for a reader: `spec.containers[api].image`.
pub(crate) struct Way<'a>(pub(crate) &'a [Step]);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item {
                    is: Value::String(name),
                    ..
                } => write!(f, "[{name}]")?,
                Step::Item { is, .. } => write!(f, "[{is}]")?,
                Step::Same(_) => f.write_str("[…]")?,
            }
        }
        Ok(())
    }
}

/// Why a place cannot be changed. Values are never repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The text is not YAML.
    NotYaml(String),
    /// There is no such place.
    Absent(String),
    /// Something else stands there than the run took back.
    Other(String),
    /// It is written once for several places, by an anchor.
    Shared(String),
    /// The new text would not say what is meant.
    Unsafe(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYaml(why) => write!(f, "it is not YAML: {why}"),
            Self::Absent(at) => write!(f, "it has no {at}"),
            Self::Other(at) => write!(
                f,
                "{at} is neither what the run took back nor what it went back to"
            ),
            Self::Shared(at) => write!(f, "{at} is shared by an anchor"),
            Self::Unsafe(at) => write!(f, "{at} is written in a way that cannot be changed alone"),
        }
    }
}

/// A value, and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    content: Content,
    /// From its first byte to behind its last.
    span: Range<usize>,
    anchored: bool,
}

#[derive(Debug)]
enum Content {
    Scalar { text: String, style: ScalarStyle },
    Mapping { flow: bool, entries: Vec<(Node, Node)> },
    Sequence { flow: bool, items: Vec<Node> },
    Alias(usize),
}

/// Reads every document of a text.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Trouble> {
    let mut options = Options::default();
    options.emit_comments = false;
    let mut events = Events {
        text,
        parser: Parser::new_from_str_with_options(text, options),
    };
    let mut documents = Vec::new();
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (event, span) => documents.push(events.node(event, span, 0)?),
        }
    }
}

struct Events<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Trouble> {
        let ended = || Trouble::NotYaml("it ends too early".to_owned());
        let (event, span) = self
            .parser
            .next_event()
            .ok_or_else(ended)?
            .map_err(|error| Trouble::NotYaml(format!("line {}", error.marker().line())))?;
        Ok((event, span.byte_range().ok_or_else(ended)?))
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Node, Trouble> {
        if depth > MAX_DEPTH {
            return Err(Trouble::NotYaml("it nests too deep".to_owned()));
        }
        let start = span.start;
        Ok(match event {
            Event::Scalar(text, style, anchor, _) => Node {
                // What the parser calls the end of a block is where the next one begins.
                span: start..start + self.text[span].trim_end().len().max(usize::from(is_block(style))),
                content: Content::Scalar {
                    text: text.into_owned(),
                    style,
                },
                anchored: anchor > 0,
            },
            Event::Alias(id) => Node {
                content: Content::Alias(id),
                span,
                anchored: false,
            },
            Event::SequenceStart(style, anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => break span.end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                let flow = style == StructureStyle::Flow;
                let last = items.last().map_or(start, |item: &Node| item.span.end);
                Node {
                    content: Content::Sequence { flow, items },
                    span: start..if flow { end } else { last },
                    anchored: anchor > 0,
                }
            }
            Event::MappingStart(style, anchor, _) => {
                let mut entries: Vec<(Node, Node)> = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::MappingEnd, span) => break span.end,
                        (event, span) => {
                            let key = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            entries.push((key, self.node(event, span, depth + 1)?));
                        }
                    }
                };
                let flow = style == StructureStyle::Flow;
                let last = entries
                    .last()
                    .map_or(start, |(key, value)| key.span.end.max(value.span.end));
                let first = entries.first().map_or(start, |(key, _)| key.span.start);
                Node {
                    content: Content::Mapping { flow, entries },
                    span: if flow { start..end } else { first..last },
                    anchored: anchor > 0,
                }
            }
            _ => return Err(Trouble::NotYaml("a value is missing".to_owned())),
        })
    }
}

impl Node {
    /// The value of a key; none where this is no mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, (_, value))| value)
    }

    /// The keys, in their order; none where this is no mapping.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.content {
            Content::Mapping { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(|(key, _)| key.text())
    }

    /// The value at the end of a way of keys.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The items; none where this is no list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.content {
            Content::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What it says, as JSON.
    pub(crate) fn json(&self) -> Value {
        match &self.content {
            Content::Scalar {
                text,
                style: ScalarStyle::Plain,
            } => resolved(text),
            Content::Scalar { text, .. } => Value::String(text.clone()),
            Content::Sequence { items, .. } => items.iter().map(Self::json).collect(),
            Content::Mapping { entries, .. } => entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), value.json()))
                .collect::<Map<_, _>>()
                .into(),
            Content::Alias(id) => Value::String(format!("*{id}")),
        }
    }

    fn entry(&self, key: &str) -> Option<(usize, &(Self, Self))> {
        match &self.content {
            Content::Mapping { entries, .. } => entries
                .iter()
                .enumerate()
                .find(|(_, (name, _))| name.text() == Some(key)),
            _ => None,
        }
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match step {
            Step::Key(key) => self.get(key),
            Step::Item { by, is } => self
                .items()
                .iter()
                .find(|item| item.get(by).is_some_and(|field| &field.json() == is)),
            Step::Same(value) => self.items().iter().find(|item| &item.json() == value),
        }
    }

    /// Whether it, or something in it, is written once for several places.
    pub(crate) fn shared(&self) -> bool {
        self.anchored
            || match &self.content {
                Content::Alias(_) => true,
                Content::Scalar { .. } => false,
                Content::Sequence { items, .. } => items.iter().any(Self::shared),
                Content::Mapping { entries, .. } => entries.iter().any(|(_, value)| value.shared()),
            }
    }
}

/// Changes one place of one document: what stood there into what shall stand there, where nothing is a value too. None where
/// it says so already.
pub(crate) fn change(
    text: &str,
    document: usize,
    way: &[Step],
    from: Option<&Value>,
    to: Option<&Value>,
) -> Result<Option<String>, Trouble> {
    let before = documents(text)?;
    let at = || Way(way).to_string();
    let root = before.get(document).ok_or_else(|| Trouble::Absent(at()))?;
    let mut walked = vec![root];
    while let Some(next) = way
        .get(walked.len() - 1)
        .and_then(|step| walked[walked.len() - 1].step(step))
    {
        walked.push(next);
    }
    let missing = &way[walked.len() - 1..];
    let node = walked[walked.len() - 1];
    let patch = match (missing, from, to) {
        ([], _, Some(to)) if &node.json() == to || from.is_none() && within(&node.json(), to) => {
            return Ok(None);
        }
        ([], Some(from), Some(to)) if &node.json() == from => set(text, node, to),
        ([], Some(from), None) if within(&node.json(), from) => {
            remove(text, walked[walked.len() - 2], &way[way.len() - 1])
        }
        ([], ..) => return Err(Trouble::Other(at())),
        (_, _, None) => return Ok(None),
        (_, None, Some(to)) => insert(text, node, missing, to),
        (_, Some(_), Some(_)) => return Err(Trouble::Absent(at())),
    };
    if walked.iter().any(|node| node.anchored) || node.shared() && missing.is_empty() {
        return Err(Trouble::Shared(at()));
    }
    let Patch(span, new) = patch.ok_or_else(|| Trouble::Unsafe(at()))?;
    let mut changed = text.to_owned();
    changed.replace_range(span, &new);
    let mut expected: Vec<Value> = before.iter().map(Node::json).collect();
    put(&mut expected[document], way, to);
    let after = documents(&changed).map_err(|_| Trouble::Unsafe(at()))?;
    if after.iter().map(Node::json).collect::<Vec<_>>() == expected {
        Ok(Some(changed))
    } else {
        Err(Trouble::Unsafe(at()))
    }
}

/// Whether everything that `part` says, `whole` says too: an API server adds defaults to what a manifest has.
pub(crate) fn within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|other| within(value, other))),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| within(part, whole))
        }
        _ => part == whole,
    }
}

/// The same change in JSON.
fn put(value: &mut Value, way: &[Step], to: Option<&Value>) {
    let Some((step, rest)) = way.split_first() else {
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(fields)) => match (rest.is_empty(), to) {
            (true, Some(to)) => drop(fields.insert(key.clone(), to.clone())),
            (true, None) => drop(fields.remove(key)),
            (false, _) => put(
                fields
                    .entry(key.clone())
                    .or_insert_with(|| Value::Object(Map::new())),
                rest,
                to,
            ),
        },
        (Step::Item { by, is }, Value::Array(items)) => {
            let found = items.iter().position(|item| item.get(by) == Some(is));
            match (found, rest.is_empty(), to) {
                (Some(place), false, _) => put(&mut items[place], rest, to),
                (Some(place), true, None) => drop(items.remove(place)),
                (Some(place), true, Some(to)) => items[place] = to.clone(),
                (None, true, Some(to)) => items.push(to.clone()),
                (None, ..) => {}
            }
        }
        (Step::Same(value), Value::Array(items)) => {
            if let (Some(item), Some(to)) = (items.iter_mut().find(|item| *item == value), to) {
                *item = to.clone();
            }
        }
        _ => {}
    }
}

/// What is to stand in place of a part of the text.
struct Patch(Range<usize>, String);

fn set(text: &str, node: &Node, to: &Value) -> Option<Patch> {
    if let (Content::Scalar { style, .. }, Value::String(to)) = (&node.content, to)
        && is_block(*style)
    {
        return set_block(text, node, to);
    }
    let new = match (&node.content, to) {
        (Content::Scalar { style, .. }, Value::String(to)) => quoted(to, *style),
        (Content::Scalar { .. }, Value::Object(_) | Value::Array(_)) => flow(to),
        (Content::Scalar { .. }, other) => other.to_string(),
        (Content::Mapping { flow: false, .. } | Content::Sequence { flow: false, .. }, to) => {
            block(to, column(text, node.span.start)?)
        }
        (_, to) => flow(to),
    };
    Some(Patch(node.span.clone(), new))
}

/// Whether a scalar is written over lines of its own, behind `|` or `>`.
fn is_block(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
}

/// A scalar over lines of its own into another one, which takes the same indentation.
fn set_block(text: &str, node: &Node, to: &str) -> Option<Patch> {
    let head = text[..line_start(text, node.span.start)].trim_end();
    let line = line_start(text, head.len());
    let comment = head[line..].find(" #").map_or(head.len(), |at| line + at);
    let header = head[..comment].rfind(['|', '>'])?;
    let comment = head[comment..].trim_end();
    let new = match column(text, node.span.start).and_then(|indent| literal(to, indent)) {
        Some(block) => block.replacen('\n', &format!("{comment}\n"), 1),
        None => Value::from(to).to_string() + comment,
    };
    Some(Patch(header..node.span.end, new))
}

/// A text of several lines as a block; none where a block could not say it plainly.
fn literal(text: &str, indent: usize) -> Option<String> {
    let lines = text.strip_suffix('\n');
    let chomp = if lines.is_some() { "" } else { "-" };
    let lines = lines.unwrap_or(text);
    let plain = !lines.starts_with([' ', '\t', '\n'])
        && !lines.ends_with('\n')
        && !lines.is_empty()
        && !lines.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    plain.then(|| {
        let lines = lines.split('\n').map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("{}{line}", " ".repeat(indent))
            }
        });
        format!("|{chomp}\n{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

/// A scalar in the style of the one that it replaces.
fn quoted(to: &str, style: ScalarStyle) -> String {
    match style {
        ScalarStyle::SingleQuoted if !to.chars().any(|c| c == '\'' || c.is_control()) => format!("'{to}'"),
        ScalarStyle::Plain if is_plain(to) => to.to_owned(),
        _ => Value::from(to).to_string(),
    }
}

/// Whether every reader of YAML, 1.1 or 1.2, takes this text for itself without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@' | '+' | ':' | '=');
    let version = text.starts_with(|c: char| c.is_ascii_digit())
        && text.matches('.').count() > 1
        && !text.contains(':');
    (text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') || version)
        && text.chars().all(safe)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn insert(text: &str, node: &Node, missing: &[Step], to: &Value) -> Option<Patch> {
    let (first, rest) = missing.split_first()?;
    let mut value = to.clone();
    for step in rest.iter().rev() {
        let Step::Key(key) = step else {
            return None;
        };
        value = Value::Object(Map::from_iter([(key.clone(), value)]));
    }
    match (&node.content, first) {
        (Content::Mapping { flow: true, entries }, Step::Key(key)) => {
            let entry = format!("{}: {}", quoted(key, ScalarStyle::Plain), flow(&value));
            Some(match entries.last() {
                Some((_, last)) => Patch(last.span.end..last.span.end, format!(", {entry}")),
                None => Patch(node.span.clone(), format!("{{{entry}}}")),
            })
        }
        (Content::Mapping { flow: false, .. }, Step::Key(key)) => {
            let indent = column(text, node.span.start)?;
            let entry = format!("{}:{}", quoted(key, ScalarStyle::Plain), below(&value, indent));
            Some(line_after(text, node.span.end, indent, &entry))
        }
        (Content::Sequence { flow: true, items }, Step::Item { .. }) if rest.is_empty() => {
            Some(match items.last() {
                Some(last) => Patch(last.span.end..last.span.end, format!(", {}", flow(&value))),
                None => Patch(node.span.clone(), format!("[{}]", flow(&value))),
            })
        }
        (Content::Sequence { flow: false, items }, Step::Item { .. }) if rest.is_empty() => {
            let last = items.last()?;
            let line = line_start(text, last.span.start);
            let indent = text.get(line..last.span.start)?.rfind('-')?;
            let entry = format!("- {}", block(&value, indent + 2));
            Some(line_after(text, node.span.end, indent, &entry))
        }
        _ => None,
    }
}

/// A line of its own behind the one that ends here.
fn line_after(text: &str, end: usize, indent: usize, entry: &str) -> Patch {
    let indent = " ".repeat(indent);
    let end = line_end(text, end);
    Patch(end..end, format!("\n{indent}{entry}"))
}

fn remove(text: &str, parent: &Node, step: &Step) -> Option<Patch> {
    match (&parent.content, step) {
        (Content::Mapping { flow, entries }, Step::Key(key)) => {
            let (place, (name, value)) = parent.entry(key)?;
            let span = name.span.start..name.span.end.max(value.span.end);
            let next = entries.get(place + 1).map(|(next, _)| next.span.start);
            let before = place.checked_sub(1).map(|before| entries[before].1.span.end);
            removed(text, parent, *flow, span, (before, next), "{}")
        }
        (Content::Sequence { flow, items }, Step::Item { by, is }) => {
            let place = items
                .iter()
                .position(|item| item.get(by).is_some_and(|field| &field.json() == is))?;
            let next = items.get(place + 1).map(|next| next.span.start);
            let before = place.checked_sub(1).map(|before| items[before].span.end);
            removed(
                text,
                parent,
                *flow,
                items[place].span.clone(),
                (before, next),
                "[]",
            )
        }
        _ => None,
    }
}

fn removed(
    text: &str,
    parent: &Node,
    flow: bool,
    span: Range<usize>,
    (before, next): (Option<usize>, Option<usize>),
    empty: &str,
) -> Option<Patch> {
    if before.is_none() && next.is_none() {
        return Some(Patch(parent.span.clone(), empty.to_owned()));
    }
    if flow {
        return Some(Patch(
            match (before, next) {
                (_, Some(next)) => span.start..next,
                (before, None) => before?..span.end,
            },
            String::new(),
        ));
    }
    let line = line_start(text, span.start);
    let lead = text.get(line..span.start)?;
    let own_line = match parent.content {
        Content::Sequence { .. } => lead.trim() == "-",
        _ => lead.trim().is_empty(),
    };
    if own_line {
        let end = text[span.end..]
            .find('\n')
            .map_or(text.len(), |end| span.end + end + 1);
        return Some(Patch(line..end, String::new()));
    }
    // The first key of a list's item shares its line with the dash.
    Some(Patch(span.start..next?, String::new()))
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    if text[..end].ends_with('\r') { end - 1 } else { end }
}

fn column(text: &str, at: usize) -> Option<usize> {
    let lead = text.get(line_start(text, at)..at)?;
    lead.is_ascii().then_some(lead.len())
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text, ScalarStyle::Plain),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key, ScalarStyle::Plain), flow(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A value over as many lines as it takes; the first stands where the caller is, the others are indented.
fn block(value: &Value, indent: usize) -> String {
    let margin = format!("\n{}", " ".repeat(indent));
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .map(|(key, value)| format!("{}:{}", quoted(key, ScalarStyle::Plain), below(value, indent)))
            .collect::<Vec<_>>()
            .join(&margin),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| format!("- {}", block(item, indent + 2)))
            .collect::<Vec<_>>()
            .join(&margin),
        other => flow(other),
    }
}

/// A value behind its key.
fn below(value: &Value, indent: usize) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            format!("\n{}{}", " ".repeat(indent + 2), block(value, indent + 2))
        }
        Value::Array(items) if !items.is_empty() => {
            format!("\n{}{}", " ".repeat(indent), block(value, indent))
        }
        Value::String(text) if text.contains('\n') => match literal(text, indent + 2) {
            Some(block) => format!(" {block}"),
            None => format!(" {}", flow(value)),
        },
        other => format!(" {}", flow(other)),
    }
}

/// What a plain scalar means in YAML 1.2's core schema. Source: <https://yaml.org/spec/1.2.2/#1032-tag-resolution>.
fn resolved(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
    {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Ok(number) = text.parse::<f64>() {
            return number.into();
        }
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
