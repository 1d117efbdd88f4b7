//! `astern policy check`: what in a policy contradicts or repeats itself, leaves a case open or can never matter.
//! Looks at the policy alone; whether its thresholds are wise is its owners' business.

use astern_model::policy::{LogPolicy, Policy, Row, Say, When};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Every condition, in the order of the default matrix.
const CONDITIONS: [When; 9] = [
    When::PodsNotStarting,
    When::CrashLoop,
    When::NotReady,
    When::ErrorLines,
    When::ProbeFails,
    When::FormerFailsAlike,
    When::FormerUnwell,
    When::EvidenceMissing,
    When::AllHealthy,
];

/// The conditions that say that the live version fails. [`When::FormerFailsAlike`] holds only beside one of them.
const FAILING: [When; 5] = [
    When::PodsNotStarting,
    When::CrashLoop,
    When::NotReady,
    When::ErrorLines,
    When::ProbeFails,
];

/// One remark about a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyNote {
    /// What kind of remark.
    pub what: NoteKind,
    /// The ids of the rows that it is about, in the matrix's order; empty when it is about thresholds.
    pub rows: Vec<String>,
    /// What is the matter, one sentence without a full stop.
    pub message: String,
    /// What the owners can write instead.
    pub hint: String,
}

/// The kinds of remarks, gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NoteKind {
    /// Two places say different things about the same case.
    Contradiction,
    /// No row says what to do in a case.
    Uncovered,
    /// Something that can never change an answer.
    Ineffective,
    /// Two places say the same about the same case.
    Overlap,
}

impl NoteKind {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Contradiction => "contradiction",
            Self::Uncovered => "not covered",
            Self::Ineffective => "never matters",
            Self::Overlap => "overlap",
        }
    }
}

/// All remarks about a policy, gravest first. The default policy gives none.
pub fn check_policy(policy: &Policy) -> Vec<PolicyNote> {
    let mut notes = Vec::new();
    notes.extend(ids_twice(&policy.matrix));
    notes.extend(same_condition(&policy.matrix));
    notes.extend(uncovered(&policy.matrix));
    notes.extend(never_matters(&policy.matrix));
    notes.extend(stated_again(policy));
    notes.extend(log_thresholds(&policy.logs));
    notes.extend(words_twice("logs.words", &policy.logs.words));
    notes.extend(words_twice("mutableTags", &policy.mutable_tags));
    if policy.accept_presumed.is_empty() {
        notes.push(PolicyNote {
            what: NoteKind::Ineffective,
            rows: Vec::new(),
            message: "presumedGoodAfter never matters: acceptPresumed lets nobody go back to what is only presumed good"
                .to_owned(),
            hint: "name person, yes or both in acceptPresumed, or know that only observed revisions count".to_owned(),
        });
    }
    notes.sort_by_key(|note| note.what);
    notes
}

fn ids_twice(matrix: &[Row]) -> Vec<PolicyNote> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for row in matrix {
        *count.entry(&row.id).or_default() += 1;
    }
    let twice = count.into_iter().filter(|(_, count)| *count > 1);
    twice
        .map(|(id, count)| PolicyNote {
            what: NoteKind::Contradiction,
            rows: vec![id.to_owned()],
            message: format!("{count} rows have the id `{id}`: --override-decision cannot tell them apart"),
            hint: "give each row an id of its own".to_owned(),
        })
        .collect()
}

fn same_condition(matrix: &[Row]) -> Vec<PolicyNote> {
    let mut notes = Vec::new();
    for when in CONDITIONS {
        let rows: Vec<&Row> = matrix.iter().filter(|row| row.when == when).collect();
        let says: BTreeSet<Say> = rows.iter().map(|row| row.then).collect();
        let (Some(gravest), true) = (says.last().copied(), rows.len() > 1) else {
            continue;
        };
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let (names, when) = (joined(&ids), word(&when));
        notes.push(if says.len() == 1 {
            PolicyNote {
                what: NoteKind::Overlap,
                rows: ids,
                message: format!("{names} say the same of {when}: {}", word(&gravest)),
                hint: "keep one of them".to_owned(),
            }
        } else {
            let lesser: Vec<String> =
                rows.iter().filter(|row| row.then != gravest).map(|row| format!("`{}`", row.id)).collect();
            PolicyNote {
                what: NoteKind::Contradiction,
                rows: ids,
                message: format!(
                    "{names} contradict each other about {when}: {} wins as the gravest, so {} can never matter",
                    word(&gravest),
                    lesser.join(" and ")
                ),
                hint: "keep the one that is meant".to_owned(),
            }
        });
    }
    notes
}

fn uncovered(matrix: &[Row]) -> Vec<PolicyNote> {
    CONDITIONS
        .into_iter()
        .filter(|when| matrix.iter().all(|row| row.when != *when))
        .map(|when| PolicyNote {
            what: NoteKind::Uncovered,
            rows: Vec::new(),
            message: format!("no row says what to do when {} holds", word(&when)),
            hint: format!(
                "add a row: {{id: …, when: {}, then: ask, because: …}}",
                word(&when)
            ),
        })
        .collect()
}

/// A row on [`When::FormerFailsAlike`] always fires beside a row on a failing condition. When each of those says
/// something as grave, it changes no answer.
fn never_matters(matrix: &[Row]) -> Vec<PolicyNote> {
    let answer = |when: When| {
        matrix
            .iter()
            .filter(|row| row.when == when)
            .map(|row| row.then)
            .max()
    };
    let Some(least) = FAILING.into_iter().map(answer).min().flatten() else {
        return Vec::new();
    };
    let covered = |row: &&Row| row.when == When::FormerFailsAlike && row.then <= least;
    matrix
        .iter()
        .filter(covered)
        .map(|row| PolicyNote {
            what: NoteKind::Ineffective,
            rows: vec![row.id.clone()],
            message: format!(
                "`{}` can never matter: what makes it fire also fires a row that says {} or graver",
                row.id,
                word(&least)
            ),
            hint: "make it say doNot or ask, or make the rows of the failing conditions milder".to_owned(),
        })
        .collect()
}

/// A row holds no threshold, so a number in its sentence is a second copy of one: it must be the same.
fn stated_again(policy: &Policy) -> Vec<PolicyNote> {
    let logs = &policy.logs;
    let about_errors = policy.matrix.iter().filter(|row| row.when == When::ErrorLines);
    about_errors
        .flat_map(|row| numbers(&row.because).into_iter().map(move |stated| (row, stated)))
        .filter(|(_, stated)| !stated.is_one_of(logs))
        .map(|(row, stated)| PolicyNote {
            what: NoteKind::Contradiction,
            rows: vec![row.id.clone()],
            message: format!(
                "`{}` speaks of {}, but the thresholds are timesFormer {}, atLeastPerMinute {}, absolutePerMinute {}",
                row.id, stated.text, logs.times_former, logs.at_least_per_minute, logs.absolute_per_minute
            ),
            hint: "say the number in policy.logs alone, and leave it out of the row's sentence".to_owned(),
        })
        .collect()
}

fn log_thresholds(logs: &LogPolicy) -> Vec<PolicyNote> {
    let mut notes = Vec::new();
    let mut note = |what, message: String, hint: &str| {
        notes.push(PolicyNote {
            what,
            rows: Vec::new(),
            message,
            hint: hint.to_owned(),
        });
    };
    if logs.at_least_per_minute > logs.absolute_per_minute {
        note(
            NoteKind::Contradiction,
            format!(
                "the least rate of error lines is stated twice: {} a minute is bad without old pods \
                 (absolutePerMinute), but beside old pods it is fine below {} (atLeastPerMinute)",
                logs.absolute_per_minute, logs.at_least_per_minute
            ),
            "make atLeastPerMinute at most absolutePerMinute",
        );
    }
    if logs.times_former <= 1.0 {
        note(
            NoteKind::Contradiction,
            format!(
                "timesFormer {} calls a version bad that logs no more errors than the one before it",
                logs.times_former
            ),
            "make timesFormer greater than 1",
        );
    }
    if logs.at_least_per_minute == 0.0 {
        note(
            NoteKind::Ineffective,
            "atLeastPerMinute 0 never matters: beside quiet old pods a single error line is bad".to_owned(),
            "make atLeastPerMinute the least rate that is worth a rollback",
        );
    }
    notes
}

fn words_twice(list: &str, words: &[String]) -> Vec<PolicyNote> {
    let mut seen = BTreeSet::new();
    words
        .iter()
        .filter(|word| !seen.insert(word.to_uppercase()))
        .map(|word| PolicyNote {
            what: NoteKind::Overlap,
            rows: Vec::new(),
            message: format!("`{word}` stands twice in {list}"),
            hint: "keep one of them".to_owned(),
        })
        .collect()
}

/// A number in a sentence, as it stands there.
struct Stated {
    text: String,
    number: f64,
}

impl Stated {
    /// Whether it repeats a threshold. Error lines are counted, so no percentage does.
    fn is_one_of(&self, logs: &LogPolicy) -> bool {
        let same = |known: f64| (known - self.number).abs() <= f64::EPSILON * known.abs();
        let unit = self
            .text
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        match unit {
            "" | "x" => [
                logs.times_former,
                logs.at_least_per_minute,
                logs.absolute_per_minute,
            ]
            .into_iter()
            .any(same),
            "s" => same(logs.window.as_secs_f64()),
            "m" => same(logs.window.as_secs_f64() / 60.0),
            "h" => same(logs.window.as_secs_f64() / 3600.0),
            _ => false,
        }
    }
}

/// The decimal numbers of a sentence that stand alone or before a unit; not those inside a word (`v2`), a version or
/// a class of answers (`5xx`).
fn numbers(sentence: &str) -> Vec<Stated> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '%');
    let sentence = sentence.replace(" %", "%");
    sentence
        .split(|c| !part(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|word| {
            let end = word
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(word.len());
            let (number, unit) = word.split_at(end);
            let known = ["", "s", "m", "h", "x", "%"].contains(&unit);
            known.then(|| number.parse().ok()).flatten().map(|number| Stated {
                text: word.to_owned(),
                number,
            })
        })
        .collect()
}

fn joined(ids: &[String]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    quoted.join(" and ")
}

/// The word as it stands in `astern.yaml`.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => panic!("BUG: a word of a closed set became {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::words;
    use astern_model::policy::Acceptor;

    fn row(id: &str, when: When, then: Say, because: &str) -> Row {
        Row {
            id: id.to_owned(),
            when,
            then,
            because: because.to_owned(),
        }
    }

    /// The remarks about the default policy after one change, a line each.
    fn told(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = Policy::default();
        change(&mut policy);
        let line = |note: PolicyNote| format!("{}: {} ({})", note.what.word(), note.message, note.hint);
        check_policy(&policy)
            .into_iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_default_matrix_neither_overlaps_nor_contradicts_itself() {
        assert_eq!(check_policy(&Policy::default()), []);
    }

    #[test]
    fn every_condition_of_the_model_is_looked_at() {
        let known: Vec<String> = CONDITIONS.iter().map(word).collect();
        assert_eq!(known, words::<When>());
    }

    #[test]
    fn rows_that_overlap_or_contradict_each_other_are_named() {
        let crash = When::CrashLoop;
        insta::assert_snapshot!(told(|p| p.matrix.push(row("mine", crash, Say::DoNot, "we wait"))), @r#"contradiction: `crash-loop` and `mine` contradict each other about crashLoop: doNot wins as the gravest, so `crash-loop` can never matter (keep the one that is meant)"#);
        insta::assert_snapshot!(told(|p| p.matrix.push(row("mine", crash, Say::RollBack, "again"))), @r#"overlap: `crash-loop` and `mine` say the same of crashLoop: rollBack (keep one of them)"#);
        insta::assert_snapshot!(told(|p| p.matrix.push(row("crash-loop", When::NotReady, Say::RollBack, "x"))), @r#"
        contradiction: 2 rows have the id `crash-loop`: --override-decision cannot tell them apart (give each row an id of its own)
        overlap: `not-ready` and `crash-loop` say the same of notReady: rollBack (keep one of them)
        "#);
    }

    #[test]
    fn a_case_that_no_row_covers_and_a_row_that_never_matters_are_named() {
        insta::assert_snapshot!(told(|p| p.matrix.retain(|row| row.when != When::EvidenceMissing)), @r#"not covered: no row says what to do when evidenceMissing holds (add a row: {id: …, when: evidenceMissing, then: ask, because: …})"#);
        insta::assert_snapshot!(told(|p| p.matrix[5].then = Say::RollBack), @r#"never matters: `former-fails-alike` can never matter: what makes it fire also fires a row that says rollBack or graver (make it say doNot or ask, or make the rows of the failing conditions milder)"#);
        insta::assert_snapshot!(told(|p| p.accept_presumed = Vec::<Acceptor>::new()), @r#"never matters: presumedGoodAfter never matters: acceptPresumed lets nobody go back to what is only presumed good (name person, yes or both in acceptPresumed, or know that only observed revisions count)"#);
    }

    #[test]
    fn a_threshold_that_is_stated_twice_differently_is_named() {
        let because = |text: &str| {
            let text = text.to_owned();
            told(|policy| policy.matrix[3].because = text)
        };
        insta::assert_snapshot!(because("more than 5 % of lines are errors"), @r#"contradiction: `error-lines` speaks of 5%, but the thresholds are timesFormer 3, atLeastPerMinute 1, absolutePerMinute 10 (say the number in policy.logs alone, and leave it out of the row's sentence)"#);
        insta::assert_snapshot!(because("2x the errors of v1.2.3, see INC-42 and 5xx"), @r#"contradiction: `error-lines` speaks of 2x, but the thresholds are timesFormer 3, atLeastPerMinute 1, absolutePerMinute 10 (say the number in policy.logs alone, and leave it out of the row's sentence)"#);
        insta::assert_snapshot!(because("3 times the former rate, at least 1, or 10.0 in 5m"), @"");
        insta::assert_snapshot!(told(|p| p.logs.at_least_per_minute = 20.0), @r#"contradiction: the least rate of error lines is stated twice: 10 a minute is bad without old pods (absolutePerMinute), but beside old pods it is fine below 20 (atLeastPerMinute) (make atLeastPerMinute at most absolutePerMinute)"#);
        insta::assert_snapshot!(told(|p| p.logs.words.push("error".to_owned())), @r#"overlap: `error` stands twice in logs.words (keep one of them)"#);
    }
}
