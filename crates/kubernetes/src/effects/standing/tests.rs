//! When a wait is given up: each trouble with its time, as tables.

use super::*;
use crate::effects::pod::PodView;
use serde_json::{Value, json};

fn member(belongs: Belongs, restarts: u32, trouble: Option<Trouble>) -> Member {
    Member {
        pod: PodView {
            name: "web-1".to_owned(),
            uid: "p".into(),
            revision: Some("rev".to_owned()),
            ready: trouble.is_none(),
            terminating: false,
            finished: false,
            restarts,
            trouble,
            digests: BTreeMap::new(),
        },
        belongs,
    }
}

fn deployment(status: Value) -> Object {
    let managed = json!([{"manager": "astern", "operation": "Update", "time": "2026-01-01T12:00:00Z",
        "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    let json = json!({"metadata": {"uid": "w", "managedFields": managed}, "spec": {}, "status": status});
    Object::new(WorkloadKind::Deployment, json)
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// Looks at these moments (seconds) at the same picture; says at which it is given up, and with what words.
fn given_up(workload: &Object, members: &[Member], not_created: Option<&str>, moments: &[i64]) -> String {
    let mut standing = Standing::default();
    let sight = Sight {
        workload,
        members,
        not_created,
    };
    for moment in moments {
        if let Outlook::Hopeless { finding, stood } = standing.look(&sight, seconds(*moment)) {
            return format!("at {moment}: {}", told(&finding, stood));
        }
    }
    "never".to_owned()
}

fn image() -> Trouble {
    Trouble::ImagePull {
        container: "api".into(),
        image: "api:v9".into(),
        message: "not found".into(),
    }
}

fn crash(restarts: u32) -> Trouble {
    Trouble::CrashLoop {
        container: "api".into(),
        exit_code: Some(1),
        restarts,
        last_line: None,
    }
}

#[test]
fn a_trouble_ends_the_wait_once_it_stood_for_its_time() {
    let moments = [0, 14, 15, 19, 20, 59, 60, 600];
    let none = deployment(json!({}));
    let check = |belongs, trouble, expected: &str| {
        assert_eq!(
            given_up(&none, &[member(belongs, 0, Some(trouble))], None, &moments),
            expected
        );
    };
    let config = Trouble::CannotStart {
        container: "api".into(),
        reason: "CreateContainerConfigError".into(),
        message: "secret \"s\" not found".into(),
    };
    let node = Trouble::Unschedulable {
        message: "0/3 nodes".into(),
    };
    check(
        Belongs::Target,
        image(),
        "at 20: pod/web-1 cannot pull image api:v9 of container api: not found (for 20s)",
    );
    check(
        Belongs::Target,
        config,
        "at 15: pod/web-1 cannot make container api: CreateContainerConfigError: secret \"s\" not found (for 15s)",
    );
    check(
        Belongs::Target,
        node,
        "at 60: pod/web-1 finds no node: 0/3 nodes (for 1m)",
    );
    check(
        Belongs::Target,
        Trouble::NotReady {
            container: "api".into(),
            message: None,
        },
        "never",
    );
    check(Belongs::Target, Trouble::Starting, "never");
    // The bad version's pods are what is being replaced.
    check(Belongs::Other, image(), "never");
    check(Belongs::Unresolved, image(), "never");
}

#[test]
fn three_restarts_since_a_pod_was_ready_are_a_crash_loop() {
    let none = deployment(json!({}));
    let at_once = |restarts| {
        given_up(
            &none,
            &[member(Belongs::Target, restarts, Some(crash(restarts)))],
            None,
            &[0],
        )
    };
    assert_eq!(at_once(2), "never");
    assert_eq!(
        at_once(3),
        "at 0: pod/web-1 crashes again and again: container api ended with exit code 1, 3 restarts"
    );
    // A pod that served with seven restarts of its past, and then crashes once.
    let mut standing = Standing::default();
    let mut look = |member: Member| {
        let members = [member];
        standing.look(
            &Sight {
                workload: &none,
                members: &members,
                not_created: None,
            },
            seconds(1),
        )
    };
    assert_eq!(
        look(member(Belongs::Target, 7, None)),
        Outlook::Open { again: None }
    );
    assert_eq!(
        look(member(Belongs::Target, 8, Some(crash(8)))),
        Outlook::Open { again: None }
    );
    assert!(matches!(
        look(member(Belongs::Target, 10, Some(crash(10)))),
        Outlook::Hopeless { .. }
    ));
}

#[test]
fn a_trouble_that_passes_begins_anew_when_it_comes_back() {
    let none = deployment(json!({}));
    let mut standing = Standing::default();
    let mut look = |trouble, at| {
        let members = [member(Belongs::Target, 0, Some(trouble))];
        standing.look(
            &Sight {
                workload: &none,
                members: &members,
                not_created: None,
            },
            seconds(at),
        )
    };
    assert_eq!(
        look(image(), 0),
        Outlook::Open {
            again: Some(seconds(20))
        }
    );
    assert_eq!(
        look(image(), 15),
        Outlook::Open {
            again: Some(seconds(5))
        }
    );
    assert_eq!(look(Trouble::Starting, 16), Outlook::Open { again: None });
    assert_eq!(
        look(image(), 25),
        Outlook::Open {
            again: Some(seconds(20))
        }
    );
}

#[test]
fn a_pod_for_which_a_node_is_coming_is_waited_for() {
    let none = deployment(json!({}));
    let members = [member(
        Belongs::Target,
        0,
        Some(Trouble::Unschedulable {
            message: "0/3 nodes".into(),
        }),
    )];
    let mut standing = Standing::default();
    standing.excuse(&"p".into());
    let sight = Sight {
        workload: &none,
        members: &members,
        not_created: None,
    };
    assert_eq!(standing.look(&sight, seconds(0)), Outlook::Open { again: None });
    assert_eq!(standing.look(&sight, seconds(600)), Outlook::Open { again: None });
}

#[test]
fn an_ordered_statefulset_does_not_get_past_a_broken_pod_of_the_version_before() {
    let set = |policy: &str| {
        Object::new(
            WorkloadKind::StatefulSet,
            json!({"spec": {"podManagementPolicy": policy}}),
        )
    };
    let members = [member(Belongs::Other, 0, Some(image()))];
    assert_eq!(given_up(&set("Parallel"), &members, None, &[0, 30]), "never");
    assert_eq!(
        given_up(&set("OrderedReady"), &members, None, &[0, 30]),
        "at 30: pod/web-1 of the version before stands in the way: cannot pull image api:v9 of container api: not found (for 30s)"
    );
}

#[test]
fn pods_that_cannot_be_created_end_the_wait() {
    let failure =
        json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]});
    assert_eq!(
        given_up(&deployment(failure), &[], None, &[0, 15]),
        "at 15: pods cannot be created: exceeded quota: q (for 15s)"
    );
    let set = Object::new(WorkloadKind::DaemonSet, json!({}));
    assert_eq!(
        given_up(&set, &[], Some("forbidden: policy"), &[0, 15]),
        "at 15: pods cannot be created: forbidden: policy (for 15s)"
    );
}

#[test]
fn a_progress_deadline_from_before_the_template_was_written_does_not_count() {
    let check = |updated_at: &str, observed: u64, expected: &str| {
        let condition = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"a\" has timed out progressing.", "lastUpdateTime": updated_at});
        let mut json = deployment(json!({"observedGeneration": observed, "conditions": [condition]}))
            .json()
            .clone();
        json["metadata"]["generation"] = json!(2);
        let workload = Object::new(WorkloadKind::Deployment, json);
        assert_eq!(given_up(&workload, &[], None, &[0]), expected);
    };
    check("2026-01-01T11:59:00Z", 2, "never");
    check("2026-01-01T12:10:00Z", 1, "never");
    check(
        "2026-01-01T12:10:00Z",
        2,
        "at 0: the rollout made no progress within its deadline: ReplicaSet \"a\" has timed out progressing.",
    );
}

#[test]
fn a_progress_deadline_that_passed_names_the_pod_that_did_not_become_ready_and_why() {
    let status = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"a\" has timed out progressing.", "lastUpdateTime": "2026-01-01T12:10:00Z"}]});
    let unready = Trouble::NotReady {
        container: "api".to_owned(),
        message: Some("HTTP probe failed with statuscode: 503".to_owned()),
    };
    let members = [member(Belongs::Target, 0, Some(unready))];
    assert_eq!(
        given_up(&deployment(status), &members, None, &[0]),
        "at 0: the rollout made no progress within its deadline: pod/web-1 not ready: HTTP probe failed with statuscode: 503"
    );
}
