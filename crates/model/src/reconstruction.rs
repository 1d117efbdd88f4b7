//! What ConfigMaps and Secrets held at a time that no ledger describes: who says so, and how far that is trusted. Owns no
//! content, and finds none.

use crate::choice::clock;
use crate::config::{ConfigName, HeldConfig};
use crate::id::TemplateHash;
use crate::target::Target;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many characters of a commit's id people read.
const SHORT: usize = 12;

/// Who says what an object held, and when that was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "by")]
pub enum Provenance {
    /// Helm's record of a revision that was in force.
    Helm {
        /// The release.
        release: String,
        /// The revision.
        revision: u64,
        /// When its record was made.
        at: Timestamp,
    },
    /// A commit that an owner deployed, by its own history.
    Git {
        /// The commit.
        commit: String,
        /// The file, from the repository's root.
        file: String,
        /// The owner: `Argo CD application argocd/shop`.
        owner: String,
        /// When it had deployed the commit.
        at: Timestamp,
    },
    /// Its own name, which carries a hash of what it holds.
    Named,
    /// Its annotation `kubectl.kubernetes.io/last-applied-configuration`, which somebody's later change has left alone.
    LastApplied {
        /// The field manager that applied it.
        manager: String,
        /// When.
        at: Timestamp,
    },
}

/// How far a provenance is trusted. What comes first in this list goes before what comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// A record that Helm keeps of what it applied.
    ReleaseRecord,
    /// A commit that was deployed at that time.
    DeployedCommit,
    /// A name that cannot stand for another content.
    HashedName,
    /// What was applied last before somebody changed it.
    LastApplied,
}

impl Provenance {
    /// How far it is trusted.
    pub fn trust(&self) -> Trust {
        match self {
            Self::Helm { .. } => Trust::ReleaseRecord,
            Self::Git { .. } => Trust::DeployedCommit,
            Self::Named => Trust::HashedName,
            Self::LastApplied { .. } => Trust::LastApplied,
        }
    }

    /// The words that follow `goes back to`: named, and dated.
    pub fn phrase(&self) -> String {
        match self {
            Self::Helm {
                release,
                revision,
                at,
            } => format!(
                "Helm's record of {release} revision {revision}, deployed {}",
                clock(*at)
            ),
            Self::Git {
                commit,
                file,
                owner,
                at,
            } => format!(
                "Git commit {} ({file}), which {owner} deployed {}",
                short(commit),
                clock(*at)
            ),
            Self::Named => "what the hash in its name says".to_owned(),
            Self::LastApplied { manager, at } => {
                format!(
                    "what {manager} had applied {} (last-applied-configuration)",
                    clock(*at)
                )
            }
        }
    }
}

/// A commit's id as people read it.
pub fn short(commit: &str) -> String {
    commit.chars().take(SHORT).collect()
}

/// While something was in force: all readers of an object that go back had the templates to which they go back, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// When it came; of several, the last.
    pub since: Timestamp,
    /// When it was superseded; of several, the first.
    pub until: Timestamp,
}

/// An object whose content of then is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Which.
    pub name: ConfigName,
    /// Who reads it with the template to which it goes back, and that template.
    pub readers: BTreeMap<Target, TemplateHash>,
    /// The time that is meant, or why it is not known.
    pub period: Result<Period, String>,
}

/// What an object held, beside what it holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// What it held.
    pub held: HeldConfig,
    /// The readers for whose templates it was looked for.
    pub readers: Vec<(Target, TemplateHash)>,
    /// Until when they had them.
    pub until: Timestamp,
    /// Who says so.
    pub provenance: Provenance,
    /// What is trusted as far or further and did not tell, a clause each.
    pub unasked: Vec<String>,
}

/// An object whose content of then nobody tells, although somebody was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untold {
    /// Which.
    pub name: ConfigName,
    /// Why, each source for itself.
    pub why: Vec<String>,
}

/// What is known, without a ledger, of the ConfigMaps and Secrets to whose content a plan could go back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconstruction {
    /// Those that differ now, or are gone.
    pub rebuilt: Vec<Rebuilt>,
    /// Those that hold the same now, with whoever says so.
    pub same: Vec<(ConfigName, Provenance)>,
    /// Those that nobody tells.
    pub untold: Vec<Untold>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provenance_is_named_and_dated_and_stands_in_the_order_of_trust() {
        let at: Timestamp = "2026-11-27T14:02:00Z".parse().expect("a time");
        let git = Provenance::Git {
            commit: "3f2a9c1d07be55aa66".to_owned(),
            file: "deploy/app.yaml".to_owned(),
            owner: "Argo CD application argocd/shop".to_owned(),
            at,
        };
        let applied = Provenance::LastApplied {
            manager: "kubectl-client-side-apply".to_owned(),
            at,
        };
        assert_eq!(
            git.phrase(),
            "Git commit 3f2a9c1d07be (deploy/app.yaml), which Argo CD application argocd/shop deployed 2026-11-27 14:02:00 UTC"
        );
        assert!(
            applied
                .phrase()
                .contains("kubectl-client-side-apply had applied 2026-11-27")
        );
        let helm = Provenance::Helm {
            release: "shop".to_owned(),
            revision: 3,
            at,
        };
        assert_eq!(
            helm.phrase(),
            "Helm's record of shop revision 3, deployed 2026-11-27 14:02:00 UTC"
        );
        let order = [helm, git, Provenance::Named, applied];
        assert!(order.is_sorted_by_key(Provenance::trust));
    }
}
