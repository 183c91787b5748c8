//! `to`: procedures 1 and 2 of the runbook, from choosing the revision to a true Helm record.

use super::look::{Look, Wish, look};
use super::rolled_back::Report;
use super::verify::{self, Restored};
use super::{Conclusion, Failure, Session, lock};
use crate::cli::{DEFAULT_HOOK_TIMEOUT, DryRun, ToArgs};
use crate::discover::Scope;
use crate::event::{Phase, StageStatus};
use crate::execute::phase;
use crate::execute::record::{self, OpenRecord};
use crate::execute::rollback::{self, Fault, Options, Rollback, RollbackExecution};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::rollback::saved::SavedPlan;
use crate::reconcile;

/// Runs the command.
pub async fn run(session: &Session, arguments: &ToArgs) -> Result<Conclusion, Failure> {
    let mut wish = match &arguments.plan {
        Some(path) => {
            let path = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .map_err(|source| Failure::usage(format!("cannot read the plan {path}: {source}")))?;
            Wish::of_saved(SavedPlan::parse(&path, &text).map_err(|error| Failure::usage(error.to_string()))?)
        }
        None => Wish::of(session, &arguments.target, arguments.description.as_deref()),
    };
    session.start(wish.release(), &wish.target());
    session.protect(&arguments.protection, arguments.dry_run).await?;
    let look = Box::pin(look(session, &mut wish, arguments.dry_run)).await?;
    lock::check(&look.snapshot.metas, arguments.take_over)?;
    let report = Report { look: &look };
    if arguments.dry_run != DryRun::None {
        look.show(session, "ROLLBACK");
        return Ok(report.planned(session));
    }
    look.show(session, "ROLLBACK");
    if look.is_refused() && !arguments.skip_preflight {
        return Ok(report.refused(session));
    }
    let plan = &look.plan;
    let question = format!(
        "Roll {} back to revision {} in {}/{}?",
        plan.release, plan.target_revision, session.context.context_name, plan.namespace
    );
    session.confirm(&question, &plan.release).await?;

    let mut open = open(session, &look).await?;
    let hook_timeout =
        if session.output.timeout.0.is_zero() { DEFAULT_HOOK_TIMEOUT } else { session.output.timeout };
    let options = Options {
        no_wait: arguments.no_wait,
        wait_for_jobs: arguments.wait_for_jobs,
        cleanup_on_fail: arguments.cleanup_on_fail,
        hook_timeout: hook_timeout.0,
    };
    let rollback = Rollback { snapshot: &look.snapshot, plan, options: &options };
    let execution = rollback::run(&session.context, &rollback, &mut open).await;
    let closed = close(session, &look, &execution, open, arguments.history_max).await;
    let mut conclusion = report.executed(session, &execution, closed.err().as_ref());
    if !arguments.no_verify && !arguments.no_wait {
        let restored = Restored {
            scope: Scope::Release(Some(plan.release.clone())),
            touched: plan.waits.iter().cloned().collect(),
        };
        verify::afterwards(session, &mut conclusion, restored).await?;
    }
    Ok(conclusion)
}

/// Writes the pending record: from here on Helm and pipelines refuse to deploy into the middle.
async fn open(session: &Session, look: &Look) -> Result<OpenRecord, Failure> {
    let (context, snapshot, plan) = (&session.context, &look.snapshot, &look.plan);
    let record = reconcile::rollback_record(
        &snapshot.current.record,
        &snapshot.target.record,
        plan.new_revision,
        &plan.description,
        context.now(),
    );
    record::begin(context, session.driver, record).await.map_err(|error| match error {
        StorageError::Taken { .. } => Failure::locked(format!(
            "somebody else has just begun revision {} of {}; nothing was changed",
            plan.new_revision, plan.release
        ))
        .hinted(format!("kubectl rollback status {} -n {}", plan.release, plan.namespace)),
        error @ StorageError::Forbidden { .. } => {
            Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error)
                .hinted("without the right to write Helm's records bring only the images back: kubectl rollback emergency --skip-reconcile")
        }
        error => error.into(),
    })
}

/// Closes the record: `deployed`, or `failed` with the reason; taken away where nothing at all was done.
async fn close(
    session: &Session,
    look: &Look,
    execution: &RollbackExecution,
    open: OpenRecord,
    history_max: Option<usize>,
) -> Result<(), String> {
    let (context, plan) = (&session.context, &look.plan);
    phase(context, Phase::Reconcile, "closing Helm's record", async {
        let revision = open.meta.revision;
        if matches!(execution.fault, Some(Fault::Interrupted(_))) && !execution.touched_the_cluster() {
            let answer = open.withdraw(context).await.map_err(|error| error.to_string());
            return (
                answer,
                StageStatus::Skipped,
                "nothing was changed; the record was withdrawn".to_owned(),
            );
        }
        let record = match &execution.fault {
            None => reconcile::rolled_back(open.record()),
            Some(fault) => reconcile::rollback_failed(open.record(), &rollback::reason(fault)),
        };
        let status = record.status();
        let answer = open.finish(context, record, plan.target_revision, history_max).await;
        match answer {
            Ok(()) => (Ok(()), StageStatus::Done, format!("revision {revision} is {status}")),
            Err(error) => (Err(error.to_string()), StageStatus::Failed, error.to_string()),
        }
    })
    .await
}
