//! What ConfigMaps and Secrets would hold once a plan has gone back through their Helm release, beside what they hold now. Reads and
//! compares; what they hold stays in here.

use crate::config;
use crate::world::World;
use astern_model::config::{ConfigKind, ConfigName, LiveConfig, ReleaseContent, content, keys, with_content};
use astern_model::helm::ReleaseName;
use astern_model::id::StepId;
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerSeen;
use astern_model::plan::Plan;
use astern_model::step::helm::Spec;
use astern_port::config::ConfigObject;
use astern_port::releases::ManifestContents;
use futures::future::join_all;
use serde_json::{Map, Value};

/// One rollback through Helm, as a plan has it.
struct Rollback<'a> {
    release: &'a ReleaseName,
    from: u64,
    to: u64,
}

/// Looks at what changes with every rollback through Helm among the steps that `ahead` names. Whether that was news.
pub(crate) async fn look_at(
    world: &World,
    inventory: &mut Inventory,
    plan: &Plan,
    ahead: impl Fn(&StepId) -> bool,
) -> bool {
    let steps = plan.steps.iter().filter(|step| ahead(&step.id));
    let rollbacks = steps.filter_map(|step| match step.spec.helm()? {
        Spec::Rollback {
            release, from, to, ..
        } => Some(Rollback {
            release,
            from: from.number,
            to: to.number,
        }),
        Spec::Look { .. } | Spec::Repair { .. } => None,
    });
    let known = &inventory.config;
    let open: Vec<Rollback<'_>> = rollbacks
        .filter(|one| known.through(one.release, one.to).is_none())
        .collect();
    let looked = open
        .iter()
        .map(|one| of_rollback(world, &inventory.namespace, one));
    let looked = join_all(looked).await;
    let any = !looked.is_empty();
    for Seen {
        content,
        live,
        unread,
    } in looked
    {
        for (live, owners) in live {
            let known = &mut inventory.config.live;
            known.retain(|known| known.name != live.name);
            known.push(live);
            inventory.see(owners);
        }
        inventory.config.through.push(content);
        inventory.unread.extend(unread);
    }
    any
}

/// What is seen of one rollback.
struct Seen {
    content: ReleaseContent,
    live: Vec<(LiveConfig, Vec<OwnerSeen>)>,
    /// Of ConfigMaps, a sentence each.
    unread: Vec<String>,
}

impl Seen {
    /// What an object would hold is not known.
    fn unknown(&mut self, name: &ConfigName, why: &str) {
        let clause = format!("{name}: {why}");
        match name.kind {
            ConfigKind::Secret => self.content.unknown.push(clause),
            ConfigKind::ConfigMap => self.unread.push(format!(
                "whether {} brings another content of a ConfigMap, so that its readers must start anew, is not known ({clause})",
                self.content.release
            )),
        }
    }
}

async fn of_rollback(world: &World, namespace: &str, one: &Rollback<'_>) -> Seen {
    let mut seen = Seen {
        content: ReleaseContent {
            release: one.release.clone(),
            revision: one.to,
            differing: Vec::new(),
            unknown: Vec::new(),
        },
        live: Vec::new(),
        unread: Vec::new(),
    };
    let to = match world.releases.contents(one.release, one.to).await {
        Ok(to) if to.is_empty() => return seen,
        Ok(to) => to,
        Err(failure) => {
            seen.content.unknown.push(failure.to_string());
            return seen;
        }
    };
    let stands = futures::try_join!(
        world.releases.contents(one.release, one.from),
        world.config.all(namespace)
    );
    let (from, objects) = match stands {
        Ok(stands) => stands,
        Err(failure) => {
            let why = failure.to_string();
            to.here.keys().for_each(|name| seen.unknown(name, &why));
            return seen;
        }
    };
    for (name, then) in &to.here {
        let now = objects.iter().find(|object| &object.name == name);
        let before = from.here.get(name).and_then(|before| before.as_ref().ok());
        let then = match then {
            // What says nothing is filled by somebody else.
            Ok(then) if keys(then).is_empty() => continue,
            Ok(then) => merged(now, before, then),
            Err(why) => {
                seen.unknown(name, why);
                continue;
            }
        };
        match config::differing(world, name, now, &then).await {
            Ok(None) => {}
            Ok(Some((now, held))) => {
                seen.live.extend(now);
                seen.content.differing.push(held);
            }
            Err(failure) => seen.unknown(name, &failure.to_string()),
        }
    }
    for (namespace, name) in elsewhere(&from, &to) {
        let why = format!("it lies in namespace {namespace}, which is not looked at");
        seen.unknown(name, &why);
    }
    seen
}

/// Secrets that differ between the revisions and lie in other namespaces.
fn elsewhere<'a>(from: &ManifestContents, to: &'a ManifestContents) -> Vec<(&'a String, &'a ConfigName)> {
    let differing = to
        .elsewhere
        .iter()
        .filter(|(place, then)| from.elsewhere.get(*place) != Some(then));
    let places = differing.map(|((namespace, name), _)| (namespace, name));
    places
        .filter(|(_, name)| name.kind == ConfigKind::Secret)
        .collect()
}

/// What an object holds once helm has merged `then` into what stands: keys that only `from` had go, keys of somebody else's stay.
fn merged(now: Option<&ConfigObject>, from: Option<&Value>, then: &Value) -> Value {
    let Some(now) = now else { return then.clone() };
    let mut held = content(&now.json);
    for part in ["data", "binaryData"] {
        let of = |object: &Value| {
            let map = object.get(part).and_then(Value::as_object);
            map.cloned().unwrap_or_default()
        };
        let (said, before) = (of(then), from.map(of).unwrap_or_default());
        let mut map: Map<String, Value> = of(&now.json);
        map.retain(|key, _| said.contains_key(key) || !before.contains_key(key));
        map.extend(said);
        held[part] = Value::Object(map);
    }
    with_content(now.json.clone(), &held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::id::Uid;
    use serde_json::json;

    #[test]
    fn what_helm_leaves_in_an_object_is_what_stands_with_the_keys_of_then() {
        let secret = |data: Value| json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "db"}, "data": data});
        let now = ConfigObject {
            name: ConfigName {
                kind: ConfigKind::Secret,
                name: "db".to_owned(),
            },
            uid: Uid("u-1".to_owned()),
            version: "1".to_owned(),
            json: secret(json!({"password": "bm93", "new": "bm93", "mine": "bWluZQ=="})),
            managed: Vec::new(),
            source: None,
            manager: None,
        };
        let from = secret(json!({"password": "bm93", "new": "bm93"}));
        let then = secret(json!({"password": "dGhlbg=="}));
        assert_eq!(
            content(&merged(Some(&now), Some(&from), &then)),
            json!({"type": "Opaque", "data": {"password": "dGhlbg==", "mine": "bWluZQ=="}})
        );
        assert_eq!(merged(None, Some(&from), &then), then);
    }
}
