//! What pods without containers say: the same lines for every container, as files that kwok serves. Knows nothing of states.

use std::path::Path;

use serde_json::{Value, json};

/// One line that is no error, from long ago: a reader with a window finds a quiet log.
/// In the container runtimes' format.
pub(super) const NOW: &str = "2026-01-01T00:00:00.000000000Z stdout F serving\n";

/// What the container that crashed said last.
pub(super) const PREVIOUS: &str = "2026-01-01T00:00:00.000000000Z stdout F starting\n\
     2026-01-01T00:00:01.000000000Z stderr F error: REQUIRED_SETTING is not set\n";

/// kwok's own object that says which file answers for which pods: these, for all.
pub(super) fn document(now: &Path, previous: &Path) -> String {
    format!("---\n{:#}\n", all_pods(now, previous))
}

fn all_pods(now: &Path, previous: &Path) -> Value {
    json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": { "name": "all-pods" },
        "spec": { "logs": [{ "logsFile": now, "previousLogsFile": previous }] },
    })
}
