//! The lock, where the way to the API server loses an answer: a server that stores one Lease and hangs up when told.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

mod system_clock;

use astern_kubernetes::lock::LeaseLock;
use astern_model::id::RunId;
use astern_model::record::Holder;
use astern_port::lock::{Lock, Taking};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use system_clock::SystemClock;

/// One Lease, how many answers to writes of it are still to be lost, and how many requests to be answered 503.
#[derive(Default)]
struct Server {
    lease: Mutex<Option<Value>>,
    lose: Mutex<u32>,
    away: Mutex<u32>,
}

impl Server {
    fn start(lose: u32) -> (Arc<Self>, kube::Client) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Self {
            lose: Mutex::new(lose),
            ..Self::default()
        });
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        let mut config = kube::Config::new(address.parse().unwrap());
        config.default_retry = false;
        (server, kube::Client::try_from(config).unwrap())
    }

    /// Answers request by request, until one's answer is lost.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((method, body)) = request(&mut reader) {
            let Some((status, answer)) = self.answer(&method, body) else {
                return;
            };
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            stream.write_all((head + &text).as_bytes()).unwrap();
        }
    }

    /// What is stored by compare-and-swap, as the API server does it; none where the answer is lost.
    fn answer(&self, method: &str, body: Option<Value>) -> Option<(&'static str, Value)> {
        let mut lease = self.lease.lock().unwrap();
        let refused = |code: u16, reason: &str| json!({"kind": "Status", "code": code, "reason": reason, "message": ""});
        let mut away = self.away.lock().unwrap();
        if *away > 0 {
            *away -= 1;
            return Some(("503 Service Unavailable", refused(503, "ServiceUnavailable")));
        }
        let Some(mut wanted) = body else {
            return Some(match &*lease {
                Some(lease) => ("200 OK", lease.clone()),
                None => ("404 Not Found", refused(404, "NotFound")),
            });
        };
        let version = lease
            .as_ref()
            .map(|lease| lease["metadata"]["resourceVersion"].clone());
        let matches = match method {
            "POST" => version.is_none(),
            _ => version.as_ref() == Some(&wanted["metadata"]["resourceVersion"]),
        };
        if !matches {
            return Some(("409 Conflict", refused(409, "Conflict")));
        }
        let next = version
            .and_then(|version| version.as_str()?.parse::<u32>().ok())
            .unwrap_or(0)
            + 1;
        wanted["metadata"]["resourceVersion"] = json!(next.to_string());
        *lease = Some(wanted.clone());
        let mut lose = self.lose.lock().unwrap();
        if *lose > 0 {
            *lose -= 1;
            return None;
        }
        Some(("200 OK", wanted))
    }

    fn transitions(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"].clone()
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Option<Value>)> {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|read| *read > 0)?;
        Some(text.trim().to_ascii_lowercase())
    };
    let method = line()?.split(' ').next()?.to_ascii_uppercase();
    let mut length = 0;
    loop {
        match line()? {
            header if header.is_empty() => break,
            header => {
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, serde_json::from_slice(&body).ok()))
}

fn holder(id: &str) -> Holder {
    Holder {
        id: id.to_owned(),
        user: "anna".to_owned(),
        host: "laptop".to_owned(),
        pid: 7,
    }
}

async fn take(client: kube::Client, run: &str, id: &str) -> Result<Taking, astern_port::Failure> {
    let namespaces = ["shop".to_owned()];
    LeaseLock::new(client, Arc::new(SystemClock))
        .take(&namespaces, &RunId::from(run), &holder(id), "Secrets")
        .await
}

#[tokio::test]
async fn a_lock_whose_taking_was_not_answered_is_known_as_our_own() {
    for lost in [1, 2] {
        let (server, client) = Server::start(lost);
        assert_eq!(take(client, "r1", "h1").await.unwrap(), Taking::Taken);
        // It was taken once, by one holder.
        assert_eq!(server.transitions(), 1);
    }
}

#[tokio::test]
async fn a_lock_that_could_not_be_seen_to_be_taken_is_given_back() {
    let (_server, client) = Server::start(5);
    take(client.clone(), "r1", "h1").await.unwrap_err();
    assert_eq!(take(client, "r2", "h2").await.unwrap(), Taking::Taken);
}

#[tokio::test]
async fn a_lock_that_an_overloaded_server_does_not_take_back_at_first_is_given_back_all_the_same() {
    let (server, client) = Server::start(0);
    let lock = LeaseLock::new(client, Arc::new(SystemClock));
    let (namespaces, run, holder) = (["shop".to_owned()], RunId::from("r1"), holder("h1"));
    lock.take(&namespaces, &run, &holder, "Secrets").await.unwrap();
    *server.away.lock().unwrap() = 2;
    *server.lose.lock().unwrap() = 1;
    lock.release(&namespaces, &run, &holder).await.unwrap();
    assert_eq!(lock.holding("shop").await.unwrap(), None);
}
