//! `astern.yaml`: from its text to a [`Platform`] and back. Reads and writes text only; finding the file is the
//! caller's business.

mod error;
mod file;
mod probe;
mod read;
mod secret;
mod source;
mod write;
mod yaml;

pub use error::{Code, PlatformError};
#[cfg(test)]
pub(crate) use file::words;
pub use write::write_platform;

use astern_model::platform::Platform;
use astern_model::source::Source;

/// Reads an `astern.yaml`. `file` is the name under which places are reported.
///
/// # Errors
/// [`PlatformError`] tells everything that is wrong with line and caret. A slip in the shape (unknown key, wrong
/// type) ends the reading at the first; what concerns meaning is told all at once.
pub fn parse_platform(text: &str, file: &str) -> Result<Platform, PlatformError> {
    let shape = yaml::read(text).map_err(|problem| PlatformError::new(file, text, vec![problem]))?;
    read::platform(&shape).map_err(|problems| PlatformError::new(file, text, problems))
}

/// Reads the sources of an `astern.yaml`: the Git folders that its workloads are deployed from. They are no part of the
/// platform: no plan and no run needs them.
///
/// # Errors
/// As [`parse_platform`].
pub fn parse_sources(text: &str, file: &str) -> Result<Vec<Source>, PlatformError> {
    let shape = yaml::read(text).map_err(|problem| PlatformError::new(file, text, vec![problem]))?;
    let read = read::read(&shape).map_err(|problems| PlatformError::new(file, text, problems))?;
    Ok(read.1)
}

/// The JSON Schema of `astern.yaml`, as it is published for editors and pipelines.
pub fn schema_text() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let schema = settings
        .into_generator()
        .into_root_schema_for::<file::PlatformFile>();
    let mut text = crate::output::to_json_text(schema.as_value());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
