//! Reads the cluster into a [`Snapshot`]: the release's records, its workloads with their pods and past, who scales
//! them, who would undo us. The only reads that planning rests on.

pub mod apis;
pub mod cluster;
pub mod list;
pub mod object;
pub mod owners;
pub mod release;
pub mod revisions;
pub mod rollback;
mod run;
pub mod scope;
pub mod tags;
pub mod workload;

use std::collections::BTreeMap;

use crate::registry::ImageReference;
use crate::workload::{ContainerRef, WorkloadRef};

pub use owners::Owner;
pub use release::{RecordProblem, Release};
pub use run::{DiscoverError, glance, run};
pub use scope::Scope;
pub use workload::Workload;

/// What was found, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The release with its readable records; `None` where there is no release or nothing of it can be read.
    pub release: Option<Release>,
    /// The release's name, also where its records are missing or unreadable.
    pub release_name: Option<String>,
    /// Why the records cannot be used, where they cannot.
    pub record_problem: Option<RecordProblem>,
    /// The release where its newest record cannot be read: what `repair` looks at, and nothing else builds on.
    pub damaged: Option<Release>,
    /// The workloads, sorted by kind and name.
    pub workloads: Vec<Workload>,
    /// Workloads that the newest record names and the cluster does not have.
    pub missing: Vec<WorkloadRef>,
    /// Controllers that would undo us.
    pub owners: Vec<Owner>,
    /// What could not be read, and what follows from that.
    pub warnings: Vec<String>,
}

impl Snapshot {
    /// The workload of that name, if it was found.
    pub fn workload(&self, reference: &WorkloadRef) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.reference == *reference)
    }
}

/// What one stored revision of the release says about images and replicas.
#[derive(Debug, Clone, Default)]
pub struct StoredRevision {
    /// Its number.
    pub revision: u64,
    /// Its status as Helm says it.
    pub status: String,
    /// Its description: the status alone does not tell whether it ran.
    pub description: String,
    /// Its images.
    pub images: BTreeMap<ContainerRef, ImageReference>,
    /// The replicas that it renders; `None` where it renders none.
    pub replicas: BTreeMap<WorkloadRef, Option<i64>>,
}
