//! Whoever would undo us. While nothing can be paused, an owner that reverts at once is a fail.

use crate::discover::owners::Effect;
use crate::discover::{Owner, Snapshot};
use crate::event::{Check, Finding, FindingStatus};
use crate::plan::Plan;
use crate::plan::strategy::Strategy;

/// What helps against an owner that reverts at once.
const SKIP: &str = "pause it, or go on with --skip-preflight";

/// Findings about GitOps owners.
pub fn of_owners(owners: &[Owner]) -> Vec<Finding> {
    owners
        .iter()
        .map(|owner| {
            let (status, message, hint) = match &owner.effect {
                Effect::Reverts(how) => (FindingStatus::Fail, format!("would undo this: {how}"), SKIP),
                Effect::RevertsLater(how) => (
                    FindingStatus::Warn,
                    format!("will undo this later: {how}"),
                    "bring Git to the good version before that",
                ),
                Effect::Paused => (
                    FindingStatus::Pass,
                    "does not interfere: no automatic sync, or suspended".to_owned(),
                    "",
                ),
                Effect::Unknown(why) => (FindingStatus::Unknown, format!("may undo this: {why}"), ""),
            };
            Finding {
                check: Check::Owner,
                subject: format!("{} {}", owner.kind, owner.name),
                status,
                message,
                hint: hint.to_owned(),
            }
        })
        .collect()
}

/// Findings about GitOps owners and KEDA.
pub fn findings(snapshot: &Snapshot, plan: &Plan) -> Vec<Finding> {
    let mut findings = of_owners(&snapshot.owners);
    for planned in plan.workloads.iter().filter(|planned| planned.strategy == Strategy::StopFirst) {
        let autoscaler =
            snapshot.workload(&planned.workload).and_then(|workload| workload.autoscaler.as_ref());
        if let Some(autoscaler) =
            autoscaler.filter(|autoscaler| autoscaler.kind == "ScaledObject" && !autoscaler.paused)
        {
            findings.push(Finding {
                check: Check::Autoscaler,
                subject: format!("{}/{}", autoscaler.kind, autoscaler.name),
                status: FindingStatus::Fail,
                message: format!("KEDA would start {} again while it is stopped", planned.workload),
                hint: format!("annotate it with autoscaling.keda.sh/paused=true first, use --strategy rolling, or {SKIP}"),
            });
        }
    }
    findings
}
