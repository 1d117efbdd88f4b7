//! Releases of the ledger: the list, one release, and which workload stands on which. References into the vault are
//! told by size; no value of a ConfigMap or Secret is ever here to be told.

use super::verdict::SERVING;
use crate::line::{Line, LineKind, part, parts};
use crate::report::Tone;
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::config::{ConfigName, Use};
use astern_model::release::{Release, ReleaseName, Standing};
use astern_model::target::Target;
use astern_model::verdict::{CheckResult, Item};
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// A release, as one row of a list.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseRow<'a> {
    /// Its name.
    pub name: &'a ReleaseName,
    /// What is believed of it.
    pub standing: &'a Standing,
    /// Who recorded it.
    pub by: &'a str,
    /// How long ago.
    pub age: SignedDuration,
    /// Its workloads that ask for what it holds and read what they read in it, of all.
    pub live: (usize, usize),
    /// Why a candidate is still one.
    pub open: Option<&'a str>,
}

/// The list of the ledger (`astern releases`).
pub fn releases_lines(rows: &[ReleaseRow<'_>]) -> Vec<Line> {
    part("Releases", list(rows, str::to_owned, str::to_owned).lines())
}

/// The same in Markdown.
pub fn releases_markdown(rows: &[ReleaseRow<'_>]) -> String {
    format!("## Releases\n\n{}\n", list(rows, code, prose).markdown())
}

fn list(rows: &[ReleaseRow<'_>], name: fn(&str) -> String, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["STANDING", "RELEASE", "AGE", "LIVE", "BY", "WHY"]);
    for row in rows {
        let (tone, believed) = standing(row.standing);
        let live = match row.live {
            (0, _) => "-".to_owned(),
            (live, all) => format!("{live}/{all}"),
        };
        let why = why(row.standing, row.open);
        table.row(
            word::kind(tone),
            [
                believed.to_owned(),
                name(row.name.as_str()),
                human(row.age),
                live,
                sentence(row.by),
                sentence(&why),
            ],
        );
    }
    table
}

fn standing(standing: &Standing) -> (Tone, &'static str) {
    match standing {
        Standing::Good(_) => (Tone::Good, "✓ good"),
        Standing::Bad(_) => (Tone::Bad, "✗ bad"),
        Standing::Candidate { failed: Some(_) } => (Tone::Warn, "! candidate"),
        Standing::Candidate { failed: None } => (Tone::Quiet, "· candidate"),
    }
}

fn why(standing: &Standing, open: Option<&str>) -> String {
    match (standing, open) {
        (Standing::Good(word) | Standing::Bad(word), _) => {
            format!("{} (by {}, {})", word.reason, word.by, clock(word.at))
        }
        (Standing::Candidate { .. }, Some(open)) => open.to_owned(),
        (Standing::Candidate { failed: Some(failed) }, None) => {
            format!("it failed at {}: {}", clock(failed.at), failed.what)
        }
        (Standing::Candidate { failed: None }, None) => "not judged".to_owned(),
    }
}

/// One release (`astern releases show`).
pub fn release_lines(release: &Release) -> Vec<Line> {
    let (tone, believed) = standing(&release.standing);
    let head = vec![
        Line::new(LineKind::Title, title(release)),
        Line::new(
            word::kind(tone),
            format!("{believed}: {}", why(&release.standing, None)),
        ),
    ];
    parts([
        head,
        part("Workloads", workloads(release, str::to_owned).lines()),
        part("Config", config(release, str::to_owned).lines()),
        part("Helm releases", helm(release, str::to_owned).lines()),
        part("Health", health_told(release).lines()),
    ])
}

/// The same in Markdown.
pub fn release_markdown(release: &Release) -> String {
    let (_, believed) = standing(&release.standing);
    let why = why(&release.standing, None);
    let mut text = format!("# {}\n\n{believed}: {}\n", prose(&title(release)), prose(&why));
    for (head, table) in [
        ("Workloads", workloads(release, prose)),
        ("Config", config(release, prose)),
        ("Helm releases", helm(release, prose)),
        ("Health", health(release, prose)),
    ] {
        let table = table.markdown();
        if !table.is_empty() {
            text.push_str(&format!("\n## {head}\n\n{table}"));
        }
    }
    text
}

fn title(release: &Release) -> String {
    let commit = release
        .commit
        .as_ref()
        .map_or_else(String::new, |commit| format!(", commit {commit}"));
    format!(
        "Release {} of {} (namespace {}), recorded by {} at {}{commit}",
        release.name,
        release.platform,
        release.namespace,
        release.by,
        clock(release.at)
    )
}

/// Enough of a hash to tell two apart.
fn short(hash: &str) -> String {
    const DIGITS: usize = 12;
    let digits = hash.rsplit(':').next().unwrap_or(hash);
    digits.chars().take(DIGITS).collect()
}

fn workloads(release: &Release, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["KIND/NAME", "REPLICAS", "TEMPLATE", "IMAGES"]);
    for workload in &release.workloads {
        let images: Vec<String> = workload
            .images
            .iter()
            .map(|running| match &running.digest {
                Some(digest) => format!("{} ({})", running.image, short(digest)),
                None => running.image.to_string(),
            })
            .collect();
        let replicas = match &workload.autoscaler {
            Some(autoscaler) => format!(
                "{} ({}: {} to {})",
                workload.replicas, autoscaler.name, autoscaler.min, autoscaler.max
            ),
            None => workload.replicas.to_string(),
        };
        table.row(
            LineKind::Text,
            [
                sentence(&workload.target.to_string()),
                sentence(&replicas),
                short(workload.template.as_str()),
                sentence(&images.join(", ")),
            ],
        );
    }
    table
}

fn config(release: &Release, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["KIND/NAME", "CONTENT", "KEYS", "READ BY"]);
    for config in &release.config {
        let consumers: Vec<String> = config
            .consumers
            .iter()
            .map(|consumer| format!("{} ({})", consumer.target, places(&consumer.uses)))
            .collect();
        table.row(
            LineKind::Text,
            [
                sentence(&config.name.to_string()),
                short(&config.content.keyed_hash),
                sentence(&config.keys.join(", ")),
                sentence(&consumers.join(", ")),
            ],
        );
    }
    table
}

fn helm(release: &Release, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["RELEASE", "REVISION", "CHART", "VALUES"]);
    for held in &release.helm {
        let chart = held.chart.as_deref().unwrap_or("not known");
        let values = held.values.as_ref().map(|values| short(&values.keyed_hash));
        table.row(
            LineKind::Text,
            [
                sentence(&format!("helm/{}", held.name)),
                held.revision.to_string(),
                sentence(chart),
                values.unwrap_or_else(|| "not known".to_owned()),
            ],
        );
    }
    table
}

/// The ways in which something is read, each once.
fn places(uses: &[Use]) -> String {
    let mut words: Vec<&str> = uses
        .iter()
        .map(|by| match by {
            Use::Env { .. } => "env",
            Use::EnvFrom { .. } => "envFrom",
            Use::Volume { sub_path: true, .. } => "subPath",
            Use::Volume { .. } => "volume",
            Use::ImagePull => "image pull",
            Use::Annotation { .. } => "annotation",
        })
        .collect();
    words.dedup();
    words.join(", ")
}

/// An item each, for Markdown.
fn health(release: &Release, sentence: fn(&str) -> String) -> Table {
    checks(items(release).map(|item| Check {
        result: item.result,
        of: sentence(&item.target.to_string()),
        check: sentence(&item.check),
        evidence: sentence(&item.evidence),
    }))
}

/// The same for a terminal: what a workload passed is one row, and what is not known of several for the same reason another.
fn health_told(release: &Release) -> Table {
    let mut seen = BTreeSet::new();
    let targets = items(release).map(|item| &item.target);
    let targets = targets.filter(|target| seen.insert(*target));
    let mut rows: Vec<Check> = targets.filter_map(|target| passed(release, target)).collect();
    let failed = items(release).filter(|item| item.result == CheckResult::Fail);
    rows.extend(failed.map(|item| Check {
        result: item.result,
        of: item.target.to_string(),
        check: item.check.clone(),
        evidence: item.evidence.clone(),
    }));
    let unknown: Vec<&Item> = items(release)
        .filter(|item| item.result == CheckResult::Unknown)
        .collect();
    let said = |item: &Item| (item.check.clone(), item.evidence.clone());
    let mut told = BTreeSet::new();
    for item in &unknown {
        if told.insert(said(item)) {
            let alike = unknown.iter().filter(|other| said(other) == said(item));
            let first = item.target.to_string();
            let of = match alike.count() {
                1 => first,
                all => format!("{first} and {} more", all - 1),
            };
            rows.push(Check {
                result: item.result,
                of,
                check: item.check.clone(),
                evidence: item.evidence.clone(),
            });
        }
    }
    checks(rows.into_iter())
}

fn passed(release: &Release, target: &Target) -> Option<Check> {
    let own: Vec<&Item> = items(release).filter(|item| item.target == *target).collect();
    let passed = own.iter().filter(|item| item.result == CheckResult::Pass);
    let speaks = passed
        .clone()
        .find(|item| item.check == SERVING)
        .or_else(|| passed.clone().next())?;
    let count = match passed.count() {
        1 => speaks.check.clone(),
        all if all == own.len() => format!("all {all} checks"),
        some => format!("{some} of {} checks", own.len()),
    };
    Some(Check {
        result: CheckResult::Pass,
        of: target.to_string(),
        check: count,
        evidence: speaks.evidence.clone(),
    })
}

fn items(release: &Release) -> impl Iterator<Item = &Item> {
    release.health.iter().flat_map(|health| &health.items)
}

/// A row of what was found out about a release's health.
struct Check {
    result: CheckResult,
    of: String,
    check: String,
    evidence: String,
}

fn checks(rows: impl Iterator<Item = Check>) -> Table {
    let mut table = Table::new(&["RESULT", "KIND/NAME", "CHECK", "EVIDENCE"]);
    for row in rows {
        let kind = word::kind(word::check_tone(row.result));
        let result = word::check(row.result).to_owned();
        table.row(kind, [result, row.of, row.check, row.evidence]);
    }
    table
}

/// A workload with the releases that hold what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct StandingRow<'a> {
    /// The workload.
    pub target: &'a Target,
    /// The version that it asks for; none where it is not there.
    pub version: Option<&'a str>,
    /// The releases, newest first.
    pub releases: &'a [(ReleaseName, Standing)],
    /// The newest one whose template it asks for, where it reads something else than in any of them, and what that is.
    pub but_for: Option<(&'a ReleaseName, &'a Standing, &'a [ConfigName])>,
}

/// Which workload stands on which release (`astern status --release`).
pub fn standing_lines(rows: &[StandingRow<'_>]) -> Vec<Line> {
    standings(rows, str::to_owned).lines()
}

/// The same in Markdown.
pub fn standing_markdown(rows: &[StandingRow<'_>]) -> String {
    standings(rows, code).markdown()
}

fn standings(rows: &[StandingRow<'_>], name: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["KIND/NAME", "VERSION", "RELEASE", "ALSO IN"]);
    for row in rows {
        let told = |(release, of): &(ReleaseName, Standing)| format!("{release} ({})", of.word());
        let kind = match (row.version, row.releases.first()) {
            (None, _) => LineKind::Bad,
            (Some(_), Some((_, of))) => word::kind(standing(of).0),
            (Some(_), None) => LineKind::Warn,
        };
        let newest = match (row.version, row.releases.first(), row.but_for) {
            (None, ..) => "none: it is not there, and the newest good release has it".to_owned(),
            (_, Some(newest), _) => told(newest),
            (_, None, Some((release, of, objects))) => {
                let objects: Vec<String> = objects.iter().map(ToString::to_string).collect();
                format!("{release} ({}), but for {}", of.word(), word::list(&objects))
            }
            (_, None, None) => "none: no release holds this template".to_owned(),
        };
        let others: Vec<String> = row.releases.iter().skip(1).map(told).collect();
        table.row(
            kind,
            [
                name(&row.target.to_string()),
                row.version.map_or_else(|| "-".to_owned(), name),
                newest,
                others.join(", "),
            ],
        );
    }
    table
}
