//! What the sandbox does at its boundary: requests in, answers out, on virtual time.

#![expect(clippy::unwrap_used, reason = "a test that finds something missing fails")]

mod api;
mod autoscaling;
mod client;
mod jobs;
mod managers;
mod metrics;
mod rollouts;
mod support;
