//! Counts of long runs that are added up over sittings: a JSON file that programs read, and tables between two marks of a
//! document that people read. What is counted is each command's own affair.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome, doing};
use crate::workspace;

const END: &str = "<!-- end -->\n";

/// Where one command's counts stand.
pub(crate) struct Recorded {
    /// What was counted over all sittings.
    pub(crate) counts: &'static str,
    /// Where people read it; between the two marks it is written by this command.
    pub(crate) document: &'static str,
    /// The first mark.
    pub(crate) begin: &'static str,
    /// The number of seeds in a sitting.
    pub(crate) seeds: &'static str,
    /// Plain numbers.
    pub(crate) numbers: &'static [&'static str],
    /// Tables: name, title, and what their numbers count.
    pub(crate) tables: &'static [(&'static str, &'static str, &'static str)],
}

impl Recorded {
    /// All sittings so far.
    pub(crate) fn read(&self) -> Outcome<Value> {
        let path = workspace::root().join(self.counts);
        if !path.exists() {
            return Ok(json!({}));
        }
        let text = std::fs::read_to_string(&path).map_err(doing(format!("read {}", self.counts)))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{} is no JSON: {error}", self.counts)))
    }

    /// Adds a sitting, and writes both files. `headline` is the document's sentence over all of them.
    pub(crate) fn add(
        &self,
        mut all: Value,
        sitting: &Value,
        headline: impl Fn(&Value) -> String,
    ) -> Outcome<Value> {
        self.sum(&mut all, sitting);
        let told = serde_json::to_string_pretty(&all).unwrap_or_default();
        std::fs::write(workspace::root().join(self.counts), told + "\n")
            .map_err(doing(format!("write {}", self.counts)))?;
        let path = workspace::root().join(self.document);
        let text = std::fs::read_to_string(&path).map_err(doing(format!("read {}", self.document)))?;
        let marked = || {
            Failure::new(format!(
                "{} has lost the marks around what is recorded",
                self.document
            ))
        };
        let (head, rest) = text.split_once(self.begin).ok_or_else(marked)?;
        let (_, tail) = rest.split_once(END).ok_or_else(marked)?;
        let (begin, tables) = (self.begin, self.tables(&all));
        let written = format!("{head}{begin}\n{}\n{tables}\n{END}{tail}", headline(&all));
        std::fs::write(&path, written).map_err(doing(format!("write {}", self.document)))?;
        Ok(all)
    }

    /// Adds one sitting's counts, number by number.
    fn sum(&self, all: &mut Value, sitting: &Value) {
        let sum = |one: &Value, other: &Value| {
            one.as_u64().unwrap_or_default() + other.as_u64().unwrap_or_default()
        };
        for name in self.numbers {
            all[name] = json!(sum(&all[name], &sitting[name]));
        }
        all["until"] = json!(sum(&sitting["from"], &sitting[self.seeds]));
        for (name, ..) in self.tables {
            let mut counts: Map<String, Value> = all[name].as_object().cloned().unwrap_or_default();
            for (word, count) in sitting[name].as_object().into_iter().flatten() {
                let before = counts.get(word).cloned().unwrap_or_default();
                counts.insert(word.clone(), json!(sum(&before, count)));
            }
            all[name] = Value::Object(counts);
        }
    }

    pub(crate) fn tables(&self, all: &Value) -> String {
        let mut told = String::new();
        for (name, title, counted) in self.tables {
            let _ = write!(told, "\n| {title} | {counted} |\n|---|---:|\n");
            let counts: BTreeMap<&String, &Value> = all[name].as_object().into_iter().flatten().collect();
            for (word, count) in counts {
                let _ = writeln!(told, "| {word} | {} |", grouped(count));
            }
        }
        told
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: &Value) -> String {
    let digits = number.as_u64().unwrap_or_default().to_string();
    let first = digits.len() % 3;
    let mut told = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !told.is_empty() {
            told.push(',');
        }
        told.push_str(&String::from_utf8_lossy(group));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{Recorded, grouped};
    use serde_json::json;

    #[test]
    fn sittings_are_added_up() {
        let recorded = Recorded {
            counts: "",
            document: "",
            begin: "",
            seeds: "seeds",
            numbers: &["seeds"],
            tables: &[("faults", "fault", "times")],
        };
        let mut all = json!({});
        recorded.sum(&mut all, &json!({"seeds": 3, "from": 0, "faults": {"a": 1}}));
        recorded.sum(
            &mut all,
            &json!({"seeds": 4, "from": 3, "faults": {"a": 2, "b": 5}}),
        );
        assert_eq!(all["seeds"], 7);
        assert_eq!(all["until"], 7);
        assert_eq!(all["faults"], json!({"a": 3, "b": 5}));
        assert_eq!(
            recorded.tables(&all),
            "\n| fault | times |\n|---|---:|\n| a | 3 |\n| b | 5 |\n"
        );
    }

    #[test]
    fn numbers_are_told_in_thousands() {
        for (number, told) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(&json!(number)), told);
        }
    }
}
