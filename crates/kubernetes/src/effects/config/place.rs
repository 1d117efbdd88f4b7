//! One object by its path, and as it was just read: the words and marks of both.

use crate::effects::FIELD_MANAGER;
use crate::effects::object::set_annotations;
use crate::effects::stamp::Annotated;
use crate::failure::{Attempt, Verb};
use crate::look::content_manager;
use astern_model::config::ConfigName;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::step::config::Spec;
use kube::core::params::PostParams;
use serde_json::Value;
use std::collections::BTreeMap;

/// One object by its path.
pub(super) struct Place<'a> {
    pub(super) object: &'a ConfigName,
    pub(super) namespace: &'a str,
    pub(super) operation: String,
}

/// An object, just read.
pub(super) struct Found(pub(super) Value);

impl Annotated for Found {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }
}

pub(super) fn uid_of(object: &Value) -> Uid {
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
    Uid(uid.unwrap_or_default().to_owned())
}

pub(super) fn writer_of(object: &Value) -> String {
    crate::effects::object::writer_phrase(content_manager(object).as_ref())
}

impl Found {
    pub(super) fn text(&self, field: &str) -> &str {
        let text = self.0.get("metadata").and_then(|metadata| metadata.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn uid(&self) -> Uid {
        uid_of(&self.0)
    }

    pub(super) fn writer(&self) -> String {
        writer_of(&self.0)
    }

    pub(super) fn with_annotations(mut self, values: BTreeMap<&str, Option<String>>) -> Self {
        set_annotations(&mut self.0, values);
        self
    }
}

impl Place<'_> {
    pub(super) fn of(spec: &Spec, operation: String) -> Place<'_> {
        Place {
            object: spec.object(),
            namespace: spec.namespace(),
            operation,
        }
    }

    pub(super) fn collection(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/{}",
            self.namespace,
            self.object.kind.plural()
        )
    }

    pub(super) fn attempt(&self, verb: Verb) -> Attempt {
        Attempt::new(verb, self.object.kind.plural(), &self.operation)
    }

    pub(super) fn gone(&self) -> Failure {
        let Self {
            object, namespace, ..
        } = self;
        let message = format!("{object} does not exist in namespace {namespace}; nothing was changed");
        Failure::new(FailureClass::Permanent, &self.operation, message)
            .hint(format!("look who deleted it: kubectl get events -n {namespace}"))
    }

    pub(super) fn moved(&self, message: &str) -> Failure {
        let message = format!("{}: {message}; nothing was written", self.object);
        Failure::new(FailureClass::Conflict, &self.operation, message)
            .hint("look at what changed, then make a new plan: astern plan")
    }
}

pub(super) fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
