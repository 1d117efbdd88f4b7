//! The way of a request: counted, struck by the fault that waits for it, carried out, witnessed, answered.

use crate::answer::{self, Body, BoxError};
use crate::door::Reach;
use crate::fault::{Class, Fault, How};
use crate::request::Asked;
use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than any client waits for an answer.
const SILENCE: Duration = Duration::from_secs(120);

/// Who sees what is changed, in the order in which it is.
#[async_trait]
pub trait Witness: Send + Sync + 'static {
    /// A request has come, before anything goes wrong with it.
    async fn came(&self, asked: &Asked);

    /// The API server has carried it out or refused it, by its status; nobody else knows yet. `before` and `after` are
    /// the object; null where there is none, or it was only made.
    async fn done(&self, asked: &Asked, code: u16, before: &Value, after: &Value);
}

/// Nobody looks.
pub struct Unseen;

#[async_trait]
impl Witness for Unseen {
    async fn came(&self, _: &Asked) {}
    async fn done(&self, _: &Asked, _: u16, _: &Value, _: &Value) {}
}

/// The way from one port to the API server.
pub(crate) struct Way {
    upstream: kube::Client,
    /// Held while something is changed, so that a witness sees changes in their order.
    order: Arc<tokio::sync::Mutex<()>>,
    witness: Arc<dyn Witness>,
    script: Mutex<Script>,
    /// The first answer to each read that permits the past.
    past: Arc<Mutex<BTreeMap<String, (Parts, Bytes)>>>,
    pub(crate) reach: Reach,
}

#[derive(Default)]
struct Script {
    faults: Vec<Fault>,
    seen: BTreeMap<Class, u32>,
    struck: Vec<Fault>,
}

type Answered = Result<Response<Body>, BoxError>;

impl Way {
    pub(crate) fn to(mut config: kube::Config) -> kube::Result<Self> {
        // Watches last, and whoever asks has patience of its own.
        config.read_timeout = None;
        config.default_retry = false;
        Ok(Self {
            upstream: kube::Client::try_from(config)?,
            order: Arc::default(),
            witness: Arc::new(Unseen),
            script: Mutex::default(),
            past: Arc::default(),
            reach: Reach::default(),
        })
    }

    pub(crate) fn another(&self, faults: Vec<Fault>, witness: Arc<dyn Witness>) -> Self {
        Self {
            upstream: self.upstream.clone(),
            order: self.order.clone(),
            witness,
            script: Mutex::new(Script {
                faults,
                ..Script::default()
            }),
            past: self.past.clone(),
            reach: Reach::default(),
        }
    }

    pub(crate) fn next(&self, class: Class, how: How) {
        let mut script = self.script();
        let nth = script.seen.get(&class).copied().unwrap_or_default();
        script.faults.push(Fault { class, nth, how });
    }

    pub(crate) fn struck(&self) -> Vec<Fault> {
        self.script().struck.clone()
    }

    /// What was sent goes on, whatever becomes of its sender.
    pub(crate) async fn send(self: Arc<Self>, request: http::Request<Incoming>) -> Answered {
        let mut asked = Asked::read(request).await?;
        let how = self.script().meet(&mut asked).map(|fault| fault.how);
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever asked may be gone.
            let _ = tell.send(self.deliver(&asked, how).await);
        });
        if matches!(how, Some(How::Late(_))) {
            return Err("it is late".into());
        }
        told.await?
    }

    async fn deliver(&self, asked: &Asked, how: Option<How>) -> Answered {
        self.witness.came(asked).await;
        match how {
            Some(How::Lost) => return Err("it was lost".into()),
            Some(How::Swallowed) => return silence().await,
            Some(How::Status(code)) => return Ok(answer::status(code)),
            Some(How::Gone) => return Ok(answer::gone()),
            Some(How::Delayed(span) | How::Late(span)) => tokio::time::sleep(span).await,
            _ => {}
        }
        if asked.class == Class::Watch {
            return Ok(answer::lasting(self.upstream.send(asked.onward()).await?, how));
        }
        if how == Some(How::Past)
            && asked.permits_the_past()
            && let Some((head, body)) = self.past().get(&asked.uri.to_string()).cloned()
        {
            return Ok(answer::whole(head, body));
        }
        let answered = self.carry_out(asked).await?;
        match how {
            Some(How::AnswerLost) => Err("its answer was lost".into()),
            Some(How::AnswerSwallowed) => silence().await,
            Some(How::AnswerLostAndAway) => {
                self.reach.go_away().await;
                Err("its answer was lost".into())
            }
            Some(How::StatusAfter(code)) => Ok(answer::status(code)),
            _ => Ok(answered),
        }
    }

    async fn carry_out(&self, asked: &Asked) -> Answered {
        if !asked.changes() {
            let (head, body) = self.upstream.send(asked.onward()).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            if asked.permits_the_past() {
                let mut past = self.past();
                past.entry(asked.uri.to_string())
                    .or_insert_with(|| (head.clone(), body.clone()));
            }
            return Ok(answer::whole(head, body));
        }
        let _order = self.order.lock().await;
        let before = self.before(asked).await?;
        let (head, body) = self.upstream.send(asked.onward()).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let after = serde_json::from_slice(&body).unwrap_or_default();
        let code = head.status.as_u16();
        self.witness.done(asked, code, &before, &after).await;
        Ok(answer::whole(head, body))
    }

    /// The object that is about to be changed. Nothing comes between this and a change that carries the object's
    /// resourceVersion: the API server refuses it then.
    async fn before(&self, asked: &Asked) -> Result<Value, BoxError> {
        if asked.class != Class::Write || asked.method == http::Method::POST {
            return Ok(Value::Null);
        }
        let (head, body) = self.upstream.send(asked.look()).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(if head.status.is_success() {
            serde_json::from_slice(&body)?
        } else {
            Value::Null
        })
    }

    fn past(&self) -> MutexGuard<'_, BTreeMap<String, (Parts, Bytes)>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    /// Counts a request, and takes the fault that it meets.
    fn meet(&mut self, asked: &mut Asked) -> Option<Fault> {
        let seen = self.seen.entry(asked.class).or_default();
        asked.nth = *seen;
        *seen += 1;
        let met = |fault: &Fault| (fault.class, fault.nth) == (asked.class, asked.nth);
        let fault = self.faults.iter().copied().find(met)?;
        self.struck.push(fault);
        Some(fault)
    }
}

async fn silence() -> Answered {
    tokio::time::sleep(SILENCE).await;
    Err("no answer came".into())
}
