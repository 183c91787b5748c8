//! Waits until workloads are ready, and says why they are not, from the first second on.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use kube::Client;
use serde_json::Value;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::diagnosis::{FirstSeen, Observation, diagnose};
use super::logs::last_words;
use super::readiness::{self, Readiness};
use super::stability::Stability;
use super::watch::Watched;
use super::{
    WaitEnd, WaitEvent, WaitOutcome, WaitRequest, WaitedWorkload, WorkloadOutcome, cancelled, until,
};
use crate::event::{Diagnosis, DiagnosisCode, ObjectReference, Progress, Severity};

/// Guards that count seconds are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Changes come in bursts; they are looked at together.
const BURST: Duration = Duration::from_millis(100);
/// A verdict of "none of these will become ready" has to hold this long.
const VERDICT_PATIENCE: Duration = Duration::from_secs(2);
/// The fresh read at the end, and the collection of log lines, may take this long.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Waits for every workload of the request. What happens meanwhile goes to `report`. Trouble with the API server
/// is waited out and reported as a notice: it never ends the wait.
///
/// `cancel` ends it when it becomes true; a dropped sender does not.
pub async fn wait_until_ready(
    client: &Client,
    request: &WaitRequest,
    mut cancel: Receiver<bool>,
    report: &mut (impl FnMut(WaitEvent) + ?Sized),
) -> WaitOutcome {
    let Some(first) = request.workloads.first() else {
        return WaitOutcome { end: WaitEnd::Ready, workloads: Vec::new() };
    };
    let references: Vec<_> = request.workloads.iter().map(|waited| waited.workload.clone()).collect();
    let namespace = first.workload.namespace.clone();
    let mut waiter = Waiter {
        client,
        request,
        watched: Watched::new(client, &namespace, &references, request.started_at),
        namespace,
        begun: Instant::now(),
        tracks: request.workloads.iter().map(Track::new).collect(),
        logs: FuturesUnordered::new(),
        doomed_since: None,
        ready_since: None,
    };
    let end = waiter.run(&mut cancel, report).await;
    waiter.finish(end, report).await
}

struct Waiter<'a> {
    client: &'a Client,
    request: &'a WaitRequest,
    watched: Watched,
    namespace: String,
    begun: Instant,
    tracks: Vec<Track>,
    logs: FuturesUnordered<BoxFuture<'static, (usize, Diagnosis)>>,
    /// Since when every unfinished workload has a fatal diagnosis.
    doomed_since: Option<Instant>,
    /// Since when every workload is ready.
    ready_since: Option<Instant>,
}

/// What is known about one workload.
struct Track {
    waited: WaitedWorkload,
    reference: ObjectReference,
    memory: FirstSeen,
    stability: Stability,
    progress: Progress,
    is_reported: bool,
    diagnoses: Vec<Diagnosis>,
    told: HashMap<(DiagnosisCode, Option<String>), Severity>,
    logs: HashMap<(String, String), Vec<String>>,
}

impl Track {
    fn new(waited: &WaitedWorkload) -> Self {
        let reference = ObjectReference::from(&waited.workload);
        Self {
            waited: waited.clone(),
            progress: Progress {
                object: reference.clone(),
                ready: 0,
                desired: waited.replicas.unwrap_or(0),
                done: false,
                state: "not read yet".into(),
            },
            reference,
            memory: FirstSeen::default(),
            stability: Stability::default(),
            is_reported: false,
            diagnoses: Vec::new(),
            told: HashMap::new(),
            logs: HashMap::new(),
        }
    }

    /// The readiness of the object, with what only the request knows: an object older than our write, and a zero
    /// that is not ours.
    fn readiness(&self, object: &Value) -> Readiness {
        let mut readiness = readiness::of(self.waited.workload.kind.as_str(), object);
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let wanted = self.waited.replicas.unwrap_or(0);
        let is_zero = self.waited.workload.kind.has_replicas() && readiness.desired == 0;
        if self.waited.generation.is_some_and(|written| generation.unwrap_or(0) < written) {
            readiness.done = false;
            readiness.state = "our change is not visible yet".into();
        } else if is_zero && wanted > 0 {
            readiness.done = false;
            readiness.desired = wanted;
            readiness.state = format!("scaled to 0, {wanted} expected");
        }
        readiness
    }

    fn is_doomed(&self) -> bool {
        self.diagnoses.iter().any(|diagnosis| diagnosis.severity == Severity::Fatal)
    }

    /// Whether this diagnosis has to be told: for the first time, or graver than before.
    fn is_news(&mut self, diagnosis: &Diagnosis) -> bool {
        let key = (diagnosis.code, diagnosis.container.clone());
        match self.told.get(&key) {
            Some(told) if *told >= diagnosis.severity => false,
            _ => {
                self.told.insert(key, diagnosis.severity);
                true
            }
        }
    }

    fn log_key(diagnosis: &Diagnosis) -> Option<(String, String)> {
        Some((diagnosis.pod.clone()?, diagnosis.container.clone()?))
    }
}

impl Waiter<'_> {
    async fn run(
        &mut self,
        cancel: &mut Receiver<bool>,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) -> WaitEnd {
        let mut next_look = Instant::now() + BURST;
        let mut last_look = Instant::now();
        loop {
            let deadline = self.request.deadline;
            tokio::select! {
                biased;
                () = cancelled(cancel) => return WaitEnd::Interrupted,
                () = until(deadline) => return self.last_verdict(report),
                Some((index, diagnosis)) = self.logs.next() => {
                    self.tell(index, diagnosis, report);
                    continue;
                }
                () = sleep_until(next_look) => {}
                () = self.watched.changed() => {
                    next_look = next_look.min(last_look + BURST);
                    continue;
                }
            }
            self.look(false, report);
            last_look = Instant::now();
            next_look = last_look + LOOK;
            if self.tracks.iter().all(|track| track.progress.done) {
                let ready_since = *self.ready_since.get_or_insert(last_look);
                if last_look < ready_since + self.request.settle {
                    next_look = next_look.min(ready_since + self.request.settle);
                    continue;
                }
                tokio::select! {
                    biased;
                    () = cancelled(cancel) => return WaitEnd::Interrupted,
                    confirmed = self.confirm(report) => if confirmed {
                        return WaitEnd::Ready;
                    }
                }
                continue;
            }
            self.ready_since = None;
            if self.is_doomed() {
                return WaitEnd::NotReady;
            }
        }
    }

    /// Whether every unfinished workload has been without hope for a while. As long as one may still become
    /// ready, the wait goes on: the other services should not suffer.
    fn is_doomed(&mut self) -> bool {
        let is_doomed = self.tracks.iter().all(|track| track.progress.done || track.is_doomed());
        if !is_doomed {
            self.doomed_since = None;
            return false;
        }
        self.doomed_since.get_or_insert_with(Instant::now).elapsed() >= VERDICT_PATIENCE
            && self.logs.is_empty()
    }

    /// Reads the workloads once more, past the watch, and looks again.
    async fn confirm(&mut self, report: &mut (impl FnMut(WaitEvent) + ?Sized)) -> bool {
        match timeout(LAST_LOOK, self.watched.read_again()).await {
            Ok(Ok(())) => {
                self.look(false, report);
                self.tracks.iter().all(|track| track.progress.done)
            }
            Ok(Err(message)) => {
                report(WaitEvent::Notice(format!(
                    "all workloads look ready, which cannot be confirmed yet: {message}"
                )));
                false
            }
            Err(_) => false,
        }
    }

    fn last_verdict(&mut self, report: &mut (impl FnMut(WaitEvent) + ?Sized)) -> WaitEnd {
        self.look(true, report);
        let cause_is_known = self
            .tracks
            .iter()
            .flat_map(|track| &track.diagnoses)
            .any(|diagnosis| diagnosis.code != DiagnosisCode::ReadinessStuck);
        if cause_is_known { WaitEnd::NotReady } else { WaitEnd::TimedOut }
    }

    fn look(&mut self, timed_out: bool, report: &mut (impl FnMut(WaitEvent) + ?Sized)) {
        for notice in self.watched.notices() {
            report(WaitEvent::Notice(notice));
        }
        // Guards count only the time that we know about.
        let elapsed = self.watched.known_until().saturating_duration_since(self.begun);
        for index in 0..self.tracks.len() {
            let news = self.look_at(index, elapsed, timed_out, report);
            for diagnosis in news {
                if diagnosis.severity == Severity::Warning || timed_out {
                    self.tell(index, diagnosis, report);
                    continue;
                }
                let (client, namespace) = (self.client.clone(), self.namespace.clone());
                self.logs.push(
                    async move {
                        let logs = last_words(&client, &namespace, &diagnosis).await;
                        (index, Diagnosis { logs, ..diagnosis })
                    }
                    .boxed(),
                );
            }
        }
    }

    /// Looks at one workload; returns the diagnoses that have not been told yet.
    fn look_at(
        &mut self,
        index: usize,
        elapsed: Duration,
        timed_out: bool,
        report: &mut (impl FnMut(WaitEvent) + ?Sized),
    ) -> Vec<Diagnosis> {
        let track = &mut self.tracks[index];
        let workload = &track.waited.workload;
        let Some(object) = self.watched.workload(workload) else {
            return Vec::new();
        };
        let mut readiness = track.readiness(object);
        let pods = self.watched.pods_of(workload);
        let events = self.watched.events_of(workload);
        let observation = Observation {
            workload,
            object,
            pods: &pods,
            replica_set: self.watched.replica_set_of(workload),
            events: &events,
            elapsed,
            timed_out,
            crash_rule: self.request.crash_rule,
        };
        if let Some(state) = track.stability.holds_back(&observation, readiness.done) {
            readiness.done = false;
            readiness.state = state;
        }
        track.diagnoses = if readiness.done { Vec::new() } else { diagnose(&observation, &mut track.memory) };
        if !readiness.done
            && let Some(state) = super::stability::state_of_pods(&observation, &track.diagnoses)
        {
            readiness.state = state;
        }
        let progress = Progress {
            object: track.reference.clone(),
            ready: readiness.ready,
            desired: readiness.desired,
            done: readiness.done,
            state: readiness.state,
        };
        if !track.is_reported || progress != track.progress {
            track.is_reported = true;
            track.progress = progress.clone();
            report(WaitEvent::Progress(progress));
        }
        let diagnoses = track.diagnoses.clone();
        diagnoses.into_iter().filter(|diagnosis| track.is_news(diagnosis)).collect()
    }

    fn tell(&mut self, index: usize, diagnosis: Diagnosis, report: &mut (impl FnMut(WaitEvent) + ?Sized)) {
        let track = &mut self.tracks[index];
        if let Some(key) = Track::log_key(&diagnosis)
            && !diagnosis.logs.is_empty()
        {
            track.logs.insert(key, diagnosis.logs.clone());
        }
        report(WaitEvent::Diagnosis(track.reference.clone(), diagnosis));
    }

    /// The outcome, with log lines for every diagnosis that has none yet.
    async fn finish(mut self, end: WaitEnd, report: &mut (impl FnMut(WaitEvent) + ?Sized)) -> WaitOutcome {
        if end != WaitEnd::Interrupted {
            let pending = std::mem::take(&mut self.logs).collect::<Vec<_>>();
            for (index, diagnosis) in timeout(LAST_LOOK, pending).await.unwrap_or_default() {
                self.tell(index, diagnosis, report);
            }
        }
        let (client, namespace) = (self.client, &self.namespace);
        let outcomes = self.tracks.into_iter().map(|track| async move {
            let mut diagnoses = track.diagnoses;
            for diagnosis in &mut diagnoses {
                diagnosis.logs = match Track::log_key(diagnosis).and_then(|key| track.logs.get(&key)) {
                    Some(logs) => logs.clone(),
                    None if end == WaitEnd::Interrupted => Vec::new(),
                    None => last_words(client, namespace, diagnosis).await,
                };
            }
            WorkloadOutcome { workload: track.waited.workload, progress: track.progress, diagnoses }
        });
        WaitOutcome { end, workloads: join_all(outcomes).await }
    }
}
