//! The use cases: what astern can be asked to do, without a terminal. Never prints, prompts, reads the environment,
//! or exits; everything that differs between the command line and a server comes in as an argument.

pub mod world;

pub mod survey;

mod config;
mod following;
mod helm;
pub mod ledger;
mod recall;
mod reconstruct;
pub mod watching;

pub mod planning;
pub mod running;

pub mod history;
pub mod judging;

pub mod audit;
pub mod discover;
pub mod drift;
pub mod writeback;

pub use world::World;
