//! What a query says of how a write is meant. Owns reading and refusing it, in the words of the API's option objects.

use super::Request;
use super::route::Query;
use super::status::{Cause, Outcome, Refusal};
use super::write;
use crate::managed::Part;
use http::Method;
use serde_json::json;

/// The longest name of a field manager.
const LONGEST_MANAGER: usize = 128;

/// The options of a write that is no deletion.
pub(super) fn of_write(request: &Request, query: &Query) -> Outcome<write::Options> {
    let called = match request.method {
        Method::POST => "CreateOptions",
        Method::PATCH => "PatchOptions",
        _ => "UpdateOptions",
    };
    let mut causes = Vec::new();
    if query
        .get("fieldManager")
        .is_some_and(|manager| manager.len() > LONGEST_MANAGER)
    {
        causes.push(Cause::too_long("fieldManager", LONGEST_MANAGER));
    }
    let dry_run = dry_run(query.get("dryRun").into_iter(), &mut causes);
    if let Some(said) = query.get("fieldValidation")
        && !matches!(said, "Ignore" | "Strict" | "Warn")
    {
        causes.push(Cause::not_supported(
            "fieldValidation",
            &json!(said),
            &["", "Ignore", "Strict", "Warn"],
        ));
    }
    refused(called, &causes)?;
    Ok(write::Options {
        dry_run,
        part: Part::Whole,
    })
}

/// Whether nothing is to be kept; anything but `All` is refused.
pub(super) fn dry_run<'a>(said: impl Iterator<Item = &'a str>, causes: &mut Vec<Cause>) -> bool {
    let said: Vec<&str> = said.collect();
    if said.iter().any(|each| *each != "All") {
        causes.push(Cause::not_supported("dryRun", &json!(said), &["All"]));
    }
    !said.is_empty()
}

/// Options that break rules, by what they are called.
pub(super) fn refused(called: &str, causes: &[Cause]) -> Outcome<()> {
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid_as(called, "meta.k8s.io", "", causes))
    }
}
