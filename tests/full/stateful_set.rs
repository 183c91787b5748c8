//! A StatefulSet that waits for ever for a broken pod of its own.

use std::time::Duration;

use serde_json::json;

use crate::begin;
use crate::harness::{Helm, Release, images_in, is_pod_ready, wait_for};

#[test]
fn a_stateful_set_with_a_broken_pod_is_unstuck() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/statefulset", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release.upgrade(&values("crash"));
    let broken = wait_for("a crashing pod", Duration::from_secs(60), || {
        let pod = cluster.find("pods", "web-2")?;
        let state = &pod["status"]["containerStatuses"][0]["state"];
        (state["waiting"]["reason"] == "CrashLoopBackOff").then_some(pod)
    });
    let claims = |what: &str| {
        let claims = cluster.list("persistentvolumeclaims");
        assert_eq!(claims.len(), 3, "volume claims {what}");
        claims.iter().map(|claim| claim["metadata"]["uid"].to_string()).collect::<Vec<String>>()
    };
    let volumes = claims("before");

    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "--timeout", "2m", "-o", "json"]).expect(0);
    assert!(cluster.workload("sts/web").ready, "{run}");
    for number in 0..3 {
        let pod = cluster.get("pods", &format!("web-{number}"));
        assert!(is_pod_ready(&pod), "web-{number}\n{run}");
        assert_eq!(images_in(&pod["spec"])["web"], "ghcr.io/acme/web:good-1", "{run}");
        assert_ne!(pod["metadata"]["uid"], broken["metadata"]["uid"], "{run}");
    }
    assert_eq!(claims("after"), volumes, "{run}");
    assert_eq!(cluster.image("deploy/redis"), "redis:7.2.4", "{run}");
    release.assert_record(4, &values("good-1"));
}
