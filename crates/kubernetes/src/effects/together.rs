//! Reads of one collection that are asked for at the same moment: a few go out side by side, many as one list. Owns who
//! sends for whom; keeps nothing that was read.

use crate::failure::Attempt;
use astern_model::defect::{Defect, planted};
use astern_model::failure::Failure;
use kube::Client;
use kube::core::params::{GetParams, ListParams};
use kube::core::request::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use tokio::sync::{Mutex, oneshot};

/// From so many on one list costs the API server less than the reads.
const MANY: usize = 8;
/// Objects of the one page that is read. What it does not hold is read one by one: a namespace may have thousands.
const PAGE: u32 = 500;
/// How often whoever sends lets others ask first.
const ROUNDS: usize = 3;

/// What a read gave: the object, or none of that name.
type Answer = Result<Option<Value>, Arc<kube::Error>>;

/// Reads through one client.
#[derive(Clone)]
pub(crate) struct Together {
    client: Client,
    asked: Arc<Lock<BTreeMap<String, Vec<Asked>>>>,
    /// Held by whoever gathers. It is given back before anything is sent, so that reads never wait for reads.
    gathering: Arc<Mutex<()>>,
}

struct Asked {
    name: String,
    answer: oneshot::Sender<Answer>,
}

impl Together {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            asked: Arc::default(),
            gathering: Arc::default(),
        }
    }

    /// A fresh, consistent read of `name` in `collection` (an API path); none when there is none of that name.
    ///
    /// # Errors
    /// As `attempt` tells them.
    pub(crate) async fn get(
        &self,
        collection: &str,
        name: &str,
        attempt: &Attempt,
    ) -> Result<Option<Value>, Failure> {
        let mut answer = self.ask(collection, name);
        let answer = tokio::select! {
            biased;
            answered = &mut answer => answered.ok(),
            asked = self.gather(collection) => {
                send(&self.client, collection, asked).await;
                answer.await.ok()
            }
        };
        let answer = match answer {
            Some(answer) => answer,
            // Whoever sent for this one was cut off.
            None => get(&self.client, collection, name).await.map_err(Arc::new),
        };
        answer.map_err(|error| attempt.failed(&error))
    }

    /// The same by a request of its own, for a collection that holds far more than anybody asks for.
    ///
    /// # Errors
    /// As `attempt` tells them.
    pub(crate) async fn get_alone(
        &self,
        collection: &str,
        name: &str,
        attempt: &Attempt,
    ) -> Result<Option<Value>, Failure> {
        let answer = get(&self.client, collection, name).await;
        answer.map_err(|error| attempt.failed(&error))
    }

    fn ask(&self, collection: &str, name: &str) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let name = name.to_owned();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .entry(collection.to_owned())
            .or_default()
            .push(Asked { name, answer });
        receiver
    }

    /// Takes over what was asked of a collection, once all that is about to be asked has been.
    async fn gather(&self, collection: &str) -> Vec<Asked> {
        let _turn = self.gathering.lock().await;
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.remove(collection).unwrap_or_default()
    }
}

/// Sends for all of these, and answers each.
async fn send(client: &Client, collection: &str, asked: Vec<Asked>) {
    let mut listed = BTreeMap::new();
    let mut whole = false;
    if asked.len() >= MANY {
        match list(client, collection).await {
            Ok(page) => (listed, whole) = page,
            Err(error) => {
                let error = Arc::new(error);
                for one in asked {
                    drop(one.answer.send(Err(error.clone())));
                }
                return;
            }
        }
    }
    let answers = asked.into_iter().map(|Asked { name, answer }| {
        let found = listed.get(&name).cloned();
        async move {
            let found = match found {
                Some(found) => Ok(Some(found)),
                None if whole => Ok(None),
                None => get(client, collection, &name).await.map_err(Arc::new),
            };
            // Nobody waits for it any more: then it is not needed.
            drop(answer.send(found));
        }
    });
    futures::future::join_all(answers).await;
}

async fn get(client: &Client, collection: &str, name: &str) -> Result<Option<Value>, kube::Error> {
    let parameters = GetParams {
        resource_version: planted(Defect::ReadStale).then(|| "0".to_owned()),
    };
    let request = Request::new(collection).get(name, &parameters);
    match client
        .request::<Value>(request.map_err(kube::Error::BuildRequest)?)
        .await
    {
        Ok(json) => Ok(Some(json)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The collection's first page by name, and whether that is all. A list without a resourceVersion is as consistent as a
/// get. Source: Kubernetes' API concepts, "Resource versions".
async fn list(client: &Client, collection: &str) -> Result<(BTreeMap<String, Value>, bool), kube::Error> {
    let request = Request::new(collection).list(&ListParams::default().limit(PAGE));
    let mut list = client
        .request::<Value>(request.map_err(kube::Error::BuildRequest)?)
        .await?;
    let rest = list.pointer("/metadata/continue").and_then(Value::as_str);
    let whole = rest.is_none_or(str::is_empty);
    let kind = text(&list, "/kind").trim_end_matches("List").to_owned();
    let version = text(&list, "/apiVersion").to_owned();
    let items = list.get_mut("items").map(Value::take).unwrap_or_default();
    let Value::Array(items) = items else {
        return Ok((BTreeMap::new(), whole));
    };
    let named = items.into_iter().map(|mut item| {
        // Items of a list leave out what the list says once.
        if let Some(fields) = item.as_object_mut() {
            fields.insert("kind".to_owned(), kind.clone().into());
            fields.insert("apiVersion".to_owned(), version.clone().into());
        }
        (text(&item, "/metadata/name").to_owned(), item)
    });
    Ok((named.collect(), whole))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
