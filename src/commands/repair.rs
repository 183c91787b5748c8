//! `repair`: makes the records of a stuck release true, without touching a workload.

use super::{Conclusion, Failure, Session};
use crate::cli::{DryRun, OutputFormat, RepairArgs};
use crate::discover::{self, RecordProblem, Scope, Snapshot};
use crate::event::{Check, EventKind, Finding, FindingStatus, Phase, StageStatus};
use crate::execute::{phase, record};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::repair::{self, RepairPlan, Request};
use crate::preflight;
use crate::report::ReleaseResult;
use crate::ui;
use crate::words::counted;

/// Runs the command.
pub async fn run(session: &Session, arguments: &RepairArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let subjects: Vec<String> = arguments.release.iter().cloned().collect();
    let scope = Scope::read(&subjects, None).map_err(Failure::usage)?;
    session.start(arguments.release.as_deref(), "true records");
    session.protect(&arguments.protection, arguments.dry_run).await?;
    let snapshot = session.unless_interrupted(Box::pin(find(session, &scope))).await?;
    for warning in &snapshot.warnings {
        context.warn(warning.clone());
    }
    let request = Request {
        now: context.now(),
        operation: &context.operation,
        reason: session.output.reason.as_deref(),
    };
    let Some(mut plan) = repair::plan(request, &snapshot) else {
        return Ok(unusable(session, &snapshot));
    };
    if let Some(why) = &plan.undecided {
        session.show_repair(&plan);
        let error = anyhow::anyhow!("{why}. Nothing was changed");
        let failure = Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error);
        return Ok(failed(session, &plan, &failure, Vec::new()));
    }
    if plan.changes.is_empty() {
        let text = unchanged(&plan);
        return Ok(conclusion(session, &plan, Outcome::Unchanged, text, Vec::new()));
    }
    let findings = if arguments.dry_run == DryRun::Client {
        Vec::new()
    } else {
        session.unless_interrupted(async { Ok(Box::pin(permission(session)).await) }).await?
    };
    session.show_repair(&plan);
    if let Some(refused) = findings.iter().find(|finding| finding.status == FindingStatus::Fail) {
        let error = anyhow::anyhow!("{}: {}; nothing was changed", refused.subject, refused.message);
        let failure = Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error).hinted(&refused.hint);
        return Ok(failed(session, &plan, &failure, findings));
    }
    if arguments.dry_run != DryRun::None {
        let text = "dry run, nothing was changed".to_owned();
        return Ok(conclusion(session, &plan, Outcome::Planned, text, findings));
    }
    if let Some(failure) = locked(session, &plan, arguments.take_over) {
        return Ok(failed(session, &plan, &failure, findings));
    }
    session.confirm(&format!("Write these statuses of {}?", plan.release), &plan.release).await?;
    let answer = phase(context, Phase::Reconcile, "making Helm's records true", async {
        let answer = record::set_statuses(context, session.driver, &mut plan.changes).await;
        let written = plan.changes.iter().filter(|change| change.written).count();
        let status = if answer.is_ok() { StageStatus::Done } else { StageStatus::Failed };
        (answer, status, format!("{written} of {} records written", plan.changes.len()))
    })
    .await;
    match answer {
        Ok(()) => {
            let text = repaired(session, &plan);
            let mut conclusion = conclusion(session, &plan, Outcome::Succeeded, text, findings);
            conclusion.document.timings.reconciled_at = Some(context.now());
            Ok(conclusion)
        }
        Err(error) => Ok(failed(session, &plan, &unwritten(session, &plan, error), findings)),
    }
}

async fn find(session: &Session, scope: &Scope) -> Result<Snapshot, Failure> {
    let context = &session.context;
    phase(context, Phase::Discover, "reading the records and what runs", async {
        let answer = Box::pin(discover::run(context, scope, session.driver)).await;
        let (status, message) = match &answer {
            Ok(snapshot) => {
                let release = snapshot.release.as_ref().or(snapshot.damaged.as_ref());
                let records = release.map_or(0, |release| release.metas.len());
                (
                    StageStatus::Done,
                    format!(
                        "{}, {}",
                        counted(records, "record"),
                        counted(snapshot.workloads.len(), "workload")
                    ),
                )
            }
            Err(error) => (StageStatus::Failed, error.to_string()),
        };
        (answer, status, message)
    })
    .await
    .map_err(Failure::from)
}

/// There are no records that could be repaired: missing or forbidden.
fn unusable(session: &Session, snapshot: &Snapshot) -> Conclusion {
    let name = snapshot.release_name.clone().unwrap_or_default();
    let namespace = &session.context.namespace;
    let problem = snapshot.record_problem.clone().unwrap_or(RecordProblem::Missing(name.clone()));
    let (check, hint) = match &problem {
        RecordProblem::Forbidden(_) => (
            Check::Permission,
            format!("ask for the right to get, list and patch {} in this namespace", session.driver.plural()),
        ),
        _ => (
            Check::Helm,
            format!(
                "bring the records back from a backup, or deploy again with the chart: helm upgrade --install {name} CHART -n {namespace} -f VALUES"
            ),
        ),
    };
    let finding = Finding {
        check,
        subject: name,
        status: FindingStatus::Fail,
        message: problem.to_string(),
        hint: hint.clone(),
    };
    session.context.emit(EventKind::Preflight(finding.clone()));
    let error = anyhow::anyhow!("{problem}; a record is never invented. Nothing was changed");
    let failure = Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error).hinted(hint);
    let mut conclusion = Conclusion::of_failure(session, &failure);
    conclusion.document.preflight = vec![finding];
    conclusion
}

async fn permission(session: &Session) -> Vec<Finding> {
    let context = &session.context;
    phase(context, Phase::Preflight, "asking the API server", async {
        let finding = preflight::may_patch_records(context, session.driver).await;
        context.emit(EventKind::Preflight(finding.clone()));
        let status =
            if finding.status == FindingStatus::Fail { StageStatus::Failed } else { StageStatus::Done };
        let message = format!("{}: {}", finding.subject, finding.message);
        (vec![finding], status, message)
    })
    .await
}

/// An operation that was heard of just now may be alive. A person at the terminal reads that on the screen and decides;
/// without one a flag must say so.
fn locked(session: &Session, plan: &RepairPlan, take_over: bool) -> Option<Failure> {
    let alive = plan.alive.as_ref().filter(|_| !take_over)?;
    if !session.output.yes && ui::can_ask() {
        return None;
    }
    let failure = Failure::locked(format!(
        "revision {} of {} is {} and was written {} ago by {}, which may be at work still; nothing was changed",
        alive.revision,
        plan.release,
        alive.status,
        ui::elapsed(alive.age_seconds),
        alive.writer
    ));
    Some(failure.hinted("if nobody is at work there any more, run the same command with --take-over"))
}

/// Why the repair stopped, and what state the records are in.
fn unwritten(session: &Session, plan: &RepairPlan, error: StorageError) -> Failure {
    let written: Vec<String> = plan
        .changes
        .iter()
        .filter(|change| change.written)
        .map(|change| format!("revision {} is {}", change.revision, change.to))
        .collect();
    let again = format!("kubectl rollback repair {} -n {}", plan.release, session.context.namespace);
    let is_locked = matches!(error, StorageError::Changed { .. } | StorageError::Gone { .. });
    if written.is_empty() && is_locked {
        return Failure::locked(format!("{error}: somebody is at work; nothing was changed")).hinted(again);
    }
    let state = if written.is_empty() {
        "nothing was changed".to_owned()
    } else {
        format!("written before: {}", written.join(", "))
    };
    let error = anyhow::Error::from(error).context(format!("the repair stopped; {state}"));
    Failure::new(ExitCode::Unexpected, Outcome::Failed, error).hinted(again)
}

fn unchanged(plan: &RepairPlan) -> String {
    let mut lines = vec![format!("{}: the records are true, nothing is to be repaired", plan.release)];
    lines.extend(plan.notes.iter().map(|note| format!("  ! {note}")));
    lines.join("\n")
}

fn repaired(session: &Session, plan: &RepairPlan) -> String {
    let mark = session.printer().good("✔");
    let mut lines = vec![format!("{mark} {}: the records are true again", plan.release)];
    for change in &plan.changes {
        lines.push(format!("  revision {} is {} ({})", change.revision, change.to, change.why));
    }
    lines.join("\n")
}

fn failed(session: &Session, plan: &RepairPlan, failure: &Failure, findings: Vec<Finding>) -> Conclusion {
    let mut conclusion = Conclusion::of_failure(session, failure);
    tell(session, plan, &mut conclusion, findings);
    conclusion
}

fn conclusion(
    session: &Session,
    plan: &RepairPlan,
    outcome: Outcome,
    text: String,
    findings: Vec<Finding>,
) -> Conclusion {
    let mut document = session.document();
    document.outcome = outcome;
    let name = format!("release.helm.sh/{} repaired", plan.release);
    let mut conclusion = Conclusion { document, text, name, own: None };
    tell(session, plan, &mut conclusion, findings);
    conclusion
}

/// What every result of a repair tells.
fn tell(session: &Session, plan: &RepairPlan, conclusion: &mut Conclusion, findings: Vec<Finding>) {
    let document = &mut conclusion.document;
    let deployed = plan.changes.iter().find(|change| change.to == crate::helm::status::Status::Deployed);
    document.release = Some(ReleaseResult {
        name: plan.release.clone(),
        from_revision: plan.revisions.first().map(|newest| newest.revision),
        to_revision: deployed.map(|change| change.revision),
        new_revision: None,
        tag: None,
    });
    document.preflight = findings;
    document.warnings = session.context.reporter.collected().warnings;
    document.warnings.extend(plan.notes.iter().cloned());
    // A command that failed leads on by itself; what comes after a repair comes after it.
    if document.next.is_empty() {
        document.next.clone_from(&plan.next);
    }
    document.repair = Some(Box::new(plan.clone()));
}

impl Session {
    /// Prints the repair on stderr, unless a machine reads along.
    fn show_repair(&self, plan: &RepairPlan) {
        if self.output.output == OutputFormat::Jsonl {
            return;
        }
        let context = &self.context;
        let screen = ui::repair_screen(self.printer(), plan, &context.context_name, &context.namespace);
        self.printer().talk(&screen);
    }
}
