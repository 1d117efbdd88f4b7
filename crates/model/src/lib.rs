//! The nouns of astern, as plain data. Owns every type that two other crates exchange; knows no I/O, clock or
//! randomness: `now`, ids and seeds are always arguments.
//!
//! Read in this order: what is looked at ([`target`], [`workload`], [`inventory`]), what is concluded
//! ([`evidence`], [`assessment`], [`decision`], [`choice`]), what is to be done ([`plan`], [`step`]), and what was
//! done ([`record`], [`verdict`]).

pub mod id;
pub mod target;
pub mod template;

pub mod config;
pub mod hashed;
pub mod helm;
pub mod image;
pub mod inventory;
pub mod owner;
pub mod platform;
pub mod reconstruction;
pub mod release;
pub mod source;
pub mod workload;

pub mod assessment;
pub mod audit;
pub mod choice;
pub mod decision;
pub mod evidence;
pub mod login;
pub mod mask;
pub mod policy;

pub mod defect;
pub mod diff;
pub mod drift;
pub mod plan;
pub mod question;
pub mod reversal;
pub mod step;

pub mod approval;
pub mod content;
pub mod external;
pub mod failure;
pub mod finding;
pub mod record;
pub mod verdict;
