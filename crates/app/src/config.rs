//! What ConfigMaps and Secrets hold, now and in a release, side by side for planner and gate. Reads and compares; what they
//! hold stays in here.

use crate::ledger::Shelf;
use crate::reconstruct;
use crate::world::World;
use astern_model::config::{
    ConfigKind, ConfigName, ConfigSeen, HeldBy, HeldConfig, LiveConfig, UnknownConfig, content, keys,
};
use astern_model::content::ContentRef;
use astern_model::diff::{Change, Marks};
use astern_model::id::{ContentHash, StepId};
use astern_model::inventory::Inventory;
use astern_model::login::LoginSeen;
use astern_model::owner::OwnerSeen;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::release::{Release, ReleasedConfig};
use astern_model::step::config::Wanted;
use astern_model::step::{Step, helm};
use astern_model::template::canonical;
use astern_plan::{TakenRun, config_changes};
use astern_port::config::{ConfigObject, Owned};
use astern_port::{Failure, FailureClass};
use futures::future::{join_all, try_join_all};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is seen of one release.
#[derive(Default)]
struct OfRelease {
    live: Vec<LiveConfig>,
    owners: Vec<OwnerSeen>,
    held: Option<HeldBy>,
    newer: BTreeSet<ConfigName>,
    unknown: Vec<(ConfigName, String)>,
    unread: Vec<String>,
}

/// Looks at what a release holds, and at what stands of it. What could not be read is told and left alone.
async fn of_release(world: &World, inventory: &Inventory, release: &Release) -> OfRelease {
    let mut seen = OfRelease::default();
    let objects = match standing_of(world, inventory, release).await {
        Ok(objects) => objects,
        Err(failure) => {
            seen.unread.push(format!(
                "ConfigMaps and Secrets could not be read, so they are left as they are: {failure}"
            ));
            let held = release.config.iter();
            seen.unknown = held
                .map(|held| (held.name.clone(), failure.to_string()))
                .collect();
            return seen;
        }
    };
    let live: BTreeMap<&ConfigName, &ConfigObject> =
        objects.iter().map(|object| (&object.name, object)).collect();
    let compared = release.config.iter().map(|held| {
        let now = live.get(&held.name).copied();
        async move { (held, side_by_side(world, held, now).await) }
    });
    let known: BTreeSet<&ConfigName> = release.config.iter().map(|held| &held.name).collect();
    let newer = live.keys().filter(|name| !known.contains(*name));
    seen.newer = newer.map(|name| (*name).clone()).collect();
    let mut held = Vec::new();
    for (of, compared) in join_all(compared).await {
        match compared {
            Ok((now, then)) => {
                if let Some((now, owners)) = now {
                    seen.live.push(now);
                    seen.owners.extend(owners);
                }
                held.push(then);
            }
            Err(failure) => {
                seen.unknown.push((of.name.clone(), failure.to_string()));
                let name = &of.name;
                seen.unread.push(format!(
                    "what release {} holds of {name} could not be read, so it is left as it is: {failure}",
                    release.name
                ));
            }
        }
    }
    seen.held = Some(HeldBy {
        release: release.name.clone(),
        recorded_at: Some(release.at),
        objects: held,
    });
    seen
}

/// Where the release holds none, nothing is asked.
async fn standing_of(
    world: &World,
    inventory: &Inventory,
    release: &Release,
) -> Result<Vec<ConfigObject>, Failure> {
    if release.config.is_empty() {
        return Ok(Vec::new());
    }
    world.config.all(&inventory.namespace).await
}

/// Looks at the release that is named or that the plan's choices belong to, else at whoever else knows; and at the newest good one
/// where workloads ask for its templates: what those should read.
pub(crate) async fn of_plan(
    world: &World,
    platform: &Platform,
    inventory: &mut Inventory,
    shelf: &Shelf,
    request: &astern_plan::Request,
    draft: Option<&Plan>,
) {
    if request.leave_config {
        return;
    }
    let releases = shelf.releases();
    let chosen = astern_plan::config_release(request, draft, &releases);
    let good = astern_plan::content_they_should_read(request, inventory, &releases);
    if let Some(release) = chosen {
        let seen = of_release(world, inventory, release).await;
        take_in(platform, inventory, release, seen);
    } else if let Some(draft) = draft {
        reconstruct::of_plan(world, platform, inventory, draft).await;
    }
    match good {
        Some(good) if chosen.is_some_and(|chosen| chosen.name == good.name) => {
            inventory.config.last_good = inventory.config.held.clone();
        }
        Some(good) => {
            let seen = of_release(world, inventory, good).await;
            for live in seen.live {
                let known = &mut inventory.config.live;
                // With owners where it differs from one of both releases.
                known.retain(|known| known.name != live.name || live.owners.is_empty());
                if known.iter().all(|known| known.name != live.name) {
                    known.push(live);
                }
            }
            inventory.see(seen.owners);
            inventory.config.last_good = seen.held;
            inventory.unread.extend(seen.unread);
            inventory.unread.sort();
            inventory.unread.dedup();
        }
        None => {}
    }
}

/// Takes in what is seen of the release to which the plan goes back.
fn take_in(platform: &Platform, inventory: &mut Inventory, release: &Release, seen: OfRelease) {
    let readers = |name: &ConfigName| {
        let held = release.config.iter().filter(|held| &held.name == name);
        let consumers = held.flat_map(|held| &held.consumers);
        consumers.map(|consumer| consumer.target.clone()).collect()
    };
    let unknown = seen.unknown.iter();
    let unknown = unknown.filter(|(name, _)| astern_plan::goes_back(name, platform));
    inventory.config = ConfigSeen {
        unknown: unknown
            .map(|(name, why)| UnknownConfig {
                name: name.clone(),
                release: release.name.clone(),
                readers: readers(name),
                why: why.clone(),
            })
            .collect(),
        unreadable: match &seen.held {
            Some(_) => seen.unknown.into_iter().map(|(name, _)| name).collect(),
            None => BTreeSet::new(),
        },
        live: seen.live,
        held: seen.held,
        newer: seen.newer,
        ..ConfigSeen::default()
    };
    inventory.see(seen.owners);
    inventory.unread.extend(seen.unread);
}

/// Looks at how the objects stand that a plan writes.
pub(crate) async fn written_by(world: &World, inventory: &mut Inventory, plan: &Plan) {
    let names: BTreeSet<ConfigName> = plan
        .steps
        .iter()
        .filter_map(|step| Some(step.spec.config()?.object().clone()))
        .collect();
    standing(world, inventory, &names).await;
}

/// Tries with their login probes what a plan would have Secrets hold again: of the steps that `ahead` names, where
/// that was not tried yet.
pub(crate) async fn try_logins(
    world: &World,
    inventory: &Inventory,
    plan: &Plan,
    ahead: impl Fn(&StepId) -> bool,
) -> Vec<LoginSeen> {
    let steps = plan.steps.iter().filter(|step| ahead(&step.id));
    let untried = steps
        .flat_map(brought_back)
        .filter(|(object, to)| inventory.config.login(object, to).is_none());
    let tried = join_all(untried.map(|(object, to)| try_login(world, object, to))).await;
    tried.into_iter().flatten().collect()
}

/// What a step has ConfigMaps and Secrets hold again.
fn brought_back(step: &Step) -> Vec<(&ConfigName, &Wanted)> {
    let itself = step.spec.config().filter(|spec| spec.brings_back());
    let through = step.spec.helm().map(helm::Spec::contents).unwrap_or_default();
    let itself = itself.map(|spec| (spec.object(), spec.to()));
    let through = through.iter().map(|one| (&one.object, &one.to));
    itself.into_iter().chain(through).collect()
}

async fn try_login(world: &World, object: &ConfigName, to: &Wanted) -> Option<LoginSeen> {
    let probe = to.login()?;
    let tried = async {
        let unread =
            |failure: Failure| format!("was not run, since what it tries could not be read: {failure}");
        let then = kept(world, &to.kept).await.map_err(unread)?;
        if hash(world, &then).await.map_err(unread)? != to.content {
            return Err("was not run, since the vault keeps something else than the plan names".to_owned());
        }
        world
            .logins
            .ask(probe, &then)
            .await
            .map_err(|why| why.to_string())
    };
    let failed = tried.await.err();
    Some(LoginSeen {
        object: object.clone(),
        content: to.content.clone(),
        probe: probe.clone(),
        at: world.clock.now(),
        failed,
    })
}

/// Looks at what a run has replaced of ConfigMaps and Secrets, and at how they stand.
///
/// # Errors
/// What was kept, or what stands, cannot be read.
pub(crate) async fn of_run(
    world: &World,
    inventory: &mut Inventory,
    taken: &TakenRun,
) -> Result<TakenRun, Failure> {
    if taken.config.is_empty() {
        return Ok(taken.clone());
    }
    let objects = world.config.all(&inventory.namespace).await?;
    let mut config = Vec::new();
    for one in &taken.config {
        let now = objects.iter().find(|object| object.name == one.object);
        let mut one = one.clone();
        if let (Some(before), Some(now)) = (&mut one.before, now) {
            let then = kept(world, &before.kept).await?;
            before.keys = keys(&then);
            before.secret_type = secret_type(&one.object, &then);
            one.was_immutable = then.get("immutable") == Some(&Value::Bool(true));
            before.changes = changes(world, &one.object, Some(now), &then).await;
        }
        if let Some(now) = now {
            let (live, owners) = owned(world, now).await?;
            inventory.config.live.push(live);
            inventory.see(owners);
        }
        config.push(one);
    }
    Ok(TakenRun {
        templates: taken.templates.clone(),
        config,
    })
}

/// Looks at how these objects stand. What could not be read is told.
pub(crate) async fn standing(world: &World, inventory: &mut Inventory, names: &BTreeSet<ConfigName>) {
    if names.is_empty() {
        return;
    }
    let looked = async {
        let objects = world.config.all(&inventory.namespace).await?;
        let wanted = objects.iter().filter(|object| names.contains(&object.name));
        try_join_all(wanted.map(|object| owned(world, object))).await
    };
    match looked.await {
        Ok(found) => {
            let (live, owners): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            inventory.config.live = live;
            inventory.see(owners.into_iter().flatten());
        }
        Err(failure) => inventory
            .unread
            .push(format!("ConfigMaps and Secrets could not be read: {failure}")),
    }
}

async fn side_by_side(
    world: &World,
    held: &ReleasedConfig,
    now: Option<&ConfigObject>,
) -> Result<(Option<(LiveConfig, Vec<OwnerSeen>)>, HeldConfig), Failure> {
    let unchanged = now.filter(|now| now.uid == held.uid && now.version == held.version);
    let then = match unchanged {
        Some(now) => now.json.clone(),
        None => kept(world, &held.content).await?,
    };
    let content = hash(world, &then).await?;
    let live = match now {
        Some(now) => Some(self::live(world, now).await?),
        None => None,
    };
    let live = match (live, now) {
        (Some(live), Some(now)) if live.content != content => Some(with_owners(world, live, now).await),
        (live, _) => live.map(|live| (live, Vec::new())),
    };
    let held = HeldConfig {
        name: held.name.clone(),
        kept: held.content.clone(),
        content,
        keys: held.keys.clone(),
        secret_type: secret_type(&held.name, &then),
        drawn: held.drawn.clone(),
        changes: changes(world, &held.name, now, &then).await,
    };
    Ok((live, held))
}

/// What an object held by another word than the ledger's, beside what it holds: kept in the vault where it differs, so that a plan
/// can name it. None where it holds the same.
pub(crate) async fn differing(
    world: &World,
    name: &ConfigName,
    now: Option<&ConfigObject>,
    then: &Value,
) -> Result<Option<(Option<(LiveConfig, Vec<OwnerSeen>)>, HeldConfig)>, Failure> {
    let content = hash(world, then).await?;
    let live = match now {
        Some(now) => Some(self::live(world, now).await?),
        None => None,
    };
    if live.as_ref().is_some_and(|live| live.content == content) {
        return Ok(None);
    }
    let kept = world
        .vault
        .put(name.kind.singular(), canonical(then).as_bytes())
        .await?;
    let live = match (live, now) {
        (Some(live), Some(now)) => Some(with_owners(world, live, now).await),
        _ => None,
    };
    let held = HeldConfig {
        name: name.clone(),
        kept,
        content,
        keys: keys(then),
        secret_type: secret_type(name, then),
        drawn: None,
        changes: changes(world, name, now, then).await,
    };
    Ok(Some((live, held)))
}

/// What differs, from what stands to what was kept.
async fn changes(world: &World, name: &ConfigName, now: Option<&ConfigObject>, then: &Value) -> Vec<Change> {
    let nothing = json!({});
    let from = now.map_or(&nothing, |now| &now.json);
    let marks = marks(world, from, then).await;
    let changes = config_changes(name, from, then, &marks).into_iter();
    // Whether an object may be changed does not go back, and the type of one that is made anew is no news.
    let goes_back = |change: &Change| change.path != "immutable" && (now.is_some() || change.path != "type");
    changes.filter(goes_back).collect()
}

/// The marks of the values in which two objects differ. Without the vault's key there are none, and a difference is told without
/// them.
pub(crate) async fn marks(world: &World, from: &Value, to: &Value) -> Marks {
    let mut differing: BTreeSet<&str> = BTreeSet::new();
    for part in ["data", "binaryData"] {
        let sides = [(from, to), (to, from)];
        differing.extend(sides.into_iter().flat_map(|(one, other)| {
            let held = one.get(part).and_then(Value::as_object).into_iter().flatten();
            let others = held.filter(move |(key, value)| {
                other.get(part).and_then(|part| part.get(key.as_str())) != Some(*value)
            });
            others.filter_map(|(_, value)| value.as_str())
        }));
    }
    marks_of(world, differing.into_iter().map(str::to_owned)).await
}

/// The marks of these values; none without the vault's key.
pub(crate) async fn marks_of(world: &World, values: impl IntoIterator<Item = String>) -> Marks {
    let hashed = values.into_iter().map(|value| async move {
        let hash = world.vault.hash(value.as_bytes()).await?;
        Ok::<_, Failure>((value, hash))
    });
    try_join_all(hashed).await.map(Marks::of).unwrap_or_default()
}

/// The same with who else would write it.
async fn owned(world: &World, object: &ConfigObject) -> Result<(LiveConfig, Vec<OwnerSeen>), Failure> {
    let live = live(world, object).await?;
    Ok(with_owners(world, live, object).await)
}

async fn with_owners(world: &World, live: LiveConfig, object: &ConfigObject) -> (LiveConfig, Vec<OwnerSeen>) {
    let Owned { owners, seen } = world.config.owners(object).await;
    (LiveConfig { owners, ..live }, seen)
}

async fn live(world: &World, object: &ConfigObject) -> Result<LiveConfig, Failure> {
    Ok(LiveConfig {
        name: object.name.clone(),
        uid: object.uid.clone(),
        content: hash(world, &object.json).await?,
        immutable: object.is_immutable(),
        secret_type: secret_type(&object.name, &object.json),
        source: object.source.clone(),
        // One that cannot be read is told by its name alone, and refused.
        drawn: world.config.drawn(object).await.unwrap_or_default(),
        owners: Vec::new(),
        manager: object.manager.clone(),
    })
}

fn secret_type(name: &ConfigName, object: &Value) -> Option<String> {
    let of = object.get("type").filter(|_| name.kind == ConfigKind::Secret)?;
    of.as_str().map(str::to_owned)
}

async fn kept(world: &World, content: &ContentRef) -> Result<Value, Failure> {
    let bytes = world.vault.get(content).await?;
    serde_json::from_slice(&bytes).map_err(|_| {
        let operation = format!("read {} from the vault", content.name);
        Failure::new(FailureClass::Permanent, operation, "it is no JSON")
    })
}

/// What kept content holds.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn kept_hash(world: &World, content: &ContentRef) -> Result<ContentHash, Failure> {
    hash(world, &kept(world, content).await?).await
}

/// What an object holds.
///
/// # Errors
/// The vault's key cannot be read.
pub(crate) async fn hash(world: &World, object: &Value) -> Result<ContentHash, Failure> {
    let text = canonical(&content(object));
    world.vault.hash(text.as_bytes()).await.map(ContentHash)
}
