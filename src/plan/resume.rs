//! What is left to do of an emergency that a process has begun and not ended, from its plan and what runs now. Pure.

use super::{Plan, WorkloadPlan};
use crate::discover::workload::{REPLICAS_BEFORE, SUSPEND_BEFORE};
use crate::discover::{Snapshot, Workload};

/// An emergency's plan, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// The plan with the workloads that are still to be written.
    pub plan: Plan,
    /// Those that were written already, with their `metadata.generation` now.
    pub done: Vec<(WorkloadPlan, i64)>,
}

/// Takes a plan apart by what runs now. Whether the database went back already only the journal tells; while it has not,
/// everything that uses it is still to be stopped, whatever it looks like.
pub fn remaining(plan: &Plan, now: &Snapshot, database_is_done: bool) -> Remaining {
    let mut left = Plan { workloads: Vec::new(), ..plan.clone() };
    if database_is_done {
        left.database = None;
    }
    let mut done = Vec::new();
    for planned in &plan.workloads {
        match now.workload(&planned.workload) {
            Some(live) if is_done(planned, live) && !left.waits_for_database(&planned.workload) => {
                done.push((planned.clone(), live.generation));
            }
            Some(live) => {
                // Our own stop may have given it its first annotation.
                let has_annotations = !live.annotations.is_empty();
                left.workloads.push(WorkloadPlan { has_annotations, ..planned.clone() });
            }
            None => left.workloads.push(planned.clone()),
        }
    }
    Remaining { plan: left, done }
}

/// Whether everything that the plan writes to a workload is there, and no note of a stop is left.
fn is_done(planned: &WorkloadPlan, live: &Workload) -> bool {
    let noted =
        live.annotations.contains_key(REPLICAS_BEFORE) || live.annotations.contains_key(SUSPEND_BEFORE);
    let image = |name: &str| live.containers.iter().find(|container| container.name == name);
    let has_images = planned
        .containers
        .iter()
        .all(|change| image(&change.name).is_some_and(|container| container.image == change.to.to_string()));
    // Where no image changes, only the number tells.
    let has_replicas = !planned.containers.is_empty()
        || planned.replicas.is_none_or(|replicas| live.replicas == Some(replicas.after));
    live.uid == planned.uid && !noted && has_images && has_replicas
}

/// Makes a snapshot of now one of then, as far as the operation has changed it: the records that it wrote are left out, and
/// images are those that the plan began with.
pub fn rewind(
    now: &mut Snapshot,
    plan: &Plan,
    image_managers: &std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>,
) {
    if let (Some(release), Some(planned)) = (&mut now.release, &plan.release) {
        let is_older = |revision: u64| revision < planned.new_revision;
        release.metas.retain(|meta| is_older(meta.revision));
        release.records.retain(|stored| is_older(stored.meta.revision));
        release.revisions.retain(|stored| is_older(stored.revision));
        release.base_revision = Some(planned.base_revision);
    }
    for workload in &mut now.workloads {
        if let Some(managers) = image_managers.get(&workload.reference.to_string()) {
            workload.image_managers.clone_from(managers);
        }
        let planned = plan.workloads.iter().find(|planned| planned.workload == workload.reference);
        for change in planned.map(|planned| planned.containers.as_slice()).unwrap_or_default() {
            let swapped = workload
                .containers
                .iter_mut()
                .find(|container| container.name == change.name && container.image == change.to.to_string());
            if let Some(container) = swapped {
                container.image.clone_from(&change.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    use super::*;
    use crate::execute::patches::tests::sample;
    use crate::plan::strategy::Strategy;
    use crate::workload::WorkloadKind;

    fn live(image: &str, replicas: i32, annotations: &Value) -> Snapshot {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 7, "annotations": annotations},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "side", "image": "side:1"}, {"name": "web", "image": image}
            ]}}},
        }))
        .unwrap();
        Snapshot { workloads: vec![Workload::read(WorkloadKind::Deployment, &object)], ..Snapshot::default() }
    }

    fn plan() -> Plan {
        Plan {
            release: None,
            target: "tag good".to_owned(),
            tag: None,
            same_images_as: None,
            workloads: vec![sample(Strategy::StopFirst)],
            unchanged: Vec::new(),
            skipped: Vec::new(),
            findings: Vec::new(),
            database: None,
        }
    }

    #[test]
    fn what_runs_tells_what_is_left() {
        for (image, replicas, annotations, is_done) in [
            ("acme/web:bad", 2, json!({}), false),
            ("acme/web:bad", 0, json!({REPLICAS_BEFORE: "2"}), false),
            ("acme/web:good", 2, json!({}), true),
            // An autoscaler has moved it since.
            ("acme/web:good", 5, json!({}), true),
            ("acme/web:good", 0, json!({REPLICAS_BEFORE: "2"}), false),
            ("acme/web:hotfix", 2, json!({}), false),
        ] {
            let left = remaining(&plan(), &live(image, replicas, &annotations), false);
            let expected = if is_done { (0, 1) } else { (1, 0) };
            assert_eq!((left.plan.workloads.len(), left.done.len()), expected, "{image} {replicas}");
        }
    }

    #[test]
    fn another_object_of_the_name_is_not_the_one_that_was_written() {
        let mut plan = plan();
        plan.workloads[0].uid = "other".to_owned();
        assert!(remaining(&plan, &live("acme/web:good", 2, &json!({})), false).done.is_empty());
    }

    #[test]
    fn a_snapshot_is_rewound_to_the_images_of_before() {
        let mut snapshot = live("acme/web:good", 2, &json!({}));
        rewind(&mut snapshot, &plan(), &std::collections::BTreeMap::new());
        assert_eq!(snapshot.workloads[0].containers[1].image, "acme/web:bad");
    }
}
