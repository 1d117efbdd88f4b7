//! Damaged, foreign and forged documents are refused by name, and never make a reader panic.

use astern_model::plan::Plan;
use astern_model::record::Record;
use astern_model::release::Release;
use astern_wire::envelope::{self, OpenError};
use astern_wire::platform::parse_platform;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::error::Error;

const PLAN: &[u8] = include_bytes!("../golden/v1alpha1/plan.json");
const RECORD: &[u8] = include_bytes!("../golden/v1alpha1/record-intended-template.json");
const RELEASE: &[u8] = include_bytes!("../golden/v1alpha1/release-good.json");
const PLATFORM: &[u8] = include_bytes!("../golden/v1alpha1/platform.yaml");

/// Keys whose content is free: whatever stands beneath them is kept as it is.
const FREE: [&str; 3] = ["equals", "annotations", "digests"];

/// The JSON pointers of all objects whose keys astern knows.
fn objects(value: &Value, here: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.push(here.to_owned());
            for (key, value) in map.iter().filter(|(key, _)| !FREE.contains(&key.as_str())) {
                objects(
                    value,
                    &format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")),
                    into,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(value, &format!("{here}/{index}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_plan_with_a_key_that_astern_would_ignore_is_refused_wherever_the_key_stands() {
    let plan: Value = serde_json::from_slice(PLAN).unwrap();
    let mut places = Vec::new();
    objects(&plan, "", &mut places);
    assert!(places.len() > 100, "the golden plan has {} objects", places.len());
    for place in places {
        let mut forged = plan.clone();
        forged.pointer_mut(&place).unwrap()["sudo"] = json!(true);
        match envelope::open::<Plan>(forged.to_string().as_bytes()) {
            Err(OpenError::UnknownField { path, .. }) => assert!(path.ends_with("sudo"), "{place}: {path}"),
            // Where one key alone names a variant, a second one is not of this shape at all.
            Err(OpenError::Malformed { .. }) => {}
            other => panic!("at `{place}`: {other:?}"),
        }
    }
}

#[test]
fn a_release_that_was_cut_short_or_says_more_or_less_than_it_may_is_refused() {
    let code = |bytes: &[u8]| match envelope::open::<Release>(bytes) {
        Ok(_) => "taken",
        Err(error) => error.code(),
    };
    assert_eq!(code(RELEASE), "taken");
    for cut in (0..RELEASE.len() - 1).step_by(37) {
        assert_eq!(code(&RELEASE[..cut]), "AST0021", "cut at {cut}");
    }
    let changed = |pointer: &str, to: Value| {
        let mut release: Value = serde_json::from_slice(RELEASE).unwrap();
        *release.pointer_mut(pointer).unwrap() = to;
        code(release.to_string().as_bytes())
    };
    assert_eq!(changed("/kind", json!("Plan")), "AST0022");
    assert_eq!(changed("/apiVersion", json!("astern.dev/v9")), "AST0023");
    assert_eq!(
        changed("/standing", json!({"is": "candidate", "sudo": true})),
        "AST0024"
    );
    // Nothing is good without a reason, and no name leads elsewhere.
    assert_eq!(changed("/standing/reason", json!(" ")), "AST0021");
    assert_eq!(changed("/name", json!("../v1")), "AST0021");
}

#[test]
fn what_is_not_the_document_that_was_asked_for_is_called_what_it_is() {
    let told = |bytes: &[u8]| {
        let error = envelope::open::<Plan>(bytes).expect_err("not a plan");
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        format!("{} {error}{cause}; {}", error.code(), error.hint())
    };
    let changed = |pointer: &str, to: Value| {
        let mut plan: Value = serde_json::from_slice(PLAN).unwrap();
        *plan.pointer_mut(pointer).unwrap() = to;
        plan.to_string().into_bytes()
    };
    insta::assert_snapshot!(told(b""), @r#"AST0021 Plan cannot be read (line 1, column 0): EOF while parsing a value at line 1 column 0; the file was cut or edited; take the Plan again from where it was made"#);
    insta::assert_snapshot!(told(b"apiVersion: astern.dev/v1alpha1"), @r#"AST0021 Plan cannot be read (line 1, column 1): expected value at line 1 column 1; the file was cut or edited; take the Plan again from where it was made"#);
    insta::assert_snapshot!(told(&PLAN[..PLAN.len() / 2]).split(" (line").next().unwrap(), @r#"AST0021 Plan cannot be read"#);
    insta::assert_snapshot!(told(b"{}"), @r#"AST0022 this is a document without a kind, not a Plan; name a file that holds a Plan"#);
    insta::assert_snapshot!(told(RECORD), @r#"AST0022 this is a Record, not a Plan; name a file that holds a Plan"#);
    insta::assert_snapshot!(told(&changed("/apiVersion", json!("astern.dev/v9"))), @r#"AST0023 this Plan is of version astern.dev/v9; this astern reads astern.dev/v1alpha1; use the astern that wrote it, or make a new one with this astern"#);
    let mut forged: Value = serde_json::from_slice(PLAN).unwrap();
    forged["steps"][3]["spec"]["sudo"] = json!(true);
    insta::assert_snapshot!(told(forged.to_string().as_bytes()), @r#"AST0024 this Plan holds `steps[3].spec.sudo`, which this astern does not know; use the astern that wrote it, or make a new one with this astern"#);
}

#[test]
fn a_plan_that_was_only_laid_out_anew_still_opens() {
    let plan: Value = serde_json::from_slice(PLAN).unwrap();
    let pretty = format!("{plan:#}");
    assert_eq!(
        envelope::open::<Plan>(pretty.as_bytes()).unwrap(),
        envelope::open::<Plan>(PLAN).unwrap()
    );
}

fn damaged(document: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0_usize..64,
        prop::collection::vec(any::<u8>(), 0..8),
    );
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut bytes = document.to_vec();
        for (at, cut, with) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, with);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = envelope::open::<Plan>(&bytes).map_err(|error| error.to_string());
        let _ = envelope::open::<Record>(&bytes).map_err(|error| error.to_string());
        let _ = parse_platform(&String::from_utf8_lossy(&bytes), "astern.yaml").map_err(|error| error.to_string());
    }

    #[test]
    fn a_damaged_plan_never_makes_the_reader_panic_and_one_that_opens_seals_to_what_it_says(bytes in damaged(PLAN)) {
        if let Ok(plan) = envelope::open::<Plan>(&bytes) {
            let sealed = envelope::seal(&plan);
            prop_assert_eq!(envelope::open::<Plan>(&sealed).unwrap(), plan);
        }
    }

    #[test]
    fn a_damaged_record_never_makes_the_reader_panic(bytes in damaged(RECORD)) {
        let _ = envelope::open::<Record>(&bytes).map_err(|error| error.to_string());
    }

    #[test]
    fn a_damaged_platform_file_never_makes_the_reader_panic(bytes in damaged(PLATFORM)) {
        let _ = parse_platform(&String::from_utf8_lossy(&bytes), "astern.yaml").map_err(|error| error.to_string());
    }
}
