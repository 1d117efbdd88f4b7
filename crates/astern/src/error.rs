//! One place that turns every failure into what a person reads: what happened, why, and what to type next; and into
//! the exit code that a script branches on.

use astern_app::drift::DriftError;
use astern_app::ledger::LedgerError;
use astern_app::planning::{self, NoPlan};
use astern_app::running::RunError;
use astern_app::writeback::WriteBackError;
use astern_exec::book::BookError;
use astern_exec::driver::ExecError;
use astern_kubernetes::connect::ConnectError;
use astern_model::choice::clock;
use astern_model::id::RunId;
use astern_port::Failure;
use astern_port::source::SourceError;
use astern_rehearsal::RehearsalError;
use std::error::Error;
use std::process::ExitCode;

/// The exit codes. Documented in `--help`; scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done and validated.
    Done = 0,
    /// Wrong input or configuration; nothing was changed.
    Input = 1,
    /// Wrong usage.
    Usage = 2,
    /// Refused; nothing was changed.
    Refused = 3,
    /// Unwound; the world is as before.
    Unwound = 4,
    /// Done, but the validation failed.
    NotValidated = 5,
    /// Held or stuck; a person is needed.
    NeedsPerson = 6,
    /// What runs is not what the release holds.
    Drift = 7,
    /// Interrupted; resumable.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure as it is printed.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What a script learns.
    pub(crate) exit: Exit,
    /// The page in docs/errors, if there is one.
    pub(crate) code: Option<String>,
    /// What happened, one sentence.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// Lines that show it, printed as they are.
    pub(crate) shown: Vec<String>,
    /// What to type next.
    pub(crate) hints: Vec<String>,
}

impl CliError {
    /// Wrong input; nothing was changed.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::Input, message)
    }

    /// Any failure.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: None,
            message: message.into(),
            causes: Vec::new(),
            shown: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The same with something to type next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with a cause.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// The same with its page's code.
    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with the whole chain of `error`'s sources as causes.
    pub(crate) fn chain(mut self, error: &dyn Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            self.causes.push(cause.to_string());
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                self.hints.extend(failure.hint.clone());
                self.shown.extend(failure.evidence.iter().cloned());
            }
            source = cause.source();
        }
        self
    }

    /// The text for standard error.
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        let code = self
            .code
            .as_ref()
            .map(|code| format!("[{code}] "))
            .unwrap_or_default();
        lines.push(format!("error: {code}{}", self.message));
        match self.causes.as_slice() {
            [] => {}
            [only] => lines.push(format!("cause: {only}")),
            several => lines.extend(
                several
                    .iter()
                    .enumerate()
                    .map(|(place, cause)| format!("cause {}: {cause}", place + 1)),
            ),
        }
        lines.extend(self.shown.iter().map(|line| format!("  {line}")));
        if !self.hints.is_empty() {
            lines.push(String::new());
            lines.extend(self.hints.iter().map(|hint| format!("hint: {hint}")));
        }
        lines.join("\n")
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let mut error = Self::input(failure.to_string());
        error.hints.extend(failure.hint.clone());
        error.shown = failure.evidence;
        error
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        Self::input(error.to_string()).chain(&error).hint(error.hint())
    }
}

impl From<BookError> for CliError {
    fn from(error: BookError) -> Self {
        let converted = Self::input(error.to_string()).chain(&error);
        match &error {
            BookError::NoSuchRun { .. } => converted
                .code("AST0401")
                .hint("astern runs   lists the runs that this journal knows"),
            error if error.is_damaged() => Self {
                exit: Exit::NeedsPerson,
                ..converted
            }
            .code("AST0402")
            .hint("nothing was changed now; `astern status` says how the workloads stand")
            .hint("the run cannot be resumed from this journal: start a new rollback once you have looked"),
            BookError::NotApproved { .. } => converted.code("AST0403").hint("start a new rollback"),
            BookError::Damaged { .. } | BookError::Illegal { .. } | BookError::Store { .. } => converted,
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        match error {
            RunError::Book(error) => error.into(),
            RunError::Exec(error) => error.into(),
            RunError::NotApproved(source) => Self::new(Exit::Refused, message)
                .cause(source.to_string())
                .code(source.code())
                .hint(source.hint()),
            RunError::Rejected { run, rejected } => {
                let mut error = Self::new(Exit::NeedsPerson, message);
                error.shown = astern_report::findings_text(&rejected.findings)
                    .lines()
                    .map(str::to_owned)
                    .collect();
                error.hint(format!("astern abort {run}   takes back what was done"))
            }
            RunError::Over { run, .. } => Self::input(message)
                .code("AST0404")
                .hint(format!("astern report {run}"))
                .hint(format!("astern undo {run}   takes it back")),
            RunError::Alive { run, .. } => Self::new(Exit::Refused, message)
                .code("AST0405")
                .hint(format!("astern attach {run}   shows it"))
                .hint(format!("astern abort {run}    asks it to take back what it did")),
            RunError::Look(failure) => failure.into(),
            RunError::Request { source, .. } => Self::input(message).cause(source.to_string()),
        }
    }
}

impl From<DriftError> for CliError {
    fn from(error: DriftError) -> Self {
        let message = error.to_string();
        match error {
            DriftError::Unknown { name, known } => LedgerError::Unknown { name, known }.into(),
            DriftError::NoneGood { known } => {
                let error = Self::input(message).code("AST0511");
                match known.first() {
                    None => error.hint("astern releases record --version VERSION --good --reason TEXT   records what runs now"),
                    Some(newest) => error
                        .hint(format!("astern drift {newest}   compares with that one all the same"))
                        .hint(format!("astern releases mark good {newest} --reason TEXT")),
                }
            }
            DriftError::Failed(failure) => failure.into(),
        }
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        let message = error.to_string();
        match error {
            LedgerError::Exists { name } => Self::new(Exit::Refused, message)
                .code("AST0501")
                .hint(format!("astern releases show {name}"))
                .hint("record this one under a name of its own: each deployment is a release"),
            LedgerError::Unknown { known, .. } => {
                let error = Self::input(message).code("AST0502");
                match known.as_slice() {
                    [] => error.hint("astern releases record --version VERSION   records what runs now"),
                    [newest, ..] => error.hint(format!(
                        "astern releases   lists the {} that it holds; the newest is {newest}",
                        known.len()
                    )),
                }
            }
            LedgerError::Conflict { .. } => Self::new(Exit::Refused, message)
                .code("AST0504")
                .hint("type the same command again"),
            LedgerError::Empty { .. } => Self::input(message)
                .code("AST0505")
                .hint("astern status   lists the workloads; -n names another namespace"),
            LedgerError::Partial { unread } => {
                let mut error = Self::new(Exit::Refused, message).code("AST0506");
                error.shown = unread;
                error.hint("docs/rbac.yaml holds the rights that astern needs")
            }
            LedgerError::WrongCluster { .. } => Self::new(Exit::Refused, message)
                .code("AST0411")
                .hint("choose the right context with --context, or correct spec.cluster.uid in astern.yaml"),
            LedgerError::Store(failure) => failure.into(),
        }
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let code = error.code.as_str();
        Self {
            exit: Exit::Refused,
            ..Self::from(error.failure)
        }
        .code(code)
    }
}

impl From<WriteBackError> for CliError {
    fn from(error: WriteBackError) -> Self {
        match error {
            WriteBackError::Source(error) => error.into(),
            WriteBackError::Failed(failure) => failure.into(),
        }
    }
}

impl From<RehearsalError> for CliError {
    fn from(error: RehearsalError) -> Self {
        match error {
            RehearsalError::Run(error) => error.into(),
            error => Self::input(error.to_string()).chain(&error),
        }
    }
}

impl From<ExecError> for CliError {
    fn from(error: ExecError) -> Self {
        let converted = Self::new(Exit::NeedsPerson, error.to_string()).chain(&error);
        match &error {
            ExecError::Busy { holding, .. } => Self {
                exit: Exit::Refused,
                ..converted
            }
            .code("AST0406")
            .hint(format!("astern attach {}   shows it", holding.run))
            .hint(format!(
                "astern resume {}   takes it over once its runner is gone",
                holding.run
            )),
            ExecError::RunOpen { open, phase, .. } => run_open(open, &planning::stands(phase)),
            ExecError::Lock(_) => Self {
                exit: Exit::Refused,
                ..converted
            }
            .code("AST0407"),
            ExecError::LockLost { run, .. } => converted
                .code("AST0407")
                .hint(format!(
                    "astern attach {run}   shows whether somebody goes on with it"
                ))
                .hint(format!("astern resume {run}   goes on where nobody does")),
            ExecError::NotBegun { .. } => Self {
                exit: Exit::Input,
                ..converted
            }
            .code("AST0409")
            .hint("start it again once the journal can be written"),
            ExecError::Superseded { run, .. } => converted
                .code("AST0408")
                .hint(format!("astern attach {run}   shows how it goes on")),
            ExecError::Journal { run, .. } => converted
                .code("AST0409")
                .hint("no effect was begun without a durable intent; what had begun is settled on resume")
                .hint(format!(
                    "astern resume {run}   once the journal can be written again"
                )),
            ExecError::Book(_) => converted,
        }
    }
}

/// Another run of the namespace stands in the way.
fn run_open(run: &RunId, stands: &str) -> CliError {
    CliError::new(Exit::Refused, format!("run {run} is not over: {stands}"))
        .code("AST0410")
        .hint(format!("astern attach {run}   shows it"))
        .hint(format!("astern resume {run}   goes on with it"))
        .hint(format!("astern abort {run}    takes back what it did"))
}

/// What a plan that was not made means. Refusals are printed by the caller; this is the rest.
pub(crate) fn no_plan(no_plan: NoPlan) -> CliError {
    match no_plan {
        NoPlan::Refused(refusal) => {
            let mut error = CliError::new(Exit::Refused, refusal.summary.clone()).code(refusal.code.clone());
            // Its first line is the summary.
            error.shown = astern_report::refusal_text(&refusal)
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect();
            error
        }
        NoPlan::Rejected(rejected) => {
            let mut error = CliError::new(
                Exit::Refused,
                "the gate does not let this plan pass; nothing was changed",
            );
            error.shown = astern_report::findings_text(&rejected.findings)
                .lines()
                .map(str::to_owned)
                .collect();
            error
        }
        NoPlan::RunOpen { run, stands } => run_open(&run, &stands),
        NoPlan::WrongCluster { expected, found } => LedgerError::WrongCluster { expected, found }.into(),
        NoPlan::UnknownRelease(name, known) => LedgerError::Unknown { name, known }.into(),
        NoPlan::BadRelease(name, word) => CliError::new(
            Exit::Refused,
            format!("release {name} is bad, and nothing goes back to it; nothing was changed"),
        )
        .code("AST0503")
        .cause(format!("{} (by {}, {})", word.reason, word.by, clock(word.at)))
        .hint(format!(
            "astern releases mark good {name} --reason TEXT   takes that word back"
        ))
        .hint("astern releases   lists the others"),
        NoPlan::Unknown(names) => {
            let mut error = CliError::input("these workloads do not exist").code("AST0412");
            for (name, near) in names {
                let near = if near.is_empty() {
                    "no name is near it".to_owned()
                } else {
                    format!("did you mean {}?", near.join(" or "))
                };
                error.shown.push(format!("{name}: {near}"));
            }
            error.hint("astern status   lists the workloads of the namespace")
        }
        NoPlan::Failed(failure) => failure.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::id::RunId;
    use astern_port::FailureClass;

    #[test]
    fn what_was_never_begun_needs_no_person_and_what_was_left_does() {
        let source = || Failure::new(FailureClass::Refused, "write the journal", "the disk is full");
        let run = || RunId::from("r1");
        let check = |error: ExecError, exit: Exit, code: &str| {
            let told = CliError::from(error);
            assert_eq!((told.exit, told.code.as_deref()), (exit, Some(code)));
        };
        check(ExecError::Lock(source()), Exit::Refused, "AST0407");
        let (run, source) = (run(), source());
        let not_begun = ExecError::NotBegun {
            run: run.clone(),
            source: source.clone(),
        };
        check(not_begun, Exit::Input, "AST0409");
        let lost = ExecError::LockLost {
            run: run.clone(),
            source: source.clone(),
        };
        check(lost, Exit::NeedsPerson, "AST0407");
        check(ExecError::Journal { run, source }, Exit::NeedsPerson, "AST0409");
    }
}
