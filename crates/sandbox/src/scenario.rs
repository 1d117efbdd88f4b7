//! A scenario: what a cluster went through until now, as data. Reads it and stages it; shows nothing.

use crate::api::{Answer, Request, Response};
use crate::behaviour::Behaviours;
use crate::cluster::{Autoscaling, Cluster, NodeSpec, Options};
use crate::object::{set, text};
use crate::traffic::Traffic;
use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;

/// What `kubectl apply` leaves on what it wrote.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// A scenario rests on at most so many others, so that a circle ends.
const BASES: usize = 8;

/// What a cluster went through, and how its containers behave.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What is the matter, in one sentence.
    pub says: String,
    /// The file of a scenario whose nodes, behaviours and history come first.
    #[serde(default)]
    pub base: Option<String>,
    /// The nodes, by name; the base's, or three.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// The requests that Services get; the base's come as well.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// How containers behave; looked at before the base's.
    #[serde(default)]
    pub behaviours: Behaviours,
    /// What happened, oldest first.
    #[serde(default)]
    pub history: Vec<Moment>,
    /// What happened last. Whoever shows the story may stop before it and then let it happen.
    #[serde(default)]
    pub then: Option<Then>,
}

/// The end of a story.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Then {
    /// What happens, in one sentence.
    pub says: String,
    /// The moments, after all of the history.
    pub history: Vec<Moment>,
    /// What happened after that.
    #[serde(default)]
    pub then: Option<Box<Then>>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Moment {
    /// How long ago.
    pub ago: SignedDuration,
    /// Files whose objects were applied.
    #[serde(default)]
    pub apply: Vec<String>,
    /// Objects that were applied, written here.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// Changes to objects that were there.
    #[serde(default)]
    pub patch: Vec<Patched>,
    /// Objects that were deleted.
    #[serde(default)]
    pub delete: Vec<Named>,
    /// Pods that were deleted, as where their nodes are drained.
    #[serde(default)]
    pub evict: Vec<Labelled>,
}

/// All pods of a namespace with a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Labelled {
    /// Their namespace.
    pub namespace: String,
    /// `app=api`, as kubectl takes it.
    pub selector: String,
}

/// An object, by its coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its namespace; none for what has none.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A change to an object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patched {
    /// Which object.
    pub object: Named,
    /// The strategic merge patch.
    pub with: Value,
}

/// Why a scenario cannot be staged. Nothing is half-staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioError {
    /// A file cannot be had.
    Unreadable {
        /// Its name.
        file: String,
        /// Why not.
        why: String,
    },
    /// A file is not what it should be.
    Malformed {
        /// Its name.
        file: String,
        /// What is wrong, with line and caret.
        why: String,
    },
    /// Each of these files rests on the next.
    Circle(Vec<String>),
    /// The cluster refused something.
    Refused {
        /// What was asked of it.
        what: String,
        /// Its answer.
        why: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, why } => write!(f, "{file} cannot be read: {why}"),
            Self::Malformed { file, why } => write!(f, "{file}: {why}"),
            Self::Circle(files) => write!(
                f,
                "scenarios rest on each other in a circle: {}",
                files.join(" → ")
            ),
            Self::Refused { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for ScenarioError {}

/// How the text of a file is had, by its name.
pub type Files<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

impl Scenario {
    /// Reads a scenario and those that it rests on.
    ///
    /// # Errors
    /// When a file cannot be had or is malformed, or the bases go in a circle.
    pub fn read(file: &str, files: &Files<'_>) -> Result<Self, ScenarioError> {
        let mut chain = vec![file.to_owned()];
        let mut scenario: Self = one(file, files)?;
        while let Some(base) = scenario.base.take() {
            if chain.contains(&base) || chain.len() > BASES {
                chain.push(base);
                return Err(ScenarioError::Circle(chain));
            }
            let base_scenario: Self = one(&base, files)?;
            chain.push(base);
            scenario = scenario.on(base_scenario);
        }
        Ok(scenario)
    }

    fn on(mut self, mut base: Self) -> Self {
        if self.nodes.is_empty() {
            self.nodes = base.nodes;
        }
        self.behaviours.rules.append(&mut base.behaviours.rules);
        if self.behaviours.otherwise == Default::default() {
            self.behaviours.otherwise = base.behaviours.otherwise;
        }
        self.traffic.append(&mut base.traffic);
        base.history.append(&mut self.history);
        Self {
            base: base.base,
            history: base.history,
            then: self.then.or(base.then),
            ..self
        }
    }

    /// A cluster that has gone through all of it by `now`. The same seed and times make the same cluster.
    ///
    /// # Errors
    /// When a file cannot be had, or the cluster refuses what the scenario asks of it.
    pub fn stage(&self, seed: u64, now: Timestamp, files: &Files<'_>) -> Result<Cluster, ScenarioError> {
        let then = self.then.iter().flat_map(Then::each);
        let then = then.flat_map(|then| &then.history);
        self.play(self.history.iter().chain(then), seed, now, files)
    }

    /// The same, stopped before [`Scenario::then`].
    ///
    /// # Errors
    /// As [`Scenario::stage`].
    pub fn stage_until_then(
        &self,
        seed: u64,
        now: Timestamp,
        files: &Files<'_>,
    ) -> Result<Cluster, ScenarioError> {
        self.play(self.history.iter(), seed, now, files)
    }

    fn play<'a>(
        &self,
        history: impl Iterator<Item = &'a Moment>,
        seed: u64,
        now: Timestamp,
        files: &Files<'_>,
    ) -> Result<Cluster, ScenarioError> {
        let mut options = Options {
            seed,
            behaviours: self.behaviours.clone(),
            traffic: self.traffic.clone(),
            autoscaling: if self.traffic.is_empty() {
                Autoscaling::Nowhere
            } else {
                Autoscaling::ByTraffic
            },
            ..Options::default()
        };
        if !self.nodes.is_empty() {
            options.nodes = self.nodes.iter().map(NodeSpec::named).collect();
        }
        let mut history: Vec<&Moment> = history.collect();
        history.sort_by_key(|moment| std::cmp::Reverse(moment.ago));
        let at = |moment: &Moment| now.checked_sub(moment.ago).unwrap_or(Timestamp::MIN);
        let begin = history.first().map_or(now, |moment| at(moment));
        let mut cluster = Cluster::new(options, begin);
        for moment in history {
            let now = at(moment);
            cluster.advance(now);
            let mut stage = Stage {
                cluster: &mut cluster,
                now,
            };
            stage.play(moment, files)?;
        }
        cluster.advance(now);
        Ok(cluster)
    }
}

impl Then {
    /// This part of the story and those that follow, in order.
    pub fn each(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |then| then.then.as_deref())
    }

    /// Lets all of it happen at once.
    ///
    /// # Errors
    /// When a file cannot be had, or the cluster refuses what the scenario asks of it.
    pub fn happen(
        &self,
        cluster: &mut Cluster,
        now: Timestamp,
        files: &Files<'_>,
    ) -> Result<(), ScenarioError> {
        let mut stage = Stage { cluster, now };
        self.history
            .iter()
            .try_for_each(|moment| stage.play(moment, files))
    }
}

fn text_of(file: &str, files: &Files<'_>) -> Result<String, ScenarioError> {
    files(file).map_err(|why| ScenarioError::Unreadable {
        file: file.to_owned(),
        why,
    })
}

fn one<T: DeserializeOwned>(file: &str, files: &Files<'_>) -> Result<T, ScenarioError> {
    serde_saphyr::from_str(&text_of(file, files)?).map_err(|error| ScenarioError::Malformed {
        file: file.to_owned(),
        why: error.to_string(),
    })
}

/// The objects of a YAML file with any number of documents; a `List` is its items.
fn manifests(file: &str, files: &Files<'_>) -> Result<Vec<Value>, ScenarioError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text_of(file, files)?).map_err(|error| ScenarioError::Malformed {
            file: file.to_owned(),
            why: error.to_string(),
        })?;
    let items = |document: Value| match document.get("items") {
        Some(Value::Array(items)) => items.clone(),
        _ => vec![document],
    };
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .flat_map(items)
        .collect())
}

/// The cluster while its past is played.
struct Stage<'a> {
    cluster: &'a mut Cluster,
    now: Timestamp,
}

impl Stage<'_> {
    fn play(&mut self, moment: &Moment, files: &Files<'_>) -> Result<(), ScenarioError> {
        for file in &moment.apply {
            for object in manifests(file, files)? {
                self.apply(object)?;
            }
        }
        for object in &moment.objects {
            self.apply(object.clone())?;
        }
        for patched in &moment.patch {
            let path = self.path(&patched.object)?;
            self.send(
                Method::PATCH,
                &path,
                "application/strategic-merge-patch+json",
                &patched.with,
            )?;
        }
        for named in &moment.delete {
            let path = self.path(named)?;
            self.send(Method::DELETE, &path, "application/json", &json!({}))?;
        }
        for labelled in &moment.evict {
            let path = format!(
                "/api/v1/namespaces/{}/pods?labelSelector={}",
                labelled.namespace, labelled.selector
            );
            self.send(Method::DELETE, &path, "application/json", &json!({}))?;
        }
        Ok(())
    }

    /// As `kubectl apply` does it, but that what an earlier manifest said and this one does not stays.
    fn apply(&mut self, mut object: Value) -> Result<(), ScenarioError> {
        let named = Named {
            api_version: text(&object, "apiVersion").to_owned(),
            kind: text(&object, "kind").to_owned(),
            namespace: text(&object, "metadata.namespace").to_owned(),
            name: text(&object, "metadata.name").to_owned(),
        };
        let path = self.path(&named)?;
        let mut applied = object.to_string();
        applied.push('\n');
        if object.pointer("/metadata/annotations").is_none() {
            set(&mut object, "metadata.annotations", json!({}));
        }
        object["metadata"]["annotations"][LAST_APPLIED] = Value::String(applied);
        let there = self.ask(Method::GET, &path, "", Bytes::new()).code == 200;
        if there {
            self.send(Method::PATCH, &path, "application/merge-patch+json", &object)
        } else {
            let collection = path
                .rsplit_once('/')
                .map_or(path.as_str(), |(collection, _)| collection)
                .to_owned();
            self.send(Method::POST, &collection, "application/json", &object)
        }
    }

    fn path(&self, named: &Named) -> Result<String, ScenarioError> {
        let kind = self
            .cluster
            .kinds
            .of(&named.api_version, &named.kind)
            .ok_or_else(|| ScenarioError::Refused {
                what: format!("{} {}", named.kind, named.name),
                why: format!("the sandbox has no kind {} of {}", named.kind, named.api_version),
            })?;
        let group = if named.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        let namespace = if kind.namespaced {
            let namespace = if named.namespace.is_empty() {
                "default"
            } else {
                &named.namespace
            };
            format!("/namespaces/{namespace}")
        } else {
            String::new()
        };
        Ok(format!(
            "/{group}/{}{namespace}/{}/{}",
            named.api_version, kind.plural, named.name
        ))
    }

    fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<(), ScenarioError> {
        let what = format!("{method} {path}");
        let response = self.ask(method, path, content_type, body.to_string().into());
        if response.code < 300 {
            return Ok(());
        }
        let status: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        Err(ScenarioError::Refused {
            what,
            why: text(&status, "message").to_owned(),
        })
    }

    fn ask(&mut self, method: Method, path: &str, content_type: &str, body: Bytes) -> Response {
        let (path, query) = path
            .split_once('?')
            .unwrap_or((path, "fieldManager=kubectl-client-side-apply"));
        let request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            content_type: content_type.to_owned(),
            body,
            ..Request::default()
        };
        match self.cluster.handle(self.now, &request) {
            Answer::Whole(response) => response,
            Answer::Stream(_) => unreachable!("BUG: nothing here asks for a stream"),
        }
    }
}
