//! What must hold for the page whatever is in it: nothing is loaded, nothing runs, every link leads somewhere, and no
//! value becomes markup or steers a terminal.

use crate::sample;
use astern_model::plan::Plan;
use astern_model::record::Record;
use astern_report::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Ends an attribute, opens elements, steers a terminal, turns the reading direction, ends a table cell.
const POISON: &str = "\"'><script>x()</script><img src=y onerror=z>&\u{1b}[2J\u{202e}\u{7}|`\r\n";

#[test]
fn no_value_of_plan_or_journal_becomes_markup() {
    let (plan, plan_places) = poisoned(&sample::plan());
    assert!(
        plan_places > 300,
        "only {plan_places} values of the plan took the poison"
    );
    for records in [sample::restored(), sample::held()] {
        let (records, places) = poisoned::<Vec<Record>>(&records);
        assert!(places > 60, "only {places} values of the records took the poison");
        let report = report(&sample::run(), &plan, &sample::hash(), &records, POISON);
        let page = html(&report);
        assert!(page.contains("&lt;script&gt;x()"), "the poison did not arrive");
        for markup in ["<script", "<img", "</script"] {
            assert!(!page.contains(markup), "{markup} came through");
        }
        let (findings, _) = poisoned(&sample::findings());
        let in_markdown = [
            markdown(&report),
            plan_markdown(&plan, &findings, &sample::hash()),
            assessment_markdown(&plan.assessment),
            choices_markdown(&plan.choices),
        ];
        assert_eq!(
            in_markdown.iter().find_map(|shown| markup(shown)),
            None,
            "a value is markup in Markdown"
        );
        let in_text = [
            page,
            text(&report),
            plan_text(&plan, &findings, &sample::hash()),
            assessment_text(&plan.assessment),
            choices_text(&plan.choices),
        ];
        for shown in in_text.into_iter().chain(in_markdown) {
            let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            let line = shown.lines().find(|line| line.contains(steers));
            assert_eq!(line, None, "a value steers the reader's screen");
        }
    }
}

/// The first line of Markdown with a `<` that is neither escaped nor inside code.
fn markup(text: &str) -> Option<&str> {
    let mut fenced = false;
    text.lines().find(|line| {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        !fenced && without_code(line).contains('<')
    })
}

/// The line without code spans and escaped characters.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches('`').len();
        if c == '\\' {
            rest = rest.get(2..).unwrap_or_default();
        } else if run > 0 {
            let after = &rest[run..];
            let fence = "`".repeat(run);
            rest = after.split_once(&fence).map_or(after, |(_, after)| after);
        } else {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    kept
}

#[test]
fn nothing_in_the_page_is_loaded_or_run() {
    for records in [sample::restored(), sample::held()] {
        let page = page(&records);
        for wanted in [
            "<script",
            "src=",
            "href=\"http",
            "url(",
            "@import",
            "<link",
            "<iframe",
            "<object",
            " onerror=",
            " onload=",
            " onclick=",
            "javascript:",
        ] {
            let found = page
                .match_indices(wanted)
                .find(|(place, _)| wanted.starts_with('<') || inside_a_tag(&page, *place));
            let around = found.map(|(place, _)| page[place..].chars().take(80).collect::<String>());
            assert_eq!(around, None, "the page has {wanted}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}

/// Whether the place lies between `<` and `>`: text of the report may well say "https".
fn inside_a_tag(page: &str, place: usize) -> bool {
    let before = &page[..place];
    before.rfind('<') > before.rfind('>')
}

#[test]
fn every_link_of_the_page_leads_to_a_place_in_it() {
    for records in [Vec::new(), sample::restored(), sample::held()] {
        let page = page(&records);
        let links: Vec<&str> = after(&page, "href=\"#");
        let places: Vec<&str> = after(&page, " id=\"");
        assert!(links.len() > 20);
        for link in links {
            assert_eq!(
                places.iter().filter(|place| **place == link).count(),
                1,
                "#{link}"
            );
        }
    }
}

/// What stands behind each `mark`, up to the next quotation mark.
fn after<'a>(page: &'a str, mark: &str) -> Vec<&'a str> {
    page.split(mark)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn a_screen_reader_finds_its_way() {
    let page = page(&sample::restored());
    for (element, count) in [
        ("<h1", 1),
        ("<main", 1),
        ("<nav", 1),
        ("<header", 1),
        ("<footer", 1),
        ("role=\"img\"", 2),
    ] {
        assert_eq!(page.matches(element).count(), count, "{element}");
    }
    assert!(page.contains("<html lang=\"en\">") && page.contains("href=\"#main\""));
    for label in after(&page, "aria-labelledby=\"")
        .iter()
        .flat_map(|labels| labels.split(' '))
    {
        assert!(
            page.contains(&format!("id=\"{label}\"")),
            "{label} labels nothing"
        );
    }
    assert_eq!(page.matches("<svg").count(), page.matches("<desc").count());
}

#[test]
fn values_that_may_be_secret_are_masked_everywhere() {
    let records = sample::restored();
    let report = report(
        &sample::run(),
        &sample::plan(),
        &sample::hash(),
        &records,
        sample::PLACE,
    );
    let plan = sample::plan();
    let shown = [
        html(&report),
        markdown(&report),
        text(&report),
        plan_text(&plan, &[], &sample::hash()),
        plan_markdown(&plan, &[], &sample::hash()),
    ];
    for shown in shown {
        assert!(
            shown.contains("env[POOL_SIZE]") && shown.contains("‹masked›"),
            "{shown}"
        );
    }
}

fn page(records: &[Record]) -> String {
    html(&report(
        &sample::run(),
        &sample::plan(),
        &sample::hash(),
        records,
        sample::PLACE,
    ))
}

/// The value with the poison in every text that may hold any text, and how many those are. A text that does not take
/// it (a moment, a name of an enum) is left as it is.
fn poisoned<T: Serialize + DeserializeOwned>(value: &T) -> (T, usize) {
    let mut json = serde_json::to_value(value).expect("it is JSON");
    let mut places = Vec::new();
    texts(&json, String::new(), &mut places);
    let mut taken = 0;
    for place in places {
        let mut tried = json.clone();
        let text = tried.pointer_mut(&place).expect("the place is there");
        *text = Value::String(format!("{}{POISON}", text.as_str().unwrap_or_default()));
        if serde_json::from_value::<T>(tried.clone()).is_ok() {
            json = tried;
            taken += 1;
        }
    }
    (serde_json::from_value(json).expect("each place was tried"), taken)
}

fn texts(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(place),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(nth, item)| texts(item, format!("{place}/{nth}"), found));
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, item)| {
                texts(
                    item,
                    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")),
                    found,
                )
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The pages stay in the target directory's `tmp`, to be looked at in a browser.
#[test]
fn the_page_opens_from_a_file_in_the_right_encoding() {
    for (name, records) in [("restored", sample::restored()), ("held", sample::held())] {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.html"));
        std::fs::write(&file, page(&records)).expect("the file can be written");
        let start = std::fs::read(&file).expect("the file can be read");
        assert!(start.starts_with(b"<!DOCTYPE html>"));
        // A browser looks for the encoding in the first 1024 bytes of a file.
        assert!(String::from_utf8_lossy(&start[..1024]).contains("charset=\"utf-8\""));
    }
}

#[test]
fn a_plan_reads_back_as_it_was() {
    let json = serde_json::to_string(&sample::plan()).expect("it is JSON");
    assert_eq!(
        serde_json::from_str::<Plan>(&json).expect("it is a plan"),
        sample::plan()
    );
}
