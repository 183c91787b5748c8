//! What a diagnosis has to remember between two looks at the cluster: since when a condition holds, and what a
//! kubelet said before it said something less useful.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::event::DiagnosisCode;

/// A container of one pod; the container is empty for the pod itself.
type Place = (String, String);

/// The memory of one workload. Times are durations since the wait began, by a clock that never jumps; the
/// cluster's own clocks are never compared with ours.
#[derive(Debug, Default)]
pub struct FirstSeen {
    /// Since when each condition holds without a break, and in which round it was last seen.
    conditions: HashMap<(Place, DiagnosisCode), (Duration, u64)>,
    round: u64,
    pulls: HashMap<Place, Pull>,
    /// Restarts that a container had when it was first seen: older ones say nothing about the target.
    restarts: HashMap<Place, i32>,
    last_terminating: Option<Duration>,
    deadline: Option<DeadlineCondition>,
}

#[derive(Debug, Default)]
struct Pull {
    message: Option<String>,
    failures: u32,
    is_failing: bool,
}

#[derive(Debug)]
struct DeadlineCondition {
    stamp: String,
    is_inherited: bool,
}

impl FirstSeen {
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Forgets conditions that no longer hold and pods that are gone.
    pub(super) fn finish(&mut self, pods: &HashSet<&str>) {
        let round = self.round;
        self.conditions.retain(|_, (_, seen)| *seen == round);
        self.pulls.retain(|(uid, _), _| pods.contains(uid.as_str()));
        self.restarts.retain(|(uid, _), _| pods.contains(uid.as_str()));
    }

    /// How long the condition has held.
    pub(super) fn age(&mut self, uid: &str, container: &str, code: DiagnosisCode, now: Duration) -> Duration {
        let round = self.round;
        let entry =
            self.conditions.entry(((uid.to_owned(), container.to_owned()), code)).or_insert((now, round));
        entry.1 = round;
        now.saturating_sub(entry.0)
    }

    /// Notes what a container waits for. `ErrImagePull` carries the registry's answer, the `ImagePullBackOff`
    /// that follows it does not always: the last answer is kept.
    pub(super) fn note_pull(&mut self, uid: &str, container: &str, failed_now: bool, message: Option<&str>) {
        let pull = self.pulls.entry((uid.to_owned(), container.to_owned())).or_default();
        if failed_now && !pull.is_failing {
            pull.failures += 1;
        }
        pull.is_failing = failed_now;
        if let Some(message) = message {
            pull.message = Some(message.to_owned());
        }
    }

    /// The registry's last answer, and how often we saw the pull fail.
    pub(super) fn pull(&self, uid: &str, container: &str) -> (Option<&str>, u32) {
        self.pulls
            .get(&(uid.to_owned(), container.to_owned()))
            .map_or((None, 0), |pull| (pull.message.as_deref(), pull.failures))
    }

    /// How many of `restarts` happened under our eyes.
    pub(super) fn restarts_since_first_seen(&mut self, uid: &str, container: &str, restarts: i32) -> i32 {
        let first = self.restarts.entry((uid.to_owned(), container.to_owned())).or_insert(restarts);
        restarts - *first
    }

    pub(super) fn note_terminating(&mut self, now: Duration) {
        self.last_terminating = Some(now);
    }

    /// How long ago the last pod on its way out was seen; `None` when there was none.
    pub(super) fn since_last_terminating(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.last_terminating?))
    }

    /// Whether an exceeded progress deadline is left over from the rollout before ours: it stood there when the
    /// Deployment was first looked at and has not been written since. `stamp` is its `lastUpdateTime`.
    pub(super) fn deadline_is_inherited(&mut self, stamp: &str, is_first_look: bool) -> bool {
        match &mut self.deadline {
            Some(known) if known.stamp == stamp => known.is_inherited,
            _ => {
                self.deadline =
                    Some(DeadlineCondition { stamp: stamp.to_owned(), is_inherited: is_first_look });
                is_first_look
            }
        }
    }

    /// Whether this is the first round.
    pub(super) fn is_first_look(&self) -> bool {
        self.round <= 1
    }
}
