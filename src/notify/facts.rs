//! The facts of a message: what a journal or Helm's records tell about a rollback, and what only people know.

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Contact, MessageKind};
use crate::event::FindingStatus;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::journal::State;
use crate::reconcile;
use crate::report::incident::Report;
use crate::words::counted;

/// The words of status pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// It is not known what is wrong
    Investigating,
    /// It is known what is wrong, and something is done about it
    #[default]
    Identified,
    /// It is mended and watched
    Monitoring,
    /// It is over
    Resolved,
}

impl IncidentStatus {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Investigating => "investigating",
            Self::Identified => "identified",
            Self::Monitoring => "monitoring",
            Self::Resolved => "resolved",
        }
    }
}

/// What a message is made from; templates name these fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Which message.
    pub kind: MessageKind,
    /// When it was made.
    pub time: Timestamp,
    /// Context and namespace.
    pub environment: String,
    /// Name of the context.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// Name of the release.
    pub release: String,
    /// What was running.
    pub from: Option<String>,
    /// What is gone back to.
    pub to: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Which services are affected.
    pub impact: Option<String>,
    /// When it will be over.
    pub eta: Option<String>,
    /// How long it took, or has taken so far.
    pub duration: Option<String>,
    /// What the checks of `verify` say.
    pub health: Option<String>,
    /// What follows.
    pub next_steps: Option<String>,
    /// In the words of status pages.
    pub status: IncidentStatus,
    /// Identifier of the incident.
    pub incident: Option<String>,
    /// Identifier of the operation.
    pub operation: Option<String>,
    /// Whom to call.
    pub contacts: Vec<Contact>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            kind: MessageKind::Started,
            time: Timestamp::UNIX_EPOCH,
            environment: String::new(),
            context: String::new(),
            namespace: String::new(),
            release: String::new(),
            from: None,
            to: None,
            reason: None,
            impact: None,
            eta: None,
            duration: None,
            health: None,
            next_steps: None,
            status: IncidentStatus::default(),
            incident: None,
            operation: None,
            contacts: Vec::new(),
        }
    }
}

impl Facts {
    /// Facts with something in every place: what templates are tried with.
    pub fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            environment: "prod / shop".to_owned(),
            context: "prod".to_owned(),
            namespace: "shop".to_owned(),
            release: "todo-app".to_owned(),
            from: some("revision 7"),
            to: some("revision 5"),
            reason: some("checkout fails"),
            impact: some("checkout"),
            eta: some("10 minutes"),
            duration: some("1m30s"),
            health: some("12 of 12 checks passed"),
            next_steps: some("postmortem"),
            incident: some("INC-482"),
            operation: some("7f3a"),
            contacts: vec![Contact {
                role: "DBA".parse().unwrap_or_else(|_| unreachable!("a text")),
                name: None,
                contact: "#dba".parse().unwrap_or_else(|_| unreachable!("a text")),
            }],
            ..Self::default()
        }
    }
}

/// A contact on one line.
pub fn contact_line(contact: &Contact) -> String {
    match &contact.name {
        Some(name) => format!("{}: {name} ({})", contact.role, contact.contact),
        None => format!("{}: {}", contact.role, contact.contact),
    }
}

/// What is known about a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The revision that it came from.
    pub from: Option<u64>,
    /// What it went back to.
    pub to: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it ended; `None` while it is under way.
    pub ended: Option<Timestamp>,
    /// What is known about the health of the services.
    pub health: Option<String>,
    /// Identifier of the incident.
    pub incident: Option<String>,
}

/// What is said of a rollback that failed, where nothing more is known.
const FAILED: &str = "the rollback did not end well";

/// What a journal tells: times to the moment when everything was ready, and what the checks found.
pub fn told_by_journal(report: &Report) -> Told {
    let times = &report.times;
    let ended = if report.state == State::Open { None } else { times.restored_at.or(times.finished_at) };
    Told {
        from: report.change.from_revision,
        to: Some(report.change.target.clone()),
        reason: report.reason.clone(),
        operation: Some(report.operation.clone()),
        began: Some(times.started_at),
        ended,
        health: health(report),
        incident: report.incident.clone(),
    }
}

/// How the services are, as far as the operation has seen it.
fn health(report: &Report) -> Option<String> {
    let count = |status| report.verify.iter().filter(|check| check.status == status).count();
    let checks = counted(report.verify.len(), "check");
    let failed = count(FindingStatus::Fail);
    match report.state {
        State::Open => None,
        State::Aborting | State::Aborted => Some("the rollback was undone".to_owned()),
        State::Finished | State::Failed | State::Abandoned if failed > 0 => {
            Some(format!("{failed} of {checks} failed"))
        }
        State::Finished => {
            (!report.verify.is_empty()).then(|| format!("{} of {checks} passed", count(FindingStatus::Pass)))
        }
        State::Failed | State::Abandoned => {
            let workloads = report.workloads.len();
            let ready = report.workloads.iter().filter(|workload| workload.ready == Some(true)).count();
            Some(if workloads == 0 {
                FAILED.to_owned()
            } else {
                format!("{FAILED}: {ready} of {} ready", counted(workloads, "workload"))
            })
        }
    }
}

/// Reads a record; nothing where no rollback wrote it. `current` is the revision below it that was in force.
pub fn told(meta: &RecordMeta, record: &Record, current: Option<u64>) -> Option<Told> {
    let description = record.description();
    let (from, to, rest) = if let Some(ours) = reconcile::read_description(description) {
        (Some(ours.from), ours.target, ours.rest)
    } else {
        // Helm's own words, and those of `to`.
        let rest = description.strip_prefix("Rollback to ")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let (to, rest) = rest.split_at(digits);
        (current, format!("revision {to}"), rest.to_owned())
    };
    let failed = meta.status.as_str() == "failed";
    // Of a failed one the description goes on with why it failed, which is not why it was begun.
    let reason = rest.strip_prefix(": ").filter(|reason| !failed && !reason.is_empty());
    Some(Told {
        from,
        to: Some(to),
        reason: reason.map(str::to_owned),
        operation: reconcile::read_description(description)
            .map(|ours| ours.operation)
            .or_else(|| meta.operation.clone()),
        began: meta.created,
        ended: if meta.status.is_pending() { None } else { record.last_deployed().or(meta.modified) },
        health: failed.then(|| FAILED.to_owned()),
        incident: None,
    })
}
