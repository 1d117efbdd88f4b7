//! The approved plan, and the two doors to it: the start and the resume. Owns who may pass; the rules are elsewhere.

use crate::checked::{CheckedPlan, Rejected};
use crate::context::{Context, Door, Progress};
use crate::rules::{self, expiry, refuse};
use astern_model::approval::Approval;
use astern_model::choice::clock;
use astern_model::finding::{Allowances, Finding};
use astern_model::id::{PlanHash, StepId};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::question::Answers;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// The code of an approval that was given for other bytes.
const OTHER_PLAN: &str = "AST0240";
/// The code of an approval without a reason.
const NO_REASON: &str = "AST0241";
/// The codes that are not a rule's.
pub(crate) const CODES: [&str; 2] = [OTHER_PLAN, NO_REASON];

/// Binds a checked plan to whoever said yes. The expiry bounds the start: a plan that waited too long is made again.
///
/// # Errors
/// [`NotApproved`] when the approval is for other bytes, has no reason, or comes too late. Nothing was changed.
pub fn approve(
    checked: CheckedPlan,
    approval: Approval,
    now: Timestamp,
) -> Result<ApprovedPlan, NotApproved> {
    if &approval.plan != checked.hash() {
        return Err(NotApproved::OtherPlan {
            checked: checked.hash().clone(),
            approved: approval.plan,
        });
    }
    if now >= checked.plan().expires_at {
        return Err(NotApproved::Expired {
            at: checked.plan().expires_at,
            now,
        });
    }
    if approval.reason.trim().is_empty() {
        return Err(NotApproved::NoReason);
    }
    Ok(ApprovedPlan { checked, approval })
}

/// Lets a run go on with the plan that it was started with. The bytes must be those that were approved; the rules of
/// structure and of the cluster's identity hold as at the start; the world's rules hold for the steps that have not
/// started, with the run's own effects discounted. Expiry does not count, and the lock is the journal's affair.
/// A step that `progress` does not name is pending.
///
/// # Errors
/// [`Rejected`] as from [`crate::check`]; with `AST0240` when the bytes are others.
pub fn readmit(
    plan: Plan,
    sealed: Vec<u8>,
    approval: Approval,
    progress: &BTreeMap<StepId, Progress>,
    inventory: &Inventory,
    answers: &Answers,
    allow: &Allowances,
) -> Result<ApprovedPlan, Rejected> {
    let context = Context::new(
        &plan,
        &sealed,
        inventory,
        answers,
        allow,
        Door::Resume { progress },
    );
    let mut findings = rules::findings(&context);
    findings.extend(other_bytes(&sealed, &approval));
    findings.sort();
    let checked = CheckedPlan::unless_refused(plan, sealed, findings)?;
    Ok(ApprovedPlan { checked, approval })
}

/// A plan that may be carried out. Only [`approve`] and [`readmit`] make one:
///
/// ```
/// fn start(plan: &astern_gate::ApprovedPlan) -> &astern_model::plan::Plan {
///     plan.plan()
/// }
/// ```
///
/// ```compile_fail,E0451
/// fn forge(
///     checked: astern_gate::CheckedPlan,
///     approval: astern_model::approval::Approval,
/// ) -> astern_gate::ApprovedPlan {
///     astern_gate::ApprovedPlan { checked, approval }
/// }
/// ```
#[must_use = "an approved plan is there to be carried out"]
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovedPlan {
    checked: CheckedPlan,
    approval: Approval,
}

impl ApprovedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.checked.plan()
    }

    /// The hash of its sealed bytes.
    pub fn hash(&self) -> &PlanHash {
        self.checked.hash()
    }

    /// Its bytes as first written: the journal's first record, verbatim.
    pub fn sealed(&self) -> &[u8] {
        self.checked.sealed()
    }

    /// Who said yes, and why.
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The warnings that stand.
    pub fn findings(&self) -> &[Finding] {
        self.checked.findings()
    }
}

/// Why a checked plan did not become an approved one. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApproved {
    /// The approval names other bytes.
    OtherPlan {
        /// The hash of the plan at hand.
        checked: PlanHash,
        /// The hash that was approved.
        approved: PlanHash,
    },
    /// The plan waited too long.
    Expired {
        /// Since when it may not be started.
        at: Timestamp,
        /// The time of the attempt.
        now: Timestamp,
    },
    /// Nobody said why.
    NoReason,
}

impl NotApproved {
    /// The code, which has a page.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherPlan { .. } => OTHER_PLAN,
            Self::Expired { .. } => expiry::CODE,
            Self::NoReason => NO_REASON,
        }
    }

    /// What to type next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherPlan { .. } => "read the plan at hand and approve that one: `astern run PLAN`",
            Self::Expired { .. } => expiry::HINT,
            Self::NoReason => "say why: `--reason TEXT`",
        }
    }
}

impl fmt::Display for NotApproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPlan { checked, approved } => {
                write!(
                    f,
                    "the approval is for plan {approved}, and this is plan {checked}; nothing was changed"
                )
            }
            Self::Expired { at, now } => {
                write!(
                    f,
                    "the plan expired at {}, and it is {}; nothing was changed",
                    clock(*at),
                    clock(*now)
                )
            }
            Self::NoReason => f.write_str("the approval gives no reason; nothing was changed"),
        }
    }
}

impl std::error::Error for NotApproved {}

fn other_bytes(sealed: &[u8], approval: &Approval) -> Option<Finding> {
    let hash = PlanHash::of(sealed);
    (hash != approval.plan).then(|| {
        refuse(
            OTHER_PLAN,
            None,
            format!(
                "the run was approved with plan {}, and these bytes are plan {hash}",
                approval.plan
            ),
            "the journal's first record was changed: nothing more is done with it; look at what stands with \
             `astern status`, then plan anew with `astern plan`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn a_plan_is_approved_only_by_its_own_hash_in_time_and_with_a_reason() {
        let check = |change: &dyn Fn(&mut Fixture, &mut Approval), expected: Option<&str>| {
            let mut fixture = Fixture::sound();
            let checked = fixture.check().unwrap();
            let mut approval = fixture.approval();
            change(&mut fixture, &mut approval);
            let code = approve(checked, approval, fixture.now)
                .err()
                .map(|error| error.code());
            assert_eq!(code, expected);
        };
        check(&|_, _| (), None);
        check(
            &|_, approval| approval.plan = PlanHash::of(b"another"),
            Some("AST0240"),
        );
        check(
            &|fixture, _| fixture.now = fixture.plan.expires_at,
            Some("AST0211"),
        );
        check(&|_, approval| approval.reason = " ".to_owned(), Some("AST0241"));
    }

    #[test]
    fn a_resumed_run_is_readmitted_after_its_plan_expired() {
        let mut fixture = Fixture::sound();
        fixture.now = fixture.plan.expires_at;
        let approval = fixture.approval();
        let readmitted = fixture.readmit(approval, &BTreeMap::new()).unwrap();
        assert_eq!(readmitted.findings(), []);
    }
}
