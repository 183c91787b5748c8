//! Every run is an operation: it holds the release's lock, and keeps a journal of what it is about to do and what came of
//! it, so that whoever comes after it can go on, or bring back what was there.

pub mod checklist;
pub mod guard;
mod journal;
pub mod lease;
mod local;
pub mod store;
mod workload_events;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use crate::context::Context;
use crate::journal::restore::Restore;
use crate::journal::{Entry, Head, Journal, State};
use crate::outcome::Outcome;
use guard::Armed;
use journal::JournalWriter;
use lease::{Claim, Lease, LeaseError, Takeable};
use local::LocalCopy;
use store::{Store, StoreError};

pub use local::folder as local_folder;
pub use workload_events::{record_reference, tell};

/// Whether an answer may be another one when the same is sent again.
fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 408 | 410 | 429) || status.code >= 500,
        kube::Error::SerdeError(_)
        | kube::Error::BuildRequest(_)
        | kube::Error::LinesCodecMaxLineLengthExceeded => false,
        _ => true,
    }
}

/// How long to wait before the next attempt: longer each time, and not the same for everybody.
fn pause(attempt: u32) -> Duration {
    pause_of(Duration::from_millis(100), attempt.min(5))
}

/// A pause that doubles with each repetition, up to twice as long by chance.
pub(crate) fn pause_of(first: Duration, repeated: u32) -> Duration {
    let pause = first * (1 << repeated.min(8));
    let random = crate::context::random() % 1000;
    pause + pause * u32::try_from(random).unwrap_or(0) / 1000
}

/// Why an operation could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// Somebody else is at work.
    #[error("{}", .0.describe(Timestamp::now()))]
    Held(Box<lease::Holder>),
    /// The lock cannot be had.
    #[error("the lock of the release cannot be taken")]
    Lease(#[source] kube::Error),
    /// The journal cannot be begun.
    #[error("the journal cannot be begun")]
    Journal(#[source] StoreError),
}

/// An operation at work.
pub struct Operation {
    armed: Arc<Armed>,
    bare: Client,
    namespace: String,
    renewals: tokio::task::JoinHandle<()>,
}

/// How an operation is taken up.
pub struct Start<'a> {
    /// A client that does not pass the gate.
    pub bare: &'a Client,
    /// The command line, without credentials.
    pub command: &'a str,
    /// Whose lock may be taken.
    pub takeable: &'a Takeable,
    /// Where local copies are.
    pub local: Option<PathBuf>,
}

impl Operation {
    /// Begins an operation: takes the lock, writes down what will be needed to go on or back.
    pub async fn begin(
        context: &Context,
        start: &Start<'_>,
        head: &Head,
        restore: &[Restore],
    ) -> Result<Self, OperationError> {
        let lease = take_lock(context, start, head).await?;
        let run = run_entry(context, start);
        let text = crate::journal::codec::encode_entry(&run);
        let begun = async {
            // The journal first, by which the rest is found: killed in between, nothing lies about that nobody knows of.
            let store = Store::create(start.bare, head, text.clone()).await?;
            store::save_restore(start.bare, head, restore).await?;
            Ok(store)
        };
        let begun = begun.await;
        if let Err(StoreError::Api(_)) = &begun {
            // What is there of it must not stand in the way of the next one.
            let _ = store::delete(start.bare, &head.namespace, &head.operation).await;
        }
        let store = match begun {
            Ok(store) => Some(store),
            Err(error) if matches!(error, StoreError::Api(_)) && error.is_final() => {
                context.warn(format!(
                    "the journal cannot be kept in the cluster, so that only this machine can tell what was done: {}",
                    chain(&error)
                ));
                None
            }
            Err(error) => {
                if let Some(lease) = &lease {
                    let _ = lease.release().await;
                }
                return Err(OperationError::Journal(error));
            }
        };
        let local = start.local.as_deref().and_then(|folder| LocalCopy::create(folder, head));
        if let Some(local) = &local {
            local.append(&text);
        }
        Ok(Self::armed(context, start, head, lease, JournalWriter::new(store, local)))
    }

    /// Takes an operation up again, to go on with it or to undo it.
    pub async fn take_up(
        context: &Context,
        start: &Start<'_>,
        journal: &Journal,
        mut store: Store,
        state: State,
    ) -> Result<Self, OperationError> {
        let head = &journal.head;
        let lease = take_lock(context, start, head).await?;
        let written = async {
            store.append(&crate::journal::codec::encode_entry(&run_entry(context, start))).await?;
            store.set_state(state, None).await
        };
        if let Err(error) = written.await {
            if let Some(lease) = &lease {
                let _ = lease.release().await;
            }
            return Err(OperationError::Journal(error));
        }
        let local = start.local.as_deref().and_then(|folder| LocalCopy::resume(folder, head));
        Ok(Self::armed(context, start, head, lease, JournalWriter::new(Some(store), local)))
    }

    fn armed(
        context: &Context,
        start: &Start<'_>,
        head: &Head,
        lease: Option<Lease>,
        journal: JournalWriter,
    ) -> Self {
        let armed = Arc::new(Armed {
            operation: head.operation.clone(),
            lease: lease.clone(),
            journal: Arc::new(journal),
            record: Mutex::default(),
            seen: tokio::sync::Mutex::new(None),
            lost: Mutex::default(),
        });
        context.guard.arm(armed.clone());
        let renewals = tokio::spawn(async move {
            let Some(lease) = lease else { return };
            loop {
                tokio::time::sleep(lease::RENEWAL).await;
                // Whether it failed because the lock is somebody else's is found out before the next write.
                let _ = lease.renew().await;
            }
        });
        Self { armed, bare: start.bare.clone(), namespace: head.namespace.clone(), renewals }
    }

    /// Ends the operation: writes how, gives the lock back, and forgets what only an undoing would have needed.
    pub async fn finish(
        self,
        context: &Context,
        state: State,
        outcome: Outcome,
        exit_code: u8,
        result: Value,
    ) {
        self.renewals.abort();
        let now = context.now();
        if context.guard.lost().is_none() {
            let entry = Entry::Finished { at: now, outcome, exit_code, result };
            let outcome = serde_json::to_value(outcome).unwrap_or_default();
            let outcome = outcome.as_str().unwrap_or_default();
            if let Err(error) = self.armed.journal.close(&entry, state, outcome, now).await {
                context.warn(format!("the journal could not be closed: {}", chain(&error)));
            } else if !state.is_unfinished() {
                let (operation, namespace) = (&self.armed.operation, &self.namespace);
                if let Err(error) = store::forget_restore(&self.bare, namespace, operation).await {
                    context.warn(format!(
                        "what an undoing would have needed could not be deleted: {}",
                        chain(&error)
                    ));
                }
            }
            if let Some(lease) = &self.armed.lease {
                // One that cannot be given back expires by itself.
                let _ = lease.release().await;
            }
        }
        if let Some(trouble) = self.armed.journal.trouble() {
            context.warn(format!("the cluster did not keep the whole journal: {trouble}"));
        }
        context.guard.disarm();
    }
}

fn run_entry(context: &Context, start: &Start<'_>) -> Entry {
    Entry::Run { at: context.now(), actor: context.actor.clone(), command: start.command.to_owned() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Takes the lock of the operation's release. Where we may not, the operation goes on without: it is a courtesy.
async fn take_lock(
    context: &Context,
    start: &Start<'_>,
    head: &Head,
) -> Result<Option<Lease>, OperationError> {
    let claim = Claim {
        identity: format!("{} {} {}", context.actor, head.operation, crate::context::new_process_id()),
        actor: context.actor.clone(),
        operation: head.operation.clone(),
        command: start.command.to_owned(),
    };
    let name = lease::name(head.release.as_deref(), &head.operation);
    match lease::acquire(start.bare, &head.namespace, &name, &claim, start.takeable).await {
        Ok(lease) => Ok(Some(lease)),
        Err(LeaseError::Held(holder)) => Err(OperationError::Held(holder)),
        Err(LeaseError::Forbidden(why)) => {
            context.warn(format!("the release cannot be locked, others are not kept off: {why}"));
            Ok(None)
        }
        Err(LeaseError::Api(error)) => Err(OperationError::Lease(error)),
    }
}
