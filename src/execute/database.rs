//! Runs programs of migrations: questions in a pod or a Job, the downgrade in a Job of the image that knows what is to be
//! undone, after whatever uses the database was stopped and before anything is started (design D9).
//!
//! A Job that has begun is not interrupted, and is found again by the label of its operation: a process that goes on with the
//! operation waits for its end. What became of the database is read from the database, not from exit codes.

mod jobs;
mod read;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answers::words;
use super::{not_begun, phase};
use crate::context::Context;
use crate::database::{self, ReadError, Reading, Wanted, job, position};
use crate::discover::Workload;
use crate::event::{EventKind, Phase, StageStatus};
use crate::plan::database::{DatabasePlan, Standing};
use crate::wait::completion::{Run, RunEnd};
use crate::wait::redaction::redact;
use crate::words::counted;
use crate::workload::WorkloadRef;
use kube::api::{Api, DynamicObject};

pub use read::{Heard, Place, ask, read, read_in_pod};

/// What must not be done twice: the name of the milestone in the journal.
pub const MILESTONE: &str = "database";
/// How long the Job of a downgrade stays, with its output: a day.
const STAYS: Duration = Duration::from_secs(24 * 3600);
/// Lines of its output that are shown and kept.
const OUTPUT_LINES: usize = 200;
/// How much longer than the Job's own limit it is waited for: it takes the controller a moment to say so.
const GRACE: Duration = Duration::from_secs(30);

/// Why a program could not be heard.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The workload has no such container.
    #[error("{workload} has no container {container}")]
    NoContainer {
        /// The workload.
        workload: WorkloadRef,
        /// The name.
        container: String,
    },
    /// The Job could not be made.
    #[error("the Job {name} could not be created: {why}")]
    Create {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The Job did not end well.
    #[error("the Job {name} {why}")]
    Job {
        /// Its name.
        name: String,
        /// What it did.
        why: String,
    },
    /// The program's answer is no use.
    #[error("{program} in {image}: {error}")]
    Program {
        /// Which.
        program: &'static str,
        /// In which image.
        image: String,
        /// Why.
        error: ReadError,
    },
}

/// What became of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseDone {
    /// Where it stands.
    pub standing: Standing,
    /// Where it is, where that could be read.
    pub at: Option<Vec<String>>,
    /// What is still to be undone, newest first, where that could be read.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left: Vec<String>,
    /// The Job that ran the downgrade, where one did.
    pub job: Option<String>,
    /// The last lines of its output, without credentials.
    pub output: Vec<String>,
    /// Why it is not where it should be.
    pub problem: Option<String>,
}

impl DatabaseDone {
    /// Nothing was done, and why.
    pub(super) fn not_begun(why: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Untouched,
            at: None,
            left: Vec::new(),
            job: None,
            output: Vec::new(),
            problem: Some(not_begun(why)),
        }
    }

    /// Whether a Job was made that takes it back, or it was found somewhere else.
    pub fn was_begun(&self) -> bool {
        self.job.is_some() || self.at.is_some()
    }

    /// What went wrong, as a sentence; nothing where the target image fits the database.
    pub fn fault(&self) -> Option<String> {
        let what = match self.standing {
            Standing::Down => return None,
            Standing::HalfWay => "went back in part",
            Standing::Untouched => "was not taken back",
            Standing::Unknown => "is in a state that nobody can tell",
        };
        Some(format!("the database {what}: {}", self.problem.as_deref().unwrap_or("nobody says why")))
    }

    /// Whether the target image fits the database now.
    pub fn is_down(&self) -> bool {
        self.standing == Standing::Down
    }
}

/// Takes the database back, as the phase of that name. Everything that uses it has been stopped.
pub async fn downgrade(context: &Context, plan: &DatabasePlan) -> DatabaseDone {
    let (from, to) = (position(&plan.downgrade.from), position(&plan.downgrade.to));
    let about = format!("{from} → {to}, in {}", plan.image);
    phase(context, Phase::Database, &about, async {
        let done = Box::pin(take_back(context, plan)).await;
        let status = if done.is_down() { StageStatus::Done } else { StageStatus::Failed };
        let message = match &done.problem {
            None => format!("{from} → {to}, {} undone", counted(plan.downgrade.steps.len(), "migration")),
            Some(problem) => problem.clone(),
        };
        if done.is_down() {
            context.guard.milestone(MILESTONE).await;
        }
        (done, status, message)
    })
    .await
}

/// Whether a Job of this operation has begun to take the database back, whatever became of it; an error is a sentence.
pub async fn has_begun(context: &Context, plan: &DatabasePlan) -> Result<bool, String> {
    let jobs = jobs::existing(context, &plan.workload.namespace, "downgrade").await;
    jobs.map(|jobs| !jobs.is_empty()).map_err(|error| words(&error))
}

/// Waits until no Job of this operation takes the database back any more: what uses it must not be started meanwhile. An
/// error says which Job has not ended.
pub async fn let_end(context: &Context, plan: &DatabasePlan) -> Result<(), String> {
    let jobs = jobs::existing(context, &plan.workload.namespace, "downgrade").await;
    let jobs = jobs.map_err(|error| words(&error))?;
    if jobs.is_empty() {
        return Ok(());
    }
    phase(context, Phase::Database, "until no Job takes the database back any more", async {
        for run in &jobs {
            let end = jobs::wait(context, run, plan.timeout() + GRACE, None).await;
            if !matches!(end, RunEnd::Succeeded | RunEnd::Failed(_) | RunEnd::Deleted) {
                let why = format!("the Job {} {}", run.name, jobs::problem(end).unwrap_or_default());
                return (Err(why.clone()), StageStatus::Failed, why);
            }
        }
        (Ok(()), StageStatus::Done, "none does".to_owned())
    })
    .await
}

async fn take_back(context: &Context, plan: &DatabasePlan) -> DatabaseDone {
    let place = match place_of(context, plan).await {
        Ok(place) => place,
        Err(why) => return DatabaseDone::not_begun(why),
    };
    let namespace = &plan.workload.namespace;
    let earlier = match jobs::existing(context, namespace, "downgrade").await {
        Ok(earlier) => earlier,
        Err(error) => return DatabaseDone::not_begun(words(&error)),
    };
    // One that an earlier process has begun is this operation's own: its end is waited for.
    let mut last = None;
    for run in &earlier {
        last = Some(Ran::to_its_end(context, plan, run.clone()).await);
    }
    let name = |count: usize| format!("database-{count}");
    let before = read(context, &plan.settings, &place, Wanted::Database, &name(2 * earlier.len())).await;
    let before = match before {
        Ok(heard) => heard.reading,
        Err(trouble) if last.is_none() => return DatabaseDone::not_begun(trouble),
        Err(trouble) => return ended(context, plan, last, Err(trouble)),
    };
    match plan.standing(&before) {
        Standing::Down => return ended(context, plan, last, Ok(before)),
        Standing::Untouched if plan.place(&before) != plan.downgrade.from => {
            let place = plan.place(&before);
            return DatabaseDone {
                at: Some(place.clone()),
                ..DatabaseDone::not_begun(format!(
                    "somebody has moved the database to {} since the plan was made",
                    position(&place)
                ))
            };
        }
        Standing::Unknown => {
            return DatabaseDone::not_begun(format!("the database is at {}", before.position()));
        }
        Standing::Untouched | Standing::HalfWay => {}
    }
    if let Some(signal) = context.interrupt.signal() {
        return DatabaseDone::not_begun(format!("interrupted by {}", signal.name()));
    }
    let ran = match run_downgrade(context, plan, &place, earlier.len() + 1).await {
        Ok(ran) => ran,
        Err(trouble) => return DatabaseDone::not_begun(trouble),
    };
    // Its last words say where the database is; where it was killed before them, somebody else is asked.
    let after = match read_from_end(plan, &ran.text) {
        Some(reading) => Ok(reading),
        None => read(context, &plan.settings, &place, Wanted::Database, &name(2 * earlier.len() + 1))
            .await
            .map(|heard| heard.reading),
    };
    ended(context, plan, Some(ran), after)
}

/// Where the database is by the last words of the Job that took it back.
fn read_from_end(plan: &DatabasePlan, text: &str) -> Option<Reading> {
    let questions = database::questions(&plan.settings, Wanted::Database);
    database::read(&plan.settings, Wanted::Database, &job::answers(text, &questions)).ok()
}

/// A Job of the downgrade that has ended.
struct Ran {
    run: Run,
    /// Why it did not end well.
    problem: Option<String>,
    /// What its program has said; empty where that cannot be had.
    text: String,
}

impl Ran {
    async fn to_its_end(context: &Context, plan: &DatabasePlan, run: Run) -> Self {
        let end = jobs::wait(context, &run, plan.timeout() + GRACE, None).await;
        let text = jobs::text(context, &run).await.unwrap_or_default();
        Self { run, problem: jobs::problem(end), text }
    }
}

/// The workload's pod template as it is now: with the image that knows what is to be undone.
async fn place_of(context: &Context, plan: &DatabasePlan) -> Result<Place, String> {
    let resource = plan.workload.kind.api_resource();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &plan.workload.namespace, &resource);
    let found = api.get(&plan.workload.name).await;
    let found = found.map_err(|error| words(&error))?;
    let workload = Workload::read(plan.workload.kind, &found);
    let place = Place::of(&plan.settings, &workload).map_err(|error| error.to_string())?;
    if workload.uid != plan.uid || place.image != plan.image {
        return Err(format!(
            "{} runs {} now, and the plan was made for {}",
            plan.workload, place.image, plan.image
        ));
    }
    Ok(place.without_pods())
}

/// Runs the downgrade to its end.
async fn run_downgrade(
    context: &Context,
    plan: &DatabasePlan,
    place: &Place,
    attempt: usize,
) -> Result<Ran, Trouble> {
    let commands = database::downgrade(&plan.settings, &plan.downgrade);
    let questions = database::questions(&plan.settings, Wanted::Database);
    let script = job::downgrade(&commands, &questions, &plan.settings);
    let name = format!("downgrade-{attempt}");
    let limit = plan.timeout();
    let task = jobs::Task { name: &name, purpose: "downgrade", script: &script, limit, stays: STAYS };
    let run = jobs::make(context, &plan.settings, place, &task).await?;
    jobs::report_creation(context, &run);
    Ok(Ran::to_its_end(context, plan, run).await)
}

/// What became of it, from what the Job and the database say.
fn ended(
    context: &Context,
    plan: &DatabasePlan,
    ran: Option<Ran>,
    now: Result<Reading, Trouble>,
) -> DatabaseDone {
    let output = ran.as_ref().map(|ran| show_output(context, ran)).unwrap_or_default();
    let job_ended_well = ran.as_ref().is_some_and(|ran| ran.problem.is_none());
    let (job, problem) = ran.map_or((None, None), |ran| (Some(ran.run.name), ran.problem));
    let last = database::last_line_of(plan.settings.adapter, &output.join("\n"));
    let last = if last.is_empty() { last } else { format!(" with «{last}»") };
    let said = |job: &Option<String>, problem: &Option<String>| match (job, problem) {
        (Some(job), Some(problem)) => format!("the Job {job} {problem}{last}"),
        (Some(job), None) => format!("the Job {job} succeeded"),
        _ => String::new(),
    };
    let left = now.as_ref().map(|reading| plan.left(reading)).unwrap_or_default();
    let (standing, at, problem) = match now {
        Err(trouble) if job_ended_well => {
            context.warn(format!("where the database is could not be read afterwards: {trouble}"));
            (Standing::Down, None, None)
        }
        Err(trouble) => {
            let ended = said(&job, &problem);
            (
                Standing::Unknown,
                None,
                Some(format!("{ended}; where the database is could not be read: {trouble}")),
            )
        }
        Ok(reading) => {
            let standing = plan.standing(&reading);
            let place = plan.place(&reading);
            let position = if reading.lost.is_empty() { position(&place) } else { reading.position() };
            let why = match standing {
                Standing::Down => None,
                _ => Some(format!("{}, and the database is at {position}", said(&job, &problem))),
            };
            if let (Standing::Down, Some(problem)) = (standing, &problem) {
                context.warn(format!(
                    "the Job {} {problem}, but the database is at {position}, where it should be",
                    job.as_deref().unwrap_or_default()
                ));
            }
            (standing, Some(place), why)
        }
    };
    DatabaseDone { standing, at, left, job, output, problem }
}

/// Shows what the program has said, and answers it.
fn show_output(context: &Context, ran: &Ran) -> Vec<String> {
    let lines: Vec<&str> = job::words(&ran.text).lines().filter(|line| !line.trim().is_empty()).collect();
    let lines = &lines[lines.len().saturating_sub(OUTPUT_LINES)..];
    let lines: Vec<String> = lines.iter().map(|line| redact(line)).collect();
    if !lines.is_empty() {
        context.emit(EventKind::Output {
            object: jobs::reference(&ran.run),
            pod: ran.run.name.clone(),
            container: job::CONTAINER.to_owned(),
            lines: lines.clone(),
        });
    }
    lines
}
