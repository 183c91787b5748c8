//! The JSON Patches of the emergency write (design D2). Pure: a plan's numbers in, operations out. Every patch tests
//! the UID first, and the start tests each container's name and image at its index, so that it is applied whole or not
//! at all and never to something else.

use serde_json::{Value, json};

use crate::discover::workload::{REPLICAS_BEFORE, SUSPEND_BEFORE};
use crate::plan::strategy::Strategy;
use crate::plan::{ContainerChange, WorkloadPlan};
use crate::workload::WorkloadKind;

fn test(path: &str, value: impl Into<Value>) -> Value {
    json!({"op": "test", "path": path, "value": value.into()})
}

fn set(path: &str, value: impl Into<Value>) -> Value {
    // `add` on an object member replaces it where it exists, so that it fits absent fields too.
    json!({"op": "add", "path": path, "value": value.into()})
}

/// JSON pointer of an annotation.
fn annotation(name: &str) -> String {
    format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The write that stops a workload: zero replicas (or suspension), and what was there before as an annotation.
/// `has_annotations` tells whether the object has any: a patch cannot add one to a missing map.
pub fn stop(plan: &WorkloadPlan, has_annotations: bool) -> Value {
    let mut operations = vec![test("/metadata/uid", plan.uid.as_str())];
    if !has_annotations {
        operations.push(set("/metadata/annotations", json!({})));
    }
    if plan.workload.kind == WorkloadKind::CronJob {
        let before = plan.suspend_after.unwrap_or(false);
        operations.push(set(&annotation(SUSPEND_BEFORE), before.to_string()));
        operations.push(set("/spec/suspend", true));
    } else if let Some(replicas) = plan.replicas {
        operations.push(test("/spec/replicas", replicas.live));
        operations.push(set(&annotation(REPLICAS_BEFORE), replicas.before.to_string()));
        operations.push(set("/spec/replicas", 0));
    }
    Value::Array(operations)
}

/// What the start write finds: whether our stop (or an earlier run's) left its annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The annotation that remembers replicas or suspension is there.
    pub remembered: bool,
}

/// The write that starts a workload: images, replicas where they are ours to set, and the annotation gone.
pub fn start(plan: &WorkloadPlan, found: Found) -> Value {
    let mut operations = vec![test("/metadata/uid", plan.uid.as_str())];
    for change in &plan.containers {
        let container = container_pointer(plan.workload.kind, change);
        operations.push(test(&format!("{container}/name"), change.name.as_str()));
        operations.push(test(&format!("{container}/image"), change.from.as_str()));
        operations.push(
            json!({"op": "replace", "path": format!("{container}/image"), "value": change.to.to_string()}),
        );
    }
    operations.extend(restore(plan, found));
    Value::Array(operations)
}

/// The write that only brings a stopped workload back, whatever images it has by now.
pub fn restart(plan: &WorkloadPlan, found: Found) -> Value {
    let mut operations = vec![test("/metadata/uid", plan.uid.as_str())];
    operations.extend(restore(plan, found));
    Value::Array(operations)
}

fn restore(plan: &WorkloadPlan, found: Found) -> Vec<Value> {
    let mut operations = Vec::new();
    if let Some(suspend) = plan.suspend_after {
        operations.push(set("/spec/suspend", suspend));
        if found.remembered {
            operations.push(json!({"op": "remove", "path": annotation(SUSPEND_BEFORE)}));
        }
        return operations;
    }
    if let Some(replicas) = plan.replicas
        && (plan.strategy == Strategy::StopFirst || replicas.after != replicas.live)
    {
        operations.push(set("/spec/replicas", replicas.after));
    }
    if found.remembered {
        operations.push(json!({"op": "remove", "path": annotation(REPLICAS_BEFORE)}));
    }
    operations
}

/// The start write as the server can be asked about it before anything is stopped: same images and replicas, on the
/// object as it still is.
pub fn start_rehearsal(plan: &WorkloadPlan) -> Value {
    start(plan, Found { remembered: plan.forget })
}

/// JSON pointer of a container.
fn container_pointer(kind: WorkloadKind, change: &ContainerChange) -> String {
    let list = if change.init { "initContainers" } else { "containers" };
    format!("{}/spec/{list}/{}", kind.template_pointer(), change.index)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::ReplicaPlan;
    use crate::workload::WorkloadRef;
    use proptest::{prop_assert_eq, proptest};

    /// A Deployment's plan: one container at index 1, two replicas.
    pub fn sample(strategy: Strategy) -> WorkloadPlan {
        WorkloadPlan {
            workload: WorkloadRef {
                kind: WorkloadKind::Deployment,
                namespace: "n".into(),
                name: "web".into(),
            },
            uid: "u".into(),
            strategy,
            why: String::new(),
            containers: vec![ContainerChange {
                name: "web".into(),
                init: false,
                index: 1,
                from: "acme/web:bad".into(),
                to: "acme/web:good".parse().unwrap(),
                why: String::new(),
            }],
            replicas: Some(ReplicaPlan { before: 2, after: 2, live: 2 }),
            ready_pods: 0,
            unstick: false,
            suspend_after: None,
            grace_seconds: 30,
            forget: false,
            has_annotations: true,
        }
    }

    fn deployment() -> Value {
        json!({
            "metadata": {"uid": "u"},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "side", "image": "side:1"}, {"name": "web", "image": "acme/web:bad"}
            ]}}}
        })
    }

    fn apply(patch: &Value, object: &mut Value) -> Result<(), json_patch::PatchError> {
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
        json_patch::patch(object, &patch)
    }

    #[test]
    fn stop_and_start_lead_to_the_target_and_leave_no_annotation() {
        let plan = sample(Strategy::StopFirst);
        let mut object = deployment();
        apply(&stop(&plan, false), &mut object).unwrap();
        assert_eq!(object["spec"]["replicas"], 0);
        assert_eq!(object["metadata"]["annotations"][REPLICAS_BEFORE], "2");
        apply(&start(&plan, Found { remembered: true }), &mut object).unwrap();
        let mut expected = deployment();
        expected["spec"]["template"]["spec"]["containers"][1]["image"] = json!("acme/web:good");
        expected["metadata"]["annotations"] = json!({});
        assert_eq!(object, expected);
    }

    #[test]
    fn rolling_does_not_touch_replicas() {
        let patch = start(&sample(Strategy::Rolling), Found { remembered: false });
        assert!(!patch.to_string().contains("replicas"), "{patch}");
    }

    #[test]
    fn somebody_elses_change_makes_the_whole_patch_fail() {
        let plan = sample(Strategy::Rolling);
        for (pointer, value) in [
            ("/metadata/uid", json!("other")),
            ("/spec/template/spec/containers/1/image", json!("acme/web:hotfix")),
            ("/spec/template/spec/containers/1/name", json!("renamed")),
        ] {
            let mut object = deployment();
            *object.pointer_mut(pointer).unwrap() = value;
            let before = object.clone();
            assert!(apply(&start(&plan, Found { remembered: false }), &mut object).is_err(), "{pointer}");
            assert_eq!(object, before);
        }
        // Scaled by somebody between the plan and the stop: their number must not be overwritten by an older one.
        let mut object = deployment();
        object["spec"]["replicas"] = json!(5);
        assert!(apply(&stop(&plan, false), &mut object).is_err());
    }

    #[test]
    fn cron_jobs_are_suspended_and_resumed_as_they_were() {
        for suspended in [false, true] {
            let mut plan = sample(Strategy::StopFirst);
            plan.workload.kind = WorkloadKind::CronJob;
            plan.replicas = None;
            plan.suspend_after = Some(suspended);
            let mut object = json!({
                "metadata": {"uid": "u", "annotations": {"a": "b"}},
                "spec": {"jobTemplate": deployment(), "suspend": suspended}
            });
            apply(&stop(&plan, true), &mut object).unwrap();
            assert_eq!(object["spec"]["suspend"], true);
            apply(&start(&plan, Found { remembered: true }), &mut object).unwrap();
            assert_eq!(object["spec"]["suspend"], suspended);
            assert_eq!(object["metadata"]["annotations"], json!({"a": "b"}));
            let image = object.pointer("/spec/jobTemplate/spec/template/spec/containers/1/image");
            assert_eq!(image, Some(&json!("acme/web:good")));
        }
    }

    proptest! {
        /// Whatever is stopped gets exactly its planned number back, and nothing else of the object changes.
        #[test]
        fn replicas_always_come_back(live in 0_i32..500, after in 0_i32..500, annotated: bool) {
            let mut plan = sample(Strategy::StopFirst);
            plan.replicas = Some(ReplicaPlan { before: live, after, live });
            let mut object = deployment();
            object["spec"]["replicas"] = json!(live);
            if annotated {
                object["metadata"]["annotations"] = json!({"kept": "yes"});
            }
            apply(&stop(&plan, annotated), &mut object).unwrap();
            prop_assert_eq!(&object["spec"]["replicas"], &json!(0));
            apply(&restart(&plan, Found { remembered: true }), &mut object).unwrap();
            prop_assert_eq!(&object["spec"]["replicas"], &json!(after));
            prop_assert_eq!(&object["spec"]["template"], &deployment()["spec"]["template"]);
            prop_assert_eq!(object["metadata"]["annotations"].get("kept").is_some(), annotated);
        }
    }
}
