//! Jobs on virtual time, where containers fail as often as they are meant to.

use crate::support::{MERGE, Sandbox, condition, workload};
use astern_sandbox::{Behaviour, Crash};
use jiff::SignedDuration;
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/shop/jobs";
const WORK: &str = "/apis/batch/v1/namespaces/shop/jobs/work";
const PODS: &str = "/api/v1/namespaces/shop/pods";

fn ends_with(code: i64) -> Behaviour {
    Behaviour {
        crash: Some(Crash {
            after: SignedDuration::from_secs(1),
            code,
        }),
        ..Behaviour::default()
    }
}

fn job(spec: &Value) -> Value {
    let mut job = json!({"metadata": {"name": "work"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "app", "image": "job:v1"}],
    }}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    job
}

fn count(sandbox: &mut Sandbox, field: &str) -> i64 {
    sandbox.read(WORK)["status"][field].as_i64().unwrap_or(0)
}

#[test]
fn a_job_runs_so_many_pods_at_once_until_enough_succeeded() {
    let mut sandbox = Sandbox::behaving(&[("job:v1", ends_with(0))]);
    sandbox.create(JOBS, job(&json!({"completions": 5, "parallelism": 2})));
    sandbox.settle();
    assert_eq!(count(&mut sandbox, "active"), 2);
    sandbox.pass(10);
    let work = sandbox.read(WORK);
    assert_eq!(work["status"]["succeeded"], 5);
    assert!(condition(&work, "Complete").starts_with("True CompletionsReached"));
    let pods = sandbox.read(PODS)["items"].clone();
    assert_eq!(pods.as_array().unwrap().len(), 5);
    assert!(
        pods[0]["metadata"]["finalizers"].is_null(),
        "a pod that is counted is held by nobody"
    );
}

#[test]
fn a_job_whose_pods_fail_waits_longer_each_time_and_gives_up() {
    let mut sandbox = Sandbox::behaving(&[("job:v1", ends_with(3))]);
    sandbox.create(JOBS, job(&json!({"backoffLimit": 2})));
    sandbox.pass(5);
    assert_eq!(
        (count(&mut sandbox, "failed"), count(&mut sandbox, "active")),
        (1, 0)
    );
    sandbox.pass(10);
    assert_eq!(count(&mut sandbox, "failed"), 2, "the first wait is 10 s");
    sandbox.pass(10);
    assert_eq!(count(&mut sandbox, "failed"), 2, "the second is twice as long");
    sandbox.pass(15);
    let work = sandbox.read(WORK);
    assert_eq!(work["status"]["failed"], 3);
    assert!(condition(&work, "Failed").starts_with("True BackoffLimitExceeded"));
    sandbox.pass(600);
    assert_eq!(count(&mut sandbox, "failed"), 3, "nothing is tried any more");
}

#[test]
fn a_container_that_is_restarted_in_its_pod_counts_against_the_limit() {
    let mut sandbox = Sandbox::behaving(&[("job:v1", ends_with(3))]);
    let mut work = job(&json!({"backoffLimit": 2}));
    work["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure".into();
    sandbox.create(JOBS, work);
    sandbox.pass(600);
    let work = sandbox.read(WORK);
    assert!(condition(&work, "Failed").starts_with("True BackoffLimitExceeded"));
    assert!(sandbox.pods().is_empty(), "{:?}", sandbox.pods());
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_when_it_may() {
    let mut sandbox = Sandbox::behaving(&[("job:v1", ends_with(0))]);
    sandbox.create(JOBS, job(&json!({"suspend": true})));
    sandbox.pass(10);
    assert!(sandbox.pods().is_empty());
    assert!(condition(&sandbox.read(WORK), "Suspended").starts_with("True JobSuspended"));
    sandbox.patch(WORK, MERGE, json!({"spec": {"suspend": false}}));
    sandbox.pass(10);
    assert_eq!(count(&mut sandbox, "succeeded"), 1);
}

#[test]
fn a_job_that_is_deleted_without_a_word_leaves_its_pods_and_one_with_a_time_to_be_kept_takes_them_along() {
    let mut sandbox = Sandbox::behaving(&[("job:v1", ends_with(0))]);
    sandbox.create(JOBS, job(&json!({})));
    sandbox.pass(10);
    sandbox.delete(WORK, Value::Null);
    sandbox.pass(10);
    assert_eq!(sandbox.get(WORK).0, 404);
    assert_eq!(sandbox.pods().len(), 1);
    sandbox.delete(PODS, Value::Null);
    sandbox.pass(60);
    sandbox.create(JOBS, job(&json!({"ttlSecondsAfterFinished": 20})));
    sandbox.pass(10);
    assert_eq!(count(&mut sandbox, "succeeded"), 1);
    sandbox.pass(60);
    assert_eq!(sandbox.get(WORK).0, 404);
    assert!(sandbox.pods().is_empty(), "{:?}", sandbox.pods());
}

#[test]
fn what_the_sandbox_does_not_imitate_of_jobs_is_refused() {
    let mut sandbox = Sandbox::new();
    for spec in [
        json!({"completionMode": "Indexed", "completions": 2}),
        json!({"podFailurePolicy": {"rules": []}}),
    ] {
        let (code, refused) = sandbox.post(JOBS, job(&spec));
        assert_eq!(code, 422, "{refused}");
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .contains("the sandbox does not support")
        );
    }
}

#[test]
fn workloads_adopt_what_an_orphaning_deletion_left() {
    let mut sandbox = Sandbox::new();
    for (kind, plural, name, many) in [
        ("StatefulSet", "statefulsets", "db", 2),
        ("DaemonSet", "daemonsets", "agent", 3),
        ("Deployment", "deployments", "web", 2),
    ] {
        let all = format!("/apis/apps/v1/namespaces/shop/{plural}");
        let one = format!("{all}/{name}");
        let mut made = workload(kind, name, "web:v1", 2);
        if kind == "DaemonSet" {
            made["spec"].as_object_mut().unwrap().remove("replicas");
        }
        sandbox.create(&all, made.clone());
        sandbox.pass(20);
        let uids = |sandbox: &mut Sandbox| {
            let pods = sandbox.read(PODS)["items"].clone();
            let pods = pods.as_array().unwrap().iter();
            pods.map(|pod| pod["metadata"]["uid"].to_string())
                .collect::<Vec<_>>()
        };
        let before = uids(&mut sandbox);
        assert_eq!(before.len(), many);
        sandbox.delete(&one, json!({"propagationPolicy": "Orphan"}));
        sandbox.pass(20);
        assert_eq!(uids(&mut sandbox), before, "{kind}");
        sandbox.create(&all, made);
        sandbox.pass(20);
        assert_eq!(uids(&mut sandbox), before, "{kind}");
        let pods = sandbox.read(PODS)["items"].clone();
        assert!(
            pods[0]["metadata"]["ownerReferences"][0]["controller"] == true,
            "{kind}"
        );
        sandbox.delete(&one, json!({"propagationPolicy": "Background"}));
        sandbox.pass(60);
        assert!(sandbox.pods().is_empty(), "{kind}");
    }
}
