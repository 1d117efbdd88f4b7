//! Login probes on real programs: what reaches them, and what comes back.

use astern_model::login::{LoginProbe, Proof};
use astern_model::platform::Platform;
use astern_port::logins::{Logins, NoLogin};
use astern_sense::Programs;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn probe(command: &[&str]) -> LoginProbe {
    LoginProbe {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: [("TOKEN".to_owned(), "token".to_owned())].into(),
        timeout: SignedDuration::from_secs(10),
    }
}

/// Asked of programs that astern.yaml names.
async fn ask(probe: LoginProbe, secret: &Value) -> Result<(), NoLogin> {
    let mut platform = Platform::of_namespace("shop");
    let proof = Some(Proof::Login(probe.clone()));
    platform.restore_secrets.insert("keys".to_owned(), proof);
    Programs::of(&platform).ask(&probe, secret).await
}

/// `token: hunter2`.
fn secret() -> Value {
    json!({"kind": "Secret", "data": {"token": "aHVudGVyMg==", "zero": "AGE="}})
}

#[tokio::test]
async fn a_program_has_the_value_in_its_environment_and_nothing_of_asterns_but_path_and_home() {
    let script =
        "[ \"$TOKEN\" = hunter2 ] && [ -n \"$PATH\" ] && [ -z \"$CARGO_MANIFEST_DIR\" ] && [ \"$#\" = 0 ]";
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert_eq!(ask(probe(&["sh", "-c", script]), &secret()).await, Ok(()));
    let mut another = secret();
    another["data"]["token"] = json!("b3RoZXI=");
    assert_eq!(
        ask(probe(&["sh", "-c", script]), &another).await,
        Err(NoLogin::Exited(1))
    );
}

#[tokio::test]
async fn of_a_program_that_fails_its_exit_is_told_and_nothing_that_it_said() {
    let said = "echo \"$TOKEN\"; echo \"$TOKEN\" >&2; exit 3";
    let failed = ask(probe(&["sh", "-c", said]), &secret()).await.unwrap_err();
    assert_eq!(failed.to_string(), "exited with 3");
    let ended = ask(probe(&["sh", "-c", "kill -9 $$"]), &secret()).await;
    assert_eq!(ended, Err(NoLogin::Ended(9)));
    let missing = ask(probe(&["no-such-program"]), &secret()).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "could not be started: there is no such program"
    );
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
    let file = std::env::temp_dir().join(format!("astern-login-{}", std::process::id()));
    let script = format!("(sleep 3; touch {}) & wait", file.display());
    let mut hangs = probe(&["sh", "-c", &script]);
    hangs.timeout = SignedDuration::from_millis(500);
    let began = Instant::now();
    assert_eq!(ask(hangs, &secret()).await, Err(NoLogin::TooLong));
    assert!(
        began.elapsed() < Duration::from_millis(2500),
        "{:?}",
        began.elapsed()
    );
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert!(!file.exists(), "what it had started went on");
}

#[tokio::test]
async fn what_is_not_there_or_not_named_runs_nothing() {
    let of = |key: &str| {
        let mut probe = probe(&["true"]);
        probe.env = [("TOKEN".to_owned(), key.to_owned())].into();
        probe
    };
    assert_eq!(
        ask(of("other"), &secret()).await,
        Err(NoLogin::NoKey("other".to_owned()))
    );
    assert_eq!(
        ask(of("zero"), &secret()).await,
        Err(NoLogin::NoText("zero".to_owned()))
    );
    let unnamed = Programs::of(&Platform::of_namespace("shop"));
    assert_eq!(unnamed.ask(&of("token"), &secret()).await, Err(NoLogin::NotNamed));
}
