//! Deleting: preconditions, grace, finalizers and what becomes of dependents. The collecting itself is a controller's.

use super::options;
use super::route::Query;
use super::status::{Cause, Outcome, Refusal};
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::object::{get, int, list, set, terminating, text};
use crate::store::{Kept, Key};
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// What waits for the dependents of an object that is deleted in the foreground.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// What sets the dependents of an object free before it goes.
pub(crate) const ORPHAN: &str = "orphan";

/// How a deletion is meant: the DeleteOptions of body and query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    grace: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Options {
    pub(crate) fn of(query: &Query, body: &Value) -> Outcome<Self> {
        let said = |field: &str| {
            let in_body = body.get(field).and_then(Value::as_str);
            in_body.or_else(|| query.get(field)).map(str::to_owned)
        };
        let called = (text(body, "apiVersion"), text(body, "kind"));
        if !called.1.is_empty() && called.1 != "DeleteOptions" {
            return Err(Refusal::internal(format!(
                "no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:110\"",
                called.1, called.0
            )));
        }
        let mut causes = Vec::new();
        let propagation = match said("propagationPolicy").as_deref() {
            None if body.get("orphanDependents") == Some(&json!(true)) => Some(Propagation::Orphan),
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let cause = Cause::not_supported(
                    "propagationPolicy",
                    &json!(other),
                    &["Foreground", "Background", "Orphan", "nil"],
                );
                causes.push(cause);
                None
            }
        };
        if let (Some(policy), Some(_)) = (said("propagationPolicy"), body.get("orphanDependents")) {
            causes.push(Cause::invalid(
                "propagationPolicy",
                &json!(policy),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let in_body = list(body, "dryRun").iter().filter_map(Value::as_str);
        let dry_run = options::dry_run(in_body.chain(query.get("dryRun")), &mut causes);
        options::refused("DeleteOptions", &causes)?;
        Ok(Self {
            dry_run,
            grace: int(body, "gracePeriodSeconds").or(query.number("gracePeriodSeconds")?),
            propagation,
            uid: get(body, "preconditions.uid")
                .and_then(Value::as_str)
                .map(str::to_owned),
            version: get(body, "preconditions.resourceVersion")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }

    /// As controllers delete pods.
    pub(crate) fn background() -> Self {
        Self {
            propagation: Some(Propagation::Background),
            ..Self::default()
        }
    }

    /// As the collector deletes what an object in foreground deletion waits for.
    pub(crate) fn foreground() -> Self {
        Self {
            propagation: Some(Propagation::Foreground),
            ..Self::default()
        }
    }

    /// In the background, and only the object that was seen.
    pub(crate) fn of_uid(uid: &str) -> Self {
        Self {
            uid: Some(uid.to_owned()),
            ..Self::background()
        }
    }
}

/// What a deletion came to.
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Kept),
    /// It is marked, and goes when what holds it lets it.
    Marked(Kept),
}

pub(crate) fn delete(cluster: &mut Cluster, kind: &Kind, key: &Key, options: &Options) -> Outcome<Deleted> {
    let old = cluster
        .store
        .get(key)
        .cloned()
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    preconditions(kind, &key.name, &old, options)?;
    if kind.resource().as_ref() == "namespaces"
        && matches!(&*key.name, "default" | "kube-system" | "kube-public")
    {
        return Err(Refusal::forbidden(
            kind,
            &key.name,
            "this namespace may not be deleted",
        ));
    }
    let managers = cluster.store.managers(key);
    let kept = |object, managers| Kept::new(Arc::new(object), managers);
    let mut object = Value::clone(&old);
    let grace = grace(kind, &old, options);
    let mut finalizers: Vec<Value> = list(&old, "metadata.finalizers").to_vec();
    // Jobs are from before there was garbage collection: without a word, their pods stay.
    let unsaid = (&*kind.resource() == "jobs.batch").then_some(Propagation::Orphan);
    match options.propagation.or(unsaid) {
        Some(Propagation::Foreground) => hold(&mut finalizers, FOREGROUND, ORPHAN),
        Some(Propagation::Orphan) => hold(&mut finalizers, ORPHAN, FOREGROUND),
        Some(Propagation::Background) => finalizers.retain(|each| each != FOREGROUND && each != ORPHAN),
        None => {}
    }
    let held = !finalizers.is_empty() || kind.resource().as_ref() == "namespaces" || grace > 0;
    if !held {
        if &*kind.resource() == "pods" {
            mark(&mut object, &old, grace, cluster.now);
        }
        if !options.dry_run {
            cluster.erase(key);
        }
        return Ok(Deleted::Gone(kept(object, managers)));
    }
    if !finalizers.is_empty() || !list(&old, "metadata.finalizers").is_empty() {
        set(&mut object, "metadata.finalizers", finalizers);
    }
    let shorter = int(&old, "metadata.deletionGracePeriodSeconds").is_none_or(|left| grace < left);
    if !terminating(&old) || shorter {
        mark(&mut object, &old, grace, cluster.now);
    }
    if kind.resource().as_ref() == "namespaces" {
        set(&mut object, "status.phase", "Terminating");
        object["metadata"]
            .as_object_mut()
            .map(|metadata| metadata.remove("deletionGracePeriodSeconds"));
    }
    if options.dry_run || object == *old {
        return Ok(Deleted::Marked(kept(object, managers)));
    }
    Ok(Deleted::Marked(cluster.place(key, object, managers)))
}

/// Writes down that the object is to go, and when.
fn mark(object: &mut Value, old: &Value, grace: i64, now: Timestamp) {
    let ends = now + SignedDuration::from_secs(grace);
    set(object, "metadata.deletionTimestamp", time::seconds(ends));
    set(object, "metadata.deletionGracePeriodSeconds", grace);
    if let Some(generation) = int(old, "metadata.generation").filter(|_| !terminating(old)) {
        set(object, "metadata.generation", generation + 1);
    }
}

/// How long a pod has; everything else goes at once.
fn grace(kind: &Kind, old: &Value, options: &Options) -> i64 {
    if kind.resource().as_ref() != "pods" {
        return 0;
    }
    let finished = matches!(text(old, "status.phase"), "Succeeded" | "Failed");
    if finished || text(old, "spec.nodeName").is_empty() {
        return 0;
    }
    options
        .grace
        .or_else(|| int(old, "spec.terminationGracePeriodSeconds"))
        .unwrap_or(30)
        .max(0)
}

fn hold(finalizers: &mut Vec<Value>, with: &str, instead_of: &str) {
    finalizers.retain(|each| each != instead_of);
    if !finalizers.iter().any(|each| each == with) {
        finalizers.push(with.into());
    }
}

fn preconditions(kind: &Kind, name: &str, old: &Value, options: &Options) -> Outcome<()> {
    let uid = text(old, "metadata.uid");
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        return Err(Refusal::precondition(
            kind,
            name,
            &format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ));
    }
    let version = text(old, "metadata.resourceVersion");
    if let Some(wanted) = options.version.as_deref().filter(|wanted| *wanted != version) {
        return Err(Refusal::precondition(
            kind,
            name,
            &format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ),
        ));
    }
    Ok(())
}
