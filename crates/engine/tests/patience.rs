//! How long a run waits, by whose clock, and what a person's word changes about it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

use astern_engine::next::UNKNOWN_UNTIL;
use astern_engine::{Command, Graph, Node, Phase, Role, Run, backoff, next};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{EffectKey, Epoch, Seq, StepId};
use astern_model::policy::OnFailure;
use astern_model::record::{Event, Holder, Record, Request};
use astern_model::reversal::Reversal;
use astern_model::step::{After, Before, workload};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

const TRANSIENT: FailureClass = FailureClass::Transient { retry_after_ms: None };

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000 + second)
}

/// A run of steps that write, one after the other.
struct Story {
    graph: Graph,
    run: Run,
}

impl Story {
    fn of(steps: &[&str]) -> Self {
        let nodes = steps.iter().enumerate().map(|(place, step)| Node {
            id: StepId::from(*step),
            after: steps[..place]
                .last()
                .map(|step| StepId::from(*step))
                .into_iter()
                .collect(),
            reversal: Reversal::Exact,
            deadline: SignedDuration::from_secs(60),
            leads: false,
            role: Role::Restores,
        });
        let graph = Graph::new(nodes.collect(), OnFailure::Hold);
        let run = Run::opened(&graph);
        let mut story = Self { graph, run };
        story.taken(0);
        story
    }

    fn write(&mut self, second: i64, event: Event) {
        let seq = self.run.head;
        let epoch = match event {
            Event::Taken { .. } => Some(Epoch(seq.0)),
            Event::Requested { .. } => None,
            _ => self.run.epoch,
        };
        let record = Record {
            seq: Seq(seq.0),
            epoch,
            at: at(second),
            event,
        };
        self.run = self.run.clone().then(&record).unwrap();
    }

    fn taken(&mut self, second: i64) {
        let holder = Holder {
            id: "h".to_owned(),
            user: "u".to_owned(),
            host: "h".to_owned(),
            pid: 1,
        };
        self.write(second, Event::Taken { holder });
    }

    fn intended(&mut self, second: i64, step: &str, attempt: u32) {
        let (step, key) = (StepId::from(step), EffectKey::from("k"));
        let before = Before::Workload(workload::Before::Waiting { since: at(second) });
        self.write(
            second,
            Event::Intended {
                step,
                key,
                attempt,
                before,
            },
        );
    }

    fn applied(&mut self, second: i64, step: &str) {
        let after = After::Workload(workload::After::Deleted { uid: "u".into() });
        let step = StepId::from(step);
        self.write(second, Event::Applied { step, after });
    }

    fn failed(&mut self, second: i64, step: &str) {
        let failure = Failure::new(TRANSIENT, "write", "away");
        let step = StepId::from(step);
        self.write(second, Event::Failed { step, failure });
    }

    fn unsettled(&mut self, second: i64, step: &str) {
        let failure = Failure::new(FailureClass::Unknown, "write", "no answer");
        let step = StepId::from(step);
        self.write(second, Event::Unsettled { step, failure });
    }

    fn asked(&mut self, second: i64, request: Request) {
        let by = "p".to_owned();
        self.write(second, Event::Requested { request, by });
    }

    fn next(&self, second: i64) -> Vec<Command> {
        next(&self.run, &self.graph, &BTreeSet::new(), at(second))
    }
}

fn settle(step: &str) -> Vec<Command> {
    let step = StepId::from(step);
    vec![Command::Settle { step }]
}

#[test]
fn an_unknown_outcome_is_observed_for_its_whole_time_however_long_the_step_was_tried_before() {
    let mut story = Story::of(&["a"]);
    let whole = UNKNOWN_UNTIL.as_secs();
    story.intended(0, "a", 1);
    story.failed(1, "a");
    let late = whole - 20;
    story.intended(late, "a", 2);
    story.unsettled(late + 1, "a");
    let mut second = late + 1;
    while second + 30 < late + 1 + whole {
        assert_eq!(story.next(second + 20), settle("a"), "after {second}");
        second += 30;
        story.unsettled(second, "a");
    }
    let given_up = story.next(late + whole + 2);
    assert!(
        matches!(given_up[..], [Command::Append(Event::Held { .. })]),
        "{given_up:?}"
    );
}

#[test]
fn a_clock_that_is_set_meanwhile_ends_no_observation_and_prolongs_none() {
    for jump in [3600, -3600] {
        let mut story = Story::of(&["a"]);
        story.intended(0, "a", 1);
        story.unsettled(1, "a");
        assert_eq!(story.next(12), settle("a"));
        story.unsettled(jump + 12, "a");
        assert_eq!(story.next(jump + 30), settle("a"), "{jump}");
        let mut second = jump + 12;
        while second < jump + UNKNOWN_UNTIL.as_secs() {
            second += 30;
            story.unsettled(second, "a");
        }
        let given_up = story.next(second + 2);
        assert!(
            matches!(given_up[..], [Command::Append(Event::Held { .. })]),
            "{jump}: {given_up:?}"
        );
    }
}

#[test]
fn a_holder_whose_clock_is_behind_waits_no_longer_than_the_one_before() {
    let mut story = Story::of(&["a", "b"]);
    let behind = -3600;
    story.failed(1, "a");
    story.taken(behind);
    let soon = behind + 1 + backoff::LONGEST.as_secs();
    let retried = story.next(soon);
    assert!(matches!(retried[..], [Command::Prepare { .. }]), "{retried:?}");

    let mut story = Story::of(&["a", "b"]);
    story.intended(0, "a", 1);
    story.unsettled(1, "a");
    story.taken(behind);
    assert_eq!(story.next(soon), settle("a"));
}

#[test]
fn the_clock_of_whoever_made_a_request_moves_no_deadline() {
    let mut story = Story::of(&["a"]);
    story.intended(0, "a", 1);
    story.unsettled(1, "a");
    story.asked(9000, Request::Pause);
    story.taken(20);
    story.write(21, Event::Resumed { by: "p".to_owned() });
    assert_eq!(story.next(40), settle("a"));
}

#[test]
fn resuming_voids_a_request_that_nobody_acted_on_and_keeps_the_direction() {
    let resumed = || Event::Resumed { by: "p".to_owned() };
    let mut story = Story::of(&["a"]);
    story.asked(1, Request::Abort);
    story.taken(2);
    story.write(3, resumed());
    assert_eq!(story.run.request, None);
    let goes_on = story.next(4);
    assert!(matches!(goes_on[..], [Command::Prepare { .. }]), "{goes_on:?}");

    let mut story = Story::of(&["a"]);
    story.intended(1, "a", 1);
    story.applied(2, "a");
    let why = "it failed".to_owned();
    story.write(3, Event::Unwinding { why });
    story.asked(4, Request::Pause);
    story.taken(5);
    story.write(6, resumed());
    assert!(
        matches!(story.run.phase, Phase::Unwinding { .. }),
        "{:?}",
        story.run.phase
    );
}

#[test]
fn a_pause_holds_a_run_that_is_taken_back_once_what_is_open_is_settled() {
    let mut story = Story::of(&["a", "b"]);
    for (second, step) in [(1, "a"), (3, "b")] {
        story.intended(second, step, 1);
        story.applied(second + 1, step);
    }
    let why = "it failed".to_owned();
    story.write(5, Event::Unwinding { why });
    let (step, key) = (StepId::from("b"), EffectKey::from("k"));
    let attempt = 1;
    story.write(6, Event::ReverseIntended { step, key, attempt });
    story.asked(7, Request::Pause);
    let step = StepId::from("b");
    assert_eq!(story.next(8), [Command::SettleReverse { step }]);
    let after = After::Workload(workload::After::Deleted { uid: "u".into() });
    let step = StepId::from("b");
    story.write(9, Event::Reversed { step, after });
    let held = story.next(10);
    let [Command::Append(event)] = &held[..] else {
        panic!("{held:?}")
    };
    story.write(11, event.clone());
    assert!(matches!(story.run.phase, Phase::Held { unwinding: true, .. }));
    story.taken(12);
    story.write(13, Event::Resumed { by: "p".to_owned() });
    let goes_on = story.next(14);
    assert!(
        matches!(&goes_on[..], [Command::PrepareReverse { step, .. }] if step.as_str() == "a"),
        "{goes_on:?}"
    );
}
