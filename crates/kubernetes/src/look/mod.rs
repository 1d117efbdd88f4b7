//! Looking at a cluster: the inventory, the answers to questions, and changes. Only reads, reviews and dry runs.
//!
//! # Flow
//! [`round`] reads everything side by side, [`inventory`] joins it. A second round is asked only where the first
//! found an owner's mark or a node that may not answer; what kubelets say is masked ([`masked`]) before it leaves.

mod answer;
mod changed;
mod config;
mod deployments;
mod dump;
mod facts;
mod fetch;
mod identity;
mod inventory;
mod managed;
mod masked;
mod nodes;
mod origins;
mod owners;
mod placement;
mod pods;
mod revisions;
mod round;
mod unmanaged;
mod upcoming;
mod warnings;
mod workload;

pub use config::ClusterConfig;
pub(crate) use config::{content_manager, without_servers_own};
pub use dump::{Dump, Unread, contents, dump};
pub use origins::ClusterOrigins;
pub use owners::OwnersAt;
pub(crate) use owners::paths as owner_paths;

use crate::connect::Connection;
use crate::effects::object::Object;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerSeen;
use astern_model::question::{Answers, Question};
use astern_model::target::{Cluster, Target};
use astern_model::template::Template;
use astern_port::clock::Clock;
use astern_port::cluster::Look;
use astern_port::vault::Vault;
use async_trait::async_trait;
use fetch::Part;
use inventory::{Second, Told};
use jiff::SignedDuration;
use owners::{Mark, Word};
use round::Round;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests in flight at once: enough to answer a plan of dozens of workloads in a breath, and few enough that the
/// API server's fair queuing turns none away.
const IN_FLIGHT: usize = 24;

/// A cluster, looked at through the Kubernetes API.
///
/// # Flow
/// It remembers what the newest inventory of each namespace was made from: a dry run of a write then needs no read
/// before it, and a watch goes on from that moment without a gap.
pub struct ClusterLook {
    connection: Connection,
    owners: OwnersAt,
    clock: Arc<dyn Clock>,
    vault: Arc<dyn Vault>,
    seen: Mutex<BTreeMap<String, Arc<Seen>>>,
}

/// What the newest inventory of a namespace was made from.
#[derive(Default)]
struct Seen {
    /// The workloads as they were read.
    objects: BTreeMap<Target, Object>,
    /// From which version on a watch of each resource misses nothing.
    versions: BTreeMap<&'static str, String>,
}

impl ClusterLook {
    /// Looks through this connection. What a release or a run has kept of ConfigMaps and Secrets, and is tried, is read from
    /// `vault`. Sends nothing yet.
    pub fn new(connection: Connection, clock: Arc<dyn Clock>, vault: Arc<dyn Vault>) -> Self {
        Self {
            owners: OwnersAt::here(connection.client.clone()),
            connection,
            clock,
            vault,
            seen: Mutex::default(),
        }
    }

    /// Owners' objects lie elsewhere.
    #[must_use]
    pub fn with_owners(mut self, owners: OwnersAt) -> Self {
        self.owners = owners;
        self
    }

    fn seen(&self, namespace: &str) -> Arc<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(namespace)
            .cloned()
            .unwrap_or_default()
    }

    fn remember(&self, namespace: &str, round: &mut Round) {
        let versions = std::mem::take(&mut round.versions);
        let named = |object: Object| (workload::target(&object, namespace), object);
        let objects = std::mem::take(&mut round.workloads)
            .into_iter()
            .map(named)
            .collect();
        let seen = Arc::new(Seen { objects, versions });
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(namespace.to_owned(), seen);
    }

    /// Lists of a namespace that does not exist are empty, so an empty one is asked for.
    async fn must_exist(&self, namespace: &str) -> Result<(), Failure> {
        let attempt = Attempt::new(Verb::Get, "namespaces", format!("read namespace {namespace}"));
        let found: Result<serde_json::Value, Failure> = fetch::get(
            &self.connection.client,
            "/api/v1/namespaces",
            namespace,
            Part::Metadata,
            &attempt,
        )
        .await;
        match found {
            Err(failure) if failure.class == FailureClass::Permanent => {
                let message = format!("namespace {namespace} does not exist");
                Err(Failure::new(
                    FailureClass::Permanent,
                    format!("read namespace {namespace}"),
                    message,
                )
                .hint("name one with -n; those that exist: kubectl get namespaces"))
            }
            Err(failure) if failure.class == FailureClass::Refused => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Ok(()),
        }
    }

    async fn ask(&self, second: &Second) -> Told {
        let client = &self.connection.client;
        let (owners, hub, (lost, mut unread)) = futures::join!(
            self.owners(second),
            self.owners.seen_hub(),
            nodes::lost(client, &second.nodes)
        );
        let unresolved = owners.iter().filter(|(mark, _)| second.hints.contains(mark));
        unread.extend(unresolved.filter_map(|(mark, word)| match word {
            Word::Unread(why) => Some(format!(
                "whether {mark} owns what is labelled so was not read: {why}"
            )),
            Word::Said { .. } | Word::Absent => None,
        }));
        Told {
            owners,
            hub,
            lost,
            unread,
        }
    }

    /// What the owners' objects say, those of hints among them where Argo CD is there at all.
    async fn owners(&self, second: &Second) -> BTreeMap<Mark, Word> {
        let hints = !second.hints.is_empty() && owners::argo_is_served(&self.owners).await;
        let asked = second.owners.iter().chain(second.hints.iter().filter(|_| hints));
        owners::ask(&self.owners, asked).await
    }

    async fn take_inventory(&self, namespace: &str) -> Result<Inventory, Failure> {
        let mut round = round::read(&self.connection, namespace).await?;
        if round.workloads.is_empty() {
            self.must_exist(namespace).await?;
        }
        let now = self.clock.now();
        let told = self.ask(&inventory::second(&round, namespace, now)).await;
        let mut inventory = inventory::assemble(&round, &told, namespace, now);
        masked::all(&self.connection.client, &round.pods, &mut inventory).await;
        self.remember(namespace, &mut round);
        Ok(inventory)
    }

    /// A failure that says which server and context it was: these are the first thing to doubt.
    fn told(&self, mut failure: Failure) -> Failure {
        let Connection { context, server, .. } = &self.connection;
        failure.message = format!("{} (context {context}, server {server})", failure.message);
        failure
    }
}

#[async_trait]
impl Look for ClusterLook {
    async fn identify(&self, namespace: &str) -> Result<Cluster, Failure> {
        let (cluster, _) = identity::identify(&self.connection, namespace)
            .await
            .map_err(|failure| self.told(failure))?;
        Ok(cluster)
    }

    async fn inventory(&self, namespace: &str) -> Result<Inventory, Failure> {
        self.take_inventory(namespace)
            .await
            .map_err(|failure| self.told(failure))
    }

    async fn answer(&self, inventory: &Inventory, questions: &[Question]) -> Answers {
        let seen = self.seen(&inventory.namespace);
        let around = answer::Around {
            client: &self.connection.client,
            owners: &self.owners,
            clock: &self.clock,
            vault: &*self.vault,
            inventory,
            seen: &seen,
        };
        answer::all(&around, questions).await
    }

    async fn managed(&self, targets: &[Target]) -> Result<BTreeMap<Target, Vec<Value>>, Failure> {
        managed::read(&self.connection.client, targets)
            .await
            .map_err(|failure| self.told(failure))
    }

    async fn applied(&self, target: &Target, manifest: &Value, manager: &str) -> Result<Value, Failure> {
        let operation = format!("try to apply the manifest of {target}");
        let attempt = Attempt::new(Verb::Patch, target.kind.plural(), operation).without_effect();
        let path = crate::effects::object::collection(target);
        let body = (manifest, manager);
        fetch::try_apply(&self.connection.client, &path, &target.name, body, &attempt).await
    }

    async fn completed(&self, target: &Target, template: &Value) -> Result<Template, Failure> {
        let operation = format!("try a template of {target}");
        let attempt = |verb| Attempt::new(verb, target.kind.plural(), operation.as_str()).without_effect();
        let client = &self.connection.client;
        let path = crate::effects::object::collection(target);
        let json = fetch::get(client, &path, &target.name, Part::Whole, &attempt(Verb::Get)).await?;
        let wanted = Object::new(target.kind, json)
            .with_template(&Template::clean(template.clone()))
            .of_any_version();
        let attempt = attempt(Verb::Update);
        let tried = fetch::try_replace(client, &path, &target.name, wanted.json(), &attempt).await?;
        Ok(Object::new(target.kind, tried).template())
    }

    async fn starters(&self, namespace: &str) -> Result<Vec<OwnerSeen>, Failure> {
        owners::starters(&self.owners, namespace)
            .await
            .map_err(|failure| self.told(failure))
    }

    async fn changed(&self, targets: &[Target], within: SignedDuration) -> Result<(), Failure> {
        let namespaces: std::collections::BTreeSet<&str> =
            targets.iter().map(|target| target.namespace.as_str()).collect();
        let seen = namespaces
            .iter()
            .map(|name| ((*name).to_owned(), self.seen(name)))
            .collect();
        changed::wait(&self.connection, targets, &seen, within)
            .await
            .map_err(|failure| self.told(failure))
    }
}
