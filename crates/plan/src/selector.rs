//! What may be typed after `--to WORKLOAD=`: a revision's number, an image's tag, a digest, a release. Owns the reading of it;
//! which revision it selects is found in `choose`.

use astern_model::id::TemplateHash;
use astern_model::image::Image;
use astern_model::release::ReleaseName;
use astern_model::workload::{Revision, RevisionKind, Workload};
use std::fmt;

/// Fewer digits of a digest than this could be anybody's.
const DIGEST_DIGITS_MIN: usize = 8;
/// A whole SHA-256.
const DIGEST_DIGITS_MAX: usize = 64;

/// Names one revision of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// The revision with this number now.
    Revision(u64),
    /// The revision with an image of this tag, or with exactly this image.
    Image(String),
    /// The revision with an image of this digest, in its template or as its pods run it: `sha256:` and at least eight
    /// digits of it.
    Digest(String),
    /// The revision with the template that this release of the ledger holds.
    Release(ReleaseName),
    /// The revision with the template that this revision of a Helm release stands for; typed as `--to helm/NAME=REVISION`.
    Helm {
        /// The Helm release.
        release: String,
        /// Its revision.
        revision: u64,
    },
}

/// Why a text selects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// What was typed.
    pub text: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        write!(
            f,
            "`{text}` names no revision: type its number (3), image:TAG (image:v1.2.3), sha256:DIGEST, or release:NAME"
        )
    }
}

impl std::error::Error for SelectorError {}

impl Selector {
    /// Reads `3`, `image:v1.2.3`, `sha256:0f3a…` or `release:v1.2.3`.
    ///
    /// # Errors
    /// Anything else, a number that is none, an empty tag, and a digest of fewer than eight digits.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let error = || SelectorError {
            text: text.to_owned(),
        };
        if let Some(tag) = text.strip_prefix("image:") {
            return if tag.is_empty() {
                Err(error())
            } else {
                Ok(Self::Image(tag.to_owned()))
            };
        }
        if let Some(name) = text.strip_prefix("release:") {
            return ReleaseName::parse(name).map(Self::Release).map_err(|_| error());
        }
        if let Some(digits) = text.strip_prefix("sha256:") {
            let long_enough = (DIGEST_DIGITS_MIN..=DIGEST_DIGITS_MAX).contains(&digits.len());
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            return if long_enough && is_hex {
                Ok(Self::Digest(text.to_ascii_lowercase()))
            } else {
                Err(error())
            };
        }
        text.parse().map(Self::Revision).map_err(|_| error())
    }

    /// Whether it selects `revision` of `workload`.
    pub(crate) fn selects(&self, workload: &Workload, revision: &Revision) -> bool {
        match self {
            // The numbers of Helm's revisions are others.
            Self::Revision(number) => revision.number == *number && revision.kind != RevisionKind::HelmRecord,
            Self::Image(text) => {
                let named = |image: &Image| image.tag() == Some(text) || image.reference == *text;
                revision.template.images().iter().any(named)
            }
            Self::Digest(digest) => {
                let pinned = |image: &Image| {
                    image
                        .digest()
                        .is_some_and(|pinned| pinned.starts_with(digest.as_str()))
                };
                revision.template.images().iter().any(pinned) || runs(workload, &revision.hash, digest)
            }
            Self::Release(name) => workload
                .released
                .iter()
                .any(|released| &released.release == name && released.template == revision.hash),
            Self::Helm {
                release,
                revision: number,
            } => workload.foretold.iter().any(|foretold| {
                (&foretold.release, foretold.revision) == (release, *number)
                    && foretold
                        .template
                        .value()
                        .is_some_and(|one| one.hash == revision.hash)
            }),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(number) => number.fmt(f),
            Self::Image(tag) => write!(f, "image:{tag}"),
            Self::Digest(digest) => f.write_str(digest),
            Self::Release(name) => write!(f, "release:{name}"),
            Self::Helm { release, revision } => write!(f, "helm/{release}={revision}"),
        }
    }
}

fn runs(workload: &Workload, hash: &TemplateHash, digest: &str) -> bool {
    let of_revision = workload
        .pods
        .iter()
        .filter(|pod| pod.revision.as_ref() == Some(hash));
    let mut ids = of_revision.flat_map(|pod| pod.image_ids.values());
    ids.any(|id| {
        id.rsplit_once('@')
            .map_or(id.as_str(), |(_, digest)| digest)
            .starts_with(digest)
    })
}
