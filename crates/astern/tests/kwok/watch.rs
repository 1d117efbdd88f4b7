//! `astern watch`: what comes to rest is recorded once, judged while it serves, and nothing else is written.

use crate::config::{apply, config_map, deployment, reads, rolled_out};
use crate::ledger::{break_all, platform, release, written};
use crate::support::{Done, Place, config, output_of};
use astern_faultproxy::{Proxy, Unseen};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const EVERY: [&str; 3] = ["watch", "--every", "10"];
/// A rollout must have been quiet for half a minute, and the next look is at most ten seconds away.
const WITHIN: u64 = 90;

/// Ends a watch as a kubelet does.
fn ended(watch: Child) -> Done {
    let id = watch.id().to_string();
    let status = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(status.success());
    output_of(watch, "astern watch").into()
}

fn names(place: &Place) -> Vec<String> {
    let listed = place.kubectl(&[
        "get",
        "secrets",
        "--field-selector",
        "type=astern.dev/release",
        "-o",
        "name",
    ]);
    listed.lines().map(str::to_owned).collect()
}

fn workloads(place: &Place) -> Value {
    let seen = place.get("deployments");
    let seen = seen["items"].as_array().unwrap().iter();
    seen.map(|one| one["metadata"]["generation"].clone()).collect()
}

#[test]
fn what_comes_to_rest_is_recorded_once_by_two_side_by_side_and_judged_until_a_signal_ends_them() {
    let place = Place::new("watch");
    platform(&place, "3s");
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm"})),
            deployment("api", reads("app-config")),
        ],
    );
    let both = [place.start(&EVERY), place.start(&EVERY)];
    rolled_out(&place, &["api"]);
    place.until("the first release", WITHIN, |place| names(place).len() == 1);
    // By the watch alone: `releases` would judge it too.
    let standing = [
        "get",
        "secret",
        "astern-release-v1",
        "-o",
        r"jsonpath={.metadata.labels.astern\.dev/standing}",
    ];
    place.until("its proof", WITHIN, |place| place.kubectl(&standing) == "good");
    assert_eq!(release(&place, "v1")["by"], "watch");
    assert_eq!(release(&place, "v1")["standing"]["by"], "astern");
    let generations = workloads(&place);
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"}))]);
    place.until("the second release", WITHIN, |place| names(place).len() == 2);
    let told = both.map(|watch| ended(watch).expect(0).out);
    let count = |words: &str| {
        told.iter()
            .flat_map(|out| out.lines())
            .filter(|line| line.contains(words))
            .count()
    };
    assert_eq!(
        count("recorded: release v1, a candidate: the first one"),
        1,
        "{told:?}"
    );
    assert_eq!(
        count("a candidate: configmap/app-config changed since v1"),
        1,
        "{told:?}"
    );
    assert!(
        count("judged: release v1 is good: served healthily for") >= 1,
        "{told:?}"
    );
    assert!(!told.iter().any(|out| out.contains("storm")), "{told:?}");
    assert_eq!(workloads(&place), generations);

    // A restart goes on where it left, and one look for a CronJob does as well. No pod has read the new content.
    let before = written(&place);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let once = place.astern(&["watch", "--once", "-o", "json"]).expect(0);
    let line = once.json();
    let second = line["release"].as_str().unwrap();
    assert_eq!(
        (&line["is"], second.starts_with("v1+")),
        (&json!("known"), true),
        "{once:?}"
    );
    assert_eq!(written(&place), before);
    let listed = place.astern(&["releases", "-o", "json"]).expect(0).json();
    let open = listed["releases"][0]["open"].as_str().unwrap();
    assert!(open.contains("have not read what it holds"), "{listed:#}");
    place.kubectl(&["rollout", "restart", "deployment/api"]);
    rolled_out(&place, &["api"]);
    place.until("the proof of the second", 30, |place| {
        release(place, second)["standing"]["is"] == "good"
    });
    assert_eq!(names(&place).len(), 2, "a restart is no release");
}

#[test]
fn a_watch_goes_on_after_an_outage_and_what_failed_under_it_never_becomes_good_by_itself() {
    let place = Place::new("watch-outage");
    platform(&place, "20s");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(async {
        let direct = Proxy::before(config().await).await.unwrap();
        direct.another(Vec::new(), Arc::new(Unseen)).await.unwrap()
    });
    let by_proxy = place.file("proxy.kubeconfig");
    std::fs::write(&by_proxy, proxy.kubeconfig()).unwrap();
    apply(&place, &[deployment("api", json!([]))]);
    rolled_out(&place, &["api"]);
    let watch = place
        .command(&by_proxy, &EVERY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    place.until("the release", WITHIN, |place| names(place).len() == 1);
    runtime.block_on(proxy.go_away());
    std::thread::sleep(std::time::Duration::from_secs(25));
    break_all(&place);
    runtime.block_on(proxy.come_back());
    // Long enough for a look, whether it was about to come or has just failed.
    std::thread::sleep(std::time::Duration::from_secs(30));
    place.kubectl(&["delete", "pods", "--all", "--wait=true"]);
    rolled_out(&place, &["api"]);
    std::thread::sleep(std::time::Duration::from_secs(35));
    let told = ended(watch).expect(0).out;
    assert!(told.contains("the next look tries again"), "{told}");
    assert!(
        told.contains("judged: release v1 fails, and becomes good on somebody's word alone"),
        "{told}"
    );
    assert!(!told.contains("is good"), "{told}");
    assert_eq!(release(&place, "v1")["standing"]["is"], "candidate");
}
