//! The token that a source names: out of the environment or a file, into memory, and nowhere else.

use astern_model::failure::{Failure, FailureClass};
use astern_model::platform::SecretRef;
use astern_model::source::Source;
use astern_port::source::{SourceCode, SourceError};
use secrecy::SecretString;

/// The token, where the source names one.
pub(crate) async fn of(source: &Source) -> Result<Option<SecretString>, SourceError> {
    match &source.token {
        None => Ok(None),
        Some(reference) => read(reference).await.map(Some).map_err(|why| SourceError {
            code: SourceCode::Token,
            failure: Failure::new(
                FailureClass::Refused,
                format!("read the token for {}", source.repository),
                why,
            )
            .hint("set it where the source in astern.yaml says that it is (`token`)"),
        }),
    }
}

async fn read(reference: &SecretRef) -> Result<SecretString, String> {
    let (text, place) = match reference {
        SecretRef::Env(name) => (
            std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?,
            format!("the variable {name}"),
        ),
        SecretRef::File(path) => (
            tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("{path}: {error}"))?,
            path.clone(),
        ),
        SecretRef::Secret { secret, .. } => {
            return Err(format!(
                "secret/{secret} is in the cluster; a source's token is in a variable or a file"
            ));
        }
    };
    let token = text.trim();
    // It goes into a header and to git's prompt: one word on one line.
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{place} does not hold a token"));
    }
    Ok(SecretString::from(token.to_owned()))
}
