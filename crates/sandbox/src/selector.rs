//! Label and field selectors, as text and as the API's objects. Owns matching; knows no kinds.

use crate::object::{get, list, text};
use serde_json::{Map, Value};

/// One condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Above(String, i64),
    Below(String, i64),
}

/// A label selector. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    requirements: Vec<Requirement>,
    /// A missing selector of an object selects nothing.
    nothing: bool,
}

impl Labels {
    /// The selector of a query: `a=b,c!=d,e in (f,g),h,!i`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let parts = split_outside_parentheses(text);
        for part in parts.iter().filter(|_| !text.trim().is_empty()) {
            if part.trim().is_empty() {
                return Err("found ',', expected: identifier after ','".to_owned());
            }
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// A LabelSelector object with `matchLabels` and `matchExpressions`.
    pub(crate) fn of(selector: Option<&Value>) -> Self {
        let Some(selector) = selector else {
            return Self {
                nothing: true,
                ..Self::default()
            };
        };
        let mut found = Self::pairs(selector.get("matchLabels"));
        found.nothing = false;
        for expression in list(selector, "matchExpressions") {
            let key = text(expression, "key").to_owned();
            let values = list(expression, "values")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            found.requirements.push(match text(expression, "operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                _ => Requirement::Missing(key),
            });
        }
        found
    }

    /// A plain map of labels, such as a Service's selector; an empty one selects nothing.
    pub(crate) fn pairs(map: Option<&Value>) -> Self {
        let empty = Map::new();
        let map = map.and_then(Value::as_object).unwrap_or(&empty);
        Self {
            nothing: map.is_empty(),
            requirements: map
                .iter()
                .map(|(key, value)| {
                    Requirement::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()])
                })
                .collect(),
        }
    }

    /// Whether every object matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether an object's labels match.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = get(object, "metadata.labels");
        let value = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        let number = |key: &str| value(key).and_then(|value| value.parse::<i64>().ok());
        !self.nothing
            && self.requirements.iter().all(|requirement| match requirement {
                Requirement::In(key, values) => {
                    value(key).is_some_and(|value| values.iter().any(|each| each == value))
                }
                Requirement::NotIn(key, values) => {
                    value(key).is_none_or(|value| values.iter().all(|each| each != value))
                }
                Requirement::Exists(key) => value(key).is_some(),
                Requirement::Missing(key) => value(key).is_none(),
                Requirement::Above(key, than) => number(key).is_some_and(|number| number > *than),
                Requirement::Below(key, than) => number(key).is_some_and(|number| number < *than),
            })
    }

    /// As a query writes it.
    pub(crate) fn written(&self) -> String {
        let parts = self.requirements.iter().map(|requirement| match requirement {
            Requirement::In(key, values) if values.len() == 1 => format!("{key}={}", values[0]),
            Requirement::In(key, values) => format!("{key} in ({})", values.join(",")),
            Requirement::NotIn(key, values) if values.len() == 1 => format!("{key}!={}", values[0]),
            Requirement::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Requirement::Exists(key) => key.clone(),
            Requirement::Missing(key) => format!("!{key}"),
            Requirement::Above(key, than) => format!("{key}>{than}"),
            Requirement::Below(key, than) => format!("{key}<{than}"),
        });
        parts.collect::<Vec<_>>().join(",")
    }
}

/// Equalities and inequalities of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, bool, String)>);

impl Fields {
    /// `a.b=c,d!=e`. Which fields are known is the kind's matter.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, true, value)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            found.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(found))
    }

    /// The fields that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, ..)| field.as_str())
    }

    /// Whether every object matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one name that can match, where it says so: then there is no need to look at the others.
    pub(crate) fn only_name(&self) -> Option<&str> {
        let (_, _, name) = self
            .0
            .iter()
            .find(|(field, equal, _)| field == "metadata.name" && *equal)?;
        Some(name)
    }

    /// Whether an object matches.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, equal, wanted)| {
            let found = match get(object, field) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(flag)) => flag.to_string(),
                Some(Value::Number(number)) => number.to_string(),
                _ if field == "spec.unschedulable" || field == "spec.hostNetwork" => "false".to_owned(),
                _ => String::new(),
            };
            (found == *wanted) == *equal
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let unclear = || format!("unable to parse requirement: {part:?} is no label selector");
    let key = |text: &str| {
        let text = text.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
        if !text.is_empty() && text.chars().all(plain) {
            Ok(text.to_owned())
        } else {
            Err(unclear())
        }
    };
    if let Some(missing) = part.strip_prefix('!') {
        return Ok(Requirement::Missing(key(missing)?));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = part.split_once(['>', '<']) {
        let value = value.trim();
        let number = value.parse().map_err(|_| {
            format!(
                "unable to parse requirement: values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must \
                 be an integer"
            )
        })?;
        return Ok(if part.contains('>') {
            Requirement::Above(key(name)?, number)
        } else {
            Requirement::Below(key(name)?, number)
        });
    }
    let Some((head, values)) = part.split_once('(') else {
        return match part.split_whitespace().collect::<Vec<_>>().as_slice() {
            [_, "in" | "notin", found, ..] => Err(format!(
                "unable to parse requirement: found '{found}' expected: '('"
            )),
            [_, found, ..] => Err(format!(
                "unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt"
            )),
            _ => Ok(Requirement::Exists(key(part)?)),
        };
    };
    let values = values
        .trim_end()
        .strip_suffix(')')
        .ok_or_else(unclear)?
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect();
    match head.split_whitespace().collect::<Vec<_>>().as_slice() {
        [name, "in"] => Ok(Requirement::In(key(name)?, values)),
        [name, "notin"] => Ok(Requirement::NotIn(key(name)?, values)),
        _ => Err(unclear()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_label_selector_selects_as_kubectl_writes_it() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        let check = |selector: &str, expected: bool| {
            assert_eq!(
                Labels::parse(selector).unwrap().matches(&object),
                expected,
                "{selector}"
            );
        };
        check("", true);
        check("app=web,tier==front", true);
        check("app!=web", false);
        check("none!=web", true);
        check("app in (api, web),tier", true);
        check("app notin (api,web)", false);
        check("!none", true);
        check("!app", false);
        assert!(Labels::parse("app in web").is_err());
    }

    #[test]
    fn an_object_without_a_selector_selects_nothing_and_an_empty_one_everything() {
        let object = json!({"metadata": {"labels": {"app": "web"}}});
        assert!(!Labels::of(None).matches(&object));
        assert!(Labels::of(Some(&json!({}))).matches(&object));
        let wanted = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]});
        assert!(Labels::of(Some(&wanted)).matches(&object));
        assert_eq!(Labels::of(Some(&wanted)).written(), "app=web,!x");
    }
}
