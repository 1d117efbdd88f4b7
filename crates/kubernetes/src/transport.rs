//! The connection beneath kube's client: one, that requests share, and how long each may be silent. Reads no
//! kubeconfig and knows nothing of Kubernetes' objects.

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, Client, ClientBuilder, ConfigExt as _};
use kube::config::Config;
use std::time::Duration;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};
use tower_http::decompression::DecompressionLayer;
use tower_http::timeout::ResponseBodyTimeoutLayer;

/// A connection on which nothing arrives for this long, though an answer is owed, is asked whether somebody is there
/// still. All requests hang with a connection that is cut without a word, and the next ones too: this and
/// [`ANSWERED_WITHIN`] together are shorter than what is left of a lock whose renewal hung, so that it is renewed in time
/// on a new connection.
const ASKED_AFTER: Duration = Duration::from_secs(3);
/// How long the answer to that may take; then what waits on the connection fails.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How much of an answer a server may send ahead: lists are large, and the wire may be long. Source: the same clients
/// allow this much for a stream (`golang.org/x/net/http2`, `transportDefaultStreamFlow`).
const SENT_AHEAD: u32 = 4 * 1024 * 1024;

/// A client whose requests share one connection (HTTP/2, where the server offers it). kube's own speaks HTTP/1.1: of
/// fifty requests at the same time each makes a connection, with a handshake that costs both sides more than the
/// request. On a shared connection the silence of one request does not show, so each has its own time.
///
/// # Errors
/// When the credentials that the configuration names cannot be used.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    // kube's client chooses it when it is built, which may not have happened yet. Choosing it twice is no harm.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let mut https = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(unusable)?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(https.enable_all_versions().wrap_connector(http));
    connector.set_connect_timeout(config.connect_timeout);
    let client: legacy::Client<_, Body> = legacy::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(ASKED_AFTER)
        .http2_keep_alive_timeout(ANSWERED_WITHIN)
        .http2_initial_stream_window_size(SENT_AHEAD)
        .http2_initial_connection_window_size(4 * SENT_AHEAD)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(DecompressionLayer::new().gzip(!config.disable_compression))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .option_layer(config.read_timeout.map(TimeoutLayer::new))
        .map_err(BoxError::from)
        .service(client);
    let namespace = config.default_namespace.clone();
    Ok(match config.read_timeout {
        Some(within) => {
            let service = ServiceBuilder::new()
                .layer(ResponseBodyTimeoutLayer::new(within))
                .service(service);
            ClientBuilder::new(service, namespace).build()
        }
        None => ClientBuilder::new(service, namespace).build(),
    })
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> kube::Error {
    kube::Error::Service(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::{Api, ListParams};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Asks a server for the namespaces that says this much of an answer and then nothing more.
    async fn ask(said: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await.unwrap();
            connection.write_all(said.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut config = Config::new(format!("http://{address}").parse().unwrap());
        config.read_timeout = Some(Duration::from_millis(200));
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client(config).unwrap());
        let began = Instant::now();
        let answer = namespaces.list(&ListParams::default()).await;
        assert!(began.elapsed() < Duration::from_secs(20));
        server.abort();
        crate::failure::chain(&answer.unwrap_err())
    }

    #[tokio::test]
    async fn a_request_that_nobody_answers_fails_after_its_time() {
        let error = ask("").await;
        assert!(error.contains("request timed out"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_stops_in_the_middle_fails_after_its_time() {
        let error = ask("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
        assert!(error.contains("data was not received within"), "{error}");
    }
}
