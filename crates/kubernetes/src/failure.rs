//! What an error of the API server, or of the way to it, means for the caller. Owns the one translation from
//! `kube::Error` to [`Failure`]; decides nothing else.

use astern_model::failure::{Failure, FailureClass};
use kube::core::Status;
use std::fmt;

/// The verbs of the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many objects.
    List,
    /// Follow changes.
    Watch,
    /// Make an object.
    Create,
    /// Replace an object.
    Update,
    /// Change part of an object.
    Patch,
    /// Delete an object.
    Delete,
}

impl Verb {
    /// The word that RBAC rules use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    fn only_reads(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => true,
            Self::Create | Self::Update | Self::Patch | Self::Delete => false,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One request, as far as its failure must be told: what was tried on what, and whether it could have changed
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    verb: Verb,
    resource: String,
    operation: String,
    may_change: bool,
}

impl Attempt {
    /// A request. `resource` is the plural with its subresource (`deployments`, `pods/log`); `operation` is an
    /// imperative phrase with the object: `write the template of deployment/api-gateway`.
    pub fn new(verb: Verb, resource: impl Into<String>, operation: impl Into<String>) -> Self {
        Self {
            verb,
            resource: resource.into(),
            operation: operation.into(),
            may_change: !verb.only_reads(),
        }
    }

    /// The same as a dry run, or a review that stores nothing: it cannot have changed anything.
    #[must_use]
    pub fn without_effect(mut self) -> Self {
        self.may_change = false;
        self
    }

    /// The failure that `error` is.
    ///
    /// - 429 and whatever never left this machine: `Transient`.
    /// - 409, and a failed `test` of a JSON patch (422 without causes): `Conflict`.
    /// - 400, 401, 403, 422: `Refused`, with the missing verb and resource where the server names a missing right.
    /// - 404, 405, 406, 415: `Permanent`.
    /// - 5xx, 408, a lost connection, an answer that cannot be read: `Transient` for a read, `Unknown` for a write.
    pub fn failed(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => self.answered(status),
            kube::Error::Auth(source) => self.fail(FailureClass::Refused, chain(source)).hint(LOG_IN_AGAIN),
            kube::Error::BuildRequest(source) => self.fail(FailureClass::Permanent, chain(source)),
            kube::Error::SerdeError(_) => self.unreadable(),
            other => self.lost(other),
        }
    }

    /// The failure that a request is which has not been answered after `within`.
    pub fn timed_out(&self, within: jiff::SignedDuration) -> Failure {
        let message = format!("the API server did not answer within {} ms", within.as_millis());
        self.fail(self.unsettled(), message).hint(LOOK_AT_SERVER)
    }

    /// The failure that an answer is which cannot be read. The reader's own words may quote the answer, a secret
    /// value in it too, so they are not passed on.
    pub fn unreadable(&self) -> Failure {
        let class = if self.may_change {
            FailureClass::Unknown
        } else {
            FailureClass::Permanent
        };
        self.fail(class, "the API server's answer was not understood")
    }

    fn answered(&self, status: &Status) -> Failure {
        let class = self.class_of(status);
        let said = match (status.code, &class) {
            (422, FailureClass::Conflict) => "the object is no longer as it was when it was read".to_owned(),
            _ => words(status),
        };
        let failure = self.fail(class, said);
        match status.code {
            401 => failure.hint(LOG_IN_AGAIN),
            403 if lacks_right(&status.message) => failure.hint(self.right()),
            _ => failure,
        }
    }

    fn class_of(&self, status: &Status) -> FailureClass {
        match status.code {
            429 => FailureClass::Transient {
                retry_after_ms: retry_after_ms(status),
            },
            409 => FailureClass::Conflict,
            422 if self.verb == Verb::Patch && is_failed_test(status) => FailureClass::Conflict,
            400 | 401 | 403 | 413 | 422 => FailureClass::Refused,
            // A list or watch from a resourceVersion that is gone: a new one starts afresh.
            410 if !self.may_change => FailureClass::Transient { retry_after_ms: None },
            404 | 405 | 406 | 410 | 415 => FailureClass::Permanent,
            // Admission comes before storage, so a webhook that could not be called has kept the write out.
            500 if status.message.contains("failed calling webhook") => {
                FailureClass::Transient { retry_after_ms: None }
            }
            _ => self.unsettled(),
        }
    }

    fn lost(&self, error: &kube::Error) -> Failure {
        let said = match error {
            kube::Error::Service(source) => chain(source.as_ref()),
            other => chain(other),
        };
        if said.contains("certificate") {
            // The handshake failed, so no request was sent, and another attempt meets the same certificate.
            return self.fail(FailureClass::Permanent, said).hint(
                "the server's certificate is not the one that the kubeconfig trusts: check `certificate-authority` and the server's name",
            );
        }
        let failure = match never_sent(error) {
            true => self.fail(
                FailureClass::Transient { retry_after_ms: None },
                format!("the API server cannot be reached: {said}"),
            ),
            false => self.fail(
                self.unsettled(),
                format!("the API server's answer was lost: {said}"),
            ),
        };
        failure.hint(LOOK_AT_SERVER)
    }

    fn unsettled(&self) -> FailureClass {
        match self.may_change {
            true => FailureClass::Unknown,
            false => FailureClass::Transient { retry_after_ms: None },
        }
    }

    fn right(&self) -> String {
        format!("{RIGHT_MISSING} {} {}", self.verb, self.resource)
    }

    fn fail(&self, class: FailureClass, message: impl Into<String>) -> Failure {
        Failure::new(class, self.operation.clone(), message)
    }
}

/// Whether a failure says that the user lacks a right, as against what admission, a quota or Pod Security refuse.
pub fn is_missing_right(failure: &Failure) -> bool {
    failure.class == FailureClass::Refused
        && failure
            .hint
            .as_deref()
            .is_some_and(|hint| hint == LOG_IN_AGAIN || hint.starts_with(RIGHT_MISSING))
}

const RIGHT_MISSING: &str = "ask for the right to";
const LOG_IN_AGAIN: &str = "the server does not know who you are: log in again, then repeat the command";
const LOOK_AT_SERVER: &str = "look whether the API server answers: kubectl get --raw /readyz";

fn words(status: &Status) -> String {
    match (status.message.trim(), status.reason.as_str()) {
        ("", "") => format!("the server answered {}", status.code),
        ("", reason) => format!("the server answered {} {reason}", status.code),
        (message, _) => message.to_owned(),
    }
}

fn retry_after_ms(status: &Status) -> Option<u64> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| u64::from(seconds) * 1000)
}

/// The API server answers a failed `test` with 422 and no object; a validation error names the object and its causes.
fn is_failed_test(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_none_or(|details| details.causes.is_empty() && details.kind.is_empty())
}

/// RBAC's words, as against those of a quota, of Pod Security or of a webhook, which are 403 as well. Source:
/// `apiserver/pkg/endpoints/handlers/responsewriters/errors.go`, `forbiddenMessage`.
fn lacks_right(message: &str) -> bool {
    message.contains(" cannot ") && message.contains("User \"")
}

/// Whether no connection came to be, so that the server cannot have seen the request.
fn never_sent(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(layer) = next {
        // hyper-util's error for a connection that was not made has a kind that only its text tells from here.
        if layer.to_string() == "client error (Connect)" {
            return true;
        }
        if let Some(io) = layer.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        next = layer.source();
    }
    false
}

/// An error and its causes in one line, each said once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(layer) = next {
        let text = layer.to_string();
        match said.last_mut() {
            // kube repeats its cause inside its own text.
            Some(last) if last.contains(&text) => {
                if let Some(own) = last
                    .strip_suffix(&text)
                    .map(|own| own.trim_end_matches([':', ' ']).to_owned())
                    && !own.is_empty()
                {
                    *last = own;
                    said.push(text);
                }
            }
            _ => said.push(text),
        }
        next = layer.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    fn details() -> StatusDetails {
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        }
    }

    fn told(verb: Verb, code: u16, message: &str, details: StatusDetails) -> Failure {
        let status = Status::failure(message, "").with_code(code).with_details(details);
        Attempt::new(verb, "deployments", "do it").failed(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn an_answer_is_classified_by_code_and_by_whether_it_could_have_changed_anything() {
        let transient = FailureClass::Transient { retry_after_ms: None };
        let check = |verb, code, class: &FailureClass| {
            assert_eq!(&told(verb, code, "no", details()).class, class, "{verb} {code}");
        };
        check(Verb::Update, 409, &FailureClass::Conflict);
        check(Verb::Update, 422, &FailureClass::Refused);
        check(Verb::Patch, 422, &FailureClass::Conflict);
        check(Verb::Update, 403, &FailureClass::Refused);
        check(Verb::Get, 401, &FailureClass::Refused);
        check(Verb::Create, 400, &FailureClass::Refused);
        check(Verb::Get, 404, &FailureClass::Permanent);
        check(Verb::Delete, 404, &FailureClass::Permanent);
        check(Verb::Get, 500, &transient);
        check(Verb::List, 503, &transient);
        check(Verb::List, 504, &transient);
        check(Verb::Watch, 410, &transient);
        check(Verb::Update, 500, &FailureClass::Unknown);
        check(Verb::Create, 503, &FailureClass::Unknown);
        check(Verb::Delete, 504, &FailureClass::Unknown);
    }

    #[test]
    fn a_patch_that_fails_validation_is_refused_and_no_conflict() {
        let mut why = details();
        why.kind = "Deployment".to_owned();
        why.causes.push(StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: "must be non-negative".to_owned(),
            field: "spec.replicas".to_owned(),
        });
        assert_eq!(
            told(Verb::Patch, 422, "Deployment is invalid", why).class,
            FailureClass::Refused
        );
    }

    #[test]
    fn the_servers_wish_for_a_pause_is_kept() {
        let mut later = details();
        later.retry_after_seconds = 3;
        let failure = told(Verb::Update, 429, "slow down", later);
        assert_eq!(
            failure.class,
            FailureClass::Transient {
                retry_after_ms: Some(3000)
            }
        );
    }

    #[test]
    fn a_write_that_a_webhook_kept_out_did_not_happen() {
        let message = "Internal error occurred: failed calling webhook \"a.b\": connection refused";
        assert_eq!(
            told(Verb::Update, 500, message, details()).class,
            FailureClass::Transient { retry_after_ms: None }
        );
    }

    #[test]
    fn a_dry_run_without_an_answer_changed_nothing() {
        let attempt = Attempt::new(Verb::Update, "deployments", "try").without_effect();
        let within = jiff::SignedDuration::from_secs(1);
        assert_eq!(
            attempt.timed_out(within).class,
            FailureClass::Transient { retry_after_ms: None }
        );
        assert_eq!(
            Attempt::new(Verb::Update, "deployments", "write")
                .timed_out(within)
                .class,
            FailureClass::Unknown
        );
    }

    #[test]
    fn a_missing_right_is_named_and_a_quota_is_not_taken_for_one() {
        let right = "deployments.apps is forbidden: User \"eve\" cannot update resource \"deployments\"";
        assert_eq!(
            told(Verb::Update, 403, right, details()).hint.as_deref(),
            Some("ask for the right to update deployments")
        );
        assert_eq!(
            told(
                Verb::Create,
                403,
                "pods \"a\" is forbidden: exceeded quota: q",
                details()
            )
            .hint,
            None
        );
    }

    #[test]
    fn a_refused_connection_is_transient_even_for_a_write() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let attempt = Attempt::new(Verb::Update, "deployments", "write");
        assert_eq!(
            attempt.failed(&kube::Error::Service(Box::new(refused))).class,
            FailureClass::Transient { retry_after_ms: None }
        );
        assert_eq!(
            attempt.failed(&kube::Error::Service(Box::new(reset))).class,
            FailureClass::Unknown
        );
    }
}
