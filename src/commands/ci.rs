//! `ci`: the automatic rollback of a pipeline. Notes what runs, runs the deploy and watches it, checks what came of it, and goes
//! back as `to` does where it failed.

mod told;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Conclusion, Failure, Session, choose, lock, survey, to, verify};
use crate::ci::child::Deploy;
use crate::ci::fold::Fold;
use crate::ci::watch::{Templates, Watch, templates};
use crate::ci::{Decision, End, Evidence, Left, Stop, newest};
use crate::cli::{ChoiceArgs, CiArgs, DryRun, OutputFormat, TargetArgs, ToArgs, foreign_command};
use crate::context::interrupt::Signal;
use crate::discover::rollback::RollbackError;
use crate::discover::{self, Scope};
use crate::event::{FindingStatus, Phase, StageStatus, Verification};
use crate::execute::{phase, wait_for};
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::Storage;
use crate::plan::last_good::RevisionFacts;
use crate::report::DeployResult;
use crate::wait::{WaitEnd, WaitedWorkload};
use crate::workload::WorkloadKind;
use told::Told;

/// How long a deploy that was asked to end may take to write down that it has failed.
const GRACE: Duration = Duration::from_secs(10);

/// What the pipeline offers.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    /// The file that GitHub's runner shows as the summary of a step.
    pub summary: Option<String>,
    /// Whether lines on stderr become annotations.
    pub annotations: bool,
    /// How a part of its log is folded, where it can be.
    pub fold: Option<Fold>,
}

impl Pipeline {
    /// Reads the environment.
    pub fn of(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            summary: lookup("GITHUB_STEP_SUMMARY"),
            annotations: lookup("GITHUB_ACTIONS").is_some(),
            fold: Fold::of(lookup),
        }
    }
}

/// What was there before the deploy.
struct Before {
    metas: Vec<RecordMeta>,
    good: Option<u64>,
    templates: Templates,
}

/// What is known of a deploy, step by step.
struct Course {
    evidence: Evidence,
    result: DeployResult,
    since: Option<Timestamp>,
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &CiArgs, pipeline: &Pipeline) -> Result<Conclusion, Failure> {
    let has_deploy = !arguments.command.is_empty();
    session.start(arguments.release.as_deref(), if has_deploy { "a deploy" } else { "the newest revision" });
    session.protect(&arguments.protection, DryRun::None).await?;
    let name = choose::release(session, arguments.release.as_deref()).await?;
    let before = session.unless_interrupted(Box::pin(look_before(session, &name, has_deploy))).await?;
    if !before.metas.is_empty() {
        lock::check(session, &name, &before.metas, arguments.take_over).await?;
    }
    let mut course = if has_deploy {
        Box::pin(deploy(session, arguments, pipeline, &name, &before)).await?
    } else {
        judged(session, &name, &before).await?
    };
    if course.evidence.decide() == Decision::Check {
        let unknown = format!(
            "kubectl rollback ci {name} -n {}   # judge the deploy once the API server answers",
            session.context.namespace
        );
        Box::pin(check(session, arguments, &name, &mut course))
            .await
            .map_err(|failure| failure.hinted(unknown))?;
    }
    course.result.diagnosis = told::diagnoses(session);
    let decision = course.evidence.decide();
    let told = Told { session, name: &name, course: &course };
    told.announce(&decision);
    let mut conclusion = match &decision {
        Decision::Well | Decision::Check => told.well(),
        Decision::Leave(left) => told.left(*left),
        Decision::RollBack(target) => Box::pin(roll_back(session, arguments, &told, *target)).await,
    };
    told.publish(&mut conclusion, arguments.summary.as_deref(), pipeline);
    Ok(conclusion)
}

fn storage(session: &Session) -> Storage {
    let context = &session.context;
    Storage::new(context.client.clone(), &context.namespace, session.driver)
}

/// Notes what is there: the newest revision, the good one to go back to, the pods' templates.
async fn look_before(session: &Session, name: &str, has_deploy: bool) -> Result<Before, Failure> {
    let context = &session.context;
    phase(context, Phase::Discover, "noting what runs", async {
        let answer = look_at_records(session, name, has_deploy).await;
        let (status, message) = match &answer {
            Err(failure) => (StageStatus::Failed, failure.describe()),
            Ok(Before { metas, .. }) if metas.is_empty() => {
                (StageStatus::Done, format!("{name} is not there yet: nothing to go back to"))
            }
            Ok(Before { metas, good: Some(good), .. }) => (
                StageStatus::Done,
                format!("{name}: the newest revision is {}, the last good one {good}", metas[0].revision),
            ),
            Ok(Before { metas, .. }) => {
                (StageStatus::Done, format!("{name}: the newest revision is {}", metas[0].revision))
            }
        };
        (answer, status, message)
    })
    .await
}

async fn look_at_records(session: &Session, name: &str, has_deploy: bool) -> Result<Before, Failure> {
    let storage = storage(session);
    let metas = storage.list(name).await?;
    if !has_deploy {
        if metas.is_empty() {
            let (namespace, name) = (session.context.namespace.clone(), name.to_owned());
            return Err(discover::DiscoverError::NoSuchRecord { namespace, name }.into());
        }
        return Ok(Before { metas, good: None, templates: Templates::new() });
    }
    let deployed = metas.iter().find(|meta| meta.status == Status::Deployed);
    let mut good = None;
    if let Some(meta) = deployed {
        let stored = storage.get(meta).await?;
        good = RevisionFacts::of(&stored.record).ran().is_ok().then_some(meta.revision);
    }
    let namespace = session.context.namespace.clone();
    let templates = templates(&session.context)
        .await
        .map_err(|source| discover::DiscoverError::Workloads { namespace, source })?;
    Ok(Before { metas, good, templates })
}

/// Runs the deploy to its end, or to the moment when it is known that it will fail.
async fn deploy(
    session: &Session,
    arguments: &CiArgs,
    pipeline: &Pipeline,
    name: &str,
    before: &Before,
) -> Result<Course, Failure> {
    let context = &session.context;
    let shown = foreign_command(&arguments.command);
    let watch = Watch {
        context,
        driver: session.driver,
        release: name,
        before: before.metas.first().map(|meta| meta.revision),
        templates: &before.templates,
    };
    let keeps_stdout = session.is_machine_readable() || session.output.output == OutputFormat::Name;
    let since = context.now();
    let begin = Instant::now();
    // Before the deploy can say anything.
    if let Some(fold) = pipeline.fold {
        session.printer().talk(&fold.begin(&shown, context.now()));
    }
    let unfold = || {
        if let Some(fold) = pipeline.fold {
            session.printer().talk(&fold.end(context.now()));
        }
    };
    let mut child = Deploy::start(&arguments.command, keeps_stdout).map_err(|error| {
        unfold();
        Failure::usage(format!("cannot run {shown}: {error}; nothing was changed"))
    })?;
    let (end, stop) = phase(context, Phase::Start, &format!("running {shown}"), async {
        let answer = attend(session, arguments, &watch, &mut child).await;
        let (status, message) = match &answer {
            (End::Code(0), None) => (StageStatus::Done, "the deploy ended well".to_owned()),
            (_, Some(stop)) => (StageStatus::Failed, format!("the deploy was stopped: {}", stop.reason())),
            (End::Code(code), None) => (StageStatus::Failed, format!("the deploy ended with code {code}")),
            (End::Signal(number), None) => {
                (StageStatus::Failed, format!("the deploy was ended by signal {number}"))
            }
        };
        (answer, status, message)
    })
    .await;
    unfold();
    let seconds = begin.elapsed().as_secs();
    let after = after(session, name).await.map_err(|failure| {
        failure.hinted(format!(
            "kubectl rollback ci {name} -n {}   # the deploy is over: judge it once the API server answers",
            context.namespace
        ))
    })?;
    let (exit_code, signal) = match end {
        End::Code(code) => (Some(code), None),
        End::Signal(number) => (None, Some(number)),
    };
    let result = DeployResult {
        command: Some(shown),
        exit_code,
        signal,
        seconds,
        stopped_early: stop.as_ref().map(Stop::reason),
        revision_before: watch.before,
        revision: after.as_ref().map(|newest| newest.revision),
        ..DeployResult::default()
    };
    let evidence = Evidence {
        before: watch.before,
        good: before.good,
        end: Some(end),
        stop,
        after,
        wait: None,
        failed_checks: 0,
    };
    Ok(Course { evidence, result, since: Some(since) })
}

/// Waits for the deploy's end, or brings it about.
async fn attend(
    session: &Session,
    arguments: &CiArgs,
    watch: &Watch<'_>,
    child: &mut Deploy,
) -> (End, Option<Stop>) {
    let context = &session.context;
    let doomed = async {
        if arguments.no_fail_fast { std::future::pending().await } else { watch.until_doomed().await }
    };
    let late = async {
        match context.deadline.end() {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    let stop = tokio::select! {
        biased;
        end = child.wait() => {
            let end = end.unwrap_or(End::Code(1));
            if !end.is_good() {
                child.clear(GRACE).await;
            }
            return (end, None);
        }
        signal = context.interrupt.wait() => Stop::Signal(signal),
        () = late => Stop::Late(session.output.timeout.to_string()),
        why = Box::pin(doomed) => Stop::Doomed(why),
    };
    child.ask(match &stop {
        Stop::Signal(signal) => *signal,
        _ => Signal::Terminate,
    });
    let mut end = tokio::time::timeout(GRACE, child.wait()).await.ok();
    // A deploy that takes its own change back (--atomic) is given the time for it.
    while end.is_none()
        && !context.is_late()
        && watch.written().await.is_some_and(|newest| newest.status == Status::PendingRollback)
    {
        end = tokio::time::timeout(Duration::from_secs(1), child.wait()).await.ok();
    }
    if end.is_none() {
        child.kill();
    }
    let end = match end {
        Some(end) => end,
        None => child.wait().await,
    };
    child.clear(GRACE).await;
    (end.unwrap_or(End::Code(1)), Some(stop))
}

async fn after(session: &Session, name: &str) -> Result<Option<crate::ci::Newest>, Failure> {
    let storage = storage(session);
    let metas = storage.list(name).await?;
    let Some(meta) = metas.first() else { return Ok(None) };
    let stored = storage.get(meta).await?;
    Ok(newest(&metas, stored.record.description()))
}

/// The newest revision as the deploy that is judged.
async fn judged(session: &Session, name: &str, before: &Before) -> Result<Course, Failure> {
    let after = after(session, name).await?;
    let revision = after.as_ref().map(|newest| newest.revision);
    let result = DeployResult { revision, ..DeployResult::default() };
    let evidence = Evidence {
        before: None,
        good: before.good,
        end: None,
        stop: None,
        after,
        wait: None,
        failed_checks: 0,
    };
    Ok(Course { evidence, result, since: None })
}

/// Waits until everything is ready, then checks whether it is well.
async fn check(
    session: &Session,
    arguments: &CiArgs,
    name: &str,
    course: &mut Course,
) -> Result<(), Failure> {
    let context = &session.context;
    let scope = Scope::Release(Some(name.to_owned()));
    let snapshot = Box::pin(survey::read(session, discover::glance(context, &scope, session.driver))).await?;
    let waited: Vec<WaitedWorkload> = snapshot
        .workloads
        .iter()
        .filter(|workload| workload.reference.kind != WorkloadKind::CronJob)
        .map(|workload| WaitedWorkload {
            workload: workload.reference.clone(),
            replicas: None,
            generation: None,
        })
        .collect();
    let waited = Box::pin(wait_for(context, waited, &[])).await;
    course.evidence.wait = Some(waited.end);
    if waited.end != WaitEnd::Ready || arguments.no_verify {
        return Ok(());
    }
    let snapshot = Box::pin(survey::read(session, discover::glance(context, &scope, session.driver))).await?;
    let newest = snapshot.release.as_ref().and_then(|release| release.records.first());
    let since = course.since.or_else(|| newest.and_then(|stored| stored.record.last_deployed()));
    let results = Box::pin(verify::checks(session, &snapshot, None, since)).await?;
    if context.interrupt.signal().is_some() {
        course.evidence.wait = Some(WaitEnd::Interrupted);
    } else {
        course.evidence.failed_checks = failed(&results).count();
    }
    course.result.verify = results;
    Ok(())
}

fn failed(results: &[Verification]) -> impl Iterator<Item = &Verification> {
    results.iter().filter(|result| result.status == FindingStatus::Fail)
}

/// Goes back as `to` does, and turns what came of it into the result of the pipeline's step.
async fn roll_back(
    session: &Session,
    arguments: &CiArgs,
    told: &Told<'_>,
    target: Option<u64>,
) -> Conclusion {
    let way = ToArgs {
        target: TargetArgs {
            release: Some(told.name.to_owned()),
            revision: target,
            choice: ChoiceArgs { no_hooks: arguments.no_hooks, ..ChoiceArgs::default() },
        },
        history_max: arguments.history_max,
        skip_preflight: arguments.skip_preflight,
        // What is pending was written by the deploy, and nothing of that runs any more; or it was asked for.
        take_over: arguments.take_over || told.course.evidence.end.is_some(),
        protection: arguments.protection.clone(),
        ..ToArgs::default()
    };
    let rollback = session.for_a_rollback(&told.reason());
    match Box::pin(to::roll_back(&rollback, &way)).await {
        Ok(conclusion) => told.rolled_back(conclusion),
        Err(failure) => {
            let nothing = failure.error.downcast_ref::<RollbackError>().is_some_and(|error| {
                matches!(error, RollbackError::NothingGood { .. } | RollbackError::NothingToDo { .. })
            });
            if nothing { told.nowhere_to_go(&failure) } else { told.not_rolled_back(&failure) }
        }
    }
}

impl Course {
    /// What was wrong, in sentences.
    fn failures(&self) -> Vec<String> {
        let Evidence { end, stop, after, wait, .. } = &self.evidence;
        let mut failures = Vec::new();
        match (stop, end) {
            (Some(stop), _) => failures.push(format!("the deploy was stopped: {}", stop.reason())),
            (None, Some(End::Code(0))) => {}
            (None, Some(End::Code(code))) => failures.push(format!("the deploy ended with code {code}")),
            (None, Some(End::Signal(number))) => {
                failures.push(format!("the deploy was ended by signal {number}"));
            }
            (None, None) => {
                let bad = after.as_ref().filter(|newest| newest.status != Status::Deployed);
                failures
                    .extend(bad.map(|newest| format!("revision {} is {}", newest.revision, newest.status)));
            }
        }
        match wait {
            Some(WaitEnd::NotReady) => failures.push("its workloads will not become ready".to_owned()),
            Some(WaitEnd::TimedOut) => {
                failures.push("its workloads were not ready when the time was up".to_owned());
            }
            Some(WaitEnd::Ready | WaitEnd::Interrupted) | None => {}
        }
        failures.extend(
            failed(&self.result.verify)
                .map(|result| format!("check {} {}: {}", result.check, result.subject, result.message)),
        );
        failures
    }
}
