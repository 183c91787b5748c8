//! `db downgrade`: the critical section of an emergency without other images. What uses the database is stopped, the database
//! goes back, and everything is started again as it was.

use super::super::carry_out::{Run, carry_out};
use super::super::facts::Facts;
use super::super::{Conclusion, Failure, Session, database, lock, operation};
use super::{Target, find, way, without_a_way};
use crate::cli::{DowngradeArgs, DryRun};
use crate::database::position;
use crate::discover::Workload;
use crate::execute::Options;
use crate::journal::{EmergencyWork, State, Work};
use crate::outcome::Outcome;
use crate::plan::database::{Fit, add};
use crate::plan::{Plan, emergency};
use crate::registry::ImageReference;
use crate::ui;
use crate::workload::WorkloadRef;

/// The workloads that are stopped meanwhile: those that the configuration names, else all that move along with the one that
/// keeps the migrations: their images have the same version, and come from the same place of the registry.
pub(super) fn users(target: &Target) -> Vec<WorkloadRef> {
    let mark = |image: &str| {
        let image: ImageReference = image.parse().ok()?;
        let place = image.repository.rsplit_once('/').map_or("", |(place, _)| place).to_owned();
        Some((place, image.version().to_owned()))
    };
    let own = mark(&target.place.image);
    let moves_along = |workload: &&Workload| {
        own.is_some() && workload.containers.iter().any(|container| mark(&container.image) == own)
    };
    let same: Vec<WorkloadRef> = target
        .snapshot
        .workloads
        .iter()
        .filter(moves_along)
        .map(|workload| workload.reference.clone())
        .collect();
    database::uses(&target.settings, &target.snapshot.workloads, &same)
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &DowngradeArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let target = find(session, &arguments.to.database).await?;
    session.protect(&arguments.protection, DryRun::None).await?;
    let snapshot = &target.snapshot;
    let standing = match &snapshot.release_name {
        Some(name) => {
            let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
            lock::check(session, name, metas, arguments.take_over).await?
        }
        None => lock::Standing::without_release(arguments.take_over),
    };
    let way = way(session, &target, &arguments.to.goal).await?;
    let Fit::Ahead(downgrade) = &way.fit else {
        let goal = way.target_image.clone().or_else(|| arguments.to.goal.to.clone()).unwrap_or_default();
        let text = without_a_way(&way.fit, &way.current.reading, &goal)?;
        let document = target.document(session, &way.current);
        let mut conclusion = target.conclude(session, &document, format!("{}: {text}", target.subject()))?;
        conclusion.document.outcome = Outcome::Unchanged;
        return Ok(conclusion);
    };
    let to = position(&downgrade.to);
    let mut plan = Plan {
        release: emergency::planned_release(snapshot),
        target: format!("database at {to}"),
        tag: None,
        same_images_as: None,
        workloads: Vec::new(),
        unchanged: Vec::new(),
        skipped: Vec::new(),
        findings: Vec::new(),
        database: None,
    };
    let step = database::step(
        &target.settings,
        &target.place,
        way.target_image.as_deref(),
        downgrade.clone(),
        users(&target),
    );
    add(&mut plan, step, snapshot).map_err(|why| Failure::usage(format!("{why}; nothing was changed")))?;

    session.printer().talk(&screen(session, &target, &plan));
    database::consent(session, arguments.i_have_a_backup)?;
    let place = format!("{}/{}", context.context_name, context.namespace);
    let question = format!("Take the database of {place} back to {to}?");
    session.confirm(&question, snapshot.release_name.as_deref().unwrap_or("yes")).await?;

    let options = Options { no_wait: true, ..Options::default() };
    let work = EmergencyWork {
        plan: plan.clone(),
        findings: Vec::new(),
        options: options.clone(),
        writes_record: false,
        image_managers: std::collections::BTreeMap::new(),
        verify: false,
    };
    let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
    let work = Work::Emergency(Box::new(work));
    let head = operation::head(session, snapshot.release_name.as_deref(), &plan.target, metas, work);
    let restore = super::super::emergency::restore_documents(&plan, snapshot);
    let operation = operation::begin(session, &head, &restore, &standing).await?;
    let mut facts = Facts { plan: &plan, snapshot, findings: &[], skip_reconcile: true };
    let run =
        Run { remaining: &plan, done: Vec::new(), options: &options, writes_record: false, verify: None };
    let answer = Box::pin(carry_out(session, &mut facts, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}

fn screen(session: &Session, target: &Target, plan: &Plan) -> String {
    let printer = session.printer();
    let context = &session.context;
    let mut text = format!(
        "{}  {}   context {}   namespace {}\n",
        printer.strong("DATABASE DOWNGRADE"),
        target.subject(),
        context.context_name,
        context.namespace
    );
    if let Some(step) = &plan.database {
        text.push_str(&ui::database_plan(printer, step));
    }
    let killed: usize = plan.workloads.iter().map(crate::plan::WorkloadPlan::pods_killed).sum();
    let pods = crate::words::counted(killed, "Ready pod");
    text.push_str(
        &printer.caution(&format!("  Stopping them ends {pods}; they are started again as they are.")),
    );
    text
}
