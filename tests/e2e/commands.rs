//! `status`, `reconcile`, and the flags that decide what is taken back, and how.

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Test, deployment, merge};
use crate::restoration::{assert_no_manager_of_ours, planned_workload};

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

fn web(tag: &str) -> String {
    format!("ghcr.io/acme/web:{tag}")
}

fn worker(tag: &str) -> String {
    format!("ghcr.io/acme/worker:{tag}")
}

/// A small release at good-2 that was at good-1 before.
#[track_caller]
fn small_release(test: &Test) -> Release<'_> {
    let release = Release::install(test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release
}

#[track_caller]
fn assert_images(test: &Test, web_image: &str, worker_image: &str, run: &Run) {
    assert_eq!(test.cluster.image("deploy/web"), web_image, "{run}");
    assert_eq!(test.cluster.image("deploy/worker"), worker_image, "{run}");
    assert_eq!(test.cluster.image("deploy/redis"), "docker.io/library/redis:7.2.4", "{run}");
}

#[test]
fn drift_is_shown_and_reconciled() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = small_release(&test);
    let status = test.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!((&status["drift"], &status["ready"]), (&json!(false), &json!(true)), "{status}");
    assert_eq!(status["release"]["revision"], 2, "{status}");

    cluster.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:hotfix-7"]);
    cluster.wait_until_ready();
    let run = test.run(&["status", "-o", "json"]).expect(0);
    let status = run.json();
    assert_eq!(status["drift"], true, "{run}");
    let drifted = |name: &str| {
        let workload =
            status["workloads"].as_array().unwrap().iter().find(|workload| workload["name"] == name).unwrap();
        workload["containers"][0].clone()
    };
    let expected = json!({"name": "web", "image": web("hotfix-7"), "recorded": web("good-2"), "drift": true});
    assert_eq!(drifted("web"), expected, "{run}");
    assert_eq!(drifted("worker")["drift"], false, "{run}");
    let table = test.run(&["status"]).expect(0);
    assert!(table.stdout.contains("hotfix-7") && table.stdout.contains("good-2"), "{table}");

    let before = cluster.workloads();
    let preview = test.run(&["reconcile", "--dry-run", "-o", "json"]).expect(0);
    assert_eq!(
        (&preview.json()["outcome"], &preview.json()["requests"]["writes"]),
        (&json!("Planned"), &json!(0)),
        "{preview}"
    );
    test.run(&["reconcile", "-o", "json"]).expect(9);
    assert_eq!(release.newest(), (2, "deployed".to_owned()), "{preview}");

    let run = test.run(&["reconcile", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["release"]["newRevision"], 3, "{run}");
    let mut reconciled = values("good-2");
    reconciled["web"]["image"]["tag"] = json!("hotfix-7");
    release.assert_record(3, &reconciled);
    for (name, workload) in cluster.workloads() {
        assert_eq!(
            workload.generation, before[&name].generation,
            "{name}: reconcile changes no workload\n{run}"
        );
    }
    assert_no_manager_of_ours(cluster, &run);
    assert_eq!(test.run(&["status", "-o", "json"]).expect(0).json()["drift"], false);
    let again = test.run(&["reconcile", "--yes", "-o", "json"]).expect(0);
    assert_eq!(again.json()["outcome"], "Unchanged", "{again}");
    assert_eq!(release.newest().0, 3, "{again}");
}

#[test]
fn images_of_a_revision() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    // Something else than the images changed since: it is not taken back.
    release.upgrade_and_wait(&merge(&values("good-3"), &json!({"team": "shop"})));
    let run = test.run(&["emergency", "--to-revision", "1", "--yes", "-o", "json"]).expect(0);
    assert_images(&test, &web("good-1"), &worker("good-1"), &run);
    release.assert_record(4, &merge(&values("good-1"), &json!({"team": "shop"})));
    let run = test.run(&["emergency", "--to-revision", "17", "--yes", "-o", "json"]).expect(2);
    assert!(
        run.json()["error"].as_str().unwrap().contains("1, 2, 3")
            || run.json()["error"].as_str().unwrap().contains("3, 2, 1"),
        "{run}"
    );
}

#[test]
fn digests_fit_one_repository_only() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let digest = format!("sha256:{}", "d".repeat(64));
    let run = test.run(&["emergency", "--digest", &digest, "--yes", "-o", "json"]).expect(2);
    assert!(run.json()["error"].as_str().unwrap().contains("--image"), "{run}");
    assert_images(&test, &web("good-2"), &worker("good-2"), &run);
    let run = test.run(&[
        "emergency",
        "--digest",
        &digest,
        "--container",
        "deploy/web",
        "--exclude",
        "deploy/worker",
        "--yes",
        "-o",
        "json",
    ]);
    let run = run.expect(0);
    assert_images(&test, &format!("ghcr.io/acme/web@{digest}"), &worker("good-2"), &run);
    release.assert_manifest_names_what_runs(Helm::Three);
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
}

#[test]
fn images_by_repository() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let run =
        test.run(&["emergency", "--image", "ghcr.io/acme/worker=9f31c02", "--yes", "-o", "json"]).expect(0);
    assert_images(&test, &web("good-2"), &worker("9f31c02"), &run);
    let mut expected = values("good-2");
    expected["worker"]["image"]["tag"] = json!("9f31c02");
    release.assert_record(3, &expected);
    let run = test.run(&["emergency", "--image", "ghcr.io/acme/nobody=1", "--yes", "-o", "json"]).expect(2);
    assert!(run.json()["error"].as_str().unwrap().contains("ghcr.io/acme/nobody"), "{run}");
}

#[test]
fn excluded_containers_keep_their_image() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let before = test.cluster.pod_uids("worker");
    let run = test
        .run(&["emergency", "--tag", "good-1", "--exclude", "deploy/worker", "--yes", "-o", "json"])
        .expect(0);
    assert_images(&test, &web("good-1"), &worker("good-2"), &run);
    assert_eq!(test.cluster.pod_uids("worker"), before, "{run}");
    assert!(run.json()["skipped"].to_string().contains("excluded by --exclude"), "{run}");
    let mut expected = values("good-2");
    expected["web"]["image"]["tag"] = json!("good-1");
    release.assert_record(3, &expected);
}

#[test]
fn replicas_by_hand() {
    let Some(test) = Test::begin() else { return };
    small_release(&test);
    let run = test
        .run(&["emergency", "--tag", "good-1", "--replicas", "deploy/web=4", "--yes", "-o", "json"])
        .expect(0);
    let workload = test.cluster.workload("deploy/web");
    assert_eq!((workload.replicas, workload.ready), (Some(4), true), "{run}");
    assert_eq!(
        planned_workload(&run, &run.json(), "web")["replicas"],
        json!({"before": 2, "after": 4}),
        "{run}"
    );
}

#[test]
fn not_waiting_returns_before_the_pods_are_ready() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let run = test
        .run(&["emergency", "--image", "ghcr.io/acme/web=slow", "--no-wait", "--yes", "-o", "json"])
        .expect(0);
    assert_eq!(planned_workload(&run, &run.json(), "web")["ready"], false, "{run}");
    assert_images(&test, &web("slow"), &worker("good-2"), &run);
    release.assert_manifest_names_what_runs(Helm::Four);
    assert!(run.elapsed.as_secs() < 15, "{run}");
}

#[test]
fn slow_starters_are_waited_for() {
    let Some(test) = Test::begin() else { return };
    small_release(&test);
    let run = test.run(&["emergency", "--image", "ghcr.io/acme/web=slow", "--yes"]).expect(0);
    assert!(test.cluster.workload("deploy/web").ready, "{run}");
    assert!(run.elapsed.as_secs() >= 20, "{run}");
    // Without a terminal: lines with a sign of life after 15 s of silence.
    assert!(run.stderr.lines().count() > 5, "{run}");
}

#[test]
fn workloads_without_helm() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let objects = [
        deployment("web", 2, "ghcr.io/acme/web:good-1"),
        deployment("worker", 1, "ghcr.io/acme/worker:good-1"),
        deployment("cache", 1, "redis:7.2.4"),
    ];
    cluster.create_ready(&objects);
    for name in ["web", "worker"] {
        cluster.kubectl(&[
            "set",
            "image",
            &format!("deployment/{name}"),
            &format!("{name}=ghcr.io/acme/{name}:unready"),
        ]);
    }
    let cache = cluster.pod_uids("cache");
    let run = test.run(&["status", "-l", "team=shop", "-o", "json"]).expect(0);
    assert_eq!(run.json()["workloads"].as_array().unwrap().len(), 3, "{run}");
    assert_eq!(run.json()["ready"], false, "{run}");

    // ReplicaSets remember who ran the tag.
    let run = test.run(&["emergency", "-l", "team=shop", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(cluster.image("deploy/web"), web("good-1"), "{run}");
    assert_eq!(cluster.image("deploy/worker"), worker("good-1"), "{run}");
    assert_eq!(
        (cluster.image("deploy/cache"), cluster.pod_uids("cache")),
        ("redis:7.2.4".to_owned(), cache),
        "{run}"
    );
    assert_no_manager_of_ours(cluster, &run);
    assert_eq!(cluster.list_selected("secrets", "owner=helm"), Vec::<Value>::new(), "{run}");

    let run =
        test.run(&["emergency", "deployment/worker", "--tag", "good-7", "--yes", "-o", "name"]).expect(0);
    assert_eq!(cluster.image("deploy/worker"), worker("good-7"), "{run}");
    assert_eq!(cluster.image("deploy/web"), web("good-1"), "{run}");
    assert!(run.stdout.contains("deployment/worker"), "{run}");
    test.run(&["emergency", "-l", "team=nobody", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
    test.run(&["emergency", "deploy/nobody", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
}

#[test]
fn several_releases_must_be_told_apart() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    // A second release in the namespace, of which only the record matters here.
    let mut record = test.cluster.get("secrets", "sh.helm.release.v1.shop.v2");
    let metadata = json!({"name": "sh.helm.release.v1.other.v1", "labels": {"owner": "helm", "name": "other", "status": "deployed", "version": "1"}});
    record["metadata"] = metadata;
    test.cluster.create("secrets", &record);
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
    let error = run.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("other") && error.contains("shop"), "{run}");
    let run = test.run(&["emergency", "shop", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_images(&test, &web("good-1"), &worker("good-1"), &run);
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
    let run = test.run(&["emergency", "nobody", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
    assert!(run.json()["error"].as_str().unwrap().contains("nobody"), "{run}");
}

#[test]
fn every_output_format_tells_the_same() {
    let Some(test) = Test::begin() else { return };
    small_release(&test);
    let table = test.run(&["emergency", "--tag", "good-1", "--yes"]).expect(0);
    assert!(table.stdout.contains("shop") && table.stdout.contains("good-1"), "{table}");
    assert!(
        table.stderr.contains("deploy/web") || table.stderr.contains("web"),
        "the plan is shown\n{table}"
    );
    let yaml = test.run(&["emergency", "--tag", "good-2", "--yes", "-o", "yaml"]).expect(0);
    assert!(yaml.stdout.contains("outcome: Succeeded"), "{yaml}");
    let name = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "name"]).expect(0);
    assert_eq!(name.stdout, "release.helm.sh/shop rolled back\n", "{name}");
    let events = test
        .run(&[
            "emergency",
            "--tag",
            "good-2",
            "--yes",
            "-o",
            "jsonl",
            "-m",
            "checkout 500s",
            "--incident",
            "INC-7",
        ])
        .expect(0);
    let kinds: Vec<Value> = events.events().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&json!("OperationStarted")), Some(&json!("OperationFinished"))),
        "{events}"
    );
    let history = Helm::Four.history(&test.cluster, "shop");
    let description = history.last().unwrap()["description"].to_string();
    assert!(description.contains("checkout 500s") && description.contains("INC-7"), "{description}");
}
