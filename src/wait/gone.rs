//! The stop barrier: are all pods of a workload gone? `status.replicas` cannot tell: it is zero while pods are
//! still terminating, holding their volumes, ports and database connections.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::ownership::looks_owned;
use super::watch::Pods;
use crate::workload::{WorkloadKind, WorkloadRef};

const SELECTOR_PATIENCE: Duration = Duration::from_secs(3);

/// How the barrier ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneEnd {
    /// No pod is left.
    Gone,
    /// The deadline came first.
    Deadline,
    /// The operator asked to stop waiting.
    Interrupted,
}

/// How the barrier ended, and what is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneOutcome {
    /// How it ended.
    pub end: GoneEnd,
    /// The pods that were left, in the order of their names. Empty also when the pods could not be read at all:
    /// then `trouble` says so.
    pub remaining: Vec<RemainingPod>,
    /// Why the pods could not be read, when that was the case at the end.
    pub trouble: Option<String>,
}

/// A pod that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemainingPod {
    /// Its name.
    pub name: String,
    /// The node it runs on; empty when it has none.
    pub node: String,
    /// Finalizers: whoever put them there has to let the pod go.
    pub finalizers: Vec<String>,
    /// Whether it is on its way out.
    pub is_terminating: bool,
}

/// Waits until the workload has no pod that may still run anything: neither Succeeded nor Failed, whether it is
/// terminating or not. For a CronJob there is nothing to wait for: its Jobs are not stopped.
pub async fn wait_until_gone(
    client: &Client,
    workload: &WorkloadRef,
    deadline: Instant,
    mut cancel: Receiver<bool>,
) -> GoneOutcome {
    let outcome = |end: GoneEnd, remaining: Vec<RemainingPod>, trouble: Option<String>| GoneOutcome {
        end,
        remaining,
        trouble,
    };
    if workload.kind == WorkloadKind::CronJob {
        return outcome(GoneEnd::Gone, Vec::new(), None);
    }
    let selector = tokio::select! {
        biased;
        () = super::cancelled(&mut cancel) => None,
        selector = selector(client, workload) => selector,
    };
    let mut pods = Pods::of(client, workload, selector);
    loop {
        let end = tokio::select! {
            biased;
            () = super::cancelled(&mut cancel) => GoneEnd::Interrupted,
            () = sleep_until(deadline) => GoneEnd::Deadline,
            () = pods.changed() => GoneEnd::Gone,
        };
        let remaining = remaining(workload, pods.known());
        if end != GoneEnd::Gone || (pods.is_listed() && remaining.is_empty()) {
            return outcome(end, remaining, pods.trouble());
        }
    }
}

/// The labels by which the workload selects its pods, so that a full namespace is not read for each workload.
/// `None` when they cannot be had soon: then all pods are read, and told apart by their owners alone.
async fn selector(client: &Client, workload: &WorkloadRef) -> Option<String> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &workload.namespace, &workload.kind.api_resource());
    let object = timeout(SELECTOR_PATIENCE, api.get(&workload.name)).await.ok()?.ok()?;
    let labels = object.data.pointer("/spec/selector/matchLabels")?.as_object()?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

fn remaining(workload: &WorkloadRef, pods: &BTreeMap<String, Pod>) -> Vec<RemainingPod> {
    pods.values()
        .filter(|pod| looks_owned(workload, pod) && !has_ended(pod))
        .map(|pod| RemainingPod {
            name: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            finalizers: pod.finalizers().to_vec(),
            is_terminating: pod.metadata.deletion_timestamp.is_some(),
        })
        .collect()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
