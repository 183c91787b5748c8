//! What `flyway info -outputType=json` says.

use serde::Deserialize;

use super::{Migration, Question, ReadError, Reading, Said};
use crate::plan::database::Downgrade;

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
}

pub(super) fn read(history: &Said) -> Result<Reading, ReadError> {
    let unreadable = |what: String| ReadError::Unreadable { question: Question::History, what };
    let text = history.output()?;
    // Notices of the program may stand before the document.
    let document = text.find('{').map_or("", |start| &text[start..]);
    let info: Info = serde_json::from_str(document).map_err(|error| unreadable(error.to_string()))?;
    let mut found = Reading::default();
    for line in info.migrations.into_iter().rev().filter(|line| line.category == "Versioned") {
        let Some(id) = line.version.filter(|version| !version.is_empty()) else { continue };
        let state = line.state.as_str();
        // The states are those of Flyway's MigrationState; what is Future or Missing has no file in this image.
        if state.contains("Failed") {
            return Err(unreadable(format!(
                "version {id} has failed half-way; look at it, then `flyway repair`"
            )));
        }
        let has_file = !state.starts_with("Future") && !state.starts_with("Missing");
        let is_applied =
            ["Success", "Out of Order", "Future", "Missing", "Outdated", "Baseline"].contains(&state);
        match (has_file, is_applied) {
            (true, true) => found.applied.push(id.clone()),
            (false, true) => found.lost.push(id.clone()),
            _ => {}
        }
        if is_applied && found.at.is_empty() {
            found.at.push(id.clone());
        }
        if has_file {
            found.known.push(Migration {
                id,
                description: line.description.unwrap_or_default(),
                ..Migration::default()
            });
        }
    }
    found.heads = found.known.first().map(|migration| migration.id.clone()).into_iter().collect();
    Ok(found)
}

/// The version that `flyway undo` is told: the oldest that it undoes, since it stops below it.
pub(super) fn target(plan: &Downgrade) -> &str {
    plan.steps.last().map_or("", |migration| migration.id.as_str())
}
