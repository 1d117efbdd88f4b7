//! What ConfigMaps hold by files, as kustomize and `kubectl apply` would have it, and what is not told.

use super::super::tree::Tree;
use super::{Built, folder};
use crate::objects::Entry;
use astern_model::hashed;
use astern_model::source::Reach;
use serde_json::{Value, json};

/// What a folder of these files makes.
fn built(path: &str, files: &[(&str, &str)]) -> Built {
    taken(path, files, Reach::Flat)
}

fn taken(path: &str, files: &[(&str, &str)], reach: Reach) -> Built {
    let entries = files.iter().map(|(path, text)| Entry {
        path: (*path).to_owned(),
        mode: if *text == "LINK" { "120000" } else { "100644" }.to_owned(),
        blob: (*path).to_owned(),
    });
    let mut tree = Tree::of(entries);
    loop {
        let built = folder(&tree, path, reach);
        let missing = tree.missing();
        if missing.is_empty() {
            return built;
        }
        for (path, blob) in missing {
            let text = files.iter().find(|(path, _)| *path == blob).unwrap().1;
            tree.put(&path, Ok(text.to_owned()));
        }
    }
}

fn data(built: &Built, name: &str) -> Value {
    built.find(name, "shop").unwrap().json["data"].clone()
}

fn told(built: &Built, name: &str, words: &str) {
    let why = built.find(name, "shop").unwrap_err();
    assert!(why.contains(words), "{why}");
}

fn config_map(name: &str, mode: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  MODE: {mode}\n")
}

#[test]
fn manifests_are_read_as_they_stand_in_their_own_folder_and_namespace() {
    let elsewhere = "kind: ConfigMap\nmetadata: {name: app, namespace: other}\ndata: {MODE: storm}\n";
    let several = format!(
        "{}---\n{elsewhere}---\nkind: Service\n",
        config_map("app", "calm")
    );
    let listed = "kind: List\nitems:\n- {kind: ConfigMap, metadata: {name: listed}, data: {A: \"1\"}, binaryData: {B: AAE=}}\n";
    let built = built(
        "deploy",
        &[
            ("deploy/all.yaml", &several),
            ("deploy/list.yml", listed),
            ("deploy/below/app.yaml", &config_map("app", "storm")),
            ("deploy/broken.yaml", "a: [\n"),
            ("deploy/notes.txt", "kind: ConfigMap"),
        ],
    );
    assert_eq!(data(&built, "app"), json!({"MODE": "calm"}));
    let listed = built.find("listed", "shop").unwrap();
    assert_eq!(
        (listed.file.as_str(), &listed.json["binaryData"]),
        ("deploy/list.yml", &json!({"B": "AAE="}))
    );
    told(&built, "gone", "deploy/broken.yaml: it is not YAML");
}

#[test]
fn what_a_manifest_does_not_say_plainly_is_not_told() {
    let of = |data: &str| {
        let text = format!("kind: ConfigMap\nmetadata: {{name: app}}\ndata: {data}\n");
        built("", &[("app.yaml", &text)])
    };
    told(&of("{LIMIT: 10}"), "app", "data.LIMIT is no text");
    told(&of("{A: &a x, B: *a}"), "app", "anchors");
    told(&of("[a]"), "app", "data is no mapping");
    let twice = [
        ("a.yaml", config_map("app", "calm")),
        ("b.yaml", config_map("app", "storm")),
    ];
    let twice: Vec<(&str, &str)> = twice.iter().map(|(path, text)| (*path, text.as_str())).collect();
    told(
        &built("", &twice),
        "app",
        "several places make it: a.yaml, b.yaml",
    );
    told(
        &built("", &[("app.yaml", "LINK")]),
        "app",
        "app.yaml is a symbolic link",
    );
}

const BASE: &str = "\
resources: [api.yaml]
configMapGenerator:
- name: app
  literals: [MODE=calm, 'QUOTED=\"a b\"', 'URL=http://x?a=b']
  envs: [app.env]
  files: [app.properties, other.conf=files/x.conf]
";

fn base() -> Vec<(&'static str, &'static str)> {
    vec![
        ("base/kustomization.yaml", BASE),
        ("base/api.yaml", "kind: Deployment\n"),
        ("base/app.env", "# limits\n\n  LIMIT=10 \nEMPTY\n"),
        ("base/app.properties", "a=1\n"),
        ("base/files/x.conf", "x\n"),
    ]
}

fn generated() -> Value {
    json!({"MODE": "calm", "QUOTED": "a b", "URL": "http://x?a=b", "LIMIT": "10 ", "EMPTY": "", "app.properties": "a=1\n",
        "other.conf": "x\n"})
}

#[test]
fn a_generated_config_map_is_found_by_the_hash_in_its_name() {
    let built = built("base", &base());
    let name = hashed::name("app", &json!({"data": generated()}));
    assert_eq!(data(&built, &name), generated());
    assert_eq!(built.find(&name, "shop").unwrap().file, "base/kustomization.yaml");
    told(
        &built,
        "app-5f7hkg2mtb",
        "makes it with another content, under the name app-",
    );
    told(&built, "app", "no file there makes it");
}

#[test]
fn an_overlay_adds_to_names_and_merges_into_what_its_base_generates() {
    let overlay = "\
resources: [../../base]
namePrefix: prod-
namespace: shop
generatorOptions: {disableNameSuffixHash: true}
configMapGenerator:
- {name: app, behavior: merge, literals: [MODE=storm]}
patches:
- target: {kind: Deployment}
  patch: '[]'
- path: more.yaml
";
    let mut files = base();
    files.push(("overlays/prod/kustomization.yaml", overlay));
    files.push((
        "overlays/prod/more.yaml",
        "kind: Deployment\nmetadata: {name: api}\n",
    ));
    let built = built("overlays/prod", &files);
    let mut expected = generated();
    expected["MODE"] = json!("storm");
    assert_eq!(data(&built, "prod-app"), expected);
    assert_eq!(
        built.find("prod-app", "shop").unwrap().file,
        "overlays/prod/kustomization.yaml"
    );
}

#[test]
fn what_a_kustomization_does_beside_is_said_and_not_guessed() {
    let with = |more: &str| {
        let mut files = base();
        let text = format!("resources: [../base, plain.yaml]\n{more}");
        let plain = config_map("plain", "calm");
        files.push(("prod/kustomization.yaml", &text));
        files.push(("prod/plain.yaml", &plain));
        files.push((
            "prod/patch.yaml",
            "kind: ConfigMap\nmetadata: {name: plain}\ndata: {MODE: storm}\n",
        ));
        built("prod", &files)
    };
    assert_eq!(data(&with(""), "plain"), json!({"MODE": "calm"}));
    for more in [
        "patches: [{path: patch.yaml}]",
        "patchesStrategicMerge: [patch.yaml]",
        "patches: [{patch: '[{op: replace}]', target: {name: plain}}]",
        "patches: [{path: gone.yaml}]",
        "replacements: [{source: {kind: Secret}}]",
        "components: [../component]",
    ] {
        let key = more.split(':').next().unwrap();
        told(&with(more), "plain", &format!("has {key}, which may change it"));
    }
    told(
        &with(
            "configMapGenerator: [{name: new, files: [../../out.conf]}]\ngeneratorOptions: {disableNameSuffixHash: true}",
        ),
        "new",
        "../../out.conf lies elsewhere",
    );
    told(
        &built(
            "x",
            &[(
                "x/kustomization.yaml",
                "resources: [https://git.example.test/base, gone]\n",
            )],
        ),
        "app",
        "which lies elsewhere, x/gone, which is not there",
    );
    let circle = [
        ("a/kustomization.yaml", "resources: [../b]\n"),
        ("b/kustomization.yaml", "resources: [../a]\n"),
    ];
    told(&built("a", &circle), "app", "one base too many");
}

#[test]
fn images_are_told_as_the_kustomization_sets_them_and_only_where_they_are_certain() {
    let api = "kind: Deployment\nmetadata: {name: api}\nspec: {template: {spec: {containers: [{name: api, image: 'registry.test/api:v1'}]}}}\n";
    let of = |more: &str| {
        let text = format!("resources: [api.yaml]\n{more}");
        let built = built("", &[("kustomization.yaml", &text), ("api.yaml", api)]);
        let images = built.images("shop").into_iter();
        images
            .map(|(target, images)| format!("{target} {}", images["api"]))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(of(""), "deployment/api registry.test/api:v1");
    assert_eq!(
        of("namePrefix: prod-\nimages: [{name: registry.test/api, newTag: v2}]"),
        "deployment/prod-api registry.test/api:v2"
    );
    assert_eq!(
        of("images: [{name: registry.test/api, newName: mirror.test/api}, {name: other, newTag: v9}]"),
        "deployment/api mirror.test/api:v1"
    );
    assert_eq!(of("patches: [{target: {kind: Deployment}, patch: '[]'}]"), "");
}

/// What a folder makes, a line each: kind and name, and what is asked for of it.
fn makes(files: &[(&str, &str)], at: &str) -> Vec<String> {
    let made = built("", files).manifests();
    let told = made.objects.iter().map(|object| match &object.json {
        Ok(json) => format!(
            "{} {} {}",
            object.kind,
            object.name,
            json.pointer(at).unwrap_or(&Value::Null)
        ),
        Err(why) => format!("{} {}: {why}", object.kind, object.name),
    });
    let unread = made.unread.iter().map(|what| format!("unread {what}"));
    told.chain(unread).collect()
}

const API: &str = "kind: Deployment\nmetadata: {name: api}\nspec: {template: {metadata: {labels: {app: api}}, spec: {\
                   containers: [{name: api, image: 'api:v1', envFrom: [{configMapRef: {name: settings}}]}]}}}\n";

#[test]
fn a_workload_is_told_with_images_labels_and_the_names_of_generated_config_maps() {
    let of = |more: &str, at: &str| {
        let text = format!("resources: [api.yaml]\n{more}");
        makes(&[("kustomization.yaml", &text), ("api.yaml", API)], at)
    };
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(
        of("images: [{name: api, newTag: v2}]", image),
        [r#"Deployment api "api:v2""#]
    );
    let labels = "/spec/template/metadata/labels";
    assert_eq!(
        of(
            "labels: [{pairs: {tier: web}}, {pairs: {team: shop}, includeTemplates: true}]",
            labels
        ),
        [r#"Deployment api {"app":"api","team":"shop"}"#]
    );
    let name = hashed::name("settings", &json!({"data": {"LEVEL": "info"}}));
    assert_eq!(
        of(
            "configMapGenerator: [{name: settings, literals: [LEVEL=info]}]",
            "/spec/template/spec/containers/0/envFrom/0/configMapRef/name"
        ),
        [
            format!("ConfigMap {name} null"),
            format!("Deployment api {:?}", name)
        ]
    );
    let plain = makes(
        &[
            ("api.yaml", API),
            (
                "owner.yaml",
                "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: db}\n",
            ),
        ],
        "/spec/template/spec/containers/0/image",
    );
    assert_eq!(plain, [r#"Deployment api "api:v1""#, "HelmRelease db null"]);
}

#[test]
fn labels_of_selectors_go_wherever_kustomize_has_them_and_others_into_the_template_alone() {
    let selects = "{labelSelector: {matchLabels: {app: api}}}";
    let spec = format!(
        "{{selector: {{matchLabels: {{app: api}}}}, template: {{metadata: {{labels: {{app: api}}}}, spec: {{\
         affinity: {{podAntiAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: \
         [{{weight: 1, podAffinityTerm: {selects}}}]}}}}, topologySpreadConstraints: [{selects}, {{maxSkew: 1}}]}}}}, \
         volumeClaimTemplates: [{{metadata: {{name: data}}}}]}}"
    );
    let of = |kind: &str, more: &str| {
        let api = format!("kind: {kind}\nmetadata: {{name: api}}\nspec: {spec}\n");
        let text = format!("resources: [api.yaml]\n{more}");
        let made = built("", &[("kustomization.yaml", &text), ("api.yaml", &api)]).manifests();
        let json = made.objects[0].json.clone().unwrap();
        let at = |place: &str| {
            json.pointer(place)
                .and_then(|labels| labels.get("team"))
                .is_some()
        };
        let affinity = "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0";
        let near = [
            format!("/spec/template/spec{affinity}/podAffinityTerm/labelSelector/matchLabels"),
            "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels".to_owned(),
        ];
        assert!(
            json.pointer("/spec/template/spec/topologySpreadConstraints/1/labelSelector")
                .is_none()
        );
        let mut places = String::new();
        for (place, is_there) in [
            ("template ", at("/spec/template/metadata/labels")),
            ("selector ", at("/spec/selector/matchLabels")),
            ("near ", near.iter().all(|place| at(place))),
            ("claims", at("/spec/volumeClaimTemplates/0/metadata/labels")),
        ] {
            if is_there {
                places.push_str(place);
            }
        }
        places
    };
    let common = "commonLabels: {team: shop}";
    assert_eq!(of("StatefulSet", common), "template selector near claims");
    assert_eq!(of("Deployment", common), "template selector near ");
    assert_eq!(of("DaemonSet", common), "template selector ");
    assert_eq!(
        of(
            "Deployment",
            "labels: [{pairs: {team: shop}, includeSelectors: true}]"
        ),
        "template selector near "
    );
    assert_eq!(
        of(
            "Deployment",
            "labels: [{pairs: {team: shop}, includeTemplates: true}]"
        ),
        "template "
    );
    // kustomize knows no place of a Rollout unless it is told.
    assert_eq!(of("Rollout", common), "");
}

#[test]
fn labels_for_what_is_no_mapping_make_the_workload_untold() {
    let of = |metadata: &str, more: &str| {
        let api = format!(
            "kind: Deployment\nmetadata: {{name: api}}\nspec: {{template: {{metadata: {metadata}}}}}\n"
        );
        let text = format!("resources: [api.yaml]\n{more}");
        makes(&[("kustomization.yaml", &text), ("api.yaml", &api)], "/kind").join("; ")
    };
    let untold = |field: &str| format!("Deployment api: its spec.template.metadata.{field} is no mapping");
    let templates = "labels: [{pairs: {team: shop}, includeTemplates: true}]";
    for metadata in ["[]", "text", "{labels: []}", "{labels: 1}"] {
        assert_eq!(of(metadata, templates), untold("labels"), "{metadata}");
    }
    let annotations = "commonAnnotations: {team: shop}";
    assert_eq!(of("{annotations: []}", annotations), untold("annotations"));
    assert_eq!(of("null", annotations), r#"Deployment api "Deployment""#);
}

#[test]
fn what_flux_leaves_out_is_not_told_as_made() {
    let json = r#"{"kind": "Deployment", "metadata": {"name": "old"}}"#;
    let of = |files: &[(&str, &str)], reach: Reach| {
        let made = taken("deploy", files, reach).manifests();
        let names: Vec<String> = made.objects.into_iter().map(|object| object.name).collect();
        (names.join(" "), made.unread.join(" "))
    };
    let plain = [("deploy/a/api.yaml", API), ("deploy/a/old.json", json)];
    assert_eq!(of(&plain, Reach::Deep), ("api old".to_owned(), String::new()));
    assert_eq!(of(&plain, Reach::Flux), ("api".to_owned(), String::new()));
    // A kustomization may name a file of JSON.
    let named = [
        ("deploy/kustomization.yaml", "resources: [old.json]"),
        ("deploy/old.json", json),
    ];
    assert_eq!(of(&named, Reach::Flux), ("old".to_owned(), String::new()));
    for ignore in [".sourceignore", "deploy/a/.sourceignore"] {
        let files = [("deploy/a/api.yaml", API), (ignore, "old.yaml")];
        let unread = format!("{ignore}, by which Flux leaves files out");
        assert_eq!(of(&files, Reach::Flux), ("api".to_owned(), unread));
        assert_eq!(of(&files, Reach::Deep), ("api".to_owned(), String::new()));
    }
}

#[test]
fn what_is_done_to_a_workload_and_not_known_here_makes_it_untold() {
    let of = |more: &str| {
        let text = format!("resources: [api.yaml]\n{more}");
        makes(&[("kustomization.yaml", &text), ("api.yaml", API)], "/kind").join("; ")
    };
    let told = r#"Deployment api "Deployment""#;
    let untold = |key: &str| {
        format!(
            "Deployment api: kustomization.yaml has {key}, which may change it and which astern does not carry out"
        )
    };
    assert_eq!(of("patches: [{target: {kind: Service}, patch: '[]'}]"), told);
    assert_eq!(
        of("patches: [{target: {kind: Deployment, name: web}, patch: '[]'}]"),
        told
    );
    assert_eq!(
        of("patches: [{target: {kind: Deployment, name: .*}, patch: '[]'}]"),
        untold("patches")
    );
    assert_eq!(
        of("patches: [{target: {labelSelector: app=api}, patch: '[]'}]"),
        untold("patches")
    );
    assert_eq!(
        of("replacements: [{path: x.yaml}]"),
        format!(
            "{}; unread replacements of kustomization.yaml",
            untold("replacements")
        )
    );
    assert_eq!(
        of("helmCharts: [{name: x}]"),
        format!(
            "{}; unread helmCharts of kustomization.yaml",
            untold("helmCharts")
        )
    );
    assert_eq!(
        of("namePrefix: prod-"),
        "Deployment prod-api: kustomization.yaml has namePrefix: astern does not follow what else is named anew by it"
    );
    let reads = "configMapGenerator: [{name: settings, files: [gone]}]";
    assert!(
        of(reads).contains("Deployment api: it reads a generated ConfigMap: gone is not there"),
        "{}",
        of(reads)
    );
}
