//! What `abort` brings back: the objects as they were before an operation, and as it meant to leave them. They may hold
//! secrets, so they are kept apart from the journal, in Secrets of their own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::rollback::objects::ObjectKey;

/// One object before and after an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    /// Which.
    pub key: ObjectKey,
    /// The version of its API.
    pub api_version: String,
    /// The object as it was, or of an emergency's workload only what cannot be computed from its plan:
    /// `metadata.managedFields`. `None` where it did not exist.
    pub before: Option<Value>,
    /// The object as the operation meant to leave it, where that is known.
    pub after: Option<Value>,
}
