//! A sandbox on a loopback port: `cargo run -p astern-sandbox --example serve -- KUBECONFIG [BEHAVIOURS]` writes the
//! kubeconfig there. BEHAVIOURS is a JSON file that says how containers behave.

use astern_sandbox::{Behaviours, Cluster, Options, Service, SystemClock, http};
use std::path::PathBuf;
use std::sync::Arc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let path = arguments
        .next()
        .unwrap_or_else(|| PathBuf::from("sandbox.kubeconfig"));
    let behaviours = match arguments.next() {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => Behaviours::default(),
    };
    let options = Options {
        behaviours,
        ..Options::default()
    };
    let cluster = Cluster::new(options, jiff::Timestamp::now());
    let service = Service::new(cluster, Arc::new(SystemClock));
    let listener = http::listen(0).await?;
    http::write_kubeconfig(&path, listener.local_addr()?, "default")?;
    tokio::select! {
        () = service.run() => Ok(()),
        ended = http::serve(service.clone(), listener) => ended,
    }
}
