//! A world on a sandbox: the real adapters behind a client whose API server is in this process, on a clock that
//! follows tokio's. Owns how the parts are put together; a stage decides nothing and injects nothing.
//!
//! On a runtime whose time is paused, an hour of cluster life takes milliseconds: time jumps to whatever is waited for
//! next, once everybody waits.
//!
//! [`rehearse()`] carries a plan out there, on a [`copy()`] of its namespace, and tells what it showed; faults are injected
//! for it alone.

mod answered;
mod clock;
mod contents;
mod copy;
mod faults;
mod jobs;
mod pace;
mod pods;
mod points;
mod rehearse;
mod stage;
mod standing;

pub use clock::TokioClock;
pub use contents::Kept;
pub use copy::{Copy, NotImitated, copy};
pub use pace::{Paces, paces};
pub use rehearse::{NotRolled, Piece, RehearsalError, on_paused_time, rehearse};
pub use stage::{SERVER, Stage, world};
