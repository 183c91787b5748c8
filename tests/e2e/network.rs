//! The connection to the API server breaks at the worst moments: what was stopped is started all the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Proxy, Release, Test, deployment};

fn values(tag: &str) -> Value {
    let slow = json!({"kubectl-rollback.test/stop-delay": "2s", "kubectl-rollback.test/ready-delay": "3s"});
    let services = crate::harness::SERVICES
        .iter()
        .map(|(key, _, _)| ((*key).to_owned(), json!({"podAnnotations": slow, "image": {"tag": tag}})));
    services.collect::<serde_json::Map<_, _>>().into()
}

/// Cuts the network for ten seconds when a phase begins.
fn cut_when(stage: &'static str) {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    let proxy = Proxy::start(&test.cluster);
    let server = proxy.url();
    let arguments = [
        "emergency",
        "--tag",
        "good-1",
        "--strategy",
        "stop-first",
        "--yes",
        "--server",
        &server,
        "-o",
        "jsonl",
    ];
    let mut running = test.start(&arguments);
    running.until(stage, |event| event["type"] == "Stage" && event["stage"] == stage);
    proxy.cut_for(Duration::from_secs(10));
    let run = running.finish().expect(0);
    assert!(run.elapsed > Duration::from_secs(10), "the cut came too late to be felt\n{run}");
    release.assert_record(3, &values("good-1"));
    for (_, name, replicas) in crate::harness::SERVICES {
        let workload = test.cluster.workload(&format!("deploy/{name}"));
        assert_eq!((workload.replicas, workload.ready), (Some(replicas), true), "{name}\n{run}");
    }
    crate::restoration::assert_no_manager_of_ours(&test.cluster, &run);
}

#[test]
fn a_network_that_breaks_during_the_stop() {
    cut_when("stop");
}

#[test]
fn a_network_that_breaks_between_stop_and_start() {
    cut_when("start");
}

#[test]
fn a_network_that_breaks_while_waiting() {
    cut_when("wait");
}

#[test]
fn a_network_that_breaks_before_anything_is_done_ends_it_soon() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_ready(&[deployment("web", 1, "ghcr.io/acme/web:good-2")]);
    let server = {
        let proxy = Proxy::start(&test.cluster);
        proxy.url()
    };
    let arguments = [
        "emergency",
        "deploy/web",
        "--tag",
        "good-1",
        "--yes",
        "--timeout",
        "20s",
        "--server",
        &server,
        "-o",
        "json",
    ];
    let run = test.run(&arguments);
    assert!(matches!(run.code, Some(1 | 5)), "{run}");
    assert!(run.elapsed < Duration::from_secs(30), "{run}");
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
    assert_eq!(test.cluster.image("deploy/web"), "ghcr.io/acme/web:good-2", "{run}");
}
