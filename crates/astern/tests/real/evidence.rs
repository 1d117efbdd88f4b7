//! What logs tell: counted before the decision, and saved before a rollback destroys them.

use crate::support::{Place, V1, V2, Version, container};
use serde_json::{Value, json};
use std::path::PathBuf;

#[test]
fn error_lines_of_every_container_are_counted_over_a_stated_window_and_held_against_the_old_pods() {
    let place = Place::new("errors");
    place.platform("  workloads: [{name: web}]\n");
    place.good("web", &Version::new(V1, &[]));
    // The first container is silent and holds the rollout up, so that old pods stay; the second one logs the errors.
    let sidecar = container("exporter", V2, 8081, &[("ERROR_LOG_PER_MINUTE", "120")]);
    let bad = Version {
        sidecars: vec![sidecar],
        ..Version::new(V2, &[("NEVER_READY", "true")])
    };
    place.deploy("web", &bad);
    place.until("error lines in the second container's log", 60, |place| {
        let pods = place.get("pods");
        let pod = pods["items"].as_array().unwrap().iter().find_map(|pod| {
            let two = pod["spec"]["containers"].as_array().unwrap().len() == 2;
            two.then(|| pod["metadata"]["name"].as_str().unwrap().to_owned())
        });
        pod.is_some_and(|pod| has_errors(place, &pod))
    });

    let plan = place.astern(&["plan", "-o", "json"]).expect(0).json();
    let live = error_lines(&plan, "live");
    let former = error_lines(&plan, "former");
    assert!(live["fact"]["perMinute"]["is"].as_f64().unwrap() > 10.0, "{live}");
    assert_eq!(former["fact"]["perMinute"]["is"], json!(0.0), "{former}");
    for side in [live, former] {
        assert_eq!(side["window"], "PT5M", "{side}");
    }
    let fired = plan["decision"]["fired"].as_array().unwrap();
    let row = fired.iter().find(|row| row["row"] == "error-lines");
    let told = row.unwrap_or_else(|| panic!("{fired:?}")).to_string();
    assert!(told.contains("the former version 0.0"), "{told}");
}

fn has_errors(place: &Place, pod: &str) -> bool {
    place.get(&format!("pod/{pod}"))["status"]["phase"] == "Running"
        && place
            .kubectl(&["logs", pod, "-c", "exporter"])
            .matches("ERROR")
            .count()
            > 5
}

fn error_lines<'a>(plan: &'a Value, side: &str) -> &'a Value {
    let evidence = plan["assessment"]["workloads"][0]["evidence"].as_array().unwrap();
    let found = evidence
        .iter()
        .find(|evidence| evidence["fact"]["is"] == "errorLines" && evidence["side"] == side);
    found.unwrap_or_else(|| panic!("no error lines of {side}: {evidence:?}"))
}

#[test]
fn what_a_dying_container_said_is_saved_before_the_first_change_and_secrets_in_it_are_masked() {
    const SECRET: &str = "hunter2-swordfish";
    let place = Place::new("saved");
    place.platform("  workloads: [{name: web}]\n");
    place.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"latency": SECRET},
    }));
    place.good("web", &Version::new(V1, &[]));
    // The service ends at once and quotes the value that it cannot read, which here is a Secret's.
    let quoted = json!([
        {"name": "PORT", "value": "8080"},
        {"name": "LATENCY_MS", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "latency"}}},
    ]);
    let bad = Version {
        container: json!({"env": quoted}),
        ..Version::new(V2, &[])
    };
    place.crashing("web", &bad);
    let pods = place.get("pods").to_string();
    assert!(pods.contains("CrashLoopBackOff"), "{pods}");

    let done = place.roll_back(&[]).expect(0);
    let report = place.report(&done);
    let saved = report["evidence"]["saved"].as_array().unwrap();
    let log = saved.iter().find(|piece| {
        let what = piece["what"]["what"].as_str().unwrap();
        what.starts_with("log pod/web-") && what.ends_with("(previous)")
    });
    let log = log.unwrap_or_else(|| panic!("no log of the attempt before: {saved:?}"));
    let tail = log["what"]["tail"].to_string();
    assert!(tail.contains("FATAL could not start: LATENCY_MS is"), "{tail}");
    let steps = report["rollback"]["steps"].as_array().unwrap();
    let first = steps
        .iter()
        .filter_map(|step| step["started"]["seq"].as_u64())
        .min();
    assert!(
        log["seq"].as_u64() < first,
        "saved as {}, first change {first:?}",
        log["seq"]
    );

    let folder = place.file("evidence");
    place
        .astern(&["report", &done.run(), "--evidence", folder.to_str().unwrap()])
        .expect(0);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), saved.len(), "a file for each piece: {files:?}");
    let whole: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let previous = files.iter().position(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.contains("-log-pod-web-") && name.ends_with("-previous.txt")
    });
    let log = &whole[previous.unwrap_or_else(|| panic!("no log of the attempt before: {files:?}"))];
    assert!(log.contains("FATAL could not start: LATENCY_MS is"), "{log}");

    let page = place.file("report.html");
    place
        .astern(&["report", &done.run(), "--html", page.to_str().unwrap()])
        .expect(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("FATAL could not start"), "the page has the log");
    let journal = place.kubectl(&["get", "events", "-o", "json"]);
    assert!(!journal.contains(SECRET), "not in an event");
    let shown = [report.to_string(), page, done.out, done.err];
    for text in shown.iter().chain(&whole) {
        assert!(!text.contains(SECRET), "the Secret's value is shown: {text}");
    }
}
