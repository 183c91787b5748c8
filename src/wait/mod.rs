//! Waiting that explains: when are workloads ready, and when they are not, why not. Serves the `stop` phase
//! (are the old pods gone?), the `wait` phase and `status`.
//!
//! [`readiness`] and [`diagnosis`] are pure rules over objects that somebody else read; [`watch`] keeps those
//! objects current in spite of a bad network; [`wait_until_ready`] and [`wait_until_gone`] put the two
//! together. Nothing here writes to the cluster. `docs/readiness.md` tells the rules in prose.

pub mod completion;
pub mod diagnosis;
#[cfg(test)]
mod fake;
mod gone;
pub mod logs;
pub mod ownership;
pub mod readiness;
pub mod redaction;
mod stability;
#[cfg(test)]
mod tests;
mod waiter;
pub mod watch;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::event::{Diagnosis, DiagnosisCode, ObjectReference, Progress};
use crate::workload::WorkloadRef;

pub use diagnosis::CrashRule;
pub use gone::{GoneEnd, GoneOutcome, RemainingPod, wait_until_gone};
pub use waiter::wait_until_ready;

/// What to wait for, and how long.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    /// The workloads; all must live in one namespace.
    pub workloads: Vec<WaitedWorkload>,
    /// When to give up; `None` waits until every workload is ready or has a fatal diagnosis.
    pub deadline: Option<Instant>,
    /// Events older than this are not shown: the start of the operation, by our clock.
    pub started_at: Timestamp,
    /// When a crashing pod is fatal (`--fail-on-crash`).
    pub crash_rule: CrashRule,
    /// How long all workloads must have been ready together before it counts; [`SETTLE`] is a good value, zero
    /// believes the first sight.
    pub settle: Duration,
}

/// Long enough for a readiness probe of the default period to have passed twice, and for what dies of its first
/// requests to have died.
pub const SETTLE: Duration = Duration::from_secs(12);

/// One workload that is waited for.
#[derive(Debug, Clone)]
pub struct WaitedWorkload {
    /// Which.
    pub workload: WorkloadRef,
    /// Replicas that we wrote or left in place. The live `spec.replicas` counts while waiting (an autoscaler may
    /// change it), but a live zero is not ready while this is above zero. `None` for kinds without replicas.
    pub replicas: Option<i32>,
    /// `metadata.generation` that our last write returned: an older object is never believed. `None` when
    /// nothing was written.
    pub generation: Option<i64>,
}

/// What happens while waiting.
#[derive(Debug, Clone)]
pub enum WaitEvent {
    /// The numbers or the state of a workload changed.
    Progress(Progress),
    /// A reason was found; the same reason comes again only when its severity rises.
    Diagnosis(ObjectReference, Diagnosis),
    /// The wait itself is hampered: the API server does not answer, or refuses a read.
    Notice(String),
}

/// How the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// Every workload is ready, confirmed by a fresh read.
    Ready,
    /// At least one workload will not become ready, and the cause is known (exit code 4).
    NotReady,
    /// The deadline came and no cause is known beyond readiness itself (exit code 5).
    TimedOut,
    /// The operator asked to stop waiting.
    Interrupted,
}

/// How the wait ended, for each workload.
#[derive(Debug, Clone)]
pub struct WaitOutcome {
    /// How it ended.
    pub end: WaitEnd,
    /// In the order of the request.
    pub workloads: Vec<WorkloadOutcome>,
}

/// What one workload looked like when the wait ended.
#[derive(Debug, Clone)]
pub struct WorkloadOutcome {
    /// Which.
    pub workload: WorkloadRef,
    /// Its last numbers; `done` says whether it is ready.
    pub progress: Progress,
    /// Why it is not ready, the gravest first; empty when it is.
    pub diagnoses: Vec<Diagnosis>,
}

impl WorkloadOutcome {
    /// Whether a cause beyond "it is not ready" is known.
    pub fn cause_is_known(&self) -> bool {
        self.diagnoses.iter().any(|diagnosis| diagnosis.code != DiagnosisCode::ReadinessStuck)
    }
}

/// Resolves when the signal becomes true. A dropped sender can no longer ask for anything, so it never resolves.
async fn cancelled(cancel: &mut Receiver<bool>) {
    if cancel.wait_for(|is_cancelled| *is_cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves at the deadline; never where there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
