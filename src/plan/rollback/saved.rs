//! A plan in a file: reviewed by somebody, carried out later, refused when the cluster has moved since. It cites revisions,
//! objects and their versions, never their contents.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::objects::ObjectKey;
use super::{ObjectStep, Request, RollbackPlan};

/// What `kind` says in a saved plan.
pub const KIND: &str = "Plan";

/// A saved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedPlan {
    /// `kubectl-rollback/v1`.
    pub api_version: String,
    /// `Plan`.
    pub kind: String,
    /// `to`.
    pub procedure: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The kubeconfig context that it was made with.
    pub context: String,
    /// What was asked for.
    pub request: Request,
    /// The plan.
    pub plan: RollbackPlan,
}

/// Why a file is no plan that can be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It cannot be read.
    #[error("cannot read the plan {path}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not a plan.
    #[error("{path} is not a plan of this tool: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// It is something else, or of another version.
    #[error("{path} holds a {kind} of {api_version}, not a Plan of {}", crate::report::API_VERSION)]
    Kind {
        /// The file.
        path: String,
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
}

impl SavedPlan {
    /// Reads the text of a file.
    pub fn parse(path: &str, text: &str) -> Result<Self, SavedPlanError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
        }
        let syntax = |source| SavedPlanError::Syntax { path: path.to_owned(), source };
        let Head { api_version, kind } = serde_json::from_str(text).map_err(syntax)?;
        if api_version != crate::report::API_VERSION || kind != KIND {
            return Err(SavedPlanError::Kind { path: path.to_owned(), api_version, kind });
        }
        serde_json::from_str(text).map_err(syntax)
    }
}

/// How the cluster has moved since a plan was saved, one sentence each; none where the plan still holds. `fresh` is the
/// same request planned now.
pub fn moved(saved: &RollbackPlan, fresh: &RollbackPlan) -> Vec<String> {
    let mut moves = Vec::new();
    if saved.current_revision != fresh.current_revision {
        moves.push(format!(
            "the release is at revision {}, the plan was made at {}",
            fresh.current_revision, saved.current_revision
        ));
    } else if saved.current_status != fresh.current_status {
        moves.push(format!(
            "revision {} is {} now; it was {}",
            fresh.current_revision, fresh.current_status, saved.current_status
        ));
    }
    if saved.hooks != fresh.hooks {
        moves.push("the hooks that would run are others".to_owned());
    }
    let by_key = |plan: &RollbackPlan| -> BTreeMap<ObjectKey, ObjectStep> {
        plan.objects.iter().map(|step| (step.key.clone(), step.clone())).collect()
    };
    let (old, new) = (by_key(saved), by_key(fresh));
    for (key, step) in &old {
        match new.get(key) {
            None => moves.push(format!("{key} is gone")),
            Some(now) if now.uid != step.uid => {
                moves.push(format!("{key} was deleted, created or made anew since"));
            }
            Some(now) if now.version != step.version => moves.push(format!("{key} was changed since")),
            Some(now) if now.action != step.action || now.replicas != step.replicas => {
                moves.push(format!("what would be done to {key} is something else now"));
            }
            Some(_) => {}
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        moves.push(format!("{key} is not in the plan"));
    }
    moves
}
