//! Whole waits against a fake API server, in paused time.

mod gone;
mod ready;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fake::{Fake, Fault, after};
use super::*;
use crate::event::Severity;
use crate::workload::WorkloadKind;

fn workload(name: &str) -> WorkloadRef {
    WorkloadRef { kind: WorkloadKind::Deployment, namespace: "default".into(), name: name.into() }
}

fn deployment(name: &str, generation: i64, replicas: i64, done: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"name": "app", "image": "web:good"}]}}},
        "status": {"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": done, "availableReplicas": done}})
}

/// A Deployment with its newest ReplicaSet.
fn deploy(fake: &Fake, name: &str, done: i64) {
    fake.set("deployments", deployment(name, 1, 1, done));
    fake.set("replicasets", json!({"metadata": {"name": format!("{name}-new"),
        "annotations": {"deployment.kubernetes.io/revision": "2"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": format!("uid-{name}"),
            "controller": true}]}}));
}

fn pod(owner: &str, status: &Value) -> Value {
    let mut container = json!({"name": "app", "image": "web:good", "ready": false, "restartCount": 0});
    for (key, value) in status.as_object().expect("fields") {
        container[key.as_str()] = value.clone();
    }
    json!({"metadata": {"name": format!("{owner}-new-1"), "uid": format!("{owner}-pod"),
            "labels": {"pod-template-hash": "new", "app": owner}, "finalizers": ["example.org/hold"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{owner}-new"), "uid": "r",
                "controller": true}]},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "web:good"}]},
        "status": {"phase": "Running", "containerStatuses": [container]}})
}

fn missing_image() -> Value {
    json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "web:good: not found"}}})
}

fn crash_loop(restarts: i32) -> Value {
    json!({"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1}}})
}

fn request(names: &[&str], seconds: Option<u64>) -> WaitRequest {
    WaitRequest {
        workloads: names
            .iter()
            .map(|name| WaitedWorkload { workload: workload(name), replicas: Some(1), generation: Some(1) })
            .collect(),
        deadline: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        started_at: "2026-01-01T12:00:00Z".parse().expect("a time"),
        crash_rule: CrashRule::All,
        settle: Duration::ZERO,
    }
}

struct Told {
    outcome: WaitOutcome,
    events: Vec<(Duration, WaitEvent)>,
    took: Duration,
}

impl Told {
    fn diagnoses(&self) -> Vec<(u64, DiagnosisCode, Severity)> {
        let seconds = |at: &Duration| at.as_secs();
        let of = |(at, event): &(Duration, WaitEvent)| match event {
            WaitEvent::Diagnosis(_, diagnosis) => Some((seconds(at), diagnosis.code, diagnosis.severity)),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn states(&self, name: &str) -> Vec<String> {
        let of = |(_, event): &(Duration, WaitEvent)| match event {
            WaitEvent::Progress(progress) if progress.object.name == name => Some(progress.state.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn notices(&self) -> Vec<String> {
        let of = |(_, event): &(Duration, WaitEvent)| match event {
            WaitEvent::Notice(notice) => Some(notice.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

async fn wait(fake: &Fake, request: WaitRequest) -> Told {
    let (_sender, cancel) = watch::channel(false);
    wait_with(fake, &request, cancel).await
}

async fn wait_with(fake: &Fake, request: &WaitRequest, cancel: watch::Receiver<bool>) -> Told {
    let begun = Instant::now();
    let mut events = Vec::new();
    let mut report = |event| events.push((begun.elapsed(), event));
    let outcome = wait_until_ready(&fake.client(), request, cancel, &mut report).await;
    Told { outcome, events, took: begun.elapsed() }
}
