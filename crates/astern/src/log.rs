//! What this process logs, and what of it never leaves it. Owns no message: where they go is standard error, which is a file
//! once a runner has its task.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What a runner logs where nothing else is asked for.
pub(crate) const OF_A_RUNNER: &str = "info,kube_client=off,kube_runtime=off,hyper=off,tower=off";

/// Whoever logs what the API server answers as it came, or an error that quotes it: a Secret may stand in there. Silent at every
/// level, whatever is asked for.
const QUOTES_ANSWERS: [&str; 2] = ["kube_client::client", "kube_runtime::watcher"];

/// A filter as somebody types it: a level, or targets with levels.
pub(crate) fn filter(typed: &str) -> Result<String, String> {
    let read = EnvFilter::builder().parse(typed);
    read.map(|_| typed.to_owned()).map_err(|error| {
        format!("{error}; a level such as `debug`, or targets with levels: `info,astern_exec=trace`")
    })
}

/// From here on, what `filter` lets through is on standard error.
pub(crate) fn start(filter: &str) -> Result<(), TryInitError> {
    let silent = filter_fn(|of| !QUOTES_ANSWERS.contains(&of.target()));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(silent))
        .with(EnvFilter::new(filter))
        .try_init()
}
