//! What the server refuses: immutable fields. Neither can do it; the records afterwards are what matters.

use super::*;

fn stateful_set(size: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: store}}
spec:
  serviceName: store
  replicas: 0
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec:
      containers:
        - {{name: store, image: "ghcr.io/acme/store:good-1"}}
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}}}}
"#
    )
}

fn claim(size: &str) -> String {
    format!(
        "\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data}}\nspec:\n  accessModes: [ReadWriteOnce]\n  storageClassName: none\n  resources: {{requests: {{storage: {size}}}}}\n---\n"
    )
}

fn bound(role: &str) -> String {
    format!(
        "\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: worker}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}\nsubjects: []\n---\n"
    )
}

/// A kind of object that is replaced by hand in between, since no upgrade could have changed it either.
fn replaced(side: &crate::side::Side, old: &str, object: &str, new: &str) {
    side.install(config_map("a", "1") + old);
    side.kubectl(&["delete", object]);
    side.upgrade(config_map("a", "2") + new);
}

scenarios! {
    selector_of_a_deployment [helm_3 helm_4 helm_4_client_side] {
        state: |side| replaced(side, &web("good-1"), "deployment/web", &web("good-2").replace("app: web", "app: other")),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["ConfigMap/a data.value", "record 2 status", "record 3"] },
        ],
    }
    volume_claims_of_a_stateful_set [helm_3 helm_4] {
        state: |side| replaced(side, &stateful_set("1Mi"), "statefulset/store", &stateful_set("2Mi")),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["ConfigMap/a data.value", "record 2 status", "record 3"] },
        ],
    }
    size_of_a_claim [helm_3 helm_4] {
        state: |side| replaced(side, &claim("1Mi"), "pvc/data", &claim("2Mi")),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["ConfigMap/a data.value", "record 2 status", "record 3"] },
        ],
    }
    role_of_a_binding [helm_3 helm_4] {
        state: |side| replaced(side, &bound("old"), "rolebinding/worker", &bound("new")),
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["ConfigMap/a data.value", "record 2 status", "record 3"] },
        ],
    }
    immutable_config_map [helm_3 helm_4] {
        state: |side| {
            let frozen = |value: &str| config_map("frozen", value).replace("\ndata:", "\nimmutable: true\ndata:");
            replaced(side, &frozen("1"), "configmap/frozen", &frozen("2"));
        },
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["ConfigMap/a data.value", "record 2 status", "record 3"] },
        ],
    }
    failed_upgrade_undone [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("a", "1") + &web("good-1"));
            side.upgrade_fails(config_map("a", "2") + &web("good-2").replace("app: web", "app: other"));
        },
    }
    replaced_whole_with_a_cluster_ip [helm_3] {
        state: |side| {
            let service = |port: u32| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: {port}}}]}}\n---\n");
            side.install(service(80) + &web("good-1"));
            side.upgrade(service(81) + &web("good-2"));
        },
        rollback: || Rollback::to(1).replacing(),
    }
}
