//! What a text from outside (a log line, a name, a server's words) may do to a page or a terminal: nothing. Owns
//! the cleaning for terminals and the escaping for Markdown; HTML is escaped where it is made.

/// The text on one line, without terminal sequences, control characters and marks that turn the reading direction.
/// Tabs and line ends become one space; what else cannot be seen becomes `�`.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                // A control sequence ends with its first byte between `@` and `~` (ECMA-48, section 5.4).
                while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\t' | '\n' => shown.push(' '),
            '\r' => {}
            c if c.is_control() || turns_direction(c) => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

/// [`visible`], cut after `most` characters with `…` in the last place.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let shown = visible(text);
    if shown.chars().count() <= most {
        return shown;
    }
    shown.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Text as Markdown prose: no character of it is markup.
pub(crate) fn prose(text: &str) -> String {
    let shown = visible(text);
    let mut escaped = String::with_capacity(shown.len());
    let mut former = ' ';
    let mut rest = shown.chars().peekable();
    while let Some(c) = rest.next() {
        let next_is_word = rest.peek().is_some_and(|c| c.is_alphanumeric());
        let markup = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '~' => true,
            // Inside a word an underscore is no emphasis (CommonMark 6.2), and names are full of them.
            '_' => !(former.is_alphanumeric() && next_is_word),
            _ => false,
        };
        if markup {
            escaped.push('\\');
        }
        escaped.push(c);
        former = c;
    }
    escaped
}

/// Text as a Markdown code span that also survives in a table cell.
pub(crate) fn code(text: &str) -> String {
    let shown = visible(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&shown, '`') + 1);
    let pad = if shown.starts_with('`') || shown.ends_with('`') {
        " "
    } else {
        ""
    };
    if shown.is_empty() {
        String::new()
    } else {
        format!("{fence}{pad}{shown}{pad}{fence}")
    }
}

/// Lines as a fenced Markdown block that none of them can end.
pub(crate) fn block(language: &str, lines: &[String]) -> String {
    let shown: Vec<String> = lines.iter().map(|line| visible(line)).collect();
    let longest = shown
        .iter()
        .map(|line| longest_run(line, '`'))
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", shown.join("\n"))
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of)
        .map(|run| run.chars().count())
        .max()
        .unwrap_or_default()
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_steer_the_terminal() {
        let check = |text: &str, shown: &str| assert_eq!(visible(text), shown, "{text:?}");
        check("\u{1b}[31mERROR\u{1b}[0m boot", "ERROR boot");
        check("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}");
        check("one\r\ntwo\tthree", "one two three");
        check("a\u{202e}b", "a\u{fffd}b");
    }

    #[test]
    fn a_name_cannot_become_markdown() {
        let check = |text: &str, shown: &str| assert_eq!(prose(text), shown, "{text:?}");
        check("error_rate of <b>", "error_rate of \\<b>");
        check("*x* [y](z) | _w_", "\\*x\\* \\[y\\](z) \\| \\_w\\_");
        assert_eq!(code("a|`b"), "``a\\|`b``");
        assert_eq!(block("", &["```".to_owned()]), "````\n```\n````\n");
    }
}
