//! Which revision to go back to, and why each other one was passed over.

use crate::id::{RunId, TemplateHash, Uid};
use crate::reconstruction::Provenance;
use crate::release::{Reason, ReleaseName};
use crate::target::Target;
use crate::workload::RevisionKind;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A revision by the object that keeps it. The number is a hint for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRef {
    /// Its number when the plan was made.
    pub number: u64,
    /// Which kind of object keeps it.
    pub kind: RevisionKind,
    /// That object's name.
    pub name: String,
    /// That object's uid.
    pub uid: Uid,
    /// The hash of its template.
    pub template: TemplateHash,
    /// The version that a person would name.
    pub version: String,
    /// Its images as the template names them.
    pub images: Vec<String>,
}

impl RevisionRef {
    /// What people call it: `revision 3`, `Helm's revision 3`; or that no object keeps it.
    pub fn label(&self) -> String {
        match self.kind {
            RevisionKind::HelmRecord => format!("Helm's revision {}", self.number),
            _ if self.uid.as_str().is_empty() => "kept in the vault".to_owned(),
            RevisionKind::ReplicaSet | RevisionKind::ControllerRevision => {
                format!("revision {}", self.number)
            }
        }
    }
}

/// A revision *with the reason it is believed good*. There is no way to make one from a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownGood {
    /// Which revision.
    pub revision: RevisionRef,
    /// Why it is believed good.
    pub because: Because,
}

/// Why a revision is believed good, strongest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Because {
    /// Pods of it serve now.
    Observed {
        /// How many.
        ready: u32,
        /// At least since when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// What is wrong with them all the same: they restart often, or log many errors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unwell: Option<String>,
    },
    /// A release of the ledger that is good has this template.
    Released {
        /// Which release.
        release: ReleaseName,
        /// Why that release is good.
        reason: Reason,
        /// On whose word.
        by: String,
        /// Since when it is good; none in plans of before that was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A run of astern went back to it, and it passed the validation over the soak window.
    Restored {
        /// Which run.
        run: RunId,
    },
    /// It was the newest for this long before its successor, and nothing speaks against it.
    Presumed {
        /// From its creation to its successor's.
        newest_for: SignedDuration,
        /// When its successor came.
        until: Timestamp,
    },
    /// Helm deployed it, and it was Helm's newest for this long; the cluster keeps nothing of it that could speak for or against it.
    Deployed {
        /// The Helm release.
        release: String,
        /// Its revision.
        revision: u64,
        /// From the creation of its record to that of the next one that brought another template.
        newest_for: SignedDuration,
        /// When that one came.
        until: Timestamp,
    },
    /// Its owner had deployed it for this long, by what tells it; the cluster keeps nothing of it that could speak for or against it.
    Recalled {
        /// Who says so.
        provenance: Provenance,
        /// From its deployment to that of the next one that brought another template.
        newest_for: SignedDuration,
        /// When that one came.
        until: Timestamp,
    },
    /// Somebody named it with `--to`.
    Named {
        /// What was typed.
        selector: String,
    },
}

impl Because {
    /// One sentence for a person, without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Self::Observed { ready, since, unwell } => {
                let since = since.map_or_else(String::new, |since| format!(", ready since {}", clock(since)));
                let but = unwell
                    .as_ref()
                    .map_or_else(String::new, |unwell| format!(", but {unwell}"));
                format!(
                    "observed: {} of it {} now{since}{but}",
                    pods(*ready),
                    serve(*ready)
                )
            }
            Self::Released {
                release,
                reason,
                by,
                at,
            } => {
                let since = at.map_or_else(String::new, |at| format!(" since {}", clock(at)));
                format!("released: it is in release {release}, which is good{since} ({reason}; by {by})")
            }
            Self::Restored { run } => {
                format!("restored: run {run} went back to it, and it passed the validation")
            }
            Self::Presumed { newest_for, until } => format!(
                "presumed: it was the newest for {} until {}, and nothing speaks against it",
                human(*newest_for),
                clock(*until)
            ),
            Self::Deployed {
                release,
                revision,
                newest_for,
                until,
            } => format!(
                "presumed from Helm's record alone: helm/{release} had it for {} until {} (revision {revision}, which Helm deployed), and \
                 nothing tells how its pods fared",
                human(*newest_for),
                clock(*until)
            ),
            Self::Recalled {
                provenance,
                newest_for,
                until,
            } => format!(
                "presumed from its manifest alone: {}, said it for {} until {}, and nothing tells how its pods fared",
                provenance.phrase(),
                human(*newest_for),
                clock(*until)
            ),
            Self::Named { selector } => format!("named by --to {selector}"),
        }
    }

    /// Whether it is only presumed.
    pub fn is_presumed(&self) -> bool {
        matches!(
            self,
            Self::Presumed { .. } | Self::Deployed { .. } | Self::Recalled { .. }
        )
    }
}

/// The result of choosing for one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// Which workload.
    pub target: Target,
    /// The chosen one; none means that there is nothing good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<KnownGood>,
    /// Every other candidate, newest first, each with its reason.
    pub passed_over: Vec<PassedOver>,
    /// What makes the list shorter than it should be, such as `revisionHistoryLimit: 0`.
    pub notes: Vec<String>,
}

/// A candidate that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// Which revision.
    pub revision: RevisionRef,
    /// Why not.
    pub why: String,
}

fn pods(count: u32) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

fn serve(count: u32) -> &'static str {
    if count == 1 { "serves" } else { "serve" }
}

/// A point in time as people read it: date and time to the second, UTC.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A span as people read it: the two largest units, `1h 30m`, `45s`, `0.4s` below ten seconds.
pub fn human(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    match seconds {
        i64::MIN..0 => format!("-{}", human(span.abs())),
        0..10 => {
            let tenths = span.as_millis() / 100;
            if tenths % 10 == 0 {
                format!("{}s", tenths / 10)
            } else {
                format!("{}.{}s", tenths / 10, tenths % 10)
            }
        }
        10..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        let check = |seconds: i64, text: &str| assert_eq!(human(SignedDuration::from_secs(seconds)), text);
        check(0, "0s");
        check(9, "9s");
        check(45, "45s");
        check(90, "1m 30s");
        check(5400, "1h 30m");
        check(86_400 * 9 + 3600 * 2, "9d 2h");
        assert_eq!(human(SignedDuration::from_millis(450)), "0.4s");
    }
}
