//! Adds up events: phase durations, the first write, diagnoses by object, warnings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::PhaseTiming;
use crate::event::{Diagnosis, Event, EventKind, Finding, ObjectReference, StageStatus};

/// What the events of an operation add up to.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    /// When the operation started.
    pub started_at: Option<Timestamp>,
    /// When the first write was answered.
    pub first_write_at: Option<Timestamp>,
    /// Phases in the order in which they ended.
    pub phases: Vec<PhaseTiming>,
    /// The last state of each workload's diagnoses, by kind and name.
    pub diagnoses: BTreeMap<(String, String), Vec<Diagnosis>>,
    /// Results of the checks, in order.
    pub preflight: Vec<Finding>,
    /// Warnings, in order.
    pub warnings: Vec<String>,
    /// Whether anything was written.
    pub changed: bool,
    /// Whether anything but Helm's records was written.
    pub changed_workloads: bool,
}

impl Collector {
    /// Adds one event.
    pub fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::OperationStarted { .. } => self.started_at = Some(event.ts),
            EventKind::Stage { stage, status, elapsed_ms, .. }
                if !matches!(status, StageStatus::Started | StageStatus::Skipped) =>
            {
                self.phases.push(PhaseTiming { name: *stage, ms: *elapsed_ms });
            }
            EventKind::Change { object, .. } => {
                self.changed_workloads |= object.kind != "Release";
                self.first_write_at.get_or_insert(event.ts);
                self.changed = true;
            }
            EventKind::Diagnosis { object, diagnosis } => {
                let known = self.diagnoses.entry(key(object)).or_default();
                let same = |old: &Diagnosis| {
                    old.code == diagnosis.code
                        && old.pod == diagnosis.pod
                        && old.container == diagnosis.container
                };
                match known.iter_mut().find(|old| same(old)) {
                    Some(old) => old.clone_from(diagnosis),
                    None => known.push(diagnosis.clone()),
                }
            }
            EventKind::Preflight(finding) => self.preflight.push(finding.clone()),
            EventKind::Warning { message } => self.warnings.push(message.clone()),
            _ => {}
        }
    }

    /// Forgets every diagnosis and answers them by object: what comes after belongs to something else.
    pub fn take_diagnoses(&mut self) -> Vec<((String, String), Vec<Diagnosis>)> {
        std::mem::take(&mut self.diagnoses).into_iter().collect()
    }

    /// The diagnoses of one object, fatal ones first.
    pub fn diagnoses_of(&self, object: &ObjectReference) -> Vec<Diagnosis> {
        let mut diagnoses = self.diagnoses.get(&key(object)).cloned().unwrap_or_default();
        diagnoses.sort_by_key(|diagnosis| std::cmp::Reverse(diagnosis.severity));
        diagnoses
    }
}

fn key(object: &ObjectReference) -> (String, String) {
    (object.kind.clone(), object.name.clone())
}
