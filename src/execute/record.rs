//! Helm's record during and after an operation (design D7): a pending one while we work, so that Helm and pipelines
//! refuse to deploy into the middle; a true one afterwards. Best effort where Secrets cannot be written.

mod others;

use std::time::Duration;

use crate::context::Context;
use crate::discover::Release;
use crate::event::{EventKind, ObjectReference};
use crate::helm::error::StorageError;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::status::Status;
use crate::helm::storage::{Driver, Storage};
use crate::reconcile::{self, Closing, Reconciled, Swap};

use others::settle;
pub use others::{set_statuses, undo};

/// Attempts to write a record while the API server does not answer.
const ATTEMPTS: u32 = 6;

/// The record that an operation holds.
pub struct OpenRecord {
    storage: Storage,
    /// The record as it is stored now.
    pub meta: RecordMeta,
    record: Record,
}

/// How a record is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// What it describes is ready.
    Deployed,
    /// It is not, because…
    Failed(String),
}

/// What a record is about to say.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The release as it was found.
    pub release: &'a Release,
    /// The images that run now, for the containers that were swapped.
    pub swaps: &'a [Swap],
    /// The record's description.
    pub description: &'a str,
}

fn storage(context: &Context, driver: Driver) -> Storage {
    Storage::new(context.client.clone(), &context.namespace, driver)
}

fn changed(context: &Context, verb: &'static str, meta: &RecordMeta, status: &Status) {
    context.emit(EventKind::Change {
        verb,
        object: ObjectReference {
            kind: "Release".to_owned(),
            namespace: context.namespace.clone(),
            name: format!("{}.v{}", meta.release, meta.revision),
        },
        fields: vec!["status".to_owned()],
        before: serde_json::Value::Null,
        after: serde_json::Value::from(status.as_str()),
    });
}

/// Writes the pending record N+1. [`StorageError::Taken`] means that somebody else began an operation.
pub async fn open(
    context: &Context,
    driver: Driver,
    release: &Release,
    revision: u64,
    description: &str,
) -> Result<Option<OpenRecord>, StorageError> {
    let Some(base) = release.base() else {
        return Ok(None);
    };
    let storage = storage(context, driver);
    let record = reconcile::pending(&base.record, revision, description, context.now());
    let (meta, record) = store_new(context, &storage, record).await?;
    changed(context, "create", &meta, &Status::PendingRollback);
    Ok(Some(hold(context, OpenRecord { storage, meta, record })))
}

/// From now on the operation's writes ask whether this record is still ours.
fn hold(context: &Context, open: OpenRecord) -> OpenRecord {
    let meta = &open.meta;
    context.guard.hold_record(open.storage.driver(), &context.namespace, &meta.release, meta.revision);
    open
}

/// The record of a revision, if this operation wrote it before.
pub async fn adopt(
    context: &Context,
    driver: Driver,
    release: &str,
    revision: u64,
) -> Result<Option<OpenRecord>, StorageError> {
    let storage = storage(context, driver);
    let found = storage.find(release, revision).await?;
    let Some(meta) = found.filter(|found| found.operation.as_deref() == Some(&context.operation)) else {
        return Ok(None);
    };
    let stored = storage.get(&meta).await?;
    Ok(Some(hold(context, OpenRecord { storage, meta: stored.meta, record: stored.record })))
}

/// Writes a record as it is, to be held by this operation. [`StorageError::Taken`] means that somebody else began one.
pub async fn begin(context: &Context, driver: Driver, record: Record) -> Result<OpenRecord, StorageError> {
    let storage = storage(context, driver);
    let (meta, record) = store_new(context, &storage, record).await?;
    changed(context, "create", &meta, &record.status());
    Ok(hold(context, OpenRecord { storage, meta, record }))
}

/// Computes the record that tells what runs.
pub fn describe(
    context: &Context,
    statement: Statement<'_>,
    revision: u64,
    status: Status,
) -> Option<Reconciled> {
    let base = statement.release.base()?;
    let others = statement.release.records.iter().filter(|stored| stored.meta.revision != base.meta.revision);
    let older: Vec<Record> = others.map(|stored| stored.record.clone()).collect();
    Some(reconcile::reconcile(&reconcile::Request {
        base: &base.record,
        older: &older,
        swaps: statement.swaps,
        namespace: &context.namespace,
        revision,
        now: context.now(),
        status,
        description: statement.description,
    }))
}

impl OpenRecord {
    /// The record as it is stored now.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Takes a changed record to be written with the next [`save`](Self::save) or [`finish`](Self::finish).
    pub fn note(&mut self, record: Record) {
        self.record = record;
    }

    /// Writes a changed record over what is stored.
    pub async fn save(&mut self, context: &Context, record: Record) -> Result<(), StorageError> {
        self.meta = update(&self.storage, &self.meta, &record, context).await?;
        self.record = record;
        Ok(())
    }

    /// Writes the final record and settles the others. `keep` is never pruned; `maximum` is how many revisions stay.
    pub async fn finish(
        mut self,
        context: &Context,
        record: Record,
        keep: u64,
        maximum: Option<usize>,
    ) -> Result<(), StorageError> {
        self.save(context, record).await?;
        changed(context, "update", &self.meta, &self.record.status());
        settle(context, &self.storage, &self.meta, Some(keep), maximum).await
    }

    /// Closes the record with what is true now.
    pub async fn close(
        mut self,
        context: &Context,
        statement: Statement<'_>,
        close: &Close,
    ) -> Result<Option<Reconciled>, StorageError> {
        let status = if *close == Close::Deployed { Status::Deployed } else { Status::Failed };
        let reconciled = describe(context, statement, self.meta.revision, status);
        let described = reconciled.as_ref().map_or(&self.record, |reconciled| &reconciled.record);
        let record = match close {
            Close::Deployed => described.clone(),
            Close::Failed(reason) => {
                reconcile::close(described, &Closing::Failed { reason: reason.clone() }, context.now())
            }
        };
        self.meta = update(&self.storage, &self.meta, &record, context).await?;
        changed(context, "update", &self.meta, &record.status());
        settle(context, &self.storage, &self.meta, statement.release.base_revision, None).await?;
        Ok(reconciled)
    }

    /// Takes the record away again, because nothing was written.
    pub async fn withdraw(self, context: &Context) -> Result<(), StorageError> {
        context.guard.let_record_go();
        self.storage.delete(&self.meta).await?;
        changed(context, "delete", &self.meta, &Status::PendingRollback);
        Ok(())
    }
}

/// Writes a new record at once, for `reconcile` on its own.
pub async fn create(
    context: &Context,
    driver: Driver,
    reconciled: &Reconciled,
    base: Option<u64>,
) -> Result<RecordMeta, StorageError> {
    let storage = storage(context, driver);
    let (meta, _) = store_new(context, &storage, reconciled.record.clone()).await?;
    changed(context, "create", &meta, &Status::Deployed);
    settle(context, &storage, &meta, base, None).await?;
    Ok(meta)
}

/// Creates a record. One that is too large loses the chart's templates and files, which no later rollback needs. Where an
/// answer was lost, a record that names this operation is the one that was asked for.
async fn store_new(
    context: &Context,
    storage: &Storage,
    mut record: Record,
) -> Result<(RecordMeta, Record), StorageError> {
    let operation = Some(context.operation.as_str());
    let mut pause = Duration::from_millis(300);
    let mut answer_lost = false;
    for attempt in 1.. {
        match storage.create(&record, operation, context.now()).await {
            Err(StorageError::TooLarge { .. }) if attempt == 1 => record.slim(),
            Err(error) if attempt < ATTEMPTS && is_transient(&error) && !context.is_late() => {
                answer_lost = true;
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(StorageError::Taken { release, revision }) if answer_lost => {
                let found = storage.find(record.name(), record.revision()).await?;
                return match found.filter(|found| found.operation.as_deref() == operation) {
                    Some(ours) => Ok((ours, record)),
                    None => Err(StorageError::Taken { release, revision }),
                };
            }
            answer => return answer.map(|meta| (meta, record)),
        }
    }
    unreachable!("the loop returns at the last attempt")
}

/// Writes a record over its stored state. One that is too large loses the chart's templates and files, which no later
/// rollback needs; one whose answer was lost is read again before anything is called a conflict.
async fn update(
    storage: &Storage,
    meta: &RecordMeta,
    record: &Record,
    context: &Context,
) -> Result<RecordMeta, StorageError> {
    let mut record = record.clone();
    let mut pause = Duration::from_millis(300);
    let mut answer_lost = false;
    for attempt in 1.. {
        match storage.update(meta, &record, context.now()).await {
            Err(StorageError::TooLarge { .. }) if attempt == 1 => record.slim(),
            Err(error) if attempt < ATTEMPTS && is_transient(&error) => {
                answer_lost = true;
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(StorageError::Changed { .. }) if answer_lost => {
                let stored = storage.find(&meta.release, meta.revision).await?;
                return match stored {
                    Some(found) if storage.get(&found).await?.record == record => Ok(found),
                    _ => Err(StorageError::Changed { record: meta.object_name.clone() }),
                };
            }
            answer => return answer,
        }
    }
    unreachable!("the loop returns at the last attempt")
}

/// Whether trying again can help.
fn is_transient(error: &StorageError) -> bool {
    match error {
        StorageError::Api { source, .. } => match source.as_ref() {
            kube::Error::Api(status) => status.code == 429 || status.code >= 500,
            _ => true,
        },
        _ => false,
    }
}
