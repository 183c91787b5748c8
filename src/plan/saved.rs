//! A plan in a file: reviewed by somebody, carried out later, refused when the cluster has moved since. It cites revisions,
//! objects and their versions, never their contents.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::report::API_VERSION;

/// What `kind` says in a saved plan.
const KIND: &str = "Plan";

/// A saved plan of one of the procedures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved<Request, Plan> {
    /// `kubectl-rollback/v1`.
    pub api_version: String,
    /// `Plan`.
    pub kind: String,
    /// The command that carries it out: `to`, `emergency`.
    pub procedure: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The kubeconfig context that it was made with.
    pub context: String,
    /// What was asked for.
    pub request: Request,
    /// The plan.
    pub plan: Plan,
}

/// Why a file is no plan that can be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is not a plan.
    #[error("{path} is not a plan of this tool: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// It is something else, or of another version.
    #[error("{path} holds a {kind} of {api_version}, not a {KIND} of {API_VERSION}")]
    Kind {
        /// The file.
        path: String,
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// Another command carries it out.
    #[error(
        "{path} holds a plan of {procedure}; it is carried out by: kubectl rollback {procedure} --plan {path}"
    )]
    Procedure {
        /// The file.
        path: String,
        /// The command.
        procedure: String,
    },
}

/// What is read of any document of this tool.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    procedure: String,
}

impl<Request: DeserializeOwned, Plan: DeserializeOwned> Saved<Request, Plan> {
    /// A plan as it is written to a file.
    pub fn new(procedure: &str, created_at: Timestamp, context: &str, request: Request, plan: Plan) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            procedure: procedure.to_owned(),
            created_at,
            context: context.to_owned(),
            request,
            plan,
        }
    }

    /// Reads the text of a file; `procedure` is the command that wants to carry it out.
    pub fn parse(path: &str, text: &str, procedure: &str) -> Result<Self, SavedPlanError> {
        let path = path.to_owned();
        let head: Head = match serde_json::from_str(text) {
            Ok(head) => head,
            Err(source) => return Err(SavedPlanError::Syntax { path, source }),
        };
        if head.api_version != API_VERSION || head.kind != KIND {
            return Err(SavedPlanError::Kind { path, api_version: head.api_version, kind: head.kind });
        }
        if head.procedure != procedure && !head.procedure.is_empty() {
            return Err(SavedPlanError::Procedure { path, procedure: head.procedure });
        }
        serde_json::from_str(text).map_err(|source| SavedPlanError::Syntax { path, source })
    }
}
/// How a release's newest revision and its status have moved since a plan was saved, if they have.
pub fn moved_release(saved: (u64, String), fresh: (u64, String)) -> Option<String> {
    let ((before, was), (now, is)) = (saved, fresh);
    if before != now {
        Some(format!("the release is at revision {now}, the plan was made at {before}"))
    } else if was != is {
        Some(format!("revision {now} is {is} now; it was {was}"))
    } else {
        None
    }
}
