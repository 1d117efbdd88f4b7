//! What `kubectl.kubernetes.io/last-applied-configuration` must say after a template was written back, so that the
//! next `kubectl apply` leaves what it would have left had nothing been taken back. Owns that rule alone; reads and
//! writes nothing.
//!
//! The next apply deletes what last-applied names and the new manifest does not. So last-applied must name what
//! the pipeline put into the template that now stands, and must not name what others put there: a defaulted or
//! injected field that it named would be deleted. The rule, place by place, inside the template only:
//! - the target lacks it: last-applied no longer names it;
//! - only the target has it: a later manifest dropped it, so last-applied names it again;
//! - both have it, and differ: last-applied takes the target's value where it, or whoever applies on the client's
//!   side, names the place.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The annotation in which client-side apply keeps the manifest that it applied last.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The field manager's name under which `kubectl apply` writes on the client's side.
const KUBECTL_CLIENT_SIDE: &str = "kubectl-client-side-apply";

/// Today's last-applied, with the template of the manifest that was applied when the revision was made: the
/// ControllerRevision's own word. Everything outside the template stays as it is today, because nothing outside
/// the template is taken back. None when either text is not such a manifest.
pub(crate) fn with_template_of(today: &str, then: &str) -> Option<String> {
    let mut manifest: Value = serde_json::from_str(today).ok()?;
    let mut former: Value = serde_json::from_str(then).ok()?;
    let template = former.pointer_mut("/spec/template")?.take();
    if manifest.pointer("/spec/template") == Some(&template) {
        return Some(today.to_owned());
    }
    manifest
        .get_mut("spec")?
        .as_object_mut()?
        .insert("template".to_owned(), template);
    Some(text(&manifest))
}

/// The fields of a manifest that say what a ConfigMap or Secret holds.
const CONTENT: [&str; 3] = ["data", "binaryData", "stringData"];

/// Today's last-applied of a ConfigMap or Secret with the content that was applied then, or, where nothing says what that was,
/// with what it holds. A text that is no manifest comes back as it is.
pub(crate) fn with_content_of(today: &str, then: Option<&str>, holds: &Value) -> String {
    let parsed = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let Some(mut manifest) = parsed(today) else {
        return today.to_owned();
    };
    let former = then.and_then(parsed).map(Value::Object);
    let source = former.as_ref().unwrap_or(holds);
    for field in CONTENT {
        match source.get(field) {
            Some(held) => manifest.insert(field.to_owned(), held.clone()),
            None => manifest.remove(field),
        };
    }
    text(&Value::Object(manifest))
}

/// Today's last-applied with the differences from `live` to `target` carried over, both cleaned templates.
/// `managed_fields` is the workload's `metadata.managedFields`. A text that is no manifest with a template comes
/// back as it is.
pub(crate) fn carried_over(today: &str, live: &Value, target: &Value, managed_fields: &[Value]) -> String {
    let Ok(mut manifest) = serde_json::from_str::<Value>(today) else {
        return today.to_owned();
    };
    let Some(named) = manifest.pointer_mut("/spec/template") else {
        return today.to_owned();
    };
    let before = named.clone();
    let after = carry(
        Some(named.take()),
        Some(live),
        Some(target),
        &Managers::of(managed_fields).enter("template"),
    );
    let Some(after) = after else {
        return today.to_owned();
    };
    if after == before {
        return today.to_owned();
    }
    *named = after;
    text(&manifest)
}

/// As kubectl writes it: one line and a line feed.
fn text(manifest: &Value) -> String {
    format!("{manifest}\n")
}

/// The field sets of one place: who applies on the client's side, and everybody else but us. Our own entries say
/// nothing about the pipeline.
#[derive(Clone, Debug)]
struct Managers<'a> {
    client_side: Vec<&'a Value>,
    others: Vec<&'a Value>,
}

impl<'a> Managers<'a> {
    /// Splits `managedFields` at `spec`.
    fn of(managed_fields: &'a [Value]) -> Self {
        let mut managers = Self {
            client_side: Vec::new(),
            others: Vec::new(),
        };
        for entry in managed_fields {
            let Some(fields) = entry.get("fieldsV1") else {
                continue;
            };
            let name = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
            if name == super::FIELD_MANAGER {
                continue;
            }
            let Some(spec) = fields.get("f:spec") else {
                continue;
            };
            if applies_on_the_client(entry, name, fields) {
                managers.client_side.push(spec);
            } else {
                managers.others.push(spec);
            }
        }
        managers
    }

    /// The same one field further in.
    fn enter(&self, field: &str) -> Self {
        let key = format!("f:{field}");
        self.step(|set| set.get(&key))
    }

    /// The same inside the list entry that has these keys.
    fn entry(&self, item: &Value) -> Self {
        self.step(|set| {
            set.as_object()?.iter().find_map(|(name, inner)| {
                let keys: Map<String, Value> = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
                keys.iter()
                    .all(|(key, value)| key_of(item, key) == Some(value.clone()))
                    .then_some(inner)
            })
        })
    }

    fn step(&self, inner: impl Fn(&'a Value) -> Option<&'a Value>) -> Self {
        Self {
            client_side: self.client_side.iter().copied().filter_map(&inner).collect(),
            others: self.others.iter().copied().filter_map(&inner).collect(),
        }
    }

    /// Whether the place is client-side apply's alone. A place that others write into as well is not: naming it
    /// would let the next apply delete what they put there.
    fn name_it(&self) -> bool {
        !self.client_side.is_empty() && self.others.is_empty()
    }
}

/// Whoever wrote last-applied applies on the client's side: kubectl under its own name, and tools that do the same
/// under theirs.
fn applies_on_the_client(entry: &Value, name: &str, fields: &Value) -> bool {
    let updates = entry.get("operation").and_then(Value::as_str) == Some("Update");
    let wrote_it = fields
        .get("f:metadata")
        .and_then(|metadata| metadata.get("f:annotations"))
        .is_some_and(|annotations| annotations.get(format!("f:{LAST_APPLIED}")).is_some());
    updates && (name == KUBECTL_CLIENT_SIDE || wrote_it)
}

/// One place: what last-applied names there now, what stands there now, what will stand there.
fn carry(
    named: Option<Value>,
    live: Option<&Value>,
    target: Option<&Value>,
    managers: &Managers<'_>,
) -> Option<Value> {
    match (live, target) {
        (live, target) if live == target => named,
        (_, None) => None,
        (None, Some(target)) => Some(target.clone()),
        (Some(Value::Object(live)), Some(Value::Object(target))) => {
            carry_object(named, live, target, managers)
        }
        (Some(Value::Array(live)), Some(Value::Array(target))) if keyed(live, target).is_some() => {
            carry_list(named, live, target, managers)
        }
        (Some(_), Some(target)) if named.is_some() || managers.name_it() => Some(target.clone()),
        (Some(_), Some(_)) => named,
    }
}

fn carry_object(
    named: Option<Value>,
    live: &Map<String, Value>,
    target: &Map<String, Value>,
    managers: &Managers<'_>,
) -> Option<Value> {
    let was_named = named.is_some();
    if !was_named && !managers.name_it() {
        return None;
    }
    let mut result = match named {
        Some(Value::Object(map)) => map,
        // Nothing named yet, or something of another shape, which the target's shape replaces.
        _ => Map::new(),
    };
    let fields: BTreeSet<&String> = live.keys().chain(target.keys()).collect();
    for field in fields {
        let inner = carry(
            result.remove(field),
            live.get(field),
            target.get(field),
            &managers.enter(field),
        );
        if let Some(value) = inner {
            result.insert(field.clone(), value);
        }
    }
    (was_named || !result.is_empty()).then_some(Value::Object(result))
}

fn carry_list(
    named: Option<Value>,
    live: &[Value],
    target: &[Value],
    managers: &Managers<'_>,
) -> Option<Value> {
    let was_named = named.is_some();
    if !was_named && !managers.name_it() {
        return None;
    }
    let keys = keyed(live, target)?;
    let find = |list: &[Value], item: &Value| list.iter().find(|other| same(keys, other, item)).cloned();
    let mut result = Vec::new();
    let listed = match named {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    // Last-applied's own order first, then what is new: order is the manifest's business.
    for item in &listed {
        let inner = managers.entry(item);
        let (live, target) = (find(live, item), find(target, item));
        result.extend(carry(Some(item.clone()), live.as_ref(), target.as_ref(), &inner));
    }
    // An entry that stands in both and is not named is somebody else's, such as an injected sidecar.
    let in_list = |list: &[Value], item: &Value| list.iter().any(|other| same(keys, other, item));
    result.extend(
        target
            .iter()
            .filter(|item| !in_list(&listed, item) && !in_list(live, item))
            .cloned(),
    );
    (was_named || !result.is_empty()).then_some(Value::Array(result))
}

/// The keys by which the API server tells the entries of a pod template's lists apart. Source: the `listMapKeys`
/// and `patchMergeKey` markers of the core/v1 types. First match wins, so the more specific stand first.
const LIST_KEYS: [&[&str]; 7] = [
    &["containerPort", "protocol"],
    &["topologyKey", "whenUnsatisfiable"],
    &["mountPath"],
    &["devicePath"],
    &["conditionType"],
    &["name"],
    &["ip"],
];

/// The keys of a list whose entries can be told apart in both versions; none for a list that is one value.
fn keyed(live: &[Value], target: &[Value]) -> Option<&'static [&'static str]> {
    LIST_KEYS.into_iter().find(|keys| {
        [live, target].into_iter().all(|list| {
            list.iter().enumerate().all(|(at, item)| {
                keys.iter().all(|key| key_of(item, key).is_some())
                    && !list[..at].iter().any(|other| same(keys, other, item))
            })
        })
    })
}

fn same(keys: &[&str], one: &Value, other: &Value) -> bool {
    keys.iter().all(|key| key_of(one, key) == key_of(other, key))
}

/// A key of a list entry; a port that names no protocol is a TCP port.
fn key_of(item: &Value, key: &str) -> Option<Value> {
    let default = || (key == "protocol" && item.get("containerPort").is_some()).then(|| Value::from("TCP"));
    item.get(key).cloned().or_else(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What client-side apply wrote last, with what it owns: everything of its container but the replaced image.
    fn managed() -> Vec<Value> {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:template": fields}}});
        vec![
            entry(
                KUBECTL_CLIENT_SIDE,
                json!({"f:spec": {
                    "f:terminationGracePeriodSeconds": {},
                    "f:securityContext": {},
                    "f:containers": {r#"k:{"name":"api"}"#: {"f:image": {}, "f:imagePullPolicy": {}, "f:env": {".": {}}}},
                }}),
            ),
            entry(
                "kubectl-patch",
                json!({"f:spec": {"f:affinity": {}, "f:priorityClassName": {}}}),
            ),
        ]
    }

    /// Carries over inside `spec` of a template and returns what last-applied then names there.
    fn check(named: Value, live: Value, target: Value, expected: Value) {
        let pod = |spec: &Value| json!({"spec": spec});
        let today =
            json!({"kind": "Deployment", "spec": {"replicas": 3, "template": pod(&named)}}).to_string();
        let text = carried_over(&today, &pod(&live), &pod(&target), &managed());
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            manifest["spec"]["template"]["spec"], expected,
            "{named} {live} {target}"
        );
        assert_eq!(manifest["spec"]["replicas"], 3);
    }

    /// A container `api` with these fields beside its name.
    fn api(fields: Value) -> Value {
        let mut container = json!({"name": "api"});
        container
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!({"containers": [container]})
    }

    #[test]
    fn what_the_manifest_names_follows_the_template_that_was_put_back() {
        check(
            api(json!({"image": "a:v2"})),
            api(json!({"image": "a:v2"})),
            api(json!({"image": "a:v1"})),
            api(json!({"image": "a:v1"})),
        );
        // A variable of the bad release goes, one that it had dropped is named again, or it would stay for ever.
        let one = |name: &str, value: &str| json!({"name": name, "value": value});
        check(
            api(json!({"env": [one("NEW", "1"), one("BOTH", "2")]})),
            api(json!({"env": [one("NEW", "1"), one("BOTH", "2")]})),
            api(json!({"env": [one("OLD", "0"), one("BOTH", "1")]})),
            api(json!({"env": [one("BOTH", "1"), one("OLD", "0")]})),
        );
        // Lists without a merge key are one value.
        check(
            api(json!({"args": ["b"]})),
            api(json!({"args": ["b"]})),
            api(json!({"args": ["a", "c"]})),
            api(json!({"args": ["a", "c"]})),
        );
        // Two ports of one number are told apart by their protocol, which the manifest need not name.
        let port = |number: u16, protocol: Option<&str>, name: &str| match protocol {
            Some(protocol) => json!({"containerPort": number, "protocol": protocol, "name": name}),
            None => json!({"containerPort": number, "name": name}),
        };
        check(
            api(json!({"ports": [port(53, None, "tcp"), port(53, Some("UDP"), "udp")]})),
            api(json!({"ports": [port(53, Some("TCP"), "tcp"), port(53, Some("UDP"), "udp")]})),
            api(json!({"ports": [port(53, Some("TCP"), "dns"), port(53, Some("UDP"), "udp")]})),
            api(json!({"ports": [port(53, None, "dns"), port(53, Some("UDP"), "udp")]})),
        );
    }

    #[test]
    fn defaulted_and_injected_fields_are_not_named() {
        // Equal in both, so nobody's business.
        let defaults = json!({"image": "a:v2", "terminationMessagePath": "/dev/termination-log"});
        let before = json!({"image": "a:v1", "terminationMessagePath": "/dev/termination-log"});
        check(
            api(json!({"image": "a:v2"})),
            api(defaults),
            api(before),
            api(json!({"image": "a:v1"})),
        );
        // A sidecar that stands in both and differs: naming it would let the next apply delete it.
        let with_sidecar = |image: &str, version: &str| json!({"containers": [{"name": "api", "image": image}, {"name": "mesh", "image": version}]});
        check(
            api(json!({"image": "a:v2"})),
            with_sidecar("a:v2", "m:2"),
            with_sidecar("a:v1", "m:1"),
            api(json!({"image": "a:v1"})),
        );
        // What somebody patched by hand is not the pipeline's, also where the target had more of it.
        check(
            json!({}),
            json!({"priorityClassName": "high", "affinity": {"nodeAffinity": {}}}),
            json!({"priorityClassName": "low", "affinity": {"nodeAffinity": {}, "podAffinity": {}}}),
            json!({}),
        );
    }

    #[test]
    fn a_field_that_the_bad_manifest_dropped_is_named_again_where_client_side_apply_owns_its_default() {
        // v1.2.3 said 60 and runAsUser; v1.2.4 says neither, so defaults stand under client-side apply's name. Were
        // they not named again, the next apply would leave them as v1.2.3 had them.
        check(
            json!({}),
            json!({"terminationGracePeriodSeconds": 30, "securityContext": {}}),
            json!({"terminationGracePeriodSeconds": 60, "securityContext": {"runAsUser": 5}}),
            json!({"terminationGracePeriodSeconds": 60, "securityContext": {"runAsUser": 5}}),
        );
    }

    #[test]
    fn without_a_difference_or_a_manifest_the_text_stays_to_the_letter() {
        let today = "{\"spec\": {\"template\": {\"spec\": {}} } }\n";
        let same = json!({"spec": {"containers": []}});
        assert_eq!(carried_over(today, &same, &same, &[]), today);
        assert_eq!(carried_over("no json", &same, &json!({}), &[]), "no json");
        assert_eq!(carried_over("{}", &same, &json!({}), &[]), "{}");
    }

    #[test]
    fn a_revisions_own_manifest_gives_its_template_and_nothing_else() {
        let today = json!({"spec": {"replicas": 5, "template": {"spec": {"a": 2}}}}).to_string();
        let then = json!({"spec": {"replicas": 3, "template": {"spec": {"a": 1}}}}).to_string();
        let text = with_template_of(&today, &then).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"spec": {"replicas": 5, "template": {"spec": {"a": 1}}}})
        );
        assert_eq!(with_template_of(&today, "{}"), None);
    }
}
