//! Differences: place by place, by name, with literal values hidden.

use astern_model::diff::{Marks, Shown};
use astern_model::template::Template;
use astern_plan::{diff, hidden_in, without_values};
use serde_json::{Value, json};

fn told(from: Value, to: Value) -> String {
    let shown = |shown: &Option<Shown>| match shown {
        None => "-".to_owned(),
        Some(Shown::Value(value)) => value.clone(),
        Some(Shown::Masked | Shown::Keyed(_)) => "***".to_owned(),
    };
    diff(&Template::clean(from), &Template::clean(to), &Marks::default())
        .iter()
        .map(|change| {
            format!(
                "{}: {} => {}\n",
                change.path,
                shown(&change.from),
                shown(&change.to)
            )
        })
        .collect()
}

fn pod(containers: Value) -> Value {
    json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": containers}})
}

#[test]
fn the_difference_is_structured_and_hides_literal_values() {
    let from = json!({
        "metadata": {
            "labels": {"app": "api", "app.kubernetes.io/version": "v1.2.4", "pod-template-hash": "abc"},
            "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-23T14:05:00Z"},
        },
        "spec": {
            "containers": [
                {
                    "name": "api",
                    "image": "registry.test/api:v1.2.4",
                    "args": ["--port", "8080"],
                    "ports": [{"name": "http", "containerPort": 8081}, {"containerPort": 9090}],
                    "env": [
                        {"name": "LOG_LEVEL", "value": "debug"},
                        {"name": "DB_PASSWORD", "value": "hunter2"},
                        {"name": "TOKEN", "value": "plain"},
                        {"name": "GONE", "value": "x"},
                    ],
                    "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
                },
                {"name": "sidecar", "image": "registry.test/sidecar:v2", "env": [{"name": "KEY", "value": "s3cr3t"}]},
            ],
            "volumes": [{"name": "config", "configMap": {"name": "app-config-2"}}],
        }
    });
    let to = json!({
        "metadata": {"labels": {"app": "api", "app.kubernetes.io/version": "v1.2.3"}},
        "spec": {
            "containers": [{
                "name": "api",
                "image": "registry.test/api:v1.2.3",
                "args": ["--port", "8080", "--api-token=s3cr3t"],
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "DB_PASSWORD", "value": "hunter2"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api-keys", "key": "token"}}},
                ],
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
            }],
            "volumes": [{"name": "config", "configMap": {"name": "app-config-1"}}, {"name": "tmp", "emptyDir": {}}],
            "fieldOfTheFuture": {"a": 1},
        }
    });
    let text = told(from, to);
    for secret in ["hunter2", "s3cr3t", "debug", "plain"] {
        assert!(!text.contains(secret), "{secret} is shown:\n{text}");
    }
    insta::assert_snapshot!(text, @r#"
    metadata.labels[app.kubernetes.io/version]: v1.2.4 => v1.2.3
    containers[api].args: ["--port","8080"] => ***
    containers[api].env[GONE]: *** => -
    containers[api].env[LOG_LEVEL]: *** => ***
    containers[api].env[TOKEN]: *** => {"secretKeyRef":{"key":"token","name":"api-keys"}}
    containers[api].image: registry.test/api:v1.2.4 => registry.test/api:v1.2.3
    containers[api].ports[8080].name: - => http
    containers[api].ports[8081].name: http => -
    containers[api].ports[9090]: {} => -
    containers[api].resources.limits.memory: 256Mi => 512Mi
    containers[sidecar].env[KEY]: *** => -
    containers[sidecar].image: registry.test/sidecar:v2 => -
    fieldOfTheFuture.a: - => 1
    volumes[config].configMap.name: app-config-2 => app-config-1
    volumes[tmp].emptyDir: - => {}
    "#);
}

#[test]
fn equal_templates_do_not_differ_whatever_the_order_of_their_keys() {
    let a = pod(json!([{"name": "api", "image": "x:1"}]));
    let b = pod(json!([{"image": "x:1", "name": "api"}]));
    assert_eq!(told(a, b), "");
}

#[test]
fn arguments_and_addresses_that_carry_a_credential_are_hidden() {
    let of = |args: Value| {
        pod(json!([{"name": "api", "image": "registry.test:5000/api@sha256:ab", "args": args}]))
    };
    let check = |hidden: bool, arg: &str| {
        let told = told(of(json!(["serve"])), of(json!(["serve", arg])));
        assert_eq!(told.contains("***"), hidden, "{arg}: {told}");
        assert_eq!(told.contains(arg), !hidden, "{arg}: {told}");
    };
    check(true, "--password=hunter2");
    check(true, "--redis-pass=hunter2");
    check(true, "--dsn=postgres://api:hunter2@db.test/shop");
    check(true, "--repository=https://ghp_0123456789@git.test/shop");
    check(false, "--backend=https://api.test/users/@me");
    check(false, "--mail=ops@example.test");
    let annotated = |at: &str| json!({"metadata": {"annotations": {"example.test/source": at}}});
    let told = told(
        annotated("https://a.test"),
        annotated("https://api:hunter2@b.test"),
    );
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn another_order_of_the_same_entries_is_a_difference() {
    let entry = |name: &str| json!({"name": name, "image": "x:1"});
    let text = told(
        pod(json!([entry("a"), entry("b")])),
        pod(json!([entry("b"), entry("a")])),
    );
    assert_eq!(text, "containers (order): a, b => b, a\n");
}

#[test]
fn repeated_env_names_are_still_hidden() {
    let env = |value: &str| json!([{"name": "A", "value": value}, {"name": "A", "value": value}]);
    let text = told(
        pod(json!([{"name": "api", "env": env("s1")}])),
        pod(json!([{"name": "api", "env": env("s2")}])),
    );
    assert_eq!(text, "containers[api].env: *** => ***\n");
}

#[test]
fn kubectls_restart_mark_is_told_only_when_nothing_else_differs() {
    let mut marked = pod(json!([]));
    marked["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    assert_eq!(
        told(marked, pod(json!([]))),
        "metadata.annotations[kubectl.kubernetes.io/restartedAt]: now => -\n"
    );
}

#[test]
fn every_hidden_value_has_a_mark_that_says_whether_two_are_the_same() {
    let of = |env: [&str; 2], args: Value| {
        let [a, b] = env;
        let env = json!([{"name": "A", "value": a}, {"name": "B", "value": b}]);
        let probe = json!({"httpGet": {"httpHeaders": [{"name": "X-Key", "value": a}]}});
        pod(json!([{"name": "api", "env": env, "args": args, "livenessProbe": probe}]))
    };
    let from = of(["one", "two"], json!(["--token=three"]));
    let to = of(["two", ""], json!(["--token=four"]));
    let hash = |value: &str| {
        let digits: String = value.bytes().rev().map(|byte| format!("{byte:02x}")).collect();
        format!("hmac-sha256:{digits:0<16}")
    };
    let values = hidden_in([&from, &to].into_iter());
    let marks = Marks::of(values.into_iter().map(|value| (value.clone(), hash(&value))));
    let shown = |shown: &Option<Shown>| match shown {
        Some(Shown::Keyed(mark)) => mark.clone(),
        other => panic!("{other:?} has no mark"),
    };
    let changes = diff(&Template::clean(from), &Template::clean(to), &marks);
    let told: Vec<String> = changes
        .iter()
        .map(|change| {
            format!(
                "{}: {} => {}",
                change.path,
                shown(&change.from),
                shown(&change.to)
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    containers[api].args: 5d226565 => 5d227275
    containers[api].env[A]: 656e6f00 => 6f777400
    containers[api].env[B]: 6f777400 => 00000000
    containers[api].livenessProbe.httpGet.httpHeaders[X-Key]: 656e6f00 => 6f777400
    "#);
}

#[test]
fn what_a_server_quotes_of_a_manifest_is_told_without_its_values() {
    let env = json!([
        {"name": "DB_PASSWORD", "value": 12345},
        {"name": "RATE", "value": 5.0},
        {"name": "TOKEN", "value": "say \"friend\""},
        {"name": "PIN", "value": "42"},
        {"name": "KEY", "value": "first line\nsecond line"},
        {"name": "LIST", "value": ["north", "south"]},
        {"name": "EMPTY", "value": ""},
    ]);
    let manifest = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "api", "env": env, "args": ["--token=hunter2"]},
    ]}}}});
    let live = pod(json!([{"name": "api", "env": [{"name": "OLD", "value": "bygone"}]}]));
    let told = |message: &str| without_values(message, [&manifest, &live]);
    let hidden = "(a value that is not shown)";
    let fixed = r#".spec.template.spec.containers[name="api"].env[name="DB_PASSWORD"].value: expected string, got &value.valueUnstructured{Value:"#;
    assert_eq!(told(&format!("{fixed}12345}}")), format!("{fixed}{hidden}}}"));
    for quoted in [
        "5",
        "5.0",
        r#"say "friend""#,
        r#"say \"friend\""#,
        "42",
        r"first line\nsecond line",
        "second line",
        "south",
        "--token=hunter2",
        "bygone",
    ] {
        assert_eq!(
            told(&format!("got '{quoted}', no")),
            format!("got '{hidden}', no")
        );
    }
    let other = "denied by policy 1425: the image of api v42 is signed by nobody";
    assert_eq!(told(other), other);
}
