//! Workloads of every kind whose manifests change from one revision to the next.

use super::*;

const EVERYTHING_OLD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {tier: front, old: "yes"}
  annotations: {note: old, gone: "1"}
spec:
  replicas: 1
  revisionHistoryLimit: 3
  strategy:
    type: Recreate
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
      annotations: {checksum: one, old: "1"}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
        - {key: a, operator: Exists}
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      hostAliases:
        - {ip: 10.1.2.3, hostnames: [a.example.com, b.example.com]}
      imagePullSecrets: [{name: one}]
      initContainers:
        - {name: prepare, image: "ghcr.io/acme/web:good-1"}
        - {name: migrate, image: "ghcr.io/acme/web:good-1", args: [up]}
      containers:
        - name: web
          image: ghcr.io/acme/web:good-1
          command: [serve, --port, "8000"]
          env:
            - {name: FIRST, value: "1"}
            - {name: SECOND, value: two}
            - {name: FROM, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          ports:
            - {name: http, containerPort: 8000}
            - {name: admin, containerPort: 9000}
          readinessProbe:
            httpGet: {path: /health, port: http}
            periodSeconds: 3
          resources:
            requests: {cpu: 10m, memory: 16Mi}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: temporary, mountPath: /scratch}
        - name: proxy
          image: ghcr.io/acme/proxy:good-1
      volumes:
        - {name: data, emptyDir: {}}
        - {name: temporary, emptyDir: {medium: Memory}}
"#;

const EVERYTHING_NEW: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {tier: back, new: "yes"}
  annotations: {note: new, come: "1"}
spec:
  replicas: 2
  minReadySeconds: 1
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web, more: "yes"}
      annotations: {checksum: two, new: "1"}
    spec:
      terminationGracePeriodSeconds: 1
      serviceAccountName: default
      securityContext: {fsGroup: 1000}
      tolerations:
        - {key: b, operator: Exists}
        - {key: c, operator: Exists}
      initContainers:
        - {name: migrate, image: "ghcr.io/acme/web:good-2"}
      containers:
        - name: web
          image: ghcr.io/acme/web:good-2
          args: [--verbose]
          env:
            - {name: THIRD, value: "3"}
            - {name: SECOND, value: zwei}
            - {name: FROM, value: literal}
          ports:
            - {name: http, containerPort: 8080}
          readinessProbe:
            tcpSocket: {port: http}
          livenessProbe:
            tcpSocket: {port: http}
          resources:
            requests: {cpu: 20m}
            limits: {memory: 32Mi}
          volumeMounts:
            - {name: data, mountPath: /data, readOnly: true}
        - name: sidecar
          image: ghcr.io/acme/sidecar:good-1
      volumes:
        - {name: data, emptyDir: {sizeLimit: 1Mi}}
"#;

fn stateful_set(tag: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: store}}
spec:
  serviceName: store
  replicas: 1
  {more}
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: store, image: "ghcr.io/acme/store:{tag}"}}
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"#
    )
}

fn daemon_set(tag: &str, strategy: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  updateStrategy: {strategy}
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
      terminationGracePeriodSeconds: 0
      nodeSelector: {{nowhere: "yes"}}
      containers:
        - {{name: agent, image: "ghcr.io/acme/agent:{tag}"}}
"#
    )
}

fn cron_job(schedule: &str, tag: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: batch/v1
kind: CronJob
metadata: {{name: cleanup}}
spec:
  schedule: "{schedule}"
  {more}
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - {{name: cleanup, image: "ghcr.io/acme/web:{tag}"}}
"#
    )
}

fn job(name: &str, tag: &str) -> String {
    format!(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {{name: load, image: "ghcr.io/acme/web:{tag}"}}
"#
    )
}

fn autoscaled(replicas: &str, image: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: web, image: "ghcr.io/acme/web:{image}"}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: 1
  maxReplicas: 6
  metrics:
    - type: Resource
      resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 70}}}}
"#
    )
}

/// As an autoscaler does it; there are no metrics that would make a real one.
fn scale_as_autoscaler(side: &crate::side::Side, replicas: u32) {
    let scaled = serde_json::json!({"spec": {"replicas": replicas}});
    side.patch("deployments", "web/scale", "kube-controller-manager", &scaled);
}

scenarios! {
    deployment_image [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(web("good-1"));
            side.upgrade(web("good-2"));
        },
        then: Some(|side| side.upgrade(web("good-3"))),
    }
    deployment_everything [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(EVERYTHING_OLD);
            side.upgrade(EVERYTHING_NEW);
        },
        then: Some(|side| side.upgrade(EVERYTHING_NEW)),
        expected: &[
            Expected { modes: EVERY, why: "service-account-is-removed", paths: &["Deployment/web spec.template.spec.serviceAccount*"] },
        ],
    }
    deployment_everything_forwards [helm_3 helm_4] {
        state: |side| {
            side.install(EVERYTHING_NEW);
            side.upgrade(EVERYTHING_OLD);
        },
    }
    stateful_set_image_and_strategy [helm_3 helm_4] {
        state: |side| {
            side.install(stateful_set("good-1", "updateStrategy: {type: OnDelete}"));
            side.upgrade(stateful_set("good-2", "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}"));
        },
        expected: &[
            Expected { modes: HELM_3, why: "defaults-go-with-what-they-belong-to", paths: &["StatefulSet/store spec.*", "exit", "record 3 status", "record 3 info.description"] },
            Expected { modes: SERVER_SIDE, why: "refused-before-the-first-write", paths: &["record 2 status", "record 3"] },
        ],
    }
    daemon_set_image_and_strategy [helm_3 helm_4] {
        state: |side| {
            side.install(daemon_set("good-1", "{type: OnDelete}"));
            side.upgrade(daemon_set("good-2", "{type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}}"));
        },
    }
    cron_job_schedule_and_image [helm_3 helm_4] {
        state: |side| {
            side.install(cron_job("0 3 1 1 *", "good-1", "suspend: true"));
            side.upgrade(cron_job("0 4 1 1 *", "good-2", "startingDeadlineSeconds: 60"));
        },
    }
    job_of_each_revision [helm_3 helm_4] {
        state: |side| {
            side.install(job("load-1", "good-1"));
            side.upgrade(job("load-2", "good-2"));
        },
    }
    job_unchanged [helm_3 helm_4] {
        state: |side| {
            side.install(job("load", "good-1") + "---" + &config_map("a", "1"));
            side.upgrade(job("load", "good-1") + "---" + &config_map("a", "2"));
        },
    }
    replicas_of_an_autoscaler_in_the_manifest [helm_3 helm_4_client_side] {
        state: |side| {
            side.install(autoscaled("replicas: 1", "good-1"));
            side.upgrade(autoscaled("replicas: 1", "good-2"));
            scale_as_autoscaler(side, 3);
        },
        expected: &[
            Expected { modes: CLIENT_SIDE, why: "autoscaler-keeps-its-number", paths: &["Deployment/web spec.replicas"] },
        ],
    }
    replicas_of_an_autoscaler_not_in_the_manifest [helm_3 helm_4] {
        state: |side| {
            side.install(autoscaled("minReadySeconds: 0", "good-1"));
            side.upgrade(autoscaled("minReadySeconds: 0", "good-2"));
            scale_as_autoscaler(side, 3);
        },
    }
    replicas_only_in_the_newer_manifest [helm_3 helm_4_client_side] {
        state: |side| {
            side.install(autoscaled("minReadySeconds: 0", "good-1"));
            side.upgrade(autoscaled("replicas: 2", "good-2"));
            scale_as_autoscaler(side, 4);
        },
        expected: &[
            Expected { modes: CLIENT_SIDE, why: "replicas-are-not-removed", paths: &["Deployment/web spec.replicas"] },
        ],
    }
    replicas_only_in_the_target [helm_3 helm_4] {
        state: |side| {
            side.install(web("good-1").replace("replicas: 1", "replicas: 3"));
            side.upgrade(web("good-2").replace("replicas: 1", "minReadySeconds: 0"));
        },
    }
    waiting_for_a_good_one [helm_3 helm_4] {
        state: |side| {
            side.install(web("good-1"));
            side.upgrade(web("crash"));
        },
        rollback: || Rollback::to(1).waiting(),
    }
}
