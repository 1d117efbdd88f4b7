//! How a release of the ledger reads.

use astern_model::release::Release;
use astern_report::{release_lines, release_markdown};
use serde_json::{Value, json};

fn item(name: &str, check: &str, result: &str, evidence: &str) -> Value {
    let target = json!({"kind": "Deployment", "namespace": "shop", "name": name});
    json!({"target": target, "check": check, "result": result, "evidence": evidence})
}

fn release() -> Release {
    let of = |name: &str| {
        [
            item(name, "restarts since the run began", "pass", "none"),
            item(name, "pods serving", "pass", "2 of 2 ready"),
            item(name, "error lines", "unknown", "logs were not read"),
        ]
    };
    let mut items: Vec<Value> = ["web", "api", "worker"]
        .iter()
        .flat_map(|name| of(name))
        .collect();
    items.push(item("worker", "probe health", "fail", "answers 500"));
    serde_json::from_value(json!({
        "name": "v1.2.3", "platform": "shop", "namespace": "shop", "by": "ci", "at": "2026-11-24T14:00:00Z",
        "standing": {"is": "candidate"},
        "health": {"at": "2026-11-24T14:00:00Z", "items": items},
        "workloads": [], "config": [],
    }))
    .unwrap_or_else(|error| panic!("it is a release: {error}"))
}

#[test]
fn of_a_release_s_health_what_a_workload_passed_is_one_row_and_what_is_unknown_of_several_is_told_once() {
    let text: Vec<String> = release_lines(&release())
        .into_iter()
        .map(|line| line.text)
        .collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    Release v1.2.3 of shop (namespace shop), recorded by ci at 2026-11-24 14:00:00 UTC
    · candidate: not judged

    Health
      RESULT      KIND/NAME                   CHECK           EVIDENCE
      ✓ pass      deployment/web              2 of 3 checks   2 of 2 ready
      ✓ pass      deployment/api              2 of 3 checks   2 of 2 ready
      ✓ pass      deployment/worker           2 of 4 checks   2 of 2 ready
      ✗ fail      deployment/worker           probe health    answers 500
      ? unknown   deployment/web and 2 more   error lines     logs were not read
    "#);
    let markdown = release_markdown(&release());
    assert_eq!(markdown.matches("logs were not read").count(), 3, "{markdown}");
}
