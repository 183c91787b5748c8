//! The main job on real containers: what the broken services answer to their callers before and after.

use serde_json::{Value, json};

use crate::begin;
use crate::harness::{
    Cluster, Helm, INFRASTRUCTURE, Release, Run, SERVICES, all_tags, broken_tags, images_in, is_pod_ready,
    merge,
};

/// What users set beside the tags; one value looks like a tag and is none.
fn user_values() -> Value {
    json!({
        "backend": {"logLevel": "debug", "extraEnv": {"WORKERS": 4, "BANNER": "good-1"}},
        "frontend": {"config": {"API_URL": "http://todo-backend", "ANALYTICS": "off"}},
        "redis": {"image": {"tag": "7.2.6"}},
    })
}

#[test]
fn a_broken_platform_comes_back() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    // The history of the sample platform: a joint bump with Redis, one of Redis alone, one of the services alone.
    let redis = |tag: &str| json!({"redis": {"image": {"tag": tag}}});
    let release =
        Release::install(&test, Helm::Four, "todo-app", &merge(&all_tags("good-1"), &redis("7.2.4")));
    release.upgrade_and_wait(&merge(&all_tags("good-2"), &redis("7.2.5")));
    release.upgrade_and_wait(&merge(&all_tags("good-2"), &redis("7.2.6")));
    release.upgrade_and_wait(&merge(&user_values(), &all_tags("good-3")));
    release.upgrade(&merge(&user_values(), &broken_tags()));
    cluster.wait_until_broken();
    // Of one service nothing serves any more: it is stopped first, the others are rolled.
    cluster.take_down("todo-backend");
    cluster.wait_until_broken();
    let values = release.values();
    let infrastructure: Vec<_> = INFRASTRUCTURE.iter().map(|name| cluster.pod_uids(name)).collect();

    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["stopped"]), (&json!("Succeeded"), &json!([])), "{run}");
    assert_eq!(result["release"]["newRevision"], 6, "{run}");
    for (key, name, replicas) in SERVICES {
        let repository =
            if matches!(key, "backend" | "frontend") { key.to_owned() } else { format!("{key}-consumer") };
        assert_runs(cluster, name, replicas, &format!("ghcr.io/acme/{repository}:good-1"), &run);
        let strategies = result["workloads"].as_array().into_iter().flatten();
        let strategy = strategies
            .filter(|workload| workload["name"] == name)
            .map(|workload| &workload["strategy"])
            .next();
        let expected = if name == "todo-backend" { "stop-first" } else { "rolling" };
        assert_eq!(strategy, Some(&json!(expected)), "strategy of {name}\n{run}");
    }
    for (name, uids) in INFRASTRUCTURE.iter().zip(infrastructure) {
        assert_eq!(cluster.pod_uids(name), uids, "pods of {name}\n{run}");
    }
    release.assert_record(6, &merge(&values, &all_tags("good-1")));

    // What callers get: the page that this very version serves.
    let page = format!("/api/v1/namespaces/{}/services/http:todo-backend:80/proxy/health", test.namespace());
    let page: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &page])).unwrap();
    assert_eq!(page["version"], "good-1", "{page}\n{run}");
    release.upgrade_reusing_values(Helm::Four);
}

/// The pods of a service that are not on their way out: so many, of this image, all containers ready, the sidecar
/// included, and none of them ever restarted.
#[track_caller]
fn assert_runs(cluster: &Cluster, name: &str, replicas: i64, image: &str, run: &Run) {
    let pods: Vec<Value> = cluster
        .pods_of(name)
        .into_iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    assert_eq!(i64::try_from(pods.len()), Ok(replicas), "pods of {name}\n{run}");
    for pod in &pods {
        assert!(is_pod_ready(pod), "{name} is ready\n{run}");
        let images = images_in(&pod["spec"]);
        assert_eq!(images[name], image, "{run}");
        assert_eq!(images["daprd"], "docker.io/daprio/daprd:1.13.2", "{run}");
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            assert_eq!(
                (&status["ready"], &status["restartCount"]),
                (&json!(true), &json!(0)),
                "{name}: {status}\n{run}"
            );
        }
    }
}
