//! The planner: from what was seen to a decision, a choice, and an ordered plan, or a refusal that says why not.
//! Owns the judgement and nothing else: no I/O, no clock, no randomness; `now` is an argument, and the same inputs
//! make the same bytes. The gate, which checks what comes out of here, shares no code with it.
//!
//! Read in this order: [`assess`], [`choose`], `blame`, [`decide`], [`plan`], [`undo`], [`verdict`], [`diff`].

mod assess;
mod blame;
mod carried;
mod choose;
mod config;
mod consumers;
mod decide;
mod delivery;
mod diff;
mod drift;
mod errors;
mod external;
mod following;
mod forecast;
mod foretold;
mod images;
mod in_force;
mod judge;
mod manifest;
mod matching;
mod mounted;
mod owners;
mod ownership;
mod phrase;
mod planner;
mod prove;
mod quarantine;
mod quoted;
mod readiness;
mod recalled;
mod reconstruct;
mod refuse;
mod releases;
mod remarks;
mod repair;
mod rest;
mod scope;
mod selector;
mod signals;
mod steps;
mod stopping;
mod timeline;
mod undo;
mod world;

pub use assess::{EVIDENCE_FRESH_FOR, RESTART_EVERY, RESTARTS_OFTEN, assess};
pub use blame::content_they_should_read;
pub use choose::{MARK_BAD, MARK_RESTORED_BY, MARK_ROLLED_BACK_BY, choose, good_revisions};
pub use config::{config_release, goes_back};
pub use consumers::consumers;
pub use decide::decide;
pub use diff::{diff, hidden, hidden_in};
pub use drift::{config_changes, config_drift, workload_drift};
pub use following::{Applied, Beside, Changes, ConfigSeen, InForceOf, changes, chart_in_sync, in_sync, made};
pub use forecast::{History, Promise, ROLLOUT_DEADLINE_MAX, WRITE_DEADLINE, promise};
pub use foretold::{Unremembered, forgotten, unremembered};
pub use in_force::{InForce, in_force};
pub use judge::{Baseline, verdict};
pub use mounted::mounted_classes;
pub use owners::resume_owners;
pub use planner::{Request, plan};
pub use prove::{
    ContentTakenBack, KEEP_BAD, KEEP_GOOD, KEEP_NEWEST, Proof, TakenBack, content_taken_back, health,
    may_be_proven, prove, prunable, taken_back,
};
pub use quarantine::{ImagesTakenBack, Kept, quarantined, quarantined_content};
pub use quoted::without_values;
pub use readiness::{is_first_version, readiness, readiness_questions, restored_by};
pub use recalled::{deployed_while, forgotten_beside_git, looked_at, unrecalled};
pub use reconstruct::{applied_in, deployed_in, most_trusted, other_image, sought};
pub use refuse::{code, near, near_names};
pub use releases::ABANDONED_AFTER;
pub use repair::repair_release;
pub use rest::{QUIET_FOR, ROLLED_OUT_WITHIN, ReadObject, Stand};
pub use scope::RELEASE_WINDOW;
pub use selector::{Selector, SelectorError};
pub use undo::{Taken, TakenConfig, TakenRun, undo};
pub use world::asks_for;
