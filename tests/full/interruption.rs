//! A signal while pods that take their time are being stopped.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::begin;
use crate::harness::{Helm, Release, SERVICES, all_tags, wait_for};

/// Makes one service slow to stop (a hook before the signal) and another deaf to it (killed when its grace is over).
fn slow_down(release: &Release) {
    let change = |name: &str, container: &Value| {
        let pod = json!({"terminationGracePeriodSeconds": 12, "containers": [container]});
        let patch = json!({"spec": {"template": {"spec": pod}}}).to_string();
        release.cluster.kubectl(&["patch", "deployment", name, "--type=strategic", "-p", &patch]);
    };
    let hook = json!({"preStop": {"exec": {"command": ["sleep", "8"]}}});
    change("todo-backend", &json!({"name": "todo-backend", "lifecycle": hook}));
    // What is ignored when a shell begins stays ignored: the service's own trap changes nothing.
    let deaf = ["/bin/sh", "-c", "trap '' TERM; exec /bin/service"];
    change("todo-frontend", &json!({"name": "todo-frontend", "command": deaf}));
    release.cluster.wait_until_ready();
    wait_for("the end of the quick pods", Duration::from_secs(60), || {
        release
            .cluster
            .list("pods")
            .iter()
            .all(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .then_some(())
    });
}

#[test]
fn sigterm_while_slow_pods_stop_leaves_nothing_at_zero() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    release.upgrade_and_wait(&all_tags("good-2"));
    slow_down(&release);

    let arguments = ["emergency", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "jsonl"];
    let running = test.start(&arguments);
    wait_for("services that stop slowly", Duration::from_secs(30), || {
        let is_stopping = |name: &str| {
            let is_going = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
            cluster.workload(&format!("deploy/{name}")).replicas == Some(0)
                && cluster.pods_of(name).iter().all(is_going)
        };
        ["todo-backend", "todo-frontend"].into_iter().all(is_stopping).then_some(())
    });
    // Helm is told that somebody is at work.
    assert_eq!(release.newest(), (3, "pending-rollback".to_owned()));
    let signalled = Instant::now();
    running.signal("TERM");
    let run = running.finish().expect(143);
    let elapsed = signalled.elapsed();
    assert!(elapsed < Duration::from_secs(15), "it ended {elapsed:?} after the signal\n{run}");

    for (_, name, replicas) in SERVICES {
        let workload = cluster.workload(&format!("deploy/{name}"));
        assert_eq!(workload.replicas, Some(replicas), "{name}\n{run}");
        assert!(
            !workload.object["metadata"]["annotations"].to_string().contains("rollback.kubectl.dev"),
            "{name}\n{run}"
        );
    }
    let statuses: Vec<String> = release
        .helm
        .history(cluster, &release.name)
        .iter()
        .map(|entry| entry["status"].to_string())
        .collect();
    assert_eq!(statuses, ["\"superseded\"", "\"deployed\"", "\"failed\""], "{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
    // Everything comes up without anybody's help.
    cluster.wait_until_ready();
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    release.assert_record(4, &all_tags("good-1"));
    let backend =
        &cluster.workload("deploy/todo-backend").object["spec"]["template"]["spec"]["containers"][0];
    assert!(backend["lifecycle"]["preStop"].is_object(), "what was changed by hand stays\n{run}");
}
