//! Operations: who holds a release, what becomes of a holder that wakes up too late, what the journal tells, and what is
//! left of it.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Test, is_pod_ready, wait_for};

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

/// A small release whose last deploy does not run.
#[track_caller]
fn broken_release(test: &Test) -> Release<'_> {
    let release = Release::install(test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release.upgrade(&values("crash"));
    wait_for("the broken deploy to break", Duration::from_secs(60), || {
        let pods = test.cluster.list("pods");
        let is_broken = |pod: &Value| pod["spec"].to_string().contains(":crash") && !is_pod_ready(pod);
        pods.iter().any(is_broken).then_some(())
    });
    release
}

const EMERGENCY: [&str; 6] = ["emergency", "--tag", "good-2", "--yes", "-o", "json"];

#[test]
fn of_two_operators_exactly_one_proceeds() {
    let Some(test) = Test::begin() else { return };
    let release = broken_release(&test);
    let clusters = [test.cluster.another(), test.cluster.another()];
    let runs: Vec<Run> = thread::scope(|scope| {
        let runs = clusters.map(|cluster| {
            scope.spawn(move || crate::harness::Running::start(&cluster, &EMERGENCY).finish())
        });
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let (won, lost): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(|run| run.code == Some(0));
    assert_eq!((won.len(), lost.len()), (1, 1), "{}\n{}", runs[0], runs[1]);
    let error = lost[0].json();
    assert_eq!(error["outcome"], "Locked", "{}", lost[0]);
    let text = error["error"].as_str().unwrap();
    for word in ["is at work on operation", " since ", "emergency --tag good-2", "nothing was changed"] {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
    assert_eq!(release.newest(), (4, "deployed".to_owned()));
}

/// An emergency that was stopped (SIGSTOP) while it waits: its pods are not let become ready before.
#[track_caller]
fn stopped_in_the_middle(test: &Test) -> crate::harness::Running {
    let mut running = test.start(&["emergency", "--tag", "good-2", "--yes", "-o", "jsonl"]);
    running.until("the wait", |event| event["type"] == "Stage" && event["stage"] == "wait");
    running.signal("STOP");
    running
}

#[test]
fn a_dead_holders_lock_expires_and_it_notices_when_it_wakes_up() {
    let Some(test) = Test::begin() else { return };
    let release = broken_release(&test);
    let first = stopped_in_the_middle(&test);

    let refused = test.run(&EMERGENCY).expect(8);
    assert!(refused.json()["error"].as_str().unwrap().contains("is at work on operation"), "{refused}");
    // Its lock expires by our own clock; what it has begun still stands in the way of another beginning.
    let unfinished = wait_for("the lock to expire", Duration::from_secs(60), || {
        let run = test.run(&EMERGENCY).expect(8);
        run.json()["error"].as_str().unwrap().contains("never ended").then_some(run)
    });
    let next = unfinished.json()["next"].to_string();
    assert!(
        next.contains("resume") && next.contains("abort") && next.contains("--take-over"),
        "{unfinished}"
    );

    let resumed = test.run(&["resume", "--yes", "-o", "json"]).expect(0);
    assert_eq!(resumed.json()["release"]["newRevision"], 4, "{resumed}");
    let versions = |release: &Release<'_>| (release.newest(), test.cluster.resource_versions());
    let before = versions(&release);
    first.signal("CONT");
    let late = first.finish().expect(1);
    let end = late.events().pop().unwrap();
    assert!(end["error"].as_str().unwrap().contains("does not hold the release any more"), "{late}");
    assert_eq!(versions(&release), before, "{late}");
}

#[test]
fn a_deploy_that_came_through_all_the_same_is_noticed_before_the_next_write() {
    let Some(test) = Test::begin() else { return };
    let _release = broken_release(&test);
    let running = stopped_in_the_middle(&test);
    // Helm itself refuses while our record is pending: somebody has written the next one by other means.
    let mut record = test.cluster.get("secrets", "sh.helm.release.v1.shop.v3");
    record["metadata"] = json!({
        "name": "sh.helm.release.v1.shop.v5",
        "labels": {"name": "shop", "owner": "helm", "status": "deployed", "version": "5"},
    });
    test.cluster.create("secrets", &record);
    let records = || {
        let mut versions = test.cluster.resource_versions();
        versions.retain(|version| version.starts_with("secrets/"));
        versions
    };
    let before = records();
    // What was seen a moment ago is not looked at again.
    thread::sleep(Duration::from_millis(500));
    running.signal("CONT");
    let run = running.finish().expect(1);
    let end = run.events().pop().unwrap();
    assert!(end["error"].as_str().unwrap().contains("has written revision 5 of shop meanwhile"), "{run}");
    assert_eq!(records(), before, "{run}");
}

#[test]
fn a_journal_tells_what_was_done_and_by_whom() {
    let Some(test) = Test::begin() else { return };
    let _release = broken_release(&test);
    let run =
        test.run(&["emergency", "--tag", "good-2", "--yes", "-m", "checkout fails", "-o", "json"]).expect(0);
    let operation = run.json()["operation"].as_str().unwrap().to_owned();

    let list = test.run(&["operations", "-o", "json"]).expect(0).json();
    let row = &list["operations"][0];
    assert_eq!((&row["operation"], &row["state"]), (&json!(operation), &json!("finished")), "{list}");
    assert_eq!((&row["procedure"], &row["outcome"]), (&json!("emergency"), &json!("Succeeded")), "{list}");
    let shown = test.run(&["operations", "show", &operation, "-o", "json"]).expect(0).json();
    assert_eq!(shown["reason"], "checkout fails", "{shown}");
    let entries = shown["entries"].as_array().unwrap();
    let count = |kind: &str| entries.iter().filter(|entry| entry["entry"] == kind).count();
    assert!(count("intent") > 4 && count("intent") == count("answer"), "{shown}");
    assert!(shown.to_string().contains("/deployments/web"), "{shown}");
    let text = test.run(&["operations", "show", &operation]).expect(0);
    assert!(text.stdout.contains("checkout fails") && text.stdout.contains("PATCH"), "{text}");

    // What an undoing would have needed is gone, and who did what stands beside the workloads.
    let left = test.cluster.list_selected("secrets", &format!("rollback.kubectl.dev/operation={operation}"));
    let names: Vec<&str> = left.iter().filter_map(|secret| secret["metadata"]["name"].as_str()).collect();
    assert_eq!(names, [format!("kubectl-rollback.{operation}.0")]);
    let events = test.cluster.kubectl(&["get", "events", "-n", test.namespace(), "-o", "json"]);
    assert!(
        events.contains(&format!("operation {operation} by ")) && events.contains("checkout fails"),
        "{events}"
    );

    let refused = test.run(&["abort", &operation, "--yes"]).expect(2);
    assert!(refused.stderr.contains("has done what it was meant to do"), "{refused}");
    test.run(&["resume", &operation, "--yes"]).expect(0);
    let pruned = test.run(&["operations", "prune", "--keep", "0", "-o", "json"]).expect(0).json();
    assert_eq!(pruned["operations"][0]["operation"], json!(operation), "{pruned}");
    assert!(test.run(&["resume", "--yes"]).expect(2).stderr.contains("no unfinished operation"));
}

#[test]
fn a_failed_emergency_can_be_undone_from_another_machine() {
    let Some(test) = Test::begin() else { return };
    let release = broken_release(&test);
    let before = test.cluster.workload("deploy/web");
    let run = test.run(&["emergency", "--tag", "unready", "--yes", "--timeout", "8s", "-o", "json"]);
    assert!(matches!(run.code, Some(4 | 5)), "{run}");
    assert!(run.json()["next"].to_string().contains("kubectl rollback abort"), "{run}");
    // No home folder, so that only the cluster can tell.
    let undone = test.run(&["abort", "--yes", "-o", "json"]).expect(0);
    let after = test.cluster.workload("deploy/web");
    assert_eq!((&after.images, after.replicas), (&before.images, before.replicas), "{undone}");
    assert_eq!(after.managers, before.managers, "{undone}");
    let statuses: Vec<String> = Helm::Four
        .history(&test.cluster, &release.name)
        .iter()
        .map(|entry| entry["status"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(statuses, ["superseded", "superseded", "deployed", "failed"], "{undone}");
    let again = test.run(&["abort", "--yes"]).expect(2);
    assert!(again.stderr.contains("no unfinished operation"), "{again}");
}

#[test]
fn what_somebody_else_has_changed_since_is_left_alone_and_told() {
    let Some(test) = Test::begin() else { return };
    let _release = broken_release(&test);
    let run = test.run(&["to", "2", "--yes", "--timeout", "60s", "-o", "json"]).expect(0);
    drop(run);
    // A rollback that fails can be undone; meanwhile somebody has scaled by hand.
    let run = test.run(&["to", "3", "--allow-failed-revision", "--yes", "--timeout", "10s", "-o", "json"]);
    assert!(matches!(run.code, Some(4 | 5)), "{run}");
    test.cluster.kubectl(&["scale", "deployment/web", "--replicas=4"]);
    let undone = test.run(&["abort", "--yes", "-o", "json"]).expect(0);
    let web = test.cluster.workload("deploy/web");
    assert_eq!(web.replicas, Some(4), "{undone}");
    assert!(web.images["web"].ends_with(":good-2"), "{undone}");
    assert!(undone.json()["warnings"].to_string().contains("spec.replicas"), "{undone}");
}
