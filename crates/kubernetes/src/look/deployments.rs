//! What Argo CD and Flux remember to have deployed from Git: commits with their times, out of their own objects' status.
//! Decides only.

use super::origins::{folder, is_empty, text};
use astern_model::owner::{OwnerName, PausableKind};
use astern_model::source::{Deployed, Deployments, Folder, Reach};
use jiff::Timestamp;
use serde_json::Value;

/// The status of a snapshot that was applied whole. Source: <https://fluxcd.io/flux/components/kustomize/kustomizations/#history>.
const RECONCILED: &str = "ReconciliationSucceeded";

/// What an Application's own settings may do to the content or the names of ConfigMaps, beside the repository. Source: Argo CD's
/// `ApplicationSource`.
const ARGO_OVERRIDES: [&str; 7] = [
    "/kustomize/patches",
    "/kustomize/components",
    "/kustomize/namePrefix",
    "/kustomize/nameSuffix",
    "/directory/include",
    "/directory/exclude",
    "/plugin",
];

/// What an Application's own settings may do to pod templates. Source: Argo CD's `ApplicationSourceKustomize`.
const ARGO_TEMPLATES: [&str; 3] = [
    "/kustomize/images",
    "/kustomize/commonLabels",
    "/kustomize/commonAnnotations",
];

/// The same of a Flux Kustomization. Source: <https://fluxcd.io/flux/components/kustomize/kustomizations/>.
const FLUX_OVERRIDES: [&str; 5] = [
    "/spec/patches",
    "/spec/components",
    "/spec/namePrefix",
    "/spec/nameSuffix",
    "/spec/postBuild",
];

/// The history of an Application. Source: Argo CD's `RevisionHistory`; a sync that failed is not in it.
pub(super) fn of_application(object: &Value) -> Deployments {
    let entries = object.pointer("/status/history").and_then(Value::as_array);
    let kinds = object.pointer("/status/sourceTypes").and_then(Value::as_array);
    let only = object.pointer("/status/sourceType");
    let deployed = entries.into_iter().flatten().filter_map(|entry| {
        let several = entry.get("sources").and_then(Value::as_array);
        let from = match several.filter(|several| !several.is_empty()) {
            None => vec![part(
                entry.get("source").unwrap_or(&Value::Null),
                text(entry, "/revision"),
                only,
            )],
            Some(several) => several
                .iter()
                .enumerate()
                .map(|(place, source)| {
                    let kind = kinds.and_then(|kinds| kinds.get(place));
                    part(source, text(entry, &format!("/revisions/{place}")), kind)
                })
                .collect(),
        };
        let at = time(entry, "/deployedAt")?;
        Some(Deployed { at, from })
    });
    Deployments {
        owner: name(PausableKind::Application, object),
        deployed: by_time(deployed.collect()),
    }
}

/// One of the sources that were deployed at once.
fn part(source: &Value, revision: &str, kind: Option<&Value>) -> Result<Folder, String> {
    if !text(source, "/chart").is_empty() {
        return Err("a chart from a Helm repository".to_owned());
    }
    let is_chart = kind.and_then(Value::as_str) == Some("Helm");
    if is_chart || source.get("helm").is_some_and(|helm| !is_empty(helm)) {
        return Err("a chart, whose templates astern does not render".to_owned());
    }
    if let Some(settings) = overridden(source, &ARGO_OVERRIDES) {
        return Err(format!(
            "a folder that the Application's own spec.source{settings} overrides"
        ));
    }
    if !Folder::is_commit(revision) {
        return Err("a revision that is no commit of Git".to_owned());
    }
    let recurse = source.pointer("/directory/recurse").and_then(Value::as_bool);
    Ok(Folder {
        repository: text(source, "/repoURL").to_owned(),
        commit: revision.to_owned(),
        path: folder(text(source, "/path")),
        reach: if recurse.unwrap_or(false) {
            Reach::Deep
        } else {
            Reach::Flat
        },
        sets_templates: overridden(source, &ARGO_TEMPLATES).is_some(),
    })
}

/// The history of a Kustomization, where its controller keeps one. Source: `History` and `Snapshot` of Flux' `apis/meta`. A
/// commit that came back after another one has one entry for both times: then its place in the order is not known.
pub(super) fn of_kustomization(object: &Value) -> Deployments {
    let entries = object.pointer("/status/history").and_then(Value::as_array);
    let overrides = overridden(object, &FLUX_OVERRIDES);
    let mut snapshots: Vec<(Timestamp, Timestamp, &Value)> = entries
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "/lastReconciledStatus") == RECONCILED)
        .filter_map(|entry| {
            let times = (time(entry, "/firstReconciled")?, time(entry, "/lastReconciled")?);
            Some((times.0, times.1, entry))
        })
        .collect();
    snapshots.sort_by_key(|(first, last, _)| (*first, *last));
    let deployed = snapshots.iter().enumerate().map(|(place, (first, last, entry))| {
        let next = snapshots.get(place + 1);
        let from = if next.is_some_and(|(next, _, _)| next < last) {
            Err("a commit that came back after another one, at a time that is not kept".to_owned())
        } else if let Some(settings) = &overrides {
            Err(format!(
                "a folder that the Kustomization's own {} overrides",
                settings.trim_start_matches('.')
            ))
        } else {
            commit(text(entry, "/metadata/revision"))
                .map(|commit| Folder {
                    repository: String::new(),
                    commit: commit.to_owned(),
                    path: folder(text(object, "/spec/path")),
                    reach: Reach::Flux,
                    sets_templates: overridden(object, &["/spec/images"]).is_some(),
                })
                .ok_or_else(|| "a revision that is no commit of Git".to_owned())
        };
        Deployed {
            at: *first,
            from: vec![from],
        }
    });
    Deployments {
        owner: name(PausableKind::Kustomization, object),
        deployed: deployed.collect(),
    }
}

/// The commit in a revision of Flux, `main@sha1:3f2a…`. Source:
/// <https://fluxcd.io/flux/components/source/gitrepositories/#artifact>.
pub(super) fn commit(revision: &str) -> Option<&str> {
    let commit = revision.rsplit([':', '/']).next()?;
    Folder::is_commit(commit).then_some(commit)
}

/// The first of these settings that is set, as a path.
pub(super) fn overridden(object: &Value, settings: &[&str]) -> Option<String> {
    let set = settings
        .iter()
        .find(|at| object.pointer(at).is_some_and(|value| !is_empty(value)))?;
    Some(set.replace('/', "."))
}

fn by_time(mut deployed: Vec<Deployed>) -> Vec<Deployed> {
    deployed.sort_by_key(|one| one.at);
    deployed
}

fn time(entry: &Value, pointer: &str) -> Option<Timestamp> {
    text(entry, pointer).parse().ok()
}

fn name(kind: PausableKind, object: &Value) -> String {
    OwnerName {
        kind,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(deployments: &Deployments) -> Vec<String> {
        let part = |part: &Result<Folder, String>| match part {
            Ok(folder) => format!("{} of {}", &folder.commit[..4], folder.path),
            Err(why) => why.clone(),
        };
        let deployed = deployments.deployed.iter();
        deployed
            .map(|one| {
                format!(
                    "{} {}",
                    one.at.strftime("%H:%M"),
                    one.from.iter().map(part).collect::<Vec<_>>().join(" and ")
                )
            })
            .collect()
    }

    #[test]
    fn the_history_of_an_application_tells_commits_folders_and_times() {
        let (one, two) = ("3f2a".repeat(10), "91bc".repeat(10));
        let source = json!({ "repoURL": "https://git.example.test/x.git", "path": "./deploy/" });
        let entry = |revision: &str, at: &str, source: &Value| json!({ "revision": revision, "deployedAt": at, "source": source });
        let with = |more: Value| {
            let mut source = source.clone();
            source
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().expect("an object"));
            source
        };
        let object = json!({
            "metadata": { "namespace": "argocd", "name": "shop" },
            "status": { "sourceType": "Directory", "history": [
                entry(&two, "2026-11-27T14:02:00Z", &source),
                entry(&one, "2026-11-27T10:00:00Z", &source),
                entry(&one, "2026-11-27T15:00:00Z", &with(json!({ "kustomize": { "patches": [{}] } }))),
                entry("1.2.3", "2026-11-27T16:00:00Z", &with(json!({ "chart": "shop" }))),
                entry("main", "2026-11-27T17:00:00Z", &source),
                { "deployedAt": "2026-11-27T18:00:00Z", "sources": [&source, with(json!({ "helm": { "values": "a" } }))],
                  "revisions": [&one, &two] },
                { "deployedAt": "soon", "revision": &one, "source": &source },
            ] },
        });
        let deployments = of_application(&object);
        assert_eq!(deployments.owner, "Argo CD application argocd/shop");
        assert_eq!(
            told(&deployments),
            [
                "10:00 3f2a of deploy",
                "14:02 91bc of deploy",
                "15:00 a folder that the Application's own spec.source.kustomize.patches overrides",
                "16:00 a chart from a Helm repository",
                "17:00 a revision that is no commit of Git",
                "18:00 3f2a of deploy and a chart, whose templates astern does not render",
            ]
        );
        assert!(of_application(&json!({})).deployed.is_empty());
    }

    #[test]
    fn the_history_of_a_kustomization_tells_what_was_reconciled_and_not_what_came_back() {
        let (one, two) = ("3f2a".repeat(10), "91bc".repeat(10));
        let entry = |revision: &str, first: &str, last: &str| {
            json!({ "firstReconciled": format!("2026-11-27T{first}:00Z"), "lastReconciled": format!("2026-11-27T{last}:00Z"),
                "lastReconciledStatus": RECONCILED, "metadata": { "revision": format!("main@sha1:{revision}") } })
        };
        let of = |history: Value, spec: Value| {
            told(&of_kustomization(
                &json!({ "spec": spec, "status": { "history": history } }),
            ))
        };
        let plain = json!({ "path": "./deploy" });
        assert_eq!(
            of(
                json!([entry(&two, "14:02", "14:30"), entry(&one, "10:00", "14:00")]),
                plain.clone()
            ),
            ["10:00 3f2a of deploy", "14:02 91bc of deploy"]
        );
        let by_turns = of(
            json!([entry(&two, "14:02", "14:30"), entry(&one, "10:00", "15:00")]),
            plain,
        );
        assert!(
            by_turns[0].contains("came back after another one"),
            "{by_turns:?}"
        );
        let substituted = json!({ "postBuild": { "substitute": { "MODE": "calm" } } });
        let told = of(json!([entry(&one, "10:00", "14:00")]), substituted);
        assert!(told[0].contains("spec.postBuild"), "{told:?}");
    }
}
