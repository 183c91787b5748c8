//! Why a pod as a whole does not come up: no node, no volume, or a container that runs but is not ready.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::{QUOTE_LIMIT, is_cache_sync};
use super::events::one_line;
use super::{Finding, FirstSeen, Observation, hint};
use crate::event::{DiagnosisCode, Severity};

/// Early enough to be on the screen within 15 s, late enough for a scheduler that tries again.
const UNSCHEDULABLE_WARNING: Duration = Duration::from_secs(10);
const UNSCHEDULABLE_PATIENCE: Duration = Duration::from_secs(60);
const VOLUME_PATIENCE: Duration = Duration::from_secs(60);
const READINESS_WARNING: Duration = Duration::from_secs(12);

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn finding(
    pod: &Pod,
    uid: &str,
    code: DiagnosisCode,
    is_fatal: bool,
    message: String,
    hint: String,
) -> Finding {
    Finding {
        code,
        severity: if is_fatal { Severity::Fatal } else { Severity::Warning },
        pod: pod.metadata.name.clone(),
        uid: uid.to_owned(),
        container: None,
        message,
        exit_code: None,
        restarts: 0,
        hint,
        is_crash: false,
    }
}

/// No node takes the pod. While a cluster autoscaler is adding one, it may still come right.
pub(super) fn unschedulable(
    observation: &Observation<'_>,
    pod: &Pod,
    uid: &str,
    memory: &mut FirstSeen,
) -> Option<Finding> {
    let scheduled = condition(pod, "PodScheduled")
        .filter(|found| found.status == "False" && found.reason.as_deref() == Some("Unschedulable"))?;
    let code = DiagnosisCode::Unschedulable;
    let age = memory.age(uid, "", code, observation.elapsed);
    let scales_up = observation.events_of_pod(uid).any(|event| event.reason == "TriggeredScaleUp");
    if age < UNSCHEDULABLE_WARNING && !observation.timed_out {
        return None;
    }
    let told = one_line(scheduled.message.as_deref().unwrap_or("the scheduler gives no reason"), QUOTE_LIMIT);
    let more = if scales_up { " (a node is being added)" } else { "" };
    Some(finding(
        pod,
        uid,
        code,
        age >= UNSCHEDULABLE_PATIENCE && !scales_up,
        format!("no node can take the pod: {told}{more}"),
        hint::describe_pod(observation.workload, pod),
    ))
}

/// A volume that cannot be attached or mounted, for as long as no container of the pod has started.
pub(super) fn volume(
    observation: &Observation<'_>,
    pod: &Pod,
    uid: &str,
    memory: &mut FirstSeen,
) -> Option<Finding> {
    let has_started = pod.status.as_ref().is_some_and(|status| {
        let mut all =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        all.any(|container| {
            container.restart_count > 0
                || container
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        })
    });
    if has_started {
        return None;
    }
    let event = observation
        .events_of_pod(uid)
        .filter(|event| {
            matches!(event.reason.as_str(), "FailedMount" | "FailedAttachVolume" | "FailedMapVolume")
        })
        .filter(|event| !is_cache_sync(&event.message))
        .max_by_key(|event| event.time)?;
    let code = DiagnosisCode::VolumeProblem;
    let age = memory.age(uid, "", code, observation.elapsed);
    // A volume that only one node can have is freed when the pod that has it is gone first.
    let hint = if event.reason == "FailedAttachVolume" {
        format!(
            "another node still has the volume: stop the workload first (--strategy stop-first), or {}",
            hint::describe_pod(observation.workload, pod)
        )
    } else {
        hint::describe_pod(observation.workload, pod)
    };
    let told = one_line(&event.message, QUOTE_LIMIT);
    Some(finding(pod, uid, code, age >= VOLUME_PATIENCE, format!("a volume is not there: {told}"), hint))
}

/// The container runs and is not ready. Only the timeout makes that fatal: nobody knows how long it may take.
pub(super) fn readiness(
    observation: &Observation<'_>,
    pod: &Pod,
    uid: &str,
    container: &Container,
    status: &ContainerStatus,
    memory: &mut FirstSeen,
) -> Option<Finding> {
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    if status.ready || !runs {
        return None;
    }
    let code = DiagnosisCode::ReadinessStuck;
    let age = memory.age(uid, &status.name, code, observation.elapsed);
    if age < READINESS_WARNING && !observation.timed_out {
        return None;
    }
    let name = &status.name;
    let is_starting = status.started == Some(false) && container.startup_probe.is_some();
    let (which, probe) = if is_starting {
        ("startup", container.startup_probe.as_ref())
    } else {
        ("readiness", container.readiness_probe.as_ref())
    };
    let probe = probe.map_or_else(
        || format!("it has no {which} probe"),
        |probe| format!("{which} probe: {}", described(probe)),
    );
    let answer = observation
        .events_of_pod(uid)
        .filter(|event| event.reason == "Unhealthy" && event.is_about_container(name))
        .max_by_key(|event| event.time)
        .map(|event| format!("; last answer: {}", one_line(&event.message, QUOTE_LIMIT)))
        .unwrap_or_default();
    let mut found = finding(
        pod,
        uid,
        code,
        observation.timed_out,
        format!("container {name} runs but is not ready ({probe}){answer}"),
        hint::logs(observation.workload, pod, name, false),
    );
    found.container = Some(name.clone());
    found.restarts = status.restart_count;
    Some(found)
}

/// Every container is ready, and the pod is not: somebody outside (a load balancer's controller) withholds a
/// readiness gate.
pub(super) fn readiness_gate(
    observation: &Observation<'_>,
    pod: &Pod,
    uid: &str,
    memory: &mut FirstSeen,
) -> Option<Finding> {
    condition(pod, "ContainersReady").filter(|found| found.status == "True")?;
    condition(pod, "Ready").filter(|found| found.status == "False")?;
    let missing: Vec<&str> = pod
        .spec
        .as_ref()?
        .readiness_gates
        .iter()
        .flatten()
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| condition(pod, gate).is_none_or(|found| found.status != "True"))
        .collect();
    let code = DiagnosisCode::ReadinessStuck;
    let age = memory.age(uid, "", code, observation.elapsed);
    if missing.is_empty() || (age < READINESS_WARNING && !observation.timed_out) {
        return None;
    }
    let message = format!("all containers are ready, but the readiness gate {} is not", missing.join(", "));
    let hint = hint::describe_pod(observation.workload, pod);
    Some(finding(pod, uid, code, observation.timed_out, message, hint))
}

/// `HTTP GET :8080/ready every 10 s, 3 failures allowed`.
fn described(probe: &Probe) -> String {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    let action = if let Some(http) = &probe.http_get {
        let scheme = http.scheme.as_deref().filter(|scheme| !scheme.is_empty()).unwrap_or("HTTP");
        format!("{scheme} GET :{}{}", port(&http.port), http.path.as_deref().unwrap_or("/"))
    } else if let Some(tcp) = &probe.tcp_socket {
        format!("TCP :{}", port(&tcp.port))
    } else if let Some(grpc) = &probe.grpc {
        format!("gRPC :{}", grpc.port)
    } else if let Some(exec) = &probe.exec {
        format!("exec {}", one_line(&exec.command.clone().unwrap_or_default().join(" "), 80))
    } else {
        "without an action".to_owned()
    };
    let every = probe.period_seconds.unwrap_or(10);
    let delay = match probe.initial_delay_seconds {
        Some(seconds) if seconds > 0 => format!(" after {seconds} s"),
        _ => String::new(),
    };
    format!("{action} every {every} s{delay}")
}
