//! Whether somebody else is at work on a release, by its newest record.

use super::Failure;
use crate::helm::meta::RecordMeta;

/// Refuses where the newest record is pending: Helm, a pipeline or another run of ours is at work, or was killed there.
/// `metas` are a release's records, newest first.
pub fn check(metas: &[RecordMeta], take_over: bool) -> Result<(), Failure> {
    let Some(newest) = metas.first().filter(|newest| newest.status.is_pending() && !take_over) else {
        return Ok(());
    };
    let since = newest.modified.or(newest.created).map(|time| format!(" since {time}")).unwrap_or_default();
    let whom = match &newest.operation {
        Some(operation) => format!("operation {operation} of this tool"),
        None => {
            format!("a Helm operation (last writer: {})", newest.last_writer.as_deref().unwrap_or("unknown"))
        }
    };
    Err(Failure::locked(format!(
        "release {} is in progress: revision {} is {}{since}, by {whom}; nothing was changed",
        newest.release, newest.revision, newest.status
    ))
    .hinted("if nobody is at work there any more, run the same command with --take-over"))
}
