//! What became of every stored revision, and where a bare rollback would go. Pure.

use crate::discover::revisions::Revision;
use crate::helm::meta::RecordMeta;

use super::last_good::{
    Choice, LastGood, NothingToDo, RevisionFacts, SkipReason, Verdict, helm_would_choose,
};

/// The judgement about one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Its number.
    pub revision: u64,
    /// Whether it really ran and no later one left it.
    pub good: bool,
    /// What speaks against it as a target.
    pub reason: Option<SkipReason>,
}

/// The judgement about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgements {
    /// Of every revision that was read, newest first.
    pub revisions: Vec<Judgement>,
    /// What a bare rollback would choose, or why it would do nothing.
    pub choice: Result<Choice, NothingToDo>,
    /// What plain `helm rollback` would choose, where it would find it.
    pub helm_target: Option<u64>,
}

impl Judgements {
    /// Judges the newest revisions; `metas` are all that are stored, newest first.
    pub fn of(metas: &[RecordMeta], read: &[Revision]) -> Self {
        let stored: Vec<u64> = metas.iter().map(|meta| meta.revision).collect();
        let helm_target = stored.first().and_then(|current| helm_would_choose(*current, &stored));
        let nothing = Choice { target: None, skipped: Vec::new() };
        let Some((newest, older)) = read.split_first() else {
            return Self { revisions: Vec::new(), choice: Ok(nothing), helm_target };
        };
        let current = match &newest.content {
            Ok(content) => content.facts.clone(),
            Err(_) => RevisionFacts::unreadable(newest.meta.revision, newest.meta.status.clone()),
        };
        let mut search = LastGood::below(&current);
        let reason = match &newest.content {
            Ok(_) => current.ran().err(),
            Err(why) => Some(SkipReason::Unreadable(why.clone())),
        };
        let mut revisions = vec![Judgement { revision: current.revision, good: reason.is_none(), reason }];
        for revision in older {
            let verdict = match &revision.content {
                Ok(content) => search.consider(&content.facts),
                Err(why) => search.skip_unreadable(revision.meta.revision, why.clone()),
            };
            let reason = match verdict {
                Verdict::Candidate => None,
                Verdict::Skipped(reason) => Some(reason),
            };
            let good = matches!(reason, None | Some(SkipReason::SameAsCurrent));
            revisions.push(Judgement { revision: revision.meta.revision, good, reason });
        }
        let choice = LastGood::begin(&current).map(|_| search.finish());
        Self { revisions, choice, helm_target }
    }

    /// Whether no older body could change what was chosen.
    pub fn is_decided(&self) -> bool {
        let is_candidate = |judgement: &Judgement| judgement.good && judgement.reason.is_none();
        self.choice.is_err() || self.revisions.iter().skip(1).any(is_candidate)
    }

    /// The revision that a bare rollback would choose.
    pub fn target(&self) -> Option<u64> {
        self.choice.as_ref().ok().and_then(|choice| choice.target)
    }
}
