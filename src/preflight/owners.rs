//! Whoever would undo us. While nothing can be paused, an owner that reverts at once is a fail.

use crate::discover::Owner;
use crate::discover::owners::Effect;
use crate::event::{Check, Finding, FindingStatus};

/// What helps against an owner that reverts at once.
pub const SKIP: &str = "pause it, or go on with --skip-preflight";

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
