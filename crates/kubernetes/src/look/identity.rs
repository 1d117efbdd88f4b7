//! Which cluster this is and as whom it is seen: the head of every plan.

use super::fetch::{Part, get, post, raw};
use crate::connect::Connection;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::target::{Cluster, ClusterIdentity};
use serde_json::{Value, json};

/// The ConfigMap that every namespace holds. Source: kube-controller-manager's `root-ca-cert-publisher`.
const ROOT_CA: &str = "kube-root-ca.crt";

/// The cluster, and what of it could not be read, as sentences.
///
/// # Errors
/// When neither of the two objects that identify a cluster can be read.
pub(super) async fn identify(
    connection: &Connection,
    namespace: &str,
) -> Result<(Cluster, Vec<String>), Failure> {
    let (identity, user, version) = futures::join!(
        identity(connection, namespace),
        who_am_i(connection),
        version(connection)
    );
    let mut unread = Vec::new();
    let user = user.unwrap_or_else(|failure| {
        unread.push(format!(
            "the user's own name could not be read: {}",
            failure.message
        ));
        connection.user.clone().unwrap_or_else(|| "unknown".to_owned())
    });
    let version = version.unwrap_or_else(|failure| {
        unread.push(format!(
            "the API server's version could not be read: {}",
            failure.message
        ));
        "unknown".to_owned()
    });
    let cluster = Cluster {
        identity: identity?,
        context: connection.context.clone(),
        server: connection.server.clone(),
        user,
        version,
    };
    Ok((cluster, unread))
}

async fn identity(connection: &Connection, namespace: &str) -> Result<ClusterIdentity, Failure> {
    let client = &connection.client;
    let attempt = Attempt::new(
        Verb::Get,
        "namespaces",
        "read namespace kube-system to tell the cluster",
    );
    match get::<Value>(
        client,
        "/api/v1/namespaces",
        "kube-system",
        Part::Metadata,
        &attempt,
    )
    .await
    {
        Ok(found) => return Ok(ClusterIdentity::KubeSystem(uid(&found, &attempt)?)),
        Err(failure) if matches!(failure.class, FailureClass::Refused | FailureClass::Permanent) => {}
        Err(failure) => return Err(failure),
    }
    let operation = format!("read configmap/{ROOT_CA} in namespace {namespace} to tell the cluster");
    let attempt = Attempt::new(Verb::Get, "configmaps", operation);
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let found = get::<Value>(client, &path, ROOT_CA, Part::Metadata, &attempt)
        .await
        .map_err(|failure| match failure.class {
            FailureClass::Permanent => failure.hint(format!(
                "does namespace {namespace} exist? kubectl get namespaces"
            )),
            _ => failure,
        })?;
    Ok(ClusterIdentity::RootCa(uid(&found, &attempt)?))
}

pub(super) async fn who_am_i(connection: &Connection) -> Result<String, Failure> {
    let attempt = Attempt::new(Verb::Create, "selfsubjectreviews", "ask who the user is").without_effect();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = post(&connection.client, path, &review, false, &attempt).await?;
    text(&answer, "/status/userInfo/username").ok_or_else(|| attempt.unreadable())
}

async fn version(connection: &Connection) -> Result<String, Failure> {
    let attempt = Attempt::new(Verb::Get, "/version", "ask for the API server's version");
    let answer: Value = raw(&connection.client, "/version", &attempt).await?;
    text(&answer, "/gitVersion").ok_or_else(|| attempt.unreadable())
}

fn uid(object: &Value, attempt: &Attempt) -> Result<Uid, Failure> {
    text(object, "/metadata/uid")
        .map(Uid)
        .ok_or_else(|| attempt.unreadable())
}

fn text(json: &Value, pointer: &str) -> Option<String> {
    json.pointer(pointer)?.as_str().map(str::to_owned)
}
