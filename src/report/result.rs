//! The result of an operation as `-o json` prints it. Its shape is part of the interface: fields are added, never
//! renamed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Adapter;
use crate::database::Migration;
use crate::event::{Diagnosis, Finding, Phase, Verification};
use crate::execute::DatabaseDone;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::Skipped;
use crate::plan::database::DatabasePlan;
use crate::plan::repair::RepairPlan;

/// The result document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultDocument {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `Result`.
    pub kind: &'static str,
    /// Identifier of the operation.
    pub operation: String,
    /// `emergency`, `reconcile`, …
    pub procedure: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The process's exit code.
    pub exit_code: u8,
    /// Why it failed, where it did; one line a cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Name of the kubeconfig context.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// `--reason`.
    pub reason: Option<String>,
    /// `--incident`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The release, where there is one.
    pub release: Option<ReleaseResult>,
    /// What `repair` found, and the statuses that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Box<RepairPlan>>,
    /// What became of the deploy that `ci` ran or looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Box<DeployResult>>,
    /// The workloads of the plan.
    pub workloads: Vec<WorkloadResult>,
    /// The objects of a rollback to a stored revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectResult>,
    /// Results of the checks before the first write.
    pub preflight: Vec<Finding>,
    /// Workloads left at zero; empty unless starting one failed.
    pub stopped: Vec<String>,
    /// Controllers that were paused.
    pub frozen: Vec<Value>,
    /// What was done to the database.
    pub database: Option<DatabaseResult>,
    /// Results of the smoke tests.
    pub verify: Vec<Verification>,
    /// What was not touched, and why.
    pub skipped: Vec<Skipped>,
    /// When things happened.
    pub timings: Timings,
    /// What was sent to the API server.
    pub requests: Requests,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The next commands.
    pub next: Vec<String>,
}

impl ResultDocument {
    /// A result that tells of nothing yet.
    pub fn new(procedure: &'static str, outcome: Outcome, exit: ExitCode, finished_at: Timestamp) -> Self {
        Self {
            api_version: super::API_VERSION,
            kind: "Result",
            operation: String::new(),
            procedure,
            outcome,
            exit_code: exit.code(),
            error: None,
            context: String::new(),
            namespace: String::new(),
            reason: None,
            incident: None,
            release: None,
            repair: None,
            deploy: None,
            workloads: Vec::new(),
            objects: Vec::new(),
            preflight: Vec::new(),
            stopped: Vec::new(),
            frozen: Vec::new(),
            database: None,
            verify: Vec::new(),
            skipped: Vec::new(),
            timings: Timings {
                started_at: None,
                first_write_at: None,
                restored_at: None,
                reconciled_at: None,
                finished_at,
                phases: Vec::new(),
            },
            requests: Requests { total: 0, writes: 0, retries: 0 },
            warnings: Vec::new(),
            next: Vec::new(),
        }
    }
}

/// A deploy in the result of `ci`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployResult {
    /// The command, without the values that it sets; `null` where none was run.
    pub command: Option<String>,
    /// The code that it ended with; `null` where none was run, or a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How long it ran.
    pub seconds: u64,
    /// Why it was stopped before its own end.
    pub stopped_early: Option<String>,
    /// The newest revision before it.
    pub revision_before: Option<u64>,
    /// The newest revision after it.
    pub revision: Option<u64>,
    /// What was wrong with it, gravest first; empty where it is well.
    pub failures: Vec<String>,
    /// What was found about its workloads.
    pub diagnosis: Vec<DeployDiagnosis>,
    /// Results of its checks; those of the rollback stand in `verify`.
    pub verify: Vec<Verification>,
    /// The revision that the release went back to.
    pub rolled_back_to: Option<u64>,
    /// Why it was not rolled back.
    pub left_alone: Option<String>,
}

/// Why a workload of a deploy is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployDiagnosis {
    /// The workload.
    pub object: crate::event::ObjectReference,
    /// Why.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
}

/// The release in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseResult {
    /// Its name.
    pub name: String,
    /// The newest revision that was found.
    pub from_revision: Option<u64>,
    /// A stored revision with exactly the images that run now.
    pub to_revision: Option<u64>,
    /// The revision that was written.
    pub new_revision: Option<u64>,
    /// The tag, where the target was one.
    pub tag: Option<String>,
}

/// An object in the result of a rollback to a stored revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectResult {
    /// The kind.
    pub kind: String,
    /// Its namespace; `null` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What was planned.
    pub action: crate::plan::rollback::Action,
    /// What was done: `created`, `changed`, `unchanged`, `deleted`, `kept`, `failed`, `notBegun`; `null` for a plan.
    pub done: Option<&'static str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A workload in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadResult {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// How it was changed; `none` where it was at the target already.
    pub strategy: &'static str,
    /// Its replicas; `null` for kinds without them.
    pub replicas: Option<ReplicasResult>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether its images were written.
    pub written: bool,
    /// Its images.
    pub containers: Vec<ContainerResult>,
    /// Why it is not ready.
    pub diagnosis: Vec<Diagnosis>,
}

/// The database in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseResult {
    /// Which program keeps its migrations.
    pub adapter: Adapter,
    /// The workload in whose environment it is run.
    pub workload: String,
    /// The image that undoes migrations.
    pub image: String,
    /// The image whose newest migration is the goal.
    pub target_image: Option<String>,
    /// Where the database was.
    pub from: Vec<String>,
    /// Where it goes.
    pub to: Vec<String>,
    /// The migrations that are undone, newest first.
    pub steps: Vec<Migration>,
    /// What became of it; `null` for a plan.
    pub done: Option<DatabaseDone>,
}

impl DatabaseResult {
    /// From a plan, and what became of it.
    pub fn of(step: &DatabasePlan, done: Option<&DatabaseDone>) -> Self {
        Self {
            adapter: step.settings.adapter,
            workload: step.workload.to_string(),
            image: step.image.clone(),
            target_image: step.target_image.clone(),
            from: step.downgrade.from.clone(),
            to: step.downgrade.to.clone(),
            steps: step.downgrade.steps.clone(),
            done: done.cloned(),
        }
    }
}

/// Replicas in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicasResult {
    /// Before us.
    pub before: i32,
    /// After us.
    pub after: i32,
}

/// A container in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerResult {
    /// Its name.
    pub name: String,
    /// The image before.
    pub from: String,
    /// The image after.
    pub to: String,
}

/// When things happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// The operation began.
    pub started_at: Option<Timestamp>,
    /// The first write to the cluster was answered.
    pub first_write_at: Option<Timestamp>,
    /// Every workload was ready again.
    pub restored_at: Option<Timestamp>,
    /// Helm's record was true again.
    pub reconciled_at: Option<Timestamp>,
    /// The operation ended.
    pub finished_at: Timestamp,
    /// Durations of the phases.
    pub phases: Vec<PhaseTiming>,
}

impl Timings {
    /// How long it took, as the end of a sentence: ` in 5.6s`; empty where the start is not known.
    pub fn elapsed(&self) -> String {
        self.started_at.map_or_else(String::new, |start| {
            let elapsed = self.finished_at.duration_since(start);
            format!(" in {}.{}s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
        })
    }
}

/// The duration of one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTiming {
    /// The phase.
    pub name: Phase,
    /// Milliseconds.
    pub ms: u64,
}

/// What was sent to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Requests, repeats not counted.
    pub total: u64,
    /// Those that can change the cluster.
    pub writes: u64,
    /// Repeats.
    pub retries: u64,
}
