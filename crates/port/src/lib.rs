//! The traits that the outside implements. A provider knows a spec, what was there before and a stamp; it knows no
//! other provider, no journal and no run. Nothing here does anything.

pub mod clock;
pub mod cluster;
pub mod config;
pub mod journal;
pub mod ledger;
pub mod lock;
pub mod logins;
pub mod owners;
pub mod provider;
pub mod releases;
pub mod sense;
pub mod source;
pub mod vault;

pub use astern_model::failure::{Failure, FailureClass};
