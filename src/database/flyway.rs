//! What `flyway info -outputType=json` says.

use serde::Deserialize;

use super::{Migration, Question, ReadError, Reading, Said, last_line};
use crate::plan::database::Downgrade;
use crate::wait::redaction::redact;

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    migrations: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    category: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    state: String,
    /// `No` also for everything in an edition that cannot undo; older programs do not say it.
    #[serde(default)]
    undoable: String,
}

/// What is printed in place of an answer, on standard output.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    message: String,
}

/// States of what was applied, or stands below the beginning of the history and is never going to be.
const APPLIED: [&str; 6] =
    ["Success", "Out of Order", "Future", "Missing", "Below Baseline", "Ignored (Baseline)"];
/// States of what has no file in this image.
const WITHOUT_FILE: [&str; 3] = ["Future", "Missing", "Deleted"];

pub(super) fn read(history: &Said) -> Result<Reading, ReadError> {
    let unreadable = |what: String| ReadError::Unreadable { question: Question::History, what };
    let text = history.output().map_err(|error| refused(error, &history.stdout))?;
    let info: Info = serde_json::from_str(document(text)).map_err(|error| unreadable(error.to_string()))?;
    let mut found = Reading::default();
    // The row of a baseline has no category: no file belongs to it.
    let is_version = |line: &Line| line.category == "Versioned" || line.state == "Baseline";
    let lines = info.migrations.into_iter().filter(is_version);
    let mut lines: Vec<(String, Line)> =
        lines.filter_map(|line| Some((line.version.clone().filter(|id| !id.is_empty())?, line))).collect();
    // They stand in the order in which they were applied. What was applied out of order is undone by its version all the same.
    lines.sort_by(|(one, _), (other, _)| parts(other).cmp(&parts(one)));
    for (id, line) in lines {
        let state = line.state.as_str();
        if state.starts_with("Failed") {
            return Err(unreadable(format!(
                "version {id} has failed half-way; look at it, then `flyway repair`"
            )));
        }
        let is_applied = APPLIED.contains(&state);
        if found.at.is_empty() && (is_applied || state == "Baseline") {
            found.at.push(id.clone());
        }
        // What this image lacks below the newest is missed by nobody who undoes what is above.
        if state == "Future" {
            found.lost.push(id.clone());
        }
        if WITHOUT_FILE.contains(&state) || state == "Baseline" {
            continue;
        }
        if is_applied {
            found.applied.push(id.clone());
        }
        // Undone and not yet applied again, it has a line for each.
        if !found.knows(&id) {
            let description = line.description.unwrap_or_default();
            let irreversible = is_applied && line.undoable == "No";
            found.known.push(Migration { id, description, irreversible, ..Migration::default() });
        }
    }
    found.heads = found.known.first().map(|migration| migration.id.clone()).into_iter().collect();
    Ok(found)
}

/// Notices of the program may stand before its document.
fn document(text: &str) -> &str {
    text.find('{').map_or("", |start| &text[start..])
}

/// A program that fails says why in a document too.
fn refused(error: ReadError, stdout: &str) -> ReadError {
    match (error, serde_json::from_str::<Refusal>(document(stdout))) {
        (ReadError::Failed { question, code, .. }, Ok(refusal)) => {
            let said = redact(refusal.error.message.lines().next().unwrap_or_default());
            ReadError::Failed { question, code, said }
        }
        (error, _) => error,
    }
}

/// A version as it is compared: number by number, `1.10` after `1.9`, `2` the same as `2.0`.
fn parts(version: &str) -> Vec<(usize, &str)> {
    let numbers = version.split(['.', '_']).map(|number| number.trim_start_matches('0'));
    let mut parts: Vec<(usize, &str)> = numbers.map(|number| (number.len(), number)).collect();
    while parts.last().is_some_and(|(length, _)| *length == 0) {
        parts.pop();
    }
    parts
}

/// The version that `flyway undo` is told: the oldest that it undoes, since it stops below it.
pub(super) fn target(plan: &Downgrade) -> &str {
    plan.steps.last().map_or("", |migration| migration.id.as_str())
}

/// The line of its output that says what happened. What this edition cannot do is followed by where to buy another.
pub(super) fn last_words(text: &str) -> String {
    let last = last_line(text);
    let refusal = text.lines().rfind(|line| line.starts_with("ERROR: "));
    match refusal {
        Some(refusal) if !last.starts_with("Caused by: ") => redact(refusal.trim()),
        _ => last,
    }
}
