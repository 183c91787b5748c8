//! What a Job or a pod says about itself: how far it is, whether and how it has ended.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Run;
use crate::event::{Diagnosis, DiagnosisCode, ObjectReference, Progress, Severity};
use crate::wait::redaction::redact;

/// Kinds that run to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// `batch` Job.
    Job,
    /// A bare pod.
    Pod,
}

impl RunKind {
    /// The kind of an object, if it is one of these.
    pub fn from_api(api_version: &str, kind: &str) -> Option<Self> {
        match kind {
            "Job" if api_version.starts_with("batch/") => Some(Self::Job),
            "Pod" if api_version == "v1" => Some(Self::Pod),
            _ => None,
        }
    }

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod => "Pod",
        }
    }

    /// How it has ended; `None` while it has not. Only what is final counts: a Job whose last pod has ended is not at its
    /// end before it says so itself.
    pub(super) fn end(self, object: &Value) -> Option<Result<(), String>> {
        match self {
            Self::Job => {
                if condition(object, "Complete").is_some() {
                    return Some(Ok(()));
                }
                let failed = condition(object, "Failed")?;
                Some(Err(reason(text(failed, "/reason"), text(failed, "/message"))))
            }
            Self::Pod => match text(object, "/status/phase") {
                "Succeeded" => Some(Ok(())),
                "Failed" => Some(Err(pod_failure(object))),
                _ => None,
            },
        }
    }

    pub(super) fn progress(self, reference: &ObjectReference, object: &Value) -> Progress {
        let number = |pointer: &str, otherwise: i64| {
            let number = object.pointer(pointer).and_then(Value::as_i64).unwrap_or(otherwise);
            i32::try_from(number).unwrap_or(i32::MAX)
        };
        let end = self.end(object);
        let (ready, desired, state) = match self {
            Self::Job => {
                let (succeeded, failed) = (number("/status/succeeded", 0), number("/status/failed", 0));
                let desired = number("/spec/completions", 1);
                let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
                let state = format!("{} active{failures}", number("/status/active", 0));
                (succeeded.min(desired), desired, state)
            }
            Self::Pod => {
                let phase = text(object, "/status/phase");
                let state = if phase.is_empty() { "not started" } else { phase };
                (i32::from(end == Some(Ok(()))), 1, state.to_owned())
            }
        };
        let state = match &end {
            None => state,
            Some(Ok(())) => "succeeded".to_owned(),
            Some(Err(_)) => "failed".to_owned(),
        };
        Progress { object: reference.clone(), ready, desired, done: end == Some(Ok(())), state }
    }

    /// The object with its pod template where a CronJob has it.
    pub(super) fn as_cron_job(self, object: &Value) -> Value {
        let pod_spec = match self {
            Self::Job => object.pointer("/spec/template/spec"),
            Self::Pod => object.pointer("/spec"),
        };
        json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod_spec}}}}})
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|found| text(found, "/type") == kind && text(found, "/status") == "True")
}

/// Reason and message in one clause.
pub(super) fn reason(reason: &str, message: &str) -> String {
    let message = redact(message);
    match (reason, message.as_str()) {
        ("", "") => "no reason is given".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// Why a pod failed: its own reason (evicted, past its deadline), else how its containers ended.
fn pod_failure(object: &Value) -> String {
    let (why, message) = (text(object, "/status/reason"), text(object, "/status/message"));
    if !why.is_empty() || !message.is_empty() {
        return reason(why, message);
    }
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let ended =
        lists.iter().filter_map(|list| object.pointer(list)?.as_array()).flatten().find_map(|status| {
            let code = status.pointer("/state/terminated/exitCode")?.as_i64().filter(|code| *code != 0)?;
            Some(format!("container {} exited with code {code}", text(status, "/name")))
        });
    ended.unwrap_or_else(|| reason("", ""))
}

/// Whether any container of the pod has run.
pub(super) fn has_begun(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    status.container_statuses.iter().chain(&status.init_container_statuses).flatten().any(|container| {
        container.restart_count > 0
            || container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    })
}

/// What workloads' diagnoses mean for something that ends: it has attempts of its own for whatever began to run, and it
/// need not become ready.
pub(super) fn for_a_run(diagnoses: Vec<Diagnosis>, run: &Run) -> Vec<Diagnosis> {
    let mut kept: Vec<Diagnosis> = diagnoses
        .into_iter()
        .filter(|diagnosis| diagnosis.code != DiagnosisCode::ReadinessStuck)
        .map(|mut diagnosis| {
            match diagnosis.code {
                DiagnosisCode::CrashLoop | DiagnosisCode::InitFailed | DiagnosisCode::StartError => {
                    diagnosis.severity = Severity::Warning;
                }
                DiagnosisCode::OomKilled => {
                    diagnosis.severity = Severity::Warning;
                    "raise the container's memory limit in the chart".clone_into(&mut diagnosis.hint);
                }
                DiagnosisCode::QuotaOrAdmission if !diagnosis.hint.contains(" quota ") => {
                    let kind = run.kind.as_str().to_lowercase();
                    diagnosis.hint = format!("kubectl describe {kind} -n {} {}", run.namespace, run.name);
                }
                _ => {}
            }
            diagnosis
        })
        .collect();
    kept.sort_by_key(|diagnosis| std::cmp::Reverse(diagnosis.severity));
    kept
}
