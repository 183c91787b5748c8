//! From what was planned, found and done to the result document.

use std::fmt::Write;

use super::carry_out::{ReconcileAnswer, verdict};
use super::{Conclusion, Session};
use crate::discover::{Snapshot, Workload};
use crate::event::{Finding, FindingStatus, ObjectReference};
use crate::execute::Execution;
use crate::helm::status::Status;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::{Plan, WorkloadPlan};
use crate::report::{
    Collector, ContainerResult, DatabaseResult, ReleaseResult, ReplicasResult, ResultDocument, WorkloadResult,
};
use crate::ui::{self, failure_block};
use crate::wait::readiness;
use crate::words::counted;
use crate::workload::{WorkloadKind, WorkloadRef};

/// What a result is made from.
pub struct Facts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What was found.
    pub snapshot: &'a Snapshot,
    /// Results of the checks.
    pub findings: &'a [Finding],
    /// Whether Helm's record is left alone.
    pub skip_reconcile: bool,
}

impl Facts<'_> {
    fn document(&self, session: &Session, outcome: Outcome, exit: ExitCode) -> ResultDocument {
        let plan = self.plan;
        let name = self.snapshot.release_name.clone();
        ResultDocument {
            outcome,
            exit_code: exit.code(),
            release: name.map(|name| ReleaseResult {
                name,
                from_revision: plan.release.as_ref().map(|release| release.current_revision),
                to_revision: plan.same_images_as,
                new_revision: None,
                tag: plan.tag.clone(),
            }),
            workloads: plan
                .workloads
                .iter()
                .map(|planned| workload_result(planned, false))
                .chain(plan.unchanged.iter().map(|reference| self.unchanged_result(reference)))
                .collect(),
            preflight: self.findings.to_vec(),
            skipped: plan.skipped.clone(),
            database: plan.database.as_deref().map(|step| DatabaseResult::of(step, None)),
            ..session.document()
        }
    }

    fn unchanged_result(&self, reference: &WorkloadRef) -> WorkloadResult {
        let workload = self.snapshot.workload(reference);
        let replicas = workload.and_then(|workload| workload.replicas);
        WorkloadResult {
            kind: reference.kind.to_string(),
            name: reference.name.clone(),
            strategy: "none",
            replicas: replicas.map(|number| ReplicasResult { before: number, after: number }),
            ready: workload.is_some_and(is_ready),
            written: false,
            containers: Vec::new(),
            diagnosis: Vec::new(),
        }
    }

    /// Whether Helm's newest record is the deployed one; also where there is no release to have records of.
    pub fn record_is_deployed(&self) -> bool {
        match &self.snapshot.release {
            Some(release) => {
                release.newest().is_some_and(|newest| newest.status == Status::Deployed.as_str())
            }
            None => self.snapshot.release_name.is_none(),
        }
    }

    /// Whether every workload that is at the target already is ready as well.
    pub fn unchanged_are_ready(&self) -> bool {
        let mut found = self.plan.unchanged.iter().map(|reference| self.snapshot.workload(reference));
        found.all(|workload| workload.is_some_and(is_ready))
    }

    /// Whether only the database goes back: no image changes, so that Helm's record stays true.
    fn is_of_database(&self) -> bool {
        self.plan.database.is_some()
            && self.plan.workloads.iter().all(|planned| planned.containers.is_empty())
    }

    fn subject(&self) -> String {
        self.snapshot.release_name.clone().unwrap_or_else(|| "the workloads".to_owned())
    }

    /// The result of a dry run.
    pub fn planned(&self, session: &Session) -> Conclusion {
        let refused = self.findings.iter().any(|finding| finding.status == FindingStatus::Fail);
        let (outcome, exit) = if refused {
            (Outcome::Refused, ExitCode::PreflightFailed)
        } else {
            (Outcome::Planned, ExitCode::Success)
        };
        let text = format!(
            "{}: {} would go to {} (dry run, nothing was changed)",
            self.subject(),
            counted(self.plan.workloads.len(), "workload"),
            self.plan.target
        );
        self.conclude(self.document(session, outcome, exit), text)
    }

    /// The result where everything is at the target already.
    pub fn unchanged(&self, session: &Session) -> Conclusion {
        let text = format!("{}: already at {}; nothing was changed", self.subject(), self.plan.target);
        self.conclude(self.document(session, Outcome::Unchanged, ExitCode::Success), text)
    }

    /// The result where everything was at the target already and was only waited for, if at all.
    pub fn watched(&self, session: &Session, execution: &Execution) -> Conclusion {
        let collected = session.context.reporter.collected();
        let reconcile_open = !self.record_is_deployed();
        let (exit, outcome) = match verdict(execution, reconcile_open) {
            (ExitCode::Success, _) => (ExitCode::Success, Outcome::Unchanged),
            other => other,
        };
        let mut document = self.document(session, outcome, exit);
        document.workloads = self.unchanged_results(execution, &collected);
        document.timings.restored_at = execution.restored_at;
        document.next.extend(self.next(session, execution, reconcile_open, false, exit));
        let text = self.text(session, execution, &document);
        self.conclude(document, text)
    }

    fn unchanged_results(&self, execution: &Execution, collected: &Collector) -> Vec<WorkloadResult> {
        let result = |reference: &WorkloadRef| {
            let found = self.unchanged_result(reference);
            let was_waited_for = execution.wait.is_some() && reference.kind != WorkloadKind::CronJob;
            WorkloadResult {
                ready: if was_waited_for { execution.ready.contains(reference) } else { found.ready },
                diagnosis: collected.diagnoses_of(&ObjectReference::from(reference)),
                ..found
            }
        };
        self.plan.unchanged.iter().map(result).collect()
    }

    /// The result where a check failed.
    pub fn refused(&self, session: &Session) -> Conclusion {
        let failed: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.status == FindingStatus::Fail)
            .map(|finding| format!("  {}: {}", finding.subject, finding.message))
            .collect();
        let mut document = self.document(session, Outcome::Refused, ExitCode::PreflightFailed);
        let text = format!("it cannot work, and nothing was changed:\n{}", failed.join("\n"));
        document.next = self
            .findings
            .iter()
            .filter(|finding| finding.status == FindingStatus::Fail && !finding.hint.is_empty())
            .map(|finding| finding.hint.clone())
            .collect();
        document.error = Some(text.clone());
        self.conclude(document, text)
    }

    /// The result of what was carried out.
    pub fn executed(
        &self,
        session: &Session,
        execution: &Execution,
        (problems, reconciled): (Vec<String>, ReconcileAnswer),
    ) -> Conclusion {
        let collected = session.context.reporter.collected();
        let record_written = matches!(reconciled, Ok(Some(_)));
        let has_release = self.snapshot.release_name.is_some();
        // A manifest that could not be edited everywhere does not tell what runs.
        let is_partial = matches!(&reconciled, Ok(Some(written)) if !written.manifest_unplaced.is_empty());
        let reconcile_open = !problems.is_empty()
            || reconciled.is_err()
            || is_partial
            || (has_release && !record_written && !self.is_of_database());
        let (exit, outcome) = verdict(execution, reconcile_open);
        let mut document = self.document(session, outcome, exit);
        document.workloads = execution
            .workloads
            .iter()
            .map(|swapped| WorkloadResult {
                ready: execution.ready.contains(&swapped.plan.workload)
                    || (swapped.written && swapped.plan.workload.kind == WorkloadKind::CronJob),
                diagnosis: collected.diagnoses_of(&ObjectReference::from(&swapped.plan.workload)),
                ..workload_result(&swapped.plan, swapped.written)
            })
            .chain(self.unchanged_results(execution, &collected))
            .collect();
        if let Some(step) = &self.plan.database {
            document.database = Some(DatabaseResult::of(step, execution.database.as_ref()));
        }
        document.stopped = execution.left_stopped().map(ToString::to_string).collect();
        document.timings.restored_at = execution.restored_at;
        if record_written {
            document.timings.reconciled_at = Some(document.timings.finished_at);
            if let Some(release) = &mut document.release {
                release.new_revision = self.plan.release.as_ref().map(|planned| planned.new_revision);
            }
        }
        document.warnings.extend(problems);
        if let Ok(Some(reconciled)) = &reconciled {
            document.next.extend(reconciled.unplaced.iter().map(unplaced));
            document.warnings.extend(reconciled.problems.iter().cloned());
            let unedited = reconciled.manifest_unplaced.iter();
            document.warnings.extend(unedited.map(|(container, why)| {
                format!("Helm's manifest still has the old image of {container}: {why}")
            }));
        }
        document.next.extend(self.next(session, execution, reconcile_open, reconciled.is_err(), exit));
        let text = self.text(session, execution, &document);
        self.conclude(document, text)
    }

    /// The next commands after what was carried out.
    fn next(
        &self,
        session: &Session,
        execution: &Execution,
        reconcile_open: bool,
        record_stuck: bool,
        exit: ExitCode,
    ) -> Vec<String> {
        let namespace = &session.context.namespace;
        let mut next = Vec::new();
        for workload in execution.left_stopped() {
            let planned = self.plan.workloads.iter().find(|planned| planned.workload == *workload);
            let replicas = planned.and_then(|planned| planned.replicas).map_or(1, |replicas| replicas.after);
            next.push(format!("kubectl -n {namespace} scale {workload} --replicas={replicas}"));
        }
        if execution.database_failed()
            && let (Some(step), Some(done)) = (&self.plan.database, &execution.database)
        {
            next.extend(done.job.as_ref().map(|job| format!("kubectl -n {namespace} logs job/{job}")));
            let subject = self.snapshot.release_name.clone().unwrap_or_else(|| step.workload.to_string());
            next.push(format!("kubectl rollback db current {subject} -n {namespace}"));
        }
        let Some(name) = &self.snapshot.release_name else {
            return next;
        };
        if exit == ExitCode::NotReady || exit == ExitCode::TimedOut {
            next.push(format!("kubectl rollback status {name} -n {namespace}"));
        }
        if reconcile_open {
            // Where our record could not be closed it is pending, and stands in reconcile's way.
            let pending = if record_stuck { " --take-over" } else { "" };
            let reconcile = format!("kubectl rollback reconcile {name} -n {namespace}{pending}");
            next.push(self.snapshot.record_problem.as_ref().map_or(reconcile.clone(), |problem| {
                format!(
                    "{problem}: bring the records back from a backup and run `{reconcile}`, or deploy again with the chart: helm upgrade --install {name} CHART -n {namespace} -f VALUES, with these image tags"
                )
            }));
        }
        next
    }

    fn text(&self, session: &Session, execution: &Execution, document: &ResultDocument) -> String {
        let printer = session.printer();
        let mut text = String::new();
        for workload in &document.workloads {
            let object = ObjectReference {
                kind: workload.kind.clone(),
                namespace: session.context.namespace.clone(),
                name: workload.name.clone(),
            };
            if !workload.ready && !workload.diagnosis.is_empty() {
                text.push_str(&failure_block(printer, &object, &workload.diagnosis));
            }
        }
        let total = document.workloads.len();
        let ready = document.workloads.iter().filter(|workload| workload.ready).count();
        let written = execution.written().count();
        let elapsed = document.timings.elapsed();
        let subject = self.subject();
        let mark = match document.outcome {
            Outcome::Succeeded => printer.good("✔"),
            Outcome::ReconcilePending => printer.caution("!"),
            _ => printer.bad("✘"),
        };
        let readiness = if execution.wait.is_some() {
            format!("{ready} of {} ready", counted(total, "workload"))
        } else {
            "not waited for readiness".to_owned()
        };
        let count = counted(written, "workload");
        let _ = if self.is_of_database() {
            writeln!(text, "{mark} {subject}: {count} stopped and started again{elapsed}")
        } else {
            writeln!(text, "{mark} {subject}: {count} written to {}, {readiness}{elapsed}", self.plan.target)
        };
        if let (Some(step), Some(done)) = (&self.plan.database, &execution.database) {
            text.push_str(&ui::database_line(printer, step, done));
        }
        for swapped in &execution.workloads {
            if let Some(problem) = &swapped.problem {
                let _ = writeln!(text, "  {} {}: {problem}", printer.bad("✘"), swapped.plan.workload);
            }
        }
        if let Some(release) = document.release.as_ref().filter(|_| !self.is_of_database()) {
            let _ = match release.new_revision {
                Some(revision) if document.exit_code == 0 => {
                    writeln!(text, "  Helm revision {revision} (deployed) names what runs")
                }
                Some(revision) => writeln!(text, "  Helm revision {revision} (failed) names what runs"),
                None if self.plan.workloads.is_empty() && self.record_is_deployed() => {
                    writeln!(text, "  Helm's record names what runs already")
                }
                None => writeln!(text, "  Helm's record does not tell what runs"),
            };
        }
        if document.stopped.is_empty() {
            text.push_str("  nothing is left stopped");
        } else {
            let _ = write!(text, "  {} {}", printer.bad("STILL STOPPED:"), document.stopped.join(", "));
        }
        text
    }

    fn conclude(&self, document: ResultDocument, text: String) -> Conclusion {
        let name = match &self.snapshot.release_name {
            Some(name) => format!("release.helm.sh/{name} rolled back"),
            None => self
                .plan
                .workloads
                .iter()
                .map(|planned| {
                    format!(
                        "{}/{} rolled back",
                        planned.workload.kind.as_str().to_lowercase(),
                        planned.workload.name
                    )
                })
                .collect::<Vec<String>>()
                .join("\n"),
        };
        Conclusion { document, text, name, own: None }
    }
}

/// Whether a workload was ready when it was found.
fn is_ready(workload: &Workload) -> bool {
    readiness::of(workload.reference.kind.as_str(), &workload.object).done
}

fn unplaced(unplaced: &crate::reconcile::Unplaced) -> String {
    let suggestion = unplaced.suggestion.as_ref().map_or_else(
        || format!("set the value that makes {} render {}", unplaced.container, unplaced.image),
        |set| format!("give the next helm upgrade: {set}"),
    );
    format!("{suggestion}  ({})", unplaced.reason)
}

fn workload_result(planned: &WorkloadPlan, written: bool) -> WorkloadResult {
    WorkloadResult {
        kind: planned.workload.kind.to_string(),
        name: planned.workload.name.clone(),
        strategy: planned.strategy.as_str(),
        replicas: planned
            .replicas
            .map(|replicas| ReplicasResult { before: replicas.before, after: replicas.after }),
        ready: false,
        written,
        containers: planned
            .containers
            .iter()
            .map(|change| ContainerResult {
                name: change.name.clone(),
                from: change.from.clone(),
                to: change.to.to_string(),
            })
            .collect(),
        diagnosis: Vec::new(),
    }
}
