//! How fast whole runs are simulated, what the sandbox beneath them costs, both on one processor, and how soon the demo
//! speaks.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sample::Sample;
use super::table::{Bar, Row};
use crate::failure::{Failure, Outcome, doing};
use crate::{process, sim, workspace};

/// Enough of them that what happens to run long does not count much.
const SEEDS: &str = "1000";
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

pub(super) fn measure(runs: usize) -> Outcome<Vec<Row>> {
    let program = sim::build()?;
    let mut samples: [Sample; 5] = Default::default();
    for _ in 0..runs {
        let simulation =
            json(Command::new(&program).args(["--services", "--jobs", "1", "--json", "--seeds", SEEDS]))?;
        let sandbox = json(
            Command::new("cargo")
                .args([
                    "run",
                    "--quiet",
                    "--release",
                    "--package",
                    "astern-sandbox",
                    "--example",
                    "load",
                ])
                .current_dir(workspace::root()),
        )?;
        let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let loaded = &sandbox["loaded"];
        let figures = [
            number(&simulation, "processorSeconds") * 1000.0 / number(&simulation, "seeds"),
            1_000_000.0 / number(&sandbox, "writesASecond"),
            number(loaded, "seconds"),
            number(loaded, "peakMebibytes"),
            first_output()?.as_secs_f64(),
        ];
        for (sample, figure) in samples.iter_mut().zip(figures) {
            sample.add(thousandths(figure));
        }
    }
    let [run, write, load, memory, demo] = &samples;
    Ok(vec![
        Row::count("a simulated run of four services", "ms", run, Bar::AtMost(10.0)),
        Row::count(
            "a write to the sandbox, in process",
            "µs",
            write,
            Bar::AtMost(50.0),
        ),
        Row::count(
            "10,000 Deployments with their ReplicaSets and pods loaded from a file",
            "s",
            load,
            Bar::AtMost(2.0),
        ),
        Row::count(
            "the same: most memory of a process that does nothing else",
            "MiB",
            memory,
            Bar::AtMost(1536.0),
        ),
        Row::count("astern demo: first output", "s", demo, Bar::AtMost(0.3)),
    ])
}

/// From start to the first byte that a person sees. The demo is ended there.
fn first_output() -> Outcome<Duration> {
    let start = Instant::now();
    let mut demo = Command::new(workspace::target().join("release/astern"))
        .args(["demo", "--yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(doing("start the demo"))?;
    let (told, first) = mpsc::channel();
    for pipe in [
        demo.stdout
            .take()
            .map(|out| Box::new(out) as Box<dyn Read + Send>),
        demo.stderr
            .take()
            .map(|err| Box::new(err) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    {
        let told = told.clone();
        thread::spawn(move || {
            let mut pipe = pipe;
            if matches!(pipe.read(&mut [0]), Ok(1)) {
                let _ = told.send(());
            }
        });
    }
    let said = first.recv_timeout(LONGEST_SILENCE);
    let took = start.elapsed();
    drop(demo.kill());
    drop(demo.wait());
    said.map(|()| took)
        .map_err(|_| Failure::new("the demo said nothing"))
}

fn json(command: &mut Command) -> Outcome<Value> {
    let text = process::read(command)?;
    serde_json::from_str(&text).map_err(|error| Failure::new(format!("a measure gave no figures: {error}")))
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
