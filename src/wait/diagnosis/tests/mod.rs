//! Every code and every guard of the diagnosis, each guard from both sides.

mod containers;
mod controllers;
mod pods;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::event::DiagnosisCode;
use crate::workload::WorkloadKind;

const IMAGE: &str = "ghcr.io/acme/web:good";

/// What the cluster shows, to be looked at again and again.
struct Scene {
    workload: WorkloadRef,
    object: Value,
    pods: Vec<Value>,
    events: Vec<EventNote>,
    replica_set: Option<String>,
    crash_rule: CrashRule,
    memory: FirstSeen,
}

impl Scene {
    fn new(kind: WorkloadKind) -> Self {
        let object = json!({
            "metadata": {"name": "web", "uid": "w", "generation": 2},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": IMAGE}],
                "initContainers": [{"name": "prepare", "image": IMAGE}]}}},
            "status": {"observedGeneration": 2, "updateRevision": "web-new", "currentRevision": "web-old"},
        });
        Self {
            workload: WorkloadRef { kind, namespace: "shop".into(), name: "web".into() },
            object,
            pods: Vec::new(),
            events: Vec::new(),
            replica_set: Some("web-new".into()),
            crash_rule: CrashRule::All,
            memory: FirstSeen::default(),
        }
    }

    fn deployment(pods: impl IntoIterator<Item = Value>) -> Self {
        let mut scene = Self::new(WorkloadKind::Deployment);
        scene.pods = pods.into_iter().collect();
        scene
    }

    fn event(mut self, name: &str, reason: &str, message: &str) -> Self {
        self.push_event(name, reason, message);
        self
    }

    fn push_event(&mut self, name: &str, reason: &str, message: &str) {
        let is_pod = self.pods.iter().any(|pod| pod["metadata"]["name"] == name);
        self.events.push(EventNote {
            kind: if is_pod { "Pod" } else { "ReplicaSet" }.into(),
            name: name.into(),
            uid: if is_pod { format!("uid-{name}") } else { String::new() },
            field_path: "spec.containers{app}".into(),
            reason: reason.into(),
            message: message.into(),
            count: 1,
            time: None,
            is_warning: reason != "TriggeredScaleUp",
        });
    }

    fn diagnoses(&mut self, second: u64, timed_out: bool) -> Vec<Diagnosis> {
        let pods: Vec<Pod> =
            self.pods.iter().map(|pod| serde_json::from_value(pod.clone()).expect("a pod")).collect();
        let pods: Vec<&Pod> = pods.iter().collect();
        let events: Vec<&EventNote> = self.events.iter().collect();
        let observation = Observation {
            workload: &self.workload,
            object: &self.object,
            pods: &pods,
            replica_set: match &self.replica_set {
                Some(name) => TargetReplicaSet::Known(name),
                None => TargetReplicaSet::Unreadable,
            },
            events: &events,
            elapsed: Duration::from_secs(second),
            timed_out,
            crash_rule: self.crash_rule,
        };
        diagnose(&observation, &mut self.memory)
    }

    /// Codes and severities at this second; `W` and `F` keep the tables short.
    fn at(&mut self, second: u64) -> Vec<(DiagnosisCode, Severity)> {
        let found = self.diagnoses(second, false);
        found.iter().map(|diagnosis| (diagnosis.code, diagnosis.severity)).collect()
    }

    fn at_timeout(&mut self, second: u64) -> Vec<(DiagnosisCode, Severity)> {
        let found = self.diagnoses(second, true);
        found.iter().map(|diagnosis| (diagnosis.code, diagnosis.severity)).collect()
    }

    /// The one diagnosis at this second.
    fn only(&mut self, second: u64) -> Diagnosis {
        let mut found = self.diagnoses(second, false);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

use Severity::{Fatal as F, Warning as W};

/// A pod of the target with one container in the given state (and more fields of its status).
fn pod(name: &str, container: &Value) -> Value {
    let mut status = json!({"name": "app", "image": IMAGE, "ready": false, "restartCount": 0});
    for (key, value) in container.as_object().expect("fields of the container's status") {
        status[key.as_str()] = value.clone();
    }
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"),
            "labels": {"pod-template-hash": "new", "controller-revision-hash": "web-new"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-new", "uid": "r", "controller": true}]},
        "spec": {"containers": [{"name": "app", "image": IMAGE, "resources": {"limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}],
            "initContainers": [{"name": "prepare", "image": IMAGE}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

fn running_ready() -> Value {
    json!({"ready": true, "state": {"running": {}}})
}

/// A container that ended and waits to be started again.
fn crashed(restarts: i32, exit_code: i32) -> Value {
    json!({
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": exit_code, "reason": "Error"}},
    })
}

#[test]
fn nothing_is_said_before_the_newest_generation_is_observed() {
    let mut scene = Scene::deployment([pod("a", &crashed(9, 1))]);
    scene.object["status"]["observedGeneration"] = json!(1);
    assert_eq!(scene.at(60), []);
    scene.object["status"]["observedGeneration"] = json!(2);
    assert_eq!(scene.at(61), [(DiagnosisCode::CrashLoop, F)]);
}

#[test]
fn old_and_passing_pods_are_not_blamed_on_the_target() {
    let mut old = pod("old", &crashed(9, 1));
    old["metadata"]["ownerReferences"][0]["name"] = json!("web-old");
    let mut terminating = pod("terminating", &crashed(9, 1));
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(Scene::deployment([old, terminating]).at(60), []);
    for reason in ["Evicted", "Preempting", "NodeLost", "OutOfcpu"] {
        let mut passing = pod("a", &crashed(9, 1));
        passing["status"]["reason"] = json!(reason);
        assert_eq!(Scene::deployment([passing]).at(60), [], "{reason}");
    }
}

#[test]
fn pods_with_the_same_reason_are_told_once() {
    let mut scene =
        Scene::deployment([pod("b", &crashed(1, 1)), pod("a", &crashed(2, 3)), pod("c", &crashed(1, 1))]);
    let told = scene.only(5);
    assert_eq!((told.pod.as_deref(), told.restarts, told.exit_code), (Some("a"), 2, Some(3)));
    assert!(told.message.ends_with("; the same on 3 of 3 pods"), "{}", told.message);
}

#[test]
fn a_sidecar_is_named_but_does_not_decide() {
    let mut with_sidecar = pod("a", &running_ready());
    with_sidecar["spec"]["containers"]
        .as_array_mut()
        .expect("containers")
        .push(json!({"name": "daprd", "image": "daprio/daprd:1"}));
    let mut status = crashed(7, 1);
    status["name"] = json!("daprd");
    status["ready"] = json!(false);
    with_sidecar["status"]["containerStatuses"].as_array_mut().expect("statuses").push(status);
    let told = Scene::deployment([with_sidecar]).only(60);
    assert_eq!(
        (told.code, told.severity, told.container.as_deref()),
        (DiagnosisCode::CrashLoop, W, Some("daprd"))
    );
    assert!(told.message.contains("sidecar"), "{}", told.message);
}

#[test]
fn credentials_do_not_come_through() {
    let answer = "failed to resolve https://bob:hunter2@ghcr.io/v2: not found";
    let told = Scene::deployment([pod("a", &waiting("ErrImagePull", answer))])
        .event("a", "Failed", "Failed to pull image: https://bob:hunter2@ghcr.io")
        .only(0);
    assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
}
