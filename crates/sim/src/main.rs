//! `astern-sim`: plays seeds on every processor, and says of one that fails how it is played again. What
//! `cargo xtask sim` runs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program, and this is what it says"
)]

#[cfg(feature = "planted")]
use astern_sim::Defect;
use astern_sim::case::CaseId;
use astern_sim::{Played, Tally, case, play, seed, shrink};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
#[cfg(feature = "planted")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

const HELP: &str = "\
Whole runs of astern on a simulated cluster, each from one number, with all that can go wrong on the way.

Usage: cargo xtask sim [--seeds N] [--from S] [--seconds N] [--jobs N] [--record]
       cargo xtask sim --seed S [--without PLACES]
       cargo xtask sim --defects [--defect NAME] [--seeds N] [--from S]

Options:
  --seeds N         So many runs [1000]
  --from S          The first of them [0]
  --seconds N       At most so long
  --jobs N          So many at a time [every processor]
  --services        Only those of the platform of four services that nobody undoes
  --record          Add the counts to docs/simulation.md
  --seed S          One run, with all that happens in it
  --without PLACES  Without these of its faults, as 0,3
  --defects         Each planted defect, and how many runs it takes to find it

Every fiftieth run, and every one that fails, is played twice and must be the same byte for byte.
With RUST_LOG set, as in RUST_LOG=astern=debug, --seed shows astern's own log too.
Exit code 0: all are as they must be; 1: one is not; 2: wrong usage.";

/// Every so many runs one is played twice.
const TWICE: u64 = 50;

struct Options {
    seeds: u64,
    from: u64,
    seconds: Option<u64>,
    jobs: usize,
    json: bool,
    services: bool,
    one: Option<u64>,
    defects: bool,
    defect: Option<String>,
    without: BTreeSet<usize>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match options(&words) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}\n  next: cargo xtask sim --help");
            return ExitCode::from(2);
        }
    };
    let good = match options.one {
        Some(seed) => one(seed, &options.without),
        None if options.defects || options.defect.is_some() => defects(&options),
        None => many(&options),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seeds: 1000,
        from: 0,
        seconds: None,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        json: false,
        services: false,
        one: None,
        defects: false,
        defect: None,
        without: BTreeSet::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => options.json = true,
            "--services" => options.services = true,
            "--defects" => options.defects = true,
            _ => {}
        }
        if matches!(word.as_str(), "--json" | "--defects" | "--services") {
            continue;
        }
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => options.seeds = number(word, value()?)?,
            "--from" => options.from = number(word, value()?)?,
            "--seconds" => options.seconds = Some(number(word, value()?)?),
            "--jobs" => options.jobs = number::<usize>(word, value()?)?.max(1),
            "--defect" => options.defect = Some(value()?.clone()),
            "--seed" => options.one = Some(number(word, value()?)?),
            "--without" => {
                let places = value()?.split(',').map(|place| number(word, place));
                options.without = places.collect::<Result<_, _>>()?;
            }
            other => return Err(format!("there is no option `{other}`")),
        }
    }
    Ok(options)
}

fn number<T: FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option} is a whole number, not `{text}`"))
}

/// One run with everything that happened in it.
fn one(number: u64, without: &BTreeSet<usize>) -> bool {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env());
        log.with_writer(std::io::stderr).without_time().init();
    }
    let drawn = seed::drawn(number);
    let played = play(number, without, true);
    println!(
        "seed {number}: {:?}, on failure {:?}",
        drawn.case, drawn.on_failure
    );
    for (place, fault) in drawn.faults.iter().enumerate() {
        let left_out = if without.contains(&place) {
            "  (left out)"
        } else if !played.met.contains(&place) {
            "  (did not strike)"
        } else {
            ""
        };
        println!("  fault {place}: {fault}{left_out}");
    }
    if let Some(undone) = drawn.undone {
        println!("  undone once it has restored: {undone:?}");
    }
    for line in &played.log {
        println!("{line}");
    }
    println!("{:?}\n{}", played.rest, played.digest);
    let again = play(number, without, false);
    let same = again.digest == played.digest && again.violations == played.violations;
    for violation in &played.violations {
        println!("not as it must be: {violation}");
    }
    if !same {
        println!(
            "not as it must be: the same seed gave another run, {}",
            again.digest
        );
    }
    same && played.violations.is_empty()
}

/// Every planted defect is found, or said.
#[cfg(feature = "planted")]
fn defects(options: &Options) -> bool {
    // A defect that makes astern panic is found by that.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut good = true;
        while let Some(defect) = Defect::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            if options
                .defect
                .as_ref()
                .is_some_and(|name| *name != format!("{defect:?}"))
            {
                continue;
            }
            match astern_sim::found(*defect, options.from, options.seeds) {
                Some((seed, runs, what)) => println!("{defect:?}: found in run {runs} (seed {seed}): {what}"),
                None => {
                    good = false;
                    println!("{defect:?}: NOT FOUND in {} runs", options.seeds);
                }
            }
        }
        good
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        let mut ended = workers.into_iter().map(|worker| worker.join().unwrap_or(false));
        ended.all(|good| good)
    })
}

#[cfg(not(feature = "planted"))]
fn defects(_: &Options) -> bool {
    eprintln!(
        "error: this build has no defects to plant\n  next: cargo run --release -p astern-sim --features planted -- --defects"
    );
    false
}

/// Many runs, on every processor; each is on one thread.
fn many(options: &Options) -> bool {
    let began = Instant::now();
    let until = options
        .seconds
        .map(|seconds| began + Duration::from_secs(seconds));
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let work = || {
        let mut tally = Tally::default();
        let mut failed = 0;
        let mut worked = Duration::ZERO;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end || until.is_some_and(|until| Instant::now() >= until) {
                return (tally, failed, worked);
            }
            let drawn = seed::drawn(number);
            if options.services && !(drawn.case == CaseId::Services && drawn.undone.is_none()) {
                continue;
            }
            // Staged once a thread, which is no run's time; nor is what a run takes that is played twice.
            case::stage(drawn.case, drawn.slow);
            let began = processor_time();
            let played = play(number, &BTreeSet::new(), false);
            worked += processor_time().saturating_sub(began);
            tally.add(&played);
            if let Some(told) = wrong(number, &played) {
                failed += 1;
                eprintln!("{told}");
            }
        }
    };
    let mut all = Tally::default();
    let mut failed = 0;
    let mut worked = Duration::ZERO;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (tally, also_failed, also_worked) = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.join(tally);
            failed += also_failed;
            worked += also_worked;
        }
    });
    if options.json {
        println!("{}", all.json(options.from, worked));
    } else {
        let rate = all.seeds as f64 / worked.as_secs_f64();
        println!("{all}");
        println!(
            "{} runs in {:.1} s, {rate:.0} a second of one processor; {failed} not as they must be",
            all.seeds,
            began.elapsed().as_secs_f64(),
        );
    }
    failed == 0
}

/// How long a processor has worked for this thread: what others do on the machine counts for nothing.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What is not as it must be with a run, and how it is played again.
fn wrong(number: u64, played: &Played) -> Option<String> {
    let failed = !played.violations.is_empty();
    if !failed && !number.is_multiple_of(TWICE) {
        return None;
    }
    let again = play(number, &BTreeSet::new(), false);
    let mut told = format!("seed {number} is not as it must be:");
    if again.digest != played.digest || again.violations != played.violations {
        let _ = write!(
            told,
            "\n  the same seed gave two runs: {} and {}",
            played.digest, again.digest
        );
    } else if !failed {
        return None;
    }
    for violation in &played.violations {
        let _ = write!(told, "\n  {violation}");
    }
    let without: Vec<String> = shrink(number).iter().map(usize::to_string).collect();
    let _ = write!(told, "\n  play it again: cargo xtask sim --seed {number}");
    if !without.is_empty() {
        let _ = write!(told, " --without {}", without.join(","));
    }
    Some(told)
}
