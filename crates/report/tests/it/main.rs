//! What the crate says of one incident, before, during and after its run.

mod page;
mod plan;
mod rehearsal;
mod release;
mod report;
mod revert;
mod sample;
mod whole;
