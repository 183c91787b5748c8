//! The main job: a release whose services are all broken comes back on a good tag, and nothing else is changed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Helm, INFRASTRUCTURE, Release, Run, SERVICES, Sample, Sampler, Test, all_tags, broken_tags,
    merge, random_tag,
};

/// What users set beside the tags. One value looks like a tag and is none.
pub fn user_values() -> Value {
    json!({
        "backend": {"logLevel": "debug", "extraEnv": {"WORKERS": 4, "BANNER": "good-1"}},
        "frontend": {"theme": "dark", "config": {"API_URL": "http://todo-backend", "ANALYTICS": "off"}},
        "reminder": {"podAnnotations": {"team": "notifications"}},
        "notification": {"autoscaling": {"targetCPUUtilizationPercentage": 70}},
        "redis": {"image": {"tag": "7.2.5"}},
    })
}

/// Services of which nothing serves any more; the others have a pod of the version before the broken one.
const DOWN: [&str; 2] = ["todo-backend", "reminder-consumer"];

/// Installs `good`, then `between` together with a newer Redis, then breaks every service.
#[track_caller]
pub fn break_platform<'test>(test: &'test Test, helm: Helm, good: &str, between: &str) -> Release<'test> {
    let release = Release::install(test, helm, "todo-app", &all_tags(good));
    release.upgrade_and_wait(&merge(&user_values(), &all_tags(between)));
    release.upgrade(&merge(&user_values(), &broken_tags()));
    test.cluster.wait_until_broken();
    release
}

/// What people and controllers did to the release beside Helm.
fn act_by_hand(cluster: &Cluster) {
    cluster.kubectl(&["scale", "deployment/todo-backend", "--replicas=5"]);
    // As the autoscaler's controller does it; without metrics it leaves the number alone afterwards.
    let scaled = json!({"spec": {"replicas": 3}});
    cluster.patch("deployments", "notification-consumer/scale", "kube-controller-manager", &scaled);
    cluster.kubectl(&["set", "resources", "deployment/todo-frontend", "--limits=memory=96Mi"]);
    let hotfix = r#"{"data": {"LOG_LEVEL": "trace", "HOTFIX": "yes"}}"#;
    cluster.kubectl(&["patch", "configmap", "todo-backend", "--type=merge", "-p", hotfix]);
    for name in DOWN {
        cluster.take_down(name);
    }
    cluster.wait_until_broken();
}

#[test]
fn helm_4_release_comes_back_with_auto_strategy() {
    comes_back(Helm::Four, "auto", "good-1", "good-2");
}

#[test]
fn helm_3_release_comes_back_with_auto_strategy_on_a_commits_tag() {
    comes_back(Helm::Three, "auto", &random_tag(), &random_tag());
}

#[test]
fn helm_4_release_comes_back_with_stop_first_on_a_tag_of_digits() {
    // A commit's hash of seven digits, and one that YAML takes for a number with an exponent.
    comes_back(Helm::Four, "stop-first", "0482915", "12e4567");
}

#[test]
fn helm_3_release_comes_back_with_stop_first() {
    comes_back(Helm::Three, "stop-first", "good-1", "good-2");
}

fn comes_back(helm: Helm, strategy: &str, good: &str, between: &str) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = break_platform(&test, helm, good, between);
    act_by_hand(cluster);
    let before = cluster.workloads();
    let infrastructure: Vec<_> = INFRASTRUCTURE.iter().map(|name| cluster.pod_uids(name)).collect();
    let values = release.values();

    let sampler = Sampler::start(cluster);
    let run =
        test.run(&["emergency", "--tag", good, "--yes", "--strategy", strategy, "-o", "json"]).expect(0);
    let samples = sampler.stop();
    let result = run.json();
    let after = cluster.workloads();

    assert_eq!(result["outcome"], "Succeeded", "{run}");
    assert_eq!(result["release"]["newRevision"], 4, "{run}");
    assert_eq!(result["stopped"], json!([]), "{run}");
    for (key, name, rendered) in SERVICES {
        let reference = format!("deploy/{name}");
        let (old, new) = (&before[&reference], &after[&reference]);
        let planned = planned_workload(&run, &result, name);
        let wanted = match name {
            "todo-backend" => 5,
            "notification-consumer" => 3,
            _ => rendered,
        };
        assert_eq!(new.replicas, Some(wanted), "replicas of {name}\n{run}");
        assert_eq!(planned["replicas"], json!({"before": wanted, "after": wanted}), "{name}\n{run}");
        assert_eq!(
            new.images[name],
            format!("ghcr.io/acme/{}:{good}", repository(key)),
            "image of {name}\n{run}"
        );
        assert!(new.ready && planned["ready"] == true, "{name} is ready\n{run}");
        assert_eq!(new.uid, old.uid, "{name} is still the same object");
        // Rolling writes the specification once, stop-first twice; the hand-over must not count.
        let writes = if planned["strategy"] == "rolling" { 1 } else { 2 };
        assert_eq!(new.generation - old.generation, writes, "generation of {name}\n{run}");
        let expected =
            if strategy == "stop-first" || DOWN.contains(&name) { "stop-first" } else { "rolling" };
        assert_eq!(planned["strategy"], expected, "strategy of {name}\n{run}");
        if expected == "rolling" {
            assert_never_fewer(&samples, name, &run);
        }
        assert!(
            !new.object["metadata"]["annotations"].to_string().contains("rollback.kubectl.dev"),
            "annotations of {name}\n{run}"
        );
    }
    assert_untouched(cluster, &infrastructure, &run);
    assert_no_manager_of_ours(cluster, &run);
    let frontend = &after["deploy/todo-frontend"].object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(frontend["resources"]["limits"]["memory"], "96Mi", "the limit set by hand");
    let config = &cluster.get("configmaps", "todo-backend")["data"];
    assert_eq!(
        (&config["LOG_LEVEL"], &config["HOTFIX"]),
        (&json!("trace"), &json!("yes")),
        "the ConfigMap changed by hand"
    );
    release.assert_record(4, &merge(&values, &all_tags(good)));
}

fn repository(key: &str) -> String {
    if matches!(key, "backend" | "frontend") { key.to_owned() } else { format!("{key}-consumer") }
}

/// The entry of a workload in the result.
#[track_caller]
pub fn planned_workload<'a>(run: &Run, result: &'a Value, name: &str) -> &'a Value {
    let mut workloads = result["workloads"].as_array().into_iter().flatten();
    workloads
        .find(|workload| workload["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not in the result\n{run}"))
}

/// Pods that served before must be replaced without a gap.
#[track_caller]
pub fn assert_never_fewer(samples: &[Sample], name: &str, run: &Run) {
    let serving: Vec<usize> = samples.iter().map(|sample| sample.serving(name)).collect();
    let (first, fewest) = (serving[0], serving.iter().min().unwrap());
    assert!(first > 0 && *fewest >= first, "{name} had {first} serving pods and then {serving:?}\n{run}");
}

#[track_caller]
fn assert_untouched(cluster: &Cluster, before: &[Vec<String>], run: &Run) {
    for (name, uids) in INFRASTRUCTURE.iter().zip(before) {
        assert_eq!(cluster.pod_uids(name), *uids, "pods of {name}\n{run}");
    }
}

/// Nothing may be left of our field manager on any workload.
#[track_caller]
pub fn assert_no_manager_of_ours(cluster: &Cluster, run: &Run) {
    let managers: BTreeMap<_, _> =
        cluster.workloads().into_iter().map(|(name, workload)| (name, workload.managers)).collect();
    assert!(!format!("{managers:?}").contains("kubectl-rollback"), "{managers:?}\n{run}");
}

#[test]
fn running_it_again_changes_nothing() {
    let Some(test) = Test::begin() else { return };
    let release = break_platform(&test, Helm::Four, "good-1", "good-2");
    test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let before = test.cluster.settled_versions();
    let run = test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["outcome"], "Unchanged", "{run}");
    assert_eq!(test.cluster.resource_versions(), before, "{run}");
    assert_eq!(release.newest(), (4, "deployed".to_owned()));
}
