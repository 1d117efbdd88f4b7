//! The source of an owner that compares nothing while it is paused, held against what runs: read where astern.yaml names it, tried
//! on the API server as the owner would apply it. Only reads and dry runs; what follows from it is the planner's.

use crate::world::{Git, World};
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, PausableKind};
use astern_model::source::{Folder, FolderManifests, Next, NextChart, Source, Upcoming, same_repository};
use astern_model::target::Target;
use astern_plan::{Applied, Beside, Changes, ConfigSeen, InForceOf, without_values};
use astern_port::config::ConfigObject;
use astern_port::releases::Depth;
use serde_json::Value;
use std::collections::BTreeMap;

/// Takes in what the sources of Flux' owners that runs have paused say. `config` is the namespace's ConfigMaps and Secrets; none
/// where they could not be read.
pub(crate) async fn compare(world: &World, inventory: &mut Inventory, config: Option<&[ConfigObject]>) {
    let Some(git) = &world.git else {
        return;
    };
    let flux = [PausableKind::Kustomization, PausableKind::HelmRelease];
    let paused = inventory.owners.iter().filter(|seen| {
        flux.contains(&seen.name.kind) && seen.in_sync.is_none() && seen.paused.is_some() && seen.is_paused()
    });
    let names: Vec<OwnerName> = paused.map(|seen| seen.name.clone()).collect();
    for name in names {
        let look = At {
            world,
            git,
            inventory,
            config,
        };
        let in_sync = look.at(&name).await.unwrap_or_else(|why| InSync::Untold { why });
        if let Some(seen) = inventory.owners.iter_mut().find(|seen| seen.name == name) {
            seen.in_sync = Some(in_sync);
        }
    }
}

struct At<'a> {
    world: &'a World,
    git: &'a Git,
    inventory: &'a Inventory,
    config: Option<&'a [ConfigObject]>,
}

impl At<'_> {
    /// Whether an owner's source is what runs, or why that is not told, a clause.
    async fn at(&self, owner: &OwnerName) -> Result<InSync, String> {
        let next = self.git.origins.upcoming(owner).await;
        match next.map_err(|failure| failure.message)?? {
            Next::Folder(upcoming) => self.folder(owner, upcoming).await,
            Next::Chart(next) => self.chart(owner, &next).await,
        }
    }

    /// Against the revision of the release that is in force.
    async fn chart(&self, owner: &OwnerName, next: &NextChart) -> Result<InSync, String> {
        let (releases, name) = (&self.world.releases, &next.release);
        let names = [name.name.clone()];
        let read = releases.read(&name.namespace, &names, Depth::Nearest).await;
        let read = read.map_err(|failure| failure.message)?;
        let release = read
            .first()
            .ok_or_else(|| format!("{name} has no record in namespace {}", name.namespace))?;
        let revision = release.live().map(|revision| revision.number).unwrap_or_default();
        let given = releases
            .values(name, revision)
            .await
            .map_err(|failure| failure.message)?;
        let seen = self.inventory.owner(owner).ok_or("its object is gone")?;
        let contents = releases.contents(name, revision).await;
        let contents = contents.map_err(|failure| failure.message)?;
        let in_force = InForceOf {
            release,
            values: &given,
            contents: &contents.here,
        };
        let config = self.config();
        Ok(astern_plan::chart_in_sync(
            seen,
            next,
            &in_force,
            config.as_deref(),
            self.inventory,
        ))
    }

    /// What is there, as the planner takes it.
    fn config(&self) -> Option<Vec<ConfigSeen<'_>>> {
        self.config.map(|objects| {
            let seen = objects.iter().map(|object| ConfigSeen {
                name: &object.name,
                json: &object.json,
                managed: &object.managed,
            });
            seen.collect()
        })
    }

    /// Against what stands.
    async fn folder(&self, owner: &OwnerName, upcoming: Upcoming) -> Result<InSync, String> {
        let source = self.source(&upcoming)?;
        let asked = self.git.sources.commit_of(source, &upcoming.follows);
        let newest = self.git.within(self.world, source, asked).await?;
        let newest = Some(newest).filter(|newest| *newest != upcoming.fetched.commit);
        let fetched = self.changes(owner, &upcoming, source, &upcoming.fetched).await?;
        let newest = match newest {
            None => None,
            Some(commit) => {
                let folder = Folder {
                    commit,
                    ..upcoming.fetched.clone()
                };
                let changes = self.changes(owner, &upcoming, source, &folder).await?;
                Some((folder.commit, changes))
            }
        };
        let newest = newest
            .as_ref()
            .map(|(commit, changes)| (commit.as_str(), changes));
        Ok(astern_plan::in_sync(&upcoming, &fetched, newest))
    }

    /// The source of astern.yaml that is this repository: no other address is ever spoken to.
    fn source(&self, upcoming: &Upcoming) -> Result<&Source, String> {
        let repository = &upcoming.fetched.repository;
        let named = self
            .git
            .named
            .iter()
            .find(|source| same_repository(&source.repository, repository));
        named.ok_or_else(|| {
            format!("it follows {repository}, and a repository is read only where `sources` in astern.yaml names it")
        })
    }

    async fn changes(
        &self,
        owner: &OwnerName,
        upcoming: &Upcoming,
        source: &Source,
        folder: &Folder,
    ) -> Result<Changes, String> {
        let asked = self.git.sources.manifests(source, folder);
        let said = self.git.within(self.world, source, asked).await?;
        let applied = self.applied(&said, upcoming).await;
        let config = self.config();
        let beside = Beside {
            owner,
            upcoming,
            said: &said,
            applied: &applied,
            config: config.as_deref(),
        };
        Ok(astern_plan::changes(&beside, self.inventory))
    }

    /// What each workload that is there would ask for, as the API server has it.
    async fn applied(
        &self,
        said: &FolderManifests,
        upcoming: &Upcoming,
    ) -> BTreeMap<Target, Result<Applied, String>> {
        let namespace = &self.inventory.namespace;
        let made = astern_plan::made(said, upcoming, namespace);
        let there = made.filter(|(target, _)| self.inventory.workloads.contains_key(target));
        let tried = there.filter_map(|(target, manifest)| {
            let mut json = manifest.json.as_ref().ok()?.clone();
            json["metadata"]["namespace"] = Value::from(namespace.as_str());
            Some(async move {
                let tried = self.world.look.applied(&target, &json, upcoming.manager).await;
                let live = self.inventory.workloads.get(&target);
                let held = live.map(|workload| workload.template.json());
                let applied = tried
                    .map(|object| Applied::of(&object))
                    .map_err(|failure| without_values(&failure.message, held.into_iter().chain([&json])));
                (target, applied)
            })
        });
        futures::future::join_all(tried).await.into_iter().collect()
    }
}
