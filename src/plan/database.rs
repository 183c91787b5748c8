//! Whether a database fits the image that is to run, and how it goes back where it does not. Pure.
//!
//! The goal is the newest migration of the *target image*, never "one back": a release may have brought several. What is to
//! be undone are the migrations that were applied and that the target does not know (design D9).

mod applications;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rollback::RollbackPlan;
use super::strategy::Strategy;
use super::{Plan, ReplicaPlan, WorkloadPlan};
use crate::config::{Adapter, DatabaseConfig};
use crate::database::{Migration, Reading, position};
use crate::discover::rollback::RollbackSnapshot;
use crate::discover::workload::SUSPEND_BEFORE;
use crate::discover::{Snapshot, Workload};
use crate::workload::{WorkloadKind, WorkloadRef};

/// A way back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Downgrade {
    /// Where the database is.
    pub from: Vec<String>,
    /// Where it will be: empty means before the first migration; for Django one an application.
    pub to: Vec<String>,
    /// The migrations that are undone, newest first.
    pub steps: Vec<Migration>,
}

/// Whether a database fits an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It is at the newest migration of the image.
    Exact,
    /// The image brings migrations along that were not applied yet.
    Behind(Vec<String>),
    /// Migrations were applied that the image does not know; this undoes them.
    Ahead(Downgrade),
    /// There is no way back that a program may choose.
    NeedsHuman(String),
}

/// Compares what `current`, the image that runs, says about the database with what `target` knows.
pub fn fit(adapter: Adapter, current: &Reading, target: &Reading) -> Fit {
    if !current.lost.is_empty() {
        return Fit::NeedsHuman(format!(
            "the database is at {}, which the image that runs does not know: the one that brought it there is needed",
            position(&current.lost)
        ));
    }
    let steps: Vec<Migration> = current
        .known
        .iter()
        .filter(|migration| current.applied.contains(&migration.id) && !target.knows(&migration.id))
        .cloned()
        .collect();
    if steps.is_empty() {
        let missing = target.heads.iter().filter(|head| !current.applied.contains(head));
        let missing: Vec<String> = missing.cloned().collect();
        return if missing.is_empty() { Fit::Exact } else { Fit::Behind(missing) };
    }
    let one_way: Vec<String> =
        steps.iter().filter(|step| step.irreversible).map(|step| step.id.clone()).collect();
    if !one_way.is_empty() {
        let why = match adapter {
            Adapter::Flyway => "there is no undo migration, or this edition has no undo at all",
            _ => "it was written without a way back",
        };
        return Fit::NeedsHuman(format!(
            "the database is at {}, and {} cannot undo {}, which the target does not know: {why}; the schema goes back by a \
             backup or by hand",
            position(&concerned(adapter, &current.at, &steps)),
            adapter.as_str(),
            position(&one_way)
        ));
    }
    let goal = match adapter {
        Adapter::Alembic => goal_in_a_graph(current, target, &steps),
        Adapter::Django => applications::goals(current, target, &steps),
        Adapter::Flyway | Adapter::Command => goal_in_a_line(adapter, current, &steps),
    };
    match goal {
        Ok(to) => Fit::Ahead(Downgrade { from: concerned(adapter, &current.at, &steps), to, steps }),
        Err(why) => Fit::NeedsHuman(why),
    }
}

/// Of a position what some migrations have to do with.
fn concerned(adapter: Adapter, at: &[String], steps: &[Migration]) -> Vec<String> {
    match adapter {
        Adapter::Django => applications::concerned(at, steps),
        _ => at.to_vec(),
    }
}

/// Whether a database is where the image that runs wants it: at its newest migration. Answers that, or what is wrong.
pub fn own_fit(adapter: Adapter, current: &Reading) -> Result<String, String> {
    let at = current.position();
    let newest = position(&current.heads);
    match fit(adapter, current, current) {
        Fit::Exact => Ok(at),
        Fit::Behind(missing) => Err(format!(
            "the database is at {at}, and {} was not applied: the newest migration is {newest}",
            position(&missing)
        )),
        Fit::NeedsHuman(_) => {
            Err(format!("the database is at {at}, which is not known: the newest migration is {newest}"))
        }
        Fit::Ahead(_) => Err(format!("the database is at {at}, and the newest migration is {newest}")),
    }
}

/// What an image would know that brings nothing newer along than a migration: the goal of a way back that was named. A
/// beginning of its identifier is enough where no other begins so; `base` is before the first one, `app.zero` before the first
/// one of an application.
pub fn known_up_to(adapter: Adapter, current: &Reading, goal: &str) -> Result<Reading, String> {
    if goal == "base" && adapter != Adapter::Django {
        return Ok(Reading::default());
    }
    if let (Adapter::Django, Some(application)) = (adapter, goal.strip_suffix(".zero")) {
        return Ok(applications::without(current, application));
    }
    let exact = current.known.iter().filter(|migration| migration.id == goal);
    let begins = current.known.iter().filter(|migration| migration.id.starts_with(goal));
    let mut found: Vec<&Migration> = exact.collect();
    if found.is_empty() {
        found = begins.collect();
    }
    let [goal] = found.as_slice() else {
        let what = if found.is_empty() {
            "no migration that the image that runs knows"
        } else {
            "the beginning of several migrations"
        };
        return Err(format!("{goal} is {what}"));
    };
    if adapter == Adapter::Django {
        return Ok(applications::up_to(current, &goal.id));
    }
    let index = current.known.iter().position(|migration| migration == *goal).unwrap_or_default();
    let below = crate::database::ancestors(&current.known, &goal.id);
    let stays = |(place, migration): &(usize, &Migration)| match adapter {
        Adapter::Alembic => below.contains(migration.id.as_str()),
        _ => *place >= index,
    };
    let known =
        current.known.iter().enumerate().filter(stays).map(|(_, migration)| migration.clone()).collect();
    Ok(Reading { known, heads: vec![goal.id.clone()], ..Reading::default() })
}

/// The one head of the target, where everything that is to be undone stands on it.
fn goal_in_a_graph(current: &Reading, target: &Reading, steps: &[Migration]) -> Result<Vec<String>, String> {
    let [head] = target.heads.as_slice() else {
        return match target.heads.len() {
            0 => Ok(Vec::new()),
            _ => Err(format!("the target image has several heads: {}", position(&target.heads))),
        };
    };
    if !current.applied.contains(head) {
        return Err(format!(
            "the database has gone another way: {head}, the target's head, was never applied to it"
        ));
    }
    for step in steps {
        if !crate::database::ancestors(&current.known, &step.id).contains(head.as_str()) {
            return Err(format!("{} stands on another branch than {head}, the target's head", step.id));
        }
    }
    Ok(vec![head.clone()])
}

/// The newest migration below those that are undone.
fn goal_in_a_line(adapter: Adapter, current: &Reading, steps: &[Migration]) -> Result<Vec<String>, String> {
    let (undone, stay) = current.applied.split_at(steps.len().min(current.applied.len()));
    if undone.iter().ne(steps.iter().map(|step| &step.id)) {
        return Err(
            "migrations that the target image knows were applied on top of some that it does not".to_owned()
        );
    }
    match stay.first() {
        Some(newest) => Ok(vec![newest.clone()]),
        None if adapter == Adapter::Flyway => Ok(Vec::new()),
        None => Err("the target image knows no migration that was applied".to_owned()),
    }
}

/// What became of a database whose downgrade did not end well, by where it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Nothing of what was to be undone is left: the target image fits.
    Down,
    /// Some of it was undone.
    HalfWay,
    /// Nothing of it was undone.
    Untouched,
    /// Nobody can tell.
    Unknown,
}

/// The database step of a plan: everything that doing it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabasePlan {
    /// Which program, and how it is run.
    pub settings: DatabaseConfig,
    /// The workload whose pod template is taken.
    pub workload: WorkloadRef,
    /// Its UID.
    pub uid: String,
    /// The container of it.
    pub container: String,
    /// The image that knows what is to be undone: it runs the downgrade.
    pub image: String,
    /// The image whose newest migration is the goal; `None` where the goal was named.
    pub target_image: Option<String>,
    /// The way back.
    #[serde(flatten)]
    pub downgrade: Downgrade,
    /// The workloads that are stopped meanwhile.
    pub uses: Vec<WorkloadRef>,
}

impl DatabasePlan {
    /// What became of the database, by what the image that ran the downgrade says now.
    pub fn standing(&self, now: &Reading) -> Standing {
        if !now.lost.is_empty() {
            return Standing::Unknown;
        }
        match self.left(now).len() {
            0 => Standing::Down,
            left if left == self.downgrade.steps.len() => Standing::Untouched,
            _ => Standing::HalfWay,
        }
    }

    /// What is still to be undone, newest first.
    pub fn left(&self, now: &Reading) -> Vec<String> {
        let steps = self.downgrade.steps.iter().map(|step| &step.id);
        steps.filter(|id| now.applied.contains(id)).cloned().collect()
    }

    /// Where the database is, as far as that has to do with the way back.
    pub fn place(&self, now: &Reading) -> Vec<String> {
        concerned(self.settings.adapter, &now.at, &self.downgrade.steps)
    }

    /// How long it may take as a whole.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }
}

/// Adds a way back to a plan: everything that uses the database is stopped before and started after it.
///
/// An error is a workload that uses the database and cannot be stopped.
pub fn add(plan: &mut Plan, step: DatabasePlan, snapshot: &Snapshot) -> Result<(), String> {
    for reference in &step.uses {
        let Some(workload) = snapshot.workload(reference) else { continue };
        can_be_stopped(reference)?;
        if let Some(planned) = plan.workloads.iter_mut().find(|planned| planned.workload == *reference) {
            planned.strategy = Strategy::StopFirst;
            USES.clone_into(&mut planned.why);
        } else {
            plan.unchanged.retain(|unchanged| unchanged != reference);
            plan.workloads.push(stopped_meanwhile(workload, USES));
        }
    }
    plan.database = Some(Box::new(step));
    Ok(())
}

/// Adds a way back to a rollback: everything that uses the database is stopped before, and started by what is applied, or
/// after that.
///
/// An error is a workload that uses the database and cannot be stopped.
pub fn add_to_rollback(
    plan: &mut RollbackPlan,
    step: DatabasePlan,
    snapshot: &RollbackSnapshot,
) -> Result<(), String> {
    for reference in &step.uses {
        let Some(workload) = snapshot.workload(reference) else { continue };
        can_be_stopped(reference)?;
        plan.stopped.push(stopped_meanwhile(workload, USES));
        let found = plan.objects.iter_mut().find(|object| object.workload().as_ref() == Some(reference));
        if let Some(object) = found {
            let target = snapshot.objects.iter().find(|found| found.history.key == object.key);
            let target = target.and_then(|found| found.history.target.as_ref());
            let renders = target.is_some_and(|target| target.pointer("/spec/replicas").is_some());
            // Where a number is applied, that starts it: the note of our stop goes with it.
            object.forget |= renders || object.replicas.is_some();
        }
    }
    plan.database = Some(Box::new(step));
    Ok(())
}

const USES: &str = "uses the database, which goes back meanwhile";

fn can_be_stopped(workload: &WorkloadRef) -> Result<(), String> {
    if workload.kind == WorkloadKind::DaemonSet {
        return Err(format!("{workload} uses the database, and a DaemonSet cannot be stopped"));
    }
    Ok(())
}

/// A workload that is stopped and started again as it is.
fn stopped_meanwhile(workload: &Workload, why: &str) -> WorkloadPlan {
    let live = workload.replicas;
    let remembered = workload.remembered_replicas().filter(|_| live == Some(0));
    WorkloadPlan {
        workload: workload.reference.clone(),
        uid: workload.uid.clone(),
        strategy: Strategy::StopFirst,
        why: why.to_owned(),
        containers: Vec::new(),
        replicas: live.map(|live| {
            let before = remembered.unwrap_or(live);
            ReplicaPlan { before, after: before, live }
        }),
        ready_pods: workload.ready_pods(),
        unstick: false,
        suspend_after: (workload.reference.kind == WorkloadKind::CronJob).then(|| {
            let noted = workload.annotations.get(SUSPEND_BEFORE).map(|value| value == "true");
            noted.unwrap_or(workload.suspended)
        }),
        grace_seconds: workload.grace_seconds(),
        forget: false,
        has_annotations: !workload.annotations.is_empty(),
    }
}
