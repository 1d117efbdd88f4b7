//! Whether a recorded release has proven itself: by the judge that also ends a run, over the time that its pods have
//! served. Owns what is evidence enough, and which releases may be forgotten; age alone proves nothing.

use crate::assess::assess;
use crate::decide::decide;
use crate::judge::{Baseline, verdict};
use crate::world::{World, asks_for};
use astern_model::choice::{clock, human};
use astern_model::config::{ConfigName, Use};
use astern_model::id::{ContentHash, RunId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::plan::Criteria;
use astern_model::platform::Platform;
use astern_model::policy::Say;
use astern_model::release::{Failed, Health, Reason, Release, ReleasedWorkload, Standing};
use astern_model::target::Target;
use astern_model::verdict::{CheckResult, Item};
use astern_model::workload::Workload;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// The newest releases, which are always kept.
pub const KEEP_NEWEST: usize = 20;
/// The newest good ones, which are kept however old they are.
pub const KEEP_GOOD: usize = 3;
/// The newest bad ones: what must not be deployed again is remembered for longer.
pub const KEEP_BAD: usize = 20;

/// What can be said of a candidate now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It has served healthily for long enough.
    Good(Reason, Health),
    /// A run took it back.
    Bad(Reason),
    /// It fails: it never becomes good but on somebody's word.
    Failed(Failed),
    /// Neither, and why.
    Open(String),
}

/// Templates that runs have taken back and nobody has put back since: by which run.
pub type TakenBack = BTreeMap<(Target, TemplateHash), RunId>;

/// What ConfigMaps and Secrets held that runs have taken back and nobody has put back since: by which run.
pub type ContentTakenBack = BTreeMap<(ConfigName, ContentHash), RunId>;

/// Judges a candidate by an inventory whose evidence holds logs and probes since.
pub fn prove(release: &Release, inventory: &Inventory, platform: &Platform, taken: &TakenBack) -> Proof {
    let is_live = |released: &ReleasedWorkload| {
        let workload = inventory.workloads.get(&released.target);
        workload.is_some_and(|workload| workload.template.hash() == released.template)
    };
    if let Some(run) = taken_back(release, taken, is_live) {
        return Proof::Bad(run);
    }
    let targets: Vec<Target> = live(release, inventory)
        .map(|workload| workload.target.clone())
        .collect();
    if let Some(what) = fails(&targets, inventory, platform) {
        return Proof::Failed(Failed {
            at: inventory.taken_at,
            what,
        });
    }
    let served = match served(release, inventory, platform) {
        Ok(served) => served,
        Err(why) => return Proof::Open(why),
    };
    let items = judged(release, targets, inventory, platform);
    if let Some(item) = items.iter().find(|item| item.result != CheckResult::Pass) {
        let how = match item.result {
            CheckResult::Fail => "fails",
            CheckResult::Pass | CheckResult::Unknown => "is not known",
        };
        return Proof::Open(format!(
            "{}: {} {how}: {}",
            item.target, item.check, item.evidence
        ));
    }
    let text = format!(
        "served healthily for {}: {} checks passed",
        human(served),
        items.len()
    );
    let Some(reason) = Reason::new(&text) else {
        return Proof::Open(text);
    };
    let at = inventory.taken_at;
    Proof::Good(reason, Health { at, items })
}

/// Whether logs and probes could prove it: a candidate that is live, has never failed, and has served for long enough.
pub fn may_be_proven(release: &Release, inventory: &Inventory, platform: &Platform) -> bool {
    matches!(release.standing, Standing::Candidate { failed: None })
        && served(release, inventory, platform).is_ok()
}

/// What the judge sees of a release's workloads that are live.
pub fn health(release: &Release, inventory: &Inventory, platform: &Platform) -> Health {
    let targets = live(release, inventory).map(|workload| workload.target.clone());
    Health {
        at: inventory.taken_at,
        items: judged(release, targets.collect(), inventory, platform),
    }
}

/// The items of the judge for a release's workloads, compared with what they were when it was recorded.
fn judged(release: &Release, targets: Vec<Target>, inventory: &Inventory, platform: &Platform) -> Vec<Item> {
    let mut criteria = Criteria::of(platform, targets);
    criteria.images = release
        .workloads
        .iter()
        .map(|workload| (workload.target.clone(), workload.images.clone()))
        .map(|(target, mut images)| {
            images.retain(|image| image.digest.is_some());
            (target, images)
        })
        .collect();
    let mut restarts = release.restarts.clone();
    // A pod that is not named there had none by then.
    for pod in inventory.workloads.values().flat_map(|workload| &workload.pods) {
        restarts.entry(pod.uid.clone()).or_insert(0);
    }
    let serving: BTreeMap<_, _> = release
        .workloads
        .iter()
        .map(|released| {
            // A restart leaves its mark, and is the same release.
            let now = inventory.workloads.get(&released.target);
            let restarted = now.filter(|workload| asks_for(workload, &released.template));
            let template = restarted.map_or_else(|| released.template.clone(), |now| now.template.hash());
            (released.target.clone(), template)
        })
        .collect();
    let baseline = Baseline {
        started_at: release.at,
        restarts,
        serving,
    };
    verdict(&criteria, inventory, platform, &baseline)
}

/// The workloads that ask for what the release holds.
fn live<'a>(release: &'a Release, inventory: &'a Inventory) -> impl Iterator<Item = &'a Workload> {
    release.workloads.iter().filter_map(|released| {
        let workload = inventory.workloads.get(&released.target)?;
        asks_for(workload, &released.template).then_some(workload)
    })
}

/// Which run took a template of the release back, after it was recorded and after it was last called good; none where
/// that template is live again.
pub fn taken_back(
    release: &Release,
    taken: &TakenBack,
    is_live: impl Fn(&ReleasedWorkload) -> bool,
) -> Option<Reason> {
    let since = run_since(release);
    release.workloads.iter().find_map(|released| {
        let run = taken.get(&(released.target.clone(), released.template.clone()))?;
        let reason = format!("run {run} took {} back from it", released.target);
        (run.as_str() >= since.as_str() && !is_live(released))
            .then(|| Reason::new(&reason))
            .flatten()
    })
}

/// Which run took back what a ConfigMap or Secret of the release held (`contents`), after it was recorded and after it was last called
/// good.
pub fn content_taken_back(
    release: &Release,
    contents: &BTreeMap<ConfigName, ContentHash>,
    taken: &ContentTakenBack,
) -> Option<Reason> {
    let since = run_since(release);
    contents.iter().find_map(|(name, content)| {
        let run = taken.get(&(name.clone(), content.clone()))?;
        let reason = format!("run {run} took the content of {name} back from it");
        (run.as_str() >= since.as_str())
            .then(|| Reason::new(&reason))
            .flatten()
    })
}

/// The least id of a run that came after a release was recorded and last called good: run ids begin with their time.
fn run_since(release: &Release) -> String {
    let since = match &release.standing {
        Standing::Good(word) => word.at.max(release.at),
        Standing::Candidate { .. } | Standing::Bad(_) => release.at,
    };
    since.strftime("r%Y%m%d-%H%M%S").to_string()
}

/// What fails of these workloads, if the matrix says that it does.
fn fails(targets: &[Target], inventory: &Inventory, platform: &Platform) -> Option<Reason> {
    if targets.is_empty() {
        return None;
    }
    let assessment = assess(inventory, platform, targets);
    let decision = decide(&assessment, &[], &platform.policy);
    let row = decision.fired.iter().find(|fired| fired.say == Say::RollBack)?;
    let (target, why) = row.on.first()?;
    Reason::new(&format!("{target}: {why}"))
}

/// How long the whole release has served, or why it has not for long enough: since it was recorded at the earliest, and
/// since the oldest ready pod of each workload became ready.
fn served(release: &Release, inventory: &Inventory, platform: &Platform) -> Result<SignedDuration, String> {
    if let Standing::Candidate { failed: Some(failed) } = &release.standing {
        return Err(format!(
            "it failed at {} ({}); only somebody's word makes it good",
            clock(failed.at),
            failed.what
        ));
    }
    let world = World::new(inventory, platform);
    let mut since: Option<Timestamp> = None;
    for released in &release.workloads {
        let target = &released.target;
        let Some(view) = world.views.get(target) else {
            return Err(format!("{target} does not exist any more"));
        };
        if !asks_for(view.workload, &released.template) {
            return Err(format!("{target} asks for {} now", view.workload.version()));
        }
        if view.workload.desired == 0 {
            continue;
        }
        let Some(ready) = view.live_pods().filter_map(|pod| pod.ready_since).min() else {
            return Err(format!("no pod of {target} is known to be ready"));
        };
        since = since.max(Some(ready));
    }
    let Some(since) = since else {
        return Err("none of its workloads asks for a pod".to_owned());
    };
    if let Some(why) = not_read(release, &world) {
        return Err(why);
    }
    let served = inventory.taken_at.duration_since(since.max(release.at));
    if served < platform.policy.bake {
        return Err(format!(
            "it has served for {} of {}",
            human(served),
            human(platform.policy.bake)
        ));
    }
    Ok(served)
}

/// What no pod has read yet, a clause: those that serve since before it was written prove nothing of it, but where they are said to take
/// changes in by themselves.
fn not_read(release: &Release, world: &World<'_>) -> Option<String> {
    release.config.iter().find_map(|object| {
        let written = object.written?;
        let readers = object
            .consumers
            .iter()
            .filter(|consumer| consumer.uses.iter().any(Use::is_read_by_pods))
            .filter_map(|consumer| world.views.get(&consumer.target));
        let mut readers = readers.filter(|view| {
            let member = world.members.get(&view.workload.target);
            !member.is_some_and(|member| member.reloads)
        });
        let older = readers.find(|view| {
            let mut pods = view.live_pods();
            pods.any(|pod| pod.ready_since.is_some_and(|since| since < written))
        })?;
        let target = &older.workload.target;
        Some(format!(
            "pods of {target} serve since before {} was written at {}, and have not read what it holds: `kubectl rollout restart {target}`",
            object.name,
            clock(written)
        ))
    })
}

/// The releases that may be forgotten; `releases` are newest first.
pub fn prunable(releases: &[Release]) -> Vec<&Release> {
    let (mut good, mut bad) = (0, 0);
    let kept = |(place, release): (usize, &Release)| {
        let of_its_kind = match &release.standing {
            Standing::Good(_) => {
                good += 1;
                good <= KEEP_GOOD
            }
            Standing::Bad(_) => {
                bad += 1;
                bad <= KEEP_BAD
            }
            Standing::Candidate { .. } => false,
        };
        of_its_kind || place < KEEP_NEWEST
    };
    let kept: Vec<bool> = releases.iter().enumerate().map(kept).collect();
    releases
        .iter()
        .zip(kept)
        .filter(|(_, kept)| !kept)
        .map(|(release, _)| release)
        .collect()
}
