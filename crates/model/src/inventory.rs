//! Everything that planning may read, gathered once. The planner gets it by reference and does no I/O.

use crate::diff::Marks;
use crate::evidence::Evidence;
use crate::target::{Cluster, Hub, Target};
use crate::workload::Workload;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One namespace at one moment. The world may have moved since: pins are checked again at each write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Which cluster, as whom.
    pub cluster: Cluster,
    /// The namespace that was read.
    pub namespace: String,
    /// When.
    pub taken_at: Timestamp,
    /// Its workloads.
    #[serde(with = "by_target")]
    pub workloads: BTreeMap<Target, Workload>,
    /// What was observed about them.
    pub evidence: Vec<Evidence>,
    /// The namespace's quotas.
    pub quotas: Vec<Quota>,
    /// Nodes that are being drained (cordoned), where nodes may be read.
    pub cordoned_nodes: Vec<String>,
    /// The Helm releases that its workloads belong to, once they were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<crate::helm::Release>,
    /// How ConfigMaps and Secrets stand, once somebody had to look.
    #[serde(default, skip_serializing_if = "crate::config::ConfigSeen::is_empty")]
    pub config: crate::config::ConfigSeen,
    /// The owners' objects, and those above them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<crate::owner::OwnerSeen>,
    /// Argo CD's cluster, where it is a hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// The marks of what the templates hold that is not shown, once a plan may be made. They stay in memory.
    #[serde(skip)]
    pub marks: Marks,
    /// Reads that failed, as sentences: what is therefore unknown.
    pub unread: Vec<String>,
}

impl Inventory {
    /// The names nearest to `name` among the workloads, best first, for "did you mean".
    pub fn names(&self) -> impl Iterator<Item = &Target> {
        self.workloads.keys()
    }

    /// Takes in owners' objects that were read later: each stands once.
    pub fn see(&mut self, owners: impl IntoIterator<Item = crate::owner::OwnerSeen>) {
        for seen in owners {
            if self.owner(&seen.name).is_none() {
                self.owners.push(seen);
            }
        }
    }

    /// An owner's object, if it was read.
    pub fn owner(&self, name: &crate::owner::OwnerName) -> Option<&crate::owner::OwnerSeen> {
        self.owners.iter().find(|seen| &seen.name == name)
    }
}

/// A ResourceQuota: what it limits, what is used. Quantities as the API writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// `pods`, `requests.cpu`, … → the limit.
    pub hard: BTreeMap<String, String>,
    /// The same → what is used.
    pub used: BTreeMap<String, String>,
    /// Which pods it counts: those that all of these take; with none, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
}

/// One scope of a ResourceQuota, as the API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// `BestEffort`, `NotTerminating`, `PriorityClass`, …
    pub name: String,
    /// `Exists`, `In`, …
    pub operator: String,
    /// What the operator compares with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

mod by_target {
    //! JSON objects have text keys, so the map travels as a list.

    use super::{BTreeMap, Target, Workload};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Target, Workload>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Target, Workload>, D::Error> {
        let list = Vec::<Workload>::deserialize(from)?;
        Ok(list
            .into_iter()
            .map(|workload| (workload.target.clone(), workload))
            .collect())
    }
}
