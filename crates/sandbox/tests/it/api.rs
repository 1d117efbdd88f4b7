//! The API: what requests store, tell and refuse.

use crate::support::{JSON_PATCH, MERGE, STRATEGIC, Sandbox, workload};
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"value": value}}, "data": {"value": value}})
}

#[test]
fn an_object_is_created_read_replaced_and_deleted() {
    let mut sandbox = Sandbox::new();
    let made = sandbox.create(MAPS, map("a", "1"));
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "shop");
    let (code, replaced) = sandbox.put(&format!("{MAPS}/a"), map("a", "2"));
    assert_eq!((code, &replaced["data"]["value"]), (200, &json!("2")));
    assert_eq!(replaced["metadata"]["uid"], made["metadata"]["uid"]);
    let (code, deleted) = sandbox.delete(&format!("{MAPS}/a"), Value::Null);
    assert_eq!((code, &deleted["status"]), (200, &json!("Success")));
    let (code, missing) = sandbox.get(&format!("{MAPS}/a"));
    assert_eq!(code, 404);
    assert_eq!(missing["message"], "configmaps \"a\" not found");
}

#[test]
fn of_two_writers_who_saw_the_same_the_second_is_refused() {
    let mut sandbox = Sandbox::new();
    let mut seen = sandbox.create(MAPS, map("a", "1"));
    sandbox.patch(&format!("{MAPS}/a"), MERGE, json!({"data": {"value": "2"}}));
    seen["data"]["value"] = "3".into();
    let (code, refused) = sandbox.put(&format!("{MAPS}/a"), seen.clone());
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    let version = seen["metadata"]["resourceVersion"].clone();
    let stale = json!({"metadata": {"resourceVersion": version}, "data": {"value": "3"}});
    let (code, _) = sandbox.patch(&format!("{MAPS}/a"), MERGE, stale);
    assert_eq!(code, 409);
}

#[test]
fn a_write_that_changes_nothing_has_no_new_version() {
    let mut sandbox = Sandbox::new();
    let made = sandbox.create(MAPS, map("a", "1"));
    let (_, patched) = sandbox.patch(&format!("{MAPS}/a"), MERGE, json!({"data": {"value": "1"}}));
    assert_eq!(
        patched["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

#[test]
fn a_deletion_with_a_precondition_takes_only_what_was_seen() {
    let mut sandbox = Sandbox::new();
    sandbox.create(MAPS, map("a", "1"));
    let (code, refused) = sandbox.delete(&format!("{MAPS}/a"), json!({"preconditions": {"uid": "other"}}));
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    let (code, _) = sandbox.delete(
        &format!("{MAPS}/a"),
        json!({"preconditions": {"resourceVersion": "1"}}),
    );
    assert_eq!(code, 409);
    sandbox.read(&format!("{MAPS}/a"));
}

#[test]
fn a_dry_run_is_checked_and_not_stored() {
    let mut sandbox = Sandbox::new();
    let (code, _) = sandbox.post(&format!("{MAPS}?dryRun=All"), map("a", "1"));
    assert_eq!(code, 201);
    assert_eq!(sandbox.get(&format!("{MAPS}/a")).0, 404);
    let bad = workload("Deployment", "Web", "web:v1", 1);
    assert_eq!(sandbox.post(&format!("{DEPLOYMENTS}?dryRun=All"), bad).0, 422);
}

#[test]
fn pages_of_a_list_show_one_moment_until_it_is_compacted() {
    let mut sandbox = Sandbox::new();
    for name in ["a", "b", "c"] {
        sandbox.create(MAPS, map(name, "1"));
    }
    let first = sandbox.read(&format!("{MAPS}?limit=2"));
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    sandbox.delete(&format!("{MAPS}/c"), Value::Null);
    sandbox.create(MAPS, map("d", "1"));
    let second = sandbox.read(&format!("{MAPS}?limit=2&continue={token}"));
    let names: Vec<&str> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c", "kube-root-ca.crt"]);
    sandbox.cluster.compact(sandbox.cluster.version());
    let (code, expired) = sandbox.get(&format!("{MAPS}?limit=2&continue={token}"));
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let rest = sandbox.read(&format!("{MAPS}?limit=2&continue={token}"));
    let names: Vec<&Value> = rest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(
        names,
        ["d", "kube-root-ca.crt"],
        "what there is now, from there on"
    );
    let (code, expired) = sandbox.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact"));
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
}

#[test]
fn a_watch_goes_on_from_a_list_and_an_object_may_enter_and_leave_its_selection() {
    let mut sandbox = Sandbox::new();
    let list = sandbox.read(&format!("{MAPS}?labelSelector=value%3D2"));
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut watch = sandbox.watch(&format!(
        "{MAPS}?watch=true&labelSelector=value%3D2&resourceVersion={version}"
    ));
    sandbox.create(MAPS, map("a", "1"));
    sandbox.put(&format!("{MAPS}/a"), map("a", "2"));
    sandbox.patch(&format!("{MAPS}/a"), MERGE, json!({"data": {"more": "x"}}));
    sandbox.put(&format!("{MAPS}/a"), map("a", "3"));
    let told: Vec<String> = sandbox
        .events(&mut watch)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(told, ["ADDED", "MODIFIED", "DELETED"]);
}

#[test]
fn a_watch_from_a_forgotten_version_is_told_that_it_is_gone() {
    let mut sandbox = Sandbox::new();
    let version = sandbox.create(MAPS, map("a", "1"))["metadata"]["resourceVersion"].clone();
    sandbox.create(MAPS, map("b", "1"));
    sandbox.create(MAPS, map("c", "1"));
    sandbox.cluster.compact(sandbox.cluster.version());
    let mut watch = sandbox.watch(&format!(
        "{MAPS}?watch=true&resourceVersion={}",
        version.as_str().unwrap()
    ));
    let events = sandbox.events(&mut watch);
    assert_eq!(events[0].0, "ERROR");
    assert_eq!(events[0].1["code"], 410);
    assert!(watch.ended());
}

#[test]
fn a_watch_ends_when_its_time_is_over() {
    let mut sandbox = Sandbox::new();
    let mut watch = sandbox.watch(&format!("{MAPS}?watch=true&timeoutSeconds=5"));
    sandbox.events(&mut watch);
    assert!(!watch.ended());
    assert_eq!(watch.due(), sandbox.now + jiff::SignedDuration::from_secs(5));
    sandbox.pass(5);
    sandbox.events(&mut watch);
    assert!(watch.ended());
}

#[test]
fn patches_of_all_three_kinds_are_taken_and_apply_is_refused() {
    let mut sandbox = Sandbox::new();
    let web = format!("{DEPLOYMENTS}/web");
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 1));
    let image = |patched: &Value| patched["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let containers = json!([{"name": "app", "image": "web:v2"}]);
    let (_, patched) = sandbox.patch(
        &web,
        STRATEGIC,
        json!({"spec": {"template": {"spec": {"containers": containers}}}}),
    );
    assert_eq!(image(&patched), "web:v2");
    assert_eq!(patched["metadata"]["generation"], 2);
    let replace = json!([
        {"op": "test", "path": "/spec/template/spec/containers/0/image", "value": "web:v2"},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:v3"},
    ]);
    let (_, patched) = sandbox.patch(&web, JSON_PATCH, replace.clone());
    assert_eq!(image(&patched), "web:v3");
    // What it tests is not so any more.
    let (code, refused) = sandbox.patch(&web, JSON_PATCH, replace);
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    let (_, patched) = sandbox.patch(&web, MERGE, json!({"spec": {"paused": true}}));
    assert_eq!(patched["spec"]["paused"], true);
    let (code, _) = sandbox.patch(&web, "application/apply-patch+yaml", json!({}));
    assert_eq!(code, 415);
}

#[test]
fn what_may_not_change_is_refused() {
    let mut sandbox = Sandbox::new();
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 1));
    let patch = json!({"spec": {
        "selector": {"matchLabels": {"app": "other"}},
        "template": {"metadata": {"labels": {"app": "other"}}},
    }});
    let (code, refused) = sandbox.patch(&format!("{DEPLOYMENTS}/web"), MERGE, patch);
    assert_eq!(code, 422);
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.selector");
    let mut kept = map("kept", "1");
    kept["immutable"] = true.into();
    sandbox.create(MAPS, kept);
    let (code, _) = sandbox.patch(&format!("{MAPS}/kept"), MERGE, json!({"data": {"value": "2"}}));
    assert_eq!(code, 422);
}

#[test]
fn status_and_spec_are_written_apart() {
    let mut sandbox = Sandbox::new();
    let web = format!("{DEPLOYMENTS}/web");
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 1));
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 7, "readyReplicas": 7}});
    let (_, patched) = sandbox.patch(&web, MERGE, both.clone());
    assert_eq!(patched["spec"]["replicas"], 5);
    assert!(patched["status"]["readyReplicas"].is_null());
    sandbox.patch(&web, MERGE, json!({"spec": {"replicas": 2}}));
    let (_, patched) = sandbox.patch(&format!("{web}/status"), MERGE, both);
    assert_eq!(patched["spec"]["replicas"], 2);
    assert_eq!(patched["status"]["readyReplicas"], 7);
}

#[test]
fn a_custom_resource_is_served_while_it_is_defined() {
    let mut sandbox = Sandbox::new();
    let path = "/apis/example.com/v1/namespaces/shop/widgets";
    assert_eq!(sandbox.get(path).0, 404);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    sandbox.create(
        definitions,
        json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [{"name": "v1", "served": true, "storage": true}],
            },
        }),
    );
    sandbox.create(path, json!({"metadata": {"name": "a"}, "spec": {"size": 1}}));
    let (code, _) = sandbox.patch(&format!("{path}/a"), STRATEGIC, json!({"spec": {"size": 2}}));
    assert_eq!(code, 415);
    assert_eq!(sandbox.read(path)["items"][0]["kind"], "Widget");
    sandbox.delete(&format!("{definitions}/widgets.example.com"), Value::Null);
    assert_eq!(sandbox.get(path).0, 404);
}

#[test]
fn metadata_alone_holds_no_values() {
    let mut sandbox = Sandbox::new();
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}});
    let made = sandbox.create("/api/v1/namespaces/shop/secrets", secret);
    assert_eq!(made["data"]["password"], "aHVudGVyMg==");
    let answer = sandbox.ask(
        Method::GET,
        "/api/v1/namespaces/shop/secrets",
        "",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        &Value::Null,
    );
    let astern_sandbox::Answer::Whole(response) = answer else {
        panic!("a list is no stream");
    };
    let list: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "s");
    assert!(list["items"][0]["data"].is_null());
}

#[test]
fn what_the_user_may_not_do_is_refused_and_told_by_reviews() {
    let rule = |verbs: &[&str], resources: &[&str]| astern_sandbox::Rule {
        verbs: verbs.iter().map(|each| (*each).to_owned()).collect(),
        groups: vec!["*".to_owned()],
        resources: resources.iter().map(|each| (*each).to_owned()).collect(),
        namespaces: vec!["*".to_owned()],
    };
    let mut sandbox = Sandbox::with(astern_sandbox::Options {
        access: astern_sandbox::Access {
            rules: vec![rule(&["*"], &["namespaces"]), rule(&["get", "list"], &["pods"])],
        },
        ..astern_sandbox::Options::default()
    });
    let (code, refused) = sandbox.get("/api/v1/namespaces/shop/secrets");
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "secrets is forbidden: User \"sandbox\" cannot list resource \"secrets\" in API group \"\" in the namespace \"shop\""
    );
    let mut may = |verb: &str, resource: &str| {
        let attributes = json!({"verb": verb, "resource": resource, "namespace": "shop"});
        let review = json!({"spec": {"resourceAttributes": attributes}});
        sandbox.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"]
            .clone()
    };
    assert_eq!(may("list", "pods"), true);
    assert_eq!(may("delete", "pods"), false);
}

#[test]
fn what_is_not_supported_is_refused_plainly() {
    let mut sandbox = Sandbox::new();
    let (code, refused) = sandbox.post("/api/v1/namespaces/shop/pods/web/eviction", json!({}));
    assert_eq!(code, 405);
    assert_eq!(
        refused["message"],
        "the sandbox does not support pods/eviction; nothing was changed"
    );
}

#[test]
fn an_event_is_watched_in_the_spelling_that_was_asked_for_and_changed_in_the_cores_alone() {
    const CORE: &str = "/api/v1/namespaces/shop/events";
    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
    let mut sandbox = Sandbox::new();
    let list = sandbox.read(EVENTS);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = sandbox.watch(&format!(
        "{EVENTS}?watch=true&fieldSelector=regarding.name%3Dweb&resourceVersion={version}"
    ));
    let event = |name: &str, about: &str| {
        let about = json!({"kind": "Pod", "namespace": "shop", "name": about});
        json!({"metadata": {"name": name}, "involvedObject": about, "reason": "R", "message": "m", "type": "Normal"})
    };
    sandbox.create(CORE, event("a", "web"));
    sandbox.create(CORE, event("b", "other"));
    sandbox.patch(&format!("{CORE}/a"), MERGE, json!({"message": "again"}));
    let (code, refused) = sandbox.patch(&format!("{EVENTS}/a"), MERGE, json!({"note": "no"}));
    assert_eq!(code, 405, "{refused}");
    sandbox.delete(&format!("{EVENTS}/a"), json!({}));
    let told: Vec<Value> = sandbox
        .events(&mut watch)
        .into_iter()
        .map(|(name, object)| {
            json!([
                name,
                object["apiVersion"],
                object["regarding"]["name"],
                object["note"],
                object["message"]
            ])
        })
        .collect();
    let version = "events.k8s.io/v1";
    assert_eq!(
        json!(told),
        json!([
            ["ADDED", version, "web", "m", null],
            ["MODIFIED", version, "web", "again", null],
            ["DELETED", version, "web", "again", null],
        ])
    );
}

#[test]
fn equal_seeds_and_requests_give_equal_clusters() {
    let run = || {
        let mut sandbox = Sandbox::new();
        sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 3));
        sandbox.pass(10);
        sandbox.read("/api/v1/namespaces/shop/pods").to_string()
    };
    assert_eq!(run(), run());
}

#[test]
fn settings_that_no_controller_here_knows_are_refused() {
    let mut sandbox = Sandbox::new();
    let mut agent = workload("DaemonSet", "agent", "agent:v1", 0);
    agent["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    let (code, refused) = sandbox.post("/apis/apps/v1/namespaces/shop/daemonsets", agent);
    assert_eq!(code, 422);
    assert_eq!(
        refused["message"],
        "DaemonSet.apps \"agent\" is invalid: spec.updateStrategy.rollingUpdate.maxSurge: Forbidden: the sandbox does not \
         support a surge of DaemonSets"
    );
}
