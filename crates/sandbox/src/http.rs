//! The cluster on a loopback port, for anybody's kubectl. Owns the listening and the kubeconfig; asks nobody who they are,
//! so it never listens elsewhere.

use crate::service::{self, Body, BoxError, Service};
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_service::Service as _;

/// A loopback port.
///
/// # Errors
/// When the port is taken; none is when it is 0, which means any.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Answers whoever comes to the port. Ends only when the port cannot be used any more; dropping it drops the connections.
///
/// # Errors
/// The port's.
pub async fn serve(service: Service, listener: TcpListener) -> io::Result<()> {
    accept(service, listener, Port::Api).await
}

/// The same with the metrics source: Prometheus' HTTP API about the traffic.
///
/// # Errors
/// The port's.
pub async fn serve_metrics(service: Service, listener: TcpListener) -> io::Result<()> {
    accept(service, listener, Port::Metrics).await
}

/// What is behind a port.
#[derive(Clone, Copy)]
enum Port {
    Api,
    Metrics,
}

async fn accept(service: Service, listener: TcpListener, port: Port) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), port, request));
            // A client that goes away is no concern of the others.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    mut service: Service,
    port: Port,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    if is_local(&request) {
        return match port {
            Port::Api => service.call(request).await,
            Port::Metrics => Ok(service.metrics(&service::read(request).await?)),
        };
    }
    // A page in somebody's browser reaches loopback ports under names of its own.
    let mut response = Response::new(Full::from(Bytes::from_static(b"ask for 127.0.0.1")).boxed_unsync());
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    Ok(response)
}

fn is_local(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    matches!(name, Some("127.0.0.1" | "localhost"))
}

/// The kubeconfig's name for cluster, context and user.
pub const CONTEXT: &str = "sandbox";

/// A kubeconfig that leads to the port.
pub fn kubeconfig(address: SocketAddr, namespace: &str) -> String {
    let name = CONTEXT;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "users": [{"name": name, "user": {}}],
        "current-context": name,
    });
    format!("{config:#}\n")
}

/// Writes that kubeconfig to a file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_kubeconfig(path: &Path, address: SocketAddr, namespace: &str) -> io::Result<()> {
    std::fs::write(path, kubeconfig(address, namespace))
}
