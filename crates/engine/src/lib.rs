//! A run's state machine: what a journal means, and what is to be done next. Decides by returning data; performs
//! nothing, knows no time but the `now` it is given, and sees of a step only what [`graph::Node`] holds.

pub mod graph;
pub mod status;

pub mod fold;
pub mod next;

pub mod backoff;

pub use fold::{IllegalRecord, Phase, Run};
pub use graph::{Graph, Node, Role};
pub use next::{Command, next};
pub use status::Status;
