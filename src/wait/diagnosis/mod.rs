//! Why is a workload not ready? A pure function from what the API server shows, and a small memory of what it
//! showed before, to typed reasons. Every reason has a guard that keeps it from being called fatal too early:
//! the guards are listed in `docs/readiness.md`, each with what went wrong without it.

mod container;
mod controller;
mod events;
mod hint;
mod image;
mod memory;
mod pod;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use serde_json::Value;

pub use events::EventNote;
pub use memory::FirstSeen;

use crate::event::{Diagnosis, DiagnosisCode, Severity};
use crate::wait::ownership::{TargetReplicaSet, is_of_target, template_containers};
use crate::workload::WorkloadRef;

/// Restarts of one pod after which its crashing is fatal, whatever the other pods do.
const RESTARTS_FOR_FATAL: i32 = 3;

/// When crashing pods are fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrashRule {
    /// When all new pods crash, or one of them has been restarted three times.
    #[default]
    All,
    /// As soon as one pod crash-loops.
    Any,
}

/// What the cluster shows about one workload.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Which workload.
    pub workload: &'a WorkloadRef,
    /// The workload as the API server returned it.
    pub object: &'a Value,
    /// Its pods, of whatever revision.
    pub pods: &'a [&'a Pod],
    /// The ReplicaSet of the newest template; [`TargetReplicaSet::Unreadable`] for other kinds.
    pub replica_set: TargetReplicaSet<'a>,
    /// Warnings (and `TriggeredScaleUp`) since the start about the workload, its ReplicaSets and its pods.
    pub events: &'a [&'a EventNote],
    /// Time since the wait began, by a clock that never jumps.
    pub elapsed: Duration,
    /// Whether the deadline has come.
    pub timed_out: bool,
    /// When crashing pods are fatal.
    pub crash_rule: CrashRule,
}

impl<'a> Observation<'a> {
    fn events_of_pod<'u>(&self, uid: &'u str) -> impl Iterator<Item = &'a EventNote> + use<'a, 'u> {
        self.events.iter().copied().filter(move |event| event.uid == uid)
    }
}

/// A reason found on one pod, before pods with the same reason are put together.
#[derive(Debug, Clone)]
struct Finding {
    code: DiagnosisCode,
    severity: Severity,
    pod: Option<String>,
    uid: String,
    container: Option<String>,
    message: String,
    exit_code: Option<i32>,
    restarts: i32,
    hint: String,
    /// Whether it is a container that ends again and again: its severity depends on the other pods.
    is_crash: bool,
}

/// The reasons why the workload is not ready, the gravest first; one for each code and container, told about
/// the pod that shows it worst. Call it at each change and once a second, always with the same memory.
///
/// Nothing is said before the controller has observed the newest generation: until then every pod is an old one.
pub fn diagnose(observation: &Observation<'_>, memory: &mut FirstSeen) -> Vec<Diagnosis> {
    let generation = |pointer: &str| observation.object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    if generation("/status/observedGeneration") < generation("/metadata/generation") {
        return Vec::new();
    }
    memory.begin();
    let is_target =
        |pod: &Pod| is_of_target(observation.workload, observation.object, observation.replica_set, pod);
    let (targets, old): (Vec<&Pod>, Vec<&Pod>) =
        observation.pods.iter().copied().partition(|pod| is_target(pod));
    if observation.pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some()) {
        memory.note_terminating(observation.elapsed);
    }
    let counted: Vec<&Pod> = targets.iter().copied().filter(|pod| !is_transient(pod)).collect();
    let mut findings: Vec<Finding> = Vec::new();
    for pod in &counted {
        findings.extend(examine(observation, pod, &counted, memory));
    }
    cap_sidecars(&mut findings, observation);
    judge_crashes(&mut findings, counted.len(), observation.crash_rule);
    findings.extend(controller::refused(observation, &counted, memory));
    findings.extend(controller::progress_deadline(observation, memory));
    findings.extend(controller::stateful_set_stuck(observation, &old, memory));
    let alive: HashSet<&str> =
        observation.pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    memory.finish(&alive);
    put_together(findings, observation, counted.len())
}

/// Evicted, preempted and lost pods are replaced by their controllers, terminating ones are on their way out:
/// none of them says anything about the target.
fn is_transient(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_some()
        || matches!(
            reason,
            "Evicted"
                | "Preempting"
                | "Preempted"
                | "NodeLost"
                | "Terminated"
                | "NodeShutdown"
                | "Shutdown"
                | "NodeAffinity"
        )
        || reason.starts_with("OutOf")
        || status.and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

fn examine(
    observation: &Observation<'_>,
    pod: &Pod,
    siblings: &[&Pod],
    memory: &mut FirstSeen,
) -> Vec<Finding> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let lists: [(&[Container], &[ContainerStatus], bool); 2] = [
        (
            spec.init_containers.as_deref().unwrap_or_default(),
            status.init_container_statuses.as_deref().unwrap_or_default(),
            true,
        ),
        (&spec.containers, status.container_statuses.as_deref().unwrap_or_default(), false),
    ];
    for (containers, statuses, is_init) in lists {
        for status in statuses {
            let Some(container) = containers.iter().find(|container| container.name == status.name) else {
                continue;
            };
            let place = container::Place {
                observation,
                pod,
                uid,
                container,
                status,
                is_init,
                runs_elsewhere: siblings.iter().any(|other| runs(other, &status.name)),
            };
            match container::examine(&place, memory) {
                Some(finding) => found.push(finding),
                None if !is_init => {
                    found.extend(pod::readiness(observation, pod, uid, container, status, memory));
                }
                None => {}
            }
        }
    }
    found.extend(pod::unschedulable(observation, pod, uid, memory));
    found.extend(pod::volume(observation, pod, uid, memory));
    if found.is_empty() {
        found.extend(pod::readiness_gate(observation, pod, uid, memory));
    }
    found
}

fn runs(pod: &Pod, container: &str) -> bool {
    let Some(status) = &pod.status else { return false };
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    statuses
        .filter(|status| status.name == container)
        .any(|status| status.ready || status.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// A crash is fatal when every new pod crashes, or when one has done it often enough.
fn judge_crashes(findings: &mut [Finding], pods: usize, rule: CrashRule) {
    let crashing: HashSet<String> =
        findings.iter().filter(|finding| finding.is_crash).map(|finding| finding.uid.clone()).collect();
    let all_crash = crashing.len() == pods;
    for finding in findings.iter_mut().filter(|finding| finding.is_crash) {
        if all_crash || rule == CrashRule::Any || finding.restarts >= RESTARTS_FOR_FATAL {
            finding.severity = Severity::Fatal;
        }
    }
}

/// A container that the template does not have was injected by somebody else: rolling back does not change it,
/// so it is named, but it does not decide.
fn cap_sidecars(findings: &mut [Finding], observation: &Observation<'_>) {
    let known: HashSet<&str> = template_containers(observation.workload.kind, observation.object)
        .filter_map(|container| container.get("name").and_then(Value::as_str))
        .collect();
    for finding in findings {
        if finding.container.as_deref().is_some_and(|name| !known.contains(name)) {
            finding.severity = Severity::Warning;
            finding.is_crash = false;
            finding.message.push_str(" (a sidecar that the workload's template does not have)");
        }
    }
}

fn put_together(mut findings: Vec<Finding>, observation: &Observation<'_>, pods: usize) -> Vec<Diagnosis> {
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| {
            (std::cmp::Reverse(finding.severity), finding.code, std::cmp::Reverse(finding.restarts))
        };
        rank(a).cmp(&rank(b)).then_with(|| a.pod.cmp(&b.pod))
    });
    let mut told: Vec<(Diagnosis, usize)> = Vec::new();
    for finding in findings {
        let same = told
            .iter_mut()
            .find(|(known, _)| known.code == finding.code && known.container == finding.container);
        if let Some((_, count)) = same {
            *count += 1;
            continue;
        }
        let events = observation.events.iter().copied().filter(|event| {
            if finding.uid.is_empty() { event.kind != "Pod" } else { event.uid == finding.uid }
        });
        let diagnosis = Diagnosis {
            code: finding.code,
            severity: finding.severity,
            pod: finding.pod,
            container: finding.container,
            message: finding.message,
            exit_code: finding.exit_code,
            restarts: finding.restarts,
            logs: Vec::new(),
            events: events::fold(events),
            hint: finding.hint,
        };
        told.push((diagnosis, 1));
    }
    let with_count = |(mut diagnosis, count): (Diagnosis, usize)| {
        if count > 1 {
            diagnosis.message = format!("{}; the same on {count} of {pods} pods", diagnosis.message);
        }
        diagnosis
    };
    told.into_iter().map(with_count).collect()
}
