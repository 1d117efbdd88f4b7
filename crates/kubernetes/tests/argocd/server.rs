//! Argo CD's API server as far as one application goes, by the rules of its source (`server/application/application.go`): the
//! patch is applied to what is there then, a version in it counts for nothing unless the patch tests it, a test that does not
//! hold is an unknown error with code 500, and a token is asked for in every request.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// The token of an account that may do everything.
pub(crate) const TOKEN: &str = "good.token.value";
/// That of one that may read.
pub(crate) const READER: &str = "reader.token.value";

/// The server.
pub(crate) struct Server {
    http: MockServer,
    kept: Arc<Kept>,
}

struct Kept {
    application: Mutex<Value>,
    /// What somebody sets before the next patch is applied.
    ahead: Mutex<Option<Value>>,
}

impl Server {
    /// With application `shop`, automated like this.
    pub(crate) async fn start(automated: Value) -> Self {
        let application = json!({
            "metadata": {
                "name": "shop", "namespace": "argocd", "uid": "uid-shop", "resourceVersion": "7",
                "annotations": {"team": "shop"},
            },
            "spec": {"project": "default", "syncPolicy": {"automated": automated, "retry": {"limit": 3}}},
            "status": {"sync": {"status": "Synced"}},
        });
        let kept = Arc::new(Kept {
            application: Mutex::new(application),
            ahead: Mutex::default(),
        });
        let http = MockServer::start().await;
        let answers = Answers(kept.clone());
        Mock::given(any()).respond_with(answers).mount(&http).await;
        Self { http, kept }
    }

    pub(crate) fn address(&self) -> String {
        self.http.uri()
    }

    pub(crate) fn application(&self) -> Value {
        self.kept.application.lock().unwrap().clone()
    }

    pub(crate) fn change_before_the_next_patch(&self, automated: Value) {
        *self.kept.ahead.lock().unwrap() = Some(automated);
    }
}

struct Answers(Arc<Kept>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let token = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap());
        let may_write = match token.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(TOKEN) => true,
            Some(READER) => false,
            _ => {
                return refused(
                    401,
                    16,
                    "invalid session: token has invalid claims: token is expired",
                );
            }
        };
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/api/v1/applications/shop") => self.0.read(),
            ("GET", "/api/v1/applications") => {
                let items = [self.0.answered()];
                ResponseTemplate::new(200)
                    .set_body_json(json!({"metadata": {"resourceVersion": "7"}, "items": items}))
            }
            ("GET", "/api/v1/stream/applications") => {
                let event = json!({"result": {"type": "MODIFIED", "application": self.0.answered()}});
                ResponseTemplate::new(200).set_body_string(format!("{event}\n"))
            }
            // Rights are told for one project's applications, not for all.
            ("GET", path) if path.starts_with("/api/v1/account/can-i/applications/") => {
                let of_shop = path.ends_with("/default/shop");
                let may = of_shop && (may_write || path.contains("/get/"));
                ResponseTemplate::new(200).set_body_json(json!({"value": if may { "yes" } else { "no" }}))
            }
            ("PATCH", "/api/v1/applications/shop") if !may_write => denied(),
            ("PATCH", "/api/v1/applications/shop") => self.0.patch(&request.body_json().unwrap()),
            _ => denied(),
        }
    }
}

/// It says so of what is not there, too.
fn denied() -> ResponseTemplate {
    refused(403, 7, "permission denied")
}

fn refused(status: u16, code: u32, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"error": message, "code": code, "message": message}))
}

impl Kept {
    /// The controller has answered by the time that somebody looks again.
    fn answered(&self) -> Value {
        let mut application = self.application.lock().unwrap();
        let annotations = application["metadata"]["annotations"].as_object_mut();
        if annotations.is_some_and(|all| all.remove("argocd.argoproj.io/refresh").is_some()) {
            moved_on(&mut application);
        }
        application.clone()
    }

    fn read(&self) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(self.answered())
    }

    fn patch(&self, asked: &Value) -> ResponseTemplate {
        let mut application = self.application.lock().unwrap();
        if let Some(automated) = self.ahead.lock().unwrap().take() {
            application["spec"]["syncPolicy"]["automated"] = automated;
            moved_on(&mut application);
        }
        assert_eq!(asked["patchType"], "json");
        let operations: Vec<Value> = serde_json::from_str(asked["patch"].as_str().unwrap()).unwrap();
        let mut patched = application.clone();
        for operation in &operations {
            let path = operation["path"].as_str().unwrap();
            let (parent, key) = path.rsplit_once('/').unwrap();
            let fields = patched.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            match operation["op"].as_str().unwrap() {
                "test" if fields.get(key) != Some(&operation["value"]) => {
                    let message = format!("error applying patch: testing value {path} failed: test failed");
                    return refused(500, 2, &message);
                }
                "test" => {}
                "add" => drop(fields.insert(key.to_owned(), operation["value"].clone())),
                "remove" => drop(fields.remove(key).unwrap()),
                other => panic!("{other} is not of this test"),
            }
        }
        // Of what was patched only this is taken over.
        application["spec"] = patched["spec"].clone();
        application["metadata"]["annotations"] = patched["metadata"]["annotations"].clone();
        moved_on(&mut application);
        ResponseTemplate::new(200).set_body_json(application.clone())
    }
}

fn moved_on(application: &mut Value) {
    let version: u64 = application["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    application["metadata"]["resourceVersion"] = Value::from((version + 1).to_string());
}
