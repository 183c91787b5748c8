//! Whether somebody else is at work on a release: by its lock, by the journals of operations that were not ended, by its
//! newest record.

use super::operation::{TAKE_OVER, held};
use super::{Failure, Session};
use crate::execute::operation::lease::{Found, Takeable};
use crate::execute::operation::store::Listed;
use crate::execute::operation::{lease, store};
use crate::helm::meta::RecordMeta;
use crate::journal::State;
use crate::words::age;

/// What stands in the way of an operation, and may be taken over.
#[derive(Debug)]
pub struct Standing {
    /// Operations that were begun and not ended.
    pub operations: Vec<Listed>,
    /// Whose lock may be taken.
    pub takeable: Takeable,
}

impl Standing {
    /// Of workloads without a release, where each operation has a lock of its own.
    pub fn without_release(take_over: bool) -> Self {
        let takeable = if take_over { Takeable::Any } else { Takeable::Lifeless };
        Self { operations: Vec::new(), takeable }
    }
}

/// Refuses where somebody is at work on a release, or was and has not come to an end. Answers what is to be taken over.
/// `metas` are a release's records, newest first.
pub async fn check(
    session: &Session,
    release: &str,
    metas: &[RecordMeta],
    take_over: bool,
) -> Result<Standing, Failure> {
    let context = &session.context;
    let (client, namespace) = (&context.bare, context.namespace.as_str());
    let name = lease::name(Some(release), "");
    let look =
        async { if take_over { Ok(Found::Free) } else { lease::look(client, namespace, &name).await } };
    let (found, journals) = futures::join!(look, store::list(client, Some(namespace), Some(release)));
    let journals = journals.unwrap_or_default();
    let is_over = |operation: &str| {
        journals.iter().any(|listed| listed.operation == operation && !listed.state.blocks())
    };
    // Where these may not be read, the records have to do; the lock itself is taken, or missed, before the first write.
    let takeable = match Takeable::of(found.unwrap_or(Found::Free)) {
        _ if take_over => Takeable::Any,
        Ok(takeable) => takeable,
        // Whoever holds it has come to an end and not given it back.
        Err(holder) if is_over(&holder.operation) => Takeable::Any,
        Err(holder) => return Err(held(session, Some(release), &holder)),
    };
    // One whose record is closed came to its end, whether or not it could still write that down.
    let is_closed = |listed: &Listed| {
        let own = metas.iter().find(|meta| meta.operation.as_deref() == Some(listed.operation.as_str()));
        listed.state == State::Open && own.is_some_and(|own| !own.status.is_pending())
    };
    let (closed, blocking): (Vec<Listed>, Vec<Listed>) =
        journals.into_iter().filter(|listed| listed.state.blocks()).partition(is_closed);
    if let Some(left) = blocking.first().filter(|_| !take_over) {
        return Err(unfinished(session, release, left));
    }
    pending(metas, take_over)?;
    let operations = blocking.into_iter().chain(closed).collect();
    Ok(Standing { operations, takeable })
}

fn unfinished(session: &Session, release: &str, left: &Listed) -> Failure {
    let (operation, namespace) = (&left.operation, &left.namespace);
    let begun = left.started_at.map(|time| format!(" {} ago", age(time, session.context.now())));
    Failure::locked(format!(
        "operation {operation} on release {release} ({} to {}) was begun{} by {} and never ended; nothing was changed",
        left.procedure,
        left.target,
        begun.unwrap_or_default(),
        left.actor
    ))
    .hinted(format!("kubectl rollback resume {operation} -n {namespace}   # go on with it"))
    .hinted(format!("kubectl rollback abort {operation} -n {namespace}   # put back what was there"))
    .hinted("or leave it as it is: run the same command with --take-over")
}

/// Refuses where the newest record is pending: Helm or a pipeline is at work, or was killed there.
fn pending(metas: &[RecordMeta], take_over: bool) -> Result<(), Failure> {
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
    .hinted(TAKE_OVER))
}
