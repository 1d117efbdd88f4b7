//! What is to be done next. Returns commands; performs none.

use crate::backoff;
use crate::fold::{Phase, Run};
use crate::graph::{Graph, Node, Role};
use crate::status::{Attempt, Failing, Status, retryable};
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::StepId;
use astern_model::policy::OnFailure;
use astern_model::record::{Event, Outcome, Request};
use astern_model::reversal::Reversal;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// What the driver can be asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Read what is there and check the pins; then append the intent.
    Prepare {
        /// Which step.
        step: StepId,
        /// The attempt's number.
        attempt: u32,
    },
    /// Carry the step out: its intent is durable.
    Apply {
        /// Which step.
        step: StepId,
        /// When its deadline passes.
        until: Timestamp,
    },
    /// Find out whether the effect is there.
    Settle {
        /// Which step.
        step: StepId,
    },
    /// Append the intent to take the step back.
    PrepareReverse {
        /// Which step.
        step: StepId,
        /// The attempt's number.
        attempt: u32,
    },
    /// Take the step back: the intent is durable.
    Reverse {
        /// Which step.
        step: StepId,
        /// When its deadline passes.
        until: Timestamp,
    },
    /// Find out whether the step is taken back.
    SettleReverse {
        /// Which step.
        step: StepId,
    },
    /// Append this event.
    Append(Event),
    /// Judge whether it is over, over the soak window.
    Judge,
    /// Ask again at this time, or as soon as something comes in.
    WaitUntil(Timestamp),
}

/// How long taking a step back may take: one write, with room for an API server that is slow on a bad night.
pub const REVERSE_DEADLINE: SignedDuration = SignedDuration::from_mins(2);
/// How long an unknown outcome is observed before a person is asked. An API server's upgrade takes minutes.
pub const UNKNOWN_UNTIL: SignedDuration = SignedDuration::from_mins(5);

/// What to do now. `in_flight` names the steps on which the driver is at work; nothing is commanded for them.
///
/// An empty answer means: wait for what is in flight, or, with nothing in flight, the run rests (held or finished).
pub fn next(run: &Run, graph: &Graph, in_flight: &BTreeSet<StepId>, now: Timestamp) -> Vec<Command> {
    let view = View {
        run,
        graph,
        in_flight,
        now,
    };
    match &run.phase {
        Phase::Finished(_) | Phase::Held { .. } => Vec::new(),
        Phase::Running => view.forward(),
        Phase::Unwinding { why } => view.back(why),
    }
}

struct View<'a> {
    run: &'a Run,
    graph: &'a Graph,
    in_flight: &'a BTreeSet<StepId>,
    now: Timestamp,
}

impl View<'_> {
    fn forward(&self) -> Vec<Command> {
        if let Some(stop) = self.stop() {
            return self.quiesce(stop);
        }
        let mut commands: Vec<Command> = self
            .graph
            .nodes
            .iter()
            .filter_map(|node| self.advance(node))
            .collect();
        let all_done = self
            .graph
            .nodes
            .iter()
            .all(|node| matches!(self.run.status(&node.id), Status::Done { .. }));
        let early = |node: &Node| matches!(self.run.status(&node.id), Status::Done { .. });
        if all_done || planted(Defect::RestoredTooEarly) && self.graph.nodes.iter().any(early) {
            commands.extend(self.conclude());
        }
        commands
    }

    /// Why nothing new may start, if anything says so, and what then follows.
    fn stop(&self) -> Option<Event> {
        if let Some((request, by)) = &self.run.request {
            return Some(match request {
                Request::Pause => Event::Held {
                    why: format!("paused by {by}"),
                },
                Request::Abort => Event::Unwinding {
                    why: format!("aborted by {by}"),
                },
            });
        }
        self.graph
            .nodes
            .iter()
            .find_map(|node| match self.run.status(&node.id) {
                Status::Failed(failing) if self.gives_up(failing) => {
                    Some(self.after_failure(node, &failing.failure))
                }
                Status::Unsettled(attempt, failure) if self.unknown_too_long(attempt) => Some(Event::Held {
                    why: unknown(node, failure),
                }),
                _ => None,
            })
    }

    fn after_failure(&self, node: &Node, failure: &Failure) -> Event {
        let why = format!("step {} failed: {failure}", node.id);
        let restored = self
            .graph
            .nodes
            .iter()
            .any(|node| node.role == Role::Restores && self.run.status(&node.id).may_have_effect());
        if restored && self.graph.on_failure == OnFailure::Hold {
            Event::Held { why }
        } else {
            Event::Unwinding { why }
        }
    }

    /// Nothing new starts; what may have an effect is settled first; then `event` is appended.
    fn quiesce(&self, event: Event) -> Vec<Command> {
        let settling: Vec<Command> = self
            .graph
            .nodes
            .iter()
            .filter_map(|node| self.settle(node, self.run.status(&node.id)))
            .collect();
        if settling.is_empty() && self.in_flight.is_empty() {
            vec![Command::Append(event)]
        } else {
            settling
        }
    }

    /// The settling of one step, where its outcome is open and may still become known.
    fn settle(&self, node: &Node, status: &Status) -> Option<Command> {
        if self.in_flight.contains(&node.id) || node.role == Role::Observes {
            return None;
        }
        match status {
            Status::Intended(_) => Some(Command::Settle {
                step: node.id.clone(),
            }),
            Status::Unsettled(attempt, _) if self.unknown_too_long(attempt) => None,
            Status::Unsettled(attempt, failure) => {
                Some(self.later(node, attempt, failure, |step| Command::Settle { step }))
            }
            _ => None,
        }
    }

    fn advance(&self, node: &Node) -> Option<Command> {
        if self.in_flight.contains(&node.id) {
            return None;
        }
        let step = node.id.clone();
        match self.run.status(&node.id) {
            Status::Pending if self.ready(node) => Some(Command::Prepare { step, attempt: 1 }),
            Status::Intended(attempt)
                if Some(attempt.epoch) == self.run.epoch
                    || node.role == Role::Observes
                    || planted(Defect::RepeatAfterTakeover) =>
            {
                let from = if node.role == Role::Observes {
                    attempt.since
                } else {
                    attempt.at
                };
                Some(Command::Apply {
                    step,
                    until: plus(from, node.deadline),
                })
            }
            Status::Intended(_) => Some(Command::Settle { step }),
            Status::Unsettled(attempt, failure) => {
                Some(self.later(node, attempt, failure, |step| Command::Settle { step }))
            }
            Status::Failed(failing) => {
                let due = plus(
                    failing.at,
                    backoff::pause(failing.attempts, node.id.as_str(), &failing.failure),
                );
                Some(if due > self.now {
                    Command::WaitUntil(due)
                } else {
                    Command::Prepare {
                        step,
                        attempt: failing.attempts + 1,
                    }
                })
            }
            _ => None,
        }
    }

    fn ready(&self, node: &Node) -> bool {
        if planted(Defect::IgnoreOrder) {
            return true;
        }
        let leads = |id| planted(Defect::ReadersFirst) && self.graph.node(id).is_some_and(|node| node.leads);
        node.after
            .iter()
            .all(|id| matches!(self.run.status(id), Status::Done { .. }) || leads(id))
    }

    fn conclude(&self) -> Option<Command> {
        if self.run.restored_at.is_none() {
            return Some(Command::Append(Event::Restored));
        }
        if self.run.verdict.is_none() {
            return Some(Command::Judge);
        }
        Some(Command::Append(Event::Finished {
            outcome: Outcome::Restored,
        }))
    }

    fn back(&self, why: &str) -> Vec<Command> {
        // An abort is what is being done already.
        if let Some((Request::Pause, by)) = &self.run.request {
            return self.pause_unwinding(by);
        }
        let clear: Vec<bool> = self.graph.nodes.iter().map(|node| self.is_clear(node)).collect();
        if clear.iter().all(|clear| *clear) {
            let outcome = Outcome::Unwound { why: why.to_owned() };
            return if self.in_flight.is_empty() {
                vec![Command::Append(Event::Finished { outcome })]
            } else {
                Vec::new()
            };
        }
        let dependents = self.graph.dependents();
        let mut commands = Vec::new();
        // A step that only looked stands between two that wrote: what came after it goes first all the same.
        let mut gone = vec![false; clear.len()];
        for place in self.graph.backwards() {
            gone[place] = clear[place] && dependents[place].iter().all(|dependent| gone[*dependent]);
        }
        for (place, node) in self.graph.nodes.iter().enumerate() {
            let last = dependents[place].iter().all(|dependent| gone[*dependent]);
            let free = !clear[place] && (last || planted(Defect::IgnoreReverseOrder));
            if free && !self.in_flight.contains(&node.id) {
                commands.extend(self.take_back(node));
            }
        }
        // What can still be taken back is, before the run stops for what cannot.
        let stuck = |command: &Command| matches!(command, Command::Append(_));
        let (mut stops, goes_on): (Vec<Command>, Vec<Command>) = commands.into_iter().partition(stuck);
        if goes_on.is_empty() && self.in_flight.is_empty() && !stops.is_empty() {
            return vec![stops.swap_remove(0)];
        }
        goes_on
    }

    /// Nothing more is taken back; what may be is settled first.
    fn pause_unwinding(&self, by: &str) -> Vec<Command> {
        let free = self
            .graph
            .nodes
            .iter()
            .filter(|node| !self.in_flight.contains(&node.id));
        let settling: Vec<Command> = free
            .filter(|node| node.role != Role::Observes)
            .filter_map(|node| match self.run.status(&node.id) {
                Status::Reversing(_) => Some(Command::SettleReverse {
                    step: node.id.clone(),
                }),
                Status::Intended(_) | Status::Unsettled(..) | Status::ReverseUnsettled(..) => self
                    .take_back(node)
                    .filter(|command| !matches!(command, Command::Append(_))),
                _ => None,
            })
            .collect();
        if settling.is_empty() && self.in_flight.is_empty() {
            let why = format!("paused by {by}");
            vec![Command::Append(Event::Held { why })]
        } else {
            settling
        }
    }

    /// Whether nothing of the step is in the world, or it only looked.
    fn is_clear(&self, node: &Node) -> bool {
        match self.run.status(&node.id) {
            Status::Pending | Status::Failed(_) | Status::Reversed => true,
            Status::Unsettled(..) | Status::Intended(_) if planted(Defect::UnwindTooLittle) => true,
            _ => node.reversal == Reversal::Nothing && !self.in_flight.contains(&node.id),
        }
    }

    fn take_back(&self, node: &Node) -> Option<Command> {
        let step = node.id.clone();
        match self.run.status(&node.id) {
            Status::Done { .. } => Some(match &node.reversal {
                Reversal::Exact | Reversal::Compensate { .. } => Command::PrepareReverse { step, attempt: 1 },
                Reversal::PointOfNoReturn { lost } => {
                    stuck(node, &format!("it cannot be taken back: {lost}"))
                }
                Reversal::Nothing => return None,
            }),
            Status::Intended(_) => Some(Command::Settle { step }),
            Status::Unsettled(attempt, failure) => Some(if self.unknown_too_long(attempt) {
                stuck(node, &unknown(node, failure))
            } else {
                self.later(node, attempt, failure, |step| Command::Settle { step })
            }),
            Status::Reversing(attempt) if Some(attempt.epoch) == self.run.epoch => Some(Command::Reverse {
                step,
                until: plus(attempt.at, REVERSE_DEADLINE),
            }),
            Status::Reversing(_) => Some(Command::SettleReverse { step }),
            Status::ReverseUnsettled(attempt, failure) => Some(if self.unknown_too_long(attempt) {
                stuck(node, &unknown(node, failure))
            } else {
                self.later(node, attempt, failure, |step| Command::SettleReverse { step })
            }),
            Status::ReverseFailed(attempt, failure) => Some(self.reverse_again(node, attempt, failure)),
            Status::Pending | Status::Failed(_) | Status::Reversed => None,
        }
    }

    fn reverse_again(&self, node: &Node, attempt: &Attempt, failure: &Failure) -> Command {
        let why = format!("step {} could not be taken back: {failure}", node.id);
        match failure.class {
            FailureClass::Transient { .. }
                if self.now.duration_since(attempt.since) > backoff::GIVE_UP_AFTER =>
            {
                return Command::Append(Event::Held { why });
            }
            FailureClass::Conflict if attempt.number < backoff::LOST_RACES => {}
            FailureClass::Transient { .. } => {}
            FailureClass::Conflict
            | FailureClass::Refused
            | FailureClass::Permanent
            | FailureClass::Unknown => {
                return stuck(node, &why);
            }
        }
        let number = attempt.number + 1;
        self.later(node, attempt, failure, |step| Command::PrepareReverse {
            step,
            attempt: number,
        })
    }

    /// `then`, once the pause after the last record about the attempt is over.
    fn later(
        &self,
        node: &Node,
        attempt: &Attempt,
        failure: &Failure,
        then: impl Fn(StepId) -> Command,
    ) -> Command {
        let pause = backoff::pause(attempt.number, node.id.as_str(), failure);
        let due = plus(
            attempt.at,
            pause.max(backoff::slower(attempt.open_for(attempt.at))),
        );
        if due > self.now {
            Command::WaitUntil(due)
        } else {
            then(node.id.clone())
        }
    }

    fn gives_up(&self, failing: &Failing) -> bool {
        if !retryable(&failing.failure, failing.intended) {
            return true;
        }
        let lost_too_often = matches!(
            failing.failure.class,
            astern_model::failure::FailureClass::Conflict
        ) && failing.attempts >= backoff::LOST_RACES;
        lost_too_often || self.now.duration_since(failing.failing_since) > backoff::GIVE_UP_AFTER
    }

    fn unknown_too_long(&self, attempt: &Attempt) -> bool {
        attempt.open_for(self.now) > UNKNOWN_UNTIL
    }
}

fn stuck(node: &Node, why: &str) -> Command {
    let outcome = Outcome::Stuck {
        step: node.id.clone(),
        why: why.to_owned(),
    };
    Command::Append(Event::Finished { outcome })
}

fn unknown(node: &Node, failure: &Failure) -> String {
    format!(
        "whether step {} took effect could not be found out: {failure}",
        node.id
    )
}

fn plus(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}
