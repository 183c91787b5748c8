//! `resume`: goes on with an operation that a process has begun and not ended, from its journal and from what runs now.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::carry_out::{Run, carry_out};
use super::facts::Facts;
use super::look::Look;
use super::operation::{self, find};
use super::verify::Restored;
use super::{Conclusion, Failure, Session, survey, to};
use crate::cli::{ResumeArgs, WorkloadSelector};
use crate::discover::rollback::{self, Wanted};
use crate::discover::{self, Scope, Snapshot};
use crate::event::{Phase, StageStatus};
use crate::execute::database::MILESTONE;
use crate::execute::operation::lease::Takeable;
use crate::execute::operation::store::Opened;
use crate::execute::{Swapped, phase};
use crate::helm::storage::Storage;
use crate::journal::{EmergencyWork, Head, RollbackWork, State, Work};
use crate::outcome::{ExitCode, Outcome};
use crate::plan::resume::{remaining, rewind};
use crate::plan::rollback::forecast::Forecast;
use crate::words::{age, counted};

/// Runs the command.
pub async fn run(session: &Session, arguments: &ResumeArgs) -> Result<Conclusion, Failure> {
    let opened = session.unless_interrupted(find(session, arguments.operation.as_deref())).await?;
    let head = opened.journal.head.clone();
    if let Some(done) = refuse(session, &head, opened.state)? {
        return Ok(done);
    }
    let own = session.of_operation(&head);
    own.start(head.release.as_deref(), &head.target);
    let answer = Box::pin(go_on(&own, arguments, opened)).await;
    // What was begun under the operation's name ends under it.
    Ok(answer.unwrap_or_else(|failure| Conclusion::of_failure(&own, &failure)))
}

async fn go_on(session: &Session, arguments: &ResumeArgs, opened: Opened) -> Result<Conclusion, Failure> {
    let head = opened.journal.head.clone();
    let takeable = operation::not_held(session, &head, arguments.take_over).await?;
    nobody_came_after(session, &head).await?;
    match head.work.clone() {
        Work::Emergency(work) => Box::pin(emergency(session, &takeable, opened, &work)).await,
        Work::Rollback(work) => Box::pin(to_revision(session, &takeable, opened, &work)).await,
    }
}

/// There may be nothing to go on with.
fn refuse(session: &Session, head: &Head, state: State) -> Result<Option<Conclusion>, Failure> {
    let (operation, namespace) = (&head.operation, &head.namespace);
    match state {
        State::Open | State::Failed => Ok(None),
        State::Finished => {
            let error =
                anyhow!("operation {operation} has done what it was meant to do; nothing was changed");
            let failure = Failure::new(ExitCode::Success, Outcome::Unchanged, error);
            Ok(Some(Conclusion::of_failure(&session.of_operation(head), &failure)))
        }
        State::Aborting => Err(Failure::usage(format!(
            "operation {operation} is being undone, it cannot be gone on with; nothing was changed"
        ))
        .hinted(format!("kubectl rollback abort {operation} -n {namespace}"))),
        State::Aborted | State::Abandoned => Err(Failure::usage(format!(
            "operation {operation} was {}; nothing was changed",
            if state == State::Aborted { "undone" } else { "left, and another one took its release over" }
        ))
        .hinted(format!("kubectl rollback operations show {operation} -n {namespace}"))),
    }
}

/// Refuses where a newer revision than the operation's own is there: somebody has deployed since.
async fn nobody_came_after(session: &Session, head: &Head) -> Result<(), Failure> {
    let (Some(name), Some(ours)) = (&head.release, head.new_revision()) else { return Ok(()) };
    let context = &session.context;
    let storage = Storage::new(context.client.clone(), &context.namespace, session.driver);
    let metas = storage.list(name).await?;
    match metas.first().filter(|newest| newest.revision > ours) {
        None => Ok(()),
        Some(newest) => {
            let error = anyhow!(
                "somebody has written revision {} of {name} ({}) since; nothing was changed",
                newest.revision,
                newest.status
            );
            Err(Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error)
                .hinted(format!("kubectl rollback status {name} -n {}", context.namespace)))
        }
    }
}

/// What is asked before it goes on.
async fn confirm(session: &Session, head: &Head, what: &str) -> Result<(), Failure> {
    let begun = age(head.started_at, session.context.now());
    session.printer().talk(&format!(
        "RESUME  operation {}: {} {} to {}, begun {begun} ago by {}\n  {what}",
        head.operation,
        head.procedure,
        head.release.as_deref().unwrap_or("workloads"),
        head.target,
        head.actor
    ));
    let word = head.release.as_deref().unwrap_or("yes");
    session.confirm(&format!("Go on with operation {}?", head.operation), word).await
}

async fn emergency(
    session: &Session,
    takeable: &Takeable,
    opened: Opened,
    work: &EmergencyWork,
) -> Result<Conclusion, Failure> {
    let head = opened.journal.head.clone();
    let mut snapshot = session.unless_interrupted(Box::pin(read(session, &head, work))).await?;
    let database_is_done = opened.journal.milestones().contains(MILESTONE);
    let left = remaining(&work.plan, &snapshot, database_is_done);
    rewind(&mut snapshot, &work.plan, &work.image_managers);
    let what = format!(
        "{} of {} written, {} to go",
        left.done.len(),
        counted(work.plan.workloads.len(), "workload"),
        left.plan.workloads.len()
    );
    confirm(session, &head, &what).await?;
    let (operation, _) = operation::take_up(session, opened, State::Open, takeable).await?;
    let mut facts = Facts {
        plan: &work.plan,
        snapshot: &snapshot,
        findings: &work.findings,
        skip_reconcile: !work.writes_record,
    };
    let done = left.done.into_iter().map(|(plan, generation)| Swapped::before(plan, generation)).collect();
    let run = Run {
        remaining: &left.plan,
        done,
        options: &work.options,
        writes_record: work.writes_record,
        verify: work.verify.then(|| Restored::of(scope_of(&head, work), &work.plan)),
    };
    let answer = Box::pin(carry_out(session, &mut facts, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}

/// What the emergency is about.
fn scope_of(head: &Head, work: &EmergencyWork) -> Scope {
    match &head.release {
        Some(name) => Scope::Release(Some(name.clone())),
        None => Scope::Workloads(
            work.plan
                .touched()
                .map(|workload| WorkloadSelector { kind: workload.kind, name: workload.name.clone() })
                .collect(),
        ),
    }
}

async fn read(session: &Session, head: &Head, work: &EmergencyWork) -> Result<Snapshot, Failure> {
    let scope = scope_of(head, work);
    Box::pin(survey::read(session, discover::run(&session.context, &scope, session.driver))).await
}

async fn to_revision(
    session: &Session,
    takeable: &Takeable,
    opened: Opened,
    work: &RollbackWork,
) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let plan = &work.plan;
    let head = opened.journal.head.clone();
    let wanted = Wanted {
        revision: Some(plan.target_revision),
        allow_failed: true,
        below: Some(plan.new_revision),
        ..Wanted::default()
    };
    let snapshot = session
        .unless_interrupted(async {
            phase(context, Phase::Discover, "reading the cluster", async {
                let answer = Box::pin(rollback::read(context, &plan.release, &wanted, session.driver)).await;
                let (status, message) = match &answer {
                    Ok(snapshot) => (StageStatus::Done, counted(snapshot.objects.len(), "object")),
                    Err(error) => (StageStatus::Failed, error.to_string()),
                };
                (answer, status, message)
            })
            .await
            .map_err(|error| Failure::from(anyhow!(error)))
        })
        .await?;
    let milestones: BTreeSet<String> = opened.journal.milestones();
    let what = format!("{} sent so far", counted(opened.journal.writes(), "write"));
    confirm(session, &head, &what).await?;
    let (operation, _) = operation::take_up(session, opened, State::Open, takeable).await?;
    let look = Look {
        snapshot,
        plan: plan.clone(),
        forecast: Forecast::default(),
        differences: Vec::new(),
        findings: work.findings.clone(),
    };
    let run =
        to::Run { options: &work.options, history_max: work.history_max, milestones, verify: work.verify };
    let answer = Box::pin(to::carry_out(session, &look, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}
