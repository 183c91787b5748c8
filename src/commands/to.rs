//! `to`: procedures 1 and 2 of the runbook, from choosing the revision to a true Helm record.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;

use super::database::{self, DatabaseWish};
use super::look::{Look, Wish, look};
use super::rolled_back::Report;
use super::verify::{self, Restored};
use super::{Conclusion, Failure, Session, file, lock, operation};
use crate::cli::{DEFAULT_HOOK_TIMEOUT, DryRun, ToArgs};
use crate::discover::Scope;
use crate::event::{Phase, StageStatus};
use crate::execute::phase;
use crate::execute::record::{self, OpenRecord};
use crate::execute::rollback::{self, Done, Fault, Options, Rollback, RollbackExecution};
use crate::helm::error::StorageError;
use crate::journal::restore::Restore;
use crate::journal::{RollbackWork, State, Work};
use crate::outcome::{ExitCode, Outcome};
use crate::plan::rollback::Action;
use crate::plan::rollback::saved::PROCEDURE;
use crate::preflight::rules::Extent;
use crate::reconcile;

/// Runs the command.
pub async fn run(session: &Session, arguments: &ToArgs) -> Result<Conclusion, Failure> {
    let wish = wish(session, arguments)?;
    session.start(wish.release(), &wish.target());
    session.protect(&arguments.protection, arguments.dry_run).await?;
    Box::pin(from_wish(session, arguments, wish)).await
}

/// The same at the end of a deploy, back to the revision that was noted before it, where one was.
pub(super) async fn roll_back(session: &Session, arguments: &ToArgs) -> Result<Conclusion, Failure> {
    let mut wish = wish(session, arguments)?;
    wish.note();
    Box::pin(from_wish(session, arguments, wish)).await
}

fn wish(session: &Session, arguments: &ToArgs) -> Result<Wish, Failure> {
    let mut wish = match &arguments.plan {
        Some(path) => Wish::of_saved(session, file::read(path, PROCEDURE)?),
        None => Wish::of(session, &arguments.target, arguments.description.as_deref()),
    };
    wish.database = DatabaseWish::of(arguments.dry_run, arguments.db_downgrade);
    wish.extent = Extent {
        no_wait: arguments.no_wait,
        cleanup_on_fail: arguments.cleanup_on_fail,
        wait_for_jobs: arguments.wait_for_jobs,
        history_max: arguments.history_max,
        ..wish.extent
    };
    Ok(wish)
}

async fn from_wish(session: &Session, arguments: &ToArgs, mut wish: Wish) -> Result<Conclusion, Failure> {
    let look = Box::pin(look(session, &mut wish, arguments.dry_run)).await?;
    let standing =
        lock::check(session, &look.plan.release, &look.snapshot.metas, arguments.take_over).await?;
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
    let place = format!("{}/{}", session.context.context_name, plan.namespace);
    let mut question = format!("Roll {} back to revision {} in {place}?", plan.release, plan.target_revision);
    if let Some(step) = &plan.database {
        database::consent(session, arguments.i_have_a_backup)?;
        question = database::question(
            step,
            &format!("roll {} back to revision {}", plan.release, plan.target_revision),
            &place,
        );
    }
    session.confirm(&question, &plan.release).await?;

    let hook_timeout =
        if session.output.timeout.0.is_zero() { DEFAULT_HOOK_TIMEOUT } else { session.output.timeout };
    let options = Options {
        no_wait: arguments.no_wait,
        wait_for_jobs: arguments.wait_for_jobs,
        cleanup_on_fail: arguments.cleanup_on_fail,
        hook_timeout: hook_timeout.0,
    };
    let work = RollbackWork {
        plan: plan.clone(),
        findings: look.findings.clone(),
        options: options.clone(),
        history_max: arguments.history_max,
        verify: !arguments.no_verify && !arguments.no_wait,
    };
    let head = operation::head(
        session,
        Some(&plan.release),
        &format!("revision {}", plan.target_revision),
        &look.snapshot.metas,
        Work::Rollback(Box::new(work)),
    );
    let restore = restore_documents(&look);
    let operation = operation::begin(session, &head, &restore, &standing).await?;
    let run = Run {
        options: &options,
        history_max: arguments.history_max,
        milestones: BTreeSet::new(),
        verify: !arguments.no_verify && !arguments.no_wait,
    };
    let answer = Box::pin(carry_out(session, &look, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}

/// What is left to do of a rollback.
pub struct Run<'a> {
    /// How.
    pub options: &'a Options,
    /// How many revisions stay.
    pub history_max: Option<usize>,
    /// What must not be done twice and was done before.
    pub milestones: BTreeSet<String>,
    /// Whether it is checked afterwards that it is well.
    pub verify: bool,
}

/// The part of a rollback after its confirmation, the first time and when it is gone on with. An error means that nothing
/// was written.
pub async fn carry_out(session: &Session, look: &Look, run: Run<'_>) -> Result<Conclusion, Failure> {
    let (context, plan) = (&session.context, &look.plan);
    let mut open = match record::adopt(context, session.driver, &plan.release, plan.new_revision).await? {
        Some(ours) => ours,
        None => open(session, look).await?,
    };
    let rollback =
        Rollback { snapshot: &look.snapshot, plan, options: run.options, milestones: &run.milestones };
    let execution = rollback::run(context, &rollback, &mut open).await;
    let closed = Box::pin(close(session, look, &execution, open, run.history_max)).await;
    let report = Report { look };
    tell(session, look, &execution).await;
    let mut conclusion = report.executed(session, &execution, closed.err().as_ref());
    if run.verify {
        let restored = Restored {
            scope: Scope::Release(Some(plan.release.clone())),
            touched: plan.waits.iter().cloned().collect(),
        };
        verify::afterwards(session, &mut conclusion, restored).await?;
    }
    Ok(conclusion)
}

/// Kubernetes Events on the workloads that were changed and on the release: who did what and why.
async fn tell(session: &Session, look: &Look, execution: &RollbackExecution) {
    let (context, plan) = (&session.context, &look.plan);
    let why = session.output.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let note = format!(
        "operation {} by {}: {} back to revision {}{why}",
        context.operation, context.actor, plan.release, plan.target_revision
    );
    let changed = execution.objects.iter().filter(|(_, done)| matches!(done, Done::Created | Done::Changed));
    let told: Vec<(ObjectReference, String)> = changed
        .filter_map(|(key, _)| plan.objects.iter().find(|step| step.key == *key))
        .filter_map(|step| Some((step, step.workload()?)))
        .map(|(step, workload)| ObjectReference {
            api_version: Some(step.api_version.clone()),
            kind: Some(step.key.kind.clone()),
            namespace: Some(workload.namespace),
            name: Some(workload.name),
            uid: step.uid.clone(),
            ..ObjectReference::default()
        })
        .chain([operation::record_reference(session, &plan.release, plan.new_revision)])
        .map(|reference| (reference, note.clone()))
        .collect();
    crate::execute::operation::tell(context, &told, execution.fault.is_none()).await;
}

/// What `abort` needs: every object that is written or deleted as it is now, and as it is meant to become.
fn restore_documents(look: &Look) -> Vec<Restore> {
    let steps = look.plan.objects.iter().filter(|step| step.action != Action::Keep);
    steps
        .map(|step| Restore {
            key: step.key.clone(),
            api_version: step.api_version.clone(),
            before: look.snapshot.live(&step.key).cloned(),
            after: look.forecast.after(&step.key).cloned(),
        })
        .collect()
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
