//! Whole reverts in files of each kind of source.

use super::{EditError, Edited, Files, edit};
use crate::yaml::Trouble;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::diff::{Change, Shown};
use astern_model::helm::ReleaseName;
use astern_model::id::RunId;
use astern_model::source::{
    ChartRevert, ConfigRevert, Revert, Source, SourceKind, ValuesImage, WorkloadRevert,
};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn template(image: &str, env: &[(&str, &str)]) -> Template {
    let env: Vec<Value> = env
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    Template::clean(json!({
        "metadata": {"labels": {"app": "api"}},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "api", "image": image, "env": env, "imagePullPolicy": "IfNotPresent"}],
        },
    }))
}

fn workload(from: Template, to: Template) -> WorkloadRevert {
    WorkloadRevert {
        target: Target {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: "api".to_owned(),
        },
        from,
        to,
    }
}

fn revert(workloads: Vec<WorkloadRevert>) -> Revert {
    Revert {
        run: RunId::from("r1"),
        workloads,
        config: Vec::new(),
        values: Vec::new(),
        charts: Vec::new(),
    }
}

fn images(from: &str, to: &str) -> Revert {
    revert(vec![workload(template(from, &[]), template(to, &[]))])
}

fn config(name: &str, key: &str, from: Option<&str>, to: Option<&str>) -> Revert {
    let value = |text: Option<&str>| text.map(str::to_owned);
    Revert {
        config: vec![ConfigRevert {
            object: ConfigName {
                kind: ConfigKind::ConfigMap,
                name: name.to_owned(),
            },
            namespace: "shop".to_owned(),
            keys: BTreeMap::from([(key.to_owned(), (value(from), value(to)))]),
        }],
        ..revert(Vec::new())
    }
}

fn files(files: &[(&str, &str)]) -> Files {
    Files {
        texts: files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect(),
        closed: BTreeMap::new(),
    }
}

fn source(kind: SourceKind) -> Source {
    Source {
        repository: "file:///x".to_owned(),
        branch: "main".to_owned(),
        path: "prod".to_owned(),
        kind,
        workloads: Vec::new(),
        token: None,
        pull_requests: None,
    }
}

fn values(images: Vec<ValuesImage>) -> SourceKind {
    SourceKind::HelmValues {
        file: "values.yaml".to_owned(),
        images,
    }
}

fn done(kind: SourceKind, given: &[(&str, &str)], revert: &Revert) -> Edited {
    edit(&files(given), &source(kind), revert).unwrap_or_else(|error| panic!("{error:?}"))
}

fn refused(kind: SourceKind, given: &[(&str, &str)], revert: &Revert) -> EditError {
    edit(&files(given), &source(kind), revert).expect_err("a refusal")
}

const DEPLOYMENT: &str = "\
apiVersion: v1
kind: Service
metadata: {name: api}
---
# owned by the shop team
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: api
        image: registry.test/api:v2 # renovate
        env:
        - name: LOG # noisy
          value: debug
";

#[test]
fn a_manifest_goes_back_place_by_place_and_keeps_its_comments() {
    let revert = revert(vec![workload(
        template("registry.test/api:v2", &[("LOG", "debug")]),
        template("registry.test/api:v1", &[("LOG", "info"), ("OLD", "1")]),
    )]);
    let edited = done(SourceKind::Manifests, &[("prod/api.yaml", DEPLOYMENT)], &revert);
    let expected = DEPLOYMENT.replace("api:v2", "api:v1").replace(
        "value: debug\n",
        "value: info\n        - name: OLD\n          value: \"1\"\n",
    );
    assert_eq!(edited.texts["prod/api.yaml"], expected);
    let told: Vec<String> = edited
        .places
        .iter()
        .map(|place| format!("{}: {} → {}", place.at, place.from, place.to))
        .collect();
    assert_eq!(
        told,
        [
            "spec.template.spec.containers[api].env[LOG].value: (before) → (after)",
            "spec.template.spec.containers[api].env[OLD]: nothing → (after)",
            "spec.template.spec.containers[api].image: registry.test/api:v2 → registry.test/api:v1",
        ]
    );
}

#[test]
fn a_workload_that_stands_nowhere_or_twice_is_refused_with_what_is_there() {
    let revert = images("api:v2", "api:v1");
    let other = DEPLOYMENT.replace("name: api\nspec", "name: web\nspec");
    let EditError::NotFound { hint, .. } =
        refused(SourceKind::Manifests, &[("prod/web.yaml", &other)], &revert)
    else {
        panic!("not found");
    };
    assert!(hint.contains("web (prod/web.yaml)"), "{hint}");
    let twice = [("prod/a.yaml", DEPLOYMENT), ("prod/b.yaml", DEPLOYMENT)];
    assert!(matches!(
        refused(SourceKind::Manifests, &twice, &revert),
        EditError::Ambiguous { places, .. } if places == ["prod/a.yaml", "prod/b.yaml"]
    ));
    // The source went on meanwhile: what stands there is nobody's to take back.
    let later = DEPLOYMENT.replace("api:v2", "api:v3");
    assert!(matches!(
        refused(
            SourceKind::Manifests,
            &[("prod/api.yaml", &later)],
            &images("registry.test/api:v2", "registry.test/api:v1")
        ),
        EditError::Place {
            trouble: Trouble::Other(_),
            ..
        }
    ));
}

#[test]
fn a_source_that_says_the_good_version_already_is_left() {
    let good = DEPLOYMENT.replace("api:v2", "api:v1");
    let edited = done(
        SourceKind::Manifests,
        &[("prod/api.yaml", &good)],
        &images("registry.test/api:v2", "registry.test/api:v1"),
    );
    assert_eq!(edited, Edited::default());
}

const KUSTOMIZATION: &str = "\
resources: [../base]
images:
- name: api # by its short name
  newName: registry.test/api
  newTag: v2
- name: other
  newTag: v2
configMapGenerator:
- name: app-config
  literals:
  - MODE=fast # since may
  - LEVEL=3
";

#[test]
fn a_folder_is_a_kustomization_where_it_has_one() {
    let revert = images("registry.test/api:v2", "registry.test/api:v1");
    let file = |given: &[(&str, &str)]| {
        let edited = done(SourceKind::Folder, given, &revert);
        edited.texts.into_keys().next()
    };
    let both = [
        ("prod/kustomization.yaml", KUSTOMIZATION),
        ("prod/api.yaml", DEPLOYMENT),
    ];
    assert_eq!(file(&both).as_deref(), Some("prod/kustomization.yaml"));
    assert_eq!(file(&both[1..]).as_deref(), Some("prod/api.yaml"));
}

#[test]
fn an_image_of_a_kustomization_goes_back_by_its_entry() {
    let set = |from: &str, to: &str| {
        done(
            SourceKind::Kustomize,
            &[("prod/kustomization.yaml", KUSTOMIZATION)],
            &images(from, to),
        )
        .texts["prod/kustomization.yaml"]
            .clone()
    };
    assert_eq!(
        set("registry.test/api:v2", "registry.test/api:v1"),
        KUSTOMIZATION.replacen("newTag: v2", "newTag: v1", 1)
    );
    assert_eq!(
        set("registry.test/api:v2", "old.test/api:v1"),
        KUSTOMIZATION
            .replacen("newTag: v2", "newTag: v1", 1)
            .replace("registry.test/api", "old.test/api")
    );
    let digest = format!("sha256:{}", "a".repeat(64));
    assert_eq!(
        set("registry.test/api:v2", &format!("registry.test/api@{digest}")),
        KUSTOMIZATION.replacen("newTag: v2", &format!("digest: {digest}"), 1)
    );
}

#[test]
fn a_literal_of_a_generator_goes_back_under_the_name_that_kustomize_made() {
    for name in ["app-config", "app-config-7k2m9h4b6t"] {
        let edited = done(
            SourceKind::Kustomize,
            &[("prod/kustomization.yaml", KUSTOMIZATION)],
            &config(name, "LEVEL", Some("3"), Some("1")),
        );
        assert_eq!(
            edited.texts["prod/kustomization.yaml"].replace('\n', "|"),
            KUSTOMIZATION.replace("LEVEL=3", "LEVEL=1").replace('\n', "|")
        );
    }
    assert!(matches!(
        refused(
            SourceKind::Kustomize,
            &[("prod/kustomization.yaml", KUSTOMIZATION)],
            &config("app-config", "LEVEL", Some("9"), Some("1"))
        ),
        EditError::NotFound { .. }
    ));
}

#[test]
fn a_kustomization_that_cannot_say_it_is_refused_with_the_places() {
    let given = [("prod/kustomization.yaml", KUSTOMIZATION)];
    let revert = revert(vec![workload(
        template("registry.test/api:v2", &[("A", "1")]),
        template("registry.test/api:v1", &[]),
    )]);
    assert!(matches!(
        refused(SourceKind::Kustomize, &given, &revert),
        EditError::Beyond { at, .. } if at == ["spec.containers[api].env"] || at == ["spec.containers[api].env[A]"]
    ));
    assert!(matches!(
        refused(
            SourceKind::Kustomize,
            &[("prod/x.yaml", "a: 1\n")],
            &images("a:v2", "a:v1")
        ),
        EditError::NotFound { .. }
    ));
    let twice = format!("{KUSTOMIZATION}---\n").replace("name: other", "name: registry.test/api");
    assert!(matches!(
        refused(
            SourceKind::Kustomize,
            &[("prod/kustomization.yaml", &twice)],
            &images("registry.test/api:v2", "registry.test/api:v1")
        ),
        EditError::Ambiguous { .. }
    ));
}

const VALUES: &str = "\
# chart values
image:
  repository: registry.test/api
  tag: \"2.0\"   # bumped by the pipeline
sidecar: {image: {tag: v2}}
";

#[test]
fn the_tag_and_repository_of_values_go_back() {
    let given = [("prod/values.yaml", VALUES)];
    let set = |from: &str, to: &str| {
        done(values(Vec::new()), &given, &images(from, to)).texts["prod/values.yaml"].clone()
    };
    assert_eq!(
        set("registry.test/api:2.0", "registry.test/api:1.9"),
        VALUES.replace("\"2.0\"", "\"1.9\"")
    );
    let place = ValuesImage {
        container: Some("api".to_owned()),
        repository: None,
        tag: "sidecar.image.tag".to_owned(),
    };
    let edited = done(
        values(vec![place]),
        &given,
        &images("registry.test/api:v2", "registry.test/api:v1"),
    );
    assert_eq!(
        edited.texts["prod/values.yaml"],
        VALUES.replace("tag: v2", "tag: v1")
    );
}

#[test]
fn all_values_that_a_release_went_back_with_go_back() {
    let text = "image: {repository: api, tag: v2}\nlevel: debug # noisy\nreplicas: 3\nflag: true\n";
    let value = |path: &str, from: Option<&str>, to: Option<&str>| Change {
        path: path.to_owned(),
        from: from.map(|text| Shown::Value(text.to_owned())),
        to: to.map(|text| Shown::Value(text.to_owned())),
    };
    let with = |more: Vec<Change>| Revert {
        values: more,
        ..images("api:v2", "api:v1")
    };
    let given = [("prod/values.yaml", text)];
    let revert = with(vec![
        value("image.tag", Some("v2"), Some("v1")),
        value("level", Some("debug"), Some("info")),
        value("replicas", Some("3"), Some("2")),
        value("flag", Some("true"), Some("false")),
    ]);
    let edited = done(values(Vec::new()), &given, &revert);
    assert_eq!(
        edited.texts["prod/values.yaml"],
        "image: {repository: api, tag: v1}\nlevel: info # noisy\nreplicas: 2\nflag: false\n"
    );
    let other = with(vec![value("level", Some("warn"), Some("info"))]);
    assert!(matches!(
        refused(values(Vec::new()), &given, &other),
        EditError::Place {
            trouble: Trouble::Other(_),
            ..
        }
    ));
    let hidden = Change {
        path: "password".to_owned(),
        from: Some(Shown::Masked),
        to: Some(Shown::Masked),
    };
    for beyond in [
        hidden,
        value("new", None, Some("1")),
        value("hosts[a]", Some("1"), Some("2")),
    ] {
        let path = beyond.path.clone();
        assert!(matches!(
            refused(values(Vec::new()), &given, &with(vec![beyond])),
            EditError::Beyond { at, .. } if at == [path]
        ));
    }
}

#[test]
fn a_helm_release_of_flux_goes_back_in_its_own_manifest_with_its_chart() {
    let text = "\
kind: HelmRepository
metadata: {name: shop}
---
# the shop, by its chart
kind: HelmRelease
metadata: {name: shop, namespace: flux-system}
spec:
  chart:
    spec: {chart: shop, version: 1.3.0} # by renovate
  values:
    web:
      tag: v2 # by the pipeline
    level: debug
";
    let value = |path: &str, from: &str, to: &str| Change {
        path: path.to_owned(),
        from: Some(Shown::Value(from.to_owned())),
        to: Some(Shown::Value(to.to_owned())),
    };
    let of = |charts: &[(&str, &str)], values: Vec<Change>| Revert {
        values,
        charts: charts
            .iter()
            .map(|(from, to)| ChartRevert {
                release: ReleaseName {
                    namespace: "shop".to_owned(),
                    name: "shop".to_owned(),
                },
                from: (*from).to_owned(),
                to: (*to).to_owned(),
            })
            .collect(),
        ..images("api:v2", "api:v1")
    };
    let kind = |name: &str| SourceKind::HelmRelease {
        name: name.to_owned(),
        namespace: Some("flux-system".to_owned()),
        images: Vec::new(),
    };
    let given = [("prod/shop.yaml", text)];
    // The image goes back by a value that the release went back with, wherever its chart has it.
    let whole = of(
        &[("1.3.0", "1.2.4")],
        vec![value("web.tag", "v2", "v1"), value("level", "debug", "info")],
    );
    let edited = done(kind("shop"), &given, &whole);
    let expected = text
        .replace("version: 1.3.0", "version: 1.2.4")
        .replace("tag: v2", "tag: v1")
        .replace("level: debug", "level: info");
    assert_eq!(edited.texts["prod/shop.yaml"], expected);
    let places: Vec<String> = edited.places.iter().map(|place| place.at.clone()).collect();
    assert_eq!(
        places,
        [
            "spec.values.web.tag",
            "spec.values.level",
            "spec.chart.spec.version"
        ]
    );
    // Somebody has pinned another chart since, or follows a range.
    for version in ["1.4.0", "1.x"] {
        let other = text.replace("1.3.0", version);
        let refused = refused(kind("shop"), &[("prod/shop.yaml", &other)], &whole);
        assert!(matches!(refused, EditError::Place { .. }), "{refused:?}");
    }
    assert!(matches!(
        refused(kind("other"), &given, &whole),
        EditError::NotFound { what, .. } if what == "helmrelease/other"
    ));
}

#[test]
fn values_that_cannot_say_it_are_refused() {
    let given = [("prod/values.yaml", VALUES)];
    assert!(matches!(
        refused(
            values(Vec::new()),
            &given,
            &images("registry.test/api:3.0", "registry.test/api:1.9")
        ),
        EditError::Place {
            trouble: Trouble::Other(_),
            ..
        }
    ));
    assert!(matches!(
        refused(values(Vec::new()), &[("prod/x.yaml", "")], &images("a:1", "a:2")),
        EditError::NotFound { .. }
    ));
    assert!(matches!(
        refused(
            values(Vec::new()),
            &given,
            &config("app-config", "A", Some("1"), Some("2"))
        ),
        EditError::Beyond { .. }
    ));
}

#[test]
fn a_config_map_goes_back_key_by_key() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-config\n  namespace: shop\ndata:\n  # tuned\n  LEVEL: \"3\"\n";
    let given = [("prod/config.yaml", text)];
    let edited = done(
        SourceKind::Manifests,
        &given,
        &config("app-config", "LEVEL", Some("3"), Some("1")),
    );
    assert_eq!(edited.texts["prod/config.yaml"], text.replace("\"3\"", "\"1\""));
    assert_eq!(edited.places[0].from, "(before)");
    let edited = done(
        SourceKind::Manifests,
        &given,
        &config("app-config", "NEW", None, Some("x")),
    );
    assert_eq!(edited.texts["prod/config.yaml"], format!("{text}  NEW: x\n"));
}
