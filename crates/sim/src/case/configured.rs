//! A platform whose bad release changed what its ConfigMaps and Secrets hold: which objects there are, who reads them, and the
//! release of the ledger that says what they held. Owns what was recorded; a run is given a ledger and a vault of its own with it.

use super::{NAMESPACE, begin};
use astern_app::ledger::{Recording, record};
use astern_journal::{MemoryLedger, MemoryVault};
use astern_model::content::ContentRef;
use astern_model::platform::Platform;
use astern_model::release::{Reason, ReleaseName};
use astern_port::ledger::Ledger as _;
use astern_port::vault::Vault as _;
use astern_rehearsal::Stage;
use astern_sandbox::{Cluster, Moment, Named, Patched};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So long before the run begins somebody recorded the release that ran then.
pub(super) const RECORDED: SignedDuration = SignedDuration::from_hours(1);
/// The key of every simulated vault: the same contents have the same names in each replay.
const VAULT_KEY: [u8; 32] = [7; 32];
/// What the Secret holds, then and now. No value of it may be in a journal.
pub(crate) const SECRETS: [&str; 2] = ["c2FpbGluZy1jYWxt", "c2FpbGluZy1zdG9ybQ=="];

/// What a ledger and its vault hold of the release that ran before.
pub(crate) struct Recorded {
    name: ReleaseName,
    standing: &'static str,
    entry: Vec<u8>,
    contents: Vec<(ContentRef, Vec<u8>)>,
    /// The ConfigMaps and Secrets as they were then, by path.
    pub(crate) then: BTreeMap<String, Arc<Value>>,
}

/// A ConfigMap or Secret of this platform.
pub(crate) struct Object {
    pub(crate) kind: &'static str,
    plural: &'static str,
    pub(crate) name: &'static str,
    /// What it held, and what the bad release made of it: none is a deletion.
    pub(crate) data: [Option<(&'static str, &'static str)>; 2],
    /// Whether the bad release made it immutable.
    fixed: bool,
}

/// Those that the release changed, and one that it left alone.
pub(crate) const OBJECTS: [Object; 5] = [
    Object {
        kind: "ConfigMap",
        plural: "configmaps",
        name: "app",
        data: [Some(("MODE", "calm")), Some(("MODE", "storm"))],
        fixed: false,
    },
    Object {
        kind: "Secret",
        plural: "secrets",
        name: "token",
        data: [Some(("TOKEN", SECRETS[0])), Some(("TOKEN", SECRETS[1]))],
        fixed: false,
    },
    Object {
        kind: "ConfigMap",
        plural: "configmaps",
        name: "limits",
        data: [Some(("MOST", "10")), Some(("MOST", "1"))],
        fixed: true,
    },
    Object {
        kind: "ConfigMap",
        plural: "configmaps",
        name: "flags",
        data: [Some(("BETA", "off")), None],
        fixed: false,
    },
    Object {
        kind: "ConfigMap",
        plural: "configmaps",
        name: "regions",
        data: [Some(("HOME", "eu")), Some(("HOME", "eu"))],
        fixed: false,
    },
];

impl Object {
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    pub(crate) fn collection(&self) -> String {
        format!("/api/v1/namespaces/{NAMESPACE}/{}", self.plural)
    }

    /// The object with this in it.
    pub(crate) fn holding(&self, (key, value): (&str, &str)) -> Value {
        json!({
            "apiVersion": "v1", "kind": self.kind,
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": {"team": "shop"}},
            "data": {key: value},
        })
    }
}

/// From which objects a workload takes its variables, by kind and name.
fn read_by(workload: &str) -> &'static [(&'static str, &'static str)] {
    match workload {
        "engine" => &[("configMapRef", "app"), ("secretRef", "token")],
        "gateway" => &[("configMapRef", "app"), ("configMapRef", "regions")],
        "reports" => &[("configMapRef", "flags"), ("secretRef", "token")],
        "worker" => &[("configMapRef", "app"), ("configMapRef", "limits")],
        _ => &[],
    }
}

/// A workload of this platform as its first version had it.
pub(super) fn reading(mut workload: Value) -> Value {
    let name = workload["metadata"]["name"].as_str().unwrap_or_default();
    let from: Vec<Value> = read_by(name)
        .iter()
        .map(|(kind, of)| json!({*kind: {"name": of}}))
        .collect();
    workload["spec"]["template"]["spec"]["containers"][0]["envFrom"] = Value::Array(from);
    workload
}

/// What there was at first.
pub(super) fn first() -> impl Iterator<Item = Value> {
    OBJECTS
        .iter()
        .filter_map(|object| Some(object.holding(object.data[0]?)))
}

/// What the bad release did to them: `limits` is immutable since; `flags` is pruned, and whoever read it does so no more.
pub(super) fn released(moment: &mut Moment) {
    for object in &OBJECTS {
        match object.data[1] {
            Some(data) if object.data[0] != Some(data) => {
                let mut released = object.holding(data);
                released["immutable"] = json!(object.fixed);
                moment.objects.push(released);
            }
            Some(_) => {}
            None => moment.delete.push(Named {
                api_version: "v1".to_owned(),
                kind: object.kind.to_owned(),
                namespace: NAMESPACE.to_owned(),
                name: object.name.to_owned(),
            }),
        }
    }
    let reports = |patched: &&mut Patched| patched.object.name == "reports";
    if let Some(reports) = moment.patch.iter_mut().find(reports) {
        reports.with["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
            json!([{"secretRef": {"name": "token"}}]);
    }
}

/// Records the release that runs on a cluster, as `astern releases record` does it.
pub(super) fn recorded(cluster: Cluster, platform: &Platform) -> Recorded {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| panic!("BUG: a runtime without I/O cannot fail to start: {error}"));
    runtime.block_on(recording(cluster, platform))
}

async fn recording(cluster: Cluster, platform: &Platform) -> Recorded {
    let then = OBJECTS.iter().map(|object| {
        let path = object.path();
        let stored = cluster.stored(&path).unwrap_or_default();
        (path, stored)
    });
    let then = then.collect();
    let vault = MemoryVault::with_key(VAULT_KEY);
    let stage = Stage::new(cluster, begin() - RECORDED, vault.clone());
    let ledger = Arc::new(MemoryLedger::default());
    let mut world = stage.world();
    world.ledger = ledger.clone();
    let recording = Recording {
        name: ReleaseName::parse("v1").unwrap_or_else(|error| panic!("BUG: {error}")),
        commit: None,
        by: None,
        good: Reason::new("it has served for two days"),
    };
    let release = record(&world, platform, &recording)
        .await
        .unwrap_or_else(|error| panic!("BUG: what is staged cannot be recorded: {error}"));
    let entry = ledger.read(&release.name).await.ok().flatten();
    let entry = entry.map(|entry| entry.bytes).unwrap_or_default();
    let kept = release.workloads.iter().map(|workload| &workload.content);
    let kept = kept.chain(release.config.iter().map(|config| &config.content));
    let mut contents = Vec::new();
    for reference in kept {
        let bytes = vault
            .get(reference)
            .await
            .unwrap_or_else(|failure| panic!("BUG: {failure}"));
        contents.push((reference.clone(), bytes));
    }
    Recorded {
        name: release.name,
        standing: release.standing.word(),
        entry,
        contents,
        then,
    }
}

/// A vault with nothing in it.
pub(crate) fn vault() -> MemoryVault {
    MemoryVault::with_key(VAULT_KEY)
}

impl Recorded {
    /// The ledger of one run, whose contents lie in `vault` then.
    pub(crate) async fn ledger(&self, vault: &MemoryVault) -> MemoryLedger {
        for (reference, bytes) in &self.contents {
            vault.hold(reference.clone(), bytes.clone());
        }
        let ledger = MemoryLedger::default();
        if let Err(error) = ledger.add(&self.name, self.standing, &self.entry).await {
            panic!("BUG: an empty ledger refuses an entry: {error:?}");
        }
        ledger
    }
}
