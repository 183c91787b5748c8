//! Finds the revision to go back to, reading bodies of records newest-down, and only until it is found (design D11).

use futures::future::join_all;
use jiff::Timestamp;

use super::super::run::DiscoverError;
use crate::helm::error::StorageError;
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::storage::{Storage, StoredRecord};
use crate::plan::last_good::{LastGood, NothingToDo, RevisionFacts, SkipReason, Verdict, helm_would_choose};

/// Which revision is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// This one.
    pub revision: Option<u64>,
    /// That one was not named by the operator, but noted before a deploy.
    pub noted: bool,
    /// The newest good one that ran this tag.
    pub tag: Option<String>,
    /// The good one that was deployed then.
    pub before: Option<Timestamp>,
    /// The newest good one of this chart version.
    pub chart_version: Option<String>,
    /// Without any of these: the last one minus one, as Helm chooses.
    pub helm_compat: bool,
    /// A revision that is named may have failed.
    pub allow_failed: bool,
    /// Only revisions below this one are looked at: as it was before the operation that wrote it.
    pub below: Option<u64>,
}

impl Wanted {
    fn is_default(&self) -> bool {
        self.tag.is_none() && self.before.is_none() && self.chart_version.is_none()
    }

    fn matches(&self, record: &Record) -> bool {
        self.chart_version.as_deref().is_none_or(|version| record.chart_version() == Some(version))
            && self.before.is_none_or(|time| record.last_deployed().is_some_and(|deployed| deployed <= time))
            && self.tag.as_deref().is_none_or(|tag| runs_tag(record, tag))
    }

    fn describe(&self) -> String {
        match (&self.tag, self.before, &self.chart_version) {
            (Some(tag), ..) => format!("ran tag {tag}"),
            (_, Some(time), _) => format!("was deployed before {time}"),
            (.., Some(version)) => format!("has chart version {version}"),
            _ => "really ran".to_owned(),
        }
    }
}

fn runs_tag(record: &Record, tag: &str) -> bool {
    let images = Manifest::parse(record.manifest(), record.namespace().unwrap_or_default()).images();
    images
        .values()
        .filter_map(|image| image.parse::<crate::registry::ImageReference>().ok())
        .any(|image| image.tag.as_deref() == Some(tag))
}

/// Why there is nothing to roll back to, or it cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The release or its workloads cannot be read.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// A record cannot be read.
    #[error(transparent)]
    Records(#[from] StorageError),
    /// The default has nothing to do.
    #[error("{nothing}")]
    NothingToDo {
        /// The release.
        name: String,
        /// Why.
        nothing: NothingToDo,
    },
    /// The revision is not stored.
    #[error("release {name} has no revision {revision}; stored: {}", numbers(stored))]
    NoSuchRevision {
        /// The release.
        name: String,
        /// What was asked for.
        revision: u64,
        /// What there is.
        stored: Vec<u64>,
    },
    /// No revision is good.
    #[error("release {name} has no earlier revision that {wanted}{}", reasons(skipped))]
    NothingGood {
        /// The release.
        name: String,
        /// What was asked for, as the end of a sentence.
        wanted: String,
        /// What was passed over.
        skipped: Vec<(u64, SkipReason)>,
    },
    /// The revision that was named never ran.
    #[error("revision {revision} of {name} is no good target: {reason}")]
    NotGood {
        /// The release.
        name: String,
        /// The revision.
        revision: u64,
        /// Why.
        reason: SkipReason,
    },
}

fn numbers(revisions: &[u64]) -> String {
    revisions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn reasons(skipped: &[(u64, SkipReason)]) -> String {
    let lines: Vec<String> =
        skipped.iter().map(|(revision, reason)| format!("\n  revision {revision}: {reason}")).collect();
    lines.concat()
}

/// Who has chosen the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The operator, who named it or what it must be.
    Operator,
    /// This tool: the last good one.
    Search,
    /// This tool: the one that was deployed, and had really run, before a deploy that it has watched.
    Watch,
}

impl ChosenBy {
    /// Why this revision, in a few words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Operator => "as asked for",
            Self::Search => "the last good one",
            Self::Watch => "the last good one, noted before the deploy",
        }
    }
}

/// The target and how it was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The revision.
    pub revision: u64,
    /// Revisions that were passed over, newest first.
    pub skipped: Vec<(u64, SkipReason)>,
    /// What plain `helm rollback` would have chosen; `None` when that revision is not stored.
    pub helm: Option<u64>,
    /// Whose choice it was.
    pub by: ChosenBy,
    /// What speaks against a revision that was named.
    pub doubt: Option<SkipReason>,
}

/// The revisions from the newest down to the target, and the target last.
pub(super) struct Line {
    pub(super) records: Vec<StoredRecord>,
    pub(super) unreadable: Vec<(u64, String)>,
    pub(super) choice: Choice,
}

/// Finds the target, reading bodies newest-down.
pub(super) async fn choose(
    storage: &Storage,
    name: &str,
    metas: &[RecordMeta],
    wanted: &Wanted,
) -> Result<Line, RollbackError> {
    let stored: Vec<u64> = metas.iter().map(|meta| meta.revision).collect();
    let helm = helm_would_choose(stored[0], &stored);
    let named = if wanted.helm_compat && wanted.is_default() && wanted.revision.is_none() {
        Some(stored[0].saturating_sub(1))
    } else {
        wanted.revision
    };
    if let Some(revision) = named {
        if !stored.contains(&revision) {
            return Err(RollbackError::NoSuchRevision { name: name.to_owned(), revision, stored });
        }
        let line = read_down_to(storage, metas, revision).await?;
        let target = line.records.last().filter(|stored| stored.meta.revision == revision);
        let Some(target) = target else {
            return Err(storage
                .get(&metas[stored.iter().position(|&number| number == revision).unwrap_or(0)])
                .await
                .err()
                .map_or_else(
                    || RollbackError::NoSuchRevision {
                        name: name.to_owned(),
                        revision,
                        stored: stored.clone(),
                    },
                    RollbackError::Records,
                ));
        };
        // As in Helm, --helm-compat takes whatever became of it.
        if !wanted.allow_failed
            && !wanted.helm_compat
            && let Err(reason) = RevisionFacts::of(&target.record).ran()
        {
            return Err(RollbackError::NotGood { name: name.to_owned(), revision, reason });
        }
        let doubt = doubt(&line.records);
        let by = if wanted.noted { ChosenBy::Watch } else { ChosenBy::Operator };
        let choice = Choice { revision, skipped: Vec::new(), helm, by, doubt };
        return Ok(Line { choice, ..line });
    }
    search(storage, name, metas, wanted, helm).await
}

/// What speaks against the last of these records (newest first) as a target.
fn doubt(records: &[StoredRecord]) -> Option<SkipReason> {
    let (current, older) = records.split_first()?;
    let mut search = LastGood::below(&RevisionFacts::of(&current.record));
    let verdicts = older.iter().map(|stored| search.consider(&RevisionFacts::of(&stored.record)));
    match verdicts.last()? {
        Verdict::Skipped(SkipReason::SameAsCurrent) | Verdict::Candidate => None,
        Verdict::Skipped(reason) => Some(reason),
    }
}

async fn read_down_to(storage: &Storage, metas: &[RecordMeta], revision: u64) -> Result<Line, RollbackError> {
    let wanted: Vec<&RecordMeta> = metas.iter().take_while(|meta| meta.revision >= revision).collect();
    let bodies = join_all(wanted.iter().map(|meta| storage.get(meta))).await;
    let mut line = Line {
        records: Vec::new(),
        unreadable: Vec::new(),
        choice: Choice { revision, skipped: Vec::new(), helm: None, by: ChosenBy::Operator, doubt: None },
    };
    for (meta, body) in wanted.iter().zip(bodies) {
        match body {
            Ok(stored) => line.records.push(stored),
            Err(error) if error.is_unreadable() => line.unreadable.push((meta.revision, error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(line)
}

async fn search(
    storage: &Storage,
    name: &str,
    metas: &[RecordMeta],
    wanted: &Wanted,
    helm: Option<u64>,
) -> Result<Line, RollbackError> {
    let mut records: Vec<StoredRecord> = Vec::new();
    let mut unreadable = Vec::new();
    let mut last_good: Option<LastGood> = None;
    let mut found = None;
    for meta in metas {
        let stored = match storage.get(meta).await {
            Ok(stored) => stored,
            Err(error) if error.is_unreadable() => {
                if let Some(search) = &mut last_good {
                    search.skip_unreadable(meta.revision, error.to_string());
                } else {
                    let facts = RevisionFacts::unreadable(meta.revision, meta.status.clone());
                    last_good = Some(LastGood::below(&facts));
                }
                unreadable.push((meta.revision, error.to_string()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let facts = RevisionFacts::of(&stored.record);
        let fits = wanted.matches(&stored.record);
        records.push(stored);
        match &mut last_good {
            None if wanted.is_default() => {
                last_good = Some(
                    LastGood::begin(&facts)
                        .map_err(|nothing| RollbackError::NothingToDo { name: name.to_owned(), nothing })?,
                );
            }
            None => last_good = Some(LastGood::below(&facts)),
            Some(search) => {
                if search.consider(&facts) == Verdict::Candidate && fits {
                    found = Some(meta.revision);
                    break;
                }
            }
        }
    }
    let answer = last_good.map(LastGood::finish);
    // One that was perhaps left by an emergency counts when nothing better was found.
    let perhaps = answer.as_ref().and_then(|answer| answer.target);
    let fitting = |revision: &u64| {
        records.iter().any(|stored| stored.meta.revision == *revision && wanted.matches(&stored.record))
    };
    let revision = found.or(perhaps.filter(fitting));
    let skipped = answer.map(|answer| answer.skipped).unwrap_or_default();
    let Some(revision) = revision else {
        return Err(RollbackError::NothingGood { name: name.to_owned(), wanted: wanted.describe(), skipped });
    };
    records.retain(|stored| stored.meta.revision >= revision);
    let skipped = skipped.into_iter().filter(|(number, _)| *number > revision).collect();
    let by = if wanted.is_default() { ChosenBy::Search } else { ChosenBy::Operator };
    let choice = Choice { revision, skipped, helm, by, doubt: None };
    Ok(Line { records, unreadable, choice })
}
