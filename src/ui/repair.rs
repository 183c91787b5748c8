//! The screen of `repair`: what happened to the records, what runs, what will be written.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::{Modify, Padding, Style, object::Columns};

use super::Printer;
use super::table::{elapsed, one_line};
use crate::plan::repair::{Agreement, RepairPlan};

/// Characters of a description that are shown: Helm writes an error of many lines there.
const LONGEST_DESCRIPTION: usize = 72;

/// Renders a repair.
pub fn repair_screen(printer: &Printer, plan: &RepairPlan, context: &str, namespace: &str) -> String {
    let mut text = String::new();
    let title = printer.strong("REPAIR");
    let _ = writeln!(text, "{title}  {}   context {context}   namespace {namespace}", plan.release);
    for problem in &plan.problems {
        let _ = writeln!(text, "  {} {}", printer.bad("✘"), problem.message);
    }
    if let Some(alive) = &plan.alive {
        let line = format!(
            "! revision {} was written {} ago by {}: whoever that was may be at work still",
            alive.revision,
            elapsed(alive.age_seconds),
            alive.writer
        );
        let _ = writeln!(text, "  {}", printer.caution(&line));
    }
    if !plan.revisions.is_empty() {
        let _ = writeln!(text, "\n{}", revisions(plan));
    }
    if !plan.running.is_empty() {
        let _ = writeln!(text, "\n{}", running(plan));
    }
    let _ = writeln!(text);
    if plan.changes.is_empty() {
        let _ = writeln!(text, "  Nothing will be written");
    } else {
        let _ = writeln!(text, "  Will be written; no workload is touched:");
    }
    for change in &plan.changes {
        let _ = writeln!(
            text,
            "    revision {}: {} → {}   {}",
            change.revision, change.from, change.to, change.why
        );
    }
    for note in &plan.notes {
        let _ = writeln!(text, "  {} {note}", printer.caution("!"));
    }
    text
}

fn revisions(plan: &RepairPlan) -> String {
    let mut table = Builder::default();
    table.push_record(["REVISION", "STATUS", "WRITTEN", "BY", "RUNS", "DESCRIPTION"]);
    for revision in &plan.revisions {
        table.push_record([
            revision.revision.to_string(),
            revision.status.to_string(),
            revision.written.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            revision.last_writer.clone().unwrap_or_else(|| "-".to_owned()),
            agreement(&revision.agreement),
            one_line(&revision.description, Some(LONGEST_DESCRIPTION)),
        ]);
    }
    indented(table)
}

fn running(plan: &RepairPlan) -> String {
    let mut table = Builder::default();
    table.push_record(["CONTAINER", "RUNS", "AS IN REVISION"]);
    for running in &plan.running {
        let revisions: Vec<String> = running.revisions.iter().map(ToString::to_string).collect();
        let revisions = if revisions.is_empty() { "none".to_owned() } else { revisions.join(", ") };
        table.push_record([running.container.clone(), running.image.clone(), revisions]);
    }
    indented(table)
}

/// How much of a revision runs, in a few words.
fn agreement(agreement: &Agreement) -> String {
    let total = agreement.equal + agreement.different.len();
    if agreement.is_ready() {
        "all of it, ready".to_owned()
    } else if agreement.is_whole() {
        "all of it, not ready".to_owned()
    } else if total == 0 && agreement.missing.is_empty() {
        "-".to_owned()
    } else {
        let mut text = format!("{} of {total} images", agreement.equal);
        for (list, what) in [(&agreement.missing, "missing"), (&agreement.extra, "not in it")] {
            if !list.is_empty() {
                let _ = write!(text, ", {} {what}", list.len());
            }
        }
        text
    }
}

fn indented(table: Builder) -> String {
    let mut table = table.build();
    table.with(Style::blank()).with(Modify::new(Columns::new(..)).with(Padding::new(0, 1, 0, 0)));
    table.to_string().lines().map(|line| format!("  {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}
