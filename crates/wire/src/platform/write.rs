//! A commented `astern.yaml` for a platform, as `astern init` leaves it. It reads back to the same platform.

use crate::duration;
use crate::envelope::API_VERSION;
use crate::platform::file::KIND;
use astern_model::helm::Settings;
use astern_model::login::Proof;
use astern_model::platform::{Member, Platform, Probe, ProbeTarget, SecretRef};
use astern_model::policy::{LogPolicy, Policy};
use astern_model::target::{Target, WorkloadKind};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Comments are wrapped here, so that the file can be read beside something else.
const COMMENT_WIDTH: usize = 100;

/// Writes a commented `astern.yaml`. `notes` are remarks for people, put above the workload that they are about.
///
/// It reads back to the same platform whenever the platform came from a file or from a bare namespace: durations in
/// whole milliseconds, valid names, and a matrix that holds every default row (a file can replace rows and add some,
/// not take one away).
pub fn write_platform(platform: &Platform, notes: &BTreeMap<Target, Vec<String>>) -> String {
    let mut page = Page::default();
    page.comment(
        0,
        "What astern is to know about this platform. Times are written like 90s, 15m, 1h30m.",
    );
    page.line(0, &format!("apiVersion: {API_VERSION}"));
    page.line(0, &format!("kind: {KIND}"));
    page.line(0, "metadata:");
    page.comment(2, "What a person types to confirm a loss of data.");
    page.line(2, &format!("name: {}", scalar(&platform.name)));
    page.line(0, "spec:");
    page.comment(2, "Where the workloads live.");
    page.line(2, &format!("namespace: {}", scalar(&platform.namespace)));
    page.gap();
    cluster(&mut page, platform);
    page.gap();
    members(&mut page, platform, notes);
    page.gap();
    config(&mut page, platform);
    page.gap();
    owners(&mut page, platform);
    page.gap();
    helm(&mut page, platform);
    page.gap();
    page.comment(
        2,
        "How long service may be away: every plan's forecast is held against it.",
    );
    page.line(
        2,
        &format!("rto: {{application: {}}}", duration::text(platform.rto)),
    );
    page.gap();
    page.comment(
        2,
        "How long everything must look healthy after a rollback before the run is over.",
    );
    page.line(
        2,
        &format!("validation: {{soak: {}}}", duration::text(platform.soak)),
    );
    page.gap();
    policy(&mut page, &platform.policy);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, indent: usize, line: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A comment, wrapped. Whatever could end it early becomes a space.
    fn comment(&mut self, indent: usize, text: &str) {
        let width = COMMENT_WIDTH - indent;
        let mut line = String::from("#");
        let words = text
            .split(|c: char| c.is_whitespace() || !is_printable(c))
            .filter(|word| !word.is_empty());
        for word in words {
            if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > width {
                self.line(indent, &line);
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(indent, &line);
    }
}

fn helm(page: &mut Page, platform: &Platform) {
    page.comment(
        2,
        "How helm is told to roll a release back; helm's own way unless said otherwise.",
    );
    let own = Settings::default();
    if platform.helm == own {
        page.comment(2, "helm: {timeout: 5m, wait: true, cleanupOnFail: true}");
        return;
    }
    let Settings {
        timeout,
        wait,
        cleanup_on_fail,
        force_conflicts,
    } = platform.helm;
    let timeout = duration::text(timeout);
    page.line(
        2,
        &format!(
            "helm: {{timeout: {timeout}, wait: {wait}, cleanupOnFail: {cleanup_on_fail}, forceConflicts: {force_conflicts}}}"
        ),
    );
}

fn owners(page: &mut Page, platform: &Platform) {
    page.comment(
        2,
        "Whoever would write a rollback away (Argo CD, Flux) is paused before it, and is told as overdue after so long.",
    );
    page.line(2, "owners:");
    page.line(4, &format!("guard: {}", duration::text(platform.guard)));
    let argocd = &platform.argocd;
    let lines = [("context", &argocd.context), ("namespace", &argocd.namespace)];
    let mut lines: Vec<String> = lines
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}: {}", scalar(value.as_ref()?))))
        .collect();
    if let Some(server) = &argocd.server {
        lines.push(format!("server: {}", scalar(&server.address)));
        lines.extend(match &server.token {
            SecretRef::Env(name) => Some(format!("tokenFrom: {{env: {}}}", scalar(name))),
            SecretRef::File(path) => Some(format!("tokenFrom: {{file: {}}}", scalar(path))),
            // No file says so of this token.
            SecretRef::Secret { .. } => None,
        });
        lines.extend(
            server
                .ca_file
                .as_ref()
                .map(|file| format!("caFile: {}", scalar(file))),
        );
    }
    if lines.is_empty() {
        page.comment(
            4,
            "argocd: {context: hub, namespace: argocd}   where Argo CD is in another cluster or namespace",
        );
        return;
    }
    page.line(4, "argocd:");
    for line in lines {
        page.line(6, &line);
    }
}

fn cluster(page: &mut Page, platform: &Platform) {
    page.comment(
        2,
        "Pins the cluster: any other one is refused. The value is the UID of its kube-system namespace:",
    );
    page.comment(
        2,
        "kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'",
    );
    match &platform.cluster_uid {
        Some(uid) => page.line(2, &format!("cluster: {{uid: {}}}", scalar(uid.as_str()))),
        None => page.line(2, "# cluster: {uid: 00000000-0000-0000-0000-000000000000}"),
    }
}

fn config(page: &mut Page, platform: &Platform) {
    page.comment(
        2,
        "The Secrets whose content goes back with a release, as that of ConfigMaps does. A Secret that is not named stays as it \
         is: a credential may have been rotated since, and the one of then locks everybody out. One that is named has `rotates: \
         false`, or a `probe`: a program that gets what the Secret held then in its environment, and exits with 0 if that still works.",
    );
    if platform.restore_secrets.is_empty() {
        page.line(2, "# config: {restoreSecrets: [{name: NAME, probe: {command: [PROGRAM, ARGUMENT], env: {VARIABLE: KEY}}}]}");
        return;
    }
    let secrets = list(platform.restore_secrets.iter().map(secret));
    page.line(2, &format!("config: {{restoreSecrets: [{secrets}]}}"));
}

fn secret((name, proof): (&String, &Option<Proof>)) -> String {
    let name = scalar(name);
    match proof {
        None => name,
        Some(Proof::NeverRotates) => format!("{{name: {name}, rotates: false}}"),
        Some(Proof::Login(probe)) => {
            let command = list(probe.command.iter().map(|argument| scalar(argument)));
            let env = probe.env.iter();
            let env: Vec<String> = env
                .map(|(variable, key)| format!("{}: {}", scalar(variable), scalar(key)))
                .collect();
            let timeout = duration::text(probe.timeout);
            format!(
                "{{name: {name}, probe: {{command: [{command}], env: {{{}}}, timeout: {timeout}}}}}",
                env.join(", ")
            )
        }
    }
}

fn members(page: &mut Page, platform: &Platform, notes: &BTreeMap<Target, Vec<String>>) {
    page.comment(
        2,
        "What is rolled back together. `kind` is Deployment unless said otherwise. `dependsOn` names what a workload \
         calls: it is taken back after these, and what does not depend on each other goes at the same time. `reloads: true` \
         says of a workload that it takes in changed ConfigMaps and Secrets without a restart, `stops: true` that two versions \
         of it must not run beside each other: it is stopped first, and started with the same count afterwards. `probes` \
         are asked before a rollback counts as done: `path` and `port` of the workload's Service, or a `url`. A token \
         is only ever named, and needs a `url`: bearer: {secret: NAME, key: KEY}, {env: NAME} or {file: PATH}.",
    );
    if platform.members.is_empty() {
        page.comment(2, "Without it: every workload of the namespace.");
        page.line(2, "# workloads: [{name: …}]");
        return;
    }
    page.line(2, "workloads:");
    for (place, member) in platform.members.iter().enumerate() {
        if place > 0 {
            page.gap();
        }
        for note in notes.get(&member.target).into_iter().flatten() {
            page.comment(4, note);
        }
        self::member(page, platform, member);
    }
}

fn member(page: &mut Page, platform: &Platform, member: &Member) {
    page.line(4, &format!("- name: {}", scalar(&member.target.name)));
    if member.target.kind != WorkloadKind::Deployment {
        page.line(6, &format!("kind: {}", word(&member.target.kind)));
    }
    if !member.depends_on.is_empty() {
        let alone = |target: &Target| {
            platform
                .members
                .iter()
                .filter(|m| m.target.name == target.name)
                .count()
                == 1
        };
        let name = |target: &Target| {
            if alone(target) {
                target.name.clone()
            } else {
                target.to_string()
            }
        };
        let names: Vec<String> = member
            .depends_on
            .iter()
            .map(|target| scalar(&name(target)))
            .collect();
        page.line(6, &format!("dependsOn: [{}]", names.join(", ")));
    }
    if member.reloads {
        page.line(6, "reloads: true");
    }
    if member.stops {
        page.line(6, "stops: true");
    }
    if !member.probes.is_empty() {
        page.line(6, "probes:");
        for probe in &member.probes {
            self::probe(page, member, probe);
        }
    }
}

fn probe(page: &mut Page, member: &Member, probe: &Probe) {
    page.line(8, &format!("- name: {}", scalar(&probe.name)));
    match &probe.to {
        ProbeTarget::Service { service, port, path } => {
            if *service != member.target.name {
                page.line(10, &format!("service: {}", scalar(service)));
            }
            page.line(10, &format!("path: {}", scalar(path)));
            page.line(10, &format!("port: {port}"));
        }
        ProbeTarget::Url(url) => page.line(10, &format!("url: {}", scalar(url))),
    }
    let mut expect = vec![format!("status: {}", probe.status)];
    if let Some(json) = &probe.json {
        expect.push(format!(
            "json: {{path: {}, equals: {}}}",
            scalar(&json.path),
            flow(&json.equals)
        ));
    }
    if let Some(header) = &probe.header {
        expect.push(format!(
            "header: {{name: {}, equals: {}}}",
            scalar(&header.name),
            scalar(&header.equals)
        ));
    }
    page.line(10, &format!("expect: {{{}}}", expect.join(", ")));
    match &probe.bearer {
        Some(SecretRef::Env(name)) => page.line(10, &format!("bearer: {{env: {}}}", scalar(name))),
        Some(SecretRef::File(path)) => page.line(10, &format!("bearer: {{file: {}}}", scalar(path))),
        Some(SecretRef::Secret { secret, key }) => {
            page.line(
                10,
                &format!("bearer: {{secret: {}, key: {}}}", scalar(secret), scalar(key)),
            );
        }
        None => {}
    }
}

fn policy(page: &mut Page, policy: &Policy) {
    page.line(2, "policy:");
    page.comment(
        4,
        "A cluster does not remember which revision was healthy. One that was the newest for this long before its \
         successor came, with nothing against it, is presumed good.",
    );
    page.line(
        4,
        &format!(
            "presumedGoodAfter: {}",
            duration::text(policy.presumed_good_after)
        ),
    );
    page.comment(
        4,
        "Who may roll back to a revision that is only presumed good: a person who was shown it, and `--yes`.",
    );
    page.line(
        4,
        &format!(
            "acceptPresumed: [{}]",
            list(policy.accept_presumed.iter().map(word))
        ),
    );
    page.comment(
        4,
        "When a step fails: `hold` keeps what already runs on the good release and asks a person; `unwind` puts \
         everything back to how it was before the run.",
    );
    page.line(4, &format!("onFailure: {}", word(&policy.on_failure)));
    page.comment(4, "How long a plan may wait before it starts.");
    page.line(4, &format!("planExpiry: {}", duration::text(policy.plan_expiry)));
    let default = Policy::default();
    if policy.bake != default.bake {
        page.comment(
            4,
            "A release that `astern releases record` recorded becomes good once it has served healthily for this long.",
        );
        page.line(4, &format!("bake: {}", duration::text(policy.bake)));
    }
    if policy.logs != default.logs {
        logs(page, &policy.logs);
    }
    if policy.mutable_tags != default.mutable_tags {
        page.comment(4, "Image tags that say nothing, because somebody may move them.");
        page.line(
            4,
            &format!(
                "mutableTags: [{}]",
                list(policy.mutable_tags.iter().map(|tag| scalar(tag)))
            ),
        );
    }
    let rows: Vec<_> = policy
        .matrix
        .iter()
        .filter(|row| !default.matrix.contains(row))
        .collect();
    if !rows.is_empty() {
        page.comment(
            4,
            "Rows of the decision matrix: one with the id of a default row replaces it, any other is added.",
        );
        page.line(4, "matrix:");
        for row in rows {
            page.line(6, &format!("- id: {}", scalar(&row.id)));
            page.line(8, &format!("when: {}", word(&row.when)));
            page.line(8, &format!("then: {}", word(&row.then)));
            page.line(8, &format!("because: {}", scalar(&row.because)));
        }
    }
}

fn logs(page: &mut Page, logs: &LogPolicy) {
    page.comment(4, "How error lines in logs are counted and judged.");
    page.line(4, "logs:");
    page.line(
        6,
        &format!("words: [{}]", list(logs.words.iter().map(|word| scalar(word)))),
    );
    page.line(6, &format!("window: {}", duration::text(logs.window)));
    page.comment(6, "With old pods still there: bad at this many times their rate, and at least this many a minute and pod.");
    page.line(6, &format!("timesFormer: {}", number(logs.times_former)));
    page.line(
        6,
        &format!("atLeastPerMinute: {}", number(logs.at_least_per_minute)),
    );
    page.comment(6, "Without old pods: bad from this many a minute and pod.");
    page.line(
        6,
        &format!("absolutePerMinute: {}", number(logs.absolute_per_minute)),
    );
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// The shortest decimal that reads back to the same number.
fn number(number: f64) -> String {
    Value::from(number).to_string()
}

/// A word of a closed set, as serde names it.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => scalar(&word),
        other => panic!("BUG: a word of a closed set became {other:?}"),
    }
}

/// Text as a YAML scalar that stays text in YAML 1.1 and 1.2, also inside brackets.
fn scalar(text: &str) -> String {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let inside = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c));
    // Words that some YAML reader takes for a boolean, nothing or a number.
    let special = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
    ];
    if first && inside && !special.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    quoted(text)
}

/// Double-quoted, with everything escaped that a YAML reader might take for a line end or refuse.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if is_printable(c) => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// What a YAML reader takes as it is: no control character, line separator, byte order mark or noncharacter.
fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') && code & 0xfffe != 0xfffe
}

/// JSON as YAML in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", list(items.iter().map(flow))),
        Value::Object(map) => {
            format!(
                "{{{}}}",
                list(
                    map.iter()
                        .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)))
                )
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
