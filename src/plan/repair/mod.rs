//! `repair`: which statuses Helm's records must get so that they are true again and both Helms go on.
//!
//! Helm knows three ways to be stuck: the newest record says that an operation is in progress (it was killed), no record
//! says `deployed`, or several do. What runs decides: the images of every container, and whether it is ready. Nothing but
//! statuses and descriptions changes; `docs/repair.md` has the rules as a table.

mod agreement;
mod decide;
#[cfg(test)]
mod tests;
mod words;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::discover::{Release, Snapshot};
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::StoredRecord;
use agreement::running_images;
pub use agreement::{Agreement, RunningImage};
use decide::{changes, keeper};

/// An operation that was heard of less than this ago may be alive. Helm's own time limit of a wait is 5 minutes.
const YOUNG: SignedDuration = SignedDuration::from_mins(10);

/// What is to be known besides the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Now, by the operator's clock.
    pub now: Timestamp,
    /// The identifier of this operation.
    pub operation: &'a str,
    /// The operator's reason, kept in the descriptions.
    pub reason: Option<&'a str>,
}

/// What is wrong, and what will be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairPlan {
    /// The release.
    pub release: String,
    /// What is wrong with its records; empty where nothing is.
    pub problems: Vec<Problem>,
    /// What will be written, in this order.
    pub changes: Vec<StatusChange>,
    /// The readable records against what runs, newest first.
    pub revisions: Vec<RevisionEvidence>,
    /// What runs, container by container.
    pub running: Vec<RunningImage>,
    /// The operation that may be at work still.
    pub alive: Option<Alive>,
    /// What the operator should know.
    pub notes: Vec<String>,
    /// Why nothing can be decided; the operator has to.
    pub undecided: Option<String>,
    /// The next commands.
    pub next: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `Pending`, `Uninstalling`, `NoDeployed`, `SeveralDeployed`, `Contradiction`, `Unreadable`.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

/// A status that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusChange {
    /// The revision.
    pub revision: u64,
    /// The status that it has.
    pub from: Status,
    /// The status that it gets.
    pub to: Status,
    /// The description that it gets; `None` where it keeps its own.
    pub description: Option<String>,
    /// Why.
    pub why: String,
    /// The resourceVersion that must still be the record's.
    pub resource_version: String,
    /// Whether it was written.
    pub written: bool,
    /// The record as it was found.
    #[serde(skip)]
    pub meta: RecordMeta,
}

/// A stored revision against what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionEvidence {
    /// Its number.
    pub revision: u64,
    /// Its status.
    pub status: Status,
    /// Its description.
    pub description: String,
    /// When it was written last.
    pub written: Option<Timestamp>,
    /// Who wrote it last, by managedFields.
    pub last_writer: Option<String>,
    /// The operation of ours that wrote it.
    pub operation: Option<String>,
    /// How far it agrees with what runs.
    pub agreement: Agreement,
}

/// An operation that may be at work still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alive {
    /// The revision that it holds.
    pub revision: u64,
    /// That revision's status.
    pub status: Status,
    /// Seconds since it was heard of.
    pub age_seconds: i64,
    /// Who wrote the record last.
    pub writer: String,
}

/// A record with the status that counts here, which is not the label's where the body says something worse.
struct Entry<'a> {
    meta: &'a RecordMeta,
    stored: Option<&'a StoredRecord>,
    status: Status,
    agreement: Agreement,
}

impl Entry<'_> {
    fn revision(&self) -> u64 {
        self.meta.revision
    }

    fn description(&self) -> &str {
        self.stored.map_or("", |stored| stored.record.description())
    }

    fn says_failed(&self) -> bool {
        self.status == Status::Failed || self.description().contains(" failed")
    }

    fn is_open(&self) -> bool {
        self.status.is_pending() || self.status == Status::Uninstalling
    }

    /// Whether a status other than `wanted` stands in the label or in the body.
    fn differs_from(&self, wanted: &Status) -> bool {
        self.meta.status != *wanted || self.stored.is_some_and(|stored| stored.record.status() != *wanted)
    }
}

/// When a record was written last, as far as anybody knows: by the writer's own clock (labels) or the API server's.
pub fn last_heard_of(meta: &RecordMeta) -> Option<Timestamp> {
    [meta.modified, meta.created, meta.last_written].into_iter().flatten().max()
}

/// Who holds a record, in words.
pub fn holder(meta: &RecordMeta) -> String {
    match (&meta.operation, &meta.last_writer) {
        (Some(operation), _) => format!("operation {operation} of this tool"),
        (None, Some(writer)) => writer.clone(),
        (None, None) => "an unknown writer".to_owned(),
    }
}

/// Finds out what is wrong and what makes it true; `None` where the snapshot has no records.
pub fn plan(request: Request<'_>, snapshot: &Snapshot) -> Option<RepairPlan> {
    let release = snapshot.release.as_ref().or(snapshot.damaged.as_ref())?;
    let entries = entries(release, snapshot);
    let mut plan = RepairPlan {
        release: release.name.clone(),
        problems: Vec::new(),
        changes: Vec::new(),
        revisions: entries.iter().filter(|entry| entry.stored.is_some()).map(evidence).collect(),
        running: Vec::new(),
        alive: alive(&entries, request.now),
        notes: Vec::new(),
        undecided: None,
        next: Vec::new(),
    };
    let stored: Vec<&StoredRecord> = entries.iter().filter_map(|entry| entry.stored).collect();
    plan.running = running_images(snapshot, &stored);
    let unreadable = release.unreadable.iter().filter(|(revision, _)| {
        !release.contradictory.iter().any(|stored| stored.meta.revision == *revision)
    });
    for (revision, why) in unreadable {
        if release.metas.first().is_some_and(|newest| newest.revision == *revision) {
            plan.unreadable_newest(release, *revision, why);
            return Some(plan);
        }
        plan.notes.push(format!("revision {revision} cannot be read and stays as it is: {why}"));
    }
    let keeper = keeper(&entries);
    plan.find_problems(&entries, keeper);
    if plan.problems.is_empty() {
        plan.nothing_to_do(&entries, snapshot, keeper);
        return Some(plan);
    }
    plan.changes = changes(request, &entries, keeper);
    plan.explain(&entries, snapshot, keeper);
    Some(plan)
}

/// The readable records, and those too far back to be read, newest first. What cannot be read does not count: Helm skips
/// it as well.
fn entries<'a>(release: &'a Release, snapshot: &Snapshot) -> Vec<Entry<'a>> {
    let readable = |revision| {
        let mut all = release.records.iter().chain(&release.contradictory);
        all.find(|stored| stored.meta.revision == revision)
    };
    let entries = release.metas.iter().filter_map(|meta| {
        let stored = readable(meta.revision);
        if stored.is_none() && release.unreadable.iter().any(|(revision, _)| *revision == meta.revision) {
            return None;
        }
        let body = stored.map_or_else(|| meta.status.clone(), |stored| stored.record.status());
        let says = |wanted: &Status| meta.status == *wanted || body == *wanted;
        // Helm looks at the label to find a record and at the body to judge it: whatever holds things up counts.
        let status = if meta.status.is_pending() {
            meta.status.clone()
        } else if body.is_pending() {
            body
        } else {
            let decisive = [Status::Uninstalling, Status::Deployed];
            decisive.into_iter().find(says).unwrap_or(body)
        };
        let agreement = stored.map(|stored| Agreement::of(stored, snapshot)).unwrap_or_default();
        Some(Entry { meta, stored, status, agreement })
    });
    entries.collect()
}

fn evidence(entry: &Entry<'_>) -> RevisionEvidence {
    RevisionEvidence {
        revision: entry.revision(),
        status: entry.status.clone(),
        description: entry.description().to_owned(),
        written: last_heard_of(entry.meta),
        last_writer: entry.meta.last_writer.clone(),
        operation: entry.meta.operation.clone(),
        agreement: entry.agreement.clone(),
    }
}

/// The operation that may be alive: clocks differ, so that a time ahead of ours counts as just now.
fn alive(entries: &[Entry<'_>], now: Timestamp) -> Option<Alive> {
    let open = entries.iter().filter(|entry| entry.is_open());
    let youngest =
        open.filter_map(|entry| Some((last_heard_of(entry.meta)?, entry))).max_by_key(|(at, _)| *at);
    let (at, entry) = youngest?;
    let age = now.duration_since(at).max(SignedDuration::ZERO);
    (age < YOUNG).then(|| Alive {
        revision: entry.revision(),
        status: entry.status.clone(),
        age_seconds: age.as_secs(),
        writer: holder(entry.meta),
    })
}
