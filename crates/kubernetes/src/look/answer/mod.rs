//! Answers to what planner and gate ask: each question one request or few, all side by side. A question that could
//! not be found out is answered so, never with yes.

mod access;
mod dry_run;
mod exists;

use super::nodes::{self, Listed, NodeImages};
use super::placement::Placement;
use super::{IN_FLIGHT, OwnersAt, Seen};
use access::Rights;
use astern_model::failure::Failure;
use astern_model::inventory::Inventory;
use astern_model::question::{Answer, Answers, Question};
use astern_port::clock::Clock;
use astern_port::vault::Vault;
use futures::StreamExt as _;
use kube::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What answering needs beside the question.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// The way to the API server.
    pub(super) client: &'a Client,
    /// Where owners' objects lie.
    pub(super) owners: &'a OwnersAt,
    /// What time it is.
    pub(super) clock: &'a Arc<dyn Clock>,
    /// Where lies what was kept of ConfigMaps and Secrets.
    pub(super) vault: &'a dyn Vault,
    /// Holds the templates that questions name by hash.
    pub(super) inventory: &'a Inventory,
    /// The objects that the inventory was made from, as far as they are still known.
    pub(super) seen: &'a Seen,
}

/// What several questions rest on, read once, whatever their number.
struct Shared {
    nodes: OnceCell<Result<Vec<NodeImages>, Failure>>,
    /// The rights in each namespace that more than one question is about.
    rights: BTreeMap<String, OnceCell<Option<Rights>>>,
}

impl Shared {
    fn of(questions: &[Question]) -> Self {
        let mut asked: BTreeMap<&String, usize> = BTreeMap::new();
        for question in questions {
            if let Question::MayI { namespace, .. } = question {
                *asked.entry(namespace).or_default() += 1;
            }
        }
        // A cluster-wide right is not told apart from the same right in a namespace, so it is asked for by itself.
        let several = asked
            .into_iter()
            .filter(|(namespace, count)| *count > 1 && !namespace.is_empty());
        Self {
            nodes: OnceCell::new(),
            rights: several
                .map(|(namespace, _)| (namespace.clone(), OnceCell::new()))
                .collect(),
        }
    }

    /// Whether the list of rights says yes.
    async fn allow(&self, client: &Client, wish: &access::Wish<'_>) -> bool {
        let Some(rights) = self.rights.get(wish.namespace) else {
            return false;
        };
        let rights = rights
            .get_or_init(|| access::rights(client, wish.namespace))
            .await;
        rights.as_ref().is_some_and(|rights| rights.allow(wish))
    }
}

/// Answers every question once.
pub(super) async fn all(around: &Around<'_>, questions: &[Question]) -> Answers {
    let shared = &Shared::of(questions);
    let answers: Vec<_> = questions
        .iter()
        .map(|question| async move { (question.clone(), answer(around, shared, question).await) })
        .collect();
    let answered: Vec<_> = futures::stream::iter(answers)
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    answered.into_iter().collect()
}

async fn answer(around: &Around<'_>, shared: &Shared, question: &Question) -> Answer {
    match question {
        Question::MayI {
            verb,
            group,
            resource,
            namespace,
        } => {
            let wish = access::Wish {
                verb,
                group,
                resource,
                namespace,
            };
            let elsewhere = around.owners.of_resource(group, resource);
            if elsewhere.is_none() && shared.allow(around.client, &wish).await {
                return Answer::Yes;
            }
            access::may_i(elsewhere.unwrap_or(around.client), &wish).await
        }
        Question::Exists {
            kind,
            namespace,
            name,
            keys,
        } => exists::exists(around.client, *kind, namespace, name, keys).await,
        Question::ImageListed {
            image,
            target,
            revision,
            never_pulled,
        } => {
            let Some(kept) = dry_run::remembered(around, target, revision) else {
                return dry_run::forgotten(revision);
            };
            let nodes = shared.nodes.get_or_init(|| nodes::images(around.client)).await;
            image_listed(
                nodes,
                image,
                Placement::of(&kept.template, target.kind),
                *never_pulled,
            )
        }
        Question::WriteAccepted { target, revision } => dry_run::write(around, target, revision).await,
        Question::PodAccepted { target, revision } => dry_run::pod(around, target, revision).await,
        Question::PauseAccepted {
            target,
            paused,
            revision,
        } => dry_run::pause(around, target, *paused, revision.as_ref()).await,
        Question::RestartAccepted { target, at } => dry_run::restart(around, target, at).await,
        Question::ConfigAccepted {
            object,
            namespace,
            kept,
        } => dry_run::config(around, object, namespace, kept).await,
        Question::DeleteAccepted { namespace, pod, uid } => {
            dry_run::delete(around.client, namespace, pod, uid).await
        }
        Question::LockFree { namespace } => access::lock_free(around, namespace).await,
    }
}

fn image_listed(
    nodes: &Result<Vec<NodeImages>, Failure>,
    image: &str,
    placement: Option<Placement>,
    never_pulled: bool,
) -> Answer {
    let unknown = |why: String| Answer::Unknown { why };
    let (nodes, placement) = match (nodes, placement) {
        (Ok(nodes), Some(placement)) => (nodes, placement),
        (Err(failure), _) => return unknown(format!("nodes could not be read: {}", failure.message)),
        (_, None) => return unknown("where its pods may go was not understood".to_owned()),
    };
    match nodes::listed(nodes, image, &placement) {
        Listed::Nowhere if never_pulled => Answer::No {
            why: "imagePullPolicy is Never and no node has it that its pods may go to".to_owned(),
        },
        Listed::Nowhere => {
            unknown("no node lists it that its pods may go to; the registry was not asked".to_owned())
        }
        Listed::Yes => Answer::Yes,
        Listed::Unknown(why) => unknown(why),
    }
}
