//! How the cluster's stores talk to the API server: creating so that a lost answer does no harm, deleting exactly what
//! was seen, and what the server's errors mean. Knows neither journal nor vault.

use astern_port::{Failure, FailureClass};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use std::error::Error;
use std::time::Duration;

/// Decoded bytes that one Secret of ours holds at most. The API server takes 1 MiB a Secret, all keys together.
pub(crate) const SECRET_BYTES: usize = 900 * 1024;

/// Pauses before a request is made again whose answer was lost: long enough to sit out a dropped connection or a new
/// leader of etcd, short enough to be noticed by nobody.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// Characters of a server's message that are passed on: admission webhooks may say anything at any length.
const MESSAGE_CHARS: usize = 400;

/// What creating an object gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It was made, with this uid.
    New(String),
    /// One of that name was there: somebody else's, or our own whose answer was lost.
    Exists,
}

/// Creates `secret`. A lost answer is asked again: the name allows only one, and the second time says `Exists`.
///
/// # Errors
/// `Unknown` also when a later attempt was plainly refused, if an earlier one may have made it.
pub(crate) async fn create(api: &Api<Secret>, secret: &Secret, operation: &str) -> Result<Created, Failure> {
    let mut pauses = PAUSES.iter();
    let mut lost = false;
    loop {
        let mut failure = match api.create(&PostParams::default(), secret).await {
            Ok(created) => return Ok(Created::New(created.metadata.uid.unwrap_or_default())),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => return Ok(Created::Exists),
            Err(error) => failure(operation, &error, Intent::Write),
        };
        lost |= failure.class == FailureClass::Unknown;
        // A conflict that is not about the name is the quota's own bookkeeping; nothing was made.
        let again = lost || failure.class == FailureClass::Conflict;
        match pauses.next() {
            Some(pause) if again => tokio::time::sleep(*pause).await,
            _ => {
                if lost {
                    failure.class = FailureClass::Unknown;
                }
                return Err(failure);
            }
        }
    }
}

/// Reads what is there, asking again where the answer was lost.
pub(crate) async fn read<T, F>(operation: &str, request: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pauses = PAUSES.iter();
    loop {
        let failure = match request().await {
            Ok(found) => return Ok(found),
            Err(error) => failure(operation, &error, Intent::Read),
        };
        match (pauses.next(), &failure.class) {
            (Some(pause), FailureClass::Transient { retry_after_ms: None }) => {
                tokio::time::sleep(*pause).await
            }
            _ => return Err(failure),
        }
    }
}

/// Deletes the object of this name and uid. One that is gone, or another one of that name, is no error.
pub(crate) async fn delete(api: &Api<Secret>, name: &str, uid: &str, operation: &str) -> Result<(), Failure> {
    let preconditions = Some(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    let params = DeleteParams {
        preconditions,
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(failure(operation, &error, Intent::Read)),
    }
}

/// Whether a request without an answer may have had an effect that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// None: it may be made again.
    Read,
    /// It may.
    Write,
}

/// The failure that a person reads and the engine acts on.
pub(crate) fn failure(operation: &str, error: &kube::Error, intent: Intent) -> Failure {
    let lost = match intent {
        Intent::Read => FailureClass::Transient { retry_after_ms: None },
        Intent::Write => FailureClass::Unknown,
    };
    match error {
        kube::Error::Api(status) => answered(operation, status, lost),
        kube::Error::Auth(_) => Failure::new(FailureClass::Refused, operation, chain(error))
            .hint("log in to the cluster again; `kubectl auth whoami` shows whether it worked"),
        // Its words may quote what could not be read, and that may be a Secret's content.
        kube::Error::SerdeError(error) => Failure::new(
            FailureClass::Permanent,
            operation,
            format!(
                "the API server's answer cannot be read (line {}, column {})",
                error.line(),
                error.column()
            ),
        ),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
            let class = if refused(error) {
                FailureClass::Transient { retry_after_ms: None }
            } else {
                lost
            };
            Failure::new(
                class,
                operation,
                format!("the API server could not be reached: {}", chain(error)),
            )
            .hint("`kubectl version` shows whether the API server answers; then type the same command again")
        }
        other => Failure::new(FailureClass::Permanent, operation, chain(other)),
    }
}

fn answered(operation: &str, status: &kube::core::Status, lost: FailureClass) -> Failure {
    let said: String = status.message.chars().take(MESSAGE_CHARS).collect();
    let message = format!(
        "the API server answered {} {}: {said}",
        status.code, status.reason
    );
    let retry_after_ms = status
        .details
        .as_ref()
        .map(|details| details.retry_after_seconds)
        .filter(|seconds| *seconds > 0)
        .map(|seconds| u64::from(seconds) * 1000);
    let (class, hint) = match status.code {
        401 => (FailureClass::Refused, Some("log in to the cluster again")),
        403 if said.contains("exceeded quota") => (
            FailureClass::Refused,
            Some("the namespace's quota for Secrets is used up: `kubectl describe quota`"),
        ),
        403 => (
            FailureClass::Refused,
            Some(
                "astern needs create, get, list, watch and delete on Secrets in this namespace; with --store FILE it \
                 keeps its journal on this machine instead",
            ),
        ),
        404 => (FailureClass::Permanent, None),
        409 => (FailureClass::Conflict, None),
        410 => (FailureClass::Transient { retry_after_ms: None }, None),
        429 => (FailureClass::Transient { retry_after_ms }, None),
        500..=599 => (lost, None),
        _ => (FailureClass::Permanent, None),
    };
    let failure = Failure::new(class, operation, message);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Whether the connection was refused: then nothing was sent.
fn refused(error: &kube::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// The innermost words, which say what happened; those around them repeat it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, reason: &str, message: &str, intent: Intent) -> String {
        let status = kube::core::Status {
            code,
            ..kube::core::Status::failure(message, reason)
        };
        let failure = failure(
            "append to the journal of run r1",
            &kube::Error::Api(Box::new(status)),
            intent,
        );
        format!("{:?}: {failure}", failure.class)
    }

    #[test]
    fn only_an_answer_that_says_so_means_that_nothing_was_written() {
        let text = [
            told(504, "Timeout", "etcdserver: request timed out", Intent::Write),
            told(504, "Timeout", "etcdserver: request timed out", Intent::Read),
            told(429, "TooManyRequests", "slow down", Intent::Write),
            told(403, "Forbidden", "secrets is forbidden", Intent::Write),
            told(422, "Invalid", "metadata.name: Invalid value", Intent::Write),
        ];
        insta::assert_snapshot!(text.join("\n"), @r"
        Unknown: could not append to the journal of run r1: the API server answered 504 Timeout: etcdserver: request timed out
        Transient { retry_after_ms: None }: could not append to the journal of run r1: the API server answered 504 Timeout: etcdserver: request timed out
        Transient { retry_after_ms: None }: could not append to the journal of run r1: the API server answered 429 TooManyRequests: slow down
        Refused: could not append to the journal of run r1: the API server answered 403 Forbidden: secrets is forbidden
        Permanent: could not append to the journal of run r1: the API server answered 422 Invalid: metadata.name: Invalid value
        ");
    }

    #[test]
    fn an_unreadable_answer_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"aHVudGVyMg==\"").unwrap_err();
        let failure = failure("read", &kube::Error::SerdeError(error), Intent::Read);
        assert!(!failure.to_string().contains("aHVudGVyMg"), "{failure}");
    }
}
