//! The image that each container gets: the target for those that take it, nothing for the others.

use std::collections::BTreeSet;

use super::Skipped;
use super::containers::{self, ContainerHistory, Instruction, Verdict};
use super::emergency::{Request, Target};
use super::question::{PlanError, Question};
use super::selection::instruction;
use crate::discover::Snapshot;
use crate::registry::ImageReference;
use crate::workload::{ContainerRef, WorkloadRef};

/// What one container gets.
#[derive(Debug, Clone)]
pub struct TargetImage {
    /// The container's name.
    pub container: String,
    /// Its image.
    pub image: ImageReference,
    /// Why.
    pub why: String,
}

/// The target image of each container that takes one, per workload in the snapshot's order.
pub fn targets(
    request: &Request,
    snapshot: &Snapshot,
    questions: &mut Vec<Question>,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Vec<TargetImage>>, PlanError> {
    let histories = histories(snapshot, skipped);
    let verdicts = verdicts(request, snapshot, &histories)?;
    if let Target::Digest(_) = request.target {
        let repositories: BTreeSet<&str> = histories
            .iter()
            .zip(&verdicts)
            .filter(|(history, verdict)| {
                matches!(verdict, Verdict::Takes(_)) && image_override(request, &history.live).is_none()
            })
            .map(|(history, _)| history.live.repository.as_str())
            .collect();
        if repositories.len() != 1 {
            let repositories: Vec<&str> = repositories.into_iter().collect();
            let found = if repositories.is_empty() { "none".to_owned() } else { repositories.join(", ") };
            return Err(PlanError::DigestNeedsOneRepository(found));
        }
    }
    let mut targets = vec![Vec::new(); snapshot.workloads.len()];
    for (history, verdict) in histories.iter().zip(verdicts) {
        let position =
            snapshot.workloads.iter().position(|workload| workload.reference == history.container.workload);
        let Some(position) = position else { continue };
        let kept = instruction(request, &history.container) == Some(Instruction::Keep);
        if let Some(image) = image_override(request, &history.live).filter(|_| !kept) {
            let container = history.container.container.clone();
            targets[position].push(TargetImage { container, image, why: "named by --image".to_owned() });
            continue;
        }
        match verdict {
            Verdict::Takes(why) => match target_image(request, snapshot, history) {
                Some(image) => {
                    let container = history.container.container.clone();
                    targets[position].push(TargetImage { container, image, why });
                }
                None => skipped.push(skip(history, format!("{} does not name it", request.target))),
            },
            Verdict::Keeps(why) => skipped.push(skip(history, why)),
            Verdict::Unclear(why) => questions.push(Question::Container {
                container: history.container.clone(),
                image: history.live.to_string(),
                why,
            }),
        }
    }
    Ok(targets)
}

fn skip(history: &ContainerHistory, why: String) -> Skipped {
    let ContainerRef { workload, container } = &history.container;
    Skipped { what: format!("{}/{} {container}", workload.kind, workload.name), why }
}

fn image_override(request: &Request, live: &ImageReference) -> Option<ImageReference> {
    request.images.iter().find(|image| image.repository == live.repository).map(|image| image.image.clone())
}

fn target_image(
    request: &Request,
    snapshot: &Snapshot,
    history: &ContainerHistory,
) -> Option<ImageReference> {
    match &request.target {
        Target::ImagesOnly => None,
        Target::Tag(tag) => Some(history.live.with_tag(tag)),
        Target::Digest(digest) => Some(history.live.with_digest(digest)),
        Target::Revision(revision) => {
            let revisions = &snapshot.release.as_ref()?.revisions;
            let images = &revisions.iter().find(|stored| stored.revision == *revision)?.images;
            images.get(&history.container).cloned()
        }
    }
}

fn verdicts(
    request: &Request,
    snapshot: &Snapshot,
    histories: &[ContainerHistory],
) -> Result<Vec<Verdict>, PlanError> {
    let by_instruction = |container: &ContainerRef| instruction(request, container);
    Ok(match &request.target {
        Target::Tag(tag) => {
            let only_container = |container: &ContainerRef| {
                let siblings = histories
                    .iter()
                    .filter(|other| !other.init && other.container.workload == container.workload);
                request.named_workloads && siblings.count() == 1
            };
            containers::decide(tag, histories, |container| {
                by_instruction(container).or_else(|| only_container(container).then_some(Instruction::Take))
            })
        }
        // No stored image can equal this "tag", so that only the operator's flags and the one moving group count.
        Target::Digest(digest) => containers::decide(digest, histories, by_instruction),
        Target::Revision(revision) => {
            let release = snapshot.release.as_ref().ok_or(PlanError::NoRelease)?;
            if !release.revisions.iter().any(|stored| stored.revision == *revision) {
                let stored: Vec<String> =
                    release.revisions.iter().map(|stored| stored.revision.to_string()).collect();
                return Err(PlanError::NoSuchRevision(*revision, stored.join(", ")));
            }
            let verdict = |history: &ContainerHistory| match by_instruction(&history.container) {
                Some(Instruction::Keep) => Verdict::Keeps("excluded by --exclude".to_owned()),
                _ => Verdict::Takes(format!("revision {revision} names it")),
            };
            histories.iter().map(verdict).collect()
        }
        Target::ImagesOnly => {
            histories.iter().map(|_| Verdict::Keeps("not named by --image".to_owned())).collect()
        }
    })
}

/// The containers with their past; those whose image cannot be read are skipped with that reason.
fn histories(snapshot: &Snapshot, skipped: &mut Vec<Skipped>) -> Vec<ContainerHistory> {
    let mut histories = Vec::new();
    for workload in &snapshot.workloads {
        for container in &workload.containers {
            let reference = workload.container_ref(container);
            let Some(live) = container.reference() else {
                let WorkloadRef { kind, name, .. } = &workload.reference;
                skipped.push(Skipped {
                    what: format!("{kind}/{name} {}", container.name),
                    why: format!("its image {:?} is not an image reference", container.image),
                });
                continue;
            };
            let revisions = snapshot.release.iter().flat_map(|release| &release.revisions);
            let past =
                workload.past_images.iter().filter_map(|images| images.get(&container.name)?.parse().ok());
            histories.push(ContainerHistory {
                revisions: revisions
                    .filter_map(|stored| Some((stored.revision, stored.images.get(&reference)?.clone())))
                    .collect(),
                past: past.collect(),
                container: reference,
                init: container.init,
                live,
            });
        }
    }
    histories
}
