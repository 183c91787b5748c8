//! What planning cannot decide: bad input, and questions that only the operator can answer.

use crate::workload::{ContainerRef, WorkloadRef};

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It cannot be told which containers take the target, or how many pods a stopped workload gets.
    #[error("{}", describe_questions(.0))]
    Questions(Vec<Question>),
    /// A selector on the command line matches nothing.
    #[error("{0} names no container of these workloads")]
    NoSuchContainer(String),
    /// `--to-revision` names a revision that is not stored or not readable.
    #[error("revision {0} of the release is not stored (or not readable); stored: {1}")]
    NoSuchRevision(u64, String),
    /// `--to-revision` without a release.
    #[error("--to-revision needs a release, and these workloads were named without one")]
    NoRelease,
    /// A digest fits one repository only.
    #[error(
        "a digest fits exactly one repository, but the target's containers run {0}; give --image REPO=DIGEST instead"
    )]
    DigestNeedsOneRepository(String),
    /// There is nothing to change.
    #[error("no container takes {0}: {1}")]
    NothingToDo(String, String),
}

fn describe_questions(questions: &[Question]) -> String {
    let lines: Vec<String> = questions.iter().map(|question| format!("  {question}")).collect();
    let flags: Vec<String> = questions.iter().filter_map(Question::likely_flag).collect();
    let all = if flags.len() < 2 { String::new() } else { format!("\nall at once: {}", flags.join(" ")) };
    format!("some things only you can decide:\n{}{all}", lines.join("\n"))
}

/// Something that only the operator can decide, with the flags that decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Does this container take the target?
    Container {
        /// The container.
        container: ContainerRef,
        /// The image it has.
        image: String,
        /// Why it cannot be told.
        why: String,
    },
    /// How many pods does this workload get? It stands at zero, and nobody remembered a number.
    Replicas {
        /// The workload.
        workload: WorkloadRef,
        /// The number that the manifest or the autoscaler suggests, and which of them does.
        proposal: Option<(i32, &'static str)>,
    },
}

impl Question {
    /// The flag of the likelier answer, for a command to copy; `None` where there is none.
    fn likely_flag(&self) -> Option<String> {
        match self {
            Self::Container { container, .. } => Some(format!("--container {container}")),
            Self::Replicas { workload, proposal } => {
                proposal.map(|(number, _)| format!("--replicas {workload}={number}"))
            }
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container { container, image, why } => write!(
                formatter,
                "{container} ({image}): {why}; decide with --container {container} or --exclude {container}"
            ),
            Self::Replicas { workload, proposal } => {
                write!(
                    formatter,
                    "{workload} stands at 0 replicas and nobody remembered how many it had; decide with "
                )?;
                match proposal {
                    Some((number, source)) => {
                        write!(formatter, "--replicas {workload}={number} (the number of {source})")
                    }
                    None => write!(formatter, "--replicas {workload}=N"),
                }
            }
        }
    }
}
