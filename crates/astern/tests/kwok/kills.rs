//! The binary is killed again and again, at drawn moments, before a real API server to which the way is bad; whoever
//! resumes it restores everything, and nothing is lost and nothing done twice. A run whose plan arrived after another
//! had begun, since its lock was freed by hand, is aborted.
//!
//! `ASTERN_KILLS` says how often at least, `ASTERN_SEED` from which seed on, `ASTERN_PLATFORMS` how many platforms stand side
//! by side; `ASTERN_KILLS_TALLY` names a file for the counts. A seed draws what happens to each process; how they come
//! together with the cluster's own time is left to chance.

mod judge;
mod life;

use crate::manifest::{crashing, pod, workload};
use crate::support::{Place, config};
use astern_faultproxy::{Class, Fault, Proxy};
use fastrand::Rng;
use judge::{Judge, Told};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use life::{Drawn, Moment, Watched};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kills in an everyday run.
const KILLS: u64 = 100;
/// Platforms side by side.
const PLATFORMS: u64 = 4;
/// So often a run's processes are killed; then one may bring it to its end.
const KILLS_A_RUN: u64 = 14;
/// More processes than a run needs in which every second one is refused, or ends by itself.
const LIVES: u32 = 60;
/// Longer than a process takes that waits for a lapsed lock, and for every rollout.
const LIFE_SECONDS: u64 = 150;
/// Longer than the latest request is late.
const LATE: Duration = Duration::from_secs(5);
/// What is taken back, in the order in which it is.
const MEMBERS: [&str; 5] = [
    "statefulset/db",
    "deployment/api",
    "deployment/web",
    "deployment/mail",
    "deployment/shop",
];
/// What stands beside it.
const BYSTANDER: &str = "deployment/idle";

/// What all platforms share.
struct Stage {
    runtime: tokio::runtime::Runtime,
    config: kube::Config,
    direct: kube::Client,
    wanted: u64,
    first_seed: u64,
    kills: AtomicU64,
    seeds: AtomicU64,
    tally: Mutex<Tally>,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    runs: u64,
    processes: u64,
    writes: u64,
    counts: BTreeMap<&'static str, BTreeMap<String, u64>>,
    wrong: Vec<String>,
}

/// How a process lived.
struct Lived {
    killed: bool,
    code: Option<i32>,
    struck: Vec<Fault>,
    said: String,
}

#[test]
#[expect(clippy::print_stdout, reason = "a long run tells what it counted")]
fn a_run_whose_processes_are_killed_a_hundred_times_loses_nothing_and_does_nothing_twice() {
    let stage = Stage::new(number("ASTERN_KILLS", KILLS));
    let since = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..number("ASTERN_PLATFORMS", PLATFORMS) {
            scope.spawn(|| {
                while stage.wants_more() && stage.tally().wrong.is_empty() {
                    stage.play(stage.first_seed + stage.seeds.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    let (tally, kills) = (stage.tally(), stage.kills.load(Ordering::Relaxed));
    let seconds = since.elapsed().as_secs();
    println!(
        "{kills} kills in {} runs, {} processes, {} writes, {seconds} s: {:#?}",
        tally.runs, tally.processes, tally.writes, tally.counts
    );
    if let Some(file) = std::env::var_os("ASTERN_KILLS_TALLY") {
        let counts = json!({
            "from": stage.first_seed, "runs": tally.runs, "kills": kills, "processes": tally.processes,
            "writes": tally.writes, "seconds": seconds,
            "moments": tally.counts.get("moments"), "faults": tally.counts.get("faults"),
        });
        std::fs::write(file, counts.to_string()).unwrap();
    }
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n\n"));
    assert!(kills >= stage.wanted, "only {kills} kills");
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number, not `{text}`"))
    })
}

impl Stage {
    fn new(wanted: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (config, direct) = runtime.block_on(async {
            let config = config().await;
            let direct = kube::Client::try_from(config.clone()).unwrap();
            (config, direct)
        });
        Self {
            runtime,
            config,
            direct,
            wanted,
            first_seed: number("ASTERN_SEED", 1),
            kills: AtomicU64::new(0),
            seeds: AtomicU64::new(0),
            tally: Mutex::default(),
        }
    }

    fn wants_more(&self) -> bool {
        self.kills.load(Ordering::Relaxed) < self.wanted
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One run, from a bad release to its end.
    fn play(&self, seed: u64) {
        let mut random = Rng::with_seed(seed);
        let place = Place::new("kills");
        bad_release(&place);
        let before = standing(&place);
        let judge = Arc::new(Judge::new(self.direct.clone(), &place.namespace));
        let proxy = self.runtime.block_on(Proxy::before(self.config.clone()));
        let proxy = proxy.unwrap();
        let mut told: Option<String> = None;
        let (mut lives, mut kills, mut gives_back) = (Vec::new(), 0, true);
        for number in 0..LIVES {
            let drawn = if kills < KILLS_A_RUN && self.wants_more() {
                Drawn::doomed(&mut random)
            } else {
                Drawn::quiet(&mut random)
            };
            let watched = Arc::new(Watched::new(judge.clone(), drawn.moment));
            let door = proxy.another(drawn.faults.clone(), watched.clone());
            let door = self.runtime.block_on(door).unwrap();
            let lived = live(&place, &door, &watched, &drawn, number, told.as_deref());
            kills += u64::from(lived.killed);
            gives_back = !lived.killed && lived.struck.iter().all(|fault| fault.class != Class::Lease);
            self.count(&drawn, &lived);
            if lived.killed && !drawn.lapses {
                self.free_the_lock(&place);
            }
            lives.push(format!("{number}: {drawn:?}\n{lived}"));
            let runs = self.runtime.block_on(judge.runs());
            if runs.iter().any(Told::over) || !judge.violations().is_empty() {
                break;
            }
            let locked_by = self.lock_names(&place);
            let named = |told: &&Told| Some(told.id.as_str()) == locked_by.as_deref();
            let begun = || runs.iter().find(|told| told.began());
            let to_resume = runs.iter().find(named).or_else(begun).or(runs.first());
            told = to_resume.map(|told| told.id.to_string());
        }
        std::thread::sleep(LATE);
        let (over, overtaken): (Vec<_>, Vec<_>) = self
            .runtime
            .block_on(judge.runs())
            .into_iter()
            .partition(Told::over);
        let mut wrong = match over.first() {
            Some(told) => judge.conclude(told),
            None => vec!["no run came to its end".to_owned()],
        };
        if wrong.is_empty() {
            wrong.extend(overtaken.iter().filter_map(|told| not_taken_back(&place, told)));
        }
        wrong.extend(not_as_told(&place, &before, overtaken.len(), gives_back));
        let mut tally = self.tally();
        tally.runs += 1;
        tally.writes += judge.writes().len() as u64;
        if !wrong.is_empty() {
            tally.wrong.push(format!(
                "seed {seed} is not as it must be (ASTERN_SEED={seed} ASTERN_PLATFORMS=1):\n  {}\nprocesses:\n{}\nwrites:\n  {}",
                wrong.join("\n  "),
                lives.join("\n"),
                judge.writes().join("\n  "),
            ));
        }
    }

    fn count(&self, drawn: &Drawn, lived: &Lived) {
        let mut tally = self.tally();
        tally.processes += 1;
        let mut count = |of: &'static str, word: &str| {
            let counts = tally.counts.entry(of).or_default();
            *counts.entry(word.to_owned()).or_default() += 1;
        };
        for fault in &lived.struck {
            count("faults", fault.how.word());
        }
        if lived.killed {
            count("moments", drawn.moment.map_or("left behind", Moment::word));
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The run that the lock names, as astern's own refusals tell it. Once it was freed by hand it names none: then the person
    /// who freed it goes on with the run that has begun.
    fn lock_names(&self, place: &Place) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.direct.clone(), &place.namespace);
        let lease = self.runtime.block_on(leases.get_opt("astern")).unwrap()?;
        lease.metadata.annotations?.remove("astern.dev/run")
    }

    /// As a person does who knows that the process is dead, instead of waiting until the lock has lapsed.
    fn free_the_lock(&self, place: &Place) {
        let leases: Api<Lease> = Api::namespaced(self.direct.clone(), &place.namespace);
        let deleted = self
            .runtime
            .block_on(leases.delete("astern", &DeleteParams::default()));
        match deleted {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other.unwrap()),
        }
    }
}

/// What is wrong with a run that never began, once it is aborted.
fn not_taken_back(place: &Place, overtaken: &Told) -> Option<String> {
    let run = overtaken.id.as_str();
    if overtaken.began() {
        return Some(format!("{run} is open, and had begun"));
    }
    let aborted = place.astern(&["abort", run, "--yes"]);
    (aborted.code != 4).then(|| format!("{run} never began, and could not be aborted: {aborted:?}"))
}

/// Starts a process, and sees it to its end.
fn live(
    place: &Place,
    door: &Proxy,
    watched: &Watched,
    drawn: &Drawn,
    number: u32,
    run: Option<&str>,
) -> Lived {
    let file = place.file("door.kubeconfig");
    std::fs::write(&file, door.kubeconfig()).unwrap();
    let mut words = match run {
        None => vec!["rollback", "--reason", "v2 crashes"],
        Some(run) => vec!["resume", run],
    };
    words.push("--yes");
    words.extend(drawn.foreground.then_some("--foreground"));
    let [out, err] = ["out", "err"].map(|end| place.file(&format!("{number}.{end}")));
    let mut child = place
        .command(&file, &words)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    watched.started(child.id());
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > Duration::from_secs(LIFE_SECONDS) {
            watched.kill();
            child.wait().unwrap();
            let said = std::fs::read_to_string(&err).unwrap();
            panic!("{words:?} did not end within {LIFE_SECONDS} s; {drawn:?}\n{said}");
        }
        watched.tick();
        std::thread::sleep(Duration::from_millis(5));
    };
    watched.end_what_is_left();
    Lived {
        killed: watched.killed(),
        code: status.code(),
        struck: door.struck(),
        said: [out, err]
            .map(|file| std::fs::read_to_string(file).unwrap())
            .concat(),
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, code, .. } = self;
        write!(f, "   killed: {killed}, exit code {code:?}; struck:")?;
        for fault in &self.struck {
            write!(f, " [{fault}]")?;
        }
        for line in self.said.lines().rev().take(14).collect::<Vec<_>>().iter().rev() {
            write!(f, "\n      {line}")?;
        }
        Ok(())
    }
}

/// Workloads in a chain and one of another team, each with a v1 that was good and a v2 that crashes. An ordered StatefulSet
/// waits for its broken pod, so that one has to be deleted.
fn bad_release(place: &Place) {
    let mut spec = "  workloads:\n  - {name: db, kind: StatefulSet}\n".to_owned();
    for pair in MEMBERS.windows(2) {
        let (before, name) = (name_of(pair[0]), name_of(pair[1]));
        spec.push_str(&format!("  - {{name: {name}, dependsOn: [{before}]}}\n"));
    }
    place.platform(&spec);
    let release = |version: &str, template: fn(&str, &str) -> Value| {
        let items = MEMBERS.iter().chain([&BYSTANDER]).map(|member| {
            let name = name_of(member);
            let mut template = template(name, version);
            match name {
                "db" => workload(
                    "StatefulSet",
                    name,
                    template,
                    json!({"replicas": 2, "serviceName": name}),
                ),
                "api" => {
                    template["metadata"]["annotations"] = json!({"kwok.astern.dev/ready-after": "1s"});
                    let at_once = json!({"rollingUpdate": {"maxUnavailable": "100%"}});
                    let more = json!({"replicas": 2, "strategy": at_once});
                    workload("Deployment", name, template, more)
                }
                _ => workload("Deployment", name, template, json!({"replicas": 2})),
            }
        });
        let items: Vec<Value> = items.collect();
        place.put(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    };
    release("v1", pod);
    for name in MEMBERS.iter().chain([&BYSTANDER]) {
        place.kubectl(&["rollout", "status", name, "--timeout=120s"]);
    }
    std::thread::sleep(Duration::from_millis(1_200));
    release("v2", crashing);
    place.until("a crash loop of each", 120, |place| {
        let pods = place.kubectl(&["get", "pods"]);
        MEMBERS.iter().chain([&BYSTANDER]).all(|member| {
            let mut lines = pods.lines().filter(|line| line.starts_with(name_of(member)));
            lines.any(|line| line.contains("CrashLoopBackOff"))
        })
    });
}

fn name_of(member: &str) -> &str {
    member.rsplit('/').next().unwrap()
}

/// What nobody may change: everything that is asked of the workloads, but for the members' templates.
fn standing(place: &Place) -> Vec<Value> {
    let asked = |name: &&str| {
        let mut object = place.get(name);
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.retain(|name, _| name.starts_with("kwok") || name == "team");
        if **name != *BYSTANDER {
            object["spec"]["template"].take();
        }
        json!([
            object["metadata"]["uid"],
            object["metadata"]["labels"],
            object["metadata"]["annotations"],
            object["spec"]
        ])
    };
    MEMBERS.iter().chain([&BYSTANDER]).map(asked).collect()
}

/// What the cluster and astern's own commands say, and is not as it must be: v1 serves with the replicas that it had,
/// written once each; the bystander is as it was; one run restored it, and its lock is free.
fn not_as_told(place: &Place, before: &[Value], overtaken: usize, gives_back: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: Value, wanted: Value| {
        if found != wanted {
            wrong.push(format!("{what} is {found}, and had to be {wanted}"));
        }
    };
    for member in MEMBERS {
        let object = place.get(member);
        let name = name_of(member);
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        expect(member, image.clone(), json!(format!("{name}:v1")));
        expect(
            &format!("{member}'s ready pods"),
            object["status"]["readyReplicas"].clone(),
            json!(2),
        );
        if member.starts_with("deployment") {
            let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            expect(&format!("{member}'s revision"), revision.clone(), json!("3"));
        }
    }
    expect("what stands", json!(standing(place)), json!(before));
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let runs = runs["items"].as_array().unwrap().iter();
    let mut states: Vec<&str> = runs.map(|run| run["state"].as_str().unwrap()).collect();
    states.sort_unstable();
    let mut wanted = vec!["restored"];
    wanted.resize(1 + overtaken, "unwound");
    expect("astern runs", json!(states), json!(wanted));
    // Whoever was killed after the last record, or could not reach the lock, leaves it to lapse.
    if gives_back {
        let leases = place.get("leases");
        let holder = &leases["items"][0]["spec"]["holderIdentity"];
        expect("the lock's holder", holder.clone(), Value::Null);
    }
    wrong
}
