//! Writing a run back to Git: what it took back, and which source is to say it. Reads the journal, the cluster and the vault;
//! reaches no repository.

mod generated;

use crate::history;
use crate::running::{self, Rest};
use crate::world::World;
use astern_engine::Phase;
use astern_exec::book::Book;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::content::ContentRef;
use astern_model::failure::FailureClass;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::plan::ReleaseChanges;
use astern_model::record::Outcome;
use astern_model::source::{ChartRevert, ConfigRevert, Revert, Source, SourceKind, WorkloadRevert};
use astern_model::step::{Spec, workload};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_port::Failure;
use astern_port::source::{Commit, Origin, Origins, Share, SourceCode, SourceError};
use astern_port::vault::Vault;
use generated::Exchanged;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why nothing is written back.
#[derive(Debug, thiserror::Error)]
pub enum WriteBackError {
    /// No source can say it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cluster or the vault does not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Everything that a run took back, by source.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteBack {
    /// What each repository is to say: one commit each.
    pub repositories: Vec<Vec<Share>>,
    /// What no source is told, a sentence each.
    pub left: Vec<String>,
    /// What the commits say.
    pub commit: Commit,
}

/// Gathers what a run took back, and finds the source of each: the platform's own word first, then the owner's.
///
/// # Errors
/// When the run has not restored anything that stands, when what it wrote stands no more, or when a source is not known.
pub async fn write_back(
    world: &World,
    vault: &dyn Vault,
    origins: &dyn Origins,
    sources: &[Source],
    book: &Book,
) -> Result<WriteBack, WriteBackError> {
    stands(book)?;
    let inventory = world.look.inventory(&book.plan.namespace).await?;
    let mut workloads = workloads(vault, &inventory, book).await?;
    let (mut config, mut left) = config(vault, book).await?;
    let exchanged = generated::exchanged(&workloads);
    if !exchanged.is_empty() {
        config.retain(|revert| !exchanged.iter().any(|pair| pair.to == revert.object.name));
        config.extend(contents(world, book, &exchanged).await?);
        for revert in &mut workloads {
            revert.from = generated::with_names_of_then(&revert.from, &exchanged);
        }
    }
    if running::rest(book) != Rest::Validated {
        left.push(format!(
            "run {} was not validated: look at what runs before this is merged (astern report {})",
            book.id, book.id
        ));
    }
    if workloads.is_empty() && config.is_empty() {
        left.extend(charts(book, &[]));
        let why = "it changed nothing that a source would have to say".to_owned();
        return Err(nothing(book, why, &left).into());
    }
    let found = find(origins, sources, &workloads).await?;
    let shares = share(book, &found, sources, workloads, config)?;
    left.extend(charts(book, &shares));
    Ok(WriteBack {
        repositories: by_repository(shares),
        left,
        commit: commit(book),
    })
}

/// Only what a run restored, and did not take back itself, is worth saying.
fn stands(book: &Book) -> Result<(), SourceError> {
    let (why, hint) = match &book.run.phase {
        Phase::Finished(Outcome::Restored) => return Ok(()),
        Phase::Finished(Outcome::Unwound { .. }) => (
            "it was taken back itself: the sources say what runs",
            format!("astern report {}   says what it did", book.id),
        ),
        Phase::Finished(_) => (
            "it is over and has not restored everything",
            format!("astern report {}   says what it did", book.id),
        ),
        Phase::Running | Phase::Held { .. } | Phase::Unwinding { .. } => (
            "it is not over",
            format!("astern attach {}   shows how it goes on", book.id),
        ),
    };
    let mut error = nothing(book, why.to_owned(), &[]);
    error.failure.hint = Some(hint);
    Err(error)
}

/// The templates before and after, by workload. One that is as it was is left out.
async fn workloads(
    vault: &dyn Vault,
    inventory: &Inventory,
    book: &Book,
) -> Result<Vec<WorkloadRevert>, WriteBackError> {
    let mut reverts = Vec::new();
    for taken in history::taken(book).templates {
        let kept = book.plan.steps.iter().find_map(|step| match &step.spec {
            Spec::Workload(workload::Spec::WriteTemplate { target, kept, .. }) if *target == taken.target => {
                kept.clone()
            }
            _ => None,
        });
        if taken.target.kind == WorkloadKind::Rollout {
            let why = format!(
                "{} is a Rollout: what was written back has the defaults that the API server puts into its ReplicaSets, and what differs by the release alone is not told apart yet; change its manifest by hand",
                taken.target
            );
            return Err(nothing(book, why, &[]).into());
        }
        let from = from_vault(vault, &taken.kept).await?;
        let to = template(vault, inventory, &taken.target, &taken.after, kept.as_ref()).await?;
        reverts.push((taken.target, from, to));
    }
    for carried in history::rolled_back(book).flat_map(|spec| spec.workloads()) {
        let (target, before) = (&carried.target, &carried.pin.template);
        let Some(from) = template(vault, inventory, target, before, None).await? else {
            let why = format!("the cluster remembers no template of {target} before it any more");
            return Err(nothing(book, why, &[]).into());
        };
        let to = template(vault, inventory, target, &carried.to.template, None).await?;
        reverts.push((carried.target.clone(), from, to));
    }
    let mut kept = Vec::new();
    for (target, from, to) in reverts {
        let live = inventory
            .workloads
            .get(&target)
            .map(|workload| &workload.template);
        let to = to.filter(|to| live.is_some_and(|live| same(live, to)));
        let Some(to) = to else {
            let why =
                format!("{target} does not ask any more for what it wrote: there is something else by now");
            return Err(nothing(book, why, &[]).into());
        };
        if !same(&from, &to) {
            kept.push(WorkloadRevert { target, from, to });
        }
    }
    Ok(kept)
}

/// Whether two templates are the same but for the mark of a restart, which changes no version.
fn same(one: &Template, other: &Template) -> bool {
    let at = "1970-01-01T00:00:00Z";
    one.restarted(at) == other.restarted(at)
}

/// A template by its hash: the live one, a remembered one, or one that the vault keeps.
async fn template(
    vault: &dyn Vault,
    inventory: &Inventory,
    target: &Target,
    hash: &TemplateHash,
    kept: Option<&ContentRef>,
) -> Result<Option<Template>, Failure> {
    let remembered = inventory.workloads.get(target).and_then(|workload| {
        let revisions = workload.all_revisions().map(|revision| &revision.template);
        std::iter::once(&workload.template)
            .chain(revisions)
            .find(|template| template.hash() == *hash)
    });
    match (remembered, kept) {
        (Some(template), _) => Ok(Some(template.clone())),
        (None, Some(kept)) => from_vault(vault, kept).await.map(Some),
        (None, None) => Ok(None),
    }
}

async fn from_vault(vault: &dyn Vault, kept: &ContentRef) -> Result<Template, Failure> {
    Ok(Template::clean(json(vault, kept).await?))
}

async fn json(vault: &dyn Vault, kept: &ContentRef) -> Result<Value, Failure> {
    let bytes = vault.get(kept).await?;
    serde_json::from_slice(&bytes).map_err(|_| {
        let operation = format!("read {}", kept.name);
        Failure::new(FailureClass::Permanent, operation, "it is no JSON")
    })
}

/// What ConfigMaps held before and after, key by key. Secrets are left, and said.
async fn config(vault: &dyn Vault, book: &Book) -> Result<(Vec<ConfigRevert>, Vec<String>), Failure> {
    let (mut reverts, mut left) = (Vec::new(), Vec::new());
    for taken in history::taken(book).config {
        if taken.object.kind == ConfigKind::Secret {
            left.push(format!(
                "{} went back too: its values are written into no repository",
                taken.object
            ));
            continue;
        }
        let spec = book
            .plan
            .steps
            .iter()
            .find_map(|step| step.spec.config().filter(|spec| *spec.object() == taken.object));
        let Some(spec) = spec else {
            continue;
        };
        let before = match &taken.before {
            Some(held) => json(vault, &held.kept).await?,
            None => Value::Null,
        };
        let after = json(vault, &spec.to().kept).await?;
        reverts.push(ConfigRevert {
            object: taken.object,
            namespace: spec.namespace().to_owned(),
            keys: differing(&before, &after),
        });
    }
    reverts.retain(|revert: &ConfigRevert| !revert.keys.is_empty());
    Ok((reverts, left))
}

/// What generated ConfigMaps held before and after, under the name of the bad one.
async fn contents(
    world: &World,
    book: &Book,
    exchanged: &BTreeSet<Exchanged>,
) -> Result<Vec<ConfigRevert>, WriteBackError> {
    let live = world.config.all(&book.plan.namespace).await?;
    let find = |name: &str| {
        let object = live
            .iter()
            .find(|object| object.name.kind == ConfigKind::ConfigMap && object.name.name == name);
        object.ok_or_else(|| {
            let why = format!("configmap/{name} is gone, and with it what its generator would have to say");
            nothing(book, why, &[])
        })
    };
    let mut reverts = Vec::new();
    for pair in exchanged {
        let (before, after) = (find(&pair.from)?, find(&pair.to)?);
        reverts.push(ConfigRevert {
            object: before.name.clone(),
            namespace: book.plan.namespace.clone(),
            keys: differing(&before.json, &after.json),
        });
    }
    reverts.retain(|revert| !revert.keys.is_empty());
    Ok(reverts)
}

/// The charts that went back and that no share says: which one is deployed stands in no values.
fn charts(book: &Book, shares: &[Share]) -> BTreeSet<String> {
    let is_said = |changes: &ReleaseChanges| {
        let said = shares.iter().flat_map(|share| &share.revert.charts);
        chart_revert(changes).is_some_and(|chart| said.clone().any(|other| *other == chart))
    };
    let releases = book.plan.releases.iter();
    releases
        .filter(|changes| !is_said(changes))
        .filter_map(|changes| {
            let (from, to) = (chart(&changes.from)?, chart(&changes.to)?);
            (from != to).then(|| {
                format!(
                    "{} went back from chart {from} to {to}: which chart is deployed is to be said by hand",
                    changes.release
                )
            })
        })
        .collect()
}

/// The chart of `7 (shop-1.2.4, …)`.
fn chart(told: &str) -> Option<&str> {
    let (_, chart) = told.split_once('(')?;
    chart.split([',', ')']).next()
}

/// Another version of the same chart.
fn chart_revert(changes: &ReleaseChanges) -> Option<ChartRevert> {
    let (from, to) = (versioned(chart(&changes.from)?)?, versioned(chart(&changes.to)?)?);
    (from.0 == to.0 && from.1 != to.1).then(|| ChartRevert {
        release: changes.release.clone(),
        from: from.1.to_owned(),
        to: to.1.to_owned(),
    })
}

/// A chart's name and its version: `shop-worker-1.2.4-rc.1` is version 1.2.4-rc.1 of shop-worker. Helm demands three numbers.
fn versioned(chart: &str) -> Option<(&str, &str)> {
    let is_version = |text: &str| {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = text.splitn(3, '.');
        let mut number = || {
            parts
                .next()
                .is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        number()
            && number()
            && parts
                .next()
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let hyphens = chart.match_indices('-').map(|(place, _)| place);
    let mut split = hyphens.map(|place| (&chart[..place], &chart[place + 1..]));
    split.find(|(_, version)| is_version(version))
}

fn differing(before: &Value, after: &Value) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let data = |object: &Value| -> BTreeMap<String, String> {
        let data = object.get("data").and_then(Value::as_object);
        let data = data.into_iter().flatten();
        data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    let (before, after) = (data(before), data(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| (key.clone(), (before.get(key).cloned(), after.get(key).cloned())))
        .collect()
}

/// The source of each workload.
async fn find(
    origins: &dyn Origins,
    sources: &[Source],
    workloads: &[WorkloadRevert],
) -> Result<BTreeMap<Target, Source>, WriteBackError> {
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for target in workloads.iter().map(|revert| &revert.target) {
        match named(sources, target)? {
            Some(source) => drop(found.insert(target.clone(), source.clone())),
            None => missing.push(target.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let mut told = origins.origins(&missing).await?;
    for target in missing {
        let why = match told.remove(&target) {
            Some(Origin::Source(source)) => {
                found.insert(target, *source);
                continue;
            }
            Some(Origin::Elsewhere(what)) => format!("it is deployed from {what}"),
            None => "neither astern.yaml nor an owner names one".to_owned(),
        };
        return Err(no_source(&target.to_string(), why).into());
    }
    Ok(found)
}

/// The one that astern.yaml names for this workload: by its name, or for all.
pub(crate) fn named<'a>(sources: &'a [Source], target: &Target) -> Result<Option<&'a Source>, SourceError> {
    let makes = |by_name: bool| {
        let makes = sources.iter().filter(|source| source.makes(target));
        makes
            .filter(|source| source.workloads.is_empty() != by_name)
            .collect::<Vec<_>>()
    };
    for found in [makes(true), makes(false)] {
        match found.as_slice() {
            [] => {}
            [only] => return Ok(Some(only)),
            several => {
                let several: Vec<&str> = several.iter().map(|source| source.repository.as_str()).collect();
                let why = format!("astern.yaml names several: {}", several.join(", "));
                return Err(no_source(&target.to_string(), why));
            }
        }
    }
    Ok(None)
}

/// Parts the revert. A ConfigMap goes where the workloads are that read it.
fn share(
    book: &Book,
    found: &BTreeMap<Target, Source>,
    sources: &[Source],
    workloads: Vec<WorkloadRevert>,
    config: Vec<ConfigRevert>,
) -> Result<Vec<Share>, SourceError> {
    let mut shares: Vec<Share> = Vec::new();
    for revert in workloads {
        if let Some(source) = found.get(&revert.target) {
            part(&mut shares, source, book).workloads.push(revert);
        }
    }
    for (target, changes) in went_through_helm(book) {
        if let Some(source) = found.get(target) {
            let values = &mut part(&mut shares, source, book).values;
            if !values.iter().any(|value| changes.values.contains(value)) {
                values.extend(changes.values.iter().cloned());
            }
            let holds_its_chart = matches!(source.kind, SourceKind::HelmRelease { .. });
            let chart = chart_revert(changes).filter(|_| holds_its_chart);
            let charts = &mut part(&mut shares, source, book).charts;
            charts.extend(chart.filter(|chart| !charts.contains(chart)));
        }
    }
    for revert in config {
        let source = readers(book, &revert.object)
            .iter()
            .find_map(|reader| {
                found
                    .get(*reader)
                    .or_else(|| named(sources, reader).ok().flatten())
            })
            .cloned();
        let reads = |share: &&Share| {
            let mut workloads = share.revert.workloads.iter();
            workloads.any(|workload| generated::reads(&workload.to, &revert.object.name))
        };
        let beside = || shares.iter().find(reads).map(|share| share.source.clone());
        let only = || match (shares.as_slice(), sources) {
            ([only], _) => Some(only.source.clone()),
            ([], [only]) => Some(only.clone()),
            _ => None,
        };
        let Some(source) = source.or_else(beside).or_else(only) else {
            let why = "no source is known of a workload that reads it".to_owned();
            return Err(no_source(&revert.object.to_string(), why));
        };
        part(&mut shares, &source, book).config.push(revert);
    }
    Ok(shares)
}

/// Folders of one branch of one repository are changed by one commit.
fn by_repository(shares: Vec<Share>) -> Vec<Vec<Share>> {
    let mut repositories: Vec<Vec<Share>> = Vec::new();
    for share in shares {
        let same = |others: &&mut Vec<Share>| {
            let (one, other) = (&others[0].source, &share.source);
            one.repository == other.repository && one.branch == other.branch
        };
        match repositories.iter_mut().find(same) {
            Some(others) => others.push(share),
            None => repositories.push(vec![share]),
        }
    }
    repositories
}

/// The workloads that went back through Helm, each with what changed in its release.
fn went_through_helm(book: &Book) -> impl Iterator<Item = (&Target, &ReleaseChanges)> {
    history::rolled_back(book).flat_map(|spec| {
        let changes = book.plan.releases.iter();
        let changes = changes.filter(|changes| changes.release == *spec.release());
        changes.flat_map(|changes| {
            spec.workloads()
                .iter()
                .map(move |carried| (&carried.target, changes))
        })
    })
}

fn readers<'a>(book: &'a Book, object: &ConfigName) -> Vec<&'a Target> {
    let changes = book
        .plan
        .config
        .iter()
        .filter(|changes| changes.object == *object);
    changes
        .flat_map(|changes| changes.readers.iter().map(|(target, _)| target))
        .collect()
}

fn part<'a>(shares: &'a mut Vec<Share>, source: &Source, book: &Book) -> &'a mut Revert {
    let place = shares
        .iter()
        .position(|share| share.source == *source)
        .unwrap_or_else(|| {
            shares.push(Share {
                source: source.clone(),
                revert: Revert {
                    run: book.id.clone(),
                    workloads: Vec::new(),
                    config: Vec::new(),
                    values: Vec::new(),
                    charts: Vec::new(),
                },
            });
            shares.len() - 1
        });
    &mut shares[place].revert
}

fn commit(book: &Book) -> Commit {
    let approval = book.run.approval.as_ref();
    let (subject, body) = astern_report::revert_message(&book.id, &book.plan, approval);
    let ended = book.records.last().map(|record| record.at);
    Commit {
        subject,
        body,
        at: ended.unwrap_or(book.plan.made_at),
    }
}

fn nothing(book: &Book, why: String, left: &[String]) -> SourceError {
    SourceError {
        code: SourceCode::Nothing,
        failure: Failure::new(FailureClass::Refused, format!("write run {} back", book.id), why)
            .evidence(left.to_vec())
            .hint(format!("astern report {}   says what it did", book.id)),
    }
}

fn no_source(what: &str, why: String) -> SourceError {
    SourceError {
        code: SourceCode::NoSource,
        failure: Failure::new(
            FailureClass::Refused,
            format!("find the Git folder that {what} is deployed from"),
            why,
        )
        .hint("name it in astern.yaml: spec.sources: [{repository: …, branch: …, path: …}]"),
    }
}
