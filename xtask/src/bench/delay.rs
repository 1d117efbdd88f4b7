//! A slow wire: a port that carries bytes to another one and holds the answers back. With it, requests that are
//! sent together and requests that wait for one another can be told apart by the server's clock.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Outcome, doing};

/// Bytes that are read at once; a TLS record is no longer.
const CHUNK: usize = 16 * 1024;

/// Carries every connection on to `server`, answers `delay` late; gives the port that it listens on. It goes with
/// the process.
pub(super) fn start(server: String, delay: Duration) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(doing("listen on a port"))?;
    let port = listener.local_addr().map_err(doing("tell a port"))?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(&server) else {
                continue;
            };
            join(client, upstream, delay);
        }
    });
    Ok(port)
}

fn join(client: TcpStream, upstream: TcpStream, delay: Duration) {
    // Nagle's wait would be a delay of its own.
    let plain = client.set_nodelay(true).and_then(|()| upstream.set_nodelay(true));
    let (Ok(()), Ok(back), Ok(forth)) = (plain, upstream.try_clone(), client.try_clone()) else {
        return;
    };
    carry(client, upstream, Duration::ZERO);
    carry(back, forth, delay);
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (send, late) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in late {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(std::net::Shutdown::Write));
    });
    thread::spawn(move || {
        let mut chunk = [0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            if send
                .send((Instant::now() + delay, chunk[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
}
