//! Which containers the operator's flags speak of.

use super::containers::Instruction;
use super::emergency::Request;
use super::question::PlanError;
use crate::cli::{ContainerSelector, WorkloadSelector};
use crate::discover::workload::Container;
use crate::discover::{Snapshot, Workload};
use crate::workload::ContainerRef;

/// What the flags say about one container.
pub fn instruction(request: &Request, container: &ContainerRef) -> Option<Instruction> {
    let named =
        |selectors: &[ContainerSelector]| selectors.iter().any(|selector| selects(selector, container));
    if named(&request.keep) {
        Some(Instruction::Keep)
    } else if named(&request.take) {
        Some(Instruction::Take)
    } else {
        None
    }
}

fn selects(selector: &ContainerSelector, container: &ContainerRef) -> bool {
    selector.workload.selects(&container.workload)
        && selector.container.as_ref().is_none_or(|name| *name == container.container)
}

/// A selector that matches nothing is a typing error, and is said before anything else is.
pub fn check_selectors(request: &Request, snapshot: &Snapshot) -> Result<(), PlanError> {
    for (flag, selectors) in [("--container", &request.take), ("--exclude", &request.keep)] {
        for selector in selectors {
            let found = snapshot.workloads.iter().any(|workload| {
                workload.containers.iter().any(|container| {
                    let container = workload.container_ref(container);
                    selects(selector, &container)
                })
            });
            if !found {
                let container =
                    selector.container.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
                let WorkloadSelector { kind, name } = &selector.workload;
                return Err(PlanError::NoSuchContainer(format!(
                    "{flag} {}/{name}{container}",
                    kind.short_name()
                )));
            }
        }
    }
    for replicas in &request.replicas {
        if !snapshot.workloads.iter().any(|workload| replicas.workload.selects(&workload.reference)) {
            let WorkloadSelector { kind, name } = &replicas.workload;
            return Err(PlanError::NoSuchContainer(format!(
                "--replicas {}/{name}={}",
                kind.short_name(),
                replicas.replicas
            )));
        }
    }
    for image in &request.images {
        let runs = |workload: &Workload| {
            let mut references = workload.containers.iter().filter_map(Container::reference);
            references.any(|reference| reference.repository == image.repository)
        };
        if !snapshot.workloads.iter().any(runs) {
            return Err(PlanError::NoSuchContainer(format!("--image {}={}", image.repository, image.image)));
        }
    }
    Ok(())
}
