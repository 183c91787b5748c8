//! `plan`: target, checks, differences and risks of a rollback, or of an emergency; may be saved and carried out later.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::look::{Look, Wish, look};
use super::rolled_back::Report;
use super::survey::{self, Assignment};
use super::{Conclusion, Failure, Session, file};
use crate::cli::{DryRun, PlanArgs};
use crate::discover::rollback::RollbackError;
use crate::plan::saved::Saved;
use crate::plan::{emergency, rollback};

/// Runs the command: the plan of a rollback to a stored revision, or, where that is asked for or the tag ran in none, the
/// plan of an emergency.
pub async fn run(session: &Session, arguments: &PlanArgs) -> Result<Conclusion, Failure> {
    if arguments.is_of_an_emergency() {
        return Box::pin(of_an_emergency(session, arguments, None)).await;
    }
    let target = arguments.target().map_err(Failure::usage)?;
    let mut wish = Wish::of(session, &target, None);
    session.start(wish.release(), &wish.target());
    let may_give_way = target.choice.tag.is_some() && !arguments.is_of_a_rollback();
    if may_give_way {
        wish.give_way();
    }
    match Box::pin(look(session, &mut wish, DryRun::Server)).await {
        Ok(look) => of_a_rollback(session, arguments, &wish, &look),
        Err(failure) if may_give_way && found_nothing(&failure) => {
            // What was answered about the release is not asked again.
            let subjects = wish.release().map(str::to_owned).into_iter().collect();
            let arguments = PlanArgs { subjects, ..arguments.clone() };
            Box::pin(of_an_emergency(session, &arguments, Some(&failure))).await
        }
        Err(failure) => Err(failure),
    }
}

fn found_nothing(failure: &Failure) -> bool {
    matches!(failure.error.downcast_ref(), Some(RollbackError::NothingGood { .. }))
}

fn of_a_rollback(
    session: &Session,
    arguments: &PlanArgs,
    wish: &Wish,
    look: &Look,
) -> Result<Conclusion, Failure> {
    let (context, now) = (&session.context.context_name, session.context.now());
    let saved =
        Saved::new(rollback::saved::PROCEDURE, now, context, wish.request().clone(), look.plan.clone());
    let conclusion = Report { look }.planned(session);
    let facts = json!({
        "preflight": look.findings, "diff": look.differences, "warnings": look.snapshot.warnings,
    });
    conclude(conclusion, look.screen(session, "PLAN"), &saved, facts, arguments.save.as_deref())
}

/// `instead` says why it is not the plan of a rollback that was asked for.
async fn of_an_emergency(
    session: &Session,
    arguments: &PlanArgs,
    instead: Option<&Failure>,
) -> Result<Conclusion, Failure> {
    let tag = arguments.choice.tag.as_deref();
    let assignment = Assignment::of(session, &arguments.subjects, tag, &arguments.swap)?;
    match instead {
        None => session.start(assignment.release(), &assignment.target()),
        Some(failure) => {
            let why = failure.describe();
            let why = why.lines().next().unwrap_or_default();
            session.context.warn(format!(
                "{why}: this is the plan of an emergency, which swaps images and nothing else"
            ));
        }
    }
    let snapshot = survey::find(session, &assignment).await?;
    let survey = Box::pin(survey::weigh(session, assignment, snapshot, true)).await?;
    let (context, now) = (&session.context.context_name, session.context.now());
    let saved =
        Saved::new(emergency::saved::PROCEDURE, now, context, survey.order.clone(), survey.plan.clone());
    let conclusion = survey.facts().planned(session);
    let facts = json!({"preflight": survey.findings, "warnings": conclusion.document.warnings});
    conclude(conclusion, survey.screen(session), &saved, facts, arguments.save.as_deref())
}

/// The conclusion with the screen as its text, and the plan with what was found out about it as its document; saves the
/// plan where that is wanted.
fn conclude<R: Serialize, P: Serialize>(
    mut conclusion: Conclusion,
    mut text: String,
    saved: &Saved<R, P>,
    facts: Value,
    save: Option<&Path>,
) -> Result<Conclusion, Failure> {
    if let Some(path) = save {
        let carry_out = file::write(path, saved)?;
        let _ = write!(text, "\nsaved to {}", path.display());
        conclusion.document.next.push(carry_out);
    }
    text.trim_end().clone_into(&mut conclusion.text);
    let mut document = serde_json::to_value(saved).map_err(anyhow::Error::from)?;
    document["outcome"] = json!(conclusion.document.outcome);
    document["exitCode"] = json!(conclusion.document.exit_code);
    if let (Some(document), Value::Object(facts)) = (document.as_object_mut(), facts) {
        document.extend(facts);
    }
    conclusion.own = Some(document);
    Ok(conclusion)
}
