//! The way back of Django's applications, each of which has a line of its own that may stand on another's.

use std::collections::BTreeSet;

use crate::database::{Migration, Reading, ancestors, application, position};

/// For each application that has something to undo, newest first, the last migration that stays.
pub(super) fn goals(current: &Reading, target: &Reading, steps: &[Migration]) -> Result<Vec<String>, String> {
    let mut goals: Vec<String> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        let name = application(&step.id);
        let own = |id: &&String| application(id) == name;
        if !done.insert(name) {
            continue;
        }
        // What was squashed bears another name in the image that has done it, and is nothing that could be undone.
        let renamed: Vec<String> =
            target.applied.iter().filter(own).filter(|id| !current.knows(id)).cloned().collect();
        if !renamed.is_empty() {
            return Err(format!(
                "{} were applied, and the image that runs does not have them: where it has squashed them into {}, nobody can tell \
                 what is to be undone; look at both images' showmigrations",
                position(&renamed),
                step.id
            ));
        }
        let Some(goal) = current.applied.iter().filter(own).find(|id| target.knows(id)) else {
            goals.push(format!("{name}.zero"));
            continue;
        };
        for step in steps.iter().filter(|step| application(&step.id) == name) {
            if !ancestors(&current.known, &step.id).contains(goal.as_str()) {
                return Err(format!(
                    "{} stands on another branch than {goal}, which the target knows",
                    step.id
                ));
            }
        }
        goals.push(goal.clone());
    }
    Ok(goals)
}

/// Of a position what the applications of some migrations have to do with.
pub(super) fn concerned(at: &[String], steps: &[Migration]) -> Vec<String> {
    let names: BTreeSet<&str> = steps.iter().map(|step| application(&step.id)).collect();
    at.iter().filter(|id| names.contains(application(id))).cloned().collect()
}

/// What would be left without an application.
pub(super) fn without(current: &Reading, name: &str) -> Reading {
    left(current, |migration| application(&migration.id) == name)
}

/// What would be left without what stands on a migration of the same application.
pub(super) fn up_to(current: &Reading, goal: &str) -> Reading {
    left(current, |migration| {
        migration.id != goal
            && application(&migration.id) == application(goal)
            && ancestors(&current.known, &migration.id).contains(goal)
    })
}

/// What is left without some, and without whatever stands on those: Django undoes both.
fn left(current: &Reading, goes: impl Fn(&Migration) -> bool) -> Reading {
    let gone: BTreeSet<&str> = current
        .known
        .iter()
        .filter(|migration| goes(migration))
        .map(|migration| migration.id.as_str())
        .collect();
    let stays = |migration: &&Migration| ancestors(&current.known, &migration.id).is_disjoint(&gone);
    Reading { known: current.known.iter().filter(stays).cloned().collect(), ..Reading::default() }
}
