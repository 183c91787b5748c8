//! May we do what the plan says? One access review for each verb that will be used.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::dry_run;
use crate::context::Context;
use crate::event::{Check, Finding, FindingStatus};
use crate::helm::storage::Driver;
use crate::plan::Plan;

/// One permission that the plan needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    verb: &'static str,
    group: String,
    resource: String,
    /// What to do without it.
    hint: &'static str,
}

/// The permissions of a plan: patching its kinds, deleting broken pods, writing Helm's record.
fn needed(plan: &Plan, records: Option<Driver>) -> BTreeSet<Permission> {
    let permission = |verb, group: &str, resource: &str, hint| Permission {
        verb,
        group: group.to_owned(),
        resource: resource.to_owned(),
        hint,
    };
    let mut needed = BTreeSet::new();
    for planned in &plan.workloads {
        let kind = planned.workload.kind.api_resource();
        needed.insert(permission(
            "patch",
            &kind.group,
            &kind.plural,
            "ask for this right, or exclude these workloads",
        ));
        if planned.unstick {
            needed.insert(permission(
                "delete",
                "",
                "pods",
                "ask for this right, or exclude the StatefulSets",
            ));
        }
    }
    if let Some(driver) = records {
        // Deleting (a record that is withdrawn or pruned) is only a warning where it fails.
        for verb in ["create", "patch"] {
            needed.insert(permission(
                verb,
                "",
                driver.plural(),
                "--skip-reconcile leaves Helm's record alone (exit code 10)",
            ));
        }
    }
    needed
}

/// Asks for every permission at once.
pub async fn findings(context: &Context, plan: &Plan, records: Option<Driver>) -> Vec<Finding> {
    join_all(needed(plan, records).into_iter().map(|permission| ask(context, permission))).await
}

/// Asks whether Helm's records may be changed.
pub async fn may_patch_records(context: &Context, driver: Driver) -> Finding {
    let resource = driver.plural().to_owned();
    let hint = "ask for this right, or let somebody run the same command who has it";
    ask(context, Permission { verb: "patch", group: String::new(), resource, hint }).await
}

async fn ask(context: &Context, permission: Permission) -> Finding {
    let Permission { verb, group, resource, hint } = permission;
    let answer = dry_run::may(&context.client, &context.namespace, verb, &group, &resource).await;
    let (status, message, hint) = match answer {
        Ok(true) => (FindingStatus::Pass, "allowed".to_owned(), ""),
        Ok(false) => (FindingStatus::Fail, format!("not allowed in namespace {}", context.namespace), hint),
        Err(error) => (FindingStatus::Unknown, format!("the server could not be asked: {error}"), ""),
    };
    Finding {
        check: Check::Permission,
        subject: format!("{verb} {resource}"),
        status,
        message,
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::patches::tests::sample;
    use crate::plan::strategy::Strategy;

    #[test]
    fn only_what_the_plan_uses_is_asked_for() {
        let mut plan = Plan {
            release: None,
            target: String::new(),
            tag: None,
            same_images_as: None,
            workloads: vec![sample(Strategy::Rolling), sample(Strategy::StopFirst)],
            unchanged: Vec::new(),
            skipped: Vec::new(),
            findings: Vec::new(),
        };
        let names = |plan: &Plan, records| -> Vec<String> {
            needed(plan, records).iter().map(|one| format!("{} {}", one.verb, one.resource)).collect()
        };
        assert_eq!(names(&plan, None), ["patch deployments"]);
        let with_record = names(&plan, Some(Driver::ConfigMaps));
        assert_eq!(with_record, ["create configmaps", "patch configmaps", "patch deployments"]);
        plan.workloads[0].unstick = true;
        assert_eq!(names(&plan, None), ["delete pods", "patch deployments"]);
    }
}
