//! When is an object ready? Pure rules, one function a kind, over the object as the API server returned it.
//!
//! The rules are stricter than those of Helm's and `kubectl`'s waits where these can call a workload ready that
//! is not: every count must be complete, the controller must have seen the newest generation, and
//! `Progressing=True NewReplicaSetAvailable` proves nothing (after a scale from zero onto an existing
//! ReplicaSet the Deployment controller leaves it standing for ever). `docs/readiness.md` lists the differences.

mod other;
mod workloads;

use serde_json::Value;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Pods of the current template that are ready and available; for objects without pods 1 or 0.
    pub ready: i32,
    /// Pods wanted; for objects without pods 1.
    pub desired: i32,
    /// Whether there is nothing left to wait for.
    pub done: bool,
    /// A short state for people: `ready`, `0 of 2 updated`.
    pub state: String,
    /// Why it will not become ready, when the object itself says so.
    pub failed: Option<Failure>,
}

/// What an object says about its own failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The condition's reason: `ProgressDeadlineExceeded`, `BackoffLimitExceeded`.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

impl Readiness {
    fn done(ready: i32, desired: i32) -> Self {
        Self { ready, desired, done: true, state: "ready".into(), failed: None }
    }

    fn waiting(ready: i32, desired: i32, state: impl Into<String>) -> Self {
        Self { ready, desired, done: false, state: state.into(), failed: None }
    }

    fn failed(ready: i32, desired: i32, failure: Failure) -> Self {
        Self { ready, desired, done: false, state: failure.reason.clone(), failed: Some(failure) }
    }
}

/// The readiness of `object`, which is of the given kind (as the API spells it). Kinds without a rule of their
/// own follow the conventions for conditions: `Stalled`, `Reconciling`, `Ready`.
pub fn of(kind: &str, object: &Value) -> Readiness {
    let object = Reader(object);
    if object.text("/metadata/deletionTimestamp").is_some() {
        return Readiness::waiting(0, object.number("/spec/replicas").unwrap_or(1), "being deleted");
    }
    match kind {
        "Deployment" => workloads::deployment(object),
        "StatefulSet" => workloads::stateful_set(object),
        "DaemonSet" => workloads::daemon_set(object),
        "ReplicaSet" | "ReplicationController" => workloads::replica_set(object),
        "Pod" => other::pod(object),
        "Job" => other::job(object),
        "CronJob" => other::cron_job(object),
        "PersistentVolumeClaim" => other::volume_claim(object),
        "Service" => other::service(object),
        "CustomResourceDefinition" => other::custom_resource_definition(object),
        _ => other::generic(object),
    }
}

/// Reads fields of an object by JSON pointer; whatever is missing or of another type is `None`.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Value);

impl<'a> Reader<'a> {
    fn number(self, pointer: &str) -> Option<i32> {
        let number = self.0.pointer(pointer)?.as_i64()?;
        Some(i32::try_from(number).unwrap_or(i32::MAX))
    }

    /// A counter in `status`, which the API server leaves out when it is zero.
    fn count(self, field: &str) -> i32 {
        self.optional_count(field).unwrap_or(0)
    }

    fn optional_count(self, field: &str) -> Option<i32> {
        self.number(&format!("/status/{field}"))
    }

    fn text(self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    fn flag(self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    fn items(self, pointer: &str) -> &'a [Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether the controller has seen the newest generation. A status written for an older one says nothing.
    fn is_observed(self) -> bool {
        let generation = self.0.pointer("/metadata/generation").and_then(Value::as_i64);
        let observed = self.0.pointer("/status/observedGeneration").and_then(Value::as_i64);
        observed.unwrap_or(0) >= generation.unwrap_or(0)
    }

    fn condition(self, kind: &str) -> Option<Reader<'a>> {
        self.items("/status/conditions")
            .iter()
            .map(Reader)
            .find(|condition| condition.text("/type") == Some(kind))
    }

    /// Whether the condition stands at the given status (`True`, `False`, `Unknown`).
    fn condition_is(self, kind: &str, status: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.text("/status") == Some(status))
    }

    fn failure(self, condition: &str) -> Failure {
        let condition_text = |field: &str| {
            self.condition(condition).and_then(|found| found.text(field)).unwrap_or_default().to_owned()
        };
        let reason = condition_text("/reason");
        Failure {
            reason: if reason.is_empty() { condition.to_owned() } else { reason },
            message: condition_text("/message"),
        }
    }
}
