//! The way to the API server, which a test can cut: like a load balancer whose servers are all gone.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(super) struct Proxy {
    port: u16,
    server: String,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    cut: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// In front of the API server of this kubeconfig.
    pub(super) fn to(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let (_, rest) = text.split_once("https://").unwrap();
        let server = rest
            .split_whitespace()
            .next()
            .unwrap()
            .trim_matches('"')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(Way::default());
        let (to, of) = (server.clone(), way.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                of.lead(near, &to);
            }
        });
        Self { port, server, way }
    }

    /// The same kubeconfig by way of this proxy, written to `file`.
    pub(super) fn kubeconfig(&self, original: &Path, file: PathBuf) -> PathBuf {
        let text = std::fs::read_to_string(original).unwrap();
        let text = text.replace(&self.server, &format!("127.0.0.1:{}", self.port));
        std::fs::write(&file, text).unwrap();
        file
    }

    pub(super) fn cut(&self) {
        self.way.cut.store(true, Ordering::SeqCst);
        for stream in self.way.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn restore(&self) {
        self.way.cut.store(false, Ordering::SeqCst);
    }
}

impl Way {
    fn lead(&self, near: TcpStream, server: &str) {
        if self.cut.load(Ordering::SeqCst) {
            return;
        }
        let far = TcpStream::connect(server).unwrap();
        self.streams
            .lock()
            .unwrap()
            .extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        pump(&near, &far);
        pump(&far, &near);
    }
}

/// Carries bytes one way until either end closes.
fn pump(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
