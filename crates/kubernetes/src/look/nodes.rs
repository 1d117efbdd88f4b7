//! Nodes: whether one answers, and which images it has. Reading nodes is a cluster-wide right that many do not have.

use super::fetch::{Collection, Part, get, list};
use super::placement::{Ground, Placement};
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use std::collections::BTreeSet;

/// So many images a kubelet tells at most. Source: kubelet's `nodeStatusMaxImages`.
const MAX_IMAGES: usize = 50;
/// So many doubtful nodes are looked at; with more of them lost than this, the cluster itself is the matter.
const MAX_DOUBTFUL: usize = 16;
/// The taint of a node that does not answer. Source: the node lifecycle controller.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Which of these nodes do not answer, and what could not be read, as sentences.
pub(super) async fn lost(client: &Client, doubtful: &BTreeSet<String>) -> (BTreeSet<String>, Vec<String>) {
    let reads = doubtful.iter().take(MAX_DOUBTFUL).map(|name| async move {
        let attempt = Attempt::new(Verb::Get, "nodes", format!("read node {name}"));
        (
            name,
            get::<Node>(client, "/api/v1/nodes", name, Part::Whole, &attempt).await,
        )
    });
    let mut lost = BTreeSet::new();
    let mut unread = Vec::new();
    for (name, read) in futures::future::join_all(reads).await {
        match read {
            Ok(node) if is_lost(&node) => {
                lost.insert(name.clone());
            }
            Ok(_) => {}
            // A node that was removed takes its pods along; until these are collected, nobody answers for them.
            Err(failure) if failure.class == FailureClass::Permanent => {
                lost.insert(name.clone());
            }
            Err(failure) => unread.push(format!(
                "whether node {name} answers could not be read: {}",
                failure.message
            )),
        }
    }
    if doubtful.len() > MAX_DOUBTFUL {
        unread.push(format!(
            "{} further nodes with pods that contradict themselves were not looked at",
            doubtful.len() - MAX_DOUBTFUL
        ));
    }
    (lost, unread)
}

fn is_lost(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
        || taints.into_iter().any(|taint| taint.key == UNREACHABLE)
}

/// What a node tells of its images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeImages {
    ground: Ground,
    names: BTreeSet<String>,
    images: usize,
}

impl NodeImages {
    fn of(node: Node) -> Self {
        let ground = Ground::of(&node);
        let listed = node.status.and_then(|status| status.images).unwrap_or_default();
        Self {
            ground,
            images: listed.len(),
            names: listed
                .into_iter()
                .flat_map(|image| image.names.unwrap_or_default())
                .collect(),
        }
    }
}

/// The images of all nodes.
///
/// # Errors
/// Mostly a missing right.
pub(super) async fn images(client: &Client) -> Result<Vec<NodeImages>, Failure> {
    let nodes = Collection::cluster("api/v1", "nodes");
    Ok(list(client, &nodes, Part::Whole, NodeImages::of).await?.items)
}

/// Where an image was found, or why that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// A node that the pods may go to has it.
    Yes,
    /// No node has it that the pods may go to, and each of them told of all its images.
    Nowhere,
    /// It cannot be told.
    Unknown(String),
}

/// Looks for an image on the nodes that the pods may go to.
pub(super) fn listed(nodes: &[NodeImages], image: &str, placement: &Placement) -> Listed {
    let wanted = canonical(image);
    let may_go = |node: &&NodeImages| placement.allows(&node.ground);
    let candidates: Vec<&NodeImages> = nodes.iter().filter(may_go).collect();
    if candidates.iter().any(|node| node.names.contains(&wanted)) {
        return Listed::Yes;
    }
    if candidates.is_empty() {
        return Listed::Unknown(
            "no schedulable node matches the template's node selector, affinity and tolerations".to_owned(),
        );
    }
    let full = candidates.iter().filter(|node| node.images >= MAX_IMAGES).count();
    if full == 0 {
        return Listed::Nowhere;
    }
    Listed::Unknown(format!(
        "no node lists it, but {full} of {} tell {MAX_IMAGES} images, which is all that a node tells; the registry was not asked",
        candidates.len()
    ))
}

/// An image as a node lists it: with host and path, with a tag, or with a digest instead. Source:
/// `distribution/reference`, `ParseNormalizedNamed`.
fn canonical(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let path_end = rest.rfind('/').map_or(0, |slash| slash + 1);
    let colon = rest[path_end..].find(':').map(|at| path_end + at);
    match (digest, colon) {
        (Some(digest), Some(colon)) => format!("{host}/{}@{digest}", &rest[..colon]),
        (Some(digest), None) => format!("{host}/{rest}@{digest}"),
        (None, Some(_)) => format!("{host}/{rest}"),
        (None, None) => format!("{host}/{rest}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::target::WorkloadKind;
    use astern_model::template::Template;
    use serde_json::{Value, json};

    #[test]
    fn an_image_is_looked_for_under_the_name_that_nodes_use() {
        let check = |written: &str, listed: &str| assert_eq!(canonical(written), listed);
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.27", "docker.io/library/nginx:1.27");
        check("team/api:v1", "docker.io/team/api:v1");
        check("host.test:5000/api", "host.test:5000/api:latest");
        check("host.test/a/api:v1@sha256:ab", "host.test/a/api@sha256:ab");
    }

    #[test]
    fn an_image_is_nowhere_only_where_each_node_that_may_have_it_told_of_all_its_images() {
        let ground = |json: Value| Ground::of(&serde_json::from_value(json).unwrap());
        let node = |zone: &str, names: &[&str], images: usize| NodeImages {
            ground: ground(json!({"metadata": {"labels": {"zone": zone}}})),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            images,
        };
        let placed = |spec: Value| {
            let template = Template::clean(json!({"spec": spec}));
            Placement::of(&template, WorkloadKind::Deployment).unwrap()
        };
        let in_zone = |zone: &str| placed(json!({"containers": [], "nodeSelector": {"zone": zone}}));
        let anywhere = placed(json!({"containers": []}));
        let nodes = [node("a", &["docker.io/library/api:v1"], 3), node("b", &[], 50)];
        assert_eq!(listed(&nodes, "api:v1", &anywhere), Listed::Yes);
        let tainted = [NodeImages {
            ground: ground(json!({"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}})),
            ..nodes[0].clone()
        }];
        assert_eq!(
            listed(
                &[&tainted[..], &[node("a", &[], 3)]].concat(),
                "api:v1",
                &anywhere
            ),
            Listed::Nowhere
        );
        let check = |image: &str, zone: &str, why: &str| match listed(&nodes, image, &in_zone(zone)) {
            Listed::Unknown(told) => assert!(told.contains(why), "{told}"),
            other => panic!("{image} in {zone}: {other:?}"),
        };
        assert_eq!(listed(&nodes, "api:v2", &in_zone("a")), Listed::Nowhere);
        check("api:v1", "b", "all that a node tells");
        check("api:v1", "c", "no schedulable node matches");
    }
}
