//! The requests that effects send, untyped, each error classified. Decides nothing.

use super::object::{Object, collection};
use super::shared::{Wanted, Watches, Written};
use super::together::Together;
use super::watch::{Events, events};
use crate::failure::{Attempt, Verb};
use astern_model::choice::RevisionRef;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::target::Target;
use astern_model::workload::RevisionKind;
use astern_port::clock::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::params::PostParams;
use kube::core::request::Request;
use kube::core::{GroupVersionKind, Selector};
use kube::runtime::watcher;
use serde_json::{Value, json};
use std::sync::Arc;

/// A pod that crashes in a loop has few kinds of events; more than these are repetitions.
const EVENTS: u32 = 50;

/// The way to the API server, and what time it is there.
#[derive(Clone)]
pub(crate) struct Access {
    client: kube::Client,
    watching: kube::Client,
    clock: Arc<dyn Clock>,
    reads: Together,
    written: Written,
    workloads: Watches<DynamicObject>,
    pods: Watches<Pod>,
}

/// An object by its API path: what is asked of the server, and how it is called in a message.
struct Path<'a> {
    collection: String,
    resource: &'a str,
    name: &'a str,
}

impl Access {
    /// Everything goes through one client, watches too.
    pub(crate) fn new(client: kube::Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            watching: client.clone(),
            reads: Together::new(client.clone()),
            client,
            clock,
            written: Written::default(),
            workloads: Watches::default(),
            pods: Watches::default(),
        }
    }

    /// `watching` carries the watches, which last; a client without a read timeout suits them.
    pub(crate) fn watched_through(&mut self, watching: kube::Client) {
        self.watching = watching;
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// For what tells the time later.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// For watches of what few follow.
    pub(crate) fn watching(&self) -> kube::Client {
        self.watching.clone()
    }

    /// A watch of this workload alone. Its first state is a consistent read.
    pub(crate) fn watch(&self, target: &Target) -> Events<DynamicObject> {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
        events(self.workload_api(target), config)
    }

    /// A watch of the pods that `selector` finds.
    pub(crate) fn watch_pods(&self, namespace: &str, selector: &Selector) -> Events<Pod> {
        let api = Api::namespaced(self.watching.clone(), namespace);
        events(api, watcher::Config::default().labels_from(selector))
    }

    /// Follows a workload, together with others where many are followed. Its first state is no older than what was
    /// written here.
    pub(crate) fn follow(&self, target: &Target) -> Events<DynamicObject> {
        let wanted = Wanted::Named {
            name: target.name.clone(),
            at_least: self.written.of(target),
        };
        self.workloads
            .follow(self.workload_api(target), &collection(target), wanted)
    }

    /// Follows the pods of a namespace that `selector` finds, in the same way.
    pub(crate) fn follow_pods(&self, namespace: &str, selector: Selector) -> Events<Pod> {
        let api = Api::namespaced(self.watching.clone(), namespace);
        self.pods.follow(api, namespace, Wanted::Labelled(selector))
    }

    fn workload_api(&self, target: &Target) -> Api<DynamicObject> {
        let kind = target.kind;
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(kind.group(), kind.version(), kind.name()),
            kind.plural(),
        );
        Api::namespaced_with(self.watching.clone(), &target.namespace, &resource)
    }

    /// A fresh, consistent read of the workload; none when there is none of that name.
    pub(crate) async fn find(&self, target: &Target, operation: &str) -> Result<Option<Object>, Failure> {
        let path = Path {
            collection: collection(target),
            resource: target.kind.plural(),
            name: &target.name,
        };
        Ok(self
            .get(&path, operation)
            .await?
            .map(|json| Object::new(target.kind, json)))
    }

    /// The same, where its absence ends the matter.
    pub(crate) async fn workload(&self, target: &Target, operation: &str) -> Result<Object, Failure> {
        self.find(target, operation)
            .await?
            .ok_or_else(|| gone(target, operation))
    }

    /// Replaces the whole workload. The resourceVersion inside is that of the read it was made from, so the server
    /// refuses it with 409 when anybody wrote meanwhile.
    pub(crate) async fn replace(
        &self,
        target: &Target,
        object: &Object,
        operation: &str,
    ) -> Result<Object, Failure> {
        let attempt = Attempt::new(Verb::Update, target.kind.plural(), operation);
        let parameters = PostParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let body = serde_json::to_vec(object.json()).map_err(|error| unencodable(operation, &error))?;
        let request = Request::new(collection(target)).replace(&target.name, &parameters, body);
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        let json = self
            .client
            .request::<Value>(request)
            .await
            .map_err(|error| attempt.failed(&error))?;
        let stored = Object::new(target.kind, json);
        self.written
            .note(target, stored.uid().to_string(), stored.generation());
        Ok(stored)
    }

    /// The object that keeps a revision; none when it is gone. Ten are kept of each workload, so that a list of them
    /// would cost more than the few that are asked for.
    pub(crate) async fn revision(
        &self,
        target: &Target,
        kind: RevisionKind,
        name: &str,
        operation: &str,
    ) -> Result<Option<Value>, Failure> {
        let resource = kind.plural();
        let collection = format!("/apis/apps/v1/namespaces/{}/{resource}", target.namespace);
        let attempt = Attempt::new(Verb::Get, resource, operation);
        self.reads.get_alone(&collection, name, &attempt).await
    }

    /// A Secret as it travels, its values still encoded.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
        operation: &str,
    ) -> Result<Option<Value>, Failure> {
        let collection = format!("/api/v1/namespaces/{namespace}/secrets");
        self.get(
            &Path {
                collection,
                resource: "secrets",
                name,
            },
            operation,
        )
        .await
    }

    /// A node.
    pub(crate) async fn node(&self, name: &str, operation: &str) -> Result<Option<Value>, Failure> {
        self.get(
            &Path {
                collection: "/api/v1/nodes".to_owned(),
                resource: "nodes",
                name,
            },
            operation,
        )
        .await
    }

    /// One pod; none when it is gone.
    pub(crate) async fn pod(
        &self,
        namespace: &str,
        name: &str,
        operation: &str,
    ) -> Result<Option<Pod>, Failure> {
        let attempt = Attempt::new(Verb::Get, "pods", operation);
        self.pods(namespace)
            .get_opt(name)
            .await
            .map_err(|error| attempt.failed(&error))
    }

    /// Deletes a pod as it was read, with its own grace period: the server refuses with 409 when it is another one
    /// or has changed. A pod that is gone already is no error.
    pub(crate) async fn delete(&self, pod: &Pod, namespace: &str, operation: &str) -> Result<(), Failure> {
        let attempt = Attempt::new(Verb::Delete, "pods", operation);
        let metadata = &pod.metadata;
        let preconditions = Preconditions {
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        };
        let parameters = DeleteParams {
            preconditions: (!planted(Defect::IgnorePodIdentity)).then_some(preconditions),
            ..DeleteParams::default()
        };
        match self
            .pods(namespace)
            .delete(metadata.name.as_deref().unwrap_or_default(), &parameters)
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(attempt.failed(&error)),
        }
    }

    /// Sets annotations of a pod as it was read.
    pub(crate) async fn annotate(
        &self,
        pod: &Pod,
        namespace: &str,
        annotations: &Value,
        operation: &str,
    ) -> Result<(), Failure> {
        let attempt = Attempt::new(Verb::Patch, "pods", operation);
        let metadata = &pod.metadata;
        let patch = json!({"metadata": {
            "uid": metadata.uid, "resourceVersion": metadata.resource_version, "annotations": annotations,
        }});
        let parameters = kube::api::PatchParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..kube::api::PatchParams::default()
        };
        let name = metadata.name.as_deref().unwrap_or_default();
        match self
            .pods(namespace)
            .patch_metadata(name, &parameters, &kube::api::Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(attempt.failed(&error)),
        }
    }

    /// What was said about a pod lately; one page, which holds all that differs.
    pub(crate) async fn events_of(
        &self,
        namespace: &str,
        pod: &Uid,
        operation: &str,
    ) -> Result<Vec<Event>, Failure> {
        let attempt = Attempt::new(Verb::List, "events", operation);
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = ListParams::default()
            .fields(&format!("involvedObject.uid={pod}"))
            .limit(EVENTS);
        let list = events
            .list(&parameters)
            .await
            .map_err(|error| attempt.failed(&error))?;
        Ok(list.items)
    }

    /// The pods of a namespace.
    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get(&self, path: &Path<'_>, operation: &str) -> Result<Option<Value>, Failure> {
        let attempt = Attempt::new(Verb::Get, path.resource, operation);
        self.reads.get(&path.collection, path.name, &attempt).await
    }
}

/// How the object that keeps a revision is called in a message: `replicaset/api-gateway-7d9f8b6c5d`.
pub(crate) fn revision_phrase(revision: &RevisionRef) -> String {
    format!("{}/{}", revision.kind.singular(), revision.name)
}

/// The failure of an operation on a workload that is not there.
pub(crate) fn gone(target: &Target, operation: &str) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        operation,
        format!(
            "{target} does not exist in namespace {}; nothing was changed",
            target.namespace
        ),
    )
    .hint(format!(
        "look who deleted it: kubectl get events -n {}",
        target.namespace
    ))
}

fn unencodable(operation: &str, error: &serde_json::Error) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        operation,
        format!("the object could not be encoded: {error}"),
    )
}
