//! Why a container does not run: its image, its configuration, its command, or itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::events::one_line;
use super::{Finding, FirstSeen, Observation, hint, image};
use crate::event::{DiagnosisCode, Severity};

/// Longest part of somebody else's message that goes into a sentence of ours.
pub(super) const QUOTE_LIMIT: usize = 320;
const REFUSED_PULL_PATIENCE: Duration = Duration::from_secs(20);
const CONFIGURATION_PATIENCE: Duration = Duration::from_secs(10);
/// The kubelet's exit code for "the container could not be started".
const NOT_STARTED: i32 = 128;

/// One container of one pod, with what is known about it.
pub(super) struct Place<'a> {
    pub observation: &'a Observation<'a>,
    pub pod: &'a Pod,
    pub uid: &'a str,
    pub container: &'a Container,
    pub status: &'a ContainerStatus,
    pub is_init: bool,
    /// Whether another pod of the target runs this container: its image is there.
    pub runs_elsewhere: bool,
}

impl Place<'_> {
    fn waiting_reason(&self) -> &str {
        self.waiting().map_or("", |(reason, _)| reason)
    }

    fn waiting(&self) -> Option<(&str, &str)> {
        let waiting = self.status.state.as_ref()?.waiting.as_ref()?;
        Some((waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default()))
    }

    /// How the container ended last: in its present state, or before it was started again.
    fn terminated(&self) -> Option<&ContainerStateTerminated> {
        let terminated =
            |state: &'_ Option<ContainerState>| state.as_ref().is_some_and(|s| s.terminated.is_some());
        let state = if terminated(&self.status.state) { &self.status.state } else { &self.status.last_state };
        state.as_ref()?.terminated.as_ref()
    }

    fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or(&self.status.image)
    }

    fn what(&self) -> &'static str {
        if self.is_init { "init container" } else { "container" }
    }

    fn finding(&self, code: DiagnosisCode, severity: Severity, message: String, hint: String) -> Finding {
        let ended = self.terminated().filter(|_| {
            !matches!(
                code,
                DiagnosisCode::ImageNotFound
                    | DiagnosisCode::ImagePullAuth
                    | DiagnosisCode::ImagePullTransient
            )
        });
        Finding {
            code,
            severity,
            pod: self.pod.metadata.name.clone(),
            uid: self.uid.to_owned(),
            container: Some(self.status.name.clone()),
            message,
            exit_code: ended.map(|ended| ended.exit_code),
            restarts: self.status.restart_count,
            hint,
            is_crash: false,
        }
    }
}

/// What is wrong with the container, if anything. At most one reason: the one that comes first on the way from
/// the registry to a running process.
pub(super) fn examine(place: &Place<'_>, memory: &mut FirstSeen) -> Option<Finding> {
    let reason = place.waiting_reason();
    let is_pull =
        matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError");
    remember_pull(place, memory, reason);
    match reason {
        _ if is_pull => Some(pull(place, memory)),
        "InvalidImageName" | "ErrInvalidImageName" | "ErrImageNeverPull" => Some(invalid_name(place, reason)),
        "CreateContainerConfigError" | "CreateContainerError" => configuration(place, memory, reason),
        _ => start_error(place, memory).or_else(|| crash(place, memory)),
    }
}

fn remember_pull(place: &Place<'_>, memory: &mut FirstSeen, reason: &str) {
    let name = &place.status.name;
    let waiting = place.waiting().map(|(_, message)| message);
    // Newer kubelets repeat the cause behind the back-off: `Back-off pulling image "x": ErrImagePull: …`.
    let answer = match reason {
        "ErrImagePull" | "RegistryUnavailable" | "ImageInspectError" => waiting,
        "ImagePullBackOff" => {
            waiting.and_then(|text| text.split_once("ErrImagePull: ").map(|(_, cause)| cause))
        }
        _ => None,
    }
    .filter(|text| !text.is_empty());
    memory.note_pull(place.uid, name, reason == "ErrImagePull", answer);
    if answer.is_none() && memory.pull(place.uid, name).0.is_none() {
        let event = failed_pulls(place).last().map(|event| event.message.clone());
        memory.note_pull(place.uid, name, reason == "ErrImagePull", event.as_deref());
    }
}

fn failed_pulls<'a>(place: &'a Place<'_>) -> impl Iterator<Item = &'a super::EventNote> {
    place.observation.events_of_pod(place.uid).filter(|event| {
        event.reason == "Failed"
            && event.message.starts_with("Failed to pull")
            && event.is_about_container(&place.status.name)
    })
}

fn pull(place: &Place<'_>, memory: &mut FirstSeen) -> Finding {
    let image = place.image();
    let (answer, seen) = memory.pull(place.uid, &place.status.name);
    let answer = answer.unwrap_or_default().to_owned();
    let code = image::classify(&answer, image);
    let told: i32 = failed_pulls(place).map(|event| event.count).sum();
    let failures = told.max(i32::try_from(seen).unwrap_or(i32::MAX));
    let age = memory.age(place.uid, &place.status.name, code, place.observation.elapsed);
    let quoted = match one_line(&answer, QUOTE_LIMIT) {
        text if text.is_empty() => "the kubelet gives no reason yet".to_owned(),
        text => text,
    };
    let describe = hint::describe_pod(place.observation.workload, place.pod);
    let (severity, message, hint) = match code {
        DiagnosisCode::ImageNotFound if place.runs_elsewhere => (
            Severity::Warning,
            format!(
                "image {image} is gone from the registry, but runs from a node's cache elsewhere: {quoted}"
            ),
            describe,
        ),
        DiagnosisCode::ImageNotFound => (
            Severity::Fatal,
            format!("image {image} does not exist: {quoted}"),
            format!("check the tag, then look at {describe}"),
        ),
        DiagnosisCode::ImagePullAuth => (
            severity(failures >= 2 || age >= REFUSED_PULL_PATIENCE),
            format!("the registry refuses to hand out image {image}: {quoted}"),
            hint::pull_secrets(place.observation.workload, place.pod),
        ),
        _ => (
            severity(place.observation.timed_out),
            format!("image {image} cannot be pulled at the moment: {quoted}"),
            describe,
        ),
    };
    place.finding(code, severity, message, hint)
}

fn severity(is_fatal: bool) -> Severity {
    if is_fatal { Severity::Fatal } else { Severity::Warning }
}

fn invalid_name(place: &Place<'_>, reason: &str) -> Finding {
    let image = place.image();
    let message = if reason == "ErrImageNeverPull" {
        format!("image {image} is not on the node and imagePullPolicy Never forbids pulling it")
    } else {
        format!("{image:?} is not a valid image reference")
    };
    let hint = hint::describe_pod(place.observation.workload, place.pod);
    place.finding(DiagnosisCode::InvalidImageName, Severity::Fatal, message, hint)
}

fn configuration(place: &Place<'_>, memory: &mut FirstSeen, reason: &str) -> Option<Finding> {
    let text = place.waiting().map_or("", |(_, message)| message);
    if is_cache_sync(text) {
        return None;
    }
    let code = DiagnosisCode::ConfigError;
    let age = memory.age(place.uid, &place.status.name, code, place.observation.elapsed);
    let cause = if text.is_empty() { reason.to_owned() } else { one_line(text, QUOTE_LIMIT) };
    Some(place.finding(
        code,
        severity(age >= CONFIGURATION_PATIENCE),
        format!("{} {} cannot be created: {cause}", place.what(), place.status.name),
        hint::describe_pod(place.observation.workload, place.pod),
    ))
}

/// "failed to sync configmap cache: timed out waiting for the condition": the kubelet is behind, nothing is missing.
pub(super) fn is_cache_sync(message: &str) -> bool {
    message.split_once("failed to sync ").is_some_and(|(_, rest)| rest.contains("cache"))
}

fn start_error(place: &Place<'_>, memory: &mut FirstSeen) -> Option<Finding> {
    if place.status.ready {
        return None;
    }
    let is_start_reason =
        |reason: &str| matches!(reason, "RunContainerError" | "StartError" | "ContainerCannotRun");
    let ended = place.terminated().filter(|ended| ended.reason.as_deref().is_some_and(is_start_reason));
    let waiting = place.waiting().filter(|(reason, _)| is_start_reason(reason));
    if ended.is_none() && waiting.is_none() {
        return None;
    }
    let text = waiting
        .map(|(_, message)| message)
        .filter(|text| !text.is_empty())
        .or_else(|| ended.and_then(|ended| ended.message.as_deref()))
        .unwrap_or_default();
    memory.restarts_since_first_seen(place.uid, &place.status.name, place.status.restart_count);
    // Exit code 128 alone is trouble of the node; a command that the image lacks is not.
    let is_node_trouble =
        ended.is_some_and(|ended| ended.exit_code == NOT_STARTED) && !names_the_command(text);
    let is_second = place.status.restart_count >= 1;
    Some(place.finding(
        DiagnosisCode::StartError,
        severity(is_second && !is_node_trouble),
        format!(
            "{} {} of image {} cannot be started: {}",
            place.what(),
            place.status.name,
            place.image(),
            one_line(text, QUOTE_LIMIT)
        ),
        hint::describe_pod(place.observation.workload, place.pod),
    ))
}

fn names_the_command(text: &str) -> bool {
    ["executable file not found", "no such file or directory", "exec format error", "permission denied"]
        .iter()
        .any(|cause| text.contains(cause))
}

/// A container that ends again and again. Whether that is fatal depends on the other pods, which is decided
/// where all of them are known.
fn crash(place: &Place<'_>, memory: &mut FirstSeen) -> Option<Finding> {
    let status = place.status;
    let restarted = memory.restarts_since_first_seen(place.uid, &status.name, status.restart_count);
    // Ready again (or an init container that is through): it has healed.
    if status.ready {
        return None;
    }
    let ended = place.terminated();
    let is_out_of_memory = ended.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled"));
    let failed = ended.is_some_and(|ended| ended.exit_code != 0);
    let backs_off = place.waiting_reason() == "CrashLoopBackOff";
    // A running container that restarted long before we came is no news.
    let is_down = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    let repeats = status.restart_count >= 2 && failed && (restarted > 0 || is_down);
    let loops = backs_off || repeats;
    let news = loops || restarted > 0 || is_down;
    if !(loops || (is_out_of_memory && news)) {
        return None;
    }
    let (name, what) = (&status.name, place.what());
    let times = match status.restart_count {
        0 => String::new(),
        1 => " (1 restart)".to_owned(),
        count => format!(" ({count} restarts)"),
    };
    let logs = hint::logs(place.observation.workload, place.pod, name, true);
    let (code, message, hint) = if is_out_of_memory {
        let limit = hint::memory_limit(place.container);
        let said = limit
            .as_ref()
            .map_or("the memory of its node".to_owned(), |limit| format!("its memory limit of {limit}"));
        let advice = hint::more_memory(place.observation.workload, name, limit.as_deref());
        (
            DiagnosisCode::OomKilled,
            format!("{what} {name} was killed for using more than {said}{times}"),
            advice,
        )
    } else {
        let code = if place.is_init { DiagnosisCode::InitFailed } else { DiagnosisCode::CrashLoop };
        let how = ended.map_or("ends".to_owned(), |ended| match ended.signal {
            Some(signal) if signal > 0 => format!("was killed by signal {signal}"),
            _ => format!("exited with code {}", ended.exit_code),
        });
        let how =
            if failed || ended.is_none() { how } else { format!("{how}, although it should keep running") };
        (code, format!("{what} {name} {how}{times}"), logs)
    };
    let mut finding = place.finding(code, Severity::Warning, message, hint);
    finding.is_crash = loops;
    Some(finding)
}
