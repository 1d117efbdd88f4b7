//! From the file's shape to a [`Platform`]: names that resolve, durations that count, dependencies without a circle.
//! Decides only; everything that is wrong is collected, so that a person mends the file once.

use crate::duration;
use crate::nearest::nearest;
use crate::platform::error::{Code, Problem};
use crate::platform::file::{self, At, PlatformFile};
use crate::platform::{probe, secret, source};
use astern_model::helm::Settings;
use astern_model::id::Uid;
use astern_model::platform::{ArgoCd, ArgoCdServer, Member, Platform};
use astern_model::policy::{LogPolicy, Policy, Row};
use astern_model::source::Source;
use astern_model::target::{Target, WorkloadKind};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// A Kubernetes name is a DNS subdomain of at most so many characters.
/// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>.
pub(crate) const NAME_LENGTH: usize = 253;

/// A namespace's or Service's name is a DNS label of at most so many characters. Source: as above.
const LABEL_LENGTH: usize = 63;

/// Beyond so many problems no nearest name is looked for: only the first few are shown, and looking costs.
const SUGGESTED: usize = 10;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one thing that is wrong with the value `at`.
    pub(crate) fn add<T>(
        &mut self,
        code: Code,
        at: &At<T>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.0.push(Problem {
            code,
            line: at.line,
            column: at.column,
            message: message.into(),
            hint,
        });
    }
}

/// The platform that the file describes, or everything that is wrong with it.
pub(crate) fn platform(file: &PlatformFile) -> Result<Platform, Vec<Problem>> {
    read(file).map(|(platform, _)| platform)
}

/// The same, and the sources of its workloads.
pub(crate) fn read(file: &PlatformFile) -> Result<(Platform, Vec<Source>), Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &file.spec;
    let sources = source::sources(&mut problems, spec);
    check_name(&mut problems, &file.metadata.name, "a platform", NAME_LENGTH);
    check_name(&mut problems, &spec.namespace, "a namespace", LABEL_LENGTH);
    let rto = spec.rto.as_ref().map(|rto| &rto.application);
    let soak = spec.validation.as_ref().map(|validation| &validation.soak);
    let guard = spec.owners.as_ref().and_then(|owners| owners.guard.as_ref());
    let platform = Platform {
        name: file.metadata.name.value.clone(),
        namespace: spec.namespace.value.clone(),
        cluster_uid: spec
            .cluster
            .as_ref()
            .map(|cluster| uid(&mut problems, &cluster.uid)),
        members: members(
            &mut problems,
            &spec.namespace.value,
            spec.workloads.as_deref().unwrap_or_default(),
        ),
        restore_secrets: secret::restore_secrets(&mut problems, spec.config.as_ref()),
        rto: span(&mut problems, rto, Platform::DEFAULT_RTO),
        soak: span(&mut problems, soak, Platform::DEFAULT_SOAK),
        guard: span(&mut problems, guard, Platform::DEFAULT_GUARD),
        argocd: argocd(&mut problems, spec.owners.as_ref()),
        helm: helm(&mut problems, spec.helm.as_ref()),
        policy: spec
            .policy
            .as_ref()
            .map_or_else(Policy::default, |policy| self::policy(&mut problems, policy)),
    };
    if problems.0.is_empty() {
        Ok((platform, sources))
    } else {
        Err(problems.0)
    }
}

fn uid(problems: &mut Problems, uid: &At<String>) -> Uid {
    if uid.value.is_empty() || uid.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let hint = "kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'   prints it".to_owned();
        problems.add(
            Code::WrongValue,
            uid,
            "this is not the UID of a namespace",
            Some(hint),
        );
    }
    Uid(uid.value.clone())
}

fn helm(problems: &mut Problems, helm: Option<&file::Helm>) -> Settings {
    let own = Settings::default();
    let Some(helm) = helm else {
        return own;
    };
    Settings {
        timeout: span(problems, helm.timeout.as_ref(), own.timeout),
        wait: helm.wait.unwrap_or(own.wait),
        cleanup_on_fail: helm.cleanup_on_fail.unwrap_or(own.cleanup_on_fail),
        force_conflicts: helm.force_conflicts.unwrap_or(own.force_conflicts),
    }
}

fn argocd(problems: &mut Problems, owners: Option<&file::Owners>) -> ArgoCd {
    let Some(argocd) = owners.and_then(|owners| owners.argocd.as_ref()) else {
        return ArgoCd::default();
    };
    if let Some(namespace) = &argocd.namespace {
        check_name(problems, namespace, "a namespace", LABEL_LENGTH);
    }
    if let Some(context) = argocd.context.as_ref().filter(|context| context.value.is_empty()) {
        let hint = Some("kubectl config get-contexts   lists them".to_owned());
        problems.add(
            Code::WrongValue,
            context,
            "this is not the name of a context",
            hint,
        );
    }
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    ArgoCd {
        context: text(&argocd.context),
        namespace: text(&argocd.namespace),
        server: argocd_server(problems, argocd),
    }
}

/// The server, with what goes with it alone.
fn argocd_server(problems: &mut Problems, argocd: &file::ArgoCd) -> Option<ArgoCdServer> {
    let Some(server) = &argocd.server else {
        let hint = || Some("server: https://argocd.example".to_owned());
        let message = "this goes with a `server`";
        if let Some(token) = &argocd.token_from {
            problems.add(Code::WrongValue, token, message, hint());
        }
        if let Some(ca_file) = &argocd.ca_file {
            problems.add(Code::WrongValue, ca_file, message, hint());
        }
        return None;
    };
    if let Some(context) = &argocd.context {
        let hint = Some("a server is asked instead of a cluster: name one of both".to_owned());
        problems.add(
            Code::WrongValue,
            context,
            "this does not go with a `server`",
            hint,
        );
    }
    let address = &server.value;
    let (_, host) = address.split_once("://").unwrap_or_default();
    let is_one = ["https://", "http://"]
        .iter()
        .any(|scheme| address.starts_with(scheme));
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '@' | '?' | '#');
    if !is_one || host.is_empty() || !host.chars().all(plain) {
        let hint = Some(
            "https://argocd.example, with its root path where it has one, and nothing secret in it"
                .to_owned(),
        );
        problems.add(
            Code::WrongValue,
            server,
            "this is not the address of a server",
            hint,
        );
    }
    let Some(token) = &argocd.token_from else {
        let hint = Some("tokenFrom: {env: NAME} or {file: PATH}".to_owned());
        problems.add(Code::Bearer, server, "a server needs a token", hint);
        return None;
    };
    Some(ArgoCdServer {
        address: address.clone(),
        token: source::token(problems, token)?,
        ca_file: argocd.ca_file.as_ref().map(|at| at.value.clone()),
    })
}

/// A duration that counts, or its default.
fn span(problems: &mut Problems, at: Option<&At<String>>, default: SignedDuration) -> SignedDuration {
    let Some(at) = at else {
        return default;
    };
    match duration::parse(&at.value) {
        Ok(span) if span.is_positive() => return span,
        Ok(_) => problems.add(Code::Duration, at, "this must be longer than nothing", None),
        Err(error) => problems.add(Code::Duration, at, error.to_string(), Some(error.hint())),
    }
    default
}

/// Notes a name that Kubernetes would not take, with the nearest that it would.
pub(crate) fn check_name(problems: &mut Problems, at: &At<String>, whose: &str, longest: usize) {
    let (name, label) = (&at.value, longest == LABEL_LENGTH);
    if is_name(name, label) {
        return;
    }
    let better: String = name
        .to_lowercase()
        .chars()
        .map(|c| if matches!(c, '_' | ' ') { '-' } else { c })
        .collect();
    let rule = format!("lower-case letters, digits and `-`, at most {longest} characters");
    let hint = if is_name(&better, label) {
        format!("did you mean `{better}`?")
    } else {
        rule
    };
    let message = if name.is_empty() {
        format!("the name of {whose} is empty")
    } else {
        format!("`{name}` cannot be the name of {whose}")
    };
    problems.add(Code::WrongValue, at, message, Some(hint));
}

/// Notes a Service's name that Kubernetes would not take.
pub(crate) fn check_service(problems: &mut Problems, at: &At<String>) {
    check_name(problems, at, "a Service", LABEL_LENGTH);
}

/// Whether Kubernetes takes `name` for an object; as a label it may hold no dot.
pub(crate) fn is_name(name: &str, label: bool) -> bool {
    let part = |part: &str| {
        let inside = part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !part.is_empty() && inside && !part.starts_with('-') && !part.ends_with('-')
    };
    let longest = if label { LABEL_LENGTH } else { NAME_LENGTH };
    name.len() <= longest
        && if label {
            part(name)
        } else {
            name.split('.').all(part)
        }
}

fn members(problems: &mut Problems, namespace: &str, workloads: &[file::Workload]) -> Vec<Member> {
    let target = |workload: &file::Workload| Target {
        kind: workload
            .kind
            .as_ref()
            .map_or(WorkloadKind::Deployment, |kind| kind.0),
        namespace: namespace.to_owned(),
        name: workload.name.value.clone(),
    };
    let mut known: BTreeMap<Target, &At<String>> = BTreeMap::new();
    for workload in workloads {
        check_name(problems, &workload.name, "a workload", NAME_LENGTH);
        let target = target(workload);
        if let Some(first) = known.get(&target) {
            let hint = Some(format!("it stands in line {} already", first.line));
            problems.add(
                Code::Twice,
                &workload.name,
                format!("{target} is here twice"),
                hint,
            );
        } else {
            known.insert(target, &workload.name);
        }
    }
    let mut names: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in known.keys() {
        names.entry(&target.name).or_default().push(target);
    }
    let mut edges: BTreeMap<Target, Vec<Edge<'_>>> = BTreeMap::new();
    let members = workloads
        .iter()
        .map(|workload| {
            let target = target(workload);
            let found = dependencies(problems, &target, workload, &names);
            let member = Member {
                reloads: workload.reloads.unwrap_or(false),
                stops: workload.stops.unwrap_or(false),
                target: target.clone(),
                depends_on: found.iter().map(|edge| edge.to.clone()).collect(),
                probes: probe::probes(
                    problems,
                    &workload.name.value,
                    workload.probes.as_deref().unwrap_or_default(),
                ),
            };
            edges.entry(target).or_default().extend(found);
            member
        })
        .collect();
    if let Some((at, message)) = cycle(&edges) {
        let hint =
            Some("take one of these `dependsOn` out: the one whose absence a release survives".to_owned());
        problems.add(Code::Cycle, at, message, hint);
    }
    members
}

/// One entry of a `dependsOn`.
struct Edge<'a> {
    to: Target,
    at: &'a At<String>,
}

fn dependencies<'a>(
    problems: &mut Problems,
    of: &Target,
    workload: &'a file::Workload,
    known: &BTreeMap<&str, Vec<&Target>>,
) -> Vec<Edge<'a>> {
    let mut edges: Vec<Edge<'a>> = Vec::new();
    for at in workload.depends_on.iter().flatten() {
        let Some(to) = resolve(problems, at, known) else {
            continue;
        };
        if to == *of {
            problems.add(
                Code::Dependency,
                at,
                format!("{of} cannot depend on itself"),
                None,
            );
        } else if edges.iter().any(|edge| edge.to == to) {
            problems.add(
                Code::Twice,
                at,
                format!("{of} depends on {to} twice"),
                Some("keep one of them".to_owned()),
            );
        } else {
            edges.push(Edge { to, at });
        }
    }
    edges
}

/// The workload that `name` or `kind/name` means.
fn resolve(problems: &mut Problems, at: &At<String>, known: &BTreeMap<&str, Vec<&Target>>) -> Option<Target> {
    let (kind, name) = match at.value.split_once('/') {
        Some((kind, name)) => (Some(WorkloadKind::parse(kind)), name),
        None => (None, at.value.as_str()),
    };
    let named = known.get(name).map_or(&[][..], Vec::as_slice);
    let all = |targets: &[&Target]| {
        targets
            .iter()
            .map(|target| format!("`{target}`"))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let fitting: Vec<&Target> = named
        .iter()
        .copied()
        .filter(|target| kind.is_none_or(|kind| kind == Some(target.kind)))
        .collect();
    match fitting.as_slice() {
        [only] => return Some((*only).clone()),
        [] => {
            let near = if problems.0.len() < SUGGESTED {
                nearest(name, known.keys().copied())
            } else {
                None
            };
            let hint = match (named, near) {
                ([], Some(near)) => format!("did you mean `{near}`?"),
                ([], None) => "each must be one of `workloads`".to_owned(),
                (others, _) => format!("did you mean {}?", all(others)),
            };
            problems.add(
                Code::Dependency,
                at,
                format!("no workload of this file is named `{}`", at.value),
                Some(hint),
            );
        }
        several => {
            let hint = Some(format!("write {}", all(several)));
            problems.add(
                Code::Dependency,
                at,
                format!("`{name}` is more than one workload"),
                hint,
            );
        }
    }
    None
}

/// The first circle of dependencies, in the order of the workloads' names, with the entry that closes it.
fn cycle<'a>(edges: &BTreeMap<Target, Vec<Edge<'a>>>) -> Option<(&'a At<String>, String)> {
    let mut done: BTreeSet<&Target> = BTreeSet::new();
    for start in edges.keys() {
        // The way from the start, each with the number of its edges that were followed: a stack of our own, since a
        // long chain of workloads must not exhaust the program's.
        if done.contains(start) {
            continue;
        }
        let mut way: Vec<(&Target, usize)> = vec![(start, 0)];
        let mut on_way: BTreeSet<&Target> = BTreeSet::from([start]);
        while let Some((target, followed)) = way.pop() {
            let Some(edge) = edges.get(target).and_then(|edges| edges.get(followed)) else {
                on_way.remove(target);
                done.insert(target);
                continue;
            };
            way.push((target, followed + 1));
            if on_way.contains(&edge.to) {
                let first = way.iter().position(|(target, _)| **target == edge.to)?;
                let circle: Vec<String> = way[first..]
                    .iter()
                    .map(|(target, _)| target.to_string())
                    .collect();
                let message = format!(
                    "the dependencies go round in a circle: {} → {}",
                    circle.join(" → "),
                    edge.to
                );
                return Some((edge.at, message));
            }
            let (next, _) = edges.get_key_value(&edge.to)?;
            if !done.contains(next) {
                on_way.insert(next);
                way.push((next, 0));
            }
        }
    }
    None
}

fn policy(problems: &mut Problems, policy: &file::Policy) -> Policy {
    let default = Policy::default();
    Policy {
        presumed_good_after: span(
            problems,
            policy.presumed_good_after.as_ref(),
            default.presumed_good_after,
        ),
        bake: span(problems, policy.bake.as_ref(), default.bake),
        accept_presumed: policy
            .accept_presumed
            .as_ref()
            .map_or(default.accept_presumed, |words| {
                let mut seen = BTreeSet::new();
                words
                    .iter()
                    .map(|word| word.0)
                    .filter(|acceptor| seen.insert(*acceptor))
                    .collect()
            }),
        on_failure: policy
            .on_failure
            .as_ref()
            .map_or(default.on_failure, |word| word.0),
        logs: policy
            .logs
            .as_ref()
            .map_or(default.logs, |logs| log_policy(problems, logs)),
        mutable_tags: policy.mutable_tags.clone().unwrap_or(default.mutable_tags),
        plan_expiry: span(problems, policy.plan_expiry.as_ref(), default.plan_expiry),
        matrix: matrix(
            problems,
            default.matrix,
            policy.matrix.as_deref().unwrap_or_default(),
        ),
    }
}

fn log_policy(problems: &mut Problems, logs: &file::Logs) -> LogPolicy {
    let default = LogPolicy::default();
    LogPolicy {
        words: logs
            .words
            .as_ref()
            .map_or(default.words, |words| self::words(problems, words)),
        window: span(problems, logs.window.as_ref(), default.window),
        times_former: number(problems, logs.times_former.as_ref(), 1.0, default.times_former),
        at_least_per_minute: number(
            problems,
            logs.at_least_per_minute.as_ref(),
            0.0,
            default.at_least_per_minute,
        ),
        absolute_per_minute: number(
            problems,
            logs.absolute_per_minute.as_ref(),
            0.0,
            default.absolute_per_minute,
        ),
    }
}

fn words(problems: &mut Problems, words: &At<Vec<At<String>>>) -> Vec<String> {
    if words.value.is_empty() {
        let hint = "to judge logs by other words, name them; to judge them less, raise `absolutePerMinute`"
            .to_owned();
        problems.add(
            Code::WrongValue,
            words,
            "without a word no line is ever an error line",
            Some(hint),
        );
    }
    for word in &words.value {
        if word.value.is_empty() || word.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let hint = "words are matched whole, one by one".to_owned();
            problems.add(Code::WrongValue, word, "this is not one word", Some(hint));
        }
    }
    words.value.iter().map(|word| word.value.to_uppercase()).collect()
}

fn number(problems: &mut Problems, at: Option<&At<f64>>, least: f64, default: f64) -> f64 {
    let Some(at) = at else {
        return default;
    };
    if !at.value.is_finite() || at.value < least {
        problems.add(
            Code::WrongValue,
            at,
            format!("this must be a number, {least} or more"),
            None,
        );
    }
    at.value
}

fn matrix(problems: &mut Problems, mut rows: Vec<Row>, overrides: &[file::Row]) -> Vec<Row> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for row in overrides {
        if row.id.value.is_empty() || row.id.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let hint = "it is typed after --override-decision, like `error-lines`".to_owned();
            problems.add(Code::WrongValue, &row.id, "a row's id is one word", Some(hint));
        }
        if let Some(first) = seen.insert(&row.id.value, row.id.line) {
            let hint = Some(format!("it stands in line {first} already"));
            problems.add(
                Code::Twice,
                &row.id,
                format!("the row `{}` is here twice", row.id.value),
                hint,
            );
        }
        let new = Row {
            id: row.id.value.clone(),
            when: row.when.0,
            then: row.then.0,
            because: row.because.clone(),
        };
        match rows.iter_mut().find(|known| known.id == new.id) {
            Some(known) => *known = new,
            None => rows.push(new),
        }
    }
    rows
}
