//! What commands of the configuration say: a revision a line, its description behind it, newest first.

use super::{Migration, ReadError, Reading, Said};

pub(super) fn read(current: Option<&Said>, history: &Said) -> Result<Reading, ReadError> {
    let lines = |text: &str| -> Vec<(String, String)> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let split = lines.map(|line| line.split_once(char::is_whitespace).unwrap_or((line, "")));
        split.map(|(id, rest)| (id.to_owned(), rest.trim().to_owned())).collect()
    };
    let known = lines(history.output()?);
    let known =
        known.into_iter().map(|(id, description)| Migration { id, description, ..Migration::default() });
    let at = current.map(|said| said.output()).transpose()?.unwrap_or_default();
    Ok(in_a_line(known.collect(), lines(at).into_iter().map(|(id, _)| id).take(1).collect()))
}

/// The migrations of a line in which each stands on the one before, from where the database is: those that were applied,
/// and where the image does not know the place.
fn in_a_line(known: Vec<Migration>, at: Vec<String>) -> Reading {
    let heads = known.first().map(|migration| migration.id.clone()).into_iter().collect();
    let newest = known.iter().position(|migration| at.contains(&migration.id));
    let applied = newest.map_or(&[][..], |index| &known[index..]);
    let applied = applied.iter().map(|migration| migration.id.clone()).collect();
    let lost = at.iter().filter(|id| !known.iter().any(|migration| migration.id == **id)).cloned().collect();
    Reading { known, heads, at, applied, lost }
}
