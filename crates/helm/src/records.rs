//! The records of releases: Secrets of type `helm.sh/release.v1`, listed by label with their metadata alone, and single
//! payloads. Source: `pkg/storage/driver/secrets.go` of Helm 3 and 4.

use crate::contents;
use crate::failure::{Intent, failure};
use crate::foretold::Rollback;
use crate::manifest;
use crate::mask::Masker;
use crate::payload::{self, Payload, Room};
use crate::standing;
use astern_model::choice::clock;
use astern_model::failure::{Failure, FailureClass};
use astern_model::helm::{Read, Record, Release, ReleaseName, Revision, Standing, Status};
use astern_model::id::Uid;
use astern_model::target::Target;
use astern_port::releases::{Depth, FEW, Foretelling, ManifestContents};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Helm's own type for its records.
const TYPE: &str = "helm.sh/release.v1";
/// The key under which a record holds its payload.
const PAYLOAD: &str = "release";
/// The label by which a rollback of ours is known: Helm copies a revision's labels into the one that goes back to it.
pub(crate) const EFFECT: &str = "astern.dev/effect";
/// Records in one page of a list.
const PAGE: u32 = 500;

/// The records of one cluster.
pub(crate) struct Records {
    client: Client,
    masker: Masker,
}

/// One record by its labels.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) effect: Option<String>,
    pub(crate) resource_version: String,
}

impl Records {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            masker: Masker::new(),
        }
    }

    /// All records of a release, newest first; their payloads stay on the server.
    pub(crate) async fn list(&self, release: &ReleaseName, operation: &str) -> Result<Vec<Entry>, Failure> {
        let selector = format!("owner=helm,name={}", release.name);
        let found = self.metadata(&release.namespace, &selector, operation).await?;
        let mut entries: Vec<Entry> = found.iter().filter_map(|(_, meta)| entry(meta)).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.revision.number));
        Ok(entries)
    }

    /// Every release of a namespace by its records' labels alone.
    pub(crate) async fn all(&self, namespace: &str, operation: &str) -> Result<Vec<Release>, Failure> {
        let found = self.metadata(namespace, "owner=helm", operation).await?;
        let mut releases: BTreeMap<ReleaseName, Vec<Revision>> = BTreeMap::new();
        for (name, meta) in &found {
            let Some(entry) = entry(meta) else { continue };
            let release = ReleaseName {
                namespace: namespace.to_owned(),
                name: name.clone(),
            };
            releases.entry(release).or_default().push(entry.revision);
        }
        let newest_first = |(name, mut revisions): (ReleaseName, Vec<Revision>)| {
            revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
            Release {
                name,
                revisions,
                at_work: Vec::new(),
                standing: Standing::default(),
                recorded: None,
            }
        };
        Ok(releases.into_iter().map(newest_first).collect())
    }

    /// How the objects of a release's newest record stand.
    pub(crate) async fn standing(
        &self,
        release: &ReleaseName,
        newest: &Record,
        records: &[&Record],
    ) -> Standing {
        standing::standing(&self.client, &release.namespace, newest, records, &self.masker).await
    }

    /// What of a pending operation still runs: the Jobs of its hooks, for which its client waits. One that cannot be
    /// looked at may run.
    pub(crate) async fn at_work(&self, release: &ReleaseName, newest: &Revision) -> Vec<String> {
        let (Status::Pending(status), Some(record)) = (&newest.status, newest.content()) else {
            return Vec::new();
        };
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &release.namespace);
        let of_operation = record.hooks.iter().filter(|hook| hook.runs_in(status));
        let looks = of_operation.filter_map(|hook| {
            let (jobs, name) = (jobs.clone(), hook.object.strip_prefix("job/")?);
            Some(async move {
                match jobs.get_opt(name).await {
                    Ok(job) => job.and_then(|job| not_ended(&hook.object, &job)),
                    Err(error) => {
                        let operation = format!("look at {}", hook.object);
                        let why = failure(&operation, &error, Intent::Read).message;
                        Some(format!(
                            "whether its hook {} has ended is not known: {why}",
                            hook.object
                        ))
                    }
                }
            })
        });
        let found = futures::future::join_all(looks).await;
        found.into_iter().flatten().collect()
    }

    async fn metadata(
        &self,
        namespace: &str,
        selector: &str,
        operation: &str,
    ) -> Result<Vec<(String, ObjectMeta)>, Failure> {
        let api = self.api(namespace);
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let page = api
                .list_metadata(&params)
                .await
                .map_err(|error| failure(operation, &error, Intent::Read))?;
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            found.extend(page.items.into_iter().map(|item: PartialObjectMeta<Secret>| {
                let name = item.labels().get("name").cloned().unwrap_or_default();
                (name, item.metadata)
            }));
            match next {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// The record of one revision, with its payload.
    pub(crate) async fn get(
        &self,
        release: &ReleaseName,
        number: u64,
        operation: &str,
    ) -> Result<Secret, Failure> {
        let name = release.record(number);
        self.api(&release.namespace)
            .get(&name)
            .await
            .map_err(|error| failure(operation, &error, Intent::Read))
    }

    /// What the record of one revision holds. One that is not what it says is told, and is no failure.
    pub(crate) async fn content(
        &self,
        release: &ReleaseName,
        number: u64,
        operation: &str,
    ) -> Result<Read, Failure> {
        let secret = self.get(release, number, operation).await?;
        Ok(self.read(release, number, &secret, &mut Room::default()))
    }

    /// The same of a record that was had, one among several that are held at the same time.
    pub(crate) fn read(&self, release: &ReleaseName, number: u64, secret: &Secret, room: &mut Room) -> Read {
        let payload = payload::decode_within(data(secret), &release.name, number, room);
        match payload.and_then(|payload| manifest::record(payload, &release.namespace, &self.masker)) {
            Ok(record) => Read::Read(Box::new(record)),
            Err(defect) => Read::Unreadable {
                why: defect.to_string(),
            },
        }
    }

    /// The values that were given for a revision.
    pub(crate) async fn values(
        &self,
        release: &ReleaseName,
        number: u64,
        operation: &str,
    ) -> Result<Value, Failure> {
        let secret = self.get(release, number, operation).await?;
        payload::decode(data(&secret), &release.name, number)
            .map(|payload| payload.config)
            .map_err(|defect| Failure::new(FailureClass::Permanent, operation, defect.to_string()))
    }

    /// What a revision's manifest says that ConfigMaps and Secrets hold.
    pub(crate) async fn contents(
        &self,
        release: &ReleaseName,
        number: u64,
        operation: &str,
    ) -> Result<ManifestContents, Failure> {
        let secret = self.get(release, number, operation).await?;
        payload::decode(data(&secret), &release.name, number)
            .and_then(|payload| {
                Ok(contents::contents(
                    manifest::documents(&payload.manifest)?,
                    release,
                ))
            })
            .map_err(|defect| Failure::new(FailureClass::Permanent, operation, defect.to_string()))
    }

    /// What workloads would ask for once helm had gone back from revision `from` to each of `to`. A record that is not what it says is
    /// told of each of its workloads.
    pub(crate) async fn foretell(
        &self,
        release: &ReleaseName,
        from: u64,
        to: &BTreeMap<u64, BTreeSet<Target>>,
        force_conflicts: bool,
        operation: &str,
    ) -> Result<BTreeMap<(u64, Target), Foretelling>, Failure> {
        let from = self.payload(release, from, operation).await?;
        let mut found = BTreeMap::new();
        for (number, targets) in to {
            let to = self.payload(release, *number, operation).await;
            let told = match to {
                Ok(to) => {
                    let rollback = Rollback {
                        release,
                        from: &from,
                        to: &to,
                        force_conflicts,
                    };
                    rollback.foretold(&self.client, targets, &self.masker).await
                }
                Err(failure) => {
                    let why = |target: &Target| (target.clone(), Err(failure.message.clone()));
                    targets.iter().map(why).collect()
                }
            };
            found.extend(told.into_iter().map(|(target, told)| ((*number, target), told)));
        }
        Ok(found)
    }

    /// The record of one revision, taken apart.
    async fn payload(&self, release: &ReleaseName, number: u64, operation: &str) -> Result<Payload, Failure> {
        let secret = self.get(release, number, operation).await?;
        payload::decode(data(&secret), &release.name, number).map_err(|defect| {
            let message = format!("the record of revision {number} cannot be used: {defect}");
            Failure::new(FailureClass::Permanent, operation, message)
        })
    }

    /// Every value of a revision that no text may show.
    pub(crate) async fn secret_values(
        &self,
        release: &ReleaseName,
        number: u64,
        operation: &str,
    ) -> Result<Vec<String>, Failure> {
        let secret = self.get(release, number, operation).await?;
        payload::decode(data(&secret), &release.name, number)
            .and_then(|payload| manifest::secret_values(&payload, &self.masker))
            .map_err(|defect| Failure::new(FailureClass::Permanent, operation, defect.to_string()))
    }

    /// Labels the record of a revision with an effect's key, under the resourceVersion that was read.
    pub(crate) async fn mark(
        &self,
        release: &ReleaseName,
        entry: &Entry,
        key: Option<&str>,
        operation: &str,
    ) -> Result<(), Failure> {
        let patch = serde_json::json!({"metadata": {
            "resourceVersion": entry.resource_version,
            "labels": {EFFECT: key},
        }});
        self.api(&release.namespace)
            .patch_metadata(
                &release.record(entry.revision.number),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .map(drop)
            // A label alone changes nothing, and may be written again.
            .map_err(|error| failure(operation, &error, Intent::Read))
    }

    /// Writes a whole record back under the resourceVersion that it carries.
    pub(crate) async fn replace(
        &self,
        release: &ReleaseName,
        secret: &Secret,
        operation: &str,
    ) -> Result<(), Failure> {
        self.api(&release.namespace)
            .replace(&secret.name_any(), &PostParams::default(), secret)
            .await
            .map(drop)
            .map_err(|error| failure(operation, &error, Intent::Write))
    }

    fn api(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// A Job that has neither completed nor failed, as a clause.
fn not_ended(object: &str, job: &Job) -> Option<String> {
    let status = job.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let ended = |kind: &str| ["Complete", "Failed"].contains(&kind);
    if conditions
        .iter()
        .any(|condition| condition.status == "True" && ended(&condition.type_))
    {
        return None;
    }
    let since = status.and_then(|status| status.start_time.as_ref());
    let since = since.map_or_else(String::new, |since| format!(" (it began at {})", clock(since.0)));
    Some(format!("its hook {object} has not ended{since}"))
}

/// The payload of a record.
pub(crate) fn data(secret: &Secret) -> &[u8] {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(PAYLOAD))
        .map_or(&[], |bytes| &bytes.0)
}

/// The same record with another payload, state and mark.
pub(crate) fn rewritten(mut secret: Secret, payload: Vec<u8>, status: &str, effect: Option<&str>) -> Secret {
    let data = secret.data.get_or_insert_default();
    data.insert(PAYLOAD.to_owned(), k8s_openapi::ByteString(payload));
    let labels = secret.metadata.labels.get_or_insert_default();
    labels.insert("status".to_owned(), status.to_owned());
    match effect {
        Some(key) => labels.insert(EFFECT.to_owned(), key.to_owned()),
        None => labels.remove(EFFECT),
    };
    secret
}

fn entry(meta: &ObjectMeta) -> Option<Entry> {
    let labels = meta.labels.as_ref()?;
    let number = labels.get("version")?.parse().ok()?;
    let created = meta.creation_timestamp.as_ref().map(|at| at.0);
    // A state is written with the time of the writing; Helm drops the one of the creation then.
    let modified = labels
        .get("modifiedAt")
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    Some(Entry {
        revision: Revision {
            number,
            status: Status::from(labels.get("status").cloned().unwrap_or_default()),
            uid: Uid(meta.uid.clone()?),
            created_at: created,
            changed_at: modified.or(created)?,
            record: Read::NotAsked,
        },
        effect: labels.get(EFFECT).cloned(),
        resource_version: meta.resource_version.clone()?,
    })
}

/// The revisions whose content is read: an uninstalled one is nowhere to go.
pub(crate) fn wanted(revisions: &[Revision], depth: Depth) -> impl Iterator<Item = &Revision> {
    let worth = |revision: &&Revision| !matches!(revision.status, Status::Other(_));
    let was_deployed = |revision: &Revision| revision.status.was_deployed();
    let earlier = revisions.iter().skip(1).position(was_deployed);
    let deep = match (depth, earlier) {
        (Depth::Nearest, Some(place)) => place + 2,
        (Depth::Nearest, None) | (Depth::Few, _) => revisions.len(),
    };
    revisions.iter().take(deep).filter(worth).take(FEW)
}

/// The record must be one of Helm's.
pub(crate) fn is_record(secret: &Secret, operation: &str) -> Result<(), Failure> {
    if secret.type_.as_deref() == Some(TYPE) {
        return Ok(());
    }
    Err(Failure::new(
        FailureClass::Permanent,
        operation,
        format!("secret/{} is no record of Helm's", secret.name_any()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_records_reach_down_to_the_next_that_was_deployed() {
        let check = |states: &[&str], depth: Depth, expected: &[u64]| {
            let newest = states.len() as u64;
            let revisions: Vec<Revision> = (0..newest)
                .zip(states)
                .map(|(place, status)| Revision {
                    number: newest - place,
                    status: Status::from((*status).to_owned()),
                    uid: Uid(String::new()),
                    created_at: None,
                    changed_at: Timestamp::UNIX_EPOCH,
                    record: Read::NotAsked,
                })
                .collect();
            let numbers: Vec<u64> = wanted(&revisions, depth).map(|one| one.number).collect();
            assert_eq!(numbers, expected, "{states:?}");
        };
        let many = ["deployed", "superseded", "superseded", "superseded"];
        check(&many, Depth::Nearest, &[4, 3]);
        check(&many, Depth::Few, &[4, 3, 2, 1]);
        check(
            &["pending-upgrade", "failed", "deployed", "superseded"],
            Depth::Nearest,
            &[4, 3, 2],
        );
        check(&["failed", "failed"], Depth::Nearest, &[2, 1]);
        check(&["deployed"], Depth::Nearest, &[1]);
        check(&["uninstalled", "superseded"], Depth::Few, &[1]);
        check(
            &["superseded"; 12],
            Depth::Few,
            &(3..=12).rev().collect::<Vec<_>>(),
        );
    }
}
