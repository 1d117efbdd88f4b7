//! One release of the platform as it was recorded: what ran, what it read, and what is believed of it. Owns what a
//! release may be called and that nothing is good or bad without a reason; knows no store.

use crate::config::{ConfigName, Consumer};
use crate::content::ContentRef;
use crate::id::{ContentHash, TemplateHash, Uid};
use crate::target::Target;
use crate::verdict::Item;
use crate::workload::RunningImage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a release is called, such as `v1.2.4`: 1 to 63 letters, digits, `.`, `_`, `+` and `-`, beginning and ending with
/// a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseName(String);

/// As long as a Kubernetes label's value may be.
const NAME_MAX: usize = 63;

impl ReleaseName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is not one; the error says what one is.
    pub fn parse(text: &str) -> Result<Self, NotAReleaseName> {
        let at_the_ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inside = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        let is_one = text.len() <= NAME_MAX
            && at_the_ends(text.chars().next())
            && at_the_ends(text.chars().next_back())
            && text.chars().all(inside);
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAReleaseName(text.chars().take(NAME_MAX).collect()))
        }
    }

    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReleaseName {
    type Error = NotAReleaseName;

    fn try_from(text: String) -> Result<Self, NotAReleaseName> {
        Self::parse(&text)
    }
}

impl From<ReleaseName> for String {
    fn from(name: ReleaseName) -> Self {
        name.0
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that names no release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAReleaseName(String);

impl fmt::Display for NotAReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no release name: 1 to {NAME_MAX} letters, digits, `.`, `_`, `+` and `-`, with a letter or digit at \
             both ends",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotAReleaseName {}

/// Why something is believed: a text that says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

impl Reason {
    /// A reason on one line; none where the text says nothing.
    pub fn new(text: &str) -> Option<Self> {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(Self(line))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("a reason that says nothing")
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is believed of a release. There is no way to be good or bad without a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Standing {
    /// Recorded, and not proven.
    Candidate {
        /// What was once seen to speak against it. With that it never becomes good but on somebody's word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<Failed>,
    },
    /// It may be gone back to.
    Good(Word),
    /// It must not be gone back to, nor deployed again.
    Bad(Word),
}

/// A failure that was seen while a release was a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Reason,
}

/// Somebody's word on a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// Why.
    pub reason: Reason,
    /// Whose: a user, a pipeline, or astern's own judge.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Standing {
    /// `candidate`, `good` or `bad`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Candidate { .. } => "candidate",
            Self::Good(_) => "good",
            Self::Bad(_) => "bad",
        }
    }

    /// Whether it is good.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// The word against it, if it is bad.
    pub fn against(&self) -> Option<&Word> {
        match self {
            Self::Bad(word) => Some(word),
            Self::Candidate { .. } | Self::Good(_) => None,
        }
    }
}

/// One release of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its version.
    pub name: ReleaseName,
    /// The platform's name.
    pub platform: String,
    /// Its namespace.
    pub namespace: String,
    /// The commit that it was built from, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who recorded it.
    pub by: String,
    /// When its state was read.
    pub at: Timestamp,
    /// What is believed of it.
    pub standing: Standing,
    /// What was seen of its health, last time it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Restarts that its pods had when it was recorded, by the pod's uid; pods without any are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<Uid, u32>,
    /// Its workloads, by name.
    pub workloads: Vec<ReleasedWorkload>,
    /// The ConfigMaps and Secrets that they read, by name.
    pub config: Vec<ReleasedConfig>,
    /// Helm releases, where that layer is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helm: Vec<HelmRevision>,
    /// Database schemas, where that layer is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<SchemaHead>,
    /// The commit of the infrastructure's code, where that layer is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_commit: Option<String>,
}

impl Release {
    /// What it holds of a workload.
    pub fn workload(&self, target: &Target) -> Option<&ReleasedWorkload> {
        self.workloads.iter().find(|workload| &workload.target == target)
    }
}

/// What was seen of a release's health: the items of the judge that also ends a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// When it was looked at.
    pub at: Timestamp,
    /// The items.
    pub items: Vec<Item>,
}

/// One workload of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedWorkload {
    /// Which.
    pub target: Target,
    /// The hash of the template that it asked for.
    pub template: TemplateHash,
    /// The template, as canonical JSON.
    pub content: ContentRef,
    /// Its images, with the digests that ran.
    pub images: Vec<RunningImage>,
    /// The pods that it asked for.
    pub replicas: u32,
    /// The autoscaler that set that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<AutoscalerSettings>,
}

/// How an autoscaler was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSettings {
    /// Its name.
    pub name: String,
    /// The lowest count that it sets.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// One ConfigMap or Secret of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedConfig {
    /// Which.
    #[serde(flatten)]
    pub name: ConfigName,
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion: with the same uid, the same version is the same content.
    pub version: String,
    /// Whether the API server lets nobody change it.
    pub immutable: bool,
    /// Its keys. Values are in the content alone.
    pub keys: Vec<String>,
    /// The object, without what the API server adds, as canonical JSON.
    pub content: ContentRef,
    /// What it holds: the same for every object of this name with the same data. None in an entry that was recorded before it
    /// was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
    /// When it was last given what it holds, where the API server keeps that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Timestamp>,
    /// What its ExternalSecret drew it from, where it had one that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<crate::external::Drawn>,
    /// Who reads it.
    pub consumers: Vec<Consumer>,
}

/// One Helm release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelmRevision {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Its chart with that one's version: `shop-1.2.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// What that revision's record holds, as a plan pins it: see [`crate::helm::Record::content`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The values that were given for it, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<ContentRef>,
}

/// Where a database's schema stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaHead {
    /// The database, as the platform file names it.
    pub database: String,
    /// The newest migration that had been applied.
    pub head: String,
}

/// An image that must not be deployed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// The image as it was asked for.
    pub image: String,
    /// The release that brought it, where one was recorded with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseName>,
    /// What speaks against that release, or against the image itself.
    pub word: Word,
}

/// What a ConfigMap must not be given to hold again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedContent {
    /// The object.
    pub object: ConfigName,
    /// The release that brought it, where one was recorded with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseName>,
    /// What speaks against it, a clause.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_name_is_what_a_label_takes_and_build_metadata() {
        let check = |text: &str, is_one: bool| assert_eq!(ReleaseName::parse(text).is_ok(), is_one, "{text}");
        check("v1.2.4", true);
        check("2026-11-27_1+build.7", true);
        check("7", true);
        check("", false);
        check("-v1", false);
        check("v1.", false);
        check("v1/2", false);
        check("api=3", false);
        check("v 1", false);
        check(&"v".repeat(63), true);
        check(&"v".repeat(64), false);
    }

    #[test]
    fn nothing_is_good_or_bad_without_a_reason() {
        let standing = |reason: &str| {
            let json =
                serde_json::json!({"is": "good", "reason": reason, "by": "ci", "at": "2026-11-23T14:00:00Z"});
            serde_json::from_value::<Standing>(json)
        };
        assert!(standing("soak test passed").unwrap().is_good());
        assert!(standing("").is_err());
        assert!(standing(" \n").is_err());
        assert_eq!(Reason::new(" two\nlines ").unwrap().as_str(), "two lines");
    }
}
