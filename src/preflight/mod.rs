//! Checks before the first write: would the server accept what we will send, and the pods that follow from it; would
//! somebody undo it. All at once; nothing here changes the cluster.

mod autoscalers;
pub mod dry_run;
mod helm;
mod images;
mod owners;
mod permissions;
mod quota;
mod references;
pub mod role;
pub mod rollback;
mod room;
pub mod rules;
pub mod schema;

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::context::Context;
use crate::discover::list::words;
use crate::discover::{RecordProblem, Snapshot, Workload};
use crate::event::{Check, Finding, FindingStatus};
use crate::execute::patches;
use crate::helm::history;
use crate::plan::strategy::Strategy;
use crate::plan::{Plan, WorkloadPlan};
use room::Started;
use rules::Extent;

pub use permissions::may_patch_records;

/// Time that all checks together may take; what is not answered by then is unknown.
const TIME_BOX: Duration = Duration::from_secs(10);

/// What helps against an object that is not there.
const RESTORE: &str = "restore it, or go on with --skip-preflight";

/// What is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Send questions to the server.
    pub server: bool,
    /// What will be done beside the plan; where Helm's record will be written.
    pub extent: Extent,
    /// What it means that somebody else is at work on the release.
    pub in_progress: FindingStatus,
}

/// Runs every check of a plan and returns the findings, the plan's own ones first.
pub async fn run(context: &Context, snapshot: &Snapshot, plan: &Plan, scope: Scope) -> Vec<Finding> {
    let mut findings = plan.findings.clone();
    if scope.extent.records.is_some() {
        findings.extend(record(snapshot));
        findings.extend(records(context, snapshot, scope.in_progress));
    }
    findings.extend(owners::of_owners(&snapshot.owners));
    findings.extend(autoscalers::of_plan(plan, snapshot));
    if scope.server {
        findings.extend(ask_everybody(context, snapshot, plan, scope.extent).await);
    }
    findings
}

/// The rules of a plan; a record is written only for a release that was read.
pub fn rules_of(plan: &Plan, snapshot: &Snapshot, namespace: &str, extent: Extent) -> Vec<rules::Rule> {
    let records = extent.records.filter(|_| snapshot.release.is_some());
    rules::of_emergency(plan, namespace, Extent { records, ..extent })
}

/// Which of the rights to read what every operation reads are there.
pub async fn rights_to_read(context: &Context, extent: Extent) -> Vec<Finding> {
    permissions::findings(context, &rules::of_every_operation(&context.namespace, extent)).await
}

async fn ask_everybody(context: &Context, snapshot: &Snapshot, plan: &Plan, extent: Extent) -> Vec<Finding> {
    let checks = plan.workloads.iter().map(|planned| async move {
        let Some(workload) = snapshot.workload(&planned.workload) else {
            return Vec::new();
        };
        match tokio::time::timeout(TIME_BOX, ask(context, planned, workload)).await {
            Ok(findings) => findings,
            Err(_) => vec![finding(
                Check::Api,
                planned,
                FindingStatus::Unknown,
                format!("the API server did not answer within {} s", TIME_BOX.as_secs()),
            )],
        }
    });
    let rules = rules_of(plan, snapshot, &context.namespace, extent);
    let wanted = images::of_plan(plan, snapshot);
    let needs = references::of_plan(plan, snapshot);
    let started = started(plan, snapshot);
    let (permissions, images, references, room, checks) = futures::join!(
        permissions::findings(context, &rules),
        images::findings(context, &wanted),
        references::findings(context, &needs, std::collections::BTreeMap::new(), RESTORE),
        room::findings(context, &context.namespace, &started),
        join_all(checks)
    );
    let all = [permissions, images, references, room];
    all.into_iter().chain(checks).flatten().collect()
}

/// The pods that an emergency starts.
fn started(plan: &Plan, snapshot: &Snapshot) -> Vec<Started> {
    let starts = |planned: &&WorkloadPlan| {
        !planned.containers.is_empty() && planned.replicas.is_none_or(|replicas| replicas.after > 0)
    };
    let pods = plan.workloads.iter().filter(starts).filter_map(|planned| {
        let workload = snapshot.workload(&planned.workload)?;
        Some(Started {
            workload: planned.workload.to_string(),
            namespace: planned.workload.namespace.clone(),
            template: workload.template().clone(),
        })
    });
    pods.collect()
}

/// What is said of the release's records as they are.
fn records(context: &Context, snapshot: &Snapshot, in_progress: FindingStatus) -> Vec<Finding> {
    let Some(release) = &snapshot.release else { return Vec::new() };
    helm::findings(&helm::Records {
        release: &release.name,
        metas: &release.metas,
        base: release.base().map(|stored| (stored.meta.revision, &stored.record)),
        maximum: maximum_of_the_environment(),
        in_progress,
        now: context.now(),
    })
}

/// Revisions that stay by Helm's own setting.
fn maximum_of_the_environment() -> usize {
    history::maximum_from_environment(std::env::var("HELM_MAX_HISTORY").ok().as_deref())
}

fn finding(
    check: Check,
    planned: &WorkloadPlan,
    status: FindingStatus,
    message: impl Into<String>,
) -> Finding {
    Finding {
        check,
        subject: planned.workload.to_string(),
        status,
        message: message.into(),
        hint: String::new(),
    }
}

/// Asks the server for the start write, and for a pod as it will be.
async fn ask(context: &Context, planned: &WorkloadPlan, workload: &Workload) -> Vec<Finding> {
    let rehearsal = patches::start_rehearsal(planned);
    let write = dry_run::patch(&context.client, &planned.workload, &rehearsal);
    let starts_pods = planned.replicas.is_none_or(|replicas| replicas.after > 0);
    let pod = async {
        if !starts_pods || planned.containers.is_empty() {
            return Ok(());
        }
        dry_run::create_pod(&context.client, &planned.workload.namespace, target_pod(planned, workload)).await
    };
    let (write, pod) = futures::join!(write, pod);
    let mut findings = vec![match write {
        Ok(()) => finding(Check::Api, planned, FindingStatus::Pass, "the server accepts the write"),
        Err(error) => refused(planned, &error, "the write"),
    }];
    findings.push(match pod {
        Ok(()) => finding(Check::Quota, planned, FindingStatus::Pass, "the server accepts the pods"),
        Err(error) => pod_refused(planned, workload, &error),
    });
    findings
}

/// A pod as the controller would make it from the target's template.
fn target_pod(planned: &WorkloadPlan, workload: &Workload) -> Value {
    let mut template = workload.template().clone();
    for change in &planned.containers {
        let list = if change.init { "initContainers" } else { "containers" };
        if let Some(container) = template.pointer_mut(&format!("/spec/{list}/{}", change.index)) {
            container["image"] = json!(change.to.to_string());
        }
    }
    pod_from(&template, &planned.workload.name, &workload.object)
}

/// A pod as a workload's controller would make it from a template; `object` is the workload.
fn pod_from(template: &Value, name: &str, object: &Value) -> Value {
    let mut metadata =
        template.get("metadata").filter(|metadata| metadata.is_object()).cloned().unwrap_or(json!({}));
    metadata["generateName"] = json!(format!("{name}-"));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("name");
        metadata.remove("creationTimestamp");
    }
    let mut spec = template["spec"].clone();
    add_claims(&mut spec, name, object);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A StatefulSet's controller gives every pod a volume for each claim template; the pod template has none.
fn add_claims(pod_spec: &mut Value, workload: &str, object: &Value) {
    let templates = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    for name in templates.into_iter().flatten().filter_map(|template| template.pointer("/metadata/name")) {
        let claim = format!("{}-{workload}-0", name.as_str().unwrap_or_default());
        let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
        match pod_spec.get_mut("volumes").and_then(Value::as_array_mut) {
            Some(volumes) => volumes.push(volume),
            None => pod_spec["volumes"] = json!([volume]),
        }
    }
}

/// What an error of a dry run means: the server refuses (4xx), or it could not be asked.
fn refused(planned: &WorkloadPlan, error: &kube::Error, what: &str) -> Finding {
    match error {
        kube::Error::Api(status) if status.code == 422 && status.message.contains("test operation") => {
            Finding {
                hint: "look at it again and repeat the command".to_owned(),
                ..finding(
                    Check::Api,
                    planned,
                    FindingStatus::Fail,
                    "somebody changed it while the plan was made",
                )
            }
        }
        kube::Error::Api(status)
            if status.code == 403 && status.reason == "Forbidden" && may_not(&status.message) =>
        {
            Finding {
                hint: format!("ask for the right to patch {} in this namespace", planned.workload.kind),
                ..finding(Check::Permission, planned, FindingStatus::Fail, status.message.clone())
            }
        }
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => finding(
            Check::Api,
            planned,
            FindingStatus::Fail,
            format!("the server refuses {what}: {}", status.message),
        ),
        error => finding(
            Check::Api,
            planned,
            FindingStatus::Unknown,
            format!("the server could not be asked: {}", words(error)),
        ),
    }
}

/// Whether a 403 is about permissions (RBAC) and not about admission.
fn may_not(message: &str) -> bool {
    message.contains(" cannot ")
}

fn pod_refused(planned: &WorkloadPlan, workload: &Workload, error: &kube::Error) -> Finding {
    let kube::Error::Api(status) = error else {
        return refused(planned, error, "its pods");
    };
    if status.code == 403 && may_not(&status.message) {
        // Whoever may patch workloads need not be allowed to create pods: then the server cannot be asked.
        return Finding {
            hint: "the right to create pods would let the server be asked beforehand".to_owned(),
            ..finding(
                Check::Quota,
                planned,
                FindingStatus::Unknown,
                "not allowed to ask the server about pods",
            )
        };
    }
    let Some(shortage) = quota::exceeded(&status.message) else {
        return Finding { check: Check::Quota, ..refused(planned, error, "its pods") };
    };
    let pods_now = workload.live_pods().count();
    let pods_after =
        planned.replicas.map_or(pods_now.max(1), |replicas| usize::try_from(replicas.after).unwrap_or(0));
    if planned.strategy == Strategy::StopFirst && shortage.fits_after_stop(pods_now, pods_after) {
        return finding(
            Check::Quota,
            planned,
            FindingStatus::Pass,
            "the quota has room once the old pods are gone",
        );
    }
    let hint = match planned.strategy {
        Strategy::Rolling if shortage.fits_after_stop(pods_now, pods_after) => {
            "rolling needs room for one more pod; --strategy stop-first does not".to_owned()
        }
        _ => "raise the quota, or give fewer pods with --replicas".to_owned(),
    };
    Finding { hint, ..finding(Check::Quota, planned, FindingStatus::Fail, status.message.clone()) }
}

/// What is wrong with Helm's records, if anything.
fn record(snapshot: &Snapshot) -> Option<Finding> {
    let problem = snapshot.record_problem.as_ref()?;
    let status = if matches!(problem, RecordProblem::Forbidden(_)) {
        FindingStatus::Fail
    } else {
        FindingStatus::Warn
    };
    Some(Finding {
        check: if status == FindingStatus::Fail { Check::Permission } else { Check::Helm },
        subject: snapshot.release_name.clone().unwrap_or_else(|| "release".to_owned()),
        status,
        message: problem.to_string(),
        hint: match status {
            FindingStatus::Fail => "--skip-reconcile leaves Helm's record alone (exit code 10)".to_owned(),
            _ => {
                "the workloads are restored all the same; Helm's record stays open (exit code 10)".to_owned()
            }
        },
    })
}
