//! Quarantine: what a bad release of the ledger brought is not gone back to and not deployed again. Owns which of a bad
//! release's templates and images that is: what a good release has as well, or an earlier one had, did not make it bad.

use crate::prove::ContentTakenBack;
use astern_model::config::ConfigName;
use astern_model::id::ContentHash;
use astern_model::image::Image;
use astern_model::release::{Quarantined, QuarantinedContent, Release, ReleaseName, Standing, Word};
use astern_model::workload::{Released, Revision, RunningImage, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// Why a revision is in quarantine, if it is: by its template, or by the digests of its images.
pub(crate) fn against(workload: &Workload, revision: &Revision) -> Option<String> {
    let by_template = |released: &Released| released.template == revision.hash;
    if let Some((release, word)) = condemned(&workload.released, by_template) {
        return Some(format!("release {release} has it, and {}", said(word)));
    }
    let digests = digests_of(workload, revision);
    if digests.is_empty() {
        return None;
    }
    let by_digest = |released: &Released| digests == digests_in(&released.images);
    let (release, word) = condemned(&workload.released, by_digest)?;
    Some(format!(
        "release {release} ran the same images, and {}",
        said(word)
    ))
}

/// The release that speaks against what `holds` finds. `released` is newest first.
fn condemned(released: &[Released], holds: impl Fn(&Released) -> bool) -> Option<(&ReleaseName, &Word)> {
    let holding = released.iter().filter(|one| holds(one));
    word_against(holding.map(|one| (&one.release, &one.standing)))
}

/// The word against what all of these releases have, newest first: that against the one which brought it, the oldest; none
/// while any of them is good.
fn word_against<'a>(
    releases: impl Iterator<Item = (&'a ReleaseName, &'a Standing)>,
) -> Option<(&'a ReleaseName, &'a Word)> {
    let mut brought_by = None;
    for (name, standing) in releases {
        if standing.is_good() {
            return None;
        }
        brought_by = Some((name, standing));
    }
    brought_by.and_then(|(name, standing)| Some((name, standing.against()?)))
}

fn said(word: &Word) -> String {
    format!("that release is bad: {} (by {})", word.reason, word.by)
}

/// Every digest that is known of a revision's images: pinned, running, or as a release ran them.
fn digests_of(workload: &Workload, revision: &Revision) -> BTreeSet<String> {
    let released = workload
        .released
        .iter()
        .filter(|released| released.template == revision.hash);
    let images = workload
        .running_images(&revision.hash)
        .into_iter()
        .chain(
            revision
                .template
                .images()
                .into_iter()
                .map(|image| RunningImage { image, digest: None }),
        )
        .chain(released.flat_map(|released| released.images.iter().cloned()));
    digests_in(&images.collect::<Vec<_>>())
}

fn digests_in(images: &[RunningImage]) -> BTreeSet<String> {
    let digest = |running: &RunningImage| {
        running
            .digest
            .clone()
            .or_else(|| running.image.digest().map(str::to_owned))
    };
    images.iter().filter_map(digest).collect()
}

/// Images that runs have taken back, as templates named them, that nobody has put back since and nothing asks for now: the word against
/// each.
pub type ImagesTakenBack = BTreeMap<String, Word>;

/// Those of `images` that a bad release brought, or that a run took back and no good release has. `releases` are newest first. An
/// image is known by its digest, and where one of both has none, by its reference.
pub fn quarantined(releases: &[Release], taken: &ImagesTakenBack, images: &[Image]) -> Vec<Quarantined> {
    let against = |image: &Image| {
        let having = || releases.iter().filter(|release| has(release, image));
        let standings = having().map(|release| (&release.name, &release.standing));
        let (release, word) = match word_against(standings) {
            Some((release, word)) => (Some(release.clone()), word),
            None if having().any(|release| release.standing.is_good()) => return None,
            None => (None, taken.iter().find(|(of, _)| names(of, image))?.1),
        };
        Some(Quarantined {
            image: image.reference.clone(),
            release,
            word: word.clone(),
        })
    };
    images.iter().filter_map(against).collect()
}

fn names(reference: &str, image: &Image) -> bool {
    let named = RunningImage {
        image: Image::parse(reference),
        digest: None,
    };
    is_same(&named, image)
}

/// A release with what its ConfigMaps and Secrets hold, as far as somebody asks for them.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    /// The release.
    pub release: &'a Release,
    /// What it holds, by object.
    pub contents: BTreeMap<ConfigName, ContentHash>,
}

/// Those of `contents` that a bad release brought, or that a run took back and no good release holds. `releases` are newest first.
pub fn quarantined_content(
    releases: &[Kept<'_>],
    taken: &ContentTakenBack,
    contents: &[(ConfigName, ContentHash)],
) -> Vec<QuarantinedContent> {
    let against = |(object, content): &(ConfigName, ContentHash)| {
        let holds = |kept: &&Kept<'_>| kept.contents.get(object) == Some(content);
        let standings = || {
            let holding = releases.iter().filter(holds);
            holding.map(|kept| (&kept.release.name, &kept.release.standing))
        };
        if let Some((release, word)) = word_against(standings()) {
            return Some(QuarantinedContent {
                object: object.clone(),
                release: Some(release.clone()),
                why: said(word),
            });
        }
        let run = taken.get(&(object.clone(), content.clone()))?;
        let is_good = standings().any(|(_, standing)| standing.is_good());
        (!is_good).then(|| QuarantinedContent {
            object: object.clone(),
            release: None,
            why: format!("run {run} took it back"),
        })
    };
    contents.iter().filter_map(against).collect()
}

fn has(release: &Release, image: &Image) -> bool {
    release
        .workloads
        .iter()
        .flat_map(|workload| &workload.images)
        .any(|running| is_same(running, image))
}

fn is_same(running: &RunningImage, image: &Image) -> bool {
    let ran = running.digest.as_deref().or_else(|| running.image.digest());
    match (ran, image.digest()) {
        (Some(ran), Some(asked)) => ran == asked,
        _ => running.image.reference == image.reference,
    }
}
