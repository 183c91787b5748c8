//! Looks at the workloads of a deploy while it runs, and answers when they will not become ready.
//!
//! Only workloads whose pod template is another than before the deploy count: what was broken already may be what the deploy is
//! about to mend.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::context::Context;
use crate::discover::cluster;
use crate::event::{DiagnosisCode, EventKind, Progress, Severity};
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::{Driver, Storage};
use crate::wait::{self, WaitEnd, WaitEvent, WaitOutcome, WaitRequest, WaitedWorkload, WorkloadOutcome};
use crate::workload::{WorkloadKind, WorkloadRef};

/// How often it is looked what the deploy has written.
const LOOK: Duration = Duration::from_secs(1);
/// The same once everything was ready: something may still break while hooks run.
const LATER_LOOK: Duration = Duration::from_secs(5);

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
        let mut pause = LOOK;
        let mut said = Said::default();
        let mut crashes = Crashes::default();
        loop {
            sleep(pause).await;
            pause = LOOK;
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
            let outcome = self.wait(&changed, &mut said).await;
            if outcome.end == WaitEnd::Ready {
                pause = LATER_LOOK;
            }
            if outcome.end == WaitEnd::NotReady
                && self.changed(named).await.as_ref() == Some(&changed)
                && crashes.leave_no_hope(&outcome)
            {
                return reason(&outcome);
            }
        }
    }

    /// Those of the workloads that the deploy has written.
    async fn changed(&self, named: &[WorkloadRef]) -> Option<Vec<WorkloadRef>> {
        let now = templates(self.context).await.ok()?;
        Some(changed(self.templates, &now, named))
    }

    async fn wait(&self, workloads: &[WorkloadRef], said: &mut Said) -> WaitOutcome {
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
        let mut report = |event| {
            if let Some(event) = said.news(event) {
                match event {
                    WaitEvent::Progress(progress) => context.emit(EventKind::Progress(progress)),
                    WaitEvent::Diagnosis(object, diagnosis) => {
                        context.emit(EventKind::Diagnosis { object, diagnosis });
                    }
                    WaitEvent::Notice(message) => context.warn(message),
                }
            }
        };
        wait::wait_until_ready(&context.client, &request, context.interrupt.cancelled(), &mut report).await
    }
}

/// What was said: one wait follows upon another, and nobody wants to read the same again.
#[derive(Default)]
struct Said {
    progress: Vec<Progress>,
    diagnoses: HashMap<(String, String, DiagnosisCode, Option<String>), Severity>,
}

impl Said {
    fn news(&mut self, event: WaitEvent) -> Option<WaitEvent> {
        match &event {
            WaitEvent::Progress(progress) => {
                if self.progress.contains(progress) {
                    return None;
                }
                self.progress.retain(|old| old.object != progress.object);
                self.progress.push(progress.clone());
            }
            WaitEvent::Diagnosis(object, diagnosis) => {
                let key =
                    (object.kind.clone(), object.name.clone(), diagnosis.code, diagnosis.container.clone());
                let old = self.diagnoses.insert(key, diagnosis.severity);
                if old.is_some_and(|old| old >= diagnosis.severity) {
                    return None;
                }
            }
            WaitEvent::Notice(_) => {}
        }
        Some(event)
    }
}

/// How often pods had crashed when it was first said that they will not become ready. What crashes at start because something
/// else is not there yet gets another attempt before a deploy is stopped for it.
#[derive(Default)]
struct Crashes(BTreeMap<WorkloadRef, i32>);

impl Crashes {
    /// Whether none of the workloads that are not ready can be hoped for.
    fn leave_no_hope(&mut self, outcome: &WaitOutcome) -> bool {
        let unready = outcome.workloads.iter().filter(|workload| !workload.progress.done);
        // Each is looked at, so that each has its number.
        let hopeless: Vec<bool> = unready.map(|workload| self.is_hopeless(workload)).collect();
        !hopeless.is_empty() && !hopeless.contains(&false)
    }

    fn is_hopeless(&mut self, outcome: &WorkloadOutcome) -> bool {
        let is_crash = |code| {
            matches!(code, DiagnosisCode::CrashLoop | DiagnosisCode::OomKilled | DiagnosisCode::InitFailed)
        };
        let fatal = || outcome.diagnoses.iter().filter(|found| found.severity == Severity::Fatal);
        if fatal().any(|found| !is_crash(found.code)) {
            return true;
        }
        let Some(restarts) = fatal().map(|found| found.restarts).max() else { return false };
        let first = *self.0.entry(outcome.workload.clone()).or_insert(restarts);
        restarts > first
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
    use crate::event::Diagnosis;

    fn unready(name: &str, code: DiagnosisCode, restarts: i32) -> WorkloadOutcome {
        let workload =
            WorkloadRef { kind: WorkloadKind::Deployment, namespace: "n".into(), name: name.into() };
        let progress =
            Progress { object: (&workload).into(), ready: 0, desired: 1, done: false, state: String::new() };
        let diagnosis = Diagnosis {
            code,
            severity: Severity::Fatal,
            pod: None,
            container: None,
            message: String::new(),
            exit_code: None,
            restarts,
            logs: Vec::new(),
            events: Vec::new(),
            hint: String::new(),
        };
        WorkloadOutcome { workload, progress, diagnoses: vec![diagnosis] }
    }

    #[test]
    fn what_crashes_gets_another_attempt_and_what_cannot_heal_does_not() {
        use DiagnosisCode::{CrashLoop, ImageNotFound};
        let mut crashes = Crashes::default();
        let mut say = |workloads: Vec<WorkloadOutcome>| {
            crashes.leave_no_hope(&WaitOutcome { end: WaitEnd::NotReady, workloads })
        };
        assert!(!say(vec![unready("a", CrashLoop, 1)]), "the first sight");
        assert!(!say(vec![unready("a", CrashLoop, 1)]), "still waiting for its next attempt");
        assert!(say(vec![unready("a", CrashLoop, 2)]), "crashed again");
        assert!(say(vec![unready("b", ImageNotFound, 0)]));
        assert!(!say(vec![unready("b", ImageNotFound, 0), unready("c", CrashLoop, 3)]));
        assert!(say(vec![unready("b", ImageNotFound, 0), unready("c", CrashLoop, 4)]));
        assert!(!say(Vec::new()));
    }

    #[test]
    fn nothing_is_said_twice() {
        let mut said = Said::default();
        let found = unready("a", DiagnosisCode::CrashLoop, 1);
        let mut say = |severity| {
            let diagnosis = Diagnosis { severity, ..found.diagnoses[0].clone() };
            said.news(WaitEvent::Diagnosis(found.progress.object.clone(), diagnosis)).is_some()
        };
        let answers = [Severity::Warning, Severity::Warning, Severity::Fatal, Severity::Fatal].map(&mut say);
        assert_eq!(answers, [true, false, true, false]);
        let progress = |ready| WaitEvent::Progress(Progress { ready, ..found.progress.clone() });
        let answers = [0, 0, 1, 0].map(|ready| said.news(progress(ready)).is_some());
        assert_eq!(answers, [true, false, true, true]);
    }

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
