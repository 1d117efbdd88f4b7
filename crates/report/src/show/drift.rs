//! What runs, held against a release: every object that differs, place by place, with who wrote it.

use crate::line::{Line, LineKind, part, parts};
use crate::show::plan::change;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::clock;
use astern_model::drift::{Compared, Drift, FieldDrift, How, ObjectDrift};

/// The drift (`astern drift`).
pub fn drift_lines(drift: &Drift) -> Vec<Line> {
    let (matters, harmless): (Vec<_>, Vec<_>) = drift.objects.iter().partition(|object| object.matters());
    let unread: Vec<Line> = drift
        .unread
        .iter()
        .map(|unread| Line::new(LineKind::Warn, format!("? {unread}")))
        .collect();
    parts([
        vec![
            Line::new(LineKind::Title, title(drift)),
            Line::new(
                if drift.matters() {
                    LineKind::Bad
                } else {
                    LineKind::Good
                },
                sum(drift),
            ),
        ],
        part("Differs", matters.into_iter().flat_map(object).collect()),
        part(
            "Differs, and harmless",
            harmless.into_iter().flat_map(object).collect(),
        ),
        part("Not known", unread),
        vec![Line::new(LineKind::Dim, COMPARED)],
    ])
}

/// What a release holds, and so what can differ from it.
const COMPARED: &str = "compared: pod templates, the digests that run, counts, autoscalers' bounds, what workloads read of ConfigMaps \
    and Secrets, Helm revisions; not: Services, Ingresses, and what workloads say outside their templates";

/// What of a drift stays when a plan goes back to its release (`astern drift --restore`), and what to type for it; nothing where all of
/// it goes back.
pub fn drift_stays_lines(drift: &Drift) -> Vec<Line> {
    let objects = drift.objects.iter().filter(|object| object.matters());
    let stays = objects
        .flat_map(stays)
        .map(|stays| Line::new(LineKind::Warn, stays));
    part("A plan does not restore", stays.collect())
}

fn stays(object: &ObjectDrift) -> Vec<String> {
    let Compared::Workload(target) = &object.object else {
        return Vec::new();
    };
    let fields = match &object.how {
        How::Gone => return vec![format!("{target}: it is not there; apply its manifest again")],
        How::New => return vec![format!("{target}: no release has it, and it stays")],
        How::Changed { fields } => fields.iter().filter(|field| field.harmless.is_none()),
    };
    let stay = |field: &FieldDrift| {
        let path = field.change.path.as_str();
        let then = field.change.from.as_ref().map(word::shown);
        match (path, then) {
            ("replicas", Some(then)) => Some(format!(
                "{target}: its count; kubectl scale {target} -n {} --replicas={then}",
                target.namespace
            )),
            (path, _) if path.starts_with("autoscaler") => {
                Some(format!("{target}: {path}, which is its autoscaler's"))
            }
            _ => None,
        }
    };
    fields.filter_map(stay).collect()
}

/// The same in Markdown.
pub fn drift_markdown(drift: &Drift) -> String {
    let mut text = format!("# {}\n\n{}\n", prose(&title(drift)), prose(&sum(drift)));
    for object in &drift.objects {
        text.push_str(&format!("\n## {}\n\n", code(&object.object.to_string())));
        let fields = match &object.how {
            How::Gone | How::New => {
                text.push_str(&format!("{}\n", prose(whole(&object.how))));
                continue;
            }
            How::Changed { fields } => fields,
        };
        text.push_str("| place | release | live | written by | |\n|---|---|---|---|---|\n");
        for field in fields {
            let value = |shown: Option<&astern_model::diff::Shown>| {
                shown.map_or_else(String::new, |shown| code(&word::shown(shown)))
            };
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                code(&field.change.path),
                value(field.change.from.as_ref()),
                value(field.change.to.as_ref()),
                prose(&writer(field).unwrap_or_default()),
                prose(&harmless(field).unwrap_or_default()),
            ));
        }
    }
    for unread in &drift.unread {
        text.push_str(&format!("\nNot known: {}\n", prose(unread)));
    }
    text
}

fn title(drift: &Drift) -> String {
    format!(
        "What runs against release {}, recorded {}",
        drift.release,
        clock(drift.recorded_at)
    )
}

fn sum(drift: &Drift) -> String {
    let differ = drift.objects.iter().filter(|object| object.matters()).count();
    let compared = word::plural(drift.compared as u64, "object");
    match differ {
        0 => format!("✓ no drift: {compared} compared"),
        _ => format!(
            "✗ {} {}; {compared} compared",
            word::plural(differ as u64, "object"),
            if differ == 1 { "differs" } else { "differ" }
        ),
    }
}

fn object(object: &ObjectDrift) -> Vec<Line> {
    let kind = if object.matters() {
        LineKind::Bad
    } else {
        LineKind::Dim
    };
    let name = object.object.to_string();
    match &object.how {
        How::Gone | How::New => vec![Line::new(kind, format!("{name}: {}", whole(&object.how)))],
        How::Changed { fields } => std::iter::once(Line::new(kind, name))
            .chain(fields.iter().flat_map(place))
            .collect(),
    }
}

fn whole(how: &How) -> &'static str {
    match how {
        How::Gone => "the release has it, and it is not there",
        How::New => "it is there, and the release has it not",
        How::Changed { .. } => "it differs",
    }
}

fn place(field: &FieldDrift) -> Vec<Line> {
    let writer = writer(field).map(|writer| format!("written by {writer}"));
    let told: Vec<String> = [writer, harmless(field)].into_iter().flatten().collect();
    let told = (!told.is_empty()).then(|| Line::new(LineKind::Dim, format!("    {}", told.join("; "))));
    change(&field.change)
        .into_iter()
        .map(|line| Line {
            text: format!("  {}", line.text),
            ..line
        })
        .chain(told)
        .collect()
}

fn writer(field: &FieldDrift) -> Option<String> {
    let by = field.by.as_ref()?;
    let at = by.at.map_or_else(String::new, |at| format!(" at {}", clock(at)));
    Some(format!("{}{at}", by.name))
}

fn harmless(field: &FieldDrift) -> Option<String> {
    let harmless = field.harmless.as_ref()?;
    Some(format!("harmless: {}", harmless.phrase()))
}
