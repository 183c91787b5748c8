//! Ready once is not ready for good: pods that run, become ready and die again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use super::diagnosis::Observation;
use super::ownership::is_of_target;
use crate::event::{Diagnosis, DiagnosisCode};

/// A workload whose pods ended while it was waited for has to stay ready for this long.
const PROBATION: Duration = Duration::from_secs(30);

/// The memory of one workload's restarts.
#[derive(Debug, Default)]
pub(super) struct Stability {
    restarts: HashMap<(String, String), i32>,
    last_restart: Option<Duration>,
}

impl Stability {
    /// Why a workload that looks ready is not called so: a container of the target ended badly not long ago.
    pub(super) fn holds_back(&mut self, observation: &Observation<'_>, is_done: bool) -> Option<String> {
        for (uid, status) in target_statuses(observation) {
            let failed = status
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref())
                .is_some_and(|ended| ended.exit_code != 0);
            let known = self.restarts.insert((uid, status.name.clone()), status.restart_count);
            if failed && known.is_some_and(|known| status.restart_count > known) {
                self.last_restart = Some(observation.elapsed);
            }
        }
        let is_on_probation = observation.elapsed.saturating_sub(self.last_restart?) < PROBATION;
        (is_done && is_on_probation)
            .then(|| format!("restarted, must stay ready for {} s", PROBATION.as_secs()))
    }
}

fn target_statuses<'a>(observation: &Observation<'a>) -> impl Iterator<Item = (String, &'a ContainerStatus)> {
    targets(observation).flat_map(|pod| {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.map(move |status| (uid.clone(), status))
    })
}

fn targets<'a>(observation: &Observation<'a>) -> impl Iterator<Item = &'a Pod> {
    let observation = *observation;
    let generation = |pointer: &str| observation.object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let is_observed = generation("/status/observedGeneration") >= generation("/metadata/generation");
    observation.pods.iter().copied().filter(move |pod| {
        is_observed
            && pod.metadata.deletion_timestamp.is_none()
            && is_of_target(observation.workload, observation.object, observation.replica_set, pod)
    })
}

/// What the target's pods wait for, in the kubelet's words: `ImagePullBackOff`, `CrashLoopBackOff (2 restarts)`.
/// The kubelet goes back and forth between trying and waiting; the state does not. `None` when the pods just start.
pub(super) fn state_of_pods(observation: &Observation<'_>, diagnoses: &[Diagnosis]) -> Option<String> {
    let crash = diagnoses.iter().find(|diagnosis| {
        matches!(
            diagnosis.code,
            DiagnosisCode::CrashLoop | DiagnosisCode::OomKilled | DiagnosisCode::InitFailed
        )
    });
    if let Some(crash) = crash {
        return Some(match crash.restarts {
            0 => "CrashLoopBackOff".to_owned(),
            1 => "CrashLoopBackOff (1 restart)".to_owned(),
            count => format!("CrashLoopBackOff ({count} restarts)"),
        });
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in targets(observation) {
        let Some(status) = &pod.status else { continue };
        for container in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            match waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default() {
                "" | "ContainerCreating" | "PodInitializing" => {}
                "ErrImagePull" => *reasons.entry("ImagePullBackOff").or_default() += 1,
                reason => *reasons.entry(reason).or_default() += 1,
            }
        }
        let is_unscheduled = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
        });
        if is_unscheduled {
            *reasons.entry("Unschedulable").or_default() += 1;
        }
    }
    reasons.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason.to_owned())
}
