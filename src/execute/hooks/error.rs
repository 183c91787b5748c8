//! Why hooks did not run to their end, what the cluster looks like then, and what to do.

use kube::core::ApiResource;

use super::HookRun;
use crate::context::interrupt::Signal;
use crate::discover::apis::ApisError;
use crate::event::Diagnosis;
use crate::helm::error::StorageError;
use crate::helm::hooks::{self, EventHook};

/// Why the hooks of an event did not all succeed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The record's hooks cannot be read; none has run.
    #[error(transparent)]
    Read(#[from] hooks::HookError),
    /// One of them did not succeed; later ones have not run.
    #[error("the {event} hook {hook}: {problem}")]
    Hook {
        /// The event.
        event: String,
        /// Kind and name of the hook.
        hook: String,
        /// What happened.
        problem: Box<HookProblem>,
        /// Commands that help.
        next: Vec<String>,
    },
}

/// What happened to one hook.
#[derive(Debug, thiserror::Error)]
pub enum HookProblem {
    /// Its kind is not served; no hook has run.
    #[error("{0}; no hook was run")]
    Api(ApisError),
    /// There is an object of its name in the way; it has not run.
    #[error("it was not run: {0}")]
    Room(RoomProblem),
    /// It was not begun.
    #[error("it was not run: {0}")]
    NotBegun(NotBegun),
    /// Our record was changed by somebody else; it has not run.
    #[error("it was not run, because somebody else works on this release: {0}")]
    Record(StorageError),
    /// The API server does not take the object.
    #[error("its object could not be created: {0}")]
    Create(String),
    /// It failed.
    #[error("it failed: {0}")]
    Failed(String),
    /// It has not begun to run and will not.
    #[error("it cannot run: {}", .0.message)]
    NeverRuns(Box<Diagnosis>),
    /// It did not end in time.
    #[error("it did not end within {seconds} s{}", because(.diagnosis.as_deref()))]
    TimedOut {
        /// How long it was waited for.
        seconds: u64,
        /// The gravest reason known.
        diagnosis: Option<Box<Diagnosis>>,
    },
    /// It is gone, and how it ended is not known.
    #[error("it was deleted while it was waited for, and nothing says how it had ended")]
    Deleted,
    /// It cannot be watched.
    #[error("whether it ended cannot be seen: {0}")]
    Unseen(String),
    /// A signal ended the waiting.
    #[error("{} came while it ran; it goes on in the cluster", .0.name())]
    Interrupted(Signal),
}

/// Why a hook was not begun.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// A signal came.
    #[error("{} came first", .0.name())]
    Signal(Signal),
    /// The operation's time is up.
    #[error("the time limit of the operation was reached first")]
    Late,
}

/// What is in a hook's way.
#[derive(Debug, thiserror::Error)]
pub enum RoomProblem {
    /// An object that its policies do not allow to delete.
    #[error(
        "{plural} {name:?} already exists, and its deletion policies ({policies}) do not allow deleting it"
    )]
    Exists {
        /// The resource's plural.
        plural: String,
        /// The object's name.
        name: String,
        /// The hook's policies.
        policies: String,
    },
    /// An object that is being deleted and stays.
    #[error("{plural} {name:?} of an earlier run is deleted and still there{}", held_by(.finalizers))]
    Stays {
        /// The resource's plural.
        plural: String,
        /// The object's name.
        name: String,
        /// Who holds it.
        finalizers: Vec<String>,
    },
    /// The API server does not let us look or delete.
    #[error("{plural} {name:?} of an earlier run cannot be made away with: {message}")]
    Refused {
        /// The resource's plural.
        plural: String,
        /// The object's name.
        name: String,
        /// The server's words.
        message: String,
    },
    /// A signal ended the waiting.
    #[error("{} came first", .0.name())]
    Interrupted(Signal),
}

fn because(diagnosis: Option<&Diagnosis>) -> String {
    diagnosis.map(|diagnosis| format!(": {}", diagnosis.message)).unwrap_or_default()
}

fn held_by(finalizers: &[String]) -> String {
    if finalizers.is_empty() { String::new() } else { format!(", held by {}", finalizers.join(", ")) }
}

impl HookError {
    pub(super) fn new(run: &HookRun<'_>, hook: &EventHook, problem: HookProblem) -> Self {
        let first = &hook.objects[0];
        let namespace = Some(super::field(first, "/metadata/namespace")).filter(|name| !name.is_empty());
        let namespace = namespace.unwrap_or(run.namespace);
        let object = format!("{} {} -n {namespace}", hook.kind.to_lowercase(), hook.name);
        let next = match &problem {
            HookProblem::Room(RoomProblem::Exists { .. }) => {
                vec![
                    format!("kubectl delete {object}"),
                    "--no-hooks rolls back without running hooks".to_owned(),
                ]
            }
            HookProblem::Room(RoomProblem::Stays { .. }) => vec![format!("kubectl get {object} -o yaml")],
            HookProblem::NeverRuns(diagnosis) => {
                // It would run as soon as what it waits for is there, at a time when nobody expects it.
                vec![diagnosis.hint.clone(), format!("kubectl delete {object}")]
            }
            HookProblem::TimedOut { .. } | HookProblem::Unseen(_) | HookProblem::Interrupted(_) => {
                vec![format!("kubectl describe {object}"), format!("kubectl delete {object}")]
            }
            HookProblem::Failed(_) => vec![format!("kubectl describe {object}")],
            _ => Vec::new(),
        };
        Self::Hook {
            event: run.event.to_owned(),
            hook: format!("{} {}", hook.kind, hook.name),
            problem: Box::new(problem),
            next: next.into_iter().filter(|command| !command.is_empty()).collect(),
        }
    }

    /// Commands that help, the most useful first.
    pub fn next(&self) -> &[String] {
        match self {
            Self::Read(_) => &[],
            Self::Hook { next, .. } => next,
        }
    }

    fn problem(&self) -> Option<&HookProblem> {
        match self {
            Self::Read(_) => None,
            Self::Hook { problem, .. } => Some(problem),
        }
    }

    /// The signal that ended it, where one did.
    pub fn signal(&self) -> Option<Signal> {
        match self.problem()? {
            HookProblem::Interrupted(signal) | HookProblem::Room(RoomProblem::Interrupted(signal)) => {
                Some(*signal)
            }
            HookProblem::NotBegun(NotBegun::Signal(signal)) => Some(*signal),
            _ => None,
        }
    }

    /// Whether it is the time that ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.problem(),
            Some(
                HookProblem::TimedOut { .. }
                    | HookProblem::NotBegun(NotBegun::Late)
                    | HookProblem::Room(RoomProblem::Stays { .. })
            )
        )
    }
}

impl RoomProblem {
    pub(super) fn refused(resource: &ApiResource, name: &str, message: &str) -> Self {
        Self::Refused {
            plural: resource.plural.clone(),
            name: name.to_owned(),
            message: crate::wait::redaction::redact(message),
        }
    }
}
