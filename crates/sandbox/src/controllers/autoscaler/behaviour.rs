//! How fast an autoscaler may move the count: `spec.behavior`, and what holds without it. Source: the Kubernetes
//! documentation of horizontal pod autoscaling, "Default behavior".

use crate::object::{get, int, list, text};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The longest period that a policy may have.
pub(super) const LONGEST_PERIOD: SignedDuration = SignedDuration::from_mins(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// What holds in one direction.
pub(super) struct Rules {
    pub(super) stable_for: SignedDuration,
    select: Select,
    policies: Vec<Policy>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Select {
    Most,
    Least,
    Disabled,
}

#[derive(Clone, Copy)]
struct Policy {
    step: Step,
    period: SignedDuration,
}

#[derive(Clone, Copy)]
enum Step {
    Pods(i64),
    Percent(i64),
}

/// What keeps the count from what was recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limited {
    Not,
    TooMany,
    TooFew,
    Up,
    Down,
}

impl Limited {
    /// Reason and message of the condition.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Not => (
                "DesiredWithinRange",
                "the desired count is within the acceptable range",
            ),
            Self::TooMany => (
                "TooManyReplicas",
                "the desired replica count is more than the maximum replica count",
            ),
            Self::TooFew => (
                "TooFewReplicas",
                "the desired replica count is less than the minimum replica count",
            ),
            Self::Up => (
                "ScaleUpLimit",
                "the desired replica count is increasing faster than the maximum scale rate",
            ),
            Self::Down => (
                "ScaleDownLimit",
                "the desired replica count is decreasing faster than the maximum scale rate",
            ),
        }
    }
}

/// The rules of a direction, with what is not said filled in.
pub(super) fn rules(autoscaler: &Value, direction: Direction) -> Rules {
    const SHORT: SignedDuration = SignedDuration::from_secs(15);
    let (place, stable_for, usual) = match direction {
        Direction::Up => ("scaleUp", 0, vec![Step::Pods(4), Step::Percent(100)]),
        Direction::Down => ("scaleDown", 300, vec![Step::Percent(100)]),
    };
    let said = get(autoscaler, &format!("spec.behavior.{place}"));
    let number = |field: &str| said.and_then(|said| int(said, field));
    let read = |policy: &Value| {
        let value = int(policy, "value").unwrap_or(0);
        Policy {
            step: match text(policy, "type") {
                "Pods" => Step::Pods(value),
                _ => Step::Percent(value),
            },
            period: SignedDuration::from_secs(int(policy, "periodSeconds").unwrap_or(15)),
        }
    };
    let mut policies: Vec<Policy> = said
        .map(|said| list(said, "policies"))
        .unwrap_or_default()
        .iter()
        .map(read)
        .collect();
    if policies.is_empty() {
        policies = usual
            .into_iter()
            .map(|step| Policy { step, period: SHORT })
            .collect();
    }
    Rules {
        stable_for: SignedDuration::from_secs(number("stabilizationWindowSeconds").unwrap_or(stable_for)),
        select: match said.map(|said| text(said, "selectPolicy")) {
            Some("Min") => Select::Least,
            Some("Disabled") => Select::Disabled,
            _ => Select::Most,
        },
        policies,
    }
}

/// A recommendation within the minimum, the maximum and the rates, and what bound it.
pub(super) fn limited(
    autoscaler: &Value,
    scaled: &[(Timestamp, i64)],
    now: Timestamp,
    current: i64,
    recommended: i64,
) -> (i64, Limited) {
    let min = int(autoscaler, "spec.minReplicas").unwrap_or(1);
    let max = int(autoscaler, "spec.maxReplicas").unwrap_or(1);
    if recommended > current {
        let fastest = rules(autoscaler, Direction::Up).bound(Direction::Up, scaled, now, current);
        let fastest = fastest.max(current);
        let (most, why) = if max <= fastest {
            (max, Limited::TooMany)
        } else {
            (fastest, Limited::Up)
        };
        if recommended > most {
            (most, why)
        } else {
            (recommended, Limited::Not)
        }
    } else if recommended < current {
        let fastest = rules(autoscaler, Direction::Down).bound(Direction::Down, scaled, now, current);
        let fastest = fastest.min(current);
        let (least, why) = if min >= fastest {
            (min, Limited::TooFew)
        } else {
            (fastest, Limited::Down)
        };
        if recommended < least {
            (least, why)
        } else {
            (recommended, Limited::Not)
        }
    } else {
        (recommended, Limited::Not)
    }
}

impl Rules {
    /// The count that may be reached now at most, or at least.
    fn bound(&self, direction: Direction, scaled: &[(Timestamp, i64)], now: Timestamp, current: i64) -> i64 {
        if self.select == Select::Disabled {
            return current;
        }
        let reached = self.policies.iter().map(|policy| {
            let moved: i64 = scaled
                .iter()
                .filter(|(at, by)| {
                    now.duration_since(*at) < policy.period && (*by > 0) == (direction == Direction::Up)
                })
                .map(|(_, by)| by)
                .sum();
            let began = current - moved;
            match (direction, policy.step) {
                (Direction::Up, Step::Pods(pods)) => began + pods,
                (Direction::Up, Step::Percent(percent)) => (began * (100 + percent) + 99) / 100,
                (Direction::Down, Step::Pods(pods)) => began - pods,
                (Direction::Down, Step::Percent(percent)) => began * (100 - percent) / 100,
            }
        });
        let highest = (direction == Direction::Up) == (self.select == Select::Most);
        let bound = if highest { reached.max() } else { reached.min() };
        bound.unwrap_or(current)
    }
}
