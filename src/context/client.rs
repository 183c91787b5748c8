//! The one client: kubectl's connection rules, bounded concurrency, a time limit for every request, retries where
//! the server asks for them, and a count of what was sent.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Method, Request};
use kube::Config;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use secrecy::SecretString;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service};

use super::kubeconfig::{self, KubeconfigProblem};
use super::retry::Patience;
use crate::cli::ConnectionArgs;
use crate::execute::operation::guard::Guard;

/// Time limit of one request until its answer begins, unless `--request-timeout` says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig could not be read or does not hold what was asked for.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigProblem),
    /// There is no kubeconfig, and this is no pod either.
    #[error("no kubeconfig found (KUBECONFIG, ~/.kube/config), and not running in a pod")]
    NothingFound,
    /// The server of the kubeconfig or of `--server` is not a URL.
    #[error("{0:?} is not the address of an API server, as in https://api.example.com:6443")]
    Server(String),
    /// A file named on the command line cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Nobody vouches for us.
    #[error("cannot log in: {0}")]
    LogIn(String),
    /// TLS or proxy settings do not fit.
    #[error("cannot set up the connection")]
    Client(#[source] kube::Error),
}

impl From<kube::Error> for ConnectError {
    fn from(error: kube::Error) -> Self {
        kubeconfig::of_log_in(&error).map_or(Self::Client(error), Self::LogIn)
    }
}

impl ConnectError {
    /// What to run next.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Kubeconfig(KubeconfigProblem::NoContext { .. }) => "kubectl config use-context NAME",
            Self::LogIn(_) => "log in as your cluster's provider asks for, then: kubectl auth whoami",
            Self::Server(_) => "kubectl config view --minify",
            _ => "kubectl config get-contexts",
        }
    }
}

/// What was sent so far.
#[derive(Debug, Default)]
pub struct RequestCounts {
    /// Requests as the code asked for them.
    pub total: AtomicU64,
    /// Those among them that can change the cluster: not GET, not `dryRun=All`, not an access review.
    pub writes: AtomicU64,
    /// Requests on the wire, repeats included.
    pub attempts: AtomicU64,
}

impl RequestCounts {
    /// How often a request was sent again.
    pub fn retries(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed).saturating_sub(self.total.load(Ordering::Relaxed))
    }
}

/// Whether a request can change the cluster.
pub(crate) fn is_write<B>(request: &Request<B>) -> bool {
    let uri = request.uri();
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !uri.query().is_some_and(|query| query.contains("dryRun=All"))
        && !uri.path().contains("/authorization.k8s.io/")
}

/// A connection ready for use.
pub struct Connection {
    /// The client. Its writes pass the gate of the operation that runs.
    pub client: kube::Client,
    /// The same connection without the gate, for the operation's own lock and journal.
    pub bare: kube::Client,
    /// The gate.
    pub guard: Arc<Guard>,
    /// The context's name.
    pub context_name: String,
    /// The namespace: from the flag, else the context's.
    pub namespace: String,
    /// Counts of this client's requests.
    pub requests: Arc<RequestCounts>,
}

/// Connects as the arguments and the kubeconfig say. Sends nothing yet.
pub async fn connect(arguments: &ConnectionArgs, concurrency: u16) -> Result<Connection, ConnectError> {
    let (mut config, context_name) = load(arguments).await?;
    override_config(&mut config, arguments)?;
    // Anything else makes the client panic, or fail with words that nobody understands.
    let is_address = matches!(config.cluster_url.scheme_str(), Some("http" | "https"))
        && config.cluster_url.host().is_some_and(|host| !host.is_empty());
    if !is_address {
        return Err(ConnectError::Server(config.cluster_url.to_string()));
    }
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let time_limit = arguments
        .request_timeout
        .map(|limit| limit.0)
        .filter(|limit| !limit.is_zero())
        .unwrap_or(REQUEST_TIMEOUT);
    let requests = Arc::new(RequestCounts::default());
    let bare = ClientBuilder::try_from(config)?
        .with_layer(&TimeoutLayer::new(time_limit))
        .with_layer(&CountLayer { counts: requests.clone(), on_the_wire: true })
        .with_layer(&BufferLayer::new(1024))
        .with_layer(&RetryLayer::new(Patience::new()))
        .with_layer(&CountLayer { counts: requests.clone(), on_the_wire: false })
        .with_layer(&ConcurrencyLimitLayer::new(usize::from(concurrency)))
        .build();
    let guard = Arc::new(Guard::default());
    let client = guarded(&bare, &guard, &namespace);
    Ok(Connection { client, bare, guard, context_name, namespace, requests })
}

/// A client whose writes pass a gate before they are sent by another.
pub fn guarded(bare: &kube::Client, guard: &Arc<Guard>, namespace: &str) -> kube::Client {
    let (bare, guard) = (bare.clone(), guard.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (bare, guard) = (bare.clone(), guard.clone());
        async move { guard.pass(&bare, request).await }
    });
    kube::Client::new(service, namespace)
}

async fn load(arguments: &ConnectionArgs) -> Result<(Config, String), ConnectError> {
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        cluster: arguments.cluster.clone(),
        user: arguments.user.clone(),
    };
    let name = match &arguments.kubeconfig {
        Some(path) => path.display().to_string(),
        None => std::env::var("KUBECONFIG").unwrap_or_else(|_| "~/.kube/config".to_owned()),
    };
    let wrong = |error| ConnectError::from(KubeconfigProblem::of(&name, error));
    let kubeconfig = match &arguments.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(wrong)?,
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => kubeconfig,
            Err(KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath)
                if arguments.context.is_none() =>
            {
                let config = Config::incluster().map_err(|_| ConnectError::NothingFound)?;
                return Ok((config, "in-cluster".to_owned()));
            }
            Err(error) => return Err(wrong(error)),
        },
    };
    kubeconfig::check(&name, &kubeconfig, &options)?;
    let context_name =
        arguments.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let cluster = options.cluster.clone().or_else(|| {
        let context = kubeconfig.contexts.iter().find(|context| context.name == context_name)?;
        Some(context.context.as_ref()?.cluster.clone())
    });
    let server = kubeconfig.clusters.iter().find(|found| Some(&found.name) == cluster.as_ref());
    let server = server.and_then(|found| found.cluster.as_ref()?.server.clone());
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match error {
        KubeconfigError::ParseClusterUrl(_) | KubeconfigError::MissingClusterUrl => {
            ConnectError::Server(server.unwrap_or_default())
        }
        error => wrong(error),
    })?;
    Ok((config, context_name))
}

fn override_config(config: &mut Config, arguments: &ConnectionArgs) -> Result<(), ConnectError> {
    if let Some(server) = &arguments.server {
        let server = if server.contains("://") { server.clone() } else { format!("https://{server}") };
        config.cluster_url = server.parse().map_err(|_| ConnectError::Server(server))?;
    }
    if let Some(token) = &arguments.token {
        config.auth_info.token = Some(SecretString::from(token.clone()));
        config.auth_info.token_file = None;
        config.auth_info.exec = None;
    }
    if let Some(user) = &arguments.impersonate {
        config.auth_info.impersonate = Some(user.clone());
    }
    if !arguments.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(arguments.impersonate_groups.clone());
    }
    if let Some(uid) = &arguments.impersonate_uid {
        config.auth_info.impersonate_uid = Some(uid.clone());
    }
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    if let Some(path) = &arguments.client_certificate {
        config.auth_info.client_certificate = Some(text(path));
        config.auth_info.client_certificate_data = None;
    }
    if let Some(path) = &arguments.client_key {
        config.auth_info.client_key = Some(text(path));
        config.auth_info.client_key_data = None;
    }
    if let Some(path) = &arguments.certificate_authority {
        // Read now, so that a wrong path is said before anything is tried.
        std::fs::metadata(path).map_err(|source| ConnectError::File { path: path.clone(), source })?;
        config.root_cert = None;
        config.root_cert_file = Some(path.clone());
    }
    if arguments.insecure_skip_tls_verify {
        config.accept_invalid_certs = true;
    }
    if let Some(name) = &arguments.tls_server_name {
        config.tls_server_name = Some(name.clone());
    }
    Ok(())
}

/// Whether the API server only passes a request on to a pod or Service.
pub(super) fn is_for_an_application<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    path.contains("/proxy/") && (path.contains("/services/") || path.contains("/pods/"))
}

/// Counts requests on their way through.
#[derive(Clone)]
struct CountLayer {
    counts: Arc<RequestCounts>,
    on_the_wire: bool,
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Count { inner, layer: self.clone() }
    }
}

/// The service that [`CountLayer`] puts around another.
#[derive(Clone)]
struct Count<S> {
    inner: S,
    layer: CountLayer,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Count<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let counts = &self.layer.counts;
        if self.layer.on_the_wire {
            counts.attempts.fetch_add(1, Ordering::Relaxed);
        } else {
            counts.total.fetch_add(1, Ordering::Relaxed);
            if is_write(&request) {
                counts.writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_change_the_cluster_counts_as_a_write() {
        let request =
            |method: Method, uri: &str| Request::builder().method(method).uri(uri).body(()).unwrap();
        for (method, uri, expected) in [
            (Method::GET, "/apis/apps/v1/deployments", false),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/b?fieldManager=x", true),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/b?&dryRun=All&fieldManager=x", false),
            (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false),
            (Method::DELETE, "/api/v1/namespaces/a/pods/b", true),
        ] {
            assert_eq!(is_write(&request(method.clone(), uri)), expected, "{method} {uri}");
        }
    }

    #[test]
    fn what_an_application_answers_is_not_asked_again() {
        for (uri, expected) in [
            ("/api/v1/namespaces/a/services/http:web:80/proxy/health", true),
            ("/api/v1/namespaces/a/pods/http:web-1:80/proxy/", true),
            ("/api/v1/namespaces/a/services/web", false),
            ("/apis/apps/v1/namespaces/proxy/deployments", false),
        ] {
            assert_eq!(is_for_an_application(&Request::get(uri).body(()).unwrap()), expected, "{uri}");
        }
    }
}
