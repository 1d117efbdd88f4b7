//! The requests. None writes a value into a log: answers are read here, and not by the client.

use super::KubernetesContents;
use super::place::{Found, Place, by_us};
use crate::effects::mask;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use kube::api::{DeleteParams, Preconditions};
use kube::core::params::GetParams;
use kube::core::request::Request;
use serde_json::Value;

impl KubernetesContents {
    pub(super) async fn find(&self, place: &Place<'_>) -> Result<Option<Found>, Failure> {
        let request = Request::new(place.collection()).get(&place.object.name, &GetParams::default());
        match self.send(request, &place.attempt(Verb::Get)).await {
            Ok(json) => Ok(json.map(Found)),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn replace(&self, place: &Place<'_>, object: &Found) -> Result<Found, Failure> {
        let body = object.0.to_string().into_bytes();
        let request = Request::new(place.collection()).replace(&place.object.name, &by_us(), body);
        let stored = self.send(request, &place.attempt(Verb::Update)).await;
        let stored = stored.map_err(|failure| mask::without_values(failure, place.object, &[&object.0]))?;
        stored.map(Found).ok_or_else(|| place.gone())
    }

    /// None where one of that name is there.
    pub(super) async fn create(&self, place: &Place<'_>, object: &Value) -> Result<Option<Found>, Failure> {
        let body = object.to_string().into_bytes();
        let request = Request::new(place.collection()).create(&by_us(), body);
        match self.send(request, &place.attempt(Verb::Create)).await {
            Err(failure) if failure.class == FailureClass::Conflict => Ok(None),
            Err(failure) => Err(mask::without_values(failure, place.object, &[object])),
            Ok(stored) => Ok(stored.map(Found)),
        }
    }

    pub(super) async fn delete(&self, place: &Place<'_>, object: &Found) -> Result<(), Failure> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(object.uid().to_string()),
                resource_version: Some(object.text("resourceVersion").to_owned()),
            }),
            ..DeleteParams::default()
        };
        let request = Request::new(place.collection()).delete(&place.object.name, &parameters);
        self.send(request, &place.attempt(Verb::Delete)).await.map(drop)
    }

    /// None where there is nothing of that name. The client's own reading of an answer would write what it cannot read into
    /// the log.
    pub(super) async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        attempt: &Attempt,
    ) -> Result<Option<Value>, Failure> {
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        match self.client.request_text(request).await {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| attempt.unreadable()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(attempt.failed(&error)),
        }
    }
}
