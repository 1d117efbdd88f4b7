//! What writing a run down costs. For SQLite: the run's own batches are appended once more, to a new file beside the
//! first, and timed; the driver appends one batch after the other, so their sum is the most that they can have added.
//! For the cluster: the seconds in which the API server was answering requests of journal and vault.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::audit::busy;
use super::ground::{Ground, Release};
use super::many::broken;
use super::sample::{Pairs, Sample};
use super::table::{Bar, Row};
use super::taken::{Way, by_astern};
use crate::failure::{Failure, Outcome};
use crate::{process, workspace};

const SERVICES: usize = 50;

pub(super) fn measure(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    process::run(
        Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "astern-journal",
                "--example",
                "append_again",
            ])
            .current_dir(workspace::root()),
    )?;
    let release = Release::independent(ground, "bench-journal", SERVICES);
    let (mut sqlite_share, mut cluster_share) = (Sample::default(), Sample::default());
    let mut stores = Pairs::default();
    for number in 0..runs {
        let store = ground.file(&format!("journal-{number}.db"));
        let path = store.display().to_string();
        let in_cluster = broken(&release, || by_astern(&release, Way::Runner, &[]))?;
        let in_sqlite = broken(&release, || by_astern(&release, Way::Runner, &["--store", &path]))?;
        let records = in_cluster
            .after_approval()
            .filter(|request| request.resource == "secrets" && !request.watches());
        cluster_share.add(100.0 * busy(records) / in_cluster.restored.as_secs_f64());
        sqlite_share.add(100.0 * again(&path)?.as_secs_f64() / in_sqlite.restored.as_secs_f64());
        stores.add(in_cluster.restored, in_sqlite.restored);
    }
    Ok(vec![
        Row::count(
            "50 Deployments: the journal's share with SQLite",
            "%",
            &rounded(&sqlite_share),
            Bar::AtMost(3.0),
        ),
        Row::count(
            "50 Deployments: the share of journal and vault in the cluster",
            "%",
            &rounded(&cluster_share),
            Bar::Stated,
        ),
        Row::ratio(
            "50 Deployments: restored, journal in the cluster",
            "with SQLite",
            &stores,
            Bar::Stated,
        ),
    ])
}

fn again(store: &str) -> Outcome<Duration> {
    let program = workspace::target().join("release/examples/append_again");
    let text = process::read(Command::new(program).arg(store))?;
    let told: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("append_again gave no JSON: {error}")))?;
    let seconds = told.get("seconds").and_then(Value::as_f64);
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Failure::new("append_again told no seconds"))
}

fn rounded(sample: &Sample) -> Sample {
    sample.map(|value| (value * 100.0).round() / 100.0)
}
