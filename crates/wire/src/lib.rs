//! Every stored or public format, with its version. Only this crate opens and seals documents.

pub mod duration;
pub mod envelope;
pub mod manifest;
pub mod nearest;
pub mod output;
pub mod platform;
pub mod policy_check;
