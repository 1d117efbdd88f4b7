//! Whether an object may go back at all, what proves that it may, and what is said of one that stays.

use crate::external;
use crate::releases::Through;
use crate::world::World;
use astern_model::choice::clock;
use astern_model::config::{ConfigKind, ConfigName, ConfigSeen, HeldConfig, LiveConfig};
use astern_model::decision::Refusal;
use astern_model::hashed;
use astern_model::login::{LoginSeen, Proof};
use astern_model::platform::Platform;
use astern_model::step::config::Wanted;
use astern_model::workload::OwnerKind;
use std::collections::BTreeSet;

/// Why an object that differs is left as it is; none where it goes back.
pub(crate) fn left(
    object: &HeldConfig,
    live: Option<&LiveConfig>,
    world: &World<'_>,
    through: &[Through<'_>],
) -> Result<Option<String>, Refusal> {
    let name = &object.name;
    if !goes_back(name, world.platform) {
        let keys: Vec<&str> = object.changes.iter().map(|change| change.path.as_str()).collect();
        let differs = match live {
            None => "is not there any more".to_owned(),
            Some(_) => format!("differs ({})", keys.join(", ")),
        };
        return Ok(Some(format!(
            "keeps its content of now: it {differs}, and a credential may have been rotated; `config: {{restoreSecrets: [{{name: {}, probe: …}}]}}` \
             in astern.yaml has it go back, once a login with what it held then answers",
            stem(&name.name)
        )));
    }
    let Some(live) = live else {
        return Ok(None);
    };
    if let Some(source) = &live.source {
        return external::redrawn(object, live, source, world).map(|_| None);
    }
    let mut owners = live.owners.iter().filter(|owner| owner.kind == OwnerKind::Helm);
    if let Some(owner) = owners.find(|owner| {
        through
            .iter()
            .any(|through| through.release.name.name == owner.name)
    }) {
        return Ok(Some(format!(
            "is left to Helm release {}, which brings it back where its revision holds another content",
            owner.name
        )));
    }
    Ok(None)
}

/// A name without the hash of its content that kustomize puts behind it.
pub(crate) fn stem(name: &str) -> &str {
    hashed::parts(name).map_or(name, |(stem, _)| stem)
}

/// Whether an object may go back at all: a ConfigMap, or a Secret that the owners name.
pub fn goes_back(name: &ConfigName, platform: &Platform) -> bool {
    name.kind == ConfigKind::ConfigMap || named_secret(name, platform).is_some()
}

/// What astern.yaml says of a Secret: by its name, or by the one under which kustomize makes it. None where it does not name it.
fn named_secret<'a>(name: &ConfigName, platform: &'a Platform) -> Option<&'a Option<Proof>> {
    let named = &platform.restore_secrets;
    named.get(&name.name).or_else(|| named.get(stem(&name.name)))
}

/// What proves that an object may hold something of then; none of a ConfigMap, and where the owners do not say.
pub(crate) fn proof(name: &ConfigName, platform: &Platform) -> Option<Proof> {
    match name.kind {
        ConfigKind::ConfigMap => None,
        ConfigKind::Secret => named_secret(name, platform)?.clone(),
    }
}

/// The same, as the plan says it.
pub(crate) fn proof_phrase(name: &ConfigName, to: &Wanted, seen: &ConfigSeen) -> Option<String> {
    Some(match to.proof.as_ref()? {
        Proof::NeverRotates => "nobody rotates it, as astern.yaml says".to_owned(),
        Proof::Login(probe) => {
            let program = probe.program();
            match seen.login(name, to) {
                None => format!("login probe {program} is run before it is written"),
                Some(LoginSeen {
                    failed: Some(why), ..
                }) => format!("login probe {program} {why}"),
                Some(login) => format!("login probe {program} answered at {}", clock(login.at)),
            }
        }
    })
}

/// What goes back beside the credential that a probe tries.
pub(crate) fn untried(object: &HeldConfig, to: &Wanted) -> Option<String> {
    let tried: BTreeSet<String> = to
        .login()?
        .env
        .values()
        .map(|key| format!("data[{key}]"))
        .collect();
    let others: Vec<&str> = object
        .changes
        .iter()
        .map(|change| change.path.as_str())
        .filter(|path| path.starts_with("data[") && !tried.contains(*path))
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "the login probe of {} does not try {}, which goes back with what it tries",
            object.name,
            others.join(", ")
        )
    })
}
