//! Effects on what ConfigMaps and Secrets hold: put back, made anew, and taken back again. Owns the requests too, since an
//! answer may hold values: none is ever in a message or a log.

mod held;
mod place;
mod removal;
mod requests;
mod settling;

use super::external_secret::{Drawing, looked_for};
use super::mask;
use super::stamp::{Claim, MARKS, epoch_of, found, is_ours, marks};
use super::{look_for, mismatch};
use astern_model::config::{ConfigName, content};
use astern_model::content::ContentRef;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, Epoch, RunId, Uid};
use astern_model::login::LoginProbe;
use astern_model::step::config::{After, Before, Pin, Spec, Wanted};
use astern_model::step::workload::Stamp;
use astern_model::template::canonical;
use astern_port::logins::Logins;
use astern_port::provider::{Provider, Settled};
use astern_port::vault::Vault;
use async_trait::async_trait;
use place::{Found, Place, uid_of, writer_of};
use removal::Removal;
use serde_json::Value;
use settling::{Takeover, Way};
use std::sync::Arc;

pub(crate) use held::{anew, restored};
pub use settling::ON_ITS_WAY;

/// The config layer on a cluster. What objects held is kept in `vault`, which lies beside them: no value leaves the cluster.
pub struct KubernetesContents {
    client: kube::Client,
    vault: Arc<dyn Vault>,
    logins: Arc<dyn Logins>,
}

impl KubernetesContents {
    /// The objects behind this client.
    pub fn new(client: kube::Client, vault: Arc<dyn Vault>, logins: Arc<dyn Logins>) -> Self {
        Self {
            client,
            vault,
            logins,
        }
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
