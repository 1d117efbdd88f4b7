//! Objects as they stand in files: the templates of workloads, place by place, and the keys of ConfigMaps.

use super::differences::{Difference, differences};
use super::{Desk, Edit, EditError};
use crate::yaml::{self, Step};
use astern_model::source::{ConfigRevert, Revert, WorkloadRevert};
use serde_json::Value;

/// An object in a file.
pub(super) struct Found {
    pub(super) file: String,
    pub(super) document: usize,
}

pub(super) fn edit(desk: &mut Desk<'_>, revert: &Revert) -> Result<(), EditError> {
    for workload in &revert.workloads {
        let found = find_workload(desk, workload)?;
        let differences = differences(workload.from.json(), workload.to.json());
        apply(desk, workload, &found, &differences)?;
    }
    for config in &revert.config {
        let what = config.object.to_string();
        let found = find(
            desk,
            &what,
            config.object.kind.singular(),
            Some(&config.namespace),
            &config.object.name,
        )?;
        edit_config(desk, config, &found)?;
    }
    Ok(())
}

/// Writes these differences of a workload's template into its manifest.
pub(super) fn apply(
    desk: &mut Desk<'_>,
    workload: &WorkloadRevert,
    found: &Found,
    differences: &[Difference],
) -> Result<(), EditError> {
    for difference in differences {
        let template = ["spec", "template"].map(|key| Step::Key(key.to_owned()));
        let way: Vec<Step> = template.into_iter().chain(difference.way.clone()).collect();
        let edit = Edit {
            file: &found.file,
            document: found.document,
            way: &way,
            from: difference.from.as_ref(),
            to: difference.to.as_ref(),
            open: difference.is_open(),
        };
        desk.apply(&workload.target.to_string(), &edit)?;
    }
    Ok(())
}

/// The one place where a workload stands.
pub(super) fn find_workload(desk: &Desk<'_>, workload: &WorkloadRevert) -> Result<Found, EditError> {
    let target = &workload.target;
    find(
        desk,
        &target.to_string(),
        target.kind.singular(),
        Some(&target.namespace),
        &target.name,
    )
}

fn edit_config(desk: &mut Desk<'_>, config: &ConfigRevert, found: &Found) -> Result<(), EditError> {
    for (key, (from, to)) in &config.keys {
        let value = |text: &Option<String>| text.clone().map(Value::String);
        let (from, to) = (value(from), value(to));
        let way = ["data", key].map(|key| Step::Key(key.to_owned()));
        let edit = Edit {
            file: &found.file,
            document: found.document,
            way: &way,
            from: from.as_ref(),
            to: to.as_ref(),
            open: false,
        };
        desk.apply(&config.object.to_string(), &edit)?;
    }
    Ok(())
}

/// The one place where an object stands; without a namespace, whatever its namespace.
pub(super) fn find(
    desk: &Desk<'_>,
    what: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<Found, EditError> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    let mut unread = Vec::new();
    for file in desk.paths() {
        // One that is no YAML, such as a chart's template, may still lie beside the one that is meant.
        let Ok(documents) = yaml::documents(desk.text(file).unwrap_or_default()) else {
            unread.push(file);
            continue;
        };
        for (document, root) in documents.iter().enumerate() {
            let says = |keys: &[&str]| root.at(keys).and_then(yaml::Node::text);
            if !says(&["kind"]).is_some_and(|word| word.eq_ignore_ascii_case(kind)) {
                continue;
            }
            let says_here = says(&["metadata", "namespace"]);
            let here = says_here.is_none_or(|other| namespace.is_none_or(|namespace| other == namespace));
            match says(&["metadata", "name"]) {
                Some(other) if other == name && here => found.push(Found {
                    file: file.to_owned(),
                    document,
                }),
                Some(other) => others.push(format!("{other} ({file})")),
                None => {}
            }
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let mut hint = match others.as_slice() {
                [] => format!("no file there has a {kind}"),
                others => format!("of this kind it has: {}", others.join(", ")),
            };
            if !unread.is_empty() {
                hint += &format!("; no YAML: {}", unread.join(", "));
            }
            Err(EditError::NotFound {
                what: what.to_owned(),
                hint: hint + &desk.closed(),
            })
        }
        _ => Err(EditError::Ambiguous {
            what: what.to_owned(),
            places: found.into_iter().map(|found| found.file).collect(),
        }),
    }
}
