//! Who manages which fields, told in `metadata.managedFields`.

use crate::support::{MERGE, Sandbox};
use jiff::SignedDuration;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

/// An entry's fields by its manager and part.
fn fields(object: &Value, manager: &str, part: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let found = entries.iter().find(|entry| {
        entry["manager"] == manager && entry["subresource"].as_str().unwrap_or_default() == part
    });
    found.map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

fn web() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "web:v1"}]},
            },
        },
    })
}

#[test]
fn a_field_belongs_to_whoever_changed_its_value_last() {
    let mut sandbox = Sandbox::new();
    let made = json!({"metadata": {"name": "a"}, "data": {"one": "1", "two": "2"}});
    sandbox.create(&format!("{MAPS}?fieldManager=first"), made);
    let change = json!({"data": {"one": "9", "two": "2"}});
    let (_, map) = sandbox.patch(&format!("{MAPS}/a?fieldManager=second"), MERGE, change);
    assert_eq!(
        fields(&map, "first", ""),
        json!({"f:data": {".": {}, "f:two": {}}})
    );
    assert_eq!(fields(&map, "second", ""), json!({"f:data": {"f:one": {}}}));
    let gone = json!({"data": null});
    let (_, map) = sandbox.patch(&format!("{MAPS}/a?fieldManager=third"), MERGE, gone);
    assert_eq!(map["metadata"].get("managedFields"), None);
}

#[test]
fn the_time_of_the_last_template_change_stays_while_controllers_write_the_status() {
    let mut sandbox = Sandbox::new();
    sandbox.create(
        "/apis/apps/v1/namespaces/shop/deployments?fieldManager=deployer",
        web(),
    );
    sandbox.pass(60);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "web:v2"}]}}}});
    let media = crate::support::STRATEGIC;
    sandbox.patch(&format!("{WEB}?fieldManager=somebody"), media, image);
    sandbox.pass(60);
    let web = sandbox.read(WEB);
    let template = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"app\"}/f:image";
    assert_eq!(fields(&web, "somebody", "").pointer(template), Some(&json!({})));
    assert_eq!(fields(&web, "deployer", "").pointer(template), None);
    let entries = web["metadata"]["managedFields"].as_array().unwrap();
    let times: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry["manager"].as_str().unwrap(),
                entry["time"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            ("deployer", "2026-01-01T12:00:00Z"),
            ("somebody", "2026-01-01T12:01:00Z"),
            ("kube-controller-manager", "2026-01-01T12:01:01Z"),
        ]
    );
}

#[test]
fn what_is_written_back_as_it_was_read_changes_nothing() {
    let mut sandbox = Sandbox::new();
    sandbox.now += SignedDuration::from_millis(300);
    sandbox.create(MAPS, json!({"metadata": {"name": "a"}, "data": {"one": "1"}}));
    let read = sandbox.read(&format!("{MAPS}/a"));
    let (_, written) = sandbox.put(&format!("{MAPS}/a?fieldManager=other"), read.clone());
    assert_eq!(written, read);
}

#[test]
fn a_copy_keeps_the_managers_that_its_objects_came_with() {
    let mut sandbox = Sandbox::new();
    let entry = json!({
        "manager": "argocd-controller",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2025-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:one": {}}},
    });
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "shop", "uid": "u", "managedFields": [entry]},
        "data": {"one": "1"},
    });
    assert!(sandbox.cluster.load([map]).is_empty());
    let kept = sandbox.read(&format!("{MAPS}/a"));
    assert_eq!(kept["metadata"]["managedFields"], json!([entry]));
}
