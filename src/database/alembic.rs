//! What `alembic` says.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{Migration, Question, ReadError, Reading, Said};
use crate::plan::database::Downgrade;

/// `1a2b (head)`, `1a2b (side) (head)`, `1a2b`.
static REVISION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([^\s,()\[\]]+)(?: \([^)]*\))*$"));
/// `1a2b -> 3c4d (head), words of the author`, `<base> -> 1a2b`, `1a2b, 3c4d -> 5e6f (mergepoint)`, `1a2b (7a8b) -> 9c0d` where
/// it depends on another branch.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(<base>|[^\s,()]+(?:, [^\s,()]+)*)(?: \(([^)]*)\))? -> ([^\s,()]+)((?: \([^)]*\))*)(?:, ?(.*))?$",
    )
});
/// How an image says that the database is further than it knows.
static UNKNOWN: LazyLock<Regex> = LazyLock::new(|| pattern(r"Can't locate revision identified by '([^']+)'"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

pub(super) fn read(current: Option<&Said>, history: &Said) -> Result<Reading, ReadError> {
    let (known, heads) = links(history.output()?)?;
    if heads.is_empty() != known.is_empty() {
        return Err(ReadError::Unreadable {
            question: Question::History,
            what: format!("none of {} migrations is a head", known.len()),
        });
    }
    let Some(current) = current else {
        return Ok(Reading { known, heads, ..Reading::default() });
    };
    if current.code != 0
        && let Some(lost) = UNKNOWN.captures(&current.stderr).or_else(|| UNKNOWN.captures(&current.stdout))
    {
        return Ok(Reading { known, heads, lost: vec![lost[1].to_owned()], ..Reading::default() });
    }
    let at = revisions(current.output()?);
    let applied = ancestors(&known, at.iter().map(String::as_str));
    let applied = known.iter().map(|migration| &migration.id).filter(|id| applied.contains(id.as_str()));
    let applied = applied.cloned().collect();
    let lost = at.iter().filter(|id| !known.iter().any(|migration| migration.id == **id)).cloned().collect();
    Ok(Reading { known, heads, at, applied, lost })
}

fn revisions(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(REVISION.captures(line.trim())?[1].to_owned())).collect()
}

/// The migrations of a history, newest first, and which of them are heads.
fn links(text: &str) -> Result<(Vec<Migration>, Vec<String>), ReadError> {
    let mut known = Vec::new();
    let mut heads = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| line.contains(" -> ")) {
        let Some(link) = LINK.captures(line) else {
            // Programs that print a line of their own may use an arrow too; a link that is left out would not be seen.
            let what = format!("{:?} is no line of a history", super::last_line(line));
            return Err(ReadError::Unreadable { question: Question::History, what });
        };
        let parents = link[1].split(", ").filter(|parent| *parent != "<base>");
        let depends = link.get(2).map_or("", |depends| depends.as_str()).split(", ");
        let all = parents.chain(depends).filter(|parent| !parent.is_empty());
        if link[4].contains(" (head)") {
            heads.push(link[3].to_owned());
        }
        known.push(Migration {
            id: link[3].to_owned(),
            parents: all.map(str::to_owned).collect(),
            description: link.get(5).map_or("", |text| text.as_str()).trim().to_owned(),
            ..Migration::default()
        });
    }
    Ok((known, heads))
}

/// Revisions with everything that they stand on.
pub(super) fn ancestors<'a>(
    known: &'a [Migration],
    from: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut left: Vec<&str> = from.into_iter().collect();
    while let Some(id) = left.pop() {
        let Some(migration) = known.iter().find(|migration| migration.id == id) else { continue };
        if found.insert(migration.id.as_str()) {
            left.extend(migration.parents.iter().map(String::as_str));
        }
    }
    found
}

/// The revision that `alembic downgrade` is told.
pub(super) fn target(plan: &Downgrade) -> &str {
    plan.to.first().map_or("base", String::as_str)
}
