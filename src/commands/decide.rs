//! Planning with the operator at hand: what only they can decide is asked, or without anybody there refused.

use super::{Failure, Session};
use crate::discover::Snapshot;
use crate::event::{Phase, StageStatus};
use crate::execute::phase;
use crate::plan::Plan;
use crate::plan::emergency::{self, Request};
use crate::plan::question::{PlanError, Question};
use crate::ui;
use crate::words::counted;
use crate::workload::WorkloadRef;

/// Plans, asking the operator what only they can decide.
pub async fn decide(session: &Session, request: &mut Request, snapshot: &Snapshot) -> Result<Plan, Failure> {
    let context = &session.context;
    loop {
        let answer = phase(context, Phase::Plan, "deciding what to do", async {
            let answer = emergency::plan(request, snapshot);
            let (status, message) = match &answer {
                Ok(plan) => {
                    (StageStatus::Done, format!("{} to write", counted(plan.workloads.len(), "workload")))
                }
                Err(PlanError::Questions(questions)) => {
                    (StageStatus::Failed, format!("{} open questions", questions.len()))
                }
                Err(error) => (StageStatus::Failed, error.to_string()),
            };
            (answer, status, message)
        })
        .await;
        match answer {
            Ok(plan) => return Ok(plan),
            Err(PlanError::Questions(questions)) => ask(session, request, questions).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Puts the first question: its answer may decide the others. Without anybody to ask, all of them are the error.
async fn ask(session: &Session, request: &mut Request, questions: Vec<Question>) -> Result<(), Failure> {
    let printer = session.printer();
    let first = questions.first().cloned();
    let unanswered = || Failure::from(PlanError::Questions(questions));
    if session.output.yes {
        return Err(unanswered());
    }
    match first {
        Some(Question::Container { container, image, why }) => {
            let text = format!("{container} runs {image}: {why}. Does it take {}? [y/n] ", request.target);
            let answer = ui::ask_line(printer, &text).await.ok_or_else(unanswered)?;
            let WorkloadRef { kind, name, .. } = &container.workload;
            let selector =
                format!("{kind}/{name}/{}", container.container).parse().map_err(Failure::usage)?;
            match answer.as_str() {
                "y" | "yes" => request.take.push(selector),
                "n" | "no" => request.keep.push(selector),
                _ => return Err(Failure::not_confirmed("neither yes nor no; nothing was changed")),
            }
        }
        Some(Question::Replicas { workload, proposal }) => {
            let default =
                proposal.map(|(number, source)| format!(" [{number}, {source}]")).unwrap_or_default();
            let text = format!("{workload} stands at 0 replicas. How many does it get?{default} ");
            let answer = ui::ask_line(printer, &text).await.ok_or_else(unanswered)?;
            let number = match (answer.as_str(), proposal) {
                ("", Some((number, _))) => number.to_string(),
                (answer, _) => answer.to_owned(),
            };
            let replicas = format!("{}/{}={number}", workload.kind, workload.name);
            request.replicas.push(replicas.parse().map_err(Failure::usage)?);
        }
        None => {}
    }
    Ok(())
}
