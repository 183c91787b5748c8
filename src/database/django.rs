//! What Django's `showmigrations --plan` says: every migration of every application, in the order in which they are
//! applied.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{Migration, Question, ReadError, Reading, Said};
use crate::plan::database::Downgrade;

/// `[X]  auth.0001_initial`, with the number of squashed ones behind it.
static LINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[([X ])\]\s+(\w+\.\w+)(?:\s|$)").expect("the pattern is a constant"));

pub(super) fn read(history: &Said) -> Result<Reading, ReadError> {
    let mut known = Vec::new();
    let mut applied = Vec::new();
    let mut heads: BTreeMap<String, String> = BTreeMap::new();
    for line in history.output()?.lines() {
        let Some(found) = LINE.captures(line.trim_end()) else { continue };
        let id = found[2].to_owned();
        if &found[1] == "X" {
            applied.push(id.clone());
        }
        heads.insert(application(&id).to_owned(), id.clone());
        known.push(Migration { id, ..Migration::default() });
    }
    if known.is_empty() {
        let what = "no migration is named in it".to_owned();
        return Err(ReadError::Unreadable { question: Question::History, what });
    }
    known.reverse();
    applied.reverse();
    let at = applied.first().cloned().into_iter().collect();
    Ok(Reading { known, heads: heads.into_values().collect(), at, applied, lost: Vec::new() })
}

/// The application that a migration belongs to.
pub(crate) fn application(id: &str) -> &str {
    id.split_once('.').map_or(id, |(application, _)| application)
}

/// For each application the migration that it goes back to, in the order in which they must.
pub(super) fn targets(plan: &Downgrade) -> Vec<(&str, &str)> {
    plan.to.iter().map(|id| id.split_once('.').unwrap_or((id, "zero"))).collect()
}
