//! Whether a HelmRelease may go on: the chart and the values that it would install, held against the real records of Helm. No
//! controller of Flux runs here: the lane `owners` has the real one.

use crate::helm::{Shop, helms};
use crate::manifest::says;
use crate::owners::{HELM_RELEASE, define, owner};
use serde_json::{Value, json};

#[test]
fn a_helm_release_goes_on_where_it_would_install_the_chart_and_values_in_force() {
    let helms = helms();
    let shop = Shop::new("flux-values", helms.last().unwrap());
    let place = &shop.place;
    shop.helm(&["install", "shop", "chart", "--set", "api.tag=v1"]);
    define(HELM_RELEASE, place);
    for service in ["api", "worker"] {
        let name = format!("{}/name=shop", HELM_RELEASE.0);
        let namespace = format!("{}/namespace={}", HELM_RELEASE.0, place.namespace);
        place.kubectl(&["label", &format!("deployment/{service}"), &name, &namespace]);
    }
    let chart = |version: &str, kind: &str| json!({ "spec": { "chart": "shop", "version": version, "sourceRef": { "kind": kind, "name": "charts" } } });
    let spec = json!({
        "suspend": true, "chart": chart("1.0.0", "HelmRepository"), "values": { "api": { "tag": "v1" } },
    });
    owner(HELM_RELEASE, place, "shop", &json!({ "spec": spec }));
    let paused = json!({
        "run": "r20261127-140200-ab12", "namespace": place.namespace,
        "at": "2026-11-27T14:02:00Z", "due": "2026-11-28T14:02:00Z",
    });
    let patch = |patch: Value| {
        place.kubectl(&[
            "patch",
            "helmrelease/shop",
            "--type=merge",
            "-p",
            &patch.to_string(),
        ]);
    };
    patch(json!({ "metadata": { "annotations": { "astern.dev/paused": paused.to_string() } } }));
    let told = |words: &[&str]| says(&shop.astern(&["owners"]).expect(0), words);
    told(&["is what runs, at shop-1.0.0"]);

    // Places of values are named, and none of the values.
    patch(json!({ "spec": { "values": { "api": { "tag": "v2" } } } }));
    told(&["it would install otherwise than revision 1: value api.tag"]);
    patch(json!({ "spec": { "chart": chart("1.1.0", "HelmRepository") } }));
    told(&["chart shop-1.0.0 → shop-1.1.0; value api.tag"]);
    let resume = ["owners", "resume", "--yes", "--foreground", "--reason", "merged"];
    let by_word = [&resume[..], &["--source-matches", "shop"]].concat();
    for words in [&resume[..], &by_word] {
        says(
            &shop.astern(words).expect(3),
            &["AST0235", "chart shop-1.0.0 → shop-1.1.0"],
        );
    }

    // What is not told is named, and then somebody's word counts.
    let untold = [
        (
            json!({ "chart": chart("1.x", "HelmRepository") }),
            "a range of versions of its chart: 1.x",
        ),
        (
            json!({ "chart": chart("1.0.0", "GitRepository") }),
            "its chart lies in a GitRepository of Flux",
        ),
        (
            json!({ "chart": chart("1.0.0", "HelmRepository"), "valuesFrom": [{ "kind": "Secret", "name": "more" }] }),
            "astern does not follow its spec.valuesFrom",
        ),
    ];
    for (spec, why) in untold {
        patch(json!({ "spec": spec }));
        says(
            &shop.astern(&resume).expect(3),
            &["AST0235", why, "--source-matches shop"],
        );
    }
    patch(json!({ "spec": { "valuesFrom": null, "values": { "api": { "tag": "v1" } } } }));
    // Beside the release, its record says nothing of what runs.
    let image = place.image("api");
    place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    told(&["deployment/api is not what revision 1 of helm/shop holds"]);
    place.kubectl(&["set", "image", "deployment/api", &format!("api={image}")]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    shop.astern(&resume).expect(0);
    assert_ne!(place.get("helmrelease/shop")["spec"]["suspend"], json!(true));
}
