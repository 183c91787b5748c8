//! What events and findings add up to: the machine-readable result.

pub mod checklist;
mod collector;
pub mod incident;
mod result;

/// Version of the documents that this tool prints and saves.
pub const API_VERSION: &str = "kubectl-rollback/v1";

pub use collector::Collector;
pub use result::{
    ContainerResult, DatabaseResult, DeployDiagnosis, DeployResult, ObjectResult, PhaseTiming, ReleaseResult,
    ReplicasResult, Requests, ResultDocument, Timings, WorkloadResult,
};
