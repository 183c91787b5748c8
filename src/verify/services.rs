//! Services as far as checks care: whom they select, and where their ports lead. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::config::PortName;
use crate::discover::Workload;

/// Annotation by which Helm marks what belongs to a release.
const RELEASE_ANNOTATION: &str = "meta.helm.sh/release-name";

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whom it selects; empty where its endpoints are kept by somebody else.
    pub selector: BTreeMap<String, String>,
    /// Its TCP ports, in order.
    pub ports: Vec<ServicePort>,
    /// Whether it only stands for a name elsewhere.
    pub external: bool,
    release: Option<String>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub number: u16,
    /// The pods' port.
    pub target: PortName,
}

impl ServiceView {
    /// Reads a Service.
    pub fn read(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let number = |port: i32| u16::try_from(port).unwrap_or_default();
        let ports = spec.ports.iter().flatten();
        let ports = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        Self {
            name: service.metadata.name.clone().unwrap_or_default(),
            selector: spec.selector.unwrap_or_default(),
            ports: ports
                .map(|port| ServicePort {
                    name: port.name.clone(),
                    number: number(port.port),
                    target: match &port.target_port {
                        Some(IntOrString::Int(target)) => PortName::Number(number(*target)),
                        Some(IntOrString::String(name)) => PortName::Name(name.clone()),
                        None => PortName::Number(number(port.port)),
                    },
                })
                .collect(),
            external: spec.type_.as_deref() == Some("ExternalName"),
            release: service
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(RELEASE_ANNOTATION).cloned()),
        }
    }

    /// Whether it sends to the pods of a workload.
    pub fn selects(&self, workload: &Workload) -> bool {
        let labels = pod_labels(workload);
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| labels.get(key).and_then(Value::as_str) == Some(value))
    }

    /// A port by number or name; the first where nothing is said.
    pub fn port(&self, wanted: Option<&PortName>) -> Option<&ServicePort> {
        match wanted {
            None => self.ports.first(),
            Some(PortName::Number(number)) => self.ports.iter().find(|port| port.number == *number),
            Some(PortName::Name(name)) => self.ports.iter().find(|port| port.name.as_ref() == Some(name)),
        }
    }

    /// Its label selector as the API takes it.
    pub fn selector_text(&self) -> String {
        let pairs: Vec<String> = self.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }
}

/// The Services of a release: those with its mark, and those that select one of the workloads.
pub fn of_release(all: Vec<ServiceView>, release: Option<&str>, workloads: &[Workload]) -> Vec<ServiceView> {
    let belongs = |service: &ServiceView| {
        (release.is_some() && service.release.as_deref() == release)
            || workloads.iter().any(|workload| service.selects(workload))
    };
    all.into_iter().filter(belongs).collect()
}

/// The labels of a workload's pods.
fn pod_labels(workload: &Workload) -> &Value {
    let template = workload.object.pointer(workload.reference.kind.template_pointer());
    template.and_then(|template| template.pointer("/metadata/labels")).unwrap_or(&Value::Null)
}

/// The number of a port that containers name.
pub fn container_port<'a>(containers: impl IntoIterator<Item = &'a Value>, wanted: &PortName) -> Option<u16> {
    match wanted {
        PortName::Number(number) => Some(*number),
        PortName::Name(name) => containers
            .into_iter()
            .filter_map(|container| container.get("ports")?.as_array())
            .flatten()
            .find(|port| port.get("name").and_then(Value::as_str) == Some(name))
            .and_then(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok()),
    }
}
