//! Creating and replacing objects, by clients and controllers alike. Owns what a write sets, keeps and refuses; deleting
//! is `delete`'s, patches are `patch`'s.

use super::status::{Outcome, Refusal};
use super::{admission, defaults, types, validate};
use crate::cluster::Cluster;
use crate::kinds::{Generation, Kind};
use crate::managed::{Managers, Part};
use crate::object::{get, int, list, map_mut, remove, same, set, terminating, text};
use crate::store::{Kept, Key};
use crate::time;
use serde_json::{Value, json};
use std::sync::Arc;

/// How a write is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    /// What of the object is written.
    pub(crate) part: Part,
}

/// Creates an object; the answer is the object as it is stored.
pub(crate) fn create(
    cluster: &mut Cluster,
    kind: &Arc<Kind>,
    namespace: &str,
    mut object: Value,
    options: Options,
) -> Outcome<Kept> {
    typed(cluster, kind, &mut object)?;
    types::check(kind, &object)?;
    if !text(&object, "metadata.resourceVersion").is_empty() {
        return Err(Refusal::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    settle_namespace(kind, namespace, &mut object)?;
    let prefix = text(&object, "metadata.generateName").to_owned();
    if text(&object, "metadata.name").is_empty() && !prefix.is_empty() {
        let name = format!("{prefix}{}", cluster.random.suffix());
        set(&mut object, "metadata.name", name);
    }
    let name = text(&object, "metadata.name").to_owned();
    admission::namespace(cluster, kind, namespace, &name)?;
    defaults::apply(kind, &mut object);
    // What admission and storage add, nobody manages.
    let managers = Managers::created(kind, &object, &cluster.write(Part::Whole));
    admission::mutate(cluster, kind, &mut object)?;
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    ] {
        map_mut(&mut object, "metadata").remove(field);
    }
    set(&mut object, "metadata.uid", cluster.random.uid());
    set(
        &mut object,
        "metadata.creationTimestamp",
        time::seconds(cluster.now),
    );
    defaults::identified(kind, &mut object);
    if kind.generation != Generation::None {
        set(&mut object, "metadata.generation", 1);
    }
    if kind.status {
        remove(&mut object, "status");
        defaults::first_status(kind, &mut object);
    }
    validate::object(kind, &object)?;
    admission::quota(cluster, kind, &object)?;
    let key = Key::new(kind.resource(), namespace, name.as_str());
    match cluster.store.get(&key) {
        Some(there) if terminating(there) => return Err(Refusal::still_there(kind, &name)),
        Some(_) => return Err(Refusal::already_exists(kind, &name)),
        None => {}
    }
    if options.dry_run {
        return Ok(Kept::new(Arc::new(object), managers));
    }
    Ok(cluster.place(&key, object, managers))
}

/// Replaces an object; the answer is the object as it is then.
pub(crate) fn update(
    cluster: &mut Cluster,
    kind: &Arc<Kind>,
    key: &Key,
    mut object: Value,
    options: Options,
) -> Outcome<Kept> {
    typed(cluster, kind, &mut object)?;
    types::check(kind, &object)?;
    let named = text(&object, "metadata.name");
    if named != &*key.name {
        return Err(if named.is_empty() {
            Refusal::bad_request(format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                key.name
            ))
        } else {
            Refusal::misnamed(named, &key.name)
        });
    }
    settle_namespace(kind, &key.namespace, &mut object)?;
    let old = cluster
        .store
        .get(key)
        .cloned()
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    still_the_one(kind, &key.name, &old, &object)?;
    let former = cluster.store.managers(key);
    let sent = match options.part {
        Part::Whole => Managers::sent(&object).unwrap_or_else(|| former.clone()),
        _ => former.clone(),
    };
    let status = options.part == Part::Status;
    keep(kind, &old, &mut object, options);
    if status {
        defaults::status(kind, &mut object);
        validate::status(kind, &object)?;
    } else {
        defaults::apply(kind, &mut object);
        defaults::carry_over(kind, &old, &mut object);
        validate::update(kind, &old, &object)?;
    }
    if moves_generation(kind, &old, &object) && !status {
        let next = int(&old, "metadata.generation").unwrap_or(0) + 1;
        set(&mut object, "metadata.generation", next);
    }
    set(
        &mut object,
        "metadata.resourceVersion",
        text(&old, "metadata.resourceVersion"),
    );
    let managers = sent.written(kind, Some(&old), &object, &cluster.write(options.part));
    if options.dry_run || (object == *old && managers == former) {
        return Ok(Kept::new(Arc::new(object), managers));
    }
    if terminating(&object) && list(&object, "metadata.finalizers").is_empty() && done(kind, &object) {
        cluster.erase(key);
        return Ok(Kept::new(Arc::new(object), managers));
    }
    Ok(cluster.place(key, object, managers))
}

/// A pod is gone only when its kubelet says so, a namespace when it is empty; others with their last finalizer.
fn done(kind: &Kind, object: &Value) -> bool {
    match &*kind.resource() {
        "pods" => int(object, "metadata.deletionGracePeriodSeconds") == Some(0),
        "namespaces" => list(object, "spec.finalizers").is_empty(),
        _ => true,
    }
}

/// Fills in or checks the object's type.
pub(super) fn typed(cluster: &Cluster, kind: &Kind, object: &mut Value) -> Outcome<()> {
    if !object.is_object() {
        return Err(Refusal::bad_request("the body of the request is no object"));
    }
    let (api_version, said) = (text(object, "apiVersion"), text(object, "kind"));
    let wrong = (!said.is_empty() && said != &*kind.kind)
        || (!api_version.is_empty() && api_version != kind.api_version());
    if wrong {
        let why = match cluster.kinds.of(api_version, said) {
            Some(other) if other.stored() == kind.stored() => {
                return Err(Refusal::bad_request(format!(
                    "the API version in the data ({api_version}) does not match the expected API version ({})",
                    kind.api_version()
                )));
            }
            Some(other) => format!(
                "converting ({}.{said}) to ({}.{}): unknown conversion",
                other.version,
                if kind.group.is_empty() {
                    "core"
                } else {
                    &kind.group
                },
                kind.kind
            ),
            None => format!(
                "no kind {said:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:110\""
            ),
        };
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(Refusal::bad_request(format!(
            "{said} in version {version:?} cannot be handled as a {}: {why}",
            kind.kind
        )));
    }
    set(object, "kind", kind.kind.as_ref());
    set(object, "apiVersion", kind.api_version());
    Ok(())
}

fn settle_namespace(kind: &Kind, namespace: &str, object: &mut Value) -> Outcome<()> {
    let said = text(object, "metadata.namespace");
    if !said.is_empty() && said != namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if kind.namespaced {
        set(object, "metadata.namespace", namespace);
    }
    Ok(())
}

/// Whether the writer has seen the newest one.
fn still_the_one(kind: &Kind, name: &str, old: &Value, object: &Value) -> Outcome<()> {
    let (uid, known) = (text(object, "metadata.uid"), text(old, "metadata.uid"));
    if !uid.is_empty() && uid != known {
        return Err(Refusal::conflict(
            kind,
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
                 failed: UID in precondition: {uid}, UID in object meta: {known}",
                stored_at(kind, old)
            ),
        ));
    }
    let version = text(object, "metadata.resourceVersion");
    if !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::internal(format!(
            "strconv.ParseUint: parsing {version:?}: invalid syntax"
        )));
    }
    if version.is_empty() || version == "0" {
        if kind.unconditional {
            return Ok(());
        }
        let cause = super::status::Cause::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        return Err(Refusal::invalid_as(&kind.plural, &kind.group, name, &[cause]));
    }
    if version == text(old, "metadata.resourceVersion") {
        Ok(())
    } else {
        Err(Refusal::modified(kind, name))
    }
}

/// Where a real server's storage has the object, as its messages say.
fn stored_at(kind: &Kind, object: &Value) -> String {
    let group = if kind.custom {
        format!("{}/", kind.group)
    } else {
        String::new()
    };
    let (namespace, name) = (text(object, "metadata.namespace"), text(object, "metadata.name"));
    let namespace = if namespace.is_empty() {
        String::new()
    } else {
        format!("{namespace}/")
    };
    format!("/registry/{group}{}/{namespace}{name}", kind.plural)
}

/// What a write cannot change: the system's own metadata, and the half that is another resource's.
fn keep(kind: &Kind, old: &Value, object: &mut Value, options: Options) {
    if options.part == Part::Status {
        let status = object.get("status").cloned();
        let mut metadata = old.get("metadata").cloned().unwrap_or_default();
        let own: &[&str] = if &*kind.resource() == "pods" {
            &["annotations", "finalizers", "labels"]
        } else {
            &["annotations", "finalizers", "ownerReferences"]
        };
        for field in own.iter().copied() {
            match get(object, "metadata").and_then(|metadata| metadata.get(field)) {
                Some(value) => metadata[field] = value.clone(),
                None => _ = metadata.as_object_mut().map(|metadata| metadata.remove(field)),
            }
        }
        *object = old.clone();
        object["metadata"] = metadata;
        match status {
            Some(status) => object["status"] = status,
            None => _ = remove(object, "status"),
        }
        return;
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "generation",
        "generateName",
        "selfLink",
    ] {
        let metadata = map_mut(object, "metadata");
        match old.get("metadata").and_then(|metadata| metadata.get(field)) {
            Some(value) => _ = metadata.insert(field.to_owned(), value.clone()),
            None => _ = metadata.remove(field),
        }
    }
    remove(object, "metadata.managedFields");
    if let Some(seconds) = get(old, "metadata.deletionGracePeriodSeconds") {
        set(object, "metadata.deletionGracePeriodSeconds", seconds.clone());
    }
    if kind.status {
        match old.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => _ = remove(object, "status"),
        }
    }
}

fn moves_generation(kind: &Kind, old: &Value, object: &Value) -> bool {
    let changed = |path: &str| !same(get(old, path), get(object, path));
    match kind.generation {
        Generation::None => false,
        Generation::Spec => changed("spec"),
        Generation::SpecOrAnnotations => changed("spec") || changed("metadata.annotations"),
        Generation::Everything => {
            let fields = |value: &Value| {
                let mut value = value.clone();
                for field in ["metadata", "status"] {
                    remove(&mut value, field);
                }
                value
            };
            fields(old) != fields(object)
        }
    }
}
