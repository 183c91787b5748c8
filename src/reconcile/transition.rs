//! How a record of ours begins and ends.
//!
//! While an operation runs its record is `pending-rollback`, so that Helm refuses to deploy into the middle of it. Every exit that we
//! control closes it: `deployed` when what it describes is ready, else `failed` with the reason.

use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::status::Status;

use super::DESCRIPTION_PREFIX;

/// The longest description, in characters: what Helm's own flag accepts.
pub const LONGEST_DESCRIPTION: usize = 256;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// What the record describes is ready.
    Deployed,
    /// It is not, or not known to be.
    Failed {
        /// Why, in a clause.
        reason: String,
    },
}

/// The description of our records: what was done, to what, from which revision, by which operation.
///
/// `from=N` lets a later rollback skip the revision that this one left.
pub fn description(procedure: &str, target: &str, from: u64, operation: &str) -> String {
    format!("{DESCRIPTION_PREFIX}{procedure} to {target} (from={from}, operation {operation})")
}

/// What a description of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The target in words.
    pub target: String,
    /// The revision that was current before.
    pub from: u64,
    /// The operation.
    pub operation: String,
    /// What stands behind: a reason, or why it failed.
    pub rest: String,
}

/// Reads what [`description`] wrote; nothing where it is not of ours.
pub fn read_description(text: &str) -> Option<Described> {
    let (head, tail) = text.strip_prefix(DESCRIPTION_PREFIX)?.split_once(" (from=")?;
    let (_, target) = head.split_once(" to ")?;
    let (inner, rest) = tail.split_once(')')?;
    let (from, operation) = inner.split_once(", operation ")?;
    Some(Described {
        target: target.to_owned(),
        from: from.parse().ok()?,
        operation: operation.to_owned(),
        rest: rest.to_owned(),
    })
}

/// The placeholder that an operation holds while it runs.
///
/// It has what Helm needs to list it and to roll back from it, and lacks the chart's templates and files, so that writing it
/// does not delay an emergency over a slow line.
pub fn pending(base: &Record, revision: u64, description: &str, now: jiff::Timestamp) -> Record {
    let mut record = base.clone();
    record.slim();
    record.set_revision(revision);
    record.set_status(&Status::PendingRollback);
    record.set_description(description);
    record.set_last_deployed(now);
    record
}

/// The record as it must be at the end of the operation.
pub fn close(record: &Record, closing: &Closing, now: jiff::Timestamp) -> Record {
    let mut closed = record.clone();
    closed.set_last_deployed(now);
    match closing {
        Closing::Deployed => closed.set_status(&Status::Deployed),
        Closing::Failed { reason } => {
            closed.set_status(&Status::Failed);
            closed.set_description(&failed_description(record.description(), reason));
        }
    }
    closed
}

/// The description of an operation that failed. What the operator said of it stands last, so that a reason of theirs that
/// speaks of failing is not taken for ours.
pub fn failed_description(description: &str, reason: &str) -> String {
    let is_ours = description.starts_with(DESCRIPTION_PREFIX);
    match description.split_once("): ").filter(|_| is_ours) {
        Some((deed, words)) => shorten(&format!("{deed}) failed: {reason}: {words}")),
        None => shorten(&format!("{description} failed: {reason}")),
    }
}

/// The description of an operation that was undone: that of one that failed, so that whoever looks for the last good
/// revision takes it for one.
pub fn undone_description(record: &Record, why: &str) -> String {
    let description = record.description();
    if !description.starts_with(DESCRIPTION_PREFIX) {
        return shorten(&format!("Rollback {:?} failed: {why}", record.name()));
    }
    let deed =
        description.split_once(") failed: ").map_or(description.to_owned(), |(deed, _)| format!("{deed})"));
    failed_description(&deed, why)
}

/// Cuts a description to the length that Helm accepts.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_DESCRIPTION) {
        Some((end, _)) => {
            let mut start: String = text[..end].chars().take(LONGEST_DESCRIPTION - 1).collect();
            start.push('…');
            start
        }
        None => text.to_owned(),
    }
}

/// Which other records must change, and to what, once the record of revision `ours` is written as deployed: there is one
/// deployed record only, and an operation that died earlier has failed.
///
/// A failed record stays failed. After a failure of ours nothing else changes.
pub fn to_settle(records: &[RecordMeta], ours: u64) -> Vec<(&RecordMeta, Status)> {
    records
        .iter()
        .filter(|record| record.revision != ours)
        .filter_map(|record| match &record.status {
            Status::Deployed => Some((record, Status::Superseded)),
            status if status.is_pending() && record.revision < ours => Some((record, Status::Failed)),
            _ => None,
        })
        .collect()
}
