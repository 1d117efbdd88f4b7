//! A sound plan with its world, for tests: small, whole, and without a finding until a test changes something.

mod world;

pub(crate) use world::{hash, pod, template};

use crate::checked::{CheckedPlan, Rejected, check, questions};
use crate::context::{Context, Door, Progress, Write, writes};
use crate::{ApprovedPlan, readmit, rules};
use astern_model::approval::{Approval, How};
use astern_model::choice::RevisionRef;
use astern_model::config::{ConfigKind, ConfigName, LiveConfig, ReleaseContent};
use astern_model::content::ContentRef;
use astern_model::evidence::Trouble;
use astern_model::finding::{Allowances, Finding, Severity};
use astern_model::helm::ReleaseName;
use astern_model::id::{PlanHash, StepId, Uid};
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind, Paused};
use astern_model::plan::{ConfigChanges, Intent, Plan};
use astern_model::question::{Answer, Answers, Question};
use astern_model::reversal::Reversal;
use astern_model::step::workload::{DeleteWhy, Pin, RestartMark, Spec as WorkloadSpec};
use astern_model::step::{Spec, Step, config, helm, owner as owner_step};
use astern_model::target::WorkloadKind;
use astern_model::template::Template;
use astern_model::workload::{Owner, OwnerKind, OwnerState, Workload};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use world::{at, inventory, plan, reference, step, workload};

const NAMESPACE: &str = "shop";

/// The same template, which reads key MODE of app-config.
fn reads_config(template: &Template) -> Template {
    let mut json = template.json().clone();
    let read =
        json!({"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "app-config", "key": "MODE"}}});
    if let Some(env) = json
        .pointer_mut("/spec/containers/0/env")
        .and_then(Value::as_array_mut)
    {
        env.push(read);
    }
    Template::clean(json)
}

/// What a rule is held against.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) plan: Plan,
    pub(crate) sealed: Vec<u8>,
    pub(crate) inventory: Inventory,
    pub(crate) answers: Answers,
    pub(crate) allow: Allowances,
    pub(crate) now: Timestamp,
    /// None is a start.
    pub(crate) progress: Option<BTreeMap<StepId, Progress>>,
}

impl Fixture {
    /// deployment/api-gateway goes back from v1.2.4 to v1.2.3.
    pub(crate) fn sound() -> Self {
        Self::of(workload(WorkloadKind::Deployment, "api-gateway"))
    }

    /// The same, with ConfigMap app-config put back to release v1.2.3 before, which both templates read.
    pub(crate) fn with_config() -> Self {
        let mut workload = workload(WorkloadKind::Deployment, "api-gateway");
        for revision in &mut workload.revisions {
            revision.template = reads_config(&revision.template);
            revision.hash = revision.template.hash();
        }
        workload.template = reads_config(&workload.template);
        let mut fixture = Self::of(workload);
        let object = ConfigName {
            kind: ConfigKind::ConfigMap,
            name: "app-config".to_owned(),
        };
        fixture.inventory.config.live = vec![LiveConfig {
            name: object.clone(),
            uid: "uid-app-config".into(),
            content: "hmac-sha256:aaaaaaaaaaaaaaaa".into(),
            immutable: false,
            secret_type: None,
            source: None,
            drawn: None,
            owners: Vec::new(),
            manager: None,
        }];
        let id = StepId::from("config:configmap/app-config");
        let spec = config::Spec::Restore {
            object: object.clone(),
            namespace: NAMESPACE.to_owned(),
            pin: config::Pin {
                uid: "uid-app-config".into(),
                content: "hmac-sha256:aaaaaaaaaaaaaaaa".into(),
            },
            to: config::Wanted {
                kept: ContentRef {
                    name: "saved-1".to_owned(),
                    keyed_hash: "hmac-sha256:cc".to_owned(),
                    size: 9,
                },
                content: "hmac-sha256:bbbbbbbbbbbbbbbb".into(),
                keys: vec!["MODE".to_owned()],
                origin: "release v1.2.3".to_owned(),
                proof: None,
            },
        };
        let mut first = fixture.plan.steps[0].clone();
        first.id = id.clone();
        first.spec = Spec::Config(spec);
        fixture.plan.steps[0].after.push(id);
        fixture.plan.steps.insert(0, first);
        fixture.plan.config = vec![ConfigChanges {
            object,
            anew: false,
            to: "release v1.2.3".to_owned(),
            because: None,
            changes: Vec::new(),
            proof: None,
            readers: Vec::new(),
        }];
        fixture.finish()
    }

    /// The content step of [`Self::with_config`].
    pub(crate) fn config(&mut self) -> &mut config::Spec {
        match &mut self.plan.steps[0].spec {
            Spec::Config(spec) => spec,
            other => panic!("no content is written first: {other:?}"),
        }
    }

    /// How the object of [`Self::with_config`] stands.
    pub(crate) fn live_config(&mut self) -> &mut LiveConfig {
        &mut self.inventory.config.live[0]
    }

    /// deployment/api-gateway is restarted for app-config instead.
    pub(crate) fn restarted() -> Self {
        let mut fixture = Self::with_config();
        let WorkloadSpec::WriteTemplate { target, pin, .. } = fixture.spec(1).clone() else {
            panic!("the plan goes on with a write");
        };
        let at = "2026-11-23T14:12:00Z".to_owned();
        let marked = fixture.workload().template.restarted(&at).hash();
        if let WorkloadSpec::AwaitRollout { template, .. } = fixture.spec(2) {
            *template = marked.clone();
        }
        *fixture.spec(1) = WorkloadSpec::Restart {
            target,
            pin,
            at,
            template: marked,
        };
        fixture.plan.choices.clear();
        fixture.finish()
    }

    /// The same, with the Argo CD application that owns it paused first, and the application above that one before it.
    pub(crate) fn with_owner() -> Self {
        let mut fixture = Self::sound();
        let writes = || OwnerState::WritesBack {
            because: "automated.selfHeal: true".to_owned(),
        };
        let named = |name: &str| OwnerName {
            kind: PausableKind::Application,
            namespace: "argocd".to_owned(),
            name: name.to_owned(),
        };
        let by = |name: &str| Owner {
            name: name.to_owned(),
            object: Some(named(name)),
            ..owner(OwnerKind::ArgoCd, writes())
        };
        fixture.workload().owners = vec![by("shop")];
        let seen = |name: &str, parents: Vec<Owner>| OwnerSeen {
            name: named(name),
            uid: Uid(format!("uid-{name}")),
            state: writes(),
            setting: json!({"selfHeal": true}),
            parents,
            paused: None,
            in_sync: None,
            scales: None,
        };
        fixture.inventory.owners = vec![seen("root", Vec::new()), seen("shop", vec![by("root")])];
        let mut steps: Vec<Step> = Vec::new();
        for name in ["root", "shop"] {
            let after = steps.last().map(|step| step.id.clone());
            let (pause, quiet) = (StepId(format!("pause:{name}")), StepId(format!("paused:{name}")));
            let uid = Uid(format!("uid-{name}"));
            let pin = owner_step::Pin {
                uid: uid.clone(),
                setting: json!({"selfHeal": true}),
            };
            let spec = owner_step::Spec::Pause {
                owner: named(name),
                pin,
                namespace: NAMESPACE.to_owned(),
                guard: SignedDuration::from_hours(24),
            };
            let template = fixture.plan.steps[0].clone();
            steps.push(Step {
                id: pause.clone(),
                after: after.into_iter().collect(),
                spec: Spec::Owner(spec),
                ..template.clone()
            });
            steps.push(Step {
                id: quiet,
                after: vec![pause],
                spec: Spec::Owner(owner_step::Spec::AwaitPaused {
                    owner: named(name),
                    uid,
                }),
                reversal: Reversal::Nothing,
                ..template
            });
        }
        let last = steps.last().map(|step| step.id.clone());
        fixture.plan.steps[0].after.extend(last);
        fixture.plan.steps.splice(0..0, steps);
        fixture.finish()
    }

    /// The same as [`Self::sound`], stopped first and started with three pods afterwards: stop, gone, template, start, rollout.
    pub(crate) fn stopped() -> Self {
        let mut fixture = Self::sound();
        fixture.workload().desired = 3;
        let target = fixture.workload().target.clone();
        let (pin, to) = (fixture.pin(0).clone(), fixture.to(0).template.clone());
        let named = |what: &str| StepId(format!("{what}:{target}"));
        let scale = |pin: Pin, from: u32, to: u32| WorkloadSpec::Scale {
            target: target.clone(),
            pin,
            from: Some(from),
            to,
        };
        let gone = WorkloadSpec::AwaitGone {
            target: target.clone(),
            uid: pin.uid.clone(),
            template: pin.template.clone(),
        };
        let started = Pin {
            template: to,
            ..pin.clone()
        };
        let write = fixture.plan.steps[0].id.clone();
        fixture.plan.steps[0].after = vec![named("gone")];
        fixture.plan.steps[1].after = vec![named("start")];
        let first = [
            step(named("stop"), Vec::new(), Reversal::Exact, scale(pin, 3, 0)),
            step(named("gone"), vec![named("stop")], Reversal::Nothing, gone),
        ];
        fixture.plan.steps.splice(0..0, first);
        let start = step(named("start"), vec![write], Reversal::Exact, scale(started, 0, 3));
        fixture.plan.steps.insert(3, start);
        fixture.finish()
    }

    /// Application `shop`, which run r1 has paused, goes on.
    pub(crate) fn resuming() -> Self {
        let mut fixture = Self::with_owner();
        let shop = &mut fixture.inventory.owners[1];
        shop.setting = Value::Null;
        shop.in_sync = Some(InSync::Yes {
            revision: "3f2a".to_owned(),
        });
        shop.paused = Some(Paused {
            run: "r1".into(),
            namespace: NAMESPACE.to_owned(),
            at: world::at("2026-11-23T14:12:00Z"),
            due: world::at("2026-11-24T14:12:00Z"),
            was: json!({"selfHeal": true}),
        });
        let spec = owner_step::Spec::Resume {
            owner: shop.name.clone(),
            pin: owner_step::Pin {
                uid: shop.uid.clone(),
                setting: Value::Null,
            },
            paused_by: Some("r1".into()),
            if_in_sync: true,
            to: json!({"selfHeal": true}),
        };
        fixture.inventory.owners.remove(0);
        let mut step = fixture.plan.steps[0].clone();
        step.spec = Spec::Owner(spec);
        fixture.plan.steps = vec![step];
        fixture.plan.intent = Intent::ResumeOwners;
        fixture.plan.choices.clear();
        fixture.plan.recovered_when.targets.clear();
        fixture.finish()
    }

    /// The same through Helm release `shop`: the release's rollback, then the rollout.
    pub(crate) fn through_release() -> Self {
        let mut fixture = Self::sound();
        let WorkloadSpec::WriteTemplate { target, pin, to, .. } = fixture.spec(0).clone() else {
            panic!("the sound plan begins with a write");
        };
        fixture.inventory.config.through = vec![ReleaseContent {
            release: ReleaseName {
                namespace: target.namespace.clone(),
                name: "shop".to_owned(),
            },
            revision: 3,
            differing: Vec::new(),
            unknown: Vec::new(),
        }];
        let record = |number| helm::Pin {
            number,
            uid: Uid(format!("uid-shop-{number}")),
            content: hash('5').0,
        };
        fixture.plan.steps[0].spec = Spec::Helm(helm::Spec::Rollback {
            release: ReleaseName {
                namespace: target.namespace.clone(),
                name: "shop".to_owned(),
            },
            from: record(4),
            to: record(3),
            timeout: SignedDuration::from_mins(5),
            wait: false,
            cleanup_on_fail: false,
            force_conflicts: true,
            workloads: vec![helm::Carried { target, pin, to }],
            contents: Vec::new(),
        });
        fixture.plan.steps[0].reversal = Reversal::Compensate {
            trace: "one more revision".to_owned(),
        };
        fixture
    }

    /// The same, of a paused Deployment: template, resume, rollout.
    pub(crate) fn paused() -> Self {
        let mut paused = workload(WorkloadKind::Deployment, "api-gateway");
        paused.paused = true;
        let mut fixture = Self::of(paused);
        let mut pin = fixture.pin(0).clone();
        pin.template = fixture.to(0).template.clone();
        let target = fixture.workload().target.clone();
        fixture.insert(
            format!("resume:{target}"),
            Reversal::Exact,
            WorkloadSpec::SetPaused {
                target,
                pin,
                paused: false,
            },
        );
        fixture
    }

    /// statefulset/store, whose one pod crashes and is deleted: template, pod, rollout.
    pub(crate) fn stuck_statefulset() -> Self {
        let mut store = workload(WorkloadKind::StatefulSet, "store");
        let live = store.template.hash();
        let trouble = Trouble::CrashLoop {
            container: "api".to_owned(),
            exit_code: Some(1),
            restarts: 5,
            last_line: None,
        };
        store.desired = 1;
        let mut stuck = pod("store-0", Some(&live), "registry.test/api:v1.2.4");
        stuck.ready = false;
        stuck.trouble = Some(trouble.clone());
        store.pods = vec![stuck];
        let mut fixture = Self::of(store);
        let delete = WorkloadSpec::DeletePod {
            target: fixture.workload().target.clone(),
            uid: fixture.uid(0).clone(),
            pod: "store-0".to_owned(),
            pod_uid: "uid-store-0".into(),
            template: fixture.to(0).template.clone(),
            why: DeleteWhy::Stuck { trouble },
        };
        let reversal = Reversal::Compensate {
            trace: "the pod's own state is gone".to_owned(),
        };
        fixture.insert("pod:store-0".to_owned(), reversal, delete);
        fixture
    }

    /// A plan of many independent Deployments.
    pub(crate) fn many(count: usize) -> Self {
        let mut fixture = Self::sound();
        for n in 0..count {
            let other = Self::of(workload(WorkloadKind::Deployment, &format!("service-{n}")));
            fixture.plan.steps.extend(other.plan.steps);
            fixture.plan.choices.extend(other.plan.choices);
            fixture
                .plan
                .recovered_when
                .targets
                .extend(other.plan.recovered_when.targets);
            fixture.inventory.workloads.extend(other.inventory.workloads);
        }
        fixture.finish()
    }

    fn of(workload: Workload) -> Self {
        let now = at("2026-11-23T14:15:00Z");
        let inventory = inventory(workload.clone());
        let plan = plan(&workload, &inventory.cluster);
        let (sealed, answers, allow) = (Vec::new(), Answers::default(), Allowances::default());
        Self {
            plan,
            sealed,
            inventory,
            answers,
            allow,
            now,
            progress: None,
        }
        .finish()
    }

    fn finish(mut self) -> Self {
        self.seal();
        self.answer_yes();
        self
    }

    /// Puts a step between the template and the rollout.
    fn insert(&mut self, id: String, reversal: Reversal, spec: WorkloadSpec) {
        let id = StepId(id);
        let before = self.plan.steps[0].id.clone();
        self.plan.steps[1].after = vec![id.clone()];
        self.plan.steps.insert(1, step(id, vec![before], reversal, spec));
        self.seal();
        self.answer_yes();
    }

    pub(crate) fn seal(&mut self) {
        self.sealed = serde_json::to_vec(&self.plan).unwrap();
    }

    /// Answers every question that the gate asks with yes.
    pub(crate) fn answer_yes(&mut self) {
        let asked = questions(&self.plan, &self.inventory);
        self.answers = asked
            .into_iter()
            .map(|question| (question, Answer::Yes))
            .collect();
    }

    pub(crate) fn context(&self) -> Context<'_> {
        let door = match &self.progress {
            None => Door::Start { now: self.now },
            Some(progress) => Door::Resume { progress },
        };
        Context::new(
            &self.plan,
            &self.sealed,
            &self.inventory,
            &self.answers,
            &self.allow,
            door,
        )
    }

    /// What one rule asks.
    pub(crate) fn asked(&self, ask: fn(&Plan, &[Write<'_>]) -> Vec<Question>) -> Vec<Question> {
        ask(&self.plan, &writes(&self.plan, &self.inventory))
    }

    /// What all rules find.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        rules::findings(&self.context())
    }

    pub(crate) fn check(&self) -> Result<CheckedPlan, Rejected> {
        check(
            self.plan.clone(),
            self.sealed.clone(),
            &self.inventory,
            &self.answers,
            &self.allow,
            self.now,
        )
    }

    pub(crate) fn readmit(
        &self,
        approval: Approval,
        progress: &BTreeMap<StepId, Progress>,
    ) -> Result<ApprovedPlan, Rejected> {
        let (plan, sealed) = (self.plan.clone(), self.sealed.clone());
        readmit(
            plan,
            sealed,
            approval,
            progress,
            &self.inventory,
            &self.answers,
            &self.allow,
        )
    }

    pub(crate) fn approval(&self) -> Approval {
        Approval {
            plan: PlanHash::of(&self.sealed),
            by: "jo".to_owned(),
            how: How::Person,
            reason: "errors since 14:02".to_owned(),
            at: self.now,
            overrides: Vec::new(),
            warnings: Vec::new(),
            found: Vec::new(),
        }
    }

    /// The messages of one rule, a line each.
    pub(crate) fn told(&self, rule: fn(&Context<'_>) -> Vec<Finding>) -> String {
        let mut findings = rule(&self.context());
        findings.sort();
        findings
            .into_iter()
            .map(|finding| finding.message)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The findings of one rule with severity and hint.
    pub(crate) fn full(&self, rule: fn(&Context<'_>) -> Vec<Finding>) -> String {
        let mut findings = rule(&self.context());
        findings.sort();
        let line = |finding: Finding| {
            let severity = match finding.severity {
                Severity::Refuse => "refuse",
                Severity::Warn => "warn",
            };
            format!("{severity}: {}\n  {}", finding.message, finding.hint)
        };
        findings.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The messages of one rule once `change` was made to the sound plan.
    pub(crate) fn messages(rule: fn(&Context<'_>) -> Vec<Finding>, change: &dyn Fn(&mut Self)) -> String {
        let mut fixture = Self::sound();
        change(&mut fixture);
        fixture.told(rule)
    }

    pub(crate) fn workload(&mut self) -> &mut Workload {
        self.inventory.workloads.values_mut().next().unwrap()
    }

    pub(crate) fn spec(&mut self, place: usize) -> &mut WorkloadSpec {
        let Spec::Workload(spec) = &mut self.plan.steps[place].spec else {
            panic!("step {place} is no workload's");
        };
        spec
    }

    pub(crate) fn pin(&mut self, place: usize) -> &mut Pin {
        match self.spec(place) {
            WorkloadSpec::WriteTemplate { pin, .. }
            | WorkloadSpec::Restart { pin, .. }
            | WorkloadSpec::SetPaused { pin, .. }
            | WorkloadSpec::Scale { pin, .. } => pin,
            other => panic!("{other:?} has no pin"),
        }
    }

    pub(crate) fn to(&mut self, place: usize) -> &mut RevisionRef {
        match self.spec(place) {
            WorkloadSpec::WriteTemplate { to, .. } => to,
            other => panic!("{other:?} writes no template"),
        }
    }

    pub(crate) fn uid(&mut self, place: usize) -> &mut Uid {
        match self.spec(place) {
            WorkloadSpec::WriteTemplate { pin, .. }
            | WorkloadSpec::Restart { pin, .. }
            | WorkloadSpec::SetPaused { pin, .. }
            | WorkloadSpec::Scale { pin, .. } => &mut pin.uid,
            WorkloadSpec::AwaitRollout { uid, .. }
            | WorkloadSpec::AwaitGone { uid, .. }
            | WorkloadSpec::DeletePod { uid, .. } => uid,
        }
    }

    /// Says that a run has kept the template.
    pub(crate) fn keep(&mut self, reference: ContentRef) {
        if let WorkloadSpec::WriteTemplate { kept, .. } = self.spec(0) {
            *kept = Some(reference);
        }
    }

    /// Has the write at this place carry the mark of a restart, and what follows it expect what it did before.
    pub(crate) fn mark(&mut self, place: usize) {
        if let WorkloadSpec::WriteTemplate { mark, .. } = self.spec(place) {
            *mark = Some(RestartMark {
                at: "2026-11-23T14:10:00Z".to_owned(),
                template: hash('7'),
            });
        }
    }

    /// Gives the revision to go back to another pod spec, in the cluster and in the plan.
    pub(crate) fn retemplate(&mut self, spec: Value) {
        let template = Template::clean(json!({ "spec": spec }));
        let revision = &mut self.workload().revisions[1];
        revision.hash = template.hash();
        revision.template = template;
        let named = reference(&revision.clone());
        *self.to(0) = named.clone();
        if let Some(good) = &mut self.plan.choices[0].good {
            good.revision = named.clone();
        }
        if let WorkloadSpec::AwaitRollout { template, .. } = self.spec(1) {
            *template = named.template;
        }
        self.answer_yes();
    }

    /// Makes every step about another workload.
    pub(crate) fn retarget(&mut self, kind: WorkloadKind, name: &str) {
        for place in 0..self.plan.steps.len() {
            match self.spec(place) {
                WorkloadSpec::WriteTemplate { target, .. }
                | WorkloadSpec::Restart { target, .. }
                | WorkloadSpec::AwaitRollout { target, .. }
                | WorkloadSpec::SetPaused { target, .. }
                | WorkloadSpec::Scale { target, .. }
                | WorkloadSpec::AwaitGone { target, .. }
                | WorkloadSpec::DeletePod { target, .. } => *target = world::target(kind, name),
            }
        }
    }
}

pub(crate) fn no(why: &str) -> Answer {
    Answer::No { why: why.to_owned() }
}

pub(crate) fn unknown(why: &str) -> Answer {
    Answer::Unknown { why: why.to_owned() }
}

pub(crate) fn owner(kind: OwnerKind, state: OwnerState) -> Owner {
    Owner {
        kind,
        name: "shop".to_owned(),
        known_by: "label shop.test/owner".to_owned(),
        state,
        object: None,
    }
}

pub(crate) fn kept() -> ContentRef {
    ContentRef {
        name: "saved-1".to_owned(),
        keyed_hash: "hmac-sha256:ab".to_owned(),
        size: 512,
    }
}
