//! What is said about a repair: the problems, what else is to be seen, the next commands.

use super::decide::was_ever_deployed;
use super::{Agreement, Entry, Problem, RepairPlan, holder, last_heard_of};
use crate::discover::{Release, Snapshot};
use crate::helm::status::Status;

impl RepairPlan {
    pub(super) fn unreadable_newest(&mut self, release: &Release, revision: u64, why: &str) {
        let newest = &release.metas[0];
        self.problems.push(Problem {
            code: "Unreadable",
            message: format!("the newest record, revision {revision}, cannot be read: {why}"),
        });
        self.undecided = Some(format!(
            "revision {revision} of {} cannot be read, and a record is never invented; Helm skips it and then fails to write over its name",
            release.name
        ));
        let name = &newest.object_name;
        self.next.push(format!(
            "bring {name} back from a backup, or keep a copy of it, delete it, and repair what is left"
        ));
    }

    pub(super) fn find_problems(&mut self, entries: &[Entry<'_>], keeper: Option<u64>) {
        let mut add = |code, message| self.problems.push(Problem { code, message });
        for entry in entries.iter().filter(|entry| entry.is_open()) {
            let since = last_heard_of(entry.meta).map(|at| format!(" since {at}")).unwrap_or_default();
            let code = if entry.status == Status::Uninstalling { "Uninstalling" } else { "Pending" };
            let (revision, status) = (entry.revision(), &entry.status);
            add(
                code,
                format!("revision {revision} is {status}{since}, last written by {}", holder(entry.meta)),
            );
        }
        let deployed: Vec<String> = entries
            .iter()
            .filter(|entry| entry.status == Status::Deployed)
            .map(|entry| entry.revision().to_string())
            .collect();
        if deployed.len() > 1 {
            add("SeveralDeployed", format!("revisions {} all say deployed", deployed.join(", ")));
        }
        let is_uninstalled = entries
            .first()
            .is_some_and(|newest| matches!(newest.status, Status::Uninstalled | Status::Uninstalling));
        if deployed.is_empty() && !is_uninstalled && (was_ever_deployed(entries) || keeper.is_some()) {
            add("NoDeployed", "no revision says deployed".to_owned());
        }
        for entry in entries {
            if let Some(stored) = entry.stored.filter(|stored| stored.record.status() != entry.meta.status) {
                let (label, body) = (&entry.meta.status, stored.record.status());
                let revision = entry.revision();
                add(
                    "Contradiction",
                    format!("revision {revision} says {label} in its label and {body} in its body"),
                );
            }
        }
    }

    /// Nothing is stuck; what else is to be seen is said all the same.
    pub(super) fn nothing_to_do(&mut self, entries: &[Entry<'_>], snapshot: &Snapshot, keeper: Option<u64>) {
        let Some(newest) = entries.first() else { return };
        let (release, namespace) = (self.release.clone(), &newest.meta.namespace);
        match entries.iter().find(|entry| Some(entry.revision()) == keeper) {
            Some(kept) if !kept.agreement.is_whole() && kept.agreement != Agreement::default() => {
                self.notes
                    .push(format!("what runs differs from revision {}, which is deployed", kept.revision()));
                self.next.push(format!("kubectl rollback reconcile {release} -n {namespace}"));
            }
            Some(_) => {}
            None if newest.status == Status::Uninstalled => {
                self.notes.push(format!("the release is uninstalled{}", left_over(snapshot)));
            }
            None => {
                self.notes.push("the release was never deployed: its install failed".to_owned());
                self.next.push(install_again(&release, namespace));
            }
        }
    }

    /// What the operator should know about the changes, and what comes after them.
    pub(super) fn explain(&mut self, entries: &[Entry<'_>], snapshot: &Snapshot, keeper: Option<u64>) {
        let Some(newest) = entries.first() else { return };
        let (release, namespace) = (self.release.clone(), newest.meta.namespace.clone());
        let reconcile = format!("kubectl rollback reconcile {release} -n {namespace}");
        let kept = entries.iter().find(|entry| Some(entry.revision()) == keeper);
        match kept {
            Some(kept) => {
                let revision = kept.revision();
                if revision == newest.revision() && newest.status.is_pending() {
                    self.unfinished_hooks(newest);
                }
                if !kept.agreement.unready.is_empty() {
                    self.notes.push(format!("not ready: {}", kept.agreement.unready.join(", ")));
                }
                if !kept.agreement.is_whole() {
                    self.notes.push(format!("not everything runs what revision {revision} says"));
                    self.next.push(format!("kubectl rollback to {release} {revision} -n {namespace}"));
                    self.next.push(format!(
                        "kubectl rollback emergency {release} --to-revision {revision} -n {namespace}"
                    ));
                    self.next.push(format!("{reconcile}   (to keep what runs)"));
                }
            }
            None if newest.status == Status::Uninstalling => {
                self.notes.push(format!(
                    "the uninstall did not end{}; nothing is deleted here",
                    left_over(snapshot)
                ));
                self.next.push(format!("helm uninstall {release} -n {namespace}   (to end it)"));
                self.next.push(install_again(&release, &namespace));
            }
            None if newest.status == Status::PendingInstall => {
                self.next.push(install_again(&release, &namespace));
                self.next.push(format!("helm uninstall {release} -n {namespace}"));
            }
            None if was_ever_deployed(entries) || newest.status.is_pending() => {
                let why = "no stored revision is what runs and ready, so that none is marked deployed";
                if self.changes.is_empty() {
                    self.undecided = Some(why.to_owned());
                } else {
                    self.notes.push(why.to_owned());
                }
                self.next.push(format!("{reconcile}   (writes a revision that names what runs)"));
                self.next.push(format!("kubectl rollback to {release} REVISION -n {namespace}"));
            }
            None => {}
        }
    }

    fn unfinished_hooks(&mut self, newest: &Entry<'_>) {
        let Some(stored) = newest.stored else { return };
        let event = if newest.status == Status::PendingUpgrade { "post-upgrade" } else { "post-rollback" };
        let unfinished = stored
            .record
            .hooks()
            .filter(|hook| hook.events().any(|other| other == event) && hook.last_run_phase() != "Succeeded");
        for hook in unfinished {
            let (kind, name) = (hook.kind(), hook.name());
            self.notes.push(format!(
                "its {event} hook {kind} {name} is not known to have run to its end: look after it by hand"
            ));
        }
    }
}

fn install_again(release: &str, namespace: &str) -> String {
    format!("helm upgrade --install {release} CHART -n {namespace} -f VALUES")
}

/// The workloads that are still there, as the end of a sentence.
fn left_over(snapshot: &Snapshot) -> String {
    let left: Vec<String> =
        snapshot.workloads.iter().map(|workload| workload.reference.to_string()).collect();
    if left.is_empty() {
        ", and no workload is left".to_owned()
    } else {
        format!("; still there: {}", left.join(", "))
    }
}
