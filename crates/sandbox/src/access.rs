//! What the one user of the sandbox may do. Owns the table; the API holds it and reviews tell it.

use serde::Deserialize;
use serde_json::{Value, json};

/// Which requests are allowed; all of them unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Access {
    /// A request is allowed when one of these says so.
    pub rules: Vec<Rule>,
}

/// What is allowed. A `*` means all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Verbs: `get`, `list`, `patch`.
    pub verbs: Vec<String>,
    /// API groups; the core group is empty.
    pub groups: Vec<String>,
    /// Plurals, with a part where one is meant: `pods/log`.
    pub resources: Vec<String>,
    /// Namespaces; cluster-wide resources need `*`.
    pub namespaces: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            rules: vec![Rule {
                verbs: all(),
                groups: all(),
                resources: all(),
                namespaces: all(),
            }],
        }
    }
}

impl Access {
    pub(crate) fn allows(&self, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        self.rules.iter().any(|rule| {
            has(&rule.verbs, verb)
                && has(&rule.groups, group)
                && has(&rule.resources, resource)
                && has(&rule.namespaces, namespace)
        })
    }

    /// The rules that hold in a namespace, as a review tells them.
    pub(crate) fn rules(&self, namespace: &str) -> Vec<Value> {
        self.rules
            .iter()
            .filter(|rule| has(&rule.namespaces, namespace))
            .map(|rule| json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources}))
            .collect()
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|each| each == "*" || each == wanted)
}
