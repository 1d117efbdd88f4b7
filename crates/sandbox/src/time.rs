//! How times are written in objects. Reads no clock.

use jiff::Timestamp;

/// To the second, as `metadata.creationTimestamp` and conditions have it.
pub(crate) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// To the microsecond, as events and Leases have it.
pub(crate) fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A time out of an object.
pub(crate) fn parsed(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
