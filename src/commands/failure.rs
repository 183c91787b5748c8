//! How a command fails: the error, the exit code that goes with it, what state the cluster is in, and the next
//! command.

use std::fmt::Write;

use crate::config::ConfigError;
use crate::context::kubeconfig;
use crate::discover::{DiscoverError, list};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::question::PlanError;

/// Why a command did not succeed before there was anything to report as a result.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: ExitCode,
    /// The outcome in the result.
    pub outcome: Outcome,
    /// What failed, with its causes.
    pub error: anyhow::Error,
    /// What to run next.
    pub next: Vec<String>,
}

impl Failure {
    /// A failure of one kind.
    pub fn new(exit: ExitCode, outcome: Outcome, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, outcome, error: error.into(), next: Vec::new() }
    }

    /// Bad input: exit 2, nothing touched.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, Outcome::Refused, anyhow::Error::msg(message.into()))
    }

    /// Another operation is at work: exit 8, nothing touched.
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Locked, Outcome::Locked, anyhow::Error::msg(message.into()))
    }

    /// Not confirmed: exit 9, nothing touched.
    pub fn not_confirmed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::NotConfirmed, Outcome::NotConfirmed, anyhow::Error::msg(message.into()))
    }

    /// Adds a command to run next.
    #[must_use]
    pub fn hinted(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// Says how to look further where the API server did not answer at all.
    fn hinted_where_nobody_answers(self) -> Self {
        let is_silence = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<kube::Error>()
        {
            Some(kube::Error::Api(_)) | None => cause
                .downcast_ref::<Box<kube::Error>>()
                .is_some_and(|error| !matches!(**error, kube::Error::Api(_))),
            Some(_) => true,
        };
        if self.error.chain().any(is_silence) { self.hinted("kubectl cluster-info") } else { self }
    }

    /// The error with its causes, one line each; causes that repeat their parent's text are left out.
    pub fn describe(&self) -> String {
        let mut text = self.error.to_string();
        let mut last = text.clone();
        let say = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<kube::Error>().map_or_else(|| cause.to_string(), list::words)
        };
        for cause in self.error.chain().skip(1) {
            // What lies below a failed log-in may quote a plugin's answer.
            let log_in = kubeconfig::of_log_in(cause);
            let is_last = log_in.is_some();
            let cause = log_in.unwrap_or_else(|| say(cause));
            if !last.contains(&cause) {
                let _ = write!(text, "\n  caused by: {cause}");
                last = cause;
            }
            if is_last {
                break;
            }
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(ExitCode::Unexpected, Outcome::Failed, error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new(ExitCode::Usage, Outcome::Refused, error)
    }
}

impl From<DiscoverError> for Failure {
    fn from(error: DiscoverError) -> Self {
        match &error {
            DiscoverError::NoRelease(_)
            | DiscoverError::SeveralReleases { .. }
            | DiscoverError::NoSuchRelease { .. }
            | DiscoverError::NoSuchRecord { .. }
            | DiscoverError::NoSuchWorkload { .. }
            | DiscoverError::NothingSelected { .. } => Self::new(ExitCode::Usage, Outcome::Refused, error),
            DiscoverError::Workloads { .. } | DiscoverError::Records(_) => {
                Self::new(ExitCode::Unexpected, Outcome::Failed, error).hinted_where_nobody_answers()
            }
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::new(ExitCode::Unexpected, Outcome::Failed, error).hinted_where_nobody_answers()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next = match &error {
            ConfigError::Ask { .. } => "kubectl cluster-info",
            // Who is on call must get by a broken file: an empty one is a configuration.
            _ => "mend it (kubectl rollback config validate), or go on without: --config /dev/null",
        };
        Self::new(ExitCode::Unexpected, Outcome::Failed, error).hinted(next)
    }
}
