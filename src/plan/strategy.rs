//! How each workload is changed (design D3): stop only what is already down, unless told otherwise, and never stop
//! what would lose its volumes.

use serde::{Deserialize, Serialize};

use crate::discover::Workload;
use crate::workload::WorkloadKind;

/// How one workload is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One write of the image; Kubernetes replaces the pods.
    Rolling,
    /// Scale to zero (suspend, for a CronJob), wait, one write of image and replicas.
    StopFirst,
}

impl Strategy {
    /// The name as it stands in JSON and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::StopFirst => "stop-first",
        }
    }
}

/// What the operator asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// Decide per workload.
    #[default]
    Auto,
    /// Roll everything.
    Rolling,
    /// Stop everything first.
    StopFirst,
}

/// A strategy with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The strategy.
    pub strategy: Strategy,
    /// Why this one, for the plan.
    pub why: String,
    /// Whether broken pods of the old revision must be deleted after the write, because the controller waits for
    /// them (a StatefulSet never replaces a broken pod by itself).
    pub unstick: bool,
    /// Why it cannot be done at all, and what would help.
    pub obstacle: Option<(String, String)>,
    /// Something that the operator should know before agreeing.
    pub warning: Option<String>,
}

impl Choice {
    fn new(strategy: Strategy, why: impl Into<String>) -> Self {
        Self { strategy, why: why.into(), unstick: false, obstacle: None, warning: None }
    }
}

/// Chooses the strategy for one workload.
pub fn choose(wish: Wish, workload: &Workload) -> Choice {
    let mut choice = match workload.reference.kind {
        WorkloadKind::Deployment => deployment(wish, workload),
        WorkloadKind::StatefulSet => stateful_set(wish, workload),
        WorkloadKind::DaemonSet => Choice::new(Strategy::Rolling, "a DaemonSet cannot be scaled"),
        WorkloadKind::CronJob => {
            Choice::new(Strategy::StopFirst, "suspended while its image is swapped; running Jobs go on")
        }
    };
    choice.obstacle = obstacle(workload, choice.strategy);
    choice
}

fn deployment(wish: Wish, workload: &Workload) -> Choice {
    let ready = workload.ready_pods();
    match (wish, workload.replicas) {
        (_, Some(0)) => Choice::new(Strategy::Rolling, "it has no pods"),
        (Wish::Rolling, _) => Choice::new(Strategy::Rolling, "asked for"),
        (Wish::StopFirst, _) => Choice::new(Strategy::StopFirst, "asked for"),
        (Wish::Auto, _) if ready > 0 => Choice::new(
            Strategy::Rolling,
            if ready == 1 { "1 pod is Ready".to_owned() } else { format!("{ready} pods are Ready") },
        ),
        (Wish::Auto, _) => Choice::new(Strategy::StopFirst, "no pod is Ready"),
    }
}

fn stateful_set(wish: Wish, workload: &Workload) -> Choice {
    let unready = workload.live_pods().filter(|pod| !pod.ready).count();
    let rolls_with_broken_pods =
        |why: &str| Choice { unstick: unready > 0, ..Choice::new(Strategy::Rolling, why) };
    if wish == Wish::StopFirst && workload.replicas != Some(0) {
        if workload.volumes_deleted_when_scaled {
            return Choice {
                warning: Some("it is rolled although stop-first was asked for: scaling it down would delete its volumes".to_owned()),
                ..rolls_with_broken_pods("scaling it down would delete its volumes")
            };
        }
        if workload.ordered && unready > 1 {
            return Choice {
                warning: Some(format!(
                    "it is rolled although stop-first was asked for: with {unready} unready pods an ordered StatefulSet does not scale down"
                )),
                ..rolls_with_broken_pods(
                    "an ordered StatefulSet with several unready pods does not scale down",
                )
            };
        }
        return Choice::new(Strategy::StopFirst, "asked for");
    }
    if unready > 0 {
        rolls_with_broken_pods(
            "its broken pods are deleted after the write, because a StatefulSet does not replace them by itself",
        )
    } else {
        Choice::new(Strategy::Rolling, "its pods are replaced one by one")
    }
}

fn obstacle(workload: &Workload, strategy: Strategy) -> Option<(String, String)> {
    let reference = &workload.reference;
    if workload.paused {
        return Some((
            format!("{reference} is paused: a new image starts no pods"),
            format!(
                "kubectl -n {} rollout resume {reference}, or --exclude {reference}",
                reference.namespace
            ),
        ));
    }
    // Also after a stop: pods below the partition start from the old revision again.
    if workload.partition > 0 {
        return Some((
            format!(
                "{reference} is partitioned at {}: pods below that ordinal would keep the old image",
                workload.partition
            ),
            format!("set its partition to 0, or --exclude {reference}"),
        ));
    }
    if workload.on_delete && strategy == Strategy::Rolling {
        return Some((
            format!(
                "{reference} has update strategy OnDelete: its pods keep the old image until somebody deletes them"
            ),
            format!(
                "--strategy stop-first (a StatefulSet), delete the pods by hand afterwards, or --exclude {reference}"
            ),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::workload::PodSummary;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn pod(ready: bool) -> PodSummary {
        PodSummary {
            name: "p".into(),
            uid: "u".into(),
            ready,
            terminating: false,
            finished: false,
            grace_seconds: 30,
            images: BTreeMap::new(),
            controller: None,
            template_hash: None,
            revision_hash: None,
        }
    }

    fn workload(kind: WorkloadKind, spec: &serde_json::Value, pods: &[bool]) -> Workload {
        let object = json!({"apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": "x", "namespace": "n"}, "spec": spec});
        let mut workload = Workload::read(kind, &serde_json::from_value(object).unwrap());
        workload.pods = pods.iter().map(|&ready| pod(ready)).collect();
        workload
    }

    #[test]
    fn auto_stops_only_what_is_down() {
        let spec = json!({"replicas": 2});
        for (pods, strategy) in [
            (&[true, true][..], Strategy::Rolling),
            (&[true, false], Strategy::Rolling),
            (&[false, false], Strategy::StopFirst),
            (&[], Strategy::StopFirst),
        ] {
            let choice = choose(Wish::Auto, &workload(WorkloadKind::Deployment, &spec, pods));
            assert_eq!(choice.strategy, strategy, "{pods:?}");
        }
        let at_zero = workload(WorkloadKind::Deployment, &json!({"replicas": 0}), &[]);
        assert_eq!(choose(Wish::StopFirst, &at_zero).strategy, Strategy::Rolling);
    }

    #[test]
    fn volumes_are_never_scaled_away() {
        let spec = json!({"replicas": 1, "volumeClaimTemplates": [{}], "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}});
        let choice = choose(Wish::StopFirst, &workload(WorkloadKind::StatefulSet, &spec, &[true]));
        assert_eq!(choice.strategy, Strategy::Rolling);
        assert!(choice.warning.unwrap().contains("volumes"));
        let kept = json!({"replicas": 1, "volumeClaimTemplates": [{}]});
        let choice = choose(Wish::StopFirst, &workload(WorkloadKind::StatefulSet, &kept, &[true]));
        assert_eq!(choice.strategy, Strategy::StopFirst);
    }

    #[test]
    fn broken_pods_of_stateful_sets_are_unstuck() {
        let ordered = json!({"replicas": 2});
        let choice = choose(Wish::Auto, &workload(WorkloadKind::StatefulSet, &ordered, &[true, false]));
        assert!(choice.unstick && choice.strategy == Strategy::Rolling);
        let choice = choose(Wish::StopFirst, &workload(WorkloadKind::StatefulSet, &ordered, &[false, false]));
        assert!(choice.unstick && choice.strategy == Strategy::Rolling);
        let choice = choose(Wish::StopFirst, &workload(WorkloadKind::StatefulSet, &ordered, &[false]));
        assert_eq!(choice.strategy, Strategy::StopFirst);
    }

    #[test]
    fn obstacles_name_the_way_out() {
        let paused = workload(WorkloadKind::Deployment, &json!({"replicas": 1, "paused": true}), &[true]);
        let (message, hint) = choose(Wish::Auto, &paused).obstacle.unwrap();
        assert!(message.contains("paused") && hint.contains("rollout resume deploy/x"));
        let partitioned = json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        assert!(
            choose(Wish::Auto, &workload(WorkloadKind::StatefulSet, &partitioned, &[true]))
                .obstacle
                .is_some()
        );
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        assert!(
            choose(Wish::Auto, &workload(WorkloadKind::DaemonSet, &on_delete, &[true])).obstacle.is_some()
        );
        assert!(
            choose(Wish::Auto, &workload(WorkloadKind::Deployment, &json!({}), &[true])).obstacle.is_none()
        );
    }
}
