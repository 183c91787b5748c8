//! The stop barrier.

use serde_json::json;

use super::*;

async fn gone(fake: &Fake, seconds: u64) -> (GoneOutcome, u64) {
    let (_sender, cancel) = watch::channel(false);
    let begun = Instant::now();
    let outcome =
        wait_until_gone(&fake.client(), &workload("web"), begun + Duration::from_secs(seconds), cancel).await;
    (outcome, begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn pods_are_gone_when_none_can_run_any_more() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let mut terminating = pod("web", &json!({"state": {"running": {}}}));
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:00Z");
    fake.set("pods", terminating.clone());
    fake.set("pods", pod("shop", &json!({"state": {"running": {}}})));
    let (outcome, took) = gone(&fake, 10).await;
    assert_eq!((outcome.end, took), (GoneEnd::Deadline, 10));
    let left = RemainingPod {
        name: "web-new-1".into(),
        node: "node-1".into(),
        finalizers: vec!["example.org/hold".into()],
        is_terminating: true,
    };
    assert_eq!(outcome.remaining, [left]);
    assert!(fake.asked("pods", "list")[0].query.contains("labelSelector=app%3Dweb"));
    // Its containers have ended; only the finalizer keeps it.
    terminating["status"]["phase"] = json!("Succeeded");
    let ((outcome, took), ()) = tokio::join!(gone(&fake, 10), after(2, || fake.set("pods", terminating)));
    assert_eq!((outcome.end, took), (GoneEnd::Gone, 2));
}

#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_read_are_not_gone() {
    let fake = Fake::new();
    fake.always("pods", "list", Some(Fault::Status(503, 0)));
    let (outcome, took) = gone(&fake, 10).await;
    assert_eq!((outcome.end, took), (GoneEnd::Deadline, 10));
    assert_eq!(outcome.trouble.as_deref(), Some("injected 503"));
    fake.always("pods", "list", None);
    let (outcome, _) = gone(&fake, 10).await;
    assert_eq!((outcome.end, outcome.trouble), (GoneEnd::Gone, None));
}

#[tokio::test(start_paused = true)]
async fn the_barrier_can_be_cut_short() {
    let fake = Fake::new();
    fake.set("pods", pod("web", &json!({})));
    let (sender, cancel) = watch::channel(true);
    let deadline = Instant::now() + Duration::from_secs(60);
    let outcome = wait_until_gone(&fake.client(), &workload("web"), deadline, cancel).await;
    assert_eq!(outcome.end, GoneEnd::Interrupted);
    drop(sender);
    let job = WorkloadRef { kind: WorkloadKind::CronJob, ..workload("web") };
    let (_sender, cancel) = watch::channel(false);
    assert_eq!(wait_until_gone(&fake.client(), &job, deadline, cancel).await.end, GoneEnd::Gone);
}
