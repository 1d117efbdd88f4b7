//! What went wrong with a request for a record, as the engine acts on it and a person reads it.

use astern_model::failure::{Failure, FailureClass};
use std::error::Error;

/// Characters of a server's message that are passed on: admission webhooks may say anything at any length.
const MESSAGE_CHARS: usize = 400;

/// Whether a request without an answer may have had an effect that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// None: it may be made again.
    Read,
    /// It may.
    Write,
}

/// The failure of a request.
pub(crate) fn failure(operation: &str, error: &kube::Error, intent: Intent) -> Failure {
    let lost = match intent {
        Intent::Read => FailureClass::Transient { retry_after_ms: None },
        Intent::Write => FailureClass::Unknown,
    };
    match error {
        kube::Error::Api(status) => {
            let said: String = status.message.chars().take(MESSAGE_CHARS).collect();
            let class = match status.code {
                401 | 403 => FailureClass::Refused,
                409 => FailureClass::Conflict,
                410 | 429 => FailureClass::Transient { retry_after_ms: None },
                500..=599 => lost,
                _ => FailureClass::Permanent,
            };
            let failure = Failure::new(
                class,
                operation,
                format!(
                    "the API server answered {} {}: {said}",
                    status.code, status.reason
                ),
            );
            match status.code {
                403 => failure.hint("Helm keeps its releases in Secrets of the namespace: astern needs the same rights on them as helm"),
                _ => failure,
            }
        }
        // Nothing was sent.
        kube::Error::Auth(source) => Failure::new(FailureClass::Refused, operation, innermost(source))
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
        other => Failure::new(
            lost,
            operation,
            format!("the API server could not be reached: {}", innermost(other)),
        ),
    }
}

/// The innermost words, which say what happened; those around them repeat it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::AuthError;

    #[test]
    fn a_write_without_valid_credentials_was_not_sent_and_is_refused() {
        let error = kube::Error::Auth(AuthError::AuthExec("token expired".to_owned()));
        let failure = failure("write a record", &error, Intent::Write);
        assert_eq!(failure.class, FailureClass::Refused);
        assert!(failure.message.contains("token expired"), "{failure:?}");
    }
}
