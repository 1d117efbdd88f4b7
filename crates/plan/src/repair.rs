//! Mending the record of a Helm release that a dead client left pending, without a rollback: helm refuses every further
//! operation on such a release, whether or not its workloads serve. Owns that plan.

use crate::refuse;
use crate::releases::{content, may_live, pin};
use crate::steps;
use astern_model::assessment::Assessment;
use astern_model::decision::{Decision, Refusal};
use astern_model::helm::{Release, Revision, Status};
use astern_model::inventory::Inventory;
use astern_model::plan::{Criteria, Intent, Plan};
use astern_model::platform::Platform;
use astern_model::policy::Say;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Plans marking the pending record of a release as failed, and nothing else. `abandoned` are releases whose client is
/// dead by somebody's word.
///
/// # Errors
/// [`crate::code::RELEASE`] where there is no such release or its record cannot be read,
/// [`crate::code::NOTHING_TO_DO`] where nothing is pending, [`crate::code::RELEASE_AT_WORK`] where its client may live.
pub fn repair_release(
    name: &str,
    abandoned: &BTreeSet<String>,
    inventory: &Inventory,
    platform: &Platform,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let release = inventory
        .releases
        .iter()
        .find(|release| release.name.name == name);
    let unknown = || refuse::no_such_release(name, inventory);
    let release = release.ok_or_else(unknown)?;
    let newest = release.newest().ok_or_else(unknown)?;
    let Status::Pending(status) = &newest.status else {
        let summary = format!("nothing is pending in {}", release.name);
        let said = format!("revision {}, the newest, is {}", newest.number, newest.status);
        return Err(refuse::nothing_to_do(&summary, vec![said], Vec::new()));
    };
    if may_live(release, newest, abandoned, now) {
        return Err(refuse::release_at_work(release, newest, status, now));
    }
    content(release, newest)?;
    let steps: Vec<_> = pin(newest)
        .map(|record| steps::repair(&release.name, record, status, newest.changed_at, Vec::new()))
        .into_iter()
        .collect();
    Ok(Plan {
        platform: platform.name.clone(),
        namespace: inventory.namespace.clone(),
        cluster: inventory.cluster.clone(),
        made_at: now,
        expires_at: now
            .checked_add(platform.policy.plan_expiry)
            .unwrap_or(Timestamp::MAX),
        intent: Intent::RepairRelease {
            release: name.to_owned(),
        },
        assessment: Assessment {
            workloads: Vec::new(),
        },
        decision: Decision {
            say: Say::Ask,
            fired: Vec::new(),
        },
        choices: Vec::new(),
        changes: Vec::new(),
        releases: Vec::new(),
        config: Vec::new(),
        forecast: steps::longest(&steps),
        steps,
        unchanged: vec![
            "no workload is touched: whatever the operation had written until its client died stays as it is"
                .to_owned(),
        ],
        warnings: vec![afterwards(release, newest)],
        // Nothing rolls, so there is nothing to be watched.
        recovered_when: Criteria {
            soak: SignedDuration::ZERO,
            ..Criteria::of(platform, Vec::new())
        },
        rto: platform.rto,
        on_failure: platform.policy.on_failure,
    })
}

/// What a mended release is good for, as a sentence.
fn afterwards(release: &Release, pending: &Revision) -> String {
    let name = &release.name;
    let deployed = release
        .revisions
        .iter()
        .find(|revision| revision.number != pending.number && revision.status == Status::Deployed);
    match deployed {
        Some(revision) => format!(
            "{name} is then mended, not finished: what runs may be half of revision {} and half of revision {}; install the \
             next one with helm upgrade, or go back with astern rollback",
            revision.number, pending.number
        ),
        None => format!(
            "{name} has no revision that was ever deployed: install again with helm upgrade --install, or take it away with \
             helm uninstall {} -n {}",
            name.name, name.namespace
        ),
    }
}
