//! A plan that passed every rule, and the plan that did not. Owns no rule.

use crate::context::{Context, Door, writes};
use crate::rules;
use astern_model::finding::{Allowances, Finding, Severity};
use astern_model::id::PlanHash;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::question::{Answers, Question};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fmt;

/// What the rules must know about the world, without repetition and in a fixed order. The gate asks for itself: it
/// does not rest on what the planner asked.
pub fn questions(plan: &Plan, inventory: &Inventory) -> Vec<Question> {
    let writes = writes(plan, inventory);
    let asked: BTreeSet<Question> = rules::ALL
        .iter()
        .flat_map(|rule| (rule.ask)(plan, &writes))
        .collect();
    asked.into_iter().collect()
}

/// Every code that the gate gives, in order. Each has a page in `docs/errors/`.
pub fn codes() -> Vec<&'static str> {
    rules::codes()
}

/// Holds every rule against a plan that is about to start. `sealed` are the plan's bytes as first written; a question
/// without an answer counts as unknown, which is never a pass.
///
/// # Errors
/// [`Rejected`] when a rule refuses. It carries the warnings as well, so that everything is told at once.
pub fn check(
    plan: Plan,
    sealed: Vec<u8>,
    inventory: &Inventory,
    answers: &Answers,
    allow: &Allowances,
    now: Timestamp,
) -> Result<CheckedPlan, Rejected> {
    let context = Context::new(&plan, &sealed, inventory, answers, allow, Door::Start { now });
    let findings = rules::findings(&context);
    CheckedPlan::unless_refused(plan, sealed, findings)
}

/// A plan that no rule refuses. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedPlan {
    plan: Plan,
    sealed: Vec<u8>,
    hash: PlanHash,
    findings: Vec<Finding>,
}

impl CheckedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The hash of its sealed bytes: what an approval names.
    pub fn hash(&self) -> &PlanHash {
        &self.hash
    }

    /// Its bytes as first written, never encoded again.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// The warnings, in the order of their codes. A person reads them before saying yes.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(crate) fn unless_refused(
        plan: Plan,
        sealed: Vec<u8>,
        findings: Vec<Finding>,
    ) -> Result<Self, Rejected> {
        if findings
            .iter()
            .any(|finding| finding.severity == Severity::Refuse)
        {
            return Err(Rejected {
                plan: Box::new(plan),
                findings,
            });
        }
        Ok(Self {
            plan,
            hash: PlanHash::of(&sealed),
            sealed,
            findings,
        })
    }
}

/// A plan that may not run. Nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The plan.
    pub plan: Box<Plan>,
    /// What the rules found: refusals first, then warnings, each in the order of their codes.
    pub findings: Vec<Finding>,
}

impl Rejected {
    /// The findings that refuse.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Refuse)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: BTreeSet<&str> = self.refusals().map(|finding| finding.code.as_str()).collect();
        let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
        write!(
            f,
            "the plan for {} may not run ({codes}); nothing was changed",
            self.plan.platform
        )
    }
}

impl std::error::Error for Rejected {}
