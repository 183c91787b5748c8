//! Objects that come, go, move or are kept from one revision to the next.

use std::fmt::Write as _;

use super::*;

const KEEP: &str = "helm.sh/resource-policy: keep";

/// A `ConfigMap` in a namespace beside the release's.
fn elsewhere(value: &str) -> String {
    config_map("a", value).replace("  name: a", "  name: a\n  namespace: \"{{ .Release.Namespace }}-b\"")
}

fn autoscaler(version: &str, maximum: u32) -> String {
    format!(
        "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: web}}\nspec:\n  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: nobody}}\n  maxReplicas: {maximum}\n---\n"
    )
}

fn list(kind: &str, names: &[&str]) -> String {
    let mut text = format!("apiVersion: v1\nkind: {kind}\nitems:\n");
    for name in names {
        let _ = write!(
            text,
            "  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {{name: {name}}}\n    data: {{list: \"{}\"}}\n",
            names.len()
        );
    }
    text + "---\n"
}

fn namespace(note: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: \"{{{{ .Release.Namespace }}}}-b\"\n  labels: {{note: \"{note}\"}}\n---\n"
    )
}

scenarios! {
    added_in_the_newer [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &config_map("b", "2") + &web("good-2"));
        },
    }
    removed_in_the_newer [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &config_map("b", "1") + &web("good-1"));
            side.upgrade(config_map("a", "2"));
        },
        then: Some(|side| side.upgrade(config_map("a", "2"))),
    }
    renamed [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("old", "1"));
            side.upgrade(config_map("new", "1"));
        },
    }
    added_two_revisions_ago [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &config_map("b", "2"));
            side.upgrade(config_map("a", "3") + &config_map("b", "3"));
        },
    }
    come_and_gone_in_between [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &config_map("b", "2"));
            side.upgrade(config_map("a", "3"));
        },
    }
    moved_to_another_namespace [helm_3 helm_4] {
        state: |side| {
            side.apply(&namespace("for-the-move"), &[]);
            side.install(config_map("a", "1"));
            side.upgrade(elsewhere("1"));
        },
    }
    moved_to_another_kind [helm_3 helm_4] {
        state: |side| {
            let stateful = web("good-2").replace("Deployment", "StatefulSet");
            side.install(web("good-1"));
            side.upgrade(stateful);
        },
    }
    another_version_of_the_api [helm_3 helm_4] {
        state: |side| {
            side.install(autoscaler("v1", 3));
            side.upgrade(autoscaler("v2", 5));
        },
    }
    kept_by_the_newer_manifest [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &annotated("b", "2", KEEP));
        },
    }
    kept_with_a_capital_letter [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &annotated("b", "2", "helm.sh/resource-policy: Keep"));
        },
    }
    kept_by_hand [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &config_map("b", "2"));
            side.kubectl(&["annotate", "configmap", "b", "helm.sh/resource-policy=keep"]);
        },
    }
    keep_taken_away_by_hand [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &annotated("b", "2", KEEP));
            side.kubectl(&["annotate", "configmap", "b", "helm.sh/resource-policy-"]);
        },
    }
    kept_in_the_target [helm_3 helm_4] {
        state: |side| {
            side.install(annotated("a", "1", KEEP));
            side.upgrade(annotated("a", "2", KEEP));
        },
    }
    deleted_by_hand [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &web("good-1"));
            side.upgrade(config_map("a", "2") + &web("good-2"));
            side.kubectl(&["delete", "configmap/a", "deployment/web"]);
        },
        then: Some(|side| side.upgrade(config_map("a", "2") + &web("good-2"))),
    }
    newer_one_deleted_by_hand [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade(config_map("a", "2") + &config_map("b", "2"));
            side.kubectl(&["delete", "configmap/b"]);
        },
    }
    list_kinds [helm_3 helm_4] {
        state: |side| {
            side.install(list("List", &["a", "b"]) + &list("ConfigMapList", &["u"]));
            side.upgrade(list("List", &["a", "c", "d"]) + &list("ConfigMapList", &["u", "v"]));
        },
    }
    namespace_changed [helm_3 helm_4] {
        state: |side| {
            side.install(namespace("one") + &elsewhere("1"));
            side.upgrade(namespace("two") + &elsewhere("2"));
        },
    }
    namespace_of_the_newer [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("x", "1"));
            side.upgrade(config_map("x", "2") + &namespace("two") + &elsewhere("2"));
        },
        rollback: || Rollback::to(1).ours("--allow-delete=Namespace/{{ .Release.Namespace }}-b"),
    }
    empty_manifest [helm_3 helm_4] {
        state: |side| {
            side.install("# nothing\n");
            side.upgrade(config_map("a", "2"));
        },
    }
    back_to_something_from_nothing [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1"));
            side.upgrade("# nothing\n");
        },
    }
}
