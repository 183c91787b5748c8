//! What a write to a workload changes, for whoever listens. Pure.

use serde_json::{Value, json};

use crate::plan::WorkloadPlan;
use crate::plan::strategy::Strategy;

/// What a write changes, for the event.
pub(super) struct Change {
    /// The fields, in words.
    pub fields: Vec<String>,
    /// Their values before.
    pub before: Value,
    /// Their values after.
    pub after: Value,
}

impl Change {
    /// Of the write that stops.
    pub fn stop(plan: &WorkloadPlan) -> Self {
        match plan.replicas {
            Some(replicas) => Self {
                fields: vec!["spec.replicas".to_owned()],
                before: json!({"replicas": replicas.live}),
                after: json!({"replicas": 0}),
            },
            None => Self {
                fields: vec!["spec.suspend".to_owned()],
                before: Value::Null,
                after: json!({"suspend": true}),
            },
        }
    }

    /// Of the write that starts, with or without new images.
    pub fn start(plan: &WorkloadPlan, images: bool) -> Self {
        let mut fields = Vec::new();
        let (mut before, mut after) = (json!({}), json!({}));
        if images {
            for change in &plan.containers {
                fields.push(format!("image of {}", change.name));
                before[&change.name] = json!(change.from);
                after[&change.name] = json!(change.to.to_string());
            }
        }
        if let Some(replicas) = plan
            .replicas
            .filter(|replicas| plan.strategy == Strategy::StopFirst || replicas.live != replicas.after)
        {
            fields.push("spec.replicas".to_owned());
            after["replicas"] = json!(replicas.after);
        }
        Self { fields, before, after }
    }
}
