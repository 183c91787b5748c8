//! The writes: rewrite of `managedFields` and apply, replace, delete.

use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, Request, Resource};
use serde_json::{Value, json};

use super::fit::fitted;
use super::{Applied, ApplyError, ObjectTarget, Transition, body, differs, read, surplus};
use crate::plan::fields::{FieldSet, entries};

/// Attempts per object: controllers write the status of a workload all the time during a rollout.
const ATTEMPTS: u32 = 8;

/// The pause after the first conflict; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Brings an object to its target: creates it where it is missing, else rewrites its `managedFields` where that is
/// needed and applies. Both writes name the resourceVersion that they were computed from.
pub async fn apply(client: &Client, target: &ObjectTarget<'_>) -> Result<Applied, ApplyError> {
    let object = body::desired(target);
    let mut known: Option<FieldSet> = None;
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let answer = match read(client, target).await? {
            None => create(client, target, &object).await,
            Some(live) => {
                let surplus = match known.take() {
                    Some(surplus) => surplus,
                    None => surplus(client, target, None).await?,
                };
                let answer = update(client, target, &object, &live, &surplus).await;
                known = Some(surplus);
                answer
            }
        };
        match answer {
            Err(ApplyError::Conflict(_)) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            answer => return answer,
        }
    }
}

/// Creates an object. A quota that is being changed answers with a conflict, which is worth another attempt.
async fn create(client: &Client, target: &ObjectTarget<'_>, object: &Value) -> Result<Applied, ApplyError> {
    let object = send_apply(client, target, object, target.writer).await?;
    Ok(Applied { created: true, changed: true, object })
}

async fn update(
    client: &Client,
    target: &ObjectTarget<'_>,
    object: &Value,
    live: &Value,
    surplus: &FieldSet,
) -> Result<Applied, ApplyError> {
    let transition = Transition::new(target, object, live, surplus);
    let rewritten = if transition.rewrite.changed {
        Some(rewrite_managed_fields(client, target, live, &transition.rewrite.managed_fields).await?)
    } else {
        None
    };
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] =
        rewritten.as_ref().unwrap_or(live)["metadata"]["resourceVersion"].clone();
    match send_apply(client, target, &object, &transition.writer).await {
        Ok(stored) => Ok(Applied { created: false, changed: differs(live, &stored), object: stored }),
        Err(error) => {
            let is_final = matches!(error, ApplyError::Refused { .. } | ApplyError::Forbidden(_));
            if let (Some(rewritten), true) = (rewritten, is_final) {
                // No value has changed, and who owns what is put back as well. Where that fails, the release owns what
                // it would have taken out, which does no harm.
                let _ = rewrite_managed_fields(client, target, &rewritten, entries(live)).await;
            }
            Err(error)
        }
    }
}

/// Replaces the `managedFields` of an object that is still as it was read.
async fn rewrite_managed_fields(
    client: &Client,
    target: &ObjectTarget<'_>,
    live: &Value,
    managed_fields: &[Value],
) -> Result<Value, ApplyError> {
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
        // Says which version this was computed from: the server answers with a conflict where it is another one.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/metadata/managedFields", "value": managed_fields},
    ]);
    let patch: json_patch::Patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
    let parameters =
        PatchParams { field_manager: Some(super::super::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(DynamicObject::url_path(target.resource, target.namespace))
        .patch(target.name, &parameters, &Patch::<()>::Json(patch))
        .map_err(kube::Error::BuildRequest)?;
    Ok(client.request(request).await?)
}

async fn send_apply(
    client: &Client,
    target: &ObjectTarget<'_>,
    object: &Value,
    writer: &str,
) -> Result<Value, ApplyError> {
    let parameters =
        PatchParams { force: true, field_manager: Some(writer.to_owned()), ..PatchParams::default() };
    let mut object = object.clone();
    loop {
        let request = Request::new(DynamicObject::url_path(target.resource, target.namespace))
            .patch(target.name, &parameters, &Patch::Apply(&object))
            .map_err(kube::Error::BuildRequest)?
            .map(body::yaml_safe);
        match client.request(request).await {
            Ok(stored) => return Ok(stored),
            Err(error) => match fitted(&object, &error) {
                Some(fitted) => object = fitted,
                None => return Err(error.into()),
            },
        }
    }
}

/// Replaces the whole object by its target (`--force-replace`): what others have added goes as well, except for what the
/// server or a controller needs to keep it the same object. Where it is missing it is created.
pub async fn replace(client: &Client, target: &ObjectTarget<'_>) -> Result<Applied, ApplyError> {
    let object = body::desired(target);
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let answer = match read(client, target).await? {
            None => create(client, target, &object).await,
            Some(live) => {
                let replacement = body::replacement(&object, &live);
                send_replacement(client, target, &replacement).await.map(|stored| Applied {
                    created: false,
                    changed: differs(&live, &stored),
                    object: stored,
                })
            }
        };
        match answer {
            Err(ApplyError::Conflict(_)) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            answer => return answer,
        }
    }
}

async fn send_replacement(
    client: &Client,
    target: &ObjectTarget<'_>,
    object: &Value,
) -> Result<Value, ApplyError> {
    let parameters = PostParams { field_manager: Some(target.writer.to_owned()), ..PostParams::default() };
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(DynamicObject::url_path(target.resource, target.namespace))
        .replace(target.name, &parameters, body)
        .map_err(kube::Error::BuildRequest)?;
    Ok(client.request(request).await?)
}

/// Deletes an object that is still the one that was looked at; its dependents follow in the background. Answers
/// `false` where it was gone already, and [`ApplyError::Conflict`] where it has changed: look again whether it may go.
pub async fn delete(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    uid: &str,
    resource_version: &str,
) -> Result<bool, ApplyError> {
    let preconditions =
        Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
    let parameters = DeleteParams::background().preconditions(preconditions);
    let request = Request::new(DynamicObject::url_path(resource, namespace))
        .delete(name, &parameters)
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(true),
        Err(error) if crate::discover::list::is_not_found(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
