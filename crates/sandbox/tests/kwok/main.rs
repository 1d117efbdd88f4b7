//! What the sandbox claims about Kubernetes, held against a real kube-apiserver; and kubectl on the sandbox alone.

#![expect(clippy::unwrap_used, reason = "a test that finds something missing fails")]

mod both;
mod cases;
mod commands;
mod differences;
mod kubectl;
mod managers;
mod replay;
mod requests;
mod sequences;
mod settle;
mod watch;
