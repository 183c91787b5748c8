//! `plan`: target, checks, differences and risks of a rollback; may be saved and carried out later.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::look::{Look, Wish, look};
use super::rolled_back::Report;
use super::{Conclusion, Failure, Session};
use crate::cli::{DryRun, PlanArgs};
use crate::plan::rollback::saved::{self, SavedPlan};
use crate::report::API_VERSION;

/// Runs the command.
pub async fn run(session: &Session, arguments: &PlanArgs) -> Result<Conclusion, Failure> {
    let mut wish = Wish::of(session, &arguments.target, None);
    session.start(wish.release(), &wish.target());
    let look = Box::pin(look(session, &mut wish, DryRun::Server)).await?;
    let saved = SavedPlan {
        api_version: API_VERSION.to_owned(),
        kind: saved::KIND.to_owned(),
        procedure: "to".to_owned(),
        created_at: session.context.now(),
        context: session.context.context_name.clone(),
        request: wish.request().clone(),
        plan: look.plan.clone(),
    };
    let mut conclusion = Report { look: &look }.planned(session);
    let mut text = look.screen(session, "PLAN");
    if let Some(path) = &arguments.save {
        let json = serde_json::to_string_pretty(&saved).map_err(anyhow::Error::from)?;
        std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        let carry_out = format!("kubectl rollback to --plan {}", path.display());
        let _ = write!(text, "\nsaved to {}", path.display());
        conclusion.document.next.push(carry_out);
    }
    text.trim_end().clone_into(&mut conclusion.text);
    conclusion.own = Some(document(&look, &saved, &conclusion)?);
    Ok(conclusion)
}

/// The saved plan with what was found out about it.
fn document(look: &Look, saved: &SavedPlan, conclusion: &Conclusion) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(saved).map_err(anyhow::Error::from)?;
    document["outcome"] = json!(conclusion.document.outcome);
    document["exitCode"] = json!(conclusion.document.exit_code);
    document["preflight"] = json!(look.findings);
    document["diff"] = json!(look.differences);
    document["warnings"] = json!(look.snapshot.warnings);
    Ok(document)
}
