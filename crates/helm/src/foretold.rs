//! What workloads would ask for once helm had gone back to a revision: the API server's own answer to what helm would write, sent as a
//! dry run. Stores nothing.

use crate::contents;
use crate::failure::{Intent, failure};
use crate::manifest;
use crate::mask::{self, Masker};
use crate::merge::merged;
use crate::payload::Payload;
use crate::standing;
use astern_model::helm::ReleaseName;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_port::releases::Foretelling;
use futures::StreamExt;
use kube::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Requests at a time.
const AT_ONCE: usize = 16;

/// As whom Helm 3 and 4 write. Source: `ManagedFieldsManager` in `cmd/helm` of both.
const MANAGER: &str = "helm";

/// How Helm 4 calls a release that it applies on the server. Source: `ApplyMethod` in `pkg/release` of Helm 4.
const ON_THE_SERVER: &str = "ssa";

/// A rollback that is only tried.
pub(crate) struct Rollback<'a> {
    pub(crate) release: &'a ReleaseName,
    /// The newest record: Helm merges from it, whatever its state.
    pub(crate) from: &'a Payload,
    pub(crate) to: &'a Payload,
    pub(crate) force_conflicts: bool,
}

impl Rollback<'_> {
    /// What each of the workloads would ask for.
    pub(crate) async fn foretold(
        &self,
        client: &Client,
        targets: &BTreeSet<Target>,
        masker: &Masker,
    ) -> BTreeMap<Target, Foretelling> {
        let read = || {
            let (from, to) = (
                manifest::documents(&self.from.manifest)?,
                manifest::documents(&self.to.manifest)?,
            );
            let mut secrets = manifest::secret_values(self.from, masker)?;
            secrets.extend(manifest::secret_values(self.to, masker)?);
            Ok::<_, crate::payload::Defect>((from, to, secrets))
        };
        let (from, to, secrets) = match read() {
            Ok(read) => read,
            Err(defect) => {
                let why = |target: &Target| (target.clone(), Err(defect.to_string()));
                return targets.iter().map(why).collect();
            }
        };
        let mut tries = Vec::new();
        for target in targets {
            let (before, after) = (self.object(&from, target), self.object(&to, target));
            tries.push(self.told(client, target, before, after));
        }
        // The API server may quote what it refuses.
        let shown = |(target, told): (Target, Foretelling)| {
            let told = told.map_err(|why| mask::without(vec![why], &secrets).concat());
            (target, told)
        };
        futures::stream::iter(tries)
            .buffer_unordered(AT_ONCE)
            .map(shown)
            .collect()
            .await
    }

    fn object<'o>(&self, objects: &'o [Value], target: &Target) -> Option<&'o Value> {
        let is_it =
            |object: &&Value| manifest::workload(object, &self.release.namespace).as_ref() == Some(target);
        objects.iter().find(is_it)
    }

    async fn told(
        &self,
        client: &Client,
        target: &Target,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> (Target, Foretelling) {
        let told = match after {
            Some(after) => self.tried(client, target, before, after).await,
            None => Err("it is not in the manifest".to_owned()),
        };
        (target.clone(), told)
    }

    async fn tried(
        &self,
        client: &Client,
        target: &Target,
        before: Option<&Value>,
        after: &Value,
    ) -> Foretelling {
        let version = after
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let path = path(version, target);
        let live: Option<Value> = standing::get(client, &path).await.map_err(|error| said(&error))?;
        let Some(live) = live else {
            return Err(match version == target.kind.api_version() {
                true => "it is not there any more".to_owned(),
                false => format!("the API server serves no {} of {version}", target.kind.name()),
            });
        };
        let request = match self.on_the_server()? {
            true => self.applied(&path, target, after),
            false => replaced(&path, &live, before, after),
        };
        let request = request.map_err(|error| error.to_string())?;
        let stored: Value = client.request(request).await.map_err(|error| said(&error))?;
        Ok(template(&stored))
    }

    /// Whether Helm applies the manifest on the server. It goes by the revision to which it goes back alone. Source: `prepareRollback`
    /// in <https://github.com/helm/helm/blob/main/pkg/action/rollback.go>.
    ///
    /// # Errors
    /// What it writes cannot be told; a clause. Where its client wrote the newest revision, it first makes the client's fields its own
    /// on the server, so that what the manifest lacks goes: no dry run of one request does that.
    fn on_the_server(&self) -> Result<bool, String> {
        let applied = |payload: &Payload| payload.apply_method == ON_THE_SERVER;
        match (applied(self.from), applied(self.to)) {
            (_, false) => Ok(false),
            (true, true) => Ok(true),
            (false, true) => Err(format!(
                "helm applied revision {} on the server and revision {} by its client, and what it takes over between the two is in no \
                 dry run",
                self.to.version, self.from.version
            )),
        }
    }

    /// The object as Helm 4 applies it.
    fn applied(
        &self,
        path: &str,
        target: &Target,
        after: &Value,
    ) -> Result<http::Request<Vec<u8>>, http::Error> {
        let mut object = after.clone();
        object["metadata"] = contents::marked(after, &target.namespace, self.release);
        let force = self.force_conflicts;
        patch(
            &format!("{path}?dryRun=All&fieldManager={MANAGER}&force={force}"),
            "application/apply-patch+yaml",
            &object,
        )
    }
}

fn path(version: &str, target: &Target) -> String {
    format!(
        "/apis/{version}/namespaces/{}/{}/{}",
        target.namespace,
        target.kind.plural(),
        target.name
    )
}

/// The template that stands once both manifests are merged into the object, in the place of the one that stands now.
fn replaced(
    path: &str,
    live: &Value,
    before: Option<&Value>,
    after: &Value,
) -> Result<http::Request<Vec<u8>>, http::Error> {
    let of = |object: Option<&Value>| {
        let template = object.and_then(|object| object.pointer("/spec/template"));
        template.cloned().unwrap_or(Value::Null)
    };
    let template = merged(&of(Some(live)), &of(before), &of(Some(after)));
    patch(
        &format!("{path}?dryRun=All&fieldManager={MANAGER}"),
        "application/json-patch+json",
        &json!([{"op": "replace", "path": "/spec/template", "value": template}]),
    )
}

fn patch(uri: &str, kind: &str, body: &Value) -> Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::patch(uri)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body.to_string().into_bytes())
}

fn template(object: &Value) -> Template {
    Template::clean(object.pointer("/spec/template").cloned().unwrap_or(Value::Null))
}

fn said(error: &kube::Error) -> String {
    failure("", error, Intent::Read).message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{compress, decode};

    fn payload(version: u64, apply_method: &str) -> Payload {
        let release = json!({
            "name": "shop", "version": version, "namespace": "shop", "manifest": "", "config": {},
            "info": {"status": "deployed", "description": ""}, "apply_method": apply_method,
        });
        decode(&compress(release.to_string().as_bytes()), "shop", version).unwrap()
    }

    #[test]
    fn the_revision_that_is_gone_back_to_decides_who_applies_and_a_takeover_is_not_told() {
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "shop".to_owned(),
        };
        let told = |from: &str, to: &str| {
            let (from, to) = (payload(2, from), payload(1, to));
            let rollback = Rollback {
                release: &release,
                from: &from,
                to: &to,
                force_conflicts: true,
            };
            rollback.on_the_server()
        };
        assert_eq!(told("ssa", "ssa"), Ok(true));
        for client in ["csa", ""] {
            assert_eq!(told("ssa", client), Ok(false));
            assert_eq!(told(client, client), Ok(false));
            let why = told(client, "ssa").unwrap_err();
            assert!(
                why.starts_with("helm applied revision 1 on the server and revision 2 by its client"),
                "{why}"
            );
        }
    }
}
