//! The shape of `astern.yaml`, key by key, as it is read and as its JSON Schema is made from it. Owns no rule that
//! needs two keys at once: those are in `check`.

use crate::duration;
use crate::platform::secret::RestoreSecret;
use astern_model::policy::{Acceptor, OnFailure, Say, When};
use astern_model::target::WorkloadKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::Error as CaptureError;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

/// What `kind` must say.
pub(crate) const KIND: &str = "Platform";

/// The first keys alone, so that another kind of file is recognised before its keys are called unknown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) api_version: Option<At<String>>,
    pub(crate) kind: Option<At<String>>,
}

/// What astern is to know about one platform: what is rolled back together, how service is proven, what is allowed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "astern.yaml")]
pub(crate) struct PlatformFile {
    /// The version of this format.
    #[serde(rename = "apiVersion")]
    #[schemars(extend("const" = crate::envelope::API_VERSION))]
    pub(crate) _api_version: String,
    /// What kind of document this is.
    #[serde(rename = "kind")]
    #[schemars(extend("const" = KIND))]
    pub(crate) _kind: String,
    /// Who it is.
    pub(crate) metadata: Metadata,
    /// What it is.
    pub(crate) spec: Spec,
}

/// Who it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    /// The platform's name: what a person types to confirm a loss of data.
    #[schemars(length(min = 1))]
    pub(crate) name: At<String>,
}

/// What it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    /// Where the workloads live.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) namespace: At<String>,
    /// Pins the cluster: any other one is refused.
    pub(crate) cluster: Option<Cluster>,
    /// What is rolled back together. Without it: every workload of the namespace.
    pub(crate) workloads: Option<Vec<Workload>>,
    /// What goes back of ConfigMaps and Secrets with a release. ConfigMaps do unless said otherwise.
    pub(crate) config: Option<Config>,
    /// Whoever would write the platform back: Argo CD, Flux.
    pub(crate) owners: Option<Owners>,
    /// The Git folders that workloads are deployed from: `astern writeback` says there what a run took back. Without them it is
    /// what Argo CD or Flux say.
    pub(crate) sources: Option<Vec<Source>>,
    /// How helm is told to roll a release back.
    pub(crate) helm: Option<Helm>,
    /// How long service may be away: every plan's forecast is held against it.
    pub(crate) rto: Option<Rto>,
    /// What counts as recovered.
    pub(crate) validation: Option<Validation>,
    /// What the platform's owners allow.
    pub(crate) policy: Option<Policy>,
}

/// Which cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Cluster {
    /// The UID of its namespace `kube-system`.
    #[schemars(length(min = 1))]
    pub(crate) uid: At<String>,
}

/// How helm is told to roll a release back: helm's own way unless said otherwise.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Helm {
    /// `--timeout`: how long helm may take for one operation, such as a hook; `5m` unless said otherwise.
    pub(crate) timeout: Option<At<String>>,
    /// `--wait`: helm itself waits until what it has written is ready, and calls the revision failed where it is not.
    pub(crate) wait: Option<bool>,
    /// `--cleanup-on-fail`: helm deletes what it has made anew in a rollback that fails.
    pub(crate) cleanup_on_fail: Option<bool>,
    /// `--force-conflicts`: helm 4 writes also what somebody else manages meanwhile, of releases that it applies on the
    /// server. True unless said otherwise: the plan has shown what stands, and without it the rollback stops half way.
    pub(crate) force_conflicts: Option<bool>,
}

/// Whoever would write the platform back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Owners {
    /// For how long an owner that a run has paused may stay so before it is told as overdue; `24h` unless said otherwise.
    pub(crate) guard: Option<At<String>>,
    /// Where Argo CD's Applications lie.
    pub(crate) argocd: Option<ArgoCd>,
}

/// Where Argo CD's Applications lie.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ArgoCd {
    /// The kubeconfig's context of the cluster that has them, where it is not the platform's own: a hub.
    #[schemars(length(min = 1))]
    pub(crate) context: Option<At<String>>,
    /// Their namespace; `argocd` unless said otherwise.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) namespace: Option<At<String>>,
    /// Argo CD's own API server, asked instead of a cluster: `https://argocd.example`.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) server: Option<At<String>>,
    /// With `server`: where the token of an account there is found; never the token itself.
    pub(crate) token_from: Option<At<Token>>,
    /// With `server`: a file with the certificates that its own is signed with, in PEM; those that this machine trusts unless said
    /// otherwise.
    #[schemars(length(min = 1))]
    pub(crate) ca_file: Option<At<String>>,
}

/// One workload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Workload {
    /// Its `metadata.name`.
    #[schemars(length(min = 1, max = 253))]
    pub(crate) name: At<String>,
    /// Its kind; `Deployment` unless said otherwise.
    pub(crate) kind: Option<Word<WorkloadKind>>,
    /// The workloads that it calls: it is taken back after these. A name, or `statefulset/name` where two kinds
    /// share one.
    pub(crate) depends_on: Option<Vec<At<String>>>,
    /// Whether it takes in what changes in its ConfigMaps and Secrets by itself; `false` unless said otherwise. It is then
    /// not restarted for them.
    pub(crate) reloads: Option<bool>,
    /// Whether it is stopped before a rollback writes anything of it, and started again with the same count afterwards; `false`
    /// unless said otherwise. For a service of which two versions must not run beside each other.
    pub(crate) stops: Option<bool>,
    /// How its service is asked whether it works.
    pub(crate) probes: Option<Vec<Probe>>,
}

/// What goes back of ConfigMaps and Secrets with a release.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// The Secrets that go back; none unless said otherwise, since a credential may have been rotated since, and the one of
    /// then does not work any more. Each with `probe`, or with `rotates: false`; by its name alone it is refused when it
    /// would go back.
    pub(crate) restore_secrets: Option<Vec<RestoreSecret>>,
}

/// A folder of a Git repository that workloads are deployed from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    /// The repository's address (https, ssh, git, file), without a password.
    #[schemars(length(min = 1))]
    pub(crate) repository: At<String>,
    /// The branch that is deployed; `main` unless said otherwise. Nothing is pushed to it.
    #[schemars(length(min = 1))]
    pub(crate) branch: Option<At<String>>,
    /// The folder, relative to the root; the root unless said otherwise.
    pub(crate) path: Option<At<String>>,
    /// What the folder holds; unless said otherwise, a kustomization where there is one, else manifests.
    pub(crate) kind: Option<Word<SourceWord>>,
    /// The workloads that are made from it; all unless said otherwise. A name, or `statefulset/name`.
    pub(crate) workloads: Option<Vec<At<String>>>,
    /// With `helm-values` and `helm-release`: where images stand.
    pub(crate) values: Option<Values>,
    /// Where the token for the repository and its pull requests is found; never the token itself. Without it, git's own
    /// credentials.
    pub(crate) token: Option<At<Token>>,
    /// Where pull requests are opened; for a repository of github.com, there.
    pub(crate) pull_requests: Option<PullRequests>,
}

/// What a source's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceWord {
    Manifests,
    Kustomize,
    HelmValues,
    HelmRelease,
}

/// Where images stand in a chart's values.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Values {
    /// With `helm-values`: the file, relative to the folder; `values.yaml` unless said otherwise.
    #[schemars(length(min = 1))]
    pub(crate) file: Option<At<String>>,
    /// With `helm-release`: the name of the HelmRelease.
    #[schemars(length(min = 1))]
    pub(crate) release: Option<At<String>>,
    /// The places; `image.repository` and `image.tag` unless said otherwise.
    pub(crate) images: Option<Vec<ValuesImage>>,
}

/// Where one image stands: keys from the root, joined by dots.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ValuesImage {
    /// The container that it is for; any unless said otherwise.
    #[schemars(length(min = 1))]
    pub(crate) container: Option<At<String>>,
    /// The place of the repository; none where the chart fixes it.
    #[schemars(length(min = 1))]
    pub(crate) repository: Option<At<String>>,
    /// The place of the tag.
    #[schemars(length(min = 1))]
    pub(crate) tag: At<String>,
}

/// Where a token is found: `{env: NAME}` or `{file: PATH}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["env"]}, {"required": ["file"]}]))]
pub(crate) struct Token {
    /// An environment variable of the process.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub(crate) env: Option<At<String>>,
    /// A file; a trailing line end is dropped.
    #[schemars(length(min = 1))]
    pub(crate) file: Option<At<String>>,
}

/// Where pull requests are opened, by GitHub's REST API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PullRequests {
    /// The API's address; `https://api.github.com` unless said otherwise.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) api: Option<At<String>>,
    /// `OWNER/NAME` there.
    #[schemars(regex(pattern = "^[^/]+/[^/]+$"))]
    pub(crate) repository: At<String>,
}

/// An HTTP request that tells whether a service works. It goes to `path` and `port` of a Service, through the API
/// server, or to a `url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["url"]}, {"required": ["path", "port"]}]))]
pub(crate) struct Probe {
    /// Its name in reports.
    #[schemars(length(min = 1))]
    pub(crate) name: At<String>,
    /// The Service; the one of the workload's name unless said otherwise.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) service: Option<At<String>>,
    /// The path, with a leading `/`.
    #[schemars(regex(pattern = "^/"))]
    pub(crate) path: Option<At<String>>,
    /// The Service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) port: Option<At<i64>>,
    /// An address that is asked directly.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) url: Option<At<String>>,
    /// What it must answer.
    pub(crate) expect: Option<Expect>,
    /// Where the bearer token is found; never the token itself.
    pub(crate) bearer: Option<At<Bearer>>,
}

/// What a probe must answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expect {
    /// The HTTP status; 200 unless said otherwise.
    #[schemars(range(min = 100, max = 599))]
    pub(crate) status: Option<At<i64>>,
    /// A value inside the JSON answer.
    pub(crate) json: Option<ExpectJson>,
    /// A header of the answer.
    pub(crate) header: Option<ExpectHeader>,
}

/// A value inside a JSON answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpectJson {
    /// A JSON pointer (RFC 6901): `/status`; empty for the whole answer.
    #[schemars(regex(pattern = "^(/.*)?$"))]
    pub(crate) path: At<String>,
    /// The value that must stand there.
    pub(crate) equals: Value,
}

/// A header of an answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpectHeader {
    /// Its name, in any case.
    #[schemars(length(min = 1))]
    pub(crate) name: At<String>,
    /// Its value.
    pub(crate) equals: String,
}

/// Where a bearer token is found: `{secret, key}`, `{env: NAME}` or `{file: PATH}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["env"]}, {"required": ["file"]}, {"required": ["secret", "key"]}]))]
pub(crate) struct Bearer {
    /// An environment variable of the process.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub(crate) env: Option<At<String>>,
    /// A file; a trailing line end is dropped.
    #[schemars(length(min = 1))]
    pub(crate) file: Option<At<String>>,
    /// A Kubernetes Secret in the platform's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub(crate) secret: Option<At<String>>,
    /// The key in that Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub(crate) key: Option<At<String>>,
}

/// Times within which service must be back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rto {
    /// For the application; 15m unless said otherwise.
    #[schemars(with = "DurationText")]
    pub(crate) application: At<String>,
}

/// What counts as recovered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Validation {
    /// How long everything must hold after the last workload serves; 5m unless said otherwise.
    #[schemars(with = "DurationText")]
    pub(crate) soak: At<String>,
}

/// What the owners allow. What is not said keeps its default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Policy {
    /// A revision that was the newest for this long before its successor is presumed good; 30m unless said otherwise.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) presumed_good_after: Option<At<String>>,
    /// A recorded release that served healthily for this long becomes good; 30m unless said otherwise.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) bake: Option<At<String>>,
    /// Who may go back to a revision that is only presumed good; both unless said otherwise.
    pub(crate) accept_presumed: Option<Vec<Word<Acceptor>>>,
    /// What a failed step leads to once a workload was restored; `hold` unless said otherwise.
    pub(crate) on_failure: Option<Word<OnFailure>>,
    /// How error lines in logs are counted and judged.
    pub(crate) logs: Option<Logs>,
    /// Image tags that say nothing, because somebody may move them. Replaces the default list.
    pub(crate) mutable_tags: Option<Vec<String>>,
    /// How long a plan may wait before it starts; 60m unless said otherwise.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) plan_expiry: Option<At<String>>,
    /// Rows of the decision matrix: one with the id of a default row replaces it, any other is added.
    pub(crate) matrix: Option<Vec<Row>>,
}

/// How error lines in logs are counted and judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Logs {
    /// Words that make a line an error line, as whole words in any case. Replaces the default list.
    pub(crate) words: Option<At<Vec<At<String>>>>,
    /// The window that is looked at; 5m unless said otherwise.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) window: Option<At<String>>,
    /// With old pods still there: bad at this many times their rate; 3 unless said otherwise.
    #[schemars(range(min = 1))]
    pub(crate) times_former: Option<At<f64>>,
    /// … and at least this many error lines a minute and pod; 1 unless said otherwise.
    #[schemars(range(min = 0))]
    pub(crate) at_least_per_minute: Option<At<f64>>,
    /// Without old pods: bad from this many error lines a minute and pod; 10 unless said otherwise.
    #[schemars(range(min = 0))]
    pub(crate) absolute_per_minute: Option<At<f64>>,
}

/// A row of the decision matrix.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Row {
    /// Its id, as `--override-decision` takes it.
    #[schemars(length(min = 1))]
    pub(crate) id: At<String>,
    /// When it fires.
    pub(crate) when: Word<When>,
    /// What it then says.
    pub(crate) then: Word<Say>,
    /// One sentence for a person.
    pub(crate) because: String,
}

/// A value and where it stands in the file. Lines and columns count from 1, in characters.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(from)?;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (line, column) = (
            count(spanned.referenced.line()),
            count(spanned.referenced.column()),
        );
        Ok(Self {
            value: spanned.value,
            line,
            column,
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// One of a closed set of words: an enum of the model. Its schema lists the words that serde itself would take.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Word<T>(pub(crate) T);

impl<T: DeserializeOwned> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": words::<T>()})
    }
}

/// The words of an enum without data, in the order of its variants. Empty for any other type.
pub(crate) fn words<T: DeserializeOwned>() -> Vec<&'static str> {
    let mut capture = Capture {
        words: Vec::new(),
        of: PhantomData::<T>,
    };
    // The answer is the words that were asked for; that there is no value to answer with is the point.
    let _ = T::deserialize(&mut capture);
    capture.words
}

struct Capture<T> {
    words: Vec<&'static str>,
    of: PhantomData<T>,
}

impl<'de, T> Deserializer<'de> for &mut Capture<T> {
    type Error = CaptureError;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.words = variants.to_vec();
        Err(serde::de::Error::custom("only the words were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("not an enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A duration in the schema.
pub(crate) struct DurationText;

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "pattern": duration::PATTERN, "examples": ["90s", "15m", "1h30m"]})
    }
}
