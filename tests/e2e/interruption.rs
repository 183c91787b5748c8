//! Ctrl-C, SIGTERM and worse at every moment: nothing stays at zero, and Helm's records tell the truth.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Running, SERVICES, Test, all_tags, merge, wait_for};
use crate::restoration::assert_no_manager_of_ours;

/// Every service takes its time to stop and to become ready, so that there is something to interrupt.
fn slow_pods(stop: &str) -> Value {
    let annotations =
        json!({"kubectl-rollback.test/stop-delay": stop, "kubectl-rollback.test/ready-delay": "2s"});
    let values =
        SERVICES.iter().map(|(key, _, _)| ((*key).to_owned(), json!({"podAnnotations": annotations})));
    values.collect::<serde_json::Map<_, _>>().into()
}

/// A healthy release at good-2 whose pods stop and start slowly.
#[track_caller]
fn slow_platform(test: &Test) -> Release<'_> {
    platform_that_stops_in(test, "3s")
}

#[track_caller]
fn platform_that_stops_in<'a>(test: &'a Test, stop: &str) -> Release<'a> {
    let pods = slow_pods(stop);
    let release = Release::install(test, Helm::Four, "todo-app", &merge(&pods, &all_tags("good-1")));
    release.upgrade_and_wait(&merge(&pods, &all_tags("good-2")));
    release
}

const ARGUMENTS: [&str; 7] = ["emergency", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o"];

fn arguments(output: &'static str) -> Vec<&'static str> {
    ARGUMENTS.into_iter().chain([output]).collect()
}

fn begins(stage: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == "Stage" && event["stage"] == stage && event["status"] == "started"
}

fn stops_a_workload(event: &Value) -> bool {
    event["type"] == "Change" && event["object"]["kind"] == "Deployment"
}

/// What must hold however a run ended: everything runs, one way or the other, and Helm knows which.
#[track_caller]
fn assert_consistent(test: &Test, release: &Release, run: &Run) {
    let cluster = &test.cluster;
    for (_, name, replicas) in SERVICES {
        let workload = cluster.workload(&format!("deploy/{name}"));
        assert_eq!(workload.replicas, Some(replicas), "replicas of {name}\n{run}");
        let annotations = workload.object["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("rollback.kubectl.dev"), "{name}: {annotations}\n{run}");
    }
    assert_no_manager_of_ours(cluster, run);
    let (_, status) = release.newest();
    assert!(!status.starts_with("pending"), "the newest revision is {status}\n{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
    cluster.wait_until_ready();
    // Nothing is in the way of the next deploy.
    release.upgrade_reusing_values(Helm::Four);
}

fn interrupted(moment: impl Fn(&mut Running), signals: &[&str], exit: i32) {
    let Some(test) = Test::begin() else { return };
    let release = slow_platform(&test);
    let mut running = test.start(&arguments("jsonl"));
    moment(&mut running);
    for signal in signals {
        running.signal(signal);
        std::thread::sleep(Duration::from_millis(300));
    }
    let run = running.finish().expect(exit);
    let events = run.events();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["outcome"]),
        (&json!("OperationFinished"), &json!("Interrupted")),
        "{run}"
    );
    assert_consistent(&test, &release, &run);
}

#[test]
fn ctrl_c_while_reading_changes_nothing() {
    let Some(test) = Test::begin() else { return };
    let release = slow_platform(&test);
    let before = test.cluster.workloads();
    let mut running = test.start(&arguments("jsonl"));
    running.until("the start", |event| event["type"] == "OperationStarted");
    running.signal("INT");
    let run = running.finish().expect(130);
    assert_eq!(run.events().last().unwrap()["changed"], false, "{run}");
    assert_eq!(release.newest(), (2, "deployed".to_owned()), "{run}");
    let generations =
        |workloads: &std::collections::BTreeMap<String, crate::harness::WorkloadState>| -> Vec<i64> {
            workloads.values().map(|workload| workload.generation).collect()
        };
    assert_eq!(generations(&test.cluster.workloads()), generations(&before), "{run}");
    assert_consistent(&test, &release, &run);
}

#[test]
fn ctrl_c_at_the_first_stop() {
    interrupted(|running| drop(running.until("the first stop", stops_a_workload)), &["INT"], 130);
}

#[test]
fn sigterm_while_pods_stop() {
    interrupted(|running| drop(running.until("the start phase", begins("start"))), &["TERM"], 143);
}

#[test]
fn ctrl_c_twice_while_pods_stop() {
    interrupted(|running| drop(running.until("the start phase", begins("start"))), &["INT", "INT"], 130);
}

#[test]
fn sigterm_and_ctrl_c_while_waiting() {
    interrupted(|running| drop(running.until("the wait", begins("wait"))), &["TERM", "INT"], 143);
}

#[test]
fn ctrl_c_during_the_reconcile() {
    let Some(test) = Test::begin() else { return };
    let release = slow_platform(&test);
    let mut running = test.start(&arguments("jsonl"));
    running.until("the reconcile", begins("reconcile"));
    running.signal("INT");
    let run = running.finish();
    assert!(matches!(run.code, Some(0 | 130)), "{run}");
    assert_consistent(&test, &release, &run);
}

#[test]
fn an_interrupted_result_says_what_is_done_and_what_is_not() {
    let Some(test) = Test::begin() else { return };
    let release = slow_platform(&test);
    let running = test.start(&arguments("json"));
    wait_for("a stopped service", Duration::from_secs(30), || {
        test.cluster.workloads().values().any(|workload| workload.replicas == Some(0)).then_some(())
    });
    running.signal("TERM");
    let run = running.finish().expect(143);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["stopped"]), (&json!("Interrupted"), &json!([])), "{run}");
    assert!(run.stderr.contains("SIGTERM"), "{run}");
    let workloads = result["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), SERVICES.len(), "{run}");
    for workload in workloads {
        let name = workload["name"].as_str().unwrap();
        let image = test.cluster.image(&format!("deploy/{name}"));
        let expected = if workload["written"] == true { ":good-1" } else { ":good-2" };
        assert!(image.ends_with(expected), "{name} runs {image}\n{run}");
        assert_eq!(workload["ready"], false, "nothing was waited for: {name}\n{run}");
    }
    assert_consistent(&test, &release, &run);
}

#[test]
fn a_time_limit_that_ends_during_the_stop_starts_everything_all_the_same() {
    let Some(test) = Test::begin() else { return };
    // Longer than the time limit, which leaves room for a busy machine to come to the stop.
    let release = platform_that_stops_in(&test, "12s");
    let run = test.run(&[&ARGUMENTS[..], &["json", "--timeout", "8s"]].concat());
    assert!(matches!(run.code, Some(4 | 5)), "{run}");
    assert_eq!(run.json()["stopped"], json!([]), "{run}");
    assert_consistent(&test, &release, &run);
}

#[test]
fn a_killed_run_is_taken_over_with_the_replicas_it_remembered() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = slow_platform(&test);
    cluster.kubectl(&["scale", "deployment/todo-backend", "--replicas=4"]);
    cluster.wait_until_ready();
    let mut running = test.start(&arguments("jsonl"));
    running.until("the start phase", begins("start"));
    running.signal("KILL");
    let killed = running.finish();
    assert_eq!(killed.code, None, "{killed}");
    assert_eq!(
        cluster.workload("deploy/todo-backend").replicas,
        Some(0),
        "it was killed while things stood still"
    );

    // Helm's record says that an operation is open, which is true; nobody else may start one.
    assert_eq!(release.newest(), (3, "pending-rollback".to_owned()));
    let locked = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(8);
    assert!(
        format!("{}{}", locked.json()["error"], locked.json()["next"]).contains("--take-over"),
        "{locked}"
    );
    let status = test.run(&["status", "-o", "json"]).expect(0).json();
    assert!(status["openOperation"].as_str().unwrap_or_default().contains("kubectl-rollback"), "{status}");

    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "--take-over", "-o", "json"]).expect(0);
    for (_, name, replicas) in SERVICES {
        let workload = cluster.workload(&format!("deploy/{name}"));
        let wanted = if name == "todo-backend" { 4 } else { replicas };
        assert_eq!((workload.replicas, workload.ready), (Some(wanted), true), "{name}\n{run}");
        assert!(workload.images[name].ends_with(":good-1"), "{name}\n{run}");
    }
    assert_no_manager_of_ours(cluster, &run);
    let values = merge(&slow_pods("3s"), &all_tags("good-1"));
    let (revision, _) = release.newest();
    release.assert_record(revision, &values);
    release.upgrade_reusing_values(Helm::Four);
}
