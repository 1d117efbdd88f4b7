//! Warning events by the object that they are about. Events last an hour; what is not here is unknown, not absent.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use std::collections::BTreeMap;

/// The newest warning of each reason about each object.
pub(super) struct Warnings<'a> {
    newest: BTreeMap<(&'a str, &'a str), &'a Event>,
}

impl<'a> Warnings<'a> {
    /// Sorts the events once.
    pub(super) fn new(events: &'a [Event]) -> Self {
        let mut newest: BTreeMap<(&str, &str), &Event> = BTreeMap::new();
        for event in events {
            let about = event.involved_object.uid.as_deref().unwrap_or_default();
            let key = (about, event.reason.as_deref().unwrap_or_default());
            let slot = newest.entry(key).or_insert(event);
            if at(event) > at(slot) {
                *slot = event;
            }
        }
        Self { newest }
    }

    /// The newest message of that reason about the object of that uid.
    pub(super) fn newest(&self, uid: &str, reason: &str) -> Option<&'a str> {
        self.newest.get(&(uid, reason))?.message.as_deref()
    }

    /// The same, if it was said at `since` or later.
    pub(super) fn newest_since(&self, uid: &str, reason: &str, since: Timestamp) -> Option<&'a str> {
        let event = self.newest.get(&(uid, reason))?;
        (at(event)? >= since).then_some(event.message.as_deref())?
    }
}

/// When it was last said. A series' own time is newer than the event's.
fn at(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.or(last).or(first)
}
