//! How an operation ended, and the exit code that says so. The table stands in the interface; this is its one
//! place in the code.

use serde::{Deserialize, Serialize};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Already there.
    Unchanged,
    /// A dry run.
    Planned,
    /// Refused before anything was touched: bad input or a failed check.
    Refused,
    /// Something is not ready, with a diagnosed cause, or an unexpected error.
    Failed,
    /// Not ready in time, cause undetermined.
    TimedOut,
    /// Rolled back, but verification failed.
    VerificationFailed,
    /// The database step failed.
    DatabaseFailed,
    /// Another operation is at work.
    Locked,
    /// The operator did not confirm.
    NotConfirmed,
    /// Workloads restored, Helm's record still to be made true.
    ReconcilePending,
    /// Interrupted by a signal.
    Interrupted,
}

/// The exit codes of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, already there, or a clean dry run.
    Success = 0,
    /// Unexpected error: API, configuration, I/O.
    Unexpected = 1,
    /// Bad usage.
    Usage = 2,
    /// A check before the first write failed.
    PreflightFailed = 3,
    /// Not ready, with a diagnosed cause.
    NotReady = 4,
    /// Not ready in time, cause undetermined.
    TimedOut = 5,
    /// Rolled back, verification failed.
    VerificationFailed = 6,
    /// Database step failed or needs a human.
    DatabaseFailed = 7,
    /// Another operation, or a Helm operation, is in progress.
    Locked = 8,
    /// Not confirmed.
    NotConfirmed = 9,
    /// Workloads restored, Helm's record still open.
    ReconcilePending = 10,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
    /// Interrupted by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }
}
