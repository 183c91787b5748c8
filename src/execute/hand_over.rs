//! Hands the fields that we wrote over to the release's own writer: one rewrite of `metadata.managedFields` per
//! workload, guarded by its resourceVersion. Changes no value; asserts that `metadata.generation` stayed.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::managed_fields;
use crate::context::Context;
use crate::workload::WorkloadRef;

/// Attempts per workload: controllers write its status all the time during a rollout.
const ATTEMPTS: u32 = 8;

/// What became of the hand-over of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOver {
    /// Nothing of ours is left on it. Names other managers that Helm 4 will conflict with.
    Done(Vec<String>),
    /// It could not be done, because…
    Failed(String),
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
enum HandOverError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("cannot build the request: {0}")]
    Request(#[from] http::Error),
    #[error("its generation changed from {before} to {after}: somebody changed it at the same time")]
    Generation { before: i64, after: i64 },
}

/// Hands over one workload.
pub async fn hand_over(
    context: &Context,
    workload: &WorkloadRef,
    previous: &BTreeMap<String, String>,
) -> HandOver {
    let mut pause = Duration::from_millis(100);
    for attempt in 1..=ATTEMPTS {
        match try_once(context, workload, previous).await {
            Ok(foreign) => return HandOver::Done(foreign),
            Err(HandOverError::Api(error)) if crate::discover::list::is_not_found(&error) => {
                return HandOver::Done(Vec::new());
            }
            Err(error) if attempt == ATTEMPTS => return HandOver::Failed(error.to_string()),
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
    HandOver::Failed("no attempt was made".to_owned())
}

async fn try_once(
    context: &Context,
    workload: &WorkloadRef,
    previous: &BTreeMap<String, String>,
) -> Result<Vec<String>, HandOverError> {
    let resource = workload.kind.api_resource();
    // Read as plain JSON: a typed structure would lose what it does not know, and this is written back.
    let address = format!(
        "/apis/{}/namespaces/{}/{}/{}",
        resource.api_version, workload.namespace, resource.plural, workload.name
    );
    let object: Value = context.client.request(Request::get(address).body(Vec::new())?).await?;
    let entries =
        object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(handed) = managed_fields::hand_over(workload.kind, &entries, previous) else {
        return Ok(Vec::new());
    };
    let operations = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": object["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": handed.managed_fields},
    ]);
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &workload.namespace, &resource);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let after = api.patch(&workload.name, &parameters, &Patch::<()>::Json(patch)).await?;
    let before = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let generation = after.metadata.generation.unwrap_or_default();
    if generation == before {
        Ok(handed.foreign)
    } else {
        Err(HandOverError::Generation { before, after: generation })
    }
}
