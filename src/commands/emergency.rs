//! `emergency`: procedure 3 of the runbook, from finding the workloads to a true Helm record.

use std::collections::BTreeMap;

use super::carry_out::{Run, carry_out};
use super::decide::decide;
use super::facts::Facts;
use super::forbidden::{name_rights, name_rights_to_records};
use super::{Conclusion, Failure, Session, choose, lock, operation};
use crate::cli::{DryRun, EmergencyArgs, OutputFormat, StrategyChoice};
use crate::discover::{self, Scope, Snapshot};
use crate::event::{EventKind, Finding, FindingStatus, Phase, StageStatus};
use crate::execute::{self, Execution, Options, phase};
use crate::journal::restore::Restore;
use crate::journal::{EmergencyWork, State, Work};
use crate::outcome::Outcome;
use crate::plan::emergency::{Request, Target};
use crate::plan::rollback::objects::ObjectKey;
use crate::plan::strategy::Wish;
use crate::plan::{Plan, swaps};
use crate::preflight::{self, rules::Extent};
use crate::ui;
use crate::words::counted;

/// Runs the command.
pub async fn run(session: &Session, arguments: &EmergencyArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let scope = Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
    let mut wanted = request_of(arguments, &scope);
    session.start(scope.release(), &wanted.target.to_string());

    let snapshot = Box::pin(read(session, &scope, arguments)).await?;
    for warning in &snapshot.warnings {
        context.warn(warning.clone());
    }
    let blocking = match &snapshot.release_name {
        Some(name) => {
            let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
            lock::check(session, name, metas, arguments.take_over).await?
        }
        None => Vec::new(),
    };
    let plan = Box::pin(planned(session, &mut wanted, &snapshot, arguments)).await?;
    // Whether somebody else is at work is decided by the lock.
    let checks = ask_the_server(session, &snapshot, &plan, arguments, FindingStatus::Warn);
    let findings = session.unless_interrupted(Box::pin(checks)).await?;

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

    let options = Options {
        stop_timeout: arguments.stop_timeout.map(|limit| limit.0),
        strict_stop: arguments.strict_stop,
        no_wait: arguments.no_wait,
    };
    let work = EmergencyWork {
        plan: plan.clone(),
        findings: findings.clone(),
        options: options.clone(),
        writes_record: may_write_record,
        image_managers: image_managers(&plan, &snapshot),
    };
    let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
    let work = Work::Emergency(Box::new(work));
    let head = operation::head(session, snapshot.release_name.as_deref(), &plan.target, metas, work);
    let restore = restore_documents(&plan, &snapshot);
    let operation = operation::begin(session, &head, &restore, &blocking, arguments.take_over).await?;
    let run = Run { remaining: &plan, done: Vec::new(), options: &options, writes_record: may_write_record };
    let answer = Box::pin(carry_out(session, &mut facts, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}

/// Who owns each container's image now, for handing the fields over later, by whomever.
fn image_managers(plan: &Plan, snapshot: &Snapshot) -> BTreeMap<String, BTreeMap<String, String>> {
    plan.workloads
        .iter()
        .filter_map(|planned| snapshot.workload(&planned.workload))
        .map(|workload| (workload.reference.to_string(), workload.image_managers.clone()))
        .collect()
}

/// What `abort` needs beside the plan: who owned which field of each workload.
fn restore_documents(plan: &Plan, snapshot: &Snapshot) -> Vec<Restore> {
    plan.workloads
        .iter()
        .filter_map(|planned| snapshot.workload(&planned.workload))
        .map(|workload| Restore {
            key: ObjectKey::from(&workload.reference),
            api_version: workload.reference.kind.api_resource().api_version,
            before: Some(serde_json::json!({"metadata": {"managedFields": workload.managed_fields}})),
            after: None,
        })
        .collect()
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

/// Plans; where Helm's records may not be read, that is said in place of questions that they would have answered.
pub(super) async fn planned(
    session: &Session,
    wanted: &mut Request,
    snapshot: &Snapshot,
    arguments: &EmergencyArgs,
) -> Result<Plan, Failure> {
    match session.unless_interrupted(decide(session, wanted, snapshot)).await {
        Err(failure) if failure.outcome == Outcome::Refused => {
            let extent = extent_of(session, arguments);
            Err(Box::pin(name_rights_to_records(session, failure, snapshot, extent)).await)
        }
        answer => answer,
    }
}

/// What will be done beside the plan.
pub(super) fn extent_of(session: &Session, arguments: &EmergencyArgs) -> Extent {
    Extent {
        records: (!arguments.skip_reconcile).then_some(session.driver),
        no_wait: arguments.no_wait,
        ..Extent::default()
    }
}

/// What is asked for.
pub(super) fn request_of(arguments: &EmergencyArgs, scope: &Scope) -> Request {
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

/// Reads what a scope means; missing rights are a failed check.
pub(super) async fn read(
    session: &Session,
    scope: &Scope,
    arguments: &EmergencyArgs,
) -> Result<Snapshot, Failure> {
    let found = choose::with_release(session, scope, async |scope| {
        session.unless_interrupted(Box::pin(find(session, scope))).await
    });
    match found.await {
        Ok(snapshot) => Ok(snapshot),
        Err(failure) => Err(Box::pin(name_rights(session, failure, extent_of(session, arguments))).await),
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

/// Runs the checks and reports what they find.
pub(super) async fn ask_the_server(
    session: &Session,
    snapshot: &Snapshot,
    plan: &Plan,
    arguments: &EmergencyArgs,
    in_progress: FindingStatus,
) -> Result<Vec<Finding>, Failure> {
    let context = &session.context;
    let scope = preflight::Scope {
        server: arguments.dry_run != DryRun::Client,
        extent: extent_of(session, arguments),
        in_progress,
    };
    Ok(phase(context, Phase::Preflight, "asking the API server", async {
        let findings = Box::pin(preflight::run(context, snapshot, plan, scope)).await;
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
}
