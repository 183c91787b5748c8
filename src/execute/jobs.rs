//! Waits until the Jobs of a release have run to their end (`--wait-for-jobs`).

use futures::future::join_all;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};

use crate::context::Context;
use crate::event::{EventKind, ObjectReference, Progress};
use crate::plan::rollback::objects::ObjectKey;
use crate::wait::WaitEnd;
use crate::wait::completion::{self, Run, RunEnd, RunKind};

/// Waits for Jobs; answers how that ended and what became of those that did not succeed.
pub async fn wait(context: &Context, jobs: &[&ObjectKey]) -> (WaitEnd, Vec<String>) {
    let ends = join_all(jobs.iter().map(|job| async { (*job, wait_for(context, job).await) })).await;
    let mut worst = WaitEnd::Ready;
    let mut unfinished = Vec::new();
    for (job, end) in ends {
        let (end, why) = match end {
            RunEnd::Succeeded => continue,
            RunEnd::Failed(why) => (WaitEnd::NotReady, format!("failed: {why}")),
            RunEnd::Hopeless(diagnosis) => (WaitEnd::NotReady, diagnosis.message),
            RunEnd::TimedOut(Some(diagnosis)) => (WaitEnd::TimedOut, diagnosis.message),
            RunEnd::TimedOut(None) => (WaitEnd::TimedOut, "has not ended".to_owned()),
            RunEnd::Interrupted => (WaitEnd::Interrupted, "has not ended".to_owned()),
            RunEnd::Deleted => {
                (WaitEnd::NotReady, "was deleted, and nothing says how it had ended".to_owned())
            }
            RunEnd::Refused(why) => (WaitEnd::NotReady, format!("cannot be seen: {why}")),
        };
        unfinished.push(format!("{job} {why}"));
        if super::severity(end) > super::severity(worst) {
            worst = end;
        }
    }
    (worst, unfinished)
}

async fn wait_for(context: &Context, job: &ObjectKey) -> RunEnd {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", "Job"), "jobs");
    let namespace = job.namespace.clone().unwrap_or_else(|| context.namespace.clone());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &resource);
    let uid = match api.get_metadata_opt(&job.name).await {
        Ok(Some(found)) => found.metadata.uid.unwrap_or_default(),
        // It ended before anybody looked, and its time to live was over.
        Ok(None) => return RunEnd::Succeeded,
        Err(error) => return RunEnd::Refused(error.to_string()),
    };
    let run = Run { api, kind: RunKind::Job, namespace, name: job.name.clone(), uid };
    let object = ObjectReference::from(job);
    let mut report = |event| super::report_wait(context, event);
    let cancel = context.interrupt.cancelled();
    let end =
        completion::wait_until_completed(&context.client, &run, context.deadline.end(), cancel, &mut report)
            .await;
    let done = end == RunEnd::Succeeded;
    context.emit(EventKind::Progress(Progress {
        object,
        ready: i32::from(done),
        desired: 1,
        done,
        state: if done { "complete" } else { "not complete" }.to_owned(),
    }));
    end
}
