//! Proving: what makes a recorded release good, and what a pipeline may deploy.

use crate::support::Build;
use crate::support::{
    at, bad, crash_loop, deployment, errors, evidence, good, hash, inventory, platform, workload,
};
use astern_model::config::{Consumer, Use};
use astern_model::content::ContentRef;
use astern_model::evidence::{Known, Side};
use astern_model::id::RunId;
use astern_model::image::Image;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{Release, ReleaseName, ReleasedConfig, ReleasedWorkload, Standing};
use astern_model::workload::RunningImage;
use astern_plan::{
    ContentTakenBack, ImagesTakenBack, Kept, Proof, TakenBack, content_taken_back, prove, prunable,
    quarantined, quarantined_content,
};
use jiff::SignedDuration;
use std::collections::BTreeMap;

fn content() -> ContentRef {
    ContentRef {
        name: "saved-1".to_owned(),
        keyed_hash: "hmac-sha256:ab".to_owned(),
        size: 512,
    }
}

/// A release of one workload, recorded at 13:00.
fn release(name: &str, version: &str, standing: Standing) -> Release {
    Release {
        name: ReleaseName::parse(name).unwrap(),
        platform: "vcci".to_owned(),
        namespace: crate::support::NAMESPACE.to_owned(),
        commit: None,
        by: "ci".to_owned(),
        at: at("13:00:00"),
        standing,
        health: None,
        restarts: BTreeMap::new(),
        workloads: vec![ReleasedWorkload {
            target: deployment("api"),
            template: hash("api", version),
            content: content(),
            images: Vec::new(),
            replicas: 3,
            autoscaler: None,
        }],
        config: Vec::new(),
        helm: Vec::new(),
        schemas: Vec::new(),
        stack_commit: None,
    }
}

fn candidate() -> Standing {
    Standing::Candidate { failed: None }
}

/// The inventory is taken at 14:12.
fn bakes(minutes: i64) -> Platform {
    let mut platform = platform();
    platform.policy.bake = SignedDuration::from_mins(minutes);
    platform
}

fn v2(since: &str) -> Build {
    workload("api")
        .revision(1, "v1", "2026-11-10T09:00:00Z")
        .revision(2, "v2", "12:58:00")
        .serving(2, 3, since)
        .condition("Available", "True", "MinimumReplicasAvailable", "")
}

fn seen(build: Build, with_logs: bool) -> Inventory {
    let mut inventory = inventory([build]);
    if with_logs {
        inventory
            .evidence
            .push(evidence(&deployment("api"), Side::Live, errors(Known::Is(0.1))));
    }
    inventory
}

fn told(release: &Release, inventory: &Inventory, platform: &Platform) -> String {
    match prove(release, inventory, platform, &TakenBack::new()) {
        Proof::Good(reason, health) => format!("good: {reason} [{}]", health.items.len()),
        Proof::Bad(reason) => format!("bad: {reason}"),
        Proof::Failed(failed) => format!("failed: {}", failed.what),
        Proof::Open(why) => format!("open: {why}"),
    }
}

#[test]
fn a_candidate_is_proven_by_healthy_evidence_over_the_bake_time() {
    let check = |build: Build, logs: bool, bake: i64, expected: &str| {
        let told = told(
            &release("r2", "v2", candidate()),
            &seen(build, logs),
            &bakes(bake),
        );
        assert!(told.starts_with(expected), "{told}");
    };
    check(
        v2("12:59:00"),
        true,
        60,
        "good: served healthily for 1h 12m: 6 checks passed [6]",
    );
    // It serves since later than it was recorded.
    check(v2("13:30:00"), true, 60, "open: it has served for 42m of 1h");
    check(
        v2("12:59:00"),
        true,
        90,
        "open: it has served for 1h 12m of 1h 30m",
    );
    // However old it is: what is not known is no evidence.
    check(
        v2("12:59:00"),
        false,
        60,
        "open: deployment/api: error lines is not known:",
    );
    let restarted = v2("12:59:00").with(|workload| workload.pods[0].restarts = 1);
    check(
        restarted,
        true,
        60,
        "open: deployment/api: restarts since the run began fails: 1 restart",
    );
    let replaced = v2("12:59:00").revision(3, "v3", "14:00:00");
    check(replaced, true, 60, "open: deployment/api asks for v3 now");
    let none = v2("12:59:00").with(|workload| workload.desired = 0);
    check(none, true, 60, "open: none of its workloads asks for a pod");
}

#[test]
fn restarts_that_a_pod_had_when_the_release_was_recorded_do_not_speak_against_it() {
    let build = v2("12:59:00").with(|workload| {
        workload.pods[0].restarts = 2;
        workload.pods[0].created_at = at("12:58:10");
    });
    let mut release = release("r2", "v2", candidate());
    release.restarts.insert(build.workload.pods[0].uid.clone(), 2);
    let told = told(&release, &seen(build, true), &bakes(60));
    assert!(told.starts_with("good: "), "{told}");
}

#[test]
fn a_candidate_that_fails_never_becomes_good_by_itself() {
    let failing =
        v2("12:59:00")
            .with(|workload| workload.pods.clear())
            .troubled(2, 3, "12:59:00", crash_loop());
    let mut release = release("r2", "v2", candidate());
    let Proof::Failed(failed) = prove(&release, &seen(failing, false), &bakes(60), &TakenBack::new()) else {
        panic!("it was not seen to fail");
    };
    assert!(failed.what.as_str().contains("deployment/api"), "{}", failed.what);
    release.standing = Standing::Candidate { failed: Some(failed) };
    let later = told(&release, &seen(v2("12:59:00"), true), &bakes(60));
    assert!(later.starts_with("open: it failed at 2026-11-23"), "{later}");
    assert!(later.ends_with("only somebody's word makes it good"), "{later}");
}

#[test]
fn a_release_that_a_run_took_back_after_it_was_believed_is_bad() {
    let taken_by = |run: &str, standing: Standing, build: Build| {
        let taken = TakenBack::from([((deployment("api"), hash("api", "v2")), RunId::from(run))]);
        match prove(
            &release("r2", "v2", standing),
            &seen(build, true),
            &bakes(60),
            &taken,
        ) {
            Proof::Bad(reason) => Some(reason.to_string()),
            _ => None,
        }
    };
    let back = || v2("12:59:00").brought_back(1, 3);
    let after = "r20261123-140500-7f3c";
    let bad = Some("run r20261123-140500-7f3c took deployment/api back from it".to_owned());
    assert_eq!(taken_by(after, candidate(), back()), bad);
    // The word that it is good is of 13:00.
    assert_eq!(taken_by(after, good(), back()), bad);
    // It was deployed again, and recorded or believed, after that run.
    assert_eq!(taken_by("r20261123-125000-7f3c", candidate(), back()), None);
    assert_eq!(taken_by("r20261123-125000-7f3c", good(), back()), None);
    // It is live again.
    assert_eq!(taken_by(after, candidate(), v2("12:59:00")), None);
}

#[test]
fn images_that_a_bad_release_brought_are_quarantined_by_digest_or_reference() {
    let holding = |name: &str, standing: Standing, reference: &str, digest: Option<&str>| {
        let mut release = release(name, "v1", standing);
        release.workloads[0].images = vec![RunningImage {
            image: Image::parse(reference),
            digest: digest.map(str::to_owned),
        }];
        release
    };
    let check = |releases: &[Release], image: &str, by: Option<&str>| {
        let found = quarantined(releases, &ImagesTakenBack::new(), &[Image::parse(image)]);
        let release = found.first().and_then(|found| found.release.as_ref());
        assert_eq!(release.map(ReleaseName::as_str), by, "{image}");
    };
    let bad_one = || holding("r2", bad(), "api:v2", Some("sha256:aa"));
    check(&[bad_one()], "api:v2", Some("r2"));
    check(&[bad_one()], "api:v1", None);
    check(&[bad_one()], "mirror/api@sha256:aa", Some("r2"));
    // The tag was moved to another image.
    check(&[bad_one()], "api:v2@sha256:bb", None);
    check(
        &[holding("r2", bad(), "api@sha256:aa", None)],
        "other@sha256:aa",
        Some("r2"),
    );
    let before = |standing| holding("r1", standing, "api:v2", Some("sha256:aa"));
    check(&[bad_one(), before(good())], "api:v2", None);
    check(&[bad_one(), before(candidate())], "api:v2", None);
    check(
        &[holding("r3", candidate(), "api:v2", Some("sha256:aa")), bad_one()],
        "api:v2",
        Some("r2"),
    );
    check(
        &[holding("r3", good(), "api:v2", Some("sha256:aa")), bad_one()],
        "api:v2",
        None,
    );
}

#[test]
fn the_last_three_good_releases_are_never_forgotten() {
    let name = |at: usize| format!("r{at}");
    // Newest first: fifty candidates, then five good ones, then thirty bad ones.
    let mut releases: Vec<Release> = (0..50).map(|at| release(&name(at), "v1", candidate())).collect();
    releases.extend((50..55).map(|at| release(&name(at), "v1", good())));
    releases.extend((55..85).map(|at| release(&name(at), "v1", bad())));
    let forgotten: Vec<String> = prunable(&releases)
        .iter()
        .map(|release| release.name.to_string())
        .collect();
    let expected: Vec<String> = (20..50).chain(53..55).chain(75..85).map(name).collect();
    assert_eq!(forgotten, expected);
}

/// The same release, which holds a ConfigMap that its workload reads, written at this time.
fn reading(release: Release, written: &str) -> Release {
    let config = ReleasedConfig {
        name: crate::config::map("app"),
        uid: "uid-app".into(),
        version: "7".to_owned(),
        immutable: false,
        keys: Vec::new(),
        content: content(),
        hash: Some("hmac-sha256:now".into()),
        written: Some(at(written)),
        drawn: None,
        consumers: vec![Consumer {
            target: deployment("api"),
            uses: vec![Use::EnvFrom {
                container: "api".to_owned(),
            }],
        }],
    };
    Release {
        config: vec![config],
        ..release
    }
}

#[test]
fn pods_that_serve_since_before_content_was_written_prove_nothing_of_it() {
    let of = |written: &str| reading(release("r2", "v2", candidate()), written);
    let inventory = seen(v2("12:59:00"), true);
    let open = told(&of("12:59:30"), &inventory, &bakes(60));
    assert!(
        open.starts_with("open: pods of deployment/api serve since before configmap/app was written"),
        "{open}"
    );
    let proven = told(&of("12:58:59"), &inventory, &bakes(60));
    assert!(proven.starts_with("good"), "{proven}");
    // A restart is how they read it, and no other release.
    let restarted = v2("12:59:00").with(|workload| {
        let marked = workload.template.restarted("2026-11-23T13:00:30Z");
        for pod in &mut workload.pods {
            pod.revision = Some(marked.hash());
            pod.created_at = at("13:00:40");
            pod.ready_since = Some(at("13:00:45"));
        }
        workload.template = marked;
    });
    let proven = told(&of("12:59:30"), &seen(restarted, true), &bakes(60));
    assert!(proven.starts_with("good"), "{proven}");
    let mut reloading = crate::support::depending(&[("api", &[])]);
    reloading.policy.bake = SignedDuration::from_mins(60);
    reloading.members[0].reloads = true;
    let proven = told(&of("12:59:30"), &inventory, &reloading);
    assert!(proven.starts_with("good"), "{proven}");
}

#[test]
fn content_that_a_run_took_back_speaks_against_the_releases_that_hold_it_until_somebody_vouches() {
    let app = crate::config::map("app");
    let check = |run: &str, standing: Standing, holds: &str, expected: bool| {
        let taken = ContentTakenBack::from([((app.clone(), "bad".into()), RunId::from(run))]);
        let contents = BTreeMap::from([(app.clone(), holds.into())]);
        let found = content_taken_back(&release("r2", "v2", standing), &contents, &taken);
        assert_eq!(found.is_some(), expected, "{run} {holds}: {found:?}");
    };
    // The release was recorded at 13:00, and the good one called good then.
    check("r20261123-140000-aaaa", candidate(), "bad", true);
    check("r20261123-140000-aaaa", good(), "bad", true);
    check("r20261123-140000-aaaa", candidate(), "other", false);
    check("r20261123-125900-aaaa", candidate(), "bad", false);
}

#[test]
fn content_is_quarantined_by_a_bad_release_or_a_run_and_not_while_a_good_release_holds_it() {
    let app = crate::config::map("app");
    let check = |standings: &[Standing], taken: bool, expected: Option<&str>| {
        let releases: Vec<Release> = standings
            .iter()
            .enumerate()
            .map(|(place, standing)| {
                release(&format!("r{}", standings.len() - place), "v2", standing.clone())
            })
            .collect();
        let kept: Vec<Kept<'_>> = releases
            .iter()
            .map(|release| Kept {
                release,
                contents: BTreeMap::from([(app.clone(), "storm".into())]),
            })
            .collect();
        let run = RunId::from("r20261123-140000-aaaa");
        let taken: ContentTakenBack = taken
            .then(|| ((app.clone(), "storm".into()), run))
            .into_iter()
            .collect();
        let found = quarantined_content(&kept, &taken, &[(app.clone(), "storm".into())]);
        let by = found.first().map(|found| match &found.release {
            Some(release) => release.as_str().to_owned(),
            None => found.why.clone(),
        });
        assert_eq!(by.as_deref(), expected, "{standings:?} {taken:?}");
        let calm = quarantined_content(&kept, &taken, &[(app.clone(), "calm".into())]);
        assert!(calm.is_empty());
    };
    let by_run = "run r20261123-140000-aaaa took it back";
    check(&[], false, None);
    check(&[], true, Some(by_run));
    check(&[bad()], false, Some("r1"));
    check(&[candidate()], true, Some(by_run));
    check(&[bad(), good()], true, None);
    // An older one had it before: the bad one did not bring it.
    check(&[bad(), candidate()], false, None);
}
