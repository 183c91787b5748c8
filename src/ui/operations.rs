//! The screens of `operations`.

use std::fmt::Write;

use jiff::Timestamp;

use super::Printer;
use super::table::{age, aligned, moment, one_line};
use crate::commands::OperationRow;
use crate::journal::{Entry, Journal, State};
use crate::words::counted;

/// Renders the list of operations.
pub fn operations_table(rows: &[OperationRow], namespaces: bool, now: Timestamp) -> String {
    let header = ["OPERATION", "NAMESPACE", "RELEASE", "PROCEDURE", "TARGET", "STATE", "STARTED", "BY"];
    let cells = rows.iter().map(|row| {
        [
            row.operation.clone(),
            row.namespace.clone(),
            row.release.clone().unwrap_or_else(|| "-".to_owned()),
            row.procedure.clone(),
            one_line(&row.target, Some(40)),
            row.state.as_str().to_owned(),
            row.started_at.map_or_else(|| "-".to_owned(), |then| moment(then, now)),
            one_line(&row.actor, Some(40)),
        ]
    });
    let rows = std::iter::once(header.map(str::to_owned)).chain(cells);
    aligned(rows.map(|row| {
        row.into_iter()
            .enumerate()
            .filter(|(index, _)| namespaces || *index != 1)
            .map(|(_, cell)| cell)
            .collect()
    }))
}

/// Renders what an operation planned, wrote and reported.
pub fn operation_screen(printer: &Printer, journal: &Journal, state: State, now: Timestamp) -> String {
    let head = &journal.head;
    let mut text = format!(
        "operation {}  {}  {} {} to {}\n",
        head.operation,
        state.as_str(),
        head.procedure,
        head.release.as_deref().unwrap_or("workloads"),
        head.target
    );
    let _ = writeln!(text, "  begun     {} by {}", moment(head.started_at, now), head.actor);
    let _ = writeln!(text, "  command   {}", one_line(&head.command, None));
    if let Some(reason) = &head.reason {
        let _ = writeln!(text, "  reason    {}", one_line(reason, None));
    }
    if let Some(incident) = &head.incident {
        let _ = writeln!(text, "  incident  {}", one_line(incident, None));
    }
    let _ = writeln!(text, "  {}", counted(journal.writes(), "write"));
    for entry in &journal.entries {
        let (at, line) = match entry {
            Entry::Run { at, actor, command } => (*at, format!("{actor} runs {}", one_line(command, None))),
            Entry::Intent { write, at, verb, path } => (*at, format!("write {write}: {verb} {path}")),
            Entry::Answer { write, at, status: 0 } => (*at, format!("write {write}: no answer")),
            Entry::Answer { write, at, status } => (*at, format!("write {write}: answered {status}")),
            Entry::Milestone { at, name } => (*at, format!("done: {name}")),
            Entry::Event { event } => match said(event) {
                Some(told) => told,
                None => continue,
            },
            Entry::Finished { at, outcome, exit_code, .. } => {
                (*at, format!("ended: {outcome:?}, exit code {exit_code}"))
            }
        };
        let _ = writeln!(text, "  {}  {line}", at.strftime("%H:%M:%SZ"));
    }
    if state.blocks() {
        let begun = age(head.started_at, now);
        let _ = writeln!(
            text,
            "  {} begun {begun} ago and not ended: resume or abort it, unless somebody is at work",
            printer.caution("!")
        );
    }
    text.trim_end().to_owned()
}

/// A reported event in a line; `None` for those that say nothing new here.
fn said(event: &serde_json::Value) -> Option<(Timestamp, String)> {
    let field = |name: &str| event[name].as_str().unwrap_or_default();
    let line = match field("type") {
        "Stage" if field("status") != "started" => format!("{}: {}", field("stage"), field("message")),
        "Warning" => format!("warning: {}", field("message")),
        "Diagnosis" => {
            let object = &event["object"];
            let name = |key: &str| object[key].as_str().unwrap_or_default();
            format!("{}/{}: {} {}", name("kind"), name("name"), field("code"), field("message"))
        }
        _ => return None,
    };
    Some((field("ts").parse().unwrap_or_default(), one_line(&line, Some(160))))
}
