//! Status objects as the API server words them. Owns the words; when to say them is the callers'.

use crate::kinds::{Kind, qualified};
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// A request that was not carried out, and what the client is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    details: Option<Map<String, Value>>,
    /// Where a list can go on all the same.
    more: Option<String>,
}

/// The reason of what has no Status.
const PAGE: &str = "page";

/// The media types of bodies.
pub(crate) const MEDIA: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

pub(crate) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            more: None,
        }
    }

    /// With details that say nothing, as the server's handlers have them.
    fn bare(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            details: Some(Map::new()),
            ..Self::new(code, reason, message)
        }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.detail("name", name);
        self.detail("group", &kind.group);
        self.detail("kind", &kind.plural);
        self
    }

    fn detail(&mut self, field: &str, value: &str) {
        if !value.is_empty() {
            self.insert(field, value.into());
        }
    }

    fn insert(&mut self, field: &str, value: Value) {
        self.details
            .get_or_insert_default()
            .insert(field.to_owned(), value);
    }

    /// The Status object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let Some(more) = &self.more {
            status["metadata"]["continue"] = more.as_str().into();
        }
        if let Some(details) = &self.details {
            status["details"] = Value::Object(details.clone());
        }
        if self.reason.is_empty()
            && let Some(status) = status.as_object_mut()
        {
            status.remove("reason");
        }
        status
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A resource that a group does not have.
    pub(crate) fn no_such_path() -> Self {
        Self::bare(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// A group or path that nobody serves: told in plain text, without a Status.
    pub(crate) fn no_such_page() -> Self {
        Self::new(404, PAGE, "404 page not found")
    }

    /// Whether it is told in plain text.
    pub(crate) fn is_plain(&self) -> bool {
        self.reason == PAGE
    }

    /// What the storage says of a request, without a reason.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let resource = kind.resource();
        Self::new(404, "NotFound", format!("{resource} {name:?} not found")).about(kind, name)
    }

    /// An object that says another name than its path.
    pub(crate) fn misnamed(named: &str, path: &str) -> Self {
        Self::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({path})"
        ))
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let resource = kind.resource();
        Self::new(
            409,
            "AlreadyExists",
            format!("{resource} {name:?} already exists"),
        )
        .about(kind, name)
    }

    /// The same of one that is on its way out.
    pub(crate) fn still_there(kind: &Kind, name: &str) -> Self {
        let refusal = Self::already_exists(kind, name);
        Self {
            message: format!("object is being deleted: {}", refusal.message),
            ..refusal
        }
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// A precondition that does not hold; these messages name the kind.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let called = qualified(&kind.kind, &kind.group);
        let message = format!("Operation cannot be fulfilled on {called} {name:?}: {why}");
        let mut refusal = Self::new(409, "Conflict", message);
        refusal.detail("name", name);
        refusal.detail("group", &kind.group);
        refusal.detail("kind", &kind.kind);
        refusal
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = format!("{resource} {name:?} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    /// What the user may not do, as the authorizer words it.
    pub(crate) fn not_allowed(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let subject = if name.is_empty() {
            resource.to_string()
        } else {
            format!("{resource} {name:?}")
        };
        Self::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).about(kind, name)
    }

    pub(crate) fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut refusal = Self::forbidden(kind, name, &why);
        refusal.insert(
            "causes",
            json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]),
        );
        refusal
    }

    /// An object that breaks rules; each is a field, the API's type of error, and the words.
    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(&kind.kind, &kind.group, name, causes)
    }

    /// The same, called by another name than the kind's.
    pub(crate) fn invalid_as(called: &str, group: &str, name: &str, causes: &[Cause]) -> Self {
        let mut told: Vec<String> = Vec::new();
        for cause in causes {
            let words = format!("{}: {}", cause.field, cause.words);
            if !told.contains(&words) {
                told.push(words);
            }
        }
        let told = match told.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = qualified(called, group);
        let message = format!("{qualified} {name:?} is invalid: {told}");
        let mut refusal = Self::new(422, "Invalid", message);
        refusal.detail("name", name);
        refusal.detail("group", group);
        refusal.detail("kind", called);
        let causes = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.words, "field": cause.field}));
        refusal.insert("causes", causes.collect());
        refusal
    }

    /// A patch that cannot be applied.
    pub(crate) fn unprocessable() -> Self {
        Self::bare(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::bare(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// What a real server does and this one does not.
    pub(crate) fn not_supported(what: &str) -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            format!("the sandbox does not support {what}; nothing was changed"),
        )
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    pub(crate) fn unsupported_media(accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
        )
    }

    /// The same in other words.
    pub(crate) fn explained(self, message: &str) -> Self {
        Self {
            message: message.to_owned(),
            ..self
        }
    }

    /// A patch of a kind that nobody takes.
    pub(crate) fn unknown_patch() -> Self {
        Self::bare(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    /// Server-side apply.
    pub(crate) fn no_apply() -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            "the sandbox does not support server-side apply; nothing was changed",
        )
    }

    /// No media type that the client takes.
    pub(crate) fn not_acceptable(available: &str) -> Self {
        Self::bare(
            406,
            "NotAcceptable",
            format!("406: Not Acceptable\n\nAvailable representations: {available}"),
        )
    }

    /// A media type that the client takes, and no view of the object in it.
    pub(crate) fn no_such_view() -> Self {
        Self::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {MEDIA}"),
        )
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// With a token that goes on with what there is now.
    pub(crate) fn going_on(self, token: &str) -> Self {
        Self {
            more: Some(token.to_owned()),
            ..self
        }
    }

    pub(crate) fn too_large_version(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let mut refusal = Self::new(504, "Timeout", format!("Timeout: {message}"));
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        refusal.insert("causes", json!([cause]));
        refusal.insert("retryAfterSeconds", json!(1));
        refusal
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    reason: &'static str,
    field: String,
    words: String,
}

impl Cause {
    pub(crate) fn required(field: &str, words: &str) -> Self {
        let words = if words.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {words}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.to_owned(),
            words,
        }
    }

    /// The value as the real server's words show it, mostly as JSON.
    pub(crate) fn invalid(field: &str, value: &dyn Display, words: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.to_owned(),
            words: format!("Invalid value: {value}: {words}"),
        }
    }

    pub(crate) fn duplicate(field: &str, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.to_owned(),
            words: format!("Duplicate value: {value}"),
        }
    }

    pub(crate) fn forbidden(field: &str, words: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.to_owned(),
            words: format!("Forbidden: {words}"),
        }
    }

    pub(crate) fn not_found(field: &str, value: &Value) -> Self {
        Self {
            reason: "FieldValueNotFound",
            field: field.to_owned(),
            words: format!("Not found: {value}"),
        }
    }

    pub(crate) fn too_long(field: &str, most: usize) -> Self {
        Self {
            reason: "FieldValueTooLong",
            field: field.to_owned(),
            words: format!("Too long: may not be more than {most} bytes"),
        }
    }

    pub(crate) fn not_supported(field: &str, value: &dyn Display, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|each| format!("{each:?}")).collect();
        Self {
            reason: "FieldValueNotSupported",
            field: field.to_owned(),
            words: format!(
                "Unsupported value: {value}: supported values: {}",
                supported.join(", ")
            ),
        }
    }
}

/// What a deletion that is done answers.
pub(crate) fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural.as_ref(), "uid": uid});
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_ref().into();
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}
