//! What a person meets who writes `astern.yaml`: the example reads, slips are told with place and way out, and a
//! written file reads back.

mod round_trip;

use super::*;
use astern_model::login::{LoginProbe, Proof};
use astern_model::platform::{ArgoCdServer, JsonExpectation, Member, Probe, ProbeTarget, SecretRef};
use astern_model::policy::{Acceptor, Policy, Row, Say, When};
use astern_model::source::{PullRequests, SourceKind, ValuesImage};
use astern_model::target::{Target, WorkloadKind};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeMap;

const EXAMPLE: &str = include_str!("../../../../examples/vcci-scope3/astern.yaml");

fn example() -> Platform {
    parse_platform(EXAMPLE, "astern.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// The example with one place changed.
fn edited(from: &str, to: &str) -> Result<Platform, PlatformError> {
    assert!(EXAMPLE.contains(from), "the example has no {from}");
    parse_platform(&EXAMPLE.replacen(from, to, 1), "astern.yaml")
}

/// What is told about the example with one place changed.
fn told(from: &str, to: &str) -> String {
    edited(from, to).expect_err(to).to_string()
}

/// A small file with this under `spec`.
fn small(spec: &str) -> Result<Platform, PlatformError> {
    let head =
        "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {name: shop}\nspec:\n  namespace: shop\n";
    parse_platform(&format!("{head}{spec}"), "astern.yaml")
}

#[test]
fn the_example_reads_as_what_it_says() {
    let platform = example();
    let target = |kind, name: &str| Target {
        kind,
        namespace: "vcci-scope3".to_owned(),
        name: name.to_owned(),
    };
    let gateway = &platform.members[0];
    assert_eq!(gateway.target, target(WorkloadKind::Deployment, "api-gateway"));
    let engine = target(WorkloadKind::Deployment, "calculation-engine");
    assert_eq!(
        gateway.depends_on,
        [engine, target(WorkloadKind::Deployment, "data-ingestion")]
    );
    assert_eq!(
        gateway.probes,
        [Probe {
            name: "health".to_owned(),
            to: ProbeTarget::Service {
                service: "api-gateway".to_owned(),
                port: 8080,
                path: "/health".to_owned()
            },
            status: 200,
            json: Some(JsonExpectation {
                path: "/status".to_owned(),
                equals: json!("healthy")
            }),
            header: None,
            bearer: None,
        }]
    );
    assert_eq!(platform.members.len(), 6);
    assert_eq!(
        platform.members[1].depends_on,
        [target(WorkloadKind::StatefulSet, "ledger-store")]
    );
    assert_eq!(
        (platform.rto, platform.soak),
        (SignedDuration::from_mins(15), SignedDuration::from_secs(20))
    );
    assert_eq!(platform.cluster_uid, None);
    assert_eq!(platform.policy, Policy::default());
}

#[test]
fn yes_is_a_word_with_and_without_quotes() {
    let check = |list: &str, expected: &[Acceptor]| {
        let platform = edited("[person, \"yes\"]", list).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(platform.policy.accept_presumed, expected, "{list}");
    };
    check("[person, yes]", &[Acceptor::Person, Acceptor::Yes]);
    check("[person, \"yes\"]", &[Acceptor::Person, Acceptor::Yes]);
    check("['yes']", &[Acceptor::Yes]);
    check("[]", &[]);
}

#[test]
fn a_file_with_a_namespace_alone_is_that_namespace_with_the_defaults() {
    assert_eq!(small(""), Ok(Platform::of_namespace("shop")));
    assert_eq!(
        small("  workloads:\n  policy:\n"),
        Ok(Platform::of_namespace("shop"))
    );
}

#[test]
fn a_row_of_the_matrix_replaces_the_default_of_its_id_or_is_added() {
    let platform = small(
        "  policy:\n    matrix:\n      - {id: not-ready, when: notReady, then: ask, because: our pods are slow}\n      \
         - {id: loud, when: errorLines, then: doNot, because: we are loud}\n",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let mut expected = Policy::default().matrix;
    expected[2].then = Say::Ask;
    expected[2].because = "our pods are slow".to_owned();
    let loud = Row {
        id: "loud".to_owned(),
        when: When::ErrorLines,
        then: Say::DoNot,
        because: "we are loud".to_owned(),
    };
    expected.push(loud);
    assert_eq!(platform.policy.matrix, expected);
}

#[test]
fn a_slip_in_the_shape_is_shown_with_line_caret_and_the_nearest_right_word() {
    insta::assert_snapshot!(told("dependsOn: [ledger-store]", "dependOn: [ledger-store]"), @r#"
    astern.yaml:37:7: unknown key `dependOn` [AST0003]
     37 |       dependOn…
        |       ^^^^^^^^
        = did you mean `dependsOn`?

    nothing was changed
    "#);
    insta::assert_snapshot!(told("kind: StatefulSet", "kind: deploy"), @r#"
    astern.yaml:61:13: `deploy` cannot stand here [AST0005]
     61 |       kind: deploy
        |             ^^^^^^
        = did you mean `Deployment`?

    nothing was changed
    "#);
    insta::assert_snapshot!(told("onFailure: hold", "onFailure: stop"), @r#"
    astern.yaml:81:16: `stop` cannot stand here [AST0005]
     81 |     onFailure: stop
        |                ^^^^
        = it is one of: hold, unwind

    nothing was changed
    "#);
    insta::assert_snapshot!(told("port: 8080", "port: http"), @r#"
    astern.yaml:25:17: a whole number belongs here [AST0005]
     25 |           port: http
        |                 ^^^^

    nothing was changed
    "#);
    insta::assert_snapshot!(told("rto: {application: 15m}", "rto: 15m"), @r#"
    astern.yaml:67:8: keys with values belong here [AST0005]
     67 |   rto: 15m
        |        ^^^
        = write them like {key: value}, or one a line, indented

    nothing was changed
    "#);
    insta::assert_snapshot!(told("json: {path: /status, equals: healthy}", "json: {path: /status}"), @r#"
    astern.yaml:27:40: the key `equals` is missing here [AST0004]
     27 |           expect: {status: 200, json: {path: /status}}
        |                                        ^^^^

    nothing was changed
    "#);
    insta::assert_snapshot!(told("rto: {application: 15m}", "rto: {application: 15m}\n  rto: {application: 5m}"), @r#"
    astern.yaml:68:3: the key `rto` stands twice in the same place [AST0007]
     68 |   rto: {application: 5m}
        |   ^^^
        = keep one of them

    nothing was changed
    "#);
    insta::assert_snapshot!(told("rto: {application: 15m}", "rto: {application: 15m"), @r#"
    astern.yaml:71:3: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' [AST0001]
     71 |   validation: {soak: 20s}
        |   ^^^^^^^^^^
        = look at the lines above too: a bracket or quote may be open, or the indentation off

    nothing was changed
    "#);
}

#[test]
fn another_kind_of_file_is_called_what_it_is() {
    let check = |text: &str, file: &str| parse_platform(text, file).expect_err(text).to_string();
    insta::assert_snapshot!(check("apiVersion: apps/v1\nkind: Deployment\nmetadata: {}\n", "deploy.yaml"), @r#"
    deploy.yaml:1:13: this is a Deployment of apps/v1, not a platform file [AST0002]
     1 | apiVersion: apps/v1
       |             ^^^^^^^
       = it begins with: apiVersion: astern.dev/v1alpha1, kind: Platform

    nothing was changed
    "#);
    insta::assert_snapshot!(check("apiVersion: astern.dev/v2\nkind: Platform\n", "astern.yaml"), @r#"
    astern.yaml:1:13: this platform file is of version astern.dev/v2; this astern reads astern.dev/v1alpha1 [AST0002]
     1 | apiVersion: astern.dev/v2
       |             ^^^^^^^^^^^^^
       = use the astern that wrote it, or write the file anew with `astern init`

    nothing was changed
    "#);
    insta::assert_snapshot!(check("", "astern.yaml"), @r#"
    astern.yaml: the file is empty [AST0001]
       = `astern init -n NAMESPACE` writes one from what it finds in the cluster

    nothing was changed
    "#);
    insta::assert_snapshot!(check("hello", "astern.yaml"), @r#"
    astern.yaml:1:1: keys with values belong here [AST0005]
     1 | hello
       | ^^^^^
       = write them like {key: value}, or one a line, indented

    nothing was changed
    "#);
    insta::assert_snapshot!(check("name: shop\n", "astern.yaml"), @r#"
    astern.yaml: this is not a platform file: `apiVersion` is missing [AST0002]
       = it begins with: apiVersion: astern.dev/v1alpha1, kind: Platform

    nothing was changed
    "#);
    insta::assert_snapshot!(check(&"x".repeat(2 * 1024 * 1024), "core"), @r#"
    core: the file has 2048 KiB; astern reads up to 1024 KiB [AST0001]
       = is it the right file?

    nothing was changed
    "#);
}

#[test]
fn everything_that_is_wrong_with_the_meaning_is_told_at_once() {
    let error = small(
        "  rto: {application: 15}\n  validation: {soak: 0s}\n  workloads:\n    - name: api_gateway\n      \
         dependsOn: [store, api_gateway]\n    - {name: stor, dependsOn: [api]}\n    - {name: stor}\n  policy:\n    \
         logs: {words: [], timesFormer: 0.5}\n",
    )
    .expect_err("six slips");
    insta::assert_snapshot!(error, @r#"
    astern.yaml:6:22: `15` has no unit: seconds, minutes or hours? [AST0006]
     6 |   rto: {application: 15}
       |                      ^^
       = write 15s, 15m or 15h

    astern.yaml:7:22: this must be longer than nothing [AST0006]
     7 |   validation: {soak: 0s}
       |                      ^^

    astern.yaml:9:13: `api_gateway` cannot be the name of a workload [AST0005]
     9 |     - name: api_gateway
       |             ^^^^^^^^^^^
       = did you mean `api-gateway`?

    astern.yaml:10:19: no workload of this file is named `store` [AST0008]
     10 |       dependsOn: [store, api_gateway]
        |                   ^^^^^
        = did you mean `stor`?

    astern.yaml:10:26: deployment/api_gateway cannot depend on itself [AST0008]
     10 |       dependsOn: [store, api_gateway]
        |                          ^^^^^^^^^^^

    astern.yaml:11:32: no workload of this file is named `api` [AST0008]
     11 |     - {name: stor, dependsOn: [api]}
        |                                ^^^
        = did you mean `api_gateway`?

    astern.yaml:12:14: deployment/stor is here twice [AST0007]
     12 |     - {name: stor}
        |              ^^^^
        = it stands in line 11 already

    astern.yaml:14:19: without a word no line is ever an error line [AST0005]
     14 |     logs: {words: [], timesFormer: 0.5}
        |                   ^
        = to judge logs by other words, name them; to judge them less, raise `absolutePerMinute`

    astern.yaml:14:36: this must be a number, 1 or more [AST0005]
     14 |     logs: {words: [], timesFormer: 0.5}
        |                                    ^^^

    nothing was changed
    "#);
}

#[test]
fn a_circle_of_dependencies_is_named_from_end_to_end() {
    let circle = "  workloads:\n    - {name: a, dependsOn: [b]}\n    - {name: b, dependsOn: [c]}\n    \
                  - {name: c, dependsOn: [d, a]}\n    - {name: d}\n";
    insta::assert_snapshot!(small(circle).expect_err("a circle"), @r#"
    astern.yaml:9:32: the dependencies go round in a circle: deployment/a → deployment/b → deployment/c → deployment/a [AST0009]
     9 |     - {name: c, dependsOn: [d, a]}
       |                                ^
       = take one of these `dependsOn` out: the one whose absence a release survives

    nothing was changed
    "#);
    let diamond = "  workloads:\n    - {name: a, dependsOn: [b, c]}\n    - {name: b, dependsOn: [d]}\n    \
                   - {name: c, dependsOn: [d]}\n    - {name: d}\n";
    assert!(small(diamond).is_ok(), "a diamond is no circle");
}

#[test]
fn a_chain_of_workloads_as_long_as_a_file_may_be_is_followed_to_its_end() {
    let mut text = String::from("  workloads:\n    - {name: w0}\n");
    for place in 1..10_000 {
        text.push_str(&format!(
            "    - {{name: w{place}, dependsOn: [w{}]}}\n",
            place - 1
        ));
    }
    assert_eq!(small(&text).map(|platform| platform.members.len()), Ok(10_000));
}

#[test]
fn where_two_kinds_share_a_name_the_kind_is_asked_for() {
    let file = |dependency: &str| {
        small(&format!(
            "  workloads:\n    - {{name: a, dependsOn: [{dependency}]}}\n    - {{name: b}}\n    \
             - {{name: b, kind: StatefulSet}}\n"
        ))
    };
    insta::assert_snapshot!(file("b").expect_err("two of them"), @r#"
    astern.yaml:7:29: `b` is more than one workload [AST0008]
     7 |     - {name: a, dependsOn: [b]}
       |                             ^
       = write `deployment/b` or `statefulset/b`

    nothing was changed
    "#);
    insta::assert_snapshot!(file("ds/b").expect_err("no such kind"), @r#"
    astern.yaml:7:29: no workload of this file is named `ds/b` [AST0008]
     7 |     - {name: a, dependsOn: [ds/b]}
       |                             ^^^^
       = did you mean `deployment/b` or `statefulset/b`?

    nothing was changed
    "#);
    let platform = file("sts/b").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(platform.members[0].depends_on[0].kind, WorkloadKind::StatefulSet);
}

#[test]
fn a_probe_that_cannot_be_asked_is_refused_with_what_to_write() {
    let probe = |probe: &str| {
        let file = format!("  workloads:\n    - name: api\n      probes:\n        - {{name: up, {probe}}}\n");
        match small(&file) {
            Ok(_) => "good".to_owned(),
            Err(error) => {
                let text = error.to_string();
                let lines: Vec<&str> = text
                    .lines()
                    .filter(|l| l.contains("[AST") || l.contains(" = "))
                    .collect();
                lines
                    .iter()
                    .map(|line| line.trim().trim_start_matches("astern.yaml:"))
                    .collect::<Vec<_>>()
                    .join("; ")
            }
        }
    };
    insta::assert_snapshot!(probe("path: /health, port: 8080"), @r#"good"#);
    insta::assert_snapshot!(probe("path: /health, port: 8080, url: 'http://api/health'"), @r#"9:28: this probe has a `url` and a `path` [AST0010]; = through the API server: `path` and `port`; straight there: `url`; keep one of the two"#);
    insta::assert_snapshot!(probe("expect: {status: 200}"), @r#"9:18: the probe `up` goes nowhere [AST0010]; = give it `path` and `port` of the workload's Service, or a `url`"#);
    insta::assert_snapshot!(probe("path: /health"), @r#"9:28: this probe has a `path` and no `port` [AST0010]; = add the Service's port, like `port: 8080`"#);
    insta::assert_snapshot!(probe("path: health, port: 80800"), @r#"9:28: a path begins with `/` [AST0010]; = did you mean `/health`?; 9:42: a port is a number from 1 to 65535 [AST0005]"#);
    insta::assert_snapshot!(probe("path: /health, port: 80, bearer: {env: TOKEN}"), @r#"9:55: a token does not reach a path behind the API server [AST0010]; = the API server keeps the Authorization header to itself: give this probe a `url` instead"#);
    insta::assert_snapshot!(probe("url: api/health"), @r#"9:27: this is not an http or https address [AST0010]; = write it like https://api.example.com/health"#);
    insta::assert_snapshot!(probe("url: 'http://api/health', bearer: {env: TOKEN}, expect: {status: 20}"), @r#"9:87: an HTTP status is a number from 100 to 599 [AST0005]"#);
    insta::assert_snapshot!(probe("url: 'http://api/health', bearer: {secret: api-keys}"), @r#"9:56: this does not say where one token is found [AST0011]; = it is one of {secret: NAME, key: KEY}, {env: NAME}, {file: PATH}"#);
    insta::assert_snapshot!(probe("url: 'http://api/health', expect: {json: {path: status.ok, equals: 1}}"), @r#"9:70: a JSON pointer begins with `/` [AST0010]; = did you mean `/status/ok`?"#);
}

#[test]
fn a_secret_that_stands_in_the_file_by_mistake_is_not_repeated() {
    let check = |probe: &str| {
        let file = format!("  workloads:\n    - name: api\n      probes:\n        - name: up\n{probe}");
        let error = small(&file).expect_err(probe);
        let (shown, debug) = (error.to_string(), format!("{error:?}"));
        assert!(
            !shown.contains("s3cr3t") && !debug.contains("s3cr3t"),
            "{shown}\n{debug}"
        );
        assert!(shown.contains("astern.yaml:"), "{shown}");
    };
    check("          url: http://api/\n          bearer: s3cr3t\n");
    check("          url: http://api/\n          bearer: {token: s3cr3t}\n");
    check("          url: http://api/\n          bearer: {s3cr3t}\n");
    check("          url: http://api/\n          bearer: {env: \"s3cr3t and more\"}\n");
    check(
        "          url: http://api/\n          bearer:\n            env: S3CR3T\n            file: s3cr3t\n",
    );
    check(
        "          url: http://api/\n          bearer:\n            secret: api_s3cr3t\n            key: k\n",
    );
    check("          url: http://api/\n          bearer: {secret: a, key: \"s3cr3t/\"}\n");
    check("          url: http://api/\n          bearer: \"s3cr3t\n");
    check("          url: http://api/\n          token: s3cr3t\n");
    check("          url: http://api/\n          headers: {Authorization: Bearer s3cr3t}\n");
    check("          url: http://user:s3cr3t@api/\n");
    check("          url: http://api/?token=s3cr3t\n          path: /\n");
    check("          path: /x?token=s3cr3t\n          url: http://api/?token=s3cr3t\n");
}

#[test]
fn what_a_terminal_would_obey_is_not_printed() {
    let check = |from: &str, to: &str| {
        let text = told(from, to);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    };
    check("kind: Platform", "kind: \"\\e[2J\"");
    check("kind: StatefulSet", "kind: \"\\e]0;x\\a\"");
    check("kind: StatefulSet", "\"\\e[1m\": x");
    check("dependsOn: [ledger-store]", "dependsOn: [\"\\u009b31m\"]");
}

fn notes(platform: &Platform) -> BTreeMap<Target, Vec<String>> {
    let note = |member: &Member| {
        (
            member.target.clone(),
            vec![format!(
                "depends on x: env X_URL of {}\r\n- evil: true",
                member.target
            )],
        )
    };
    platform.members.iter().take(1).map(note).collect()
}

#[test]
fn what_goes_back_of_secrets_and_who_reloads_is_read_and_a_slip_is_told() {
    let text = |config: &str| {
        format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: shop}}\nspec:\n  namespace: shop\n  \
             workloads: [{{name: api, reloads: true}}, {{name: web}}]\n  config: {config}\n"
        )
    };
    let read = parse_platform(&text("{restoreSecrets: [api-keys, tls]}"), "astern.yaml").unwrap();
    let reloads: Vec<bool> = read.members.iter().map(|member| member.reloads).collect();
    assert_eq!(reloads, [true, false]);
    assert_eq!(
        read.restore_secrets.into_iter().collect::<Vec<_>>(),
        [("api-keys".to_owned(), None), ("tls".to_owned(), None)]
    );
    let slip = |config: &str, said: &str| {
        let error = parse_platform(&text(config), "astern.yaml")
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    };
    slip("{restoreSecrets: [keys, keys]}", "secret/keys is here twice");
    slip("{restoreSecrets: [API_KEYS]}", "did you mean `api-keys`?");
    slip("{restoreSecret: [keys]}", "restoreSecrets");
}

#[test]
fn argo_cd_is_asked_itself_by_a_token_that_the_file_only_names() {
    let argocd = |keys: &str| small(&format!("  owners: {{argocd: {{{keys}}}}}\n"));
    let read =
        argocd("server: https://argocd.test/root, tokenFrom: {env: ARGOCD_TOKEN}, caFile: /etc/ca.pem");
    let server = read.unwrap_or_else(|error| panic!("{error}")).argocd.server;
    let expected = ArgoCdServer {
        address: "https://argocd.test/root".to_owned(),
        token: SecretRef::Env("ARGOCD_TOKEN".to_owned()),
        ca_file: Some("/etc/ca.pem".to_owned()),
    };
    assert_eq!(server, Some(expected));
    let check = |keys: &str, words: &str| {
        let told = argocd(keys).expect_err(keys).to_string();
        assert!(told.contains(words), "no {words:?}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    };
    check("server: https://argocd.test", "a server needs a token");
    check("tokenFrom: {env: T}", "this goes with a `server`");
    check("caFile: /etc/ca.pem", "this goes with a `server`");
    check(
        "server: https://argocd.test, tokenFrom: {env: T}, context: hub",
        "this does not go with a `server`",
    );
    check(
        "server: argocd.test, tokenFrom: {env: T}",
        "not the address of a server",
    );
    check(
        "server: 'https://me:hunter2@argocd.test', tokenFrom: {env: T}",
        "not the address of a server",
    );
    check(
        "server: https://argocd.test, tokenFrom: hunter2",
        "the line may hold a secret",
    );
    check(
        "server: https://argocd.test, tokenFrom: {env: T, file: hunter2}",
        "where one token is found",
    );
}

#[test]
fn what_proves_that_a_secret_still_works_is_read_and_a_probe_that_proves_nothing_is_told() {
    let text = |secret: &str| {
        format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: shop}}\nspec:\n  namespace: shop\n  \
             config:\n    restoreSecrets:\n      - {secret}\n"
        )
    };
    let read = |secret: &str| {
        let platform = parse_platform(&text(secret), "astern.yaml").unwrap();
        platform.restore_secrets["db"].clone()
    };
    assert_eq!(read("db"), None);
    assert_eq!(read("name: db"), None);
    assert_eq!(read("{name: db, rotates: false}"), Some(Proof::NeverRotates));
    let login = |timeout: i64| {
        Some(Proof::Login(LoginProbe {
            command: ["psql", "-h", "db", "-c", "select 1"].map(str::to_owned).into(),
            env: [("PGPASSWORD".to_owned(), "password".to_owned())].into(),
            timeout: SignedDuration::from_secs(timeout),
        }))
    };
    let psql = "command: [psql, -h, db, -c, select 1], env: {PGPASSWORD: password}";
    assert_eq!(read(&format!("{{name: db, probe: {{{psql}}}}}")), login(10));
    assert_eq!(
        read(&format!(
            "{{name: db, rotates: true, probe: {{{psql}, timeout: 3s}}}}"
        )),
        login(3)
    );
    let slip = |secret: &str, said: &str| {
        let error = parse_platform(&text(secret), "astern.yaml")
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    };
    slip("{name: db, rotates: true}", "goes back only with a `probe`");
    slip(
        &format!("{{name: db, rotates: false, probe: {{{psql}}}}}"),
        "keep one of the two",
    );
    slip(
        "{name: db, probe: {command: [], env: {A: b}}}",
        "names no program",
    );
    slip(
        "{name: db, probe: {command: [psql], env: {}}}",
        "proves nothing of it",
    );
    slip(
        "{name: db, probe: {command: [psql], env: {PATH: b}}}",
        "no name of a variable",
    );
    slip(
        "{name: db, probe: {command: [psql], env: {A-B: b}}}",
        "no name of a variable",
    );
    slip(
        &format!("{{name: db, probe: {{{psql}, timeout: 2m}}}}"),
        "at most 1m",
    );
    slip("{name: db, prove: {}}", "prove");
    slip("[db]", "AST0005");
}

#[test]
fn a_written_file_is_commented_and_reads_back() {
    let platform = example();
    let text = write_platform(&platform, &notes(&platform));
    assert_eq!(parse_platform(&text, "astern.yaml"), Ok(platform));
    insta::assert_snapshot!(text, @r#"
    # What astern is to know about this platform. Times are written like 90s, 15m, 1h30m.
    apiVersion: astern.dev/v1alpha1
    kind: Platform
    metadata:
      # What a person types to confirm a loss of data.
      name: vcci-scope3
    spec:
      # Where the workloads live.
      namespace: vcci-scope3

      # Pins the cluster: any other one is refused. The value is the UID of its kube-system namespace:
      # kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'
      # cluster: {uid: 00000000-0000-0000-0000-000000000000}

      # What is rolled back together. `kind` is Deployment unless said otherwise. `dependsOn` names what
      # a workload calls: it is taken back after these, and what does not depend on each other goes at
      # the same time. `reloads: true` says of a workload that it takes in changed ConfigMaps and
      # Secrets without a restart, `stops: true` that two versions of it must not run beside each other:
      # it is stopped first, and started with the same count afterwards. `probes` are asked before a
      # rollback counts as done: `path` and `port` of the workload's Service, or a `url`. A token is
      # only ever named, and needs a `url`: bearer: {secret: NAME, key: KEY}, {env: NAME} or {file:
      # PATH}.
      workloads:
        # depends on x: env X_URL of deployment/api-gateway - evil: true
        - name: api-gateway
          dependsOn: [calculation-engine, data-ingestion]
          probes:
            - name: health
              path: /health
              port: 8080
              expect: {status: 200, json: {path: /status, equals: healthy}}

        - name: data-ingestion
          dependsOn: [ledger-store]
          probes:
            - name: health
              path: /health
              port: 8080
              expect: {status: 200, json: {path: /status, equals: healthy}}

        - name: calculation-engine
          dependsOn: [ledger-store]
          probes:
            - name: health
              path: /health
              port: 8080
              expect: {status: 200, json: {path: /status, equals: healthy}}

        - name: reporting-service
          dependsOn: [calculation-engine]
          probes:
            - name: health
              path: /health
              port: 8080
              expect: {status: 200, json: {path: /status, equals: healthy}}

        - name: ledger-store
          kind: StatefulSet

        - name: node-agent
          kind: DaemonSet

      # The Secrets whose content goes back with a release, as that of ConfigMaps does. A Secret that is
      # not named stays as it is: a credential may have been rotated since, and the one of then locks
      # everybody out. One that is named has `rotates: false`, or a `probe`: a program that gets what
      # the Secret held then in its environment, and exits with 0 if that still works.
      # config: {restoreSecrets: [{name: NAME, probe: {command: [PROGRAM, ARGUMENT], env: {VARIABLE: KEY}}}]}

      # Whoever would write a rollback away (Argo CD, Flux) is paused before it, and is told as overdue
      # after so long.
      owners:
        guard: 24h
        # argocd: {context: hub, namespace: argocd} where Argo CD is in another cluster or namespace

      # How helm is told to roll a release back; helm's own way unless said otherwise.
      # helm: {timeout: 5m, wait: true, cleanupOnFail: true}

      # How long service may be away: every plan's forecast is held against it.
      rto: {application: 15m}

      # How long everything must look healthy after a rollback before the run is over.
      validation: {soak: 20s}

      policy:
        # A cluster does not remember which revision was healthy. One that was the newest for this long
        # before its successor came, with nothing against it, is presumed good.
        presumedGoodAfter: 30m
        # Who may roll back to a revision that is only presumed good: a person who was shown it, and
        # `--yes`.
        acceptPresumed: [person, "yes"]
        # When a step fails: `hold` keeps what already runs on the good release and asks a person;
        # `unwind` puts everything back to how it was before the run.
        onFailure: hold
        # How long a plan may wait before it starts.
        planExpiry: 1h
    "#);
}

fn sources(spec: &str) -> Result<Vec<Source>, PlatformError> {
    let head =
        "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {name: shop}\nspec:\n  namespace: shop\n";
    parse_sources(&format!("{head}{spec}"), "astern.yaml")
}

#[test]
fn a_source_says_where_workloads_are_deployed_from() {
    let read = sources(
        "  workloads: [{name: api}, {name: db, kind: StatefulSet}]\n  sources:\n  - repository: https://github.com/shop/deploy.git\n    path: ./overlays/prod/\n    workloads: [api, statefulset/db]\n    token: {env: GITHUB_TOKEN}\n  - repository: git@git.example.test:shop/charts.git\n    branch: production\n    kind: helm-values\n    values: {file: prod.yaml, images: [{container: api, tag: api.image.tag}]}\n    pullRequests: {api: https://git.example.test/api/v3, repository: shop/charts}\n  - {repository: https://github.com/shop/flux.git, path: clusters/prod, kind: helm-release, values: {release: shop}}\n",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<String> = read[0].workloads.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["deployment/api", "statefulset/db"]);
    assert_eq!(
        (read[0].branch.as_str(), read[0].path.as_str()),
        ("main", "overlays/prod")
    );
    assert_eq!(read[0].kind, SourceKind::Folder);
    assert_eq!(
        read[0].pull_requests,
        PullRequests::of_github("git@github.com:shop/deploy")
    );
    assert_eq!(read[0].token, Some(SecretRef::Env("GITHUB_TOKEN".to_owned())));
    let images = vec![ValuesImage {
        container: Some("api".to_owned()),
        repository: None,
        tag: "api.image.tag".to_owned(),
    }];
    let file = "prod.yaml".to_owned();
    assert_eq!(read[1].kind, SourceKind::HelmValues { file, images });
    assert_eq!(
        read[2].kind,
        SourceKind::HelmRelease {
            name: "shop".to_owned(),
            namespace: None,
            images: Vec::new()
        }
    );
    assert_eq!(
        read[1].pull_requests.as_ref().map(|at| at.repository.as_str()),
        Some("shop/charts")
    );
}

#[test]
fn a_slip_in_a_source_is_told_with_the_nearest_and_no_password_is_shown() {
    let told = |spec: &str| {
        let spec = format!("  workloads: [{{name: api}}]\n  sources:\n  - {spec}\n");
        // Every command tells it, not only the one that needs sources.
        assert!(small(&spec).is_err(), "{spec}");
        sources(&spec).expect_err(&spec).to_string()
    };
    let check = |spec: &str, words: &[&str]| {
        let told = told(spec);
        for word in words {
            assert!(told.contains(word), "{word} is not in:\n{told}");
        }
        told
    };
    check(
        "{repositry: https://x.test/a}",
        &["AST0003", "did you mean `repository`?"],
    );
    check(
        "{repository: https://x.test/a, kind: kustomise}",
        &["AST0005", "did you mean `kustomize`?"],
    );
    check(
        "{repository: https://x.test/a, workloads: [apo]}",
        &["AST0008", "did you mean `api`?"],
    );
    check(
        "{repository: https://x.test/a, path: ../b}",
        &["AST0005", "no folder"],
    );
    check(
        "{repository: https://x.test/a, token: {}}",
        &["AST0011", "{env: NAME}"],
    );
    check(
        "{repository: https://x.test/a, kind: helm-values, values: {images: [{tag: image..tag}]}}",
        &["AST0005"],
    );
    check(
        "{repository: https://x.test/a, values: {file: a.yaml}}",
        &["kind: helm-values"],
    );
    check(
        "{repository: https://x.test/a, kind: helm-release}",
        &["which HelmRelease", "values: {release: NAME}"],
    );
    check(
        "{repository: https://x.test/a, kind: helm-values, values: {release: shop}}",
        &["kind: helm-release"],
    );
    check(
        "{repository: https://x.test/a, kind: helm-release, values: {release: shop, file: a.yaml}}",
        &["`release: NAME`"],
    );
    check(
        "{repository: https://x.test/a, pullRequests: {repository: https://x}}",
        &["OWNER/NAME"],
    );
    check("{repository: /srv/git}", &["no address"]);
    let told = check(
        "{repository: \"https://me:hunter2@x.test/a\"}",
        &["AST0011", "`token: {env: NAME}`"],
    );
    assert!(!told.contains("hunter2"), "{told}");
    let told = check(
        "{repository: https://x.test/a, token: hunter2}",
        &["AST0005", "not shown"],
    );
    assert!(!told.contains("hunter2"), "{told}");
}

/// Set to write the published schema anew instead of comparing it.
const UPDATE: &str = "UPDATE_SCHEMAS";

#[test]
fn the_published_schema_is_the_one_that_the_reader_follows() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../schemas/astern.dev_v1alpha1_platform.json"
    );
    let generated = schema_text();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == generated,
        "schemas/astern.dev_v1alpha1_platform.json is not what the code says; write it anew with\n  {UPDATE}=1 cargo test -p astern-wire published_schema"
    );
}
