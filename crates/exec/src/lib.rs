//! Performs a run's commands, durably. There is no `if` about a step here: it performs, classifies, appends, folds,
//! and asks the engine again. The only caller of a provider's effects.

pub mod book;
pub mod driver;
pub mod perform;

pub use book::{Book, BookError};
pub use driver::{Driver, Ended, ExecError, Judge, Observer, Ports};
