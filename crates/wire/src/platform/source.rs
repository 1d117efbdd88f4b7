//! Sources of `astern.yaml`: the Git folders that workloads are deployed from. Decides only; reaches no repository.

use crate::nearest::nearest;
use crate::platform::error::Code;
use crate::platform::file::{
    At, PullRequests as PullRequestsFile, Source as SourceFile, SourceWord, Spec, Token,
};
use crate::platform::probe;
use crate::platform::read::Problems;
use astern_model::platform::SecretRef;
use astern_model::source::{PullRequests, Source, SourceKind, ValuesImage};
use astern_model::target::{Target, WorkloadKind};

/// The branch of a source that names none.
const DEFAULT_BRANCH: &str = "main";
/// The values file of a source that names none.
const DEFAULT_VALUES: &str = "values.yaml";

/// Every source, with what is wrong noted.
pub(crate) fn sources(problems: &mut Problems, spec: &Spec) -> Vec<Source> {
    let sources = spec.sources.iter().flatten();
    sources.map(|source| one(problems, spec, source)).collect()
}

fn one(problems: &mut Problems, spec: &Spec, source: &SourceFile) -> Source {
    check_address(problems, &source.repository);
    let kind = source.kind.as_ref().map(|kind| kind.0);
    let of_helm = matches!(kind, Some(SourceWord::HelmValues | SourceWord::HelmRelease));
    if let (Some(values), false) = (&source.values, of_helm) {
        let at = values.file.as_ref().unwrap_or(&source.repository);
        let hint = Some("kind: helm-values, or kind: helm-release".to_owned());
        problems.add(
            Code::WrongValue,
            at,
            "`values` go with another kind of source",
            hint,
        );
    }
    Source {
        repository: source.repository.value.clone(),
        branch: source
            .branch
            .as_ref()
            .map_or(DEFAULT_BRANCH, |at| &at.value)
            .to_owned(),
        path: source
            .path
            .as_ref()
            .map_or_else(String::new, |at| folder(problems, at)),
        kind: match kind {
            None => SourceKind::Folder,
            Some(SourceWord::Manifests) => SourceKind::Manifests,
            Some(SourceWord::Kustomize) => SourceKind::Kustomize,
            Some(SourceWord::HelmValues) => values(problems, source),
            Some(SourceWord::HelmRelease) => release(problems, source),
        },
        workloads: source
            .workloads
            .iter()
            .flatten()
            .filter_map(|at| workload(problems, spec, at))
            .collect(),
        token: source.token.as_ref().and_then(|at| token(problems, at)),
        pull_requests: match &source.pull_requests {
            Some(at) => Some(pull_requests(problems, at)),
            None => PullRequests::of_github(&source.repository.value),
        },
    }
}

fn check_address(problems: &mut Problems, at: &At<String>) {
    let address = &at.value;
    let password = address.split_once("://").is_some_and(|(scheme, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':') || scheme.starts_with("http"))
    });
    if password {
        let hint = Some("name where it is found: `token: {env: NAME}` or `{file: PATH}`".to_owned());
        problems.add(
            Code::Bearer,
            at,
            "a password or token does not belong into an address",
            hint,
        );
    } else if !address.contains(':') || address.starts_with('-') || address.contains(char::is_whitespace) {
        let hint = Some("it begins with https://, ssh://, git@HOST:, git:// or file://".to_owned());
        problems.add(Code::WrongValue, at, "this is no address of a repository", hint);
    }
}

/// A folder below the root, as `a/b`; empty for the root.
fn folder(problems: &mut Problems, at: &At<String>) -> String {
    let path = at.value.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." {
        return String::new();
    }
    let strange = |part: &str| part.is_empty() || part == "." || part == "..";
    if !path.is_empty() && path.split('/').any(strange) {
        let hint = Some("it is relative to the repository's root, without `..`".to_owned());
        problems.add(Code::WrongValue, at, "this is no folder of a repository", hint);
    }
    path.to_owned()
}

fn values(problems: &mut Problems, source: &SourceFile) -> SourceKind {
    let values = source.values.as_ref();
    if let Some(release) = values.and_then(|values| values.release.as_ref()) {
        let hint = Some("kind: helm-release".to_owned());
        let message = "`release` goes with another kind of source";
        problems.add(Code::WrongValue, release, message, hint);
    }
    let file = values.and_then(|values| values.file.as_ref());
    SourceKind::HelmValues {
        images: images(problems, source),
        file: file.map_or_else(|| DEFAULT_VALUES.to_owned(), |at| folder(problems, at)),
    }
}

/// Its values stand in the HelmRelease that is named.
fn release(problems: &mut Problems, source: &SourceFile) -> SourceKind {
    let values = source.values.as_ref();
    if let Some(file) = values.and_then(|values| values.file.as_ref()) {
        let hint = Some("the manifest is found by the HelmRelease's name: `release: NAME`".to_owned());
        let message = "`file` goes with another kind of source";
        problems.add(Code::WrongValue, file, message, hint);
    }
    let name = values.and_then(|values| values.release.as_ref());
    if name.is_none() {
        let hint = Some("values: {release: NAME}".to_owned());
        let message = "this does not say which HelmRelease";
        problems.add(Code::WrongValue, &source.repository, message, hint);
    }
    SourceKind::HelmRelease {
        name: name.map(|at| at.value.clone()).unwrap_or_default(),
        namespace: None,
        images: images(problems, source),
    }
}

/// Where images stand.
fn images(problems: &mut Problems, source: &SourceFile) -> Vec<ValuesImage> {
    let values = source.values.as_ref();
    let images = values.and_then(|values| values.images.as_ref());
    let mut place = |at: &At<String>| {
        if at.value.split('.').any(str::is_empty) {
            let hint = Some("keys from the root, joined by dots: `image.tag`".to_owned());
            problems.add(Code::WrongValue, at, "this is no place in a values file", hint);
        }
        at.value.clone()
    };
    let images = images.into_iter().flatten().map(|image| ValuesImage {
        container: image.container.as_ref().map(|at| at.value.clone()),
        repository: image.repository.as_ref().map(&mut place),
        tag: place(&image.tag),
    });
    images.collect()
}

/// `name` or `kind/name`: one of `workloads`, where the file lists them.
fn workload(problems: &mut Problems, spec: &Spec, at: &At<String>) -> Option<Target> {
    let target = |kind, name: &str| Target {
        kind,
        namespace: spec.namespace.value.clone(),
        name: name.to_owned(),
    };
    let (kind, name) = match at.value.split_once('/') {
        Some((kind, name)) => (WorkloadKind::parse(kind), name),
        None => (Some(WorkloadKind::Deployment), at.value.as_str()),
    };
    let listed = spec.workloads.iter().flatten().map(|workload| {
        target(
            workload
                .kind
                .as_ref()
                .map_or(WorkloadKind::Deployment, |kind| kind.0),
            &workload.name.value,
        )
    });
    let listed: Vec<Target> = listed.collect();
    let named = |other: &&Target| other.name == name && (!at.value.contains('/') || Some(other.kind) == kind);
    match (listed.iter().find(named), kind) {
        (Some(found), _) => Some(found.clone()),
        (None, Some(kind)) if listed.is_empty() && !name.is_empty() => Some(target(kind, name)),
        _ => {
            let near = nearest(name, listed.iter().map(|target| target.name.as_str()));
            let hint = near.map_or_else(
                || "each must be one of `workloads`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            problems.add(
                Code::Dependency,
                at,
                format!("no workload of this file is named `{}`", at.value),
                Some(hint),
            );
            None
        }
    }
}

pub(crate) fn token(problems: &mut Problems, at: &At<Token>) -> Option<SecretRef> {
    match (&at.value.env, &at.value.file) {
        (Some(env), None) => Some(probe::variable(problems, env)),
        (None, Some(file)) => Some(probe::file(problems, file)),
        _ => {
            let hint = Some("it is one of {env: NAME}, {file: PATH}".to_owned());
            problems.add(
                Code::Bearer,
                at,
                "this does not say where one token is found",
                hint,
            );
            None
        }
    }
}

fn pull_requests(problems: &mut Problems, at: &PullRequestsFile) -> PullRequests {
    let repository = &at.repository;
    let plain = |part: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.chars().all(inside) && !part.starts_with('.')
    };
    let named = repository
        .value
        .split_once('/')
        .is_some_and(|(owner, name)| plain(owner) && plain(name));
    if !named {
        let hint = Some("it is OWNER/NAME, as the API knows it".to_owned());
        problems.add(
            Code::WrongValue,
            repository,
            "this is no repository of GitHub",
            hint,
        );
    }
    let api = at.api.as_ref();
    if let Some(api) =
        api.filter(|api| !api.value.starts_with("https://") && !api.value.starts_with("http://"))
    {
        let hint = Some("https://api.github.com, or https://HOST/api/v3".to_owned());
        problems.add(Code::WrongValue, api, "this is no address of an API", hint);
    }
    PullRequests {
        api: api.map_or(PullRequests::GITHUB, |at| &at.value).to_owned(),
        repository: repository.value.clone(),
    }
}
