//! Who reads an object, and how each of them comes to read what is back: with its template, by a restart, by itself, or not.

use super::stands_on;
use crate::consumers::consumers;
use crate::steps::Moves;
use crate::world::{View, World};
use astern_model::config::{ConfigName, HeldBy, LiveConfig, Use};
use astern_model::id::TemplateHash;
use astern_model::target::Target;
use astern_model::workload::{Pod, Strategy};

/// A workload that reads an object, and how it comes to read what is back.
pub(crate) struct Reader<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) how: How,
    /// The template to which it goes back.
    to: Option<TemplateHash>,
    /// Whether its pods read the object, and only when they start.
    takes_in_at_start: bool,
}

impl Reader<'_> {
    /// What is said where a workload goes back, and reads what came after the release because it is there.
    pub(super) fn of_newer(&self, name: &ConfigName, held: &HeldBy) -> Option<String> {
        let target = &self.view.workload.target;
        match self.how {
            How::Moves | How::MovesWhole(_) | How::MovesBesideReloader => Some(format!(
                "{name} came after release {}, and {target} reads it with the template that it goes back to: it stays, and what it \
                 says is read again; look at it, and delete it if it came with the bad release",
                held.release
            )),
            _ => None,
        }
    }

    /// How many pods stand already with the template that it goes back to, and may have started with the content of now.
    pub(super) fn kept_pods(&self, live: &LiveConfig) -> usize {
        if !self.takes_in_at_start {
            return 0;
        }
        let written = live.manager.as_ref().and_then(|manager| manager.at);
        let may_have_read = |pod: &&Pod| {
            let as_it_was = written.is_some_and(|written| pod.created_at < written && pod.restarts == 0);
            !pod.terminating && pod.revision.is_some() && pod.revision == self.to && !as_it_was
        };
        self.view.workload.pods.iter().filter(may_have_read).count()
    }

    /// Whether the mark of a restart in the template makes every pod anew, and nobody else writes the template for the same content.
    pub(super) fn is_reached_by_a_mark(&self) -> bool {
        let reaches = match self.view.workload.strategy {
            Strategy::RollingUpdate { partition, .. } => partition == 0,
            Strategy::Recreate | Strategy::OnDelete => true,
            // It would be a new version, which goes through all steps.
            Strategy::Canary { .. } | Strategy::BlueGreen { .. } => false,
        };
        reaches && matches!(self.how, How::Moves | How::MovesWhole(_))
    }

    /// What is said of such pods where nothing makes them anew: they go on with what they read when they started.
    pub(super) fn keeps_pods(&self, count: usize, live: &LiveConfig) -> String {
        let target = &self.view.workload.target;
        format!(
            "{count} of {target}'s pods run what it goes back to already and stay, and may have started with the content of {} \
             that is put back now: once the run has restored, `kubectl rollout restart {target}` makes them anew",
            live.name
        )
    }

    /// Whether its pods read the object with a template that the release does not have, and keep it.
    pub(super) fn stays_newer(&self, held: &HeldBy) -> bool {
        self.keeps_its_template() && stands_on(held, self.view) == Some(false)
    }

    /// Whether only the template that it leaves reads the object.
    pub(crate) fn leaves(&self) -> bool {
        matches!(self.how, How::Leaves)
    }

    /// Whether its pods read the object and its template stays.
    pub(crate) fn keeps_its_template(&self) -> bool {
        !matches!(
            self.how,
            How::Moves
                | How::MovesWhole(_)
                | How::Leaves
                | How::MovesBesideReloader
                | How::MayRead
                | How::NotByPods
        )
    }

    /// The workload.
    pub(crate) fn view(&self) -> &View<'_> {
        self.view
    }
}

/// How a reader comes to read what is back.
pub(super) enum How {
    /// Its own template goes back as well.
    Moves,
    /// The same, with the mark of a restart for so many pods that run it already.
    MovesWhole(usize),
    /// The same, of one that another controller would restart too.
    MovesBesideReloader,
    /// Its own template goes back to one that does not read it: it would start with it if the run were taken back.
    Leaves,
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
    pub(super) fn phrase(&self) -> String {
        match self {
            Self::Moves | Self::MovesBesideReloader => {
                "starts with it, since its template goes back too".to_owned()
            }
            Self::MovesWhole(count) => format!(
                "starts with it, since its template goes back too; {count} of its pods run that already and may have read what is \
                 there now, so all of them are made anew"
            ),
            Self::Leaves => {
                "waits for it, since what it leaves reads it, and would again if the run were taken back"
                    .to_owned()
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

    pub(super) fn warning(&self, target: &Target, object: &str) -> Option<String> {
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
            | Self::MovesWhole(_)
            | Self::Leaves
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
        let reloads = world.members.get(*target).is_some_and(|member| member.reloads);
        let reader = |how, takes_in_at_start| Reader {
            view,
            how,
            to: to.clone(),
            takes_in_at_start,
        };
        if moved.is_some_and(|one| one.template.is_none()) {
            return Some(reader(How::MayRead, !reloads));
        }
        let annotations = &view.workload.annotations;
        let live = &view.workload.template;
        let template = moved.and_then(|one| one.template);
        let Some(uses) = consumers(template.unwrap_or(live), annotations).remove(object) else {
            let leaves = moved.is_some() && consumers(live, annotations).contains_key(object);
            return leaves.then(|| reader(How::Leaves, false));
        };
        let how = match moved {
            Some(_) if is_watched(&uses) => How::MovesBesideReloader,
            Some(_) => How::Moves,
            None => how(view, &uses, world, about(target)),
        };
        Some(reader(how, !reloads && uses.iter().any(Use::is_read_by_pods)))
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
        Strategy::OnDelete
            if view
                .standing()
                .any(|pod| pod.revision.as_ref() != Some(&view.live)) =>
        {
            How::Cannot("its strategy is OnDelete, and pods of another version would come back as its newest")
        }
        Strategy::RollingUpdate { partition, .. } if partition > 0 => How::Cannot("it has a partition"),
        Strategy::RollingUpdate { .. } | Strategy::Recreate | Strategy::OnDelete => How::Restarts,
        // A mark on its template would be a new version, which goes through all steps.
        Strategy::Canary { .. } | Strategy::BlueGreen { .. } => {
            How::Cannot("it is a Rollout (`kubectl argo rollouts restart` makes its pods anew in place)")
        }
    }
}
