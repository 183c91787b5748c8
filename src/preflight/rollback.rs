//! What the server says to a rollback before anything is written: what it would make of every object, whether we may
//! write what has to be written, and who would undo it.

use futures::future::join_all;
use serde_json::Value;

use super::rules::{self, Extent};
use super::{
    RESTORE, TIME_BOX, autoscalers, helm, images, maximum_of_the_environment, may_not, owners, permissions,
    pod_from, references, room,
};
use crate::context::Context;
use crate::discover::apis::ApisError;
use crate::discover::list::words;
use crate::discover::rollback::RollbackSnapshot;
use crate::event::{Check, Finding, FindingStatus};
use crate::execute::apply::{self, ApplyError, ObjectTarget};
use crate::helm::hooks::of_event;
use crate::plan::rollback::forecast::{Answer, Forecast};
use crate::plan::rollback::objects::ObjectKey;
use crate::plan::rollback::{Action, HOOK_EVENTS, ObjectStep, RollbackPlan};
use crate::words::counted;
use crate::workload::WorkloadKind;

/// Asks the server what it would make of every object that the plan writes.
async fn forecast(context: &Context, snapshot: &RollbackSnapshot, plan: &RollbackPlan) -> Forecast {
    let writer = snapshot.writer();
    let asked = plan
        .objects
        .iter()
        .filter(|step| matches!(step.action, Action::Create | Action::Apply | Action::Replace))
        .map(|step| ask(context, snapshot, step, &writer));
    Forecast { answers: join_all(asked).await }
}

async fn ask(
    context: &Context,
    snapshot: &RollbackSnapshot,
    step: &ObjectStep,
    writer: &str,
) -> (ObjectKey, Answer) {
    let found = snapshot.objects.iter().find(|found| found.history.key == step.key);
    let Some((found, target)) = found.and_then(|found| Some((found, snapshot.with_marks(found)?))) else {
        return (step.key.clone(), Answer::Unknown("it was not found".to_owned()));
    };
    let object = ObjectTarget {
        resource: &found.resource,
        namespace: step.key.namespace.as_deref(),
        name: &step.key.name,
        target: &target,
        newer: &found.history.newer,
        writer,
        replicas: step.replicas,
    };
    let question = async {
        if step.action == Action::Replace {
            apply::preview_replace(&context.client, &object, found.live.as_ref()).await
        } else {
            apply::preview(&context.client, &object, found.live.as_ref()).await
        }
    };
    let answer = match tokio::time::timeout(TIME_BOX, question).await {
        Ok(Ok(preview)) => Answer::After(preview.after),
        Ok(Err(error)) if is_about_its_namespace(snapshot, plan_namespace(step), &error) => {
            Answer::Unknown("its namespace does not exist yet".to_owned())
        }
        Ok(Err(error)) if error.is_refusal() => {
            let why = error.to_string();
            Answer::Refused(why.strip_prefix("the server refuses it: ").unwrap_or(&why).to_owned())
        }
        Ok(Err(error)) => Answer::Unknown(error.to_string()),
        Err(_) => Answer::Unknown(format!("the API server did not answer within {} s", TIME_BOX.as_secs())),
    };
    (step.key.clone(), answer)
}

fn plan_namespace(step: &ObjectStep) -> Option<&str> {
    step.key.namespace.as_deref()
}

/// Whether the server only misses a namespace that this very rollback creates.
fn is_about_its_namespace(snapshot: &RollbackSnapshot, namespace: Option<&str>, error: &ApplyError) -> bool {
    namespace.is_some_and(|namespace| {
        error.to_string().contains("namespaces")
            && snapshot.objects.iter().any(|found| {
                found.history.key.kind == "Namespace"
                    && found.history.key.name == namespace
                    && found.history.target.is_some()
                    && found.live.is_none()
            })
    })
}

/// Asks everybody at once: the server what it would make of every object, and the rest of the checks. The plan's own
/// findings come first.
pub async fn run(
    context: &Context,
    snapshot: &RollbackSnapshot,
    plan: &RollbackPlan,
    extent: Extent,
    in_progress: FindingStatus,
) -> (Forecast, Vec<Finding>) {
    let mut findings = plan.findings.clone();
    findings.extend(helm::findings(&helm::Records {
        release: &plan.release,
        metas: &snapshot.metas,
        base: Some((snapshot.target.meta.revision, &snapshot.target.record)),
        maximum: extent.history_max.unwrap_or_else(maximum_of_the_environment),
        in_progress,
        now: context.now(),
    }));
    findings.extend(owners::of_owners(&snapshot.owners));
    findings.extend(autoscalers::of_rollback(plan, snapshot));
    let rules = rules::of_rollback(plan, snapshot, extent);
    let wanted = images::of_rollback(plan, snapshot);
    let needs = references::of_rollback(plan, snapshot);
    let known = references::made_by(plan, snapshot, &needs);
    let started = started(plan, snapshot);
    let server = async {
        let forecast = forecast(context, snapshot, plan).await;
        let pods = pods(context, snapshot, plan, &forecast).await;
        (forecast, pods)
    };
    let ((forecast, pods), permissions, images, references, room) = futures::join!(
        server,
        permissions::findings(context, &rules),
        images::findings(context, &wanted),
        references::findings(context, &needs, known, RESTORE),
        room::findings(context, &plan.namespace, &started)
    );
    findings.extend([permissions, pods, images, references, room].into_iter().flatten());
    findings.extend(hooks(snapshot, plan));
    findings.extend(said_of_objects(plan, &forecast));
    (forecast, findings)
}

/// What the server says of the writes.
fn said_of_objects(plan: &RollbackPlan, forecast: &Forecast) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut accepted = 0;
    for (key, answer) in &forecast.answers {
        match answer {
            Answer::After(_) => accepted += 1,
            Answer::Refused(why) => findings.push(refused(plan, key, why)),
            Answer::Unknown(why) => findings.push(Finding {
                check: Check::Api,
                subject: key.to_string(),
                status: FindingStatus::Unknown,
                message: format!("what the server would say is not known: {why}"),
                hint: String::new(),
            }),
        }
    }
    if accepted > 0 {
        findings.push(Finding {
            check: Check::Api,
            subject: counted(accepted, "object"),
            status: FindingStatus::Pass,
            message: "the server accepts the writes".to_owned(),
            hint: String::new(),
        });
    }
    findings
}

/// The pods that a rollback starts.
fn started(plan: &RollbackPlan, snapshot: &RollbackSnapshot) -> Vec<room::Started> {
    let written =
        |step: &&ObjectStep| matches!(step.action, Action::Create | Action::Apply | Action::Replace);
    let pods = plan.objects.iter().filter(written).filter_map(|step| {
        let workload = step.workload()?;
        let found = snapshot.objects.iter().find(|found| found.history.key == step.key)?;
        let template = found.history.target.as_ref()?.pointer(workload.kind.template_pointer())?;
        let namespace = workload.namespace.clone();
        Some(room::Started { workload: workload.to_string(), namespace, template: template.clone() })
    });
    pods.collect()
}

/// Whether the kinds of the hooks that will run are still served.
fn hooks(snapshot: &RollbackSnapshot, plan: &RollbackPlan) -> Vec<Finding> {
    if plan.hooks.is_empty() {
        return Vec::new();
    }
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let mut kinds: Vec<(String, String, String)> = Vec::new();
    for event in HOOK_EVENTS {
        for hook in of_event(&snapshot.target.record, event).unwrap_or_default() {
            kinds.extend(hook.objects.iter().map(|object| {
                (format!("{event} hook {}", hook.name), text(object, "apiVersion"), text(object, "kind"))
            }));
        }
    }
    let judged = kinds.into_iter().filter_map(|(subject, version, kind)| {
        let error = snapshot.apis.require(&version, &kind).err()?;
        let status = match error {
            ApisError::NotServed { .. } => FindingStatus::Fail,
            ApisError::Unknown { .. } => FindingStatus::Unknown,
        };
        let hint = "leave the hooks out with --no-hooks".to_owned();
        Some(Finding { check: Check::Api, subject, status, message: error.to_string(), hint })
    });
    judged.collect()
}

/// Asks about a pod of every workload whose pods will be replaced: quotas and Pod security refuse pods, not workloads.
async fn pods(
    context: &Context,
    snapshot: &RollbackSnapshot,
    plan: &RollbackPlan,
    forecast: &Forecast,
) -> Vec<Finding> {
    let asked = plan.objects.iter().filter_map(|step| {
        let workload = step.workload().filter(|workload| workload.kind != WorkloadKind::CronJob)?;
        let after = forecast.after(&step.key)?;
        let template = after.pointer(workload.kind.template_pointer())?;
        let found = snapshot.objects.iter().find(|found| found.history.key == step.key)?;
        let before = found.live.as_ref().and_then(|live| live.pointer(workload.kind.template_pointer()));
        let has_pods = after.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0);
        (has_pods && before != Some(template)).then(|| {
            let pod = pod_from(template, &workload.name, after);
            async move { (workload.clone(), create_pod(context, &workload.namespace, pod).await) }
        })
    });
    let answers = join_all(asked).await;
    let total = answers.len();
    let mut findings: Vec<Finding> = answers
        .into_iter()
        .filter_map(|(workload, answer)| {
            let (status, message, hint) = answer?;
            let subject = workload.to_string();
            Some(Finding { check: Check::Quota, subject, status, message, hint: hint.to_owned() })
        })
        .collect();
    let accepted = total - findings.len();
    if accepted > 0 {
        findings.push(Finding {
            check: Check::Quota,
            subject: format!("pods of {}", counted(accepted, "workload")),
            status: FindingStatus::Pass,
            message: "the server accepts the pods".to_owned(),
            hint: String::new(),
        });
    }
    findings
}

/// What is wrong with a pod, if anything: status, message, hint.
async fn create_pod(
    context: &Context,
    namespace: &str,
    pod: Value,
) -> Option<(FindingStatus, String, &'static str)> {
    match tokio::time::timeout(TIME_BOX, super::dry_run::create_pod(&context.client, namespace, pod)).await {
        Ok(Ok(())) => None,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 && may_not(&status.message) => Some((
            FindingStatus::Unknown,
            "not allowed to ask the server about pods".to_owned(),
            "the right to create pods would let the server be asked beforehand",
        )),
        Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) && status.code != 429 => {
            Some((
                FindingStatus::Fail,
                format!("the server refuses its pods: {}", status.message),
                "raise the quota or loosen the rule, or go on with --skip-preflight",
            ))
        }
        Ok(Err(error)) => Some((
            FindingStatus::Unknown,
            format!("the server could not be asked about its pods: {}", words(&error)),
            "",
        )),
        Err(_) => Some((
            FindingStatus::Unknown,
            format!("the API server did not answer within {} s", TIME_BOX.as_secs()),
            "",
        )),
    }
}

fn refused(plan: &RollbackPlan, key: &ObjectKey, why: &str) -> Finding {
    let is_permission = may_not(why);
    let hint = if is_permission {
        format!("ask for the right to patch and create {} in this namespace", key.kind)
    } else {
        format!(
            "delete the object, so that the rollback makes it anew; or bring back only the images: kubectl rollback emergency {} -n {} --to-revision {}",
            plan.release, plan.namespace, plan.target_revision
        )
    };
    Finding {
        check: if is_permission { Check::Permission } else { Check::Api },
        subject: key.to_string(),
        status: FindingStatus::Fail,
        message: format!("the server refuses the change: {why}"),
        hint,
    }
}
