//! "Did you mean": the known word nearest to a mistyped one. Knows nothing of what the words are for.

/// The nearest of `known` to `typed`, if it is near enough to be meant; the first one of equally near ones.
///
/// Near is: the same but for case and `-`, `_`, spaces; the beginning of it; or within one slip for each three
/// characters (a letter added, dropped or changed, or two neighbours swapped).
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    if typed.is_empty() {
        return None;
    }
    known
        .into_iter()
        .filter_map(|word| {
            let candidate = plain(word);
            let longest = typed.len().max(candidate.len());
            let slips = distance(&typed, &candidate);
            // Three letters are enough to recognise the rest by: `dep` is `deployment`.
            let begins = typed.len() >= 3 && candidate.starts_with(&typed[..]);
            let near = slips <= (longest / 3).max(1) && slips < longest;
            (begins || near).then_some((if begins { slips.min(1) } else { slips }, word))
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// Longer words than this are not compared: no name of Kubernetes is, and the comparison is quadratic.
const LONGEST: usize = 253;

fn plain(word: &str) -> Vec<char> {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .take(LONGEST)
        .collect()
}

/// Optimal string alignment: additions, drops, changes, and swaps of neighbours, each counted once.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != y);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["name", "kind", "dependsOn", "probes"];
        let check =
            |typed: &str, expected: Option<&str>| assert_eq!(nearest(typed, keys), expected, "{typed}");
        check("dependOn", Some("dependsOn"));
        check("depends_on", Some("dependsOn"));
        check("Probes", Some("probes"));
        check("nmae", Some("name"));
        check("dep", Some("dependsOn"));
        check("replicas", None);
        check("x", None);
        check("", None);
    }

    #[test]
    fn of_two_near_words_the_nearer_one_is_named() {
        assert_eq!(
            nearest("api-gatewy", ["api-gateway-canary", "api-gateway"]),
            Some("api-gateway")
        );
        assert_eq!(nearest("v1", ["v2", "v1"]), Some("v1"));
    }
}
