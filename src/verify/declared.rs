//! The paths by which pods say whether they are ready, and the Services that lead there. Pure.

use serde_json::Value;

use super::services::{ServiceView, container_port};
use crate::config::PortName;
use crate::discover::Workload;
use crate::wait::readiness;
use crate::workload::{WorkloadKind, WorkloadRef};

/// A path that a readiness probe names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredPath {
    /// Whose.
    pub workload: WorkloadRef,
    /// The Service that leads there and its port; `None` where none does.
    pub service: Option<(String, u16)>,
    /// A ready pod.
    pub pod: Option<String>,
    /// The pod's port.
    pub port: u16,
    /// The path.
    pub path: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Headers that the probe sends.
    pub headers: Vec<(String, String)>,
}

/// The declared paths of workloads that want pods, each once a workload.
pub fn declared_paths(workloads: &[Workload], services: &[ServiceView]) -> Vec<DeclaredPath> {
    let mut found: Vec<DeclaredPath> = Vec::new();
    for workload in workloads {
        let kind = workload.reference.kind;
        if kind == WorkloadKind::CronJob || readiness::of(kind.as_str(), &workload.object).desired == 0 {
            continue;
        }
        let template = workload.object.pointer(kind.template_pointer());
        let containers = template.and_then(|template| template.pointer("/spec/containers")?.as_array());
        let containers: Vec<&Value> = containers.into_iter().flatten().collect();
        for container in &containers {
            let Some(get) = container.pointer("/readinessProbe/httpGet") else { continue };
            // Another host than the pod is nobody's readiness.
            if get.get("host").is_some() {
                continue;
            }
            let wanted = match get.get("port") {
                Some(Value::String(name)) => PortName::Name(name.clone()),
                Some(number) => {
                    PortName::Number(number.as_u64().and_then(|number| number.try_into().ok()).unwrap_or(0))
                }
                None => continue,
            };
            let Some(port) = container_port([*container], &wanted).filter(|port| *port > 0) else {
                continue;
            };
            let leads_there = |service: &ServiceView| {
                let to_it = service.ports.iter().find(|candidate| {
                    container_port(containers.iter().copied(), &candidate.target) == Some(port)
                })?;
                Some((service.name.clone(), to_it.number))
            };
            let service = services
                .iter()
                .filter(|service| !service.external && service.selects(workload))
                .find_map(leads_there);
            let path = get.get("path").and_then(Value::as_str).filter(|path| !path.is_empty()).unwrap_or("/");
            let headers = get.get("httpHeaders").and_then(Value::as_array).into_iter().flatten();
            let headers = headers.filter_map(|header| {
                let text = |name: &str| header.get(name)?.as_str().map(str::to_owned);
                Some((text("name")?, text("value")?))
            });
            let declared = DeclaredPath {
                workload: workload.reference.clone(),
                service,
                pod: workload.pods.iter().find(|pod| pod.ready).map(|pod| pod.name.clone()),
                port,
                path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
                tls: get.get("scheme").and_then(Value::as_str) == Some("HTTPS"),
                headers: headers.collect(),
            };
            if !found.contains(&declared) {
                found.push(declared);
            }
        }
    }
    found
}
