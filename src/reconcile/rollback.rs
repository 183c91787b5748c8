//! The record of a rollback to a stored revision: what it says while it runs, and how it ends. As Helm writes it, so that
//! nobody can tell the difference afterwards.

use serde_json::{Value, json};

use super::shorten;
use crate::helm::record::Record;
use crate::helm::status::Status;

/// The pending record: everything of the target, but the release's own namespace and first deployment.
pub fn rollback_record(
    current: &Record,
    target: &Record,
    revision: u64,
    description: &str,
    now: jiff::Timestamp,
) -> Record {
    let mut body = target.to_json();
    let from = current.to_json();
    for (map, key) in [("/info", "first_deployed"), ("", "namespace")] {
        let value = from.pointer(&format!("{map}/{key}")).cloned();
        if let (Some(Value::Object(map)), Some(value)) = (body.pointer_mut(map), value) {
            map.insert(key.to_owned(), value);
        }
    }
    // An uninstalled target says when it was deleted; the result is not deleted. Helm 3 writes the key all the same.
    if let Some(deleted) = body.pointer_mut("/info/deleted") {
        *deleted = json!("");
    }
    let mut record = Record::from_json(body).unwrap_or_else(|_| target.clone());
    record.labels.clone_from(&target.labels);
    record.set_revision(revision);
    record.set_status(&Status::PendingRollback);
    record.set_description(description);
    record.set_last_deployed(now);
    record
}

/// The record of a rollback that succeeded.
pub fn rolled_back(pending: &Record) -> Record {
    let mut record = pending.clone();
    record.set_status(&Status::Deployed);
    record
}

/// The record of a rollback that failed, in Helm's words: its own history, and ours, read them.
pub fn rollback_failed(pending: &Record, reason: &str) -> Record {
    let mut record = pending.clone();
    record.set_status(&Status::Failed);
    let text = format!("Rollback {:?} failed: {reason}", pending.name());
    record.set_description(&shorten(&text));
    record
}
