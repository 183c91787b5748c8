//! Readiness of the kinds that run pods for ever: Deployment, StatefulSet, DaemonSet, ReplicaSet.

use super::{Reader, Readiness};

const NOT_OBSERVED: &str = "not seen by its controller yet";

/// Done when the newest generation is observed, every pod is of the newest template and available, and no old
/// pod is left. `Progressing=False` with `ProgressDeadlineExceeded` is a failure.
pub(super) fn deployment(object: Reader<'_>) -> Readiness {
    let desired = object.number("/spec/replicas").unwrap_or(1);
    if !object.is_observed() {
        return Readiness::waiting(0, desired, NOT_OBSERVED);
    }
    let replicas = object.count("replicas");
    let updated = object.count("updatedReplicas");
    let available = object.count("availableReplicas").min(object.count("readyReplicas"));
    // Available pods are not told apart by template; at most this many of them can be old ones.
    let old = (replicas - updated).max(0);
    let ready = (available - old).clamp(0, desired.max(0));
    if object
        .condition("Progressing")
        .is_some_and(|condition| condition.text("/reason") == Some("ProgressDeadlineExceeded"))
    {
        return Readiness::failed(ready, desired, object.failure("Progressing"));
    }
    if updated < desired {
        let paused = if object.flag("/spec/paused") { ", paused" } else { "" };
        return Readiness::waiting(ready, desired, format!("{updated} of {desired} updated{paused}"));
    }
    if old > 0 || replicas > desired {
        let extra = old.max(replicas - desired);
        return Readiness::waiting(ready, desired, format!("{extra} old still running"));
    }
    if available < desired {
        return Readiness::waiting(ready, desired, format!("{ready} of {desired} available"));
    }
    // Both conditions are written together with the counts; when they contradict them, the status is not settled.
    if object.condition_is("Available", "False") || object.condition_is("Progressing", "False") {
        return Readiness::waiting(ready, desired, "its conditions are not settled");
    }
    Readiness::done(desired, desired)
}

/// Done when every pod above the partition is of the update revision and all are ready. With `OnDelete` nobody
/// replaces the pods, so it stays at "not updated" until somebody deletes them.
pub(super) fn stateful_set(object: Reader<'_>) -> Readiness {
    let desired = object.number("/spec/replicas").unwrap_or(1);
    if !object.is_observed() {
        return Readiness::waiting(0, desired, NOT_OBSERVED);
    }
    let ready = object.count("readyReplicas");
    let replicas = object.optional_count("replicas").unwrap_or(ready);
    let available = available(object, "availableReplicas", ready);
    let current_revision = object.text("/status/currentRevision");
    let update_revision = object.text("/status/updateRevision");
    let updated = if current_revision == update_revision {
        object.count("updatedReplicas").max(object.count("currentReplicas"))
    } else {
        object.count("updatedReplicas")
    };
    let on_delete = object.text("/spec/updateStrategy/type") == Some("OnDelete");
    let partition = if on_delete {
        0
    } else {
        object.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    };
    let to_update = (desired - partition).max(0);
    let shown = ready.min(available).min(updated).clamp(0, desired.max(0));
    if updated < to_update {
        let hint = if on_delete { " (OnDelete: pods must be deleted)" } else { "" };
        return Readiness::waiting(shown, desired, format!("{updated} of {to_update} updated{hint}"));
    }
    if replicas > desired {
        return Readiness::waiting(shown, desired, format!("{} old still running", replicas - desired));
    }
    let standing = replicas.min(ready).min(available);
    if standing < desired {
        return Readiness::waiting(shown, desired, format!("{standing} of {desired} ready"));
    }
    let settled =
        on_delete || partition > 0 || current_revision == update_revision || current_revision.is_none();
    if !settled {
        return Readiness::waiting(shown, desired, "the update is not complete");
    }
    Readiness::done(desired, desired)
}

/// Done when every scheduled pod is of the newest template, ready and available; `maxUnavailable` excuses none.
pub(super) fn daemon_set(object: Reader<'_>) -> Readiness {
    let Some(desired) = object.optional_count("desiredNumberScheduled").filter(|_| object.is_observed())
    else {
        return Readiness::waiting(0, object.count("desiredNumberScheduled"), NOT_OBSERVED);
    };
    let updated = object.count("updatedNumberScheduled");
    let scheduled = object.optional_count("currentNumberScheduled").unwrap_or(updated);
    let ready = object.optional_count("numberReady").unwrap_or_else(|| object.count("numberAvailable"));
    let standing = ready.min(available(object, "numberAvailable", ready));
    let shown = standing.min(updated).clamp(0, desired.max(0));
    if updated < desired {
        let on_delete = object.text("/spec/updateStrategy/type") == Some("OnDelete");
        let hint = if on_delete { " (OnDelete: pods must be deleted)" } else { "" };
        return Readiness::waiting(shown, desired, format!("{updated} of {desired} updated{hint}"));
    }
    if standing < desired || scheduled < desired {
        return Readiness::waiting(shown, desired, format!("{shown} of {desired} ready"));
    }
    Readiness::done(desired, desired)
}

/// Done when all its pods carry the labels, are ready and available.
pub(super) fn replica_set(object: Reader<'_>) -> Readiness {
    let desired = object.number("/spec/replicas").unwrap_or(1);
    if !object.is_observed() {
        return Readiness::waiting(0, desired, NOT_OBSERVED);
    }
    let ready = object.count("readyReplicas");
    let replicas = object.optional_count("replicas").unwrap_or(ready);
    let labelled = object.optional_count("fullyLabeledReplicas").unwrap_or(ready);
    let standing = ready.min(labelled).min(available(object, "availableReplicas", ready));
    let shown = standing.clamp(0, desired.max(0));
    if object.condition_is("ReplicaFailure", "True") {
        return Readiness::waiting(shown, desired, object.failure("ReplicaFailure").reason);
    }
    if replicas > desired {
        return Readiness::waiting(shown, desired, format!("{} too many", replicas - desired));
    }
    if standing < desired {
        return Readiness::waiting(shown, desired, format!("{shown} of {desired} ready"));
    }
    Readiness::done(desired, desired)
}

/// The number of available pods. The field is left out at zero, and by old servers; without `minReadySeconds`
/// ready pods are available at once, so only then may the ready ones stand in for it.
fn available(object: Reader<'_>, field: &str, ready: i32) -> i32 {
    object
        .optional_count(field)
        .unwrap_or_else(|| if object.number("/spec/minReadySeconds").unwrap_or(0) == 0 { ready } else { 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::of;

    fn deployment(spec: i32, counts: [i32; 4], conditions: &Value) -> Value {
        json!({
            "metadata": {"generation": 3}, "spec": {"replicas": spec},
            "status": {"observedGeneration": 3, "replicas": counts[0], "updatedReplicas": counts[1],
                "readyReplicas": counts[2], "availableReplicas": counts[3], "conditions": conditions},
        })
    }

    #[test]
    fn deployments_need_every_count() {
        // (replicas, updated, ready, available) of 2 → done, ready, state
        for (counts, done, ready, state) in [
            ([2, 2, 2, 2], true, 2, "ready"),
            ([0, 0, 0, 0], false, 0, "0 of 2 updated"),
            ([2, 0, 2, 2], false, 0, "0 of 2 updated"),
            ([3, 1, 2, 2], false, 0, "1 of 2 updated"),
            ([3, 2, 3, 3], false, 2, "1 old still running"),
            ([3, 3, 3, 3], false, 2, "1 old still running"),
            ([2, 2, 1, 1], false, 1, "1 of 2 available"),
            ([2, 2, 2, 1], false, 1, "1 of 2 available"),
            ([2, 2, 1, 2], false, 1, "1 of 2 available"),
        ] {
            let found = of("Deployment", &deployment(2, counts, &json!([])));
            assert_eq!((found.done, found.ready, found.state.as_str()), (done, ready, state), "{counts:?}");
        }
        let zero = of("Deployment", &deployment(0, [0; 4], &json!([])));
        assert!(zero.done && zero.desired == 0);
    }

    #[test]
    fn new_replica_set_available_proves_nothing() {
        let trap = json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
        assert!(!of("Deployment", &deployment(2, [2, 2, 0, 0], &trap)).done);
    }

    #[test]
    fn the_progress_deadline_counts_only_for_the_observed_generation() {
        let exceeded = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"web-1\" has timed out progressing."}]);
        let mut object = deployment(2, [2, 2, 0, 0], &exceeded);
        let failure = of("Deployment", &object).failed.expect("failed");
        assert_eq!(failure.reason, "ProgressDeadlineExceeded");
        object["metadata"]["generation"] = json!(4);
        assert_eq!(of("Deployment", &object).failed, None);
    }

    #[test]
    fn a_paused_deployment_says_so() {
        let mut object = deployment(2, [2, 0, 2, 2], &json!([]));
        object["spec"]["paused"] = json!(true);
        assert_eq!(of("Deployment", &object).state, "0 of 2 updated, paused");
    }

    #[test]
    fn stateful_sets_need_the_update_revision_everywhere() {
        let object = |partition: i32, updated: i32, ready: i32, current: &str| {
            json!({
                "metadata": {"generation": 1},
                "spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
                "status": {"observedGeneration": 1, "replicas": 3, "readyReplicas": ready, "availableReplicas": ready,
                    "updatedReplicas": updated, "currentReplicas": 3 - updated,
                    "currentRevision": current, "updateRevision": "new"},
            })
        };
        for (partition, updated, ready, current, done) in [
            (0, 3, 3, "new", true),
            (0, 3, 3, "old", false),
            (0, 2, 3, "old", false),
            (0, 3, 2, "new", false),
            (2, 1, 3, "old", true),
            (2, 0, 3, "old", false),
        ] {
            let found = of("StatefulSet", &object(partition, updated, ready, current));
            assert_eq!(found.done, done, "{partition} {updated} {ready} {current}: {}", found.state);
        }
        let mut slow = object(0, 3, 3, "new");
        slow["spec"]["minReadySeconds"] = json!(30);
        slow["status"]["availableReplicas"] = json!(0);
        assert!(!of("StatefulSet", &slow).done, "minReadySeconds have not passed");
        let mut on_delete = object(0, 1, 3, "old");
        on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        assert_eq!(of("StatefulSet", &on_delete).state, "1 of 3 updated (OnDelete: pods must be deleted)");
    }

    proptest! {
        /// Whatever the counters say: done means that every one of them is complete, and the numbers shown stay
        /// within bounds.
        #[test]
        fn done_is_never_claimed_early(
            kind in prop_oneof![Just("Deployment"), Just("StatefulSet"), Just("DaemonSet"), Just("ReplicaSet")],
            desired in 0..4_i32, counts in prop::array::uniform4(0..5_i32), observed in 1..3_i64,
        ) {
            let [replicas, updated, ready, available] = counts;
            let object = json!({
                "metadata": {"generation": 2}, "spec": {"replicas": desired},
                "status": {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
                    "readyReplicas": ready, "availableReplicas": available, "fullyLabeledReplicas": replicas,
                    "desiredNumberScheduled": desired, "currentNumberScheduled": replicas,
                    "updatedNumberScheduled": updated, "numberReady": ready, "numberAvailable": available,
                    "currentRevision": "a", "updateRevision": "b"},
            });
            let found = of(kind, &object);
            prop_assert!((0..=desired).contains(&found.ready) && found.desired == desired || observed < 2);
            if kind == "StatefulSet" {
                prop_assert!(!found.done, "revisions differ");
            }
            if found.done {
                prop_assert!(observed == 2 && ready >= desired && available >= desired);
                prop_assert!(kind == "ReplicaSet" || updated >= desired);
            }
        }
    }
}
