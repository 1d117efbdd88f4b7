//! The command line, taken apart word by word. Knows no command; an option nobody took is an error.

use std::collections::VecDeque;

use crate::failure::{Failure, Outcome};

/// The words that are not yet understood.
pub(crate) struct Arguments(VecDeque<String>);

impl Arguments {
    pub(crate) fn from_environment() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The next word, when it can be a command's name.
    pub(crate) fn command(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// Whether `--name` is given; it is taken out.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    pub(crate) fn help(&mut self) -> bool {
        self.flag("--help") | self.flag("-h")
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Outcome<Option<String>> {
        let Some(at) = self.0.iter().position(|word| {
            word.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        }) else {
            return Ok(None);
        };
        let word = self.0.remove(at).unwrap_or_default();
        if let Some((_, value)) = word.split_once('=') {
            return Ok(Some(value.to_owned()));
        }
        match self.0.remove(at) {
            Some(value) => Ok(Some(value)),
            None => Err(Failure::usage(
                format!("{name} needs a value"),
                "cargo xtask --help",
            )),
        }
    }

    /// All that is left, for another program to understand.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0.into()
    }

    /// What is left, when none of it looks like an option.
    pub(crate) fn words(self) -> Outcome<Vec<String>> {
        match self.0.iter().find(|word| word.starts_with('-')) {
            Some(unknown) => Err(Failure::usage(
                format!("`{unknown}` is not understood here"),
                "cargo xtask --help",
            )),
            None => Ok(self.0.into()),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Outcome {
        match self.words()?.first() {
            Some(word) => Err(Failure::usage(
                format!("`{word}` is too much here"),
                "cargo xtask --help",
            )),
            None => Ok(()),
        }
    }
}
