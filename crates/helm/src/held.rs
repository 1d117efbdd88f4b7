//! The ConfigMaps and Secrets that change with a rollback: before helm is called each must be what the plan saw, and what a Secret
//! held then must still let its users in; afterwards each must hold what it was to hold. Reads, and tries logins; the writing is helm's.

use crate::failure::{Intent, failure};
use crate::standing;
use astern_model::config::{ConfigName, content};
use astern_model::failure::{Failure, FailureClass};
use astern_model::helm::ReleaseName;
use astern_model::id::ContentHash;
use astern_model::login::LoginProbe;
use astern_model::step::config::Pin;
use astern_model::step::helm::CarriedContent;
use astern_model::template::canonical;
use astern_port::logins::Logins;
use astern_port::vault::Vault;
use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;
use std::sync::Arc;

/// What the objects of one cluster hold, and whoever tries it.
pub(crate) struct Held {
    client: Client,
    vault: Arc<dyn Vault>,
    logins: Arc<dyn Logins>,
}

impl Held {
    pub(crate) fn new(client: Client, vault: Arc<dyn Vault>, logins: Arc<dyn Logins>) -> Self {
        Self {
            client,
            vault,
            logins,
        }
    }

    /// Checks that each is what the plan saw.
    pub(crate) async fn stands(
        &self,
        release: &ReleaseName,
        contents: &[CarriedContent],
        operation: &str,
    ) -> Result<(), Failure> {
        for (one, now) in self.read(release, contents, operation).await? {
            let now = match now {
                Some(now) => Some((uid(&now), self.hash(&now).await?)),
                None => None,
            };
            if let Some(message) = moved(&one.object, one.pin.as_ref(), now.as_ref()) {
                return Err(Failure::new(FailureClass::Conflict, operation, message));
            }
        }
        Ok(())
    }

    /// Tries each with its login probe, where it has one; then looks again whether all stand, since a login takes its time.
    pub(crate) async fn proves(
        &self,
        release: &ReleaseName,
        contents: &[CarriedContent],
        operation: &str,
    ) -> Result<(), Failure> {
        let tried = contents.iter().filter_map(|one| Some((one, one.to.login()?)));
        let tried = tried.map(|(one, probe)| self.logs_in(one, probe, operation));
        if try_join_all(tried).await?.is_empty() {
            return Ok(());
        }
        self.stands(release, contents, operation).await
    }

    /// Checks that each holds what it was to hold. Keys that it holds besides are somebody else's: helm takes away only what it
    /// knows to be its own.
    pub(crate) async fn arrived(
        &self,
        release: &ReleaseName,
        contents: &[CarriedContent],
        operation: &str,
    ) -> Result<(), Failure> {
        let mut others = Vec::new();
        for (one, now) in self.read(release, contents, operation).await? {
            match now {
                None => others.push(format!("{} is not there", one.object)),
                Some(now) if self.hash(&now).await? == one.to.content => {}
                Some(now) => {
                    let then = self.kept(one, operation).await?;
                    let keys = lacking(&then, &now);
                    others
                        .extend((!keys.is_empty()).then(|| format!("{} ({})", one.object, keys.join(", "))));
                }
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let message = format!(
            "helm says that {release} has gone back, and not so what this holds: {}",
            others.join("; ")
        );
        Err(Failure::new(FailureClass::Permanent, operation, message)
            .hint("somebody else wrote it at the same time, or helm left it: look who manages it, `kubectl get -o yaml --show-managed-fields`"))
    }

    async fn read<'a>(
        &self,
        release: &ReleaseName,
        contents: &'a [CarriedContent],
        operation: &str,
    ) -> Result<Vec<(&'a CarriedContent, Option<Value>)>, Failure> {
        let reads = contents.iter().map(|one| async move {
            let (namespace, object) = (&release.namespace, &one.object);
            let path = format!(
                "/api/v1/namespaces/{namespace}/{}/{}",
                object.kind.plural(),
                object.name
            );
            let found: Option<Value> = standing::get(&self.client, &path)
                .await
                .map_err(|error| failure(operation, &error, Intent::Read))?;
            Ok::<_, Failure>((one, found))
        });
        try_join_all(reads).await
    }

    async fn logs_in(
        &self,
        one: &CarriedContent,
        probe: &LoginProbe,
        operation: &str,
    ) -> Result<(), Failure> {
        let object = &one.object;
        let permanent = |message: String| Failure::new(FailureClass::Permanent, operation, message);
        let then = self.kept(one, operation).await?;
        self.logins.ask(probe, &then).await.map_err(|why| {
            let message = format!(
                "what {object} held then is not proven to work any more: its login probe {} {why}; helm was not called",
                probe.program()
            );
            permanent(message).hint(
                "where the credential was rotated, take this back, `astern abort RUN`, and plan with `--outside-helm`, which leaves \
                 the Secret as it is; where the probe could not reach what it asks, mend that, then `astern resume RUN`",
            )
        })
    }

    /// What the plan has kept of an object.
    async fn kept(&self, one: &CarriedContent, operation: &str) -> Result<Value, Failure> {
        let object = &one.object;
        let permanent = |message: String| Failure::new(FailureClass::Permanent, operation, message);
        let bytes = self.vault.get(&one.to.kept).await?;
        let then: Value = serde_json::from_slice(&bytes)
            .map_err(|_| permanent(format!("what the vault keeps of {object} is no JSON")))?;
        if self.hash(&then).await? == one.to.content {
            return Ok(then);
        }
        Err(permanent(format!(
            "the vault keeps something else of {object} than the plan names"
        )))
    }

    async fn hash(&self, object: &Value) -> Result<ContentHash, Failure> {
        let text = canonical(&content(object));
        self.vault.hash(text.as_bytes()).await.map(ContentHash)
    }
}

/// The keys under which an object does not hold what it is to hold.
fn lacking(then: &Value, now: &Value) -> Vec<String> {
    let of = |part: &'static str| {
        let said = then.get(part).and_then(Value::as_object).into_iter().flatten();
        let other = said
            .filter(move |(key, value)| now.get(part).and_then(|now| now.get(key.as_str())) != Some(*value));
        other.map(move |(key, _)| format!("{part}[{key}]"))
    };
    of("data").chain(of("binaryData")).collect()
}

fn uid(object: &Value) -> String {
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
    uid.unwrap_or_default().to_owned()
}

/// What of an object is not as the plan saw it.
fn moved(object: &ConfigName, pin: Option<&Pin>, now: Option<&(String, ContentHash)>) -> Option<String> {
    let since = "since the plan was made";
    match (pin, now) {
        (None, None) => None,
        (None, Some(_)) => Some(format!("somebody has made {object} {since}")),
        (Some(_), None) => Some(format!("{object} has gone {since}")),
        (Some(pin), Some((uid, _))) if uid != pin.uid.as_str() => {
            Some(format!("{object} was made anew {since}"))
        }
        (Some(pin), Some((_, content))) => {
            (content != &pin.content).then(|| format!("somebody has changed what {object} holds {since}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::config::ConfigKind;
    use serde_json::json;

    #[test]
    fn keys_that_somebody_else_holds_besides_are_nothing_that_did_not_arrive() {
        let held = |data: Value| json!({"data": data});
        let then = held(json!({"level": "info"}));
        assert!(lacking(&then, &held(json!({"level": "info", "mine": "x"}))).is_empty());
        assert_eq!(lacking(&then, &held(json!({"level": "debug"}))), ["data[level]"]);
        assert_eq!(lacking(&then, &json!({})), ["data[level]"]);
    }

    #[test]
    fn an_object_that_is_not_what_the_plan_saw_any_more_is_named() {
        let object = ConfigName {
            kind: ConfigKind::Secret,
            name: "dsn".to_owned(),
        };
        let pin = Pin {
            uid: "u-1".into(),
            content: "now".into(),
        };
        let held = |uid: &str, content: &str| Some((uid.to_owned(), content.into()));
        assert_eq!(moved(&object, Some(&pin), held("u-1", "now").as_ref()), None);
        assert_eq!(moved(&object, None, None), None);
        let told = |pin, held: Option<(String, ContentHash)>, words: &str| {
            let said = moved(&object, pin, held.as_ref()).unwrap();
            assert!(said.contains(words), "{said}");
        };
        told(Some(&pin), held("u-1", "other"), "changed what secret/dsn holds");
        told(Some(&pin), held("u-2", "now"), "was made anew");
        told(Some(&pin), None, "has gone");
        told(None, held("u-1", "now"), "somebody has made secret/dsn");
    }
}
