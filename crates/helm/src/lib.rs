//! The Helm adapter: releases read from their own records, rollbacks by the helm program, and the repair of a record that
//! a dead client left. Hooks and merging are Helm's; whether something happened is told by the records alone.

mod contents;
mod effects;
mod failure;
mod foretold;
mod held;
mod manifest;
mod mask;
mod merge;
mod payload;
mod program;
mod records;
mod standing;

pub use effects::Helm;
pub use payload::{Defect, decode};
pub use program::Program;
