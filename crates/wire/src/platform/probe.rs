//! Probes of `astern.yaml`: where they go, what they expect, where their token is found. Decides only; asks nothing.

use crate::platform::error::Code;
use crate::platform::file::{At, Bearer, ExpectHeader, ExpectJson, Probe as ProbeFile};
use crate::platform::read::{Problems, check_service, is_name};
use astern_model::platform::{HeaderExpectation, JsonExpectation, Probe, ProbeTarget, SecretRef};
use std::collections::BTreeMap;

/// What a probe expects when its file says nothing.
const DEFAULT_STATUS: u16 = 200;

/// The probes of one workload. A probe that cannot be asked is left out of the answer and stands in `problems`.
pub(crate) fn probes(problems: &mut Problems, workload: &str, probes: &[ProbeFile]) -> Vec<Probe> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut read = Vec::new();
    for probe in probes {
        if probe.name.value.trim().is_empty() || probe.name.value.chars().any(char::is_control) {
            problems.add(
                Code::WrongValue,
                &probe.name,
                "a probe needs a name: reports call it by that",
                None,
            );
        }
        if let Some(first) = seen.insert(&probe.name.value, probe.name.line) {
            let hint = Some(format!("it stands in line {first} already"));
            problems.add(
                Code::Twice,
                &probe.name,
                format!("the probe `{}` is here twice", probe.name.value),
                hint,
            );
        }
        read.extend(one(problems, workload, probe));
    }
    read
}

fn one(problems: &mut Problems, workload: &str, probe: &ProbeFile) -> Option<Probe> {
    let to = target(problems, workload, probe);
    let expect = probe.expect.as_ref();
    let status = expect
        .and_then(|expect| expect.status.as_ref())
        .map_or(Some(DEFAULT_STATUS), |at| status(problems, at));
    let json = expect
        .and_then(|expect| expect.json.as_ref())
        .map(|json| self::json(problems, json));
    let header = expect
        .and_then(|expect| expect.header.as_ref())
        .map(|header| self::header(problems, header));
    let bearer = probe.bearer.as_ref().map(|at| bearer(problems, at));
    let bearer = match bearer {
        Some(None) => return None,
        Some(Some(reference)) => Some(reference),
        None => None,
    };
    Some(Probe {
        name: probe.name.value.clone(),
        to: to?,
        status: status?,
        json,
        header,
        bearer,
    })
}

fn target(problems: &mut Problems, workload: &str, probe: &ProbeFile) -> Option<ProbeTarget> {
    match (&probe.url, &probe.path, &probe.port) {
        (Some(url), None, None) => {
            if let Some(service) = &probe.service {
                let hint = "a url goes straight there, not through a Service; keep one of the two".to_owned();
                problems.add(
                    Code::Probe,
                    service,
                    "this probe has a `url` and a `service`",
                    Some(hint),
                );
            }
            self::url(problems, url)
        }
        (Some(_), Some(other), _) => both(problems, "path", other),
        (Some(_), None, Some(other)) => both(problems, "port", other),
        (None, Some(path), Some(port)) => {
            if let Some(bearer) = &probe.bearer {
                let hint = "the API server keeps the Authorization header to itself: give this probe a `url` instead";
                let message = "a token does not reach a path behind the API server";
                problems.add(Code::Probe, bearer, message, Some(hint.to_owned()));
            }
            service(problems, workload, probe, path, port)
        }
        (None, Some(path), None) => {
            let hint = Some("add the Service's port, like `port: 8080`".to_owned());
            problems.add(Code::Probe, path, "this probe has a `path` and no `port`", hint);
            None
        }
        (None, None, Some(port)) => {
            let hint = Some("add the path, like `path: /health`".to_owned());
            problems.add(Code::Probe, port, "this probe has a `port` and no `path`", hint);
            None
        }
        (None, None, None) => {
            let hint = "give it `path` and `port` of the workload's Service, or a `url`".to_owned();
            problems.add(
                Code::Probe,
                &probe.name,
                format!("the probe `{}` goes nowhere", probe.name.value),
                Some(hint),
            );
            None
        }
    }
}

fn both<T>(problems: &mut Problems, key: &str, at: &At<T>) -> Option<ProbeTarget> {
    let hint =
        "through the API server: `path` and `port`; straight there: `url`; keep one of the two".to_owned();
    problems.add(
        Code::Probe,
        at,
        format!("this probe has a `url` and a `{key}`"),
        Some(hint),
    );
    None
}

fn service(
    problems: &mut Problems,
    workload: &str,
    probe: &ProbeFile,
    path: &At<String>,
    port: &At<i64>,
) -> Option<ProbeTarget> {
    if let Some(service) = &probe.service {
        check_service(problems, service);
    }
    if !path.value.starts_with('/') {
        let hint = Some(format!("did you mean `/{}`?", path.value));
        problems.add(Code::Probe, path, "a path begins with `/`", hint);
    } else if path.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        problems.add(
            Code::Probe,
            path,
            "a path holds no spaces",
            Some("write a space as %20".to_owned()),
        );
    }
    let Some(number) = u16::try_from(port.value).ok().filter(|port| *port > 0) else {
        problems.add(Code::WrongValue, port, "a port is a number from 1 to 65535", None);
        return None;
    };
    let service = probe
        .service
        .as_ref()
        .map_or(workload, |service| service.value.as_str())
        .to_owned();
    Some(ProbeTarget::Service {
        service,
        port: number,
        path: path.value.clone(),
    })
}

fn url(problems: &mut Problems, url: &At<String>) -> Option<ProbeTarget> {
    let rest = url
        .value
        .strip_prefix("http://")
        .or_else(|| url.value.strip_prefix("https://"));
    let Some(rest) = rest else {
        let hint = Some("write it like https://api.example.com/health".to_owned());
        problems.add(Code::Probe, url, "this is not an http or https address", hint);
        return None;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        let hint = "name a token with `bearer: {secret, key}`, {env: NAME} or {file: PATH}".to_owned();
        problems.add(
            Code::Bearer,
            url,
            "a password does not belong in this file",
            Some(hint),
        );
        return None;
    }
    if host.is_empty() || url.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        problems.add(
            Code::Probe,
            url,
            "this address names no host, or holds a space",
            None,
        );
        return None;
    }
    Some(ProbeTarget::Url(url.value.clone()))
}

fn status(problems: &mut Problems, at: &At<i64>) -> Option<u16> {
    let status = u16::try_from(at.value)
        .ok()
        .filter(|status| (100..=599).contains(status));
    if status.is_none() {
        problems.add(
            Code::WrongValue,
            at,
            "an HTTP status is a number from 100 to 599",
            None,
        );
    }
    status
}

fn json(problems: &mut Problems, expect: &ExpectJson) -> JsonExpectation {
    let path = &expect.path;
    if !path.value.is_empty() && !path.value.starts_with('/') {
        let hint = Some(format!(
            "did you mean `/{}`?",
            path.value.trim_start_matches("$.").replace('.', "/")
        ));
        problems.add(Code::Probe, path, "a JSON pointer begins with `/`", hint);
    }
    JsonExpectation {
        path: path.value.clone(),
        equals: expect.equals.clone(),
    }
}

fn header(problems: &mut Problems, expect: &ExpectHeader) -> HeaderExpectation {
    let name = &expect.name;
    // A token of RFC 9110, section 5.6.2.
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.value.is_empty() || !name.value.chars().all(token) {
        problems.add(Code::WrongValue, name, "this is not the name of a header", None);
    }
    HeaderExpectation {
        name: name.value.clone(),
        equals: expect.equals.clone(),
    }
}

/// A token in a variable.
pub(crate) fn variable(problems: &mut Problems, env: &At<String>) -> SecretRef {
    let first = env
        .value
        .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !env.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let hint = Some("the name of the variable belongs here, not its value".to_owned());
        problems.add(
            Code::Bearer,
            env,
            "this is not the name of an environment variable",
            hint,
        );
    }
    SecretRef::Env(env.value.clone())
}

/// A token in a file.
pub(crate) fn file(problems: &mut Problems, file: &At<String>) -> SecretRef {
    if file.value.is_empty() || file.value.chars().any(char::is_control) {
        let hint = Some("the path of the file belongs here, not its content".to_owned());
        problems.add(Code::Bearer, file, "this is not the path of a file", hint);
    }
    SecretRef::File(file.value.clone())
}

fn bearer(problems: &mut Problems, at: &At<Bearer>) -> Option<SecretRef> {
    let Bearer {
        env,
        file,
        secret,
        key,
    } = &at.value;
    match (env, file, secret, key) {
        (Some(env), None, None, None) => Some(variable(problems, env)),
        (None, Some(file), None, None) => Some(self::file(problems, file)),
        (None, None, Some(secret), Some(key)) => {
            secret_reference(problems, secret, key);
            Some(SecretRef::Secret {
                secret: secret.value.clone(),
                key: key.value.clone(),
            })
        }
        _ => {
            let hint = "it is one of {secret: NAME, key: KEY}, {env: NAME}, {file: PATH}".to_owned();
            problems.add(
                Code::Bearer,
                at,
                "this does not say where one token is found",
                Some(hint),
            );
            None
        }
    }
}

fn secret_reference(problems: &mut Problems, secret: &At<String>, key: &At<String>) {
    // The text may be a token that was written in the wrong place, so it is not repeated.
    if !is_name(&secret.value, false) {
        let hint = Some("the name of a Secret belongs here, not its content".to_owned());
        problems.add(Code::Bearer, secret, "this is not the name of a Secret", hint);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if key.value.is_empty() || !key.value.chars().all(plain) {
        let hint = Some("the name of a key in the Secret's data belongs here, not its value".to_owned());
        problems.add(Code::Bearer, key, "this is not a key of a Secret", hint);
    }
}
