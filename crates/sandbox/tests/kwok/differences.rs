//! The differences between the sandbox and a real control plane that are known. Owns the table's format and the
//! judgement: nothing outside of it, and nothing in it that is no longer so.

use serde::Deserialize;
use std::collections::BTreeSet;

/// One difference that a case found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// `TABLE/STORY/CASE`
    case: String,
    /// Which field, or `code`, or `type`.
    at: String,
    /// What each says.
    words: String,
}

impl Difference {
    /// From what a comparison tells: `FIELD: real …, sandbox …`.
    pub(crate) fn new(case: &str, told: &str) -> Self {
        let (at, words) = told.split_once(": real ").unwrap_or((told, ""));
        Self {
            case: case.to_owned(),
            at: at.to_owned(),
            words: format!("real {words}").replace(", sandbox ", "\n      sandbox "),
        }
    }
}

/// What is known to differ, and why that cannot matter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    why: String,
    /// The field, and all below it.
    at: String,
    /// Cases in which it is so, as `TABLE/STORY/CASE`.
    cases: Vec<String>,
}

/// The table.
pub(crate) struct Known(Vec<Line>);

impl Known {
    pub(crate) fn read() -> Self {
        let text = include_str!("differences.yaml");
        Self(serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("differences.yaml: {error}")))
    }

    /// Refuses differences that are not in the table, and lines that found none in the cases that ran.
    pub(crate) fn judge(&self, found: &[Difference], ran: impl Fn(&str) -> bool) -> Result<(), String> {
        let mut used = BTreeSet::new();
        let mut unknown = Vec::new();
        for difference in found {
            let lines = self
                .lines()
                .filter(|(line, case)| difference.case == **case && within(&difference.at, &line.at));
            let known: Vec<_> = lines
                .map(|(line, case)| (line.at.clone(), case.clone()))
                .collect();
            let is_unknown = known.is_empty();
            used.extend(known);
            if is_unknown {
                unknown.push(format!(
                    "{}\n    {}\n      {}",
                    difference.case, difference.at, difference.words
                ));
            }
        }
        let idle: Vec<String> = self
            .lines()
            .filter(|(line, case)| ran(case) && !used.contains(&(line.at.clone(), (*case).clone())))
            .map(|(line, case)| format!("{case}\n    {} no longer differs", line.at))
            .collect();
        if unknown.is_empty() && idle.is_empty() {
            return Ok(());
        }
        Err(format!(
            "\n{} differences that differences.yaml does not explain:\n{}\n{} lines of it that explain none:\n{}\n",
            unknown.len(),
            unknown.join("\n"),
            idle.len(),
            idle.join("\n"),
        ))
    }

    fn lines(&self) -> impl Iterator<Item = (&Line, &String)> {
        self.0
            .iter()
            .flat_map(|line| line.cases.iter().map(move |case| (line, case)))
    }
}

fn within(at: &str, field: &str) -> bool {
    at.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[test]
fn every_known_difference_has_a_reason() {
    for line in Known::read().0 {
        assert!(
            line.why.split_whitespace().count() >= 5,
            "{}: {:?}",
            line.at,
            line.why
        );
    }
}

#[test]
fn every_line_is_about_a_case_that_there_is() {
    let titles: BTreeSet<String> = crate::cases::titles()
        .into_iter()
        .chain(crate::commands::titles())
        .collect();
    for (_, case) in Known::read().lines() {
        assert!(titles.contains(case), "no case is called {case:?}");
    }
}

#[test]
fn a_difference_outside_of_the_table_and_a_line_without_one_fail() {
    let known = |cases: &str| {
        Known(serde_saphyr::from_str(&format!("[{{why: w, at: .message, cases: [{cases}]}}]")).unwrap())
    };
    let difference = Difference::new("t/s/c", ".message: real \"a\", sandbox \"b\"");
    let judged = |known: Known, found: Vec<Difference>| known.judge(&found, |_| true).is_ok();
    assert!(judged(known("t/s/c"), vec![difference.clone()]));
    assert!(!judged(known("t/s/c"), vec![]));
    assert!(!judged(known("t/s/other"), vec![difference.clone()]));
    assert!(!judged(known("t/s/c, t/s/other"), vec![difference]));
}
