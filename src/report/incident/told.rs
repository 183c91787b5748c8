//! The events of a journal as they are read back. What a newer program tells and this one does not know is passed over.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Verified;
use crate::event::{Diagnosis, ObjectReference, StageStatus};

/// An event that a report is made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type")]
pub enum Told {
    /// A phase began or ended.
    Stage {
        stage: String,
        status: StageStatus,
        #[serde(default)]
        message: String,
    },
    /// Something was written.
    Change {
        verb: String,
        object: ObjectReference,
        #[serde(default)]
        fields: Vec<String>,
        #[serde(default)]
        before: Value,
        #[serde(default)]
        after: Value,
    },
    /// How far a workload is.
    Progress {
        object: ObjectReference,
        ready: i32,
        desired: i32,
        #[serde(default)]
        state: String,
    },
    /// Why a workload is not ready.
    Diagnosis {
        object: ObjectReference,
        #[serde(flatten)]
        diagnosis: Diagnosis,
    },
    /// A check after the rollback.
    Verify(Verified),
    /// Something to mind.
    Warning { message: String },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Reads an event with its time; `None` for what cannot be understood.
pub fn read(event: &Value) -> Option<(Timestamp, Told)> {
    let at = event["ts"].as_str()?.parse().ok()?;
    Some((at, Told::deserialize(event).ok()?))
}
