//! The next command to run, ready to copy.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::workload::WorkloadRef;

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(super) fn describe_pod(workload: &WorkloadRef, pod: &Pod) -> String {
    format!("kubectl describe pod -n {} {}", workload.namespace, name(pod))
}

pub(super) fn describe(workload: &WorkloadRef) -> String {
    let kind = workload.kind.short_name();
    format!("kubectl describe {kind} -n {} {}", workload.namespace, workload.name)
}

pub(super) fn logs(workload: &WorkloadRef, pod: &Pod, container: &str, previous: bool) -> String {
    let previous = if previous { " --previous" } else { "" };
    format!("kubectl logs -n {} {} -c {container}{previous}", workload.namespace, name(pod))
}

pub(super) fn delete_pod(workload: &WorkloadRef, pod: &Pod) -> String {
    format!(
        "kubectl delete pod -n {} {}  # its controller makes it anew from the newest template",
        workload.namespace,
        name(pod)
    )
}

pub(super) fn pull_secrets(workload: &WorkloadRef, pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let account = spec
        .and_then(|spec| spec.service_account_name.as_deref())
        .filter(|account| !account.is_empty())
        .unwrap_or("default");
    let secrets: Vec<&str> = spec
        .into_iter()
        .flat_map(|spec| spec.image_pull_secrets.iter().flatten())
        .map(|secret| secret.name.as_str())
        .collect();
    let has = if secrets.is_empty() {
        "the pod has no imagePullSecrets".to_owned()
    } else {
        format!("the pod's imagePullSecrets are {}", secrets.join(", "))
    };
    format!(
        "{has}; those of its ServiceAccount: kubectl get serviceaccount -n {} {account} -o yaml",
        workload.namespace
    )
}

/// The container's memory limit as it is written in the pod.
pub(super) fn memory_limit(container: &Container) -> Option<String> {
    Some(container.resources.as_ref()?.limits.as_ref()?.get("memory")?.0.clone())
}

pub(super) fn more_memory(workload: &WorkloadRef, container: &str, limit: Option<&str>) -> String {
    match limit.and_then(doubled) {
        Some(more) => format!(
            "if the application needs it, raise the limit: kubectl set resources -n {} {workload} -c {container} --limits=memory={more}",
            workload.namespace
        ),
        None => describe(workload),
    }
}

/// Twice a quantity such as `256Mi`; `None` when it is not a plain number with a unit.
fn doubled(quantity: &str) -> Option<String> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let number: u64 = number.parse().ok()?;
    unit.chars()
        .all(char::is_alphabetic)
        .then(|| number.checked_mul(2).map(|twice| format!("{twice}{unit}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_doubled() {
        for (limit, twice) in [
            ("256Mi", Some("512Mi")),
            ("1G", Some("2G")),
            ("1000000", Some("2000000")),
            ("1.5Gi", None),
            ("", None),
        ] {
            assert_eq!(doubled(limit).as_deref(), twice, "{limit}");
        }
    }
}
