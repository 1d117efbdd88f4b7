//! The steps of a plan and their order: for each workload its write, what unblocks it, and the wait; dependents after
//! what they depend on. Owns deadlines and reversals; which revision is written is decided elsewhere.

use crate::carried;
use crate::config::{Restart, Restoring};
use crate::forecast::{self, History};
use crate::owners::{self, Pausing};
use crate::refuse;
use crate::releases::{self, Through};
use crate::stopping::{Stopping, begun_anew, stopping};
use crate::world::{View, World, ordinal};
use astern_model::choice::RevisionRef;
use astern_model::content::ContentRef;
use astern_model::decision::Refusal;
use astern_model::evidence::Trouble;
use astern_model::helm::{ReleaseName, Status};
use astern_model::id::{StepId, TemplateHash};
use astern_model::reversal::Reversal;
use astern_model::step::helm::{Carried, Pin as RecordPin, Spec as HelmSpec};
use astern_model::step::workload::{DeleteWhy, Pin, RestartMark, Spec as WorkloadSpec};
use astern_model::step::{Forecast, Spec, Step};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{Pod, Strategy};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Helm's own requests beside what it waits for.
const HELM_SLACK: SignedDuration = SignedDuration::from_mins(1);

/// One workload and the revision that is to be written.
pub(crate) struct Move<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) to: RevisionRef,
    /// The template of that revision; none when only a run has kept it.
    pub(crate) template: Option<&'a Template>,
    pub(crate) kept: Option<ContentRef>,
    /// The mark of a restart that is written with it.
    pub(crate) mark: Option<RestartMark>,
}

impl Move<'_> {
    pub(crate) fn target(&self) -> &Target {
        &self.view.workload.target
    }

    /// The template that it asks for once it was written.
    pub(crate) fn written(&self) -> &TemplateHash {
        self.mark
            .as_ref()
            .map_or(&self.to.template, |mark| &mark.template)
    }

    /// The template that will run, or where only a run has kept it, the live one, whose probes are the best guess.
    fn expected_template(&self) -> &Template {
        self.template.unwrap_or(&self.view.workload.template)
    }
}

/// The moves of a plan, by workload.
pub(crate) type Moves<'a> = BTreeMap<&'a Target, Move<'a>>;

/// All steps, owners paused first, then what ConfigMaps and Secrets hold, each after those it names, in an order that depends on the inputs alone.
///
/// # Errors
/// A circle in `dependsOn`, and a partition that keeps pods from taking the template.
pub(crate) fn steps(
    moves: &Moves<'_>,
    world: &World<'_>,
    history: &History,
    through: &[Through<'_>],
    restoring: &Restoring<'_>,
    before: &Before<'_>,
) -> Result<Vec<Step>, Refusal> {
    for step in moves.values() {
        check_partition(step)?;
    }
    let begun_anew: BTreeSet<&Target> = moves.keys().chain(restoring.restarts.keys()).copied().collect();
    let mut needs = dependencies(&begun_anew, world);
    for one in through {
        together(one, &followers(one, restoring), &mut needs);
    }
    let order = topological(&needs).map_err(|circle| refuse::cycle(&circle))?;
    let Before { pausing, stopping } = before;
    let first = pausing
        .steps
        .iter()
        .chain(&stopping.steps)
        .chain(&restoring.steps);
    let mut steps: Vec<Step> = first.cloned().collect();
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    for target in order {
        let Some(needed) = needs.get(target) else {
            continue;
        };
        for one in through {
            let follows = one.targets.contains(target) || restoring.before(target).contains(&release_id(one));
            if follows && begun.insert(&one.release.name.name) {
                steps.extend(of_release(
                    one,
                    moves,
                    world,
                    before_release(one, &needs, restoring, before),
                ));
            }
        }
        let mut after = restoring.before(target);
        after.extend(pausing.before(target));
        after.extend(stopping.before(target));
        after.extend(needed.iter().map(|needed| id("rollout", needed)));
        let Some(one) = moves.get(target) else {
            let restarted = restoring.restarts.get(target);
            steps.extend(
                restarted
                    .into_iter()
                    .flat_map(|one| of_restart(one, &after, stopping, history)),
            );
            continue;
        };
        match through.iter().find(|through| through.targets.contains(target)) {
            Some(through) => {
                steps.extend(following(one, release_id(through), stopping, history));
            }
            None => steps.extend(of_target(one, after, stopping, history)),
        }
    }
    // A release that nobody waits for.
    for one in through {
        if begun.insert(&one.release.name.name) {
            steps.extend(of_release(
                one,
                moves,
                world,
                before_release(one, &needs, restoring, before),
            ));
        }
    }
    let all: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    steps.extend(stopping.end(&all));
    Ok(steps)
}

/// What comes before anything is written.
pub(crate) struct Before<'a> {
    pub(crate) pausing: Pausing<'a>,
    pub(crate) stopping: Stopping<'a>,
}

impl<'a> Before<'a> {
    /// The owners that are paused, and what is stopped once they are.
    pub(crate) fn of(
        stop: bool,
        moves: &Moves<'a>,
        restoring: &mut Restoring<'a>,
        carried: &BTreeSet<&Target>,
        world: &'a World<'a>,
        left_free: &BTreeSet<String>,
    ) -> Self {
        let begun_anew = begun_anew(moves, restoring.restarts.keys().copied());
        let mut stopping = stopping(stop, &begun_anew, carried, world);
        let pausing = owners::pausing(moves, restoring, stopping.starters(), world, left_free);
        stopping.plan(&pausing, world);
        Self { pausing, stopping }
    }
}

/// The workloads of a release are written at one moment: what one of them must wait for, all do. Its followers start anew for what the
/// release writes, so that it cannot wait for them, and they wait for what it does.
fn together<'a>(through: &Through<'a>, followers: &BTreeSet<&'a Target>, needs: &mut Needs<'a>) {
    let waits_for_a_follower = |target: &&Target| {
        let needed = needs.get(*target);
        followers.contains(*target) || needed.is_some_and(|needed| !needed.is_disjoint(followers))
    };
    let of_group = needs
        .iter()
        .filter(|(target, _)| through.targets.contains(*target));
    let outside: BTreeSet<&Target> = of_group
        .flat_map(|(_, needed)| needed.iter().copied())
        .filter(|needed| !through.targets.contains(needed) && !waits_for_a_follower(needed))
        .collect();
    for target in &through.targets {
        if let Some(needed) = needs.get_mut(target) {
            *needed = outside.clone();
        }
    }
    for follower in followers {
        if let Some(needed) = needs.get_mut(follower) {
            needed.extend(&outside);
        }
    }
}

/// The workloads that start anew after a release because of what it writes, and are not its own.
fn followers<'a>(through: &Through<'a>, restoring: &Restoring<'a>) -> BTreeSet<&'a Target> {
    let release = release_id(through);
    let waiting = restoring
        .before
        .iter()
        .filter(|(_, before)| before.contains(&release));
    waiting.map(|(target, _)| *target).collect()
}

/// What a release waits for: it writes all of its workloads at once.
fn before_release(
    through: &Through<'_>,
    needs: &Needs<'_>,
    restoring: &Restoring<'_>,
    before: &Before<'_>,
) -> Vec<StepId> {
    let Before { pausing, stopping } = before;
    let of = |target: &&Target| {
        let needed = needs.get(*target).into_iter().flatten();
        let rollouts = needed.map(|needed| id("rollout", needed));
        let first = restoring.before(target).into_iter().chain(pausing.before(target));
        let first = first.chain(stopping.before(target));
        rollouts.chain(first).collect::<Vec<_>>()
    };
    let own = through.targets.iter().flat_map(of);
    let after: BTreeSet<StepId> = own.chain(pausing.before_release(&through.release.name)).collect();
    after.into_iter().collect()
}

pub(crate) fn release_id(through: &Through<'_>) -> StepId {
    StepId(format!("release:{}", through.release.name))
}

pub(crate) fn look_id(through: &Through<'_>) -> StepId {
    StepId(format!("look:{}", through.release.name))
}

/// The repair of a record that stands in the way, the rollback, and the look at what it was to write.
fn of_release(
    through: &Through<'_>,
    moves: &Moves<'_>,
    world: &World<'_>,
    mut after: Vec<StepId>,
) -> Vec<Step> {
    let settings = world.platform.helm;
    let contents = carried::contents(through, world);
    // Each login may take its whole time, and what stands is looked at around it.
    let logins = contents.iter().filter_map(|one| one.to.login());
    let logins = logins.map(|probe| probe.timeout).max().unwrap_or_default();
    let mut steps = Vec::new();
    let name = &through.release.name;
    let (Some(from), Some(to)) = (releases::pin(through.from), releases::pin(through.to)) else {
        return steps;
    };
    if let Status::Pending(status) = &through.from.status {
        let repair = repair(name, from.clone(), status, through.from.changed_at, after);
        after = vec![repair.id.clone()];
        steps.push(repair);
    }
    let carried = through.targets.iter().filter_map(|target| moves.get(*target));
    let carried = carried.map(|one| Carried {
        target: one.target().clone(),
        pin: pin(one.view, &one.view.live),
        to: one.to.clone(),
    });
    let look = (!contents.is_empty()).then(|| Step {
        id: look_id(through),
        after: vec![release_id(through)],
        spec: Spec::Helm(HelmSpec::Look {
            release: name.clone(),
            revision: to.number,
            contents: contents.clone(),
        }),
        reversal: Reversal::Nothing,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    });
    let trace = format!(
        "{name} goes forward again to the content of revision {} as one more revision, and the hooks of a rollback run again",
        from.number
    );
    steps.push(Step {
        id: release_id(through),
        after,
        spec: Spec::Helm(HelmSpec::Rollback {
            release: name.clone(),
            from,
            to,
            timeout: settings.timeout,
            wait: settings.wait,
            cleanup_on_fail: settings.cleanup_on_fail,
            force_conflicts: settings.force_conflicts,
            workloads: carried.collect(),
            contents,
        }),
        reversal: Reversal::Compensate { trace },
        // A rollback has hooks before and after it, and each may take the whole timeout, as may a wait.
        deadline: (settings.timeout * if settings.wait { 3 } else { 2 }) + HELM_SLACK + logins,
        forecast: forecast::request(),
    });
    steps.extend(look);
    steps
}

/// The mending of a pending record.
pub(crate) fn repair(
    release: &ReleaseName,
    record: RecordPin,
    status: &str,
    changed_at: Timestamp,
    after: Vec<StepId>,
) -> Step {
    let trace = format!("the record of revision {} says {status} again", record.number);
    Step {
        id: StepId(format!("repair:{release}")),
        after,
        spec: Spec::Helm(HelmSpec::Repair {
            release: release.clone(),
            record,
            status: status.to_owned(),
            changed_at,
        }),
        reversal: Reversal::Compensate { trace },
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    }
}

/// The longest path through the steps' forecasts.
pub(crate) fn longest(steps: &[Step]) -> SignedDuration {
    let mut ends: BTreeMap<&StepId, SignedDuration> = BTreeMap::new();
    for step in steps {
        let begins = step
            .after
            .iter()
            .filter_map(|id| ends.get(id))
            .max()
            .copied()
            .unwrap_or_default();
        ends.insert(&step.id, begins.saturating_add(step.forecast.expected));
    }
    ends.values().max().copied().unwrap_or_default()
}

/// Pods that no waiting mends, of a StatefulSet whose controller waits for each before it goes on to `to`: the highest
/// ordinal first. They need not be live ones: whoever fixes forward leaves the broken pod of the version before.
pub(crate) fn stuck<'a>(view: &View<'a>, to: &TemplateHash) -> Vec<(&'a Pod, &'a Trouble)> {
    let cannot_pass = waited_for(view, to)
        .into_iter()
        .filter(|(_, trouble)| trouble.cannot_pass());
    let mut pods: Vec<(&Pod, &Trouble)> = cannot_pass.collect();
    pods.sort_by(|(a, _), (b, _)| last_first(a, b));
    pods
}

/// Pods for which such a controller waits as well, and which nothing entitles anybody to delete.
pub(crate) fn may_stay<'a>(view: &View<'a>, to: &TemplateHash) -> Vec<&'a Pod> {
    let may_pass = waited_for(view, to)
        .into_iter()
        .filter(|(_, trouble)| !trouble.cannot_pass());
    may_pass.map(|(pod, _)| pod).collect()
}

/// Whether the controller waits for each pod before it replaces the next.
pub(crate) fn waits_for_each(view: &View<'_>) -> bool {
    let ordered = matches!(
        view.workload.strategy,
        Strategy::RollingUpdate { ordered: true, .. }
    );
    ordered && view.workload.target.kind == WorkloadKind::StatefulSet
}

fn waited_for<'a>(view: &View<'a>, to: &TemplateHash) -> Vec<(&'a Pod, &'a Trouble)> {
    if !waits_for_each(view) {
        return Vec::new();
    }
    let others = view
        .standing()
        .filter(|pod| !pod.ready && pod.revision.as_ref() != Some(to));
    others
        .filter_map(|pod| pod.trouble.as_ref().map(|trouble| (pod, trouble)))
        .collect()
}

/// Pods that an `OnDelete` workload replaces only once somebody deletes them, in the order of their deletion; and
/// those on lost nodes, which are never deleted.
pub(crate) fn on_delete<'a>(view: &View<'a>, to: &TemplateHash) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
    if view.workload.strategy != Strategy::OnDelete {
        return (Vec::new(), Vec::new());
    }
    let old = view
        .live_pods()
        .chain(view.former_pods())
        .filter(|pod| pod.revision.as_ref() != Some(to));
    let (lost, mut pods): (Vec<&Pod>, Vec<&Pod>) =
        old.partition(|pod| matches!(pod.trouble, Some(Trouble::NodeLost { .. })));
    match view.workload.target.kind {
        WorkloadKind::StatefulSet => pods.sort_by(|a, b| last_first(a, b)),
        WorkloadKind::Deployment | WorkloadKind::DaemonSet | WorkloadKind::Rollout => {
            pods.sort_by(|a, b| a.name.cmp(&b.name))
        }
    }
    (pods, lost)
}

/// The partition of a workload that has one above 0.
pub(crate) fn partition(view: &View<'_>) -> Option<u32> {
    match view.workload.strategy {
        Strategy::RollingUpdate { partition, .. } if partition > 0 => Some(partition),
        _ => None,
    }
}

fn last_first(a: &Pod, b: &Pod) -> std::cmp::Ordering {
    (ordinal(b), &b.name).cmp(&(ordinal(a), &a.name))
}

/// A template reaches only pods from the partition on. That suffices when the others run the target already.
fn check_partition(one: &Move<'_>) -> Result<(), Refusal> {
    let Some(partition) = partition(one.view) else {
        return Ok(());
    };
    let is_kept = |pod: &&Pod| {
        pod.revision.as_ref() != Some(one.written()) && ordinal(pod).is_none_or(|ordinal| ordinal < partition)
    };
    let kept: Vec<String> = one
        .view
        .pods
        .iter()
        .copied()
        .filter(is_kept)
        .map(|pod| format!("pod/{}", pod.name))
        .collect();
    if kept.is_empty() {
        Ok(())
    } else {
        Err(refuse::partition(one.target(), partition, &kept, one.to.number))
    }
}

pub(crate) fn id(what: &str, target: &Target) -> StepId {
    StepId(format!("{what}:{target}"))
}

fn of_target(one: &Move<'_>, after: Vec<StepId>, stopping: &Stopping<'_>, history: &History) -> Vec<Step> {
    let write = write(one, after);
    let last = write.id.clone();
    std::iter::once(write)
        .chain(following(one, last, stopping, history))
        .collect()
}

fn restart(view: &View<'_>, pin: Pin, mark: RestartMark, after: Vec<StepId>) -> Step {
    let target = view.workload.target.clone();
    Step {
        id: id("restart", &target),
        after,
        spec: Spec::Workload(WorkloadSpec::Restart {
            target,
            pin,
            at: mark.at,
            template: mark.template,
        }),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    }
}

/// A restart and its wait.
fn of_restart(one: &Restart<'_>, after: &[StepId], stopping: &Stopping<'_>, history: &History) -> Vec<Step> {
    let workload = one.view.workload;
    let mark = RestartMark {
        at: one.at.clone(),
        template: one.hash.clone(),
    };
    let restart = restart(one.view, pin(one.view, &one.view.live), mark, after.to_vec());
    let version = workload.version();
    let mut last = restart.id.clone();
    let mut steps = vec![restart];
    let freed = if stopping.stops(&workload.target) {
        stopping.start(one.view, &one.hash, last.clone())
    } else {
        by_hand(one.view, &one.hash, &one.template).collect()
    };
    in_turn(freed, &mut last, &mut steps);
    steps.push(wait(one.view, &one.hash, &version, &one.template, last, history));
    steps
}

/// Each step after the one before it.
fn in_turn(freed: impl IntoIterator<Item = Step>, last: &mut StepId, steps: &mut Vec<Step>) {
    for step in freed {
        let step = Step {
            after: vec![last.clone()],
            ..step
        };
        *last = step.id.clone();
        steps.push(step);
    }
}

/// What follows the write of a template: what lets it reach the pods, and the wait.
fn following(one: &Move<'_>, mut last: StepId, stopping: &Stopping<'_>, history: &History) -> Vec<Step> {
    let mut steps = Vec::new();
    let resume = one.view.workload.paused.then(|| resume(one, last.clone()));
    // Of what was stopped no pod is left that could stand in the way.
    let freed = if stopping.stops(one.target()) {
        let last = resume.as_ref().map_or(&last, |step| &step.id);
        stopping.start(one.view, one.written(), last.clone())
    } else {
        deletions(one)
    };
    in_turn(resume.into_iter().chain(freed), &mut last, &mut steps);
    let template = one.expected_template();
    steps.push(wait(
        one.view,
        one.written(),
        &one.to.version,
        template,
        last,
        history,
    ));
    steps
}

pub(crate) fn pin(view: &View<'_>, template: &TemplateHash) -> Pin {
    Pin {
        uid: view.workload.uid.clone(),
        template: template.clone(),
        strategy: view.workload.strategy.clone(),
        paused: view.workload.paused,
    }
}

fn write(one: &Move<'_>, after: Vec<StepId>) -> Step {
    Step {
        id: id("template", one.target()),
        after,
        spec: Spec::Workload(WorkloadSpec::WriteTemplate {
            target: one.target().clone(),
            pin: pin(one.view, &one.view.live),
            to: one.to.clone(),
            kept: one.kept.clone(),
            mark: one.mark.clone(),
        }),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    }
}

fn resume(one: &Move<'_>, after: StepId) -> Step {
    Step {
        id: id("resume", one.target()),
        after: vec![after],
        spec: Spec::Workload(WorkloadSpec::SetPaused {
            target: one.target().clone(),
            pin: pin(one.view, one.written()),
            paused: false,
        }),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    }
}

/// The deletions that let the template reach its pods; each is made to follow the one before it by the caller.
fn deletions(one: &Move<'_>) -> Vec<Step> {
    let (view, to) = (one.view, one.written());
    let stuck = stuck(view, to).into_iter().map(|(pod, trouble)| {
        let trouble = trouble.clone();
        delete(view, to, pod, DeleteWhy::Stuck { trouble }, forecast::request())
    });
    stuck.chain(by_hand(view, to, one.expected_template())).collect()
}

/// The deletions without which no pod takes the template `to` and then runs `expected` (`OnDelete`).
fn by_hand(view: &View<'_>, to: &TemplateHash, expected: &Template) -> impl Iterator<Item = Step> {
    let (old, _) = on_delete(view, to);
    old.into_iter().enumerate().map(move |(place, pod)| {
        let anew = (pod.ready && place > 0).then_some(expected);
        let forecast = forecast::deletion(&view.workload.template, anew);
        Step {
            deadline: forecast::renewal_deadline(&view.workload.template),
            ..delete(view, to, pod, DeleteWhy::OnDelete, forecast)
        }
    })
}

fn delete(view: &View<'_>, to: &TemplateHash, pod: &Pod, why: DeleteWhy, forecast: Forecast) -> Step {
    let target = &view.workload.target;
    Step {
        id: StepId(format!("delete:{target}/{}", pod.name)),
        after: Vec::new(),
        spec: Spec::Workload(WorkloadSpec::DeletePod {
            target: target.clone(),
            uid: view.workload.uid.clone(),
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            template: to.clone(),
            why,
        }),
        reversal: Reversal::Compensate {
            trace: format!(
                "the deletion of pod/{} is irreversible: its controller makes another one of that name",
                pod.name
            ),
        },
        deadline: forecast::deletion_deadline(&view.workload.template),
        forecast,
    }
}

/// The wait that finds a workload as it is: what runs goes on to serve.
pub(crate) fn stays(view: &View<'_>, after: &[StepId], history: &History) -> Step {
    let workload = view.workload;
    let wait = wait(
        view,
        &view.live,
        &workload.version(),
        &workload.template,
        StepId(String::new()),
        history,
    );
    Step {
        after: after.to_vec(),
        ..wait
    }
}

fn wait(
    view: &View<'_>,
    hash: &TemplateHash,
    version: &str,
    template: &Template,
    after: StepId,
    history: &History,
) -> Step {
    let forecast = forecast::rollout(history, view, hash, template);
    Step {
        id: id("rollout", &view.workload.target),
        after: vec![after],
        spec: Spec::Workload(WorkloadSpec::AwaitRollout {
            target: view.workload.target.clone(),
            uid: view.workload.uid.clone(),
            template: hash.clone(),
            version: version.to_owned(),
        }),
        reversal: Reversal::Nothing,
        deadline: forecast::rollout_deadline(view, &forecast),
        forecast,
    }
}

type Needs<'a> = BTreeMap<&'a Target, BTreeSet<&'a Target>>;

/// What each workload that the plan starts anew must wait for, through members that are not in the plan as well.
fn dependencies<'a>(begun_anew: &BTreeSet<&'a Target>, world: &World<'a>) -> Needs<'a> {
    let direct = |target: &Target| {
        world
            .members
            .get(target)
            .map(|member| member.depends_on.as_slice())
    };
    let of = |target: &Target| {
        let mut found = BTreeSet::new();
        let mut seen: BTreeSet<&Target> = BTreeSet::new();
        let mut open: Vec<&Target> = direct(target).unwrap_or_default().iter().collect();
        if open.contains(&target)
            && let Some(own) = begun_anew.get(target)
        {
            found.insert(*own);
        }
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            match begun_anew.get(next) {
                Some(needed) if *needed != target => {
                    found.insert(*needed);
                }
                // A circle through workloads that stay as they are puts nothing before itself.
                Some(_) => {}
                None => open.extend(direct(next).unwrap_or_default()),
            }
        }
        found
    };
    begun_anew.iter().map(|target| (*target, of(target))).collect()
}

/// The workloads wave by wave, by name inside a wave; or a circle.
fn topological<'a>(needs: &Needs<'a>) -> Result<Vec<&'a Target>, Vec<&'a Target>> {
    let mut waiting: BTreeMap<&Target, usize> =
        needs.iter().map(|(target, on)| (*target, on.len())).collect();
    let mut needed_by: BTreeMap<&Target, Vec<&Target>> = BTreeMap::new();
    for (target, on) in needs {
        for needed in on {
            needed_by.entry(needed).or_default().push(target);
        }
    }
    let mut order = Vec::with_capacity(needs.len());
    let mut wave: BTreeSet<&Target> = waiting
        .iter()
        .filter(|(_, on)| **on == 0)
        .map(|(target, _)| *target)
        .collect();
    while !wave.is_empty() {
        let mut next = BTreeSet::new();
        for target in wave {
            order.push(target);
            waiting.remove(target);
            for dependent in needed_by.get(target).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(dependent) {
                    *left -= 1;
                    if *left == 0 {
                        next.insert(*dependent);
                    }
                }
            }
        }
        wave = next;
    }
    if waiting.is_empty() {
        Ok(order)
    } else {
        Err(circle(needs, &waiting))
    }
}

/// Follows what is still waited for until a workload comes up again.
fn circle<'a>(needs: &Needs<'a>, waiting: &BTreeMap<&'a Target, usize>) -> Vec<&'a Target> {
    let mut path: Vec<&Target> = Vec::new();
    let mut next = waiting.keys().next().copied();
    while let Some(target) = next {
        if let Some(begins) = path.iter().position(|seen| *seen == target) {
            return path.split_off(begins);
        }
        path.push(target);
        next = needs
            .get(target)
            .and_then(|on| on.iter().find(|needed| waiting.contains_key(*needed)))
            .copied();
    }
    path
}
