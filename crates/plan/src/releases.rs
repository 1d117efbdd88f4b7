//! Helm releases in a plan: which revision of a release has what was chosen for its workloads, what else changes with
//! it, and what it does not restore.

use crate::blame::Blame;
use crate::carried::{self, Carrying};
use crate::config;
use crate::diff::{diff, differences};
use crate::manifest::applied;
use crate::matching::{Matched, asked_for};
use crate::planner::{Picked, Request};
use crate::refuse::{self, list};
use crate::selector::Selector;
use crate::steps::{Move, Moves};
use crate::world::{View, World, essence, reference};
use astern_model::choice::{Because, Choice, KnownGood};
use astern_model::config::ConfigName;
use astern_model::decision::Refusal;
use astern_model::diff::{Change, Marks, Shown};
use astern_model::evidence::Known;
use astern_model::helm::{HIDDEN, Read, Record, Recorded, Release, Revision, Standing, Status};
use astern_model::plan::ReleaseChanges;
use astern_model::step::helm::Pin;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::{OwnerKind, Revision as Remembered, RevisionKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A pending record that nobody has written for so long has no client any more: twice what helm itself waits for one
/// operation unless it is told otherwise.
pub const ABANDONED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// One release that goes back as a whole.
pub(crate) struct Through<'a> {
    pub(crate) release: &'a Release,
    pub(crate) from: &'a Revision,
    pub(crate) to: &'a Revision,
    /// The workloads of the plan whose templates change with it.
    pub(crate) targets: BTreeSet<&'a Target>,
    because: String,
    passed_over: Vec<(u64, String)>,
}

/// What a plan pins of a revision; none where its record could not be read.
pub(crate) fn pin(revision: &Revision) -> Option<Pin> {
    Some(Pin {
        number: revision.number,
        uid: revision.uid.clone(),
        content: revision.content()?.content.clone(),
    })
}

/// The request, with every workload named whose template `--to helm/NAME=REVISION` changes.
///
/// # Errors
/// The release or the revision does not exist, cannot be read, or asks for a template that no revision remembers.
pub(crate) fn named(request: &Request, world: &World<'_>) -> Result<Request, Refusal> {
    let mut request = request.clone();
    for (name, number) in request.releases.clone() {
        let release = world
            .inventory
            .releases
            .iter()
            .find(|release| release.name.name == name);
        let Some(release) = release else {
            let known = world
                .inventory
                .releases
                .iter()
                .map(|release| release.name.to_string());
            return Err(refuse::unknown_release(&name, known.collect()));
        };
        let revision = release
            .revision(number)
            .ok_or_else(|| refuse::unknown_release_revision(release, number))?;
        let record = content(release, revision)?;
        for (target, view, manifest) in written(record, world) {
            let selector = match asked_for(view, release, revision, manifest) {
                Some(Matched::Live) => continue,
                Some(Matched::Revision(to)) if to.kind == RevisionKind::HelmRecord => Selector::Helm {
                    release: name.clone(),
                    revision: revision.number,
                },
                Some(Matched::Revision(to)) => Selector::Revision(to.number),
                None => return Err(not_remembered(release, revision, view)),
            };
            request.to.entry(target.clone()).or_insert(selector);
        }
    }
    Ok(request)
}

/// The releases that are to bring content back, each with why. An object that is to hold again what it held in a release of the ledger
/// belongs to one, and that entry names an earlier revision of it which is still as it was then.
pub(crate) fn of_content<'a>(
    request: &Request,
    world: &'a World<'a>,
    blame: &Blame<'_>,
) -> BTreeMap<&'a str, String> {
    if request.outside_helm {
        return BTreeMap::new();
    }
    let Some((held, objects)) = config::to_bring_back(request, world, blame) else {
        return BTreeMap::new();
    };
    let why = |release: &'a Release| {
        let recorded = release.recorded.as_ref().filter(|one| one.by == held.release)?;
        let newest = release.newest()?;
        let earlier =
            newest.number != recorded.revision && !request.releases.contains_key(&release.name.name);
        let as_then = recorded_revision(release, recorded, &Moves::new(), &BTreeSet::new());
        let lists = objects.iter().filter(|object| {
            let owners = world.inventory.config.live(object).map(|live| live.owners.iter());
            let mut owners = owners.into_iter().flatten();
            owners.any(|owner| owner.kind == OwnerKind::Helm && owner.name == release.name.name)
        });
        let lists: Vec<&ConfigName> = lists.copied().collect();
        if !earlier || as_then.is_err() || lists.is_empty() {
            return None;
        }
        let because = |object: &&ConfigName| blame.because(object, world.inventory.config.live(object));
        let why = lists.iter().copied().find_map(|object| because(&object));
        Some((release.name.name.as_str(), why.unwrap_or_default()))
    };
    world.inventory.releases.iter().filter_map(why).collect()
}

/// The releases that the moves belong to or that bring content back, each with the revision that has what was chosen; adds to the
/// moves, and to what is chosen, every other workload that changes with it.
///
/// # Errors
/// No revision of a release has what was chosen, or a client of it may be at work.
pub(crate) fn through<'a>(
    request: &Request,
    world: &'a World<'a>,
    content_of: &BTreeMap<&str, String>,
    picked: &mut Picked<'a>,
    choices: &mut BTreeMap<&'a Target, Choice>,
    now: Timestamp,
) -> Result<Vec<Through<'a>>, Refusal> {
    if request.outside_helm {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for release in &world.inventory.releases {
        let moves = &mut picked.moves;
        let targets: BTreeSet<&Target> = moves
            .iter()
            .filter(|(target, one)| belongs(target, one.view, release))
            .map(|(target, _)| *target)
            .collect();
        let content_because = content_of.get(release.name.name.as_str());
        let named = request.releases.contains_key(&release.name.name) || content_because.is_some();
        let Some(from) = release.newest().filter(|_| named || !targets.is_empty()) else {
            continue;
        };
        if let Status::Pending(status) = &from.status
            && may_live(release, from, &request.abandoned, now)
        {
            return Err(refuse::release_at_work(release, from, status, now));
        }
        content(release, from)?;
        let (to, mut because, passed_over) = choose(request, release, from, moves, &targets)?;
        if let Some(why) = content_because.filter(|why| !why.is_empty()) {
            because = format!("{because}; {why}");
        }
        let mut through = Through {
            release,
            from,
            to,
            targets,
            because,
            passed_over,
        };
        for stays in carry(&mut through, world, moves, choices)? {
            if request.to.contains_key(stays) {
                return Err(refuse::stays(release, to, stays));
            }
            let why = format!("revision {} of {} leaves it as it is", to.number, release.name);
            picked.left.insert(stays, why);
        }
        if through.targets.is_empty() && !changes_anything(&through)? {
            return Err(refuse::nothing_in_release(release, to));
        }
        found.push(through);
    }
    Ok(found)
}

/// Whether objects of a release other than pod templates change.
fn changes_anything(through: &Through<'_>) -> Result<bool, Refusal> {
    let (from, to) = (
        content(through.release, through.from)?,
        content(through.release, through.to)?,
    );
    Ok(!objects(&through.release.standing, from, to, &Marks::default()).is_empty())
}

/// Whether the client of a pending operation may live: not once somebody knows that it is dead, nor once nobody has
/// written its record for long and nothing of it runs.
pub(crate) fn may_live(
    release: &Release,
    pending: &Revision,
    abandoned: &BTreeSet<String>,
    now: Timestamp,
) -> bool {
    let is_still = now.duration_since(pending.changed_at) >= ABANDONED_AFTER && release.at_work.is_empty();
    !is_still && !abandoned.contains(&release.name.name)
}

/// What changes in the releases, for a reader.
pub(crate) fn changes(
    through: &[Through<'_>],
    carrying: &[Carrying<'_>],
    world: &World<'_>,
) -> Vec<ReleaseChanges> {
    let changes = through.iter().filter_map(|one| {
        let mut carrying = carrying.iter();
        let carrying = carrying.find(|carrying| carrying.release == &one.release.name);
        release_changes(one, carrying, world)
    });
    changes.collect()
}

/// Whether the workload says that it belongs to the release, and the release says so too.
pub(crate) fn belongs(target: &Target, view: &View<'_>, release: &Release) -> bool {
    let said = view
        .workload
        .owners
        .iter()
        .any(|owner| owner.kind == OwnerKind::Helm && owner.name == release.name.name);
    let lists = |revision: &Revision| {
        revision
            .content()
            .is_some_and(|record| record.templates.contains_key(target))
    };
    said && release.revisions.iter().any(lists)
}

pub(crate) fn content<'a>(release: &Release, revision: &'a Revision) -> Result<&'a Record, Refusal> {
    match &revision.record {
        Read::Read(record) => Ok(record),
        Read::Unreadable { why } => Err(refuse::unreadable_record(release, revision, why)),
        Read::NotAsked => Err(refuse::unreadable_record(
            release,
            revision,
            "it is older than those that are read",
        )),
    }
}

type Chosen<'a> = (&'a Revision, String, Vec<(u64, String)>);

/// The newest earlier revision with the templates that were chosen for the workloads.
fn choose<'a>(
    request: &Request,
    release: &'a Release,
    from: &'a Revision,
    moves: &Moves<'_>,
    targets: &BTreeSet<&Target>,
) -> Result<Chosen<'a>, Refusal> {
    let mut passed_over = Vec::new();
    let wanted = request.releases.get(&release.name.name);
    if let Some(recorded) = release.recorded.as_ref().filter(|_| wanted.is_none()) {
        match recorded_revision(release, recorded, moves, targets) {
            Ok(revision) => {
                let because = format!("the one that release {} of the ledger names", recorded.by);
                return Ok((revision, because, passed_over));
            }
            Err(why) => passed_over.push((
                recorded.revision,
                format!("release {} of the ledger names it, and {why}", recorded.by),
            )),
        }
    }
    let out: Vec<u64> = passed_over.iter().map(|(number, _)| *number).collect();
    if wanted == Some(&from.number) {
        return Err(refuse::nothing_in_release(release, from));
    }
    let others = release.revisions.iter();
    for revision in
        others.filter(|revision| revision.number != from.number && !out.contains(&revision.number))
    {
        if let Some(number) = wanted {
            if revision.number != *number {
                continue;
            }
            let typed = format!("named by --to {}={number}", release.name);
            return Ok((revision, typed, passed_over));
        }
        match speaks_against(release, revision, moves, targets) {
            Some(why) => passed_over.push((revision.number, why)),
            None => {
                let because = format!(
                    "the newest one with the templates that were chosen for {}",
                    list(targets.iter().copied())
                );
                return Ok((revision, because, passed_over));
            }
        }
    }
    let chosen: Vec<String> = targets
        .iter()
        .filter_map(|target| moves.get(*target))
        .map(|one| format!("{} was to go back to {}", one.target(), one.to.version))
        .collect();
    Err(refuse::no_release_revision(release, chosen, &passed_over))
}

/// The revision that a release of the ledger names, as it was then; else why it cannot be that.
fn recorded_revision<'a>(
    release: &'a Release,
    recorded: &Recorded,
    moves: &Moves<'_>,
    targets: &BTreeSet<&Target>,
) -> Result<&'a Revision, String> {
    let Some(revision) = release.revision(recorded.revision) else {
        return Err("its record does not exist any more".to_owned());
    };
    if let Some(why) = speaks_against(release, revision, moves, targets) {
        return Err(why);
    }
    let now = revision.content().map(|record| &record.content);
    match &recorded.content {
        Some(then) if now != Some(then) => Err("its record holds something else now than then".to_owned()),
        // An entry of before that was kept: its templates are what was chosen.
        Some(_) | None => Ok(revision),
    }
}

/// Why a revision is passed over; none when it has what was chosen.
fn speaks_against(
    release: &Release,
    revision: &Revision,
    moves: &Moves<'_>,
    targets: &BTreeSet<&Target>,
) -> Option<String> {
    match &revision.status {
        Status::Deployed | Status::Superseded => {}
        Status::Failed => {
            let said = revision
                .content()
                .map_or("", |record| record.description.as_str());
            return Some(format!("it failed: {}", one_line(said)));
        }
        Status::Pending(status) => return Some(format!("it was left {status}")),
        Status::Other(status) => return Some(format!("it is {status}")),
    }
    let record = match &revision.record {
        Read::Read(record) => record,
        Read::Unreadable { why } => return Some(why.clone()),
        Read::NotAsked => return Some("it is older than those that are read".to_owned()),
    };
    for target in targets {
        let Some(one) = moves.get(*target) else { continue };
        let Some(manifest) = record.templates.get(*target) else {
            return Some(format!("{target} is not in its manifest"));
        };
        let same = match asked_for(one.view, release, revision, manifest) {
            Some(Matched::Revision(remembered)) => is_of(one, remembered),
            Some(Matched::Live) | None => false,
        };
        if !same {
            return Some(format!(
                "its {target} is not {}, which was chosen",
                one.to.version
            ));
        }
    }
    None
}

/// Whether a revision is the version that was chosen; one that was restarted is the same.
fn is_of(one: &Move<'_>, revision: &Remembered) -> bool {
    let chosen = one.view.revision(&one.to.template);
    chosen.is_some_and(|chosen| {
        essence(&chosen.template, &chosen.hash) == essence(&revision.template, &revision.hash)
    })
}

/// Adds every other workload whose template changes with the release. Those that the release leaves as they are stay, and are
/// given back.
fn carry<'a>(
    through: &mut Through<'a>,
    world: &'a World<'a>,
    moves: &mut Moves<'a>,
    choices: &mut BTreeMap<&'a Target, Choice>,
) -> Result<Vec<&'a Target>, Refusal> {
    let record = content(through.release, through.to)?;
    let mut stay = Vec::new();
    for (target, view, manifest) in written(record, world) {
        let revision = match asked_for(view, through.release, through.to, manifest) {
            Some(Matched::Revision(revision)) => revision,
            Some(Matched::Live) => {
                if through.targets.remove(target) {
                    moves.remove(target);
                    stay.push(target);
                }
                continue;
            }
            None => return Err(not_remembered(through.release, through.to, view)),
        };
        through.targets.insert(target);
        let to = reference(revision);
        let good = choices.get_mut(target).and_then(|choice| choice.good.as_mut());
        if let Some(good) = good.filter(|good| good.revision.template == to.template) {
            // Another revision of the release, or the ledger, has the same template.
            good.revision = to.clone();
        } else {
            let because = Because::Named {
                selector: format!(
                    "{}={}, which moves whole",
                    through.release.name, through.to.number
                ),
            };
            let choice = choices.entry(target).or_insert_with(|| Choice {
                target: target.clone(),
                good: None,
                passed_over: Vec::new(),
                notes: Vec::new(),
            });
            choice.passed_over.retain(|passed| passed.revision != to);
            choice.good = Some(KnownGood {
                revision: to.clone(),
                because,
            });
        }
        moves.insert(
            target,
            Move {
                view,
                to,
                template: Some(&revision.template),
                kept: None,
                mark: None,
            },
        );
    }
    Ok(stay)
}

/// The workloads of a manifest that exist, each with the template that it writes.
fn written<'a, 'r>(
    record: &'r Record,
    world: &'a World<'_>,
) -> impl Iterator<Item = (&'a Target, &'a View<'a>, &'r Template)>
where
    'r: 'a,
{
    record.templates.iter().filter_map(|(target, manifest)| {
        let (target, view) = world.views.get_key_value(target)?;
        Some((*target, view, manifest))
    })
}

/// The refusal of a revision whose template of a workload is neither remembered nor foretold.
fn not_remembered(release: &Release, revision: &Revision, view: &View<'_>) -> Refusal {
    let foretold = view.foretold_of(&release.name.name, revision.number);
    let why = foretold.and_then(|foretold| match &foretold.template {
        Known::Unknown(why) => Some(why.as_str()),
        Known::Is(_) => None,
    });
    refuse::not_remembered(release, revision, &view.workload.target, why)
}

fn release_changes(
    through: &Through<'_>,
    carrying: Option<&Carrying<'_>>,
    world: &World<'_>,
) -> Option<ReleaseChanges> {
    let (from, to) = (through.from.content()?, through.to.content()?);
    let marks = &world.inventory.marks;
    Some(ReleaseChanges {
        release: through.release.name.clone(),
        from: format!(
            "{} ({}, {})",
            through.from.number, from.chart, through.from.status
        ),
        to: format!("{} ({}, {})", through.to.number, to.chart, through.to.status),
        because: through.because.clone(),
        passed_over: through.passed_over.clone(),
        objects: objects(&through.release.standing, from, to, marks),
        edited: edited(&through.release.standing, from),
        unread: through.release.standing.unread.clone(),
        proofs: carried::proofs(through, world),
        readers: carrying
            .map(|carrying| carrying.objects.clone())
            .unwrap_or_default(),
        values: told(differences("", &values(from), &values(to), marks)),
        hooks: to
            .hooks
            .iter()
            .filter(|hook| hook.runs_at_rollback())
            .cloned()
            .collect(),
        not_restored: not_restored(from, to),
    })
}

/// The values of a revision. Helm keeps null where nobody gave any, which is the same as an empty map of them.
fn values(record: &Record) -> Value {
    match &record.values {
        Value::Null => Value::Object(serde_json::Map::new()),
        values => values.clone(),
    }
}

/// What changes in each object: from what stands, where that is known. Pod templates are told by their own differences.
fn objects(standing: &Standing, from: &Record, to: &Record, marks: &Marks) -> Vec<(String, Vec<Change>)> {
    let keys: BTreeSet<&String> = from.objects.keys().chain(to.objects.keys()).collect();
    let of = |key: &&String| {
        let (before, after) = (from.objects.get(*key), to.objects.get(*key));
        let stands = standing.objects.get(*key).or(before);
        let changes = match (stands.filter(|_| !standing.gone.contains(*key)), after) {
            (Some(stands), Some(after)) => {
                let stands = without_template(stands);
                let before = before.map(without_template).unwrap_or_default();
                let after = applied("", &stands, &before, &without_template(after));
                told(differences("", &stands, &after, marks))
            }
            (None, None) => Vec::new(),
            (stands, after) => {
                let word = |object: Option<&Value>, word: &str| object.map(|_| Shown::Value(word.to_owned()));
                vec![Change {
                    path: "object".to_owned(),
                    from: word(stands, "there"),
                    to: word(after, "in the manifest"),
                }]
            }
        };
        (!changes.is_empty()).then(|| ((*key).clone(), changes))
    };
    let mut found: Vec<(String, Vec<Change>)> = keys.iter().filter_map(of).collect();
    found.extend(unmoved_templates(from, to, marks));
    found
}

/// What stands otherwise than the newest manifest says.
fn edited(standing: &Standing, from: &Record) -> Vec<(String, Vec<String>)> {
    let places = |(key, object): (&String, &Value)| {
        let stands = without_template(object);
        let said = without_template(from.objects.get(key)?);
        let changes = differences(
            "",
            &applied("", &stands, &Value::Null, &said),
            &stands,
            &Marks::default(),
        );
        let places: Vec<String> = changes.into_iter().map(|change| change.path).collect();
        (!places.is_empty()).then(|| (key.clone(), places))
    };
    let gone = standing.gone.iter();
    let gone = gone.map(|key| (key.clone(), vec!["it is not there any more".to_owned()]));
    standing.objects.iter().filter_map(places).chain(gone).collect()
}

/// Templates of workloads that differ between the manifests, where only one of both has them, are objects that come or
/// go; those in both are told with the workloads of the plan.
fn unmoved_templates(from: &Record, to: &Record, marks: &Marks) -> Vec<(String, Vec<Change>)> {
    let differs = |(target, before): (&Target, &Template)| {
        let after = to.templates.get(target)?;
        let changes = diff(before, after, marks);
        (!changes.is_empty()).then(|| (format!("{target} (template)"), changes))
    };
    from.templates.iter().filter_map(differs).collect()
}

fn without_template(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("template");
    }
    object
}

/// A hidden value is told as one.
fn told(changes: Vec<Change>) -> Vec<Change> {
    let hide = |shown: Option<Shown>| match shown {
        Some(Shown::Value(text)) if text.contains(HIDDEN) => Some(Shown::Masked),
        shown => shown,
    };
    changes
        .into_iter()
        .map(|change| Change {
            path: change.path,
            from: hide(change.from),
            to: hide(change.to),
        })
        .collect()
}

fn not_restored(from: &Record, to: &Record) -> Vec<String> {
    let mut sentences = Vec::new();
    if !from.crds.is_empty() || !to.crds.is_empty() {
        let files: BTreeSet<&String> = from.crds.iter().chain(&to.crds).collect();
        let files: Vec<&str> = files.into_iter().map(String::as_str).collect();
        sentences.push(format!(
            "resource definitions stay as they are: Helm installs {} once and never changes them",
            files.join(", ")
        ));
    }
    for hook in from.hooks.iter().filter(|hook| !hook.runs_at_rollback()) {
        let database = if hook.migrates {
            ": a database that it migrated stays migrated, and the earlier version meets it so"
        } else {
            ""
        };
        sentences.push(format!(
            "what hook {} ({}) did stays done{database}",
            hook.object,
            hook.events.join(", ")
        ));
    }
    for hook in to
        .hooks
        .iter()
        .filter(|hook| hook.runs_at_rollback() && hook.migrates)
    {
        sentences.push(format!(
            "hook {} runs as the earlier revision has it, from its image: it cannot take back what a later version did to the database",
            hook.object
        ));
    }
    let claims = |record: &Record| -> BTreeSet<String> {
        let is_claim = |key: &&String| key.starts_with("persistentvolumeclaim/");
        record.objects.keys().filter(is_claim).cloned().collect()
    };
    for claim in claims(from).union(&claims(to)) {
        sentences.push(format!("what {claim} holds stays as it is"));
    }
    for kept in from.kept.iter().filter(|kept| !to.objects.contains_key(*kept)) {
        sentences.push(format!(
            "{kept} stays, by its own word (helm.sh/resource-policy: keep)"
        ));
    }
    sentences
}

fn one_line(text: &str) -> String {
    const SHOWN: usize = 160;
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(SHOWN).collect()
}
