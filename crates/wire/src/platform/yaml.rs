//! From text to the file's shape: YAML with its limits, and the parser's errors in astern's words. Owns no meaning.

use crate::envelope::API_VERSION;
use crate::nearest::nearest;
use crate::platform::error::{Code, Problem, in_bearer};
use crate::platform::file::{At, Head, KIND, PlatformFile};
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Options};

/// Ten thousand workloads of a hundred bytes each. A larger file is another file.
const MAX_BYTES: usize = 1024 * 1024;

/// The format is six levels deep; the rest is for the JSON that a probe expects.
const MAX_DEPTH: usize = 32;

/// A few shared blocks are a convenience; more is an attempt to make a small file large.
const MAX_ALIASES: usize = 256;

/// What aliases may make of a file in all, in YAML events.
const MAX_REPLAYED: usize = 20_000;

/// Keys that people write under `bearer` when they look for the right one. Any other unknown key there may itself be
/// a token (`bearer: {eyJ…}`) and is not repeated.
const BEARER_SLIPS: [&str; 9] = [
    "token",
    "value",
    "password",
    "name",
    "secretName",
    "secretRef",
    "secretKeyRef",
    "valueFrom",
    "path",
];

/// The parser notices an open bracket or quote only where the next line does not fit.
const OPEN_ABOVE: &str =
    "look at the lines above too: a bracket or quote may be open, or the indentation off";

/// Reads the shape. The first error of the parser ends it.
pub(crate) fn read(text: &str) -> Result<PlatformFile, Problem> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} KiB; astern reads up to {} KiB",
            text.len() / 1024,
            MAX_BYTES / 1024
        );
        let hint = Some("is it the right file?".to_owned());
        return Err(Problem {
            code: Code::NotYaml,
            line: 0,
            column: 0,
            message,
            hint,
        });
    }
    if text.trim().is_empty() {
        let hint = Some("`astern init -n NAMESPACE` writes one from what it finds in the cluster".to_owned());
        return Err(Problem {
            code: Code::NotYaml,
            line: 0,
            column: 0,
            message: "the file is empty".to_owned(),
            hint,
        });
    }
    check_head(&parse::<Head>(text)?)?;
    parse::<PlatformFile>(text)
}

fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        // YAML 1.2: `yes`, `no`, `on` are text.
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| told(text, &error))
}

fn check_head(head: &Head) -> Result<(), Problem> {
    let start = "it begins with: apiVersion: astern.dev/v1alpha1, kind: Platform".to_owned();
    let problem = |at: Option<&At<String>>, message: String, hint: String| Problem {
        code: Code::NotAPlatform,
        line: at.map_or(0, |at| at.line),
        column: at.map_or(0, |at| at.column),
        message,
        hint: Some(hint),
    };
    let group = API_VERSION.split('/').next().unwrap_or_default();
    match (&head.api_version, &head.kind) {
        (None, _) => Err(problem(
            None,
            "this is not a platform file: `apiVersion` is missing".to_owned(),
            start,
        )),
        (Some(version), _) if version.value.split('/').next() != Some(group) => {
            let what = head.kind.as_ref().map_or("document", |kind| kind.value.as_str());
            let message = format!("this is a {what} of {}, not a platform file", version.value);
            Err(problem(Some(version), message, start))
        }
        (_, None) => Err(problem(
            None,
            "this is not a platform file: `kind` is missing".to_owned(),
            start,
        )),
        (_, Some(kind)) if kind.value != KIND => Err(problem(
            Some(kind),
            format!("this is a {}, not a {KIND}", kind.value),
            start,
        )),
        (Some(version), _) if version.value != API_VERSION => {
            let message = format!(
                "this platform file is of version {}; this astern reads {API_VERSION}",
                version.value
            );
            let hint = "use the astern that wrote it, or write the file anew with `astern init`".to_owned();
            Err(problem(Some(version), message, hint))
        }
        _ => Ok(()),
    }
}

/// The parser's error in words that name what belongs there. Values are never repeated, except words of a closed set.
fn told(text: &str, error: &Error) -> Problem {
    let error = error.without_snippet();
    let place = error.location();
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (line, column) = place.map_or((0, 0), |place| (count(place.line()), count(place.column())));
    let lines: Vec<&str> = text.lines().collect();
    let secret = line > 0 && line <= lines.len() && in_bearer(&lines, line - 1);
    let (code, message, hint) = words(root(error), secret);
    Problem {
        code,
        line,
        column,
        message,
        hint,
    }
}

/// The cause beneath the wrapping that aliases add.
fn root(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } => root(error),
        other => other,
    }
}

fn words(error: &Error, secret: bool) -> (Code, String, Option<String>) {
    let some = |hint: &str| Some(hint.to_owned());
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let repeat = !secret || BEARER_SLIPS.contains(&field.as_str());
            let near = nearest(field, expected.iter().copied());
            let message = if repeat {
                format!("unknown key `{field}`")
            } else {
                "unknown key".to_owned()
            };
            (
                Code::UnknownKey,
                message,
                Some(suggestion(near, expected, "the keys here are")),
            )
        }
        Error::SerdeMissingField { field, .. } => (
            Code::MissingKey,
            format!("the key `{field}` is missing here"),
            None,
        ),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let near = nearest(variant, expected.iter().copied());
            (
                Code::WrongValue,
                format!("`{variant}` cannot stand here"),
                Some(suggestion(near, expected, "it is one of")),
            )
        }
        Error::DuplicateMappingKey { key: Some(key), .. } if !secret => (
            Code::Twice,
            format!("the key `{key}` stands twice in the same place"),
            some("keep one of them"),
        ),
        Error::DuplicateMappingKey { .. } => (
            Code::Twice,
            "a key stands twice in the same place".to_owned(),
            some("keep one of them"),
        ),
        Error::Unexpected { expected, .. } => belongs(expected),
        Error::NullIntoString { .. } => (Code::WrongValue, "a value is missing here".to_owned(), None),
        Error::NonFiniteFloat { .. } => (Code::WrongValue, "a number belongs here".to_owned(), None),
        Error::InvalidScalar { ty, .. } if ty.contains("float") => {
            (Code::WrongValue, "a number belongs here".to_owned(), None)
        }
        Error::InvalidScalar { .. } => (Code::WrongValue, "a whole number belongs here".to_owned(), None),
        other => syntax(other, secret),
    }
}

/// What concerns YAML itself and its limits.
fn syntax(error: &Error, secret: bool) -> (Code, String, Option<String>) {
    let some = |hint: &str| Some(hint.to_owned());
    match error {
        Error::Eof { .. } => (Code::NotYaml, "the file ends too early".to_owned(), None),
        Error::MultipleDocuments { .. } => (
            Code::NotYaml,
            "a second document begins here".to_owned(),
            some("one file describes one platform"),
        ),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            Code::NotYaml,
            "the file is nested or repeated beyond what astern reads".to_owned(),
            some("write it with fewer anchors, aliases and levels"),
        ),
        Error::UnknownAnchor { .. } => (
            Code::NotYaml,
            "this alias has no anchor".to_owned(),
            some("a text that begins with `*` or `&` needs quotes"),
        ),
        Error::Message { msg, .. } | Error::ExternalMessage { msg, .. } if !secret => {
            let hint = msg
                .contains("did not find expected")
                .then(|| OPEN_ABOVE.to_owned());
            (Code::NotYaml, format!("this is not YAML: {msg}"), hint)
        }
        Error::Message { .. } | Error::ExternalMessage { .. } => {
            (Code::NotYaml, "this is not YAML".to_owned(), None)
        }
        _ => (Code::WrongValue, "this value cannot stand here".to_owned(), None),
    }
}

fn belongs(expected: &str) -> (Code, String, Option<String>) {
    let (what, example) = if expected.contains("sequence") {
        (
            "a list belongs here",
            Some("write it like [a, b], or one a line with `- ` before each"),
        )
    } else if expected.contains("mapping") {
        (
            "keys with values belong here",
            Some("write them like {key: value}, or one a line, indented"),
        )
    } else {
        ("a single value belongs here", None)
    };
    (Code::WrongValue, what.to_owned(), example.map(str::to_owned))
}

fn suggestion(near: Option<&str>, all: &[&str], intro: &str) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{intro}: {}", all.join(", ")),
    }
}
