//! How far stored revisions agree with what runs: by the images of every container, and whether those workloads are ready.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::discover::{Snapshot, Workload};
use crate::helm::manifest::Manifest;
use crate::helm::storage::StoredRecord;
use crate::wait::readiness;
use crate::workload::ContainerRef;

/// Objects that Helm leaves behind on purpose carry this with the value `keep`.
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// How far one revision agrees with what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// Containers of the revision that run its image.
    pub equal: usize,
    /// Containers of the revision that run another image.
    pub different: Vec<String>,
    /// Workloads of the revision that are not there.
    pub missing: Vec<String>,
    /// Workloads of the release that are there and that the revision does not have.
    pub extra: Vec<String>,
    /// Workloads of the revision that are not ready.
    pub unready: Vec<String>,
}

impl Agreement {
    /// Whether the revision names exactly what runs. A revision without containers tells nothing.
    pub fn is_whole(&self) -> bool {
        self.equal > 0 && self.different.is_empty() && self.missing.is_empty() && self.extra.is_empty()
    }

    /// Whether the revision is what runs, and all of it is ready.
    pub fn is_ready(&self) -> bool {
        self.is_whole() && self.unready.is_empty()
    }

    /// Compares one stored revision with what runs.
    pub fn of(stored: &StoredRecord, snapshot: &Snapshot) -> Self {
        let manifest = Manifest::parse(stored.record.manifest(), &stored.meta.namespace);
        let (images, named) = (manifest.images(), manifest.workloads());
        let mut agreement = Self::default();
        for reference in &named {
            match snapshot.workload(reference) {
                None => agreement.missing.push(reference.to_string()),
                Some(workload) if !is_ready(workload) => agreement.unready.push(reference.to_string()),
                Some(_) => {}
            }
        }
        let live = live_images(snapshot);
        for (container, image) in &images {
            match live.get(container) {
                Some(live) if live == image => agreement.equal += 1,
                Some(_) => agreement.different.push(container.to_string()),
                // A container that its workload does not have any more; a workload that is gone was named above.
                None if snapshot.workload(&container.workload).is_some() => {
                    agreement.different.push(container.to_string());
                }
                None => {}
            }
        }
        let is_kept = |workload: &Workload| {
            workload.annotations.get(RESOURCE_POLICY).is_some_and(|policy| policy == "keep")
        };
        let extra = snapshot
            .workloads
            .iter()
            .filter(|workload| !named.contains(&workload.reference) && !is_kept(workload));
        agreement.extra = extra.map(|workload| workload.reference.to_string()).collect();
        agreement
    }
}

/// A container, what it runs, and which revisions say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningImage {
    /// The container.
    pub container: String,
    /// The image in its pod template.
    pub image: String,
    /// The revisions that name this image for it, newest first.
    pub revisions: Vec<u64>,
}

/// What runs, container by container, and which of the revisions say so.
pub fn running_images(snapshot: &Snapshot, stored: &[&StoredRecord]) -> Vec<RunningImage> {
    let named: Vec<_> = stored
        .iter()
        .map(|stored| {
            let manifest = Manifest::parse(stored.record.manifest(), &stored.meta.namespace);
            (stored.meta.revision, manifest.images())
        })
        .collect();
    let running = live_images(snapshot).into_iter().map(|(container, image)| RunningImage {
        revisions: named
            .iter()
            .filter(|(_, images)| images.get(&container) == Some(&image))
            .map(|(revision, _)| *revision)
            .collect(),
        container: container.to_string(),
        image,
    });
    running.collect()
}

fn live_images(snapshot: &Snapshot) -> BTreeMap<ContainerRef, String> {
    let containers = snapshot.workloads.iter().flat_map(|workload| {
        workload
            .containers
            .iter()
            .map(|container| (workload.container_ref(container), container.image.clone()))
    });
    containers.collect()
}

fn is_ready(workload: &Workload) -> bool {
    // Stopped by an interrupted run of ours: complete by its own numbers, and serving nobody.
    workload.remembered_replicas().is_none()
        && readiness::of(workload.reference.kind.as_str(), &workload.object).done
}
