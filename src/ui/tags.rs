//! The table of `tags`.

use std::fmt::Write;

use jiff::Timestamp;

use super::Printer;
use super::table::{aligned, moment};
use crate::commands::TagsDocument;
use crate::plan::tags::TagRow;
use crate::words::counted;

/// Renders the tags; with `wide` the repositories of each.
pub fn tags_table(printer: &Printer, document: &TagsDocument, now: Timestamp, wide: bool) -> String {
    let mut text = String::new();
    for answer in &document.repositories {
        let _ = match (&answer.problem, answer.tags) {
            (Some(problem), _) => {
                writeln!(text, "{} {}: {problem}", printer.caution("!"), answer.repository)
            }
            (None, number) => {
                let number = counted(number.unwrap_or_default(), "tag");
                let more = if answer.more { " and more" } else { "" };
                writeln!(text, "{}: {number}{more}", answer.repository)
            }
        };
    }
    if !document.not_asked.is_empty() {
        let names = document.not_asked.join(", ");
        let _ = writeln!(text, "Not asked for, because the tag never changed: {names} (--repository)");
    }
    let known = document.repositories.iter().filter(|answer| answer.problem.is_none()).count();
    let mut header = ["TAG", "IN", "REVISION", "DEPLOYED", "NOTE"].map(str::to_owned).to_vec();
    if wide {
        header.push("REPOSITORIES".to_owned());
    }
    let rows = document.tags.iter().map(|row| {
        let mut cells = cells(row, known, now);
        if wide {
            cells.push(row.repositories.join(","));
        }
        cells
    });
    let _ = write!(text, "\n{}", aligned([header].into_iter().chain(rows)));
    if document.hidden > 0 {
        let _ = write!(text, "\n{} more (--all, --max N)", document.hidden);
    }
    text
}

fn cells(row: &TagRow, known: usize, now: Timestamp) -> Vec<String> {
    let newest = row.deployed.first();
    let revisions: Vec<String> = row.deployed.iter().map(|deployed| deployed.revision.to_string()).collect();
    let mut notes = Vec::new();
    if row.current {
        notes.push("runs now".to_owned());
    }
    if row.deployed.is_empty() && row.ran {
        notes.push("ran before".to_owned());
    }
    if !row.gone.is_empty() {
        notes.push(format!("not there any more: {}", row.gone.join(", ")));
    }
    if let Some(failed) = newest.filter(|deployed| deployed.status == "failed") {
        notes.push(format!("revision {} failed", failed.revision));
    }
    let is_in = if known == 0 { "?".to_owned() } else { format!("{}/{known}", row.repositories.len()) };
    let at = newest.and_then(|deployed| deployed.at).map(|at| moment(at, now)).unwrap_or_default();
    vec![row.tag.clone(), is_in, revisions.join(","), at, notes.join("; ")]
}
