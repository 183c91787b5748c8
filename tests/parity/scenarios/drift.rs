//! What other people and tools have done to the objects since the deploy.

use serde_json::json;

use super::*;
use crate::side::Side;

/// Two revisions of the Deployment `web` and the `ConfigMap` `a`.
fn deployed(side: &Side) {
    side.install(web("good-1") + &config_map("a", "1"));
    side.upgrade(web("good-2") + &config_map("a", "2"));
}

scenarios! {
    kubectl_set_env [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.kubectl(&["set", "env", "deployment/web", "EXTRA=1"]);
        },
    }
    kubectl_rollout_restart [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.kubectl(&["rollout", "restart", "deployment/web"]);
        },
    }
    kubectl_rollout_pause [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.kubectl(&["rollout", "pause", "deployment/web"]);
        },
    }
    kubectl_set_image [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:good-3"]);
        },
    }
    kubectl_set_image_to_what_the_target_has [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:good-1"]);
        },
    }
    kubectl_edit [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.patch("configmaps", "a", "kubectl-edit", &json!({"data": {"value": "edited", "extra": "1"}}));
        },
    }
    kubectl_edit_of_the_same_in_both [helm_3 helm_4_client_side] {
        state: |side| {
            side.install(config_map("a", "1") + &config_map("b", "1"));
            side.upgrade(config_map("a", "1") + &config_map("b", "2"));
            side.patch("configmaps", "a", "kubectl-edit", &json!({"data": {"value": "edited"}}));
        },
    }
    kubectl_scale [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.kubectl(&["scale", "deployment/web", "--replicas=3"]);
        },
    }
    kubectl_label_and_annotate [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.kubectl(&["label", "deployment/web", "team=shop"]);
            side.kubectl(&["annotate", "configmap/a", "checked=yes"]);
        },
    }
    ownership_lost [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.kubectl(&["label", "deployment/web", "app.kubernetes.io/managed-by-"]);
            side.kubectl(&["annotate", "configmap/a", "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-"]);
        },
    }
    ownership_overwritten [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.kubectl(&["label", "--overwrite", "deployment/web", "app.kubernetes.io/managed-by=somebody"]);
        },
    }
    kubectl_apply_of_the_same [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.apply(&(web("good-2") + &config_map("a", "2")), &[]);
        },
    }
    kubectl_apply_of_something_else [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.apply(&(web("good-3") + &config_map("a", "3")), &[]);
        },
    }
    kubectl_apply_on_the_server [helm_3 helm_4_client_side] {
        state: |side| {
            deployed(side);
            side.apply(&(web("good-3") + &config_map("a", "3")), &["--server-side", "--force-conflicts"]);
        },
    }
    cleared_managed_fields [helm_3 helm_4_client_side] {
        state: |side| {
            side.install(web("good-1") + &config_map("a", "1"));
            side.upgrade(web("good-2").replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 0\n      hostNetwork: true") + &config_map("a", "2"));
            side.clear_managed_fields("deployments", "web");
            side.clear_managed_fields("configmaps", "a");
        },
    }
    cleared_managed_fields_and_server_side_apply [helm_4] {
        state: |side| {
            deployed(side);
            side.clear_managed_fields("deployments", "web");
            side.clear_managed_fields("configmaps", "a");
        },
        expected: &[
            Expected { modes: SERVER_SIDE, why: "conflicts-are-decided", paths: &["ConfigMap/a data.value", "Deployment/web spec.template.spec.containers[web].image", "exit", "record 3 status", "record 3 info.description"] },
        ],
    }
    extra_container_by_somebody [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"debug","image":"ghcr.io/acme/debug:good-1"}]}}}}"#;
            side.kubectl(&["patch", "deployment/web", "--type=strategic", "--field-manager=somebody", "-p", patch]);
        },
    }
    finalizers_and_owner_of_somebody [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.patch("configmaps", "a", "somebody", &json!({"metadata": {"labels": {"velero.io/backup": "b1"}}}));
        },
    }
    status_written_by_a_controller [helm_3 helm_4] {
        state: |side| {
            deployed(side);
            side.wait_until("deployments", "web", "/status/observedGeneration", &json!(2));
        },
    }
}
