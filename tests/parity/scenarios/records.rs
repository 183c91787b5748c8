//! Histories of every shape: failed, interrupted, pruned, uninstalled, stored elsewhere.

use serde_json::json;

use super::*;
use crate::side::{Chart, Side};

/// A manifest that the server refuses in part: the `ConfigMap` is written, the Deployment is not.
fn refused(value: &str) -> String {
    config_map("a", value) + &web("good-2").replace("app: web", "app: other")
}

/// An upgrade whose hook never ends, so that Helm can be killed within it.
fn endless(value: &str) -> String {
    let job = "\napiVersion: batch/v1\nkind: Job\nmetadata: {name: endless, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {template: {spec: {restartPolicy: Never, nodeSelector: {nowhere: \"yes\"}, containers: [{name: endless, image: \"ghcr.io/acme/web:good-1\"}]}}}\n---\n";
    config_map("a", value) + job
}

fn three(side: &Side) {
    side.install(config_map("a", "1") + &web("good-1"));
    side.upgrade(config_map("a", "2") + &web("good-2"));
    side.upgrade(config_map("a", "3") + &web("good-3"));
}

scenarios! {
    to_the_current_one [helm_3 helm_4] {
        state: three,
        rollback: || Rollback::to(3),
    }
    to_the_one_before [helm_3 helm_4] {
        state: three,
        rollback: || Rollback::to(2),
        then: Some(|side| side.helm("rollback", &["3"])),
    }
    over_several [helm_3 helm_4] {
        state: three,
    }
    to_one_that_is_not_there [helm_3 helm_4] {
        state: three,
        rollback: || Rollback::to(7),
    }
    after_a_rollback [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.helm("rollback", &["1"]);
        },
        rollback: || Rollback::to(3),
    }
    values_notes_and_labels_of_the_target [helm_3 helm_4] {
        state: |side| {
            let chart = |size: u64| Chart {
                template: config_map("a", "{{ .Values.size }}"),
                notes: format!("Size {{{{ .Values.size }}}} of {size}"),
                values: json!({"size": size, "list": [1, "two", 3.5, null, 1_234_567_890_123_u64], "nested": {"a": true}}),
                ..Chart::default()
            };
            let output = side.deploy("install", &chart(1), &["--labels", "team=one,old=yes", "--description", "first"]);
            assert!(output.status.success());
            side.upgrade_with(chart(2), &["--labels", "team=two,old=null", "--description", "second"]);
        },
    }
    texts_of_every_kind [helm_3 helm_4] {
        state: |side| {
            let chart = |text: &str| Chart {
                template: config_map("a", "<&> ü \\u2028 🦀"),
                notes: "<b>Notes</b> & \"quotes\" \\ \u{2028}".to_owned(),
                values: json!({"html": "<a href=\"x\">&</a>", "line": "a\nb\tc", "unicode": "ü\u{2028}🦀", "text": text}),
                ..Chart::default()
            };
            side.install(chart("one"));
            side.upgrade(chart("two"));
        },
    }
    failed_upgrade [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(config_map("a", "1") + &web("good-1"));
            side.upgrade_fails(refused("2"));
        },
    }
    failed_upgrade_and_another [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &web("good-1"));
            side.upgrade_fails(refused("2"));
            side.upgrade(config_map("a", "3") + &web("good-3"));
        },
    }
    to_a_failed_one [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &web("good-1"));
            side.upgrade_fails(config_map("a", "2") + &web("good-2") + "\napiVersion: v1\nkind: Secret\nmetadata: {name: Wrong_Name}\n");
            side.upgrade(config_map("a", "3") + &web("good-3"));
        },
        rollback: || Rollback::to(2).ours("--allow-failed-revision"),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["record 3 status", "record 4"] },
        ],
    }
    pending_upgrade [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.set_status(2, "deployed");
            side.set_status(3, "pending-upgrade");
        },
        rollback: || Rollback::to(2).ours("--take-over"),
        expected: &[
            Expected { modes: EVERY, why: "pending-records-are-closed", paths: &["record 3 status"] },
        ],
    }
    pending_rollback [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.helm("rollback", &["2"]);
            side.set_status(3, "deployed");
            side.set_status(4, "pending-rollback");
        },
        rollback: || Rollback::to(2).ours("--take-over"),
        expected: &[
            Expected { modes: EVERY, why: "pending-records-are-closed", paths: &["record 4 status"] },
        ],
    }
    pending_install [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.set_status(1, "pending-install");
        },
        rollback: || Rollback::to(1).ours("--take-over").ours("--allow-failed-revision"),
        expected: &[
            Expected { modes: EVERY, why: "pending-records-are-closed", paths: &["record 1 status"] },
        ],
    }
    killed_in_the_middle [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.kill_upgrade(endless("2"), 2, |cluster| cluster.find("jobs", "endless").is_some());
        },
        rollback: || Rollback::to(1).ours("--take-over"),
        expected: &[
            Expected { modes: EVERY, why: "pending-records-are-closed", paths: &["record 2 status"] },
        ],
    }
    uninstalled_but_kept [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.helm("uninstall", &["--keep-history"]);
        },
        rollback: || Rollback::to(2),
    }
    nothing_deployed [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.set_status(3, "failed");
        },
        rollback: || Rollback::to(2),
    }
    several_deployed [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.set_status(1, "deployed");
            side.set_status(2, "deployed");
        },
        rollback: || Rollback::to(2),
    }
    a_gap_in_the_history [helm_3 helm_4] {
        state: |side| {
            three(side);
            side.kubectl(&["delete", "secret", "sh.helm.release.v1.shop.v2"]);
        },
    }
    stored_in_config_maps [helm_3 helm_4] {
        state: three,
        rollback: || Rollback::to(2),
        environment: &[("HELM_DRIVER", "configmap")],
        then: Some(|side| side.upgrade(config_map("a", "5"))),
    }
    a_large_release [helm_3] {
        state: |side| {
            let many = |value: &str| (0..60).map(|number| config_map(&format!("part-{number}"), &value.repeat(400))).collect::<String>();
            side.install(many("1"));
            side.upgrade(many("2"));
        },
    }
}
