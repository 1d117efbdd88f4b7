//! What earlier runs tell: which one is still open, how long rollouts took, what was taken back and what was gone back
//! to.

use crate::running::{self, Rest};
use crate::world::World;
use astern_engine::{Phase, Status};
use astern_exec::book::{Book, BookError};
use astern_model::config::{ConfigName, HeldConfig};
use astern_model::diff::{Change, Shown};
use astern_model::id::{ContentHash, RunId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::plan::{Intent, Plan, TargetChanges};
use astern_model::record::Event;
use astern_model::release::{Reason, Word};
use astern_model::step::{After, Before, Spec, Step, config, helm, workload};
use astern_model::target::Target;
use astern_plan::{
    ContentTakenBack, History, MARK_RESTORED_BY, MARK_ROLLED_BACK_BY, Taken, TakenConfig, TakenRun,
};
use astern_port::Failure;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// Runs of a namespace that are read. A median of a few is enough, and each costs one request in parallel.
const LOOK_BACK: usize = 5;

/// What the newest runs tell.
#[derive(Debug, Default)]
pub struct Past {
    /// The newest run of the namespace, if it is not over.
    pub open: Option<(RunId, Phase)>,
    /// How long rollouts took.
    pub history: History,
    /// Templates that a run has taken back and nobody has put back since: by which run.
    pub rolled_back: BTreeMap<(Target, TemplateHash), RunId>,
    /// Templates that a run went back to and validated, and that none has taken back since: by which run.
    pub restored: BTreeMap<(Target, TemplateHash), RunId>,
    /// What ConfigMaps and Secrets held that a run has taken back and nobody has put back since: by which run.
    pub replaced_content: ContentTakenBack,
    /// Images that a run has taken back and nobody has put back since, as templates named them.
    pub replaced_images: BTreeMap<String, Replaced>,
}

/// Which run took an image back, from what, and when that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    run: RunId,
    target: Target,
    at: Timestamp,
}

impl Replaced {
    /// The same as a word against the image.
    pub fn word(&self) -> Option<Word> {
        let Self { run, target, at } = self;
        Some(Word {
            reason: Reason::new(&format!("run {run} took it back from {target}"))?,
            by: "astern".to_owned(),
            at: *at,
        })
    }
}

impl Past {
    /// Marks the revisions that an earlier run has taken back, so that choosing passes them over, and those that one
    /// went back to and validated, so that choosing knows them as good.
    pub fn mark(&self, inventory: &mut Inventory) {
        let marks = [
            (MARK_ROLLED_BACK_BY, &self.rolled_back),
            (MARK_RESTORED_BY, &self.restored),
        ];
        for (mark, of) in marks {
            for ((target, hash), run) in of {
                let Some(workload) = inventory.workloads.get_mut(target) else {
                    continue;
                };
                let foretold = workload.foretold.iter_mut();
                let foretold = foretold.filter_map(|foretold| foretold.template.value_mut());
                let recalled = workload.recalled.iter_mut();
                let recalled = recalled
                    .filter_map(|recalled| recalled.template.value_mut())
                    .map(|kept| &mut kept.revision);
                let revisions = workload.revisions.iter_mut().chain(foretold).chain(recalled);
                for revision in revisions.filter(|revision| &revision.hash == hash) {
                    revision.marks.insert(mark.to_owned(), run.to_string());
                }
            }
        }
    }

    /// Takes in a run that came after all that were taken in before: a rollback speaks against what it replaced, and,
    /// once validated, for what it wrote; an undo takes its word back.
    fn follow(&mut self, book: &Book) {
        match &book.plan.intent {
            Intent::RollBack => {
                let validated = running::rest(book) == Rest::Validated;
                for (target, before, after) in replaced(book) {
                    let (before, after) = ((target.clone(), before), (target.clone(), after));
                    self.restored.remove(&before);
                    self.rolled_back.insert(before, book.id.clone());
                    if validated {
                        self.rolled_back.remove(&after);
                        self.restored.insert(after, book.id.clone());
                    }
                    self.follow_images(book, &target, validated);
                }
                for (object, before, after) in replaced_content(book) {
                    let before = before.map(|before| ((object.clone(), before), book.id.clone()));
                    self.replaced_content.extend(before);
                    if validated {
                        self.replaced_content.remove(&(object, after));
                    }
                }
            }
            Intent::ResumeOwners | Intent::RepairRelease { .. } => {}
            Intent::Undo { run } => {
                self.rolled_back.retain(|_, by| by != run);
                self.restored.retain(|_, by| by != run);
                self.replaced_content.retain(|_, by| by != run);
                self.replaced_images.retain(|_, by| by.run != *run);
            }
        }
    }

    fn follow_images(&mut self, book: &Book, target: &Target, validated: bool) {
        for changes in book
            .plan
            .changes
            .iter()
            .filter(|changes| &changes.target == target)
        {
            for image in former_images(changes) {
                let replaced = Replaced {
                    run: book.id.clone(),
                    target: target.clone(),
                    at: book.plan.made_at,
                };
                self.replaced_images.insert(image, replaced);
            }
            for image in images(changes, |change| change.to.as_ref()).filter(|_| validated) {
                self.replaced_images.remove(&image);
            }
        }
    }
}

/// Reads the newest runs of a namespace.
///
/// # Errors
/// When the journal cannot be listed or read: an open run must not be overlooked.
pub async fn look_back(world: &World, namespace: &str) -> Result<Past, Failure> {
    let books = Book::newest(&*world.journal, namespace, LOOK_BACK).await?;
    let open = books
        .iter()
        .find(|book| !matches!(book.run.phase, Phase::Finished(_)))
        .map(|book| (book.id.clone(), book.run.phase.clone()));
    let mut past = Past {
        open,
        ..Past::default()
    };
    // Where owners went on nothing rolled.
    for book in books
        .iter()
        .filter(|book| book.plan.intent != Intent::ResumeOwners)
    {
        for (target, took) in rollouts(book) {
            past.history.rollouts.entry(target).or_default().push(took);
        }
    }
    for book in books.iter().rev() {
        past.follow(book);
    }
    Ok(past)
}

/// The newest run of a namespace, if it is not over: what `status` must not hide. While a run is not over, no other
/// one begins in its namespace.
///
/// # Errors
/// When the journal cannot be listed or read.
pub async fn open_run(world: &World, namespace: &str) -> Result<Option<(RunId, Phase)>, Failure> {
    let books = Book::newest(&*world.journal, namespace, 1).await?;
    Ok(books
        .into_iter()
        .next()
        .filter(|book| !matches!(book.run.phase, Phase::Finished(_)))
        .map(|book| (book.id, book.run.phase)))
}

fn rollouts(book: &Book) -> Vec<(Target, SignedDuration)> {
    book.records
        .iter()
        .filter_map(|record| match &record.event {
            Event::Applied {
                step,
                after: After::Workload(workload::After::Serving { took, .. }),
            } => {
                let spec = book.plan.step(step)?.spec.workload()?;
                Some((spec.target().clone(), *took))
            }
            _ => None,
        })
        .collect()
}

/// One line of `astern runs`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunLine {
    /// The run.
    pub run: RunId,
    /// When it was approved.
    pub at: Option<Timestamp>,
    /// `running`, `held`, `unwinding`, `restored`, `unwound`, `stuck`, `superseded`, or `damaged`.
    pub state: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Its workloads.
    pub targets: Vec<String>,
    /// Steps done, of all.
    pub steps: (usize, usize),
    /// What is wrong with its journal, or why it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All runs, newest first.
///
/// # Errors
/// When the journal cannot be listed.
pub async fn runs(world: &World) -> Result<Vec<RunLine>, Failure> {
    let runs = world.journal.runs().await?;
    let books = futures::future::join_all(runs.iter().map(|run| Book::open(&*world.journal, run))).await;
    Ok(runs
        .into_iter()
        .zip(books)
        .map(|(run, book)| line(run, book))
        .collect())
}

fn line(run: RunId, book: Result<Book, BookError>) -> RunLine {
    let book = match book {
        Ok(book) => book,
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            return RunLine {
                run,
                at: None,
                state: "damaged".to_owned(),
                by: String::new(),
                reason: String::new(),
                targets: Vec::new(),
                steps: (0, 0),
                note: Some(format!("{error}{cause}")),
            };
        }
    };
    let done = book
        .run
        .steps
        .values()
        .filter(|status| matches!(status, Status::Done { .. }))
        .count();
    let approval = book.run.approval.as_ref();
    let note = match &book.run.phase {
        Phase::Held { why, .. } => Some(why.clone()),
        _ => None,
    };
    RunLine {
        run,
        at: approval.map(|approval| approval.at),
        state: word(&book.run.phase).to_owned(),
        by: approval.map(|approval| approval.by.clone()).unwrap_or_default(),
        reason: approval
            .map(|approval| approval.reason.clone())
            .unwrap_or_default(),
        targets: book.plan.targets().into_iter().map(ToString::to_string).collect(),
        steps: (done, book.plan.steps.len()),
        note,
    }
}

/// The word for a run's phase.
pub fn word(phase: &Phase) -> &'static str {
    use astern_model::record::Outcome;
    match phase {
        Phase::Running => "running",
        Phase::Held { .. } => "held",
        Phase::Unwinding { .. } => "unwinding",
        Phase::Finished(Outcome::Restored) => "restored",
        Phase::Finished(Outcome::Unwound { .. }) => "unwound",
        Phase::Finished(Outcome::Stuck { .. }) => "stuck",
        Phase::Finished(Outcome::Superseded { .. }) => "superseded",
    }
}

/// What was there before a step whose effect is there, or may be.
fn left(status: &Status) -> Option<&Before> {
    match status {
        Status::Done { before, .. } => Some(before),
        Status::Intended(attempt)
        | Status::Unsettled(attempt, _)
        | Status::Reversing(attempt)
        | Status::ReverseUnsettled(attempt, _)
        | Status::ReverseFailed(attempt, _) => Some(&attempt.before),
        Status::Pending | Status::Failed(_) | Status::Reversed => None,
    }
}

/// The templates that a run replaced and did not put back itself, by workload, each with the one that it put there: by its own
/// writes, and through releases.
fn replaced(book: &Book) -> Vec<(Target, TemplateHash, TemplateHash)> {
    // A restart speaks against what its workload read, not against its template.
    let is_restarted = |target: &Target| {
        book.plan.steps.iter().any(|step| {
            matches!(&step.spec, Spec::Workload(workload::Spec::Restart { target: of, .. }) if of == target)
        })
    };
    let written = templates(book)
        .into_iter()
        .filter(|taken| !is_restarted(&taken.target))
        .map(|taken| (taken.target, taken.before, taken.after));
    let carried = rolled_back(book).flat_map(|spec| spec.workloads()).map(|one| {
        (
            one.target.clone(),
            one.pin.template.clone(),
            one.to.template.clone(),
        )
    });
    written.chain(carried).collect()
}

/// The releases that a run rolled back and did not take forward again itself.
pub fn rolled_back(book: &Book) -> impl Iterator<Item = &helm::Spec> {
    let steps = book.plan.steps.iter();
    steps
        .filter(|step| left(book.run.status(&step.id)).is_some())
        .filter_map(|step| step.spec.helm())
        .filter(|spec| matches!(spec, helm::Spec::Rollback { .. }))
}

/// What a run replaced, for taking it back: all that it wrote and did not put back itself. What ConfigMaps and Secrets held is
/// named here, and read by whoever plans.
pub fn taken(book: &Book) -> TakenRun {
    TakenRun {
        templates: templates(book),
        config: contents(book).collect(),
    }
}

/// Whether a step makes an object anew that another one deletes: that one has kept what it held.
fn made_in_place(plan: &Plan, spec: &config::Spec) -> bool {
    let removes = |step: &Step| matches!(step.spec.config(), Some(config::Spec::Remove { object, .. }) if object == spec.object());
    matches!(spec, config::Spec::Create { .. }) && plan.steps.iter().any(removes)
}

/// Each ConfigMap and Secret whose content a run replaced, by itself or through Helm: what it held, none where it was not there, and
/// what it has held since.
fn replaced_content(book: &Book) -> impl Iterator<Item = (ConfigName, Option<ContentHash>, ContentHash)> {
    let itself = contents(book).map(|one| (one.object, one.before.map(|before| before.content), one.after));
    let steps = book.plan.steps.iter();
    let gone_back = steps.filter(|step| left(book.run.status(&step.id)).is_some());
    let carried = gone_back
        .filter_map(|step| step.spec.helm())
        .flat_map(helm::Spec::contents);
    let through = carried.map(|one| {
        let before = one.pin.as_ref().map(|pin| pin.content.clone());
        (one.object.clone(), before, one.to.content.clone())
    });
    itself.chain(through)
}

/// What ConfigMaps and Secrets held before a run wrote them, where it did not put that back itself.
fn contents(book: &Book) -> impl Iterator<Item = TakenConfig> {
    let steps = book.plan.steps.iter();
    steps.filter_map(|step| content(book, step))
}

fn content(book: &Book, step: &Step) -> Option<TakenConfig> {
    let spec = step.spec.config()?;
    if made_in_place(&book.plan, spec) {
        return None;
    }
    let Before::Config(before) = left(book.run.status(&step.id))? else {
        return None;
    };
    let (kept, content, versions) = match before {
        config::Before::Content { kept, content, .. } => (kept, content, None),
        config::Before::Versions {
            versions,
            kept,
            content,
            ..
        } => (kept, content, Some(versions.clone())),
        config::Before::Absent => {
            return Some(TakenConfig {
                before: None,
                was_immutable: false,
                versions: None,
                object: spec.object().clone(),
                after: spec.to().content.clone(),
            });
        }
        config::Before::Nothing => return None,
    };
    let before = HeldConfig {
        name: spec.object().clone(),
        kept: kept.clone(),
        content: content.clone(),
        keys: Vec::new(),
        secret_type: None,
        drawn: None,
        changes: Vec::new(),
    };
    Some(TakenConfig {
        before: Some(before),
        was_immutable: false,
        versions,
        object: spec.object().clone(),
        after: spec.to().content.clone(),
    })
}

fn templates(book: &Book) -> Vec<Taken> {
    book.plan
        .steps
        .iter()
        .filter_map(|step| {
            let spec = step.spec.workload()?;
            let (target, after) = (spec.target(), spec.writes()?);
            let Before::Workload(workload::Before::Template { template, hash, .. }) =
                left(book.run.status(&step.id))?
            else {
                return None;
            };
            let changes = book.plan.changes.iter().find(|change| &change.target == target);
            Some(Taken {
                target: target.clone(),
                before: hash.clone(),
                after: after.clone(),
                kept: template.clone(),
                version: changes.map_or_else(
                    || "the version before".to_owned(),
                    |changes| changes.from_version.clone(),
                ),
                images: changes.map(former_images).unwrap_or_default(),
                revision: book.plan.assessment.of(target).and_then(|entry| entry.revision),
            })
        })
        .collect()
}

/// The images that a run replaced, as its plan's diff tells them.
fn former_images(changes: &TargetChanges) -> Vec<String> {
    images(changes, |change| change.from.as_ref()).collect()
}

fn images(changes: &TargetChanges, of: impl Fn(&Change) -> Option<&Shown>) -> impl Iterator<Item = String> {
    let changes = changes
        .changes
        .iter()
        .filter(|change| change.path.ends_with(".image"));
    changes.filter_map(move |change| match of(change)? {
        Shown::Value(image) => Some(image.clone()),
        Shown::Masked | Shown::Keyed(_) => None,
    })
}
