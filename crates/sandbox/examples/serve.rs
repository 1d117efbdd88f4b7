//! A sandbox on a loopback port: `cargo run -p astern-sandbox --example serve -- KUBECONFIG` writes the kubeconfig there.

use astern_sandbox::{Cluster, Options, Service, SystemClock, http};
use std::path::PathBuf;
use std::sync::Arc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("sandbox.kubeconfig"), PathBuf::from);
    let cluster = Cluster::new(Options::default(), jiff::Timestamp::now());
    let service = Service::new(cluster, Arc::new(SystemClock));
    let listener = http::listen(0).await?;
    http::write_kubeconfig(&path, listener.local_addr()?, "default")?;
    tokio::select! {
        () = service.run() => Ok(()),
        ended = http::serve(service.clone(), listener) => ended,
    }
}
