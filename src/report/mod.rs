//! What events and findings add up to: the machine-readable result.

mod collector;
mod result;

pub use collector::Collector;
pub use result::{
    ContainerResult, PhaseTiming, ReleaseResult, ReplicasResult, Requests, ResultDocument, Timings,
    WorkloadResult,
};
