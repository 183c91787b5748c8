//! Options of the rollback.

use super::*;

fn two(side: &crate::side::Side) {
    side.install(web("good-1") + &config_map("a", "1"));
    side.upgrade(web("good-2") + &config_map("a", "2"));
}

scenarios! {
    dry_run [helm_3 helm_4] {
        state: two,
        rollback: || Rollback::to(1).helm("--dry-run").ours("--dry-run=server"),
    }
    history_is_pruned [helm_3 helm_4] {
        state: |side| {
            for value in ["1", "2", "3", "4"] {
                let verb = if value == "1" { "install" } else { "upgrade" };
                assert!(side.deploy(verb, &config_map("a", value).into(), &[]).status.success());
            }
        },
        rollback: || Rollback::to(3).flag("--history-max=2"),
        expected: &[
            Expected { modes: EVERY, why: "target-is-never-pruned", paths: &["record 3"] },
        ],
    }
    history_is_kept_whole [helm_3] {
        state: |side| {
            side.install(config_map("a", "0"));
            for value in 1..=10 {
                side.upgrade(config_map("a", &value.to_string()));
            }
        },
        rollback: || Rollback::to(9).flag("--history-max=0"),
    }
    history_is_pruned_to_ten [helm_4] {
        state: |side| {
            side.install(config_map("a", "0"));
            for value in 1..=9 {
                side.upgrade(config_map("a", &value.to_string()));
            }
        },
        rollback: || Rollback::to(8),
    }
    target_would_be_pruned [helm_3 helm_4] {
        state: |side| {
            for value in ["1", "2", "3"] {
                let verb = if value == "1" { "install" } else { "upgrade" };
                assert!(side.deploy(verb, &config_map("a", value).into(), &[]).status.success());
            }
        },
        rollback: || Rollback::to(1).flag("--history-max=2"),
        expected: &[
            Expected { modes: EVERY, why: "target-is-never-pruned", paths: &["record 1"] },
        ],
    }
    cleanup_of_what_a_failure_created [helm_3 helm_4] {
        state: |side| {
            // In the order of kinds the Secret is created before the Deployment is refused.
            side.install(web("good-1") + "\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n");
            side.kubectl(&["delete", "deployment/web", "secret/keys"]);
            side.upgrade(web("good-2").replace("app: web", "app: other"));
        },
        rollback: || Rollback::to(1).flag("--cleanup-on-fail"),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["record 2 status", "record 3"] },
        ],
    }
    cleanup_after_success [helm_3 helm_4] {
        state: two,
        rollback: || Rollback::to(1).flag("--cleanup-on-fail"),
    }
    replaced_whole [helm_3 helm_4_client_side] {
        state: |side| {
            side.install(web("good-1") + &config_map("a", "1"));
            side.upgrade(web("good-2") + &config_map("a", "2"));
            side.kubectl(&["set", "env", "deployment/web", "EXTRA=1"]);
        },
        rollback: || Rollback::to(1).replacing(),
    }
    waiting_for_jobs [helm_3 helm_4] {
        state: |side| {
            let job = "\napiVersion: batch/v1\nkind: Job\nmetadata: {name: load}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: load, image: \"ghcr.io/acme/web:good-1\"}]}}}\n---\n";
            side.install(config_map("a", "1") + job);
            side.upgrade(config_map("a", "2"));
        },
        rollback: || Rollback::to(1).waiting().flag("--wait-for-jobs"),
    }
    conflicts_forced [helm_4] {
        state: |side| {
            two(side);
            side.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:good-3"]);
            side.kubectl(&["scale", "deployment/web", "--replicas=2"]);
            side.patch("configmaps", "a", "kubectl-edit", &serde_json::json!({"data": {"value": "edited"}}));
        },
        rollback: || Rollback::to(1).helm("--force-conflicts"),
    }
}
