//! Waiting for what runs to its end: a Job or a bare pod, as hooks are. Serves the hooks of a rollback.
//!
//! The Job itself says when it has ended; its pods say why they do not even begin. Crashes are the Job's own business,
//! which has a limit for them: only what no further attempt changes ends the wait early.

mod outcome;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Error};
use serde_json::Value;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::diagnosis::{CrashRule, EventNote, FirstSeen, Observation, diagnose};
use super::logs::{self, ContainerLog};
use super::ownership::TargetReplicaSet;
use super::{WaitEvent, cancelled};
use crate::event::{Diagnosis, DiagnosisCode, ObjectReference, Progress, Severity};
use crate::workload::{WorkloadKind, WorkloadRef};

pub use outcome::RunKind;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often events are read while no pod has begun to run.
const LOOK_AT_EVENTS: Duration = Duration::from_secs(5);
/// Patience for one answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// An outage is told after this long.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(5);
/// A verdict of "this will never run" has to hold this long.
const VERDICT_PATIENCE: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Clone)]
pub struct Run {
    /// Where its kind is read.
    pub api: Api<DynamicObject>,
    /// Which kind it is.
    pub kind: RunKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a namesake that was made later is something else.
    pub uid: String,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Well.
    Succeeded,
    /// Badly, by its own account.
    Failed(String),
    /// It has not begun, and will not by waiting.
    Hopeless(Diagnosis),
    /// The time was up; with the gravest reason known.
    TimedOut(Option<Diagnosis>),
    /// The operator asked to stop waiting.
    Interrupted,
    /// It was deleted, and nothing says how it had ended.
    Deleted,
    /// The API server does not let us see it.
    Refused(String),
}

/// Waits until it has ended, at the latest until `deadline`. Trouble with the API server is waited out.
pub async fn wait_until_completed(
    client: &Client,
    run: &Run,
    deadline: Option<Instant>,
    mut cancel: Receiver<bool>,
    report: &mut (impl FnMut(WaitEvent) + ?Sized),
) -> RunEnd {
    let mut waiter = Waiter::new(client, run);
    let mut next_look = Instant::now();
    loop {
        let end = tokio::select! {
            biased;
            () = cancelled(&mut cancel) => return RunEnd::Interrupted,
            end = waiter.look_at(next_look, report) => end,
            () = super::until(deadline) => break,
        };
        if let Some(end) = end {
            return end;
        }
        next_look = Instant::now() + LOOK;
    }
    // What ended at the last moment has ended; what has not is asked why.
    tokio::select! {
        biased;
        () = cancelled(&mut cancel) => RunEnd::Interrupted,
        end = waiter.last_look(report) => end,
    }
}

/// The last lines of every container of it, from its newest pods; what cannot be had is left out.
pub async fn output(client: &Client, run: &Run, tail: i64) -> Vec<ContainerLog> {
    let pods = timeout(ANSWER_PATIENCE, pods(client, run)).await;
    let Ok(Ok(pods)) = pods else { return Vec::new() };
    logs::of_pods(client, &run.namespace, &pods, tail).await
}

/// Everything that a container of its newest pod has said, as it stands: for programs, not for people.
pub async fn text(client: &Client, run: &Run, container: &str) -> Result<String, Error> {
    let newest = pods(client, run).await?.pop().and_then(|pod| pod.metadata.name);
    let Some(pod) = newest else { return Ok(String::new()) };
    logs::text(client, &run.namespace, &pod, container).await
}

/// The pods that belong to it, oldest first.
async fn pods(client: &Client, run: &Run) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &run.namespace);
    let selector = match run.kind {
        RunKind::Job => ListParams::default().labels(&format!("job-name={}", run.name)),
        RunKind::Pod => ListParams::default().fields(&format!("metadata.name={}", run.name)),
    };
    let mut pods = api.list(&selector).await?.items;
    pods.retain(|pod| match run.kind {
        RunKind::Job => pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == run.uid),
        RunKind::Pod => pod.metadata.uid.as_deref() == Some(&run.uid),
    });
    pods.sort_by(|left, right| {
        let age = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        age(left).cmp(&age(right))
    });
    Ok(pods)
}

struct Waiter<'a> {
    client: &'a Client,
    run: &'a Run,
    reference: ObjectReference,
    /// What diagnoses are told about: hints name its namespace.
    stand_in: WorkloadRef,
    memory: FirstSeen,
    /// Time that we know about: outages do not count.
    known: Duration,
    last_answer: Option<Instant>,
    outage: Option<(Instant, bool)>,
    pods_are_refused: bool,
    events: Vec<EventNote>,
    events_read: Option<Instant>,
    told: HashMap<(DiagnosisCode, Option<String>), Severity>,
    progress: Option<Progress>,
    diagnoses: Vec<Diagnosis>,
    doomed_since: Option<Instant>,
}

impl<'a> Waiter<'a> {
    fn new(client: &'a Client, run: &'a Run) -> Self {
        Self {
            client,
            run,
            reference: ObjectReference {
                kind: run.kind.as_str().to_owned(),
                namespace: run.namespace.clone(),
                name: run.name.clone(),
            },
            stand_in: WorkloadRef {
                // A Job is what a CronJob makes: the rules find the pod template there.
                kind: WorkloadKind::CronJob,
                namespace: run.namespace.clone(),
                name: run.name.clone(),
            },
            memory: FirstSeen::default(),
            known: Duration::ZERO,
            last_answer: None,
            outage: None,
            pods_are_refused: false,
            events: Vec::new(),
            events_read: None,
            told: HashMap::new(),
            progress: None,
            diagnoses: Vec::new(),
            doomed_since: None,
        }
    }

    async fn look_at(
        &mut self,
        time: Instant,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) -> Option<RunEnd> {
        sleep_until(time).await;
        self.look(false, report).await
    }

    async fn last_look(&mut self, report: &mut (impl FnMut(WaitEvent) + ?Sized)) -> RunEnd {
        let end = timeout(ANSWER_PATIENCE, self.look(true, report)).await.ok().flatten();
        end.unwrap_or_else(|| RunEnd::TimedOut(self.diagnoses.first().cloned()))
    }

    async fn look(
        &mut self,
        timed_out: bool,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) -> Option<RunEnd> {
        let answer = timeout(ANSWER_PATIENCE, self.run.api.get_opt(&self.run.name)).await;
        let object = match answer {
            Ok(Ok(object)) => object,
            Ok(Err(Error::Api(status))) if is_final(status.code) => {
                return Some(RunEnd::Refused(status.message.clone()));
            }
            Ok(Err(error)) => return self.note_outage(&error.to_string(), report),
            Err(_) => return self.note_outage("no answer", report),
        };
        self.note_answer(report);
        let Some(object) = object.filter(|object| object.metadata.uid.as_deref() == Some(&self.run.uid))
        else {
            return Some(self.end_of_deleted().await);
        };
        let object = serde_json::to_value(object).unwrap_or_default();
        self.tell_progress(self.run.kind.progress(&self.reference, &object), report);
        if let Some(end) = self.run.kind.end(&object) {
            return Some(match end {
                Ok(()) => RunEnd::Succeeded,
                Err(reason) => RunEnd::Failed(reason),
            });
        }
        self.diagnose(&object, timed_out, report).await;
        let is_doomed = self.diagnoses.first().is_some_and(|worst| worst.severity == Severity::Fatal);
        if !is_doomed {
            self.doomed_since = None;
            return None;
        }
        let is_settled = self.doomed_since.get_or_insert_with(Instant::now).elapsed() >= VERDICT_PATIENCE;
        (is_settled && !timed_out).then(|| RunEnd::Hopeless(self.diagnoses[0].clone()))
    }

    fn note_answer(&mut self, report: &mut (impl FnMut(WaitEvent) + ?Sized)) {
        let now = Instant::now();
        if let Some(before) = self.last_answer {
            self.known += now - before;
        }
        self.last_answer = Some(now);
        if let Some((_, true)) = self.outage.take() {
            report(WaitEvent::Notice("the API server answers again".to_owned()));
        }
    }

    fn note_outage(
        &mut self,
        problem: &str,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) -> Option<RunEnd> {
        self.last_answer = None;
        let (since, is_told) = self.outage.get_or_insert_with(|| (Instant::now(), false));
        if !*is_told && since.elapsed() >= OUTAGE_PATIENCE {
            *is_told = true;
            let run = self.run;
            report(WaitEvent::Notice(format!(
                "{} {} cannot be read at the moment, which is waited out: {problem}",
                run.kind.as_str(),
                run.name
            )));
        }
        None
    }

    fn tell_progress(&mut self, progress: Progress, report: &mut (impl FnMut(WaitEvent) + ?Sized)) {
        if self.progress.as_ref() != Some(&progress) {
            self.progress = Some(progress.clone());
            report(WaitEvent::Progress(progress));
        }
    }

    /// A Job that is to be deleted when it has ended may be gone before we look. Its events stay longer.
    async fn end_of_deleted(&self) -> RunEnd {
        let events = timeout(ANSWER_PATIENCE, self.read_events(&self.run.uid)).await;
        let Ok(Ok(events)) = events else { return RunEnd::Deleted };
        let said = |reason: &str| events.iter().find(|event| event.reason == reason);
        if said("Completed").is_some() {
            return RunEnd::Succeeded;
        }
        match said("BackoffLimitExceeded").or_else(|| said("DeadlineExceeded")) {
            Some(event) => RunEnd::Failed(outcome::reason(&event.reason, &event.message)),
            None => RunEnd::Deleted,
        }
    }

    async fn read_events(&self, uid: &str) -> Result<Vec<EventNote>, Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.run.namespace);
        let selector = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        Ok(api.list(&selector).await?.items.iter().map(EventNote::from).collect())
    }

    async fn diagnose(
        &mut self,
        object: &Value,
        timed_out: bool,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) {
        if self.pods_are_refused {
            return;
        }
        let pods = match timeout(ANSWER_PATIENCE, pods(self.client, self.run)).await {
            Ok(Ok(pods)) => pods,
            Ok(Err(Error::Api(status))) if is_final(status.code) => {
                self.pods_are_refused = true;
                let message = format!(
                    "the pods of {} {} cannot be read, so that it is not known what they wait for: {}",
                    self.run.kind.as_str(),
                    self.run.name,
                    status.message
                );
                report(WaitEvent::Notice(message));
                return;
            }
            _ => return,
        };
        self.refresh_events(&pods).await;
        let pods: Vec<&Pod> = pods.iter().collect();
        let events: Vec<&EventNote> = self.events.iter().collect();
        let shaped = self.run.kind.as_cron_job(object);
        let observation = Observation {
            workload: &self.stand_in,
            object: &shaped,
            pods: &pods,
            replica_set: TargetReplicaSet::Unreadable,
            events: &events,
            elapsed: self.known,
            timed_out,
            crash_rule: CrashRule::All,
        };
        self.diagnoses = outcome::for_a_run(diagnose(&observation, &mut self.memory), self.run);
        for diagnosis in &self.diagnoses {
            let key = (diagnosis.code, diagnosis.container.clone());
            if self.told.get(&key).is_none_or(|told| *told < diagnosis.severity) {
                self.told.insert(key, diagnosis.severity);
                // Now, because the pods of a Job that gives up may be gone with what they said.
                let logs = logs::last_words(self.client, &self.run.namespace, diagnosis).await;
                let diagnosis = Diagnosis { logs, ..diagnosis.clone() };
                report(WaitEvent::Diagnosis(self.reference.clone(), diagnosis));
            }
        }
    }

    /// Events are read only while nothing runs, about the newest pod, or the Job where it has none.
    async fn refresh_events(&mut self, pods: &[Pod]) {
        let is_due = self.events_read.is_none_or(|read| read.elapsed() >= LOOK_AT_EVENTS);
        let subject = match pods.last() {
            Some(pod) if outcome::has_begun(pod) => return,
            Some(pod) => pod.metadata.uid.clone().unwrap_or_default(),
            None => self.run.uid.clone(),
        };
        if is_due && self.known >= LOOK_AT_EVENTS {
            self.events_read = Some(Instant::now());
            if let Ok(Ok(events)) = timeout(ANSWER_PATIENCE, self.read_events(&subject)).await {
                self.events = events;
            }
        }
    }
}

/// Whether trying again cannot help.
fn is_final(code: u16) -> bool {
    (400..500).contains(&code) && !matches!(code, 408 | 409 | 410 | 429)
}
