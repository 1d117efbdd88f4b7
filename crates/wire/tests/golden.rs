//! What earlier releases have stored is read by this one, byte for byte. Files in `golden/` are added, never edited: a
//! change that breaks one of them is a new version of the format.

#![expect(
    clippy::unwrap_used,
    reason = "a golden file that is missing or no text is a broken checkout, and the test should say so"
)]

use astern_model::config::Use;
use astern_model::id::{Uid, sha256};
use astern_model::plan::Plan;
use astern_model::platform::{
    HeaderExpectation, JsonExpectation, Member, Platform, Probe, ProbeTarget, SecretRef,
};
use astern_model::policy::{Acceptor, LogPolicy, OnFailure, Policy, Row, Say, When};
use astern_model::record::{Event, Outcome, Record};
use astern_model::release::{Release, Standing};
use astern_model::step::{config, helm, owner, workload};
use astern_model::target::{Target, WorkloadKind};
use astern_wire::envelope::{self, Document};
use astern_wire::platform::{parse_platform, write_platform};
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SUMS: &str = "SHA256SUMS";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Every golden file by its path under `golden/`.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for version in std::fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for file in std::fs::read_dir(&version)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let name = file.strip_prefix(golden()).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&file).unwrap());
        }
    }
    files
}

/// The golden documents of one kind.
fn documents(prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let start = format!("v1alpha1/{prefix}");
    let documents: BTreeMap<_, _> = files()
        .into_iter()
        .filter(|(name, _)| name.starts_with(&start) && name.ends_with(".json"))
        .collect();
    assert!(!documents.is_empty(), "no golden {prefix}");
    documents
}

#[test]
fn a_golden_file_is_added_but_never_edited_or_removed() {
    let list = std::fs::read_to_string(golden().join(SUMS)).unwrap();
    let listed: BTreeMap<&str, &str> = list
        .lines()
        .map(|line| line.split_once("  ").map(|(sum, name)| (name, sum)).unwrap())
        .collect();
    let files = files();
    for (name, bytes) in &files {
        let sum = sha256(bytes).trim_start_matches("sha256:").to_owned();
        match listed.get(name.as_str()) {
            Some(listed) => assert_eq!(
                *listed, sum,
                "golden/{name} was edited; put it back, and add another file"
            ),
            None => panic!("golden/{name} is new; add this line to golden/{SUMS}:\n{sum}  {name}"),
        }
    }
    for name in listed.keys() {
        assert!(
            files.contains_key(*name),
            "golden/{name} was removed; put it back"
        );
    }
}

fn reseals<T: Document>(prefix: &str) {
    for (name, bytes) in documents(prefix) {
        let document: T = envelope::open(&bytes).unwrap_or_else(|error| panic!("{name}: {error} {error:?}"));
        let sealed = envelope::seal(&document);
        assert!(
            sealed == bytes,
            "{name} is sealed differently now, which is a new version of the format:\n{}",
            String::from_utf8_lossy(&sealed)
        );
    }
}

#[test]
fn a_plan_a_record_and_a_release_of_an_earlier_astern_open_and_seal_to_the_same_bytes() {
    reseals::<Plan>("plan");
    reseals::<Record>("record");
    reseals::<Release>("release");
}

/// The variants of an internally tagged enum, as serde names them when it meets another.
fn variants<T: DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({ tag: "" }))
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    let variants: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(!variants.is_empty(), "no variants in: {error}");
    variants
}

/// The texts that stand at `pointer` in the golden documents, or in each entry of the list `list`.
fn found(prefix: &str, list: Option<&str>, pointer: &str) -> BTreeSet<String> {
    let text = |value: &Value| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let values = documents(prefix)
        .into_values()
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
    values
        .flat_map(|value| match list {
            Some(list) => value[list]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(text)
                .collect::<Vec<_>>(),
            None => text(&value).into_iter().collect(),
        })
        .collect()
}

#[test]
fn every_step_every_event_and_every_standing_has_a_golden_file() {
    let both =
        |of: BTreeSet<String>, too: BTreeSet<String>| of.union(&too).cloned().collect::<BTreeSet<String>>();
    assert_eq!(
        found("plan", Some("steps"), "/spec/do"),
        both(
            both(variants::<workload::Spec>("do"), variants::<config::Spec>("do")),
            both(variants::<owner::Spec>("do"), variants::<helm::Spec>("do"))
        )
    );
    assert_eq!(found("record", None, "/event/event"), variants::<Event>("event"));
    assert_eq!(
        found("record", None, "/event/before/of"),
        both(
            both(
                variants::<workload::Before>("of"),
                variants::<config::Before>("of")
            ),
            variants::<owner::Before>("of")
        )
    );
    assert_eq!(
        found("record", None, "/event/after/of"),
        both(
            both(variants::<workload::After>("of"), variants::<config::After>("of")),
            variants::<owner::After>("of")
        )
    );
    assert_eq!(
        found("record", None, "/event/outcome/kind"),
        variants::<Outcome>("kind")
    );
    assert_eq!(found("release", None, "/standing/is"), variants::<Standing>("is"));
    let uses: BTreeSet<String> = documents("release")
        .into_values()
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap())
        .flat_map(|release| release["config"].as_array().unwrap().clone())
        .flat_map(|config| config["consumers"][0]["uses"].as_array().unwrap().clone())
        .map(|by| by["by"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uses, variants::<Use>("by"));
}

fn target(kind: WorkloadKind, name: &str) -> Target {
    Target {
        kind,
        namespace: "shop-production".to_owned(),
        name: name.to_owned(),
    }
}

fn to_url(name: &str, url: &str, bearer: SecretRef) -> Probe {
    let to = ProbeTarget::Url(url.to_owned());
    Probe {
        name: name.to_owned(),
        to,
        status: 200,
        json: None,
        header: None,
        bearer: Some(bearer),
    }
}

fn golden_members() -> Vec<Member> {
    use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
    let home = Probe {
        name: "home".to_owned(),
        to: ProbeTarget::Service {
            service: "web-public".to_owned(),
            port: 8443,
            path: "/healthz?deep=1".to_owned(),
        },
        status: 204,
        json: None,
        header: Some(HeaderExpectation {
            name: "X-Version".to_owned(),
            equals: "v1.2.3".to_owned(),
        }),
        bearer: None,
    };
    let key = SecretRef::Secret {
        secret: "checkout-keys".to_owned(),
        key: "token".to_owned(),
    };
    let mut checkout = to_url("checkout", "https://shop.example.test/checkout", key);
    let equals = json!({"all": [true, 1, 2.5, null, "yes", "yes"]});
    checkout.json = Some(JsonExpectation {
        path: "/parts/0/ok".to_owned(),
        equals,
    });
    let up = |name: &str, bearer| to_url(name, "http://127.0.0.1:8080/", bearer);
    let member = |kind, name: &str, depends_on: Vec<Target>, probes| Member {
        reloads: false,
        stops: false,
        target: target(kind, name),
        depends_on,
        probes,
    };
    vec![
        member(
            Deployment,
            "web",
            vec![target(Deployment, "orders"), target(StatefulSet, "orders")],
            vec![home, checkout],
        ),
        member(
            Deployment,
            "orders",
            Vec::new(),
            vec![
                up("up", SecretRef::Env("ORDERS_TOKEN".to_owned())),
                up("up again", SecretRef::File("/run/secrets/token".to_owned())),
            ],
        ),
        member(StatefulSet, "orders", Vec::new(), Vec::new()),
        member(DaemonSet, "agent", vec![target(Deployment, "web")], Vec::new()),
    ]
}

fn golden_policy() -> Policy {
    let mut policy = Policy {
        presumed_good_after: SignedDuration::from_hours(2),
        bake: SignedDuration::from_mins(30),
        accept_presumed: vec![Acceptor::Person],
        on_failure: OnFailure::Unwind,
        logs: LogPolicy {
            words: vec!["PANIC".to_owned(), "SEVERE".to_owned()],
            window: SignedDuration::from_mins(10),
            times_former: 2.5,
            at_least_per_minute: 0.5,
            absolute_per_minute: 20.0,
        },
        mutable_tags: vec!["latest".to_owned(), "blue".to_owned()],
        plan_expiry: SignedDuration::from_mins(15),
        matrix: Policy::default().matrix,
    };
    let row = |id: &str, when, then, because: &str| Row {
        id: id.to_owned(),
        when,
        then,
        because: because.to_owned(),
    };
    let slow = policy
        .matrix
        .iter_mut()
        .find(|row| row.id == "not-ready")
        .unwrap();
    *slow = row("not-ready", When::NotReady, Say::Ask, "our pods take their time");
    policy
        .matrix
        .push(row("loud", When::ErrorLines, Say::DoNot, "we are loud"));
    policy
}

#[test]
fn a_platform_file_of_an_earlier_release_means_what_it_meant() {
    let files = files();
    let read = |name: &str| {
        let text = std::str::from_utf8(&files[name]).unwrap();
        parse_platform(text, name).unwrap_or_else(|error| panic!("{error}"))
    };
    let platform = Platform {
        restore_secrets: BTreeMap::new(),
        guard: Platform::DEFAULT_GUARD,
        argocd: Default::default(),
        helm: Default::default(),
        name: "shop".to_owned(),
        namespace: "shop-production".to_owned(),
        cluster_uid: Some(Uid::from("7e2c1a40-0000-4000-8000-000000000001")),
        members: golden_members(),
        rto: SignedDuration::from_mins(90),
        soak: SignedDuration::from_secs(90),
        policy: golden_policy(),
    };
    assert_eq!(read("v1alpha1/platform.yaml"), platform);
    assert_eq!(
        parse_platform(&write_platform(&platform, &BTreeMap::new()), "written"),
        Ok(platform)
    );
    assert_eq!(
        read("v1alpha1/platform-least.yaml"),
        Platform::of_namespace("shop")
    );
}
