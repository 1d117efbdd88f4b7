//! A request as it came, and which class it is of.

use crate::fault::Class;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// What goes on to the API server of a request's headers: what it wants, and who says so. The rest belongs to a
/// connection.
const CARRIED: [http::HeaderName; 3] = [ACCEPT, CONTENT_TYPE, USER_AGENT];

/// A request that came to the proxy.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it is counted among.
    pub class: Class,
    /// Which of them it is, from 0.
    pub nth: u32,
    /// GET, PUT and so on.
    pub method: Method,
    /// What is asked for: path and query.
    pub uri: Uri,
    /// What comes with it.
    pub body: Bytes,
    pub(crate) headers: HeaderMap,
}

impl Asked {
    /// Reads the request whole; it is not counted yet.
    pub(crate) async fn read(request: http::Request<Incoming>) -> hyper::Result<Self> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let carried = CARRIED
            .into_iter()
            .filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone())));
        Ok(Self {
            class: class_of(&head.method, &head.uri, &body),
            nth: 0,
            headers: carried.collect(),
            method: head.method,
            uri: head.uri,
            body,
        })
    }

    /// Its body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it may change what is stored.
    pub fn changes(&self) -> bool {
        matches!(self.class, Class::Secret | Class::Lease | Class::Write)
    }

    /// Whether an API server may answer this read from any state that it has ever seen, however old. Source:
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
    pub fn permits_the_past(&self) -> bool {
        let mut words = self.uri.query().unwrap_or_default().split('&');
        self.class == Class::Read && words.any(|word| word == "resourceVersion=0")
    }

    /// The request for the API server. Its address is the client's to add.
    pub(crate) fn onward(&self) -> http::Request<kube::client::Body> {
        let mut request = http::Request::new(kube::client::Body::from(self.body.to_vec()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The request for the object that this one changes.
    pub(crate) fn look(&self) -> http::Request<kube::client::Body> {
        let mut request = http::Request::new(kube::client::Body::empty());
        *request.uri_mut() = self.uri.path().parse().unwrap_or_default();
        request
    }
}

fn class_of(method: &Method, uri: &Uri, body: &[u8]) -> Class {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if *method == Method::GET {
        let lasts = ["watch=true", "watch=1", "follow=true"];
        return if lasts.iter().any(|word| query.contains(word)) {
            Class::Watch
        } else {
            Class::Read
        };
    }
    let word = b"dryRun";
    // A deletion says it in its body.
    let tries = query.contains("dryRun")
        || *method == Method::DELETE && body.windows(word.len()).any(|part| part == word);
    if tries || path.contains("/authorization.k8s.io/") || path.contains("/authentication.k8s.io/") {
        Class::Ask
    } else if path.contains("/leases") {
        Class::Lease
    } else if path.contains("/secrets") {
        Class::Secret
    } else {
        Class::Write
    }
}

#[cfg(test)]
mod tests {
    use super::class_of;
    use crate::fault::Class;
    use http::{Method, Uri};

    #[test]
    fn requests_are_told_apart_by_what_they_may_change() {
        let check = |method: Method, uri: &'static str, body: &str, class: Class| {
            let got = class_of(&method, &Uri::from_static(uri), body.as_bytes());
            assert_eq!(got, class, "{method} {uri}");
        };
        let web = "/apis/apps/v1/namespaces/shop/deployments/web";
        check(Method::GET, web, "", Class::Read);
        check(Method::PUT, web, "{}", Class::Write);
        check(
            Method::PUT,
            "/apis/apps/v1/namespaces/shop/deployments/web?dryRun=All",
            "{}",
            Class::Ask,
        );
        check(
            Method::GET,
            "/api/v1/namespaces/shop/pods?&watch=true&resourceVersion=7",
            "",
            Class::Watch,
        );
        check(
            Method::POST,
            "/api/v1/namespaces/shop/secrets?",
            "{}",
            Class::Secret,
        );
        let lease = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/astern";
        check(Method::PUT, lease, "{}", Class::Lease);
        check(Method::GET, lease, "", Class::Read);
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        check(Method::POST, review, "{}", Class::Ask);
        let pod = "/api/v1/namespaces/shop/pods/web-0";
        check(Method::DELETE, pod, r#"{"dryRun":["All"]}"#, Class::Ask);
        check(
            Method::DELETE,
            pod,
            r#"{"preconditions":{"uid":"u"}}"#,
            Class::Write,
        );
    }
}
