//! Why a controller does not make or replace pods: quota and admission, the progress deadline, and StatefulSets
//! that wait for a broken pod of the old revision.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::container::QUOTE_LIMIT;
use super::events::one_line;
use super::{Finding, FirstSeen, Observation, hint};
use crate::event::{DiagnosisCode, Severity};
use crate::wait::ownership::TargetReplicaSet;
use crate::workload::WorkloadKind;

const ADMISSION_PATIENCE: Duration = Duration::from_secs(20);
/// Pods on their way out count against the quota; their controller needs a moment to try again.
const QUOTA_AFTER_TERMINATION: Duration = Duration::from_secs(20);
const STATEFUL_SET_PATIENCE: Duration = Duration::from_secs(15);
/// How long an exceeded deadline of the rollout before ours may stand before it is believed.
const INHERITED_DEADLINE_PATIENCE: Duration = Duration::from_secs(20);

fn finding(code: DiagnosisCode, is_fatal: bool, message: String, hint: String) -> Finding {
    Finding {
        code,
        severity: if is_fatal { Severity::Fatal } else { Severity::Warning },
        pod: None,
        uid: String::new(),
        container: None,
        message,
        exit_code: None,
        restarts: 0,
        hint,
        is_crash: false,
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The API server refuses the pods: quota, PodSecurity, a webhook.
pub(super) fn refused(
    observation: &Observation<'_>,
    targets: &[&Pod],
    memory: &mut FirstSeen,
) -> Option<Finding> {
    let message = refusal(observation, targets)?;
    let code = DiagnosisCode::QuotaOrAdmission;
    let age = memory.age("", "", code, observation.elapsed);
    let is_quota = message.contains("exceeded quota");
    let quota_is_settled = memory
        .since_last_terminating(observation.elapsed)
        .is_none_or(|since| since >= QUOTA_AFTER_TERMINATION);
    let is_fatal = if is_quota { quota_is_settled } else { is_final(&message) || age >= ADMISSION_PATIENCE };
    let namespace = &observation.workload.namespace;
    let hint = if is_quota {
        format!("kubectl describe quota -n {namespace}")
    } else if message.contains("violates PodSecurity") {
        format!("kubectl get namespace {namespace} --show-labels")
    } else {
        hint::describe(observation.workload)
    };
    let told = one_line(&message, 2 * QUOTE_LIMIT);
    Some(finding(code, is_fatal, format!("the API server refuses the pods: {told}"), hint))
}

/// Refusals that trying again does not change.
fn is_final(message: &str) -> bool {
    let is_timeout = ["failed calling webhook", "timeout", "timed out", "deadline exceeded"]
        .iter()
        .any(|word| message.contains(word));
    let is_decision = ["violates PodSecurity", "denied the request", "denied request", "usage per "]
        .iter()
        .any(|word| message.contains(word));
    is_decision && !is_timeout
}

fn refusal(observation: &Observation<'_>, targets: &[&Pod]) -> Option<String> {
    let workload = observation.workload;
    let last_event = |name: &str| {
        observation
            .events
            .iter()
            .filter(|event| event.reason == "FailedCreate" && event.name == name)
            .max_by_key(|event| event.time)
            .map(|event| event.message.clone())
    };
    if workload.kind != WorkloadKind::Deployment {
        let wanted = ["/status/desiredNumberScheduled", "/spec/replicas"]
            .iter()
            .find_map(|pointer| observation.object.pointer(pointer)?.as_u64())
            .unwrap_or(1);
        let alive = observation.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let is_short = (alive.count() as u64) < wanted;
        return last_event(&workload.name).filter(|_| is_short);
    }
    let target = match observation.replica_set {
        TargetReplicaSet::Known(name) => Some(name),
        _ => None,
    };
    let from_event = target.and_then(last_event);
    let failure =
        condition(observation.object, "ReplicaFailure").filter(|found| text(found, "status") == "True");
    let Some(failure) = failure else {
        // The ReplicaSet's event comes a moment before the Deployment's condition.
        return from_event.filter(|_| targets.is_empty());
    };
    let message = text(failure, "message");
    // The condition may be passed on from an old ReplicaSet: `pods "web-5d4f-x7k2p" is forbidden: …`.
    let names_ours = target.is_some_and(|name| message.contains(&format!("\"{name}-")));
    let names_any = message.contains(&format!("\"{}-", workload.name));
    let applies =
        names_ours || target.is_none() || (!names_any && (from_event.is_some() || targets.is_empty()));
    applies.then(|| message.to_owned())
}

/// The Deployment controller gave up. The condition outlives its rollout: on the way back to an existing
/// ReplicaSet it stands until the first new pod counts, although the new generation is observed.
pub(super) fn progress_deadline(observation: &Observation<'_>, memory: &mut FirstSeen) -> Option<Finding> {
    if observation.workload.kind != WorkloadKind::Deployment {
        return None;
    }
    let progressing = condition(observation.object, "Progressing").filter(|found| {
        text(found, "status") == "False" && text(found, "reason") == "ProgressDeadlineExceeded"
    })?;
    let code = DiagnosisCode::ProgressDeadline;
    let is_first_look = memory.is_first_look();
    let is_inherited = memory.deadline_is_inherited(text(progressing, "lastUpdateTime"), is_first_look);
    let age = memory.age("", "", code, observation.elapsed);
    if is_inherited && age < INHERITED_DEADLINE_PATIENCE && !observation.timed_out {
        return None;
    }
    let seconds =
        observation.object.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_u64).unwrap_or(600);
    let told = one_line(text(progressing, "message"), QUOTE_LIMIT);
    Some(finding(
        code,
        true,
        format!("no progress within the Deployment's deadline of {seconds} s: {told}"),
        hint::describe(observation.workload),
    ))
}

/// An ordered StatefulSet does not replace anything while a pod of the old revision is not ready, and that pod
/// is not replaced either (kubernetes/kubernetes#67250).
pub(super) fn stateful_set_stuck(
    observation: &Observation<'_>,
    old: &[&Pod],
    memory: &mut FirstSeen,
) -> Option<Finding> {
    let object = observation.object;
    let is_ordered = observation.workload.kind == WorkloadKind::StatefulSet
        && object.pointer("/spec/podManagementPolicy").and_then(Value::as_str) != Some("Parallel")
        && object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) != Some("OnDelete");
    if !is_ordered {
        return None;
    }
    let is_ready = |pod: &Pod| {
        pod.status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let pod = old
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_ready(pod))
        .min_by_key(|pod| pod.metadata.name.as_deref())?;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let code = DiagnosisCode::StatefulSetStuck;
    let age = memory.age(uid, "", code, observation.elapsed);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut found = finding(
        code,
        age >= STATEFUL_SET_PATIENCE,
        format!(
            "the StatefulSet waits for pod {name} of the old revision, which is not ready and is not replaced"
        ),
        hint::delete_pod(observation.workload, pod),
    );
    found.pod = Some(name);
    uid.clone_into(&mut found.uid);
    Some(found)
}
