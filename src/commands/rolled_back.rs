//! From what was planned, found and done by a rollback to the result document and its text.

use std::fmt::Write;

use super::look::Look;
use super::{Conclusion, Session};
use crate::event::{FindingStatus, ObjectReference};
use crate::execute::rollback::{self, Done, Fault, RollbackExecution};
use crate::helm::manifest::Manifest;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::Skipped;
use crate::plan::rollback::{Action, ObjectStep};
use crate::report::{
    ContainerResult, DatabaseResult, ObjectResult, ReleaseResult, ReplicasResult, ResultDocument,
    WorkloadResult,
};
use crate::ui::{database_line, diff_summary, failure_block};
use crate::wait::WaitEnd;
use crate::words::counted;
use crate::workload::{ContainerRef, WorkloadKind, WorkloadRef};

/// What a result is made from.
pub struct Report<'a> {
    /// The plan with everything that is known about it.
    pub look: &'a Look,
}

impl Report<'_> {
    fn document(&self, session: &Session, outcome: Outcome, exit: ExitCode) -> ResultDocument {
        let Look { snapshot, plan, findings, .. } = self.look;
        ResultDocument {
            outcome,
            exit_code: exit.code(),
            release: Some(ReleaseResult {
                name: plan.release.clone(),
                from_revision: Some(plan.current_revision),
                to_revision: Some(plan.target_revision),
                new_revision: None,
                tag: None,
            }),
            workloads: self.workloads(None),
            objects: plan
                .objects
                .iter()
                .map(|step| ObjectResult {
                    kind: step.key.kind.clone(),
                    namespace: step.key.namespace.clone(),
                    name: step.key.name.clone(),
                    action: step.action,
                    done: None,
                    error: None,
                })
                .collect(),
            preflight: findings.clone(),
            database: plan.database.as_deref().map(|step| DatabaseResult::of(step, None)),
            skipped: plan
                .objects
                .iter()
                .filter(|step| step.action == Action::Keep)
                .map(|step| Skipped { what: step.key.to_string(), why: step.why.clone().unwrap_or_default() })
                .chain(snapshot.choice.skipped.iter().map(|(revision, reason)| Skipped {
                    what: format!("revision {revision}"),
                    why: reason.to_string(),
                }))
                .collect(),
            ..session.document()
        }
    }

    /// The target's workloads; with an execution also whether they are ready.
    fn workloads(&self, execution: Option<(&Session, &RollbackExecution)>) -> Vec<WorkloadResult> {
        let Look { snapshot, plan, .. } = self.look;
        let images = Manifest::parse(snapshot.target.record.manifest(), &plan.namespace).images();
        let collected = execution.map(|(session, _)| session.context.reporter.collected());
        plan.objects
            .iter()
            .filter(|step| step.action != Action::Keep && step.action != Action::Delete)
            .filter_map(|step| Some((step, step.workload()?)))
            .map(|(step, reference)| {
                let live = snapshot.workload(&reference);
                let containers = live.into_iter().flat_map(|workload| &workload.containers);
                let containers = containers
                    .filter_map(|container| {
                        let name =
                            ContainerRef { workload: reference.clone(), container: container.name.clone() };
                        let to = images.get(&name).filter(|image| **image != container.image)?;
                        Some(ContainerResult {
                            name: container.name.clone(),
                            from: container.image.clone(),
                            to: to.clone(),
                        })
                    })
                    .collect();
                let done = execution.and_then(|(_, execution)| done_of(execution, step));
                WorkloadResult {
                    kind: reference.kind.to_string(),
                    name: reference.name.clone(),
                    strategy: "rolling",
                    replicas: self.replicas(step, &reference),
                    ready: execution.is_some_and(|(_, execution)| is_ready(execution, &reference)),
                    written: matches!(done, Some(Done::Created | Done::Changed)),
                    containers,
                    diagnosis: collected.as_ref().map_or_else(Vec::new, |collected| {
                        collected.diagnoses_of(&ObjectReference::from(&reference))
                    }),
                }
            })
            .collect()
    }

    fn replicas(&self, step: &ObjectStep, reference: &WorkloadRef) -> Option<ReplicasResult> {
        let before = self.look.snapshot.workload(reference).and_then(|workload| workload.replicas)?;
        let found = self.look.snapshot.objects.iter().find(|found| found.history.key == step.key)?;
        let rendered =
            found.history.target.as_ref().and_then(|target| target.pointer("/spec/replicas")?.as_i64());
        let after =
            step.replicas.or(rendered).and_then(|number| i32::try_from(number).ok()).unwrap_or(before);
        Some(ReplicasResult { before, after })
    }

    fn conclude(&self, document: ResultDocument, text: String) -> Conclusion {
        let name = format!("release.helm.sh/{} rolled back", self.look.plan.release);
        Conclusion { document, text, name, own: None }
    }

    /// The result of a dry run.
    pub fn planned(&self, session: &Session) -> Conclusion {
        let (outcome, exit) = if self.look.is_refused() {
            (Outcome::Refused, ExitCode::PreflightFailed)
        } else {
            (Outcome::Planned, ExitCode::Success)
        };
        let plan = &self.look.plan;
        let text = format!(
            "{}: revision {} would come back as revision {}, {} (dry run, nothing was changed)",
            plan.release,
            plan.target_revision,
            plan.new_revision,
            diff_summary(&self.look.differences)
        );
        self.conclude(self.document(session, outcome, exit), text)
    }

    /// The result where a check says that it cannot work.
    pub fn refused(&self, session: &Session) -> Conclusion {
        let failed = self.look.findings.iter().filter(|finding| finding.status == FindingStatus::Fail);
        let lines: Vec<String> =
            failed.clone().map(|finding| format!("  {}: {}", finding.subject, finding.message)).collect();
        let text = format!("it cannot work, and nothing was changed:\n{}", lines.join("\n"));
        let mut document = self.document(session, Outcome::Refused, ExitCode::PreflightFailed);
        document.next =
            failed.filter(|finding| !finding.hint.is_empty()).map(|finding| finding.hint.clone()).collect();
        document.next.dedup();
        document.error = Some(text.clone());
        self.conclude(document, text)
    }

    /// The result of what was carried out. `unclosed` says why Helm's record could not be closed.
    pub fn executed(
        &self,
        session: &Session,
        execution: &RollbackExecution,
        unclosed: Option<&String>,
    ) -> Conclusion {
        let plan = &self.look.plan;
        let (exit, outcome) = verdict(execution, unclosed.is_some());
        let mut document = self.document(session, outcome, exit);
        document.workloads = self.workloads(Some((session, execution)));
        for (object, (_, done)) in document.objects.iter_mut().zip(&execution.objects) {
            object.done = Some(word(done));
            object.error = match done {
                Done::Failed(why) => Some(why.clone()),
                _ => None,
            };
        }
        if let Some(step) = &plan.database {
            document.database = Some(DatabaseResult::of(step, execution.database.as_ref()));
        }
        document.stopped = execution.left_stopped.iter().map(ToString::to_string).collect();
        document.timings.restored_at = execution.restored_at;
        let withdrawn =
            matches!(execution.fault, Some(Fault::Interrupted(_))) && !execution.touched_the_cluster();
        if unclosed.is_none() && !withdrawn {
            document.timings.reconciled_at = Some(document.timings.finished_at);
            if let Some(release) = &mut document.release {
                release.new_revision = Some(plan.new_revision);
            }
        }
        document.error = execution.fault.as_ref().map(rollback::reason);
        if let Some(why) = unclosed {
            document.warnings.push(format!("Helm's record could not be closed and is still pending: {why}"));
        }
        document.next = self.next(execution, unclosed.is_some());
        let text = self.text(session, execution, &document);
        self.conclude(document, text)
    }

    fn next(&self, execution: &RollbackExecution, is_unclosed: bool) -> Vec<String> {
        let plan = &self.look.plan;
        let (name, namespace) = (&plan.release, &plan.namespace);
        let mut next = Vec::new();
        next.extend(execution.left_stopped.iter().map(|workload| {
            let planned = plan.stopped.iter().find(|planned| planned.workload == *workload);
            let replicas = planned.and_then(|planned| planned.replicas).map_or(1, |replicas| replicas.after);
            format!("kubectl -n {namespace} scale {workload} --replicas={replicas}")
        }));
        if let Some(done) = execution.database.as_ref().filter(|done| !done.is_down()) {
            next.extend(done.job.as_ref().map(|job| format!("kubectl -n {namespace} logs job/{job}")));
            next.push(format!("kubectl rollback db current {name} -n {namespace}"));
        }
        if let Some(fault) = &execution.fault {
            next.push(format!("kubectl rollback status {name} -n {namespace}"));
            next.push(self.way_on(fault));
        }
        if is_unclosed {
            next.push(format!("kubectl rollback repair {name} -n {namespace}"));
        }
        let restarts = plan.restarts.iter().filter(|restart| !restart.planned);
        next.extend(restarts.map(|restart| {
            format!(
                "kubectl -n {} rollout restart {}   # for the new contents of {}",
                restart.workload.namespace,
                restart.workload,
                restart.because.join(", ")
            )
        }));
        next
    }

    /// The command that leads out of a fault: another revision where this one does not run, else the same again.
    fn way_on(&self, fault: &Fault) -> String {
        let plan = &self.look.plan;
        let (name, namespace) = (&plan.release, &plan.namespace);
        match fault {
            Fault::NotReady { end: WaitEnd::NotReady, .. } if self.look.snapshot.choice.doubt.is_some() => {
                format!("kubectl rollback to {name} -n {namespace}   # the last good revision in its place")
            }
            Fault::NotReady { end: WaitEnd::NotReady, .. } => {
                format!("kubectl rollback history {name} -n {namespace}   # and name another revision")
            }
            _ => format!(
                "kubectl rollback to {name} {} -n {namespace}   # the same again",
                plan.target_revision
            ),
        }
    }

    fn text(&self, session: &Session, execution: &RollbackExecution, document: &ResultDocument) -> String {
        let printer = session.printer();
        let plan = &self.look.plan;
        let mut text = String::new();
        for workload in document.workloads.iter().filter(|workload| !workload.ready) {
            let object = ObjectReference {
                kind: workload.kind.clone(),
                namespace: plan.namespace.clone(),
                name: workload.name.clone(),
            };
            if !workload.diagnosis.is_empty() {
                text.push_str(&failure_block(printer, &object, &workload.diagnosis));
            }
        }
        let count =
            |wanted: &[Done]| execution.objects.iter().filter(|(_, done)| wanted.contains(done)).count();
        let changed = count(&[Done::Created, Done::Changed, Done::Deleted]);
        let elapsed = document.timings.elapsed();
        let mark = if execution.fault.is_none() { printer.good("✔") } else { printer.bad("✘") };
        let readiness = match execution.wait {
            Some(_) => {
                format!("{} of {} ready", execution.ready.len(), counted(plan.waits.len(), "workload"))
            }
            None => "not waited for readiness".to_owned(),
        };
        let _ = writeln!(
            text,
            "{mark} {}: {} revision {}, {changed} of {} changed, {readiness}{elapsed}",
            plan.release,
            if execution.fault.is_none() { "back at" } else { "not back at" },
            plan.target_revision,
            counted(plan.objects.len(), "object")
        );
        if let (Some(step), Some(done)) = (&plan.database, &execution.database) {
            text.push_str(&database_line(printer, step, done));
        }
        for (key, done) in &execution.objects {
            if let Done::Failed(why) = done {
                let _ = writeln!(text, "  {} {key}: {why}", printer.bad("✘"));
            }
        }
        if let Some(fault) =
            execution.fault.as_ref().filter(|fault| !matches!(fault, Fault::Objects(_) | Fault::Database(_)))
        {
            let _ = writeln!(text, "  {} {}", printer.bad("✘"), rollback::reason(fault));
        }
        let state = match (&document.release, execution.fault.is_some()) {
            (Some(ReleaseResult { new_revision: Some(new), .. }), false) => {
                format!("  Helm revision {new} is deployed")
            }
            (Some(ReleaseResult { new_revision: Some(new), .. }), true) => {
                let others = if plan.current_status == "deployed" {
                    format!("revision {} stays deployed", plan.current_revision)
                } else {
                    "the others are as they were".to_owned()
                };
                format!("  Helm revision {new} is failed, and says why; {others}")
            }
            _ if !execution.touched_the_cluster() => "  nothing was changed".to_owned(),
            _ => "  Helm's record is still pending".to_owned(),
        };
        text.push_str(&state);
        if !document.stopped.is_empty() {
            let _ = write!(text, "\n  {} {}", printer.bad("STILL STOPPED:"), document.stopped.join(", "));
        }
        text
    }
}

fn done_of<'a>(execution: &'a RollbackExecution, step: &ObjectStep) -> Option<&'a Done> {
    execution.objects.iter().find(|(key, _)| *key == step.key).map(|(_, done)| done)
}

fn is_ready(execution: &RollbackExecution, workload: &WorkloadRef) -> bool {
    execution.ready.contains(workload)
        || (workload.kind == WorkloadKind::CronJob && execution.fault.is_none())
}

fn word(done: &Done) -> &'static str {
    match done {
        Done::Created => "created",
        Done::Changed => "changed",
        Done::Unchanged => "unchanged",
        Done::Deleted => "deleted",
        Done::Kept => "kept",
        Done::Failed(_) => "failed",
        Done::NotBegun => "notBegun",
    }
}

/// The exit code and outcome of what was carried out.
fn verdict(execution: &RollbackExecution, is_unclosed: bool) -> (ExitCode, Outcome) {
    match &execution.fault {
        None if is_unclosed => (ExitCode::ReconcilePending, Outcome::ReconcilePending),
        None => (ExitCode::Success, Outcome::Succeeded),
        Some(Fault::Interrupted(signal)) => (signal.exit_code(), Outcome::Interrupted),
        Some(Fault::Database(_)) => (ExitCode::DatabaseFailed, Outcome::DatabaseFailed),
        Some(Fault::Objects(_)) => (ExitCode::Unexpected, Outcome::Failed),
        Some(Fault::Hook(error)) if error.is_timeout() => (ExitCode::TimedOut, Outcome::TimedOut),
        Some(Fault::NotReady { end: WaitEnd::TimedOut, .. }) => (ExitCode::TimedOut, Outcome::TimedOut),
        Some(Fault::Hook(_) | Fault::NotReady { .. }) => (ExitCode::NotReady, Outcome::Failed),
    }
}
