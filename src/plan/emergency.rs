//! The plan of the emergency procedure: images swapped on the release's own workloads, nothing else.

pub mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::last_good::ran;
use super::question::{PlanError, Question};
use super::selection::check_selectors;
use super::strategy::{self, Wish};
use super::targets::{TargetImage, targets};
use super::{ContainerChange, Plan, PlannedRelease, ReplicaPlan, WorkloadPlan, mentions};
use crate::cli::{ContainerSelector, ImageOverride, ReplicaOverride};
use crate::discover::workload::{Container, SUSPEND_BEFORE};
use crate::discover::{Snapshot, StoredRevision, Workload};
use crate::event::{Check, Finding, FindingStatus};
use crate::workload::WorkloadKind;

/// What the operator asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What to go back to.
    pub target: Target,
    /// Images for single repositories, in place of the target.
    pub images: Vec<ImageOverride>,
    /// Containers that take the target.
    pub take: Vec<ContainerSelector>,
    /// Containers that keep their image.
    pub keep: Vec<ContainerSelector>,
    /// Numbers of pods, in place of those found.
    pub replicas: Vec<ReplicaOverride>,
    /// How to change workloads.
    pub wish: Wish,
    /// The workloads were named one by one, so that their only container needs no further evidence.
    pub named_workloads: bool,
}

/// What to go back to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Only what `--image` says.
    #[default]
    ImagesOnly,
    /// A tag for the application's containers.
    Tag(String),
    /// A digest for the application's one image.
    Digest(String),
    /// The images of a stored revision.
    Revision(u64),
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ImagesOnly => formatter.write_str("the images named by --image"),
            Self::Tag(tag) => write!(formatter, "tag {tag}"),
            Self::Digest(digest) => write!(formatter, "digest {digest}"),
            Self::Revision(revision) => write!(formatter, "the images of revision {revision}"),
        }
    }
}

/// Plans the emergency procedure.
pub fn plan(request: &Request, snapshot: &Snapshot) -> Result<Plan, PlanError> {
    check_selectors(request, snapshot)?;
    let mut questions = Vec::new();
    let mut skipped = Vec::new();
    let targets = targets(request, snapshot, &mut questions, &mut skipped)?;

    let mut plan = Plan {
        release: planned_release(snapshot),
        target: request.target.to_string(),
        tag: match &request.target {
            Target::Tag(tag) => Some(tag.clone()),
            _ => None,
        },
        same_images_as: None,
        workloads: Vec::new(),
        unchanged: Vec::new(),
        skipped,
        findings: Vec::new(),
        database: None,
    };
    for (workload, images) in snapshot.workloads.iter().zip(targets) {
        if images.is_empty() {
            continue;
        }
        let changes = changes(workload, &images);
        let replicas = match replicas(request, snapshot, workload) {
            Ok(replicas) => replicas,
            Err(question) => {
                questions.push(*question);
                continue;
            }
        };
        let forget =
            workload.remembered_replicas().is_some() || workload.annotations.contains_key(SUSPEND_BEFORE);
        let keeps_replicas = replicas.is_none_or(|replicas| replicas.live == replicas.after);
        if changes.is_empty() && !forget && keeps_replicas && !workload.waits_for_broken_pods() {
            plan.unchanged.push(workload.reference.clone());
        } else {
            plan_workload(&mut plan, request, workload, changes, replicas, forget);
        }
    }
    if !questions.is_empty() {
        return Err(PlanError::Questions(questions));
    }
    if plan.workloads.is_empty() && plan.unchanged.is_empty() {
        let reasons: BTreeSet<&str> = plan.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        let reasons = if reasons.is_empty() { "no workloads found".to_owned() } else { reasons.join("; ") };
        return Err(PlanError::NothingToDo(plan.target, reasons));
    }
    plan.same_images_as = same_images_as(&plan, snapshot);
    let mentions = mentions::findings(&plan, snapshot);
    plan.findings.extend(mentions);
    Ok(plan)
}

fn plan_workload(
    plan: &mut Plan,
    request: &Request,
    workload: &Workload,
    containers: Vec<ContainerChange>,
    replicas: Option<ReplicaPlan>,
    forget: bool,
) {
    let unstick = workload.waits_for_broken_pods();
    let mut choice = strategy::choose(request.wish, workload);
    if containers.is_empty() {
        choice = strategy::Choice {
            strategy: strategy::Strategy::Rolling,
            why: if unstick {
                "its images are at the target already; only broken pods of the old revision are deleted"
                    .to_owned()
            } else {
                "its images are at the target already; only its replicas are restored".to_owned()
            },
            unstick,
            obstacle: None,
            warning: None,
        };
    }
    let finding = |status, message: String, hint: String| Finding {
        check: Check::Strategy,
        subject: workload.reference.to_string(),
        status,
        message,
        hint,
    };
    if let Some((message, hint)) = choice.obstacle {
        plan.findings.push(finding(FindingStatus::Fail, message, hint));
    }
    if let Some(message) = choice.warning {
        plan.findings.push(finding(FindingStatus::Warn, message, String::new()));
    }
    plan.workloads.push(WorkloadPlan {
        workload: workload.reference.clone(),
        uid: workload.uid.clone(),
        strategy: choice.strategy,
        why: choice.why,
        containers,
        replicas,
        ready_pods: workload.ready_pods(),
        unstick: choice.unstick,
        suspend_after: (workload.reference.kind == WorkloadKind::CronJob).then(|| {
            let remembered = workload.annotations.get(SUSPEND_BEFORE).map(|value| value == "true");
            remembered.unwrap_or(workload.suspended)
        }),
        grace_seconds: workload.grace_seconds(),
        forget,
        has_annotations: !workload.annotations.is_empty(),
    });
}

/// The release as plans name it.
pub fn planned_release(snapshot: &Snapshot) -> Option<PlannedRelease> {
    let release = snapshot.release.as_ref()?;
    let newest = release.newest()?;
    Some(PlannedRelease {
        name: release.name.clone(),
        current_revision: newest.revision,
        current_status: newest.status.clone(),
        new_revision: newest.revision + 1,
        base_revision: release.base_revision?,
    })
}

fn changes(workload: &Workload, images: &[TargetImage]) -> Vec<ContainerChange> {
    let change = |container: &Container| {
        let TargetImage { image, why, .. } = images.iter().find(|image| image.container == container.name)?;
        (container.image != image.to_string()).then(|| ContainerChange {
            name: container.name.clone(),
            init: container.init,
            index: container.index,
            from: container.image.clone(),
            to: image.clone(),
            why: why.clone(),
        })
    };
    workload.containers.iter().filter_map(change).collect()
}

/// How many pods the workload gets (design D4): what was there before us, not below the autoscaler's minimum.
fn replicas(
    request: &Request,
    snapshot: &Snapshot,
    workload: &Workload,
) -> Result<Option<ReplicaPlan>, Box<Question>> {
    let Some(live) = workload.replicas else {
        return Ok(None);
    };
    // A remembered number counts only while nobody else has started the workload again.
    let remembered = workload.remembered_replicas().filter(|_| live == 0);
    let before = remembered.unwrap_or(live);
    let asked = request.replicas.iter().find(|replicas| replicas.workload.selects(&workload.reference));
    let minimum = workload.autoscaler.as_ref().map(|autoscaler| autoscaler.minimum);
    let rendered =
        snapshot.release.as_ref().and_then(|release| release.rendered_replicas(&workload.reference));
    let after = match (asked, before) {
        (Some(asked), _) => asked.replicas,
        (None, 0) if remembered.is_none() && rendered != Some(0) => {
            let proposal = minimum
                .map(|minimum| (minimum, "its autoscaler's minimum"))
                .or(rendered.map(|rendered| (rendered, "Helm's manifest")));
            return Err(Box::new(Question::Replicas { workload: workload.reference.clone(), proposal }));
        }
        (None, 0) => 0,
        // A running workload is its autoscaler's business; only a number that we bring back must fit it.
        (None, before) if live == 0 => minimum.map_or(before, |minimum| before.max(minimum)),
        (None, before) => before,
    };
    Ok(Some(ReplicaPlan { before, after, live }))
}

/// The newest stored revision whose images equal those that will run, in every container that the snapshot knows.
fn same_images_as(plan: &Plan, snapshot: &Snapshot) -> Option<u64> {
    let release = snapshot.release.as_ref()?;
    let future_image = |workload: &Workload, container: &Container| {
        let planned = plan.workloads.iter().find(|planned| planned.workload == workload.reference);
        let change = planned
            .and_then(|planned| planned.containers.iter().find(|change| change.name == container.name));
        change.map_or_else(|| container.image.clone(), |change| change.to.to_string())
    };
    let agrees = |stored: &StoredRevision| {
        snapshot.workloads.iter().all(|workload| {
            workload.containers.iter().all(|container| {
                let reference = workload.container_ref(container);
                stored
                    .images
                    .get(&reference)
                    .is_some_and(|image| image.to_string() == future_image(workload, container))
            })
        })
    };
    let is_good = |stored: &StoredRevision| ran(&stored.status.as_str().into(), &stored.description).is_ok();
    release.revisions.iter().find(|stored| is_good(stored) && agrees(stored)).map(|stored| stored.revision)
}
