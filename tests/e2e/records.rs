//! Helm's records are gone, cannot be read, or must not be: the services come back all the same.

use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Release, Run, SERVICES, Test, all_tags, broken_tags};

#[track_caller]
fn break_two_revisions(test: &Test, helm: Helm) -> Release<'_> {
    let release = Release::install(test, helm, "todo-app", &all_tags("good-1"));
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    release
}

fn records(cluster: &Cluster) -> Vec<Value> {
    cluster.list_selected("secrets", "owner=helm")
}

#[track_caller]
fn assert_restored(cluster: &Cluster, run: &Run) {
    for (_, name, _) in SERVICES {
        let workload = cluster.workload(&format!("deploy/{name}"));
        assert!(workload.images[name].ends_with(":good-1"), "{name} runs {:?}\n{run}", workload.images);
        assert!(workload.ready, "{name} is ready\n{run}");
    }
}

/// `reconcile` must say why it cannot, and write nothing.
#[track_caller]
fn assert_reconcile_refuses(test: &Test, reason: &str) {
    let before = test.cluster.settled_versions();
    let run = test.run(&["reconcile", "todo-app", "--yes", "-o", "json"]);
    assert!(!matches!(run.code, Some(0) | None), "{run}");
    let result = run.json();
    assert_eq!(result["outcome"], "Refused", "{run}");
    assert!(result["error"].as_str().unwrap_or_default().contains(reason), "{run}");
    assert_ne!(result["next"], json!([]), "{run}");
    assert_eq!(test.cluster.resource_versions(), before, "{run}");
}

#[test]
fn deleted_records_do_not_keep_services_down() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    break_two_revisions(&test, Helm::Four);
    cluster.kubectl(&["delete", "secrets", "-l", "owner=helm"]);
    let run = test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(10);
    let result = run.json();
    assert_eq!(result["outcome"], "ReconcilePending", "{run}");
    assert!(
        result["next"].to_string().contains("helm upgrade --install todo-app"),
        "the next command\n{run}"
    );
    assert_restored(cluster, &run);
    assert_eq!(records(cluster), Vec::<Value>::new(), "no record is invented\n{run}");
    assert_reconcile_refuses(&test, "no record");
}

#[test]
fn release_without_records_is_found_by_its_marks() {
    let Some(test) = Test::begin() else { return };
    break_two_revisions(&test, Helm::Three);
    test.cluster.kubectl(&["delete", "secrets", "-l", "owner=helm"]);
    // No name given: there is only one that it can be.
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(10);
    assert_eq!(run.json()["release"]["name"], "todo-app", "{run}");
    assert_restored(&test.cluster, &run);
}

#[test]
fn corrupted_newest_record_does_not_keep_services_down() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    break_two_revisions(&test, Helm::Four);
    let garbage = json!({"data": {"release": "bm90IGEgcmVsZWFzZQ=="}});
    cluster.patch("secrets", "sh.helm.release.v1.todo-app.v2", "somebody", &garbage);
    let before = records(cluster);
    let run = test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(10);
    assert_ne!(run.json()["next"], json!([]), "the next command\n{run}");
    assert_restored(cluster, &run);
    assert_eq!(records(cluster), before, "no record is invented or changed\n{run}");
    assert_reconcile_refuses(&test, "cannot be read");
}

#[test]
fn corrupted_old_record_does_not_matter() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-2"));
    release.upgrade_and_wait(&all_tags("good-1"));
    release.upgrade(&broken_tags());
    cluster.wait_until_broken();
    let garbage = json!({"data": {"release": "bm90IGEgcmVsZWFzZQ=="}});
    cluster.patch("secrets", "sh.helm.release.v1.todo-app.v1", "somebody", &garbage);
    let run = test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_restored(cluster, &run);
    assert_eq!(release.values()["backend"]["image"]["tag"], "good-1", "{run}");
}

#[test]
fn forbidden_records_stop_it_unless_told_to_leave_them_alone() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = break_two_revisions(&test, Helm::Four);
    // Everything that the procedure needs but Secrets.
    cluster.create_operator("somebody");
    let refused = test
        .run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "--as", "somebody", "-o", "json"])
        .expect(3);
    assert!(refused.json()["preflight"].to_string().contains("--skip-reconcile"), "{refused}");
    let arguments = [
        "emergency",
        "todo-app",
        "--tag",
        "good-1",
        "--yes",
        "--as",
        "somebody",
        "--skip-reconcile",
        "-o",
        "json",
    ];
    let run = test.run(&arguments).expect(10);
    assert_restored(cluster, &run);
    assert_eq!(release.newest(), (2, "deployed".to_owned()), "{run}");
    assert!(run.json()["next"].to_string().contains("kubectl rollback reconcile todo-app"), "{run}");
}

#[test]
fn skipped_reconcile_is_made_up_for_later() {
    let Some(test) = Test::begin() else { return };
    let release = break_two_revisions(&test, Helm::Four);
    let values = crate::harness::merge(&release.values(), &all_tags("good-1"));
    let run =
        test.run(&["emergency", "--tag", "good-1", "--yes", "--skip-reconcile", "-o", "json"]).expect(10);
    assert_eq!(run.json()["outcome"], "ReconcilePending", "{run}");
    assert_restored(&test.cluster, &run);
    assert_eq!(release.newest(), (2, "deployed".to_owned()), "{run}");
    test.run(&["reconcile", "--yes", "-o", "json"]).expect(0);
    release.assert_record(3, &values);
    release.upgrade_reusing_values(Helm::Four);
    assert_restored(&test.cluster, &run);
}

#[test]
fn records_in_config_maps() {
    let Some(mut test) = Test::begin() else { return };
    test.cluster.environment.push(("HELM_DRIVER", "configmap"));
    let release = break_two_revisions(&test, Helm::Four);
    let values = crate::harness::merge(&release.values(), &all_tags("good-1"));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_restored(&test.cluster, &run);
    release.assert_record(3, &values);
    assert_eq!(records(&test.cluster), Vec::<Value>::new(), "nothing is written to Secrets\n{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert_restored(&test.cluster, &run);
}
