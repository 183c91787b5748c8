//! What design decision D3 forbids: volumes lost, services stopped for a target that cannot run, waits without end,
//! deploys into the middle.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Helm, Release, Run, Sampler, Test, deployment, is_pod_ready, stateful_set, unique, wait_for,
};
use crate::restoration::{assert_never_fewer, planned_workload};

fn web_tag(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}})
}

fn uids(cluster: &Cluster, resource: &str) -> Vec<String> {
    cluster.list(resource).iter().map(|object| object["metadata"]["uid"].to_string()).collect()
}

#[test]
fn volumes_are_not_scaled_away() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/statefulset-volumes", &web_tag("good-1"));
    release.upgrade_and_wait(&web_tag("good-2"));
    let claims = uids(&test.cluster, "persistentvolumeclaims");
    assert_eq!(claims.len(), 3);
    let run = test
        .run(&["emergency", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "json"])
        .expect(0);
    let result = run.json();
    assert_eq!(planned_workload(&run, &result, "web")["strategy"], "rolling", "{run}");
    assert!(result["preflight"].to_string().contains("volumes"), "the operator is told why\n{run}");
    assert_eq!(uids(&test.cluster, "persistentvolumeclaims"), claims, "{run}");
    assert_eq!(test.cluster.image("sts/web"), "ghcr.io/acme/web:good-1", "{run}");
}

#[test]
fn volumes_that_are_kept_survive_a_stop() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/statefulset", &web_tag("good-1"));
    release.upgrade_and_wait(&web_tag("good-2"));
    let claims = uids(&test.cluster, "persistentvolumeclaims");
    let run = test
        .run(&["emergency", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "json"])
        .expect(0);
    let result = run.json();
    assert_eq!(planned_workload(&run, &result, "web")["strategy"], "stop-first", "{run}");
    assert_eq!(uids(&test.cluster, "persistentvolumeclaims"), claims, "{run}");
    let workload = test.cluster.workload("sts/web");
    assert_eq!((workload.replicas, workload.ready), (Some(3), true), "{run}");
}

#[test]
fn broken_pods_of_a_stateful_set_are_replaced() {
    for strategy in ["auto", "stop-first"] {
        let Some(test) = Test::begin() else { return };
        let release = Release::install(&test, Helm::Four, "variants/statefulset", &web_tag("good-1"));
        release.upgrade(&web_tag("crash"));
        wait_for("a crashing pod", Duration::from_secs(30), || {
            let pod = test.cluster.find("pods", "web-2")?;
            (pod["status"]["containerStatuses"][0]["restartCount"].as_i64()? > 0).then_some(())
        });
        let claims = uids(&test.cluster, "persistentvolumeclaims");
        let run = test
            .run(&["emergency", "--tag", "good-1", "--strategy", strategy, "--yes", "-o", "json"])
            .expect(0);
        let workload = test.cluster.workload("sts/web");
        assert_eq!((workload.replicas, workload.ready), (Some(3), true), "{run}");
        assert_eq!(test.cluster.image("sts/web"), "ghcr.io/acme/web:good-1", "{run}");
        assert_eq!(uids(&test.cluster, "persistentvolumeclaims"), claims, "{run}");
    }
}

#[test]
fn a_stateful_set_whose_pods_are_all_broken_is_not_scaled_down() {
    let Some(test) = Test::begin() else { return };
    let mut parallel = stateful_set("queue", 3, "ghcr.io/acme/queue:good-1");
    parallel["spec"]["podManagementPolicy"] = json!("OrderedReady");
    test.cluster.create_ready(&[parallel]);
    test.cluster.kubectl(&["set", "image", "statefulset/queue", "queue=ghcr.io/acme/queue:unready"]);
    // The controller replaces one pod and waits; somebody deletes the others, and they come back broken as well.
    wait_for("an unready pod", Duration::from_secs(30), || {
        let pod = test.cluster.find("pods", "queue-2")?;
        (pod["spec"]["containers"][0]["image"] == "ghcr.io/acme/queue:unready").then_some(())
    });
    let run = test
        .run(&[
            "emergency",
            "sts/queue",
            "--tag",
            "good-1",
            "--strategy",
            "stop-first",
            "--yes",
            "-o",
            "json",
        ])
        .expect(0);
    let workload = test.cluster.workload("sts/queue");
    assert_eq!((workload.replicas, workload.ready), (Some(3), true), "{run}");
    assert_eq!(test.cluster.image("sts/queue"), "ghcr.io/acme/queue:good-1", "{run}");
}

/// Pods that never go away must not keep a service stopped.
#[test]
fn pods_held_by_a_finalizer_do_not_block_the_start() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-2")]);
    let held = cluster.pods_of("web")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.patch("pods", &held, "somebody", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let run = test
        .run(&[
            "emergency",
            "deploy/web",
            "--tag",
            "good-1",
            "--strategy",
            "stop-first",
            "--yes",
            "-o",
            "json",
        ])
        .expect(0);
    let result = run.json();
    assert!(result["warnings"].to_string().contains(&held), "the pod that stays is named\n{run}");
    let workload = cluster.workload("deploy/web");
    assert_eq!((workload.replicas, workload.ready), (Some(2), true), "{run}");
    let held = cluster.get("pods", &held);
    assert!(
        !held["metadata"]["deletionTimestamp"].is_null(),
        "it is still on its way out: the test would prove nothing\n{run}"
    );
    // The barrier is the pods' grace period (2 s), not the longest one.
    assert!(run.elapsed < Duration::from_secs(20), "{run}");
}

#[test]
fn a_strict_stop_does_not_start_beside_old_pods() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut web = deployment("web", 1, "ghcr.io/acme/web:good-2");
    web["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl-rollback.test/stop-delay": "6s"});
    cluster.create_ready(&[web]);
    let sampler = Sampler::start(cluster);
    let arguments = [
        "emergency",
        "deploy/web",
        "--tag",
        "good-1",
        "--strategy",
        "stop-first",
        "--strict-stop",
        "--yes",
        "-o",
        "json",
    ];
    let run = test.run(&arguments).expect(0);
    for sample in sampler.stop() {
        let images: Vec<&Value> =
            sample.pods.iter().map(|pod| &pod["spec"]["containers"][0]["image"]).collect();
        assert!(images.len() <= 1, "old and new pods side by side: {images:?}\n{run}");
    }
}

/// A node of the test's own that nobody else uses; it goes away with the value.
struct OwnNode<'test> {
    cluster: &'test Cluster,
    name: String,
}

impl<'test> OwnNode<'test> {
    fn create(cluster: &'test Cluster, suffix: &str) -> Self {
        let name = format!("e2e-{suffix}-{}", unique());
        let resources = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
        cluster.create(
            "nodes",
            &json!({
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/hostname": name, "kubectl-rollback.test/kubelet": "simulated", "pool": cluster.namespace,
                }},
                "spec": {"taints": [{"key": "pool", "value": cluster.namespace, "effect": "NoSchedule"}]},
                "status": {"allocatable": resources, "capacity": resources},
            }),
        );
        wait_for("the node to be ready", Duration::from_secs(30), || {
            let node = cluster.get("nodes", &name);
            let is_ready = node["status"]["conditions"].to_string().contains("KubeletReady");
            let taints = node["spec"]["taints"].to_string();
            (is_ready && !taints.contains("not-ready")).then_some(())
        });
        Self { cluster, name }
    }

    /// The machine dies: its kubelet does nothing any more, which is proven before this returns.
    fn die(&self) {
        let dead = json!({"metadata": {"labels": {"kubectl-rollback.test/kubelet": null}}, "spec": {"unschedulable": true}});
        self.cluster.patch("nodes", &self.name, "somebody", &dead);
        wait_for("the kubelet to die", Duration::from_secs(60), || self.is_dead().then_some(()));
    }

    /// Whether the kubelet leaves a pod alone that a living one would have started. The simulated kubelets take pods
    /// in the order of their creation: once a later pod elsewhere runs, whose start takes a second longer, this one
    /// was seen and passed over.
    fn is_dead(&self) -> bool {
        let name = |what: &str| format!("{what}-{}", unique());
        let (canary, witness) = (name("canary"), name("witness"));
        let containers = json!([{"name": "main", "image": "ghcr.io/acme/canary:good-1"}]);
        self.cluster.create(
            "pods",
            &json!({"metadata": {"name": canary}, "spec": {"nodeName": self.name, "containers": containers}}),
        );
        self.cluster.create(
            "pods",
            &json!({
                "metadata": {"name": witness, "annotations": {"kubectl-rollback.test/ready-delay": "1s"}},
                "spec": {"containers": containers},
            }),
        );
        wait_for("the witness to run", Duration::from_secs(60), || {
            is_pod_ready(&self.cluster.get("pods", &witness)).then_some(())
        });
        self.cluster.get("pods", &canary)["status"]["phase"] == "Pending"
    }
}

impl Drop for OwnNode<'_> {
    fn drop(&mut self) {
        self.cluster.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false"]);
        self.cluster.delete("nodes", &self.name);
    }
}

#[test]
fn a_dead_node_does_not_block_the_start() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let dying = OwnNode::create(cluster, "dying");
    let mut web = deployment("web", 2, "ghcr.io/acme/web:good-2");
    let pod = &mut web["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({"pool": test.namespace()});
    pod["tolerations"] = json!([{"key": "pool", "operator": "Exists"}]);
    cluster.create_ready(&[web]);
    let _living = OwnNode::create(cluster, "living");
    let old = cluster.pod_uids("web");
    dying.die();
    let run = test
        .run(&[
            "emergency",
            "deploy/web",
            "--tag",
            "good-1",
            "--strategy",
            "stop-first",
            "--yes",
            "-o",
            "json",
        ])
        .expect(0);
    let result = run.json();
    let workload = cluster.workload("deploy/web");
    assert_eq!((workload.replicas, workload.ready), (Some(2), true), "{run}");
    let hanging: Vec<Value> = cluster
        .pods_of("web")
        .into_iter()
        .filter(|pod| old.iter().any(|uid| pod["metadata"]["uid"] == uid.as_str()))
        .collect();
    assert_eq!(hanging.len(), 2, "the old pods hang on the dead node: the test would prove nothing\n{run}");
    for pod in &hanging {
        assert!(!pod["metadata"]["deletionTimestamp"].is_null(), "they were told to stop\n{run}");
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert!(result["warnings"].to_string().contains(name), "the pod that stays is named\n{run}");
    }
}

/// Runs an emergency that must be refused, and demands that the running pods were left alone.
#[track_caller]
fn assert_refused(test: &Test, name: &str, why: &str, arguments: &[&str]) -> Run {
    let before = (test.cluster.pod_uids(name), test.cluster.workloads());
    let sampler = Sampler::start(&test.cluster);
    let run = test.run(arguments).expect(3);
    assert_never_fewer(&sampler.stop(), name, &run);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["requests"]["writes"]), (&json!("Refused"), &json!(0)), "{run}");
    assert!(result["preflight"].to_string().contains(why), "{why}\n{run}");
    let generation = |workload: &crate::harness::WorkloadState| workload.generation;
    let generations: Vec<i64> = test.cluster.workloads().values().map(generation).collect();
    assert_eq!(generations, before.1.values().map(generation).collect::<Vec<i64>>(), "{run}");
    assert_eq!(test.cluster.pod_uids(name), before.0, "{run}");
    run
}

#[test]
fn nothing_is_stopped_for_pods_that_pod_security_refuses() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-2")]);
    test.cluster.kubectl(&[
        "label",
        "namespace",
        test.namespace(),
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    for strategy in ["stop-first", "auto"] {
        let arguments =
            ["emergency", "deploy/web", "--tag", "good-1", "--strategy", strategy, "--yes", "-o", "json"];
        assert_refused(&test, "web", "PodSecurity", &arguments);
    }
}

#[test]
fn nothing_is_stopped_for_pods_that_a_quota_refuses() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-2")]);
    // Somebody lowered the quota below what runs.
    set_pod_quota(&test.cluster, 1);
    let arguments =
        ["emergency", "deploy/web", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "json"];
    assert_refused(&test, "web", "exceeded quota", &arguments);
}

#[test]
fn a_full_quota_lets_stop_first_pass_and_refuses_rolling() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-2")]);
    set_pod_quota(&test.cluster, 2);
    let run = assert_refused(
        &test,
        "web",
        "exceeded quota",
        &["emergency", "deploy/web", "--tag", "good-1", "--yes", "-o", "json"],
    );
    assert!(run.json()["next"].to_string().contains("--strategy stop-first"), "{run}");
    let arguments =
        ["emergency", "deploy/web", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "json"];
    let run = test.run(&arguments).expect(0);
    let workload = test.cluster.workload("deploy/web");
    assert_eq!((workload.replicas, workload.ready), (Some(2), true), "{run}");
}

/// Limits the number of pods, and waits until the API server counts.
#[track_caller]
pub fn set_pod_quota(cluster: &Cluster, pods: u32) {
    cluster.create(
        "resourcequotas",
        &json!({"metadata": {"name": "pods"}, "spec": {"hard": {"pods": pods.to_string()}}}),
    );
    wait_for("the quota to be counted", Duration::from_secs(30), || {
        cluster.get("resourcequotas", "pods")["status"]["used"]["pods"].as_str().map(drop)
    });
}

#[test]
fn helm_refuses_to_deploy_into_the_middle() {
    let Some(test) = Test::begin() else { return };
    let slow = json!({"podAnnotations": {"kubectl-rollback.test/stop-delay": "5s"}});
    let values = |tag: &str| {
        crate::harness::merge(&json!({"backend": slow, "frontend": slow}), &crate::harness::all_tags(tag))
    };
    let release = Release::install(&test, Helm::Four, "todo-app", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    let arguments = ["emergency", "--tag", "good-1", "--strategy", "stop-first", "--yes", "-o", "jsonl"];
    let mut running = test.start(&arguments);
    running.until("the start phase", |event| event["type"] == "Stage" && event["stage"] == "start");
    for helm in Helm::BOTH {
        let refusal = release.upgrade_fails(helm);
        assert!(refusal.contains("another operation"), "{helm:?}: {refusal}");
    }
    let run = running.finish().expect(0);
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert_eq!(test.cluster.image("deploy/todo-backend"), "ghcr.io/acme/backend:good-1", "{run}");
}

#[test]
fn a_helm_operation_in_progress_is_not_disturbed() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/hook", &web_tag("good-1"));
    release.upgrade_and_wait(&web_tag("good-2"));
    let before = test.cluster.workload("deploy/web").generation;
    // Its migration takes 20 s, during which nothing else of the upgrade happens.
    let upgrade = release.start_upgrade(&["--set", "web.image.tag=slow"]);
    wait_for("the upgrade to begin", Duration::from_secs(30), || (release.newest().0 == 3).then_some(()));
    assert_eq!(release.newest(), (3, "pending-upgrade".to_owned()));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(8);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["requests"]["writes"]), (&json!("Locked"), &json!(0)), "{run}");
    let status = test.run(&["status", "-o", "json"]).expect(0).json();
    assert!(status["openOperation"].as_str().unwrap_or_default().contains("Helm"), "{status}");
    assert_eq!(test.cluster.workload("deploy/web").generation, before, "{run}");

    // Helm is killed: nobody will ever close its record, unless somebody takes over.
    upgrade.kill();
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(test.cluster.image("deploy/web"), "ghcr.io/acme/web:good-1", "{run}");
    let (revision, _) = release.newest();
    release.assert_record(revision, &web_tag("good-1"));
    release.upgrade_reusing_values(Helm::Four);
}

#[test]
fn a_workload_that_somebody_else_has_changed_is_left_alone() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut web = deployment("web", 1, "ghcr.io/acme/web:good-2");
    web["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl-rollback.test/stop-delay": "4s"});
    cluster.create_ready(&[web]);
    let arguments = [
        "emergency",
        "deploy/web",
        "--tag",
        "good-1",
        "--strategy",
        "stop-first",
        "--stop-timeout",
        "20s",
        "--yes",
        "-o",
        "jsonl",
    ];
    let mut running = test.start(&arguments);
    running.until("the start phase", |event| event["type"] == "Stage" && event["stage"] == "start");
    cluster.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:hotfix"]);
    let run = running.finish();
    let workload = cluster.workload("deploy/web");
    assert_eq!(workload.images["web"], "ghcr.io/acme/web:hotfix", "their image stays\n{run}");
    assert_eq!(workload.replicas, Some(1), "and it runs\n{run}");
    assert!(!matches!(run.code, Some(0) | None), "and it is no success\n{run}");
    assert!(run.stdout.contains("hotfix") || run.stderr.contains("hotfix"), "and it is said\n{run}");
}
