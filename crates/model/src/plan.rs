//! The plan: ordered steps with nothing left to choose. Immutable; a changed mind makes another plan.

use crate::assessment::Assessment;
use crate::choice::Choice;
use crate::decision::Decision;
use crate::diff::Change;
use crate::id::StepId;
use crate::platform::{Platform, Probe};
use crate::policy::OnFailure;
use crate::reconstruction::Provenance;
use crate::step::Step;
use crate::target::{Cluster, Target};
use crate::workload::RunningImage;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One plan. The same inputs make the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The platform's name.
    pub platform: String,
    /// The namespace.
    pub namespace: String,
    /// Which cluster it is for; another one is refused.
    pub cluster: Cluster,
    /// When it was made.
    pub made_at: Timestamp,
    /// After this it may not be started any more.
    pub expires_at: Timestamp,
    /// What it does.
    pub intent: Intent,
    /// What the evidence said.
    pub assessment: Assessment,
    /// What the matrix said.
    pub decision: Decision,
    /// For each target: what was chosen and what was passed over.
    pub choices: Vec<Choice>,
    /// For each target: what changes in its template.
    pub changes: Vec<TargetChanges>,
    /// For each Helm release that is rolled back: what changes with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ReleaseChanges>,
    /// For each ConfigMap and Secret that is written: what changes in it, and who reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ConfigChanges>,
    /// The steps, each after those it names.
    pub steps: Vec<Step>,
    /// What it does not change, a sentence each.
    pub unchanged: Vec<String>,
    /// What a reader must know before saying yes, a sentence each.
    pub warnings: Vec<String>,
    /// What will count as recovered.
    pub recovered_when: Criteria,
    /// The expected time until the last workload serves: the longest path through the steps.
    pub forecast: SignedDuration,
    /// The budget that it is held against.
    pub rto: SignedDuration,
    /// What a failed step leads to once a workload was restored.
    pub on_failure: OnFailure,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Intent {
    /// Take a release back.
    RollBack,
    /// Let owners go on that runs have paused.
    ResumeOwners,
    /// Mend the record of a Helm release that a dead client left pending.
    RepairRelease {
        /// Its name.
        release: String,
    },
    /// Take a run back.
    Undo {
        /// The run that is taken back.
        run: crate::id::RunId,
    },
}

/// What changes in one workload's template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetChanges {
    /// The workload.
    pub target: Target,
    /// The version now.
    pub from_version: String,
    /// The version then.
    pub to_version: String,
    /// Who says what it asked for then, where the cluster remembers no revision of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Place by place.
    pub changes: Vec<Change>,
}

/// What changes in one Helm release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseChanges {
    /// The release.
    pub release: crate::helm::ReleaseName,
    /// The newest revision and its chart: `7 (shop-1.2.4)`.
    pub from: String,
    /// The revision that comes back and its chart.
    pub to: String,
    /// Why it is that one, a sentence without a full stop.
    pub because: String,
    /// Each newer revision that was passed over, with the reason.
    pub passed_over: Vec<(u64, String)>,
    /// What changes, object by object, from what stands; the pod templates of the plan's workloads stand apart.
    pub objects: Vec<(String, Vec<Change>)>,
    /// What of it stands otherwise than the newest revision says, an object and its places each: somebody changed it
    /// beside Helm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<(String, Vec<String>)>,
    /// How its objects stand that could not be read, a clause each: their changes are those between the two manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// What proves of each Secret that changes that its content of then still works, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<String>,
    /// Each ConfigMap and Secret that changes, and everybody who reads it with how it comes to read what is back, a clause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readers: Vec<(crate::config::ConfigName, Vec<(Target, String)>)>,
    /// What changes in the values.
    pub values: Vec<Change>,
    /// The hooks that the rollback runs, in order. They come from the revision that comes back.
    pub hooks: Vec<crate::helm::Hook>,
    /// What the rollback does not restore, a sentence each.
    pub not_restored: Vec<String>,
}

/// What changes in one ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigChanges {
    /// The object.
    pub object: crate::config::ConfigName,
    /// Whether it is made anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
    /// As of when it comes back: `release v1.2.3`.
    pub to: String,
    /// Why it is taken for the cause, a sentence without a full stop; none where it goes back with templates, or by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Key by key. Values that may be secret are masked.
    pub changes: Vec<Change>,
    /// What proves that a Secret's content still works, a clause: `login probe psql answered at 2026-11-23 14:03:05 UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Everybody who reads it, each with how it comes to read what is back, a clause.
    pub readers: Vec<(Target, String)>,
}

/// What will count as recovered: said before the start, judged after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Criteria {
    /// The workloads that must serve.
    pub targets: Vec<Target>,
    /// For how long it must hold.
    pub soak: SignedDuration,
    /// Error lines a minute and pod that are still well.
    pub error_lines_per_minute: f64,
    /// The probes that must pass, by workload.
    pub probes: Vec<(Target, Probe)>,
    /// The images that must run, by workload: those whose digest a pod of the target revision told before the start. A tag
    /// can be moved; a digest cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<(Target, Vec<RunningImage>)>,
    /// The owners that stay paused, by the workload that they would write back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<(Target, crate::owner::OwnerName)>,
}

impl Criteria {
    /// The criteria of a platform for these targets, whatever images they run.
    pub fn of(platform: &Platform, targets: Vec<Target>) -> Self {
        let probes = platform
            .members
            .iter()
            .filter(|member| targets.contains(&member.target))
            .flat_map(|member| {
                member
                    .probes
                    .iter()
                    .map(|probe| (member.target.clone(), probe.clone()))
            })
            .collect();
        Self {
            targets,
            soak: platform.soak,
            error_lines_per_minute: platform.policy.logs.absolute_per_minute,
            probes,
            images: Vec::new(),
            owners: Vec::new(),
        }
    }
}

impl Plan {
    /// The step with this id.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| &step.id == id)
    }

    /// The steps by wave: a wave's steps wait for earlier waves only. Waves are how a plan is printed; what runs
    /// when follows from `after` alone.
    pub fn waves(&self) -> Vec<Vec<&Step>> {
        let mut level: BTreeMap<&StepId, usize> = BTreeMap::new();
        let mut waves: Vec<Vec<&Step>> = Vec::new();
        for step in &self.steps {
            let depth = step
                .after
                .iter()
                .filter_map(|id| level.get(id))
                .max()
                .map_or(0, |depth| depth + 1);
            level.insert(&step.id, depth);
            if waves.len() <= depth {
                waves.resize_with(depth + 1, Vec::new);
            }
            waves[depth].push(step);
        }
        waves
    }

    /// The workloads that it touches, in order.
    pub fn targets(&self) -> BTreeSet<&Target> {
        self.steps
            .iter()
            .filter_map(|step| step.spec.workload())
            .map(crate::step::workload::Spec::target)
            .collect()
    }
}
