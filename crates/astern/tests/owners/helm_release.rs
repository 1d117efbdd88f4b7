//! A rollback under the real helm-controller: its HelmRelease is paused, and then the Helm release goes back as a whole by the helm
//! program, so that its records say what runs. Flux goes on from there once its source says so too.

use crate::owner::{flux_helm_release, flux_kustomization, flux_source, until_ready};
use crate::repository::Repository;
use crate::support::{Done, Place, ended, kubeconfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const YES: [&str; 4] = ["--yes", "--reason", "it crashes", "--foreground"];
/// Longer than the release's interval of two seconds.
const WATCHED: Duration = Duration::from_secs(8);
/// A commit is seen, packed and installed in seconds; a machine that builds needs longer.
const SEEN_WITHIN: u64 = 120;

/// The chart at this version; v2 crashes.
fn commit(repository: &Repository, version: &str) -> String {
    let crash = if version == "v2" {
        ", kwok.astern.dev/crash-loop: \"true\""
    } else {
        ""
    };
    let template = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec:\n  replicas: 1\n  progressDeadlineSeconds: 60\n  \
         selector: {{matchLabels: {{app: api}}}}\n  template:\n    metadata: {{labels: {{app: api{crash}}}}}\n    spec:\n      \
         containers:\n      - name: api\n        image: {{{{ .Values.image }}}}\n"
    );
    repository.commit(
        version,
        &[
            ("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n"),
            ("chart/values.yaml", &format!("image: api:{version}\n")),
            ("chart/templates/api.yaml", &template),
        ],
    )
}

/// Each helm program that the lane has built.
fn helms() -> Vec<PathBuf> {
    let list = std::env::var_os("ASTERN_TEST_HELMS")
        .expect("run `cargo xtask test --lane owners`, which sets ASTERN_TEST_HELMS");
    std::env::split_paths(&list).collect()
}

fn astern(place: &Place, helm: &Path, words: &[&str]) -> Done {
    let mut command = place.command(&kubeconfig(), words);
    command.env("ASTERN_HELM", helm);
    ended(&mut command).into()
}

/// The release's records: revision and status, the newest last.
fn records(place: &Place) -> Vec<(u64, String)> {
    let found = place.kubectl(&["get", "secrets", "-l", "owner=helm,name=shop", "-o", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let record = |secret: &Value| {
        let label = |name: &str| secret["metadata"]["labels"][name].as_str().unwrap().to_owned();
        (label("version").parse().unwrap(), label("status"))
    };
    let mut records: Vec<(u64, String)> = found["items"].as_array().unwrap().iter().map(record).collect();
    records.sort();
    records
}

fn newest(place: &Place) -> Option<(u64, String)> {
    records(place).pop()
}

/// v1 serves and is old enough to be presumed good; v2 crashes. Both by way of Git.
fn bad_release(place: &Place, repository: &Repository) {
    commit(repository, "v1");
    flux_source(place, repository);
    flux_helm_release(place, "./chart");
    until_ready(place, "helmrelease/shop");
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    std::thread::sleep(Duration::from_millis(1500));
    commit(repository, "v2");
    place.until("v2 to be installed", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2" && newest(place) == Some((2, "deployed".to_owned()))
    });
    place.until("v2 to crash", SEEN_WITHIN, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
}

/// Nobody writes v1 away, and nobody installs anything.
fn it_stays(place: &Place) {
    let standing = |place: &Place| {
        (
            place.get("deployment/api")["metadata"]["generation"].clone(),
            records(place),
        )
    };
    let before = standing(place);
    let since = Instant::now();
    while since.elapsed() < WATCHED {
        assert_eq!(place.image("api"), "api:v1");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(standing(place), before);
}

fn says(done: &Done, words: &[&str]) {
    let all = format!("{}{}", done.out, done.err);
    for word in words {
        assert!(all.contains(word), "{word:?} is not in\n{all}");
    }
}

#[test]
fn a_rollback_under_a_flux_helm_release_goes_through_helm_and_flux_goes_on_from_it() {
    for (at, helm) in helms().iter().enumerate() {
        let place = Place::new(&format!("flux-release-{at}"));
        place.platform("");
        let repository = Repository::new(&place);
        bad_release(&place, &repository);

        let plan = astern(&place, helm, &["plan"]).expect(0);
        let pauses = format!("pause Flux HelmRelease {}/shop", place.namespace);
        let goes_back = "roll helm/shop back from revision 2 to 1 with helm";
        says(&plan, &[&pauses, goes_back, "1 owner paused"]);
        let place_of = |words: &str| plan.out.find(words).unwrap();
        assert!(place_of(&pauses) < place_of(goes_back), "{}", plan.out);
        assert!(!plan.out.contains("AST0228"), "{}", plan.out);
        // Beside the release only by somebody's word, and what follows from that is said.
        let beside = astern(&place, helm, &["plan", "--outside-helm"]).expect(0);
        says(
            &beside,
            &[&pauses, "AST0228", "whose next upgrade writes it again"],
        );
        assert_eq!(
            newest(&place),
            Some((2, "deployed".to_owned())),
            "a plan changes nothing"
        );

        let done = astern(&place, helm, &[&["rollback"], &YES[..]].concat()).expect(0);
        says(&done, &["owners paused"]);
        assert_eq!(place.image("api"), "api:v1");
        assert_eq!(newest(&place), Some((3, "deployed".to_owned())));
        it_stays(&place);
        assert_eq!(place.get("helmrelease/shop")["spec"]["suspend"], true);
        says(
            &place.astern(&["status"]).expect(0),
            &[
                "Flux HelmRelease",
                "is paused by run r",
                "astern owners resume shop",
            ],
        );

        let resume = [&["owners", "resume"], &YES[..]].concat();
        says(
            &astern(&place, helm, &resume).expect(3),
            &["AST0235", "--source-matches shop"],
        );
        let good = commit(&repository, "v1");
        place.until(
            "Flux to have packed the chart of the revert",
            SEEN_WITHIN,
            |place| {
                let chart = place.get(&format!("helmchart/{}-shop", place.namespace));
                let packed = chart["status"]["observedSourceArtifactRevision"].as_str();
                packed.is_some_and(|revision| revision.ends_with(&good))
            },
        );
        let matches = [&resume[..], &["shop", "--source-matches", "shop"]].concat();
        astern(&place, helm, &matches).expect(0);
        assert_ne!(place.get("helmrelease/shop")["spec"]["suspend"], json!(true));
        // The revision is none of Flux' own, so it installs the source once more: the same templates, and no pod starts anew.
        place.until("Flux to have taken the release over", SEEN_WITHIN, |place| {
            newest(place) == Some((4, "deployed".to_owned()))
        });
        until_ready(&place, "helmrelease/shop");
        it_stays(&place);
        place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
        place.until("Flux to heal", SEEN_WITHIN, |place| {
            place.image("api") == "api:v1"
        });
    }
}

#[test]
fn the_revert_of_a_helm_release_goes_into_its_own_manifest_which_a_kustomization_brings_and_flux_goes_on_from_it()
 {
    let helm = helms().remove(0);
    let place = Place::new("flux-release-git");
    place.platform("");
    let repository = Repository::new(&place);
    let release = |version: &str| {
        format!(
            "# the shop, by its chart\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: shop}}\nspec:\n  \
             interval: 2s\n  install: {{disableWait: true}}\n  upgrade: {{disableWait: true}}\n  chart:\n    spec:\n      chart: ./chart\n      \
             interval: 2s\n      sourceRef: {{kind: GitRepository, name: source}}\n  values:\n    image: api:{version} # by the pipeline\n"
        )
    };
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec:\n  replicas: 1\n  progressDeadlineSeconds: 60\n  \
                    selector: {matchLabels: {app: api}}\n  template:\n    metadata:\n      labels:\n        app: api\n        \
                    {{- if hasSuffix \":v2\" .Values.image }}\n        kwok.astern.dev/crash-loop: \"true\"\n        {{- end }}\n    \
                    spec:\n      containers:\n      - name: api\n        image: {{ .Values.image }}\n";
    repository.commit(
        "v1",
        &[
            ("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n"),
            ("chart/templates/api.yaml", template),
            ("flux/shop.yaml", &release("v1")),
        ],
    );
    flux_source(&place, &repository);
    flux_kustomization(&place, "./flux");
    until_ready(&place, "kustomization/shop");
    until_ready(&place, "helmrelease/shop");
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    std::thread::sleep(Duration::from_millis(1500));
    repository.commit("v2", &[("flux/shop.yaml", &release("v2"))]);
    place.until("v2 to crash", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2" && place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });

    let done = astern(&place, &helm, &[&["rollback"], &YES[..]].concat()).expect(0);
    says(&done, &["owners paused"]);
    assert_eq!(place.image("api"), "api:v1");
    let told = place
        .astern(&["writeback", "--push", "-o", "json"])
        .expect(0)
        .json();
    let branch = told["sources"][0]["branch"]["name"].as_str().unwrap();
    assert_eq!(repository.show(branch, "flux/shop.yaml"), release("v1"));
    repository.merge(branch);
    // Both see the merge before they go on.
    std::thread::sleep(Duration::from_secs(4));
    for owner in ["kustomization/shop", "helmrelease/shop"] {
        let patch = r#"{"spec":{"suspend":false}}"#;
        place.kubectl(&["patch", owner, "--type=merge", "-p", patch]);
    }
    let since = Instant::now();
    while since.elapsed() < WATCHED {
        assert_eq!(place.image("api"), "api:v1");
        std::thread::sleep(Duration::from_millis(300));
    }
    until_ready(&place, "kustomization/shop");
    until_ready(&place, "helmrelease/shop");
    assert_eq!(place.get("helmrelease/shop")["spec"]["values"]["image"], "api:v1");
}
