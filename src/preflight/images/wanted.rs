//! The images that a plan makes pods pull. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::discover::Snapshot;
use crate::discover::rollback::RollbackSnapshot;
use crate::discover::workload::containers_of;
use crate::plan::Plan;
use crate::plan::rollback::{Action, RollbackPlan};
use crate::registry::ImageReference;
use crate::registry::pull_secrets::Pullers;

/// When a node pulls an image; later ones ask for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullPolicy {
    /// Never: the node must have it.
    Never,
    /// Where the node does not have it.
    IfNotPresent,
    /// Every time.
    Always,
}

impl PullPolicy {
    /// A container's policy; without one, as the API server would set it.
    fn of(container: &Value, image: &ImageReference) -> Self {
        match container.get("imagePullPolicy").and_then(Value::as_str) {
            Some("Never") => Self::Never,
            Some("Always") => Self::Always,
            None if image.digest.is_none() && image.version() == "latest" => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// An image that pods will pull.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The image.
    pub image: ImageReference,
    /// With which credentials.
    pub pullers: Pullers,
    /// When.
    pub policy: PullPolicy,
    /// Whether any pod is started from it now.
    pub starts: bool,
    /// What to do when it is missing.
    pub hint: String,
}

/// Collects images, each once a namespace.
#[derive(Default)]
struct Collection(BTreeMap<(String, ImageReference), Wanted>);

impl Collection {
    fn add(
        &mut self,
        namespace: &str,
        image: &ImageReference,
        pod_spec: &Value,
        container: &Value,
        starts: bool,
    ) {
        let policy = PullPolicy::of(container, image);
        let blank = Wanted {
            image: image.clone(),
            pullers: Pullers { namespace: namespace.to_owned(), ..Pullers::default() },
            policy,
            starts: false,
            hint: String::new(),
        };
        let wanted = self.0.entry((namespace.to_owned(), image.clone())).or_insert(blank);
        wanted.pullers.add(pod_spec);
        wanted.policy = wanted.policy.max(policy);
        wanted.starts |= starts;
    }

    fn finish(self, hint: impl Fn(&ImageReference) -> String) -> Vec<Wanted> {
        let hinted = |wanted: Wanted| Wanted { hint: hint(&wanted.image), ..wanted };
        self.0.into_values().map(hinted).collect()
    }
}

/// The images of an emergency.
pub fn of_plan(plan: &Plan, snapshot: &Snapshot) -> Vec<Wanted> {
    let mut images = Collection::default();
    for planned in &plan.workloads {
        let Some(workload) = snapshot.workload(&planned.workload) else { continue };
        let pod_spec = &workload.template()["spec"];
        let starts = planned.replicas.is_none_or(|replicas| replicas.after > 0);
        for change in &planned.containers {
            let list = if change.init { "initContainers" } else { "containers" };
            images.add(
                &planned.workload.namespace,
                &change.to,
                pod_spec,
                &pod_spec[list][change.index],
                starts,
            );
        }
    }
    images.finish(|image| hint_of(plan, snapshot, image))
}

/// The newest other version of a missing image that a stored revision ran.
fn hint_of(plan: &Plan, snapshot: &Snapshot, missing: &ImageReference) -> String {
    let is_live = |image: &ImageReference| {
        snapshot
            .workloads
            .iter()
            .flat_map(|workload| &workload.containers)
            .any(|container| container.reference().as_ref() == Some(image))
    };
    let earlier = snapshot.release.iter().flat_map(|release| &release.revisions).find_map(|stored| {
        let is_other = |image: &&ImageReference| {
            image.repository == missing.repository && *image != missing && !is_live(image)
        };
        Some((stored.revision, stored.images.values().find(is_other)?.version()))
    });
    let earlier = earlier.map(|(revision, version)| format!("; revision {revision} ran {version}"));
    let list = plan.release.as_ref().map_or_else(
        || "is the tag spelled as the registry has it?".to_owned(),
        |release| format!("kubectl rollback history {} lists the tags that ran", release.name),
    );
    format!("{list}{}", earlier.unwrap_or_default())
}

/// The images of a rollback that change, or whose workload is made anew.
pub fn of_rollback(plan: &RollbackPlan, snapshot: &RollbackSnapshot) -> Vec<Wanted> {
    let mut images = Collection::default();
    for step in &plan.objects {
        let is_written = matches!(step.action, Action::Create | Action::Apply | Action::Replace);
        let Some(workload) = step.workload().filter(|_| is_written) else { continue };
        let Some(found) = snapshot.objects.iter().find(|found| found.history.key == step.key) else {
            continue;
        };
        let Some(target) = &found.history.target else { continue };
        let spec_of = |object: &Value| {
            let template = object.pointer(workload.kind.template_pointer())?;
            template.get("spec").cloned()
        };
        let Some(pod_spec) = spec_of(target) else { continue };
        let live = found.live.as_ref().and_then(spec_of).map(|spec| containers_of(&spec)).unwrap_or_default();
        let number = step.replicas.or_else(|| target.pointer("/spec/replicas").and_then(Value::as_i64));
        for container in containers_of(&pod_spec) {
            let stays =
                live.iter().any(|other| other.name == container.name && other.image == container.image);
            let Some(image) = container.reference().filter(|_| !stays) else { continue };
            let list = if container.init { "initContainers" } else { "containers" };
            let own = &pod_spec[list][container.index];
            images.add(&workload.namespace, &image, &pod_spec, own, number != Some(0));
        }
    }
    images.finish(|_| {
        format!("choose another revision: kubectl rollback history {} -n {}", plan.release, plan.namespace)
    })
}
