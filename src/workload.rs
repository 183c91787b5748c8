//! The workloads that carry an application's containers: their kinds, names, and where in each kind the
//! pod template stands.

use std::fmt;
use std::str::FromStr;

use kube::core::{ApiResource, GroupVersionKind};
use serde::{Deserialize, Serialize};

/// A kind of workload whose images this tool can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `batch/v1` CronJob.
    CronJob,
}

impl WorkloadKind {
    /// Every kind, in the order in which they are listed on screen.
    pub const ALL: [Self; 4] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::CronJob];

    /// The kind as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
        }
    }

    /// The short name that kubectl understands, used in the commands we print.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::CronJob => "cronjob",
        }
    }

    /// The kind for an API spelling, as in a manifest; `None` for every other kind.
    pub fn from_api(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// JSON pointer of the pod template (with `metadata` and `spec`) inside an object of this kind.
    pub fn template_pointer(self) -> &'static str {
        match self {
            Self::CronJob => "/spec/jobTemplate/spec/template",
            _ => "/spec/template",
        }
    }

    /// Whether the kind has `spec.replicas`.
    pub fn has_replicas(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet)
    }

    /// Group, version, kind and plural, for dynamic API calls.
    pub fn api_resource(self) -> ApiResource {
        let (group, plural) = match self {
            Self::Deployment => ("apps", "deployments"),
            Self::StatefulSet => ("apps", "statefulsets"),
            Self::DaemonSet => ("apps", "daemonsets"),
            Self::CronJob => ("batch", "cronjobs"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", self.as_str()), plural)
    }
}

impl FromStr for WorkloadKind {
    type Err = String;

    /// Reads a kind as kubectl does: any case, singular, plural or short name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "deploy" | "deployment" | "deployments" | "deployment.apps" | "deployments.apps" => {
                Ok(Self::Deployment)
            }
            "sts" | "statefulset" | "statefulsets" | "statefulset.apps" | "statefulsets.apps" => {
                Ok(Self::StatefulSet)
            }
            "ds" | "daemonset" | "daemonsets" | "daemonset.apps" | "daemonsets.apps" => Ok(Self::DaemonSet),
            "cj" | "cronjob" | "cronjobs" | "cronjob.batch" | "cronjobs.batch" => Ok(Self::CronJob),
            _ => Err(format!(
                "{text:?} is not a kind this tool changes (deployment, statefulset, daemonset, cronjob)"
            )),
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Names one workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// The kind.
    pub kind: WorkloadKind,
    /// The namespace it lives in.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for WorkloadRef {
    /// `deploy/todo-backend`: what can be pasted behind `kubectl get`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.short_name(), self.name)
    }
}

/// A container of a workload's pod template: the unit that takes a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerRef {
    /// The workload.
    pub workload: WorkloadRef,
    /// The container's name; unique within a pod, init containers included.
    pub container: String,
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.workload, self.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_kubectl_reads_them() {
        for (text, kind) in [
            ("deploy", WorkloadKind::Deployment),
            ("Deployments", WorkloadKind::Deployment),
            ("statefulset.apps", WorkloadKind::StatefulSet),
            ("DS", WorkloadKind::DaemonSet),
            ("cj", WorkloadKind::CronJob),
        ] {
            assert_eq!(text.parse(), Ok(kind), "{text}");
        }
        assert!("pod".parse::<WorkloadKind>().is_err());
    }

    #[test]
    fn plurals_are_the_api_servers() {
        let plurals: Vec<String> = WorkloadKind::ALL.iter().map(|kind| kind.api_resource().plural).collect();
        assert_eq!(plurals, ["deployments", "statefulsets", "daemonsets", "cronjobs"]);
    }
}
