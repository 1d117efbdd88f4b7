//! Releases for a measurement, and astern's reading of them: `fill NAMESPACE RELEASES REVISIONS KIB` writes records as Helm
//! does, `one NAMESPACE RELEASE` reads one release as a plan does, `all NAMESPACE` lists every one.

use astern_helm::{Helm, Program};
use astern_kubernetes::connect::{ConnectOptions, connect};
use astern_model::content::ContentRef;
use astern_model::login::LoginProbe;
use astern_port::clock::Clock;
use astern_port::logins::{Logins, NoLogin};
use astern_port::releases::{Depth, Releases};
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Requests at a time.
const AT_A_TIME: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // As astern itself is connected.
    let options = ConnectOptions::default();
    let client = connect(&options).await.map_err(|error| error.to_string())?.client;
    let said = match words.as_slice() {
        ["fill", namespace, releases, revisions, kib] => {
            let (releases, revisions, kib) = (releases.parse()?, revisions.parse()?, kib.parse()?);
            fill(client, namespace, releases, revisions, kib).await?
        }
        ["one", namespace, release] => {
            let read = helm(client)
                .read(namespace, &[(*release).to_owned()], Depth::Nearest)
                .await?;
            let release = read.first().ok_or("there is no such release")?;
            let contents = release.revisions.iter().filter_map(|revision| revision.content());
            format!("{} revisions, {} read", release.revisions.len(), contents.count())
        }
        ["all", namespace] => {
            let all = helm(client).list(namespace).await?;
            let revisions: usize = all.iter().map(|release| release.revisions.len()).sum();
            format!("{} releases, {revisions} revisions", all.len())
        }
        _ => {
            return Err(
                "fill NAMESPACE RELEASES REVISIONS KIB, one NAMESPACE RELEASE, or all NAMESPACE".into(),
            );
        }
    };
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}

fn helm(client: Client) -> Helm {
    let program = Program {
        path: PathBuf::from("helm"),
        kubeconfig: None,
        context: None,
        other_user: false,
    };
    Helm::new(
        client,
        program,
        Arc::new(Nowhere),
        Arc::new(Nowhere),
        Arc::new(Nobody),
        Arc::new(Now),
    )
}

async fn fill(
    client: Client,
    namespace: &str,
    releases: usize,
    revisions: usize,
    kib: usize,
) -> Result<String, Box<dyn Error>> {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let all = (0..releases).flat_map(|release| (1..=revisions).map(move |revision| (release, revision)));
    let made = stream::iter(all)
        .map(|(release, revision)| {
            let secret = record(release, revision, revisions, kib);
            let api = api.clone();
            async move {
                api.create(&PostParams::default(), &secret?)
                    .await
                    .map_err(Box::<dyn Error>::from)
            }
        })
        .buffer_unordered(AT_A_TIME);
    let results: Vec<Result<Secret, Box<dyn Error>>> = made.collect().await;
    let count = results.len();
    for result in results {
        result?;
    }
    Ok(format!("{count} records"))
}

/// A record whose payload is about so large once it is compressed: the digits of a generator do not compress away.
fn record(release: usize, revision: usize, newest: usize, kib: usize) -> Result<Secret, Box<dyn Error>> {
    let name = format!("release-{release:03}");
    let status = if revision == newest {
        "deployed"
    } else {
        "superseded"
    };
    let mut state = (release * 1000 + revision) as u64 + 1;
    let mut digits = String::new();
    while digits.len() < kib * 2048 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("{:08x}", state >> 32));
    }
    let manifest = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{blob: \"{}\"}}\n---\napiVersion: apps/v1\n\
         kind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      containers:\n      - {{name: app, image: \"app:{revision}\"}}\n",
        &digits[..digits.len() / 2]
    );
    let payload = json!({
        "name": name, "namespace": "shop", "version": revision,
        "info": {"status": status, "description": "Upgrade complete", "first_deployed": "2026-11-27T10:00:00Z", "last_deployed": "2026-11-27T10:00:00Z", "deleted": ""},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0", "apiVersion": "v2"}, "templates": [{"name": "templates/blob.yaml", "data": STANDARD.encode(&digits[digits.len() / 2..])}], "values": {}},
        "config": {}, "manifest": manifest, "hooks": [],
    });
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(payload.to_string().as_bytes())?;
    let data = STANDARD.encode(STANDARD.encode(encoder.finish()?));
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{name}.v{revision}"),
            "labels": {"owner": "helm", "name": name, "status": status, "version": revision.to_string()},
        },
        "data": {"release": data},
    }))?)
}

/// The system's time.
struct Now;

#[async_trait]
impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, _: SignedDuration) {}
}

/// Only reading is measured: nobody logs in.
struct Nobody;

#[async_trait]
impl Logins for Nobody {
    async fn ask(&self, _: &LoginProbe, _: &Value) -> Result<(), NoLogin> {
        Err(NoLogin::NotNamed)
    }
}

/// Reading keeps nothing.
struct Nowhere;

#[async_trait]
impl Vault for Nowhere {
    async fn put(&self, label: &str, _: &[u8]) -> Result<ContentRef, Failure> {
        Err(Failure::new(
            FailureClass::Permanent,
            format!("keep {label}"),
            "nothing is kept here",
        ))
    }

    async fn hash(&self, _: &[u8]) -> Result<String, Failure> {
        Err(Failure::new(
            FailureClass::Permanent,
            "hash",
            "nothing is kept here",
        ))
    }

    async fn get(&self, _: &ContentRef) -> Result<Vec<u8>, Failure> {
        Err(Failure::new(
            FailureClass::Permanent,
            "read",
            "nothing is kept here",
        ))
    }
}
