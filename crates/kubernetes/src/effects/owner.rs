//! Effects on owners: the one setting by which each leaves things alone is written, and written back. Owns how it is known
//! that an owner's controller has seen it.

use super::stamp::{
    Annotated, Claim, EPOCH, MARKS, RUN, SETTLED, epoch_of, found, is_ours, marks, strange, unexpected,
};
use super::watch::{Followed, events, one, watching};
use super::{FIELD_MANAGER, fence::LOOKS, look_for, mismatch};
use crate::failure::{Attempt, Verb};
use crate::look::{OwnersAt, owner_paths};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId, Uid};
use astern_model::owner::{OwnerName, PAUSED, PausableKind, Paused};
use astern_model::step::owner::{After, Before, Pin, Spec};
use astern_model::step::workload::Stamp;
use astern_port::clock::Clock;
use astern_port::provider::{Provider, Settled};
use async_trait::async_trait;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::core::params::GetParams;
use kube::core::request::Request;
use kube::runtime::watcher;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an owner's controller is waited for. A live one answers within a second or two; one that is down writes nothing
/// now, and reads the setting when it is back.
const SEEN_WITHIN: Duration = Duration::from_secs(15);
/// How long what an owner began before it was paused may go on: a sync takes seconds, unless it waits for what cannot become
/// healthy. Shorter than the step's deadline, so that the failure says what it waits for.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// Asks Argo CD to compare an Application again. The controller takes it away once it has, with the settings of that moment.
/// Source: Argo CD's `common.AnnotationKeyRefresh`.
const ARGO_REFRESH: &str = "argocd.argoproj.io/refresh";
/// The same of an ApplicationSet. Source: Argo CD's `common.AnnotationApplicationSetRefresh`.
const SET_REFRESH: &str = "argocd.argoproj.io/application-set-refresh";

/// The owners' layer, wherever their objects lie.
pub struct KubernetesOwners {
    at: OwnersAt,
    clock: Arc<dyn Clock>,
}

/// One owner's object by its path.
struct Place<'a> {
    owner: &'a OwnerName,
    operation: String,
}

/// An owner's object, just read, and the collection that has it.
struct Found {
    collection: String,
    json: Value,
}

impl Annotated for Found {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.json.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }
}

impl Annotated for Before {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotation(name)
    }
}

impl Found {
    fn text(&self, field: &str) -> &str {
        let text = self.json.get("metadata").and_then(|metadata| metadata.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    fn uid(&self) -> Uid {
        Uid(self.text("uid").to_owned())
    }
}

impl KubernetesOwners {
    /// The owners that lie there.
    pub fn new(at: OwnersAt, clock: Arc<dyn Clock>) -> Self {
        Self { at, clock }
    }

    async fn find(&self, place: &Place<'_>) -> Result<Option<Found>, Failure> {
        let owner = place.owner;
        for collection in owner_paths(owner.kind, &owner.namespace) {
            let request = Request::new(&collection).get(&owner.name, &GetParams::default());
            if let Some(json) = self.send(request, place, Verb::Get).await? {
                return Ok(Some(Found { collection, json }));
            }
        }
        Ok(None)
    }

    /// Writes the setting and annotations under the version that was read.
    async fn write(
        &self,
        place: &Place<'_>,
        now: &Found,
        setting: Option<&Value>,
        annotations: &BTreeMap<&str, Option<String>>,
    ) -> Result<Found, Failure> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch(place.owner.kind, now, setting, annotations));
        let request = Request::new(&now.collection).patch(&place.owner.name, &parameters, &patch);
        let json = self.send(request, place, Verb::Patch).await?;
        let json = json.ok_or_else(|| place.gone())?;
        Ok(Found {
            collection: now.collection.clone(),
            json,
        })
    }

    /// None where there is nothing of that name, or no such resource.
    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        place: &Place<'_>,
        verb: Verb,
    ) -> Result<Option<Value>, Failure> {
        let attempt = place.attempt(verb);
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        match self.at.client(place.owner.kind).request::<Value>(request).await {
            Ok(json) => Ok(Some(json)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(attempt.failed(&error)),
        }
    }

    /// Writes a setting, unless this stamp has done so already.
    async fn set(
        &self,
        place: &Place<'_>,
        pin: &Pin,
        to: &Value,
        (by, own): (PausedBy<'_>, BTreeMap<&'static str, Option<String>>),
        claim: &Claim<'_>,
    ) -> Result<After, Failure> {
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        let setting = place.owner.kind.setting_of(&now.json);
        if now.uid() == pin.uid && is_ours(&now, claim.stamp) && &setting == to {
            return Ok(After::Written { setting });
        }
        let refused = broken(place.owner.kind, pin, &now)
            .or_else(|| anothers(by, claim.stamp, &now))
            .or_else(|| claim.refused(&now));
        if let Some(message) = refused {
            return Err(place.moved(&message));
        }
        let mut annotations = marks(claim.stamp);
        annotations.extend(own);
        let stored = self.write(place, &now, Some(to), &annotations).await?;
        Ok(After::Written {
            setting: place.owner.kind.setting_of(&stored.json),
        })
    }

    /// Has an Application compare its source with what runs once more, and ends the matter where they differ: what it said
    /// before may be of a moment in which it had not seen the newest of either. Others do not compare while they are paused.
    /// One that goes on already is not asked, and nothing is asked in a run that was taken over.
    async fn compared(
        &self,
        place: &Place<'_>,
        pin: &Pin,
        to: &Value,
        claim: &Claim<'_>,
    ) -> Result<(), Failure> {
        if place.owner.kind != PausableKind::Application {
            return Ok(());
        }
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        if is_ours(&now, claim.stamp) && &place.owner.kind.setting_of(&now.json) == to {
            return Ok(());
        }
        if let Some(message) = claim.refused(&now) {
            return Err(place.moved(&message));
        }
        let asked = BTreeMap::from([(ARGO_REFRESH, Some("normal".to_owned()))]);
        let now = self.write(place, &now, None, &asked).await?;
        let seen = self.quiet_from(place, &pin.uid, now).await?;
        let status = seen.pointer("/status/sync/status").and_then(Value::as_str);
        let unanswered = seen
            .pointer("/metadata/annotations")
            .is_some_and(|all| all.get(ARGO_REFRESH).is_some());
        match status {
            Some("Synced") if !unanswered => Ok(()),
            // It compares nothing, and somebody has said that its source is what runs.
            None => Ok(()),
            Some("Synced") => {
                Err(place.moved("its controller does not answer whether its source is what runs"))
            }
            Some(status) => Err(place.moved(&format!(
                "its source is not what runs, or that is not known: {status}"
            ))),
        }
    }

    /// The annotations that go with a setting: the mark of a pause, and what makes the controller answer.
    fn pausing(&self, spec: &Spec, stamp: &Stamp) -> BTreeMap<&'static str, Option<String>> {
        let Spec::Pause {
            owner,
            pin,
            namespace,
            guard,
        } = spec
        else {
            return BTreeMap::from([(PAUSED, None)]);
        };
        let at = self.clock.now();
        let mark = Paused {
            run: stamp.run.clone(),
            namespace: namespace.clone(),
            at,
            due: at.checked_add(*guard).unwrap_or(at),
            was: pin.setting.clone(),
        };
        let mark = serde_json::to_string(&mark).ok();
        let refresh = refresh(owner.kind).map(|(name, value)| (name, Some(value.to_owned())));
        BTreeMap::from_iter([(PAUSED, mark)].into_iter().chain(refresh))
    }

    async fn settled(
        &self,
        place: &Place<'_>,
        way: &Way<'_>,
        claim: &Claim<'_>,
    ) -> Result<Settled<After>, Failure> {
        let unknown = |message: String| {
            Settled::Unknown(Failure::new(FailureClass::Unknown, &place.operation, message))
        };
        for look in 1.. {
            let found = self.find(place).await?;
            // A write carries the uid: where the object is gone, or another one, it is not there and cannot arrive.
            let Some(now) = found.filter(|now| &now.uid() == way.uid) else {
                break;
            };
            let setting = place.owner.kind.setting_of(&now.json);
            let ours = is_ours(&now, claim.stamp);
            if ours && &setting == way.to {
                return Ok(Settled::Applied(After::Written { setting }));
            }
            if ours || &setting != way.from {
                let is = place.owner.kind.describe(&setting);
                return Ok(unknown(format!(
                    "{is}, and this step's mark does not account for that; nothing was written by this look"
                )));
            }
            if let Some(message) = claim.refused(&now) {
                return Ok(unknown(message));
            }
            let version = now.text("resourceVersion").to_owned();
            let moved_on = BTreeMap::from([(SETTLED, Some(version))]);
            match self.write(place, &now, None, &moved_on).await {
                Ok(_) => break,
                Err(failure) if failure.class == FailureClass::Conflict && look < LOOKS => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Settled::NotApplied)
    }

    /// Watches until the owner is quiet. One that does not answer is not waited for long; one that is at work is, and ends
    /// the matter when it does not come to an end.
    async fn quiet(&self, place: &Place<'_>, uid: &Uid) -> Result<After, Failure> {
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        let seen = self.quiet_from(place, uid, now).await?;
        Ok(After::Quiet {
            known_by: match look(place, uid, &seen)? {
                Sight::Quiet { known_by } => Some(known_by.to_owned()),
                Sight::Unanswered | Sight::AtWork { .. } => None,
            },
        })
    }

    /// The same; the object as it was then seen.
    async fn quiet_from(&self, place: &Place<'_>, uid: &Uid, now: Found) -> Result<Value, Failure> {
        let began = Instant::now();
        let config = watcher::Config::default().fields(&format!("metadata.name={}", place.owner.name));
        let mut object = one(
            events(self.api(place, &now), config),
            watching(place.owner.kind.plural(), &place.operation),
        );
        let mut seen = now.json;
        loop {
            let until = match look(place, uid, &seen)? {
                Sight::Quiet { .. } => return Ok(seen),
                Sight::Unanswered => began + SEEN_WITHIN,
                Sight::AtWork { .. } => began + ENDED_WITHIN,
            };
            let Ok(followed) = tokio::time::timeout_at(until, object.next()).await else {
                return match look(place, uid, &seen)? {
                    Sight::AtWork { with } => Err(place.at_work(with)),
                    Sight::Unanswered | Sight::Quiet { .. } => Ok(seen),
                };
            };
            let Followed::Is(now) = followed? else {
                return Err(place.gone());
            };
            let json = serde_json::to_value(&now);
            seen = json.map_err(|_| place.attempt(Verb::Watch).unreadable())?;
        }
    }

    fn api(&self, place: &Place<'_>, now: &Found) -> Api<DynamicObject> {
        let kind = place.owner.kind;
        let version = now
            .json
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let version = version.rsplit_once('/').map_or(version, |(_, version)| version);
        let name = now.json.get("kind").and_then(Value::as_str).unwrap_or_default();
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(kind.group(), version, name),
            kind.plural(),
        );
        Api::namespaced_with(self.at.client(kind).clone(), &place.owner.namespace, &resource)
    }
}

/// What an owner that is to be paused is seen to do.
enum Sight {
    /// It has seen the pause, and does nothing.
    Quiet { known_by: &'static str },
    /// Nothing shows that its controller has seen it.
    Unanswered,
    /// It is in the middle of something that it began before.
    AtWork { with: &'static str },
}

fn look(place: &Place<'_>, uid: &Uid, json: &Value) -> Result<Sight, Failure> {
    let kind = place.owner.kind;
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
    if text("/metadata/uid") != Some(uid.as_str()) {
        return Err(place.moved("it was deleted and made again"));
    }
    let setting = kind.setting_of(json);
    if setting != kind.paused() {
        let is = kind.describe(&setting);
        return Err(place.moved(&format!(
            "somebody has set it again: {is}, so it would write the rollback away"
        )));
    }
    let running = matches!(
        text("/status/operationState/phase"),
        Some("Running" | "Terminating")
    ) || json
        .get("operation")
        .is_some_and(|operation| !operation.is_null());
    // KEDA says the first before it scales, the second after. Source: `handlePause` in its `scaledobject_controller.go`.
    let scaled = || holds(json, "Paused") && json.pointer("/status/pausedReplicaCount") == Some(&json!(0));
    let jobs = json.pointer("/status/active").and_then(Value::as_array);
    let annotation = |name: &str| json.get("metadata")?.get("annotations")?.get(name);
    let unanswered = refresh(kind).is_some_and(|(name, _)| annotation(name).is_some());
    Ok(match kind {
        PausableKind::Application if running => Sight::AtWork { with: "a sync" },
        PausableKind::Kustomization | PausableKind::HelmRelease if reconciles(json) => Sight::AtWork {
            with: "a reconciliation",
        },
        PausableKind::CronJob if jobs.is_some_and(|jobs| !jobs.is_empty()) => {
            Sight::AtWork { with: "a job of it" }
        }
        PausableKind::ScaledObject if !scaled() => Sight::Unanswered,
        _ if unanswered => Sight::Unanswered,
        PausableKind::CronJob => Sight::Quiet {
            known_by: "it is suspended, and no job of it is running",
        },
        PausableKind::ScaledObject => Sight::Quiet {
            known_by: "KEDA says that it is paused, and has scaled it to 0",
        },
        PausableKind::Application => Sight::Quiet {
            known_by: "it has compared once more since, and no sync is running",
        },
        PausableKind::ApplicationSet => Sight::Quiet {
            known_by: "it has been through its applications once more since",
        },
        PausableKind::Kustomization | PausableKind::HelmRelease => Sight::Quiet {
            known_by: "it is suspended, and no reconciliation is under way",
        },
    })
}

/// Whether a condition is `True`.
fn holds(json: &Value, kind: &str) -> bool {
    let conditions = json.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |condition: &Value| {
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        text("type") == Some(kind) && text("status") == Some("True")
    };
    conditions.into_iter().flatten().any(holds)
}

/// Whether a Flux controller is writing. It says so while it works on an object, and, once it has written, what it only
/// waits for. Source: Flux's `meta.ReconcilingCondition`, and kustomize-controller's words while it checks health.
fn reconciles(json: &Value) -> bool {
    let conditions = json.pointer("/status/conditions").and_then(Value::as_array);
    let under_way = |condition: &Value| {
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        let waits = text("message").is_some_and(|message| message.starts_with("Running health checks"))
            // After a failure it waits for its next try, which a suspended object never has.
            || text("reason") == Some("ProgressingWithRetry");
        text("type") == Some("Reconciling") && text("status") == Some("True") && !waits
    };
    conditions.into_iter().flatten().any(under_way)
}

/// The annotation that makes a controller answer, and its value.
fn refresh(kind: PausableKind) -> Option<(&'static str, &'static str)> {
    match kind {
        PausableKind::Application => Some((ARGO_REFRESH, "normal")),
        PausableKind::ApplicationSet => Some((SET_REFRESH, "true")),
        PausableKind::Kustomization
        | PausableKind::HelmRelease
        | PausableKind::ScaledObject
        | PausableKind::CronJob => None,
    }
}

/// The merge patch that writes a setting; it carries uid and version of what was read.
fn patch(
    kind: PausableKind,
    now: &Found,
    setting: Option<&Value>,
    annotations: &BTreeMap<&str, Option<String>>,
) -> Value {
    let mut patch = json!({"metadata": {
        "uid": now.text("uid"), "resourceVersion": now.text("resourceVersion"), "annotations": annotations,
    }});
    if let Some(setting) = setting {
        let [outer @ .., last] = kind.setting() else {
            return patch;
        };
        let mut at = &mut patch;
        for field in outer {
            at = &mut at[*field];
        }
        at[*last] = setting.clone();
    }
    patch
}

/// A write, by what it leads from and to.
struct Way<'a> {
    uid: &'a Uid,
    from: &'a Value,
    to: &'a Value,
}

impl Place<'_> {
    fn of(spec: &Spec, operation: String) -> Place<'_> {
        Place {
            owner: spec.owner(),
            operation,
        }
    }

    fn attempt(&self, verb: Verb) -> Attempt {
        Attempt::new(verb, self.owner.kind.plural(), &self.operation)
    }

    fn gone(&self) -> Failure {
        let message = format!("{} does not exist; nothing was changed", self.owner);
        Failure::new(FailureClass::Permanent, &self.operation, message)
            .hint("look who else writes the workloads, then make a new plan: astern plan")
    }

    fn at_work(&self, with: &str) -> Failure {
        let OwnerName {
            kind,
            namespace,
            name,
        } = self.owner;
        let next = match kind {
            PausableKind::Application | PausableKind::ApplicationSet => {
                format!("end it (argocd app terminate-op {name})")
            }
            PausableKind::Kustomization | PausableKind::HelmRelease => {
                format!(
                    "see what it waits for (flux get {} -n {namespace})",
                    kind.plural()
                )
            }
            PausableKind::ScaledObject | PausableKind::CronJob => {
                format!("see what runs (kubectl get jobs,pods -n {namespace})")
            }
        };
        let message = format!(
            "{} is still at work: {with}, begun before it was paused, has not ended and could write the rollback away; {next}, then \
             plan again",
            self.owner
        );
        Failure::new(FailureClass::Permanent, &self.operation, message)
    }

    fn moved(&self, message: &str) -> Failure {
        let message = format!("{}: {message}; nothing was written", self.owner);
        Failure::new(FailureClass::Conflict, &self.operation, message)
            .hint("look at what changed, then make a new plan: astern plan")
    }
}

/// The first pin that does not hold, from what to what.
fn broken(kind: PausableKind, pin: &Pin, now: &Found) -> Option<String> {
    let uid = now.uid();
    if uid != pin.uid {
        return Some(format!(
            "it was deleted and made again: its uid changed from {} to {uid}",
            pin.uid
        ));
    }
    let setting = kind.setting_of(&now.json);
    (setting != pin.setting).then(|| {
        format!(
            "its setting changed since the plan was made: from {} to {}",
            kind.describe(&pin.setting),
            kind.describe(&setting)
        )
    })
}

/// Whose pause it is that a step takes off.
#[derive(Clone, Copy)]
enum PausedBy<'a> {
    /// It takes none off, or its own.
    Anybody,
    /// The run's that takes it off.
    Us,
    /// An earlier run's.
    Run(&'a RunId),
}

/// Why somebody else's pause stays.
fn anothers(by: PausedBy<'_>, stamp: &Stamp, now: &Found) -> Option<String> {
    let by = match by {
        PausedBy::Anybody => return None,
        PausedBy::Us => &stamp.run,
        PausedBy::Run(run) => run,
    };
    match Paused::on(&now.json) {
        Some(paused) if &paused.run == by => None,
        Some(paused) => Some(format!("it was paused by run {}, not by run {by}", paused.run)),
        None => Some(format!("it does not say any more that run {by} has paused it")),
    }
}

fn take_back(spec: &Spec) -> String {
    format!("take this back: {}", spec.phrase())
}

/// Where a setting is written: what must hold, and what it becomes.
fn written(spec: &Spec) -> Option<(&Pin, Value)> {
    match spec {
        Spec::Pause { owner, pin, .. } => Some((pin, owner.kind.paused())),
        Spec::Resume { pin, to, .. } => Some((pin, to.clone())),
        Spec::AwaitPaused { .. } => None,
    }
}

#[async_trait]
impl Provider<Spec> for KubernetesOwners {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        let Some((pin, _)) = written(spec) else {
            return Ok(Before::Nothing);
        };
        let place = Place::of(spec, spec.phrase());
        let now = self.find(&place).await?.ok_or_else(|| place.gone())?;
        if let Some(message) = broken(place.owner.kind, pin, &now) {
            return Err(place.moved(&message));
        }
        let [effect, epoch, run] = MARKS;
        Ok(Before::Setting {
            was: place.owner.kind.setting_of(&now.json),
            annotations: found(&now, &[effect, epoch, run, PAUSED]),
        })
    }

    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let place = &Place::of(spec, spec.phrase());
        match written(spec) {
            None => self.quiet(place, spec.uid()).await,
            Some((pin, to)) => {
                let by = match spec {
                    Spec::Resume {
                        paused_by: Some(run), ..
                    } => PausedBy::Run(run),
                    Spec::Resume { paused_by: None, .. } => PausedBy::Us,
                    Spec::Pause { .. } | Spec::AwaitPaused { .. } => PausedBy::Anybody,
                };
                if let Spec::Resume { if_in_sync: true, .. } = spec {
                    self.compared(place, pin, &to, &Claim { stamp, before }).await?;
                }
                let own = (by, self.pausing(spec, stamp));
                self.set(place, pin, &to, own, &Claim { stamp, before }).await
            }
        }
    }

    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After> {
        let place = &Place::of(spec, look_for(&spec.phrase()));
        let Some((pin, to)) = written(spec) else {
            return Settled::NotApplied;
        };
        let way = Way {
            uid: &pin.uid,
            from: &pin.setting,
            to: &to,
        };
        let settled = self.settled(place, &way, &Claim { stamp, before }).await;
        settled.unwrap_or_else(Settled::Unknown)
    }

    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        let place = &Place::of(spec, take_back(spec));
        let (Before::Setting { was, .. }, After::Written { setting }) = (before, after) else {
            return Err(mismatch(&place.operation));
        };
        let left = Pin {
            uid: spec.uid().clone(),
            setting: setting.clone(),
        };
        let own = BTreeMap::from([(PAUSED, before.annotation(PAUSED).map(str::to_owned))]);
        let own = (PausedBy::Anybody, own);
        self.set(place, &left, was, own, &Claim { stamp, before }).await
    }

    async fn settle_reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Settled<After> {
        let place = &Place::of(spec, look_for(&take_back(spec)));
        let (Before::Setting { was, .. }, After::Written { setting }) = (before, after) else {
            return Settled::Unknown(mismatch(&place.operation));
        };
        let way = Way {
            uid: spec.uid(),
            from: setting,
            to: was,
        };
        let settled = self.settled(place, &way, &Claim { stamp, before }).await;
        settled.unwrap_or_else(Settled::Unknown)
    }

    async fn fence(
        &self,
        spec: &Spec,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        if spec.only_reads() {
            return Ok(());
        }
        let operation = format!("mark {} as taken over by this process", spec.owner());
        let place = &Place::of(spec, operation);
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        if &now.uid() != spec.uid() {
            return Err(place.moved("it was deleted and made again"));
        }
        let found = epoch_of(&now, run);
        if let Some(message) = unexpected(found, from, to).or_else(|| strange(&now, before, run)) {
            return Err(place.moved(&message));
        }
        if found != Some(to) {
            let marks = BTreeMap::from([(EPOCH, Some(to.to_string())), (RUN, Some(run.to_string()))]);
            self.write(place, &now, None, &marks).await?;
        }
        Ok(())
    }
}
