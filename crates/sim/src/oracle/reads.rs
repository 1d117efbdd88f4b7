//! What must be true of each read of a process: that nothing but the newest state will do. Owns the server that answers
//! whoever does not mind.

use super::{Oracle, Who, whole};
use astern_sandbox::{Request, Response};
use http::Method;
use std::sync::PoisonError;

impl Oracle {
    /// A read that permits an older state comes to another API server, which has one. None: only the newest will do.
    pub(super) fn answered_by_another(&self, who: Who, request: &Request) -> Option<Response> {
        if request.method != Method::GET || version_asked(request).is_empty() {
            return None;
        }
        if let Who::Process(process) = who {
            self.violated(format!(
                "process {process} reads what may be old: {}",
                told(request)
            ));
        }
        let now = self.service.with(|_, now| now);
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        Some(whole(behind.handle(now, request)))
    }

    /// A process begins to watch: from a version that it has read, never from whichever the server has.
    pub(crate) fn watched(&self, process: usize, request: &Request) {
        if version_asked(request) == "0" {
            self.violated(format!(
                "process {process} watches from what may be old: {}",
                told(request)
            ));
        }
    }
}

/// The resourceVersion from which on an answer will do; empty where only the newest does. Source: Kubernetes' API
/// concepts, "Resource versions".
fn version_asked(request: &Request) -> &str {
    let mut parts = request.query.split('&');
    parts
        .find_map(|part| part.strip_prefix("resourceVersion="))
        .unwrap_or_default()
}

fn told(request: &Request) -> String {
    format!("{} {}?{}", request.method, request.path, request.query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{CaseId, begin, case};
    use crate::journal::SimDisk;
    use crate::trace::Trace;
    use astern_rehearsal::TokioClock;
    use astern_sandbox::Service;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const ENGINE: &str = "/apis/apps/v1/namespaces/shop/deployments/engine";

    #[tokio::test(start_paused = true)]
    async fn a_read_that_permits_an_older_state_is_given_one_and_is_a_violation() {
        let case = case(CaseId::Services, false);
        let service = Service::new(case.cluster.clone(), Arc::new(TokioClock::starting(begin())));
        let trace = Arc::new(Trace::new(Vec::new(), false));
        let oracle = Oracle::new(service, SimDisk::default(), trace, &case);
        let paused = Request {
            method: Method::PATCH,
            path: ENGINE.to_owned(),
            content_type: "application/merge-patch+json".to_owned(),
            body: json!({"spec": {"paused": true}}).to_string().into(),
            ..Request::default()
        };
        assert_eq!(oracle.carry_out(Who::Somebody, &paused).code, 200);
        let read = |who, query: &str| {
            let request = Request {
                path: ENGINE.to_owned(),
                query: query.to_owned(),
                ..Request::default()
            };
            let body = oracle.carry_out(who, &request).body;
            serde_json::from_slice::<Value>(&body).unwrap()["spec"]["paused"] == true
        };
        assert!(read(Who::Process(0), ""), "the newest state has the pause");
        assert!(oracle.violations().is_empty());
        assert!(!read(Who::Somebody, "resourceVersion=0"), "an older one has not");
        assert!(oracle.violations().is_empty(), "only processes are judged");
        assert!(!read(Who::Process(0), "resourceVersion=0"));
        let said = oracle.violations().join("; ");
        assert!(said.contains("process 0 reads what may be old"), "{said}");
    }
}
