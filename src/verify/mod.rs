//! Is it really well again? The checks after a rollback, and those of `verify`. Reads only: HTTP through the API server's
//! proxy, port-forwards, logs, Prometheus, and commands that the configuration names.
//!
//! Without configuration it is checked what the cluster itself says must hold: every workload is ready, every Service has
//! ready endpoints, and the paths by which pods declare their readiness answer through their Services. What cannot be
//! asked is *unknown* then. What the configuration names must be answered: there it is a failure.

mod database;
mod declared;
mod defaults;
mod exec;
mod forward;
mod http;
mod logs;
mod prometheus;
mod proxy;
mod services;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

pub use declared::{DeclaredPath, declared_paths};
pub use defaults::list_services;
pub use services::{ServiceView, of_release as services_of};

use crate::config::{Check, CheckKind, DatabaseConfig, VerifyConfig};
use crate::context::Context;
use crate::discover::Workload;
use crate::event::{EventKind, FindingStatus, Verification};
use crate::workload::WorkloadRef;

/// What is to be checked.
pub struct Request<'a> {
    /// The release, where there is one: its Services are known by its mark too.
    pub release: Option<&'a str>,
    /// The workloads, as they are now.
    pub workloads: &'a [Workload],
    /// Workloads that the release's record names and the cluster does not have.
    pub missing: &'a [WorkloadRef],
    /// The workloads that the rollback brought back; of others it is only said what is wrong. `None` means all.
    pub touched: Option<&'a BTreeSet<WorkloadRef>>,
    /// When the rollback, or the newest revision, began: what logs and Prometheus are compared with.
    pub since: Option<Timestamp>,
    /// What the configuration says.
    pub config: &'a VerifyConfig,
    /// The database whose migrations go with the application, where the configuration names one.
    pub database: Option<&'a DatabaseConfig>,
}

impl Request<'_> {
    fn is_touched(&self, workload: &WorkloadRef) -> bool {
        self.touched.is_none_or(|touched| touched.contains(workload))
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: FindingStatus,
    message: String,
    hint: String,
}

impl Answer {
    fn new(status: FindingStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: String::new() }
    }

    fn pass(message: impl Into<String>) -> Self {
        Self::new(FindingStatus::Pass, message)
    }

    fn warn(message: impl Into<String>) -> Self {
        Self::new(FindingStatus::Warn, message)
    }

    fn fail(message: impl Into<String>) -> Self {
        Self::new(FindingStatus::Fail, message)
    }

    fn unknown(message: impl Into<String>) -> Self {
        Self::new(FindingStatus::Unknown, message)
    }

    fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    fn is_good(&self) -> bool {
        self.status == FindingStatus::Pass
    }
}

/// Runs every check, all at once; answers in the order of the checks, and reports each when it is known.
pub async fn run(context: &Context, request: &Request<'_>) -> Vec<Verification> {
    let defaults =
        async { if request.config.defaults { defaults::run(context, request).await } else { Vec::new() } };
    let configured = request.config.checks.iter().map(|check| configured(context, request, check));
    let database = async {
        match request.database {
            Some(settings) => Box::pin(database::check(context, request, settings)).await,
            None => None,
        }
    };
    let (mut results, database, configured) = futures::join!(defaults, database, join_all(configured));
    results.extend(database);
    results.extend(configured);
    results
}

/// Reports a result.
fn report(context: &Context, check: &str, subject: String, answer: Answer, begin: Instant) -> Verification {
    let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Answer { status, message, hint } = answer;
    let result = Verification { check: check.to_owned(), subject, status, message, hint, elapsed_ms };
    context.emit(EventKind::Verify(result.clone()));
    result
}

async fn configured(context: &Context, request: &Request<'_>, check: &Check) -> Verification {
    let begin = Instant::now();
    let answer = match &check.kind {
        CheckKind::Http(http) => {
            tried(context, check, async || http::check(context, http, check.timeout).await).await
        }
        CheckKind::Exec(exec) => {
            tried(context, check, async || exec::check(context, request, exec).await).await
        }
        CheckKind::Tcp(tcp) => tried(context, check, async || forward::tcp(context, tcp).await).await,
        CheckKind::Redis(redis) => tried(context, check, async || forward::redis(context, redis).await).await,
        CheckKind::Prometheus(prometheus) => {
            let try_once = async || prometheus::check(context, request, prometheus, check.timeout).await;
            tried(context, check, try_once).await
        }
        CheckKind::Logs(logs) => {
            tried(context, check, async || logs::check(context, request, logs).await).await
        }
    };
    report(context, check.kind.as_str(), check.name.to_string(), answer, begin)
}

/// Tries until it is good, or as often as the check allows, or until the operation must end.
async fn tried(context: &Context, check: &Check, try_once: impl AsyncFn() -> Answer) -> Answer {
    let mut tries = 0;
    loop {
        tries += 1;
        let once = async {
            timeout(check.timeout, try_once()).await.unwrap_or_else(|_| {
                Answer::fail(format!("no answer within {}", crate::cli::GoDuration(check.timeout)))
            })
        };
        let Some(answer) = unless_ended(context, once).await else { return ended(tries) };
        if answer.is_good() || tries > check.retries {
            return with_tries(answer, tries);
        }
        if unless_ended(context, sleep(check.pause)).await.is_none() {
            return with_tries(answer, tries);
        }
    }
}

fn with_tries(mut answer: Answer, tries: u16) -> Answer {
    if tries > 1 && !answer.is_good() {
        answer.message = format!("{} ({tries} tries)", answer.message);
    }
    answer
}

fn ended(tries: u16) -> Answer {
    let answer =
        Answer::unknown("the operation's time limit or a signal ended it before there was an answer");
    with_tries(answer, tries).hinted("check again: kubectl rollback verify")
}

/// Nothing where the operation must end first.
async fn unless_ended<T>(context: &Context, work: impl Future<Output = T>) -> Option<T> {
    let deadline = async {
        match context.deadline.end() {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        answer = work => Some(answer),
        _ = context.interrupt.wait() => None,
        () = deadline => None,
    }
}

/// Time limit of a default check's try, and how often it is tried.
const DEFAULT_LIMIT: Duration = Duration::from_secs(3);
const DEFAULT_TRIES: u16 = 3;
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
