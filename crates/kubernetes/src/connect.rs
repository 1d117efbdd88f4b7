//! How a cluster is reached: the only place where a kube client is built, with its timeouts and without its
//! retries. Sends nothing: the first request is the caller's.

use crate::failure::chain;
use crate::transport;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A server that is there takes a connection at once; a person waits for this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the longest time that an admission webhook may take (30 s), so that a write that will succeed is not
/// given up as unknown.
pub const READ_TIMEOUT: Duration = Duration::from_secs(35);

/// What is reached, as flags say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// `--kubeconfig`; none means `KUBECONFIG` (a list), then `~/.kube/config`, then the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; none means the kubeconfig's current one.
    pub context: Option<String>,
    /// `--namespace`; none means the context's, then `default`.
    pub namespace: Option<String>,
    /// `--user`: a user of the kubeconfig other than the context's.
    pub user: Option<String>,
}

/// A way to one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    /// For requests that are answered and done.
    pub client: Client,
    /// The kubeconfig context's name, or `in-cluster`.
    pub context: String,
    /// The API server's address.
    pub server: String,
    /// The namespace where none is named.
    pub default_namespace: String,
    /// The kubeconfig's name for the user, for want of the API server's own.
    pub user: Option<String>,
    lasting: Arc<OnceLock<Client>>,
    config: Arc<Config>,
}

impl Connection {
    /// A way through a client that somebody else made, such as one whose API server is in this process. It carries
    /// what lasts too.
    pub fn through(client: Client, context: impl Into<String>, server: http::Uri) -> Self {
        Self {
            lasting: Arc::new(OnceLock::from(client.clone())),
            client,
            context: context.into(),
            server: server.to_string().trim_end_matches('/').to_owned(),
            default_namespace: "default".to_owned(),
            user: None,
            config: Arc::new(Config::new(server)),
        }
    }

    /// A client for requests that last (watches, logs that are followed): it has no read timeout. Built when first
    /// asked for.
    ///
    /// # Errors
    /// When the credentials that were readable before are not readable any more.
    pub fn lasting(&self) -> Result<Client, ConnectError> {
        if let Some(client) = self.lasting.get() {
            return Ok(client.clone());
        }
        let mut config = Config::clone(&self.config);
        config.read_timeout = None;
        let client = build(config, &self.context)?;
        Ok(self.lasting.get_or_init(|| client).clone())
    }
}

/// Why no cluster can be reached. Nothing was sent.
#[derive(Debug)]
pub enum ConnectError {
    /// There is no kubeconfig, and this is no pod.
    NoKubeconfig {
        /// The files that were looked for.
        looked_at: Vec<PathBuf>,
    },
    /// A kubeconfig is there and cannot be used.
    Unreadable {
        /// The files.
        paths: Vec<PathBuf>,
        /// Why not.
        source: KubeconfigError,
    },
    /// No context was named, and the kubeconfig has no current one.
    NoContext {
        /// Those that exist.
        known: Vec<String>,
    },
    /// The named context does not exist.
    UnknownContext {
        /// The name.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The named user does not exist.
    UnknownUser {
        /// The name.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The context exists, and what it refers to does not, or cannot be used.
    Broken {
        /// The context.
        context: String,
        /// Why not, one line.
        why: String,
    },
}

impl ConnectError {
    /// What a person can type or do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoKubeconfig { .. } => "name one with --kubeconfig FILE or KUBECONFIG".to_owned(),
            Self::Unreadable { .. } => "check it with: kubectl config view".to_owned(),
            Self::NoContext { known } | Self::UnknownContext { known, .. } => {
                format!("name one with --context; there {}", are(known))
            }
            Self::UnknownUser { known, .. } => format!("name one with --user; there {}", are(known)),
            Self::Broken { context, .. } => {
                format!("check it with: kubectl --context {context} config view --minify")
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKubeconfig { looked_at } if looked_at.is_empty() => write!(f, "there is no kubeconfig"),
            Self::NoKubeconfig { looked_at } => {
                write!(f, "there is no kubeconfig: {} does not exist", paths(looked_at))
            }
            Self::Unreadable { paths: files, source } => {
                write!(f, "kubeconfig {} cannot be used: {}", paths(files), chain(source))
            }
            Self::NoContext { .. } => write!(f, "the kubeconfig has no current context"),
            Self::UnknownContext { name, .. } => write!(f, "the kubeconfig has no context `{name}`"),
            Self::UnknownUser { name, .. } => write!(f, "the kubeconfig has no user `{name}`"),
            Self::Broken { context, why } => write!(f, "context `{context}` cannot be used: {why}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Finds the cluster and builds its client. Reads files and the environment, and runs the kubeconfig's credential
/// program where it names one; asks the API server nothing.
///
/// # Errors
/// When no cluster is named, or the one that is named cannot be made out.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let looked_at = candidates(options);
    let files: Vec<PathBuf> = looked_at.iter().filter(|path| path.exists()).cloned().collect();
    let mut found = if files.is_empty() {
        match (&options.kubeconfig, Config::incluster()) {
            (None, Ok(config)) => Found {
                config,
                context: "in-cluster".to_owned(),
                user: None,
            },
            _ => return Err(ConnectError::NoKubeconfig { looked_at }),
        }
    } else {
        from_files(options, &files).await?
    };
    found.config.connect_timeout = Some(CONNECT_TIMEOUT);
    found.config.read_timeout = Some(READ_TIMEOUT);
    found.config.reset_reader_on_write = true;
    // kube retries every method on 429, 503 and 504 by itself, a write among them, beneath the journal.
    found.config.default_retry = false;
    if let Some(namespace) = &options.namespace {
        found.config.default_namespace.clone_from(namespace);
    }
    Ok(Connection {
        client: build(found.config.clone(), &found.context)?,
        server: found
            .config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned(),
        default_namespace: found.config.default_namespace.clone(),
        context: found.context,
        user: found.user,
        lasting: Arc::default(),
        config: Arc::new(found.config),
    })
}

struct Found {
    config: Config,
    context: String,
    user: Option<String>,
}

fn build(config: Config, context: &str) -> Result<Client, ConnectError> {
    let built = match config.proxy_url {
        Some(_) => Client::try_from(config),
        None => transport::client(config),
    };
    built.map_err(|error| ConnectError::Broken {
        context: context.to_owned(),
        why: chain(&error),
    })
}

/// The files to look at, in the order in which they are merged. As kubectl does it, those of `KUBECONFIG` that do
/// not exist are passed over.
fn candidates(options: &ConnectOptions) -> Vec<PathBuf> {
    if let Some(path) = &options.kubeconfig {
        return vec![path.clone()];
    }
    let list: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|value| {
            std::env::split_paths(&value)
                .filter(|path| !path.as_os_str().is_empty())
                .collect()
        })
        .unwrap_or_default();
    if !list.is_empty() {
        return list;
    }
    std::env::home_dir()
        .map(|home| home.join(".kube").join("config"))
        .into_iter()
        .collect()
}

async fn from_files(options: &ConnectOptions, files: &[PathBuf]) -> Result<Found, ConnectError> {
    let unreadable = |source| ConnectError::Unreadable {
        paths: files.to_vec(),
        source,
    };
    let kubeconfig = files
        .iter()
        .try_fold(Kubeconfig::default(), |merged, path| {
            merged.merge(Kubeconfig::read_from(path)?)
        })
        .map_err(unreadable)?;
    let known: Vec<String> = sorted(kubeconfig.contexts.iter().map(|context| context.name.clone()));
    let current = kubeconfig.current_context.clone().filter(|name| !name.is_empty());
    let Some(name) = options.context.clone().or(current) else {
        return Err(ConnectError::NoContext { known });
    };
    let Some(context) = kubeconfig.contexts.iter().find(|named| named.name == name) else {
        return Err(ConnectError::UnknownContext { name, known });
    };
    let context = context.context.clone().unwrap_or_default();
    let users: Vec<String> = sorted(kubeconfig.auth_infos.iter().map(|user| user.name.clone()));
    if let Some(user) = &options.user
        && !users.contains(user)
    {
        return Err(ConnectError::UnknownUser {
            name: user.clone(),
            known: users,
        });
    }
    let own_proxy = kubeconfig
        .clusters
        .iter()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.as_ref()?.proxy_url.clone())
        .is_some_and(|url| !url.is_empty());
    let chosen = KubeConfigOptions {
        context: Some(name.clone()),
        cluster: None,
        user: options.user.clone(),
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &chosen)
        .await
        .map_err(|error| ConnectError::Broken {
            context: name.clone(),
            why: chain(&error),
        })?;
    if !own_proxy && config.proxy_url.is_some() && goes_direct(config.cluster_url.host(), &no_proxy()) {
        config.proxy_url = None;
    }
    Ok(Found {
        config,
        context: name,
        user: options.user.clone().or(context.user),
    })
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn no_proxy() -> String {
    std::env::var("NO_PROXY")
        .or_else(|_| std::env::var("no_proxy"))
        .unwrap_or_default()
}

/// Whether a host is reached without the proxy of the environment. kube compares `NO_PROXY` with the proxy's own
/// address; this compares it with the server's, as kubectl does. Source: Go's `golang.org/x/net/http/httpproxy`.
fn goes_direct(host: Option<&str>, no_proxy: &str) -> bool {
    let Some(host) = host.map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase()) else {
        return false;
    };
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy
        .split(',')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
        .any(|rule| {
            let rule = rule.to_ascii_lowercase();
            match (rule.split_once('/'), address) {
                (Some((net, bits)), Some(address)) => in_network(address, net, bits),
                (None, _) if rule == "*" => true,
                (None, _) => {
                    let name = rule.trim_start_matches('.');
                    (host == name && !rule.starts_with('.')) || host.ends_with(&format!(".{name}"))
                }
                (Some(_), None) => false,
            }
        })
}

fn in_network(address: IpAddr, net: &str, bits: &str) -> bool {
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(net)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        _ => false,
    }
}

fn are(names: &[String]) -> String {
    match names {
        [] => "is none".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

fn paths(files: &[PathBuf]) -> String {
    files
        .iter()
        .map(|path| Path::display(path).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_compared_with_the_server() {
        let check = |host: &str, rules: &str, direct: bool| {
            assert_eq!(goes_direct(Some(host), rules), direct, "{host} under {rules:?}");
        };
        check("127.0.0.1", "", true);
        check("10.1.2.3", "", false);
        check("10.1.2.3", "10.0.0.0/8", true);
        check("11.1.2.3", "10.0.0.0/8", false);
        check("10.1.2.3", "192.0.2.1, 10.1.2.3", true);
        check("api.prod.example", "example", true);
        check("api.prod.example", ".prod.example", true);
        check("prod.example", ".prod.example", false);
        check("notexample", "example", false);
        check("api.prod.example", "*", true);
        check("fd00::1", "fd00::/8", true);
    }

    #[test]
    fn an_unknown_context_is_told_with_those_that_exist() {
        let error = ConnectError::UnknownContext {
            name: "prd".to_owned(),
            known: vec!["prod".to_owned(), "stage".to_owned()],
        };
        assert_eq!(error.to_string(), "the kubeconfig has no context `prd`");
        assert_eq!(error.hint(), "name one with --context; there are prod, stage");
    }
}
