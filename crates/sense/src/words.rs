//! Counting error lines in a log: which lines are some, and over what time they were written. Pure.

use jiff::Timestamp;

/// A line of a log may be a whole JSON document; a person reads its beginning.
const LONGEST_LINE: usize = 300;

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Lines with one of the words.
    pub(crate) lines: u64,
    /// The last of them.
    pub(crate) last: Option<String>,
    /// When the log's last line was written, where the lines carry their times.
    pub(crate) until: Option<Timestamp>,
}

/// Counts the lines that hold one of `words` (upper case) as a whole word, in any case. Each line begins with its
/// time, as the kubelet writes it; a line cut short at the end counts as well.
pub(crate) fn count(log: &str, words: &[String]) -> Count {
    let mut count = Count::default();
    for line in log.lines() {
        let (time, text) = timed(line);
        count.until = time.or(count.until);
        if holds(text, words) {
            count.lines += 1;
            count.last = Some(text.to_owned());
        }
    }
    count
}

/// A line without the time that the kubelet put before it.
pub(crate) fn said(line: &str) -> &str {
    timed(line).1
}

fn timed(line: &str) -> (Option<Timestamp>, &str) {
    // An empty line is the time alone.
    let (time, text) = line.split_once(' ').unwrap_or((line, ""));
    match time.parse::<Timestamp>() {
        Ok(time) => (Some(time), text),
        Err(_) => (None, line),
    }
}

/// Whether a line holds one of the words, bounded by what is no letter, digit or `_`.
fn holds(line: &str, words: &[String]) -> bool {
    let upper = line.to_ascii_uppercase();
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    words.iter().filter(|word| !word.is_empty()).any(|word| {
        upper.match_indices(word.as_str()).any(|(at, found)| {
            let before = upper[..at].chars().next_back();
            let after = upper[at + found.len()..].chars().next();
            !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
        })
    })
}

/// The last line that is not empty.
pub(crate) fn last_line(log: &str) -> Option<&str> {
    log.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

/// A line as it may stand in a report.
pub(crate) fn shortened(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_make_an_error_line() {
        let words = ["ERROR".to_owned(), "PANIC".to_owned()];
        let check = |line: &str, expected: bool| assert_eq!(holds(line, &words), expected, "{line}");
        check("level=error msg=x", true);
        check(r#"{"level":"Error"}"#, true);
        check("panic: boom", true);
        check("ERROR", true);
        check("no errors", false);
        check("error_count 0", false);
        check("terror", false);
        check("größe error", true);
    }

    #[test]
    fn lines_are_counted_without_the_kubelets_time() {
        let log =
            "2026-01-01T00:00:01.5Z ERROR one\n2026-01-01T00:00:02Z fine\n2026-01-01T00:00:03Z error two\n";
        let found = count(log, &["ERROR".to_owned()]);
        assert_eq!(
            found,
            Count {
                lines: 2,
                last: Some("error two".to_owned()),
                until: Some("2026-01-01T00:00:03Z".parse().unwrap()),
            }
        );
        assert_eq!(count("", &["ERROR".to_owned()]), Count::default());
    }
}
