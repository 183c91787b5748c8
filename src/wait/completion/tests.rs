//! How Jobs and pods say that they have ended.

use serde_json::{Value, json};

use super::RunKind;
use super::outcome::has_begun;

fn job(conditions: &Value) -> Value {
    json!({"status": {"conditions": conditions, "succeeded": 1, "failed": 9}})
}

#[test]
fn jobs_end_by_their_conditions_alone() {
    let failed =
        json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}]);
    for (conditions, expected) in [
        (json!(null), None),
        (json!([{"type": "SuccessCriteriaMet", "status": "True"}]), None),
        (json!([{"type": "FailureTarget", "status": "True"}]), None),
        (json!([{"type": "Suspended", "status": "True"}]), None),
        (json!([{"type": "Complete", "status": "False"}, {"type": "Failed", "status": "Unknown"}]), None),
        (json!([{"type": "Complete", "status": "True"}]), Some(Ok(()))),
        (failed, Some(Err("DeadlineExceeded: too long".to_owned()))),
        (json!([{"type": "Failed", "status": "True"}]), Some(Err("no reason is given".to_owned()))),
    ] {
        assert_eq!(RunKind::Job.end(&job(&conditions)), expected, "{conditions}");
    }
}

#[test]
fn pods_end_by_their_phase() {
    let exited = json!([{"name": "side", "state": {"terminated": {"exitCode": 0}}},
                        {"name": "main", "state": {"terminated": {"exitCode": 3}}}]);
    for (status, expected) in [
        (json!({"phase": "Pending"}), None),
        (json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), None),
        (json!({"phase": "Unknown"}), None),
        (json!({"phase": "Succeeded"}), Some(Ok(()))),
        (
            json!({"phase": "Failed", "containerStatuses": exited}),
            Some(Err("container main exited with code 3".to_owned())),
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "no memory"}),
            Some(Err("Evicted: no memory".to_owned())),
        ),
        (json!({"phase": "Failed"}), Some(Err("no reason is given".to_owned()))),
    ] {
        assert_eq!(RunKind::Pod.end(&json!({"status": status})), expected, "{status}");
    }
}

#[test]
fn only_jobs_and_bare_pods_run_to_an_end() {
    for (version, kind, expected) in [
        ("batch/v1", "Job", Some(RunKind::Job)),
        ("v1", "Pod", Some(RunKind::Pod)),
        ("batch.volcano.sh/v1alpha1", "Job", None),
        ("batch/v1", "CronJob", None),
        ("v1", "ConfigMap", None),
    ] {
        assert_eq!(RunKind::from_api(version, kind), expected, "{version} {kind}");
    }
}

#[test]
fn a_pod_has_begun_when_any_container_has() {
    for (status, expected) in [
        (json!({}), false),
        (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), false),
        (json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}), true),
        (json!({"state": {"running": {}}}), true),
        (json!({"state": {"terminated": {"exitCode": 0}}}), true),
    ] {
        let mut container =
            json!({"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0});
        container.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        let pod =
            serde_json::from_value(json!({"metadata": {}, "status": {"initContainerStatuses": [container]}}));
        assert_eq!(has_begun(&pod.unwrap()), expected, "{status}");
    }
}
