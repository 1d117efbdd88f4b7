//! The independent checker, and the only maker of an approved plan. Owns the rules, each with its code and page, and
//! the two doors: [`approve`] for a start, [`readmit`] for a resume. Shares no code with the planner, so that it does
//! not inherit the planner's mistakes; does no I/O, and takes `now` as an argument.
//!
//! The way through: [`questions`] says what the rules must know, somebody answers through the ports, [`check`] gives a
//! [`CheckedPlan`] or a [`Rejected`], and [`approve`] binds it to who said yes.

mod approved;
mod checked;
mod context;
mod course;
mod demand;
mod order;
mod owners;
mod quantity;
mod reference;
mod rules;
mod scope;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;

pub use approved::{ApprovedPlan, NotApproved, approve, readmit};
pub use checked::{CheckedPlan, Rejected, check, codes, questions};
pub use context::Progress;
