//! A node with containers: bridge, containerd, kubelet, kube-proxy, CoreDNS, and that nothing of them is left afterwards. Makes no images.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::control_plane::Ports;
use super::network::{self, Network};
use super::{NodeKind, Record, images, record};
use crate::failure::{Failure, Outcome, doing};
use crate::{debian, process, programs};

/// The node's name; its kubeconfig carries the same.
const NODE: &str = "astern-1";

/// One such bridge at a time: with fixed ranges, two of these clusters cannot stand side by side.
const BRIDGE: &str = "astern0";

/// A UNIX socket's path may have 107 bytes; containerd and kubelet put theirs beneath the cluster's folder.
const LONGEST_FOLDER: usize = 60;

const CNI_NETWORK: &str = "astern-cluster";

/// containerd's ids are 32 random bytes in hexadecimal.
const SANDBOX_ID_LENGTH: usize = 64;

/// Where Debian's package puts the programs that connect a container.
const CNI_PROGRAMS: &str = "/usr/lib/cni";

const CONTAINERD_DEADLINE: Duration = Duration::from_secs(30);

/// What the machine needs, and whether another such node is in the way.
pub(crate) fn prepare(folder: &Path) -> Outcome {
    network::require_root("a node with containers")?;
    if folder.as_os_str().len() > LONGEST_FOLDER {
        return Err(Failure::new(format!(
            "{} is too long for the sockets beneath it",
            folder.display()
        ))
        .next("set ASTERN_CLUSTER_DIR to a shorter path, such as /tmp/astern-real"));
    }
    debian::ensure(&[
        debian::CONTAINERD,
        debian::RUNC,
        debian::CNI,
        debian::IPROUTE,
        debian::NFTABLES,
        debian::MOUNT,
    ])?;
    free_bridge()?;
    programs::ensure(&[programs::KUBELET, programs::PROXY, programs::DNS])
}

/// A cluster that ended without `down` (its processes were killed, or the machine's session ended) leaves its bridge; one
/// that runs needs it. The bridge's alias names the folder of the cluster that made it.
fn free_bridge() -> Outcome {
    let sysfs = Path::new("/sys/class/net").join(BRIDGE);
    let Ok(alias) = std::fs::read_to_string(sysfs.join("ifalias")) else {
        return Ok(());
    };
    let listening = [
        "-H",
        "-l",
        "-t",
        "-n",
        "src",
        Network::of(NodeKind::Real).api_address,
    ];
    if !process::read(Command::new("ss").args(listening))?
        .trim()
        .is_empty()
    {
        return Err(Failure::new(format!(
            "the interface {BRIDGE} is in use: another cluster with a real node is up ({})",
            alias.trim()
        ))
        .next("cargo xtask cluster down --node real, in its checkout"));
    }
    eprintln!(
        "clearing what a cluster with a real node left behind ({})",
        alias.trim()
    );
    let folder = Path::new(alias.trim());
    if folder.is_dir() {
        let _one_at_a_time = record::lock(folder)?;
        if let Some(record) = Record::read(folder)? {
            super::take_down(&record)?;
        }
    }
    if sysfs.exists() {
        network::ip(&["link", "del", BRIDGE])?;
    }
    Ok(())
}

/// The bridge whose address the API server and the kubelet listen on: it comes before both.
pub(crate) fn connect(record: &mut Record, network: &Network) -> Outcome {
    let (_, bits) = network.pods.split_once('/').unwrap_or_default();
    record.will_undo(&["ip", "link", "del", BRIDGE])?;
    network::ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    network::ip(&[
        "link",
        "set",
        BRIDGE,
        "alias",
        &record.folder().display().to_string(),
    ])?;
    network::ip(&[
        "addr",
        "add",
        &format!("{}/{bits}", network.api_address),
        "dev",
        BRIDGE,
    ])?;
    network::ip(&["link", "set", BRIDGE, "up"])?;
    // The route into nothing would refuse a connection before kube-proxy sees it; on the bridge an address that no
    // Service has goes unanswered.
    network::ip(&["route", "add", network.services, "dev", BRIDGE])?;
    forward_packets(record)
}

/// Starts containerd, kubelet, kube-proxy and CoreDNS; the API server must be ready.
pub(crate) fn start(record: &mut Record, network: &Network, ports: &Ports) -> Outcome {
    write_configuration(record, network, ports)?;
    // Every registry is behind a closed port: a missing image fails at once, and no name leaves the machine.
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY"].map(|name| format!("{name}=http://127.0.0.1:9"));
    let containerd = [
        "/usr/bin/containerd".to_owned(),
        format!("--config={}", record.path("containerd.toml")),
    ];
    record.start(
        "containerd",
        Path::new("/usr/bin/env"),
        &[proxies, containerd].concat(),
    )?;
    process::wait_until("containerd", CONTAINERD_DEADLINE, || {
        Ok(process::read(ctr(record).arg("version")).is_ok())
    })
    .map_err(|failure| failure.log(&record.log("containerd")))?;
    images::import_pause(record)?;
    let kubelet_flags = [
        format!("--config={}", record.path("kubelet.yaml")),
        format!("--kubeconfig={}", record.path("node.kubeconfig")),
        format!("--hostname-override={NODE}"),
        // Loopback is refused, and a node without an address cannot be asked for logs.
        format!("--node-ip={}", network.api_address),
        format!("--root-dir={}", record.path("kubelet")),
        format!("--cert-dir={}", record.path("kubelet-pki")),
    ];
    record.start("kubelet", &programs::KUBELET.path(), &kubelet_flags)?;
    for family in ["ip", "ip6"] {
        record.will_undo(&["nft", "delete", "table", family, "kube-proxy"])?;
    }
    let proxy_flags = [format!("--config={}", record.path("kube-proxy.yaml"))];
    record.start("kube-proxy", &programs::PROXY.path(), &proxy_flags)?;
    let dns_flags = [format!("-conf={}", record.path("Corefile"))];
    record.start("coredns", &programs::DNS.path(), &dns_flags)
}

/// Ends every container and takes away what they held. Also after a containerd that died.
pub(crate) fn clear(record: &Record) -> Outcome {
    for name in ["kube-proxy", "kubelet"] {
        end(record, name)?;
    }
    let running = process::read(ctr(record).args(["tasks", "list", "--quiet"])).unwrap_or_default();
    let running: Vec<&str> = running.split_whitespace().collect();
    if !running.is_empty() {
        drop(process::read(
            ctr(record).args(["tasks", "delete", "--force"]).args(running),
        ));
    }
    end(record, "containerd")?;
    end_what_containerd_left(record);
    unmount_beneath(record.folder());
    remove_log_links(record.folder());
    remove_network_results(record.folder());
    remove_cgroups();
    Ok(())
}

/// containerd's own client, on this cluster's socket, in the namespace that the kubelet uses.
pub(crate) fn ctr(record: &Record) -> Command {
    let mut command = Command::new("ctr");
    command.args(["--address", &socket(record), "--namespace", "k8s.io"]);
    command
}

fn socket(record: &Record) -> String {
    record.path("containerd.sock")
}

/// Pods are reached through the bridge only when the kernel forwards; the machine's own setting comes back at the end.
fn forward_packets(record: &mut Record) -> Outcome {
    const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";
    let before = std::fs::read_to_string(SWITCH).map_err(doing(format!("read {SWITCH}")))?;
    if before.trim() == "1" {
        return Ok(());
    }
    record.will_undo(&["sh", "-c", &format!("echo {} > {SWITCH}", before.trim())])?;
    std::fs::write(SWITCH, "1").map_err(doing(format!("write {SWITCH}")))
}

fn write_configuration(record: &Record, network: &Network, ports: &Ports) -> Outcome {
    record.write_file("containerd.toml", &containerd_configuration(record))?;
    record.write_file("kubelet.yaml", &kubelet_configuration(record, network))?;
    record.write_file("kube-proxy.yaml", &proxy_configuration(record, network, ports))?;
    record.write_file("Corefile", &dns_configuration(record, network))?;
    let folder = record.folder().join("cni");
    let file = folder.join("10-astern.conflist");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&file, cni_configuration(record, network)))
        .map_err(doing(format!("write {}", file.display())))
}

fn containerd_configuration(record: &Record) -> String {
    let pause = images::PAUSE;
    let at = |name: &str| record.path(name);
    format!(
        "version = 2\nroot = '{}'\nstate = '{}'\n\
         disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.snapshotter.v1.btrfs', \
         'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.devmapper', 'io.containerd.snapshotter.v1.aufs']\n\
         [grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}.ttrpc'\n\
         [plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{pause}'\n\
         # Without CAP_SYS_RESOURCE every sandbox would otherwise fail with \"can't get final child's PID from pipe\".\n\
         restrict_oom_score_adj = true\nnetns_mounts_under_state_dir = true\n\
         stream_server_address = '127.0.0.1'\nstream_server_port = '0'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'overlayfs'\ndefault_runtime_name = 'runc'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]\nRoot = '{}'\nSystemdCgroup = false\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '{CNI_PROGRAMS}'\nconf_dir = '{}'\n\
         ",
        at("containerd-root"),
        at("containerd"),
        socket(record),
        socket(record),
        at("runc"),
        at("cni"),
    )
}

fn cni_configuration(record: &Record, network: &Network) -> String {
    // No default route: a pod reaches pods and Services, and nothing beyond the machine.
    let plugin = serde_json::json!({
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": true,
        "ipMasq": false,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": record.path("addresses"),
            "ranges": [[{ "subnet": network.pods, "gateway": network.api_address }]],
            "routes": [{ "dst": network.services }],
        },
    });
    serde_json::json!({ "cniVersion": "0.4.0", "name": CNI_NETWORK, "plugins": [plugin] }).to_string()
}

fn kubelet_configuration(record: &Record, network: &Network) -> String {
    serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.api_address,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": record.path("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": format!("unix://{}", socket(record)),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "clusterDNS": [network.api_address],
        "clusterDomain": "cluster.local",
        "podLogsDir": record.path("pod-logs"),
        "volumePluginDir": record.path("volume-plugins"),
        "makeIPTablesUtilChains": false,
        "serializeImagePulls": false,
        // A test machine's disk may be nearly full; that is no reason to evict the pods under test or their images.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    })
    .to_string()
}

fn proxy_configuration(record: &Record, network: &Network, ports: &Ports) -> String {
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "bindAddress": network.api_address,
        "healthzBindAddress": format!("127.0.0.1:{}", ports.node),
        "metricsBindAddress": format!("127.0.0.1:{}", ports.metrics),
        "clientConnection": { "kubeconfig": record.path("kube-proxy.kubeconfig") },
        "clusterCIDR": network.pods,
        "detectLocalMode": "ClusterCIDR",
        "nodePortAddresses": [network.pods],
        // Pods are neighbours on one bridge: without masquerading the answer to a Service call takes the short way
        // round the kernel's translation wherever bridged packets are not shown to the firewall.
        "nftables": { "masqueradeAll": true },
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
    .to_string()
}

/// Names of the cluster, on the bridge's address; of every other name it says that there is none, so that no question
/// leaves the machine.
fn dns_configuration(record: &Record, network: &Network) -> String {
    let address = network.api_address;
    let kubeconfig = record.path("coredns.kubeconfig");
    let context = record.context();
    format!(
        "cluster.local in-addr.arpa {{\n  bind {address}\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    \
         kubeconfig {kubeconfig} {context}\n    ttl 5\n  }}\n}}\n\
         . {{\n  bind {address}\n  template ANY ANY . {{\n    rcode NXDOMAIN\n  }}\n}}\n"
    )
}

fn end(record: &Record, name: &str) -> Outcome {
    record
        .processes
        .iter()
        .filter(|process| process.name == name)
        .try_for_each(process::Running::end)
}

/// Containers outlive a containerd that was killed; runc knows them by its own folder, shims name our socket.
fn end_what_containerd_left(record: &Record) {
    let root = record.folder().join("runc").join("k8s.io");
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        let mut runc = Command::new("runc");
        runc.arg("--root")
            .arg(&root)
            .args(["delete", "--force"])
            .arg(entry.file_name());
        drop(process::read(&mut runc));
    }
    for pid in process::with_argument(&socket(record)) {
        process::signal(pid, "KILL");
    }
    // A shim that is killed leaves its socket in a folder that all containerds share; its address is in the bundle.
    let bundles = record
        .folder()
        .join("containerd/io.containerd.runtime.v2.task/k8s.io");
    for entry in std::fs::read_dir(bundles).into_iter().flatten().flatten() {
        let address = std::fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://") {
            drop(std::fs::remove_file(socket));
        }
    }
}

/// Overlays of containers, volumes, network namespaces: all lie beneath the cluster's folder.
fn unmount_beneath(folder: &Path) {
    /// proc(5): the mount point is the fifth field of a line.
    const MOUNT_POINT: usize = 4;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(MOUNT_POINT));
    let ours: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(folder) && Path::new(point) != folder)
        .collect();
    // Later mounts lie on earlier ones.
    for point in ours.iter().rev() {
        drop(process::read(Command::new("umount").args(["--lazy", point])));
    }
}

/// The kubelet links every container's log into a folder of the machine.
fn remove_log_links(folder: &Path) {
    for entry in std::fs::read_dir("/var/log/containers")
        .into_iter()
        .flatten()
        .flatten()
    {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(folder)) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// containerd's network library remembers each sandbox in a folder that the whole machine shares. Which sandboxes were
/// ours, the files of the addresses tell: each holds the id of its owner.
fn remove_network_results(folder: &Path) {
    let addresses = folder.join("addresses").join(CNI_NETWORK);
    let results = Path::new("/var/lib/cni/results");
    for address in std::fs::read_dir(addresses).into_iter().flatten().flatten() {
        let Ok(content) = std::fs::read_to_string(address.path()) else {
            continue;
        };
        let Some(sandbox) = content.lines().next().filter(|id| id.len() == SANDBOX_ID_LENGTH) else {
            continue;
        };
        for file in [
            format!("cni-loopback-{sandbox}-lo"),
            format!("{CNI_NETWORK}-{sandbox}-eth0"),
        ] {
            drop(std::fs::remove_file(results.join(file)));
        }
    }
    // Only when empty.
    drop(std::fs::remove_dir(results));
    drop(results.parent().map(std::fs::remove_dir));
}

/// The kubelet's groups, one tree under each controller. A group that holds a process cannot be removed, so this
/// takes nothing from anybody.
fn remove_cgroups() {
    let controllers = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let trees = controllers.map(|entry| entry.path().join("kubepods"));
    for tree in trees.chain([Path::new("/sys/fs/cgroup/kubepods").to_owned()]) {
        remove_empty(&tree);
    }
}

fn remove_empty(tree: &Path) {
    for entry in std::fs::read_dir(tree).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    drop(std::fs::remove_dir(tree));
}
