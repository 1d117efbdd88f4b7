//! The refusals: each a planned answer with a code, what it rests on, and the ways out as something to type. Owns
//! their words; when one is given is decided elsewhere. Nothing was changed when a plan is refused.

use crate::releases::Through;
use crate::steps::Move;
use astern_model::choice::{Choice, clock, human};
use astern_model::config::{ConfigName, HeldBy};
use astern_model::decision::{Decision, Fired, Refusal};
use astern_model::helm::{Release, Revision};
use astern_model::id::RunId;
use astern_model::inventory::Inventory;
use astern_model::policy::{Acceptor, Say};
use astern_model::target::{Target, WorkloadKind};
use jiff::Timestamp;
use std::collections::BTreeSet;

pub(crate) mod external;

/// The codes of the planner's refusals. Each has a page in `docs/errors/`.
pub mod code {
    /// A workload that fails has no revision that is known good.
    pub const NOTHING_GOOD: &str = "AST0101";
    /// A workload was named that the namespace does not hold.
    pub const UNKNOWN_WORKLOAD: &str = "AST0102";
    /// The matrix says "do not".
    pub const DO_NOT: &str = "AST0103";
    /// The revision is only presumed good, and whoever approves may not accept that.
    pub const PRESUMED: &str = "AST0104";
    /// There is nothing to take back.
    pub const NOTHING_TO_DO: &str = "AST0105";
    /// What follows `--to WORKLOAD=` does not name exactly one revision.
    pub const NOT_ONE_REVISION: &str = "AST0106";
    /// `dependsOn` runs in a circle.
    pub const CYCLE: &str = "AST0107";
    /// A StatefulSet's partition keeps pods from taking the template.
    pub const PARTITION: &str = "AST0108";
    /// The flags contradict each other or the policy.
    pub const CONTRADICTION: &str = "AST0109";
    /// What a run put there is no longer what is there.
    pub const MOVED_SINCE: &str = "AST0110";
    /// A Helm release cannot be rolled back as one.
    pub const RELEASE: &str = "AST0111";
    /// A client of a Helm release may be at work.
    pub const RELEASE_AT_WORK: &str = "AST0112";
    /// A Secret is made from another object, which writes it again.
    pub const MADE_FROM: &str = "AST0114";
}

/// At most this many near names are told.
const NEAR_NAMES: usize = 3;
/// How alike a name must be to be meant, of 1.
const NEAR_ENOUGH: f32 = 0.6;
/// A command with more flags than this is not typed by hand.
const FLAGS_MAX: usize = 8;

/// How a workload is typed after a flag: Deployments by their bare name, others with their kind.
pub(crate) fn typed(target: &Target) -> String {
    match target.kind {
        WorkloadKind::Deployment => target.name.clone(),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::Rollout => target.to_string(),
    }
}

/// The targets as a list in a sentence.
pub(crate) fn list<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    let names: Vec<String> = targets.into_iter().map(Target::to_string).collect();
    names.join(", ")
}

fn refusal(code: &str, summary: String) -> Refusal {
    Refusal {
        code: code.to_owned(),
        summary,
        details: Vec::new(),
        choices: Vec::new(),
        ways_out: Vec::new(),
    }
}

/// Some of the workloads that must go back have nothing good to go back to; others may have.
pub(crate) fn nothing_good(without: Vec<Choice>, others: &[&Target]) -> Refusal {
    let targets: Vec<&Target> = without.iter().map(|choice| &choice.target).collect();
    let mut refusal = refusal(
        code::NOTHING_GOOD,
        format!("no known good revision of {}", list(targets.iter().copied())),
    );
    for choice in &without {
        let notes = choice
            .notes
            .iter()
            .map(|note| format!("{}: {note}", choice.target));
        let passed = choice.passed_over.iter().map(|passed| {
            let revision = &passed.revision;
            format!(
                "{}: {} ({}): {}",
                choice.target,
                revision.version,
                revision.label(),
                passed.why
            )
        });
        refusal.details.extend(notes.chain(passed));
    }
    for choice in &without {
        let target = typed(&choice.target);
        match choice.passed_over.iter().find(|passed| may_be_named(&passed.why)) {
            Some(passed) => refusal.ways_out.push(format!(
                "astern rollback --to {target}={} goes to {} on your own word; --to takes any revision above",
                passed.revision.number, passed.revision.version
            )),
            None => refusal.ways_out.push(format!(
                "apply the manifest of a good version of {} again: the cluster keeps none to go back to",
                choice.target
            )),
        }
    }
    if !others.is_empty() {
        let only = only_flags(others);
        refusal.ways_out.push(format!(
            "astern rollback {only} takes back what has a good revision"
        ));
    }
    if without.iter().any(|choice| choice.passed_over.is_empty()) {
        refusal
            .ways_out
            .push("a revisionHistoryLimit above 0 keeps revisions from the next rollout on".to_owned());
    }
    refusal.choices = without;
    refusal
}

/// The flags that limit a rollback to these workloads.
fn only_flags(targets: &[&Target]) -> String {
    if targets.len() > FLAGS_MAX {
        return format!("--only WORKLOAD, for each of the other {},", targets.len());
    }
    let flags: Vec<String> = targets
        .iter()
        .map(|target| format!("--only {}", typed(target)))
        .collect();
    flags.join(" ")
}

/// What speaks against a revision, or is live in all but name, is never proposed as an example.
fn may_be_named(why: &str) -> bool {
    ![
        "marked bad",
        "same template as now",
        "it was taken back before",
        "release ",
    ]
    .iter()
    .any(|bad| why.starts_with(bad))
}

/// The workloads whose names are nearest to a mistyped one, best first, at most three names.
pub fn near<'a>(name: &str, known: impl Iterator<Item = &'a Target>) -> Vec<String> {
    let known: Vec<&Target> = known.collect();
    let of_name = |name: &&str| {
        known
            .iter()
            .filter(|target| target.name == **name)
            .map(|target| target.to_string())
            .collect::<Vec<_>>()
    };
    near_names(name, known.iter().map(|target| target.name.as_str()))
        .iter()
        .flat_map(of_name)
        .collect()
}

/// The names nearest to a mistyped one, best first, at most three.
pub fn near_names<'a>(name: &'a str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let known: BTreeSet<&str> = known.collect();
    let known: Vec<&str> = known.into_iter().collect();
    similar::get_close_matches(name, &known, NEAR_NAMES, NEAR_ENOUGH)
}

/// A name that the namespace does not hold, with the names nearest to it.
pub(crate) fn unknown_workload<'a>(
    unknown: &Target,
    namespace: &str,
    known: impl Iterator<Item = &'a Target>,
) -> Refusal {
    let near = near(&unknown.name, known);
    let mut refusal = refusal(
        code::UNKNOWN_WORKLOAD,
        format!("{unknown} does not exist in namespace {namespace}"),
    );
    if near.is_empty() {
        refusal
            .ways_out
            .push(format!("astern status -n {namespace} lists its workloads"));
    } else {
        refusal
            .ways_out
            .push(format!("did you mean {}?", near.join(", ")));
    }
    refusal
}

/// The matrix says "do not", and not every row that says so is overridden.
pub(crate) fn do_not(
    decision: &Decision,
    overrides: &BTreeSet<String>,
    others: &[&Target],
    choices: Vec<Choice>,
) -> Refusal {
    let against: Vec<&Fired> = decision
        .fired
        .iter()
        .filter(|fired| fired.say == Say::DoNot && !overrides.contains(&fired.row))
        .collect();
    let because: Vec<&str> = against.iter().map(|fired| fired.because.as_str()).collect();
    let mut refusal = refusal(
        code::DO_NOT,
        format!("the matrix says do not roll back: {}", because.join("; ")),
    );
    for fired in &against {
        refusal.details.extend(
            fired
                .on
                .iter()
                .map(|(target, why)| format!("{}: {target}: {why}", fired.row)),
        );
    }
    let flags: Vec<String> = against
        .iter()
        .map(|fired| format!("--override-decision {}", fired.row))
        .collect();
    refusal
        .ways_out
        .push("look for what both versions need and lack: a database, a config, a quota, a node".to_owned());
    if !others.is_empty() {
        let only = only_flags(others);
        refusal.ways_out.push(format!(
            "astern rollback {only} leaves these workloads as they are"
        ));
    }
    refusal.ways_out.push(format!(
        "astern rollback {} decides against the matrix",
        flags.join(" ")
    ));
    refusal.choices = choices;
    refusal
}

/// The chosen revisions are only presumed good, and `acceptor` may not accept that.
pub(crate) fn presumed(acceptor: Acceptor, presumed: Vec<Choice>) -> Refusal {
    let who = match acceptor {
        Acceptor::Person => "a person",
        Acceptor::Yes => "--yes",
    };
    let targets = list(presumed.iter().map(|choice| &choice.target));
    let mut refusal = refusal(
        code::PRESUMED,
        format!(
            "the revision to go back to is only presumed good for {targets}, and the policy does not let {who} accept that"
        ),
    );
    for choice in &presumed {
        if let Some(good) = &choice.good {
            refusal.details.push(format!(
                "{}: {} ({}): {}",
                choice.target,
                good.revision.version,
                good.revision.label(),
                good.because.sentence()
            ));
            refusal.ways_out.push(format!(
                "astern rollback --to {}={} names the revision yourself",
                typed(&choice.target),
                good.revision.number
            ));
        }
    }
    refusal.ways_out.push(match acceptor {
        Acceptor::Yes => "astern rollback without --yes asks a person".to_owned(),
        Acceptor::Person => "policy.acceptPresumed in astern.yaml says who may accept it".to_owned(),
    });
    refusal.choices = presumed;
    refusal
}

/// There is nothing to take back; `details` says why for each workload that was looked at.
pub(crate) fn nothing_to_do(summary: &str, details: Vec<String>, choices: Vec<Choice>) -> Refusal {
    let mut refusal = refusal(code::NOTHING_TO_DO, summary.to_owned());
    refusal.details = details;
    refusal.choices = choices;
    refusal
        .ways_out
        .push("astern status shows how each workload stands".to_owned());
    refusal
        .ways_out
        .push("astern rollback --to WORKLOAD=REVISION names what to go back to".to_owned());
    refusal
}

/// A selector that names no revision, or several.
pub(crate) fn not_one_revision(selector: &str, choice: Choice) -> Refusal {
    let target = choice.target.clone();
    let mut refusal = refusal(
        code::NOT_ONE_REVISION,
        format!(
            "--to {}={selector} does not name exactly one revision",
            typed(&target)
        ),
    );
    refusal.details.extend(choice.notes.iter().cloned());
    refusal.details.extend(choice.passed_over.iter().map(|passed| {
        let revision = &passed.revision;
        format!(
            "{}: {} ({})",
            revision.label(),
            revision.version,
            revision.images.join(", ")
        )
    }));
    if let Some(first) = choice.passed_over.first() {
        refusal.ways_out.push(format!(
            "astern rollback --to {}={}",
            typed(&target),
            first.revision.number
        ));
    }
    refusal.ways_out.push(format!(
        "kubectl rollout history {target} -n {} lists what is remembered",
        target.namespace
    ));
    refusal.choices = vec![choice];
    refusal
}

/// `--to helm/NAME=…` names a release that no workload of the namespace belongs to.
pub(crate) fn unknown_release(name: &str, known: Vec<String>) -> Refusal {
    let summary = format!("no workload of the namespace belongs to a Helm release {name} with records");
    let mut refusal = refusal(code::RELEASE, summary);
    refusal
        .details
        .extend((!known.is_empty()).then(|| format!("there is {}", known.join(", "))));
    refusal
        .ways_out
        .push("helm list -A --all shows every release".to_owned());
    refusal
}

/// A release has no such revision.
pub(crate) fn unknown_release_revision(release: &Release, number: u64) -> Refusal {
    let summary = format!("{} has no revision {number}", release.name);
    let mut refusal = refusal(code::RELEASE, summary);
    refusal.details = revisions(release);
    refusal.ways_out.extend(
        release
            .revisions
            .get(1)
            .map(|revision| format!("astern plan --to {}={}", release.name, revision.number)),
    );
    refusal
}

/// A release stands where it was to go.
pub(crate) fn nothing_in_release(release: &Release, revision: &Revision) -> Refusal {
    let (name, number) = (&release.name, revision.number);
    let is_newest = release.newest().is_some_and(|newest| newest.number == number);
    let detail = match is_newest {
        true => format!("revision {number} is the newest of {name} already"),
        false => format!("what stands of {name} is what its revision {number} says"),
    };
    nothing_to_do("there is nothing to change", vec![detail], Vec::new())
}

/// No revision of the release has the templates that were chosen for its workloads.
pub(crate) fn no_release_revision(
    release: &Release,
    chosen: Vec<String>,
    passed_over: &[(u64, String)],
) -> Refusal {
    let summary = format!(
        "no earlier revision of {} has what was chosen for its workloads",
        release.name
    );
    let mut refusal = refusal(code::RELEASE, summary);
    refusal.details = chosen;
    refusal.details.extend(
        passed_over
            .iter()
            .map(|(number, why)| format!("revision {number}: {why}")),
    );
    refusal
        .ways_out
        .push(format!("astern plan --to {}=REVISION names one", release.name));
    refusal.ways_out.push(outside(release));
    refusal
}

/// The record of a revision that is needed is not what it says, or may not be read.
pub(crate) fn unreadable_record(release: &Release, revision: &Revision, why: &str) -> Refusal {
    let summary = format!(
        "the record of {}'s revision {} cannot be read",
        release.name, revision.number
    );
    let mut refusal = refusal(code::RELEASE, summary);
    refusal.details.push(why.to_owned());
    refusal.ways_out.push(format!(
        "astern plan --to {}=REVISION names another one",
        release.name
    ));
    refusal.ways_out.push(outside(release));
    refusal
}

/// `--to WORKLOAD=` asks for a move that the release, which goes back whole, does not make.
pub(crate) fn stays(release: &Release, revision: &Revision, target: &Target) -> Refusal {
    let summary = format!(
        "revision {} of {} leaves {target} as it is, and --to names another version of it",
        revision.number, release.name
    );
    let mut refusal = refusal(code::RELEASE, summary);
    refusal.ways_out.push(format!(
        "astern plan --to {}=REVISION names another one",
        release.name
    ));
    refusal.ways_out.push(outside(release));
    refusal
}

/// The cluster remembers no revision of a workload with the template that a release's revision writes, and what the API server would
/// make of the manifest is not known; `why`, where it was asked.
pub(crate) fn not_remembered(
    release: &Release,
    revision: &Revision,
    target: &Target,
    why: Option<&str>,
) -> Refusal {
    let summary = format!(
        "revision {} of {} writes a template for {target} that is none of the remembered ones",
        revision.number, release.name
    );
    let mut refusal = refusal(code::RELEASE, summary);
    if let Some(why) = why {
        refusal.details.push(format!(
            "a dry run of what helm would write does not tell what {target} would ask for then: {why}"
        ));
    }
    refusal.details.push(
        "so nothing tells which pods will serve afterwards, and the wait for them could not be checked"
            .to_owned(),
    );
    if why.is_some() {
        refusal.ways_out.push(format!(
            "kubectl auth can-i patch {} -n {} tells whether you have the right that helm and the dry run need",
            target.kind.plural(),
            target.namespace
        ));
    }
    refusal.ways_out.push(format!(
        "helm rollback {} {} -n {} --wait, by hand",
        release.name.name, revision.number, release.name.namespace
    ));
    refusal.ways_out.push(outside(release));
    refusal
}

/// A Helm release is to bring content back, and workloads go with Helm releases to templates of another release than the content's.
pub(crate) fn carries_another_release(
    brings: &Through<'_>,
    held: &HeldBy,
    failing: &[&Target],
    carried: &[&Move<'_>],
) -> Refusal {
    let (release, revision) = (&brings.release.name, brings.to.number);
    let summary = format!(
        "{release} would bring back what {} should read as release {} has it, and the templates of another release with it",
        list(failing.iter().copied()),
        held.release
    );
    let mut refusal = refusal(code::RELEASE, summary);
    let detail = |one: &&Move<'_>| {
        let mut released = one.view.workload.released.iter();
        let of = released.find(|released| released.template == one.to.template);
        let of = of.map_or_else(
            || "no release of the ledger".to_owned(),
            |of| format!("release {}", of.release),
        );
        format!(
            "{} would go to {}, which {of} has: whether that gets on with what release {} holds is not known",
            one.target(),
            one.to.version,
            held.release
        )
    };
    refusal.details = carried.iter().map(detail).collect();
    refusal.ways_out.push(format!(
        "astern plan --to {release}={revision} takes it back whole, on your own word"
    ));
    refusal.ways_out.push(format!(
        "astern plan {} --outside-helm writes the content alone; the next upgrade of {release} writes over it",
        only_flags(failing)
    ));
    refusal
}

/// The namespace holds no record of such a release.
pub(crate) fn no_such_release(name: &str, inventory: &Inventory) -> Refusal {
    let summary = format!("namespace {} has no Helm release {name}", inventory.namespace);
    let mut refusal = refusal(code::RELEASE, summary);
    let known = inventory.releases.iter();
    refusal
        .details
        .extend(known.map(|release| format!("there is {}", release.name)));
    refusal.ways_out.push("astern helm lists the releases".to_owned());
    refusal
}

/// The newest record says that an operation is under way, and has not been still for long.
pub(crate) fn release_at_work(release: &Release, newest: &Revision, status: &str, now: Timestamp) -> Refusal {
    let since = now.duration_since(newest.changed_at);
    let summary = format!(
        "revision {} of {} is {status}: a helm client may be at work on it",
        newest.number, release.name
    );
    let mut refusal = refusal(code::RELEASE_AT_WORK, summary);
    refusal.details.push(format!(
        "its record was written {} ago ({}); one that nobody has written for {} counts as left by a client that died",
        human(since),
        clock(newest.changed_at),
        human(crate::releases::ABANDONED_AFTER)
    ));
    refusal.details.extend(release.at_work.iter().cloned());
    refusal.ways_out.push(format!(
        "wait until it ends: `helm history {} -n {}`",
        release.name.name, release.name.namespace
    ));
    refusal.ways_out.push(format!(
        "if you know that its client is dead: astern plan --abandoned {0}, or astern helm repair {0} --abandoned for the record alone",
        release.name.name
    ));
    refusal
}

fn outside(release: &Release) -> String {
    format!(
        "astern plan --outside-helm writes the workloads themselves; the next upgrade of {} writes over them",
        release.name
    )
}

fn revisions(release: &Release) -> Vec<String> {
    let line = |revision: &Revision| format!("revision {}: {}", revision.number, revision.status);
    release.revisions.iter().map(line).collect()
}

/// The workloads wait for each other.
pub(crate) fn cycle(circle: &[&Target]) -> Refusal {
    let path: Vec<String> = circle
        .iter()
        .chain(circle.first())
        .map(|target| target.to_string())
        .collect();
    let mut refusal = refusal(
        code::CYCLE,
        format!("dependsOn runs in a circle: {}", path.join(" -> ")),
    );
    refusal
        .ways_out
        .push("remove one of these dependsOn entries from astern.yaml".to_owned());
    if let Some(first) = circle.first() {
        refusal.ways_out.push(format!(
            "astern rollback --only {} takes one of them back alone",
            typed(first)
        ));
    }
    refusal
}

/// Pods below the partition would stay on the version that must go.
pub(crate) fn partition(target: &Target, partition: u32, pods: &[String], to: u64) -> Refusal {
    let mut refusal = refusal(
        code::PARTITION,
        format!(
            "{target} has partition {partition}: writing the template would leave {} as they are",
            pods.join(", ")
        ),
    );
    refusal.details.push(format!(
        "a StatefulSet's pods with an ordinal below spec.updateStrategy.rollingUpdate.partition ({partition}) keep the old revision"
    ));
    let namespace = &target.namespace;
    refusal.ways_out.push(format!(
        "first kubectl rollout undo {target} -n {namespace} --to-revision={to}: with the partition gone first, every pod would take the version that fails"
    ));
    refusal.ways_out.push(format!(
        "then kubectl patch {target} -n {namespace} --type merge -p '{{\"spec\":{{\"updateStrategy\":{{\"rollingUpdate\":{{\"partition\":0}}}}}}}}'"
    ));
    refusal
}

/// A Secret that somebody makes from another object.
pub(crate) fn made_from(object: &ConfigName, source: &str) -> Refusal {
    let mut refusal = refusal(
        code::MADE_FROM,
        format!(
            "the content of {object} cannot be put back: it is made from {source}, which writes it again"
        ),
    );
    refusal.ways_out.push(format!(
        "have {source} name the version of then, by its id, and wait until {object} holds it; then plan again"
    ));
    refusal.ways_out.push(leave(object));
    refusal
}

fn leave(object: &ConfigName) -> String {
    format!(
        "or leave it as it is: take {} out of `config: {{restoreSecrets}}` in astern.yaml",
        object.name
    )
}

/// `--to` names a workload that `--only` leaves out.
pub(crate) fn to_outside_only(outside: &[&Target]) -> Refusal {
    let mut refusal = refusal(
        code::CONTRADICTION,
        format!(
            "--to names {}, which --only leaves out",
            list(outside.iter().copied())
        ),
    );
    let only: Vec<String> = outside
        .iter()
        .map(|target| format!("--only {}", typed(target)))
        .collect();
    refusal
        .ways_out
        .push(format!("add {}, or leave --only out", only.join(" ")));
    refusal
}

/// `--override-decision` names a row that the matrix does not have.
pub(crate) fn unknown_row(row: &str, rows: &[&str]) -> Refusal {
    let mut refusal = refusal(
        code::CONTRADICTION,
        format!("--override-decision {row}: the matrix has no such row"),
    );
    refusal.details.push(format!("its rows are {}", rows.join(", ")));
    let near = similar::get_close_matches(row, rows, 1, NEAR_ENOUGH);
    refusal.ways_out.extend(
        near.first()
            .map(|near| format!("did you mean --override-decision {near}?")),
    );
    refusal
        .ways_out
        .push("astern policy check prints the matrix".to_owned());
    refusal
}

/// Workloads that somebody changed after the run that is to be undone.
pub(crate) fn moved_since(run: &RunId, details: Vec<String>) -> Refusal {
    let mut refusal = refusal(
        code::MOVED_SINCE,
        format!("what run {run} put there is no longer what is there"),
    );
    refusal.details = details;
    refusal
        .ways_out
        .push(format!("astern report {run} shows what it replaced"));
    refusal
        .ways_out
        .push("astern rollback --to WORKLOAD=REVISION goes to a revision that you name".to_owned());
    refusal
}
