//! What an operation writes down so that it can be gone on with, undone and told: its plan before the first write, each
//! write before it is sent, each answer after. Pure: where it is kept is [`crate::execute::operation`]'s business.
//!
//! A journal cites revisions, objects and images; it never holds a value of a Secret (design D14). What `abort` needs
//! beyond that lies in [`restore`] documents, in Secrets of their own.

pub mod codec;
pub mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Finding;
use crate::execute;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::plan::rollback::RollbackPlan;

/// The version of the format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The first part of a journal: everything that was known before the first write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Version of the format.
    pub version: u32,
    /// Identifier of the operation.
    pub operation: String,
    /// `emergency` or `to`.
    pub procedure: String,
    /// Name of the kubeconfig context that it was begun with.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// The release, where there is one.
    pub release: Option<String>,
    /// What it goes back to, in words.
    pub target: String,
    /// Who began it, as `user@host`.
    pub actor: String,
    /// The command line, without credentials.
    pub command: String,
    /// `--reason`.
    pub reason: Option<String>,
    /// `--incident`.
    pub incident: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// Where Helm keeps its records, as `HELM_DRIVER` says it.
    pub driver: String,
    /// When the newest revision's deploy began, by its record; what is rolled back in most cases.
    #[serde(default)]
    pub deployed_at: Option<Timestamp>,
    /// The status of every stored revision before.
    pub statuses: Vec<(u64, String)>,
    /// What is to be done.
    pub work: Work,
}

impl Head {
    /// The revision that the operation holds or writes; `None` where it leaves Helm's records alone.
    pub fn new_revision(&self) -> Option<u64> {
        match &self.work {
            Work::Emergency(work) if work.writes_record => {
                work.plan.release.as_ref().map(|release| release.new_revision)
            }
            Work::Emergency(_) => None,
            Work::Rollback(work) => Some(work.plan.new_revision),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "procedure", rename_all = "lowercase")]
pub enum Work {
    /// Images are swapped.
    Emergency(Box<EmergencyWork>),
    /// A stored revision is brought back.
    #[serde(rename = "to")]
    Rollback(Box<RollbackWork>),
}

/// An emergency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyWork {
    /// The plan as it was confirmed.
    pub plan: Plan,
    /// The results of the checks.
    pub findings: Vec<Finding>,
    /// How it is carried out.
    pub options: execute::Options,
    /// Whether Helm's record is written.
    pub writes_record: bool,
    /// Who owned each container's image before, by workload and container.
    pub image_managers: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether it is checked afterwards that it is well.
    #[serde(default)]
    pub verify: bool,
}

/// A rollback to a stored revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackWork {
    /// The plan as it was confirmed.
    pub plan: RollbackPlan,
    /// The results of the checks.
    pub findings: Vec<Finding>,
    /// How it is carried out.
    pub options: execute::rollback::Options,
    /// How many revisions stay; `None` means Helm's default.
    pub history_max: Option<usize>,
    /// Whether it is checked afterwards that it is well.
    #[serde(default)]
    pub verify: bool,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase")]
pub enum Entry {
    /// A process took the operation up.
    Run {
        /// When.
        at: Timestamp,
        /// Who.
        actor: String,
        /// With which command line.
        command: String,
    },
    /// A write is about to be sent.
    Intent {
        /// Counts the writes of the process.
        write: u64,
        /// When.
        at: Timestamp,
        /// The HTTP method.
        verb: String,
        /// The path within the API.
        path: String,
    },
    /// A write was answered.
    Answer {
        /// Which.
        write: u64,
        /// When.
        at: Timestamp,
        /// The HTTP status; 0 where no answer came.
        status: u16,
    },
    /// Something that must not be done twice is done.
    Milestone {
        /// When.
        at: Timestamp,
        /// What.
        name: String,
    },
    /// Something was reported, as `-o jsonl` prints it.
    Event {
        /// The event.
        event: Value,
    },
    /// A process ended in good order.
    Finished {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// With which exit code.
        #[serde(rename = "exitCode")]
        exit_code: u8,
        /// The result as `-o json` prints it.
        result: Value,
    },
}

/// A journal as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// Its first part.
    pub head: Head,
    /// What was written down since.
    pub entries: Vec<Entry>,
}

impl Journal {
    /// What must not be done twice, of that which was done.
    pub fn milestones(&self) -> BTreeSet<String> {
        self.entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Milestone { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether a write to a path may have been sent, by one of the methods.
    pub fn may_have_sent(&self, verbs: &[&str], path: &str) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Intent { verb, path: sent, .. } => verbs.contains(&verb.as_str()) && sent == path,
            _ => false,
        })
    }

    /// How the last process ended that ended in good order.
    pub fn finished(&self) -> Option<(Timestamp, Outcome, u8, &Value)> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Finished { at, outcome, exit_code, result } => Some((*at, *outcome, *exit_code, result)),
            _ => None,
        })
    }

    /// How many writes were sent.
    pub fn writes(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Intent { .. })).count()
    }
}

/// Where an operation stands; a label of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A process is at it, or died there.
    Open,
    /// It ended without success: it can be gone on with or undone.
    Failed,
    /// It is being undone.
    Aborting,
    /// It was undone.
    Aborted,
    /// It did what it was meant to do.
    Finished,
    /// Another operation took the release over.
    Abandoned,
}

impl State {
    /// As the label says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
            Self::Finished => "finished",
            Self::Abandoned => "abandoned",
        }
    }

    /// Reads a label; what is not known counts as open, so that nobody passes it over.
    pub fn from_label(text: &str) -> Self {
        [Self::Failed, Self::Aborting, Self::Aborted, Self::Finished, Self::Abandoned]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or(Self::Open)
    }

    /// Whether it can be gone on with or undone.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Open | Self::Failed | Self::Aborting)
    }

    /// Whether it stands in the way of another operation until somebody decides about it.
    pub fn blocks(self) -> bool {
        matches!(self, Self::Open | Self::Aborting)
    }
}
