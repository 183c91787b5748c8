//! What every phase needs: the client, the namespace, the clock, the event stream, the signals.

pub mod client;
pub mod exec;
pub mod interrupt;
pub mod kubeconfig;
mod retry;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::event::EventKind;
use crate::execute::operation::guard::Guard;
use crate::ui::Reporter;
use client::RequestCounts;
use interrupt::Interrupt;

/// What every phase needs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The one client; requests are bounded, counted, retried where that is safe.
    pub client: kube::Client,
    /// The same connection past the gate of [`guard`](Self::guard): for the operation's own lock and journal.
    pub bare: kube::Client,
    /// The gate that writes pass while an operation runs.
    pub guard: Arc<Guard>,
    /// Name of the kubeconfig context, or of the in-cluster environment.
    pub context_name: String,
    /// The namespace of the release.
    pub namespace: String,
    /// How many requests were sent so far.
    pub requests: Arc<RequestCounts>,
    /// Identifier of this operation.
    pub operation: String,
    /// Where events go.
    pub reporter: Arc<Reporter>,
    /// Whether somebody wants us to stop.
    pub interrupt: Interrupt,
    /// When the whole operation must end.
    pub deadline: Arc<Deadline>,
    /// Who runs this, as `user@host`.
    pub actor: String,
    /// How registries are reached.
    pub registries: Arc<crate::registry::Settings>,
}

impl Context {
    /// The time of day, for records and events.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Reports an event.
    pub fn emit(&self, kind: EventKind) {
        let event = self.reporter.emit(&self.operation, self.now(), kind);
        self.guard.report(&event);
    }

    /// Reports a sentence that the operator should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(EventKind::Warning { message: message.into() });
    }

    /// Whether the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.deadline.end().is_some_and(|end| end <= Instant::now())
    }
}

/// The time limit of an operation. It starts anew when the operator has confirmed: thinking is not counted.
#[derive(Debug)]
pub struct Deadline {
    limit: Option<Duration>,
    started: Mutex<Instant>,
}

impl Deadline {
    /// A limit that starts now; zero means none.
    pub fn new(limit: Duration) -> Self {
        Self { limit: Some(limit).filter(|limit| !limit.is_zero()), started: Mutex::new(Instant::now()) }
    }

    /// When it ends; `None` means never.
    pub fn end(&self) -> Option<Instant> {
        let started = *self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.limit.map(|limit| started + limit)
    }

    /// Starts it anew.
    pub fn restart(&self) {
        *self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }
}

/// A number by chance: for names and pauses, not for secrets.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Six hexadecimal digits that name an operation in its namespace: few enough to be read out, and beside a thousand kept
/// journals the name of one is met again once in sixteen thousand runs.
pub fn new_operation_id() -> String {
    format!("{:06x}", random() & 0x00ff_ffff)
}

/// Digits that tell this process from every other that works on the same operation.
pub fn new_process_id() -> String {
    format!("{:012x}", random() & 0xffff_ffff_ffff)
}

/// Who runs this, for records: `user@host` from the environment.
pub fn actor(lookup: impl Fn(&str) -> Option<String>) -> String {
    let user = ["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "USERNAME", "LOGNAME"]
        .iter()
        .find_map(|name| lookup(name));
    let host = ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| lookup(name));
    let host =
        host.or_else(|| std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()));
    match (user, host.filter(|host| !host.is_empty())) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! A context whose API server is a script of canned exchanges.

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::Value;

    use super::interrupt::Interrupter;
    use super::*;
    use crate::ui::{EventStyle, Printer, Streams};

    /// One expected request and its answer; `None` as a status breaks the connection.
    pub struct Exchange {
        /// The method.
        pub method: Method,
        /// What the path and query must contain.
        pub path: &'static str,
        /// The status, or nothing for a broken connection.
        pub status: Option<u16>,
        /// The body.
        pub answer: Value,
    }

    /// Shorthand for an [`Exchange`].
    pub fn exchange(method: Method, path: &'static str, status: u16, answer: Value) -> Exchange {
        Exchange { method, path, status: Some(status), answer }
    }

    /// The script and what was really asked.
    #[derive(Default)]
    pub struct Script {
        expected: Mutex<VecDeque<Exchange>>,
        /// Method, path and body of every request so far.
        pub asked: Mutex<Vec<(Method, String, Value)>>,
    }

    impl Script {
        /// The bodies of every write so far.
        pub fn writes(&self) -> Vec<Value> {
            let asked = self.asked.lock().unwrap();
            asked
                .iter()
                .filter(|(method, ..)| *method != Method::GET)
                .map(|(.., body)| body.clone())
                .collect()
        }

        /// How many exchanges were not asked for.
        pub fn left(&self) -> usize {
            self.expected.lock().unwrap().len()
        }
    }

    /// A context that answers from a script, in order.
    pub fn context(exchanges: Vec<Exchange>) -> (Context, Arc<Script>, Interrupter) {
        let script = Arc::new(Script { expected: Mutex::new(exchanges.into()), ..Script::default() });
        let server = script.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let uri = parts.uri.to_string();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                server.asked.lock().unwrap().push((parts.method.clone(), uri.clone(), body));
                let next = server.expected.lock().unwrap().pop_front();
                let next = next.unwrap_or_else(|| panic!("unexpected {} {uri}", parts.method));
                assert_eq!(next.method, parts.method, "{uri}");
                assert!(uri.contains(next.path), "{uri} does not contain {}", next.path);
                let Some(status) = next.status else { return Err(std::io::Error::other("connection reset")) };
                let body = Body::from(serde_json::to_vec(&next.answer).unwrap());
                Ok(Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap())
            }
        });
        let client = kube::Client::new(service, "n");
        let sink = || Box::new(std::io::sink());
        let printer = Printer::new(Streams { out: sink(), err: sink() }, true, 0, false);
        let (interrupter, interrupt) = Interrupt::new();
        let context = Context {
            client: client.clone(),
            bare: client,
            guard: Arc::default(),
            context_name: "test".into(),
            namespace: "n".into(),
            requests: Arc::default(),
            operation: "0000".into(),
            reporter: Arc::new(Reporter::new(printer, EventStyle::Silent)),
            interrupt,
            deadline: Arc::new(Deadline::new(Duration::ZERO)),
            actor: "test".into(),
            registries: Arc::default(),
        };
        (context, script, interrupter)
    }
}
