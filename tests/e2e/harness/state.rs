//! Workloads as they are, reduced to what a rollback may or may not change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::cluster::text;
use super::{Cluster, wait_for};

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadState {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.replicas`.
    pub replicas: Option<i64>,
    /// Images by container, init containers included.
    pub images: BTreeMap<String, String>,
    /// Names of the field managers, those of the status left out.
    pub managers: Vec<String>,
    /// Whether it is what it should be: everything of the newest template, everything ready.
    pub ready: bool,
    /// The whole object.
    pub object: Value,
}

const RESOURCES: [(&str, &str); 4] =
    [("deployments", "deploy"), ("statefulsets", "sts"), ("daemonsets", "ds"), ("cronjobs", "cronjob")];

impl Cluster {
    /// Every workload of the namespace by `deploy/name`.
    #[track_caller]
    pub fn workloads(&self) -> BTreeMap<String, WorkloadState> {
        let all = RESOURCES.iter().flat_map(|(resource, short)| {
            let objects = self.list(resource);
            objects.into_iter().map(move |object| {
                (format!("{short}/{}", text(&object["metadata"]["name"])), state(short, object))
            })
        });
        all.collect()
    }

    /// One workload, by `deploy/name`.
    #[track_caller]
    pub fn workload(&self, reference: &str) -> WorkloadState {
        let (short, name) = reference.split_once('/').unwrap();
        let (resource, _) = RESOURCES.iter().find(|(_, known)| *known == short).unwrap();
        state(short, self.get(resource, name))
    }

    /// The image of the container that is named like its workload, or of the first one.
    #[track_caller]
    pub fn image(&self, reference: &str) -> String {
        let images = self.workload(reference).images;
        let name = reference.split_once('/').map_or(reference, |(_, name)| name);
        images.get(name).or_else(|| images.values().next()).unwrap().clone()
    }

    /// Pods that belong to a workload by the label `app.kubernetes.io/name`.
    #[track_caller]
    pub fn pods_of(&self, name: &str) -> Vec<Value> {
        self.list_selected("pods", &format!("app.kubernetes.io/name={name}"))
    }

    /// The UIDs of those pods that are not on their way out, sorted.
    #[track_caller]
    pub fn pod_uids(&self, name: &str) -> Vec<String> {
        let mut uids: Vec<String> = self
            .pods_of(name)
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| text(&pod["metadata"]["uid"]).to_owned())
            .collect();
        uids.sort();
        uids
    }

    /// [`Cluster::resource_versions`] once the controllers have come to rest: every workload is ready, no pod is on
    /// its way, autoscalers have been looked at (which takes their controller 15 s), and for a while nothing changes.
    #[track_caller]
    pub fn settled_versions(&self) -> Vec<String> {
        let mut last = Vec::new();
        wait_for("the namespace to settle", Duration::from_secs(120), || {
            let now = if self.is_at_rest() { self.resource_versions() } else { Vec::new() };
            if now.is_empty() || now != last {
                last = now;
                // The second look must not come at once.
                std::thread::sleep(Duration::from_secs(2));
                return None;
            }
            Some(now)
        })
    }

    fn is_at_rest(&self) -> bool {
        let is_settled = |pod: &Value| is_pod_ready(pod) || pod["status"]["phase"] == "Succeeded";
        self.workloads().values().all(|workload| workload.ready)
            && self.list("pods").iter().all(is_settled)
            && self
                .list("horizontalpodautoscalers")
                .iter()
                .all(|autoscaler| autoscaler["status"]["conditions"].is_array())
    }
}

fn state(short: &str, object: Value) -> WorkloadState {
    let spec = &object["spec"];
    let template =
        if short == "cronjob" { &spec["jobTemplate"]["spec"]["template"] } else { &spec["template"] };
    let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    WorkloadState {
        uid: text(&object["metadata"]["uid"]).to_owned(),
        generation: object["metadata"]["generation"].as_i64().unwrap_or_default(),
        replicas: spec["replicas"].as_i64(),
        images: images_in(&template["spec"]),
        managers: managers
            .filter(|entry| entry["subresource"] != "status")
            .map(|entry| text(&entry["manager"]).to_owned())
            .collect(),
        ready: is_ready(short, &object),
        object,
    }
}

/// The images in a pod's specification by container.
pub fn images_in(pod_spec: &Value) -> BTreeMap<String, String> {
    let lists = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod_spec[list].as_array().into_iter().flatten());
    lists
        .map(|container| (text(&container["name"]).to_owned(), text(&container["image"]).to_owned()))
        .collect()
}

/// Whether a pod serves: Ready, and not being deleted.
pub fn is_pod_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready =
        conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_ready(short: &str, object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    let is_observed = status["observedGeneration"] == object["metadata"]["generation"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    match short {
        "deploy" => {
            is_observed
                && ["replicas", "updatedReplicas", "readyReplicas"]
                    .iter()
                    .all(|field| number(field) == wanted)
        }
        "sts" => is_observed && number("readyReplicas") == wanted && number("updatedReplicas") == wanted,
        "ds" => {
            is_observed
                && number("numberReady") == number("desiredNumberScheduled")
                && number("updatedNumberScheduled") == number("desiredNumberScheduled")
        }
        _ => true,
    }
}
