//! What Django's `showmigrations --plan --verbosity 2` says: every migration of every application that the image has a file
//! for, in the order in which they are applied, with those that it stands on. Of what was applied and has no file it says
//! nothing; an image is never lost.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{Migration, Question, ReadError, Reading, Said};
use crate::plan::database::Downgrade;

/// `[X]  auth.0002_alter ... (auth.0001_initial, contenttypes.0001_initial)`.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\[([X ])\]\s+(\w+\.\S+)(?: \.\.\. \((.*)\))?$").expect("the pattern is a constant")
});

pub(super) fn read(history: &Said) -> Result<Reading, ReadError> {
    let mut known = Vec::new();
    let mut applied = Vec::new();
    for line in history.output()?.lines() {
        let Some(found) = LINE.captures(line.trim_end()) else { continue };
        let id = found[2].to_owned();
        if &found[1] == "X" {
            applied.push(id.clone());
        }
        let parents = found.get(3).map_or("", |parents| parents.as_str()).split(", ");
        let parents = parents.filter(|parent| !parent.is_empty()).map(str::to_owned).collect();
        known.push(Migration { id, parents, ..Migration::default() });
    }
    if known.is_empty() {
        let what = "no migration is named in it".to_owned();
        return Err(ReadError::Unreadable { question: Question::History, what });
    }
    known.reverse();
    applied.reverse();
    let heads = newest(known.iter().map(|migration| &migration.id));
    let at = newest(applied.iter());
    Ok(Reading { known, heads, at, applied, lost: Vec::new() })
}

/// The newest migration of each application, of migrations newest first: one application's says nothing of another's.
fn newest<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.filter(|id| seen.insert(application(id))).cloned().collect()
}

/// The application that a migration belongs to.
pub(crate) fn application(id: &str) -> &str {
    id.split_once('.').map_or(id, |(application, _)| application)
}

/// Whether `sqlmigrate --backwards` refused because an operation has nothing that undoes it.
pub(super) fn is_one_way(said: &Said) -> bool {
    said.code != 0 && said.stderr.contains("IrreversibleError")
}

/// For each application the migration that it goes back to, in the order in which they must.
pub(super) fn targets(plan: &Downgrade) -> Vec<(&str, &str)> {
    plan.to.iter().map(|id| id.split_once('.').unwrap_or((id, "zero"))).collect()
}
