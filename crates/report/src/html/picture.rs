//! The two pictures of the page: which version was live when, and the steps against their forecast. Horizontal places
//! are percentages, so that the text keeps its size on a phone. Each picture has a title, a description, and all
//! its content as text beside it.

use super::part::class;
use crate::report::{Report, Tone};
use crate::story::{Lane, Span, StepLine, StepState};
use crate::visible::visible;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::target::Target;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// The height of one lane of a picture, in pixels: its label and its bar.
const LANE: u32 = 44;

/// The height of the axis' labels above the lanes, in pixels.
const AXIS: u32 = 24;

/// A picture of more lanes than this is no picture; the table beside it has them all.
const LANES: usize = 40;

/// Two pins nearer than this (percent of the width) would lie on each other on a phone.
const PIN_GAP: f64 = 6.5;

/// A bar is never thinner than this (percent), so that an effect of some milliseconds is seen.
const THINNEST: f64 = 0.7;

/// At most this many marks on an axis: as many labels as fit beside each other on a phone.
const TICKS: i64 = 4;

/// The distances between two marks of an axis, in seconds.
const DISTANCES: [i64; 17] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, DAY,
];

const DAY: i64 = 86_400;

/// A bar narrower than this (percent) has no room for a version's name.
const ROOM_FOR_A_NAME: f64 = 22.0;

/// The span of time that a picture shows.
#[derive(Clone, Copy)]
struct Scale {
    from: Timestamp,
    to: Timestamp,
}

impl Scale {
    /// Where `at` lies, in percent of the width; what lies outside is drawn at the edge.
    fn place(self, at: Timestamp) -> f64 {
        let whole = self.to.duration_since(self.from).as_secs_f64();
        if whole <= 0.0 {
            return 0.0;
        }
        (at.duration_since(self.from).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0)
    }

    /// How moments of this span are labelled: short, and never ambiguous.
    fn clock_format(self) -> &'static str {
        let same_day = self.from.strftime("%F").to_string() == self.to.strftime("%F").to_string();
        match self.to.duration_since(self.from).as_secs() {
            0..120 => "%T",
            _ if same_day => "%H:%M",
            span if span <= 2 * DAY => "%m-%d %H:%M",
            _ => "%F",
        }
    }

    /// Round moments after `origin`, few enough that their labels fit.
    fn ticks(self, origin: Timestamp) -> Vec<Timestamp> {
        let whole = self.to.duration_since(self.from).as_secs();
        let days = whole / (DAY * TICKS) + 1;
        let distance = DISTANCES
            .into_iter()
            .find(|distance| whole / distance <= TICKS)
            .unwrap_or(days * DAY);
        let first = self.from.duration_since(origin).as_secs().div_euclid(distance);
        let tick = |nth: i64| {
            origin
                .checked_add(SignedDuration::from_secs(nth.saturating_mul(distance)))
                .ok()
        };
        let all = (first..=first + TICKS + 2).filter_map(tick);
        all.filter(|at| (self.from..=self.to).contains(at)).collect()
    }
}

/// Which version of each workload was the newest, up to the first change.
pub(super) fn failure(report: &Report) -> Markup {
    let story = &report.failure;
    let scale = Scale {
        from: story.from,
        to: story.to,
    };
    let lanes = &story.lanes[..story.lanes.len().min(LANES)];
    let bottom = lanes_height(lanes.len());
    let origin = midnight(story.from);
    let described: Vec<String> = lanes.iter().map(describe).collect();
    html! {
        svg role="img" aria-labelledby="p1-title p1-desc" width="100%" height=(bottom + 40) {
            title id="p1-title" { "Which version was live, " (clock(story.from)) " to " (clock(story.to)) }
            desc id="p1-desc" { (described.join(". ")) "." }
            (axis(scale, origin, bottom, |at| at.strftime(scale.clock_format()).to_string()))
            @for (place, lane) in lanes.iter().enumerate() {
                (live_lane(scale, lane, lanes_height(place)))
            }
            (pins(scale, &story.marks.iter().map(|mark| mark.at).collect::<Vec<_>>(), bottom))
        }
    }
}

/// The steps of each workload, what they took over what was forecast. Nothing where no step was started.
pub(super) fn rollback(report: &Report) -> Option<Markup> {
    let story = &report.rollback;
    let begun = |step: &&StepLine| step.started.is_some();
    let forecast_ends = story
        .steps
        .iter()
        .filter_map(|step| step.started?.at.checked_add(step.forecast.expected).ok());
    let to = forecast_ends.chain([story.end]).max()?;
    story.steps.iter().find(begun)?;
    let margin = to.duration_since(story.start.at) / 25;
    let scale = Scale {
        from: story.start.at,
        to: to.checked_add(margin).unwrap_or(to),
    };
    let mut targets = in_order(&story.steps);
    targets.truncate(LANES);
    let bottom = lanes_height(targets.len());
    let drawn = story.steps.iter().filter(|step| {
        step.target
            .as_ref()
            .is_some_and(|target| targets.contains(&target))
    });
    let described: Vec<String> = drawn.map(|step| describe_step(step, report)).collect();
    let since = |at: Timestamp| format!("+{}", human(at.duration_since(story.start.at)));
    Some(html! {
        svg role="img" aria-labelledby="p2-title p2-desc" width="100%" height=(bottom + 24) {
            title id="p2-title" { "The steps, from " (clock(story.start.at)) " on" }
            desc id="p2-desc" { (described.join(". ")) "." }
            (axis(scale, story.start.at, bottom, since))
            @if let Some(restored) = story.restored {
                line.now x1=(percent(scale.place(restored.at))) x2=(percent(scale.place(restored.at))) y1=(AXIS - 6) y2=(bottom) {}
                @let anchor = if scale.place(restored.at) < 45.0 { "start" } else { "end" };
                text.t-good x=(percent(scale.place(restored.at))) y=(bottom + 16) text-anchor=(anchor) {
                    "✓ restored " (since(restored.at))
                }
            }
            @for (place, target) in targets.iter().enumerate() {
                (step_lane(scale, report, target, lanes_height(place)))
            }
        }
    })
}

/// What is said beneath a picture that does not show all workloads.
pub(super) fn not_drawn(workloads: usize) -> Option<String> {
    let more = workloads.checked_sub(LANES).filter(|more| *more > 0)?;
    Some(format!(
        "The picture shows {LANES} workloads; the table has {more} more."
    ))
}

/// Where the lane after so many begins.
fn lanes_height(lanes: usize) -> u32 {
    u32::try_from(lanes)
        .unwrap_or(u32::MAX)
        .saturating_mul(LANE)
        .saturating_add(AXIS)
}

fn percent(place: f64) -> String {
    format!("{place:.2}%")
}

/// Vertical lines with their times above them. A label at the edge leans inwards, so that nothing leaves the picture.
fn axis(scale: Scale, origin: Timestamp, bottom: u32, label: impl Fn(Timestamp) -> String) -> Markup {
    html! {
        @for at in scale.ticks(origin) {
            @let place = scale.place(at);
            @let anchor = if place < 8.0 { "start" } else if place > 92.0 { "end" } else { "middle" };
            line.grid x1=(percent(place)) x2=(percent(place)) y1=(AXIS - 6) y2=(bottom) {}
            text.t-dim x=(percent(place)) y=(AXIS - 12) text-anchor=(anchor) { (label(at)) }
        }
    }
}

fn live_lane(scale: Scale, lane: &Lane, top: u32) -> Markup {
    html! {
        text.t-lane x="0" y=(top + 14) { (visible(&lane.target.name)) }
        @for span in &lane.spans { (live_bar(scale, span, top + 20)) }
    }
}

fn live_bar(scale: Scale, span: &Span, top: u32) -> Markup {
    // Without a known beginning a version is drawn from the left edge only if it was there before the suspect.
    let Some(from) = span.from.or((!span.suspect).then_some(scale.from)) else {
        return html! {
            rect.b-open x="0" y=(top) width="100%" height="17" rx="3" { title { (told(span)) } }
            text.t-warn x="8" y=(top + 13) { (visible(&span.version)) ": since when is not known" }
        };
    };
    let (start, end) = (scale.place(from), scale.place(span.to.unwrap_or(scale.to)));
    let width = (end - start).max(THINNEST);
    let bar = if span.suspect { "b-bad" } else { "b-good" };
    html! {
        rect.(bar) x=(percent(start)) y=(top) width=(percent(width)) height="17" rx="3" { title { (told(span)) } }
        @if width > ROOM_FOR_A_NAME && span.version.chars().count() < 14 {
            text x=(percent(start)) dx="8" y=(top + 13) { (visible(&span.version)) }
        }
    }
}

fn told(span: &Span) -> String {
    let since = span.from.map_or_else(
        || "since when is not known".to_owned(),
        |from| format!("from {}", clock(from)),
    );
    let until = span.to.map(|to| format!(" to {}", clock(to))).unwrap_or_default();
    visible(&format!("{} {since}{until}", span.version))
}

fn describe(lane: &Lane) -> String {
    let spans: Vec<String> = lane.spans.iter().map(told).collect();
    visible(&format!("{}: {}", lane.target, spans.join(", then ")))
}

/// Numbered pins under the axis, each with a line to its moment; pins that would overlap move apart.
fn pins(scale: Scale, moments: &[Timestamp], bottom: u32) -> Markup {
    let places: Vec<f64> = moments.iter().map(|at| scale.place(*at)).collect();
    let shown = apart(&places);
    html! {
        @for (place, (real, shown)) in places.iter().zip(&shown).enumerate() {
            line.lead-line x1=(percent(*real)) y1=(bottom - 7) x2=(percent(*shown)) y2=(bottom + 14) {}
            circle.pin cx=(percent(*shown)) cy=(bottom + 22) r="9" {}
            text.t-pin x=(percent(*shown)) y=(bottom + 26) text-anchor="middle" { (place + 1) }
        }
    }
}

/// The places in the same order, at least [`PIN_GAP`] apart and inside the picture while there is room for them all.
fn apart(places: &[f64]) -> Vec<f64> {
    let (left, right) = (3.0, 97.0);
    let gap = PIN_GAP.min((right - left) / places.len().max(1) as f64);
    let mut shown: Vec<f64> = Vec::with_capacity(places.len());
    for place in places {
        let least = shown.last().map_or(left, |last| last + gap);
        shown.push(place.max(least));
    }
    let mut most = right;
    for place in shown.iter_mut().rev() {
        *place = place.min(most);
        most = *place - gap;
    }
    shown
}

/// The workloads in the order in which their first steps began.
fn in_order(steps: &[StepLine]) -> Vec<&Target> {
    let mut begun: Vec<(&StepLine, &Target)> = steps
        .iter()
        .filter_map(|step| Some((step, step.target.as_ref()?)))
        .collect();
    begun.sort_by_key(|(step, _)| step.started.map_or(Timestamp::MAX, |moment| moment.at));
    let mut targets: Vec<&Target> = Vec::new();
    for (_, target) in begun {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

fn step_lane(scale: Scale, report: &Report, target: &Target, top: u32) -> Markup {
    let steps: Vec<&StepLine> = report
        .rollback
        .steps
        .iter()
        .filter(|step| step.target.as_ref() == Some(target))
        .collect();
    let (tone, said) = lane_state(&steps);
    html! {
        text.t-lane.halo x="0" y=(top + 14) { (visible(&target.name)) }
        text.halo.{ "t-" (class(tone)) } x="100%" y=(top + 14) text-anchor="end" { (said) }
        rect.track x="0" y=(top + 20) width="100%" height="17" rx="3" {}
        @for step in &steps { (step_bar(scale, report, step, top + 20)) }
    }
}

/// The worst state of a lane's steps, and how long it took them where all is done.
fn lane_state(steps: &[&StepLine]) -> (Tone, String) {
    let worst = steps
        .iter()
        .map(|step| step.state)
        .max_by_key(|state| word::state_tone(*state).gravity());
    let Some(worst) = worst else {
        return (Tone::Quiet, String::new());
    };
    let began = steps
        .iter()
        .filter_map(|step| step.started)
        .map(|moment| moment.at)
        .min();
    let ended = steps
        .iter()
        .filter_map(|step| step.ended)
        .map(|moment| moment.at)
        .max();
    let expected: SignedDuration = steps.iter().map(|step| step.forecast.expected).sum();
    let said = match (worst, began, ended) {
        (StepState::Done, Some(began), Some(ended)) => {
            format!(
                "✓ {}, forecast {}",
                human(ended.duration_since(began)),
                human(rounded(expected))
            )
        }
        _ => word::state(worst).to_owned(),
    };
    (word::state_tone(worst), said)
}

/// A forecast is no measurement: from ten seconds on it is told in whole seconds anyway.
fn rounded(span: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(span.as_secs())
}

fn step_bar(scale: Scale, report: &Report, step: &StepLine, top: u32) -> Markup {
    let Some(started) = step.started else {
        return html! {};
    };
    let ended = step.ended.map_or(report.rollback.end, |moment| moment.at);
    let start = scale.place(started.at);
    let width = (scale.place(ended) - start).max(THINNEST);
    let expected = started
        .at
        .checked_add(step.forecast.expected)
        .map_or(start, |at| scale.place(at));
    let bar = match (step.state, step.only_reads) {
        (StepState::Failed | StepState::NotTakenBack, _) => "b-bad",
        (StepState::UnderWay | StepState::Unsettled, _) => "b-open",
        (_, true) => "b-wait",
        (_, false) => "b-write",
    };
    html! {
        rect.(bar) x=(percent(start)) y=(top) width=(percent(width)) height="13" rx="2" {
            title { (describe_step(step, report)) }
        }
        @if step.only_reads {
            rect.b-forecast x=(percent(start)) y=(top + 15) width=(percent((expected - start).max(THINNEST))) height="3" rx="1" {
                title { "forecast " (human(step.forecast.expected)) ", from " (word::basis(&step.forecast.basis)) }
            }
        }
    }
}

fn describe_step(step: &StepLine, report: &Report) -> String {
    let start = match step.started {
        Some(moment) => format!(", from {}", word::moment(moment.at, report.origin())),
        None => String::new(),
    };
    let took = step
        .took()
        .map(|took| format!(", took {}", human(took)))
        .unwrap_or_default();
    let forecast = human(step.forecast.expected);
    visible(&format!(
        "{}: {}{start}{took}, forecast {forecast}",
        step.what,
        word::state(step.state)
    ))
}

/// The day's beginning, so that the marks of an axis of clock times are round.
fn midnight(at: Timestamp) -> Timestamp {
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(DAY)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_move_apart_and_stay_in_order_inside_the_picture() {
        let check = |places: &[f64]| {
            let shown = apart(places);
            assert!(
                shown.windows(2).all(|pair| pair[1] - pair[0] > PIN_GAP - 0.01),
                "{places:?} became {shown:?}"
            );
            assert!(
                shown.iter().all(|place| (0.0..=100.0).contains(place)),
                "{places:?} became {shown:?}"
            );
        };
        check(&[0.0, 0.0, 0.0]);
        check(&[12.0, 96.5, 96.9, 99.0, 99.9, 100.0]);
        check(&[50.0]);
    }

    #[test]
    fn an_axis_has_few_round_marks_however_long_it_is() {
        let check = |seconds: i64| {
            let from: Timestamp = "2026-11-23T14:00:00.4Z".parse().unwrap();
            let scale = Scale {
                from,
                to: from + SignedDuration::from_secs(seconds),
            };
            let ticks = scale.ticks(midnight(from));
            assert!(
                (1..=6).contains(&ticks.len()),
                "{seconds} s has {} marks",
                ticks.len()
            );
        };
        for seconds in [2, 9, 60, 125, 840, DAY, 5_000_000, 40_000_000] {
            check(seconds);
        }
    }
}
