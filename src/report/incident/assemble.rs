//! From a journal to its report.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::told::{Told, read};
use super::{
    ChangeTold, DiagnosisTold, Direction, Durations, JobTold, PhaseTold, RECOVERY_FROM_DEPLOY,
    RECOVERY_FROM_START, Replicas, Report, RunTold, Times, Verified, WorkloadTold,
};
use crate::event::{ObjectReference, Phase, StageStatus};
use crate::journal::{Entry, Head, Journal, State, Work};
use crate::report::{ContainerResult, ReplicasResult};

/// Makes the report of an operation.
pub fn assemble(journal: &Journal, state: State) -> Report {
    let head = &journal.head;
    let finished = journal.finished();
    let blank = Value::Null;
    let result = finished.map_or(&blank, |(_, _, _, result)| result);
    let mut report = Report {
        api_version: crate::report::API_VERSION,
        kind: "Report",
        operation: head.operation.clone(),
        state,
        procedure: head.procedure.clone(),
        outcome: finished.map(|(_, outcome, _, _)| outcome),
        exit_code: finished.map(|(_, _, code, _)| code),
        error: result["error"].as_str().map(str::to_owned),
        context: head.context.clone(),
        namespace: head.namespace.clone(),
        release: head.release.clone(),
        actor: head.actor.clone(),
        command: head.command.clone(),
        reason: head.reason.clone(),
        incident: head.incident.clone(),
        change: direction(head),
        times: Times {
            deployed_at: head.deployed_at,
            started_at: head.started_at,
            first_write_at: None,
            restored_at: time(result, "restoredAt"),
            reconciled_at: time(result, "reconciledAt"),
            finished_at: finished.map(|(at, _, _, _)| at),
        },
        durations: Durations {
            until_started_ms: None,
            until_first_write_ms: None,
            until_restored_ms: None,
            whole_ms: None,
            recovery_ms: None,
            recovery_definition: RECOVERY_FROM_START,
            change_failure: false,
        },
        runs: Vec::new(),
        phases: Vec::new(),
        workloads: workloads(head, result),
        jobs: Vec::new(),
        changes: Vec::new(),
        diagnoses: Vec::new(),
        preflight: match &head.work {
            Work::Emergency(work) => work.findings.clone(),
            Work::Rollback(work) => work.findings.clone(),
        },
        verify: field(result, "verify").unwrap_or_default(),
        stopped: field(result, "stopped").unwrap_or_default(),
        database: Some(&result["database"]).filter(|database| !database.is_null()).cloned(),
        skipped: field(result, "skipped").unwrap_or_else(|| match &head.work {
            Work::Emergency(work) => work.plan.skipped.clone(),
            Work::Rollback(_) => Vec::new(),
        }),
        requests: field(result, "requests"),
        warnings: field(result, "warnings").unwrap_or_default(),
        next: next(head, state, result),
    };
    for entry in &journal.entries {
        take(&mut report, entry);
    }
    // Where nobody waited, nobody saw that they were not ready.
    if !report.phases.iter().any(|phase| phase.name == Phase::Wait.as_str()) {
        report
            .workloads
            .iter_mut()
            .for_each(|workload| workload.ready = workload.ready.filter(|ready| *ready));
    }
    // What was undone or left did not bring the service back.
    if matches!(state, State::Aborting | State::Aborted) {
        report.times.restored_at = None;
    }
    report.times.first_write_at = report.changes.first().map(|change| change.at);
    report.durations = durations(&report);
    report
}

fn field<T: DeserializeOwned>(result: &Value, name: &str) -> Option<T> {
    T::deserialize(result.get(name)?).ok()
}

fn time(result: &Value, name: &str) -> Option<Timestamp> {
    result["timings"][name].as_str()?.parse().ok()
}

fn direction(head: &Head) -> Direction {
    let newest = head.statuses.iter().max_by_key(|(revision, _)| *revision);
    Direction {
        from_revision: newest.map(|(revision, _)| *revision),
        from_status: newest.map(|(_, status)| status.clone()),
        target: head.target.clone(),
        to_revision: match &head.work {
            Work::Emergency(work) => work.plan.same_images_as,
            Work::Rollback(work) => Some(work.plan.target_revision),
        },
        new_revision: head.new_revision(),
    }
}

/// The workload as a result tells it.
#[derive(Deserialize)]
struct InResult {
    kind: String,
    name: String,
    #[serde(default)]
    strategy: String,
    replicas: Option<ReplicasResult>,
    ready: Option<bool>,
    written: Option<bool>,
    #[serde(default)]
    containers: Vec<ContainerResult>,
}

/// The workloads: as the result tells them, else as they were planned.
fn workloads(head: &Head, result: &Value) -> Vec<WorkloadTold> {
    let told: Vec<InResult> = field(result, "workloads").unwrap_or_default();
    if !told.is_empty() {
        return told
            .into_iter()
            .map(|told| WorkloadTold {
                kind: told.kind,
                name: told.name,
                strategy: told.strategy,
                replicas: told.replicas,
                ready: told.ready,
                containers: told.containers,
                written: told.written,
                timeline: Vec::new(),
            })
            .collect();
    }
    match &head.work {
        Work::Emergency(work) => work
            .plan
            .workloads
            .iter()
            .map(|planned| WorkloadTold {
                strategy: planned.strategy.as_str().to_owned(),
                replicas: planned
                    .replicas
                    .map(|replicas| ReplicasResult { before: replicas.before, after: replicas.after }),
                containers: planned
                    .containers
                    .iter()
                    .map(|change| ContainerResult {
                        name: change.name.clone(),
                        from: change.from.clone(),
                        to: change.to.to_string(),
                    })
                    .collect(),
                ..unknown(&planned.workload.kind.to_string(), &planned.workload.name)
            })
            .collect(),
        Work::Rollback(work) => work
            .plan
            .waits
            .iter()
            .map(|workload| unknown(&workload.kind.to_string(), &workload.name))
            .collect(),
    }
}

/// A workload of which only the name is known.
fn unknown(kind: &str, name: &str) -> WorkloadTold {
    WorkloadTold {
        kind: kind.to_owned(),
        name: name.to_owned(),
        strategy: String::new(),
        replicas: None,
        ready: None,
        containers: Vec::new(),
        written: None,
        timeline: Vec::new(),
    }
}

fn next(head: &Head, state: State, result: &Value) -> Vec<String> {
    let (operation, namespace) = (&head.operation, &head.namespace);
    let mut next: Vec<String> = field(result, "next").unwrap_or_default();
    let names = |next: &[String], verb: &str| next.iter().any(|line| line.contains(verb));
    if state.is_unfinished() && !names(&next, "kubectl rollback resume") {
        next.push(format!("kubectl rollback resume {operation} -n {namespace}"));
        next.push(format!("kubectl rollback abort {operation} -n {namespace}"));
    }
    next
}

/// Adds what one entry tells.
fn take(report: &mut Report, entry: &Entry) {
    match entry {
        Entry::Run { at, actor, command } => {
            report.runs.push(RunTold { at: *at, actor: actor.clone(), command: command.clone() });
        }
        Entry::Event { event } => {
            if let Some((at, told)) = read(event) {
                take_event(report, at, told);
            }
        }
        _ => {}
    }
}

fn take_event(report: &mut Report, at: Timestamp, told: Told) {
    match told {
        Told::Stage { stage, status: StageStatus::Started, message } => report.phases.push(PhaseTold {
            name: stage,
            started_at: at,
            ended_at: None,
            status: StageStatus::Started,
            message,
        }),
        Told::Stage { stage, status, message } => {
            let open = report.phases.iter_mut().rev().find(|phase| phase.name == stage);
            match open.filter(|phase| phase.ended_at.is_none()) {
                Some(phase) => {
                    phase.ended_at = Some(at);
                    phase.status = status;
                    phase.message = message;
                }
                None => report.phases.push(PhaseTold {
                    name: stage,
                    started_at: at,
                    ended_at: Some(at),
                    status,
                    message,
                }),
            }
        }
        Told::Change { verb, object, fields, before, after } => {
            report.changes.push(ChangeTold { at, verb, object, fields, before, after });
        }
        Told::Progress { object, ready, desired, state } => {
            let timeline = timeline(report, &object);
            let last = timeline.last();
            if last.is_none_or(|last| (last.ready, last.desired, &last.state) != (ready, desired, &state)) {
                timeline.push(Replicas { at, ready, desired, state });
            }
        }
        Told::Diagnosis { object, diagnosis } => {
            let same = |known: &&mut DiagnosisTold| {
                let old = &known.diagnosis;
                known.object == object
                    && (old.code, &old.pod, &old.container)
                        == (diagnosis.code, &diagnosis.pod, &diagnosis.container)
            };
            match report.diagnoses.iter_mut().find(same) {
                Some(known) => known.diagnosis = diagnosis,
                None => report.diagnoses.push(DiagnosisTold { at, object, diagnosis }),
            }
        }
        Told::Verify(verified) => {
            let same = |known: &&mut Verified| {
                (&known.check, &known.subject) == (&verified.check, &verified.subject)
            };
            match report.verify.iter_mut().find(same) {
                // What the result says is the last word already.
                Some(_) if report.outcome.is_some() => {}
                Some(known) => *known = verified,
                None => report.verify.push(verified),
            }
        }
        Told::Warning { message } => {
            if !report.warnings.contains(&message) {
                report.warnings.push(message);
            }
        }
        Told::Other => {}
    }
}

/// Where the progress of an object is kept.
fn timeline<'report>(report: &'report mut Report, object: &ObjectReference) -> &'report mut Vec<Replicas> {
    if matches!(object.kind.as_str(), "Job" | "Pod") {
        let found = report.jobs.iter().position(|job| job.kind == object.kind && job.name == object.name);
        let index = found.unwrap_or(report.jobs.len());
        if found.is_none() {
            let (kind, name) = (object.kind.clone(), object.name.clone());
            report.jobs.push(JobTold { kind, name, timeline: Vec::new() });
        }
        return &mut report.jobs[index].timeline;
    }
    let is_meant = |workload: &WorkloadTold| workload.kind == object.kind && workload.name == object.name;
    let found = report.workloads.iter().position(is_meant);
    let index = found.unwrap_or(report.workloads.len());
    if found.is_none() {
        report.workloads.push(unknown(&object.kind, &object.name));
    }
    &mut report.workloads[index].timeline
}

fn durations(report: &Report) -> Durations {
    let times = &report.times;
    let between = |from: Timestamp, to: Timestamp| {
        i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX).max(0)
    };
    let since_start = |to: Option<Timestamp>| to.map(|to| between(times.started_at, to));
    let from = times.deployed_at.unwrap_or(times.started_at);
    Durations {
        until_started_ms: times.deployed_at.map(|deployed| between(deployed, times.started_at)),
        until_first_write_ms: since_start(times.first_write_at),
        until_restored_ms: since_start(times.restored_at),
        whole_ms: since_start(times.finished_at),
        recovery_ms: times.restored_at.map(|restored| between(from, restored)),
        recovery_definition: if times.deployed_at.is_some() {
            RECOVERY_FROM_DEPLOY
        } else {
            RECOVERY_FROM_START
        },
        change_failure: report.changes.iter().any(|change| change.object.kind != "Release"),
    }
}
