//! The report of an operation: from its journal to what an incident's document needs. Pure; nothing here reads the cluster
//! or the clock, so that the same journal gives the same report on every machine.

mod assemble;
mod database;
mod html;
mod markdown;
mod picture;
#[cfg(test)]
pub(super) mod tests;
mod told;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{ContainerResult, ReplicasResult, Requests};
use crate::event::{Diagnosis, Finding, FindingStatus, ObjectReference, StageStatus};
use crate::journal::State;
use crate::outcome::Outcome;
use crate::plan::Skipped;

pub use assemble::assemble;
pub use html::html;
pub use markdown::{fenced, markdown, plain};

/// What the recovery time means here, in words that stand beside it.
const RECOVERY_FROM_DEPLOY: &str = "DORA's failed deployment recovery time: from the record of the deploy that was rolled back to the moment when every workload was ready again";
const RECOVERY_FROM_START: &str = "from the beginning of this operation to the moment when every workload was ready again; DORA's failed deployment recovery time begins at the failed deploy, whose time this journal does not hold";

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `Report`.
    pub kind: &'static str,
    /// Identifier of the operation.
    pub operation: String,
    /// Where it stands.
    pub state: State,
    /// `emergency` or `to`.
    pub procedure: String,
    /// How it ended; `null` where it has not.
    pub outcome: Option<Outcome>,
    /// With which exit code.
    pub exit_code: Option<u8>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// Name of the kubeconfig context.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// The release, where there is one.
    pub release: Option<String>,
    /// Who began it.
    pub actor: String,
    /// The command line, without credentials.
    pub command: String,
    /// `--reason`.
    pub reason: Option<String>,
    /// `--incident`.
    pub incident: Option<String>,
    /// From where to where.
    pub change: Direction,
    /// When things happened.
    pub times: Times,
    /// How long they took.
    pub durations: Durations,
    /// Every process that worked on it.
    pub runs: Vec<RunTold>,
    /// The phases, in the order in which they began.
    pub phases: Vec<PhaseTold>,
    /// The workloads.
    pub workloads: Vec<WorkloadTold>,
    /// Jobs and Pods that ran to an end meanwhile: hooks of the chart, programs of migrations.
    pub jobs: Vec<JobTold>,
    /// What was written, in order.
    pub changes: Vec<ChangeTold>,
    /// Why workloads were not ready.
    pub diagnoses: Vec<DiagnosisTold>,
    /// The checks before the first write.
    pub preflight: Vec<Finding>,
    /// The checks after it.
    pub verify: Vec<Verified>,
    /// Workloads left at zero.
    pub stopped: Vec<String>,
    /// What was done to the database.
    pub database: Option<Value>,
    /// What was not touched, and why.
    pub skipped: Vec<Skipped>,
    /// What was sent to the API server by the last process.
    pub requests: Option<Requests>,
    /// What the operator was told to mind.
    pub warnings: Vec<String>,
    /// The next commands.
    pub next: Vec<String>,
}

/// From where to where.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Direction {
    /// The newest revision before.
    pub from_revision: Option<u64>,
    /// Its status.
    pub from_status: Option<String>,
    /// What it went back to, in words.
    pub target: String,
    /// The stored revision that this is, where there is one.
    pub to_revision: Option<u64>,
    /// The revision that describes the result.
    pub new_revision: Option<u64>,
}

/// When things happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The deploy that was rolled back.
    pub deployed_at: Option<Timestamp>,
    /// The operation began.
    pub started_at: Timestamp,
    /// The first write was answered.
    pub first_write_at: Option<Timestamp>,
    /// Every workload was ready again.
    pub restored_at: Option<Timestamp>,
    /// Helm's record was true again.
    pub reconciled_at: Option<Timestamp>,
    /// The last process ended in good order.
    pub finished_at: Option<Timestamp>,
}

/// How long things took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Durations {
    /// From the deploy that was rolled back to the beginning.
    pub until_started_ms: Option<i64>,
    /// From the beginning to the first write.
    pub until_first_write_ms: Option<i64>,
    /// From the beginning until every workload was ready.
    pub until_restored_ms: Option<i64>,
    /// From the beginning to the end.
    pub whole_ms: Option<i64>,
    /// The recovery time.
    pub recovery_ms: Option<i64>,
    /// What the recovery time is measured from and to.
    pub recovery_definition: &'static str,
    /// Whether the deploy that was rolled back counts as a failed change; always so for a rollback that changed something.
    pub change_failure: bool,
}

/// One process that worked on the operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunTold {
    /// When it began.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// With which command line.
    pub command: String,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTold {
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `null` where that was not told.
    pub ended_at: Option<Timestamp>,
    /// What became of it.
    pub status: StageStatus,
    /// A short sentence.
    pub message: String,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadTold {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// How it was changed; empty where that is not known.
    pub strategy: String,
    /// Its replicas.
    pub replicas: Option<ReplicasResult>,
    /// Whether it was ready in the end; `null` where nobody told.
    pub ready: Option<bool>,
    /// Its images.
    pub containers: Vec<ContainerResult>,
    /// Whether its images were written; `null` where nobody told.
    pub written: Option<bool>,
    /// Its replicas over time.
    pub timeline: Vec<Replicas>,
}

/// A Job or Pod that ran to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobTold {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// What it did over time.
    pub timeline: Vec<Replicas>,
}

/// The replicas of a workload at a moment; those of a Job are its wanted successes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replicas {
    /// When.
    pub at: Timestamp,
    /// How many were ready.
    pub ready: i32,
    /// How many were wanted.
    pub desired: i32,
    /// A short state for people.
    pub state: String,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeTold {
    /// When it was answered.
    pub at: Timestamp,
    /// `patch`, `create`, `update` or `delete`.
    pub verb: String,
    /// What was written.
    pub object: ObjectReference,
    /// The fields that changed.
    pub fields: Vec<String>,
    /// Their values before, where they are not secret.
    pub before: Value,
    /// Their values after, where they are not secret.
    pub after: Value,
}

/// Why a workload was not ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiagnosisTold {
    /// When it was told first.
    pub at: Timestamp,
    /// The workload.
    pub object: ObjectReference,
    /// The reason.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
}

/// One check after a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Verified {
    /// Which check.
    pub check: String,
    /// What was checked.
    #[serde(default)]
    pub subject: String,
    /// The answer.
    pub status: FindingStatus,
    /// One sentence.
    #[serde(default)]
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: String,
}

impl Report {
    /// How it ended or where it stands, in a word or two.
    pub fn ending(&self) -> &'static str {
        match (self.state, self.outcome) {
            (State::Aborted, _) => "Undone",
            (State::Aborting, _) => "Being undone",
            (State::Abandoned, _) => "Taken over by another operation",
            (State::Open, _) | (_, None) => "Not ended",
            (_, Some(Outcome::Succeeded)) => "Succeeded",
            (_, Some(Outcome::Unchanged)) => "Nothing to change",
            (_, Some(Outcome::TimedOut)) => "Not ready in time",
            (_, Some(Outcome::VerificationFailed)) => "Rolled back, checks afterwards failed",
            (_, Some(Outcome::DatabaseFailed)) => "Database step failed",
            (_, Some(Outcome::ReconcilePending)) => "Restored, Helm's record still open",
            (_, Some(Outcome::Interrupted)) => "Interrupted",
            (_, Some(_)) => "Failed",
        }
    }

    /// Whether it did what it was meant to do.
    pub fn is_good(&self) -> bool {
        self.state == State::Finished && self.exit_code == Some(0)
    }

    /// What it was about, in a line.
    pub fn subject(&self) -> String {
        let what = self.release.as_deref().unwrap_or("workloads");
        format!("{what} to {}", self.change.target)
    }

    /// The checks before the first write that did not pass.
    pub fn remarkable(&self) -> impl Iterator<Item = &Finding> {
        self.preflight.iter().filter(|finding| finding.status != FindingStatus::Pass)
    }
}

/// A duration for people: `65ms`, `4.2s`, `1m 05s`, `2h 03m`.
fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        ..1 => format!("{}ms", ms.max(0)),
        1..60 => format!("{seconds}.{}s", ms.max(0) % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A moment to the second in UTC.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A value of a field as one short text.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.len() == 1 => fields.values().map(shown).collect(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}

/// What a write changed, as one text.
fn change_words(change: &ChangeTold) -> String {
    let (before, after) = (shown(&change.before), shown(&change.after));
    let values = match (before.as_str(), after.as_str()) {
        ("", "") => String::new(),
        ("", after) => after.to_owned(),
        (before, "") => format!("was {before}"),
        (before, after) => format!("{before} → {after}"),
    };
    match (change.fields.join(", "), values) {
        (fields, values) if fields.is_empty() => values,
        (fields, values) if values.is_empty() => fields,
        (fields, values) => format!("{fields}: {values}"),
    }
}
