//! Is there room for the pods beside what a rehearsed pod tells: limits of the namespace, budgets for disruptions, nodes
//! that are large enough. Warnings only, of what can be read.

use futures::future::OptionFuture;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::TIME_BOX;
use super::quota::quantity;
use crate::context::Context;
use crate::event::{Check, Finding, FindingStatus};

/// Nodes that are looked at; a cluster that has more is not judged by its nodes.
const MOST_NODES: u32 = 100;

/// Pods that will be started: whose, and their template.
#[derive(Debug, Clone)]
pub struct Started {
    /// The workload, as on screen.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// The pod template.
    pub template: Value,
}

/// Looks at limits, budgets and nodes at once. What may not be read, or not in time, is left out: each is only a hint.
pub async fn findings(context: &Context, namespace: &str, started: &[Started]) -> Vec<Finding> {
    if started.is_empty() {
        return Vec::new();
    }
    let deadline = Instant::now() + TIME_BOX;
    let asks =
        started.iter().any(|pods| requests(&pods.template["spec"]).iter().any(|(_, amount)| *amount > 0.0));
    let nodes: OptionFuture<_> =
        asks.then(|| list(context, None, ("", "v1", "Node", "nodes"), deadline)).into();
    let (limits, budgets, nodes) = futures::join!(
        list(context, Some(namespace), ("", "v1", "LimitRange", "limitranges"), deadline),
        list(
            context,
            Some(namespace),
            ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            deadline
        ),
        nodes
    );
    let mut findings = Vec::new();
    for pods in started.iter().filter(|pods| pods.namespace == namespace) {
        for range in limits.iter().flatten() {
            findings.extend(beyond(range, pods));
        }
        for budget in budgets.iter().flatten() {
            findings.extend(no_disruption(budget, pods));
        }
    }
    if let Some(nodes) = nodes.flatten() {
        findings.extend(started.iter().filter_map(|pods| too_large(&nodes, pods)));
    }
    findings
}

/// One page; `None` where it may not be read, is not there in time, or is longer.
async fn list(
    context: &Context,
    namespace: Option<&str>,
    (group, version, kind, plural): (&str, &str, &str, &str),
    deadline: Instant,
) -> Option<Vec<Value>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &resource),
        None => Api::all_with(context.client.clone(), &resource),
    };
    let parameters = ListParams::default().limit(MOST_NODES);
    let page = timeout_at(deadline, api.list(&parameters)).await.ok()?.ok()?;
    let is_all = page.metadata.continue_.is_none_or(|token| token.is_empty());
    is_all.then(|| page.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

fn warning(subject: String, message: String, hint: &str) -> Finding {
    Finding { check: Check::Quota, subject, status: FindingStatus::Warn, message, hint: hint.to_owned() }
}

fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => quantity(text),
        number => number.as_f64(),
    }
}

/// What of a container is beyond a `LimitRange`.
fn beyond(range: &Value, pods: &Started) -> Vec<Finding> {
    let name = range.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let rules = range.get("spec").into_iter().flat_map(|spec| items(spec, "limits"));
    let mut findings = Vec::new();
    for rule in rules.filter(|rule| rule["type"] == "Container") {
        for container in items(&pods.template["spec"], "containers") {
            for (bound, field, is_beyond) in [
                ("max", "limits", (|value, bound| value > bound) as fn(f64, f64) -> bool),
                ("min", "requests", |value, bound| value < bound),
            ] {
                for (resource, allowed) in rule.get(bound).and_then(Value::as_object).into_iter().flatten() {
                    let wanted = container.pointer(&format!("/resources/{field}/{resource}"));
                    let (Some(wanted), Some(number)) = (wanted, amount(allowed)) else { continue };
                    if amount(wanted).is_some_and(|wanted| is_beyond(wanted, number)) {
                        let text =
                            |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                        findings.push(warning(
                            format!("LimitRange/{name}"),
                            format!(
                                "container {} of {} has {} of {resource} in its {field}, and the {bound} is {}",
                                container["name"].as_str().unwrap_or_default(),
                                pods.workload,
                                text(wanted),
                                text(allowed)
                            ),
                            "loosen the LimitRange, or no pod is created",
                        ));
                    }
                }
            }
        }
    }
    findings
}

/// A budget that lets no pod be evicted now: rollouts are not held up by it, drained nodes are.
fn no_disruption(budget: &Value, pods: &Started) -> Option<Finding> {
    let wanted = budget.pointer("/spec/selector/matchLabels")?.as_object()?;
    let labels = pods.template.pointer("/metadata/labels");
    let selects = wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
    let is_exhausted = budget.pointer("/status/disruptionsAllowed") == Some(&Value::from(0));
    let name = budget.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    (selects && is_exhausted).then(|| {
        warning(
            format!("PodDisruptionBudget/{name}"),
            format!(
                "it allows no disruption of {} now: a node that is drained meanwhile waits",
                pods.workload
            ),
            "it does not hold up the rollback itself",
        )
    })
}

/// What a pod asks for: the sum of its containers.
fn requests(pod_spec: &Value) -> [(&'static str, f64); 2] {
    ["cpu", "memory"].map(|resource| {
        let of = |container: &Value| {
            let resources = container.get("resources");
            let field =
                |name: &str| resources.and_then(|resources| amount(resources.get(name)?.get(resource)?));
            field("requests").or_else(|| field("limits")).unwrap_or_default()
        };
        (resource, items(pod_spec, "containers").map(of).sum())
    })
}

/// Whether no node could take a pod even if it were empty.
fn too_large(nodes: &[Value], pods: &Started) -> Option<Finding> {
    let spec = &pods.template["spec"];
    let wanted = requests(spec);
    let selector = spec.get("nodeSelector").and_then(Value::as_object);
    let fits = |node: &Value| {
        let labels = node.pointer("/metadata/labels");
        let is_selected = selector
            .into_iter()
            .flatten()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
        let is_open = node.pointer("/spec/unschedulable") != Some(&Value::Bool(true));
        is_selected
            && is_open
            && wanted.iter().all(|(resource, wanted)| {
                let allocatable = node.pointer(&format!("/status/allocatable/{resource}")).and_then(amount);
                allocatable.is_none_or(|allocatable| *wanted <= allocatable)
            })
    };
    (!nodes.is_empty() && !nodes.iter().any(fits)).then(|| {
        warning(
            pods.workload.clone(),
            format!("none of {} nodes is open, selected and large enough for one of its pods", nodes.len()),
            "its pods stay Pending until there is one: kubectl get nodes",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn started(spec: &Value) -> Started {
        let template = json!({"metadata": {"labels": {"app": "web", "team": "shop"}}, "spec": spec});
        Started { workload: "deploy/web".into(), namespace: "n".into(), template }
    }

    #[test]
    fn limits_are_compared_as_quantities() {
        let range = json!({"metadata": {"name": "small"}, "spec": {"limits": [
            {"type": "Pod", "max": {"cpu": "1m"}},
            {"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}, "min": {"cpu": "100m"}},
        ]}});
        let pods = started(&json!({"containers": [
            {"name": "a", "resources": {"limits": {"cpu": "1000m", "memory": "2Gi"}, "requests": {"cpu": "0.05"}}},
            {"name": "b"},
        ]}));
        let found: Vec<String> = beyond(&range, &pods).into_iter().map(|finding| finding.message).collect();
        assert_eq!(
            found,
            [
                "container a of deploy/web has 2Gi of memory in its limits, and the max is 1Gi",
                "container a of deploy/web has 0.05 of cpu in its requests, and the min is 100m"
            ]
        );
    }

    #[test]
    fn budgets_count_where_they_select_and_are_used_up() {
        let pods = started(&json!({}));
        for (labels, allowed, told) in [
            (json!({"app": "web"}), 0, true),
            (json!({"app": "web"}), 1, false),
            (json!({"app": "api"}), 0, false),
        ] {
            let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": labels}}, "status": {"disruptionsAllowed": allowed}});
            assert_eq!(no_disruption(&budget, &pods).is_some(), told, "{budget}");
        }
    }

    #[test]
    fn nodes_have_to_be_open_selected_and_large_enough() {
        let node = |cpu: &str, pool: &str, closed: bool| json!({"metadata": {"labels": {"pool": pool}}, "spec": {"unschedulable": closed}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi"}}});
        let nodes = [node("2", "a", false), node("8", "a", true), node("8", "b", false)];
        let pods = |cpu: &str, selector: Value| {
            started(
                &json!({"nodeSelector": selector, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}),
            )
        };
        for (cpu, selector, told) in [
            ("2", json!({}), false),
            ("4", json!({}), false),
            ("4", json!({"pool": "a"}), true),
            ("9", json!(null), true),
        ] {
            assert_eq!(too_large(&nodes, &pods(cpu, selector.clone())).is_some(), told, "{cpu} {selector}");
        }
        assert!(too_large(&[], &pods("9", json!({}))).is_none());
    }
}
