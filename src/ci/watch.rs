//! Looks at the workloads of a deploy while it runs, and answers when they will not become ready.
//!
//! Only workloads whose pod template is another than before the deploy count: what was broken already may be what the deploy is
//! about to mend.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::context::Context;
use crate::discover::cluster;
use crate::event::{DiagnosisCode, EventKind, Severity};
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::{Driver, Storage};
use crate::wait::{self, WaitEnd, WaitEvent, WaitOutcome, WaitRequest, WaitedWorkload};
use crate::workload::{WorkloadKind, WorkloadRef};

/// How often it is looked what the deploy has written.
const LOOK: Duration = Duration::from_secs(1);

/// The pod templates of workloads.
pub type Templates = BTreeMap<WorkloadRef, Value>;

/// The pod templates of a namespace's workloads.
pub async fn templates(context: &Context) -> Result<Templates, kube::Error> {
    let state = cluster::read(&context.client, &context.namespace, None).await?;
    let template = |object: &Value| object.pointer("/spec/template").cloned().unwrap_or_default();
    Ok(state
        .workloads
        .iter()
        .filter(|workload| workload.reference.kind != WorkloadKind::CronJob)
        .map(|workload| (workload.reference.clone(), template(&workload.object)))
        .collect())
}

/// What is watched.
pub struct Watch<'a> {
    /// The connection.
    pub context: &'a Context,
    /// Where Helm keeps its records.
    pub driver: Driver,
    /// The release.
    pub release: &'a str,
    /// Its newest revision before the deploy.
    pub before: Option<u64>,
    /// The pod templates before the deploy.
    pub templates: &'a Templates,
}

impl Watch<'_> {
    fn storage(&self) -> Storage {
        Storage::new(self.context.client.clone(), &self.context.namespace, self.driver)
    }

    /// The record that the deploy has written, if it has.
    pub async fn written(&self) -> Option<RecordMeta> {
        // What cannot be read now is read at the next look.
        let newest = self.storage().list(self.release).await.ok()?.into_iter().next()?;
        self.before.is_none_or(|before| newest.revision > before).then_some(newest)
    }

    /// Resolves when the workloads of the deploy will not become ready, with the reason.
    pub async fn until_doomed(&self) -> String {
        let mut known: Option<(u64, Vec<WorkloadRef>)> = None;
        let mut last = Vec::new();
        loop {
            sleep(LOOK).await;
            let Some(newest) = self.written().await else { continue };
            // A deploy that goes back by itself is not disturbed.
            if newest.status == Status::PendingRollback {
                continue;
            }
            if known.as_ref().is_none_or(|(revision, _)| *revision != newest.revision) {
                let Ok(stored) = self.storage().get(&newest).await else { continue };
                let manifest = Manifest::parse(stored.record.manifest(), &self.context.namespace);
                known = Some((newest.revision, manifest.workloads().into_iter().collect()));
            }
            let named = known.as_ref().map(|(_, named)| named.as_slice()).unwrap_or_default();
            let Some(changed) = self.changed(named).await else { continue };
            // While it still writes there is more to come.
            if changed.is_empty() || changed != last {
                last = changed;
                continue;
            }
            let outcome = self.wait(&changed).await;
            if outcome.end == WaitEnd::NotReady && self.changed(named).await.as_ref() == Some(&changed) {
                return reason(&outcome);
            }
        }
    }

    /// Those of the workloads that the deploy has written.
    async fn changed(&self, named: &[WorkloadRef]) -> Option<Vec<WorkloadRef>> {
        let now = templates(self.context).await.ok()?;
        Some(changed(self.templates, &now, named))
    }

    async fn wait(&self, workloads: &[WorkloadRef]) -> WaitOutcome {
        let context = self.context;
        let waited = |workload: &WorkloadRef| WaitedWorkload {
            workload: workload.clone(),
            replicas: None,
            generation: None,
        };
        let request = WaitRequest {
            workloads: workloads.iter().map(waited).collect(),
            // Whoever runs the deploy minds the time.
            deadline: None,
            started_at: context.now(),
            crash_rule: wait::CrashRule::default(),
            settle: Duration::ZERO,
        };
        let mut report = |event| match event {
            WaitEvent::Progress(progress) => context.emit(EventKind::Progress(progress)),
            WaitEvent::Diagnosis(object, diagnosis) => {
                context.emit(EventKind::Diagnosis { object, diagnosis });
            }
            WaitEvent::Notice(message) => context.warn(message),
        };
        wait::wait_until_ready(&context.client, &request, context.interrupt.cancelled(), &mut report).await
    }
}

/// Those of the named workloads that are there and have another template than before.
fn changed(before: &Templates, now: &Templates, named: &[WorkloadRef]) -> Vec<WorkloadRef> {
    let is_changed = |workload: &&WorkloadRef| {
        now.get(*workload).is_some_and(|template| before.get(*workload) != Some(template))
    };
    named.iter().filter(is_changed).cloned().collect()
}

/// The gravest reason of a wait, in one line.
fn reason(outcome: &WaitOutcome) -> String {
    let reasons: Vec<String> = outcome
        .workloads
        .iter()
        .filter_map(|workload| {
            let found = workload.diagnoses.iter().filter(|diagnosis| diagnosis.severity == Severity::Fatal);
            let found = found.min_by_key(|diagnosis| diagnosis.code == DiagnosisCode::ReadinessStuck)?;
            Some(format!("{} {}", workload.workload, found.code))
        })
        .collect();
    reasons.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_deploy_has_written_is_its_own() {
        let name = |name: &str| WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "n".into(),
            name: name.into(),
        };
        let templates = |templates: &[(&str, &str)]| -> Templates {
            templates.iter().map(|(workload, image)| (name(workload), json!({"image": image}))).collect()
        };
        let before = templates(&[("a", "1"), ("b", "1"), ("foreign", "1")]);
        let now = templates(&[("a", "2"), ("b", "1"), ("new", "2"), ("foreign", "2")]);
        let named = ["a", "b", "new", "to come"].map(name);
        assert_eq!(changed(&before, &now, &named), [name("a"), name("new")]);
    }
}
