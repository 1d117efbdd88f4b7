//! Every stored or public format, with its version. Only this crate opens and seals documents.

pub mod envelope;
