//! Choosing: which revision is known good, and why each other one is not.

use crate::support::{Build, bad, deployment, good, inventory, not_ready, released, template, workload};
use astern_model::choice::Choice;
use astern_model::policy::Policy;
use astern_model::release::Standing;
use astern_plan::{Selector, choose};

fn choice(build: Build, selector: Option<&str>) -> Choice {
    let selector = selector.map(|text| Selector::parse(text).unwrap());
    let target = build.workload.target.clone();
    choose(
        &inventory([build]),
        &Policy::default(),
        &target,
        selector.as_ref(),
    )
}

/// The choice as text: the good one, each passed over, the notes.
fn told(choice: &Choice) -> String {
    let mut lines = Vec::new();
    lines.push(match &choice.good {
        Some(good) => format!(
            "good: {} ({}): {}",
            good.revision.version,
            good.revision.number,
            good.because.sentence()
        ),
        None => "good: none".to_owned(),
    });
    for passed in &choice.passed_over {
        lines.push(format!(
            "not {} ({}): {}",
            passed.revision.version, passed.revision.number, passed.why
        ));
    }
    lines.extend(choice.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

#[test]
fn known_good_is_found_by_health_and_every_revision_passed_over_is_named_with_its_reason() {
    // The revision just before the live one failed within four minutes: "current minus one" would go back to it.
    let build = workload("api")
        .revision(4, "v1.2.1", "2026-11-10T09:00:00Z")
        .revision(5, "v1.2.2", "2026-11-15T09:00:00Z")
        .revision(6, "v1.2.3-rc1", "13:58:00")
        .revision(7, "v1.2.4", "14:02:00")
        .troubled(7, 3, "14:02:05", not_ready());
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: v1.2.2 (5): presumed: it was the newest for 8d 4h until 2026-11-23 13:58:00 UTC, and nothing speaks against it
    not v1.2.3-rc1 (6): it was the newest for 4m only, less than the 30m after which it is presumed good
    not v1.2.1 (4): presumed good as well, but older than revision 5
    ");
}

#[test]
fn old_pods_that_still_serve_outrank_what_is_presumed() {
    let build = workload("api")
        .revision(1, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(2, "v1.2.3", "13:50:00")
        .revision(3, "v1.2.4", "14:02:00")
        .serving(2, 2, "13:50:20")
        .troubled(3, 1, "14:02:05", not_ready());
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: v1.2.3 (2): observed: 2 pods of it serve now, ready since 2026-11-23 13:50:20 UTC
    not v1.2.2 (1): presumed good at most, while pods of revision 2 serve now
    ");
}

#[test]
fn a_time_that_an_undo_made_unknowable_is_said_to_be_unknown() {
    let undone = || {
        workload("api")
            .revision(1, "v1.2.2", "2026-11-10T09:00:00Z")
            .revision(2, "v1.2.3", "2026-11-15T09:00:00Z")
            .brought_back(1, 3)
            .revision(4, "v1.2.4", "14:02:00")
    };
    insta::assert_snapshot!(told(&choice(undone(), None)), @r"
    good: none
    not v1.2.2 (3): it is unknown when it served: an undo used its ReplicaSet again (it was revision 1 before)
    not v1.2.3 (2): it is unknown how long it served: after it an undo brought back what is now revision 3, at a time that is not kept
    ");
    // A ControllerRevision keeps no former numbers; its place among the others betrays the undo.
    let silent = undone().with(|workload| {
        for revision in &mut workload.revisions {
            revision.former_numbers.clear();
        }
    });
    insta::assert_snapshot!(told(&choice(silent, None)), @r"
    good: none
    not v1.2.2 (3): it is unknown how long it served: the revisions' numbers contradict the order in which they were made, so an undo came between
    not v1.2.3 (2): it is unknown how long it served: the revisions' numbers contradict the order in which they were made, so an undo came between
    ");
}

#[test]
fn a_pruned_revision_in_between_makes_the_time_unknown() {
    let build = workload("api")
        .revision(2, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(5, "v1.2.4", "14:02:00");
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: none
    not v1.2.2 (2): it is unknown how long it served: a revision between it and revision 5 is no longer remembered
    ");
}

#[test]
fn what_was_taken_back_or_marked_bad_is_not_presumed_good() {
    let build = workload("api")
        .revision(1, "v1.2.1", "2026-11-08T09:00:00Z")
        .revision(2, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(3, "v1.2.3", "2026-11-15T09:00:00Z")
        .revision(4, "v1.2.4", "14:02:00")
        .mark(3, astern_plan::MARK_ROLLED_BACK_BY, "r20261116-030000-aaaa")
        .mark(2, astern_plan::MARK_BAD, "leaks memory");
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: v1.2.1 (1): presumed: it was the newest for 2d until 2026-11-10 09:00:00 UTC, and nothing speaks against it
    not v1.2.3 (3): it was taken back before, by run r20261116-030000-aaaa
    not v1.2.2 (2): marked bad: leaks memory
    ");
}

/// v1.2.2 for days, then v1.2.3, of which two pods serve, then v1.2.4, which does not come up.
fn two_behind() -> Build {
    workload("api")
        .revision(1, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(2, "v1.2.3", "13:20:00")
        .revision(3, "v1.2.4", "14:02:00")
        .serving(2, 2, "14:08:00")
        .troubled(3, 1, "14:02:05", not_ready())
}

/// Lets the first pods restart again and again; each is ready in between.
fn restarting(build: Build, pods: usize) -> Build {
    build.with(|workload| {
        for pod in workload.pods.iter_mut().take(pods) {
            pod.created_at = crate::support::at("13:32:00");
            pod.restarts = 5;
        }
    })
}

#[test]
fn what_serves_between_crashes_is_passed_over_for_what_nothing_speaks_against() {
    insta::assert_snapshot!(told(&choice(restarting(two_behind(), 2), None)), @r"
    good: v1.2.2 (1): presumed: it was the newest for 13d 4h until 2026-11-23 13:20:00 UTC, and nothing speaks against it
    not v1.2.3 (2): 2 pods are of it ready now, but api-rs2-1 restarted 5 times in 40m and is ready in between
    ");
    // One that does beside one that does not is said, and decides nothing.
    insta::assert_snapshot!(told(&choice(restarting(two_behind(), 1), None)), @r"
    good: v1.2.3 (2): observed: 2 pods of it serve now, ready since 2026-11-23 14:08:00 UTC, but api-rs2-0 restarted 5 times in 40m and is ready in between
    not v1.2.2 (1): presumed good at most, while pods of revision 2 serve now
    ");
    let nothing_better = restarting(two_behind(), 2).mark(1, astern_plan::MARK_BAD, "true");
    insta::assert_snapshot!(told(&choice(nothing_better, None)), @r"
    good: v1.2.3 (2): observed: 2 pods of it serve now, ready since 2026-11-23 14:08:00 UTC, but api-rs2-1 restarted 5 times in 40m and is ready in between
    not v1.2.2 (1): marked bad
    ");
}

#[test]
fn what_serves_and_was_taken_back_before_is_chosen_only_where_nothing_else_is_good() {
    let again = || two_behind().mark(2, astern_plan::MARK_ROLLED_BACK_BY, "r20261116-030000-aaaa");
    insta::assert_snapshot!(told(&choice(again(), None)), @r"
    good: v1.2.2 (1): presumed: it was the newest for 13d 4h until 2026-11-23 13:20:00 UTC, and nothing speaks against it
    not v1.2.3 (2): 2 pods are of it ready now, but a run took it back before
    ");
    let nothing_better = again().mark(1, astern_plan::MARK_BAD, "true");
    insta::assert_snapshot!(told(&choice(nothing_better, None)), @r"
    good: v1.2.3 (2): observed: 2 pods of it serve now, ready since 2026-11-23 14:08:00 UTC
    not v1.2.2 (1): marked bad
    ");
}

#[test]
fn what_a_run_went_back_to_and_validated_is_good_although_nobody_knows_how_long_it_served() {
    let undone = workload("api")
        .revision(1, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(2, "v1.2.3", "2026-11-15T09:00:00Z")
        .brought_back(1, 3)
        .mark(3, astern_plan::MARK_RESTORED_BY, "r20261116-030000-aaaa")
        .mark(2, astern_plan::MARK_ROLLED_BACK_BY, "r20261116-030000-aaaa")
        .revision(4, "v1.2.4", "14:02:00");
    insta::assert_snapshot!(told(&choice(undone, None)), @r"
    good: v1.2.2 (3): restored: run r20261116-030000-aaaa went back to it, and it passed the validation
    not v1.2.3 (2): it was taken back before, by run r20261116-030000-aaaa
    ");
}

#[test]
fn a_persons_word_that_a_revision_is_bad_outweighs_its_serving_pods() {
    let build = released("api")
        .serving(1, 2, "13:00:00")
        .mark(1, astern_plan::MARK_BAD, "loses orders");
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: none
    not v1.2.3 (1): marked bad: loses orders
    ");
}

#[test]
fn a_restart_of_the_bad_version_is_not_a_version_to_go_back_to() {
    let mut restarted = template("api", "v1.2.4");
    restarted["metadata"]["annotations"] =
        serde_json::json!({"kubectl.kubernetes.io/restartedAt": "2026-11-23T14:05:00Z"});
    let build = workload("api")
        .revision(1, "v1.2.3", "2026-11-15T09:00:00Z")
        .revision(2, "v1.2.4", "13:02:00")
        .revision_of(3, restarted, "14:05:00")
        .serving(2, 1, "13:02:10");
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: v1.2.3 (1): presumed: it was the newest for 8d 4h until 2026-11-23 13:02:00 UTC, and nothing speaks against it
    not v1.2.4 (2): same template as now, but for the mark of `kubectl rollout restart`
    ");
}

#[test]
fn a_history_limit_of_zero_is_named_as_the_cause() {
    let build = workload("api")
        .revision(9, "v1.2.4", "14:02:00")
        .with(|workload| workload.history_limit = 0);
    insta::assert_snapshot!(told(&choice(build, None)), @r"
    good: none
    note: revisionHistoryLimit: 0: the cluster keeps no earlier revision of deployment/api
    ");
}

#[test]
fn a_selector_must_name_exactly_one_revision() {
    let build = || {
        workload("api")
            .revision(1, "v1.2.3", "2026-11-10T09:00:00Z")
            .revision_of(2, with_env("v1.2.3"), "2026-11-15T09:00:00Z")
            .brought_back(1, 3)
            .revision(4, "v1.2.4", "14:02:00")
            .serving(3, 1, "13:00:00")
    };
    let check = |selector: &str, expected: &str| {
        let choice = choice(build(), Some(selector));
        let found = match &choice.good {
            Some(good) => format!("revision {}", good.revision.number),
            None => choice.notes[0].clone(),
        };
        assert_eq!(found, expected, "{selector}");
    };
    check("3", "revision 3");
    check(
        "1",
        "revision 1 was brought back by an undo and is revision 3 now",
    );
    check("8", "no remembered revision matches 8");
    check(
        "image:v1.2.3",
        "image:v1.2.3 matches revisions 3, 2: name one by its number",
    );
    check("image:registry.test/api:v1.2.4", "revision 4");
    check("image:v9", "no remembered revision matches image:v9");
    check(&format!("sha256:{:064}", 3), "revision 3");
    check(
        "sha256:ffffffff",
        "no remembered revision matches sha256:ffffffff",
    );
}

fn with_env(version: &str) -> serde_json::Value {
    let mut json = template("api", version);
    json["spec"]["containers"][0]["env"] = serde_json::json!([{"name": "LOG_LEVEL", "value": "debug"}]);
    json
}

#[test]
fn an_image_names_the_newest_of_the_revisions_that_a_restart_made_of_one_version() {
    let restarted = |version: &str, at: &str| {
        let mut json = template("api", version);
        json["metadata"]["annotations"] = serde_json::json!({"kubectl.kubernetes.io/restartedAt": at});
        json
    };
    let build = || {
        workload("api")
            .revision(1, "v1.2.3", "2026-11-10T09:00:00Z")
            .revision_of(
                2,
                restarted("v1.2.3", "2026-11-12T09:00:00Z"),
                "2026-11-12T09:00:00Z",
            )
            .revision(3, "v1.2.4", "14:02:00")
            .revision_of(4, restarted("v1.2.4", "2026-11-23T14:05:00Z"), "14:05:00")
    };
    let check = |selector: &str, expected: u64| {
        let number = choice(build(), Some(selector))
            .good
            .map(|good| good.revision.number);
        assert_eq!(number, Some(expected), "{selector}");
    };
    check("image:v1.2.3", 2);
    check("1", 1);
    check("image:v1.2.4", 4);
    check("3", 3);
}

#[test]
fn a_selector_that_means_nothing_says_what_to_type() {
    for text in [
        "",
        "v1.2.3",
        "image:",
        "sha256:12",
        "sha256:zzzzzzzzzzzz",
        "-1",
        "3.0",
    ] {
        assert!(Selector::parse(text).is_err(), "{text}");
    }
    insta::assert_snapshot!(Selector::parse("v1.2.3").unwrap_err(), @"`v1.2.3` names no revision: type its number (3), image:TAG (image:v1.2.3), sha256:DIGEST, or release:NAME");
}

#[test]
fn nothing_is_chosen_for_a_workload_that_does_not_exist() {
    let none = choose(&inventory([]), &Policy::default(), &deployment("api"), None);
    assert_eq!(none.good, None);
    assert_eq!(
        none.notes,
        ["deployment/api does not exist in namespace vcci-scope3"]
    );
}

/// v1.2.2 for days, then v1.2.3 for days, then v1.2.4, which does not come up.
fn three() -> Build {
    workload("api")
        .revision(1, "v1.2.2", "2026-11-10T09:00:00Z")
        .revision(2, "v1.2.3", "2026-11-15T09:00:00Z")
        .revision(3, "v1.2.4", "14:02:00")
        .troubled(3, 1, "14:02:05", not_ready())
}

#[test]
fn a_good_release_outranks_what_is_presumed_and_a_candidate_does_not() {
    let candidate = || Standing::Candidate { failed: None };
    insta::assert_snapshot!(told(&choice(three().released("r2", "v1.2.2", good(), None), None)), @r"
    good: v1.2.2 (1): released: it is in release r2, which is good since 2026-11-23 13:00:00 UTC (soaked; by ci)
    not v1.2.3 (2): presumed good at most, while revision 1 is of a good release
    ");
    insta::assert_snapshot!(told(&choice(three().released("r2", "v1.2.2", candidate(), None), None)), @r"
    good: v1.2.3 (2): presumed: it was the newest for 8d 5h until 2026-11-23 14:02:00 UTC, and nothing speaks against it
    not v1.2.2 (1): presumed good as well, but older than revision 2
    ");
    insta::assert_snapshot!(told(&choice(three().released("r2", "v1.2.2", good(), None).released("r3", "v1.2.3", good(), None), None)), @r"
    good: v1.2.3 (2): released: it is in release r3, which is good since 2026-11-23 13:00:00 UTC (soaked; by ci)
    not v1.2.2 (1): it is in release r2, which is good, but older than revision 2
    ");
}

#[test]
fn what_a_bad_release_brought_is_passed_over_by_template_and_by_digest_with_its_reason() {
    let by_template = three().released("r3", "v1.2.3", bad(), None);
    insta::assert_snapshot!(told(&choice(by_template, None)), @r"
    good: v1.2.2 (1): presumed: it was the newest for 5d until 2026-11-15 09:00:00 UTC, and nothing speaks against it
    not v1.2.3 (2): release r3 has it, and that release is bad: loses orders (by ci)
    ");
    // Another template with the very images that the bad release ran, under another tag.
    let by_digest = three()
        .released(
            "r2",
            "v1.2.3",
            Standing::Candidate { failed: None },
            Some("sha256:aa"),
        )
        .released("r3", "v1.2.9", bad(), Some("sha256:aa"));
    insta::assert_snapshot!(told(&choice(by_digest.with(|workload| {
        // The candidate came after: it does not tell that the images were there before.
        workload.released.reverse();
    }), None)), @r"
    good: v1.2.2 (1): presumed: it was the newest for 5d until 2026-11-15 09:00:00 UTC, and nothing speaks against it
    not v1.2.3 (2): release r3 ran the same images, and that release is bad: loses orders (by ci)
    ");
}

#[test]
fn what_a_good_or_an_earlier_release_has_as_well_is_not_what_made_a_release_bad() {
    let candidate = Standing::Candidate { failed: None };
    for before in [good(), candidate] {
        let build = three()
            .released("r2", "v1.2.3", before, None)
            .released("r3", "v1.2.3", bad(), None);
        let chosen = choice(build, None).good.unwrap();
        assert_eq!(chosen.revision.version, "v1.2.3", "{}", chosen.because.sentence());
    }
}

#[test]
fn a_release_names_its_template_also_where_the_ledger_alone_keeps_it() {
    let pruned = || {
        workload("api")
            .revision(3, "v1.2.4", "14:02:00")
            .troubled(3, 1, "14:02:05", not_ready())
            .released("r3", "v1.2.3", good(), None)
    };
    insta::assert_snapshot!(told(&choice(pruned().read_back("v1.2.3"), None)), @r"
    good: v1.2.3 (0): released: it is in release r3, which is good since 2026-11-23 13:00:00 UTC (soaked; by ci)
    note: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    ");
    insta::assert_snapshot!(told(&choice(pruned().read_back("v1.2.3"), Some("release:r3"))), @r"
    good: v1.2.3 (0): named by --to release:r3
    note: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    ");
    insta::assert_snapshot!(told(&choice(pruned(), Some("release:r3"))), @r"
    good: none
    note: release r3 holds a template of deployment/api (registry.test/api:v1.2.3) that the cluster no longer remembers, and its content saved-r3 cannot be had
    note: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    ");
    insta::assert_snapshot!(told(&choice(pruned(), Some("release:r9"))), @r"
    good: none
    note: release r9 does not hold deployment/api
    note: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    ");
}
