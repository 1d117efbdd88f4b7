//! Effects on releases: a rollback by the helm program, known by the mark that Helm copies into the revision it makes, and
//! the repair of a pending record. Owns what is said about whether they happened.

use crate::held::Held;
use crate::mask;
use crate::payload::{self, Room};
use crate::program::{Ended, Program, Rollback};
use crate::records::{self, EFFECT, Entry, Records};
use astern_model::failure::{Failure, FailureClass};
use astern_model::helm::{Read, Record, Release, ReleaseName, Revision, Settings, Standing, Status};
use astern_model::id::{Epoch, RunId};
use astern_model::step::helm::{After, Before, Pin, Spec};
use astern_model::step::workload::Stamp;
use astern_model::target::Target;
use astern_port::clock::Clock;
use astern_port::logins::Logins;
use astern_port::provider::{Provider, Settled};
use astern_port::releases::{Depth, Foretelling, ManifestContents, Releases};
use astern_port::vault::Vault;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long after its start helm has created its record, or will not: it reads the history and creates one Secret first.
const APPEARS_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// How often the records are looked at while one is waited for.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_millis(500);

/// The Helm layer of one cluster.
pub struct Helm {
    records: Records,
    held: Held,
    program: Program,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
}

impl Helm {
    /// Reads records through `client`, calls `program`, keeps copies in `vault`. Of what comes back `logins` tries Secrets; that is
    /// kept in `beside`, which never leaves the cluster.
    pub fn new(
        client: Client,
        program: Program,
        vault: Arc<dyn Vault>,
        beside: Arc<dyn Vault>,
        logins: Arc<dyn Logins>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            records: Records::new(client.clone()),
            held: Held::new(client, beside, logins),
            program,
            vault,
            clock,
        }
    }

    async fn read_one(&self, name: ReleaseName, depth: Depth) -> Result<Option<Release>, Failure> {
        let operation = format!("read the records of {name}");
        let mut revisions: Vec<_> = self
            .records
            .list(&name, &operation)
            .await?
            .into_iter()
            .map(|entry| entry.revision)
            .collect();
        let secrets = records::wanted(&revisions, depth).map(|revision| {
            let (name, operation, number) = (&name, &operation, revision.number);
            async move { (number, self.records.get(name, number, operation).await) }
        });
        // Had side by side and expanded one after the other, the newest first, into what all of them may take together.
        let mut room = Room::default();
        for (number, secret) in futures::future::join_all(secrets).await {
            let read = match secret {
                Ok(secret) => self.records.read(&name, number, &secret, &mut room),
                // One that was pruned meanwhile, or may not be read, is passed over by its reason.
                Err(failure) => Read::Unreadable { why: failure.message },
            };
            if let Some(revision) = revisions.iter_mut().find(|revision| revision.number == number) {
                revision.record = read;
            }
        }
        let at_work = match revisions.first() {
            Some(newest) => self.records.at_work(&name, newest).await,
            None => return Ok(None),
        };
        Ok(Some(Release {
            name,
            revisions,
            at_work,
            standing: Standing::default(),
            recorded: None,
        }))
    }

    /// The pinned record as it is now.
    async fn pinned(
        &self,
        release: &ReleaseName,
        entries: &[Entry],
        pin: &Pin,
        operation: &str,
    ) -> Result<Entry, Failure> {
        let number = pin.number;
        let entry = entries
            .iter()
            .find(|entry| entry.revision.number == number && entry.revision.uid == pin.uid)
            .ok_or_else(|| {
                conflict(
                    operation,
                    format!("the record of {release}'s revision {number} that the plan saw is gone"),
                )
            })?;
        match self.records.content(release, number, operation).await? {
            Read::Read(record) if record.content == pin.content => {
                let mut entry = entry.clone();
                entry.revision.record = Read::Read(record);
                Ok(entry)
            }
            Read::Read(_) => Err(conflict(
                operation,
                format!(
                    "the record of {release}'s revision {number} holds something else than when the plan was made"
                ),
            )),
            Read::Unreadable { why } => Err(Failure::new(
                FailureClass::Permanent,
                operation,
                format!("the record of {release}'s revision {number} cannot be used: {why}"),
            )),
            Read::NotAsked => unreachable!("BUG: its content was asked for"),
        }
    }

    /// Rolls back from the newest revision `from` to `to`, or finds that this key has done so.
    async fn roll_back(&self, go: &Going<'_>, from: u64, to: Entry, stamp: &Stamp) -> Result<After, Failure> {
        let entries = self.records.list(go.release, go.operation).await?;
        if let Some(found) = ours(&entries, from, stamp) {
            return self.ended(go, found, None);
        }
        still_newest(&entries, from, go)?;
        let flags = self.program.probe(go.operation).await?;
        self.records
            .mark(go.release, &to, Some(stamp.key.as_str()), go.operation)
            .await?;
        let rollback = Rollback {
            release: go.release,
            to: to.revision.number,
            settings: Settings {
                // Helm refuses to force what it applies itself.
                force_conflicts: go.settings.force_conflicts
                    && to.revision.content().is_some_and(|record| record.server_side),
                ..go.settings
            },
            description: format!("Rollback to {} by astern run {}", to.revision.number, stamp.run),
        };
        let ended = self.program.roll_back(&flags, &rollback, go.operation).await?;
        let ended = Ended {
            said: self.shown(go, ended.said, [from, to.revision.number]).await,
            ..ended
        };
        let entries = self
            .records
            .list(go.release, go.operation)
            .await
            .map_err(|failure| Failure {
                class: FailureClass::Unknown,
                ..failure
            })?;
        let result = match ours(&entries, from, stamp) {
            Some(found) => self.ended(go, found, Some(&ended)),
            None => Err(without_record(go, &ended)),
        };
        if result.is_ok() {
            self.unmark(go, &entries, to.revision.number, stamp).await;
        }
        result
    }

    /// What helm said, as it may be written down: it may quote the manifests of both revisions.
    async fn shown(&self, go: &Going<'_>, said: Vec<String>, revisions: [u64; 2]) -> Vec<String> {
        if said.is_empty() {
            return said;
        }
        let values = revisions.map(|number| self.records.secret_values(go.release, number, go.operation));
        match futures::future::try_join_all(values).await {
            Ok(values) => mask::without(said, &values.concat()),
            Err(_) => vec![
                "what helm said is not shown: the release's Secrets could not be read to hide their values"
                    .to_owned(),
            ],
        }
    }

    /// Takes the mark off the revision that was gone back to, so that a later rollback of somebody else's does not bear
    /// it. A mark that stays is a word too many and no more.
    async fn unmark(&self, go: &Going<'_>, entries: &[Entry], to: u64, stamp: &Stamp) {
        let marked = entries
            .iter()
            .find(|entry| entry.revision.number == to && entry.effect.as_deref() == Some(stamp.key.as_str()));
        if let Some(marked) = marked {
            drop(self.records.mark(go.release, marked, None, go.operation).await);
        }
    }

    /// What the record that a rollback made says about it.
    fn ended(&self, go: &Going<'_>, made: &Entry, ended: Option<&Ended>) -> Result<After, Failure> {
        let (release, number) = (go.release, made.revision.number);
        let said = ended.map(|ended| ended.said.clone()).unwrap_or_default();
        match &made.revision.status {
            Status::Deployed | Status::Superseded => Ok(After::RolledBack { revision: number }),
            Status::Failed => Err(Failure::new(
                FailureClass::Permanent,
                go.operation,
                format!("helm made revision {number} of {release} and marked it failed"),
            )
            .hint(format!(
                "`helm history {} -n {}` tells why; what it had written by then stays",
                release.name, release.namespace
            ))
            .evidence(said)),
            Status::Pending(_) | Status::Other(_) => Err(Failure::new(
                FailureClass::Unknown,
                go.operation,
                format!("revision {number} of {release} is {} still", made.revision.status),
            )
            .evidence(said)),
        }
    }

    async fn settle_rollback(&self, go: &Going<'_>, from: u64, stamp: &Stamp) -> Settled<After> {
        let since = self.clock.now();
        loop {
            let entries = match self.records.list(go.release, go.operation).await {
                Ok(entries) => entries,
                Err(failure) => return Settled::Unknown(failure),
            };
            match ours(&entries, from, stamp) {
                Some(found) => match self.ended(go, found, None) {
                    Ok(after) => return Settled::Applied(after),
                    Err(failure) if failure.class == FailureClass::Permanent => {
                        return Settled::Unknown(failure);
                    }
                    Err(_) if self.waited(since) < go.settings.timeout => {}
                    Err(failure) => return Settled::Unknown(failure),
                },
                // A helm that outlived its caller would have created its record by now.
                None if self.waited(since) >= APPEARS_WITHIN => return Settled::NotApplied,
                None => {}
            }
            self.clock.sleep(LOOK_AGAIN).await;
        }
    }

    fn waited(&self, since: Timestamp) -> SignedDuration {
        self.clock.now().duration_since(since)
    }

    async fn repair(&self, repair: &Repair<'_>, stamp: &Stamp, operation: &str) -> Result<After, Failure> {
        let number = repair.record.number;
        let secret = self.records.get(repair.release, number, operation).await?;
        let written = After::Written { revision: number };
        if effect_of(&secret) == Some(stamp.key.as_str()) {
            return Ok(written);
        }
        untouched(repair, &secret, operation)?;
        let description = format!(
            "left {} by a client that died; marked by astern run {}",
            repair.status, stamp.run
        );
        let payload = payload::with_state(records::data(&secret), "failed", &description)
            .map_err(|defect| Failure::new(FailureClass::Permanent, operation, defect.to_string()))?;
        let secret = records::rewritten(secret, payload, "failed", Some(stamp.key.as_str()));
        self.records.replace(repair.release, &secret, operation).await?;
        Ok(written)
    }

    /// Puts the copy of a repaired record back: what it held, and the state that it had.
    async fn put_back(
        &self,
        repair: &Repair<'_>,
        before: &Before,
        stamp: &Stamp,
        operation: &str,
    ) -> Result<After, Failure> {
        let Before::Record { copy } = before else {
            return Err(another_before(operation));
        };
        let number = repair.record.number;
        let written = After::Written { revision: number };
        let secret = self.records.get(repair.release, number, operation).await?;
        if effect_of(&secret) == Some(stamp.key.as_str()) {
            return Ok(written);
        }
        let payload = self.vault.get(copy).await?;
        let secret = records::rewritten(secret, payload, repair.status, Some(stamp.key.as_str()));
        self.records.replace(repair.release, &secret, operation).await?;
        Ok(written)
    }

    async fn settle_repair(&self, repair: &Repair<'_>, stamp: &Stamp, operation: &str) -> Settled<After> {
        match self
            .records
            .get(repair.release, repair.record.number, operation)
            .await
        {
            Ok(secret) if effect_of(&secret) == Some(stamp.key.as_str()) => {
                Settled::Applied(After::Written {
                    revision: repair.record.number,
                })
            }
            Ok(_) => Settled::NotApplied,
            Err(failure) => Settled::Unknown(failure),
        }
    }
}

/// A rollback that is under way.
struct Going<'a> {
    release: &'a ReleaseName,
    settings: Settings,
    operation: &'a str,
}

/// The repair of one record, as its spec says it.
struct Repair<'a> {
    release: &'a ReleaseName,
    record: &'a Pin,
    status: &'a str,
}

#[async_trait]
impl Releases for Helm {
    async fn read(&self, namespace: &str, names: &[String], depth: Depth) -> Result<Vec<Release>, Failure> {
        let reads = names.iter().map(|name| {
            let name = ReleaseName {
                namespace: namespace.to_owned(),
                name: name.clone(),
            };
            self.read_one(name, depth)
        });
        let found = futures::future::try_join_all(reads).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn list(&self, namespace: &str) -> Result<Vec<Release>, Failure> {
        let operation = format!("list the Helm releases of namespace {namespace}");
        self.records.all(namespace, &operation).await
    }

    async fn values(&self, release: &ReleaseName, revision: u64) -> Result<Value, Failure> {
        let operation = format!("read the values of revision {revision} of {release}");
        self.records.values(release, revision, &operation).await
    }

    async fn contents(&self, release: &ReleaseName, revision: u64) -> Result<ManifestContents, Failure> {
        let operation = format!("read the manifest of revision {revision} of {release}");
        self.records.contents(release, revision, &operation).await
    }

    async fn foretell(
        &self,
        release: &ReleaseName,
        from: u64,
        to: &BTreeMap<u64, BTreeSet<Target>>,
        force_conflicts: bool,
    ) -> Result<BTreeMap<(u64, Target), Foretelling>, Failure> {
        let operation = format!("try earlier manifests of {release} as a dry run");
        self.records
            .foretell(release, from, to, force_conflicts, &operation)
            .await
    }

    async fn standing(&self, release: &Release) -> Standing {
        let records: Vec<&Record> = release.revisions.iter().filter_map(Revision::content).collect();
        match release.newest().and_then(Revision::content) {
            Some(newest) => self.records.standing(&release.name, newest, &records).await,
            None => Standing::default(),
        }
    }
}

#[async_trait]
impl Provider<Spec> for Helm {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        let operation = spec.phrase();
        match spec {
            Spec::Rollback {
                release, from, to, ..
            } => {
                let entries = self.records.list(release, &operation).await?;
                let go = Going {
                    release,
                    settings: spec.settings(),
                    operation: &operation,
                };
                still_newest(&entries, from.number, &go)?;
                self.pinned(release, &entries, from, &operation).await?;
                self.pinned(release, &entries, to, &operation).await?;
                self.held.stands(release, spec.contents(), &operation).await?;
                self.program.probe(&operation).await?;
                Ok(Before::Release { newest: from.number })
            }
            Spec::Look { .. } => Ok(Before::Look),
            Spec::Repair {
                release,
                record,
                status,
                changed_at,
            } => {
                let repair = Repair {
                    release,
                    record,
                    status,
                };
                let entries = self.records.list(release, &operation).await?;
                let entry = self.pinned(release, &entries, record, &operation).await?;
                if entry.revision.changed_at != *changed_at {
                    return Err(alive(&repair, &operation));
                }
                let secret = self.records.get(release, record.number, &operation).await?;
                untouched(&repair, &secret, &operation)?;
                let copy = self.vault.put("helm-record", records::data(&secret)).await?;
                Ok(Before::Record { copy })
            }
        }
    }

    async fn apply(&self, spec: &Spec, _: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let operation = spec.phrase();
        match spec {
            Spec::Rollback {
                release, from, to, ..
            } => {
                let entries = self.records.list(release, &operation).await?;
                let go = Going {
                    release,
                    settings: spec.settings(),
                    operation: &operation,
                };
                if let Some(found) = ours(&entries, from.number, stamp) {
                    return self.ended(&go, found, None);
                }
                let to = self.pinned(release, &entries, to, &operation).await?;
                self.held.stands(release, spec.contents(), &operation).await?;
                self.held.proves(release, spec.contents(), &operation).await?;
                self.roll_back(&go, from.number, to, stamp).await
            }
            Spec::Look {
                release, contents, ..
            } => {
                self.held.arrived(release, contents, &operation).await?;
                Ok(After::Holds)
            }
            Spec::Repair {
                release,
                record,
                status,
                ..
            } => {
                let repair = Repair {
                    release,
                    record,
                    status,
                };
                self.repair(&repair, stamp, &operation).await
            }
        }
    }

    async fn settle(&self, spec: &Spec, _: &Before, stamp: &Stamp) -> Settled<After> {
        let operation = spec.phrase();
        match spec {
            Spec::Rollback { release, from, .. } => {
                let go = Going {
                    release,
                    settings: spec.settings(),
                    operation: &operation,
                };
                self.settle_rollback(&go, from.number, stamp).await
            }
            Spec::Look {
                release, contents, ..
            } => match self.held.arrived(release, contents, &operation).await {
                Ok(()) => Settled::Applied(After::Holds),
                Err(failure) if failure.class == FailureClass::Permanent => Settled::NotApplied,
                Err(failure) => Settled::Unknown(failure),
            },
            Spec::Repair {
                release,
                record,
                status,
                ..
            } => {
                let repair = Repair {
                    release,
                    record,
                    status,
                };
                self.settle_repair(&repair, stamp, &operation).await
            }
        }
    }

    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        let operation = format!("take back: {}", spec.phrase());
        match (spec, after) {
            (Spec::Rollback { release, from, .. }, After::RolledBack { revision }) => {
                let entries = self.records.list(release, &operation).await?;
                let go = Going {
                    release,
                    settings: spec.settings(),
                    operation: &operation,
                };
                if let Some(found) = ours(&entries, *revision, stamp) {
                    return self.ended(&go, found, None);
                }
                let back = self.pinned(release, &entries, from, &operation).await?;
                self.roll_back(&go, *revision, back, stamp).await
            }
            (
                Spec::Repair {
                    release,
                    record,
                    status,
                    ..
                },
                After::Written { .. },
            ) => {
                let repair = Repair {
                    release,
                    record,
                    status,
                };
                self.put_back(&repair, before, stamp, &operation).await
            }
            _ => Err(another_before(&operation)),
        }
    }

    async fn settle_reverse(&self, spec: &Spec, _: &Before, after: &After, stamp: &Stamp) -> Settled<After> {
        let operation = format!("take back: {}", spec.phrase());
        match (spec, after) {
            (Spec::Rollback { release, .. }, After::RolledBack { revision }) => {
                let go = Going {
                    release,
                    settings: spec.settings(),
                    operation: &operation,
                };
                self.settle_rollback(&go, *revision, stamp).await
            }
            (
                Spec::Repair {
                    release,
                    record,
                    status,
                    ..
                },
                After::Written { .. },
            ) => {
                let repair = Repair {
                    release,
                    record,
                    status,
                };
                self.settle_repair(&repair, stamp, &operation).await
            }
            _ => Settled::Unknown(another_before(&operation)),
        }
    }

    /// A helm that outlived its caller knows no epoch: it is waited for by its record.
    async fn fence(&self, _: &Spec, _: &Before, _: &RunId, _: Epoch, _: Epoch) -> Result<(), Failure> {
        Ok(())
    }
}

/// The revision that this key's rollback from `from` made. Helm numbers them one by one.
fn ours<'a>(entries: &'a [Entry], from: u64, stamp: &Stamp) -> Option<&'a Entry> {
    entries.iter().find(|entry| {
        entry.revision.number == from + 1 && entry.effect.as_deref() == Some(stamp.key.as_str())
    })
}

fn still_newest(entries: &[Entry], from: u64, go: &Going<'_>) -> Result<(), Failure> {
    let release = go.release;
    match entries.first() {
        Some(newest) if newest.revision.number == from => match &newest.revision.status {
            Status::Pending(status) => Err(conflict(
                go.operation,
                format!("revision {from} of {release} is {status}: helm is at work, or its client died"),
            )),
            _ => Ok(()),
        },
        Some(newest) => Err(conflict(
            go.operation,
            format!(
                "the newest revision of {release} is {} ({}), not {from}: somebody else went on",
                newest.revision.number, newest.revision.status
            ),
        )),
        None => Err(conflict(
            go.operation,
            format!("{release} has no records any more"),
        )),
    }
}

/// Helm ended, and there is no record with our mark.
fn without_record(go: &Going<'_>, ended: &Ended) -> Failure {
    let text = ended.said.join("\n");
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let class = if ended.success {
        FailureClass::Unknown
    } else if any(&["another operation", "already exists", "has been modified"]) {
        FailureClass::Conflict
    } else if any(&["forbidden", "Unauthorized"]) {
        FailureClass::Refused
    } else if any(&["connection refused", "timeout", "EOF", "connection reset"]) {
        FailureClass::Transient { retry_after_ms: None }
    } else {
        FailureClass::Permanent
    };
    let message = match class {
        FailureClass::Unknown => format!(
            "helm says that it is done, and no record of {} tells so",
            go.release
        ),
        _ => format!(
            "helm ended before it had made a revision of {}: nothing was changed",
            go.release
        ),
    };
    Failure::new(class, go.operation, message).evidence(ended.said.clone())
}

/// A pending record is repaired only while it is the very one that the plan saw.
fn untouched(repair: &Repair<'_>, secret: &Secret, operation: &str) -> Result<(), Failure> {
    records::is_record(secret, operation)?;
    let same = secret.uid().as_deref() == Some(repair.record.uid.as_str())
        && secret.labels().get("status").map(String::as_str) == Some(repair.status);
    if same {
        Ok(())
    } else {
        Err(alive(repair, operation))
    }
}

fn alive(repair: &Repair<'_>, operation: &str) -> Failure {
    conflict(
        operation,
        format!(
            "somebody has written revision {} of {} since the plan was made: its client lives, or another one mended it",
            repair.record.number, repair.release
        ),
    )
}

fn conflict(operation: &str, message: String) -> Failure {
    Failure::new(FailureClass::Conflict, operation, message)
}

fn another_before(operation: &str) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        operation,
        "what the journal tells of it belongs to another kind of step",
    )
}

fn effect_of(secret: &Secret) -> Option<&str> {
    secret.labels().get(EFFECT).map(String::as_str)
}
