//! The watch under everything that networks and API servers do to it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::*;
use crate::wait::fake::{Fake, Fault, after};

fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "d"},
        "spec": {"replicas": replicas}})
}

fn pod(name: &str, owner: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"pod-template-hash": "new"}, "managedFields": [{"manager": "x"}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{owner}-new"), "uid": "r",
                "controller": true}]},
        "spec": {"containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}})
}

fn event(name: &str, about: &str, count: i32, time: &str) -> Value {
    json!({"metadata": {"name": name}, "type": "Warning", "reason": "FailedCreate", "message": "exceeded quota",
        "count": count, "lastTimestamp": time, "involvedObject": {"kind": "ReplicaSet", "name": about}})
}

fn web() -> WorkloadRef {
    WorkloadRef { kind: WorkloadKind::Deployment, namespace: "default".into(), name: "web".into() }
}

fn watched(fake: &Fake) -> Watched {
    let started_at: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    Watched::new(&fake.client(), "default", &[web()], started_at)
}

fn replicas(watched: &Watched) -> Option<i64> {
    watched.workload(&web())?.pointer("/spec/replicas")?.as_i64()
}

/// Waits until what is known fits; a test that waits in vain has to end.
async fn soon(watched: &mut Watched, fits: impl Fn(&Watched) -> bool) {
    let wait = async {
        while !fits(watched) {
            watched.changed().await;
        }
    };
    timeout(Duration::from_secs(300), wait).await.expect("it comes to that");
}

/// Waits until the Deployment has so many replicas; how long it took.
async fn until(watched: &mut Watched, expected: i64) -> Duration {
    let begun = Instant::now();
    soon(watched, |watched| replicas(watched) == Some(expected)).await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn changes_arrive_at_once() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    let (took, ()) =
        tokio::join!(until(&mut watched, 2), after(1, || fake.set("deployments", deployment(2))));
    assert!(took < Duration::from_millis(1500), "{took:?}");
    fake.remove("deployments", "web");
    soon(&mut watched, |watched| replicas(watched).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_loses_nothing() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    let (took, ()) = tokio::join!(
        until(&mut watched, 2),
        after(1, || {
            fake.disconnect("deployments");
            fake.set("deployments", deployment(2));
        })
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(watched.notices(), Vec::<String>::new(), "a short interruption is not worth a word");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_leads_to_a_fresh_list() {
    for fault in [Fault::ErrorEvent(410), Fault::Status(410, 0), Fault::ErrorEvent(500)] {
        let fake = Fake::new();
        fake.set("deployments", deployment(1));
        let mut watched = watched(&fake);
        until(&mut watched, 1).await;
        fake.fail("deployments", "watch", [fault]);
        let change = after(1, || {
            fake.disconnect("deployments");
            fake.set("deployments", deployment(2));
            fake.compact();
        });
        let (took, ()) = tokio::join!(until(&mut watched, 2), change);
        assert!(took < Duration::from_secs(4), "{fault:?} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_believed() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    fake.deafen("deployments");
    fake.set("deployments", deployment(2));
    let took = until(&mut watched, 2).await;
    assert!(took <= Duration::from_secs(16), "{took:?}");
    // Also when the answer to the list, or to the watch, never comes.
    for verb in ["list", "watch"] {
        fake.disconnect("deployments");
        fake.fail("deployments", verb, [Fault::Stall]);
        fake.set("deployments", deployment(1));
        let took = until(&mut watched, 1).await;
        assert!(took <= Duration::from_secs(20), "{verb} {took:?}");
        fake.set("deployments", deployment(2));
        until(&mut watched, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_tried_again_when_the_server_says() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    fake.fail("deployments", "list", [Fault::Status(429, 7), Fault::Status(503, 0), Fault::Break]);
    let took = until(&mut watched(&fake), 1).await;
    assert!(took >= Duration::from_secs(7) && took < Duration::from_secs(12), "{took:?}");
    let times: Vec<_> = fake.asked("deployments", "list").iter().map(|asked| asked.at).collect();
    assert_eq!(times.len(), 4);
    assert!(times[1] >= Duration::from_secs(7), "Retry-After is honoured: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_always_ends_at_once_does_not_become_a_storm() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    fake.always("deployments", "watch", Some(Fault::EndAtOnce));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    let _ = timeout(Duration::from_secs(60), async {
        loop {
            watched.changed().await;
        }
    })
    .await;
    let asked = fake.asked("deployments", "watch").len() + fake.asked("deployments", "list").len();
    assert!(asked < 30, "{asked} requests in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_is_told_once_and_its_end_too() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    fake.always("deployments", "list", Some(Fault::Status(503, 0)));
    let mut watched = watched(&fake);
    let mut notices = Vec::new();
    let _ = timeout(Duration::from_secs(30), async {
        loop {
            watched.changed().await;
            notices.extend(watched.notices().into_iter().map(|notice| (fake.elapsed(), notice)));
        }
    })
    .await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].0 >= Duration::from_secs(5), "{notices:?}");
    assert_eq!(notices[0].1, "deployments cannot be read, trying on: injected 503");
    fake.always("deployments", "list", None);
    until(&mut watched, 1).await;
    assert_eq!(watched.notices(), ["deployments can be read again"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    fake.always("events", "list", Some(Fault::Status(403, 0)));
    fake.always("replicasets", "list", Some(Fault::Status(403, 0)));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    soon(&mut watched, |watched| watched.replica_set_of(&web()) == TargetReplicaSet::Unreadable).await;
    let notices = watched.notices().join("; ");
    assert!(notices.contains("replicasets cannot be read"), "{notices}");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_needed_is_kept() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    for index in 0..600 {
        fake.set("pods", pod(&format!("other-{index}"), "other"));
    }
    fake.set("pods", pod("web-1", "web"));
    let mut watched = watched(&fake);
    soon(&mut watched, Watched::knows_pods).await;
    let pods = watched.pods_of(&web());
    assert_eq!(pods.len(), 1);
    let kept = serde_json::to_string(pods[0]).expect("json");
    assert!(!kept.contains("hunter2") && !kept.contains("managedFields"), "{kept}");
    assert_eq!(fake.asked("pods", "list").len(), 3, "pages of 250");
    fake.set("pods", pod("web-2", "web"));
    fake.remove("pods", "web-1");
    soon(&mut watched, |watched| {
        watched.pods_of(&web()).iter().map(|pod| pod.name_any()).collect::<Vec<_>>() == ["web-2"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_replica_set_is_the_one_with_the_deployments_revision() {
    let fake = Fake::new();
    let replica_set = |name: &str, uid: &str, revision: &str| {
        json!({"metadata": {"name": name, "annotations": {REVISION_ANNOTATION: revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": true}]}})
    };
    let mut object = deployment(1);
    object["metadata"]["annotations"] = json!({REVISION_ANNOTATION: "3"});
    fake.set("deployments", object.clone());
    fake.set("replicasets", replica_set("web-one", "d", "1"));
    fake.set("replicasets", replica_set("web-foreign", "another", "3"));
    let mut watched = watched(&fake);
    until(&mut watched, 1).await;
    let _ = timeout(Duration::from_secs(2), watched.changed()).await;
    assert_eq!(watched.replica_set_of(&web()), TargetReplicaSet::NotYet);
    // On the way back the controller gives the old ReplicaSet a new number.
    fake.set("replicasets", replica_set("web-one", "d", "3"));
    soon(&mut watched, |watched| watched.replica_set_of(&web()) == TargetReplicaSet::Known("web-one")).await;
}

#[tokio::test(start_paused = true)]
async fn old_events_count_only_when_they_happen_again() {
    let fake = Fake::new();
    fake.set("deployments", deployment(1));
    fake.set("events", event("old", "web-abc", 3, "2026-01-01T11:00:00Z"));
    fake.set("events", event("new", "web-abc", 1, "2026-01-01T12:00:01Z"));
    fake.set("events", event("foreign", "other-abc", 1, "2026-01-01T12:00:01Z"));
    let mut watched = watched(&fake);
    let counts = |watched: &Watched| {
        let mut counts: Vec<i32> = watched.events_of(&web()).iter().map(|note| note.count).collect();
        counts.dedup();
        counts
    };
    soon(&mut watched, |watched| counts(watched) == [1]).await;
    // Listed again, it is still old.
    let _ = timeout(Duration::from_secs(40), soon(&mut watched, |_| false)).await;
    assert_eq!(counts(&watched), [1]);
    // The clock of the cluster may be behind ours: what changes is new, whatever its time says.
    fake.set("events", event("old", "web-abc", 4, "2026-01-01T11:59:00Z"));
    soon(&mut watched, |watched| counts(watched).contains(&4)).await;
    // It stays new when everything is listed again.
    fake.disconnect("events");
    let _ = timeout(Duration::from_secs(40), soon(&mut watched, |_| false)).await;
    assert!(counts(&watched).contains(&4) && !counts(&watched).contains(&3), "{:?}", counts(&watched));
}
