//! The one program that plays every service of the example platform: it starts, serves, and ends the way
//! its environment says. What it answers is in `api`; what the environment may say is in `settings`.

mod api;
mod emissions;
mod log;
mod metrics;
mod settings;

use std::future::IntoFuture;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

use crate::log::Level;
use crate::settings::Settings;

/// How long requests in flight may take after SIGTERM: well inside Kubernetes' grace period of 30 s, so that
/// a client which never ends its request cannot turn a clean stop into a kill.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let settings = match Settings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => return fatal(&format!("could not start: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("could not start: no runtime: {error}")),
    };
    let end = runtime.block_on(run(settings));
    // Nothing that is still running may hold the process back: a crash is to look like one.
    runtime.shutdown_background();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fatal(&reason),
    }
}

/// Serves until SIGTERM or SIGINT (`Ok`) or until the service fails, by itself or by order (`Err`).
async fn run(settings: Settings) -> Result<(), String> {
    // First of all: as process 1 of a container, a signal without a handler would be ignored.
    let mut stop = Stop::listen().map_err(|error| format!("could not listen for signals: {error}"))?;
    let listener = TcpListener::bind((settings.bind, settings.port))
        .await
        .map_err(|error| format!("could not listen on {}:{}: {error}", settings.bind, settings.port))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("could not read the own address: {error}"))?;
    announce(&settings, &address.to_string());

    let crash = settings.crash_after;
    let errors = settings.error_interval;
    let (drain, drained) = oneshot::channel::<()>();
    let server = axum::serve(listener, api::router(settings))
        .with_graceful_shutdown(async {
            // A dropped sender means the same as a sent word.
            let _ = drained.await;
        })
        .into_future();
    let mut server = tokio::spawn(server);

    tokio::select! {
        () = crash_after(crash) => {
            return Err("could not open the connection pool: this version has no driver for pool \"emissions-v2\"".into());
        }
        () = write_errors(errors) => {}
        () = stop.wait() => {}
        ended = &mut server => return Err(format!("could not go on serving: {ended:?}")),
    }

    log::line(
        Level::Info,
        "stopping: no new connections, requests in flight are finished",
    );
    let _ = drain.send(());
    match time::timeout(DRAIN_LIMIT, server).await {
        Ok(_) => log::line(Level::Info, "stopped"),
        Err(_) => log::line(Level::Warn, "stopped: requests were still in flight after 5 s"),
    }
    Ok(())
}

/// Says what started, and what about it is unusual.
fn announce(settings: &Settings, address: &str) {
    log::line(
        Level::Info,
        &format!("{} {} listening on {address}", settings.service, settings.version),
    );
    if settings.token.is_none() {
        log::line(
            Level::Warn,
            "no API token is configured: every request under /api is refused",
        );
    }
    if settings.never_ready {
        log::line(Level::Warn, &format!("not ready: {}", api::NEVER_READY_REASON));
    }
}

/// Returns when it is time to crash; never, where no crash is ordered.
async fn crash_after(after: Option<Duration>) {
    match after {
        Some(after) => time::sleep(after).await,
        None => std::future::pending().await,
    }
}

/// Writes error lines at an even pace and never returns: evidence in the log of a version that nobody calls.
async fn write_errors(interval: Option<Duration>) {
    let Some(interval) = interval else {
        return std::future::pending().await;
    };
    let mut ticks = time::interval_at(Instant::now() + interval, interval);
    for batch in 1_u64.. {
        ticks.tick().await;
        log::line(
            Level::Error,
            &format!("batch {batch}: could not apply emission factors: rounding mode \"bankers\" is unknown"),
        );
    }
}

/// The two signals that ask for a clean stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Writes the last line of a process that fails, and gives its exit code.
fn fatal(reason: &str) -> ExitCode {
    log::line(Level::Fatal, reason);
    ExitCode::FAILURE
}
