//! The token that a source names, or why it cannot be had.

use astern_model::failure::{Failure, FailureClass};
use astern_model::source::Source;
use astern_port::source::{SourceCode, SourceError};
use astern_port::token;
use secrecy::SecretString;

/// The token, where the source names one.
pub(crate) async fn of(source: &Source) -> Result<Option<SecretString>, SourceError> {
    match &source.token {
        None => Ok(None),
        Some(reference) => token::read(reference).await.map(Some).map_err(|why| SourceError {
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
