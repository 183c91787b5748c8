//! What the server says to a rollback before anything is written: what it would make of every object, whether we may
//! write what has to be written, and who would undo it.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{TIME_BOX, dry_run, may_not, owners};
use crate::context::Context;
use crate::discover::rollback::RollbackSnapshot;
use crate::event::{Check, Finding, FindingStatus};
use crate::execute::apply::{self, ApplyError, ObjectTarget};
use crate::helm::storage::Driver;
use crate::plan::rollback::forecast::{Answer, Forecast};
use crate::plan::rollback::objects::ObjectKey;
use crate::plan::rollback::{Action, ObjectStep, RollbackPlan};
use crate::words::counted;

/// Asks the server what it would make of every object that the plan writes.
pub async fn forecast(context: &Context, snapshot: &RollbackSnapshot, plan: &RollbackPlan) -> Forecast {
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

/// The findings: what the server refuses, permissions, owners. The plan's own come first.
pub async fn findings(
    context: &Context,
    snapshot: &RollbackSnapshot,
    plan: &RollbackPlan,
    forecast: &Forecast,
    records: Driver,
) -> Vec<Finding> {
    let mut findings = plan.findings.clone();
    findings.extend(owners::of_owners(&snapshot.owners));
    findings.extend(permissions(context, plan, snapshot, records).await);
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

/// One access review for each verb, kind and namespace that will be used.
async fn permissions(
    context: &Context,
    plan: &RollbackPlan,
    snapshot: &RollbackSnapshot,
    records: Driver,
) -> Vec<Finding> {
    let mut needed: BTreeSet<(String, &'static str, String, String)> = BTreeSet::new();
    for step in &plan.objects {
        let Some(found) = snapshot.objects.iter().find(|found| found.history.key == step.key) else {
            continue;
        };
        let verbs: &[&'static str] = match step.action {
            Action::Create => &["create", "patch"],
            Action::Apply => &["patch"],
            Action::Replace => &["update"],
            Action::Delete => &["delete"],
            Action::Keep => &[],
        };
        for verb in verbs {
            let namespace = step.key.namespace.clone().unwrap_or_default();
            needed.insert((namespace, verb, found.resource.group.clone(), found.resource.plural.clone()));
        }
    }
    for verb in ["create", "patch"] {
        needed.insert((plan.namespace.clone(), verb, String::new(), records.plural().to_owned()));
    }
    let answers = join_all(needed.iter().map(|(namespace, verb, group, resource)| async move {
        let question = dry_run::may(&context.client, namespace, verb, group, resource);
        tokio::time::timeout(TIME_BOX, question).await
    }))
    .await;
    let mut findings: Vec<Finding> = Vec::new();
    let mut allowed = 0;
    for ((namespace, verb, _, resource), answer) in needed.iter().zip(answers) {
        let (status, message) = match answer {
            Ok(Ok(true)) => {
                allowed += 1;
                continue;
            }
            Ok(Ok(false)) => (FindingStatus::Fail, "not allowed".to_owned()),
            Ok(Err(error)) => (FindingStatus::Unknown, format!("could not be asked: {error}")),
            Err(_) => (FindingStatus::Unknown, "the API server did not answer in time".to_owned()),
        };
        let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
        findings.push(Finding {
            check: Check::Permission,
            subject: format!("{verb} {resource}{place}"),
            status,
            message,
            hint: if status == FindingStatus::Fail { "ask for this right".to_owned() } else { String::new() },
        });
    }
    if allowed > 0 {
        findings.push(Finding {
            check: Check::Permission,
            subject: counted(allowed, "right"),
            status: FindingStatus::Pass,
            message: "allowed".to_owned(),
            hint: String::new(),
        });
    }
    findings
}
