//! Effects on ExternalSecrets: the versions that one draws its Secret's content from are named anew, and named back. Owns how
//! it is known that the operator has drawn them; sees of the Secret a keyed hash alone.

use super::config::{KubernetesContents, broken, take_back};
use super::object::set_annotations;
use super::stamp::{
    Annotated, Claim, EPOCH, MARKS, RUN, SETTLED, epoch_of, found, is_ours, marks, strange, unexpected,
};
use super::watch::{Followed, events, one, watching};
use super::{FIELD_MANAGER, fence::LOOKS, look_for, mismatch};
use crate::failure::{Attempt, Verb};
use astern_model::config::ConfigName;
use astern_model::external::{GROUP, PLURAL, Source, Versions, is_synced, names, ready, with_versions};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, Epoch, RunId};
use astern_model::step::config::{After, Before, Pin, Spec, Wanted};
use astern_model::step::workload::Stamp;
use astern_model::template::canonical;
use astern_port::provider::Settled;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::core::params::{GetParams, PostParams};
use kube::core::request::Request;
use kube::runtime::watcher;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The operator draws within a second of a change, and tries again where its provider does not answer. Shorter than the step's
/// deadline, so that the failure says what it waits for.
const DRAWN_WITHIN: Duration = Duration::from_secs(90);

/// One ExternalSecret by its path, and its Secret.
pub(super) struct Drawing<'a> {
    port: &'a KubernetesContents,
    spec: &'a Spec,
    source: &'a Source,
    operation: String,
}

/// What a write of an ExternalSecret leads from and to.
struct Way<'a> {
    from: &'a Versions,
    to: &'a Versions,
}

/// What a repin changes, taken out of its spec.
struct Change<'a> {
    pin: &'a Pin,
    from: &'a Versions,
    versions: &'a Versions,
    to: &'a Wanted,
}

/// An ExternalSecret, just read.
struct Found(Value);

impl Annotated for Found {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }
}

impl Found {
    fn uid(&self) -> &str {
        self.0
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn version(&self) -> String {
        let version = self
            .0
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        version.unwrap_or_default().to_owned()
    }

    fn with(mut self, annotations: BTreeMap<&str, Option<String>>) -> Self {
        set_annotations(&mut self.0, annotations);
        self
    }
}

impl<'a> Drawing<'a> {
    /// Of a step that is about an ExternalSecret; none of any other.
    pub(super) fn of(port: &'a KubernetesContents, spec: &'a Spec, operation: String) -> Option<Self> {
        let (Spec::Repin { source, .. } | Spec::AwaitDrawn { source, .. }) = spec else {
            return None;
        };
        Some(Self {
            port,
            spec,
            source,
            operation,
        })
    }

    fn change(&self) -> Option<Change<'a>> {
        match self.spec {
            Spec::Repin {
                pin,
                from,
                versions,
                to,
                ..
            } => Some(Change {
                pin,
                from,
                versions,
                to,
            }),
            Spec::Restore { .. } | Spec::Remove { .. } | Spec::Create { .. } | Spec::AwaitDrawn { .. } => {
                None
            }
        }
    }

    fn secret(&self) -> &'a ConfigName {
        self.spec.object()
    }

    fn collection(&self) -> String {
        let namespace = self.spec.namespace();
        format!(
            "/apis/{GROUP}/{}/namespaces/{namespace}/{PLURAL}",
            self.source.version
        )
    }

    fn attempt(&self, verb: Verb) -> Attempt {
        Attempt::new(verb, PLURAL, &self.operation)
    }

    fn fail(&self, class: FailureClass, message: &str) -> Failure {
        Failure::new(class, &self.operation, format!("{}: {message}", self.source))
    }

    fn gone(&self) -> Failure {
        let namespace = self.spec.namespace();
        self.fail(
            FailureClass::Permanent,
            "it does not exist any more; nothing was changed",
        )
        .hint(format!("look who deleted it: kubectl get events -n {namespace}"))
    }

    fn moved(&self, message: &str) -> Failure {
        self.fail(FailureClass::Conflict, &format!("{message}; nothing was written"))
            .hint("look at what changed, then make a new plan: astern plan")
    }

    async fn find(&self) -> Result<Option<Found>, Failure> {
        let request = Request::new(self.collection()).get(&self.source.name, &GetParams::default());
        self.send(request, Verb::Get).await
    }

    /// The object that the plan means.
    async fn meant(&self) -> Result<Found, Failure> {
        let now = self.find().await?.ok_or_else(|| self.gone())?;
        if now.uid() == self.source.uid.as_str() {
            Ok(now)
        } else {
            Err(self.moved("it was deleted and made again"))
        }
    }

    async fn replace(&self, object: &Found) -> Result<Found, Failure> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let body = object.0.to_string().into_bytes();
        let request = Request::new(self.collection()).replace(&self.source.name, &parameters, body);
        let stored = self.send(request, Verb::Update).await?;
        stored.ok_or_else(|| self.gone())
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        verb: Verb,
    ) -> Result<Option<Found>, Failure> {
        let attempt = self.attempt(verb);
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        match self.port.client().request::<Value>(request).await {
            Ok(json) => Ok(Some(Found(json))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(attempt.failed(&error)),
        }
    }

    fn after(&self) -> After {
        After::Written {
            uid: self.source.uid.clone(),
            content: self.spec.to().content.clone(),
        }
    }

    pub(super) async fn prepare(&self) -> Result<Before, Failure> {
        let Some(change) = self.change() else {
            return Ok(Before::Nothing);
        };
        let (now, secret) = futures::try_join!(self.meant(), self.port.secret(self.spec))?;
        if !names(&now.0, change.from) {
            return Err(self.moved("it does not name the versions any more that the plan was made on"));
        }
        let held = self.port.hash(&secret).await?;
        if let Some(message) = broken(change.pin, &secret, &held) {
            return Err(self.moved(&format!("{}: {message}", self.secret())));
        }
        let annotations = found(&now, &MARKS);
        let kept = crate::look::without_servers_own(secret);
        Ok(Before::Versions {
            versions: change.from.clone(),
            kept: self.port.keep(self.secret(), &canonical(&kept)).await?,
            content: held,
            annotations,
        })
    }

    pub(super) async fn apply(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let Some(change) = self.change() else {
            self.drawn(&self.spec.to().content).await?;
            return Ok(After::Drawn);
        };
        let claim = Claim { stamp, before };
        let now = self.meant().await?;
        if is_ours(&now, stamp) && names(&now.0, change.versions) {
            return Ok(self.after());
        }
        let secret = self.port.secret(self.spec).await?;
        if let Some(message) = broken(change.pin, &secret, &self.port.hash(&secret).await?) {
            return Err(self.moved(&format!("{}: {message}", self.secret())));
        }
        self.port
            .prove_kept(self.secret(), change.to, &self.operation)
            .await?;
        // A login takes its time: what stands now is looked at again.
        let now = if change.to.login().is_some() {
            self.meant().await?
        } else {
            now
        };
        if !names(&now.0, change.from) {
            return Err(self.moved("it does not name the versions any more that the plan was made on"));
        }
        self.name(now, change.versions, &claim).await?;
        Ok(self.after())
    }

    /// Writes versions under the resourceVersion that was read.
    async fn name(&self, now: Found, versions: &Versions, claim: &Claim<'_>) -> Result<Found, Failure> {
        if let Some(message) = claim.refused(&now) {
            return Err(self.moved(&message));
        }
        let object = Found(with_versions(now.0, versions)).with(marks(claim.stamp));
        self.replace(&object).await
    }

    pub(super) async fn settle(&self, before: &Before, stamp: &Stamp) -> Settled<After> {
        let (Some(change), Before::Versions { .. }) = (self.change(), before) else {
            // It only waits: whoever goes on waits again.
            return Settled::NotApplied;
        };
        let way = Way {
            from: change.from,
            to: change.versions,
        };
        match self.settled(&way, &Claim { stamp, before }).await {
            Ok(Some(settled)) => settled,
            Ok(None) => Settled::Applied(self.after()),
            Err(failure) => Settled::Unknown(failure),
        }
    }

    /// None where this stamp's write is there.
    async fn settled(&self, way: &Way<'_>, claim: &Claim<'_>) -> Result<Option<Settled<After>>, Failure> {
        let unknown = |message: &str| Ok(Some(Settled::Unknown(self.fail(FailureClass::Unknown, message))));
        for look in 1.. {
            // A write carries the uid and the version of what was there: where that is gone, it cannot arrive.
            let found = self.find().await?;
            let Some(now) = found.filter(|now| now.uid() == self.source.uid.as_str()) else {
                break;
            };
            let ours = is_ours(&now, claim.stamp);
            if ours && names(&now.0, way.to) {
                return Ok(None);
            }
            if ours || !names(&now.0, way.from) {
                return unknown(
                    "it names versions that this step's mark does not account for; nothing was written by this look",
                );
            }
            if let Some(message) = claim.refused(&now) {
                return unknown(&message);
            }
            let version = now.version();
            let moved_on = now.with(BTreeMap::from([(SETTLED, Some(version))]));
            match self.replace(&moved_on).await {
                Ok(_) => break,
                Err(failure) if failure.class == FailureClass::Conflict && look < LOOKS => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Some(Settled::NotApplied))
    }

    /// The readers start once this is done, so it ends only when the Secret holds what it held.
    pub(super) async fn reverse(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let (
            Some(change),
            Before::Versions {
                versions, content, ..
            },
        ) = (self.change(), before)
        else {
            return Err(mismatch(&self.operation));
        };
        let now = self.meant().await?;
        if !(is_ours(&now, stamp) && names(&now.0, versions)) {
            if !names(&now.0, change.versions) {
                return Err(self.moved("it is not as this run left it: it names other versions"));
            }
            self.name(now, versions, &Claim { stamp, before }).await?;
        }
        // It is written: what is not known yet is when it is drawn.
        self.drawn(content).await.map_err(|failure| Failure {
            class: FailureClass::Unknown,
            ..failure
        })?;
        Ok(self.back(content))
    }

    fn back(&self, content: &ContentHash) -> After {
        After::Written {
            uid: self.source.uid.clone(),
            content: content.clone(),
        }
    }

    pub(super) async fn settle_reverse(&self, before: &Before, stamp: &Stamp) -> Settled<After> {
        let (
            Some(change),
            Before::Versions {
                versions, content, ..
            },
        ) = (self.change(), before)
        else {
            return Settled::Unknown(mismatch(&self.operation));
        };
        let way = Way {
            from: change.versions,
            to: versions,
        };
        match self.settled(&way, &Claim { stamp, before }).await {
            Ok(Some(settled)) => settled,
            Ok(None) => match self.drawn(content).await {
                Ok(()) => Settled::Applied(self.back(content)),
                Err(failure) => Settled::Unknown(failure),
            },
            Err(failure) => Settled::Unknown(failure),
        }
    }

    pub(super) async fn fence(
        &self,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        if self.change().is_none() {
            return Ok(());
        }
        let now = self.meant().await?;
        let found = epoch_of(&now, run);
        if let Some(message) = unexpected(found, from, to).or_else(|| strange(&now, before, run)) {
            return Err(self.moved(&message));
        }
        if found != Some(to) {
            let marks = BTreeMap::from([(EPOCH, Some(to.to_string())), (RUN, Some(run.to_string()))]);
            self.replace(&now.with(marks)).await?;
        }
        Ok(())
    }

    /// Watches until the operator says that it has drawn what the object names, and the Secret holds `content`.
    async fn drawn(&self, content: &ContentHash) -> Result<(), Failure> {
        let until = Instant::now() + DRAWN_WITHIN;
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.source.name));
        let mut object = one(events(self.api(), config), watching(PLURAL, &self.operation));
        let mut seen = self.meant().await?.0;
        loop {
            if is_synced(&seen) {
                return self.holds(content).await;
            }
            let Ok(followed) = tokio::time::timeout_at(until, object.next()).await else {
                return Err(self.late(&seen));
            };
            let Followed::Is(now) = followed? else {
                return Err(self.gone());
            };
            seen = serde_json::to_value(&now).map_err(|_| self.attempt(Verb::Watch).unreadable())?;
        }
    }

    async fn holds(&self, content: &ContentHash) -> Result<(), Failure> {
        let held = self.port.hash(&self.port.secret(self.spec).await?).await?;
        if &held == content {
            return Ok(());
        }
        let message = format!(
            "it has drawn the versions that it names, and {} holds {held} instead of {content}: what the provider keeps under \
             these ids, or the ExternalSecret's own template, is not what it was",
            self.secret()
        );
        Err(self.fail(FailureClass::Permanent, &message).hint(format!(
            "look at both: kubectl get {} -n {ns} -o yaml, and who changed {} since; then astern resume RUN, or astern abort RUN",
            self.source,
            self.secret(),
            ns = self.spec.namespace()
        )))
    }

    fn late(&self, seen: &Value) -> Failure {
        let says = match ready(seen) {
            Some((status, reason)) => format!("its condition Ready is {status} ({reason})"),
            None => "it has no condition Ready".to_owned(),
        };
        let message = format!(
            "the operator has not drawn what it names within {} s: {says}",
            DRAWN_WITHIN.as_secs()
        );
        self.fail(FailureClass::Permanent, &message).hint(format!(
            "look what keeps it: kubectl describe {} -n {}; once it has drawn it, astern resume RUN",
            self.source,
            self.spec.namespace()
        ))
    }

    fn api(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, &self.source.version, "ExternalSecret");
        let resource = ApiResource::from_gvk_with_plural(&kind, PLURAL);
        Api::namespaced_with(self.port.client().clone(), self.spec.namespace(), &resource)
    }
}

/// The drawing of a step, as it is looked for.
pub(super) fn looked_for<'a>(
    port: &'a KubernetesContents,
    spec: &'a Spec,
    back: bool,
) -> Option<Drawing<'a>> {
    let phrase = if back { take_back(spec) } else { spec.phrase() };
    Drawing::of(port, spec, look_for(&phrase))
}
