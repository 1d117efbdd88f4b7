//! Login probes: a Secret goes back only once a login with what it held then has answered, when the plan is checked and again
//! before it is written.

use crate::config::{apply, deployment, newest_run, record, roll_back, rolled_out};
use crate::secrets::decoded;
use crate::support::{Done, Place, output_of};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const THEN: &str = "the-one-of-then";
const NOW: &str = "the-one-of-now";

/// What the database does with a login, by how many there were before.
type Answers = fn(usize) -> Answer;

enum Answer {
    In,
    Out,
    /// It says nothing for as long as anybody listens.
    Silence,
}

/// A database that lets in whoever it pleases, and remembers every password that was tried.
struct Database {
    port: u16,
    logins: Arc<AtomicUsize>,
    tried: Arc<Mutex<Vec<String>>>,
}

impl Database {
    fn answering(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let database = Self {
            port: listener.local_addr().unwrap().port(),
            logins: Arc::default(),
            tried: Arc::default(),
        };
        let (logins, tried) = (database.logins.clone(), database.tried.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (logins, tried) = (logins.clone(), tried.clone());
                std::thread::spawn(move || login(stream.unwrap(), &logins, &tried, answers));
            }
        });
        database
    }

    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

fn login(mut stream: TcpStream, logins: &AtomicUsize, tried: &Mutex<Vec<String>>, answers: Answers) {
    let mut password = String::new();
    let mut read = BufReader::new(stream.try_clone().unwrap());
    read.read_line(&mut password).unwrap();
    tried.lock().unwrap().push(password.trim_end().to_owned());
    let answer = match answers(logins.fetch_add(1, Ordering::SeqCst)) {
        Answer::In => "in\n",
        Answer::Out => "out\n",
        Answer::Silence => {
            let _ = read.read_line(&mut password);
            return;
        }
    };
    let _ = stream.write_all(answer.as_bytes());
}

/// `api` reads the Secret `db`; release 1.0 is good; then its password is rotated.
fn rotated(name: &str) -> Place {
    let place = Place::new(name);
    place.platform("");
    let script = "exec 3<>\"/dev/tcp/127.0.0.1/$1\"\necho \"tried $DB_PASSWORD\" | tee /dev/stderr\n\
                  echo \"$DB_PASSWORD\" >&3\nread -r answer <&3\n[ \"$answer\" = in ] || exit 7\n";
    std::fs::write(place.file("login.sh"), script).unwrap();
    password(&place, THEN);
    apply(
        &place,
        &[deployment("api", json!([{"secretRef": {"name": "db"}}]))],
    );
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    password(&place, NOW);
    place
}

fn password(place: &Place, password: &str) {
    place.kubectl(&["delete", "secret", "db", "--ignore-not-found"]);
    let literal = format!("--from-literal=password={password}");
    place.kubectl(&["create", "secret", "generic", "db", &literal]);
}

pub(crate) fn held(place: &Place) -> String {
    let secret = place.get("secret/db");
    String::from_utf8(decoded(secret["data"]["password"].as_str().unwrap())).unwrap()
}

/// An astern.yaml that says this of the Secret.
fn says(place: &Place, secret: &str) {
    place.platform(&format!("  config:\n    restoreSecrets:\n      - {secret}\n"));
}

fn probed(place: &Place, command: &str, timeout: &str) {
    says(
        place,
        &format!(
            "{{name: db, probe: {{command: [{command}], env: {{DB_PASSWORD: password}}, timeout: {timeout}}}}}"
        ),
    );
}

fn logs_in(place: &Place, database: &Database) {
    probed(place, &format!("bash, login.sh, '{}'", database.port), "20s");
}

/// Neither password is in what a command said.
fn quiet(done: Done) -> Done {
    for password in [THEN, NOW] {
        assert!(!done.out.contains(password), "{}", done.out);
        assert!(!done.err.contains(password), "{}", done.err);
    }
    done
}

const TO: [&str; 2] = ["--to", "1.0"];

#[test]
fn a_secret_goes_back_only_once_a_login_with_what_it_held_then_has_answered() {
    let place = rotated("login");
    for by_name in ["db", "name: db"] {
        says(&place, by_name);
        let refused = quiet(roll_back(&place, &TO).expect(3));
        for words in [
            "AST0245",
            "nothing proves that this still works",
            "rotates: false",
            "env: {PGPASSWORD: KEY}",
            "--leave-config",
        ] {
            assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
        }
    }
    assert_eq!(held(&place), NOW);

    let database = Database::answering(|_| Answer::In);
    logs_in(&place, &database);
    let plan = quiet(place.astern(&["plan", "--to", "1.0"]).expect(0));
    assert!(
        plan.out.contains("login probe bash answered at 20"),
        "{}",
        plan.out
    );
    assert_eq!(database.logins(), 1);
    quiet(roll_back(&place, &TO).expect(0));
    assert_eq!(held(&place), THEN);
    // When the plan was checked, and before it was written.
    assert_eq!(database.logins(), 3);
    assert_eq!(*database.tried.lock().unwrap(), [THEN, THEN, THEN]);
    let run = newest_run(&place);
    let report = quiet(place.astern(&["report", &run]).expect(0));
    assert!(
        report.out.contains("login probe bash answered at"),
        "{}",
        report.out
    );
    // On the way back it is the other one that must let somebody in.
    quiet(
        place
            .astern(&["undo", &run, "--yes", "--reason", "it was good"])
            .expect(0),
    );
    assert_eq!(held(&place), NOW);
    assert_eq!(database.tried.lock().unwrap()[3..], [NOW, NOW]);

    says(&place, "{name: db, rotates: false}");
    let plan = quiet(place.astern(&["plan", "--to", "1.0"]).expect(0));
    assert!(plan.out.contains("nobody rotates it"), "{}", plan.out);
}

#[test]
fn a_login_that_fails_or_hangs_or_cannot_be_made_leaves_the_secret_as_it_is() {
    let place = rotated("login-fails");
    let refused = |words: &str| {
        let done = quiet(roll_back(&place, &TO).expect(3));
        assert!(done.err.contains("AST0245"), "{}", done.err);
        assert!(done.err.contains(words), "no {words:?}: {}", done.err);
        assert_eq!(held(&place), NOW);
    };
    let database = Database::answering(|_| Answer::Out);
    logs_in(&place, &database);
    refused("its login probe bash exited with 7");
    assert_eq!(*database.tried.lock().unwrap(), [THEN]);
    let database = Database::answering(|_| Answer::Silence);
    probed(&place, &format!("bash, login.sh, '{}'", database.port), "1s");
    refused("its login probe bash did not end within its timeout, and was ended");
    assert_eq!(database.logins(), 1);
    probed(&place, "no-such-program", "1s");
    refused("its login probe no-such-program could not be started: there is no such program");
    says(
        &place,
        "{name: db, probe: {command: ['true'], env: {DB_PASSWORD: passwd}}}",
    );
    refused("the Secret held no key \"passwd\" then");
    // What it has of astern's own environment.
    std::fs::write(
        place.file("login.sh"),
        "[ -z \"$KUBECONFIG$XDG_STATE_HOME\" ] && [ -n \"$PATH\" ] || exit 9\nexit 8\n",
    )
    .unwrap();
    probed(&place, "bash, login.sh", "5s");
    refused("exited with 8");
}

#[test]
fn a_plan_whose_probe_the_astern_yaml_here_does_not_name_runs_nothing() {
    let place = rotated("login-foreign");
    let database = Database::answering(|_| Answer::In);
    logs_in(&place, &database);
    quiet(
        place
            .astern(&["plan", "--to", "1.0", "-o", "back.json"])
            .expect(0),
    );
    probed(&place, "'true'", "20s");
    let words = ["run", "back.json", "--yes", "--reason", "the release is bad"];
    let refused = quiet(place.astern(&words).expect(3));
    assert!(
        refused.err.contains("the astern.yaml here does not name it"),
        "{}",
        refused.err
    );
    assert_eq!((database.logins(), held(&place).as_str()), (1, NOW));
}

#[test]
fn a_credential_that_is_rotated_after_the_plan_was_checked_stops_the_step_before_it_writes() {
    let place = rotated("login-late");
    let database = Database::answering(|before| if before == 0 { Answer::In } else { Answer::Out });
    logs_in(&place, &database);
    let version = place.get("secret/db")["metadata"]["resourceVersion"].clone();
    let done = quiet(roll_back(&place, &TO).expect(4));
    assert!(
        done.err.contains("exited with 7") || done.out.contains("exited with 7"),
        "{done:?}"
    );
    assert_eq!(held(&place), NOW);
    assert_eq!(place.get("secret/db")["metadata"]["resourceVersion"], version);
    assert_eq!(database.logins(), 2);
    quiet(place.astern(&["report", &newest_run(&place)]).expect(0));
}

#[test]
fn whoever_goes_on_for_a_runner_that_died_during_the_login_logs_in_again_and_writes_once() {
    let place = rotated("login-killed");
    let database = Database::answering(|before| if before == 1 { Answer::Silence } else { Answer::In });
    logs_in(&place, &database);
    let words = [
        "rollback",
        "--yes",
        "--reason",
        "the release is bad",
        "--to",
        "1.0",
        "--foreground",
    ];
    let runner = place.start(&words);
    place.until("the login before the write", 60, |_| database.logins() == 2);
    let id = runner.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-KILL", &id])
            .status()
            .unwrap()
            .success()
    );
    quiet(output_of(runner, "the runner").into());
    assert_eq!(held(&place), NOW);
    std::thread::sleep(Duration::from_millis(200));
    let run = newest_run(&place);
    quiet(place.astern(&["resume", &run, "--yes"]).expect(0));
    assert_eq!(held(&place), THEN);
    assert!(database.logins() >= 3, "{}", database.logins());
    assert!(database.tried.lock().unwrap().iter().all(|tried| tried == THEN));
}
