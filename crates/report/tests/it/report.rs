//! What a report says of a run that ended well, of one that holds, and of journals that say little.

use crate::sample::{self, told};
use astern_model::approval::How;
use astern_model::evidence::Known;
use astern_model::failure::{Failure, FailureClass};
use astern_model::finding::{Finding, Severity};
use astern_model::id::{Epoch, Seq, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use astern_model::step::{After, workload};
use astern_report::report::{Report, Stands, Tone};
use astern_report::*;

#[test]
fn without_a_verdict_nothing_counts_as_validated() {
    let report = told(&sample::not_judged());
    assert_eq!(report.status().0, Tone::Warn);
    for shown in [text(&report), markdown(&report), html(&report)] {
        assert!(shown.contains("not validated"), "{shown}");
        assert!(
            !shown.contains("✓ pass") && !shown.contains("restored and validated"),
            "{shown}"
        );
    }
}

#[test]
fn every_beginning_of_a_journal_makes_a_report_that_claims_no_more_than_it_says() {
    for records in [sample::restored(), sample::held()] {
        for known in 0..=records.len() {
            let report = told(&records[..known]);
            let said =
                |wanted: fn(&Event) -> bool| records[..known].iter().any(|record| wanted(&record.event));
            assert_eq!(
                report.checklist.verdict.is_some(),
                said(|event| matches!(event, Event::Judged { .. }))
            );
            assert_eq!(
                report.rollback.restored.is_some(),
                said(|event| matches!(event, Event::Restored))
            );
            let last = Seq(known as u64);
            assert!(
                cited(&report).iter().all(|seq| *seq <= last),
                "a record is cited that is not there"
            );
            assert!(!html(&report).is_empty() && !markdown(&report).is_empty() && !text(&report).is_empty());
        }
    }
}

/// Every sequence number in the report's JSON.
fn cited(report: &Report) -> Vec<Seq> {
    fn walk(value: &serde_json::Value, found: &mut Vec<Seq>) {
        match value {
            serde_json::Value::Object(map) => {
                found.extend(map.get("seq").and_then(serde_json::Value::as_u64).map(Seq));
                map.values().for_each(|value| walk(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(
        &serde_json::to_value(report).expect("a report is JSON"),
        &mut found,
    );
    assert!(!found.is_empty());
    found
}

#[test]
fn a_report_survives_its_json() {
    for records in [Vec::new(), sample::restored(), sample::held()] {
        let report = told(&records);
        let json = serde_json::to_string(&report).expect("a report is JSON");
        assert_eq!(
            serde_json::from_str::<Report>(&json).expect("the JSON is a report"),
            report
        );
    }
}

#[test]
fn what_the_gate_warned_of_is_to_do_in_its_own_words_and_by_its_code_where_a_journal_keeps_no_words() {
    let to_do = |found: Vec<Finding>| {
        let mut records = sample::restored();
        for record in &mut records {
            if let Event::Approved { approval, .. } = &mut record.event {
                approval.found.clone_from(&found);
            }
        }
        let lines = told(&records).follow_ups.into_iter().map(|line| line.what);
        let of_gate = lines.filter(|line| line.contains("the gate warned of"));
        of_gate.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(to_do(Vec::new()), @"Settle what the gate warned of: AST0207 and AST0214.");
    let found = Finding {
        severity: Severity::Warn,
        code: "AST0207".to_owned(),
        target: None,
        message:
            "deployment/api-gateway belongs to Helm release shop, which writes it again at the next upgrade"
                .to_owned(),
        hint: "put the version into its values before that".to_owned(),
    };
    insta::assert_snapshot!(to_do(vec![found]), @r"
    Settle what the gate warned of (AST0207): deployment/api-gateway belongs to Helm release shop, which writes it again at the next upgrade. It said what to do: put the version into its values before that.
    Settle what the gate warned of: AST0214.
    ");
}

#[test]
fn impact_is_computed_and_what_no_record_tells_is_unknown() {
    let check = |report: &Report, what: &str, expected: Option<&str>| {
        let figure = report
            .impact
            .iter()
            .find(|figure| figure.what == what)
            .unwrap_or_else(|| panic!("no figure {what}"));
        assert_eq!(figure.value.value().map(String::as_str), expected, "{what}");
        assert_eq!(
            matches!(figure.value, Known::Unknown(_)),
            figure.seqs.is_empty(),
            "{what}: a value cites its records"
        );
    };
    let restored = told(&sample::restored());
    check(&restored, "from the first evidence to restored", Some("2m 24s"));
    check(
        &restored,
        "from approval to restored",
        Some("1m 49s, within the budget of 15m (forecast 1m 45s)"),
    );
    check(&restored, "requests that failed", None);
    check(&restored, "users affected", None);
    let held = told(&sample::held());
    check(&held, "from the first evidence to restored", None);
    check(&held, "from approval to restored", None);
    check(&held, "from approval to the first change", Some("2.2s"));
}

#[test]
fn without_evidence_against_the_suspect_the_first_evidence_is_unknown() {
    let mut plan = sample::plan();
    for entry in &mut plan.assessment.workloads {
        entry.evidence.clear();
        entry.live_since = None;
    }
    let report = report(
        &sample::run(),
        &plan,
        &sample::hash(),
        &sample::restored(),
        sample::PLACE,
    );
    let unknown: Vec<&str> = report
        .impact
        .iter()
        .filter(|figure| figure.value.value().is_none())
        .map(|figure| figure.what.as_str())
        .collect();
    assert_eq!(
        unknown,
        [
            "from the suspect's arrival to restored",
            "from the first evidence to restored",
            "error lines of the suspect, at most",
            "requests that failed",
            "users affected",
        ]
    );
    assert!(html(&report).contains("since when is not known"));
}

#[test]
fn the_standing_of_a_workload_follows_from_what_became_of_its_write() {
    let write = StepId::from("template:deployment/api-gateway");
    let check = |events: &[Event], expected: &str| {
        let mut records: Vec<Record> = sample::not_judged();
        records.truncate(13);
        for event in events {
            let seq = Seq(records.len() as u64 + 1);
            records.push(Record {
                seq,
                epoch: Some(Epoch(2)),
                at: sample::at("14:16:01"),
                event: event.clone(),
            });
        }
        let report = told(&records);
        let standing = report
            .standings
            .iter()
            .find(|standing| standing.target == sample::target("api-gateway"));
        let stands = match &standing.expect("it is a target").on {
            Stands::Serves { version, .. } => format!("serves {version}"),
            Stands::Asks { version } => format!("asks {version}"),
            Stands::Fails { version, .. } => format!("fails {version}"),
            Stands::Untouched { version } => format!("untouched {version}"),
            Stands::TakenBack { version } => format!("taken back {version}"),
            Stands::NotKnown { from, to } => format!("{from} or {to}"),
        };
        assert_eq!(stands, expected, "{events:?}");
    };
    let all = sample::not_judged();
    let intended = all[13].event.clone();
    let applied = all[14].event.clone();
    let failure = |class| {
        Failure::new(
            class,
            "write the template of deployment/api-gateway",
            "the server said so",
        )
    };
    let failed = Event::Failed {
        step: write.clone(),
        failure: failure(FailureClass::Conflict),
    };
    let unsettled = Event::Unsettled {
        step: write.clone(),
        failure: failure(FailureClass::Unknown),
    };
    let back = Event::ReverseIntended {
        step: write.clone(),
        key: astern_model::id::EffectKey::from("back"),
        attempt: 1,
    };
    let after = workload::After::Written {
        template: sample::revision("api-gateway", 7, "v1.2.4").template,
        generation: 10,
    };
    let reversed = Event::Reversed {
        step: write,
        after: After::Workload(after),
    };
    check(&[], "untouched v1.2.4");
    check(std::slice::from_ref(&intended), "v1.2.4 or v1.2.3");
    check(&[intended.clone(), failed], "untouched v1.2.4");
    check(&[intended.clone(), unsettled], "v1.2.4 or v1.2.3");
    check(&[intended.clone(), applied.clone()], "asks v1.2.3");
    check(
        &[intended.clone(), applied.clone(), back.clone()],
        "v1.2.4 or v1.2.3",
    );
    check(&[intended, applied, back, reversed], "taken back v1.2.4");
}

#[test]
fn the_tag_goes_on_the_commit_behind_the_image_that_ran() {
    let report = told(&sample::restored());
    let tags: Vec<&str> = report
        .follow_ups
        .iter()
        .map(|what| what.what.as_str())
        .filter(|what| what.starts_with("Tag"))
        .collect();
    insta::assert_snapshot!(tags.join("\n"), @"Tag the commit that v1.2.4 was built from as failed: the one behind vcci-scope3/api-gateway:v1.2.4, vcci-scope3/calculation-engine:v1.2.4, vcci-scope3/data-ingestion:v1.2.4 and vcci-scope3/reporting-service:v1.2.4, not today's HEAD.");
    let nothing_was_taken_back = told(&sample::restored()[..3]);
    assert!(
        nothing_was_taken_back
            .follow_ups
            .iter()
            .all(|what| !what.what.starts_with("Tag"))
    );
}

#[test]
fn a_run_that_was_unwound_is_not_called_restored() {
    let mut records = sample::not_judged();
    let mut add = |event| {
        let seq = Seq(records.len() as u64 + 1);
        records.push(Record {
            seq,
            epoch: Some(Epoch(2)),
            at: sample::at("14:20:00"),
            event,
        });
    };
    add(Event::Unwinding {
        why: "on-call asked".to_owned(),
    });
    add(Event::Finished {
        outcome: Outcome::Unwound {
            why: "on-call asked".to_owned(),
        },
    });
    let report = told(&records);
    assert_eq!(report.status().1, "↩ unwound: as before");
    assert_eq!(report.rollback.restored, None);
    assert_eq!(
        report.title,
        "vcci-scope3: v1.2.4 not taken back: the run was unwound"
    );
}

#[test]
fn a_takeover_is_told_with_both_holders() {
    let mut records = sample::held();
    let seq = Seq(records.len() as u64 + 1);
    let event = Event::Taken {
        holder: sample::holder("laptop-7", 977),
    };
    records.push(Record {
        seq,
        epoch: None,
        at: sample::at("14:31:00"),
        event,
    });
    let report = told(&records);
    let hosts: Vec<&str> = report
        .head
        .holders
        .iter()
        .map(|holder| holder.what.host.as_str())
        .collect();
    assert_eq!(hosts, ["bastion-1", "laptop-7"]);
    assert!(html(&report).contains("then taken over by"));
}

#[test]
fn who_approved_and_how_is_said_and_nobody_is_nobody() {
    let mut records = sample::restored();
    if let Event::Approved { approval, .. } = &mut records[0].event {
        approval.how = How::Yes;
    }
    assert!(text(&told(&records)).contains("on-call at 2026-11-23 14:15:03 UTC, --yes  j1"));
    let nobody = told(&[]);
    for shown in [text(&nobody), markdown(&nobody), html(&nobody)] {
        assert!(shown.contains("nobody"), "{shown}");
    }
}

#[test]
fn a_plan_without_steps_makes_a_report_too() {
    let plan = Plan {
        steps: Vec::new(),
        changes: Vec::new(),
        choices: Vec::new(),
        ..sample::plan()
    };
    let report = report(&sample::run(), &plan, &sample::hash(), &[], sample::PLACE);
    assert!(report.standings.is_empty());
    assert!(html(&report).contains("vcci-scope3"));
}

/// A plan that puts ConfigMap app-config back and restarts api-gateway for it.
fn of_config() -> Plan {
    let target = sample::target("api-gateway");
    let step = |id: &str, after: &[&str], spec: serde_json::Value| {
        let step = serde_json::json!({
            "id": id, "after": after, "spec": spec, "reversal": {"kind": "exact"}, "deadline": "PT45S",
            "forecast": {"expected": "PT1S", "basis": {"kind": "request"}},
        });
        serde_json::from_value(step).expect("the sample is well formed")
    };
    let object = serde_json::json!({"kind": "ConfigMap", "name": "app-config"});
    let kept = serde_json::json!({"name": "saved-1", "keyedHash": "hmac-sha256:aa", "size": 9});
    let content = step(
        "config:configmap/app-config",
        &[],
        serde_json::json!({"layer": "config", "do": "restore", "object": object, "namespace": "vcci-scope3",
            "pin": {"uid": "u-1", "content": "hmac-sha256:bb"},
            "to": {"kept": kept, "content": "hmac-sha256:cc", "keys": ["MODE"], "origin": "release v1.2.3"}}),
    );
    let restart = step(
        "restart:deployment/api-gateway",
        &["config:configmap/app-config"],
        serde_json::json!({"layer": "workload", "do": "restart", "target": target, "at": "2026-11-23T14:14:31Z",
            "template": "sha256:dd", "pin": {"uid": "u-2", "template": "sha256:ee", "paused": false,
                "strategy": {"type": "recreate"}}}),
    );
    Plan {
        config: serde_json::from_value(serde_json::json!([{"object": object, "to": "release v1.2.3",
            "changes": [{"path": "data[MODE]", "from": {"value": "storm"}, "to": {"value": "calm"}}],
            "readers": [[target, "is restarted"]]}]))
        .expect("the sample is well formed"),
        steps: vec![content, restart],
        choices: Vec::new(),
        changes: serde_json::from_value(serde_json::json!([{"target": target, "fromVersion": "v1.2.4",
            "toVersion": "v1.2.4", "changes": []}]))
        .expect("the sample is well formed"),
        ..sample::plan()
    }
}

#[test]
fn a_run_that_puts_config_back_tells_what_changed_in_it_and_what_its_source_needs() {
    let mut records = sample::restored();
    records.truncate(1);
    let after =
        serde_json::json!({"layer": "config", "of": "written", "uid": "u-1", "content": "hmac-sha256:cc"});
    records.push(Record {
        seq: Seq(2),
        epoch: Some(Epoch(1)),
        at: sample::at("14:15:20"),
        event: Event::Applied {
            step: StepId::from("config:configmap/app-config"),
            after: serde_json::from_value(after).expect("the sample is well formed"),
        },
    });
    let report = report(
        &sample::run(),
        &of_config(),
        &sample::hash(),
        &records,
        sample::PLACE,
    );
    assert_eq!(
        report.title,
        "vcci-scope3: the content of configmap/app-config is being taken back"
    );
    for shown in [text(&report), markdown(&report), html(&report)] {
        for words in [
            "MODE",
            "storm",
            "calm",
            "is restarted",
            "before that is applied again",
        ] {
            assert!(shown.contains(words), "no {words:?}: {shown}");
        }
    }
}
