//! The refusals of Secrets that an ExternalSecret draws, each with the command that pins what has to be pinned.

use super::{code, leave, refusal};
use astern_model::config::ConfigName;
use astern_model::decision::Refusal;
use astern_model::external::{Drawn, Part, Versions};
use serde_json::{Value, json};

/// A Secret whose ExternalSecret names a version by a word that moves, or none.
pub(crate) fn unpinned(
    object: &ConfigName,
    drawn: &Drawn,
    then: Option<&Versions>,
    namespace: &str,
) -> Refusal {
    let source = &drawn.source;
    let mut refusal = refusal(
        code::MADE_FROM,
        format!(
            "the content of {object} cannot be put back: {source} draws it from versions that it does not name by their ids, so \
             there is nothing to change back"
        ),
    );
    for part in drawn.parts.iter().filter(|part| part.id().is_none()) {
        let says = part.version.as_deref().unwrap_or("nothing");
        refusal.details.push(format!(
            "{} ({}) says {says}, which means another version tomorrow",
            part.field(),
            part.key
        ));
    }
    match then {
        Some(versions) => refusal.ways_out.push(format!(
            "name those of then: {}",
            patch(drawn, versions, namespace)
        )),
        None => refusal.ways_out.extend(by_hand(drawn, namespace)),
    }
    refusal.ways_out.push(format!(
        "and pin them where {source} is kept (Git), so that the next release records the ids; never AWSPREVIOUS or latest"
    ));
    refusal.ways_out.push(leave(object));
    refusal
}

/// A Secret whose release does not say from which versions it was drawn.
pub(crate) fn unrecorded(
    object: &ConfigName,
    drawn: &Drawn,
    then: Option<&Drawn>,
    namespace: &str,
) -> Refusal {
    let mut refusal = refusal(
        code::MADE_FROM,
        format!(
            "the content of {object} cannot be put back: the release does not say by their ids from which versions {} drew it",
            drawn.source
        ),
    );
    refusal.details.push(match then {
        None => "it was recorded without them".to_owned(),
        Some(then) if !then.draws_as(drawn) => "it drew other keys then".to_owned(),
        Some(_) => "they were not named by their ids then".to_owned(),
    });
    refusal.ways_out.extend(by_hand(drawn, namespace));
    refusal.ways_out.push(leave(object));
    refusal
}

/// A Secret whose ExternalSecret draws once.
pub(crate) fn drawn_once(object: &ConfigName, drawn: &Drawn) -> Refusal {
    let mut refusal = refusal(
        code::MADE_FROM,
        format!(
            "the content of {object} cannot be put back: {} draws it once and never again (refreshPolicy: CreatedOnce)",
            drawn.source
        ),
    );
    refusal
        .ways_out
        .push("set its refreshPolicy to OnChange, then plan again".to_owned());
    refusal.ways_out.push(leave(object));
    refusal
}

/// A Secret that differs although its ExternalSecret names what it named.
pub(crate) fn same_versions(object: &ConfigName, drawn: &Drawn, namespace: &str) -> Refusal {
    let source = &drawn.source;
    let mut refusal = refusal(
        code::MADE_FROM,
        format!(
            "the content of {object} cannot be put back: {source} names the versions of then already, and {object} holds something \
             else"
        ),
    );
    refusal.ways_out.push(format!(
        "have it drawn again: kubectl annotate {source} -n {namespace} --overwrite force-sync=$(date +%s); then plan again"
    ));
    refusal.ways_out.push(leave(object));
    refusal
}

/// The command that names these versions.
fn patch(drawn: &Drawn, versions: &Versions, namespace: &str) -> String {
    let add = |(at, id): (&String, &String)| json!({"op": "add", "path": at, "value": id});
    let changes: Vec<Value> = versions.iter().map(add).collect();
    format!(
        "kubectl patch {} -n {namespace} --type=json -p '{}'",
        drawn.source,
        Value::Array(changes)
    )
}

/// What to type where nobody has recorded the ids of then.
fn by_hand(drawn: &Drawn, namespace: &str) -> Vec<String> {
    let named = |part: &Part| Some((part.at.clone()?, format!("ID-OF-{}", part.key)));
    let versions: Versions = drawn.parts.iter().filter_map(named).collect();
    let without = drawn.parts.iter().filter(|part| part.at.is_none());
    let mut ways: Vec<String> = without
        .map(|_| "name what it finds or generates one by one (`data`): only that has versions".to_owned())
        .take(1)
        .collect();
    if !versions.is_empty() {
        ways.push(
            "look for the ids at the provider; of AWS Secrets Manager, where an id is written uuid/ID: aws secretsmanager \
             list-secret-version-ids --secret-id KEY"
                .to_owned(),
        );
        ways.push(format!(
            "name them, wait until it is drawn, then plan again: {}",
            patch(drawn, &versions, namespace)
        ));
    }
    ways
}
