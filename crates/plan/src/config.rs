//! What goes back of ConfigMaps and Secrets with the workloads of a plan: which objects, before whom, and who is restarted
//! for them. Owns that choice and its words; the content of then and of now is compared where both are at hand.

use crate::blame::Blame;
use crate::carried::Carrying;
use crate::consumers::consumers;
use crate::external;
use crate::forecast;
use crate::planner::Request;
use crate::reconstruct;
use crate::releases::Through;
use crate::selector::Selector;
use crate::steps::Moves;
use crate::world::{View, World, asks_for};
use astern_model::choice::clock;
use astern_model::config::{ConfigKind, ConfigName, ConfigSeen, HeldBy, HeldConfig, LiveConfig, Use};
use astern_model::decision::Refusal;
use astern_model::diff::{Change, Shown};
use astern_model::hashed;
use astern_model::id::{StepId, TemplateHash};
use astern_model::login::{LoginSeen, Proof};
use astern_model::plan::{ConfigChanges, Plan, TargetChanges};
use astern_model::platform::Platform;
use astern_model::release::{Release, ReleaseName};
use astern_model::reversal::Reversal;
use astern_model::step::config::{Pin, Spec as ConfigSpec, Wanted};
use astern_model::step::{Spec, Step};
use astern_model::target::Target;
use astern_model::template::{RESTARTED_AT, Template};
use astern_model::workload::{OwnerKind, Pod, Strategy};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A workload that is made anew from the template that it has.
pub(crate) struct Restart<'a> {
    pub(crate) view: &'a View<'a>,
    /// The mark, as `kubectl rollout restart` writes it.
    pub(crate) at: String,
    /// The template with the mark.
    pub(crate) template: Template,
    pub(crate) hash: TemplateHash,
}

/// What a plan does to ConfigMaps and Secrets, and for them.
#[derive(Default)]
pub(crate) struct Restoring<'a> {
    /// The writes, which come before everything else.
    pub(crate) steps: Vec<Step>,
    /// For each workload: the writes of what it reads.
    pub(crate) before: BTreeMap<&'a Target, Vec<StepId>>,
    /// The readers whose template stays.
    pub(crate) restarts: BTreeMap<&'a Target, Restart<'a>>,
    /// The workloads that fail by what is written.
    pub(crate) failing: BTreeSet<&'a Target>,
    pub(crate) changes: Vec<ConfigChanges>,
    /// What changes with Helm releases, which write it themselves.
    pub(crate) carried: Vec<Carrying<'a>>,
    /// What stays of ConfigMaps and Secrets, a sentence each; empty where no release says what they held.
    pub(crate) stays: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl<'a> Restoring<'a> {
    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What a workload must wait for.
    pub(crate) fn before(&self, target: &Target) -> Vec<StepId> {
        self.before.get(target).cloned().unwrap_or_default()
    }

    /// The workloads that are restarted, as changes of their templates.
    pub(crate) fn template_changes(&self) -> impl Iterator<Item = TargetChanges> {
        self.restarts.values().map(|restart| {
            let workload = restart.view.workload;
            let mark = |template: &Template| {
                let annotations = template.json().pointer("/metadata/annotations");
                let mark = annotations.and_then(|annotations| annotations.get(RESTARTED_AT));
                mark.and_then(Value::as_str)
                    .map(|mark| Shown::Value(mark.to_owned()))
            };
            TargetChanges {
                target: workload.target.clone(),
                from_version: workload.version(),
                to_version: workload.version(),
                changes: vec![Change {
                    path: format!("metadata.annotations[{RESTARTED_AT}]"),
                    from: mark(&workload.template),
                    to: mark(&restart.template),
                }],
            }
        })
    }

    /// The steps that have an object hold something else; everybody who reads it comes after them, and is restarted where nothing
    /// else starts it anew.
    pub(crate) fn write(
        &mut self,
        steps: Vec<Step>,
        change: ConfigChanges,
        readers: Vec<Reader<'a>>,
        now: Timestamp,
    ) {
        let ids: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
        let readers = self.begin(&ids, &change.object, readers, now);
        self.changes.push(ConfigChanges { readers, ..change });
        self.steps.extend(steps);
    }

    /// Has everybody who reads an object come after the steps that write it; how each comes to read what is back.
    pub(crate) fn begin(
        &mut self,
        after: &[StepId],
        object: &ConfigName,
        readers: Vec<Reader<'a>>,
        now: Timestamp,
    ) -> Vec<(Target, String)> {
        let mut told = Vec::new();
        for reader in readers {
            let target = &reader.view.workload.target;
            told.push((target.clone(), reader.how.phrase()));
            self.warnings
                .extend(reader.how.warning(target, &object.to_string()));
            match reader.how {
                How::Moves | How::MovesBesideReloader | How::MayRead => self.wait(target, after),
                How::Restarts => {
                    self.wait(target, after);
                    self.restarts
                        .entry(target)
                        .or_insert_with(|| restart(reader.view, now));
                }
                How::Reloads | How::Reloader | How::NotByPods | How::Outside | How::Cannot(_) => {}
            }
        }
        told
    }

    fn wait(&mut self, target: &'a Target, after: &[StepId]) {
        let before = self.before.entry(target).or_default();
        before.extend(
            after
                .iter()
                .filter(|id| !before.contains(id))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
}

fn restart<'a>(view: &'a View<'a>, now: Timestamp) -> Restart<'a> {
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let template = view.workload.template.restarted(&at);
    Restart {
        view,
        hash: template.hash(),
        template,
        at,
    }
}

/// A workload that reads an object, and how it comes to read what is back.
pub(crate) struct Reader<'a> {
    view: &'a View<'a>,
    how: How,
    /// The template to which it goes back.
    to: Option<TemplateHash>,
}

impl Reader<'_> {
    /// What is said where a workload goes back, and reads what came after the release because it is there.
    fn of_newer(&self, name: &ConfigName, held: &HeldBy) -> Option<String> {
        let target = &self.view.workload.target;
        match self.how {
            How::Moves | How::MovesBesideReloader => Some(format!(
                "{name} came after release {}, and {target} reads it with the template that it goes back to: it stays, and what it \
                 says is read again; look at it, and delete it if it came with the bad release",
                held.release
            )),
            _ => None,
        }
    }

    /// What is said of pods that stand already with the template that it goes back to: nothing makes them anew, so they go on
    /// with what they read when they started.
    pub(crate) fn of_kept_pods(&self, live: &LiveConfig) -> Option<String> {
        let written = live.manager.as_ref().and_then(|manager| manager.at);
        let may_have_read = |pod: &&Pod| {
            let as_it_was = written.is_some_and(|written| pod.created_at < written && pod.restarts == 0);
            !pod.terminating && pod.revision.is_some() && pod.revision == self.to && !as_it_was
        };
        let count = self.view.workload.pods.iter().filter(may_have_read).count();
        let target = &self.view.workload.target;
        (count > 0).then(|| {
            format!(
                "{count} of {target}'s pods run what it goes back to already and stay, and may have started with the content of {} \
                 that is put back now: once the run has restored, `kubectl rollout restart {target}` makes them anew",
                live.name
            )
        })
    }

    /// Whether its pods read the object with a template that the release does not have, and keep it.
    fn stays_newer(&self, held: &HeldBy) -> bool {
        self.keeps_its_template() && stands_on(held, self.view) == Some(false)
    }

    /// Whether its pods read the object and its template stays.
    pub(crate) fn keeps_its_template(&self) -> bool {
        !matches!(
            self.how,
            How::Moves | How::MovesBesideReloader | How::MayRead | How::NotByPods
        )
    }

    /// The workload.
    pub(crate) fn view(&self) -> &View<'_> {
        self.view
    }
}

/// How a reader comes to read what is back.
enum How {
    /// Its own template goes back as well.
    Moves,
    /// The same, of one that another controller would restart too.
    MovesBesideReloader,
    /// The same, with a template that only a run has kept: what that reads, nobody here can say.
    MayRead,
    /// It is restarted.
    Restarts,
    /// Its owners say that it takes changes in by itself.
    Reloads,
    /// Another controller restarts it.
    Reloader,
    /// No container reads it.
    NotByPods,
    /// It is not among those that the plan is about.
    Outside,
    /// A restart would not reach its pods, and why.
    Cannot(&'static str),
}

impl How {
    fn phrase(&self) -> String {
        match self {
            Self::Moves | Self::MovesBesideReloader => {
                "starts with it, since its template goes back too".to_owned()
            }
            Self::MayRead => {
                "waits for it, since only a run has kept its template, which may read it".to_owned()
            }
            Self::Restarts => "is restarted".to_owned(),
            Self::Reloads => "takes it in by itself (`reloads` in astern.yaml)".to_owned(),
            Self::Reloader => "is left to Reloader, whose annotation it has".to_owned(),
            Self::NotByPods => "needs no restart: no container reads it".to_owned(),
            Self::Outside => "is not part of this plan, and is not restarted".to_owned(),
            Self::Cannot(why) => format!("is not restarted: {why}"),
        }
    }

    fn warning(&self, target: &Target, object: &str) -> Option<String> {
        let why = match self {
            Self::Outside => "it is not part of this plan",
            Self::Cannot(why) => why,
            Self::MovesBesideReloader => {
                return Some(format!(
                    "Reloader watches {object} for {target} and changes its template when that is written: the run stops there \
                     if Reloader is first; `kubectl annotate` its marks off before, or go on with `astern resume`"
                ));
            }
            Self::Moves
            | Self::MayRead
            | Self::Restarts
            | Self::Reloads
            | Self::Reloader
            | Self::NotByPods => return None,
        };
        Some(format!(
            "{target} reads {object} and is not restarted ({why}): its pods go on with what they have read until somebody does"
        ))
    }
}

/// Everybody who reads `object`, of the templates that stand once the moves are made. `about` says whether the plan is about a
/// workload.
pub(crate) fn readers<'a>(
    object: &ConfigName,
    moves: &Moves<'_>,
    world: &'a World<'a>,
    about: impl Fn(&Target) -> bool,
) -> Vec<Reader<'a>> {
    let read = |(target, view): (&&'a Target, &'a View<'a>)| {
        let moved = moves.get(*target);
        let to = moved.map(|one| one.to.template.clone());
        if moved.is_some_and(|one| one.template.is_none()) {
            return Some(Reader {
                view,
                how: How::MayRead,
                to,
            });
        }
        let template = moved.and_then(|one| one.template);
        let template = template.unwrap_or(&view.workload.template);
        let uses = consumers(template, &view.workload.annotations).remove(object)?;
        let how = match moved {
            Some(_) if is_watched(&uses) => How::MovesBesideReloader,
            Some(_) => How::Moves,
            None => how(view, &uses, world, about(target)),
        };
        Some(Reader { view, how, to })
    };
    world.views.iter().filter_map(read).collect()
}

/// Whether a controller restarts the workload when the object is written.
fn is_watched(uses: &[Use]) -> bool {
    uses.iter().any(|one| matches!(one, Use::Annotation { .. }))
}

fn how(view: &View<'_>, uses: &[Use], world: &World<'_>, about: bool) -> How {
    let workload = view.workload;
    if is_watched(uses) {
        return How::Reloader;
    }
    if !uses.iter().any(Use::is_read_by_pods) {
        return How::NotByPods;
    }
    if world
        .members
        .get(&workload.target)
        .is_some_and(|member| member.reloads)
    {
        return How::Reloads;
    }
    if !about {
        return How::Outside;
    }
    match workload.strategy {
        _ if workload.paused => How::Cannot("it is paused"),
        Strategy::OnDelete => How::Cannot("its strategy is OnDelete"),
        Strategy::RollingUpdate { partition, .. } if partition > 0 => How::Cannot("it has a partition"),
        Strategy::RollingUpdate { .. } | Strategy::Recreate => How::Restarts,
        // A mark on its template would be a new version, which goes through all steps.
        Strategy::Canary { .. } | Strategy::BlueGreen { .. } => {
            How::Cannot("it is a Rollout (`kubectl argo rollouts restart` makes its pods anew in place)")
        }
    }
}

/// The release that says what ConfigMaps and Secrets held: the one that was named, else the newest good one that holds every
/// template to which the plan goes back, else the newest of which nobody knows. Of two with the same templates, the content of
/// the one that nobody has proven may be what is wrong. Before there is a plan, the newest good one is the best guess: whether it holds
/// what is chosen in the end is looked at then.
pub fn config_release<'a>(
    request: &Request,
    draft: Option<&Plan>,
    releases: &'a [Release],
) -> Option<&'a Release> {
    if let Some(name) = named(request) {
        return releases.iter().find(|release| &release.name == name);
    }
    let Some(draft) = draft else {
        return releases.iter().find(|release| release.standing.is_good());
    };
    let choices = &draft.choices;
    let holds = |release: &&Release| {
        choices.iter().all(|choice| {
            let held = release.workload(&choice.target).map(|held| &held.template);
            choice
                .good
                .as_ref()
                .is_some_and(|good| held == Some(&good.revision.template))
        })
    };
    let known = releases.iter().filter(|release| release.standing.is_good());
    let unknown = releases.iter().filter(|release| {
        let standing = &release.standing;
        !standing.is_good() && standing.against().is_none()
    });
    let mut candidates = known.chain(unknown).filter(|_| !choices.is_empty());
    candidates.find(holds)
}

pub(crate) fn named(request: &Request) -> Option<&ReleaseName> {
    request.to.values().find_map(|selector| match selector {
        Selector::Release(name) => Some(name),
        _ => None,
    })
}

/// What a refusal says besides where a workload has the template of a release and reads other content: the template is then not
/// what went bad.
pub(crate) fn way_out(request: &Request, world: &World<'_>) -> Option<String> {
    let seen = &world.inventory.config;
    let held = seen.held.as_ref().filter(|_| named(request).is_none())?;
    let differs = |object: &&HeldConfig| {
        let live = seen.live(&object.name);
        let name = &object.name;
        live.is_some_and(|live| live.content != object.content) && goes_back(name, world.platform)
    };
    let stands = |view: &&View<'_>| stands_on(held, view) == Some(true);
    let read: BTreeSet<ConfigName> = world
        .views
        .values()
        .filter(stands)
        .flat_map(|view| consumers(&view.workload.template, &view.workload.annotations).into_keys())
        .collect();
    let differing = held.objects.iter().filter(differs);
    let names: Vec<String> = differing
        .filter(|object| read.contains(&object.name))
        .map(|object| object.name.to_string())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "astern rollback --to {release}: {} differs from what release {release} held, whose templates run",
            names.join(", "),
            release = held.release
        )
    })
}

/// Whether a workload has the template that the release has of it; none where the release does not have the workload.
pub(crate) fn stands_on(held: &HeldBy, view: &View<'_>) -> Option<bool> {
    let released = &view.workload.released;
    let mut released = released
        .iter()
        .filter(|released| released.release == held.release)
        .peekable();
    released.peek()?;
    Some(released.any(|released| asks_for(view.workload, &released.template)))
}

/// What goes back of ConfigMaps and Secrets beside these moves, and for those workloads whose content is blamed.
///
/// # Errors
/// An object cannot be written under its name, or is made from another one that writes it again.
pub(crate) fn restoring<'a>(
    request: &Request,
    moves: &Moves<'_>,
    blame: &Blame<'_>,
    world: &'a World<'a>,
    through: &[Through<'_>],
    now: Timestamp,
) -> Result<Restoring<'a>, Refusal> {
    let mut restoring = Restoring::default();
    let seen = &world.inventory.config;
    if request.leave_config {
        restoring
            .stays
            .push("ConfigMaps and Secrets keep their content of now, as --leave-config says: whether it fits was not looked at".to_owned());
        return Ok(restoring);
    }
    let members = world.platform_targets();
    let meant: BTreeSet<&Target> = match named(request) {
        Some(_) => request.to.keys().collect(),
        None => moves.keys().copied().chain(blame.targets()).collect(),
    };
    let about = |target: &Target| {
        let only = request.only.is_empty() || request.only.contains(target);
        meant.contains(target) || only && members.contains(target)
    };
    let Some(held) = blame.held().or(seen.held.as_ref()) else {
        return match &seen.reconstruction {
            Some(known) => reconstruct::restoring(known, moves, world, through, about, now),
            None => Ok(restoring),
        };
    };
    if let Some(other) = moves
        .values()
        .find(|one| !holds(held, world, one.target(), &one.to.template))
    {
        restoring.stays.push(format!(
            "ConfigMaps and Secrets keep their content of now: release {} does not hold {} of {}, so what that read is not known",
            held.release,
            other.to.version,
            other.target()
        ));
        return Ok(restoring);
    }
    let mut same = 0_usize;
    for object in &held.objects {
        let readers = readers(&object.name, moves, world, about);
        if !readers
            .iter()
            .any(|reader| meant.contains(&reader.view.workload.target))
        {
            continue;
        }
        let live = seen.live(&object.name);
        if live.is_some_and(|live| live.content == object.content) {
            same += 1;
            continue;
        }
        if let Some(why) = left(object, live, world, through)? {
            restoring.stays.push(format!("{} {why}", object.name));
            continue;
        }
        if let Some(newer) = readers.iter().find(|reader| reader.stays_newer(held)) {
            let target = &newer.view.workload.target;
            let why = format!(
                "{} keeps its content of now: {target} reads it, stays on {}, and has another template in release {}, so what it \
                 needs there is not known",
                object.name,
                newer.view.workload.version(),
                held.release
            );
            restoring.warnings.push(format!(
                "{why}; `astern plan --to {}` takes all of them back together",
                held.release
            ));
            restoring.stays.push(why);
            continue;
        }
        let kept = readers.iter().filter_map(|reader| reader.of_kept_pods(live?));
        restoring.warnings.extend(kept);
        let to = wanted(object, origin(held), world);
        restoring.warnings.extend(untried(object, &to));
        restoring.warnings.extend(live.and_then(|live| gap(live, object)));
        let (steps, change) = write(object, live, to, world)?;
        let change = ConfigChanges {
            because: blame.because(&object.name, live),
            ..change
        };
        let failing = readers.iter().map(|reader| &reader.view.workload.target);
        let failing = failing.filter(|target| blame.is_for(target, &object.name));
        restoring.failing.extend(failing);
        restoring.write(steps, change, readers, now);
    }
    for name in &seen.unreadable {
        restoring.stays.push(format!(
            "{name} keeps its content of now: what release {} holds of it could not be read",
            held.release
        ));
    }
    for name in &seen.newer {
        for reader in readers(name, moves, world, about) {
            restoring.warnings.extend(reader.of_newer(name, held));
        }
    }
    if restoring.stays.is_empty() && restoring.is_empty() {
        restoring.stays.push(match same {
            0 => format!(
                "ConfigMaps and Secrets stay as they are: in release {} these workloads read none",
                held.release
            ),
            _ => format!(
                "ConfigMaps and Secrets stay as they are: they hold what they held in release {}",
                held.release
            ),
        });
    }
    Ok(restoring)
}

/// Whether the release has this template of the workload.
pub(crate) fn holds(held: &HeldBy, world: &World<'_>, target: &Target, template: &TemplateHash) -> bool {
    let released = world
        .views
        .get(target)
        .into_iter()
        .flat_map(|view| &view.workload.released);
    let mut released = released.filter(|released| released.release == held.release);
    released.any(|released| &released.template == template)
}

/// Why an object that differs is left as it is; none where it goes back.
pub(crate) fn left(
    object: &HeldConfig,
    live: Option<&LiveConfig>,
    world: &World<'_>,
    through: &[Through<'_>],
) -> Result<Option<String>, Refusal> {
    let name = &object.name;
    if !goes_back(name, world.platform) {
        let keys: Vec<&str> = object.changes.iter().map(|change| change.path.as_str()).collect();
        let differs = match live {
            None => "is not there any more".to_owned(),
            Some(_) => format!("differs ({})", keys.join(", ")),
        };
        return Ok(Some(format!(
            "keeps its content of now: it {differs}, and a credential may have been rotated; `config: {{restoreSecrets: [{{name: {}, probe: …}}]}}` \
             in astern.yaml has it go back, once a login with what it held then answers",
            stem(&name.name)
        )));
    }
    let Some(live) = live else {
        return Ok(None);
    };
    if let Some(source) = &live.source {
        return external::redrawn(object, live, source, world).map(|_| None);
    }
    let mut owners = live.owners.iter().filter(|owner| owner.kind == OwnerKind::Helm);
    if let Some(owner) = owners.find(|owner| {
        through
            .iter()
            .any(|through| through.release.name.name == owner.name)
    }) {
        return Ok(Some(format!(
            "is left to Helm release {}, which brings it back where its revision holds another content",
            owner.name
        )));
    }
    Ok(None)
}

/// A name without the hash of its content that kustomize puts behind it.
pub(crate) fn stem(name: &str) -> &str {
    hashed::parts(name).map_or(name, |(stem, _)| stem)
}

/// Whether an object may go back at all: a ConfigMap, or a Secret that the owners name.
pub fn goes_back(name: &ConfigName, platform: &Platform) -> bool {
    name.kind == ConfigKind::ConfigMap || named_secret(name, platform).is_some()
}

/// What astern.yaml says of a Secret: by its name, or by the one under which kustomize makes it. None where it does not name it.
fn named_secret<'a>(name: &ConfigName, platform: &'a Platform) -> Option<&'a Option<Proof>> {
    let named = &platform.restore_secrets;
    named.get(&name.name).or_else(|| named.get(stem(&name.name)))
}

/// What proves that an object may hold something of then; none of a ConfigMap, and where the owners do not say.
pub(crate) fn proof(name: &ConfigName, platform: &Platform) -> Option<Proof> {
    match name.kind {
        ConfigKind::ConfigMap => None,
        ConfigKind::Secret => named_secret(name, platform)?.clone(),
    }
}

/// The same, as the plan says it.
pub(crate) fn proof_phrase(name: &ConfigName, to: &Wanted, seen: &ConfigSeen) -> Option<String> {
    Some(match to.proof.as_ref()? {
        Proof::NeverRotates => "nobody rotates it, as astern.yaml says".to_owned(),
        Proof::Login(probe) => {
            let program = probe.program();
            match seen.login(name, to) {
                None => format!("login probe {program} is run before it is written"),
                Some(LoginSeen {
                    failed: Some(why), ..
                }) => format!("login probe {program} {why}"),
                Some(login) => format!("login probe {program} answered at {}", clock(login.at)),
            }
        }
    })
}

/// What goes back beside the credential that a probe tries.
pub(crate) fn untried(object: &HeldConfig, to: &Wanted) -> Option<String> {
    let tried: BTreeSet<String> = to
        .login()?
        .env
        .values()
        .map(|key| format!("data[{key}]"))
        .collect();
    let others: Vec<&str> = object
        .changes
        .iter()
        .map(|change| change.path.as_str())
        .filter(|path| path.starts_with("data[") && !tried.contains(*path))
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "the login probe of {} does not try {}, which goes back with what it tries",
            object.name,
            others.join(", ")
        )
    })
}

/// What an object is to hold again. `origin` says since when it was so.
pub(crate) fn wanted(object: &HeldConfig, origin: String, world: &World<'_>) -> Wanted {
    Wanted {
        kept: object.kept.clone(),
        content: object.content.clone(),
        keys: object.keys.clone(),
        origin,
        proof: proof(&object.name, world.platform),
    }
}

/// The writes of what an object held, and what they change.
///
/// # Errors
/// Its source cannot be changed.
pub(crate) fn write(
    object: &HeldConfig,
    live: Option<&LiveConfig>,
    to: Wanted,
    world: &World<'_>,
) -> Result<(Vec<Step>, ConfigChanges), Refusal> {
    let change = ConfigChanges {
        object: object.name.clone(),
        anew: live.is_none(),
        to: to.origin.clone(),
        because: None,
        changes: object.changes.clone(),
        proof: proof_phrase(&object.name, &to, &world.inventory.config),
        readers: Vec::new(),
    };
    let namespace = world.inventory.namespace.clone();
    let spec = match live {
        Some(live) => {
            if let Some(source) = &live.source {
                let versions = external::redrawn(object, live, source, world)?;
                let steps = external::drawn_again(live, &versions, to, &namespace);
                return Ok((steps.unwrap_or_default(), change));
            }
            if fixed(live, object).is_some() {
                let change = ConfigChanges { anew: true, ..change };
                return Ok((replaced(live, to, &namespace), change));
            }
            ConfigSpec::Restore {
                object: object.name.clone(),
                namespace,
                pin: pin(live),
                to,
            }
        }
        None => ConfigSpec::Create {
            object: object.name.clone(),
            namespace,
            to,
        },
    };
    Ok((vec![step(spec)], change))
}

/// The source of what goes back, with its date.
fn origin(held: &HeldBy) -> String {
    let recorded = held.recorded_at.map(|at| format!(", recorded {}", clock(at)));
    format!("release {}{}", held.release, recorded.unwrap_or_default())
}

/// Why an object cannot hold something else under its name, a clause; none where it can.
pub(crate) fn fixed(live: &LiveConfig, then: &HeldConfig) -> Option<&'static str> {
    if live.immutable {
        return Some("is immutable");
    }
    (live.secret_type != then.secret_type).then_some("has another type now")
}

/// What is said of an object that is not there for a moment.
pub(crate) fn gap(live: &LiveConfig, then: &HeldConfig) -> Option<String> {
    let why = fixed(live, then)?;
    Some(format!(
        "{} {why}: it is deleted, and made anew at once; a pod that starts between the two waits for it",
        live.name
    ))
}

/// The steps that delete an object and make it anew.
pub(crate) fn replaced(live: &LiveConfig, to: Wanted, namespace: &str) -> Vec<Step> {
    let object = live.name.clone();
    let remove = step(ConfigSpec::Remove {
        object: object.clone(),
        namespace: namespace.to_owned(),
        pin: pin(live),
        to: to.clone(),
    });
    let remove = Step {
        id: StepId(format!("remove:{object}")),
        ..remove
    };
    let create = step(ConfigSpec::Create {
        object,
        namespace: namespace.to_owned(),
        to,
    });
    let create = Step {
        after: vec![remove.id.clone()],
        ..create
    };
    vec![remove, create]
}

/// What must still hold of an object.
pub(crate) fn pin(live: &LiveConfig) -> Pin {
    Pin {
        uid: live.uid.clone(),
        content: live.content.clone(),
    }
}

/// A write of an object's content. Nothing comes before it.
pub(crate) fn step(spec: ConfigSpec) -> Step {
    let login = spec
        .to()
        .login()
        .map_or(SignedDuration::ZERO, |probe| probe.timeout);
    Step {
        id: StepId(format!("config:{}", spec.object())),
        after: Vec::new(),
        spec: Spec::Config(spec),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE + login,
        forecast: forecast::request(),
    }
}
