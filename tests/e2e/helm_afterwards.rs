//! After an emergency both Helms must find a release that they can go on with.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Cluster, Helm, Release, Run, SERVICES, Test, all_tags, merge};
use crate::restoration::{break_platform, user_values};

#[test]
fn helm_4_goes_on_after_the_emergency() {
    goes_on(Helm::Four, Helm::Three);
}

#[test]
fn helm_3_goes_on_after_the_emergency() {
    goes_on(Helm::Three, Helm::Four);
}

fn goes_on(helm: Helm, other: Helm) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = break_platform(&test, helm, "good-1", "good-2");
    // Down, and scaled by hand: both numbers are written by us, and must afterwards belong to nobody.
    cluster.kubectl(&["scale", "deployment/todo-backend", "--replicas=5"]);
    cluster.take_down("todo-backend");
    let scaled = json!({"spec": {"replicas": 3}});
    cluster.patch("deployments", "notification-consumer/scale", "kube-controller-manager", &scaled);
    let earlier_values = release.values();
    let run = test.run(&["emergency", "todo-app", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let values = merge(&earlier_values, &all_tags("good-1"));
    release.assert_record(4, &values);

    release.upgrade_reusing_values(helm);
    release.assert_record(5, &values);
    assert_tags(cluster, "good-1", &run);

    release.upgrade(&merge(&user_values(), &all_tags("good-3")));
    release.assert_record(6, &merge(&user_values(), &all_tags("good-3")));
    assert_tags(cluster, "good-3", &run);

    // Back to the revision that the emergency wrote, and to the one from before the accident.
    helm.succeed(cluster, &["rollback", &release.name, "4"]);
    release.assert_record(7, &values);
    assert_tags(cluster, "good-1", &run);
    helm.succeed(cluster, &["rollback", &release.name, "2"]);
    assert_tags(cluster, "good-2", &run);

    // Somebody with the other version of Helm deploys.
    other.succeed(cluster, &["rollback", &release.name, "7"]);
    release.upgrade_reusing_values(other);
    release.assert_record(10, &values);
    assert_tags(cluster, "good-1", &run);
    assert_eq!(
        cluster.workload("deploy/notification-consumer").replicas,
        Some(3),
        "the autoscaler's number\n{run}"
    );
    cluster.wait_until_ready();
}

#[track_caller]
fn assert_tags(cluster: &Cluster, tag: &str, run: &Run) {
    let tags: BTreeSet<String> = SERVICES
        .iter()
        .map(|(_, name, _)| {
            cluster.image(&format!("deploy/{name}")).rsplit(':').next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(tags, BTreeSet::from([tag.to_owned()]), "{run}");
}

#[test]
fn managers_that_helm_4_will_conflict_with_are_named() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    release.upgrade_and_wait(&all_tags("good-2"));
    cluster.kubectl(&["scale", "deployment/todo-frontend", "--replicas=3"]);
    cluster.kubectl(&["set", "resources", "deployment/todo-backend", "--limits=memory=96Mi"]);
    cluster.wait_until_ready();
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(cluster.workload("deploy/todo-frontend").replicas, Some(3), "{run}");
    let result = run.json();
    let said = format!("{} {}", result["warnings"], result["next"]);
    assert!(
        said.contains("todo-backend") && said.contains("kubectl-set") && said.contains("memory"),
        "{run}"
    );
    // It is true what it says: Helm conflicts with that manager, and with nobody else.
    let conflict = release.upgrade_fails(Helm::Four);
    assert!(conflict.contains("conflict") && conflict.contains("kubectl-set"), "{conflict}");
    assert!(!conflict.contains("kubectl-rollback") && !conflict.contains("replicas"), "{conflict}");
}
