//! What changes in a text, and that nothing else does.

use super::{Step, Trouble, change, documents};
use proptest::prelude::*;
use serde_json::{Value, json};

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn item(name: &str) -> Step {
    Step::Item {
        by: "name",
        is: json!(name),
    }
}

fn changed(text: &str, way: &[Step], from: Option<Value>, to: Option<Value>) -> String {
    change(text, 0, way, from.as_ref(), to.as_ref())
        .unwrap_or_else(|trouble| panic!("{trouble}"))
        .expect("a change")
}

fn refused(text: &str, way: &[Step], from: Option<Value>, to: Option<Value>) -> Trouble {
    change(text, 0, way, from.as_ref(), to.as_ref()).expect_err("a refusal")
}

const POD: &str = "\
# the API
spec:   # odd spacing stays
    containers:
    - name: sidecar   # first
      image: 'sidecar:v2'
      env: [{name: A, value: \"1\"}, {name: B, value: \"2\"}]
    - {name: api, image: \"api:v2\", args: [serve]}  # flow
    # a comment between
    - name: last
      image: last:v2 # tail
      env:
      - name: LOG
        value: debug
      - name: ONLY
        value: |
          two
          lines

    tail: here
";

#[test]
fn an_image_changes_in_its_own_style_and_every_other_byte_stays() {
    for (name, old, new) in [
        ("sidecar", "'sidecar:v2'", "'sidecar:v1'"),
        ("api", "\"api:v2\"", "\"api:v1\""),
        ("last", "image: last:v2 ", "image: last:v1 "),
    ] {
        let way = [key("spec"), key("containers"), item(name), key("image")];
        let (from, to) = (json!(format!("{name}:v2")), json!(format!("{name}:v1")));
        assert_eq!(changed(POD, &way, Some(from), Some(to)), POD.replace(old, new));
    }
}

#[test]
fn a_text_that_yaml_would_take_for_a_number_or_a_word_is_quoted() {
    let way = [key("tag")];
    let set = |to: &str| changed("tag: v2 # c\n", &way, Some(json!("v2")), Some(json!(to)));
    assert_eq!(set("1.27"), "tag: \"1.27\" # c\n");
    assert_eq!(set("1.2.4"), "tag: 1.2.4 # c\n");
    assert_eq!(set("on"), "tag: \"on\" # c\n");
    assert_eq!(set("3e8"), "tag: \"3e8\" # c\n");
    assert_eq!(set("2026-11-27"), "tag: \"2026-11-27\" # c\n");
    assert_eq!(set("a: b"), "tag: \"a: b\" # c\n");
}

#[test]
fn a_place_comes_and_goes_in_block_style() {
    let env = [key("spec"), key("containers"), item("last"), key("env")];
    let way = |name: &str| [&env[..], &[item(name)]].concat();
    let without = changed(
        POD,
        &way("LOG"),
        Some(json!({"name": "LOG", "value": "debug"})),
        None,
    );
    assert_eq!(
        without,
        POD.replace("      - name: LOG\n        value: debug\n", "")
    );
    let with = changed(
        POD,
        &way("NEW"),
        None,
        Some(json!({"name": "NEW", "value": "yes"})),
    );
    assert!(
        with.contains(
            "          two\n          lines\n      - name: NEW\n        value: \"yes\"\n\n    tail: here"
        ),
        "{with}"
    );
    let value = [&way("LOG")[..], &[key("value")]].concat();
    let without_value = changed(POD, &value, Some(json!("debug")), None);
    assert_eq!(
        without_value,
        POD.replace("      - name: LOG\n        value: debug\n", "      - name: LOG\n")
    );
    let resources = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let way = [key("spec"), key("containers"), item("sidecar"), key("resources")];
    let with = changed(POD, &way, None, Some(resources));
    assert!(
        with.contains("value: \"2\"}]\n      resources:\n        limits:\n          cpu: \"1\"\n          memory: \"1Gi\"\n"),
        "{with}"
    );
}

#[test]
fn a_place_comes_and_goes_in_flow_style() {
    let env = [key("spec"), key("containers"), item("sidecar"), key("env")];
    let way = |name: &str| [&env[..], &[item(name)]].concat();
    let gone =
        |name: &str, value: &str| changed(POD, &way(name), Some(json!({"name": name, "value": value})), None);
    assert!(gone("A", "1").contains("env: [{name: B, value: \"2\"}]"));
    assert!(gone("B", "2").contains("env: [{name: A, value: \"1\"}]"));
    let more = changed(POD, &way("C"), None, Some(json!({"name": "C", "value": "c"})));
    assert!(
        more.contains("{name: B, value: \"2\"}, {name: C, value: c}]"),
        "{more}"
    );
}

#[test]
fn the_first_key_of_an_item_goes_and_the_dash_stays() {
    let text = "list:\n- a: 1\n  name: x\n- name: y\n";
    let way = [key("list"), item("x"), key("a")];
    assert_eq!(
        changed(text, &way, Some(json!(1)), None),
        "list:\n- name: x\n- name: y\n"
    );
}

#[test]
fn what_says_it_already_is_left() {
    let way = [key("spec"), key("containers"), item("api"), key("image")];
    assert_eq!(
        change(POD, 0, &way, Some(&json!("api:v3")), Some(&json!("api:v2"))),
        Ok(None)
    );
    assert_eq!(change(POD, 0, &[key("none")], Some(&json!(1)), None), Ok(None));
}

#[test]
fn what_is_not_there_says_something_else_or_is_shared_is_refused() {
    let way = [key("spec"), key("containers"), item("api"), key("image")];
    let (from, to) = (Some(json!("api:v7")), Some(json!("api:v1")));
    assert!(
        matches!(refused(POD, &way, from.clone(), to.clone()), Trouble::Other(at) if at == "spec.containers[api].image")
    );
    let way = [key("spec"), key("containers"), item("gone"), key("image")];
    assert!(matches!(
        refused(POD, &way, from.clone(), to.clone()),
        Trouble::Absent(_)
    ));
    let shared = "a: &x {image: api:v7}\nb: *x\nc: &y api:v7\n";
    assert!(matches!(
        refused(shared, &[key("a"), key("image")], from.clone(), to.clone()),
        Trouble::Shared(_)
    ));
    assert!(matches!(
        refused(shared, &[key("c")], from.clone(), to.clone()),
        Trouble::Shared(_)
    ));
    assert!(matches!(
        refused("a: [", &[key("a")], from, to),
        Trouble::NotYaml(_)
    ));
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(matches!(documents(&deep), Err(Trouble::NotYaml(_))));
    let blocks: String = (0..5_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth % 400)))
        .collect();
    let _ = documents(&blocks);
}

#[test]
fn a_text_of_several_lines_stays_a_block() {
    let text = "data:\n  app.conf: |   # tuned\n    level = 3\n\n    mode = fast\n  other: 1\n";
    let way = [key("data"), key("app.conf")];
    let old = json!("level = 3\n\nmode = fast\n");
    let set = |to: &str| changed(text, &way, Some(old.clone()), Some(json!(to)));
    assert_eq!(
        set("level = 1\n\nmode = fast\n"),
        "data:\n  app.conf: | # tuned\n    level = 1\n\n    mode = fast\n  other: 1\n"
    );
    assert!(set("one\ntwo").contains("app.conf: |- # tuned\n    one\n    two\n  other: 1\n"));
    assert!(set("  odd\n").contains("app.conf: \"  odd\\n\" # tuned\n  other: 1\n"));
    let new = changed(text, &[key("data"), key("new")], None, Some(json!("a\nb\n")));
    assert!(new.ends_with("  other: 1\n  new: |\n    a\n    b\n"), "{new}");
}

#[test]
fn a_list_goes_back_whole() {
    let text = "args: # c\n  - serve\n  - --fast\ntail: 1\n";
    let way = [key("args")];
    let (from, to) = (json!(["serve", "--fast"]), json!(["serve"]));
    assert_eq!(
        changed(text, &way, Some(from.clone()), Some(to.clone())),
        "args: # c\n  - serve\ntail: 1\n"
    );
    assert_eq!(
        changed("args: [serve, --fast]\n", &way, Some(from), Some(to)),
        "args: [serve]\n"
    );
}

#[test]
fn line_ends_of_windows_stay() {
    let text = "a: 1\r\nimage: x:v2\r\nb: 2\r\n";
    let way = [key("image")];
    assert_eq!(
        changed(text, &way, Some(json!("x:v2")), Some(json!("x:v1"))),
        "a: 1\r\nimage: x:v1\r\nb: 2\r\n"
    );
}

/// A document of the shape of a manifest, with texts of any kind in any style, and the texts.
fn written() -> impl Strategy<Value = (String, Vec<String>)> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-z]{1,4}(:v[0-9]{1,2})?",
        "\\PC{0,6}",
        Just("yes".to_owned()),
        Just("1.10".to_owned()),
        Just("a\nb\n".to_owned()),
    ];
    let one = (text, 0..4_usize, any::<bool>());
    proptest::collection::vec(one, 1..6).prop_map(|all| {
        let mut document = String::from("# head\nspec:\n  list:\n");
        for (place, (text, style, comment)) in all.iter().enumerate() {
            let value = match style {
                0 if !text.contains('\n') && !text.chars().any(char::is_control) => {
                    format!("'{}'", text.replace('\'', "''"))
                }
                1 => super::block(&json!(text), 4),
                2 => super::below(&json!(text), 4).trim_start().to_owned(),
                _ => json!(text).to_string(),
            };
            let comment = if *comment { "  # why\n" } else { "" };
            document += &format!("{comment}  - name: n{place}\n    value: {value}\n");
        }
        (document, all.into_iter().map(|(text, ..)| text).collect())
    })
}

proptest! {
    #[test]
    fn any_text_goes_and_comes_back_and_nothing_beside_it_moves((document, texts) in written(), to in "\\PC{0,10}|a\nb|1e3|no") {
        let Ok(read) = documents(&document) else {
            return Err(TestCaseError::fail(document));
        };
        let others = |json: &Value, place: usize| {
            let mut list = json["spec"]["list"].as_array().cloned().unwrap_or_default();
            list.remove(place);
            list
        };
        for (place, text) in texts.iter().enumerate() {
            let way = [key("spec"), key("list"), item(&format!("n{place}")), key("value")];
            let (from, to) = (json!(text), json!(to));
            match change(&document, 0, &way, Some(&from), Some(&to)) {
                Ok(Some(changed)) => {
                    let now = documents(&changed).expect("it reads")[0].json();
                    prop_assert_eq!(&now["spec"]["list"][place]["value"], &to);
                    prop_assert_eq!(others(&now, place), others(&read[0].json(), place));
                    prop_assert_eq!(changed.matches('#').count() >= document.matches("# why").count(), true);
                    let back = change(&changed, 0, &way, Some(&to), Some(&from)).expect("it goes back").expect("a change");
                    prop_assert_eq!(documents(&back).expect("it reads")[0].json(), read[0].json());
                }
                Ok(None) => prop_assert_eq!(from, to),
                Err(trouble) => return Err(TestCaseError::fail(format!("{trouble}: {document}"))),
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-c:{}\\[\\],&*#|>'\" \n\t?!%@\u{e9}]{0,60}") {
        if let Ok(read) = documents(&text) {
            for (document, _) in read.iter().enumerate() {
                for way in [vec![key("a")], vec![key("a"), key("b")], vec![key("a"), item("b")]] {
                    let to = json!("c");
                    let _ = change(&text, document, &way, Some(&json!("a")), Some(&to));
                    let _ = change(&text, document, &way, None, Some(&to));
                    let _ = change(&text, document, &way, Some(&json!({"a": {"b": "c"}})), None);
                }
            }
        }
    }
}
