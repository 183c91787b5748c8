//! `reconcile`: makes Helm's record equal to what runs, without touching a workload.

use super::{Conclusion, Failure, Session, choose, lock};
use crate::cli::{DryRun, ReconcileArgs};
use crate::discover::{self, Scope, Snapshot};
use crate::event::{Phase, StageStatus};
use crate::execute::record::{self, Statement};
use crate::execute::{hand_over_workloads, phase};
use crate::helm::error::StorageError;
use crate::helm::status::Status;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::swaps;
use crate::reconcile::{Reconciled, Swap};
use crate::report::ReleaseResult;
use crate::workload::WorkloadRef;

/// Runs the command.
pub async fn run(session: &Session, arguments: &ReconcileArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let subjects: Vec<String> = arguments.release.iter().cloned().collect();
    let scope = Scope::read(&subjects, None).map_err(Failure::usage)?;
    session.start(arguments.release.as_deref(), "what runs");
    session.protect(&arguments.protection, arguments.dry_run).await?;
    let snapshot = choose::with_release(session, &scope, async |scope| {
        let read = async { discover::run(context, scope, session.driver).await.map_err(Failure::from) };
        session.unless_interrupted(read).await
    })
    .await?;
    if let Some(problem) = &snapshot.record_problem {
        let name = snapshot.release_name.clone().unwrap_or_default();
        let error = anyhow::anyhow!(
            "{problem}; a record is made only from an older one, never invented. Nothing was changed"
        );
        return Err(Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error).hinted(format!(
            "bring the records back from a backup, or deploy again with the chart: helm upgrade --install {name} CHART -n {} -f VALUES",
            context.namespace
        )));
    }
    let release = snapshot.release.as_ref().expect("a snapshot without a record problem has a release");
    let newest = release.newest().expect("a release that was read has a record");
    lock::check(session, &release.name, &release.metas, arguments.take_over).await?;
    let swaps = swaps::drift(&snapshot);
    let is_deployed = newest.status == Status::Deployed.as_str();
    if swaps.is_empty() && is_deployed {
        let touched: Vec<&WorkloadRef> =
            snapshot.workloads.iter().map(|workload| &workload.reference).collect();
        if arguments.dry_run == DryRun::None {
            hand_over_workloads(context, &touched, &snapshot).await;
        }
        let text =
            format!("Helm's record of {} names what runs already; no revision was written", release.name);
        return Ok(conclusion(session, &snapshot, Outcome::Unchanged, None, text));
    }
    let description =
        crate::reconcile::description(session.procedure, "what runs", newest.revision, &context.operation);
    let statement = Statement { release, swaps: &swaps, description: &description };
    let revision = newest.revision + 1;
    let reconciled = record::describe(context, statement, revision, Status::Deployed).ok_or_else(|| {
        anyhow::anyhow!("no stored revision of {} can be read; nothing was changed", release.name)
    })?;
    let preview = preview(&reconciled, &swaps, revision);
    if arguments.dry_run != DryRun::None {
        return Ok(conclusion(
            session,
            &snapshot,
            Outcome::Planned,
            Some(&reconciled),
            format!("{preview}\ndry run, nothing was changed"),
        ));
    }
    session.printer().talk(&preview);
    session.confirm(&format!("Write revision {revision} of {}?", release.name), &release.name).await?;
    let written = phase(context, Phase::Reconcile, "making Helm's record true", async {
        let answer = record::create(context, session.driver, &reconciled, release.base_revision).await;
        let touched: Vec<&WorkloadRef> =
            snapshot.workloads.iter().map(|workload| &workload.reference).collect();
        let (problems, _) = hand_over_workloads(context, &touched, &snapshot).await;
        for problem in problems {
            context.warn(problem);
        }
        let status = if answer.is_ok() { StageStatus::Done } else { StageStatus::Failed };
        (answer, status, format!("revision {revision}"))
    })
    .await;
    match written {
        Ok(_) => {
            let text = format!("Helm revision {revision} of {} names what runs", release.name);
            let mut conclusion = conclusion(session, &snapshot, Outcome::Succeeded, Some(&reconciled), text);
            if let Some(release) = &mut conclusion.document.release {
                release.new_revision = Some(revision);
            }
            conclusion.document.timings.reconciled_at = Some(context.now());
            Ok(conclusion)
        }
        Err(StorageError::Taken { .. }) => Err(Failure::locked(format!(
            "somebody else has just begun revision {revision} of {}",
            release.name
        ))),
        Err(error) => Err(error.into()),
    }
}

fn preview(reconciled: &Reconciled, swaps: &[Swap], revision: u64) -> String {
    let mut lines = vec![format!("revision {revision} will say:")];
    for swap in swaps {
        lines.push(format!("  {}: {}", swap.container, swap.to));
    }
    for edit in &reconciled.edits {
        lines.push(format!("  value {} = {:?}  ({})", edit.path, edit.value, edit.evidence));
    }
    for unplaced in &reconciled.unplaced {
        lines.push(format!(
            "  no value found for {} {}: {}",
            unplaced.container, unplaced.image, unplaced.reason
        ));
    }
    lines.join("\n")
}

fn conclusion(
    session: &Session,
    snapshot: &Snapshot,
    outcome: Outcome,
    reconciled: Option<&Reconciled>,
    text: String,
) -> Conclusion {
    let mut document = session.document();
    document.outcome = outcome;
    let release = snapshot.release.as_ref();
    document.release = release.map(|release| ReleaseResult {
        name: release.name.clone(),
        from_revision: release.newest().map(|newest| newest.revision),
        to_revision: reconciled.and_then(|reconciled| reconciled.same_images_as),
        new_revision: None,
        tag: None,
    });
    document.next = reconciled
        .iter()
        .flat_map(|reconciled| &reconciled.unplaced)
        .filter_map(|unplaced| Some(format!("give the next helm upgrade: {}", unplaced.suggestion.as_ref()?)))
        .collect();
    let name =
        release.map_or_else(String::new, |release| format!("release.helm.sh/{} reconciled", release.name));
    Conclusion { document, text, name, own: None }
}
