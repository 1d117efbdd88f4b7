//! A plan carried out on a copy of its namespace: by the same driver, through the same adapters, on time that jumps. Owns
//! what is run and what is made of it; the copy, the faults and the watching are others'.

use crate::Stage;
use crate::answered::{Answered, Owned};
use crate::contents::Kept;
use crate::copy::{Copy, NotImitated};
use crate::faults;
use crate::pods::{PodWatch, Wanted, budgets};
use crate::points::{Mortal, Points};
use crate::standing::{Standing, standing};
use astern_app::World;
use astern_app::judging::PlatformJudge;
use astern_app::running::{self, RunError, Unobserved};
use astern_exec::book::Book;
use astern_exec::driver::{Ended, Judge, Ports};
use astern_gate::CheckedPlan;
use astern_model::approval::{Approval, How};
use astern_model::finding::Allowances;
use astern_model::id::RunId;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::question::Answers;
use astern_model::record::Holder;
use astern_model::step::{Spec, Step, config, workload};
use astern_model::target::{Target, WorkloadKind};
use astern_model::verdict::Verdict;
use astern_port::Failure;
use astern_port::owners::NoOwners;
use astern_port::sense::Saved;
use astern_report::rehearsal::{Pace, Rehearsal};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What the run is called on the copy.
const RUN: &str = "rehearsal";
/// Before the run begins, whoever watches has seen how it stands.
const LEAD: SignedDuration = SignedDuration::from_millis(100);
/// What the judge is not asked on a copy: containers there log nothing, answer nothing, and are of no image.
const NOT_JUDGED: &str = "error lines";

/// What is rehearsed.
#[derive(Clone)]
pub struct Piece {
    /// The namespace's copy.
    pub copy: Copy,
    /// The plan, as the gate let it pass on the real cluster.
    pub checked: CheckedPlan,
    /// What the gate looked at.
    pub inventory: Inventory,
    /// What the real cluster answered.
    pub answers: Answers,
    /// The platform, with its thresholds.
    pub platform: Platform,
    /// What was settled beforehand.
    pub allow: Allowances,
    /// What the plan takes from the vault: templates that the cluster keeps no more, and what ConfigMaps and Secrets held.
    pub kept: Kept,
}

/// Why there is no rehearsal. Nothing was written anywhere but in memory.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The thread that it runs on could not be started.
    #[error("the rehearsal could not be started")]
    Thread(#[source] std::io::Error),
    /// The copy cannot be read.
    #[error("the copy cannot be read")]
    Look(#[source] Failure),
    /// The copy's events cannot be read.
    #[error("the events of the copy cannot be read")]
    Events(#[source] kube::Error),
    /// The plan changes a workload that the copy would not roll as the cluster does.
    #[error("{target} cannot be rehearsed; nothing was changed")]
    NotImitated {
        /// The workload.
        target: Target,
        /// What is not imitated.
        #[source]
        why: NotRolled,
    },
    /// The run stopped before it came to rest.
    #[error("the run stopped on the copy before it came to rest")]
    Run(#[from] RunError),
}

/// What the sandbox does not imitate, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotRolled(pub String);

/// Rehearses a plan, with `faults` also with each of its steps failing and with a crash at each point. Runs on a thread of
/// its own, whose time jumps.
///
/// # Errors
/// [`RehearsalError`]. How a run ends is no error, however it ends.
pub async fn rehearse(piece: Piece, faults: bool) -> Result<Rehearsal, RehearsalError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("rehearsal".to_owned());
    let thread = thread
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            let rehearsed = match runtime {
                Ok(runtime) => runtime.block_on(on_paused_time(piece, faults)),
                Err(error) => Err(RehearsalError::Thread(error)),
            };
            // Whoever asked may have gone.
            let _ = done.send(rehearsed);
        })
        .map_err(RehearsalError::Thread)?;
    match result.await {
        Ok(rehearsed) => rehearsed,
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(RehearsalError::Thread(std::io::Error::other(
                "it ended without a word",
            ))),
        },
    }
}

/// The same on a runtime whose time is paused already.
///
/// # Errors
/// As [`rehearse`].
pub async fn on_paused_time(piece: Piece, faults: bool) -> Result<Rehearsal, RehearsalError> {
    imitated(&piece)?;
    let scene = Scene::new(piece);
    let (mut rehearsal, plain) = scene.plain().await?;
    if faults {
        rehearsal.faults = Some(faults::all(&scene, &plain).await?);
    }
    Ok(rehearsal)
}

/// Its canaries, analyses and routers are a program of their own, which the copy has not.
const NO_ARGO_ROLLOUTS: &str = "Argo Rollouts rolls it, and the copy has no controller of Argo Rollouts";

/// The same of whoever draws Secrets.
const NO_EXTERNAL_SECRETS: &str = "External Secrets draws what it reads, and the copy has no such operator";

/// Whether the copy rolls each workload of the plan as the cluster does.
fn imitated(piece: &Piece) -> Result<(), RehearsalError> {
    let draws = |step: &Step| matches!(step.spec.config(), Some(config::Spec::Repin { .. }));
    if piece.checked.plan().steps.iter().any(draws)
        && let Some(target) = piece.checked.plan().targets().into_iter().next()
    {
        return Err(RehearsalError::NotImitated {
            target: target.clone(),
            why: NotRolled(String::from(NO_EXTERNAL_SECRETS)),
        });
    }
    for target in piece.checked.plan().targets() {
        if target.kind == WorkloadKind::Rollout {
            return Err(RehearsalError::NotImitated {
                target: target.clone(),
                why: NotRolled(String::from(NO_ARGO_ROLLOUTS)),
            });
        }
        let of_target = |found: &&NotImitated| {
            WorkloadKind::parse(&found.kind) == Some(target.kind) && found.name == target.name
        };
        if let Some(found) = piece.copy.not_imitated.iter().find(of_target) {
            return Err(RehearsalError::NotImitated {
                target: target.clone(),
                why: NotRolled(found.why.clone()),
            });
        }
    }
    Ok(())
}

/// How the run without faults came out: what those with faults are compared with.
pub(crate) struct Plain {
    pub(crate) ended: Book,
    pub(crate) before: Standing,
    pub(crate) after: Standing,
    pub(crate) points: Vec<crate::points::Point>,
}

/// Everything that each take begins with.
pub(crate) struct Scene {
    piece: Piece,
    answers: Arc<Answers>,
    owned: Arc<Owned>,
    pub(crate) run: RunId,
}

/// One run on a snapshot of its own.
pub(crate) struct Take {
    pub(crate) stage: Stage,
    pub(crate) world: World,
}

impl Scene {
    fn new(mut piece: Piece) -> Self {
        // The gate has judged the owners on the real cluster; what they say of themselves is not on the copy.
        let owners = piece.inventory.workloads.values();
        let owners: BTreeSet<String> = owners
            .flat_map(|workload| &workload.owners)
            .map(|owner| owner.name.clone())
            .collect();
        piece.allow.accept_revert.extend(owners);
        Self {
            answers: Arc::new(std::mem::take(&mut piece.answers)),
            owned: Arc::new(Owned::by(&piece.inventory)),
            piece,
            run: RunId::from(RUN),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        self.piece.checked.plan()
    }

    pub(crate) fn take(&self) -> Take {
        let copy = &self.piece.copy;
        let stage = Stage::new(copy.cluster.clone(), copy.made_of.at, self.piece.kept.vault());
        let world = self.world(&stage);
        Take { stage, world }
    }

    /// What another process sees of a stage.
    pub(crate) fn world(&self, stage: &Stage) -> World {
        let mut world = stage.world();
        world.owners = Arc::new(NoOwners);
        world.look = Arc::new(Answered {
            look: world.look,
            cluster: self.piece.inventory.cluster.clone(),
            answers: self.answers.clone(),
            owned: self.owned.clone(),
        });
        world
    }

    /// How the workloads of a take stand now, and what the plan writes beside them.
    pub(crate) async fn standing(&self, take: &Take) -> Result<Standing, RehearsalError> {
        let namespace = &self.plan().namespace;
        let inventory = take.world.look.inventory(namespace).await;
        let config = take.world.config.all(namespace).await;
        Ok(standing(
            self.plan(),
            &inventory.map_err(RehearsalError::Look)?,
            &config.map_err(RehearsalError::Look)?,
        ))
    }

    /// Carries the plan out in `world`.
    pub(crate) async fn start(&self, world: &World, judge: Arc<dyn Judge>) -> Result<Ended, RunError> {
        let now = world.clock.now();
        let approval = Approval {
            plan: self.piece.checked.hash().clone(),
            by: self.piece.inventory.cluster.user.clone(),
            how: How::Yes,
            reason: RUN.to_owned(),
            at: now,
            overrides: Vec::new(),
            warnings: Vec::new(),
            found: Vec::new(),
        };
        running::start_on(
            self.ports(world, judge),
            now,
            self.holder("first"),
            self.run.clone(),
            self.piece.checked.clone(),
            approval,
            Saved::default(),
        )
        .await
    }

    /// Another one goes on with the run, or takes it back.
    pub(crate) async fn resume(&self, world: &World, wish: running::Wish) -> Result<Ended, RunError> {
        let ports = self.ports(world, Arc::new(Contented));
        running::resume_on(
            world,
            ports,
            self.holder("second"),
            &self.run,
            wish,
            &self.piece.allow,
        )
        .await
    }

    fn ports(&self, world: &World, judge: Arc<dyn Judge>) -> Ports {
        world.ports(judge, Arc::new(Unobserved))
    }

    fn holder(&self, id: &str) -> Holder {
        Holder {
            id: id.to_owned(),
            user: self.piece.inventory.cluster.user.clone(),
            host: RUN.to_owned(),
            pid: 0,
        }
    }

    /// The run without faults, and what it showed.
    async fn plain(&self) -> Result<(Rehearsal, Plain), RehearsalError> {
        let mut take = self.take();
        let namespace = self.plan().namespace.clone();
        let points = Arc::new(Points::default());
        take.world.journal = Arc::new(Mortal {
            journal: take.stage.journal.clone(),
            points: points.clone(),
        });
        let client = || kube::Client::new(take.stage.service.clone(), namespace.clone());
        let watch = PodWatch::new(Wanted::of(self.plan(), &self.piece.inventory), take.stage.clock);
        let mut watching = JoinSet::new();
        let (follow, of, through) = (watch.clone(), namespace.clone(), client());
        watching.spawn(async move { follow.follow(through, &of).await });
        let before = self.standing(&take).await?;
        astern_port::clock::Clock::sleep(&take.stage.clock, LEAD).await;

        let judge = Arc::new(ServingJudge(PlatformJudge {
            world: take.world.clone(),
            platform: self.piece.platform.clone(),
        }));
        let began = take.stage.clock.time();
        let ended = self.start(&take.world, judge).await?.book;
        let after = self.standing(&take).await?;
        let blocks = watch
            .blocks(client(), &namespace, began)
            .await
            .map_err(RehearsalError::Events)?;
        drop(watching);
        let lanes = watch.lanes(began);
        let mut rehearsal = self.told(&ended, began);
        rehearsal.budgets = budgets(&self.piece.copy.budgets, &self.piece.inventory, &lanes);
        rehearsal.lanes = lanes;
        rehearsal.blocks = blocks;
        let plain = Plain {
            ended,
            before,
            after,
            points: points.passed(),
        };
        Ok((rehearsal, plain))
    }

    /// What the journal of a run tells.
    fn told(&self, book: &Book, began: Timestamp) -> Rehearsal {
        let (plan, piece) = (self.plan(), &self.piece);
        let report = astern_report::report(&book.id, plan, &book.hash(), &book.records, RUN);
        let checks = report
            .checklist
            .verdict
            .map(|judged| judged.verdict.items)
            .unwrap_or_default();
        Rehearsal {
            title: astern_report::plan_title(plan),
            plan: piece.checked.hash().clone(),
            cluster: piece.inventory.cluster.clone(),
            namespace: plan.namespace.clone(),
            copy: piece.copy.made_of.clone(),
            findings: piece.checked.findings().to_vec(),
            paces: self.paces(),
            ending: report.ending.what,
            restored_after: report
                .rollback
                .restored
                .map(|restored| restored.at.duration_since(began)),
            forecast: plan.forecast,
            rto: plan.rto,
            on_failure: plan.on_failure,
            began,
            steps: report.rollback.steps,
            lanes: Vec::new(),
            blocks: Vec::new(),
            budgets: Vec::new(),
            standings: report.standings,
            checks,
            soak: plan.recovered_when.soak,
            faults: None,
            proves_not: proves_not(plan),
        }
    }

    /// The paces of the revisions that matter: those that the plan goes back to, and those with pods now.
    fn paces(&self) -> Vec<Pace> {
        let plan = self.plan();
        let matters = |name: &str, pace: &Pace| {
            let Some(workload) = self.piece.inventory.workloads.get(&pace.target) else {
                return false;
            };
            let Some(revision) = workload.revisions.iter().find(|revision| revision.name == name) else {
                return false;
            };
            let awaited = plan.steps.iter().any(|step| match &step.spec {
                Spec::Workload(workload::Spec::AwaitRollout { target, template, .. }) => {
                    *target == pace.target && *template == revision.hash
                }
                Spec::Workload(_) | Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => false,
            });
            plan.targets().contains(&pace.target) && (awaited || revision.pods > 0)
        };
        let told = self.piece.copy.paces.told.iter();
        let mut paces: Vec<Pace> = told
            .filter(|(name, pace)| matters(name, pace))
            .map(|(_, pace)| pace.clone())
            .collect();
        paces.sort_by(|a, b| (&a.target, &a.version).cmp(&(&b.target, &b.version)));
        paces
    }
}

/// What no rehearsal proves, and what of this plan's criteria it does not judge.
fn proves_not(plan: &Plan) -> Vec<String> {
    let mut sentences = [
        "that the image works: pods behaved as told above, whatever it holds",
        "that what pods need answers: databases, volumes, services outside",
        "what traffic meets meanwhile: none runs on a copy",
        "what others do meanwhile: GitOps, operators, webhooks; autoscalers act by the load of that moment",
        "placing by affinity between pods, spread or preemption: none is tried",
    ]
    .map(str::to_owned)
    .to_vec();
    let criteria = &plan.recovered_when;
    let mut unjudged = vec!["error lines"];
    if !criteria.probes.is_empty() {
        unjudged.push("probes");
    }
    if !criteria.images.is_empty() {
        unjudged.push("image digests");
    }
    sentences.push(format!("{}: the real run judges these", unjudged.join(", ")));
    sentences
}

/// Judges what can be judged on a copy: that the pods serve, and go on serving over the soak window.
struct ServingJudge(PlatformJudge);

#[async_trait]
impl Judge for ServingJudge {
    async fn judge(&self, plan: &Plan, since: Timestamp) -> Verdict {
        let mut asked = plan.clone();
        asked.recovered_when.probes.clear();
        asked.recovered_when.images.clear();
        let mut verdict = self.0.judge(&asked, since).await;
        verdict.items.retain(|item| item.check != NOT_JUDGED);
        verdict
    }
}

/// Judges nothing: how long service lasts is the plain run's matter.
pub(crate) struct Contented;

#[async_trait]
impl Judge for Contented {
    async fn judge(&self, _: &Plan, since: Timestamp) -> Verdict {
        Verdict {
            from: since,
            to: since,
            held_for: SignedDuration::ZERO,
            items: Vec::new(),
        }
    }
}
