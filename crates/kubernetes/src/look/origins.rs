//! Where Argo CD and Flux deploy workloads from: the Git folder of their own objects. Reads only; reaches no repository.

use super::fetch::{Part, get};
use super::owners::{self, FLUX_KUSTOMIZE, Mark, Marked, OwnersAt};
use super::{deployments, upcoming};
use crate::effects::object::collection;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::owner::{OwnerName, PausableKind};
use astern_model::source::{Deployments, Next, PullRequests, Source, SourceKind};
use astern_model::target::Target;
use astern_port::source::{Origin, Origins};
use async_trait::async_trait;
use futures::future::try_join_all;
use serde_json::Value;
use std::collections::BTreeMap;

/// The branch of a GitRepository that names none. Source: <https://fluxcd.io/flux/components/source/gitrepositories/#reference>.
pub(super) const FLUX_BRANCH: &str = "master";

/// A cluster's owners, asked for their sources.
pub struct ClusterOrigins {
    owners: OwnersAt,
}

impl ClusterOrigins {
    /// The owners that lie there.
    pub fn new(owners: OwnersAt) -> Self {
        Self { owners }
    }

    /// The marks of owners on a workload; none where it is gone.
    async fn marks(&self, target: &Target) -> Result<Vec<Marked>, Failure> {
        let attempt = Attempt::new(Verb::Get, target.kind.plural(), format!("read {target}"));
        let object: Value = match get(
            &self.owners.here,
            &collection(target),
            &target.name,
            Part::Metadata,
            &attempt,
        )
        .await
        {
            Ok(object) => object,
            Err(failure) if failure.class == FailureClass::Permanent => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        Ok(owners::marks(&object, &target.namespace))
    }

    /// The Application that a mark means; none where it is gone, or where the mark is a hint that it does not bear out.
    async fn application(
        &self,
        target: &Target,
        hint: bool,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        let found = owners::find(&self.owners, PausableKind::Application, namespace, name).await;
        let borne_out = |object: &Value| !hint || owners::resources(object).contains(target);
        Ok(known(found)?.filter(borne_out))
    }

    async fn origin(&self, target: &Target) -> Result<Option<(Target, Origin)>, Failure> {
        for marked in self.marks(target).await? {
            let found = match &marked.mark {
                Mark::Application { namespace, name } => self
                    .application(target, marked.hint, namespace, name)
                    .await?
                    .map(|object| of_application(&object)),
                Mark::Kustomization { namespace, name } => self.of_kustomization(namespace, name).await?,
                Mark::HelmRelease { namespace, name } => {
                    let found = self.of_helm_release(namespace, name).await?;
                    Some(found.unwrap_or_else(Origin::Elsewhere))
                }
                Mark::ApplicationSet { .. }
                | Mark::Release { .. }
                | Mark::Olm { .. }
                | Mark::Canary { .. }
                | Mark::Controller { .. } => None,
            };
            if let Some(origin) = found {
                return Ok(Some((target.clone(), origin)));
            }
        }
        Ok(None)
    }

    async fn deployments(&self, target: &Target) -> Result<Option<(Target, Deployments)>, Failure> {
        for marked in self.marks(target).await? {
            let found = match &marked.mark {
                Mark::Application { namespace, name } => self
                    .application(target, marked.hint, namespace, name)
                    .await?
                    .map(|object| deployments::of_application(&object)),
                Mark::Kustomization { namespace, name } => self
                    .kustomization(namespace, name)
                    .await?
                    .map(|object| deployments::of_kustomization(&object)),
                Mark::HelmRelease { .. }
                | Mark::ApplicationSet { .. }
                | Mark::Release { .. }
                | Mark::Olm { .. }
                | Mark::Canary { .. }
                | Mark::Controller { .. } => None,
            };
            if let Some(deployments) = found {
                return Ok(Some((target.clone(), deployments)));
            }
        }
        Ok(None)
    }

    async fn kustomization(&self, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
        let path = format!("/apis/{FLUX_KUSTOMIZE}/v1/namespaces/{namespace}/kustomizations");
        known(owners::custom(&self.owners.here, &[path], "kustomizations", name).await)
    }

    async fn of_kustomization(&self, namespace: &str, name: &str) -> Result<Option<Origin>, Failure> {
        let Some(object) = self.kustomization(namespace, name).await? else {
            return Ok(None);
        };
        let found = self.git_repository(namespace, &object).await?;
        Ok(match found {
            Err(kind) => Some(Origin::Elsewhere(format!("a {kind} of Flux"))),
            Ok(repository) => repository.map(|repository| of_flux(&object, &repository)),
        })
    }

    /// The folder that a HelmRelease's own manifest stands in, by the Kustomization that made it; or why no commit changes what it
    /// installs, a clause.
    async fn of_helm_release(&self, namespace: &str, name: &str) -> Result<Result<Origin, String>, Failure> {
        let told = format!("the chart and values of Flux' helmrelease/{name}");
        let found = owners::find(&self.owners, PausableKind::HelmRelease, namespace, name).await;
        let Some(object) = known(found)? else {
            return Ok(Err(told));
        };
        if object
            .pointer("/spec/valuesFrom")
            .is_some_and(|from| !is_empty(from))
        {
            return Ok(Err(format!(
                "{told}, some of which come from ConfigMaps or Secrets (spec.valuesFrom)"
            )));
        }
        for marked in owners::marks(&object, namespace) {
            let Mark::Kustomization {
                namespace: within,
                name: by,
            } = &marked.mark
            else {
                continue;
            };
            return Ok(match self.of_kustomization(within, by).await? {
                Some(Origin::Source(source)) => Ok(Origin::Source(Box::new(Source {
                    kind: SourceKind::HelmRelease {
                        name: name.to_owned(),
                        namespace: Some(namespace.to_owned()),
                        images: Vec::new(),
                    },
                    ..*source
                }))),
                Some(Origin::Elsewhere(why)) => Err(format!("{told}, which comes from {why}")),
                None => Err(told),
            });
        }
        Ok(Err(format!("{told}, which nobody makes from Git")))
    }

    /// The GitRepository that a Kustomization of this namespace follows; none where it is gone. An error is the kind of another
    /// source.
    async fn git_repository(
        &self,
        namespace: &str,
        kustomization: &Value,
    ) -> Result<Result<Option<Value>, String>, Failure> {
        let reference = |key: &str| text(kustomization, &format!("/spec/sourceRef/{key}"));
        let (kind, source) = (reference("kind"), reference("name"));
        if kind != "GitRepository" {
            return Ok(Err(kind.to_owned()));
        }
        let within = Some(reference("namespace"))
            .filter(|within| !within.is_empty())
            .unwrap_or(namespace);
        let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/{within}/gitrepositories");
        let found = owners::custom(&self.owners.here, &[path], "gitrepositories", source).await;
        Ok(Ok(known(found)?))
    }
}

#[async_trait]
impl Origins for ClusterOrigins {
    async fn origins(&self, targets: &[Target]) -> Result<BTreeMap<Target, Origin>, Failure> {
        let asked = targets.iter().map(|target| self.origin(target));
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    async fn deployments(&self, targets: &[Target]) -> Result<BTreeMap<Target, Deployments>, Failure> {
        let asked = targets.iter().map(|target| self.deployments(target));
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    async fn upcoming(&self, owner: &OwnerName) -> Result<Result<Next, String>, Failure> {
        let gone = |what: &str| Ok(Err(format!("{what} is gone")));
        match owner.kind {
            PausableKind::Kustomization => {
                let Some(object) = self.kustomization(&owner.namespace, &owner.name).await? else {
                    return gone("its object");
                };
                Ok(match self.git_repository(&owner.namespace, &object).await? {
                    Err(kind) => Err(format!("it follows a {kind} of Flux, which astern does not read")),
                    Ok(None) => return gone("the GitRepository that it follows"),
                    Ok(Some(repository)) => {
                        upcoming::of_kustomization(&object, &repository).map(Next::Folder)
                    }
                })
            }
            PausableKind::HelmRelease => {
                let found = owners::find(&self.owners, owner.kind, &owner.namespace, &owner.name).await;
                match known(found)? {
                    None => gone("its object"),
                    Some(object) => Ok(upcoming::of_helm_release(&object).map(Next::Chart)),
                }
            }
            PausableKind::Application
            | PausableKind::ApplicationSet
            | PausableKind::ScaledObject
            | PausableKind::CronJob => Ok(Err("it follows no source that astern reads".to_owned())),
        }
    }
}

/// What was read; none where it is gone.
fn known(found: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match found {
        Ok(object) => Ok(Some(object)),
        Err(failure) if failure.class == FailureClass::Permanent => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Source: Argo CD's `ApplicationSource` and `ApplicationStatus.sourceType`.
fn of_application(object: &Value) -> Origin {
    let several = object.pointer("/spec/sources").and_then(Value::as_array);
    let source = match several.map(Vec::as_slice) {
        None | Some([]) => object.pointer("/spec/source"),
        Some([only]) => Some(only),
        Some(_) => return Origin::Elsewhere("several sources of an Argo CD Application".to_owned()),
    };
    let Some(source) = source else {
        return Origin::Elsewhere("an Argo CD Application without a source of manifests".to_owned());
    };
    if !text(source, "/chart").is_empty() {
        return Origin::Elsewhere("a chart from a Helm repository".to_owned());
    }
    for settings in [
        "/kustomize/images",
        "/kustomize/patches",
        "/helm/parameters",
        "/helm/values",
        "/helm/valuesObject",
    ] {
        if source.pointer(settings).is_some_and(|value| !is_empty(value)) {
            return Origin::Elsewhere(format!(
                "an Argo CD Application whose own spec.source{} overrides the repository",
                settings.replace('/', ".")
            ));
        }
    }
    let kind = match text(object, "/status/sourceType") {
        "Kustomize" => SourceKind::Kustomize,
        "Helm" => SourceKind::HelmValues {
            file: last_values(source),
            images: Vec::new(),
        },
        "Plugin" => return Origin::Elsewhere("a config management plugin of Argo CD".to_owned()),
        "Directory" => SourceKind::Manifests,
        _ => SourceKind::Folder,
    };
    let branch = Some(text(source, "/targetRevision"))
        .filter(|revision| !revision.is_empty())
        .unwrap_or("HEAD");
    made(text(source, "/repoURL"), branch, text(source, "/path"), kind)
}

/// The last of an Application's value files overrides the others.
fn last_values(source: &Value) -> String {
    let files = source.pointer("/helm/valueFiles").and_then(Value::as_array);
    let last = files.and_then(|files| files.last()).and_then(Value::as_str);
    last.unwrap_or("values.yaml").to_owned()
}

fn of_flux(kustomization: &Value, repository: &Value) -> Origin {
    for settings in ["/spec/images", "/spec/patches"] {
        if kustomization
            .pointer(settings)
            .is_some_and(|value| !is_empty(value))
        {
            return Origin::Elsewhere(format!(
                "a Kustomization of Flux whose own {} override the repository",
                settings.trim_start_matches('/').replace('/', ".")
            ));
        }
    }
    let reference = repository.pointer("/spec/ref");
    let named = |key: &str| reference.and_then(|reference| reference.get(key)?.as_str());
    if let Some(key) = ["commit", "name", "semver", "tag"]
        .into_iter()
        .find(|key| named(key).is_some())
    {
        return Origin::Elsewhere(format!("a GitRepository of Flux that follows a {key}, no branch"));
    }
    let path = text(kustomization, "/spec/path");
    let branch = named("branch").unwrap_or(FLUX_BRANCH);
    made(text(repository, "/spec/url"), branch, path, SourceKind::Folder)
}

fn made(repository: &str, branch: &str, path: &str, kind: SourceKind) -> Origin {
    // What a cluster says must not lead to the disk of whoever asks.
    if repository.starts_with("file:") || !repository.contains(':') {
        return Origin::Elsewhere("an address that is none of a network".to_owned());
    }
    Origin::Source(Box::new(Source {
        repository: repository.to_owned(),
        branch: branch.to_owned(),
        path: folder(path),
        kind,
        workloads: Vec::new(),
        token: None,
        pull_requests: PullRequests::of_github(repository),
    }))
}

/// A folder as the repository has it: relative to its root, which is empty.
pub(super) fn folder(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    if path == "." { "" } else { path }.to_owned()
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{of_application, of_flux};
    use astern_model::source::{Source, SourceKind};
    use astern_port::source::Origin;
    use serde_json::{Value, json};

    fn source(origin: Origin) -> Source {
        match origin {
            Origin::Source(source) => *source,
            Origin::Elsewhere(why) => panic!("{why}"),
        }
    }

    fn elsewhere(origin: Origin, word: &str) {
        match origin {
            Origin::Elsewhere(why) => assert!(why.contains(word), "{why}"),
            Origin::Source(source) => panic!("{source:?}"),
        }
    }

    fn application(kind: &str, source: &Value) -> Value {
        json!({ "spec": { "source": source }, "status": { "sourceType": kind } })
    }

    #[test]
    fn an_application_says_repository_branch_folder_and_what_it_holds() {
        let url = "https://git.example.test/shop/deploy.git";
        let plain = json!({ "repoURL": url, "targetRevision": "prod", "path": "./overlays/prod/" });
        let read = source(of_application(&application("Kustomize", &plain)));
        assert_eq!(
            (read.repository.as_str(), read.branch.as_str(), read.path.as_str()),
            (url, "prod", "overlays/prod")
        );
        assert_eq!(read.kind, SourceKind::Kustomize);
        let helm =
            json!({ "repoURL": url, "path": ".", "helm": { "valueFiles": ["values.yaml", "prod.yaml"] } });
        let read = source(of_application(&application("Helm", &helm)));
        assert_eq!((read.branch.as_str(), read.path.as_str()), ("HEAD", ""));
        let file = "prod.yaml".to_owned();
        assert_eq!(
            read.kind,
            SourceKind::HelmValues {
                file,
                images: Vec::new()
            }
        );
    }

    #[test]
    fn what_no_commit_to_a_branch_changes_is_said() {
        let url = "https://git.example.test/x.git";
        let kind = |kind, more: Value| {
            let mut source = json!({ "repoURL": url });
            source
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().expect("an object"));
            of_application(&application(kind, &source))
        };
        elsewhere(kind("Helm", json!({ "chart": "shop" })), "a Helm repository");
        elsewhere(
            kind("Helm", json!({ "helm": { "parameters": [{}] } })),
            "helm.parameters",
        );
        elsewhere(
            kind("Kustomize", json!({ "kustomize": { "images": ["a:v1"] } })),
            "kustomize.images",
        );
        elsewhere(kind("Plugin", json!({})), "plugin");
        elsewhere(
            kind("Directory", json!({ "repoURL": "file:///etc" })),
            "none of a network",
        );
        elsewhere(
            of_application(&json!({ "spec": { "sources": [{}, {}] } })),
            "several sources",
        );
        let kustomization = json!({ "spec": { "path": "./deploy" } });
        let repository = |reference: Value| json!({ "spec": { "url": url, "ref": reference } });
        elsewhere(
            of_flux(&kustomization, &repository(json!({ "tag": "v1" }))),
            "a tag",
        );
        let read = source(of_flux(&kustomization, &repository(json!({ "branch": "main" }))));
        assert_eq!((read.branch.as_str(), read.path.as_str()), ("main", "deploy"));
        let read = source(of_flux(&kustomization, &json!({ "spec": { "url": url } })));
        assert_eq!(read.branch, "master");
    }
}
