//! Waiting for readiness.

use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn ready_is_confirmed_by_a_fresh_read() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let (told, ()) =
        tokio::join!(wait(&fake, request(&["web"], Some(60))), after(5, || deploy(&fake, "web", 1)));
    assert_eq!(told.outcome.end, WaitEnd::Ready);
    assert!(told.took < Duration::from_secs(7), "{:?}", told.took);
    assert_eq!(told.states("web"), ["0 of 1 available", "ready"]);
    assert_eq!(fake.asked("deployments", "list").len(), 2, "the first list and the last look");
}

#[tokio::test(start_paused = true)]
async fn a_ready_workload_that_the_fresh_read_contradicts_is_not_ready() {
    let fake = Fake::new();
    deploy(&fake, "web", 1);
    // What the watch saw is old: the pod has died since, and the watch is silent about it.
    fake.always("deployments", "watch", Some(Fault::Dead));
    let change = async {
        while fake.asked("deployments", "list").is_empty() {
            tokio::task::yield_now().await;
        }
        fake.set("deployments", deployment("web", 1, 1, 0));
    };
    let (told, ()) = tokio::join!(wait(&fake, request(&["web"], Some(40))), change);
    assert_eq!(told.outcome.end, WaitEnd::TimedOut);
    assert!(!told.outcome.workloads[0].progress.done);
}

#[tokio::test(start_paused = true)]
async fn an_object_older_than_our_write_is_not_believed() {
    let fake = Fake::new();
    deploy(&fake, "web", 1);
    let mut wanted = request(&["web"], Some(20));
    wanted.workloads[0].generation = Some(2);
    let told = wait(&fake, wanted).await;
    assert_eq!(told.outcome.end, WaitEnd::TimedOut);
    assert_eq!(told.states("web"), ["our change is not visible yet"]);
}

#[tokio::test(start_paused = true)]
async fn zero_replicas_are_ready_only_when_zero_is_wanted() {
    let fake = Fake::new();
    fake.set("deployments", deployment("web", 1, 0, 0));
    let mut wanted = request(&["web"], Some(20));
    assert_eq!(wait(&fake, wanted).await.outcome.end, WaitEnd::TimedOut);
    wanted = request(&["web"], Some(20));
    wanted.workloads[0].replicas = Some(0);
    assert_eq!(wait(&fake, wanted).await.outcome.end, WaitEnd::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_workload_does_not_cut_the_others_short() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    deploy(&fake, "shop", 0);
    fake.set("pods", pod("web", &missing_image()));
    let (told, ()) = tokio::join!(
        wait(&fake, request(&["web", "shop"], Some(300))),
        after(40, || deploy(&fake, "shop", 1))
    );
    assert_eq!(told.outcome.end, WaitEnd::NotReady);
    assert!(told.took >= Duration::from_secs(40) && told.took < Duration::from_secs(45), "{:?}", told.took);
    assert_eq!(told.diagnoses(), [(0, DiagnosisCode::ImageNotFound, Severity::Fatal)]);
    let [web, shop] = &told.outcome.workloads[..] else { panic!("two workloads") };
    assert!(!web.progress.done && web.cause_is_known() && shop.progress.done && shop.diagnoses.is_empty());
    assert_eq!(web.progress.state, "ImagePullBackOff");
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_hopeless_wait_still_ends() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    fake.set("pods", pod("web", &missing_image()));
    let told = wait(&fake, request(&["web"], None)).await;
    assert_eq!(told.outcome.end, WaitEnd::NotReady);
    assert!(told.took < Duration::from_secs(5), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn a_crash_comes_with_its_last_words_once() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    fake.set("pods", pod("web", &crash_loop(1)));
    fake.log("previous web-new-1", "connecting to postgres://bob:hunter2@db\nKeyError: 'SMTP_URL'\n");
    let told = wait(&fake, request(&["web"], Some(60))).await;
    assert_eq!(told.diagnoses(), [(0, DiagnosisCode::CrashLoop, Severity::Fatal)]);
    let expected = ["connecting to postgres://***@db", "KeyError: 'SMTP_URL'"];
    assert_eq!(told.outcome.workloads[0].diagnoses[0].logs, expected);
    let (_, WaitEvent::Diagnosis(_, diagnosis)) = &told.events[told.events.len() - 1] else {
        panic!("a diagnosis")
    };
    assert_eq!(diagnosis.logs, expected);
    let asked = fake.asked("pods", "log");
    assert_eq!(asked.len(), 1);
    for part in ["previous=true", "tailLines=25", "limitBytes=65536", "container=app"] {
        assert!(asked[0].query.contains(part), "{part}: {}", asked[0].query);
    }
}

#[tokio::test(start_paused = true)]
async fn logs_that_do_not_come_are_not_waited_for() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    fake.set("pods", pod("web", &crash_loop(1)));
    fake.always("pods", "log", Some(Fault::Stall));
    let told = wait(&fake, request(&["web"], Some(60))).await;
    assert_eq!(told.diagnoses(), [(3, DiagnosisCode::CrashLoop, Severity::Fatal)]);
    assert!(told.took < Duration::from_secs(8), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn the_same_reason_is_told_again_only_when_it_is_graver() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let status = json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"db\" not found"}}});
    fake.set("pods", pod("web", &status));
    let told = wait(&fake, request(&["web"], Some(60))).await;
    let (config, warning, fatal) = (DiagnosisCode::ConfigError, Severity::Warning, Severity::Fatal);
    assert_eq!(told.diagnoses(), [(0, config, warning), (10, config, fatal)]);
    assert_eq!(told.outcome.end, WaitEnd::NotReady);
}

#[tokio::test(start_paused = true)]
async fn a_pure_timeout_is_told_apart_from_a_known_cause() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    fake.set("pods", pod("web", &json!({"state": {"running": {}}})));
    fake.log("web-new-1", "still warming up\n");
    let told = wait(&fake, request(&["web"], Some(30))).await;
    assert_eq!(told.outcome.end, WaitEnd::TimedOut);
    let (stuck, warning, fatal) = (DiagnosisCode::ReadinessStuck, Severity::Warning, Severity::Fatal);
    assert_eq!(told.diagnoses(), [(12, stuck, warning), (30, stuck, fatal)]);
    assert_eq!(told.outcome.workloads[0].diagnoses[0].logs, ["still warming up"]);

    let busy =
        json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "503 Service Unavailable"}}});
    fake.set("pods", pod("web", &busy));
    let told = wait(&fake, request(&["web"], Some(30))).await;
    assert_eq!(told.outcome.end, WaitEnd::NotReady, "the cause is known");
    assert_eq!(told.took.as_secs(), 30, "but it might have healed until the last moment");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_becomes_ready_and_dies_again_is_not_called_ready() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let running = |restarts: i32, ready: bool| {
        json!({"restartCount": restarts, "ready": ready, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1}}})
    };
    fake.set("pods", pod("web", &running(0, false)));
    let life = async {
        for restarts in 1..=3 {
            // Dead for two seconds, then ready for ten, and so on.
            tokio::time::sleep(Duration::from_secs(2)).await;
            fake.set("pods", pod("web", &running(restarts, true)));
            deploy(&fake, "web", 1);
            tokio::time::sleep(Duration::from_secs(10)).await;
            deploy(&fake, "web", 0);
            fake.set("pods", pod("web", &crash_loop(restarts)));
        }
    };
    let (told, ()) = tokio::join!(wait(&fake, request(&["web"], Some(120))), life);
    assert_eq!(told.outcome.end, WaitEnd::NotReady);
    let states = told.states("web").join("; ");
    assert!(states.contains("restarted, must stay ready for"), "{states}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_recovers_for_good_is_ready_after_its_probation() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    fake.set("pods", pod("web", &json!({"state": {"running": {}}})));
    let life = after(5, || {
        let status = json!({"restartCount": 1, "ready": true, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1}}});
        fake.set("pods", pod("web", &status));
        deploy(&fake, "web", 1);
    });
    let (told, ()) = tokio::join!(wait(&fake, request(&["web"], Some(120))), life);
    assert_eq!(told.outcome.end, WaitEnd::Ready);
    assert!((34..38).contains(&told.took.as_secs()), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn what_dies_soon_after_it_is_ready_is_seen_when_it_must_settle() {
    let (sudden, settled) = (Duration::ZERO, SETTLE);
    for (settle, end) in [(sudden, WaitEnd::Ready), (settled, WaitEnd::NotReady)] {
        let fake = Fake::new();
        deploy(&fake, "web", 1);
        fake.set("pods", pod("web", &json!({"ready": true, "state": {"running": {}}})));
        let death = after(10, || {
            deploy(&fake, "web", 0);
            fake.set("pods", pod("web", &crash_loop(1)));
        });
        let wanted = WaitRequest { settle, ..request(&["web"], Some(60)) };
        let (told, ()) = tokio::join!(wait(&fake, wanted), death);
        assert_eq!(told.outcome.end, end, "{settle:?}");
    }
    let fake = Fake::new();
    deploy(&fake, "web", 1);
    let told = wait(&fake, WaitRequest { settle: SETTLE, ..request(&["web"], Some(60)) }).await;
    assert_eq!((told.outcome.end, told.took.as_secs()), (WaitEnd::Ready, 12));
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_wait_and_a_dropped_sender_does_not() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let wanted = request(&["web"], Some(60));
    let (sender, cancel) = watch::channel(false);
    let (told, ()) = tokio::join!(
        wait_with(&fake, &wanted, cancel),
        after(3, || sender.send(true).expect("somebody listens"))
    );
    assert_eq!((told.outcome.end, told.took.as_secs()), (WaitEnd::Interrupted, 3));
    let (sender, cancel) = watch::channel(false);
    drop(sender);
    let told = wait_with(&fake, &request(&["web"], Some(10)), cancel).await;
    assert_eq!(told.outcome.end, WaitEnd::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn trouble_with_the_api_server_is_waited_out() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    for resource in ["deployments", "pods", "replicasets", "events"] {
        fake.always(resource, "list", Some(Fault::Break));
    }
    let back = after(20, || {
        for resource in ["deployments", "pods", "replicasets"] {
            fake.always(resource, "list", None);
        }
        deploy(&fake, "web", 1);
    });
    let (told, ()) = tokio::join!(wait(&fake, request(&["web"], Some(60))), back);
    assert_eq!(told.outcome.end, WaitEnd::Ready, "{:?}", told.events);
    assert!(told.notices().iter().any(|notice| notice.contains("connection reset")), "{:?}", told.notices());
    // Down for good: no hang past the deadline.
    fake.always("deployments", "list", Some(Fault::Stall));
    let told = wait(&fake, request(&["web"], Some(30))).await;
    assert_eq!((told.outcome.end, told.took.as_secs()), (WaitEnd::TimedOut, 30));
}

#[tokio::test(start_paused = true)]
async fn guards_do_not_count_the_time_of_an_outage() {
    let fake = Fake::new();
    deploy(&fake, "web", 0);
    let mut unscheduled = pod("web", &json!({}));
    unscheduled["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available"}]});
    fake.set("pods", unscheduled);
    let outage = async {
        after(20, || {
            fake.always("pods", "list", Some(Fault::Status(503, 0)));
            fake.disconnect("pods");
        })
        .await;
        after(100, || {
            fake.always("pods", "list", None);
            fake.set("pods", pod("web", &json!({"ready": true, "state": {"running": {}}})));
            deploy(&fake, "web", 1);
        })
        .await;
    };
    let (told, ()) = tokio::join!(wait(&fake, request(&["web"], Some(300))), outage);
    assert_eq!(told.outcome.end, WaitEnd::Ready);
    assert_eq!(told.diagnoses(), [(10, DiagnosisCode::Unschedulable, Severity::Warning)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_wait_for_is_ready() {
    let told = wait(&Fake::new(), request(&[], None)).await;
    assert_eq!(told.outcome.end, WaitEnd::Ready);
}
