//! Puts back what an operation has changed: values first, then who owned them (design: the status entries stay live).
//! What somebody else has changed since is left alone and told.

use std::time::Duration;

use http::Request;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, Resource};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::apply::{self, ApplyError};
use crate::context::Context;
use crate::discover::Workload;
use crate::discover::object as object_of_cluster;
use crate::event::{EventKind, ObjectReference};
use crate::journal::Journal;
use crate::journal::restore::Restore;
use crate::plan::WorkloadPlan;
use crate::plan::rollback::objects;
use crate::plan::undo::{self, Undo};

/// Attempts on an object that changes under our hands or whose API server is away.
const ATTEMPTS: u32 = 12;

/// What became of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// Whether anything was written to it.
    pub changed: bool,
    /// What was left alone, because somebody else has changed it since.
    pub foreign: Vec<String>,
    /// Why it could not be put back.
    pub problem: Option<String>,
}

impl Undone {
    fn failed(why: impl Into<String>) -> Self {
        Self { problem: Some(why.into()), ..Self::default() }
    }
}

/// Where an object is.
struct Place<'a> {
    client: &'a Client,
    resource: &'a ApiResource,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl Place<'_> {
    async fn read(&self) -> Result<Option<Value>, kube::Error> {
        object_of_cluster::read(self.client, self.resource, self.namespace, self.name).await
    }

    fn path(&self) -> String {
        format!("{}/{}", DynamicObject::url_path(self.resource, self.namespace), self.name)
    }

    async fn patch(&self, operations: Value) -> Result<(), kube::Error> {
        let api: Api<DynamicObject> = match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, self.resource),
            None => Api::all_with(self.client.clone(), self.resource),
        };
        let patch: json_patch::Patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch_metadata(self.name, &parameters, &Patch::<()>::Json(patch)).await?;
        Ok(())
    }

    async fn send(&self, method: http::Method, path: &str, object: &Value) -> Result<(), kube::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?fieldManager={FIELD_MANAGER}"))
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object).map_err(kube::Error::SerdeError)?)
            .map_err(|error| kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error)))?;
        self.client.request::<Value>(request).await?;
        Ok(())
    }

    /// Gives the fields back to those who owned them. The object may be changed by controllers meanwhile.
    async fn restore_owners(&self, before: &Value) -> Result<bool, kube::Error> {
        let Some(live) = self.read().await? else { return Ok(false) };
        let Some(entries) = undo::managed_fields(before, &live) else { return Ok(false) };
        self.patch(json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        ]))
        .await?;
        Ok(true)
    }
}

/// Whether the same may succeed when it is tried again: the object has changed, or the API server was away.
fn is_worth_another_look(error: &kube::Error) -> bool {
    match error {
        // A failed `test` is answered with 422 and no causes.
        kube::Error::Api(status) => matches!(status.code, 404 | 408 | 409 | 422 | 429) || status.code >= 500,
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => false,
        _ => true,
    }
}

/// Tries until it is done, or it is of no use to try again.
async fn persist(
    context: &Context,
    mut attempt: impl AsyncFnMut(&mut Undone) -> Result<(), kube::Error>,
) -> Undone {
    let mut undone = Undone::default();
    let mut pause = Duration::from_millis(100);
    for count in 1..=ATTEMPTS {
        match attempt(&mut undone).await {
            Ok(()) => return undone,
            Err(error) if count < ATTEMPTS && is_worth_another_look(&error) && !context.is_late() => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => {
                undone.problem = Some(error.to_string());
                return undone;
            }
        }
    }
    undone
}

fn report(context: &Context, object: ObjectReference, verb: &'static str, fields: Vec<String>) {
    context.emit(EventKind::Change { verb, object, fields, before: Value::Null, after: Value::Null });
}

/// Puts a workload of an emergency back.
pub async fn workload(context: &Context, planned: &WorkloadPlan, saved: Option<&Value>) -> Undone {
    let resource = planned.workload.kind.api_resource();
    let place = Place {
        client: &context.client,
        resource: &resource,
        namespace: Some(&planned.workload.namespace),
        name: &planned.workload.name,
    };
    persist(context, async |undone| {
        let Some(live) = place.read().await? else {
            undone.foreign = vec!["somebody else has deleted it".to_owned()];
            return Ok(());
        };
        let object: DynamicObject = serde_json::from_value(live).map_err(kube::Error::SerdeError)?;
        let undoing = undo::of_workload(planned, &Workload::read(planned.workload.kind, &object));
        undone.foreign = undoing.foreign;
        if let Undo::Patch(operations) = undoing.undo {
            place.patch(operations).await?;
            undone.changed = true;
            let fields = vec!["images and replicas of before".to_owned()];
            report(context, ObjectReference::from(&planned.workload), "patch", fields);
        }
        if let Some(saved) = saved {
            place.restore_owners(saved).await?;
        }
        Ok(())
    })
    .await
}

/// Puts an object of a rollback back.
pub async fn object(
    context: &Context,
    journal: &Journal,
    restore: &Restore,
    resource: &ApiResource,
    release: &str,
) -> Undone {
    let key = &restore.key;
    let place =
        Place { client: &context.client, resource, namespace: key.namespace.as_deref(), name: &key.name };
    let path = place.path();
    let collection = DynamicObject::url_path(resource, place.namespace);
    persist(context, async |undone| {
        let live = place.read().await?;
        let was_sent = journal.may_have_sent(&["POST", "PATCH", "PUT", "DELETE"], &path)
            || journal.may_have_sent(&["POST"], &collection);
        let is_ours =
            live.as_ref().is_some_and(|live| objects::belongs_to(live, release, &context.namespace));
        let undoing = undo::of_object(restore, live.as_ref(), was_sent, is_ours);
        undone.foreign = undoing.foreign;
        let reference = ObjectReference::from(key);
        match undoing.undo {
            Undo::Nothing => {}
            Undo::Patch(operations) => place.patch(operations).await?,
            Undo::Write(object) => {
                place.send(http::Method::PUT, &path, &object).await?;
                undone.changed = true;
                report(context, reference, "update", Vec::new());
            }
            Undo::Create(object) => {
                place.send(http::Method::POST, &collection, &object).await?;
                undone.changed = true;
                report(context, reference, "create", Vec::new());
            }
            Undo::Delete => {
                let live = live.as_ref().expect("only what exists is deleted");
                let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
                let answer =
                    apply::delete(&context.client, resource, place.namespace, &key.name, uid, version).await;
                match answer {
                    Ok(_) | Err(ApplyError::Gone) => {}
                    Err(ApplyError::Other(error)) => return Err(error),
                    Err(error) => {
                        undone.problem = Some(error.to_string());
                        return Ok(());
                    }
                }
                undone.changed = true;
                report(context, reference, "delete", Vec::new());
            }
        }
        if let Some(before) = restore.before.as_ref().filter(|_| was_sent) {
            place.restore_owners(before).await?;
        }
        Ok(())
    })
    .await
}

/// What becomes of an object whose kind is not served any more.
pub fn unserved(restore: &Restore) -> Undone {
    Undone::failed(format!(
        "the API server does not serve {} {} any more",
        restore.api_version, restore.key.kind
    ))
}
