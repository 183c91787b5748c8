//! A target that cannot run on a release: the records stay true, and there is a way back.

use serde_json::json;

use crate::harness::{Helm, Release, Test, all_tags};

#[test]
fn a_failed_emergency_leaves_a_true_record_and_a_way_back() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/init-container", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    let arguments = [
        "emergency",
        "--tag",
        "initfail",
        "--container",
        "deploy/web/web",
        "--yes",
        "--timeout",
        "40s",
        "-o",
        "json",
    ];
    let run = test.run(&arguments).expect(4);
    let result = run.json();
    assert!(result["workloads"].to_string().contains("InitFailed"), "{run}");
    assert_ne!(result["next"], json!([]), "{run}");
    let statuses = || -> Vec<String> {
        let history = Helm::Four.history(&test.cluster, "shop");
        history.iter().map(|entry| entry["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(), ["superseded", "deployed", "failed"], "{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
    crate::restoration::assert_no_manager_of_ours(&test.cluster, &run);
    let images = test.cluster.workload("deploy/web").images;
    assert_eq!(
        images["migrate"], "ghcr.io/acme/web:initfail",
        "the init container of the image moves along\n{run}"
    );
    assert_eq!(images["wait-for-redis"], "busybox:1.36.1", "{run}");

    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(statuses(), ["superseded", "superseded", "failed", "deployed"], "{run}");
    release.assert_record(4, &values("good-1"));
}

/// Six services, four of which cannot run for four different reasons: each is told, the other two are fine.
#[test]
fn every_broken_service_is_told_with_its_reason() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    release.upgrade_and_wait(&all_tags("good-2"));
    let images = [
        ("backend", "crash", "CrashLoop"),
        ("frontend", "oom", "OOMKilled"),
        ("reminder-consumer", "missing", "ImageNotFound"),
        ("recurring-consumer", "noconfig", "ConfigError"),
    ];
    let flags: Vec<String> =
        images.iter().map(|(name, tag, _)| format!("--image=ghcr.io/acme/{name}={tag}")).collect();
    let mut arguments = vec!["emergency", "--tag", "good-1", "--yes", "--timeout", "90s"];
    arguments.extend(flags.iter().map(String::as_str));
    let run = test.run(&arguments).expect(4);
    // The screen has a block for each, with the reason and the last words.
    for (name, _, code) in images {
        assert!(run.stdout.contains(code) && run.stdout.contains(name), "{code} of {name}\n{run}");
    }
    assert!(run.stdout.contains("KeyError"), "the last log lines\n{run}");
    for name in ["audit-consumer", "notification-consumer"] {
        let workload = test.cluster.workload(&format!("deploy/{name}"));
        assert!(workload.ready && workload.images[name].ends_with(":good-1"), "{name}\n{run}");
    }
    assert_eq!(release.newest().1, "failed", "{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
}

/// A first run gave up too early; by the second everything is ready, and Helm's record is not yet.
#[test]
fn a_run_that_gave_up_too_early_is_made_up_for() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    let arguments = ["emergency", "--image", "ghcr.io/acme/web=slow", "--yes", "-o", "json"];
    let first =
        test.run(&arguments.iter().chain(&["--timeout", "6s"]).copied().collect::<Vec<&str>>()).expect(5);
    assert_eq!(release.newest(), (3, "failed".to_owned()), "{first}");
    let second = test.run(&arguments).expect(0);
    let mut expected = values("good-2");
    expected["web"]["image"]["tag"] = json!("slow");
    release.assert_record(4, &expected);
    let generation = test.cluster.workload("deploy/web").generation;
    let third = test.run(&arguments).expect(0);
    assert_eq!(third.json()["outcome"], "Unchanged", "{third}");
    assert_eq!(test.cluster.workload("deploy/web").generation, generation, "{second}");
}
