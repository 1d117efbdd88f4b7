//! Every status against every step event: which pairs are legal, and what comes of them. Everything else is refused.

use astern_engine::Status;
use astern_engine::status::{Attempt, Failing};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{EffectKey, Epoch, StepId};
use astern_model::record::Event;
use astern_model::step::{After, Before, workload};
use jiff::Timestamp;
use std::fmt::Write as _;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second)
}

fn failure() -> Failure {
    Failure::new(FailureClass::Unknown, "write", "no answer")
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        epoch: Epoch(2),
        before: before(),
        since: at(1),
        failing_since: None,
        unknown_for: None,
        at: at(1),
    }
}

fn before() -> Before {
    Before::Workload(workload::Before::Paused {
        paused: false,
        annotations: Default::default(),
    })
}

fn after() -> After {
    After::Workload(workload::After::Deleted { uid: "u".into() })
}

fn statuses() -> Vec<Status> {
    let failing = Failing {
        attempts: 1,
        intended: true,
        before: None,
        failure: failure(),
        since: at(1),
        failing_since: at(1),
        at: at(1),
    };
    vec![
        Status::Pending,
        Status::Intended(attempt()),
        Status::Unsettled(attempt(), failure()),
        Status::Done {
            before: before(),
            after: after(),
            since: at(1),
            at: at(2),
        },
        Status::Failed(failing),
        Status::Reversing(attempt()),
        Status::ReverseUnsettled(attempt(), failure()),
        Status::ReverseFailed(attempt(), failure()),
        Status::Reversed,
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let step = || StepId::from("s");
    let key = || EffectKey::from("k");
    vec![
        (
            "intended",
            Event::Intended {
                step: step(),
                key: key(),
                attempt: 2,
                before: before(),
            },
        ),
        (
            "applied",
            Event::Applied {
                step: step(),
                after: after(),
            },
        ),
        (
            "failed",
            Event::Failed {
                step: step(),
                failure: failure(),
            },
        ),
        (
            "unsettled",
            Event::Unsettled {
                step: step(),
                failure: failure(),
            },
        ),
        (
            "reverse intended",
            Event::ReverseIntended {
                step: step(),
                key: key(),
                attempt: 2,
            },
        ),
        (
            "reversed",
            Event::Reversed {
                step: step(),
                after: after(),
            },
        ),
        (
            "reverse failed",
            Event::ReverseFailed {
                step: step(),
                failure: failure(),
            },
        ),
    ]
}

#[test]
fn of_sixty_three_pairs_eighteen_are_legal_and_the_rest_is_refused() {
    let mut legal = String::new();
    let mut refused = 0;
    for status in statuses() {
        for (name, event) in events() {
            match status.clone().after(&event, Epoch(3), at(3)) {
                Ok(next) => writeln!(legal, "{} + {name} = {}", status.name(), next.name()).expect("text"),
                Err(illegal) => {
                    assert_eq!((illegal.at, illegal.event), (status.name(), name));
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(
        legal,
        "\
pending + intended = under way
pending + failed = failed
under way + applied = done
under way + failed = failed
under way + unsettled = unsettled
unsettled + applied = done
unsettled + failed = failed
unsettled + unsettled = unsettled
done + reverse intended = being taken back
failed + intended = under way
failed + failed = failed
being taken back + unsettled = unsettled while taken back
being taken back + reversed = taken back
being taken back + reverse failed = could not be taken back
unsettled while taken back + unsettled = unsettled while taken back
unsettled while taken back + reversed = taken back
unsettled while taken back + reverse failed = could not be taken back
could not be taken back + reverse intended = being taken back
"
    );
    assert_eq!(refused, 63 - 18);
}
