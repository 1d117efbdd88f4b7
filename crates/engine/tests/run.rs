//! Any graph, any order of failures, any number of takeovers: what the engine makes of them. A small world stands
//! behind the commands; the engine sees only what a journal would tell it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

use astern_engine::{Command, Graph, Node, Phase, Role, Run, next};
use astern_model::approval::{Approval, How};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Direction, EffectKey, Epoch, PlanHash, RunId, StepId};
use astern_model::policy::OnFailure;
use astern_model::record::{Event, Holder, Outcome, Record, Request};
use astern_model::reversal::Reversal;
use astern_model::step::{After, Before, workload};
use astern_model::verdict::Verdict;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What the world does with the next thing that is tried.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Works,
    Transient,
    LostRace,
    Permanent,
    /// The effect happens, the answer does not come.
    LostAnswer,
    /// Neither the effect nor an answer.
    LostRequest,
    /// The holder dies here; another takes over.
    Crash,
    Pause,
    Abort,
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        12 => Just(Luck::Works),
        2 => Just(Luck::Transient),
        1 => Just(Luck::LostRace),
        1 => Just(Luck::Permanent),
        2 => Just(Luck::LostAnswer),
        2 => Just(Luck::LostRequest),
        2 => Just(Luck::Crash),
        1 => Just(Luck::Pause),
        1 => Just(Luck::Abort),
    ]
}

fn graph() -> impl Strategy<Value = Graph> {
    let node = (any::<u8>(), 0..4_u8);
    (prop::collection::vec(node, 1..7), any::<bool>()).prop_map(|(shapes, unwind)| {
        let id = |place: usize| StepId(format!("s{place}"));
        let nodes = shapes
            .iter()
            .enumerate()
            .map(|(place, (links, kind))| Node {
                id: id(place),
                after: (0..place)
                    .filter(|before| links & (1 << before) != 0)
                    .map(id)
                    .collect(),
                reversal: if *kind == 0 {
                    Reversal::Nothing
                } else {
                    Reversal::Exact
                },
                deadline: SignedDuration::from_secs(60),
                leads: *kind == 1 && links & ((1 << place) - 1) == 0,
                role: match kind {
                    0 => Role::Observes,
                    1 => Role::Prepares,
                    _ => Role::Restores,
                },
            })
            .collect();
        Graph::new(
            nodes,
            if unwind {
                OnFailure::Unwind
            } else {
                OnFailure::Hold
            },
        )
    })
}

struct World {
    graph: Graph,
    records: Vec<Record>,
    run: Run,
    now: Timestamp,
    luck: Vec<Luck>,
    /// Effects that are in the world.
    there: BTreeSet<StepId>,
    /// How often each effect was put there, since it was last taken away.
    effects: BTreeMap<StepId, u32>,
}

impl World {
    fn new(graph: Graph, luck: Vec<Luck>) -> Self {
        let run = Run::opened(&graph);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut world = Self {
            graph,
            records: Vec::new(),
            run,
            now,
            luck,
            there: BTreeSet::new(),
            effects: BTreeMap::new(),
        };
        let approval = Approval {
            plan: PlanHash::of(b"plan"),
            by: "someone".to_owned(),
            how: How::Yes,
            reason: "test".to_owned(),
            at: now,
            overrides: Vec::new(),
            warnings: Vec::new(),
            found: Vec::new(),
        };
        world.append(Event::Approved {
            run: RunId::from("r1"),
            approval,
        });
        world.take_over();
        world
    }

    fn append(&mut self, event: Event) {
        let seq = self.run.head;
        let epoch = match event {
            Event::Taken { .. } => Some(Epoch(seq.0)),
            Event::Requested { .. } | Event::Approved { .. } => None,
            _ => self.run.epoch,
        };
        let record = Record {
            seq,
            epoch,
            at: self.now,
            event,
        };
        self.run = self
            .run
            .clone()
            .then(&record)
            .expect("the engine asked for a record that cannot follow");
        self.records.push(record);
    }

    fn take_over(&mut self) {
        let holder = Holder {
            id: "h".to_owned(),
            user: "u".to_owned(),
            host: "h".to_owned(),
            pid: 1,
        };
        self.append(Event::Taken { holder });
    }

    fn next_luck(&mut self) -> Luck {
        self.luck.pop().unwrap_or(Luck::Works)
    }

    /// One look at the engine; what it asks for is done one by one, the rest is asked again.
    fn turn(&mut self) -> bool {
        let commands = next(&self.run, &self.graph, &BTreeSet::new(), self.now);
        self.now += SignedDuration::from_millis(50);
        let Some(command) = commands.into_iter().next() else {
            return false;
        };
        self.perform(command);
        true
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::WaitUntil(at) => self.now = self.now.max(at),
            Command::Append(event) => self.append(event),
            Command::Judge => {
                let verdict = Verdict {
                    from: self.now,
                    to: self.now,
                    held_for: SignedDuration::ZERO,
                    items: Vec::new(),
                };
                self.append(Event::Judged { verdict });
            }
            Command::Prepare { step, attempt } => self.prepare(step, attempt),
            Command::Apply { step, .. } => self.attempt(step, Direction::Forward),
            Command::Reverse { step, .. } => self.attempt(step, Direction::Back),
            Command::PrepareReverse { step, attempt } => {
                let key = EffectKey::of(&RunId::from("r1"), &step, Direction::Back);
                self.append(Event::ReverseIntended { step, key, attempt });
            }
            Command::Settle { step } => self.settle(step, Direction::Forward),
            Command::SettleReverse { step } => self.settle(step, Direction::Back),
        }
    }

    fn prepare(&mut self, step: StepId, attempt: u32) {
        match self.next_luck() {
            Luck::Transient => self.append(Event::Failed {
                step,
                failure: failure(TRANSIENT),
            }),
            Luck::Permanent => self.append(Event::Failed {
                step,
                failure: failure(FailureClass::Permanent),
            }),
            Luck::Crash => self.take_over(),
            Luck::Pause => self.append(Event::Requested {
                request: Request::Pause,
                by: "p".to_owned(),
            }),
            Luck::Abort => self.append(Event::Requested {
                request: Request::Abort,
                by: "a".to_owned(),
            }),
            _ => {
                let key = EffectKey::of(&RunId::from("r1"), &step, Direction::Forward);
                let before = Before::Workload(workload::Before::Waiting { since: self.now });
                self.append(Event::Intended {
                    step,
                    key,
                    attempt,
                    before,
                });
            }
        }
    }

    fn attempt(&mut self, step: StepId, direction: Direction) {
        let answer = |world: &mut Self, step: StepId, result: Result<(), FailureClass>| {
            let after = After::Workload(workload::After::Deleted { uid: "u".into() });
            let event = match (direction, result) {
                (Direction::Forward, Ok(())) => Event::Applied { step, after },
                (Direction::Back, Ok(())) => Event::Reversed { step, after },
                (_, Err(FailureClass::Unknown)) => Event::Unsettled {
                    step,
                    failure: failure(FailureClass::Unknown),
                },
                (Direction::Forward, Err(class)) => Event::Failed {
                    step,
                    failure: failure(class),
                },
                (Direction::Back, Err(class)) => Event::ReverseFailed {
                    step,
                    failure: failure(class),
                },
            };
            world.append(event);
        };
        match self.next_luck() {
            Luck::Works | Luck::Pause | Luck::Abort => {
                self.effect(&step, direction);
                answer(self, step, Ok(()));
            }
            Luck::Transient => answer(self, step, Err(TRANSIENT)),
            Luck::LostRace => answer(self, step, Err(FailureClass::Conflict)),
            // A write back onto a healthy object may be refused for good; that run is stuck, and says so.
            Luck::Permanent => answer(self, step, Err(FailureClass::Permanent)),
            Luck::LostAnswer => {
                self.effect(&step, direction);
                answer(self, step, Err(FailureClass::Unknown));
            }
            Luck::LostRequest => answer(self, step, Err(FailureClass::Unknown)),
            Luck::Crash => {
                // Died after the effect, before the result was written.
                self.effect(&step, direction);
                self.take_over();
            }
        }
    }

    fn settle(&mut self, step: StepId, direction: Direction) {
        let there = self.there.contains(&step);
        let after = After::Workload(workload::After::Deleted { uid: "u".into() });
        let not_there = failure(TRANSIENT);
        let event = match (direction, there) {
            (Direction::Forward, true) => Event::Applied { step, after },
            (Direction::Forward, false) => Event::Failed {
                step,
                failure: not_there,
            },
            (Direction::Back, false) => Event::Reversed { step, after },
            (Direction::Back, true) => Event::ReverseFailed {
                step,
                failure: not_there,
            },
        };
        self.append(event);
    }

    fn effect(&mut self, step: &StepId, direction: Direction) {
        match direction {
            Direction::Forward => {
                self.there.insert(step.clone());
                *self.effects.entry(step.clone()).or_default() += 1;
            }
            Direction::Back => {
                self.there.remove(step);
                self.effects.remove(step);
            }
        }
    }
}

const TRANSIENT: FailureClass = FailureClass::Transient { retry_after_ms: None };

fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "try", "luck")
}

/// Steps that leave something in the world; the others only look.
fn writes(graph: &Graph) -> BTreeSet<StepId> {
    graph
        .nodes
        .iter()
        .filter(|node| node.reversal != Reversal::Nothing)
        .map(|node| node.id.clone())
        .collect()
}

/// Whatever comes after a step, also by way of others.
fn all_after(graph: &Graph, step: &StepId) -> BTreeSet<StepId> {
    let mut found = BTreeSet::from([step.clone()]);
    for node in &graph.nodes {
        if node.after.iter().any(|before| found.contains(before)) {
            found.insert(node.id.clone());
        }
    }
    found.remove(step);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_rests_truthfully_and_no_effect_is_made_twice(graph in graph(), luck in prop::collection::vec(luck(), 0..40)) {
        let writes = writes(&graph);
        let mut world = World::new(graph, luck);
        let mut turns = 0;
        while world.turn() {
            turns += 1;
            prop_assert!(turns < 2_000, "it never rests: {:?}", world.run.phase);
            for (step, times) in &world.effects {
                prop_assert!(*times <= 1 || !writes.contains(step), "{step} took effect {times} times");
            }
        }
        let left: BTreeSet<&StepId> = world.there.iter().filter(|step| writes.contains(*step)).collect();
        match &world.run.phase {
            Phase::Finished(Outcome::Restored) => prop_assert_eq!(left.len(), writes.len()),
            Phase::Finished(Outcome::Unwound { .. }) => prop_assert!(left.is_empty(), "left behind: {left:?}"),
            Phase::Finished(Outcome::Stuck { step, .. }) => prop_assert!(world.there.contains(step)),
            Phase::Held { .. } => {}
            phase => prop_assert!(false, "it rests in {phase:?}"),
        }
    }

    #[test]
    fn nothing_starts_before_what_it_comes_after_is_done_and_nothing_is_taken_back_under_what_came_after_it_but_what_leads(graph in graph(), luck in prop::collection::vec(luck(), 0..40)) {
        let writes = writes(&graph);
        let mut world = World::new(graph.clone(), luck);
        while world.turn() {}
        let mut done = BTreeSet::new();
        for record in &world.records {
            match &record.event {
                Event::Intended { step, .. } => {
                    let node = graph.node(step).unwrap();
                    prop_assert!(node.after.iter().all(|before| done.contains(before)), "{step} started too early");
                }
                Event::Applied { step, .. } => { done.insert(step.clone()); }
                Event::Reversed { step, .. } => {
                    done.remove(step);
                    let node = graph.node(step).unwrap();
                    let leading = |before: &&StepId| graph.node(before).unwrap().leads;
                    for first in node.after.iter().filter(leading).filter(|_| !node.leads) {
                        prop_assert!(!done.contains(first), "{step} was taken back before {first}, which leads");
                    }
                    for later in all_after(&graph, step).intersection(&writes).filter(|_| !node.leads) {
                        prop_assert!(!done.contains(later), "{step} was taken back under {later}");
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_run_is_the_fold_over_its_records_and_nothing_else(graph in graph(), luck in prop::collection::vec(luck(), 0..40)) {
        let mut world = World::new(graph.clone(), luck);
        while world.turn() {}
        prop_assert_eq!(Run::fold(&graph, &world.records).unwrap(), world.run);
    }

    #[test]
    fn a_held_run_that_is_resumed_without_faults_is_restored(graph in graph(), luck in prop::collection::vec(luck(), 0..40)) {
        let mut world = World::new(graph, luck);
        while world.turn() {}
        if let Phase::Held { unwinding: false, .. } = &world.run.phase {
            world.luck.clear();
            world.take_over();
            world.append(Event::Resumed { by: "someone".to_owned() });
            while world.turn() {}
            prop_assert_eq!(&world.run.phase, &Phase::Finished(Outcome::Restored));
        }
    }
}
