//! What Helm's record must learn: the images that run where its base record says otherwise.

use std::collections::BTreeSet;

use super::Plan;
use crate::discover::workload::Container;
use crate::discover::{Release, Snapshot, Workload};
use crate::reconcile::Swap;
use crate::registry::ImageReference;
use crate::workload::WorkloadRef;

/// The swaps that Helm's record must tell of, were everything in the plan written.
pub fn if_all_written(plan: &Plan, snapshot: &Snapshot) -> Vec<Swap> {
    let written = plan.workloads.iter().map(|workload| &workload.workload).collect();
    after(plan, snapshot, &written)
}

/// Images that run now where the base record says otherwise, for the containers of the application.
pub fn after(plan: &Plan, snapshot: &Snapshot, written: &BTreeSet<&WorkloadRef>) -> Vec<Swap> {
    against_base(snapshot, |workload, container| {
        let planned = plan.workloads.iter().find(|planned| planned.workload == workload.reference);
        if planned.is_none() && !plan.unchanged.contains(&workload.reference) {
            return None;
        }
        let change = planned
            .and_then(|planned| planned.containers.iter().find(|change| change.name == container.name));
        match change {
            Some(change) if written.contains(&workload.reference) => Some(change.to.clone()),
            // Not ours to tell, unless an earlier run of ours left it at the target.
            Some(_) => None,
            None => container.reference(),
        }
    })
}

/// Every image that runs now where the base record says otherwise.
pub fn drift(snapshot: &Snapshot) -> Vec<Swap> {
    against_base(snapshot, |_, container| container.reference())
}

/// Compares the images that `now` tells of with those of the base record.
fn against_base(
    snapshot: &Snapshot,
    now: impl Fn(&Workload, &Container) -> Option<ImageReference>,
) -> Vec<Swap> {
    let Some(base) = snapshot.release.as_ref().and_then(Release::base_revision_images) else {
        return Vec::new();
    };
    let mut swaps = Vec::new();
    for workload in &snapshot.workloads {
        for container in &workload.containers {
            let reference = workload.container_ref(container);
            if let (Some(now), Some(stored)) = (now(workload, container), base.images.get(&reference))
                && now != *stored
            {
                swaps.push(Swap { container: reference, to: now });
            }
        }
    }
    swaps
}
