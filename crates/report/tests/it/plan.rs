//! How a plan, an assessment, choices, findings, a refusal and a verdict read before anything is done.

use crate::sample;
use astern_model::assessment::Assessment;
use astern_model::choice::Choice;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::decision::Refusal;
use astern_model::diff::{Change, Shown};
use astern_model::finding::Severity;
use astern_model::id::{StepId, Uid};
use astern_model::plan::{ConfigChanges, Plan};
use astern_model::reversal::Reversal;
use astern_model::step::{Basis, Forecast, Spec, Step, workload};
use astern_model::target::{Target, WorkloadKind};
use astern_model::verdict::CheckResult;
use astern_report::*;
use jiff::SignedDuration;

#[test]
fn a_plan_says_where_how_much_the_steps_what_stays_what_counts_and_how_long_in_this_order() {
    let text = plan_text(&sample::plan(), &sample::findings(), &sample::hash());
    insta::assert_snapshot!(text, @r#"
    Roll back vcci-scope3
      cluster    8c1f6e0a-52d4-4a35-9a1e-0d6c1d7f2b90 (uid of namespace kube-system), v1.34.4 at https://10.40.0.1:6443
      context    prod-eu-1
      namespace  vcci-scope3
      user       on-call

    4 workloads · 8 steps in 4 waves · 4 templates written · 3 warnings
    ✓ every step can be taken back

    Decision: ↩ roll back
      ↩ roll back: the new version crashes again and again (row crash-loop)
        deployment/api-gateway: 2 pods: CrashLoopBackOff, exit 1, 7 restarts
      ↩ roll back: pods of the new version do not become ready (row not-ready)
        deployment/reporting-service: 1 pod: not ready: HTTP probe failed with statuscode: 503
      ↩ roll back: the new version logs far more errors (row error-lines)
        deployment/calculation-engine: 14.2 error lines a minute and pod; allowed are 10

    Back to
      deployment/api-gateway         v1.2.4 → v1.2.3  ✓ observed: 1 pod of it serves now, ready since 2026-11-14 09:02:40 UTC
      deployment/calculation-engine  v1.2.4 → v1.2.3  ? presumed: it was the newest for 9d 5h until 2026-11-23 14:03:05 UTC, and nothing speaks against it
      deployment/data-ingestion      v1.2.4 → v1.2.3  ? presumed: it was the newest for 9d 5h until 2026-11-23 14:02:40 UTC, and nothing speaks against it
      deployment/reporting-service   v1.2.4 → v1.2.3  ? named by --to reporting-service=image:v1.2.3

    Steps
      wave 1, side by side
      1  put deployment/calculation-engine back to v1.2.3 (revision 6)  about 0.3s, at most 30s
      2  put deployment/data-ingestion back to v1.2.3 (revision 6)      about 0.3s, at most 30s
      wave 2, side by side
      3  wait until deployment/calculation-engine serves v1.2.3         about 48s, at most 5m (from 3 earlier runs)
      4  wait until deployment/data-ingestion serves v1.2.3             about 35s, at most 5m (from probes and counts)
      wave 3, side by side
      5  put deployment/api-gateway back to v1.2.3 (revision 6)         about 0.3s, at most 30s
      6  put deployment/reporting-service back to v1.2.3 (revision 6)   about 0.3s, at most 30s
      wave 4, side by side
      7  wait until deployment/api-gateway serves v1.2.3                about 40s, at most 5m (from 3 earlier runs)
      8  wait until deployment/reporting-service serves v1.2.3          about 55s, at most 5m (from probes and counts)

    What changes
      deployment/api-gateway: v1.2.4 → v1.2.3
        image vcci-scope3/api-gateway:v1.2.4 → vcci-scope3/api-gateway:v1.2.3
        changes: env[POOL_SIZE], resources.limits.memory 256Mi → 512Mi
        goes: env[SESSION_BACKEND]
      deployment/calculation-engine: v1.2.4 → v1.2.3
        image vcci-scope3/calculation-engine:v1.2.4 → vcci-scope3/calculation-engine:v1.2.3
      deployment/data-ingestion: v1.2.4 → v1.2.3
        image vcci-scope3/data-ingestion:v1.2.4 → vcci-scope3/data-ingestion:v1.2.3
      deployment/reporting-service: v1.2.4 → v1.2.3
        image vcci-scope3/reporting-service:v1.2.4 → vcci-scope3/reporting-service:v1.2.3
      values of env are ‹masked›; -o markdown and -o json list every place by itself

    It does not change
      · ConfigMap app-config and Secret api-keys stay as they are; both versions read the same keys of them
      · replicas, the HorizontalPodAutoscaler of deployment/api-gateway and everything outside the templates
      · StatefulSet queue and DaemonSet node-agent, which v1.2.4 did not touch

    It counts as recovered when this holds for 5m
      · deployment/api-gateway, deployment/calculation-engine, deployment/data-ingestion and deployment/reporting-service serve with all pods asked for, without a restart
      · at most 10 error lines a minute and pod
      · deployment/api-gateway: probe health: service/api-gateway:8080/health answers 200, /version is "v1.2.3", content-type is application/json

    ✓ within budget: about 1m 45s until the last workload serves; the RTO is 15m, 13m 15s to spare
    If a step fails once a workload is restored, the run holds: what was restored stays, and a person decides (resume or abort)

    Before you say yes
      ! Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade
      ! warning AST0207  deployment/data-ingestion: whether image vcci-scope3/data-ingestion:v1.2.3 can be had is not known: no node lists it
          if it cannot be pulled, the wait fails early and the run holds
      ! warning AST0214  deployment/reporting-service: Helm release vcci-scope3-platform writes it at its next upgrade
          roll the release back in its pipeline before the next upgrade

    Plan sha256:b71a1d0b5c43e6bc31c13e46a723299fef8e3d7ede5a5a9facc3e19f49c2d6ea
    made 2026-11-23 14:14:31 UTC, to be started before 2026-11-23 15:14:31 UTC
    "#);
}

#[test]
fn a_plan_in_markdown_has_the_same_parts_in_the_same_order_and_every_changed_place() {
    let plan = sample::plan();
    let text = plan_markdown(&plan, &sample::findings(), &sample::hash());
    let parts = [
        "# Roll back vcci-scope3",
        "- user `on-call`",
        "**4 workloads · 8 steps in 4 waves",
        "## Decision",
        "## Steps",
        "## It does not change",
        "## It counts as recovered",
        "## Forecast",
        "## Before you say yes",
    ];
    let places: Vec<usize> = parts
        .iter()
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is missing")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    for change in plan.changes.iter().flat_map(|of| &of.changes) {
        assert!(text.contains(&change.path), "{} is missing", change.path);
    }
}

#[test]
fn a_step_that_cannot_be_taken_back_is_named_before_the_steps() {
    let mut plan = sample::plan();
    plan.steps.push(pod_deletion());
    let lines = plan_lines(&plan, &[], &sample::hash());
    let named = lines
        .iter()
        .position(|line| line.kind == LineKind::Destroys)
        .expect("it is named");
    let steps = lines
        .iter()
        .position(|line| line.text == "Steps")
        .expect("the steps are listed");
    assert!(named < steps);
    insta::assert_snapshot!(lines[named].text, @"! cannot be taken back: delete pod/queue-2, so that it is made anew (OnDelete): what pod/queue-2 holds in memory");
    let all = joined(&lines);
    assert!(
        all.contains("1 pod deleted") && !all.contains("every step can be taken back"),
        "{all}"
    );
}

fn pod_deletion() -> Step {
    let target = Target {
        kind: WorkloadKind::StatefulSet,
        namespace: "vcci-scope3".to_owned(),
        name: "queue".to_owned(),
    };
    Step {
        id: StepId::from("pod:queue-2"),
        after: Vec::new(),
        spec: Spec::Workload(workload::Spec::DeletePod {
            target,
            uid: Uid::from("uid-queue"),
            pod: "queue-2".to_owned(),
            pod_uid: Uid::from("uid-queue-2"),
            template: sample::revision("queue", 3, "v1.2.3").template,
            why: workload::DeleteWhy::OnDelete,
        }),
        reversal: Reversal::PointOfNoReturn {
            lost: "what pod/queue-2 holds in memory".to_owned(),
        },
        deadline: SignedDuration::from_secs(60),
        forecast: Forecast {
            expected: SignedDuration::from_secs(12),
            basis: Basis::Request,
        },
    }
}

#[test]
fn what_changes_in_config_is_told_key_by_key_with_who_reads_it_and_no_value_of_a_secret() {
    let object = |kind, name: &str| ConfigName {
        kind,
        name: name.to_owned(),
    };
    let change = |path: &str, from: Option<Shown>, to: Option<Shown>| Change {
        path: path.to_owned(),
        from,
        to,
    };
    let value = |text: &str| Some(Shown::Value(text.to_owned()));
    let plan = Plan {
        config: vec![
            ConfigChanges {
                object: object(ConfigKind::ConfigMap, "app-config"),
                anew: false,
                to: "release v1.2.3".to_owned(),
                because: Some("deployment/mailer fails and reads it".to_owned()),
                proof: None,
                changes: vec![
                    change("data[MODE]", value("storm"), value("calm")),
                    change("data[NEW]", value("1"), None),
                ],
                readers: vec![
                    (
                        sample::target("api-gateway"),
                        "starts with it, since its template goes back too".to_owned(),
                    ),
                    (sample::target("mailer"), "is restarted".to_owned()),
                ],
            },
            ConfigChanges {
                object: object(ConfigKind::Secret, "api-keys"),
                anew: true,
                to: "release v1.2.3".to_owned(),
                because: None,
                proof: Some("login probe psql answered at 2026-11-23 14:03:05 UTC".to_owned()),
                changes: vec![
                    change("data[token]", Some(Shown::Masked), Some(Shown::Masked)),
                    change(
                        "data[user]",
                        Some(Shown::Keyed("1f0c9e77".to_owned())),
                        Some(Shown::Keyed("a85be013".to_owned())),
                    ),
                ],
                readers: Vec::new(),
            },
        ],
        ..sample::plan()
    };
    let text = plan_text(&plan, &[], &sample::hash());
    let (_, rest) = text.split_once("What changes in ConfigMaps").unwrap();
    let (part, _) = rest.split_once("\n\n").unwrap();
    insta::assert_snapshot!(part, @r"
    and Secrets
     configmap/app-config goes back to release v1.2.3
       because deployment/mailer fails and reads it
       data[MODE]: storm → calm
       data[NEW]: 1 → (none)
       deployment/api-gateway starts with it, since its template goes back too
       deployment/mailer is restarted
     secret/api-keys is made anew as of release v1.2.3
       data[token]: ‹masked› (before) → ‹masked› (after)
       data[user]: ‹masked 1f0c9e77› (before) → ‹masked a85be013› (after)
       login probe psql answered at 2026-11-23 14:03:05 UTC
    ");
    let markdown = plan_markdown(&plan, &[], &sample::hash());
    assert!(
        markdown.contains("## What changes in ConfigMaps and Secrets"),
        "{markdown}"
    );
    assert!(markdown.contains("(before)"), "{markdown}");
}

#[test]
fn the_forecast_is_held_against_the_budget() {
    let check = |forecast: i64, expected: &str| {
        let plan = Plan {
            forecast: SignedDuration::from_secs(forecast),
            ..sample::plan()
        };
        let text = plan_text(&plan, &[], &sample::hash());
        assert!(text.contains(expected), "{text}");
    };
    check(
        105,
        "✓ within budget: about 1m 45s until the last workload serves; the RTO is 15m, 13m 15s to spare",
    );
    check(
        900,
        "✓ within budget: about 15m until the last workload serves; the RTO is 15m, 0s to spare",
    );
    check(
        1140,
        "✗ over budget: about 19m until the last workload serves, 4m more than the RTO of 15m",
    );
}

#[test]
fn an_assessment_is_a_table_in_kubectls_manner() {
    let mut assessment = sample::plan().assessment;
    assessment.workloads[2].digest = None;
    assessment.workloads[2].age = None;
    insta::assert_snapshot!(assessment_text(&assessment), @r#"
    KIND/NAME                       VERSION   DIGEST         REVISION   READY   AGE       STATE        REASON
    deployment/api-gateway          v1.2.4    fae39eb1cfc7   7          1/3     12m 17s   ✗ failing    CrashLoopBackOff, exit 1, 7 restarts; 1 pod of an earlier version ready
    deployment/calculation-engine   v1.2.4    cd9c50de2bfa   7          4/4     11m 23s   ! degraded   14.2 error lines a minute and pod
    deployment/data-ingestion       v1.2.4    unknown        7          2/2     unknown   ✓ healthy
    deployment/reporting-service    v1.2.4    9bd20848c8bc   7          1/2     11m 6s    ✗ failing    not ready: HTTP probe failed with statuscode: 503
    "#);
    assert_eq!(
        assessment_text(&Assessment {
            workloads: Vec::new()
        }),
        "There are no workloads in scope.\n"
    );
}

#[test]
fn what_is_only_presumed_or_named_is_never_called_good() {
    let choices = sample::plan().choices;
    insta::assert_snapshot!(choices_text(&[choices[0].clone(), choices[1].clone(), choices[3].clone()]), @r#"
    deployment/api-gateway
      CHOICE          VERSION      REVISION   KEPT BY                 WHY
      ✓ good          v1.2.3       6          api-gateway-54abc9934   observed: 1 pod of it serves now, ready since 2026-11-14 09:02:40 UTC
      · passed over   v1.2.4       7          api-gateway-b1fb2ba38   it is the suspect
      · passed over   v1.2.3-rc1   5          api-gateway-a9c824edb   it was the newest for 11m only, less than the 30m that policy asks for
      · passed over   v1.2.2       4          api-gateway-baa94da52   r20261109-221144-0b1d rolled it back

    deployment/calculation-engine
      CHOICE            VERSION      REVISION   KEPT BY                        WHY
      ? presumed good   v1.2.3       6          calculation-engine-b0973dec6   presumed: it was the newest for 9d 5h until 2026-11-23 14:03:05 UTC, and nothing speaks against it
      · passed over     v1.2.4       7          calculation-engine-e9930ceab   it is the suspect
      · passed over     v1.2.3-rc1   5          calculation-engine-e593c8657   it was the newest for 11m only, less than the 30m that policy asks for
      · passed over     v1.2.2       4          calculation-engine-b2c00b780   r20261109-221144-0b1d rolled it back

    deployment/reporting-service
      CHOICE          VERSION      REVISION   KEPT BY                       WHY
      ? named         v1.2.3       6          reporting-service-b1479374b   named by --to reporting-service=image:v1.2.3
      · passed over   v1.2.4       7          reporting-service-a3d2b9ad1   it is the suspect
      · passed over   v1.2.3-rc1   5          reporting-service-74707e0e1   it was the newest for 11m only, less than the 30m that policy asks for
      · passed over   v1.2.2       4          reporting-service-d8f7c72ea   r20261109-221144-0b1d rolled it back
    "#);
}

#[test]
fn a_refusal_says_why_what_there_is_and_the_ways_out() {
    let nothing_good = Choice {
        good: None,
        notes: vec!["revisionHistoryLimit: 0 keeps no revision but the live one".to_owned()],
        ..sample::plan().choices[0].clone()
    };
    let refusal = Refusal {
        code: "AST0101".to_owned(),
        summary: "there is no revision of deployment/api-gateway to go back to".to_owned(),
        details: vec!["the live revision is the only one that the cluster remembers".to_owned()],
        choices: vec![nothing_good],
        ways_out: vec!["astern rollback --to api-gateway=sha256:… names one yourself".to_owned()],
    };
    insta::assert_snapshot!(refusal_text(&refusal), @r#"
    ✗ refused AST0101  there is no revision of deployment/api-gateway to go back to
    Nothing was changed.

    Why
      the live revision is the only one that the cluster remembers

    What there is
      deployment/api-gateway
        ✗ nothing to go back to: none of these is known to be good
        CHOICE          VERSION      REVISION   KEPT BY                 WHY
        · passed over   v1.2.4       7          api-gateway-b1fb2ba38   it is the suspect
        · passed over   v1.2.3-rc1   5          api-gateway-a9c824edb   it was the newest for 11m only, less than the 30m that policy asks for
        · passed over   v1.2.2       4          api-gateway-baa94da52   r20261109-221144-0b1d rolled it back
        ! revisionHistoryLimit: 0 keeps no revision but the live one

    What you can do
      astern rollback --to api-gateway=sha256:… names one yourself
    "#);
    assert!(refusal_markdown(&refusal).contains("Nothing was changed."));
}

#[test]
fn a_refusal_of_the_gate_stands_before_its_warnings() {
    let mut findings = sample::findings();
    findings[1].severity = Severity::Refuse;
    insta::assert_snapshot!(findings_text(&findings), @r#"
    ✗ refused AST0214  deployment/reporting-service: Helm release vcci-scope3-platform writes it at its next upgrade
        roll the release back in its pipeline before the next upgrade
    ! warning AST0207  deployment/data-ingestion: whether image vcci-scope3/data-ingestion:v1.2.3 can be had is not known: no node lists it
        if it cannot be pulled, the wait fails early and the run holds
    "#);
}

#[test]
fn a_check_that_is_unknown_does_not_pass() {
    let verdict = sample::verdict(CheckResult::Unknown);
    insta::assert_snapshot!(verdict_text(&verdict), @r#"
    ✗ not passed: 1 unknown of 8 checks (7 passed)
    Held for 5m 1s, judged from 2026-11-23 14:16:52 UTC to 2026-11-23 14:21:53 UTC.

    RESULT      KIND/NAME                       CHECK          EVIDENCE
    ✓ pass      deployment/api-gateway          pods serving   3 of 3 ready, all of v1.2.3
    ✓ pass      deployment/api-gateway          restarts       0 since 14:15:05
    ✓ pass      deployment/api-gateway          error lines    0.2 a minute and pod; allowed are 10
    ? unknown   deployment/api-gateway          probe health   200, /version is "v1.2.3"
    ✓ pass      deployment/calculation-engine   pods serving   4 of 4 ready, all of v1.2.3
    ✓ pass      deployment/calculation-engine   error lines    0.4 a minute and pod; allowed are 10
    ✓ pass      deployment/data-ingestion       pods serving   2 of 2 ready, all of v1.2.3
    ✓ pass      deployment/reporting-service    pods serving   2 of 2 ready, all of v1.2.3
    "#);
    assert!(verdict_markdown(&verdict).starts_with("**✗ not passed"));
}

#[test]
fn in_a_long_checklist_a_workload_that_passed_everything_is_one_row_and_what_failed_is_told_whole() {
    let mut verdict = sample::verdict(CheckResult::Fail);
    let twice = verdict.items.clone();
    verdict
        .items
        .extend(twice.into_iter().filter(|item| item.target.name != "api-gateway"));
    let text = verdict_text(&verdict);
    let rows = |name: &str| text.lines().filter(|line| line.contains(name)).count();
    assert_eq!(rows("deployment/calculation-engine"), 4, "not long: {text}");

    let more = verdict.items.clone();
    verdict.items.extend(more);
    let text = verdict_text(&verdict);
    let rows = |name: &str| text.lines().filter(|line| line.contains(name)).count();
    assert_eq!(rows("deployment/calculation-engine"), 1, "{text}");
    assert!(
        text.contains("all 8 checks   4 of 4 ready, all of v1.2.3"),
        "{text}"
    );
    assert!(
        rows("deployment/api-gateway") > 1 && text.contains("✗ fail"),
        "{text}"
    );
}
