//! A token that a file of astern's only names: out of the environment or a file, into memory, and nowhere else. Whoever speaks
//! to somebody with a token reads it here.

use astern_model::platform::SecretRef;
use secrecy::SecretString;

/// Reads a token. One in the cluster is none of these.
///
/// # Errors
/// A clause that names the place, and never what is in it: the variable is not set, the file cannot be read, or what is there is
/// no token.
pub async fn read(reference: &SecretRef) -> Result<SecretString, String> {
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
                "secret/{secret} is in the cluster; this token is read from a variable or a file"
            ));
        }
    };
    let token = text.trim();
    // It goes into a header, or to a program's prompt: one word on one line.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{place} does not hold a token"));
    }
    Ok(SecretString::from(token.to_owned()))
}
