//! How a suite came out: one line a case. Decides nothing about the cases.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// How long one case may take: the largest does some hundred round trips to a slow API server.
const CASE_LIMIT: Duration = Duration::from_secs(180);

/// Why a case did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The backend broke its promise.
    Promise(String),
    /// This backend cannot be tested so.
    Untestable(String),
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        Self::Promise(why)
    }
}

impl From<&str> for Broken {
    fn from(why: &str) -> Self {
        Self::Promise(why.to_owned())
    }
}

/// Every case of a suite with how it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    suite: &'static str,
    cases: Vec<(&'static str, Result<(), Broken>)>,
}

impl Report {
    pub(crate) fn new(suite: &'static str) -> Self {
        Self {
            suite,
            cases: Vec::new(),
        }
    }

    pub(crate) async fn add(&mut self, case: &'static str, run: impl Future<Output = Result<(), Broken>>) {
        let late = || {
            Err(Broken::Promise(format!(
                "it did not end within {} s",
                CASE_LIMIT.as_secs()
            )))
        };
        let outcome = tokio::time::timeout(CASE_LIMIT, run)
            .await
            .unwrap_or_else(|_| late());
        self.cases.push((case, outcome));
    }

    /// The cases that did not hold.
    pub fn broken(&self) -> Vec<&'static str> {
        let is_broken = |outcome: &Result<(), Broken>| matches!(outcome, Err(Broken::Promise(_)));
        self.cases
            .iter()
            .filter(|(_, outcome)| is_broken(outcome))
            .map(|(case, _)| *case)
            .collect()
    }

    /// Ends a test.
    ///
    /// # Panics
    /// With the whole report when a case did not hold.
    pub fn assert_holds(&self) {
        assert!(self.broken().is_empty(), "\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, outcome) in &self.cases {
            let case = case.replace('_', " ");
            match outcome {
                Ok(()) => writeln!(f, "{}: holds: {case}", self.suite)?,
                Err(Broken::Untestable(why)) => writeln!(f, "{}: not tested: {case}: {why}", self.suite)?,
                Err(Broken::Promise(why)) => writeln!(f, "{}: BROKEN: {case}: {why}", self.suite)?,
            }
        }
        Ok(())
    }
}

/// Holds when both are equal; otherwise says what was looked at and both.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), Broken> {
    if found == wanted {
        return Ok(());
    }
    Err(Broken::Promise(format!(
        "{what}: found {found:?}, wanted {wanted:?}"
    )))
}

/// As [`equal`] for long bytes, whose difference is told by length and first place.
pub(crate) fn same_bytes(what: &str, found: &[u8], wanted: &[u8]) -> Result<(), Broken> {
    if found == wanted {
        return Ok(());
    }
    let place = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let (found, wanted) = (found.len(), wanted.len());
    Err(Broken::Promise(format!(
        "{what}: {found} bytes instead of {wanted}, different from byte {place} on"
    )))
}

/// Bytes that do not compress and hold every value, the same for the same `seed`.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut step = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}
