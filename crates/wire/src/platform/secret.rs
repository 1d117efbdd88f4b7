//! The Secrets of `astern.yaml` that go back, and what proves that what they held still works: their shape, and how it is
//! read. Decides only; runs nothing.

use crate::duration;
use crate::platform::error::Code;
use crate::platform::file::{At, Config, DurationText};
use crate::platform::read::{NAME_LENGTH, Problems, check_name};
use astern_model::login::{LoginProbe, Proof};
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A Secret that goes back: its name, or what proves that what it held then still works.
#[derive(Debug)]
pub(crate) struct RestoreSecret(pub(crate) SecretEntry);

/// A Secret that goes back, and what proves that what it held then still works.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecretEntry {
    /// Its name, without the hash that kustomize puts behind it.
    pub(crate) name: At<String>,
    /// `false` says that nobody rotates what it holds: it then goes back without a login.
    pub(crate) rotates: Option<At<bool>>,
    /// The login that must succeed with what it held then, when the plan is checked and again before it is written.
    pub(crate) probe: Option<Login>,
}

/// A program that tries a credential on the machine where astern runs. Exit code 0 says that it works.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Login {
    /// The program and its arguments; no shell reads them, and nothing it prints is shown. No credential belongs here.
    #[schemars(length(min = 1))]
    pub(crate) command: Vec<At<String>>,
    /// The Secret's keys that it gets, each by the name of the variable: `PGPASSWORD: password`. Of astern's own variables it has
    /// `PATH` and `HOME` alone.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) env: BTreeMap<String, At<String>>,
    /// How long it may take; `10s` unless said otherwise, and at most `1m`.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) timeout: Option<At<String>>,
}

impl<'de> Deserialize<'de> for RestoreSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let named = At::<NameOrEntry>::deserialize(from)?;
        Ok(Self(match named.value {
            NameOrEntry::Entry(entry) => *entry,
            NameOrEntry::Name(value) => SecretEntry {
                name: At {
                    value,
                    line: named.line,
                    column: named.column,
                },
                rotates: None,
                probe: None,
            },
        }))
    }
}

impl JsonSchema for RestoreSecret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RestoreSecret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<SecretEntry>();
        json_schema!({"anyOf": [{"type": "string"}, entry]})
    }
}

/// What may stand in the list.
enum NameOrEntry {
    Name(String),
    Entry(Box<SecretEntry>),
}

impl<'de> Deserialize<'de> for NameOrEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = NameOrEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a Secret, or its `name` with `probe` or `rotates`")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(NameOrEntry::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let entry = SecretEntry::deserialize(MapAccessDeserializer::new(map))?;
                Ok(NameOrEntry::Entry(Box::new(entry)))
            }
        }
        from.deserialize_any(Either)
    }
}

/// Variables that lead a program elsewhere, and that astern passes on itself.
const OWN: [&str; 2] = ["HOME", "PATH"];

/// What the file says of Secrets that go back.
pub(crate) fn restore_secrets(
    problems: &mut Problems,
    config: Option<&Config>,
) -> BTreeMap<String, Option<Proof>> {
    let named = config.and_then(|config| config.restore_secrets.as_deref());
    let mut read = BTreeMap::new();
    for RestoreSecret(entry) in named.unwrap_or_default() {
        let name = &entry.name;
        check_name(problems, name, "a Secret", NAME_LENGTH);
        let proof = proof(problems, entry);
        if read.insert(name.value.clone(), proof).is_some() {
            let hint = Some("keep one of them".to_owned());
            let message = format!("secret/{} is here twice", name.value);
            problems.add(Code::Twice, name, message, hint);
        }
    }
    read
}

fn proof(problems: &mut Problems, entry: &SecretEntry) -> Option<Proof> {
    match (&entry.rotates, &entry.probe) {
        (Some(rotates), Some(_)) if !rotates.value => {
            let hint = "what nobody rotates needs no login; keep one of the two".to_owned();
            let message = "this Secret has `rotates: false` and a `probe`";
            problems.add(Code::Probe, rotates, message, Some(hint));
            None
        }
        (_, Some(probe)) => login(problems, &entry.name, probe).map(Proof::Login),
        (Some(rotates), None) if !rotates.value => Some(Proof::NeverRotates),
        (Some(rotates), None) => {
            let hint = "add `probe: {command: [PROGRAM, ARGUMENT], env: {VARIABLE: KEY}}`".to_owned();
            let message = "a Secret that is rotated goes back only with a `probe`";
            problems.add(Code::Probe, rotates, message, Some(hint));
            None
        }
        (None, None) => None,
    }
}

fn login(problems: &mut Problems, name: &At<String>, login: &Login) -> Option<LoginProbe> {
    let timeout = timeout(problems, login.timeout.as_ref());
    if login
        .command
        .first()
        .is_none_or(|program| program.value.is_empty())
    {
        let hint = Some("begin with the program: `command: [psql, -h, db]`".to_owned());
        problems.add(Code::Probe, name, "this login probe names no program", hint);
        return None;
    }
    if login.env.is_empty() {
        let hint = Some("name the Secret's keys that it gets: `env: {PGPASSWORD: password}`".to_owned());
        let message = "this login probe gets nothing of the Secret, so it proves nothing of it";
        problems.add(Code::Probe, name, message, hint);
    }
    for (variable, key) in &login.env {
        if OWN.contains(&variable.as_str()) || !is_variable(variable) {
            let hint = Some("letters, digits and `_`; PATH and HOME are astern's own".to_owned());
            let message = format!(
                "`{}` is no name of a variable for a value",
                variable.escape_debug()
            );
            problems.add(Code::Probe, key, message, hint);
        }
    }
    if let Some(argument) = login
        .command
        .iter()
        .find(|argument| argument.value.contains('\0'))
    {
        problems.add(Code::Probe, argument, "no argument can hold a zero byte", None);
    }
    Some(LoginProbe {
        command: login
            .command
            .iter()
            .map(|argument| argument.value.clone())
            .collect(),
        env: login
            .env
            .iter()
            .map(|(variable, key)| (variable.clone(), key.value.clone()))
            .collect(),
        timeout,
    })
}

fn timeout(problems: &mut Problems, at: Option<&At<String>>) -> SignedDuration {
    let Some(at) = at else {
        return LoginProbe::DEFAULT_TIMEOUT;
    };
    match duration::parse(&at.value) {
        Ok(span) if span.is_positive() && span <= LoginProbe::LONGEST_TIMEOUT => return span,
        Ok(_) => problems.add(
            Code::Duration,
            at,
            "a login probe may take more than nothing and at most 1m",
            None,
        ),
        Err(error) => problems.add(Code::Duration, at, error.to_string(), Some(error.hint())),
    }
    LoginProbe::DEFAULT_TIMEOUT
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
