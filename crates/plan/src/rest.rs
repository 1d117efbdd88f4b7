//! When a platform has come to rest on something that no release of the ledger is, and what that is called. Owns both questions; whether
//! it is any good is the judge's.

use crate::world::asks_for;
use astern_model::choice::{clock, human};
use astern_model::config::ConfigName;
use astern_model::id::{ContentHash, sha256};
use astern_model::image::Image;
use astern_model::inventory::Inventory;
use astern_model::release::{Release, ReleaseName};
use astern_model::target::Target;
use astern_model::workload::{Pod, Workload};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A pipeline writes its objects one after the other: what was written later than this ago may not be all of it.
pub const QUIET_FOR: SignedDuration = SignedDuration::from_secs(30);
/// A rollout that says no deadline of its own has failed after this: the default of Deployments.
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds>.
pub const ROLLED_OUT_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// The label by which a workload tells its version.
/// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>.
const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// A ConfigMap or Secret that the platform reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadObject {
    /// What it holds.
    pub content: ContentHash,
    /// When that was written, where it is known.
    pub written: Option<Timestamp>,
}

/// What runs, and what it reads.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// The namespace.
    pub inventory: &'a Inventory,
    /// The platform's workloads.
    pub targets: &'a [Target],
    /// What they read, by object.
    pub read: &'a BTreeMap<ConfigName, ReadObject>,
}

impl<'a> Stand<'a> {
    fn workloads(&self) -> impl Iterator<Item = &'a Workload> {
        let inventory = self.inventory;
        self.targets
            .iter()
            .filter_map(|target| inventory.workloads.get(target))
    }

    /// Why it has not come to rest yet, a clause; none where every rollout is over, well or not, and nothing was written for
    /// [`QUIET_FOR`].
    pub fn moves(&self) -> Option<String> {
        let now = self.inventory.taken_at;
        let rolling = self.workloads().find_map(|workload| rolling(workload, now));
        let is_new = |at: &Timestamp| now.duration_since(*at) < QUIET_FOR;
        let written = || {
            self.read.iter().find_map(|(name, object)| {
                let at = object.written.filter(is_new)?;
                Some(format!("{name} was written at {}", clock(at)))
            })
        };
        rolling.or_else(written)
    }

    /// Whether the same workloads ask for the templates of a release.
    pub fn runs(&self, release: &Release) -> bool {
        release.workloads.len() == self.targets.len()
            && self.workloads().all(|workload| {
                let held = release.workload(&workload.target);
                held.is_some_and(|held| asks_for(workload, &held.template))
            })
    }

    /// Whether a release is exactly this. `contents` is what the release holds of what is read.
    pub fn is(&self, release: &Release, contents: &BTreeMap<ConfigName, ContentHash>) -> bool {
        let now: BTreeMap<&ConfigName, &ContentHash> = self
            .read
            .iter()
            .map(|(name, object)| (name, &object.content))
            .collect();
        self.runs(release) && now == contents.iter().collect()
    }

    /// What differs from a release, object by object.
    pub fn changed_since(
        &self,
        release: &Release,
        contents: &BTreeMap<ConfigName, ContentHash>,
    ) -> Vec<String> {
        let is_other = |workload: &&Workload| {
            let held = release.workload(&workload.target);
            held.is_none_or(|held| !asks_for(workload, &held.template))
        };
        let workloads = self.workloads().filter(is_other);
        let workloads = workloads.map(|workload| workload.target.to_string());
        let gone = release
            .workloads
            .iter()
            .filter(|held| !self.targets.contains(&held.target));
        let objects = self
            .read
            .iter()
            .filter(|(name, object)| contents.get(*name) != Some(&object.content));
        workloads
            .chain(gone.map(|held| format!("{} (gone)", held.target)))
            .chain(objects.map(|(name, _)| name.to_string()))
            .collect()
    }

    /// What a release of this is called: the version that its workloads tell; else the one that those tell which changed since
    /// the `newest` release; else only what it is. Where a release has that name already, with what it is behind it. Whoever sees
    /// the same finds the same name.
    pub fn name(&self, newest: Option<&Release>, mutable: &[String], taken: &[ReleaseName]) -> ReleaseName {
        let is_changed = |workload: &&Workload| {
            let held = newest.and_then(|newest| newest.workload(&workload.target));
            held.is_none_or(|held| !asks_for(workload, &held.template))
        };
        let version = only(self.workloads().map(|workload| version(workload, mutable))).or_else(|| {
            let changed = self.workloads().filter(is_changed);
            only(changed.map(|workload| version(workload, mutable)))
        });
        let digest = self.digest();
        let named = |text: &str| ReleaseName::parse(text).ok();
        let told = version.and_then(|version| {
            let free = named(&version).filter(|name| !taken.contains(name));
            free.or_else(|| named(&format!("{version}+{digest}")))
        });
        told.or_else(|| named(&format!("watched-{digest}")))
            .unwrap_or_else(|| panic!("BUG: a word and eight hexadecimal digits are no release's name"))
    }

    /// Eight digits that are others where anything is another.
    fn digest(&self) -> String {
        const DIGITS: usize = 8;
        let workloads = self
            .workloads()
            .map(|workload| format!("{} {}\n", workload.target, workload.template.hash()));
        let read = self
            .read
            .iter()
            .map(|(name, object)| format!("{name} {}\n", object.content));
        let all: String = workloads.chain(read).collect();
        let hash = sha256(all.as_bytes());
        hash.trim_start_matches("sha256:").chars().take(DIGITS).collect()
    }
}

/// Why a workload's rollout goes on; none where it is over.
fn rolling(workload: &Workload, now: Timestamp) -> Option<String> {
    let target = &workload.target;
    let live = workload.template.hash();
    let since = workload
        .revisions
        .iter()
        .filter(|revision| revision.hash == live)
        .map(|revision| revision.created_at);
    let written = workload.template_manager.as_ref().and_then(|manager| manager.at);
    let since = since.chain(written).max().unwrap_or(workload.created_at);
    let age = now.duration_since(since);
    if age < QUIET_FOR {
        return Some(format!(
            "{target} came to {} at {}",
            workload.version(),
            clock(since)
        ));
    }
    let standing = || workload.pods.iter().filter(|pod| !pod.terminating);
    let of_live = |pod: &&Pod| pod.revision.as_ref() == Some(&live);
    let ready = standing().filter(of_live).filter(|pod| pod.ready).count();
    let former = standing().filter(|pod| !of_live(pod)).count();
    let wanted = usize::try_from(workload.desired).unwrap_or(usize::MAX);
    let is_complete = workload.status.observed && ready >= wanted && former == 0;
    let stuck = || {
        standing()
            .filter(of_live)
            .any(|pod| pod.trouble.as_ref().is_some_and(|trouble| trouble.cannot_pass()))
    };
    let within = workload.progress_deadline.unwrap_or(ROLLED_OUT_WITHIN);
    if is_complete || age >= within || stuck() {
        return None;
    }
    Some(format!(
        "{target} rolls out {} since {}: {ready} of {wanted} pods of it are ready, {former} of earlier versions are left",
        workload.version(),
        human(age)
    ))
}

/// What all of them say, where they say the same.
fn only(versions: impl Iterator<Item = Option<String>>) -> Option<String> {
    let said: BTreeSet<Option<String>> = versions.collect();
    let mut said = said.into_iter();
    match (said.next(), said.next()) {
        (Some(one), None) => one,
        _ => None,
    }
}

/// The version that a workload tells: by its label, else by the tag of its first container's image, where nobody moves that tag.
fn version(workload: &Workload, mutable: &[String]) -> Option<String> {
    let of_pods = workload.template.json().pointer("/metadata/labels");
    let of_pods = of_pods
        .and_then(|labels| labels.get(VERSION_LABEL))
        .and_then(serde_json::Value::as_str);
    let label = workload.labels.get(VERSION_LABEL).map(String::as_str).or(of_pods);
    let tag = || {
        let containers = workload.template.containers();
        let first = containers.iter().find(|container| !container.init)?.image()?;
        tag(&first).filter(|tag| !mutable.contains(tag))
    };
    label
        .filter(|label| !label.is_empty())
        .map(str::to_owned)
        .or_else(tag)
}

fn tag(image: &Image) -> Option<String> {
    image.tag().map(str::to_owned)
}
