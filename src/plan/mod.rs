//! From what was asked and what was found to a plan. Pure: nothing here reads the cluster, the clock or the
//! terminal, so a plan can be computed from a saved snapshot.

pub mod containers;
pub mod database;
#[cfg(test)]
mod database_tests;
pub mod diff;
pub mod emergency;
pub mod fields;
pub mod last_good;
#[cfg(test)]
mod last_good_tests;
mod mentions;
pub mod question;
pub mod repair;
pub mod resume;
pub mod revisions;
pub mod rollback;
pub mod saved;
mod selection;
pub mod strategy;
pub mod swaps;
pub mod tags;
mod targets;
pub mod undo;
#[cfg(test)]
mod undo_tests;

use serde::{Deserialize, Serialize};

use crate::event::{Finding, FindingStatus};
use crate::registry::ImageReference;
use crate::workload::WorkloadRef;
use strategy::Strategy;

/// What will be done, specific enough that executing it makes no choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The release, where there is one.
    pub release: Option<PlannedRelease>,
    /// What we go back to, in words: `tag abc123d`.
    pub target: String,
    /// The tag, where the target is one.
    pub tag: Option<String>,
    /// A stored revision that has exactly the images that will run, if there is one.
    pub same_images_as: Option<u64>,
    /// Workloads that are written.
    pub workloads: Vec<WorkloadPlan>,
    /// Workloads of the application that are at the target already.
    pub unchanged: Vec<WorkloadRef>,
    /// What is not touched, and why.
    pub skipped: Vec<Skipped>,
    /// What planning itself found out.
    pub findings: Vec<Finding>,
    /// How the database goes back before anything is started, where it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub database: Option<Box<database::DatabasePlan>>,
}

impl Plan {
    /// Whether a finding of the planning itself forbids the plan.
    pub fn is_blocked(&self) -> bool {
        self.findings.iter().any(|finding| finding.status == FindingStatus::Fail)
    }

    /// Whether a workload is stopped while the database goes back.
    pub fn waits_for_database(&self, workload: &WorkloadRef) -> bool {
        self.database.as_ref().is_some_and(|step| step.uses.contains(workload))
    }

    /// The workloads that the plan is about: those that are written, and those that are at the target already.
    pub fn touched(&self) -> impl Iterator<Item = &WorkloadRef> {
        self.workloads.iter().map(|planned| &planned.workload).chain(&self.unchanged)
    }
}

/// The release as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRelease {
    /// Its name.
    pub name: String,
    /// Its newest revision.
    pub current_revision: u64,
    /// That revision's status as Helm says it.
    pub current_status: String,
    /// The revision that will describe what runs.
    pub new_revision: u64,
    /// The stored revision whose record the new one is made from: the one that agrees best with what runs.
    pub base_revision: u64,
}

/// What is done to one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPlan {
    /// Which one.
    pub workload: WorkloadRef,
    /// Its UID: every write tests it.
    pub uid: String,
    /// How.
    pub strategy: Strategy,
    /// Why so.
    pub why: String,
    /// Images, in the order of the pod template.
    pub containers: Vec<ContainerChange>,
    /// Replicas; `None` for kinds without them.
    pub replicas: Option<ReplicaPlan>,
    /// Pods that are Ready now.
    pub ready_pods: usize,
    /// Whether old broken pods are deleted after the write.
    pub unstick: bool,
    /// Whether a CronJob is to be suspended in the end; `None` for other kinds.
    pub suspend_after: Option<bool>,
    /// Seconds to wait for stopped pods, from their own grace period.
    pub grace_seconds: u64,
    /// Whether annotations of an earlier, interrupted run are to be removed.
    pub forget: bool,
    /// Whether the object has any annotations: a JSON patch cannot add one to a missing map.
    pub has_annotations: bool,
}

impl WorkloadPlan {
    /// How many Ready pods stopping it kills.
    pub fn pods_killed(&self) -> usize {
        if self.strategy == Strategy::StopFirst { self.ready_pods } else { 0 }
    }
}

/// One image that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerChange {
    /// The container's name.
    pub name: String,
    /// Whether it is an init container.
    pub init: bool,
    /// Its index in `containers` or `initContainers`.
    pub index: usize,
    /// The image now.
    pub from: String,
    /// The image after.
    pub to: ImageReference,
    /// Why it takes the target.
    pub why: String,
}

/// What becomes of `spec.replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaPlan {
    /// The number that counts as what was there before us: the live one, or what an interrupted run remembered.
    pub before: i32,
    /// The number in the end.
    pub after: i32,
    /// The number that stands in the object now.
    pub live: i32,
}

/// Something that is not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What: `Deployment/redis redis`.
    pub what: String,
    /// Why.
    pub why: String,
}
