//! `verify`: is a release well? Alone, and at the end of `emergency` and `to`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Conclusion, Failure, Session, choose, survey};
use crate::cli::VerifyArgs;
use crate::discover::{self, Scope, Snapshot};
use crate::event::{FindingStatus, Phase, StageStatus, Verification};
use crate::execute::phase;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::Plan;
use crate::report::ReleaseResult;
use crate::ui;
use crate::verify::{self, Request};
use crate::words::counted;
use crate::workload::WorkloadRef;

/// Runs the command.
pub async fn run(session: &Session, arguments: &VerifyArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let scope = Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
    let named = match &scope {
        Scope::Release(name) => name.as_deref(),
        _ => None,
    };
    session.start(named, "what runs");
    session.config().await?;
    let snapshot = choose::with_release(session, &scope, async |scope| {
        let discovery = discover::glance(context, scope, session.driver);
        session.unless_interrupted(Box::pin(survey::read(session, discovery))).await
    })
    .await?;
    for warning in &snapshot.warnings {
        context.warn(warning.clone());
    }
    let newest = snapshot.release.as_ref().and_then(|release| release.records.first());
    let since = arguments.since.map(|since| since.resolve(context.now()));
    let since = since.or_else(|| newest.and_then(|stored| stored.record.last_deployed()));
    let results = checks(session, &snapshot, None, since).await?;
    if let Some(signal) = context.interrupt.signal() {
        return Err(super::session::interrupted(signal));
    }
    let mut document = session.document();
    document.release = snapshot.release_name.clone().map(|name| ReleaseResult {
        name,
        from_revision: newest.map(|stored| stored.meta.revision),
        to_revision: None,
        new_revision: None,
        tag: None,
    });
    let text = ui::verify_table(session.printer(), &results, true);
    let name = snapshot.release_name.clone().unwrap_or_else(|| "the workloads".to_owned());
    let name = format!("release.helm.sh/{name} verified");
    let mut conclusion = Conclusion { document, text, name, own: None };
    settle(&mut conclusion, results);
    Ok(conclusion)
}

/// Runs the checks, as the phase of that name.
pub(super) async fn checks(
    session: &Session,
    snapshot: &Snapshot,
    touched: Option<&BTreeSet<WorkloadRef>>,
    since: Option<Timestamp>,
) -> Result<Vec<Verification>, Failure> {
    let context = &session.context;
    let config = &session.config().await?.config;
    let request = Request {
        release: snapshot.release_name.as_deref(),
        workloads: &snapshot.workloads,
        missing: &snapshot.missing,
        touched,
        since,
        config: &config.verify,
        database: config.database.as_ref(),
    };
    Ok(phase(context, Phase::Verify, "checking that it is well", async {
        let results = Box::pin(verify::run(context, &request)).await;
        let failed = results.iter().filter(|result| result.status == FindingStatus::Fail).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = format!("{}, {failed} failed", counted(results.len(), "check"));
        (results, status, message)
    })
    .await)
}

/// What was brought back.
pub struct Restored {
    /// Where it is.
    pub scope: Scope,
    /// The workloads that were brought back.
    pub touched: BTreeSet<WorkloadRef>,
}

impl Restored {
    /// What an emergency brings back.
    pub fn of(scope: Scope, plan: &Plan) -> Self {
        Self { scope, touched: plan.touched().cloned().collect() }
    }
}

/// Checks after a rollback that went well, and adds what the checks say to its result. Helm's record stays as it is: what it
/// names runs, whether or not it is well.
pub async fn afterwards(
    session: &Session,
    conclusion: &mut Conclusion,
    restored: Restored,
) -> Result<(), Failure> {
    if conclusion.document.outcome != Outcome::Succeeded {
        return Ok(());
    }
    let context = &session.context;
    let begin = conclusion.document.timings.first_write_at.or(conclusion.document.timings.started_at);
    // Everything is done and reported already; that it cannot be looked at again is no failure of it.
    let snapshot = match Box::pin(discover::glance(context, &restored.scope, session.driver)).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            context.warn(format!("it was not checked whether it is well: {error}"));
            session.refresh(&mut conclusion.document);
            return Ok(());
        }
    };
    let results = checks(session, &snapshot, Some(&restored.touched), begin).await?;
    session.refresh(&mut conclusion.document);
    let table = ui::verify_table(session.printer(), &results, false);
    conclusion.text = format!("{}\n{table}", conclusion.text.trim_end());
    let is_bad = settle(conclusion, results);
    if is_bad {
        let namespace = &context.namespace;
        let subject = snapshot.release_name.as_deref().unwrap_or_default();
        let again = format!("kubectl rollback verify {subject} -n {namespace}").replace("  ", " ");
        conclusion.document.next.push(format!("{again}   # check again"));
    }
    Ok(())
}

/// Puts results into a conclusion; answers whether one of them failed.
fn settle(conclusion: &mut Conclusion, results: Vec<Verification>) -> bool {
    let failed: Vec<String> = results
        .iter()
        .filter(|result| result.status == FindingStatus::Fail)
        .map(|result| format!("{} {}: {}", result.check, result.subject, result.message))
        .collect();
    conclusion.document.verify = results;
    if failed.is_empty() {
        return false;
    }
    conclusion.document.outcome = Outcome::VerificationFailed;
    conclusion.document.exit_code = ExitCode::VerificationFailed.code();
    conclusion.document.error = Some(format!("verification failed: {}", failed.join("; ")));
    true
}
