//! Which request of the Kubernetes API is which of Argo CD's: paths and queries, both ways. Sends nothing.

use http::{Method, Uri};
use serde_json::Value;

/// The API version of Argo CD's objects.
pub(super) const API_VERSION: &str = "argoproj.io/v1alpha1";

/// What Argo CD's API server keeps of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Application,
    ApplicationSet,
}

impl Resource {
    pub(super) fn of(plural: &str) -> Option<Self> {
        [Self::Application, Self::ApplicationSet]
            .into_iter()
            .find(|resource| resource.plural() == plural)
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Application => "applications",
            Self::ApplicationSet => "applicationsets",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::ApplicationSet => "ApplicationSet",
        }
    }

    fn namespace_key(self) -> &'static str {
        match self {
            Self::Application => "appNamespace",
            Self::ApplicationSet => "appsetNamespace",
        }
    }

    /// An object with what Argo CD leaves out of its answers.
    pub(super) fn typed(self, mut object: Value) -> Value {
        if object.is_object() {
            object["apiVersion"] = Value::from(API_VERSION);
            object["kind"] = Value::from(self.kind());
        }
        object
    }
}

/// One object, or those of a namespace: with an empty name all, with an empty namespace those of every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Place {
    pub(super) fn path(&self) -> String {
        format!("/api/v1/{}/{}", self.resource.plural(), self.name)
    }

    pub(super) fn one(&self) -> String {
        format!(
            "{}?{}={}",
            self.path(),
            self.resource.namespace_key(),
            self.namespace
        )
    }

    pub(super) fn many(&self) -> String {
        format!("/api/v1/{}?{}", self.resource.plural(), self.query())
    }

    pub(super) fn stream(&self, version: &str) -> String {
        format!(
            "/api/v1/stream/{}?{}&resourceVersion={version}",
            self.resource.plural(),
            self.query()
        )
    }

    fn query(&self) -> String {
        let key = self.resource.namespace_key();
        let named = [("name", &self.name), (key, &self.namespace)];
        let named = named.into_iter().filter(|(_, value)| !value.is_empty());
        let named: Vec<String> = named.map(|(key, value)| format!("{key}={value}")).collect();
        named.join("&")
    }
}

/// A request of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether the API group is served.
    Versions,
    One(Place),
    Many(Place),
    /// With the version from which on.
    Watch(Place, String),
    Patch(Place),
    /// May I?
    Review,
    /// What Argo CD has no word for.
    Nothing,
}

impl Asked {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let segments: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let of = |plural: &str, namespace: &str, name: &str| {
            Resource::of(plural).map(|resource| Place {
                resource,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        };
        // `fieldSelector=metadata.name=NAME`, as a client encodes it.
        let named = value("fieldSelector").unwrap_or_default();
        let named = named
            .strip_prefix("metadata.name%3D")
            .or_else(|| named.strip_prefix("metadata.name="))
            .unwrap_or_default();
        let asked = match (method.as_str(), segments.as_slice()) {
            ("POST", ["apis", "authorization.k8s.io", _, "selfsubjectaccessreviews"]) => Some(Self::Review),
            ("GET", ["apis", "argoproj.io", "v1alpha1"]) => Some(Self::Versions),
            ("GET", ["apis", "argoproj.io", "v1alpha1", plural]) => of(plural, "", named).map(Self::Many),
            ("GET", ["apis", "argoproj.io", "v1alpha1", "namespaces", namespace, plural]) => {
                let version = value("resourceVersion").unwrap_or_default().to_owned();
                let watches = value("watch") == Some("true");
                of(plural, namespace, named).map(|place| match watches {
                    true => Self::Watch(place, version),
                    false => Self::Many(place),
                })
            }
            (
                "GET",
                [
                    "apis",
                    "argoproj.io",
                    "v1alpha1",
                    "namespaces",
                    namespace,
                    plural,
                    name,
                ],
            ) => of(plural, namespace, name).map(Self::One),
            (
                "PATCH",
                [
                    "apis",
                    "argoproj.io",
                    "v1alpha1",
                    "namespaces",
                    namespace,
                    plural,
                    name,
                ],
            ) => of(plural, namespace, name).map(Self::Patch),
            _ => None,
        };
        asked.unwrap_or(Self::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_of_the_kubernetes_api_has_its_own_of_argo_cds() {
        let check = |method: Method, uri: &str, expected: &str| {
            let told = match Asked::of(&method, &uri.parse().unwrap()) {
                Asked::One(place) => place.one(),
                Asked::Many(place) => place.many(),
                Asked::Watch(place, version) => place.stream(&version),
                Asked::Patch(place) => format!("patch {}", place.path()),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{uri}");
        };
        let base = "/apis/argoproj.io/v1alpha1";
        let of = |rest: &str| format!("{base}{rest}");
        check(Method::GET, base, "Versions");
        check(
            Method::GET,
            &of("/namespaces/argocd/applications/shop"),
            "/api/v1/applications/shop?appNamespace=argocd",
        );
        check(
            Method::GET,
            &of("/applications?&fieldSelector=metadata.name%3Dshop&limit=500"),
            "/api/v1/applications?name=shop",
        );
        check(
            Method::GET,
            &of(
                "/namespaces/argocd/applications?&watch=true&timeoutSeconds=290&fieldSelector=metadata.name%3Dshop&resourceVersion=7",
            ),
            "/api/v1/stream/applications?name=shop&appNamespace=argocd&resourceVersion=7",
        );
        check(
            Method::PATCH,
            &of("/namespaces/argocd/applications/shop?&fieldManager=astern"),
            "patch /api/v1/applications/shop",
        );
        check(
            Method::GET,
            &of("/namespaces/argocd/applicationsets/all"),
            "/api/v1/applicationsets/all?appsetNamespace=argocd",
        );
        check(
            Method::DELETE,
            &of("/namespaces/argocd/applications/shop"),
            "Nothing",
        );
        check(Method::GET, "/api/v1/namespaces/argocd/secrets/s", "Nothing");
    }
}
