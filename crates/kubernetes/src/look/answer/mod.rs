//! Answers to what planner and gate ask: each question one request or few, all side by side. A question that could
//! not be found out is answered so, never with yes.

mod access;
mod dry_run;
mod exists;

use super::nodes::{self, Listed, NodeImages};
use super::{IN_FLIGHT, Seen};
use astern_model::failure::Failure;
use astern_model::inventory::Inventory;
use astern_model::question::{Answer, Answers, Question};
use futures::StreamExt as _;
use kube::Client;
use tokio::sync::OnceCell;

/// What answering needs beside the question.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// The way to the API server.
    pub(super) client: &'a Client,
    /// Holds the templates that questions name by hash.
    pub(super) inventory: &'a Inventory,
    /// The objects that the inventory was made from, as far as they are still known.
    pub(super) seen: &'a Seen,
}

/// Nodes are read once, whatever the number of questions about them.
type Nodes = OnceCell<Result<Vec<NodeImages>, Failure>>;

/// Answers every question once.
pub(super) async fn all(around: &Around<'_>, questions: &[Question]) -> Answers {
    let nodes = &Nodes::new();
    let answers: Vec<_> = questions
        .iter()
        .map(|question| async move { (question.clone(), answer(around, nodes, question).await) })
        .collect();
    let answered: Vec<_> = futures::stream::iter(answers)
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    answered.into_iter().collect()
}

async fn answer(around: &Around<'_>, nodes: &Nodes, question: &Question) -> Answer {
    match question {
        Question::MayI {
            verb,
            group,
            resource,
            namespace,
        } => {
            access::may_i(
                around.client,
                &access::Wish {
                    verb,
                    group,
                    resource,
                    namespace,
                },
            )
            .await
        }
        Question::Exists {
            kind,
            namespace,
            name,
            keys,
        } => exists::exists(around.client, *kind, namespace, name, keys).await,
        Question::ImageListed { image, node_selector } => {
            match nodes.get_or_init(|| nodes::images(around.client)).await {
                Ok(nodes) => match nodes::listed(nodes, image, node_selector) {
                    Listed::Yes => Answer::Yes,
                    Listed::Unknown(why) => Answer::Unknown { why },
                },
                Err(failure) => Answer::Unknown {
                    why: format!("nodes could not be read: {}", failure.message),
                },
            }
        }
        Question::WriteAccepted { target, revision } => dry_run::write(around, target, revision).await,
        Question::PodAccepted { target, revision } => dry_run::pod(around, target, revision).await,
        Question::LockFree { namespace } => access::lock_free(around.client, namespace).await,
    }
}
