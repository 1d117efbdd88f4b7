//! A run goes on, or is taken back, whatever happens to the process, the terminal, the journal's file or the way to
//! the API server.

mod scene;

use crate::support::{Place, config, kubeconfig};
use astern_faultproxy::{Class, Fault, How, Proxy, Unseen};
use scene::{RUN_SECONDS, finish, restored, signal};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A Lease is good for 15 s; a runner asleep for longer may be replaced.
const PAST_THE_LEASE: Duration = Duration::from_secs(16);
/// A Lease that ran out three durations ago is a dead runner's.
const PAST_A_DEAD_LEASE: Duration = Duration::from_secs(50);
/// Longer than a runner's renewal takes to come round (5 s).
const A_RENEWAL: Duration = Duration::from_secs(8);

/// Whether the moment has come.
type Moment = fn(&Place) -> bool;

#[test]
fn a_run_whose_runner_was_killed_at_any_moment_is_finished_by_another_person_on_another_machine() {
    let moments: [(&str, Moment); 4] = [
        ("approved", |place| place.newest().is_some()),
        ("written", |place| place.image("shop") == "shop:v1"),
        ("awaiting", |place| {
            place.newest().is_some_and(|run| run["steps"][0] == 1)
        }),
        ("soaking", |place| {
            place
                .newest()
                .is_some_and(|run| run["steps"][0] == run["steps"][1])
        }),
    ];
    std::thread::scope(|scope| {
        for (name, reached) in moments {
            scope.spawn(move || finished_after_a_kill_when(name, reached));
        }
    });
}

fn finished_after_a_kill_when(name: &str, reached: fn(&Place) -> bool) {
    let place = Place::new(name);
    place.platform("");
    place.slow_bad_release(&["shop"], 5);
    let before = place.revision("shop");
    let mut watcher = place.rollback();
    place.until(name, 60, reached);
    signal("-KILL", &place.runner());
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    let at_the_kill = place.writers().len();
    let run = place.run_begun();
    let done = place.elsewhere().astern(&["resume", &run, "--yes"]);
    assert!(restored(done.code), "{name}: {done:?}");
    place.assert_restored(&["shop"]);
    assert_eq!(place.revision("shop"), before + 1, "{name}: one effect, once");
    let after = place.writers().split_off(at_the_kill);
    assert!(
        after.iter().all(|user| user == "second@example.test"),
        "{name}: {after:?}"
    );
}

#[test]
fn a_runner_killed_before_it_wrote_the_plan_down_stands_in_nobodys_way() {
    let place = Place::new("nothing");
    place.platform("");
    place.slow_bad_release(&["shop"], 3);
    // The Lease that such a runner leaves.
    let gone = r#"{"id":"gone","user":"first@example.test","host":"elsewhere","pid":1}"#;
    place.apply(&format!(
        "apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: astern
  annotations:
    astern.dev/run: r20200101-000000-0000
    astern.dev/journal: Secrets in namespace {}
    astern.dev/holder: '{gone}'
spec: {{holderIdentity: gone, leaseDurationSeconds: 15, renewTime: 2020-01-01T00:00:00.000000Z}}
",
        place.namespace
    ));
    let done = finish(place.rollback());
    assert!(restored(done.code), "{done:?}");
    place.assert_restored(&["shop"]);
}

/// A Lease as a holder elsewhere leaves it, who says that it is this time now.
fn held_elsewhere(place: &Place, renewed_at: &str) {
    let holder = r#"{"id":"other","user":"first@example.test","host":"elsewhere","pid":1}"#;
    place.apply(&format!(
        "apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: astern
  annotations:
    astern.dev/run: r20200101-000000-0000
    astern.dev/journal: Secrets in namespace another
    astern.dev/holder: '{holder}'
spec: {{holderIdentity: other, leaseDurationSeconds: 15, renewTime: {renewed_at}}}
"
    ));
}

#[test]
fn a_holder_lives_as_long_as_it_is_seen_to_renew_whatever_its_clock_says() {
    let place = Place::new("clocks");
    place.platform("");
    place.slow_bad_release(&["shop"], 1);
    held_elsewhere(&place, "2020-01-01T00:00:00.000000Z");
    let done = std::sync::atomic::AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut second = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                second = (second + 1) % 60;
                held_elsewhere(&place, &format!("2020-01-01T00:01:{second:02}.000000Z"));
                std::thread::sleep(Duration::from_secs(2));
            }
        });
        let refused = place.astern(&["plan"]);
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        refused.expect(3)
    });
    assert!(refused.err.contains("AST0220"), "{}", refused.err);
    held_elsewhere(&place, "2099-01-01T00:00:00.000000Z");
    place.astern(&["plan"]).expect(0);
}

#[test]
fn a_run_whose_journal_is_damaged_in_the_cluster_is_not_resumed_and_says_which_record() {
    let place = Place::new("damaged");
    place.platform("");
    place.slow_bad_release(&["shop"], 8);
    let mut watcher = place.rollback();
    let run = place.run_under_way("shop");
    signal("-KILL", &place.runner());
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    // Its Secrets are immutable: whoever edits one makes it anew.
    let name = format!("secret/astern-run-{run}-000002");
    let mut secret = place.get(&name);
    let metadata = secret["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace", "labels"].contains(&key.as_str()));
    secret["data"]["records.gz"] = serde_json::json!("bm8gcmVjb3Jkcw==");
    place.kubectl(&["delete", &name]);
    place.put(&secret);
    let writers = place.writers();
    for words in [
        &["resume", &run, "--yes"][..],
        &["abort", &run, "--yes"],
        &["attach", &run],
    ] {
        let refused = place.astern(words).expect(6);
        for word in ["AST0402", "record 2", "astern status"] {
            assert!(refused.err.contains(word), "{words:?}: {}", refused.err);
        }
    }
    assert_eq!(place.writers(), writers);
    place.astern(&["status"]).expect(0);
    // As its page says: a new rollback starts from what stands, once the dead runner's lock has lapsed.
    place.available(&["shop"]);
    place.slow("shop", "v3", 1, ", kwok.astern.dev/crash-loop: \"true\"");
    place.until_it_crashes();
    std::thread::sleep(PAST_A_DEAD_LEASE);
    let again = [
        "rollback",
        "--to",
        "shop=image:v1",
        "--yes",
        "--reason",
        "v3 crashes",
    ];
    let done = place.astern(&again);
    assert!(restored(done.code), "{done:?}");
}

#[test]
fn closing_the_terminal_ends_the_watching_and_not_the_run() {
    let place = Place::new("terminal");
    place.platform("");
    // Long enough that the run is under way when the signal comes, also on a busy machine.
    place.slow_bad_release(&["shop"], 25);
    let mut watcher = place
        .command(&kubeconfig(), &["rollback", "--yes", "--reason", "v2 crashes"])
        .process_group(0)
        .spawn()
        .unwrap();
    let run = place.run_under_way("shop");
    signal("-HUP", &format!("-{}", watcher.id()));
    assert_eq!(
        watcher.wait().unwrap().code(),
        None,
        "the watching process ended by the signal"
    );
    let done = place.astern(&["attach", &run]);
    assert!(restored(done.code), "{done:?}");
    place.assert_restored(&["shop"]);
}

#[test]
fn a_second_operator_is_refused_while_a_run_is_under_way_and_can_watch_it() {
    let place = Place::new("second");
    place.platform("");
    place.slow_bad_release(&["shop"], 8);
    let first = place.rollback();
    let run = place.run_under_way("shop");
    let elsewhere = place.elsewhere();
    let refused = elsewhere
        .astern(&["rollback", "--yes", "--reason", "the same idea"])
        .expect(3);
    for command in [format!("astern attach {run}"), format!("astern resume {run}")] {
        assert!(refused.err.contains(&command), "{}", refused.err);
    }
    let refused = elsewhere.astern(&["resume", &run, "--yes"]).expect(3);
    assert!(
        refused.err.contains(&format!("astern attach {run}")),
        "{}",
        refused.err
    );
    let attached = elsewhere.astern(&["attach", &run]);
    assert!(restored(attached.code), "{attached:?}");
    assert!(attached.err.contains("v2 crashes"), "{}", attached.err);
    assert!(restored(finish(first).code));
    assert!(place.writers().iter().all(|user| user == "admin@example.test"));
}

#[test]
fn a_runner_that_slept_past_its_lease_wakes_up_replaced_and_writes_nothing() {
    let place = Place::new("sleeper");
    place.platform("");
    place.slow_bad_release(&["shop"], 6);
    let watcher = place.rollback();
    let run = place.run_under_way("shop");
    let sleeper = place.runner();
    signal("-STOP", &sleeper);
    std::thread::sleep(PAST_THE_LEASE);
    let done = place.elsewhere().astern(&["resume", &run, "--yes"]);
    assert!(restored(done.code), "{done:?}");
    let watched = finish(watcher).expect(6);
    assert!(
        watched.err.contains(&format!("astern resume {run}")),
        "whoever watched was told: {}",
        watched.err
    );
    let (writers, records) = (place.writers(), place.records(&run));
    let object = place.get("deployment/shop");
    signal("-CONT", &sleeper);
    std::thread::sleep(A_RENEWAL);
    assert_eq!(place.writers(), writers);
    assert_eq!(place.records(&run), records);
    assert_eq!(place.get("deployment/shop"), object);
    let log = std::fs::read_to_string(place.file(&format!("astern/{run}.log"))).unwrap();
    assert!(log.contains("taken over by another holder"), "{log}");
}

#[test]
fn a_running_run_is_aborted_and_the_world_is_as_before() {
    let place = Place::new("abort");
    place.platform("");
    place.slow_bad_release(&["shop"], 20);
    let before = place.shape("shop");
    let watcher = place.rollback();
    let run = place.run_under_way("shop");
    let aborted = place.elsewhere().astern(&["abort", &run, "--yes"]);
    assert_eq!(aborted.code, 4, "{aborted:?}");
    assert_eq!(finish(watcher).code, 4);
    assert_eq!(place.shape("shop"), before);
    assert_eq!(place.state(), "unwound");
}

/// Two services, `web` after `api`; web's v1 crashes now, because something that it needs is away.
fn held(name: &str) -> (Place, String) {
    let place = Place::new(name);
    place.platform("  workloads: [{name: api}, {name: web, dependsOn: [api]}]\n");
    place.slow_bad_release(&["api", "web"], 3);
    let watcher = place.rollback();
    place.until("pods of web's v1", 60, |place| {
        place.image("web") == "web:v1" && of_v1(place).len() == 2
    });
    for pod in of_v1(&place) {
        place.kubectl(&["label", "pod", &pod, "kwok.astern.dev/crash-loop=true"]);
    }
    let run = place.run_begun();
    let done = finish(watcher).expect(6);
    for command in [format!("astern resume {run}"), format!("astern abort {run}")] {
        assert!(done.err.contains(&command), "{}", done.err);
    }
    assert_eq!(place.state(), "held");
    assert_eq!(place.image("api"), "api:v1", "what was restored stays");
    (place, run)
}

fn of_v1(place: &Place) -> Vec<String> {
    let pods = place.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} {.spec.containers[0].image}{\"\\n\"}{end}",
    ]);
    pods.lines()
        .filter_map(|line| line.strip_suffix(" web:v1"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_failed_wave_holds_the_run_which_goes_on_once_the_cause_is_mended() {
    let (place, run) = held("held");
    for pod in of_v1(&place) {
        place.kubectl(&["label", "pod", &pod, "kwok.astern.dev/crash-loop-"]);
    }
    place.available(&["web"]);
    let generations = [place.generation("api"), place.generation("web")];
    let done = place.elsewhere().astern(&["resume", &run, "--yes"]);
    assert!(restored(done.code), "{done:?}");
    place.assert_restored(&["api", "web"]);
    assert_eq!([place.generation("api"), place.generation("web")], generations);
}

#[test]
fn a_held_run_is_taken_back_in_reverse_order() {
    let (place, run) = held("takeback");
    let done = place.astern(&["abort", &run, "--yes"]).expect(4);
    assert_eq!([place.image("api"), place.image("web")], ["api:v2", "web:v2"]);
    assert_eq!(place.state(), "unwound");
    let said = |line: &str| {
        done.err
            .lines()
            .position(|said| said.contains("taken back") && said.contains(line))
    };
    let (web, api) = (said("web"), said("api"));
    assert!(web.is_some() && web < api, "{}", done.err);
}

#[test]
fn a_finished_rollback_is_taken_back_by_undo() {
    let place = Place::new("undo");
    place.platform("");
    place.slow("shop", "v1", 1, "");
    place.available(&["shop"]);
    std::thread::sleep(Duration::from_millis(1500));
    place.slow("shop", "v2", 1, "");
    place.available(&["shop"]);
    let before = place.shape("shop");
    let words = [
        "rollback",
        "--to",
        "shop=image:v1",
        "--yes",
        "--reason",
        "customers complain",
    ];
    let done = place.astern(&words);
    assert!(restored(done.code), "{done:?}");
    assert_eq!(place.image("shop"), "shop:v1");
    let run = place.run_begun();
    let done = place.astern(&["undo", &run, "--yes", "--reason", "it was not v2"]);
    assert!(restored(done.code), "{done:?}");
    assert_eq!(place.shape("shop")["spec"], before["spec"]);
}

#[test]
fn an_interrupted_foreground_run_is_resumable() {
    let place = Place::new("interrupted");
    place.platform("");
    place.slow_bad_release(&["shop"], 6);
    let words = ["rollback", "--foreground", "--yes", "--reason", "v2 crashes"];
    let child = place.start(&words);
    let run = place.run_under_way("shop");
    signal("-INT", &child.id().to_string());
    let stopped = finish(child).expect(130);
    assert!(
        stopped.err.contains(&format!("astern resume {run}")),
        "{}",
        stopped.err
    );
    let done = place.astern(&["resume", &run, "--yes", "--foreground"]);
    assert!(restored(done.code), "{done:?}");
    place.assert_restored(&["shop"]);
}

#[test]
fn a_run_in_a_file_is_resumed_from_that_file_and_nowhere_else() {
    let place = Place::new("store");
    place.platform("");
    place.slow_bad_release(&["shop"], 6);
    let mut watcher = place.start(&[
        "--store",
        "runs.db",
        "rollback",
        "--yes",
        "--reason",
        "v2 crashes",
    ]);
    place.until("the template", 30, |place| place.image("shop") == "shop:v1");
    signal("-KILL", &place.runner());
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    let runs = place
        .astern(&["--store", "runs.db", "runs", "-o", "json"])
        .expect(0)
        .json();
    let run = runs["items"][0]["run"].as_str().unwrap();
    let elsewhere = place.elsewhere();
    let (file, other) = (place.file("runs.db"), elsewhere.path("other.db"));
    for words in [
        &["resume", run, "--yes"][..],
        &["--store", &other, "resume", run, "--yes"],
        &[
            "rollback",
            "--to",
            "shop=image:v2",
            "--yes",
            "--reason",
            "back to v2",
        ],
    ] {
        let refused = elsewhere.astern(words);
        assert!(matches!(refused.code, 1 | 3), "{words:?}: {refused:?}");
        assert!(
            refused.err.contains(file.to_str().unwrap()),
            "the file is named: {}",
            refused.err
        );
    }
    let done = place.astern(&["--store", "runs.db", "resume", run, "--yes"]);
    assert!(restored(done.code), "{done:?}");
    assert_eq!(place.image("shop"), "shop:v1");
    let journal = [
        "get",
        "secrets",
        "--field-selector",
        "type=astern.dev/journal",
        "-o",
        "name",
    ];
    assert_eq!(
        place.kubectl(&journal),
        "",
        "no record of the run lies in the cluster"
    );
}

#[test]
fn a_file_that_is_no_journal_or_is_damaged_is_named_and_nothing_is_changed() {
    let place = Place::new("corrupt");
    place.platform("");
    place.slow_bad_release(&["shop"], 1);
    std::fs::write(
        place.file("notes.db"),
        "remember the milk, and much more of this\n".repeat(9),
    )
    .unwrap();
    let rollback = ["rollback", "--yes", "--reason", "v2 crashes"];
    let refused = place
        .astern(&[&["--store", "notes.db"], &rollback[..]].concat())
        .expect(1);
    assert!(
        refused.err.contains("notes.db") && refused.err.contains("not a SQLite file"),
        "{}",
        refused.err
    );
    let done = place.astern(&[&["--store", "runs.db"], &rollback[..]].concat());
    assert!(restored(done.code), "{done:?}");
    // What a copy that was cut short leaves: the header, and nothing that belongs to it.
    let mut bytes = std::fs::read(place.file("runs.db")).unwrap();
    bytes[100..].fill(0x5a);
    std::fs::write(place.file("runs.db"), bytes).unwrap();
    for beside in ["runs.db-wal", "runs.db-shm"] {
        let _ = std::fs::remove_file(place.file(beside));
    }
    let writers = place.writers();
    for words in [&["runs"][..], &["attach"], &rollback[..]] {
        let refused = place.astern(&[&["--store", "runs.db"], words].concat());
        assert_eq!(refused.code, 1, "{words:?}: {refused:?}");
        assert!(
            refused.err.contains("runs.db") && refused.err.contains("hint:"),
            "{}",
            refused.err
        );
    }
    assert_eq!(place.writers(), writers);
}

/// `sh`, in a mount namespace of its own where `store` is a file system of so many KiB.
fn beside_a_small_disk(place: &Place, kib: u32, script: &str) -> crate::support::Done {
    std::fs::create_dir_all(place.file("store")).unwrap();
    let mount = format!("mount -t tmpfs -o size={kib}k tmpfs store && cd . && {script}");
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
        .current_dir(place.folder.path())
        .env("ASTERN", env!("CARGO_BIN_EXE_astern"))
        .env("NS", &place.namespace)
        .env("KUBECONFIG", kubeconfig())
        .env("XDG_STATE_HOME", place.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into()
}

#[test]
fn a_disk_too_full_for_the_journal_stops_the_run_before_it_changes_anything() {
    let place = Place::new("full");
    place.platform("");
    place.slow_bad_release(&["shop"], 1);
    for kib in [16, 64] {
        let script = "$ASTERN -n $NS --store store/runs.db rollback --yes --reason 'v2 crashes'";
        let refused = beside_a_small_disk(&place, kib, script);
        assert!(matches!(refused.code, 1 | 6), "{kib}: {refused:?}");
        assert!(refused.err.contains("no room"), "{kib}: {}", refused.err);
        assert_eq!(place.writers(), Vec::<String>::new(), "{kib}");
    }
    let done = finish(place.rollback());
    assert!(restored(done.code), "nothing is left in the way: {done:?}");
}

#[test]
fn a_run_whose_disk_filled_up_goes_on_once_there_is_room() {
    let place = Place::new("filled");
    place.platform("");
    place.slow_bad_release(&["shop"], 6);
    // Full while the rollout is awaited, and for some seconds after that has its result to write down.
    let script = "
        $ASTERN -n $NS --store store/runs.db rollback --foreground --yes --reason 'v2 crashes' & run=$!
        until kubectl -n $NS get deployment shop -o jsonpath='{..image}' | grep -q v1; do sleep 0.1; done
        cat /dev/zero > store/filler 2> filler.err
        kubectl -n $NS rollout status deployment/shop --timeout=60s
        sleep 5
        kill -0 $run && echo waits
        rm store/filler
        wait $run";
    let done = beside_a_small_disk(&place, 2048, script);
    assert!(done.out.contains("waits"), "{done:?}");
    assert!(restored(done.code), "{done:?}");
    assert_eq!(place.image("shop"), "shop:v1");
}

#[test]
fn a_run_outlives_an_api_server_that_goes_away_and_returns() {
    let place = Place::new("away");
    place.platform("");
    place.slow_bad_release(&["shop"], 5);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(async { Proxy::before(config().await).await.unwrap() });
    let by_proxy = place.file("proxy.kubeconfig");
    std::fs::write(&by_proxy, proxy.kubeconfig()).unwrap();
    let before = place.revision("shop");
    let watcher = place
        .command(&by_proxy, &["rollback", "--yes", "--reason", "v2 crashes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    place.run_under_way("shop");
    runtime.block_on(proxy.go_away());
    std::thread::sleep(Duration::from_secs(8));
    runtime.block_on(proxy.come_back());
    let watched = finish(watcher);
    place.until("the end of the run", RUN_SECONDS, |place| {
        place.state() == "restored"
    });
    place.assert_restored(&["shop"]);
    assert_eq!(place.revision("shop"), before + 1);
    assert!(restored(watched.code), "whoever watched saw the end: {watched:?}");
}

/// The plan of a process that was killed was still on its way when a person freed its lock, and another run began.
#[test]
fn a_plan_that_arrives_after_another_run_has_begun_hinders_it_not_and_can_be_aborted() {
    let place = Place::new("overtaken");
    place.platform("");
    place.slow_bad_release(&["shop"], 5);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let late = (0..9).map(|nth| Fault {
        class: Class::Secret,
        nth,
        how: How::Delayed(Duration::from_secs(3)),
    });
    let proxy = runtime.block_on(async {
        let direct = Proxy::before(config().await).await.unwrap();
        direct.another(late.collect(), Arc::new(Unseen)).await.unwrap()
    });
    let by_proxy = place.file("proxy.kubeconfig");
    std::fs::write(&by_proxy, proxy.kubeconfig()).unwrap();
    let words = ["rollback", "--yes", "--reason", "v2 crashes", "--foreground"];
    let mut killed = place.command(&by_proxy, &words).spawn().unwrap();
    let mut before_the_lock = 0;
    place.until("the plan on its way", 30, |place| {
        let struck = proxy.struck().len();
        let leases = place.get("leases");
        if leases["items"].as_array().unwrap().is_empty() {
            before_the_lock = struck;
        }
        struck > before_the_lock
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    place.kubectl(&["delete", "lease", "astern", "--wait=false"]);

    let other = finish(place.rollback());
    assert!(restored(other.code), "{other:?}");
    place.until("the plan that was on its way", 30, |place| {
        place.runs().len() == 2
    });
    let runs = place.runs();
    let open = runs.iter().find(|run| run["state"] == "running").unwrap();
    let open = open["run"].as_str().unwrap();
    place.astern(&["abort", open, "--yes"]).expect(4);
    place.assert_restored(&["shop"]);
}
