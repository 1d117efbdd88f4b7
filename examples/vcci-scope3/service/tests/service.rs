//! The service as a cluster sees it: a process with an environment, a port, a log and an exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TOKEN: &str = "token-of-the-test";
const CALCULATE: &str = "/api/v1/emissions/calculate";
/// Far above what an answer takes: only a service that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running service; killed if a test ends without stopping it.
struct Service {
    process: Child,
    log: BufReader<ChildStdout>,
    address: String,
}

impl Service {
    fn start(env: &[(&str, &str)]) -> Self {
        let mut process = command(env).stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let (_, address) = line
            .trim()
            .rsplit_once(" listening on ")
            .unwrap_or_else(|| panic!("{line:?}"));
        Self {
            process,
            log,
            address: address.to_owned(),
        }
    }

    fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head}Host: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    fn factors(&self, token: &str) -> u16 {
        let head = format!("GET /api/v1/emissions/factors HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
        answer_of(self.send(&head, "")).0
    }

    fn get(&self, path: &str) -> (u16, String) {
        answer_of(self.send(&format!("GET {path} HTTP/1.1\r\n"), ""))
    }

    fn calculate(&self, token: Option<&str>, body: &str) -> (u16, Value) {
        let (status, body) = answer_of(self.send(&calculation(token), body));
        (status, serde_json::from_str(&body).unwrap())
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line
    }

    fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end, and gives the exit status with the rest of the log.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap(), rest)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vcci-scope3-service"));
    command
        .env_clear()
        .envs([("PORT", "0"), ("BIND_ADDRESS", "127.0.0.1")])
        .envs(env.iter().copied());
    command
}

fn calculation(token: Option<&str>) -> String {
    let bearer = token
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    format!("POST {CALCULATE} HTTP/1.1\r\n{bearer}")
}

fn answer_of(mut stream: TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn question() -> String {
    json!({ "entity_id": "TEST001", "period": "2024-01" }).to_string()
}

#[test]
fn calculates_for_the_bearer_of_the_token_and_never_logs_it() {
    let file = std::env::temp_dir().join(format!("vcci-token-{}", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let service = Service::start(&[
        ("API_TOKEN_FILE", file.to_str().unwrap()),
        ("API_TOKEN", "unused"),
    ]);
    std::fs::remove_file(&file).unwrap();

    for refused in [
        None,
        Some("wrong"),
        Some(""),
        Some("unused"),
        Some("token-of-the-tesT"),
    ] {
        assert_eq!(service.calculate(refused, &question()).0, 401, "{refused:?}");
    }
    for bad in [
        "",
        "{",
        r#"{"entity_id":"TEST001"}"#,
        r#"{"entity_id":"","period":"2024-01"}"#,
        r#"{"entity_id":"TEST001","period":"2024-13"}"#,
        r#"{"entity_id":"TEST001","period":"January"}"#,
        &format!(
            r#"{{"entity_id":"TEST001","period":"2024-01","more":"{}"}}"#,
            "x".repeat(20_000)
        ),
    ] {
        let (status, answer) = service.calculate(Some(TOKEN), bad);
        assert_eq!(status, 400, "{bad:.80}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    let (status, answer) = service.calculate(Some(TOKEN), &question());
    assert_eq!(status, 200);
    let parts = answer["breakdown"].as_array().unwrap();
    let sum: u64 = parts.iter().map(|part| part["emissions"].as_u64().unwrap()).sum();
    assert_eq!(answer["total"], json!(sum));
    assert_eq!(
        service.calculate(Some(TOKEN), &question()).1,
        answer,
        "the same question, the same answer"
    );

    assert_eq!((service.factors(TOKEN), service.factors("wrong")), (200, 401));

    service.terminate();
    let (status, log) = service.end();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains(&format!("POST {CALCULATE} 200")), "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn without_a_configured_token_nobody_may_calculate() {
    let mut service = Service::start(&[]);
    assert!(service.next_line().contains(" WARN no API token"));
    assert_eq!(service.calculate(Some(""), &question()).0, 401);
    assert_eq!(service.calculate(Some(TOKEN), &question()).0, 401);
}

#[test]
fn health_names_service_and_version() {
    let service = Service::start(&[("SERVICE_NAME", "api-gateway"), ("APP_VERSION", "v1.2.3")]);
    let (status, body) = service.get("/health");
    let expected = json!({ "status": "healthy", "service": "api-gateway", "version": "v1.2.3" });
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).unwrap()),
        (200, expected)
    );
    assert_eq!(service.get("/ready").0, 200);
    assert_eq!(service.get("/nowhere").0, 404);
    assert_eq!(service.get(CALCULATE).0, 405);
}

#[test]
fn an_error_share_fails_evenly_and_shows_in_metrics_and_log() {
    let service = Service::start(&[("API_TOKEN", TOKEN), ("ERROR_SHARE", "0.25")]);
    let statuses: Vec<u16> = (0..12)
        .map(|_| service.calculate(Some(TOKEN), &question()).0)
        .collect();
    assert_eq!(
        statuses,
        [200, 200, 200, 500, 200, 200, 200, 500, 200, 200, 200, 500]
    );
    service.get("/made-up");

    let (_, page) = service.get("/metrics");
    let labels = format!("method=\"POST\",path=\"{CALCULATE}\"");
    for line in [
        format!("http_requests_total{{{labels},status=\"200\"}} 9"),
        format!("http_requests_total{{{labels},status=\"500\"}} 3"),
        format!("http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 12"),
        format!("http_request_duration_seconds_count{{{labels}}} 12"),
        "http_requests_total{method=\"GET\",path=\"other\",status=\"404\"} 1".to_owned(),
        "# TYPE http_request_duration_seconds histogram".to_owned(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    let buckets: Vec<u64> = page
        .lines()
        .filter(|line| line.starts_with(&format!("http_request_duration_seconds_bucket{{{labels}")))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert!(buckets.is_sorted(), "buckets are cumulative: {buckets:?}");

    service.terminate();
    let (_, log) = service.end();
    assert_eq!(log.matches(" ERROR could not calculate").count(), 3, "{log}");
}

#[test]
fn error_lines_come_without_traffic() {
    let mut service = Service::start(&[("API_TOKEN", TOKEN), ("ERROR_LOG_PER_MINUTE", "6000")]);
    assert!(service.next_line().contains(" ERROR batch 1: "));
    assert!(service.next_line().contains(" ERROR batch 2: "));
}

#[test]
fn readiness_may_come_late_or_never_while_health_stays() {
    let late = Service::start(&[("READY_AFTER_MS", "1500")]);
    let (status, body) = late.get("/ready");
    assert!(status == 503 && body.contains("warming up"), "{status} {body}");
    let started = Instant::now();
    while late.get("/ready").0 != 200 {
        assert!(started.elapsed() < PATIENCE);
    }

    let mut never = Service::start(&[("API_TOKEN", TOKEN), ("NEVER_READY", "true")]);
    let reason = "the schema registry has not answered";
    assert!(never.next_line().contains(reason));
    let (status, body) = never.get("/ready");
    assert!(status == 503 && body.contains(reason), "{status} {body}");
    assert_eq!(never.get("/health").0, 200);
}

#[test]
fn crashes_when_told_to_with_exit_code_1_and_a_last_line() {
    let output = command(&[("CRASH_AFTER_MS", "50")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let last = String::from_utf8(output.stderr).unwrap();
    assert!(
        last.contains(" FATAL could not open the connection pool"),
        "{last}"
    );
    assert_eq!(last.lines().count(), 1);
}

#[test]
fn an_environment_without_sense_crashes_at_start_and_says_why() {
    for (env, reason) in [
        (
            vec![("REQUIRE_ENV", "HOME, REGION"), ("HOME", "/")],
            "config key REGION is missing",
        ),
        (
            vec![("REQUIRE_ENV", "REGION"), ("REGION", "")],
            "config key REGION is missing",
        ),
        (
            vec![("ERROR_SHARE", "1.5")],
            "ERROR_SHARE is \"1.5\", which is not a number from 0 to 1",
        ),
        (vec![("ERROR_SHARE", "NaN")], "which is not a number from 0 to 1"),
        (
            vec![("LATENCY_MS", "2s")],
            "LATENCY_MS is \"2s\", which is not a whole number of milliseconds",
        ),
        (vec![("NEVER_READY", "maybe")], "which is not true or false"),
        (
            vec![("API_TOKEN_FILE", "/nowhere/token")],
            "API_TOKEN_FILE \"/nowhere/token\" gives no token",
        ),
    ] {
        let output = command(&env).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{env:?}");
        assert!(
            error.contains(" FATAL could not start: ") && error.contains(reason),
            "{env:?}: {error}"
        );
    }
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let service = Service::start(&[("API_TOKEN", TOKEN), ("LATENCY_MS", "500")]);
    let in_flight = service.send(&calculation(Some(TOKEN)), &question());
    // An answer on a later connection's first bytes proves that the earlier one was accepted.
    let (status, _) = service.get("/metrics");
    assert_eq!(status, 200);
    service.terminate();
    assert_eq!(answer_of(in_flight).0, 200);
    let (status, log) = service.end();
    assert_eq!(status.code(), Some(0));
    assert!(log.trim_end().ends_with("INFO stopped"), "{log}");
}
