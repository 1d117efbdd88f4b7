//! What the one user of the sandbox may do. Owns the table; the API holds it and reviews tell it.

use serde::Deserialize;
use serde_json::{Value, json};

/// Which requests are allowed; all of them unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Access {
    /// A request is allowed when one of these says so.
    pub rules: Vec<Rule>,
    /// … and none of these names it. Reviews of rules do not tell it.
    #[serde(default)]
    pub except: Vec<Rule>,
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
            except: Vec::new(),
        }
    }
}

impl Access {
    pub(crate) fn allows(&self, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        let names = |rule: &Rule| {
            has(&rule.verbs, verb)
                && has(&rule.groups, group)
                && has(&rule.resources, resource)
                && has(&rule.namespaces, namespace)
        };
        self.rules.iter().any(names) && !self.except.iter().any(names)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excepted_is_refused_although_all_is_allowed() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let access = Access {
            except: vec![Rule {
                verbs: words(&["get", "list", "watch"]),
                groups: words(&[""]),
                resources: words(&["secrets"]),
                namespaces: words(&["shop"]),
            }],
            ..Access::default()
        };
        assert!(!access.allows("list", "", "secrets", "shop"));
        assert!(access.allows("create", "", "secrets", "shop"));
        assert!(access.allows("list", "", "secrets", "other"));
    }
}
