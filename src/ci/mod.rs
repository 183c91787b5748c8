//! A deploy under watch: the program that deploys ([`child`]), its workloads meanwhile ([`watch`]), what follows from how
//! it ended (pure, here), and what the pipeline shows of it ([`summary`], pure). Nothing here writes to the cluster.

pub mod child;
pub mod fold;
pub mod summary;
pub mod watch;

use crate::context::interrupt::Signal;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::outcome::ExitCode;
use crate::wait::WaitEnd;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl End {
    /// Whether it says that all went well.
    pub fn is_good(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code as a shell tells it.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(code).unwrap_or(1),
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(1),
        }
    }
}

/// Why a deploy was stopped before its own end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Its pods will not become ready.
    Doomed(String),
    /// The time limit.
    Late(String),
    /// Somebody wants us to stop.
    Signal(Signal),
}

impl Stop {
    /// The reason in words.
    pub fn reason(&self) -> String {
        match self {
            Self::Doomed(why) => format!("its pods will not become ready: {why}"),
            Self::Late(limit) => format!("the time limit of {limit} passed"),
            Self::Signal(signal) => format!("{} came", signal.name()),
        }
    }
}

/// The newest record of a release, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its revision.
    pub revision: u64,
    /// Its status.
    pub status: Status,
    /// Whether it is a rollback by its description.
    pub is_rollback: bool,
}

/// What is known about a deploy when it is over.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The newest revision before it.
    pub before: Option<u64>,
    /// The revision that was deployed and had really run before it.
    pub good: Option<u64>,
    /// How the program ended; `None` where none was run.
    pub end: Option<End>,
    /// Why it was stopped.
    pub stop: Option<Stop>,
    /// The newest record now.
    pub after: Option<Newest>,
    /// How the wait for readiness ended; `None` where there was none.
    pub wait: Option<WaitEnd>,
    /// Checks that failed.
    pub failed_checks: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is well.
    Well,
    /// Nothing was seen yet of whether it is well: look.
    Check,
    /// It failed, and nothing is done about it, because…
    Leave(Left),
    /// Go back to this revision, or to the last good one that is found.
    RollBack(Option<u64>),
}

/// Why nothing is done about a deploy that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It wrote no revision.
    NothingChanged,
    /// It is the first of the release.
    FirstInstall,
    /// It has gone back by itself.
    RolledBackItself(u64),
    /// It was over and well as far as seen when somebody stopped us.
    Interrupted,
}

impl Left {
    /// The reason in words.
    pub fn reason(self) -> String {
        match self {
            Self::NothingChanged => {
                "the deploy wrote no revision: there is nothing of its own to take back".to_owned()
            }
            Self::FirstInstall => {
                "nothing was deployed before: there is no revision to go back to, and it is left as it is"
                    .to_owned()
            }
            Self::RolledBackItself(revision) => {
                format!("the deploy has gone back by itself: revision {revision} is deployed")
            }
            Self::Interrupted => {
                "it was interrupted while the deploy, which had ended well, was checked".to_owned()
            }
        }
    }
}

impl Evidence {
    /// Whether the deploy ended as badly as it could tell itself: its code, or the record where there was no program.
    fn has_failed(&self) -> bool {
        match self.end {
            Some(end) => !end.is_good() || self.stop.is_some(),
            None => self.after.as_ref().is_some_and(|newest| newest.status != Status::Deployed),
        }
    }

    /// Whether it wrote a revision; where no program was run, the newest one is what is judged.
    fn has_written(&self) -> bool {
        match (&self.after, self.end) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(newest), Some(_)) => self.before.is_none_or(|before| newest.revision > before),
        }
    }

    /// What is to be done.
    pub fn decide(&self) -> Decision {
        let is_bad = self.failed_checks > 0
            || matches!(self.wait, Some(WaitEnd::NotReady | WaitEnd::TimedOut))
            || self.has_failed();
        match (self.wait, is_bad) {
            (Some(WaitEnd::Interrupted), false) => return Decision::Leave(Left::Interrupted),
            (None, false) => return Decision::Check,
            (Some(_), false) => return Decision::Well,
            (_, true) => {}
        }
        if !self.has_written() {
            return Decision::Leave(Left::NothingChanged);
        }
        let newest = self.after.as_ref().filter(|_| self.end.is_some() && self.has_failed());
        if let Some(newest) = newest.filter(|newest| newest.is_rollback && newest.status == Status::Deployed)
        {
            return Decision::Leave(Left::RolledBackItself(newest.revision));
        }
        if self.end.is_some() && self.before.is_none() {
            return Decision::Leave(Left::FirstInstall);
        }
        Decision::RollBack(self.good)
    }

    /// The exit code for a deploy that failed and was dealt with as well as it can be.
    pub fn exit_code(&self) -> u8 {
        match (&self.stop, self.end) {
            (Some(Stop::Signal(signal)), _) => signal.exit_code().code(),
            (Some(_), Some(End::Code(0) | End::Signal(_))) | (None, Some(End::Code(0)) | None) => {
                ExitCode::Unexpected.code()
            }
            (_, Some(end)) => end.code(),
            (Some(_), None) => ExitCode::Unexpected.code(),
        }
    }
}

/// The newest of a release's records, which are newest first.
pub fn newest(metas: &[RecordMeta], description: &str) -> Option<Newest> {
    let meta = metas.first()?;
    let is_rollback = description.starts_with("Rollback to ");
    Some(Newest { revision: meta.revision, status: meta.status.clone(), is_rollback })
}

#[cfg(test)]
mod tests;
