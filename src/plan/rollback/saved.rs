//! A rollback's plan in a file.

use std::collections::BTreeMap;

use super::objects::ObjectKey;
use super::{ObjectStep, Request, RollbackPlan};
use crate::plan::saved::{Saved, moved_release};

/// The command that carries such a plan out.
pub const PROCEDURE: &str = "to";

/// A rollback's plan in a file.
pub type SavedPlan = Saved<Request, RollbackPlan>;

/// How the cluster has moved since a plan was saved, one sentence each; none where the plan still holds. `fresh` is the
/// same request planned now.
pub fn moved(saved: &RollbackPlan, fresh: &RollbackPlan) -> Vec<String> {
    let newest = |plan: &RollbackPlan| (plan.current_revision, plan.current_status.clone());
    let mut moves: Vec<String> = moved_release(newest(saved), newest(fresh)).into_iter().collect();
    if saved.hooks != fresh.hooks {
        moves.push("the hooks that would run are others".to_owned());
    }
    let by_key = |plan: &RollbackPlan| -> BTreeMap<ObjectKey, ObjectStep> {
        plan.objects.iter().map(|step| (step.key.clone(), step.clone())).collect()
    };
    let (old, new) = (by_key(saved), by_key(fresh));
    for (key, step) in &old {
        match new.get(key) {
            None => moves.push(format!("{key} is gone")),
            Some(now) if now.uid != step.uid => {
                moves.push(format!("{key} was deleted, created or made anew since"));
            }
            Some(now) if now.version != step.version => moves.push(format!("{key} was changed since")),
            Some(now) if now.action != step.action || now.replicas != step.replicas => {
                moves.push(format!("what would be done to {key} is something else now"));
            }
            Some(_) => {}
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        moves.push(format!("{key} is not in the plan"));
    }
    moves
}
