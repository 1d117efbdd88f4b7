//! Sentences that say the same of several workloads, told once for all of them. Owns when two say the same; Markdown,
//! HTML and JSON tell each by itself.

use astern_model::target::Target;
use std::collections::BTreeSet;

/// A sentence, and the other workloads of which it holds too, with other numbers perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<'a, T> {
    pub(super) first: &'a T,
    pub(super) likewise: Vec<String>,
}

impl<T> Told<'_, T> {
    /// The line under the sentence; none where it holds of one workload only.
    pub(super) fn others(&self) -> Option<String> {
        (!self.likewise.is_empty()).then(|| format!("likewise {}", crate::word::list(&self.likewise)))
    }
}

/// Puts together what differs only in the workload that it names first and in numbers, where the first of each kind
/// stood. `text` is what is compared.
pub(super) fn grouped<'a, T>(
    all: &'a [T],
    targets: &BTreeSet<&Target>,
    text: impl Fn(&T) -> String,
) -> Vec<Told<'a, T>> {
    let mut groups: Vec<(String, Told<'a, T>)> = Vec::new();
    for one in all {
        let said = text(one);
        let about = first_named(&said, targets);
        let shape = about.map_or_else(|| said.clone(), |target| shape(&said, target));
        let known = groups.iter_mut().find(|(known, _)| *known == shape);
        match (known, about) {
            (Some((_, told)), Some(target)) => {
                let name = target.to_string();
                if !told.likewise.contains(&name) {
                    told.likewise.push(name);
                }
            }
            _ => groups.push((
                shape,
                Told {
                    first: one,
                    likewise: Vec::new(),
                },
            )),
        }
    }
    groups.into_iter().map(|(_, told)| told).collect()
}

fn first_named<'t>(text: &str, targets: &BTreeSet<&'t Target>) -> Option<&'t Target> {
    let places = targets
        .iter()
        .filter_map(|target| text.find(&target.to_string()).map(|at| (at, *target)));
    places
        .min_by_key(|(at, target)| (*at, std::cmp::Reverse(target.name.len())))
        .map(|(_, target)| target)
}

/// The sentence without the workload's name and without what is counted. Versions stay: they are what it is about.
fn shape(text: &str, target: &Target) -> String {
    let word = |word: &str| {
        let bare = word.trim_start_matches(['(', '"']);
        if word.contains(&target.name) {
            "·".to_owned()
        } else if bare.starts_with(|first: char| first.is_ascii_digit()) {
            "#".to_owned()
        } else if word == "pods" {
            "pod".to_owned()
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::target::WorkloadKind;

    fn target(name: &str) -> Target {
        Target {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_sentence_about_several_workloads_is_told_once_and_another_version_is_another_sentence() {
        let (web, web_api, db) = (target("web"), target("web-api"), target("db"));
        let all = [
            "1 pod of v1 still serves deployment/web, since 10:00:01".to_owned(),
            "3 pods of v1 still serves deployment/web-api, since 10:00:02".to_owned(),
            "2 pods of v7 still serves deployment/db, since 10:00:02".to_owned(),
            "the database is not looked at".to_owned(),
        ];
        let told = grouped(&all, &BTreeSet::from([&web, &web_api, &db]), String::clone);
        let shown: Vec<(&str, Option<String>)> = told
            .iter()
            .map(|told| (told.first.as_str(), told.others()))
            .collect();
        assert_eq!(
            shown,
            [
                (all[0].as_str(), Some("likewise deployment/web-api".to_owned())),
                (all[2].as_str(), None),
                (all[3].as_str(), None),
            ]
        );
    }
}
