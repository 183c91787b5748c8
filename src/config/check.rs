//! The checks that a configuration can name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::values::{Pattern, PortName, SecretSource, Text, Wait, WebAddress, Workload};

/// Time limit of one try, where nothing is said.
const LIMIT: Duration = Duration::from_secs(10);
/// Time between two tries, where nothing is said.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries beside the first, where nothing is said.
const RETRIES: u16 = 3;

/// A check; exactly one of http, exec, tcp, redis, prometheus and logs
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CheckFields", into = "CheckFields")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// How results call it.
    pub name: Text,
    /// What is checked.
    pub kind: CheckKind,
    /// Tries beside the first.
    pub retries: u16,
    /// Time between two tries.
    pub pause: Duration,
    /// Time limit of one try.
    pub timeout: Duration,
}

/// What is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// An answer over HTTP.
    Http(HttpCheck),
    /// A command in a container.
    Exec(ExecCheck),
    /// A port that accepts connections.
    Tcp(TcpCheck),
    /// A Redis that answers PING.
    Redis(RedisCheck),
    /// A number in Prometheus.
    Prometheus(PrometheusCheck),
    /// Lines in logs.
    Logs(LogsCheck),
}

impl CheckKind {
    /// The word in the configuration and in results.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Exec(_) => "exec",
            Self::Tcp(_) => "tcp",
            Self::Redis(_) => "redis",
            Self::Prometheus(_) => "prometheus",
            Self::Logs(_) => "logs",
        }
    }
}

/// A check; exactly one of http, exec, tcp, redis, prometheus and logs
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Check"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckFields {
    /// How results call it
    name: Text,
    /// An answer over HTTP, asked for through the API server or at an address
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpCheck>,
    /// A command in a container of a workload; it must only read
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<ExecCheck>,
    /// A port that accepts connections, through a port-forward
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpCheck>,
    /// A Redis that answers PING, through a port-forward
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<RedisCheck>,
    /// A number in Prometheus: error rate, latency
    #[serde(skip_serializing_if = "Option::is_none")]
    prometheus: Option<PrometheusCheck>,
    /// Lines in the logs since the rollback
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<LogsCheck>,
    /// Tries beside the first; 3 where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u16>,
    /// Time between two tries; 2s where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<Wait>,
    /// Time limit of one try; 10s where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Wait>,
}

impl TryFrom<CheckFields> for Check {
    type Error = String;

    fn try_from(fields: CheckFields) -> Result<Self, String> {
        let CheckFields { name, http, exec, tcp, redis, prometheus, logs, retries, pause, timeout } = fields;
        let mut kinds: Vec<CheckKind> = [
            http.map(CheckKind::Http),
            exec.map(CheckKind::Exec),
            tcp.map(CheckKind::Tcp),
            redis.map(CheckKind::Redis),
            prometheus.map(CheckKind::Prometheus),
            logs.map(CheckKind::Logs),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (Some(kind), true) = (kinds.pop(), kinds.is_empty()) else {
            return Err(format!(
                "check {name}: give exactly one of http, exec, tcp, redis, prometheus, logs"
            ));
        };
        check(&kind).map_err(|why| format!("check {name}: {why}"))?;
        let timeout = timeout.map_or(LIMIT, |limit| limit.0);
        if timeout.is_zero() {
            return Err(format!("check {name}: timeout must not be 0"));
        }
        let (retries, pause) = (retries.unwrap_or(RETRIES), pause.map_or(PAUSE, |pause| pause.0));
        Ok(Self { name, kind, retries, pause, timeout })
    }
}

/// What the types cannot say.
fn check(kind: &CheckKind) -> Result<(), String> {
    let place = |place: &Place| match (&place.service, &place.url) {
        (None, None) | (Some(_), Some(_)) => Err("give either service or url".to_owned()),
        (None, Some(_)) if place.port.is_some() || place.namespace.is_some() => {
            Err("port and namespace belong to a service, not to a url".to_owned())
        }
        _ => Ok(()),
    };
    match kind {
        CheckKind::Http(http) => {
            place(&http.place())?;
            if http.service.is_none() && http.path.is_some() {
                return Err("path belongs to a service; write it into the url".to_owned());
            }
            match http.json.keys().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
                Some(pointer) => Err(format!("{pointer:?} is no JSON pointer, like /status")),
                None => Ok(()),
            }
        }
        CheckKind::Exec(exec) if exec.command.is_empty() => Err("the command is empty".to_owned()),
        CheckKind::Prometheus(prometheus) => {
            place(&prometheus.place())?;
            if prometheus.max.is_none() && prometheus.max_factor.is_none() {
                return Err("give max, or maxFactor, or both".to_owned());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

impl From<Check> for CheckFields {
    fn from(check: Check) -> Self {
        let mut fields = Self {
            name: check.name,
            http: None,
            exec: None,
            tcp: None,
            redis: None,
            prometheus: None,
            logs: None,
            retries: Some(check.retries).filter(|&retries| retries != RETRIES),
            pause: Some(Wait(check.pause)).filter(|pause| pause.0 != PAUSE),
            timeout: Some(Wait(check.timeout)).filter(|timeout| timeout.0 != LIMIT),
        };
        match check.kind {
            CheckKind::Http(http) => fields.http = Some(http),
            CheckKind::Exec(exec) => fields.exec = Some(exec),
            CheckKind::Tcp(tcp) => fields.tcp = Some(tcp),
            CheckKind::Redis(redis) => fields.redis = Some(redis),
            CheckKind::Prometheus(prometheus) => fields.prometheus = Some(prometheus),
            CheckKind::Logs(logs) => fields.logs = Some(logs),
        }
        fields
    }
}

impl Check {
    /// A check with the usual retries and limits.
    pub fn new(name: Text, kind: CheckKind) -> Self {
        Self { name, kind, retries: RETRIES, pause: PAUSE, timeout: LIMIT }
    }
}

/// Where something is asked for over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A Service, asked through the API server.
    pub service: Option<Text>,
    /// Its namespace; the release's where nothing is said.
    pub namespace: Option<Text>,
    /// Its port; the only one, or the first.
    pub port: Option<PortName>,
    /// Whether the Service speaks TLS.
    pub tls: bool,
    /// An address, asked from here.
    pub url: Option<WebAddress>,
}

/// The protocol of a Service
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS
    #[default]
    Http,
    /// With TLS; the API server does not check the certificate
    Https,
}

/// An answer over HTTP
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpCheck {
    /// The Service, asked through the API server's proxy
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Text>,
    /// The Service's namespace; the release's where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// The Service's port, by number or name; its first where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Whether the Service speaks TLS
    #[serde(skip_serializing_if = "is_default")]
    pub scheme: Scheme,
    /// The path with its query; / where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// An address that is asked from here, in place of a service
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<WebAddress>,
    /// Headers to send
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    /// Status codes that are good; 200 to 299 where nothing is said
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Values in a JSON answer, by JSON pointer: /status
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
    /// Headers of the answer
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Text within the answer
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
}

impl HttpCheck {
    /// Where it asks.
    pub fn place(&self) -> Place {
        Place {
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            port: self.port.clone(),
            tls: self.scheme == Scheme::Https,
            url: self.url.clone(),
        }
    }
}

/// A command in a container of a workload; it must only read
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecCheck {
    /// The workload, in one of whose ready pods it runs
    pub workload: Workload,
    /// The container; the first of the workload's where nothing is said
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<Text>,
    /// The command and its arguments; no shell unless it is one
    pub command: Vec<String>,
    /// The exit code that is good
    #[serde(skip_serializing_if = "is_default", default)]
    pub exit_code: i32,
    /// Text within its standard output
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stdout_contains: Option<String>,
}

/// A port that accepts connections, through a port-forward
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpCheck {
    /// The Service, one of whose pods is connected to
    pub service: Text,
    /// The Service's port, by number or name; its first where nothing is said
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<PortName>,
}

/// A Redis that answers PING, through a port-forward
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisCheck {
    /// The Service, one of whose pods is asked
    pub service: Text,
    /// The Service's port, by number or name; its first where nothing is said
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<PortName>,
    /// Where the password is kept
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub password: Option<SecretSource>,
}

/// A number in Prometheus: error rate, latency
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrometheusCheck {
    /// Prometheus' Service, asked through the API server's proxy
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Text>,
    /// The Service's namespace; the release's where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// The Service's port, by number or name; its first where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Prometheus' address, asked from here, in place of a service
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<WebAddress>,
    /// A query whose answer is one number
    pub query: String,
    /// The largest number that is good
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How many times the number from before the rollback is still good; 1 means: not worse
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_factor: Option<f64>,
}

impl PrometheusCheck {
    /// Where it asks.
    pub fn place(&self) -> Place {
        Place {
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            port: self.port.clone(),
            tls: false,
            url: self.url.clone(),
        }
    }
}

/// Lines in the logs since the rollback
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogsCheck {
    /// The workloads; all of the release where nothing is said
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// What an error line looks like; error, fatal, panic, exception or traceback as a word where nothing is said
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Pattern>,
    /// Lines that are no errors although they look like it
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Pattern>,
    /// How many error lines are still good
    #[serde(skip_serializing_if = "is_default")]
    pub max: usize,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
