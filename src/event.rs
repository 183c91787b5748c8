//! What happens during an operation, as one stream of events: the screen, `-o jsonl` and the final result are
//! consumers of it. The JSON shapes are part of the tool's interface: fields are added, never renamed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Version of the event format.
    pub v: u8,
    /// When, by the operator's clock.
    pub ts: Timestamp,
    /// Identifier of the operation.
    pub operation: String,
    /// Counts from 1 within the operation, without gaps.
    pub seq: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// The first event of every operation.
    OperationStarted {
        /// `emergency`, `reconcile`, …
        procedure: String,
        /// Name of the kubeconfig context.
        context: String,
        /// Namespace of the release or workloads.
        namespace: String,
        /// Name of the Helm release, where there is one.
        release: Option<String>,
        /// What we go back to, in words.
        target: String,
        /// The operator's `--reason`.
        reason: Option<String>,
        /// The operator's `--incident`.
        incident: Option<String>,
        /// Who runs this, as `user@host`.
        actor: String,
    },
    /// One result of the checks before the first write.
    Preflight(Finding),
    /// A phase began or ended.
    Stage {
        /// The phase.
        stage: Phase,
        /// What became of it.
        status: StageStatus,
        /// Time since the phase began, in milliseconds.
        elapsed_ms: u64,
        /// A short sentence for people.
        message: String,
        /// How many workloads the phase is about, where its progress is reported for each.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<usize>,
    },
    /// Something was written to the cluster.
    Change {
        /// `patch`, `create`, `update` or `delete`.
        verb: &'static str,
        /// What was written.
        object: ObjectReference,
        /// The fields that changed, as dotted paths.
        fields: Vec<String>,
        /// Their values before, where they are not secret.
        before: Value,
        /// Their values after, where they are not secret.
        after: Value,
    },
    /// How far a workload is.
    Progress(Progress),
    /// Why a workload is not ready.
    Diagnosis {
        /// The workload concerned.
        object: ObjectReference,
        /// The typed reason.
        #[serde(flatten)]
        diagnosis: Diagnosis,
    },
    /// One result of the checks after a rollback.
    Verify(Verification),
    /// What a container has said, where a hook's policy asks for it.
    Output {
        /// The hook's object.
        object: ObjectReference,
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// The last lines, without credentials.
        lines: Vec<String>,
    },
    /// Something the operator should know that is no phase of its own.
    Warning {
        /// The sentence.
        message: String,
    },
    /// The last event of every operation.
    OperationFinished {
        /// As in the result.
        outcome: crate::outcome::Outcome,
        /// The process's exit code.
        exit_code: u8,
        /// Whole duration in milliseconds.
        elapsed_ms: u64,
        /// Whether anything was written to the cluster.
        changed: bool,
        /// Why it failed, where it did.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The next commands.
        next: Vec<String>,
    },
}

/// Names an object in events and results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// The kind as the API spells it.
    pub kind: String,
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl From<&crate::workload::WorkloadRef> for ObjectReference {
    fn from(workload: &crate::workload::WorkloadRef) -> Self {
        Self {
            kind: workload.kind.to_string(),
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
        }
    }
}

/// Readiness of one workload while it is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The workload.
    pub object: ObjectReference,
    /// Pods of the target that are ready (and available, where the kind knows it).
    pub ready: i32,
    /// Pods wanted.
    pub desired: i32,
    /// Whether the workload is done.
    pub done: bool,
    /// A short state for people: `ready`, `0 of 2 updated`, `ImagePullBackOff`.
    pub state: String,
}

/// Phases of a procedure, as in the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the cluster.
    Discover,
    /// Deciding what to do.
    Plan,
    /// Checking that it can work.
    Preflight,
    /// Asking the operator.
    Confirm,
    /// Pausing whoever would undo us.
    Freeze,
    /// Database migration.
    Database,
    /// Scaling to zero.
    Stop,
    /// Writing images and replicas.
    Start,
    /// Waiting for readiness.
    Wait,
    /// Making Helm's record true.
    Reconcile,
    /// Smoke tests.
    Verify,
}

impl Phase {
    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Plan => "plan",
            Self::Preflight => "preflight",
            Self::Confirm => "confirm",
            Self::Freeze => "freeze",
            Self::Database => "database",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Wait => "wait",
            Self::Reconcile => "reconcile",
            Self::Verify => "verify",
        }
    }
}

/// What became of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    /// It began.
    Started,
    /// It ended well.
    Done,
    /// It was not needed.
    Skipped,
    /// It failed.
    Failed,
}

/// One result of a check before the first write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// What was checked: a workload, an image, a permission.
    pub subject: String,
    /// The answer.
    pub status: FindingStatus,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty when there is nothing to do.
    pub hint: String,
}

/// One result of the checks after a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Which check: `readiness`, `endpoints`, `http`, `exec`, `tcp`, `redis`, `prometheus`, `logs`.
    pub check: String,
    /// What was checked: a workload, a Service, the name of a configured check.
    pub subject: String,
    /// The answer.
    pub status: FindingStatus,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty when there is nothing to do.
    pub hint: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// May we do what the plan says?
    Permission,
    /// Does the image exist?
    Image,
    /// Do the objects that the target refers to exist?
    Reference,
    /// Does the server accept what we will send?
    Api,
    /// Is there room for it?
    Quota,
    /// Will an autoscaler interfere?
    Autoscaler,
    /// Will a GitOps controller undo it?
    Owner,
    /// Is Helm's record in order?
    Helm,
    /// Does the database fit?
    Schema,
    /// Can the workload be stopped and started as planned?
    Strategy,
}

/// The four answers of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingStatus {
    /// In order.
    Pass,
    /// Worth reading.
    Warn,
    /// It cannot work: nothing is written.
    Fail,
    /// Could not be found out; never blocks.
    Unknown,
}

/// A typed reason why a workload is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The reason.
    pub code: DiagnosisCode,
    /// Whether waiting longer can help.
    pub severity: Severity,
    /// Name of the pod concerned; `None` when the workload itself is (quota, progress deadline).
    pub pod: Option<String>,
    /// Name of the container concerned.
    pub container: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// Exit code of the container's last run.
    pub exit_code: Option<i32>,
    /// Restarts of the container.
    pub restarts: i32,
    /// The last log lines, of the previous run where it crashed.
    #[serde(default)]
    pub logs: Vec<String>,
    /// Warning events since the start, duplicates folded: `BackOff x3: …`.
    #[serde(default)]
    pub events: Vec<String>,
    /// What to look at or run next.
    pub hint: String,
}

/// Whether waiting longer can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It may still come right.
    Warning,
    /// It will not come right by waiting.
    Fatal,
}

/// The reasons why a workload is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DiagnosisCode {
    /// The image does not exist in the registry.
    ImageNotFound,
    /// The registry refused the credentials.
    ImagePullAuth,
    /// The registry could not be reached or answered with an error.
    ImagePullTransient,
    /// The image reference is not valid, or the pull policy forbids pulling.
    InvalidImageName,
    /// A Secret, ConfigMap or key that the container refers to is missing.
    ConfigError,
    /// The container's command could not be started.
    StartError,
    /// The container exits again and again.
    CrashLoop,
    /// The container was killed for using more memory than its limit.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// An init container fails.
    InitFailed,
    /// No node can take the pod.
    Unschedulable,
    /// A quota or an admission rule refuses the pod.
    QuotaOrAdmission,
    /// A volume cannot be mounted or attached.
    VolumeProblem,
    /// The Deployment's progress deadline passed.
    ProgressDeadline,
    /// The container runs but its readiness probe does not pass.
    ReadinessStuck,
    /// A StatefulSet waits for a broken pod of the old revision.
    StatefulSetStuck,
    /// A Job, or a pod that should run to its end, has failed.
    JobFailed,
}

/// The name as it stands in JSON.
impl fmt::Display for DiagnosisCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}
