//! Does the database fit the image that is to run? Pure: what was read about it comes from
//! [`crate::execute::database`].

use crate::database::{Reading, position};
use crate::event::{Check, Finding, FindingStatus};
use crate::plan::database::Fit;
use crate::words::counted;
use crate::workload::WorkloadRef;

/// What was found out about a database and the image that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// Nobody asked: that makes a pod of the target image.
    NotAsked,
    /// It could not be read.
    Unreadable(String),
    /// It was.
    Known {
        /// What the image that runs says.
        current: Reading,
        /// Whether it fits.
        fit: Fit,
    },
}

/// What the check says. `takes_back` tells whether the database is to go back where it has to, `how` is the command that
/// looks closer.
pub fn finding(
    workload: &WorkloadRef,
    target_image: &str,
    compared: &Compared,
    takes_back: bool,
    how: &str,
) -> Finding {
    let (status, message, hint) = match compared {
        Compared::NotAsked => (
            FindingStatus::Unknown,
            format!(
                "whether {target_image} knows where the database is was not asked: that would make a pod"
            ),
            how.to_owned(),
        ),
        Compared::Unreadable(why) => (
            if takes_back { FindingStatus::Fail } else { FindingStatus::Unknown },
            format!("whether {target_image} knows where the database is could not be found out: {why}"),
            how.to_owned(),
        ),
        Compared::Known { current, fit } => of_fit(target_image, current, fit, takes_back, how),
    };
    Finding { check: Check::Schema, subject: workload.to_string(), status, message, hint }
}

fn of_fit(
    target_image: &str,
    current: &Reading,
    fit: &Fit,
    takes_back: bool,
    how: &str,
) -> (FindingStatus, String, String) {
    let at = current.position();
    match fit {
        Fit::Exact => (
            FindingStatus::Pass,
            format!("the database is at {at}, the newest migration that {target_image} knows"),
            String::new(),
        ),
        Fit::Behind(missing) => (
            FindingStatus::Warn,
            format!(
                "the database is at {at}; {target_image} brings {} along, which was not applied",
                position(missing)
            ),
            String::new(),
        ),
        Fit::Ahead(downgrade) => {
            let undone = counted(downgrade.steps.len(), "migration");
            let (at, to) = (position(&downgrade.from), position(&downgrade.to));
            if takes_back {
                (
                    FindingStatus::Pass,
                    format!("the database goes back from {at} to {to} first: {undone} undone"),
                    String::new(),
                )
            } else {
                (
                    FindingStatus::Fail,
                    format!(
                        "the database is at {at}, which {target_image} does not know: the newest that it knows is {to}"
                    ),
                    format!(
                        "add --db-downgrade to take it back first ({undone}), or go on with --skip-preflight; look: {how}"
                    ),
                )
            }
        }
        Fit::NeedsHuman(why) => {
            (FindingStatus::Fail, format!("{why} (the target is {target_image})"), how.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Migration;
    use crate::plan::database::Downgrade;
    use crate::workload::WorkloadKind;

    #[test]
    fn what_is_known_decides() {
        let workload =
            WorkloadRef { kind: WorkloadKind::Deployment, namespace: "n".into(), name: "web".into() };
        let current = Reading { at: vec!["03".into()], ..Reading::default() };
        let ahead = Fit::Ahead(Downgrade {
            from: vec!["03".into()],
            to: vec!["02".into()],
            steps: vec![Migration { id: "03".into(), ..Migration::default() }],
        });
        let known = |fit: Fit| Compared::Known { current: current.clone(), fit };
        for (compared, takes_back, status, said) in [
            (Compared::NotAsked, false, FindingStatus::Unknown, "was not asked"),
            (Compared::NotAsked, true, FindingStatus::Unknown, "was not asked"),
            (Compared::Unreadable("it is away".into()), false, FindingStatus::Unknown, "it is away"),
            (Compared::Unreadable("it is away".into()), true, FindingStatus::Fail, "it is away"),
            (known(Fit::Exact), true, FindingStatus::Pass, "is at 03, the newest"),
            (known(Fit::Behind(vec!["04".into()])), false, FindingStatus::Warn, "brings 04 along"),
            (
                known(ahead.clone()),
                false,
                FindingStatus::Fail,
                "is at 03, which web:1 does not know: the newest that it knows is 02",
            ),
            (known(ahead), true, FindingStatus::Pass, "goes back from 03 to 02 first: 1 migration undone"),
            (known(Fit::NeedsHuman("two ways".into())), true, FindingStatus::Fail, "two ways"),
        ] {
            let finding =
                finding(&workload, "web:1", &compared, takes_back, "kubectl rollback db plan --tag 1");
            assert_eq!(finding.status, status, "{compared:?}");
            assert!(finding.message.contains(said), "{}", finding.message);
        }
    }
}
