//! Effects on what ConfigMaps and Secrets hold: put back, made anew, and taken back again. Owns the requests too, since an
//! answer may hold values: none is ever in a message or a log.

mod removal;

use super::external_secret::{Drawing, looked_for};
use super::last_applied::{LAST_APPLIED, with_content_of};
use super::mask;
use super::object::set_annotations;
use super::stamp::{
    Annotated, Claim, EPOCH, MARKS, RUN, SETTLED, epoch_of, found, is_ours, marks, strange, unexpected,
};
use super::{FIELD_MANAGER, fence::LOOKS, look_for, mismatch};
use crate::connect::READ_TIMEOUT;
use crate::failure::{Attempt, Verb};
use crate::look::content_manager;
use astern_model::config::{ConfigName, content, with_content};
use astern_model::content::ContentRef;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, Epoch, RunId, Uid};
use astern_model::login::LoginProbe;
use astern_model::step::config::{After, Before, Pin, Spec, Wanted};
use astern_model::step::workload::Stamp;
use astern_model::template::canonical;
use astern_port::clock::Clock;
use astern_port::logins::Logins;
use astern_port::provider::{Provider, Settled};
use astern_port::vault::Vault;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use kube::core::params::{GetParams, PostParams};
use kube::core::request::Request;
use removal::Removal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The config layer on a cluster. What objects held is kept in `vault`, which lies beside them: no value leaves the cluster.
pub struct KubernetesContents {
    client: kube::Client,
    vault: Arc<dyn Vault>,
    logins: Arc<dyn Logins>,
    clock: Arc<dyn Clock>,
}

/// How long an API server works on a request at most: its `--request-timeout`, as it is by default. Source:
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>.
const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(1);
/// So long after its intent a creation may still arrive: its sender gives it up after the client's patience, and an API server
/// that has it by then goes on working on it.
pub const ON_ITS_WAY: SignedDuration =
    SignedDuration::from_secs(READ_TIMEOUT.as_secs().cast_signed() + REQUEST_TIMEOUT.as_secs());

/// One object by its path.
struct Place<'a> {
    object: &'a ConfigName,
    namespace: &'a str,
    operation: String,
}

/// An object, just read.
struct Found(Value);

impl Annotated for Found {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }
}

fn uid_of(object: &Value) -> Uid {
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
    Uid(uid.unwrap_or_default().to_owned())
}

fn writer_of(object: &Value) -> String {
    super::object::writer_phrase(content_manager(object).as_ref())
}

impl Found {
    fn text(&self, field: &str) -> &str {
        let text = self.0.get("metadata").and_then(|metadata| metadata.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    fn uid(&self) -> Uid {
        uid_of(&self.0)
    }

    fn writer(&self) -> String {
        writer_of(&self.0)
    }

    fn with_annotations(mut self, values: BTreeMap<&str, Option<String>>) -> Self {
        set_annotations(&mut self.0, values);
        self
    }
}

/// The whole object as it shall be: what `then` held, and last-applied so that the next apply leaves it alone.
pub(crate) fn restored(now: Value, then: &Value) -> Value {
    let annotation = |object: &Value| {
        let annotations = object.pointer("/metadata/annotations")?;
        annotations.get(LAST_APPLIED)?.as_str().map(str::to_owned)
    };
    let last_applied =
        annotation(&now).map(|today| with_content_of(&today, annotation(then).as_deref(), then));
    let mut object = with_content(now, then);
    if last_applied.is_some() {
        set_annotations(&mut object, BTreeMap::from([(LAST_APPLIED, last_applied)]));
    }
    object
}

/// An object that is made anew from what was kept of it: what belonged to the object of then stays behind.
pub(crate) fn anew(mut then: Value) -> Value {
    if let Some(metadata) = then.get_mut("metadata").and_then(Value::as_object_mut) {
        for gone in ["ownerReferences", "finalizers", "generateName"] {
            metadata.remove(gone);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !name.starts_with("astern.dev/"));
        }
    }
    then
}

impl KubernetesContents {
    /// The objects behind this client.
    pub fn new(
        client: kube::Client,
        vault: Arc<dyn Vault>,
        logins: Arc<dyn Logins>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            vault,
            logins,
            clock,
        }
    }

    /// Until when a creation of this stamp may still arrive; none once it cannot. A clock that went back since does not tell how
    /// long that has been: waiting for it to catch up would take an hour and thousands of looks.
    fn on_its_way(&self, stamp: &Stamp) -> Option<Timestamp> {
        let until = stamp
            .open_since
            .saturating_add(ON_ITS_WAY)
            .unwrap_or(Timestamp::MAX);
        let now = self.clock.now();
        let may = stamp.open_since <= now && now < until;
        (may && !planted(Defect::CallAbsent)).then_some(until)
    }

    pub(super) async fn hash(&self, object: &Value) -> Result<ContentHash, Failure> {
        let text = canonical(&content(object));
        Ok(ContentHash(self.vault.hash(text.as_bytes()).await?))
    }

    pub(super) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Keeps an object as it is, if the pin holds.
    async fn before(&self, place: &Place<'_>, pin: &Pin, now: Found) -> Result<Before, Failure> {
        let held = self.hash(&now.0).await?;
        if let Some(message) = broken(pin, &now.0, &held) {
            return Err(place.moved(&message));
        }
        let annotations = found(&now, &MARKS);
        let object = crate::look::without_servers_own(now.0);
        let kept = self.keep(place.object, &canonical(&object)).await?;
        Ok(Before::Content {
            kept,
            content: held,
            annotations,
        })
    }

    /// The Secret of a step that changes its source.
    pub(super) async fn secret(&self, spec: &Spec) -> Result<Value, Failure> {
        let place = Place::of(spec, spec.phrase());
        let found = self.find(&place).await?;
        found.map(|found| found.0).ok_or_else(|| place.gone())
    }

    pub(super) async fn keep(&self, object: &ConfigName, json: &str) -> Result<ContentRef, Failure> {
        self.vault.put(object.kind.singular(), json.as_bytes()).await
    }

    /// What was kept of an object, if it is what the plan names.
    async fn kept(&self, kept: &ContentRef, wanted: &ContentHash, operation: &str) -> Result<Value, Failure> {
        let bytes = self.vault.get(kept).await?;
        let object: Option<Value> = serde_json::from_slice(&bytes).ok();
        let Some(object) = object else {
            let message = format!(
                "what the vault keeps as {} is no object; nothing was written",
                kept.name
            );
            return Err(Failure::new(FailureClass::Permanent, operation, message));
        };
        let hash = self.hash(&object).await?;
        if &hash == wanted {
            return Ok(object);
        }
        let message = format!(
            "what the vault keeps as {} holds {hash} instead of {wanted}; nothing was written",
            kept.name
        );
        Err(Failure::new(FailureClass::Permanent, operation, message)
            .hint("the vault's key was made anew since the plan was: plan again, `astern plan`"))
    }

    async fn find(&self, place: &Place<'_>) -> Result<Option<Found>, Failure> {
        let request = Request::new(place.collection()).get(&place.object.name, &GetParams::default());
        match self.send(request, &place.attempt(Verb::Get)).await {
            Ok(json) => Ok(json.map(Found)),
            Err(failure) => Err(failure),
        }
    }

    async fn replace(&self, place: &Place<'_>, object: &Found) -> Result<Found, Failure> {
        let body = object.0.to_string().into_bytes();
        let request = Request::new(place.collection()).replace(&place.object.name, &by_us(), body);
        let stored = self.send(request, &place.attempt(Verb::Update)).await;
        let stored = stored.map_err(|failure| mask::without_values(failure, place.object, &[&object.0]))?;
        stored.map(Found).ok_or_else(|| place.gone())
    }

    /// None where one of that name is there.
    async fn create(&self, place: &Place<'_>, object: &Value) -> Result<Option<Found>, Failure> {
        let body = object.to_string().into_bytes();
        let request = Request::new(place.collection()).create(&by_us(), body);
        match self.send(request, &place.attempt(Verb::Create)).await {
            Err(failure) if failure.class == FailureClass::Conflict => Ok(None),
            Err(failure) => Err(mask::without_values(failure, place.object, &[object])),
            Ok(stored) => Ok(stored.map(Found)),
        }
    }

    async fn delete(&self, place: &Place<'_>, object: &Found) -> Result<(), Failure> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(object.uid().to_string()),
                resource_version: Some(object.text("resourceVersion").to_owned()),
            }),
            ..DeleteParams::default()
        };
        let request = Request::new(place.collection()).delete(&place.object.name, &parameters);
        self.send(request, &place.attempt(Verb::Delete)).await.map(drop)
    }

    /// None where there is nothing of that name. The client's own reading of an answer would write what it cannot read into
    /// the log.
    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        attempt: &Attempt,
    ) -> Result<Option<Value>, Failure> {
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        match self.client.request_text(request).await {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| attempt.unreadable()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(attempt.failed(&error)),
        }
    }

    /// Writes over an object that is as it is expected to be.
    async fn put(
        &self,
        place: &Place<'_>,
        now: Found,
        then: &Value,
        claim: &Claim<'_>,
    ) -> Result<After, Failure> {
        if let Some(message) = claim.refused(&now) {
            return Err(place.moved(&message));
        }
        let was = now.0.clone();
        let mut object = Found(restored(now.0, then)).with_annotations(marks(claim.stamp));
        if planted(Defect::DropContentLabels) {
            object.0["metadata"]["labels"] = Value::Null;
        }
        let stored = self.replace(place, &object).await;
        let stored =
            stored.map_err(|failure| mask::without_values(failure, place.object, &[&was, &object.0]))?;
        self.written(&stored).await
    }

    async fn written(&self, stored: &Found) -> Result<After, Failure> {
        Ok(After::Written {
            uid: stored.uid(),
            content: self.hash(&stored.0).await?,
        })
    }

    /// Marks an object with the epoch of whoever took the run over.
    async fn take(&self, place: &Place<'_>, now: Found, takeover: &Takeover<'_>) -> Result<(), Failure> {
        let Takeover {
            before,
            run,
            from,
            to,
        } = *takeover;
        let found = epoch_of(&now, run);
        if let Some(message) = unexpected(found, from, to).or_else(|| strange(&now, before, run)) {
            return Err(place.moved(&message));
        }
        if found != Some(to) {
            let marks = BTreeMap::from([(EPOCH, Some(to.to_string())), (RUN, Some(run.to_string()))]);
            self.replace(place, &now.with_annotations(marks)).await?;
        }
        Ok(())
    }

    /// What this stamp's effect has left. A predecessor's creation may arrive after the takeover, which found nothing to mark
    /// then: it is marked now, so that the next holder does not take it for somebody else's.
    async fn taken_over(&self, place: &Place<'_>, now: Found, stamp: &Stamp) -> Result<After, Failure> {
        if epoch_of(&now, &stamp.run).is_none_or(|epoch| epoch >= stamp.epoch) {
            return self.written(&now).await;
        }
        let epoch = BTreeMap::from([(EPOCH, Some(stamp.epoch.to_string()))]);
        let stored = self.replace(place, &now.with_annotations(epoch)).await?;
        self.written(&stored).await
    }

    async fn restore(
        &self,
        place: &Place<'_>,
        pin: &Pin,
        to: &Wanted,
        claim: &Claim<'_>,
    ) -> Result<After, Failure> {
        let (now, then) = futures::try_join!(
            self.find(place),
            self.kept(&to.kept, &to.content, &place.operation)
        )?;
        let now = now.ok_or_else(|| place.gone())?;
        let held = self.hash(&now.0).await?;
        if now.uid() == pin.uid && is_ours(&now, claim.stamp) && held == to.content {
            return self.written(&now).await;
        }
        if let Some(message) = broken(pin, &now.0, &held) {
            return Err(place.moved(&message));
        }
        let Some(probe) = to.login() else {
            return self.put(place, now, &then, claim).await;
        };
        self.prove(place.object, probe, &then, &place.operation).await?;
        // A login takes its time: what stands now is looked at again.
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        match broken(pin, &now.0, &self.hash(&now.0).await?) {
            Some(message) => Err(place.moved(&message)),
            None => self.put(place, now, &then, claim).await,
        }
    }

    /// Hours may have passed since the plan was checked, and somebody may have rotated the credential meanwhile.
    async fn prove(
        &self,
        object: &ConfigName,
        probe: &LoginProbe,
        then: &Value,
        operation: &str,
    ) -> Result<(), Failure> {
        self.logins.ask(probe, then).await.map_err(|why| {
            let message = format!(
                "what {object} held then is not proven to work any more: its login probe {} {why}; nothing was written",
                probe.program()
            );
            Failure::new(FailureClass::Permanent, operation, message).hint(
                "where the credential was rotated, take this back, `astern abort RUN`, and plan with `--leave-config`; where the \
                 probe could not reach what it asks, mend that, then `astern resume RUN`",
            )
        })
    }

    /// The same, where a probe is named, with what the vault keeps.
    pub(super) async fn prove_kept(
        &self,
        object: &ConfigName,
        to: &Wanted,
        operation: &str,
    ) -> Result<(), Failure> {
        let Some(probe) = to.login() else {
            return Ok(());
        };
        let then = self.kept(&to.kept, &to.content, operation).await?;
        self.prove(object, probe, &then, operation).await
    }

    async fn make(&self, place: &Place<'_>, to: &Wanted, claim: &Claim<'_>) -> Result<After, Failure> {
        let then = self.kept(&to.kept, &to.content, &place.operation).await?;
        if let (Some(probe), None) = (to.login(), self.find(place).await?) {
            self.prove(place.object, probe, &then, &place.operation).await?;
        }
        self.made(place, anew(then), &to.content, claim).await
    }

    /// Makes an object that holds `content`, or finds the one that an earlier attempt has made.
    async fn made(
        &self,
        place: &Place<'_>,
        object: Value,
        content: &ContentHash,
        claim: &Claim<'_>,
    ) -> Result<After, Failure> {
        let object = Found(object).with_annotations(marks(claim.stamp));
        if let Some(stored) = self.create(place, &object.0).await? {
            return self.written(&stored).await;
        }
        let now = self.find(place).await?.ok_or_else(|| place.gone())?;
        if is_ours(&now, claim.stamp) && &self.hash(&now.0).await? == content {
            return self.taken_over(place, now, claim.stamp).await;
        }
        Err(place.moved(&format!(
            "somebody else has made it since the plan was, {}",
            now.writer()
        )))
    }

    /// What is known of a creation whose object is not there: there is no version by which one that arrives late could be
    /// refused.
    fn not_made(&self, place: &Place<'_>, stamp: &Stamp, there: &str) -> Settled<After> {
        let Some(until) = self.on_its_way(stamp) else {
            return Settled::NotApplied;
        };
        let message = format!("{there}, and the request that makes it may still arrive until {until:.0}");
        Settled::Unknown(Failure::new(FailureClass::Unknown, &place.operation, message))
    }

    /// What the object says about a write of this stamp that leads from one content to another.
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
            let meant = |now: &Found| way.uid.is_none_or(|uid| uid == &now.uid());
            let Some(now) = found.filter(meant) else {
                return Ok(match way.to {
                    None => Settled::Applied(After::Gone),
                    Some(_) if way.uid.is_none() => self.not_made(place, claim.stamp, "it is not there"),
                    // A write carries the uid and the version of what was there.
                    Some(_) => Settled::NotApplied,
                });
            };
            let (held, ours) = (self.hash(&now.0).await?, is_ours(&now, claim.stamp));
            if ours && way.to == Some(&held) {
                return self
                    .taken_over(place, now, claim.stamp)
                    .await
                    .map(Settled::Applied);
            }
            if !ours && way.from.is_none() {
                // It keeps ours out only as long as it is there.
                let there = format!("somebody else's is there, {}", now.writer());
                return Ok(self.not_made(place, claim.stamp, &there));
            }
            if ours || way.from != Some(&held) {
                return Ok(unknown(format!(
                    "it holds {held}, and this step's mark does not account for that, {}; nothing was written by this look",
                    now.writer()
                )));
            }
            if planted(Defect::SkipSettleMark) {
                break;
            }
            if let Some(message) = claim.refused(&now) {
                return Ok(unknown(message));
            }
            let version = now.text("resourceVersion").to_owned();
            let moved_on = now.with_annotations(BTreeMap::from([(SETTLED, Some(version))]));
            match self.replace(place, &moved_on).await {
                Ok(_) => break,
                Err(failure) if failure.class == FailureClass::Conflict && look < LOOKS => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Settled::NotApplied)
    }
}

/// Who takes a run over, and from which epoch.
struct Takeover<'a> {
    before: &'a Before,
    run: &'a RunId,
    from: Epoch,
    to: Epoch,
}

/// A write, by what it leads from and to; none is "not there".
struct Way<'a> {
    uid: Option<&'a Uid>,
    from: Option<&'a ContentHash>,
    to: Option<&'a ContentHash>,
}

impl Place<'_> {
    fn of(spec: &Spec, operation: String) -> Place<'_> {
        Place {
            object: spec.object(),
            namespace: spec.namespace(),
            operation,
        }
    }

    fn collection(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/{}",
            self.namespace,
            self.object.kind.plural()
        )
    }

    fn attempt(&self, verb: Verb) -> Attempt {
        Attempt::new(verb, self.object.kind.plural(), &self.operation)
    }

    fn gone(&self) -> Failure {
        let Self {
            object, namespace, ..
        } = self;
        let message = format!("{object} does not exist in namespace {namespace}; nothing was changed");
        Failure::new(FailureClass::Permanent, &self.operation, message)
            .hint(format!("look who deleted it: kubectl get events -n {namespace}"))
    }

    fn moved(&self, message: &str) -> Failure {
        let message = format!("{}: {message}; nothing was written", self.object);
        Failure::new(FailureClass::Conflict, &self.operation, message)
            .hint("look at what changed, then make a new plan: astern plan")
    }
}

fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// The first pin that does not hold, from what to what.
pub(super) fn broken(pin: &Pin, now: &Value, held: &ContentHash) -> Option<String> {
    if planted(Defect::IgnoreContentPins) {
        return None;
    }
    let uid = uid_of(now);
    if uid != pin.uid {
        return Some(format!(
            "it was deleted and made again: its uid changed from {} to {uid}",
            pin.uid
        ));
    }
    if held != &pin.content && planted(Defect::TellContent) {
        return Some(canonical(&content(now)));
    }
    (held != &pin.content).then(|| {
        format!(
            "its content changed since the plan was made: from {} to {held}, {}",
            pin.content,
            writer_of(now)
        )
    })
}

pub(super) fn take_back(spec: &Spec) -> String {
    format!("take this back: {}", spec.phrase())
}

/// What the step left: mostly the planned content, unless admission changed it on the way.
fn left(after: &After) -> Option<(&Uid, &ContentHash)> {
    match after {
        After::Written { uid, content } => Some((uid, content)),
        After::Gone | After::Drawn => None,
    }
}

#[async_trait]
impl Provider<Spec> for KubernetesContents {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        if let Some(drawing) = Drawing::of(self, spec, spec.phrase()) {
            return drawing.prepare().await;
        }
        if let Some(removal) = Removal::of(self, spec, spec.phrase()) {
            return removal.prepare().await;
        }
        let place = Place::of(spec, spec.phrase());
        let now = self.find(&place).await?;
        match (spec, now) {
            (Spec::Remove { .. } | Spec::Repin { .. } | Spec::AwaitDrawn { .. }, _) => {
                Err(mismatch(&place.operation))
            }
            (Spec::Create { .. }, None) => Ok(Before::Absent),
            (Spec::Create { .. }, Some(now)) => Err(place.moved(&format!(
                "somebody else has made it since the plan was, {}",
                now.writer()
            ))),
            (Spec::Restore { .. }, None) => Err(place.gone()),
            (Spec::Restore { pin, .. }, Some(now)) => self.before(&place, pin, now).await,
        }
    }

    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        if let Some(drawing) = Drawing::of(self, spec, spec.phrase()) {
            return drawing.apply(before, stamp).await;
        }
        if let Some(removal) = Removal::of(self, spec, spec.phrase()) {
            return removal.apply(before, stamp).await;
        }
        let place = &Place::of(spec, spec.phrase());
        let claim = &Claim { stamp, before };
        match (spec, before) {
            (Spec::Restore { pin, to, .. }, Before::Content { .. }) => {
                self.restore(place, pin, to, claim).await
            }
            (Spec::Create { to, .. }, Before::Absent) => self.make(place, to, claim).await,
            (_, _) => Err(mismatch(&place.operation)),
        }
    }

    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After> {
        if let Some(drawing) = looked_for(self, spec, false) {
            return drawing.settle(before, stamp).await;
        }
        if let Some(removal) = Removal::of(self, spec, look_for(&spec.phrase())) {
            return removal.settle(before, stamp).await;
        }
        let place = &Place::of(spec, look_for(&spec.phrase()));
        let claim = &Claim { stamp, before };
        let way = match (spec, before) {
            (Spec::Restore { pin, to, .. }, Before::Content { content, .. }) => Way {
                uid: Some(&pin.uid),
                from: Some(content),
                to: Some(&to.content),
            },
            (Spec::Create { to, .. }, Before::Absent) => Way {
                uid: None,
                from: None,
                to: Some(&to.content),
            },
            (_, _) => {
                return Settled::Unknown(mismatch(&place.operation));
            }
        };
        let settled = self.settled(place, &way, claim).await;
        settled.unwrap_or_else(Settled::Unknown)
    }

    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        if let Some(drawing) = Drawing::of(self, spec, take_back(spec)) {
            return drawing.reverse(before, stamp).await;
        }
        if let Some(removal) = Removal::of(self, spec, take_back(spec)) {
            return removal.reverse(before, stamp).await;
        }
        let place = &Place::of(spec, take_back(spec));
        let claim = &Claim { stamp, before };
        let (uid, wrote) = left(after).ok_or_else(|| mismatch(&place.operation))?;
        let now = self.find(place).await?;
        let (now, held) = match (now, before) {
            (None, Before::Absent) => return Ok(After::Gone),
            // Somebody has deleted what this run made, and made another one.
            (Some(now), Before::Absent) if &now.uid() != uid => return Ok(After::Gone),
            (_, Before::Versions { .. } | Before::Nothing) => return Err(mismatch(&place.operation)),
            (None, Before::Content { .. }) => return Err(place.gone()),
            (Some(now), _) => {
                let held = self.hash(&now.0).await?;
                (now, held)
            }
        };
        if let Before::Content { content, .. } = before
            && &now.uid() == uid
            && is_ours(&now, stamp)
            && &held == content
        {
            return self.written(&now).await;
        }
        let left = Pin {
            uid: uid.clone(),
            content: wrote.clone(),
        };
        if let Some(message) = broken(&left, &now.0, &held) {
            return Err(place.moved(&format!("it is not as this run left it: {message}")));
        }
        match before {
            Before::Content { kept, content, .. } => {
                let then = self.kept(kept, content, &place.operation).await?;
                self.put(place, now, &then, claim).await
            }
            Before::Versions { .. } | Before::Nothing => Err(mismatch(&place.operation)),
            Before::Absent => match claim.refused(&now) {
                Some(message) => Err(place.moved(&message)),
                None if planted(Defect::LeaveMade) => Ok(After::Gone),
                None => self.delete(place, &now).await.map(|()| After::Gone),
            },
        }
    }

    async fn settle_reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Settled<After> {
        if let Some(drawing) = looked_for(self, spec, true) {
            return drawing.settle_reverse(before, stamp).await;
        }
        if let Some(removal) = Removal::of(self, spec, look_for(&take_back(spec))) {
            return removal.settle_reverse(before, stamp).await;
        }
        let place = &Place::of(spec, look_for(&take_back(spec)));
        let claim = &Claim { stamp, before };
        let Some((uid, wrote)) = left(after) else {
            return Settled::Unknown(mismatch(&place.operation));
        };
        let way = Way {
            uid: Some(uid),
            from: Some(wrote),
            to: match before {
                Before::Content { content, .. } => Some(content),
                Before::Absent => None,
                Before::Versions { .. } | Before::Nothing => {
                    return Settled::Unknown(mismatch(&place.operation));
                }
            },
        };
        let settled = self.settled(place, &way, claim).await;
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
        let operation = format!("mark {} as taken over by this process", spec.object());
        if let Some(drawing) = Drawing::of(self, spec, operation.clone()) {
            return drawing.fence(before, run, from, to).await;
        }
        let takeover = Takeover {
            before,
            run,
            from,
            to,
        };
        if let Some(removal) = Removal::of(self, spec, operation.clone()) {
            return removal.fence(&takeover).await;
        }
        let place = &Place::of(spec, operation);
        let Some(now) = self.find(place).await? else {
            // A creation that is on its way meets the one of this process by its key.
            return match before {
                Before::Absent => Ok(()),
                Before::Content { .. } | Before::Versions { .. } | Before::Nothing => Err(place.gone()),
            };
        };
        if let Spec::Restore { pin, .. } = spec
            && pin.uid != now.uid()
        {
            return Err(place.moved("it was deleted and made again"));
        }
        if *before == Before::Absent && epoch_of(&now, run).is_none() {
            // Somebody else's, under the name that a creation of this run finds taken.
            return Ok(());
        }
        self.take(place, now, &takeover).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn content_goes_back_and_nothing_else_of_the_object() {
        let now = json!({"metadata": {"name": "app", "labels": {"a": "now"}, "resourceVersion": "7"}, "immutable": false,
            "data": {"MODE": "storm", "NEW": "1"}, "binaryData": {"b": "AA=="}});
        let then = json!({"metadata": {"name": "app", "labels": {"a": "then"}}, "data": {"MODE": "calm"}});
        assert_eq!(
            restored(now, &then),
            json!({"metadata": {"name": "app", "labels": {"a": "now"}, "resourceVersion": "7"}, "immutable": false,
                "data": {"MODE": "calm"}})
        );
    }

    #[test]
    fn last_applied_names_what_was_applied_then_where_there_is_one() {
        let applied = |data: Value| {
            format!(
                "{}\n",
                json!({"kind": "ConfigMap", "metadata": {"name": "app"}, "data": data})
            )
        };
        let object = |data: Value, last: Option<Value>| {
            let mut object = json!({"metadata": {"name": "app"}, "data": data});
            if let Some(last) = last {
                object["metadata"]["annotations"] = json!({LAST_APPLIED: applied(last)});
            }
            object
        };
        let now = object(json!({"A": "2", "X": "1"}), Some(json!({"A": "2"})));
        let then = object(json!({"A": "1", "X": "1"}), Some(json!({"A": "1"})));
        let last = |object: Value| object.pointer("/metadata/annotations").cloned();
        assert_eq!(
            last(restored(now.clone(), &then)),
            Some(json!({LAST_APPLIED: applied(json!({"A": "1"}))}))
        );
        let bare = object(json!({"A": "1", "X": "1"}), None);
        assert_eq!(
            last(restored(now, &bare)),
            Some(json!({LAST_APPLIED: applied(json!({"A": "1", "X": "1"}))}))
        );
        assert_eq!(last(restored(bare.clone(), &bare)), None);
    }

    #[test]
    fn what_is_made_anew_belongs_to_nobody_and_bears_no_mark_of_an_earlier_run() {
        let then = json!({"metadata": {"name": "app-5f7", "labels": {"a": "b"}, "ownerReferences": [{"uid": "u"}],
            "finalizers": ["x"], "annotations": {"astern.dev/run": "r0", "team": "shop"}}, "immutable": true, "data": {}});
        assert_eq!(
            anew(then),
            json!({"metadata": {"name": "app-5f7", "labels": {"a": "b"}, "annotations": {"team": "shop"}}, "immutable": true,
                "data": {}})
        );
    }
}
