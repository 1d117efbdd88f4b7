//! The traits that the outside implements. A provider knows a spec, what was there before and a stamp; it knows no
//! other provider, no journal and no run. Nothing here does anything, but for the reading of tokens that several providers need.

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
pub mod token;
pub mod vault;

pub use astern_model::failure::{Failure, FailureClass};
