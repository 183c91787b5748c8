//! Waits until the Jobs of a release have run to their end (`--wait-for-jobs`).

use std::time::Duration;

use futures::future::join_all;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::context::Context;
use crate::event::{EventKind, ObjectReference, Progress};
use crate::plan::rollback::objects::ObjectKey;
use crate::wait::WaitEnd;

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How a Job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Complete,
    Failed(String),
    Running,
}

/// Waits for Jobs; answers how that ended and which of them did not complete.
pub async fn wait(context: &Context, jobs: &[&ObjectKey]) -> (WaitEnd, Vec<String>) {
    let mut open: Vec<&ObjectKey> = jobs.to_vec();
    let mut failed = Vec::new();
    loop {
        let states = join_all(open.iter().map(|job| state(context, job))).await;
        let mut still = Vec::new();
        for (job, state) in open.iter().zip(states) {
            match state {
                State::Complete => progress(context, job, true, "complete"),
                State::Failed(why) => {
                    progress(context, job, false, &why);
                    failed.push(format!("{job} failed: {why}"));
                }
                State::Running => still.push(*job),
            }
        }
        open = still;
        if open.is_empty() {
            return if failed.is_empty() { (WaitEnd::Ready, failed) } else { (WaitEnd::NotReady, failed) };
        }
        let names = || open.iter().map(ToString::to_string).chain(failed.clone()).collect();
        if context.interrupt.signal().is_some() {
            return (WaitEnd::Interrupted, names());
        }
        if context.is_late() {
            return (WaitEnd::TimedOut, names());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// An outage of the API server counts as running: the time limit ends it.
async fn state(context: &Context, job: &ObjectKey) -> State {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", "Job"), "jobs");
    let namespace = job.namespace.as_deref().unwrap_or(&context.namespace);
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    match api.get_opt(&job.name).await {
        Ok(Some(object)) => state_of(&object.data),
        // Removed by its time to live after it had ended.
        Ok(None) => State::Complete,
        Err(_) => State::Running,
    }
}

fn state_of(job: &Value) -> State {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Complete" | "SuccessCriteriaMet") => return State::Complete,
            Some("Failed") => {
                let text = |key: &str| condition[key].as_str().unwrap_or_default();
                return State::Failed(format!("{} {}", text("reason"), text("message")).trim().to_owned());
            }
            _ => {}
        }
    }
    State::Running
}

fn progress(context: &Context, job: &ObjectKey, done: bool, state: &str) {
    context.emit(EventKind::Progress(Progress {
        object: ObjectReference::from(job),
        ready: i32::from(done),
        desired: 1,
        done,
        state: state.to_owned(),
    }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_what_its_conditions_say() {
        let job = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "reason": "BackoffLimitExceeded"}]}});
        assert_eq!(state_of(&job("Complete", "True")), State::Complete);
        assert_eq!(state_of(&job("Failed", "True")), State::Failed("BackoffLimitExceeded".to_owned()));
        assert_eq!(state_of(&job("Failed", "False")), State::Running);
        assert_eq!(state_of(&json!({"status": {"active": 1}})), State::Running);
    }
}
