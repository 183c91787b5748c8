//! Which revision is the last good one: the default target of a rollback (design D8), decided here and nowhere else.
//!
//! Helm takes the last revision minus one, whatever became of it, so that a second rollback brings the bad version back. The
//! last good one is the newest below the current that really ran, that no later rollback or emergency left, and that has not
//! the content of the current. Revisions are fed from the newest down, so that no body below the answer need be read.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::helm::manifest::Manifest;
use crate::helm::record::Record;
use crate::helm::status::Status;
use crate::reconcile::DESCRIPTION_PREFIX;
use crate::workload::ContainerRef;

/// Stands for content that is compared within one run; never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of anything that can be hashed.
    pub fn of(content: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What the decision rests on, of one stored revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFacts {
    /// Its number.
    pub revision: u64,
    /// Its status.
    pub status: Status,
    /// Its description, which tells what was done.
    pub description: String,
    /// Of manifest, hooks' manifests and the user's values: two revisions with equal ones are the same content.
    pub fingerprint: Fingerprint,
    /// Of the image of every container: what an emergency changes, and nothing else.
    pub images: Fingerprint,
}

impl RevisionFacts {
    /// Reads a record.
    pub fn of(record: &Record) -> Self {
        Self::with_images(
            record,
            &Manifest::parse(record.manifest(), record.namespace().unwrap_or_default()).images(),
        )
    }

    /// Reads a record whose images were read already.
    pub fn with_images(record: &Record, images: &BTreeMap<ContainerRef, String>) -> Self {
        let hooks: Vec<&str> = record.hooks().map(crate::helm::hooks::Hook::manifest).collect();
        let config = record.config().filter(|config| !config.is_empty());
        let config = config.map(|config| serde_json::to_string(config).unwrap_or_default());
        Self {
            revision: record.revision(),
            status: record.status(),
            description: record.description().to_owned(),
            fingerprint: Fingerprint::of((record.manifest(), hooks, config)),
            images: Fingerprint::of(images),
        }
    }

    /// What labels tell of a current revision whose record cannot be read: it has nobody's content.
    pub fn unreadable(revision: u64, status: Status) -> Self {
        let nobodys = Fingerprint::of(("unreadable", revision));
        Self { revision, status, description: String::new(), fingerprint: nobodys, images: nobodys }
    }

    /// Whether this revision is known to have been deployed; if not, why.
    pub fn ran(&self) -> Result<(), SkipReason> {
        ran(&self.status, &self.description)
    }

    /// What was left behind when this revision was made.
    fn leaves(&self) -> Option<Left> {
        let by = self.revision;
        let until = match Deed::of(&self.description) {
            Deed::RollbackTo(target) if target < by => Until::Revision(target),
            Deed::Swap { from } if from < by => Until::Images { from, images: self.images },
            Deed::FailedRollback => Until::Content { from: by.saturating_sub(1), content: self.fingerprint },
            // Only an equal content below shows that it was a rollback: nothing is left for certain.
            Deed::FailedInstallOrRollback => Until::Content { from: by, content: self.fingerprint },
            _ => return None,
        };
        Some(Left { by, until })
    }
}

/// Whether a revision with this status and description is known to have been deployed; if not, why.
///
/// The status alone does not tell: Helm's rollback relabels the record that it starts from as `superseded` when it fails half
/// way, also one that had failed. The description stays.
pub fn ran(status: &Status, description: &str) -> Result<(), SkipReason> {
    match status {
        Status::Superseded if says_failed(description) => Err(SkipReason::MarkedSupersededButFailed),
        Status::Deployed | Status::Superseded => Ok(()),
        other => Err(SkipReason::NeverRan(other.clone())),
    }
}

/// What a description says was done.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    /// A rollback to a revision, by Helm or by us.
    RollbackTo(u64),
    /// An emergency of ours, or the reconcile after one, starting from a revision.
    Swap { from: u64 },
    /// A rollback that failed in Helm, which then no longer says to where.
    FailedRollback,
    /// An install that failed, or a rollback that was not ready in time: Helm writes the same words.
    FailedInstallOrRollback,
    /// Anything else: installs, upgrades, words of the user.
    Other,
}

impl Deed {
    fn of(description: &str) -> Self {
        if let Some((target, _)) = rollback_target(description) {
            return Self::RollbackTo(target);
        }
        if let Some((from, _)) = swap_origin(description) {
            return Self::Swap { from };
        }
        if says_helm_failed(description, "Rollback") {
            Self::FailedRollback
        } else if says_helm_failed(description, "Release") {
            Self::FailedInstallOrRollback
        } else {
            Self::Other
        }
    }
}

/// The number that starts a text, and what follows it.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Reads `Rollback to N`, also with `: reason` or ` failed: reason` behind it. A version such as `1.2.3` is no revision.
fn rollback_target(description: &str) -> Option<(u64, &str)> {
    leading_number(description.strip_prefix("Rollback to ")?).filter(|(_, rest)| {
        rest.is_empty() || [":", " failed:", " ("].iter().any(|next| rest.starts_with(next))
    })
}

/// Reads `from=N` of a description of ours.
fn swap_origin(description: &str) -> Option<(u64, &str)> {
    let (_, after) = description.strip_prefix(DESCRIPTION_PREFIX)?.split_once("(from=")?;
    let (from, after) = leading_number(after)?;
    Some((from, after.split_once(')').map_or("", |(_, rest)| rest)))
}

/// Reads `Upgrade "name" failed: …`.
fn says_helm_failed(description: &str, deed: &str) -> bool {
    let after_name = || {
        let rest = description.strip_prefix(deed)?.strip_prefix(" \"")?;
        Some(rest.split_once('"')?.1)
    };
    after_name().is_some_and(|rest| rest.starts_with(" failed"))
}

/// Whether a description, of Helm or of ours, says that the operation failed.
fn says_failed(description: &str) -> bool {
    let ours = rollback_target(description).or_else(|| swap_origin(description));
    ours.is_some_and(|(_, rest)| rest.starts_with(" failed:"))
        || ["Upgrade", "Release", "Rollback", "Install", "Installation"]
            .into_iter()
            .any(|deed| says_helm_failed(description, deed))
}

/// Why a revision is not the last good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// By its status it is not known to have been deployed: failed, pending, uninstalled, unknown.
    NeverRan(Status),
    /// Its status says `superseded`, its description that it failed.
    MarkedSupersededButFailed,
    /// A later rollback or emergency went back past it.
    LeftBy {
        /// That later revision.
        revision: u64,
    },
    /// It is what the current revision is already.
    SameAsCurrent,
    /// Its record cannot be read.
    Unreadable(String),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRan(Status::Failed) => formatter.write_str("it failed"),
            Self::NeverRan(status) if status.is_pending() => {
                write!(formatter, "it is {status}: it never finished")
            }
            Self::NeverRan(status @ (Status::Uninstalled | Status::Uninstalling)) => {
                write!(formatter, "it is {status}")
            }
            Self::NeverRan(status) => {
                write!(formatter, "its status is {status}: it is not known to have run")
            }
            Self::MarkedSupersededButFailed => {
                formatter.write_str("it failed, although Helm relabelled it superseded")
            }
            Self::LeftBy { revision } => write!(formatter, "revision {revision} went back past it"),
            Self::SameAsCurrent => formatter.write_str("it has the content of the current revision"),
            Self::Unreadable(why) => write!(formatter, "it cannot be read: {why}"),
        }
    }
}

/// The answer about one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A good one; the first of them is the last good one.
    Candidate,
    /// Not this one.
    Skipped(SkipReason),
}

/// The current revision is a rollback already: going further back is a decision of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is nothing to go back from by default: revision {revision} is itself {deed}; name the revision to go to"
)]
pub struct NothingToDo {
    /// The current revision.
    pub revision: u64,
    /// What it is, as a noun: `a rollback to revision 5`.
    pub deed: String,
}

/// The answer about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The last good revision, if there is one.
    pub target: Option<u64>,
    /// The revisions between the current and the target, newest first, with the reason why not.
    pub skipped: Vec<(u64, SkipReason)>,
}

/// A stretch of revisions that a later one left behind.
#[derive(Debug)]
struct Left {
    by: u64,
    until: Until,
}

/// Where such a stretch ends.
#[derive(Debug)]
enum Until {
    /// At the revision that was gone back to.
    Revision(u64),
    /// At the first below `from` with these images.
    Images { from: u64, images: Fingerprint },
    /// At the first below `from` with this content.
    Content { from: u64, content: Fingerprint },
}

impl Until {
    fn is_reached_at(&self, facts: &RevisionFacts) -> bool {
        match *self {
            Self::Revision(target) => facts.revision <= target,
            Self::Images { from, images } => facts.revision < from && facts.images == images,
            Self::Content { from, content } => facts.revision < from && facts.fingerprint == content,
        }
    }

    /// The lowest revision that was left for certain.
    fn certain(&self) -> u64 {
        match *self {
            Self::Revision(target) => target + 1,
            Self::Images { from, .. } | Self::Content { from, .. } => from,
        }
    }
}

/// The search for the last good revision.
///
/// Feed it every older revision from the newest down until one is a [`Verdict::Candidate`] or none is left, then
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct LastGood {
    /// The content that is no target; `None` where going to the same content is a repair.
    current: Option<Fingerprint>,
    /// The stretches that the revision being considered may stand in.
    left: Vec<Left>,
    /// The newest good one that an emergency left perhaps: it counts when nothing below has what the emergency brought.
    perhaps: Option<u64>,
    choice: Choice,
}

impl LastGood {
    /// Starts below the current revision: the newest stored one, whatever its status.
    ///
    /// A rollback or emergency that failed or never finished is no reason to stop: the same target is then tried again.
    pub fn begin(current: &RevisionFacts) -> Result<Self, NothingToDo> {
        if current.status == Status::Deployed {
            let deed = match Deed::of(&current.description) {
                Deed::RollbackTo(target) => Some(format!("a rollback to revision {target}")),
                Deed::Swap { from } => Some(format!("an emergency that left revision {from}")),
                Deed::FailedRollback | Deed::FailedInstallOrRollback | Deed::Other => None,
            };
            if let Some(deed) = deed {
                return Err(NothingToDo { revision: current.revision, deed });
            }
        }
        Ok(Self::below(current))
    }

    /// As [`begin`](Self::begin), also where there is nothing to do: to tell of every older revision what became of it.
    pub fn below(current: &RevisionFacts) -> Self {
        let left = current.leaves();
        // An unfinished or failed rollback has the content of its target, which is the one to try again.
        let is_repair = current.ran().is_err() && (left.is_some() || current.status.is_pending());
        Self {
            current: (!is_repair).then_some(current.fingerprint),
            left: left.into_iter().collect(),
            perhaps: None,
            choice: Choice { target: None, skipped: Vec::new() },
        }
    }

    /// The answer about the next older revision.
    pub fn consider(&mut self, older: &RevisionFacts) -> Verdict {
        self.left.retain(|left| !left.until.is_reached_at(older));
        let reason = older.ran().err().or_else(|| {
            let by = self.left.first().map(|left| SkipReason::LeftBy { revision: left.by });
            let is_same = self.current == Some(older.fingerprint);
            by.or_else(|| is_same.then_some(SkipReason::SameAsCurrent))
        });
        let is_uncertain = self.left.iter().all(|left| older.revision < left.until.certain());
        if !self.left.is_empty()
            && is_uncertain
            && older.ran().is_ok()
            && self.current != Some(older.fingerprint)
        {
            self.perhaps.get_or_insert(older.revision);
        }
        // Also what was itself left behind later knew that what it left was bad; who went there again wrote a newer revision.
        self.left.extend(older.leaves());
        match reason {
            None => {
                self.choice.target.get_or_insert(older.revision);
                Verdict::Candidate
            }
            Some(reason) => Verdict::Skipped(self.skip(older.revision, reason)),
        }
    }

    /// Notes that the record of the next older revision cannot be read.
    pub fn skip_unreadable(&mut self, revision: u64, why: String) -> Verdict {
        Verdict::Skipped(self.skip(revision, SkipReason::Unreadable(why)))
    }

    fn skip(&mut self, revision: u64, reason: SkipReason) -> SkipReason {
        if self.choice.target.is_none() {
            self.choice.skipped.push((revision, reason.clone()));
        }
        reason
    }

    /// The answer, once a candidate was found or everything was fed.
    pub fn finish(mut self) -> Choice {
        if self.choice.target.is_none()
            && let Some(perhaps) = self.perhaps
        {
            self.choice.target = Some(perhaps);
            self.choice.skipped.retain(|(revision, _)| *revision > perhaps);
        }
        self.choice
    }
}

/// What plain `helm rollback` would choose: the last revision minus one, whatever became of it; `None` where that is not
/// stored and Helm fails.
pub fn helm_would_choose(current: u64, stored: &[u64]) -> Option<u64> {
    let target = current.checked_sub(1)?;
    stored.contains(&target).then_some(target)
}
