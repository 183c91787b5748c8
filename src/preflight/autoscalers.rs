//! Whoever scales the workloads: does the number of pods that we write fit, and would a stopped workload be started. Pure.

use serde_json::Value;

use crate::discover::Snapshot;
use crate::discover::rollback::RollbackSnapshot;
use crate::discover::workload::Autoscaler;
use crate::event::{Check, Finding, FindingStatus};
use crate::plan::Plan;
use crate::plan::rollback::{Action, RollbackPlan};
use crate::plan::strategy::Strategy;
use crate::workload::WorkloadRef;

/// What will be done to a workload that somebody scales.
struct Scaled<'a> {
    workload: &'a WorkloadRef,
    autoscaler: &'a Autoscaler,
    /// The number of pods in the end; `None` where it is not written.
    after: Option<i64>,
    stopped: bool,
}

impl Scaled<'_> {
    fn is_keda(&self) -> bool {
        self.autoscaler.kind == "ScaledObject"
    }

    fn finding(&self, status: FindingStatus, message: String, hint: String) -> Finding {
        let Autoscaler { kind, name, .. } = self.autoscaler;
        Finding { check: Check::Autoscaler, subject: format!("{kind}/{name}"), status, message, hint }
    }

    /// The findings; one that all is well where there are none.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.restarts());
        findings.extend(self.held());
        findings.extend(self.bounds());
        findings.extend(self.limited());
        if findings.is_empty() {
            let Autoscaler { minimum, maximum, paused, .. } = self.autoscaler;
            let workload = self.workload;
            let message = if *paused {
                format!("it is paused, and leaves {workload} alone")
            } else {
                format!("it scales {workload} between {minimum} and {maximum} and does not interfere")
            };
            findings.push(self.finding(FindingStatus::Pass, message, String::new()));
        }
        findings
    }

    /// Whether it starts what we stop.
    fn restarts(&self) -> Option<Finding> {
        if !self.stopped || self.autoscaler.paused {
            return None;
        }
        let workload = self.workload;
        if self.is_keda() {
            let name = &self.autoscaler.name;
            let namespace = &workload.namespace;
            return Some(self.finding(
                FindingStatus::Fail,
                format!("KEDA would start {workload} again while it is stopped"),
                format!(
                    "kubectl annotate scaledobject {name} -n {namespace} autoscaling.keda.sh/paused=true first, use --strategy rolling, or {}",
                    super::owners::SKIP
                ),
            ));
        }
        // At a minimum of 0 it is not switched off by a workload at 0.
        (self.autoscaler.minimum == 0).then(|| {
            self.finding(
                FindingStatus::Warn,
                format!("its minimum is 0, so that it goes on working while {workload} is stopped, and may start it"),
                "use --strategy rolling, or set its minimum to 1 first".to_owned(),
            )
        })
    }

    /// Whether a pause holds the workload at another number than ours.
    fn held(&self) -> Option<Finding> {
        let (held, after) = (self.autoscaler.held?, self.after?);
        (i64::from(held) != after).then(|| {
            self.finding(
                FindingStatus::Warn,
                format!(
                    "a pause holds {} at {held}: KEDA takes the {after} that it gets back to {held}",
                    self.workload
                ),
                "take the annotation autoscaling.keda.sh/paused-replicas off when everything is back"
                    .to_owned(),
            )
        })
    }

    fn bounds(&self) -> Option<Finding> {
        let after = self.after.filter(|after| *after > 0 && !self.autoscaler.paused)?;
        let (minimum, maximum) = (i64::from(self.autoscaler.minimum), i64::from(self.autoscaler.maximum));
        let change = match after {
            after if after > maximum => format!("lowers that to its maximum, {maximum}"),
            after if after < minimum => format!("raises that to its minimum, {minimum}"),
            _ => return None,
        };
        let workload = self.workload;
        Some(self.finding(
            FindingStatus::Warn,
            format!("{workload} gets {after}, and it {change}"),
            format!("give a number within its bounds (--replicas {workload}=N), or change the bounds"),
        ))
    }

    fn limited(&self) -> Option<Finding> {
        self.autoscaler.limited.then(|| {
            let Autoscaler { name, maximum, .. } = self.autoscaler;
            let namespace = &self.workload.namespace;
            self.finding(
                FindingStatus::Warn,
                format!(
                    "it is at its maximum of {maximum} and wants more: {} may stay short of pods",
                    self.workload
                ),
                format!("kubectl patch hpa {name} -n {namespace} -p '{{\"spec\":{{\"maxReplicas\":N}}}}'"),
            )
        })
    }
}

/// The findings of an emergency.
pub fn of_plan(plan: &Plan, snapshot: &Snapshot) -> Vec<Finding> {
    let scaled = plan.workloads.iter().filter_map(|planned| {
        let workload = snapshot.workload(&planned.workload)?;
        let scaled = Scaled {
            workload: &planned.workload,
            autoscaler: workload.autoscaler.as_ref()?,
            after: planned.replicas.map(|replicas| replicas.after.into()),
            stopped: planned.strategy == Strategy::StopFirst,
        };
        Some(scaled.findings())
    });
    scaled.flatten().collect()
}

/// The findings of a rollback: nothing is stopped, and the bounds are those that the target gives.
pub fn of_rollback(plan: &RollbackPlan, snapshot: &RollbackSnapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in &plan.objects {
        let is_written = matches!(step.action, Action::Create | Action::Apply | Action::Replace);
        let Some(workload) = step.workload().filter(|_| is_written) else { continue };
        let found = snapshot.workload(&workload).and_then(|found| found.autoscaler.as_ref());
        let Some(autoscaler) = found.and_then(|found| after_rollback(found, &workload, snapshot)) else {
            continue;
        };
        let target = snapshot.objects.iter().find(|found| found.history.key == step.key);
        let rendered = target.and_then(|found| {
            found.history.target.as_ref()?.pointer("/spec/replicas").and_then(Value::as_i64)
        });
        let after = step.replicas.or(rendered);
        let scaled = Scaled { workload: &workload, autoscaler: &autoscaler, after, stopped: false };
        findings.extend(scaled.findings());
    }
    findings
}

/// The autoscaler as the rollback leaves it; `None` where it deletes it.
fn after_rollback(
    autoscaler: &Autoscaler,
    workload: &WorkloadRef,
    snapshot: &RollbackSnapshot,
) -> Option<Autoscaler> {
    let mut after = autoscaler.clone();
    let found = snapshot.objects.iter().find(|found| {
        let key = &found.history.key;
        key.kind == autoscaler.kind
            && key.name == autoscaler.name
            && key.namespace.as_deref() == Some(workload.namespace.as_str())
    });
    let Some(found) = found else { return Some(after) };
    let spec = found.history.target.as_ref()?.get("spec")?;
    let number =
        |name: &str| spec.get(name).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    let (minimum, maximum) = match autoscaler.kind {
        "ScaledObject" => (number("minReplicaCount"), number("maxReplicaCount")),
        _ => (number("minReplicas"), number("maxReplicas")),
    };
    after.minimum = minimum.unwrap_or(after.minimum);
    after.maximum = maximum.unwrap_or(after.maximum);
    after.limited &= after.maximum <= autoscaler.maximum;
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkloadKind;

    fn autoscaler(kind: &'static str, minimum: i32, maximum: i32) -> Autoscaler {
        Autoscaler { kind, name: "web".into(), minimum, maximum, paused: false, held: None, limited: false }
    }

    fn judged(autoscaler: &Autoscaler, after: Option<i64>, stopped: bool) -> Vec<(FindingStatus, String)> {
        let workload =
            WorkloadRef { kind: WorkloadKind::Deployment, namespace: "n".into(), name: "web".into() };
        let scaled = Scaled { workload: &workload, autoscaler, after, stopped };
        scaled.findings().into_iter().map(|finding| (finding.status, finding.message)).collect()
    }

    #[test]
    fn numbers_outside_of_the_bounds_are_told() {
        let hpa = autoscaler("HorizontalPodAutoscaler", 2, 5);
        for (after, status, words) in [
            (Some(2), FindingStatus::Pass, "between 2 and 5"),
            (Some(6), FindingStatus::Warn, "lowers that to its maximum, 5"),
            (Some(1), FindingStatus::Warn, "raises that to its minimum, 2"),
            // A workload at zero switches it off.
            (Some(0), FindingStatus::Pass, "between"),
            (None, FindingStatus::Pass, "between"),
        ] {
            let found = judged(&hpa, after, true);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].0 == status && found[0].1.contains(words), "{after:?}: {found:?}");
        }
        let limited = Autoscaler { limited: true, ..hpa };
        assert!(judged(&limited, Some(5), false)[0].1.contains("at its maximum of 5"));
        let to_zero = autoscaler("HorizontalPodAutoscaler", 0, 5);
        assert_eq!(judged(&to_zero, Some(2), true)[0].0, FindingStatus::Warn);
        assert_eq!(judged(&to_zero, Some(2), false)[0].0, FindingStatus::Pass);
    }

    #[test]
    fn keda_starts_what_is_stopped_unless_it_is_paused() {
        let keda = autoscaler("ScaledObject", 0, 100);
        assert_eq!(judged(&keda, Some(2), true)[0].0, FindingStatus::Fail);
        assert_eq!(judged(&keda, Some(2), false)[0].0, FindingStatus::Pass);
        let paused = Autoscaler { paused: true, ..keda.clone() };
        assert_eq!(judged(&paused, Some(2), true)[0].0, FindingStatus::Pass);
        let held = Autoscaler { paused: true, held: Some(0), ..keda };
        let found = judged(&held, Some(2), true);
        assert!(found[0].0 == FindingStatus::Warn && found[0].1.contains("at 0"), "{found:?}");
    }
}
