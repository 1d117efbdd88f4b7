//! The port, and the connections that came to it. Whether it takes any is said in [`Reach`].

use crate::answer::{Body, BoxError};
use crate::way::Way;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// Whether connections are taken.
pub(crate) struct Reach {
    wanted: watch::Sender<bool>,
    taken: watch::Sender<bool>,
    cut: Notify,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(true),
            taken: watch::Sender::new(true),
            cut: Notify::new(),
        }
    }
}

impl Reach {
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    pub(crate) async fn go_away(&self) {
        self.turn(false).await;
    }

    pub(crate) async fn come_back(&self) {
        self.turn(true).await;
    }

    async fn turn(&self, open: bool) {
        self.wanted.send_replace(open);
        // It fails when nobody can turn it any more: then the port is closed.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == open).await;
    }
}

/// The port of one proxy.
pub(crate) struct Door {
    address: SocketAddr,
    keeping: JoinHandle<io::Result<()>>,
}

impl Door {
    pub(crate) async fn open(way: Arc<Way>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            address,
            keeping: tokio::spawn(keep(way, listener, address)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

async fn keep(way: Arc<Way>, mut listener: TcpListener, address: SocketAddr) -> io::Result<()> {
    let mut wanted = way.reach.wanted.subscribe();
    loop {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = wanted.wait_for(|open| !open) => break,
                () = way.reach.cut.notified() => connections.abort_all(),
                taken = listener.accept() => {
                    connections.spawn(serve(way.clone(), taken?.0));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        // A socket that is bound and does not listen refuses connections, and keeps the port.
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        way.reach.taken.send_replace(false);
        connections.shutdown().await;
        let _ = wanted.wait_for(|open| *open).await;
        listener = socket.listen(BACKLOG)?;
        way.reach.taken.send_replace(true);
    }
}

async fn serve(way: Arc<Way>, stream: TcpStream) {
    let answer = service_fn(move |request| answer(way.clone(), request));
    // A client that goes away, or whose connection is to break, is no concern of the others.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(way: Arc<Way>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    way.send(request).await
}
