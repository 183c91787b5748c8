//! Runs the hooks of an event one after the other, as Helm does: makes room, notes the run in the record, creates the
//! object, waits for its end, shows output and deletes by the hook's policies.
//!
//! Other than Helm it always waits until the old object is gone, knows early what will never run, and never leaves a
//! hook that failed as `Running`.

mod error;
mod objects;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::context::Context;
use crate::discover::apis::Apis;
use crate::event::{Diagnosis, DiagnosisCode, EventKind, ObjectReference, Severity};
use crate::helm::error::StorageError;
use crate::helm::hooks::{self, EventHook, FAILED, HookPhase, SUCCEEDED};
use crate::helm::record::Record;
use crate::helm::status::ApplyMethod;
use crate::wait::completion::{self, Run, RunEnd, RunKind};
use crate::wait::logs;

pub use error::{HookError, HookProblem, NotBegun, RoomProblem};
use objects::Created;

/// Lines of a container's output that a policy shows.
const OUTPUT_LINES: i64 = 1000;

/// Which hooks are run, and how.
#[derive(Debug, Clone, Copy)]
pub struct HookRun<'a> {
    /// `pre-rollback` or `post-rollback`.
    pub event: &'a str,
    /// How long each hook may take, Helm's `--timeout`; zero means that only the operation's own limit counts.
    pub timeout: Duration,
    /// The namespace of objects that name none: the release's.
    pub namespace: &'a str,
}

/// Runs the hooks of an event. What became of each stands in `record` afterwards, whatever the answer is.
///
/// `persist` stores the record before each hook and after a failure. Where that is not possible the hooks run all the same;
/// where it turns out that somebody else changed the record, they do not.
pub async fn run(
    context: &Context,
    record: &mut Record,
    apis: &mut Apis,
    run: &HookRun<'_>,
    mut persist: impl AsyncFnMut(&Record) -> Result<(), StorageError>,
) -> Result<(), HookError> {
    let hooks = hooks::of_event(record, run.event)?;
    let versions = hooks.iter().flat_map(|hook| &hook.objects).map(|object| field(object, "/apiVersion"));
    apis.add(&context.client, versions).await;
    // Before the first one runs, it is known that all of them can.
    for hook in &hooks {
        for object in &hook.objects {
            apis.require(field(object, "/apiVersion"), field(object, "/kind"))
                .map_err(|problem| HookError::new(run, hook, HookProblem::Api(problem)))?;
        }
    }
    let runner = Runner { context, apis, run, method: record.apply_method() };
    let mut done: Vec<(&EventHook, Vec<Created>)> = Vec::new();
    for hook in &hooks {
        let mut created = Vec::new();
        let Err(problem) = runner.one(record, hook, &mut created, &mut persist).await else {
            record.end_hook(hook.index, HookPhase::Succeeded, context.now());
            done.push((hook, created));
            continue;
        };
        let is_begun =
            !matches!(problem, HookProblem::Room(_) | HookProblem::NotBegun(_) | HookProblem::Record(_));
        if is_begun {
            let is_open = matches!(problem, HookProblem::Interrupted { .. });
            let phase = if is_open { HookPhase::Unknown } else { HookPhase::Failed };
            record.end_hook(hook.index, phase, context.now());
            if let Err(error) = persist(record).await {
                context.warn(format!("how {} ended could not be noted: {error}", runner.name(hook)));
            }
        }
        runner.after_failure(hook, &created, &problem, &done).await;
        return Err(HookError::new(run, hook, problem));
    }
    for (hook, created) in done.iter().rev() {
        runner.show_output(hook, created, SUCCEEDED).await;
        runner.delete(hook, created, SUCCEEDED).await;
    }
    Ok(())
}

struct Runner<'a> {
    context: &'a Context,
    apis: &'a Apis,
    run: &'a HookRun<'a>,
    method: ApplyMethod,
}

fn field<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Runner<'_> {
    fn name(&self, hook: &EventHook) -> String {
        format!("the {} hook {} {}", self.run.event, hook.kind, hook.name)
    }

    /// When this hook must have ended.
    fn deadline(&self) -> Option<Instant> {
        let own = Some(self.run.timeout).filter(|timeout| !timeout.is_zero());
        let own = own.map(|timeout| Instant::now() + timeout);
        own.into_iter().chain(self.context.deadline.end()).min()
    }

    fn not_wanted(&self) -> Result<(), HookProblem> {
        if let Some(signal) = self.context.interrupt.signal() {
            return Err(HookProblem::NotBegun(NotBegun::Signal(signal)));
        }
        if self.context.is_late() {
            return Err(HookProblem::NotBegun(NotBegun::Late));
        }
        Ok(())
    }

    /// Runs one hook. What it created is in `created` also when it fails.
    async fn one(
        &self,
        record: &mut Record,
        hook: &EventHook,
        created: &mut Vec<Created>,
        persist: &mut impl AsyncFnMut(&Record) -> Result<(), StorageError>,
    ) -> Result<(), HookProblem> {
        self.not_wanted()?;
        let deadline = self.deadline();
        for object in &hook.objects {
            self.make_room(hook, object, deadline).await?;
        }
        record.begin_hook(hook.index, self.context.now());
        match persist(record).await {
            Err(error @ (StorageError::Changed { .. } | StorageError::Gone { .. })) => {
                return Err(HookProblem::Record(error));
            }
            Err(error) => {
                self.context.warn(format!("that {} runs could not be noted: {error}", self.name(hook)));
            }
            Ok(()) => {}
        }
        for object in &hook.objects {
            created.push(self.create(object, deadline).await?);
        }
        for object in created.iter() {
            if let Some(run) = &object.run {
                self.wait(run, deadline).await?;
            }
        }
        Ok(())
    }

    async fn wait(&self, run: &Run, deadline: Option<Instant>) -> Result<(), HookProblem> {
        let context = self.context;
        let mut report = |event| super::report_wait(context, event);
        let begun = Instant::now();
        let cancel = context.interrupt.cancelled();
        match completion::wait_until_completed(&context.client, run, deadline, cancel, &mut report).await {
            RunEnd::Succeeded => Ok(()),
            RunEnd::Failed(reason) => Err(HookProblem::Failed(reason)),
            RunEnd::Hopeless(diagnosis) => Err(HookProblem::NeverRuns(Box::new(diagnosis))),
            RunEnd::TimedOut(diagnosis) => {
                let seconds = begun.elapsed().as_secs();
                Err(HookProblem::TimedOut { seconds, diagnosis: diagnosis.map(Box::new) })
            }
            RunEnd::Deleted => Err(HookProblem::Deleted),
            RunEnd::Refused(message) => Err(HookProblem::Unseen(message)),
            RunEnd::Interrupted => match context.interrupt.signal() {
                Some(signal) => Err(HookProblem::Interrupted(signal)),
                None => Err(HookProblem::Unseen("the wait was ended".to_owned())),
            },
        }
    }

    /// Tells what is known, then does what the policies say. After a signal nothing more is begun.
    async fn after_failure(
        &self,
        hook: &EventHook,
        created: &[Created],
        problem: &HookProblem,
        earlier: &[(&EventHook, Vec<Created>)],
    ) {
        if matches!(problem, HookProblem::Interrupted(_)) {
            return;
        }
        for run in created.iter().filter_map(|object| object.run.as_ref()) {
            self.diagnose(run, problem).await;
        }
        self.show_output(hook, created, FAILED).await;
        self.delete(hook, created, FAILED).await;
        for (hook, created) in earlier {
            self.delete(hook, created, SUCCEEDED).await;
        }
    }

    /// Why a Job or pod failed, with its last words. What never ran has been told already, and has said nothing.
    async fn diagnose(&self, run: &Run, problem: &HookProblem) {
        let message = match problem {
            HookProblem::Failed(reason) => format!("it failed: {reason}"),
            HookProblem::TimedOut { seconds, diagnosis: None } => {
                format!("it did not end within {seconds} s")
            }
            _ => return,
        };
        let output = completion::output(&self.context.client, run, logs::LINES).await;
        let last = output.last().cloned();
        let object = reference(run);
        let diagnosis = Diagnosis {
            code: DiagnosisCode::JobFailed,
            severity: Severity::Fatal,
            pod: last.as_ref().map(|log| log.pod.clone()),
            container: last.as_ref().map(|log| log.container.clone()),
            message,
            exit_code: None,
            restarts: 0,
            logs: last.map(|log| log.lines).unwrap_or_default(),
            events: Vec::new(),
            hint: format!(
                "kubectl logs -n {} {}/{} --all-containers",
                run.namespace,
                run.kind.as_str().to_lowercase(),
                run.name
            ),
        };
        self.context.emit(EventKind::Diagnosis { object, diagnosis });
    }

    async fn show_output(&self, hook: &EventHook, created: &[Created], policy: &str) {
        if !hook.shows_output(policy) {
            return;
        }
        for run in created.iter().filter_map(|object| object.run.as_ref()) {
            for log in completion::output(&self.context.client, run, OUTPUT_LINES).await {
                self.context.emit(EventKind::Output {
                    object: reference(run),
                    pod: log.pod,
                    container: log.container,
                    lines: log.lines,
                });
            }
        }
    }
}

fn reference(run: &Run) -> ObjectReference {
    ObjectReference {
        kind: run.kind.as_str().to_owned(),
        namespace: run.namespace.clone(),
        name: run.name.clone(),
    }
}
