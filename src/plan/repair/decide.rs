//! The rules: which revision is to say `deployed`, and what must be written for that.

use super::{Entry, Request, StatusChange};
use crate::helm::status::Status;
use crate::reconcile::{DESCRIPTION_PREFIX, failed_description, shorten};

/// The revision that is to say `deployed` in the end; `None` where nothing proves any to be.
pub(super) fn keeper(entries: &[Entry<'_>]) -> Option<u64> {
    let newest = entries.first()?;
    if matches!(newest.status, Status::Uninstalled | Status::Uninstalling) {
        return None;
    }
    let deployed: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.status == Status::Deployed).collect();
    // An emergency of ours describes nothing until it ends, a rollback of ours its target from the start; an install is
    // complete only when Helm says so.
    let is_placeholder =
        newest.meta.operation.is_some() && newest.description().starts_with(DESCRIPTION_PREFIX);
    let may_be_complete =
        matches!(newest.status, Status::PendingUpgrade | Status::PendingRollback) && !is_placeholder;
    let is_proved = deployed.iter().any(|entry| entry.agreement.is_whole());
    if may_be_complete && newest.agreement.is_ready() && !is_proved {
        return Some(newest.revision());
    }
    if !deployed.is_empty() {
        // Helm itself takes the newest, which is also the answer where what runs gives none.
        let best = deployed
            .iter()
            .max_by_key(|entry| (entry.agreement.is_whole(), entry.agreement.equal, entry.revision()));
        return best.map(|entry| entry.revision());
    }
    if !was_ever_deployed(entries) {
        return None;
    }
    let running = entries.iter().filter(|entry| !entry.is_open() && entry.agreement.is_ready());
    running.max_by_key(|entry| (!entry.says_failed(), entry.revision())).map(Entry::revision)
}

/// Whether some revision was deployed once, by its status, since the release was installed last. An install that failed
/// leaves no deployed record either, and nothing is wrong with that.
pub(super) fn was_ever_deployed(entries: &[Entry<'_>]) -> bool {
    let since_install = entries.iter().take_while(|entry| entry.status != Status::Uninstalled);
    since_install.into_iter().any(|entry| entry.status == Status::Superseded)
}

/// What must be written for `keeper` to be the only deployed record and nothing to be in progress.
pub(super) fn changes(request: Request<'_>, entries: &[Entry<'_>], keeper: Option<u64>) -> Vec<StatusChange> {
    let by = match request.reason {
        Some(reason) => format!("kubectl-rollback repair, operation {}: {reason}", request.operation),
        None => format!("kubectl-rollback repair, operation {}", request.operation),
    };
    let mut changes = Vec::new();
    for entry in entries {
        let is_keeper = Some(entry.revision()) == keeper;
        let to = match &entry.status {
            _ if is_keeper => Status::Deployed,
            Status::Deployed => Status::Superseded,
            _ if entry.is_open() => Status::Failed,
            other => other.clone(),
        };
        if !entry.differs_from(&to) {
            continue;
        }
        let why = why(entry, entries, keeper);
        let description = match to {
            Status::Failed if entry.is_open() => {
                Some(failed_description(entry.description(), &format!("{why} ({by})")))
            }
            Status::Deployed if entry.status == Status::PendingUpgrade => {
                Some(shorten(&format!("Upgrade complete ({by})")))
            }
            Status::Deployed if entry.says_failed() => Some(shorten(&format!("Runs and is ready ({by})"))),
            _ => None,
        };
        changes.push(StatusChange {
            revision: entry.revision(),
            from: if entry.meta.status == to { entry.status.clone() } else { entry.meta.status.clone() },
            to,
            description,
            why,
            resource_version: entry.meta.resource_version.clone(),
            written: false,
            meta: entry.meta.clone(),
        });
    }
    // For a moment there are rather two deployed records than none.
    changes.sort_by_key(|change| match change.to {
        Status::Deployed => 0,
        Status::Superseded => 2,
        _ => 1,
    });
    changes
}

/// Why a record gets the status that it gets, as a clause.
fn why(entry: &Entry<'_>, entries: &[Entry<'_>], keeper: Option<u64>) -> String {
    let kept = entries.iter().find(|other| Some(other.revision()) == keeper);
    if Some(entry.revision()) == keeper {
        return if entry.agreement.is_ready() {
            "it is what runs, and ready".to_owned()
        } else {
            "it is the deployed one".to_owned()
        };
    }
    let agreement = &entry.agreement;
    match (&entry.status, kept) {
        (Status::Deployed, Some(kept)) if kept.agreement.is_whole() => {
            format!("revision {} is what runs", kept.revision())
        }
        (Status::Deployed, Some(kept)) => {
            format!("revision {} is newer, or nearer to what runs", kept.revision())
        }
        (Status::Uninstalling, _) => "the uninstall was interrupted".to_owned(),
        (Status::PendingInstall, _) => "the install was interrupted".to_owned(),
        _ if !entry.is_open() => "label and body name different statuses".to_owned(),
        (_, Some(kept)) if kept.agreement.is_whole() => {
            format!("interrupted; revision {} is what runs", kept.revision())
        }
        _ if agreement.is_whole() && !agreement.is_ready() => {
            "interrupted; it is what runs, and not ready".to_owned()
        }
        _ if agreement.is_whole() => "interrupted".to_owned(),
        _ => "interrupted halfway".to_owned(),
    }
}
