//! Which containers take the tag (design D5). Nothing recognises a tag by its looks: a container takes the tag only
//! by what it ran before, or because the operator says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::registry::ImageReference;
use crate::workload::ContainerRef;

/// What is known of one container's past.
#[derive(Debug, Clone)]
pub struct ContainerHistory {
    /// Which container.
    pub container: ContainerRef,
    /// Whether it is an init container.
    pub init: bool,
    /// The image it has now.
    pub live: ImageReference,
    /// Its image in each stored revision of the release.
    pub revisions: BTreeMap<u64, ImageReference>,
    /// Images of earlier pod templates (ReplicaSets, ControllerRevisions).
    pub past: Vec<ImageReference>,
}

impl ContainerHistory {
    fn ran(&self, tag: &str) -> bool {
        let all = self.revisions.values().chain(&self.past).chain([&self.live]);
        all.into_iter().any(|image| image.tag.as_deref() == Some(tag))
    }

    fn version_at(&self, revision: u64) -> Option<&str> {
        self.revisions.get(&revision).map(ImageReference::version)
    }

    fn repositories(&self) -> BTreeSet<&str> {
        self.revisions.values().chain([&self.live]).map(|image| image.repository.as_str()).collect()
    }
}

/// What the operator said about one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// `--container`.
    Take,
    /// `--exclude`.
    Keep,
}

/// Whether a container takes the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the tag, because…
    Takes(String),
    /// It keeps its image, because…
    Keeps(String),
    /// It cannot be told, because…
    Unclear(String),
}

/// Why a container that does not move with the application keeps its image.
pub const DOES_NOT_MOVE: &str = "its tag does not move with the application's";

/// Decides for every container whether it takes `tag`; the answers are in the order of `containers`.
pub fn decide(
    tag: &str,
    containers: &[ContainerHistory],
    instruction: impl Fn(&ContainerRef) -> Option<Instruction>,
) -> Vec<Verdict> {
    let instructions: Vec<Option<Instruction>> =
        containers.iter().map(|history| instruction(&history.container)).collect();
    let members = members_of_the_group(tag, containers, &instructions);
    let group: Vec<&ContainerHistory> = members.keys().map(|&index| &containers[index]).collect();
    // Tags that moved together until the newest revision, which is the one under suspicion: not enough to admit
    // anybody, but enough to know who is not meant.
    let suspects =
        if group.is_empty() { the_one_moving_group(&without_newest(containers)) } else { Vec::new() };
    containers
        .iter()
        .enumerate()
        .map(|(index, history)| match (instructions[index], members.get(&index)) {
            (Some(Instruction::Keep), _) => Verdict::Keeps("excluded by --exclude".to_owned()),
            (_, Some(reason)) => Verdict::Takes(reason.clone()),
            (_, None) if group.is_empty() && !suspects.is_empty() && !suspects.contains(&index) => {
                Verdict::Keeps(DOES_NOT_MOVE.to_owned())
            }
            (_, None) if group.is_empty() => Verdict::Unclear(format!(
                "no container ever ran the tag {tag}, and the history does not show which tags move together"
            )),
            (_, None) => follows(history, &group),
        })
        .collect()
}

/// The containers that certainly take the tag, by index, with the reason: those that the operator named and those
/// that ran it; without any, the one group whose tags have always been equal and have moved.
fn members_of_the_group(
    tag: &str,
    containers: &[ContainerHistory],
    instructions: &[Option<Instruction>],
) -> BTreeMap<usize, String> {
    let mut members = BTreeMap::new();
    for (index, history) in containers.iter().enumerate() {
        let reason = match instructions[index] {
            Some(Instruction::Keep) => None,
            Some(Instruction::Take) => Some("named by --container"),
            None => history.ran(tag).then_some("ran this tag before"),
        };
        if let Some(reason) = reason {
            members.insert(index, reason.to_owned());
        }
    }
    if members.is_empty() {
        for index in the_one_moving_group(containers) {
            if instructions[index].is_none() {
                members.insert(index, "its tag moves with the application's in every revision".to_owned());
            }
        }
    }
    members
}

/// The histories without the newest stored revision.
fn without_newest(containers: &[ContainerHistory]) -> Vec<ContainerHistory> {
    let newest = containers.iter().filter_map(|history| history.revisions.keys().next_back()).max().copied();
    let mut earlier = containers.to_vec();
    for history in &mut earlier {
        history.revisions.retain(|revision, _| Some(*revision) != newest);
    }
    earlier
}

/// Containers of at least two repositories whose tags were equal in every revision and changed at least once;
/// empty where there is no such group or more than one.
fn the_one_moving_group(containers: &[ContainerHistory]) -> Vec<usize> {
    let mut groups: BTreeMap<Vec<(u64, &str)>, Vec<usize>> = BTreeMap::new();
    for (index, history) in containers.iter().enumerate() {
        let tags: Option<Vec<(u64, &str)>> = history
            .revisions
            .iter()
            .map(|(revision, image)| Some((*revision, image.tag.as_deref()?)))
            .collect();
        if let Some(tags) = tags {
            groups.entry(tags).or_default().push(index);
        }
    }
    let mut candidates = groups.into_iter().filter(|(tags, indices)| {
        let repositories: BTreeSet<&str> =
            indices.iter().map(|&index| containers[index].live.repository.as_str()).collect();
        let distinct_tags: BTreeSet<&str> = tags.iter().map(|(_, tag)| *tag).collect();
        repositories.len() >= 2 && distinct_tags.len() >= 2
    });
    match (candidates.next(), candidates.next()) {
        (Some((_, indices)), None) => indices,
        _ => Vec::new(),
    }
}

/// Whether a container that is no certain member moves with the group.
fn follows(history: &ContainerHistory, group: &[&ContainerHistory]) -> Verdict {
    if history.init && group.iter().any(|member| !member.repositories().is_disjoint(&history.repositories()))
    {
        return Verdict::Takes("init container of the application's image".to_owned());
    }
    let newest = history.revisions.keys().next_back().copied();
    let mut equal_revisions = 0;
    let mut undecided_revisions = 0;
    let mut differs_in_newest = false;
    for (&revision, own) in &history.revisions {
        let of_group: BTreeSet<&str> =
            group.iter().filter_map(|member| member.version_at(revision)).collect();
        if of_group.is_empty() {
            continue;
        }
        if !of_group.contains(own.version()) && Some(revision) == newest && equal_revisions > 0 {
            differs_in_newest = true;
        } else if !of_group.contains(own.version()) {
            return if moved_by_digest_only(history, group) {
                Verdict::Unclear(
                    "it is pinned by a digest that changes with the application's tag".to_owned(),
                )
            } else {
                Verdict::Keeps(DOES_NOT_MOVE.to_owned())
            };
        }
        if of_group.len() == 1 {
            equal_revisions += 1;
        } else {
            undecided_revisions += 1;
        }
    }
    if differs_in_newest {
        return Verdict::Unclear("its tag moved with the application's until the newest revision".to_owned());
    }
    if undecided_revisions == 0 && equal_revisions > 0 {
        return Verdict::Takes("its tag equals the application's in every revision".to_owned());
    }
    if history.revisions.is_empty() {
        return no_revisions(history, group);
    }
    Verdict::Unclear(
        "it never ran this tag, and the stored revisions do not show whether it moves with it".to_owned(),
    )
}

/// Without stored revisions only the present templates can tell, and only that a container is *not* like the group.
fn no_revisions(history: &ContainerHistory, group: &[&ContainerHistory]) -> Verdict {
    let group_now: BTreeSet<&str> = group.iter().map(|member| member.live.version()).collect();
    if !group_now.contains(history.live.version()) && history.past.iter().all(|image| *image == history.live)
    {
        Verdict::Keeps("it never ran this tag, and its image is not the application's".to_owned())
    } else {
        Verdict::Unclear("it never ran this tag".to_owned())
    }
}

/// Whether a digest took the place of the tag: it changed exactly where the group's tag changed, at least once.
fn moved_by_digest_only(history: &ContainerHistory, group: &[&ContainerHistory]) -> bool {
    if history.revisions.values().any(|image| image.tag.is_some()) {
        return false;
    }
    let Some(first) = group.first() else { return false };
    let changes = |images: &BTreeMap<u64, ImageReference>| -> BTreeSet<u64> {
        images
            .iter()
            .zip(images.iter().skip(1))
            .filter(|(a, b)| a.1.version() != b.1.version())
            .map(|(_, b)| *b.0)
            .collect()
    };
    let own = changes(&history.revisions);
    !own.is_empty() && own == changes(&first.revisions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{WorkloadKind, WorkloadRef};

    fn history(name: &str, images: &[&str]) -> ContainerHistory {
        let revisions: BTreeMap<u64, ImageReference> =
            (1..).zip(images.iter().map(|image| image.parse().unwrap())).collect();
        ContainerHistory {
            container: ContainerRef {
                workload: WorkloadRef {
                    kind: WorkloadKind::Deployment,
                    namespace: "n".into(),
                    name: name.into(),
                },
                container: name.into(),
            },
            init: false,
            live: revisions.values().last().unwrap().clone(),
            revisions,
            past: Vec::new(),
        }
    }

    fn takes(tag: &str, containers: &[ContainerHistory]) -> Vec<char> {
        letters(&decide(tag, containers, |_| None))
    }

    fn letters(verdicts: &[Verdict]) -> Vec<char> {
        verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Takes(_) => 'T',
                Verdict::Keeps(_) => 'K',
                Verdict::Unclear(_) => '?',
            })
            .collect()
    }

    const DIGEST_A: &str = "acme/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const DIGEST_B: &str = "acme/web@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn who_ran_the_tag_takes_it_and_a_bumped_redis_does_not() {
        let containers = [
            history("backend", &["acme/backend:one", "acme/backend:two", "acme/backend:crash"]),
            history("frontend", &["acme/frontend:one", "acme/frontend:two", "acme/frontend:missing"]),
            // Bumped once together with the services: still not one of them.
            history("redis", &["redis:7.2.4", "redis:7.2.5", "redis:7.2.5"]),
        ];
        assert_eq!(takes("one", &containers), ['T', 'T', 'K']);
        assert_eq!(takes("two", &containers), ['T', 'T', 'K']);
    }

    #[test]
    fn a_service_that_is_newer_than_the_tag_follows_if_it_always_moved_along() {
        let mut newcomer = history("newcomer", &["acme/newcomer:two", "acme/newcomer:three"]);
        newcomer.revisions =
            newcomer.revisions.into_iter().map(|(revision, image)| (revision + 1, image)).collect();
        let mut stranger = newcomer.clone();
        stranger.revisions.insert(3, "acme/newcomer:other".parse().unwrap());
        let backend = history("backend", &["acme/backend:one", "acme/backend:two", "acme/backend:three"]);
        assert_eq!(takes("one", &[backend.clone(), newcomer]), ['T', 'T']);
        assert_eq!(takes("one", &[backend, stranger]), ['T', '?']);
    }

    #[test]
    fn a_tag_that_never_ran_needs_one_group_that_has_moved() {
        let backend = history("backend", &["acme/backend:one", "acme/backend:two"]);
        let frontend = history("frontend", &["acme/frontend:one", "acme/frontend:two"]);
        let redis = history("redis", &["redis:7", "redis:7"]);
        let metrics = history("metrics", &["prom:7", "prom:7"]);
        assert_eq!(takes("new", &[backend.clone(), frontend.clone(), redis.clone()]), ['T', 'T', 'K']);
        // Two infrastructure containers that share a tag by chance have never moved: no group.
        assert_eq!(
            takes("new", &[backend.clone(), frontend.clone(), redis.clone(), metrics.clone()]),
            ['T', 'T', 'K', 'K']
        );
        // Nothing moved yet: unknown never admits.
        let single = |name: &str, image: &str| history(name, &[image]);
        assert_eq!(
            takes("new", &[single("a", "acme/a:1"), single("b", "acme/b:1"), single("redis", "redis:7")]),
            ['?', '?', '?']
        );
        assert_eq!(takes("new", &[backend, redis]), ['?', '?']);
    }

    #[test]
    fn tags_that_parted_in_the_broken_revision_only_are_asked_not_dropped() {
        let containers = [
            history("backend", &["acme/backend:one", "acme/backend:two", "acme/backend:crash"]),
            history("worker", &["acme/worker:one", "acme/worker:two", "acme/worker:missing"]),
            history("redis", &["redis:7", "redis:7", "redis:8"]),
        ];
        // Never ran: the two that moved together are asked, Redis is not.
        assert_eq!(takes("new", &containers), ['?', '?', 'K']);
        // One of them named: the other is still asked, never silently left behind.
        let verdicts = decide("new", &containers, |container| {
            (container.workload.name == "backend").then_some(Instruction::Take)
        });
        assert_eq!(letters(&verdicts), ['T', '?', 'K']);
    }

    #[test]
    fn what_the_operator_says_wins_and_decides_for_the_rest() {
        let containers = [
            history("backend", &["acme/backend:one", "acme/backend:two"]),
            history("worker", &["acme/worker:one", "acme/worker:two"]),
            history("redis", &["redis:7", "redis:7"]),
        ];
        let verdicts = decide("new", &containers, |container| {
            (container.workload.name == "backend").then_some(Instruction::Take)
        });
        assert_eq!(letters(&verdicts), ['T', 'T', 'K']);
        let verdicts = decide("one", &containers, |container| {
            (container.workload.name == "worker").then_some(Instruction::Keep)
        });
        assert_eq!(letters(&verdicts), ['T', 'K', 'K']);
    }

    #[test]
    fn init_containers_of_the_image_move_along() {
        let mut migrate = history("migrate", &["acme/backend:zero", "acme/backend:other"]);
        migrate.init = true;
        let mut wait = history("wait", &["busybox:1", "busybox:1"]);
        wait.init = true;
        let backend = history("backend", &["acme/backend:one", "acme/backend:two"]);
        assert_eq!(takes("one", &[backend, migrate, wait]), ['T', 'T', 'K']);
    }

    #[test]
    fn digests() {
        let backend = history("backend", &["acme/backend:one", "acme/backend:two"]);
        let pinned_infrastructure = history("redis", &[DIGEST_A, DIGEST_A]);
        let moving = history("web", &[DIGEST_A, DIGEST_B]);
        assert_eq!(takes("one", &[backend, pinned_infrastructure, moving]), ['T', 'K', '?']);
    }

    #[test]
    fn replica_sets_are_evidence_where_there_are_no_records() {
        let mut backend = history("backend", &["acme/backend:two"]);
        backend.revisions.clear();
        backend.past = vec!["acme/backend:one".parse().unwrap()];
        let mut redis = history("redis", &["redis:7"]);
        redis.revisions.clear();
        let mut other = history("other", &["acme/other:two"]);
        other.revisions.clear();
        assert_eq!(takes("one", &[backend, redis, other]), ['T', 'K', '?']);
    }
}
