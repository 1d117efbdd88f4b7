//! The one round of reads that an inventory rests on: every list side by side. Owns what is read and which failure
//! ends the matter; interprets nothing.

use super::fetch::{Collection, Listed, Part, list, list_where_served};
use super::identity::identify;
use super::owners::{CANARIES, POD_AUTOSCALERS};
use super::unmanaged::Unmanaged;
use crate::connect::Connection;
use crate::effects::object::Object;
use astern_model::failure::{Failure, FailureClass};
use astern_model::target::{Cluster, WorkloadKind};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ResourceQuota};
use serde_json::Value;
use std::collections::BTreeMap;

/// What one round gave, as the server wrote it.
pub(super) struct Round {
    /// Which cluster, as whom.
    pub(super) cluster: Cluster,
    /// Deployments, StatefulSets, DaemonSets and Rollouts.
    pub(super) workloads: Vec<Object>,
    /// The ReplicaSets.
    pub(super) replica_sets: Vec<Value>,
    /// The ControllerRevisions.
    pub(super) controller_revisions: Vec<Value>,
    /// The pods.
    pub(super) pods: Vec<Pod>,
    /// Events of type Warning.
    pub(super) warnings: Vec<Event>,
    /// The HorizontalPodAutoscalers.
    pub(super) autoscalers: Vec<HorizontalPodAutoscaler>,
    /// Flagger's Canaries.
    pub(super) canaries: Vec<Value>,
    /// The VerticalPodAutoscalers.
    pub(super) pod_autoscalers: Vec<Value>,
    /// The ResourceQuotas.
    pub(super) quotas: Vec<ResourceQuota>,
    /// Nodes that take no new pods.
    pub(super) cordoned: Vec<String>,
    /// From which version on a watch of each resource misses nothing.
    pub(super) versions: BTreeMap<&'static str, String>,
    /// What could not be read, as sentences.
    pub(super) unread: Vec<String>,
}

/// Reads a namespace: sixteen requests side by side, more only where a list has more than one page, or may not
/// be had.
///
/// # Errors
/// When the server does not answer, the cluster cannot be told, or no kind of workload may be listed.
pub(super) async fn read(connection: &Connection, namespace: &str) -> Result<Round, Failure> {
    let client = &connection.client;
    let apps = |resource| Collection::namespaced("apis/apps/v1", namespace, resource);
    let core = |resource| Collection::namespaced("api/v1", namespace, resource);
    let [deployments, stateful_sets, daemon_sets, rollouts] =
        WorkloadKind::ALL.map(|kind| Collection::workloads(kind, namespace));
    let (replica_sets, revisions) = (apps("replicasets"), apps("controllerrevisions"));
    let (pods, warnings) = (core("pods"), core("events").fields("type=Warning"));
    let autoscalers = Collection::namespaced("apis/autoscaling/v2", namespace, "horizontalpodautoscalers");
    let quotas = core("resourcequotas");
    let nodes = Collection::cluster("api/v1", "nodes").fields("spec.unschedulable=true");
    let custom = async |(group, version, resource): (&'static str, &str, &'static str)| {
        let what = Collection::namespaced(&format!("apis/{group}/{version}"), namespace, resource);
        list_where_served(client, &format!("{group}/{version}"), &what, |object: Value| {
            object
        })
        .await
    };
    let workload = |kind| move |json: Value| Object::new(kind, json);
    let whole = Part::Whole;
    let read = futures::join!(
        identify(connection, namespace),
        list(client, &deployments, whole, workload(WorkloadKind::Deployment)),
        list(client, &stateful_sets, whole, workload(WorkloadKind::StatefulSet)),
        list(client, &daemon_sets, whole, workload(WorkloadKind::DaemonSet)),
        list(client, &replica_sets, whole, unmanaged::<Value>),
        list(client, &revisions, whole, unmanaged::<Value>),
        list(client, &pods, whole, unmanaged::<Pod>),
        list(client, &warnings, whole, unmanaged::<Event>),
        list(client, &autoscalers, whole, unmanaged::<HorizontalPodAutoscaler>),
        list(client, &quotas, whole, unmanaged::<ResourceQuota>),
        list(client, &nodes, whole, |Unmanaged(node): Unmanaged<Node>| {
            node.metadata.name.unwrap_or_default()
        }),
        list_where_served(
            client,
            WorkloadKind::Rollout.api_version(),
            &rollouts,
            workload(WorkloadKind::Rollout)
        ),
        custom(CANARIES),
        custom(POD_AUTOSCALERS),
    );
    let mut take = Take {
        namespace,
        versions: BTreeMap::new(),
        unread: Vec::new(),
    };
    let (cluster, mut unread) = read.0?;
    let workloads = take.workloads([
        ("deployments", read.1.map(Some)),
        ("statefulsets", read.2.map(Some)),
        ("daemonsets", read.3.map(Some)),
        ("rollouts", read.11),
    ])?;
    let round = Round {
        cluster,
        workloads,
        replica_sets: take.needed("replicasets", read.4)?,
        controller_revisions: take.needed("controllerrevisions", read.5)?,
        pods: take.needed("pods", read.6)?,
        warnings: take.wanted("events", read.7),
        autoscalers: take.wanted("horizontalpodautoscalers", read.8),
        quotas: take.wanted("resourcequotas", read.9),
        cordoned: take.wanted("nodes", read.10),
        canaries: take.served(CANARIES.2, read.12),
        pod_autoscalers: take.served(POD_AUTOSCALERS.2, read.13),
        versions: take.versions,
        unread: Vec::new(),
    };
    unread.extend(take.unread);
    Ok(Round { unread, ..round })
}

/// A list of workloads; none where the cluster does not serve their kind.
type IfServed = Result<Option<Listed<Object>>, Failure>;

/// Takes the lists over, one by one, and notes what could not be had.
struct Take<'a> {
    namespace: &'a str,
    versions: BTreeMap<&'static str, String>,
    unread: Vec<String>,
}

impl Take<'_> {
    /// The workloads. One kind that may not be listed is noted; none that may be listed ends the matter.
    fn workloads(&mut self, lists: [(&'static str, IfServed); 4]) -> Result<Vec<Object>, Failure> {
        let mut all = Vec::new();
        let mut refused = None;
        let mut had = false;
        for (resource, list) in lists {
            match list {
                Ok(None) => {}
                Ok(Some(list)) => {
                    had = true;
                    self.versions.insert(resource, list.version);
                    all.extend(list.items);
                }
                Err(failure) if failure.class == FailureClass::Refused => {
                    self.note(resource, &failure);
                    refused.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        match refused {
            Some(failure) if !had => Err(failure),
            _ => Ok(all),
        }
    }

    /// What a plan rests on: only a missing right is noted, everything else ends the matter.
    fn needed<T>(
        &mut self,
        resource: &'static str,
        list: Result<Listed<T>, Failure>,
    ) -> Result<Vec<T>, Failure> {
        match list {
            Err(failure) if failure.class != FailureClass::Refused => Err(failure),
            list => Ok(self.wanted(resource, list)),
        }
    }

    /// What makes a plan better: any failure is noted.
    fn wanted<T>(&mut self, resource: &'static str, list: Result<Listed<T>, Failure>) -> Vec<T> {
        match list {
            Ok(list) => {
                self.versions.insert(resource, list.version);
                list.items
            }
            Err(failure) => {
                self.note(resource, &failure);
                Vec::new()
            }
        }
    }

    /// The same of what not every cluster has.
    fn served(&mut self, resource: &'static str, list: Result<Option<Listed<Value>>, Failure>) -> Vec<Value> {
        let listed = list.unwrap_or_else(|failure| {
            self.note(resource, &failure);
            None
        });
        listed.map(|listed| listed.items).unwrap_or_default()
    }

    fn note(&mut self, resource: &str, failure: &Failure) {
        let place = match resource {
            "nodes" => "of the cluster".to_owned(),
            _ => format!("of namespace {}", self.namespace),
        };
        self.unread.push(format!(
            "{resource} {place} could not be read: {}",
            failure.message
        ));
    }
}

fn unmanaged<T>(Unmanaged(object): Unmanaged<T>) -> T {
    object
}
