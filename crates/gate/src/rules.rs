//! The rules as data: each a code, what it must know, and what it finds. One rule a file; each code has a page.

use crate::approved;
use crate::context::{Context, Write};
use astern_model::finding::{Finding, Severity};
use astern_model::plan::Plan;
use astern_model::question::Question;
use astern_model::target::Target;

// Structure: true of the plan alone.
mod awaited;
mod bytes;
mod coherence;
mod deadlines;
mod namespace;
mod order;
mod pod_place;
mod point_of_no_return;
mod reversal;
mod shown;

// The world: true of the plan and the cluster together.
mod autoscaler;
mod busy;
mod cluster;
mod config_first;
mod config_owner;
mod config_unknown;
mod drain;
mod dry_run;
pub(crate) mod expiry;
mod helm;
mod image;
mod lock;
mod login;
mod on_delete;
mod owner;
mod partition;
mod paused;
mod permissions;
mod pins;
mod pod;
mod promoted;
mod quota;
mod references;
mod resumed;
mod revision;
mod rolled_back;
mod server_side_apply;
mod stopped;
mod tag;
mod template_of;
mod unread;

/// One rule.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// Its code, which has a page.
    pub(crate) code: &'static str,
    /// What it must know beyond plan and inventory, given the plan and its template writes.
    pub(crate) ask: fn(&Plan, &[Write<'_>]) -> Vec<Question>,
    /// What it finds.
    pub(crate) check: fn(&Context<'_>) -> Vec<Finding>,
}

/// Every rule, in the order of the codes.
pub(crate) const ALL: [Rule; 41] = [
    rule(bytes::CODE, nothing, bytes::check),
    rule(order::CODE, nothing, order::check),
    rule(awaited::CODE, nothing, awaited::check),
    rule(pod_place::CODE, nothing, pod_place::check),
    rule(point_of_no_return::CODE, nothing, point_of_no_return::check),
    rule(reversal::CODE, nothing, reversal::check),
    rule(deadlines::CODE, nothing, deadlines::check),
    rule(coherence::CODE, nothing, coherence::check),
    rule(namespace::CODE, nothing, namespace::check),
    rule(shown::CODE, nothing, shown::check),
    rule(cluster::CODE, nothing, cluster::check),
    rule(expiry::CODE, nothing, expiry::check),
    rule(pins::CODE, nothing, pins::check),
    rule(revision::CODE, nothing, revision::check),
    rule(references::CODE, references::ask, references::check),
    rule(image::CODE, image::ask, image::check),
    rule(tag::CODE, nothing, tag::check),
    rule(dry_run::CODE, dry_run::ask, dry_run::check),
    rule(permissions::CODE, permissions::ask, permissions::check),
    rule(busy::CODE, nothing, busy::check),
    rule(lock::CODE, lock::ask, lock::check),
    rule(paused::CODE, nothing, paused::check),
    rule(on_delete::CODE, nothing, on_delete::check),
    rule(partition::CODE, nothing, partition::check),
    rule(autoscaler::CODE, nothing, autoscaler::check),
    rule(quota::CODE, nothing, quota::check),
    rule(drain::CODE, nothing, drain::check),
    rule(owner::CODE, nothing, owner::check),
    rule(helm::CODE, nothing, helm::check),
    rule(server_side_apply::CODE, nothing, server_side_apply::check),
    rule(rolled_back::CODE, nothing, rolled_back::check),
    rule(pod::CODE, nothing, pod::check),
    rule(unread::CODE, nothing, unread::check),
    rule(config_first::CODE, nothing, config_first::check),
    rule(config_owner::CODE, nothing, config_owner::check),
    rule(resumed::CODE, nothing, resumed::check),
    rule(stopped::CODE, nothing, stopped::check),
    rule(config_unknown::CODE, nothing, config_unknown::check),
    rule(promoted::CODE, nothing, promoted::check),
    rule(template_of::CODE, nothing, template_of::check),
    rule(login::CODE, nothing, login::check),
];

/// One line of the list.
const fn rule(
    code: &'static str,
    ask: fn(&Plan, &[Write<'_>]) -> Vec<Question>,
    check: fn(&Context<'_>) -> Vec<Finding>,
) -> Rule {
    Rule { code, ask, check }
}

/// Every code that a finding or a refused approval can carry, in order.
pub(crate) fn codes() -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = ALL.iter().map(|rule| rule.code).chain(approved::CODES).collect();
    codes.sort_unstable();
    codes
}

/// What all rules find: refusals first, then warnings, each in the order of codes and workloads.
pub(crate) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ALL.iter().flat_map(|rule| (rule.check)(context)).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// A finding with which the plan may not run. `message` is one sentence without a full stop.
pub(crate) fn refuse(
    code: &str,
    target: Option<&Target>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    finding(Severity::Refuse, code, target, message.into(), hint.into())
}

/// A finding with which the plan may run, once somebody has read it.
pub(crate) fn warn(
    code: &str,
    target: Option<&Target>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    finding(Severity::Warn, code, target, message.into(), hint.into())
}

fn finding(
    severity: Severity,
    code: &str,
    target: Option<&Target>,
    message: String,
    hint: String,
) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        target: target.cloned(),
        message,
        hint,
    }
}

/// For rules that plan and inventory suffice.
fn nothing(_: &Plan, _: &[Write<'_>]) -> Vec<Question> {
    Vec::new()
}

/// Names for a sentence: `a, b and 3 more`. The bound keeps a line readable.
fn some<T: std::fmt::Display>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let head = names
        .iter()
        .take(SHOWN)
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}

/// The way out that most rules share: what stands is planned anew.
const PLAN_AGAIN: &str = "plan again from what stands now: `astern plan`";
/// The way out of a plan that contradicts itself.
const NOT_OURS: &str = "do not repair the file by hand: make the plan again with `astern plan -o FILE`; \
                        if astern itself wrote it so, report it";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_rule_has_a_code_of_its_own_and_the_codes_are_in_order() {
        let codes = codes();
        let sorted: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(codes, sorted.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_code_has_a_page_with_its_three_sections() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for code in codes() {
            let page = std::fs::read_to_string(pages.join(format!("{code}.md"))).unwrap_or_default();
            for section in ["## What happened", "## What astern did", "## What to do"] {
                assert!(page.contains(section), "{code} lacks {section:?}");
            }
        }
    }
}
