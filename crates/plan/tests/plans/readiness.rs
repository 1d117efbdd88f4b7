//! What is said of a way back on a day on which nobody needs it.

use crate::support::{deployment, good, inventory, platform, released, released_at, template, workload};
use astern_model::finding::{Finding, Severity};
use astern_model::helm::{Read, Release, ReleaseName, Revision, Standing, Status};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::question::{Answer, Answers, Question};
use astern_plan::{choose, good_revisions, is_first_version, readiness, readiness_questions};

/// What is found about the whole inventory, as codes with sentences.
fn found(inventory: &Inventory, platform: &Platform, answer: impl Fn(&Question) -> Answer) -> Vec<Finding> {
    let choices: Vec<_> = inventory
        .workloads
        .keys()
        .map(|target| choose(inventory, &platform.policy, target, None))
        .collect();
    let questions = readiness_questions(inventory, &choices);
    let answers: Answers = questions
        .into_iter()
        .map(|question| (question.clone(), answer(&question)))
        .collect();
    readiness(inventory, platform, &[], &choices, &answers)
}

fn told(inventory: &Inventory, platform: &Platform, code: &str) -> String {
    let all = found(inventory, platform, |_| Answer::Yes);
    let of = all.into_iter().filter(|finding| finding.code == code);
    of.map(|finding| finding.message).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_revision_that_two_more_releases_would_prune_is_said_unless_a_good_release_holds_it() {
    let check = |limit: u32, recorded: bool, expected: &str| {
        let mut api = released("api").with(|workload| workload.history_limit = limit);
        if recorded {
            api = api.released("1.2.3", "v1.2.3", good(), None);
        }
        let said = told(&inventory([api]), &platform(), "AST0301");
        assert_eq!(said, expected, "limit {limit}");
    };
    check(
        1,
        false,
        "revisionHistoryLimit is 1: the next release removes v1.2.3 (revision 1)",
    );
    check(
        2,
        false,
        "revisionHistoryLimit is 2: the second release from now removes v1.2.3 (revision 1)",
    );
    check(3, false, "");
    check(1, true, "");
}

#[test]
fn newer_revisions_that_nobody_would_go_back_to_bring_the_good_one_nearer_to_its_end() {
    let mut api = workload("api").revision(1, "v1", "2026-11-01T10:00:00Z");
    // Three that were the newest for a minute each.
    for number in 2..=4_u64 {
        api = api.revision(
            number,
            &format!("v{number}"),
            &format!("2026-11-20T10:0{number}:00Z"),
        );
    }
    let api = api
        .revision(5, "v5", "2026-11-20T10:05:00Z")
        .with(|workload| workload.history_limit = 4);
    let said = told(&inventory([api]), &platform(), "AST0301");
    assert_eq!(
        said,
        "revisionHistoryLimit is 4: the next release removes v1 (revision 1)"
    );
}

#[test]
fn a_tag_under_which_pods_run_another_image_than_then_stops_a_rollback() {
    let latest = |level: &str| {
        let mut json = template("api", "latest");
        json["spec"]["containers"][0]["env"] = serde_json::json!([{"name": "LEVEL", "value": level}]);
        json
    };
    let both = workload("api")
        .revision_of(1, latest("info"), "2026-11-19T10:00:00Z")
        .revision_of(2, latest("debug"), "2026-11-20T10:00:00Z")
        .serving(1, 1, "2026-11-19T10:00:20Z")
        .serving(2, 2, "2026-11-20T10:00:20Z");
    let all = found(&inventory([both]), &platform(), |_| Answer::Yes);
    let moved = all.iter().find(|finding| finding.code == "AST0302").unwrap();
    assert_eq!(moved.severity, Severity::Refuse);
    assert!(
        moved
            .message
            .starts_with("image registry.test/api:latest ran as sha256:0")
            && moved
                .message
                .contains("1 at latest (revision 1), and api-rs2-1 runs it as sha256:0"),
        "{}",
        moved.message
    );
    assert!(
        moved.hint.contains("registry.test/api@sha256:0"),
        "{}",
        moved.hint
    );
}

#[test]
fn a_node_that_has_the_name_and_not_the_digest_has_another_image() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let api = released("api").released("1.2.3", "v1.2.3", good(), Some(&digest));
    let inventory = inventory([api]);
    let count = |answer: &dyn Fn(&Question) -> Answer| {
        let all = found(&inventory, &platform(), answer);
        all.iter().filter(|finding| finding.code == "AST0304").count()
    };
    let nowhere = || Answer::Unknown {
        why: "no node lists it".to_owned(),
    };
    let by_digest =
        |question: &Question| matches!(question, Question::ImageListed { image, .. } if image.contains('@'));
    assert_eq!(count(&|_| Answer::Yes), 0);
    // The gate says that already.
    assert_eq!(count(&|_| nowhere()), 0);
    let named_only = |question: &Question| {
        if by_digest(question) {
            nowhere()
        } else {
            Answer::Yes
        }
    };
    assert_eq!(count(&named_only), 1);
}

#[test]
fn what_only_a_person_may_accept_is_said_for_pipelines() {
    let mut platform = platform();
    let inventory = inventory([released("api")]);
    assert_eq!(told(&inventory, &platform, "AST0306"), "");
    platform.policy.accept_presumed = vec![Acceptor::Person];
    assert!(told(&inventory, &platform, "AST0306").contains("does not let --yes accept that"));
}

#[test]
fn pods_that_say_nothing_of_their_readiness_are_said() {
    let mut silent = template("api", "v1.2.3");
    silent["spec"]["containers"][0]
        .as_object_mut()
        .unwrap()
        .remove("readinessProbe");
    let api = workload("api")
        .revision_of(1, silent, "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", "14:02:00");
    assert!(told(&inventory([api]), &platform(), "AST0309").starts_with("no container of v1.2.3"));
    assert_eq!(told(&inventory([released("api")]), &platform(), "AST0309"), "");
}

#[test]
fn a_helm_history_that_was_cut_short_or_has_nothing_deployed_is_said() {
    let check = |kept: &[(u64, Status)], expected: &[&str]| {
        let mut inventory = inventory([released("api")]);
        inventory.releases = vec![Release {
            name: ReleaseName {
                namespace: "shop".to_owned(),
                name: "shop".to_owned(),
            },
            revisions: kept
                .iter()
                .map(|(number, status)| Revision {
                    number: *number,
                    status: status.clone(),
                    uid: Uid(format!("uid-{number}")),
                    created_at: None,
                    changed_at: inventory.taken_at,
                    record: Read::NotAsked,
                })
                .collect(),
            at_work: Vec::new(),
            recorded: None,
            standing: Standing::default(),
        }];
        let said = told(&inventory, &platform(), "AST0308");
        assert_eq!(said.lines().count(), expected.len(), "{said}");
        for words in expected {
            assert!(said.contains(words), "{said}");
        }
    };
    use Status::{Deployed, Failed, Superseded};
    check(&[(3, Deployed), (2, Superseded), (1, Superseded)], &[]);
    check(&[(1, Deployed)], &[]);
    check(
        &[(7, Deployed), (6, Superseded)],
        &["Helm keeps 2 of the 7 revisions of helm/shop"],
    );
    check(
        &[(2, Failed), (1, Superseded)],
        &["no revision of helm/shop is deployed"],
    );
}

#[test]
fn good_revisions_are_counted_as_they_are_chosen_and_a_first_version_has_none() {
    let first = workload("new").revision(1, "v1", "2026-11-01T10:00:00Z");
    let lost = workload("lost").revision(4, "v4", "2026-11-01T10:00:00Z");
    // v1.2.2 was the newest for long, v1.2.3 for a minute.
    let api = workload("api")
        .revision(1, "v1.2.2", "2026-11-01T10:00:00Z")
        .revision(2, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(3, "v1.2.4", "2026-11-19T10:01:00Z");
    let inventory = inventory([first, lost, api, released_at("web", "14:02:00")]);
    let policy = platform().policy;
    let check = |name: &str, good: usize, is_first: bool| {
        let target = deployment(name);
        let choice = choose(&inventory, &policy, &target, None);
        assert_eq!(good_revisions(&inventory, &policy, &target), good, "{name}");
        assert_eq!(
            is_first_version(&choice, &inventory.workloads[&target]),
            is_first,
            "{name}"
        );
    };
    check("new", 0, true);
    check("lost", 0, false);
    check("api", 1, false);
    check("web", 1, false);
}
