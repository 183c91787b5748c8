//! Configuration, secrets, accounts, permissions and the smaller kinds.

use super::*;

fn secret(fields: &str) -> String {
    format!("\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n{fields}\n")
}

fn permissions(verbs: &str, subject: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: worker}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: worker}}
rules:
  - {{apiGroups: [""], resources: [pods], verbs: {verbs}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: worker}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: worker}}
subjects:
  - {{kind: ServiceAccount, name: {subject}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "{{{{ .Release.Namespace }}}}-reader"
  labels: {{for: "{subject}"}}
rules:
  - {{apiGroups: [""], resources: [nodes], verbs: {verbs}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "{{{{ .Release.Namespace }}}}-reader"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "{{{{ .Release.Namespace }}}}-reader"}}
subjects:
  - {{kind: ServiceAccount, name: {subject}, namespace: "{{{{ .Release.Namespace }}}}"}}
"#
    )
}

const SMALL_OLD: &str = r#"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nobody}
  minReplicas: 2
  maxReplicas: 4
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}
    - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 10Mi}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: limits}
spec:
  hard: {pods: "20", configmaps: "30"}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits:
    - {type: Container, default: {memory: 64Mi}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: "{{ .Release.Namespace }}-high"}
value: 1000
description: old
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, labels: {size: small}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
"#;

const SMALL_NEW: &str = r#"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  maxUnavailable: 50%
  selector: {matchLabels: {app: web, more: "yes"}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nobody}
  maxReplicas: 6
  behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: limits}
spec:
  hard: {pods: "25", secrets: "30"}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits:
    - {type: Container, default: {memory: 32Mi, cpu: 100m}, max: {cpu: "2"}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: "{{ .Release.Namespace }}-high"}
value: 1000
description: new
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, annotations: {size: large}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
"#;

scenarios! {
    config_map_keys [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kept: x, old: \"1\", both: one}\nbinaryData: {blob: aGVsbG8=}\n");
            side.upgrade("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kept: x, new: \"1\", both: two}\n");
        },
    }
    config_map_without_data [helm_3 helm_4] {
        state: |side| {
            side.install("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
            side.upgrade("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {new: \"1\"}\nbinaryData: {blob: aGVsbG8=}\n");
        },
    }
    labels_and_annotations_null [helm_3 helm_4] {
        state: |side| {
            side.install("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: null, annotations: null}\ndata: {a: \"1\"}\n");
            side.upgrade("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: \"1\"}, annotations: {y: \"2\"}}\ndata: null\n");
        },
    }
    secret_data [helm_3 helm_4] {
        state: |side| {
            side.install(secret("type: Opaque\ndata: {kept: YQ==, old: Yg==, both: Yw==}"));
            side.upgrade(secret("type: Opaque\ndata: {kept: YQ==, new: Yg==, both: ZA==}"));
        },
    }
    secret_string_data_changed [helm_3 helm_4] {
        state: |side| {
            side.install(secret("stringData: {password: old}"));
            side.upgrade(secret("stringData: {password: new}"));
        },
    }
    secret_string_data_key_dropped [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(secret("stringData: {password: old}"));
            side.upgrade(secret("stringData: {password: new, token: abc}"));
        },
        expected: &[
            Expected { modes: EVERY, why: "string-data-is-removed", paths: &["Secret/keys data.token"] },
        ],
    }
    service_account [helm_3 helm_4] {
        state: |side| {
            side.install("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: worker}\nimagePullSecrets: [{name: one}]\nautomountServiceAccountToken: false\n");
            side.upgrade("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: worker}\nimagePullSecrets: [{name: two}, {name: three}]\n");
        },
    }
    permissions_in_and_beside_the_namespace [helm_3 helm_4] {
        state: |side| {
            side.install(permissions("[get, list]", "worker"));
            side.upgrade(permissions("[get, list, watch]", "default"));
        },
    }
    budget_autoscaler_quota_priority_claim [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(SMALL_OLD);
            side.upgrade(SMALL_NEW);
        },
    }
    scalars_as_helm_reads_them [helm_3 helm_4] {
        state: |side| {
            side.install(web("good-1")
                .replace("replicas: 1", "replicas: 0b11\n  revisionHistoryLimit: 0x2\n  paused: off")
                .replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 1_0\n      hostNetwork: no\n      enableServiceLinks: y\n      volumes:\n        - name: files\n          configMap: {name: nobody, optional: yes, defaultMode: 0644}"));
            side.upgrade(web("good-2"));
        },
    }
    anchors_duplicates_and_odd_documents [helm_3 helm_4] {
        state: |side| {
            side.install("--- # first\napiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a, labels: &l {x: \"1\"}}\ndata: {text: \"---\", text: twice}\n---\n# nothing\n---\n\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n  labels: {<<: *l, y: \"2\"}\ndata:\n  block: |\n    a\n    ---\n    b\n".replace("*l", "{x: \"1\"}"));
            side.upgrade("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {text: new}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {block: new}\n");
        },
    }
}
