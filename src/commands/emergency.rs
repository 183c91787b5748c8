//! `emergency`: procedure 3 of the runbook, from finding the workloads to a true Helm record.

use std::collections::BTreeSet;

use super::decide::decide;
use super::facts::Facts;
use super::verify::{self, Restored};
use super::{Conclusion, Failure, Session, choose, lock};
use crate::cli::{DryRun, EmergencyArgs, OutputFormat, StrategyChoice};
use crate::discover::{self, Scope, Snapshot};
use crate::event::{EventKind, Finding, FindingStatus, Phase, StageStatus};
use crate::execute::record::{self, Close, OpenRecord, Statement};
use crate::execute::{self, Execution, Options, phase};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::emergency::{Request, Target};
use crate::plan::strategy::Wish;
use crate::plan::{Plan, swaps};
use crate::preflight;
use crate::ui;
use crate::wait::WaitEnd;
use crate::words::counted;
use crate::workload::WorkloadKind;

/// Runs the command.
pub async fn run(session: &Session, arguments: &EmergencyArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let scope = Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
    let mut wanted = request_of(arguments, &scope);
    let named = match &scope {
        Scope::Release(name) => name.as_deref(),
        _ => None,
    };
    session.start(named, &wanted.target.to_string());
    session.protect(&arguments.protection, arguments.dry_run).await?;

    let snapshot = choose::with_release(session, &scope, async |scope| {
        session.unless_interrupted(Box::pin(find(session, scope))).await
    })
    .await?;
    for warning in &snapshot.warnings {
        context.warn(warning.clone());
    }
    if let Some(release) = &snapshot.release {
        lock::check(&release.metas, arguments.take_over)?;
    }
    let plan = session.unless_interrupted(decide(session, &mut wanted, &snapshot)).await?;
    let findings = session.unless_interrupted(ask_the_server(session, &snapshot, &plan, arguments)).await?;

    let swaps = swaps::if_all_written(&plan, &snapshot);
    let mut facts = Facts {
        plan: &plan,
        snapshot: &snapshot,
        findings: &findings,
        skip_reconcile: arguments.skip_reconcile,
    };
    if arguments.dry_run != DryRun::None {
        session.show_plan(&facts);
        return Ok(facts.planned(session));
    }
    let may_write_record = !arguments.skip_reconcile && snapshot.release.is_some();
    if plan.workloads.is_empty() && swaps.is_empty() && (facts.record_is_deployed() || !may_write_record) {
        return Ok(watch(session, arguments, &facts).await);
    }
    if !arguments.skip_preflight && findings.iter().any(|finding| finding.status == FindingStatus::Fail) {
        session.show_plan(&facts);
        return Ok(facts.refused(session));
    }
    session.show_plan(&facts);
    let word = plan.release.as_ref().map_or("yes", |release| release.name.as_str());
    let question = format!("Go back to {} in {}/{}?", plan.target, context.context_name, context.namespace);
    session.confirm(&question, word).await?;

    let open =
        if may_write_record { open_record(session, &plan, &snapshot, &mut facts).await? } else { None };
    let options = Options {
        stop_timeout: arguments.stop_timeout.map(|limit| limit.0),
        strict_stop: arguments.strict_stop,
        no_wait: arguments.no_wait,
    };
    let mut execution =
        Execution { workloads: execute::swap(context, &plan, &options).await, ..Execution::default() };
    if !arguments.no_wait && context.interrupt.signal().is_none() {
        execute::wait(context, &plan, &mut execution, &snapshot).await;
    }
    // A signal that came when everything was done already interrupted nothing.
    execution.interrupted = context.interrupt.signal().filter(|_| !execution.is_complete(arguments.no_wait));
    let closed = close(session, &plan, &snapshot, &execution, open).await;
    let mut conclusion = facts.executed(session, &execution, closed);
    if !arguments.no_verify && !arguments.no_wait {
        let restored = Restored {
            scope: snapshot.release_name.clone().map_or(scope, |name| Scope::Release(Some(name))),
            touched: plan.touched().cloned().collect(),
        };
        verify::afterwards(session, &mut conclusion, restored).await?;
    }
    Ok(conclusion)
}

/// Everything is at the target already, and nothing is to be written: only whether it is ready is left to say.
async fn watch(session: &Session, arguments: &EmergencyArgs, facts: &Facts<'_>) -> Conclusion {
    let mut execution = Execution::default();
    if facts.unchanged_are_ready() && facts.record_is_deployed() {
        return facts.unchanged(session);
    }
    if !arguments.no_wait {
        execute::wait(&session.context, facts.plan, &mut execution, facts.snapshot).await;
    }
    execution.interrupted =
        session.context.interrupt.signal().filter(|_| !execution.is_complete(arguments.no_wait));
    facts.watched(session, &execution)
}

fn request_of(arguments: &EmergencyArgs, scope: &Scope) -> Request {
    let target = match (&arguments.tag, &arguments.digest, arguments.to_revision) {
        (Some(tag), _, _) => Target::Tag(tag.clone()),
        (_, Some(digest), _) => Target::Digest(digest.clone()),
        (_, _, Some(revision)) => Target::Revision(revision),
        _ => Target::ImagesOnly,
    };
    Request {
        target,
        images: arguments.image.clone(),
        take: arguments.container.clone(),
        keep: arguments.exclude.clone(),
        replicas: arguments.replicas.clone(),
        wish: match arguments.strategy {
            StrategyChoice::Auto => Wish::Auto,
            StrategyChoice::Rolling => Wish::Rolling,
            StrategyChoice::StopFirst => Wish::StopFirst,
        },
        named_workloads: matches!(scope, Scope::Workloads(_)),
    }
}

async fn find(session: &Session, scope: &Scope) -> Result<Snapshot, Failure> {
    let context = &session.context;
    phase(context, Phase::Discover, "reading the cluster", async {
        let answer = Box::pin(discover::run(context, scope, session.driver)).await;
        let (status, message) = match &answer {
            Ok(snapshot) => {
                let name = snapshot
                    .release_name
                    .as_ref()
                    .map(|name| format!("release {name}, "))
                    .unwrap_or_default();
                (StageStatus::Done, format!("{name}{}", counted(snapshot.workloads.len(), "workload")))
            }
            Err(error) => (StageStatus::Failed, error.to_string()),
        };
        (answer, status, message)
    })
    .await
    .map_err(Failure::from)
}

async fn ask_the_server(
    session: &Session,
    snapshot: &Snapshot,
    plan: &Plan,
    arguments: &EmergencyArgs,
) -> Result<Vec<Finding>, Failure> {
    let context = &session.context;
    let scope = preflight::Scope {
        server: arguments.dry_run != DryRun::Client,
        record: (!arguments.skip_reconcile).then_some(session.driver),
    };
    Ok(phase(context, Phase::Preflight, "asking the API server", async {
        let findings = preflight::run(context, snapshot, plan, scope).await;
        for finding in &findings {
            context.emit(EventKind::Preflight(finding.clone()));
        }
        let failed = findings.iter().filter(|finding| finding.status == FindingStatus::Fail).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = format!("{}, {failed} failed", counted(findings.len(), "check"));
        (findings, status, message)
    })
    .await)
}

/// Writes the pending record. Where it cannot be written, that is said and the emergency goes on; where somebody else
/// took the revision, it does not.
async fn open_record(
    session: &Session,
    plan: &Plan,
    snapshot: &Snapshot,
    facts: &mut Facts<'_>,
) -> Result<Option<OpenRecord>, Failure> {
    let (Some(release), Some(planned)) = (&snapshot.release, &plan.release) else {
        return Ok(None);
    };
    let description = session.description(&plan.target, planned.current_revision);
    let answer =
        record::open(&session.context, session.driver, release, planned.new_revision, &description).await;
    match answer {
        Ok(open) => Ok(open),
        Err(StorageError::Taken { .. }) => Err(Failure::locked(format!(
            "somebody else has just begun revision {} of {}; nothing was changed",
            planned.new_revision, planned.name
        ))
        .hinted(format!("kubectl rollback status {} -n {}", planned.name, session.context.namespace))),
        Err(error) => {
            session.context.warn(format!(
                "Helm's record cannot be written, so that a deploy could run into this: {error}"
            ));
            facts.skip_reconcile = true;
            Ok(None)
        }
    }
}

/// What became of Helm's record.
pub type ReconcileAnswer = Result<Option<crate::reconcile::Reconciled>, String>;

/// Hands the fields over and closes the record, whatever happened before: it names the images that run.
async fn close(
    session: &Session,
    plan: &Plan,
    snapshot: &Snapshot,
    execution: &Execution,
    open: Option<OpenRecord>,
) -> (Vec<String>, ReconcileAnswer) {
    let context = &session.context;
    phase(context, Phase::Reconcile, "making Helm's record true", async {
        let (mut problems, foreign) = execute::hand_over_all(context, execution, snapshot).await;
        for manager in &foreign {
            context.warn(format!("{manager}: somebody else's fields; the next Helm 4 upgrade conflicts where the chart says otherwise (--force-conflicts takes them)"));
        }
        let Some(open) = open else {
            let status = if problems.is_empty() { StageStatus::Skipped } else { StageStatus::Failed };
            return ((problems, Ok(None)), status, "Helm's record is not ours to write".to_owned());
        };
        let written: BTreeSet<_> = execution.written().map(|swapped| &swapped.plan.workload).collect();
        let nothing_written = written.is_empty() && !context.reporter.collected().changed_workloads;
        if nothing_written && !plan.workloads.is_empty() {
            let answer = open.withdraw(context).await.map(|()| None).map_err(|error| error.to_string());
            return (
                (problems, answer),
                StageStatus::Skipped,
                "nothing was written; the record was withdrawn".to_owned(),
            );
        }
        let release = snapshot.release.as_ref().expect("a record is opened only for a release that was read");
        let swaps = swaps::after(plan, snapshot, &written);
        let from = plan.release.as_ref().map_or(0, |release| release.current_revision);
        let description = session.description(&plan.target, from);
        let statement = Statement { release, swaps: &swaps, description: &description };
        let verdict = match failure_reason(execution) {
            None => Close::Deployed,
            Some(reason) => Close::Failed(reason),
        };
        let revision = open.meta.revision;
        let answer = open.close(context, statement, &verdict).await.map_err(|error| error.to_string());
        let (status, message) = match (&answer, &verdict) {
            (Ok(_), Close::Deployed) => (StageStatus::Done, format!("revision {revision} is deployed")),
            (Ok(_), Close::Failed(_)) => {
                (StageStatus::Done, format!("revision {revision} is failed, and names what runs"))
            }
            (Err(error), _) => (StageStatus::Failed, error.clone()),
        };
        if let Err(error) = &answer {
            problems.push(format!("Helm's record could not be closed: {error}"));
        }
        ((problems, answer), status, message)
    })
    .await
}

/// Why the release is not what it should be, in a sentence for its record; `None` where it is.
fn failure_reason(execution: &Execution) -> Option<String> {
    if let Some(signal) = execution.interrupted {
        return Some(format!("interrupted by {}", signal.name()));
    }
    let unwritten: Vec<String> = execution
        .workloads
        .iter()
        .filter_map(|swapped| Some(format!("{}: {}", swapped.plan.workload, swapped.problem.as_ref()?)))
        .collect();
    if !unwritten.is_empty() {
        return Some(unwritten.join("; "));
    }
    let unready: Vec<String> = execution
        .written()
        .map(|swapped| &swapped.plan.workload)
        .filter(|workload| workload.kind != WorkloadKind::CronJob && !execution.ready.contains(workload))
        .map(ToString::to_string)
        .collect();
    match execution.wait {
        None | Some(WaitEnd::Ready) => None,
        Some(WaitEnd::TimedOut) => Some(format!("not ready in time: {}", unready.join(", "))),
        Some(_) => Some(format!("not ready: {}", unready.join(", "))),
    }
}

/// The exit code and outcome of what was carried out.
pub fn verdict(execution: &Execution, reconcile_open: bool) -> (ExitCode, Outcome) {
    if let Some(signal) = execution.interrupted {
        return (signal.exit_code(), Outcome::Interrupted);
    }
    if execution
        .workloads
        .iter()
        .any(|swapped| swapped.problem.is_some() && !swapped.written || swapped.left_stopped)
    {
        return (ExitCode::Unexpected, Outcome::Failed);
    }
    match execution.wait {
        Some(WaitEnd::NotReady) => (ExitCode::NotReady, Outcome::Failed),
        Some(WaitEnd::TimedOut) => (ExitCode::TimedOut, Outcome::TimedOut),
        _ if reconcile_open => (ExitCode::ReconcilePending, Outcome::ReconcilePending),
        _ => (ExitCode::Success, Outcome::Succeeded),
    }
}

impl Session {
    /// Prints the plan on stderr, unless a machine reads along.
    fn show_plan(&self, facts: &Facts<'_>) {
        if self.output.output == OutputFormat::Jsonl {
            return;
        }
        let wide = self.output.output == OutputFormat::Wide;
        let context = &self.context;
        let screen = ui::plan_screen(
            self.printer(),
            facts.plan,
            &context.context_name,
            &context.namespace,
            facts.findings,
            wide,
        );
        self.printer().talk(&screen);
    }

    /// The description of the record that this operation writes.
    fn description(&self, target: &str, from: u64) -> String {
        let text = crate::reconcile::description(self.procedure, target, from, &self.context.operation);
        match (&self.output.reason, &self.output.incident) {
            (Some(reason), Some(incident)) => format!("{text}: {reason} ({incident})"),
            (Some(reason), None) => format!("{text}: {reason}"),
            (None, Some(incident)) => format!("{text} ({incident})"),
            (None, None) => text,
        }
    }
}
