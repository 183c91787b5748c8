//! What the server says that a plan will make of each object, and what follows: differences for people, drift that is
//! repaired and drift that stays, workloads that need a restart. Pure: the answers were asked for elsewhere.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::objects::ObjectKey;
use super::{Action, ObjectStep, Restart, RollbackPlan, workload_ref};
use crate::discover::rollback::RollbackSnapshot;
use crate::discover::workload::REPLICAS_BEFORE;
use crate::execute::managed_fields;
use crate::plan::diff::{self, FieldChange};
use crate::workload::WorkloadKind;

/// Annotation of a pod template that a restart sets, as `kubectl rollout restart` does.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Shown in place of the time at which something will be done.
const NOW: &str = "(now)";

/// What the server says about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The object as it will be.
    After(Value),
    /// It refuses.
    Refused(String),
    /// It could not be asked.
    Unknown(String),
}

/// The answers for a plan's objects that are written.
#[derive(Debug, Clone, Default)]
pub struct Forecast {
    /// By object.
    pub answers: Vec<(ObjectKey, Answer)>,
}

impl Forecast {
    /// The object as it will be, where the server said so.
    pub fn after(&self, key: &ObjectKey) -> Option<&Value> {
        self.answers.iter().find(|(found, _)| found == key).and_then(|(_, answer)| match answer {
            Answer::After(after) => Some(after),
            Answer::Refused(_) | Answer::Unknown(_) => None,
        })
    }
}

/// One object against what it will be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDiff {
    /// Which.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// What happens to it.
    pub change: ObjectChange,
    /// Why it stays, or why the server refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The fields that will be different.
    pub fields: Vec<FieldChange>,
    /// Fields that somebody else set and that stay: `kubectl-set (limits.memory)`.
    pub stays: Vec<String>,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectChange {
    /// It will be made.
    Created,
    /// Fields of it will be different.
    Changed,
    /// Nothing of it will be different.
    Unchanged,
    /// It will be gone.
    Deleted,
    /// It stays although the target does not have it.
    Kept,
    /// The server refuses the change.
    Refused,
    /// What will become of it is not known.
    Unknown,
}

/// The differences, in the plan's order.
pub fn differences(plan: &RollbackPlan, snapshot: &RollbackSnapshot, forecast: &Forecast) -> Vec<ObjectDiff> {
    plan.objects
        .iter()
        .map(|step| {
            let found = snapshot.objects.iter().find(|found| found.history.key == step.key);
            let live = found.and_then(|found| found.live.as_ref());
            let mut diff = ObjectDiff {
                key: step.key.clone(),
                change: ObjectChange::Unknown,
                why: step.why.clone(),
                fields: Vec::new(),
                stays: Vec::new(),
            };
            match step.action {
                Action::Delete => diff.change = ObjectChange::Deleted,
                Action::Keep => diff.change = ObjectChange::Kept,
                Action::Create | Action::Apply | Action::Replace => {
                    let answer = forecast.answers.iter().find(|(key, _)| *key == step.key);
                    match (answer.map(|(_, answer)| answer), live) {
                        (Some(Answer::After(_)) | None, None) => diff.change = ObjectChange::Created,
                        (Some(Answer::After(after)), Some(live)) => {
                            let current = found.and_then(|found| found.history.current.as_ref());
                            let after = in_the_end(plan, step, after);
                            diff.fields = diff::fields(&step.key.kind, live, &after, current);
                            diff.change = if diff.fields.is_empty() {
                                ObjectChange::Unchanged
                            } else {
                                ObjectChange::Changed
                            };
                            let target = found.and_then(|found| found.history.target.as_ref());
                            diff.stays =
                                managed_fields::foreign_owners(live, target, step.replicas.is_some());
                        }
                        (Some(Answer::Refused(why)), _) => {
                            diff.change = ObjectChange::Refused;
                            diff.why = Some(why.clone());
                        }
                        (Some(Answer::Unknown(why)), _) => diff.why = Some(why.clone()),
                        (None, Some(_)) => {}
                    }
                }
            }
            diff
        })
        .collect()
}

/// An object after everything that is done to it, beyond the write that the server was asked about.
fn in_the_end(plan: &RollbackPlan, step: &ObjectStep, after: &Value) -> Value {
    let mut after = after.clone();
    let annotations = after.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let (true, Some(annotations)) = (step.forget, annotations) {
        annotations.remove(REPLICAS_BEFORE);
    }
    let workload = step.workload();
    let is_restarted = |restart: &Restart| restart.planned && Some(&restart.workload) == workload.as_ref();
    if plan.restarts.iter().any(is_restarted) {
        after["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = Value::from(NOW);
    }
    after
}

/// Workloads whose pods would keep the old contents of a ConfigMap or Secret: their template stays, and what it refers
/// to changes.
pub fn restarts(
    plan: &RollbackPlan,
    snapshot: &RollbackSnapshot,
    forecast: &Forecast,
    planned: bool,
) -> Vec<Restart> {
    let changed: BTreeSet<&ObjectKey> = plan
        .objects
        .iter()
        .filter(|step| step.key.group.is_empty() && matches!(step.key.kind.as_str(), "ConfigMap" | "Secret"))
        .filter(|step| {
            let live = live_of(snapshot, &step.key);
            let contents = |object: Option<&Value>| {
                object.map(|object| (object["data"].clone(), object["binaryData"].clone()))
            };
            match (live, forecast.after(&step.key)) {
                (Some(live), Some(after)) => contents(Some(live)) != contents(Some(after)),
                _ => false,
            }
        })
        .map(|step| &step.key)
        .collect();
    plan.objects
        .iter()
        .filter(|step| matches!(step.action, Action::Apply | Action::Replace))
        .filter_map(|step| {
            let workload = workload_ref(&step.key).filter(|found| found.kind != WorkloadKind::CronJob)?;
            let pointer = workload.kind.template_pointer();
            let before = live_of(snapshot, &step.key)?.pointer(pointer)?;
            let after = forecast.after(&step.key)?.pointer(pointer)?;
            if before != after {
                return None;
            }
            let referred = references(&after["spec"]);
            let because: Vec<String> = changed
                .iter()
                .filter(|key| key.namespace.as_deref() == Some(workload.namespace.as_str()))
                .filter(|key| referred.contains(&(key.kind.as_str(), key.name.as_str())))
                .map(ToString::to_string)
                .collect();
            (!because.is_empty()).then_some(Restart { workload, because, planned })
        })
        .collect()
}

fn live_of<'a>(snapshot: &'a RollbackSnapshot, key: &ObjectKey) -> Option<&'a Value> {
    snapshot.objects.iter().find(|found| found.history.key == *key)?.live.as_ref()
}

/// The ConfigMaps and Secrets that a pod's specification refers to, as kind and name.
fn references(pod_spec: &Value) -> BTreeSet<(&'static str, &str)> {
    let mut found = BTreeSet::new();
    collect_references(pod_spec, &mut found);
    found
}

fn collect_references<'a>(value: &'a Value, found: &mut BTreeSet<(&'static str, &'a str)>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                let kind = match key.as_str() {
                    "configMapRef" | "configMapKeyRef" | "configMap" => "ConfigMap",
                    "secretRef" | "secretKeyRef" | "secret" => "Secret",
                    _ => {
                        collect_references(below, found);
                        continue;
                    }
                };
                let name = below.get("name").or_else(|| below.get("secretName")).and_then(Value::as_str);
                found.extend(name.map(|name| (kind, name)));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}
