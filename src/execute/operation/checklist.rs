//! The items of a checklist that somebody has done: kept with the operation, in the first Secret of its journal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::super::FIELD_MANAGER;
use super::pause;
use super::store::{ATTEMPTS, StoreError, again, api, object_name};
use crate::report::checklist::{self, Mark};

/// The key of the Secret.
const KEY: &str = "checklist";

/// The marks as they are kept; none where there are none.
fn marks_in(operation: &str, secret: &Secret) -> Result<Vec<Mark>, StoreError> {
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(KEY)) else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes.0)
        .map_err(|source| StoreError::Checklist { operation: operation.to_owned(), source })
}

/// Reads the marks of an operation.
pub async fn marks(client: &Client, namespace: &str, operation: &str) -> Result<Vec<Mark>, StoreError> {
    let (api, name) = (api(client, namespace), object_name(operation, 0));
    match again(|| api.get_opt(&name)).await? {
        Some(secret) => marks_in(operation, &secret),
        None => {
            Err(StoreError::NotFound { operation: operation.to_owned(), namespace: namespace.to_owned() })
        }
    }
}

/// Keeps a mark; answers all marks, and whether anything was written. What somebody else writes at the same time stays.
pub async fn keep(
    client: &Client,
    namespace: &str,
    operation: &str,
    mark: &Mark,
) -> Result<(Vec<Mark>, bool), StoreError> {
    let (api, name) = (api(client, namespace), object_name(operation, 0));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for attempt in 1.. {
        let Some(secret) = again(|| api.get_opt(&name)).await? else {
            let (operation, namespace) = (operation.to_owned(), namespace.to_owned());
            return Err(StoreError::NotFound { operation, namespace });
        };
        let mut marks = marks_in(operation, &secret)?;
        if !checklist::add(&mut marks, mark.clone()) {
            return Ok((marks, false));
        }
        let text = serde_json::to_vec(&marks).unwrap_or_default();
        let patch = json!({
            "metadata": {"resourceVersion": secret.metadata.resource_version},
            "data": {KEY: STANDARD.encode(text)},
        });
        match api.patch_metadata(&name, &parameters, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok((marks, true)),
            // Somebody has written meanwhile, or our own write arrived and its answer did not: the next look tells.
            Err(error) if attempt < ATTEMPTS && (is_conflict(&error) || super::is_transient(&error)) => {
                tokio::time::sleep(pause(attempt)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("the loop returns at the last attempt")
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
