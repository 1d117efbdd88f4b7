//! What Flux would bring once it goes on, out of a Kustomization's own object and that of its GitRepository, or out of a
//! HelmRelease. Decides only.

use super::deployments::{commit, overridden};
use super::origins::{FLUX_BRANCH, folder, text};
use super::owners::FLUX_MANAGER;
use astern_model::helm::ReleaseName;
use astern_model::source::{Folder, NextChart, Reach, Upcoming};
use serde_json::Value;

/// What a Kustomization's own settings make of its folder beside what the files say, and astern does not carry out. Source:
/// <https://fluxcd.io/flux/components/kustomize/kustomizations/>.
const CHANGES: [&str; 7] = [
    "/spec/patches",
    "/spec/images",
    "/spec/components",
    "/spec/namePrefix",
    "/spec/nameSuffix",
    "/spec/postBuild",
    "/spec/kubeConfig",
];

/// What a GitRepository's own settings make of the repository. Source:
/// <https://fluxcd.io/flux/components/source/gitrepositories/>.
const FILTERS: [&str; 2] = ["/spec/ignore", "/spec/include"];

/// What a Kustomization applies next, or why no folder of Git tells it.
pub(super) fn of_kustomization(object: &Value, repository: &Value) -> Result<Upcoming, String> {
    if let Some(settings) = overridden(object, &CHANGES) {
        return Err(format!(
            "its own {} changes what the files say",
            settings.trim_start_matches('.')
        ));
    }
    if let Some(settings) = overridden(repository, &FILTERS) {
        return Err(format!(
            "{} of its GitRepository chooses among the files",
            settings.trim_start_matches('.')
        ));
    }
    let fetched = text(repository, "/status/artifact/revision");
    let Some(fetched) = commit(fetched) else {
        return Err("its GitRepository has fetched no commit".to_owned());
    };
    let namespace = Some(text(object, "/spec/targetNamespace")).filter(|name| !name.is_empty());
    let suspended = repository.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let fetch = format!(
        "flux {} source git {} -n {}",
        if suspended { "resume" } else { "reconcile" },
        text(repository, "/metadata/name"),
        text(repository, "/metadata/namespace")
    );
    Ok(Upcoming {
        fetched: Folder {
            repository: text(repository, "/spec/url").to_owned(),
            commit: fetched.to_owned(),
            path: folder(text(object, "/spec/path")),
            reach: Reach::Flux,
            sets_templates: false,
        },
        follows: follows(repository)?,
        suspended,
        namespace: namespace.map(str::to_owned),
        prunes: object
            .pointer("/spec/prune")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        manager: FLUX_MANAGER,
        fetch,
    })
}

/// What a HelmRelease's own settings make of its chart and values beside both, and what is not read. Source:
/// <https://fluxcd.io/flux/components/helm/helmreleases/>.
const BESIDE: [&str; 5] = [
    "/spec/chartRef",
    "/spec/valuesFrom",
    "/spec/postRenderers",
    "/spec/kubeConfig",
    "/spec/chart/spec/valuesFiles",
];

/// What a HelmRelease installs next, where its chart's version stands for one chart alone: a version of a Helm repository.
pub(super) fn of_helm_release(object: &Value) -> Result<NextChart, String> {
    if let Some(settings) = overridden(object, &BESIDE) {
        let settings = settings.trim_start_matches('.');
        return Err(format!("astern does not follow its {settings}"));
    }
    let of_chart = |key: &str| text(object, &format!("/spec/chart/spec/{key}"));
    let kind = of_chart("sourceRef/kind");
    if kind != "HelmRepository" {
        return Err(format!(
            "its chart lies in a {kind} of Flux, where one version may be several charts"
        ));
    }
    let version = of_chart("version");
    if !is_exact(version) {
        return Err(format!(
            "it follows a range of versions of its chart: {}",
            if version.is_empty() { "*" } else { version }
        ));
    }
    let own = text(object, "/metadata/namespace");
    let name = text(object, "/metadata/name");
    let set = |key: &str| Some(text(object, &format!("/spec/{key}"))).filter(|set| !set.is_empty());
    let into = set("targetNamespace");
    let release = set("releaseName").map_or_else(
        || into.map_or_else(|| name.to_owned(), |into| format!("{into}-{name}")),
        str::to_owned,
    );
    Ok(NextChart {
        release: ReleaseName {
            namespace: set("storageNamespace").unwrap_or(own).to_owned(),
            name: release,
        },
        chart: format!("{}-{version}", of_chart("chart")),
        values: object.pointer("/spec/values").cloned().unwrap_or(Value::Null),
    })
}

/// Whether a version names one alone. Source: <https://semver.org>.
fn is_exact(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.trim_start_matches('v').split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(number) && !version.contains(' ')
}

/// The reference of which it fetches the newest commit, or the commit that it is to fetch.
///
/// # Errors
/// Which one it is cannot be told from its object alone; a clause.
fn follows(repository: &Value) -> Result<String, String> {
    let named =
        |key: &str| Some(text(repository, &format!("/spec/ref/{key}"))).filter(|name| !name.is_empty());
    // In the order in which one takes precedence over the next.
    if let Some(commit) = named("commit") {
        let whole = Folder::is_commit(commit).then(|| commit.to_owned());
        return whole
            .ok_or_else(|| format!("its GitRepository names {commit}, which is no commit's whole id"));
    }
    if let Some(name) = named("name") {
        return Ok(name.to_owned());
    }
    if named("semver").is_some() {
        return Err("its GitRepository follows a range of versions".to_owned());
    }
    if let Some(tag) = named("tag") {
        return Ok(format!("refs/tags/{tag}"));
    }
    Ok(format!("refs/heads/{}", named("branch").unwrap_or(FLUX_BRANCH)))
}

#[cfg(test)]
mod tests {
    use super::{of_helm_release, of_kustomization};
    use serde_json::{Value, json};

    fn repository(spec: Value) -> Value {
        let revision = format!("main@sha1:{}", "3f2a".repeat(10));
        let mut object = json!({
            "metadata": {"name": "deploy", "namespace": "flux"},
            "spec": {"url": "https://git.example.test/shop/deploy.git"},
            "status": {"artifact": {"revision": revision}},
        });
        let spec = spec.as_object().cloned().unwrap_or_default();
        object["spec"].as_object_mut().unwrap().extend(spec);
        object
    }

    #[test]
    fn a_kustomization_applies_what_was_fetched_and_then_the_newest_of_what_it_follows() {
        let check = |reference: Value, expected: &str| {
            let object = json!({"spec": {"path": "./deploy", "targetNamespace": "shop", "prune": true}});
            let read = of_kustomization(&object, &repository(json!({"ref": reference}))).unwrap();
            assert_eq!((read.follows.as_str(), read.suspended), (expected, false));
            assert_eq!(
                (
                    read.fetched.commit.as_str(),
                    read.fetched.path.as_str(),
                    read.prunes
                ),
                ("3f2a".repeat(10).as_str(), "deploy", true)
            );
            assert_eq!(read.fetch, "flux reconcile source git deploy -n flux");
        };
        check(json!({"branch": "main"}), "refs/heads/main");
        check(Value::Null, "refs/heads/master");
        check(json!({"tag": "v1"}), "refs/tags/v1");
        check(
            json!({"branch": "main", "name": "refs/pull/1/head"}),
            "refs/pull/1/head",
        );
        // Named, and perhaps not fetched yet.
        let commit = "9b42".repeat(10);
        check(json!({"branch": "main", "commit": commit}), &commit);
    }

    #[test]
    fn what_a_suspended_source_will_fetch_is_known_before_it_goes_on() {
        let source = repository(json!({"suspend": true, "ref": {"branch": "main"}}));
        let read = of_kustomization(&json!({"spec": {}}), &source).unwrap();
        assert_eq!((read.follows.as_str(), read.suspended), ("refs/heads/main", true));
        assert_eq!(read.fetch, "flux resume source git deploy -n flux");
    }

    #[test]
    fn a_helm_release_installs_one_version_of_a_helm_repository_or_it_is_not_told_which() {
        let of = |version: &str, kind: &str, more: Value| {
            let chart =
                json!({"chart": "shop", "version": version, "sourceRef": {"kind": kind, "name": "charts"}});
            let mut object = json!({
                "metadata": {"name": "shop", "namespace": "flux"},
                "spec": {"chart": {"spec": chart}, "values": {"tag": "v1"}},
            });
            let more = more.as_object().cloned().unwrap_or_default();
            object["spec"].as_object_mut().unwrap().extend(more);
            of_helm_release(&object)
        };
        let next = of("1.2.3", "HelmRepository", json!({"targetNamespace": "shop"})).unwrap();
        assert_eq!(
            (next.chart.as_str(), &next.values),
            ("shop-1.2.3", &json!({"tag": "v1"}))
        );
        assert_eq!(
            (next.release.namespace.as_str(), next.release.name.as_str()),
            ("flux", "shop-shop")
        );
        let why = |version: &str, kind: &str, more: Value| of(version, kind, more).unwrap_err();
        for range in ["1.x", "^1.2.3", "1.2", ""] {
            assert!(
                why(range, "HelmRepository", json!({})).contains("range of versions"),
                "{range}"
            );
        }
        assert!(why("1.2.3", "GitRepository", json!({})).contains("lies in a GitRepository"));
        let from = json!({"valuesFrom": [{"kind": "Secret", "name": "x"}]});
        assert!(why("1.2.3", "HelmRepository", from).contains("spec.valuesFrom"));
    }

    #[test]
    fn what_no_folder_of_git_tells_is_said() {
        let check = |spec: Value, of: Value, expected: &str| {
            assert_eq!(
                of_kustomization(&json!({"spec": spec}), &repository(of)).unwrap_err(),
                expected
            );
        };
        check(
            json!({"postBuild": {"substitute": {"tag": "v2"}}}),
            json!({}),
            "its own spec.postBuild changes what the files say",
        );
        check(
            json!({"patches": [{}]}),
            json!({}),
            "its own spec.patches changes what the files say",
        );
        check(
            json!({}),
            json!({"ignore": "/*"}),
            "spec.ignore of its GitRepository chooses among the files",
        );
        check(
            json!({}),
            json!({"ref": {"semver": "1.x"}}),
            "its GitRepository follows a range of versions",
        );
        check(
            json!({}),
            json!({"ref": {"commit": "3f2a"}}),
            "its GitRepository names 3f2a, which is no commit's whole id",
        );
        let mut fetching = repository(json!({}));
        fetching["status"] = json!({});
        assert_eq!(
            of_kustomization(&json!({}), &fetching).unwrap_err(),
            "its GitRepository has fetched no commit"
        );
    }
}
