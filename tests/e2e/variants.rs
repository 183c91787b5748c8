//! Every way a chart can hold images: the emergency does the right thing, or refuses for the right reason.

use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Release, Run, Test, merge, wait_for};
use crate::restoration::{assert_no_manager_of_ours, planned_workload};

/// One container and the image that it must have at a tag.
type Expected = (&'static str, &'static str, fn(&str) -> String);

/// A container that must keep its image.
type Kept = (&'static str, &'static str, &'static str);

const REDIS: Kept = ("deploy/redis", "redis", "redis:7.2.4");

fn web(tag: &str) -> String {
    format!("ghcr.io/acme/web:{tag}")
}

fn worker(tag: &str) -> String {
    format!("ghcr.io/acme/worker:{tag}")
}

fn web_value(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "team": "shop"})
}

fn web_and_worker_values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}, "team": "shop"})
}

/// Takes a chart from good-1 over good-2 to `broken`, and back to good-1; then Helm goes on with it.
fn comes_back(chart: &str, values: fn(&str) -> Value, broken: &str, expected: &[Expected], kept: &[Kept]) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, chart, &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release.upgrade(&values(broken));
    let untouched = cluster.pod_uids("redis");
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_images(cluster, "good-1", expected, kept, &run);
    assert_eq!(cluster.pod_uids("redis"), untouched, "{run}");
    assert_no_manager_of_ours(cluster, &run);
    assert_eq!(run.json()["next"], json!([]), "nothing is left to do\n{run}");
    release.assert_record(4, &values("good-1"));
    release.upgrade_reusing_values(Helm::Four);
    assert_images(cluster, "good-1", expected, kept, &run);
    cluster.wait_until_ready();
}

#[track_caller]
fn assert_images(cluster: &Cluster, tag: &str, expected: &[Expected], kept: &[Kept], run: &Run) {
    for (reference, container, image) in expected {
        assert_eq!(
            cluster.workload(reference).images[*container],
            image(tag),
            "{reference}/{container}\n{run}"
        );
    }
    for (reference, container, image) in kept {
        assert_eq!(cluster.workload(reference).images[*container], *image, "{reference}/{container}\n{run}");
    }
}

#[test]
fn whole_image_strings() {
    let values = |tag: &str| json!({"web": {"image": web(tag)}, "worker": {"image": worker(tag)}});
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/worker", "worker", worker)];
    comes_back("variants/whole-image", values, "crash", &expected, &[REDIS]);
}

#[test]
fn one_global_tag() {
    let values = |tag: &str| json!({"global": {"image": {"tag": tag}}});
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/worker", "worker", worker)];
    comes_back("variants/global-tag", values, "missing", &expected, &[REDIS]);
}

#[test]
fn registry_repository_and_tag_apart() {
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/worker", "worker", worker)];
    let kept = ("deploy/redis", "redis", "docker.io/library/redis:7.2.4");
    comes_back("variants/registry-split", web_and_worker_values, "unready", &expected, &[kept]);
}

#[test]
fn init_container_of_the_services_image() {
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/web", "migrate", web)];
    let kept = [REDIS, ("deploy/web", "wait-for-redis", "busybox:1.36.1")];
    comes_back("variants/init-container", web_value, "initfail", &expected, &kept);
}

#[test]
fn two_containers_of_one_image() {
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/web", "worker", web)];
    comes_back(
        "variants/two-containers",
        web_value,
        "crash",
        &expected,
        &[("deploy/web", "proxy", "nginx:1.25.4")],
    );
}

#[test]
fn replicas_that_nobody_renders() {
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/worker", "worker", worker)];
    comes_back("variants/no-replicas", web_and_worker_values, "crash", &expected, &[REDIS]);
}

#[test]
fn stateful_set() {
    comes_back("variants/statefulset", web_value, "crash", &[("sts/web", "web", web)], &[REDIS]);
}

#[test]
fn stateful_set_whose_volumes_go_with_its_pods() {
    comes_back("variants/statefulset-volumes", web_value, "crash", &[("sts/web", "web", web)], &[REDIS]);
}

#[test]
fn daemon_set() {
    let agent: Expected = ("ds/agent", "agent", |tag| format!("ghcr.io/acme/agent:{tag}"));
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "agent": {"image": {"tag": tag}}});
    let kept = [("ds/agent", "exporter", "prom/node-exporter:v1.8.0")];
    comes_back("variants/daemonset", values, "unready", &[agent, ("deploy/web", "web", web)], &kept);
}

#[test]
fn cron_job() {
    let cleanup: Expected = ("cronjob/cleanup", "cleanup", |tag| format!("ghcr.io/acme/cleanup:{tag}"));
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "cleanup": {"image": {"tag": tag}}});
    let kept = [("cronjob/backup", "backup", "postgres:16.2")];
    comes_back("variants/cronjob", values, "crash", &[cleanup, ("deploy/web", "web", web)], &kept);
}

#[test]
fn suspended_cron_job_stays_suspended() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "cleanup": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/cronjob", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    for suspended in [true, false] {
        cluster.kubectl(&[
            "patch",
            "cronjob",
            "cleanup",
            "-p",
            &json!({"spec": {"suspend": suspended}}).to_string(),
        ]);
        let tag = if suspended { "good-1" } else { "good-2" };
        let run = test.run(&["emergency", "--tag", tag, "--yes", "-o", "json"]).expect(0);
        let job = cluster.workload("cronjob/cleanup");
        assert_eq!(job.object["spec"]["suspend"], suspended, "{run}");
        assert_eq!(job.images["cleanup"], format!("ghcr.io/acme/cleanup:{tag}"), "{run}");
        assert_eq!(cluster.workload("cronjob/backup").object["spec"]["suspend"], false, "{run}");
        assert!(!job.object["metadata"]["annotations"].to_string().contains("rollback.kubectl.dev"), "{run}");
    }
}

#[test]
fn hook_of_the_services_image() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "variants/hook", &web_value("good-1"));
    release.upgrade_and_wait(&web_value("good-2"));
    let arguments = [
        "upgrade",
        "shop",
        release.chart_path(),
        "--reuse-values",
        "--set",
        "web.image.tag=crash",
        "--no-hooks",
    ];
    Helm::Four.succeed(cluster, &arguments);
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]);
    // One repository only: which containers move together cannot be seen, but this one ran the tag.
    let run = run.expect(0);
    release.assert_record(4, &web_value("good-1"));
    let hooks = Helm::Four.succeed(cluster, &["get", "hooks", "shop"]);
    assert!(hooks.contains("\"ghcr.io/acme/web:good-1\" # same build as the service"), "{hooks}\n{run}");
    assert!(!hooks.contains("crash"), "{hooks}\n{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert_eq!(cluster.image("deploy/web"), web("good-1"), "{run}");
}

#[test]
fn release_whose_last_upgrade_failed() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/hook", &web_value("good-1"));
    release.upgrade_and_wait(&web_value("good-2"));
    // Its migration crashes, so that nothing but the record changes.
    let arguments = [
        "upgrade",
        "shop",
        release.chart_path(),
        "--reuse-values",
        "--set",
        "web.image.tag=crash",
        "--timeout",
        "20s",
    ];
    Helm::Four.fail(&test.cluster, &arguments);
    assert_eq!(release.newest(), (3, "failed".to_owned()));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    release.assert_record(4, &web_value("good-1"));
    let history = Helm::Four.history(&test.cluster, "shop");
    assert_eq!(history[2]["status"], "failed", "a failed revision never becomes superseded\n{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert_eq!(test.cluster.image("deploy/web"), web("good-1"), "{run}");
}

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

#[test]
fn digests_give_way_to_the_tag_and_say_so() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str, letter: &str| json!({"web": {"image": {"tag": tag, "digest": digest(letter)}}, "worker": {"image": {"digest": digest(letter)}}});
    let release = Release::install(&test, Helm::Four, "variants/digest", &values("good-1", "a"));
    release.upgrade_and_wait(&values("good-2", "b"));
    release.upgrade_and_wait(&values("good-3", "c"));
    // The worker is pinned by a digest alone: whether it is of the same build, only people know.
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
    let error = run.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("--container deploy/worker/worker") && !error.contains("redis"), "{run}");

    let run = test.run(&["emergency", "--tag", "good-1", "--container", "deploy/worker", "--yes"]).expect(0);
    assert!(run.stderr.contains("digest"), "the plan says what becomes of the digest\n{run}");
    let cluster = &test.cluster;
    assert_images(
        cluster,
        "good-1",
        &[("deploy/web", "web", web), ("deploy/worker", "worker", worker)],
        &[REDIS],
        &run,
    );
    for helm in Helm::BOTH {
        release.assert_manifest_names_what_runs(helm);
    }
    let values = release.values();
    assert_eq!(
        (&values["web"]["image"]["tag"], &values["worker"]["image"]["tag"]),
        (&json!("good-1"), &json!("good-1")),
        "{run}"
    );
    release.upgrade_reusing_values(Helm::Four);
    assert_images(
        cluster,
        "good-1",
        &[("deploy/web", "web", web), ("deploy/worker", "worker", worker)],
        &[REDIS],
        &run,
    );
}

#[test]
fn paused_deployment_is_refused_with_the_way_out() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str, paused: bool| json!({"web": {"image": {"tag": tag}, "paused": paused}});
    let release = Release::install(&test, Helm::Four, "variants/paused", &values("good-1", false));
    release.upgrade_and_wait(&values("good-2", false));
    release.upgrade(&values("good-2", true));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(3);
    assert!(run.json()["preflight"].to_string().contains("is paused"), "{run}");
    assert!(run.json()["next"].to_string().contains("rollout resume deploy/web"), "{run}");
    assert_eq!(test.cluster.image("deploy/web"), web("good-2"), "{run}");
    test.cluster.kubectl(&["rollout", "resume", "deployment/web"]);
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(test.cluster.image("deploy/web"), web("good-1"), "{run}");
}

#[test]
fn partitioned_stateful_set_is_refused_with_the_way_out() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}, "partition": 1}});
    let release = Release::install(&test, Helm::Four, "variants/statefulset-partition", &values("good-1"));
    release.upgrade(&values("good-2"));
    wait_for("the upper pods on the new version", std::time::Duration::from_secs(60), || {
        (cluster.get("statefulsets", "web")["status"]["updatedReplicas"] == 2).then_some(())
    });
    let before = cluster.pod_uids("web");
    for strategy in ["auto", "stop-first"] {
        let run = test
            .run(&["emergency", "--tag", "good-1", "--strategy", strategy, "--yes", "-o", "json"])
            .expect(3);
        assert!(run.json()["preflight"].to_string().contains("is partitioned at 1"), "{run}");
        assert_eq!(cluster.pod_uids("web"), before, "{run}");
    }
    cluster.kubectl(&[
        "patch",
        "statefulset",
        "web",
        "-p",
        r#"{"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}"#,
    ]);
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(cluster.image("sts/web"), web("good-1"), "{run}");
    assert_eq!(planned_workload(&run, &run.json(), "web")["ready"], true, "{run}");
    for pod in cluster.pods_of("web") {
        assert_eq!(pod["spec"]["containers"][0]["image"], web("good-1"), "every pod\n{run}");
    }
}

#[test]
fn an_image_in_an_argument_is_named_and_stays() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "runner": {"image": {"tag": tag}}, "team": "shop"});
    let release = Release::install(&test, Helm::Four, "variants/image-in-argument", &values("good-1"));
    release.upgrade(&values("crash"));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(test.cluster.image("deploy/web"), web("good-1"), "{run}");
    let result = run.json();
    let warned =
        result["preflight"].as_array().into_iter().flatten().find(|found| found["check"] == "reference");
    let warned = warned.unwrap_or_else(|| panic!("nobody says what stays\n{run}"));
    assert_eq!((&warned["status"], &warned["subject"]), (&json!("warn"), &json!("deploy/web")), "{run}");
    assert!(warned["message"].to_string().contains("ghcr.io/acme/worker:crash in an argument"), "{run}");
    release.assert_record(3, &merge(&values("crash"), &json!({"web": {"image": {"tag": "good-1"}}})));
}

/// A tag that is set where it was empty would no longer follow the one that everybody sets.
#[test]
fn a_tag_that_is_inherited_stays_inherited() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "variants/inherited-tag", &json!({"team": "shop"}));
    release.upgrade(&json!({"team": "shop", "image": {"tag": "crash"}}));
    let expected: [Expected; 2] = [("deploy/web", "web", web), ("deploy/worker", "worker", worker)];
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_images(cluster, "good-1", &expected, &[REDIS], &run);
    release.assert_record(3, &json!({"team": "shop", "image": {"tag": "good-1"}}));
    release.upgrade_reusing_values(Helm::Four);
    assert_images(cluster, "good-1", &expected, &[REDIS], &run);
    release.upgrade(&json!({"team": "shop", "image": {"tag": "good-3"}}));
    assert_images(cluster, "good-3", &expected, &[REDIS], &run);
}

/// No value names the repository, so that nothing proves where the tag belongs: the next command says it.
#[test]
fn an_image_that_only_the_template_knows_is_left_to_the_next_upgrade() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "variants/image-by-default", &json!({"team": "shop"}));
    let expected: [Expected; 1] = [("deploy/web", "web", web)];
    let run =
        test.run(&["emergency", "--tag", "9f31c02", "--container", "deploy/web", "--yes", "-o", "json"]);
    let run = run.expect(0);
    assert_images(cluster, "9f31c02", &expected, &[REDIS], &run);
    release.assert_record(2, &json!({"team": "shop"}));
    let next = run.json()["next"].to_string();
    assert!(next.contains("--set-string image.tag=9f31c02"), "{next}\n{run}");

    // Once the value has been set, it is evidence.
    release.upgrade_and_wait(&json!({"team": "shop", "image": {"tag": "good-2"}}));
    release.upgrade(&json!({"team": "shop", "image": {"tag": "crash"}}));
    let run = test.run(&["emergency", "--tag", "good-2", "--yes", "-o", "json"]).expect(0);
    assert_images(cluster, "good-2", &expected, &[REDIS], &run);
    assert_eq!(run.json()["next"], json!([]), "nothing is left to do\n{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert_images(cluster, "good-2", &expected, &[REDIS], &run);
}

#[test]
fn a_tag_of_two_values_has_its_own_part_set() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/tag-suffix", &web_value("good-1"));
    release.upgrade(&web_value("crash"));
    let run = test.run(&["emergency", "--tag", "good-1-slim", "--yes", "-o", "json"]).expect(0);
    release.assert_record(3, &web_value("good-1"));
    release.upgrade_reusing_values(Helm::Four);
    assert_eq!(test.cluster.image("deploy/web"), web("good-1-slim"), "{run}");
}
