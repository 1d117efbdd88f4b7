//! etcd, API server, controller manager, scheduler: their flags and their order. Knows nothing of nodes.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use super::network::Network;
use super::{Kubectl, NodeKind, Record};
use crate::failure::{Failure, Outcome};
use crate::{process, programs};

/// Raised client limits, for measuring: the default of 20 requests a second makes 50 rollouts take over a minute and
/// hides every difference between the tools that are compared.
const CONTROLLER_MANAGER_RAISED: [&str; 4] = [
    "--kube-api-qps=500",
    "--kube-api-burst=1000",
    "--concurrent-deployment-syncs=20",
    "--concurrent-replicaset-syncs=20",
];
const SCHEDULER_RAISED: [&str; 2] = ["--kube-api-qps=500", "--kube-api-burst=1000"];

/// Who asked for what: the least-privilege tests read it. The cluster's own parts are left out, because they ask
/// hundreds of times as often and nobody tests them.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users:
  - system:apiserver
  - system:argocd
  - system:coredns
  - system:flux
  - system:keda
  - system:kube-controller-manager
  - system:kube-proxy
  - system:kube-scheduler
  - system:kwok
- level: None
  userGroups: [system:nodes]
- level: Metadata
";

/// Ports are tried from here on: below the range that the kernel hands out for connections.
const FIRST_PORT: u16 = 20_000;
const PORTS_TRIED: u16 = 10_000;

pub(crate) struct Ports {
    pub(crate) api: u16,
    /// For what runs the nodes: kwok's server, or kube-proxy's health.
    pub(crate) node: u16,
    pub(crate) metrics: u16,
    etcd: u16,
    etcd_peer: u16,
}

impl Ports {
    pub(crate) fn free(api_address: &str) -> Outcome<Self> {
        let [api, node, metrics, etcd, etcd_peer] = free_ports(api_address)?;
        Ok(Self {
            api,
            node,
            metrics,
            etcd,
            etcd_peer,
        })
    }
}

/// Ports that nobody listens on, neither on loopback nor on this address.
pub(crate) fn free_ports<const COUNT: usize>(address: &str) -> Outcome<[u16; COUNT]> {
    let start = u16::try_from(std::process::id() % u32::from(PORTS_TRIED)).unwrap_or_default();
    // Where the search begins depends on our pid, so that two clusters that start at once do not meet.
    let found: Vec<u16> = (0..PORTS_TRIED)
        .map(|step| FIRST_PORT + (start + step) % PORTS_TRIED)
        .filter(|port| is_free("127.0.0.1", *port) && is_free(address, *port))
        .take(COUNT)
        .collect();
    found.try_into().map_err(|_| {
        Failure::new("no free ports between 20000 and 30000").next("ss -ltnp shows who listens there")
    })
}

/// Starts etcd and the API server; the latter waits for the former by itself.
pub(crate) fn start(record: &mut Record, network: &Network, ports: &Ports) -> Outcome {
    let etcd = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    let etcd_flags = [
        format!("--data-dir={}", record.path("etcd")),
        format!("--listen-client-urls={etcd}"),
        format!("--advertise-client-urls={etcd}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data is thrown away at the end; waiting for the disk would only slow the tests.
        String::from("--unsafe-no-fsync"),
        String::from("--log-level=warn"),
    ];
    record.start("etcd", &programs::ETCD_SERVER.path(), &etcd_flags)?;
    record.write_file("audit-policy.yaml", AUDIT_POLICY)?;
    drop(std::fs::remove_file(record.audit_log()));
    let flags = api_server_flags(record, network, ports, &etcd);
    record.start("kube-apiserver", &programs::API_SERVER.path(), &flags)
}

pub(crate) fn wait_for_api(record: &Record, kubectl: &Kubectl, deadline: Duration) -> Outcome {
    let log = record.log("kube-apiserver");
    process::wait_until("the API server", deadline, || {
        record.all_alive()?;
        Ok(kubectl.ready())
    })
    .map_err(|failure| failure.log(&log))?;
    Ok(())
}

/// Starts controller manager and scheduler; the API server must be ready.
pub(crate) fn start_controllers(record: &mut Record, fast: bool) -> Outcome {
    let raised = |flags: &[&str]| {
        flags
            .iter()
            .filter(|_| fast)
            .map(|flag| (*flag).to_owned())
            .collect::<Vec<_>>()
    };
    let common = |record: &Record, name: &str| {
        vec![
            format!("--kubeconfig={}", record.path(&format!("{name}.kubeconfig"))),
            String::from("--leader-elect=false"),
            // Nobody asks them for their metrics; a closed port needs no certificate.
            String::from("--secure-port=0"),
        ]
    };
    let name = "kube-controller-manager";
    let mut flags = common(record, name);
    flags.push(format!(
        "--service-account-private-key-file={}",
        record.path("service-account.key")
    ));
    flags.push(format!("--root-ca-file={}", record.path("ca.crt")));
    // A machine that is busy building must not make nodes look lost in the middle of a test.
    flags.push(String::from("--node-monitor-grace-period=10m"));
    flags.extend(raised(&CONTROLLER_MANAGER_RAISED));
    record.start(name, &programs::CONTROLLER_MANAGER.path(), &flags)?;
    let name = "kube-scheduler";
    let mut flags = common(record, name);
    flags.extend(raised(&SCHEDULER_RAISED));
    record.start(name, &programs::SCHEDULER.path(), &flags)
}

fn api_server_flags(record: &Record, network: &Network, ports: &Ports, etcd: &str) -> Vec<String> {
    let mut flags = vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={}", ports.api),
        format!("--bind-address={}", network.api_address),
        format!("--advertise-address={}", network.api_address),
        format!("--tls-cert-file={}", record.path("server.crt")),
        format!("--tls-private-key-file={}", record.path("server.key")),
        format!(
            "--service-account-key-file={}",
            record.path("service-account.key")
        ),
        format!(
            "--service-account-signing-key-file={}",
            record.path("service-account.key")
        ),
        String::from("--service-account-issuer=https://kubernetes.default.svc"),
        format!("--token-auth-file={}", record.path("tokens.csv")),
        String::from("--authorization-mode=Node,RBAC"),
        format!("--service-cluster-ip-range={}", network.services),
        String::from("--allow-privileged=true"),
        String::from("--kubelet-preferred-address-types=InternalIP"),
        format!(
            "--kubelet-client-certificate={}",
            record.path("kubelet-client.crt")
        ),
        format!("--kubelet-client-key={}", record.path("kubelet-client.key")),
        format!("--audit-policy-file={}", record.path("audit-policy.yaml")),
        format!("--audit-log-path={}", record.audit_log().display()),
        // In MiB: a test reads the log as one file, so it must not be rotated under its eyes.
        String::from("--audit-log-maxsize=4096"),
        String::from("--profiling=false"),
    ];
    if record.kind == NodeKind::Kwok {
        // No pod can reach it, and an endpoint on loopback is refused.
        flags.push(String::from("--endpoint-reconciler-type=none"));
    }
    flags
}

fn is_free(address: &str, port: u16) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    // Before the bridge is there, nobody can listen on its address.
    !TcpListener::bind((address, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}
