//! Releases for a measurement: `releases NAMESPACE RELEASES REVISIONS KIB` writes their records as Helm does.

use astern_kubernetes::connect::{ConnectOptions, connect};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use std::error::Error;
use std::io::Write;

/// Requests at a time.
const AT_A_TIME: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [namespace, releases, revisions, kib] = words.as_slice() else {
        return Err("releases NAMESPACE RELEASES REVISIONS KIB".into());
    };
    let (releases, revisions, kib) = (releases.parse()?, revisions.parse()?, kib.parse()?);
    // As astern itself is connected.
    let options = ConnectOptions::default();
    let client = connect(&options).await.map_err(|error| error.to_string())?.client;
    let written = fill(client, namespace, releases, revisions, kib).await?;
    writeln!(std::io::stdout(), "{written}")?;
    Ok(())
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
