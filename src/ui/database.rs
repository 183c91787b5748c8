//! Where a database is, how it goes back, and what became of it.

use std::fmt::Write;

use super::Printer;
use super::table::aligned;
use crate::cli::GoDuration;
use crate::database::{self, Migration, Reading, position};
use crate::execute::database::DatabaseDone;
use crate::plan::database::{DatabasePlan, Standing};
use crate::words::{counted, elapsed};

/// Where a database is: the position with what its author says about it.
pub fn database_position(reading: &Reading) -> String {
    if !reading.lost.is_empty() {
        return format!("{}, which this image does not know", position(&reading.lost));
    }
    let described = |id: &String| {
        let found = reading.known.iter().find(|migration| migration.id == *id);
        found.map_or_else(|| id.clone(), with_description)
    };
    if reading.at.is_empty() {
        return "before the first migration".to_owned();
    }
    reading.at.iter().map(described).collect::<Vec<_>>().join(", ")
}

fn with_description(migration: &Migration) -> String {
    if migration.description.is_empty() {
        migration.id.clone()
    } else {
        format!("{}  {}", migration.id, migration.description)
    }
}

/// The migrations that an image knows, newest first.
pub fn database_history(printer: &Printer, reading: &Reading) -> String {
    let header = ["MIGRATION", "APPLIED", "DESCRIPTION"].map(str::to_owned).to_vec();
    let rows = reading.known.iter().map(|migration| {
        let applied = if reading.applied.contains(&migration.id) { "yes" } else { "no" };
        let here = if reading.at.contains(&migration.id) { "  ← the database is here" } else { "" };
        let description = format!("{}{}", migration.description, printer.good(here));
        vec![migration.id.clone(), applied.to_owned(), description.trim().to_owned()]
    });
    let mut text = aligned(std::iter::once(header).chain(rows));
    if !reading.lost.is_empty() {
        let lost = format!("the database is at {}, which this image does not know", position(&reading.lost));
        let _ = write!(text, "\n{}", printer.caution(&lost));
    }
    text
}

/// How a database goes back, for the screen before the confirmation.
pub fn database_plan(printer: &Printer, step: &DatabasePlan) -> String {
    let settings = &step.settings;
    let mut text = String::new();
    let (from, to) = (position(&step.downgrade.from), position(&step.downgrade.to));
    let title = printer.strong("DATABASE");
    let _ = writeln!(text, "  {title}  {} of {}: {from} → {to}", settings.adapter.as_str(), step.workload);
    let undone = counted(step.downgrade.steps.len(), "migration");
    let verb = if step.downgrade.steps.len() == 1 { "is" } else { "are" };
    let _ = writeln!(text, "    {undone} {verb} undone, newest first:");
    for migration in &step.downgrade.steps {
        let _ = writeln!(text, "      {}", with_description(migration));
    }
    for words in database::downgrade(settings, &step.downgrade) {
        let _ = writeln!(text, "    run in {}: {}", step.image, words.join(" "));
    }
    let whole = |limit: std::time::Duration| elapsed(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX));
    let limit = |limit: std::time::Duration| {
        if limit.is_zero() { "none".to_owned() } else { GoDuration(limit).to_string() }
    };
    let _ = writeln!(
        text,
        "    lock timeout {}, statement timeout {} (PGOPTIONS), at most {} in all",
        limit(settings.lock_timeout),
        limit(settings.statement_timeout),
        whole(settings.timeout)
    );
    let users: Vec<String> = step.uses.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "    stopped meanwhile: {}", users.join(", "));
    let line = "    What a migration drops on the way back is in a backup, or lost.";
    let _ = writeln!(text, "{}", printer.caution(line));
    text
}

/// What became of a database, as a line of the summary.
pub fn database_line(printer: &Printer, step: &DatabasePlan, done: &DatabaseDone) -> String {
    let (from, to) = (position(&step.downgrade.from), position(&step.downgrade.to));
    let mut text = match done.fault() {
        None => {
            let undone = counted(step.downgrade.steps.len(), "migration");
            format!("  {} database {from} → {to}, {undone} undone\n", printer.good("✔"))
        }
        Some(fault) => format!("  {} {fault}\n", printer.bad("✘")),
    };
    if done.standing == Standing::HalfWay
        && let Some(at) = &done.at
    {
        let _ = writeln!(
            text,
            "    of {from} → {to} it is at {}; still to be undone: {}",
            position(at),
            position(&done.left)
        );
    }
    if !done.is_down() {
        for line in done.output.iter().rev().take(5).rev() {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}
