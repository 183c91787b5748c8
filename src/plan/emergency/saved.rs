//! An emergency's plan in a file: what was asked for, and what follows from it. Carried out only while the same request
//! still comes to the same.

use serde::{Deserialize, Serialize};

use super::{Request, Target};
use crate::discover::{Scope, Snapshot};
use crate::plan::saved::{Saved, moved_release as newest_moved};
use crate::plan::strategy::{Strategy, Wish};
use crate::plan::{Plan, PlannedRelease, WorkloadPlan};
use crate::workload::{WorkloadKind, WorkloadRef};

/// The command that carries such a plan out.
pub const PROCEDURE: &str = "emergency";

/// An emergency's plan in a file.
pub type SavedEmergency = Saved<Order, Plan>;

/// What was asked for, and where: enough to plan it once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The namespace.
    pub namespace: String,
    /// The release, or workloads without one.
    pub scope: Scope,
    /// Whether Helm's record is left alone.
    pub skip_reconcile: bool,
    /// What is asked for there.
    #[serde(flatten)]
    pub request: Request,
}

impl Order {
    /// The arguments that ask for the same on a command line.
    pub fn arguments(&self) -> String {
        let Request { target, images, take, keep, replicas, wish, named_workloads: _ } = &self.request;
        let mut words = vec![self.scope.to_string(), format!("-n {}", self.namespace)];
        words.extend(match target {
            Target::ImagesOnly => None,
            Target::Tag(tag) => Some(format!("--tag {tag}")),
            Target::Digest(digest) => Some(format!("--digest {digest}")),
            Target::Revision(revision) => Some(format!("--to-revision {revision}")),
        });
        words.extend(images.iter().map(|image| format!("--image {image}")));
        words.extend(take.iter().map(|container| format!("--container {container}")));
        words.extend(keep.iter().map(|container| format!("--exclude {container}")));
        words.extend(replicas.iter().map(|replicas| format!("--replicas {replicas}")));
        words.extend(match wish {
            Wish::Auto => None,
            Wish::Rolling => Some("--strategy rolling".to_owned()),
            Wish::StopFirst => Some("--strategy stop-first".to_owned()),
        });
        words.extend(self.skip_reconcile.then(|| "--skip-reconcile".to_owned()));
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }
}

/// The plan that is carried out: what the file says, on what was found now. Where the cluster has moved since, how: one
/// sentence each.
pub fn again(saved: &Plan, request: &Request, snapshot: &Snapshot) -> Result<Plan, Vec<String>> {
    let release = super::planned_release(snapshot);
    let mut moves = moved_release(saved.release.as_ref(), release.as_ref());
    moves.extend(replaced(saved, snapshot));
    if !moves.is_empty() {
        return Err(moves);
    }
    let fresh = super::plan(request, snapshot)
        .map_err(|error| vec![format!("the same cannot be planned any more: {error}")])?;
    let moves = moved(saved, &fresh);
    if moves.is_empty() { Ok(carried_out(saved, fresh)) } else { Err(moves) }
}

/// Workloads that are no longer there, or are others by the same name.
fn replaced(saved: &Plan, snapshot: &Snapshot) -> Vec<String> {
    let uids = saved.workloads.iter().map(|planned| (&planned.workload, Some(&planned.uid)));
    let all = uids.chain(saved.unchanged.iter().map(|reference| (reference, None)));
    all.filter_map(|(reference, uid)| match snapshot.workload(reference) {
        None => Some(format!("{reference} is gone")),
        Some(found) if uid.is_some_and(|uid| *uid != found.uid) => {
            Some(format!("{reference} was deleted and made anew since"))
        }
        Some(_) => None,
    })
    .collect()
}

/// How the plan that comes out now differs.
fn moved(saved: &Plan, fresh: &Plan) -> Vec<String> {
    let mut moves = Vec::new();
    let planned = |plan: &Plan, reference: &WorkloadRef| {
        plan.workloads.iter().find(|planned| planned.workload == *reference).cloned()
    };
    for old in &saved.workloads {
        match planned(fresh, &old.workload) {
            Some(new) => {
                moves.extend(moved_workload(old, &new).map(|what| format!("{} {what}", old.workload)));
            }
            None if fresh.unchanged.contains(&old.workload) => {
                moves.push(format!("{} is at the target already", old.workload));
            }
            None => moves.push(format!("{} would not be changed any more", old.workload)),
        }
    }
    for reference in saved.unchanged.iter().filter(|reference| !fresh.unchanged.contains(reference)) {
        moves.push(match planned(fresh, reference) {
            Some(_) => format!("{reference} is not at the target any more"),
            None => format!("{reference} does not belong to the application any more"),
        });
    }
    let known =
        |reference: &WorkloadRef| saved.unchanged.contains(reference) || planned(saved, reference).is_some();
    let all = fresh.workloads.iter().map(|planned| &planned.workload).chain(&fresh.unchanged);
    moves.extend(
        all.filter(|reference| !known(reference)).map(|reference| format!("{reference} is not in the plan")),
    );
    moves
}

fn moved_release(saved: Option<&PlannedRelease>, fresh: Option<&PlannedRelease>) -> Vec<String> {
    let (saved, fresh) = match (saved, fresh) {
        (Some(saved), Some(fresh)) => (saved, fresh),
        (None, None) => return Vec::new(),
        (Some(saved), None) => return vec![format!("release {} cannot be read any more", saved.name)],
        (None, Some(fresh)) => {
            return vec![format!("release {} can be read now, the plan was made without it", fresh.name)];
        }
    };
    let newest = |release: &PlannedRelease| (release.current_revision, release.current_status.clone());
    let moved = newest_moved(newest(saved), newest(fresh));
    let moved = moved.or_else(|| {
        (saved.base_revision != fresh.base_revision).then(|| {
            format!(
                "the new record would be made from revision {}, no longer from {}",
                fresh.base_revision, saved.base_revision
            )
        })
    });
    moved.into_iter().collect()
}

/// How a workload has moved, as the end of a sentence.
fn moved_workload(old: &WorkloadPlan, new: &WorkloadPlan) -> Option<String> {
    let images = |planned: &WorkloadPlan, of: fn(&crate::plan::ContainerChange) -> String| {
        let named = planned.containers.iter().map(|change| format!("{} {}", change.name, of(change)));
        named.collect::<Vec<_>>().join(", ")
    };
    let (was, is) = (images(old, |change| change.from.clone()), images(new, |change| change.from.clone()));
    if was != is {
        return Some(format!(
            "would leave other images behind: {}, the plan says {}",
            or_none(&is),
            or_none(&was)
        ));
    }
    let (was, is) =
        (images(old, |change| change.to.to_string()), images(new, |change| change.to.to_string()));
    if was != is {
        return Some(format!("would get {is}, the plan says {was}"));
    }
    if old.replicas != new.replicas {
        let words = |planned: &WorkloadPlan| {
            planned.replicas.map_or_else(
                || "none".to_owned(),
                |replicas| format!("{} (in the end {})", replicas.live, replicas.after),
            )
        };
        return Some(format!("has other replicas: {}, the plan says {}", words(new), words(old)));
    }
    if old.suspend_after != new.suspend_after {
        return Some("was suspended or resumed since".to_owned());
    }
    moved_strategy(old, new)
}

/// Stopping is decided by what runs: pods that have become Ready since were not shown as those that it ends.
fn moved_strategy(old: &WorkloadPlan, new: &WorkloadPlan) -> Option<String> {
    let stops = old.strategy == Strategy::StopFirst && old.workload.kind != WorkloadKind::CronJob;
    if stops && new.ready_pods > old.ready_pods {
        return Some(format!(
            "has {} Ready, which stopping it would end; the plan was made with {}",
            crate::words::counted(new.ready_pods, "pod"),
            old.ready_pods
        ));
    }
    (stops && new.strategy != Strategy::StopFirst)
        .then(|| format!("would not be stopped any more ({}), and the plan stops it", new.why))
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn carried_out(saved: &Plan, fresh: Plan) -> Plan {
    let mut plan = fresh;
    for planned in &mut plan.workloads {
        if let Some(saved) = saved.workloads.iter().find(|saved| saved.workload == planned.workload) {
            planned.strategy = saved.strategy;
            planned.why.clone_from(&saved.why);
            planned.unstick = saved.unstick;
        }
    }
    plan
}
