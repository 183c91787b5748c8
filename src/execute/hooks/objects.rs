//! The objects of hooks: made away with before the run, created, deleted by policy.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, Request};
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::RoomProblem;
use super::{ApplyMethod, EventHook, HookProblem, Run, RunKind, Runner, field};
use crate::event::{EventKind, ObjectReference};
use crate::execute::answers::{is_transient, words};
use crate::execute::apply::yaml_safe;
use crate::helm::hooks::BEFORE_CREATION;
use crate::wait::redaction::redact;

/// Hooks are Helm's objects, whoever runs them: so its next apply finds its own fields.
const MANAGER: &str = "helm";
/// How often it is looked whether an object is gone.
const LOOK: Duration = Duration::from_secs(1);
/// How long a write is tried again while the API server does not answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// An object that a hook's run has made.
pub(super) struct Created {
    api: Api<DynamicObject>,
    reference: ObjectReference,
    uid: String,
    /// What to wait for; `None` for kinds that are done as soon as they are there.
    pub run: Option<Run>,
}

impl Runner<'_> {
    /// Where the object is read and written, and the namespace it is in; empty for cluster-wide kinds.
    fn place(&self, object: &Value) -> Result<(Api<DynamicObject>, ApiResource, String), HookProblem> {
        let (version, kind) = (field(object, "/apiVersion"), field(object, "/kind"));
        let (resource, is_namespaced) = self.apis.require(version, kind).map_err(HookProblem::Api)?;
        let client = self.context.client.clone();
        if !is_namespaced {
            return Ok((Api::all_with(client, &resource), resource, String::new()));
        }
        let own = Some(field(object, "/metadata/namespace")).filter(|namespace| !namespace.is_empty());
        let namespace = own.unwrap_or(self.run.namespace).to_owned();
        Ok((Api::namespaced_with(client, &namespace, &resource), resource, namespace))
    }

    fn is_run(object: &Value) -> bool {
        RunKind::from_api(field(object, "/apiVersion"), field(object, "/kind")).is_some()
    }

    /// Waits until there is no object of that name, deleting one that is there where the policy allows it.
    pub(super) async fn make_room(
        &self,
        hook: &EventHook,
        object: &Value,
        deadline: Option<Instant>,
    ) -> Result<(), HookProblem> {
        let (api, resource, namespace) = self.place(object)?;
        let name = field(object, "/metadata/name");
        let end = deadline.unwrap_or_else(|| Instant::now() + WRITE_PATIENCE * 10);
        let refused = |error: &Error| HookProblem::Room(RoomProblem::refused(&resource, name, &words(error)));
        let mut finalizers = Vec::new();
        loop {
            match api.get_opt(name).await {
                Ok(None) => return Ok(()),
                Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                    finalizers = found.finalizers().to_vec();
                }
                Ok(Some(found)) if hook.is_deleted(BEFORE_CREATION) => {
                    let reference = ObjectReference {
                        kind: resource.kind.clone(),
                        namespace: namespace.clone(),
                        name: name.to_owned(),
                    };
                    match self.delete_one(&api, &reference, &found.uid().unwrap_or_default()).await {
                        Ok(()) => {}
                        Err(error) if is_transient(&error) => {}
                        Err(error) => return Err(refused(&error)),
                    }
                    if matches!(api.get_opt(name).await, Ok(None)) {
                        return Ok(());
                    }
                }
                // Helm 4 applies onto it. What runs is another matter: the old run's end would count for this one.
                Ok(Some(_)) if self.method == ApplyMethod::ServerSide && !Self::is_run(object) => {
                    return Ok(());
                }
                Ok(Some(_)) => {
                    return Err(HookProblem::Room(RoomProblem::Exists {
                        plural: resource.plural.clone(),
                        name: name.to_owned(),
                        policies: hook.delete_policies.join(", "),
                    }));
                }
                Err(error) if is_transient(&error) => {
                    if Instant::now() >= end {
                        return Err(refused(&error));
                    }
                }
                Err(error) => return Err(refused(&error)),
            }
            if Instant::now() >= end {
                return Err(HookProblem::Room(RoomProblem::Stays {
                    plural: resource.plural.clone(),
                    name: name.to_owned(),
                    finalizers,
                }));
            }
            tokio::select! {
                biased;
                signal = self.context.interrupt.wait() => {
                    return Err(HookProblem::Room(RoomProblem::Interrupted(signal)));
                }
                () = sleep_until(end.min(Instant::now() + LOOK)) => {}
            }
        }
    }

    /// Creates an object, for which room has been made, as the record's method says.
    pub(super) async fn create(
        &self,
        object: &Value,
        deadline: Option<Instant>,
    ) -> Result<Created, HookProblem> {
        let (api, resource, namespace) = self.place(object)?;
        let name = field(object, "/metadata/name");
        let mut body = object.clone();
        if !namespace.is_empty() {
            body["metadata"]["namespace"] = namespace.clone().into();
        }
        let patience = Instant::now() + WRITE_PATIENCE;
        let end = deadline.map_or(patience, |deadline| deadline.min(patience));
        let mut pause = Duration::from_millis(300);
        let made = loop {
            match self.send(&api, name, &body).await {
                Ok(made) => break made,
                // The answer to an earlier attempt was lost, here or in the client: nothing was there before it.
                Err(Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                    match api.get_opt(name).await {
                        Ok(Some(found)) if is_ours(&found) => break found,
                        _ => return Err(HookProblem::Create(redact(&status.message))),
                    }
                }
                Err(error) if is_transient(&error) && Instant::now() + pause < end => {
                    // Whether it was created is not known, and nobody waits for it any more.
                    if let Some(signal) = self.context.interrupt.signal() {
                        return Err(HookProblem::Interrupted(signal));
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(HookProblem::Create(words(&error))),
            }
        };
        let reference = ObjectReference {
            kind: resource.kind.clone(),
            namespace: namespace.clone(),
            name: name.to_owned(),
        };
        self.context.emit(EventKind::Change {
            verb: "create",
            object: reference.clone(),
            fields: Vec::new(),
            before: Value::Null,
            after: Value::Null,
        });
        let uid = made.uid().unwrap_or_default();
        let run = RunKind::from_api(&resource.api_version, &resource.kind).map(|kind| Run {
            api: api.clone(),
            kind,
            namespace,
            name: name.to_owned(),
            uid: uid.clone(),
        });
        Ok(Created { api, reference, uid, run })
    }

    async fn send(&self, api: &Api<DynamicObject>, name: &str, body: &Value) -> Result<DynamicObject, Error> {
        let manager = Some(MANAGER.to_owned());
        match self.method {
            ApplyMethod::ServerSide => {
                let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
                let parameters = parameters.validation_strict();
                let request = Request::new(api.resource_url()).patch(name, &parameters, &Patch::Apply(body));
                let request = request.map_err(Error::BuildRequest)?.map(yaml_safe);
                self.context.client.request(request).await
            }
            ApplyMethod::ClientSide => {
                let parameters = PostParams { field_manager: manager, ..PostParams::default() };
                let bytes = serde_json::to_vec(body).map_err(Error::SerdeError)?;
                let request = Request::new(api.resource_url()).create(&parameters, bytes);
                self.context.client.request(request.map_err(Error::BuildRequest)?).await
            }
        }
    }

    /// Deletes what a hook's run has made, where the policy says so. Trouble is a warning: the run has ended, one way or
    /// the other.
    pub(super) async fn delete(&self, hook: &EventHook, created: &[Created], policy: &str) {
        if !hook.is_deleted(policy) {
            return;
        }
        for object in created {
            let end = Instant::now() + WRITE_PATIENCE;
            loop {
                match self.delete_one(&object.api, &object.reference, &object.uid).await {
                    Ok(()) => break,
                    Err(error) if is_transient(&error) && Instant::now() < end => sleep(LOOK).await,
                    Err(error) => {
                        let (name, words) = (self.name(hook), words(&error));
                        self.context
                            .warn(format!("{name} could not be deleted, as its policy asks: {words}"));
                        break;
                    }
                }
            }
        }
    }

    /// Deletes exactly that object in the background; one that is gone, or has been made anew, is fine.
    async fn delete_one(
        &self,
        api: &Api<DynamicObject>,
        object: &ObjectReference,
        uid: &str,
    ) -> Result<(), Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::background()
        };
        match api.delete(&object.name, &parameters).await {
            Ok(_) => {
                self.context.emit(EventKind::Change {
                    verb: "delete",
                    object: object.clone(),
                    fields: Vec::new(),
                    before: Value::Null,
                    after: Value::Null,
                });
                Ok(())
            }
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether an object was created in Helm's name, as ours are.
fn is_ours(object: &DynamicObject) -> bool {
    object.metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(MANAGER))
}
