//! Hooks of every event and policy.

use super::*;

/// A hook of any kind that is ready at once.
fn hook(name: &str, annotations: &str) -> String {
    annotated(name, "hook", annotations)
}

fn job(name: &str, tag: &str, annotations: &str) -> String {
    format!(
        r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations: {{{annotations}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: {name}, image: "ghcr.io/acme/web:{tag}"}}
---
"#
    )
}

fn pod(name: &str, tag: &str, annotations: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {{{annotations}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: {name}, image: "ghcr.io/acme/web:{tag}"}}
---
"#
    )
}

fn both_ways(hooks: &str) -> (String, String) {
    (config_map("a", "1") + hooks, config_map("a", "2"))
}

/// A revision with these hooks, and one without.
fn before_one_without(side: &crate::side::Side, hooks: &str) {
    let (with, without) = both_ways(hooks);
    side.install(with);
    side.upgrade(without);
}

scenarios! {
    every_event [helm_3 helm_4] {
        state: |side| {
            let events = ["pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback", "test"];
            let hooks: String = events.iter().map(|event| hook(&format!("on-{event}"), &format!("helm.sh/hook: {event}"))).collect();
            before_one_without(side, &hooks);
            side.kubectl(&["delete", "configmap", "--all"]);
        },
    }
    jobs_before_and_after [helm_3 helm_4] {
        state: |side| before_one_without(side, &(job("before", "good-1", "helm.sh/hook: pre-rollback") + &job("after", "good-1", "helm.sh/hook: post-rollback"))),
    }
    pod_before [helm_3 helm_4] {
        state: |side| before_one_without(side, &pod("before", "good-1", "helm.sh/hook: pre-rollback")),
    }
    weights_and_several_events [helm_3 helm_4] {
        state: |side| {
            let hooks = hook("c", "helm.sh/hook: \"pre-rollback,post-rollback\", helm.sh/hook-weight: \"-5\"")
                + &hook("b", "helm.sh/hook: pre-rollback, helm.sh/hook-weight: \"5\"")
                + &hook("d", "helm.sh/hook: pre-rollback, helm.sh/hook-weight: \"5\"")
                + &hook("e", "helm.sh/hook: pre-rollback");
            before_one_without(side, &hooks);
        },
    }
    deleted_when_they_succeed [helm_3 helm_4] {
        state: |side| before_one_without(side, &(job("before", "good-1", "helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: hook-succeeded")
            + &hook("also", "helm.sh/hook: post-rollback, helm.sh/hook-delete-policy: \"hook-succeeded,before-hook-creation\""))),
    }
    left_when_they_succeed [helm_3 helm_4] {
        state: |side| before_one_without(side, &job("before", "good-1", "helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: hook-failed")),
    }
    replaced_before_creation [helm_3 helm_4] {
        state: |side| {
            before_one_without(side, &hook("before", "helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: before-hook-creation"));
            side.apply(&config_map("before", "left over"), &[]);
        },
    }
    in_the_way [helm_3 helm_4_client_side] {
        state: |side| {
            before_one_without(side, &job("before", "good-1", "helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: hook-succeeded"));
            side.apply(&job("before", "good-1", "note: left over"), &[]);
        },
        expected: &[
            Expected { modes: EVERY, why: "failed-hooks-close-the-record", paths: &["record 3 status", "record 3 info.description", "record 3 hooks[Job before].last_run.*"] },
        ],
    }
    left_out [helm_3 helm_4] {
        state: |side| before_one_without(side, &(job("before", "crash", "helm.sh/hook: pre-rollback") + &hook("after", "helm.sh/hook: post-rollback"))),
        rollback: || Rollback::to(1).flag("--no-hooks"),
    }
    of_the_newer_do_not_run [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &hook("newer", "helm.sh/hook: pre-rollback"));
        },
    }
    in_both_revisions [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &job("migrate", "good-1", "helm.sh/hook: \"pre-upgrade,pre-rollback\""));
            side.upgrade(config_map("a", "2") + &job("migrate", "good-2", "helm.sh/hook: \"pre-upgrade,pre-rollback\""));
        },
    }
    fails_before [helm_3 helm_4] {
        state: |side| before_one_without(side, &job("before", "crash", "helm.sh/hook: pre-rollback")),
        expected: &[
            Expected { modes: EVERY, why: "failed-hooks-close-the-record", paths: &["record 3 status", "record 3 info.description", "record 3 hooks[Job before].last_run.*"] },
        ],
    }
    fails_before_and_is_deleted [helm_3 helm_4] {
        state: |side| before_one_without(side, &(hook("first", "helm.sh/hook: pre-rollback, helm.sh/hook-weight: \"-1\", helm.sh/hook-delete-policy: hook-succeeded")
            + &job("second", "crash", "helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: hook-failed"))),
        expected: &[
            Expected { modes: EVERY, why: "failed-hooks-close-the-record", paths: &["record 3 status", "record 3 info.description", "record 3 hooks[Job second].last_run.*"] },
        ],
    }
    fails_after [helm_3 helm_4] {
        state: |side| before_one_without(side, &job("after", "crash", "helm.sh/hook: post-rollback")),
        expected: &[
            Expected { modes: EVERY, why: "failed-hooks-close-the-record", paths: &["record 3 status", "record 3 info.description", "record 3 hooks[Job after].last_run.*"] },
        ],
    }
    pod_fails_before [helm_3 helm_4] {
        state: |side| before_one_without(side, &pod("before", "crash", "helm.sh/hook: pre-rollback")),
        expected: &[
            Expected { modes: EVERY, why: "failed-hooks-close-the-record", paths: &["record 3 status", "record 3 info.description", "record 3 hooks[Pod before].last_run.*"] },
        ],
    }
}
