//! The Jobs that run programs of migrations: made once, found again by the label of their operation, waited for.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::sync::watch::{self, Receiver};
use tokio::time::{Instant, sleep};

use super::Trouble;
use super::read::Place;
use crate::config::DatabaseConfig;
use crate::context::Context;
use crate::database::job::{self, CONTAINER, OPERATION, PURPOSE};
use crate::event::{EventKind, ObjectReference};
use crate::execute::FIELD_MANAGER;
use crate::execute::answers::{is_transient, words};
use crate::wait::completion::{self, Run, RunEnd, RunKind};

/// How long a write is tried again while the API server does not answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

fn api(context: &Context, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", "Job"), "jobs");
    Api::namespaced_with(context.client.clone(), namespace, &resource)
}

/// What a Job is made for.
pub(super) struct Task<'a> {
    /// What tells it from the operation's other Jobs: the end of its name.
    pub name: &'a str,
    /// `read` or `downgrade`.
    pub purpose: &'a str,
    /// What is run, for `sh -c`.
    pub script: &'a str,
    /// How long it may take.
    pub limit: Duration,
    /// How long it stays after its end.
    pub stays: Duration,
}

/// Makes a Job of a workload's pod template.
pub(super) async fn make(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    task: &Task<'_>,
) -> Result<Run, Trouble> {
    let name = format!("kubectl-rollback-{}-{}", context.operation, task.name);
    let order = job::Order {
        name: &name,
        operation: &context.operation,
        purpose: task.purpose,
        container: &place.container,
        image: &place.image,
        script: task.script,
        limit: task.limit,
        stays: task.stays,
    };
    let body = job::job(&place.template, settings, &order).ok_or_else(|| Trouble::NoContainer {
        workload: place.workload.clone(),
        container: place.container.clone(),
    })?;
    let made = create(context, &place.workload.namespace, body).await;
    made.map_err(|error| Trouble::Create { name, why: words(&error) })
}

/// Creates a Job; one of that name that this operation has made already is the same.
async fn create(context: &Context, namespace: &str, job: Value) -> Result<Run, Error> {
    let api = api(context, namespace);
    let body: DynamicObject = serde_json::from_value(job).map_err(Error::SerdeError)?;
    let name = body.name_any();
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let end = Instant::now() + WRITE_PATIENCE;
    let mut pause = Duration::from_millis(300);
    let made = loop {
        match api.create(&parameters, &body).await {
            Ok(made) => break made,
            Err(Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                let found = api.get(&name).await?;
                if found.labels().get(OPERATION) == body.labels().get(OPERATION) {
                    break found;
                }
                return Err(Error::Api(status));
            }
            Err(error) if is_transient(&error) && Instant::now() + pause < end => {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => return Err(error),
        }
    };
    let uid = made.uid().unwrap_or_default();
    Ok(Run { api, kind: RunKind::Job, namespace: namespace.to_owned(), name, uid })
}

/// The Jobs of this operation and purpose that are there, oldest first.
pub(super) async fn existing(context: &Context, namespace: &str, purpose: &str) -> Result<Vec<Run>, Error> {
    let selector = format!("{OPERATION}={},{PURPOSE}={purpose}", context.operation);
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let mut found = jobs.list(&ListParams::default().labels(&selector)).await?.items;
    found.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let run = |job: &Job| Run {
        api: api(context, namespace),
        kind: RunKind::Job,
        namespace: namespace.to_owned(),
        name: job.name_any(),
        uid: job.uid().unwrap_or_default(),
    };
    Ok(found.iter().map(run).collect())
}

/// Waits until a Job has ended, telling meanwhile why its pod does not begin. Without `cancel` nothing interrupts that.
pub(super) async fn wait(
    context: &Context,
    run: &Run,
    limit: Duration,
    cancel: Option<Receiver<bool>>,
) -> RunEnd {
    let (_sender, never) = watch::channel(false);
    let cancel = cancel.unwrap_or(never);
    let mut report = |event| crate::execute::report_wait(context, event);
    let deadline = Some(Instant::now() + limit);
    completion::wait_until_completed(&context.client, run, deadline, cancel, &mut report).await
}

/// Why it did not end well, in words; `None` where it did.
pub(super) fn problem(end: RunEnd) -> Option<String> {
    match end {
        RunEnd::Succeeded => None,
        // With a single attempt the controller's own words say no more than that it was one.
        RunEnd::Failed(why) if why.starts_with("BackoffLimitExceeded") => Some("failed".to_owned()),
        RunEnd::Failed(why) => Some(format!("failed: {why}")),
        RunEnd::Hopeless(diagnosis) => Some(format!("did not run: {}", diagnosis.message)),
        RunEnd::TimedOut(Some(diagnosis)) => Some(format!("did not end in time: {}", diagnosis.message)),
        RunEnd::TimedOut(None) => Some("did not end in time".to_owned()),
        RunEnd::Interrupted => Some("was interrupted".to_owned()),
        RunEnd::Deleted => Some("was deleted, and nothing says how it had ended".to_owned()),
        RunEnd::Refused(why) => Some(format!("cannot be seen: {why}")),
    }
}

/// What its program has said, as it stands.
pub(super) async fn text(context: &Context, run: &Run) -> Result<String, Error> {
    completion::text(&context.client, run, CONTAINER).await
}

/// Deletes exactly that Job with its pod; where that fails, its time to live does it.
pub(super) async fn delete(run: &Run) {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(run.uid.clone()), resource_version: None }),
        ..DeleteParams::background()
    };
    let _ = run.api.delete(&run.name, &parameters).await;
}

/// A Job as events name it.
pub(super) fn reference(run: &Run) -> ObjectReference {
    ObjectReference { kind: "Job".to_owned(), namespace: run.namespace.clone(), name: run.name.clone() }
}

/// Reports that a Job was made that writes.
pub(super) fn report_creation(context: &Context, run: &Run) {
    context.emit(EventKind::Change {
        verb: "create",
        object: reference(run),
        fields: Vec::new(),
        before: Value::Null,
        after: Value::Null,
    });
}
