//! Workloads that nobody but kubectl knows of, for tests that need no release.

use serde_json::{Value, json};

use super::Cluster;

/// A Deployment of one container; `app.kubernetes.io/name` is its name and `team` is `shop`. Its probe waits long enough that
/// what it says is the container's answer, and not that the machine was busy.
pub fn deployment(name: &str, replicas: i64, image: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": name, "team": "shop"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{
                        "name": name, "image": image,
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1, "timeoutSeconds": 10},
                    }],
                },
            },
        },
    })
}

/// A StatefulSet of one container whose pods start one after the other.
pub fn stateful_set(name: &str, replicas: i64, image: &str) -> Value {
    let mut object = deployment(name, replicas, image);
    object["kind"] = json!("StatefulSet");
    object["spec"]["serviceName"] = json!(name);
    object
}

impl Cluster {
    /// Creates workloads as `kubectl create` would, and waits until they are ready.
    #[track_caller]
    pub fn create_ready(&self, objects: &[Value]) {
        for object in objects {
            let resource = if object["kind"] == "StatefulSet" { "statefulsets" } else { "deployments" };
            self.create(resource, object);
        }
        self.wait_until_ready();
    }

    /// Gives somebody the right to see everything, to patch workloads and to create pods, and to do nothing else.
    #[track_caller]
    pub fn create_operator(&self, user: &str) {
        let seen = [
            "pods",
            "pods/log",
            "events",
            "deployments",
            "replicasets",
            "statefulsets",
            "daemonsets",
            "controllerrevisions",
            "cronjobs",
            "jobs",
            "horizontalpodautoscalers",
        ];
        self.create(
            "roles",
            &json!({"metadata": {"name": "operator"}, "rules": [
                {"apiGroups": ["", "apps", "batch", "autoscaling"], "verbs": ["get", "list", "watch"], "resources": seen},
                {"apiGroups": ["apps"], "verbs": ["patch"], "resources": ["deployments", "statefulsets"]},
                {"apiGroups": [""], "verbs": ["create"], "resources": ["pods"]},
            ]}),
        );
        self.kubectl(&["create", "rolebinding", "operator", "--role=operator", &format!("--user={user}")]);
    }
}
