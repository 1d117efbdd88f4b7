//! Nodes and pods without containers: kwok's flags, the nodes. What they do lies in `stages`, what they say in `logs`; knows nothing of the control plane.

mod logs;
mod stages;

use super::control_plane::Ports;
use super::network::Network;
use super::{Kubectl, Record};
use crate::failure::Outcome;
use crate::programs;

/// More than any measurement spreads its pods over; kwok itself would take thousands.
pub(crate) const MOST_NODES: u32 = 250;

/// All nodes have kwok's server as their kubelet: it answers for the logs of every pod.
const ADDRESS: &str = "127.0.0.1";

/// kwok manages only nodes with this annotation, so that a real node may stand beside them.
const MANAGED: &str = "kwok.x-k8s.io/node";

pub(crate) fn start(record: &mut Record, network: &Network, ports: &Ports) -> Outcome {
    let said = record.write_file("pods.log", logs::NOW)?;
    let said_before = record.write_file("pods.previous.log", logs::PREVIOUS)?;
    let configuration = stages::document() + &logs::document(&said, &said_before);
    let configuration = record.write_file("stages.yaml", &configuration)?;
    let flags = [
        format!("--kubeconfig={}", record.path("kwok.kubeconfig")),
        format!("--config={}", configuration.display()),
        String::from("--manage-all-nodes=false"),
        format!("--manage-nodes-with-annotation-selector={MANAGED}=fake"),
        String::from("--node-lease-duration-seconds=40"),
        format!("--cidr={}", network.pods),
        format!("--server-address={ADDRESS}:{}", ports.node),
        format!("--node-ip={ADDRESS}"),
        format!("--node-port={}", ports.node),
    ];
    record.start("kwok", &programs::KWOK_CONTROLLER.path(), &flags)
}

/// Nodes `kwok-1` to `kwok-N`; those that exist stay as they are.
pub(crate) fn add_nodes(kubectl: &Kubectl, nodes: u32) -> Outcome {
    let there = kubectl.read(&["get", "nodes", "-o", "name"])?;
    let missing: Vec<u32> = (1..=nodes)
        .filter(|number| !there.lines().any(|line| line == format!("node/kwok-{number}")))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("adding {} kwok nodes", missing.len());
    kubectl.apply(&missing.into_iter().map(node).collect::<String>())
}

fn node(number: u32) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: kwok-{number}\n  \
         annotations:\n    {MANAGED}: fake\n    kwok.astern.dev/address: {ADDRESS}\n  \
         labels:\n    type: kwok\n    kubernetes.io/hostname: kwok-{number}\n    \
         kubernetes.io/os: linux\n    kubernetes.io/arch: amd64\n"
    )
}
