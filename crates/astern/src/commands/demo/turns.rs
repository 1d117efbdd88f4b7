//! What a person types in one story of the demo and in no other.

use std::time::Duration;

/// One turn of a story.
pub(super) enum Turn {
    /// What comes next.
    Heading(&'static str),
    /// What a person who watches should know.
    Says(&'static str),
    /// A command.
    Types(&'static [&'static str]),
    /// A command that asks for a yes.
    Approves(&'static [&'static str]),
}

/// A story's own turns.
#[derive(Default)]
pub(super) struct Turns {
    /// How much longer than usual the story waits until what is wrong can be seen.
    pub(super) waits: Duration,
    /// Before production is taken back.
    pub(super) before: &'static [Turn],
    /// What stands behind `rollback`.
    pub(super) to: &'static [&'static str],
    /// Once it was taken back.
    pub(super) after: &'static [Turn],
}

/// The turns of a scenario; none for most.
pub(super) fn of(scenario: &str) -> Turns {
    match scenario {
        "partial-rollback" => PARTIAL_ROLLBACK,
        "gitops-owner" => GITOPS_OWNER,
        _ => Turns::default(),
    }
}

const PARTIAL_ROLLBACK: Turns = Turns {
    // The crash is gone with the service that was taken back; lines of a log are counted over a while.
    waits: Duration::from_secs(15),
    before: &[
        Turn::Heading("which service stands on which release"),
        Turn::Types(&["status", "--release"]),
        Turn::Heading("what takes every service onto one release, whole templates"),
        Turn::Types(&["plan", "--to", super::GOOD]),
    ],
    to: &["--to", super::GOOD],
    after: &[
        Turn::Heading("every service stands on one release"),
        Turn::Types(&["status", "--release"]),
    ],
};

const GITOPS_OWNER: Turns = Turns {
    waits: Duration::ZERO,
    before: &[],
    to: &[],
    after: &[
        Turn::Heading("Argo CD stays paused until Git says what runs"),
        Turn::Types(&["owners"]),
        Turn::Says(
            "Now the good version goes into Git. There is none here to push to, so this is not run:\n\n\
             $ astern writeback --push\n\n\
             It would push a branch with the change and write the text of a pull request, which somebody merges.",
        ),
        Turn::Heading("once that is merged, Argo CD goes on"),
        Turn::Says(
            "No controller of Argo CD runs here that would compare with Git, so a person says that Git is what runs: --source-matches.",
        ),
        Turn::Approves(&[
            "owners",
            "resume",
            "vcci-scope3",
            "--source-matches",
            "vcci-scope3",
            "--reason",
            "the revert is merged",
        ]),
        Turn::Types(&["owners"]),
    ],
};
