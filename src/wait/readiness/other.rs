//! Readiness of everything else: pods, Jobs, claims, Services, definitions, and objects that follow the
//! conventions for conditions.

use serde_json::Value;

use super::{Failure, Reader, Readiness};

fn one(done: bool, state: &str) -> Readiness {
    if done { Readiness::done(1, 1) } else { Readiness::waiting(0, 1, state) }
}

/// Done when Ready or Succeeded; failed when it ended badly or crash-loops. Failures that need a clock
/// (unschedulable, bad references) are the diagnosis's business.
pub(super) fn pod(object: Reader<'_>) -> Readiness {
    match object.text("/status/phase") {
        Some("Succeeded") => return Readiness::done(1, 1),
        Some("Failed") => {
            let reason = object.text("/status/reason").unwrap_or("Failed").to_owned();
            let message = object.text("/status/message").unwrap_or_default().to_owned();
            return Readiness::failed(0, 1, Failure { reason, message });
        }
        _ => {}
    }
    let waiting = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .flat_map(|list| object.items(list))
        .find_map(|status| Reader(status).text("/state/waiting/reason").map(|reason| (status, reason)));
    if let Some((status, "CrashLoopBackOff")) = waiting {
        let message = Reader(status).text("/state/waiting/message").unwrap_or_default();
        return Readiness::failed(
            0,
            1,
            Failure { reason: "CrashLoopBackOff".into(), message: message.to_owned() },
        );
    }
    let state = match waiting {
        Some((_, reason)) => reason,
        None if object.condition_is("PodScheduled", "False") => "not scheduled",
        None => "not ready",
    };
    one(object.condition_is("Ready", "True"), state)
}

/// Done when complete; failed when the Job says so or more pods failed than it allows.
pub(super) fn job(object: Reader<'_>) -> Readiness {
    if object.condition_is("Failed", "True") {
        return Readiness::failed(0, 1, object.failure("Failed"));
    }
    let completions = object.number("/spec/completions").unwrap_or(1);
    let succeeded = object.count("succeeded");
    let complete = object.condition_is("Complete", "True");
    if complete || (succeeded >= completions && object.count("active") == 0) {
        return Readiness::done(completions, completions);
    }
    let failed = object.count("failed");
    if failed > object.number("/spec/backoffLimit").unwrap_or(6) {
        let failure = Failure {
            reason: "BackoffLimitExceeded".into(),
            message: format!("{failed} pods of the Job failed"),
        };
        return Readiness::failed(succeeded, completions, failure);
    }
    let state = if object.flag("/spec/suspend") {
        "suspended".to_owned()
    } else {
        format!("{succeeded} of {completions} succeeded")
    };
    Readiness::waiting(succeeded.min(completions), completions, state)
}

/// A CronJob is ready as it stands: its next Job runs when the schedule says.
pub(super) fn cron_job(object: Reader<'_>) -> Readiness {
    let mut readiness = Readiness::done(1, 1);
    if object.flag("/spec/suspend") {
        readiness.state = "suspended".into();
    }
    readiness
}

pub(super) fn volume_claim(object: Reader<'_>) -> Readiness {
    one(object.text("/status/phase") == Some("Bound"), "not bound")
}

/// Only load balancers have to be waited for: every other type is complete when the API server accepted it.
pub(super) fn service(object: Reader<'_>) -> Readiness {
    if object.text("/spec/type") != Some("LoadBalancer") {
        return Readiness::done(1, 1);
    }
    let addressed = object.text("/spec/clusterIP").is_some()
        && !(object.items("/spec/externalIPs").is_empty()
            && object.items("/status/loadBalancer/ingress").is_empty());
    one(addressed, "no address yet")
}

/// Done when established. A definition whose names collide with another's never will be.
pub(super) fn custom_resource_definition(object: Reader<'_>) -> Readiness {
    if object.condition_is("NamesAccepted", "False") {
        let failure = object.failure("NamesAccepted");
        // While the names are being looked at, the condition is False too.
        if failure.reason != "Installing" {
            return Readiness::failed(0, 1, failure);
        }
    }
    one(object.condition_is("Established", "True"), "not established")
}

/// Objects that follow the conventions: `observedGeneration` current, `Stalled`, `Reconciling`, `Ready`. Without
/// any of them an object is ready as soon as it exists.
pub(super) fn generic(object: Reader<'_>) -> Readiness {
    let observed = object.0.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if observed.is_some() && !object.is_observed() {
        return one(false, "not seen by its controller yet");
    }
    if object.condition_is("Stalled", "True") {
        return Readiness::failed(0, 1, object.failure("Stalled"));
    }
    if object.condition_is("Reconciling", "True") {
        return one(false, "reconciling");
    }
    one(object.condition("Ready").is_none() || object.condition_is("Ready", "True"), "not ready")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::of;

    #[test]
    fn each_kind_has_both_answers() {
        let table: [(&str, Value, bool); 12] = [
            (
                "Pod",
                json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
                true,
            ),
            (
                "Pod",
                json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}}),
                false,
            ),
            ("Job", json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}), true),
            ("Job", json!({"spec": {"completions": 2}, "status": {"succeeded": 1, "active": 1}}), false),
            ("CronJob", json!({}), true),
            ("PersistentVolumeClaim", json!({"status": {"phase": "Pending"}}), false),
            ("Service", json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}), false),
            ("Service", json!({"spec": {"type": "ClusterIP"}}), true),
            (
                "CustomResourceDefinition",
                json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}),
                true,
            ),
            ("Certificate", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), false),
            (
                "Certificate",
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}),
                false,
            ),
            ("ConfigMap", json!({}), true),
        ];
        for (kind, object, done) in table {
            assert_eq!(of(kind, &object).done, done, "{kind} {object}");
        }
    }

    #[test]
    fn an_object_that_is_being_deleted_is_never_ready() {
        let object = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(!of("ConfigMap", &object).done);
        assert!(!of("CronJob", &object).done);
    }

    #[test]
    fn failures_are_told_apart_from_waiting() {
        let job = json!({"spec": {"backoffLimit": 1}, "status": {"failed": 2}});
        assert_eq!(of("Job", &job).failed.expect("failed").reason, "BackoffLimitExceeded");
        let job = json!({"spec": {"backoffLimit": 2}, "status": {"failed": 2}});
        assert_eq!(of("Job", &job).failed, None);
        let pod = json!({"status": {"phase": "Running", "containerStatuses": [
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        assert_eq!(of("Pod", &pod).failed.expect("failed").reason, "CrashLoopBackOff");
    }
}
