//! Keeps what a diagnosis needs to see current: the workloads that are waited for, their pods, their ReplicaSets
//! and the warnings of the namespace. Several watches run side by side, each of them on its own guard
//! (`follow.rs`); memory stays small, because whatever does not belong to a waited workload is dropped on
//! arrival, and the rest is cut down to what the rules read.

mod events;
mod follow;
mod outages;
mod pods;
#[cfg(test)]
mod tests;

pub use pods::Pods;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::events::{EventSource, Events};
use self::follow::{Collection, Sink, Trouble, Update};
use self::outages::Outages;
use super::diagnosis::EventNote;
use super::ownership::{REVISION_ANNOTATION, TargetReplicaSet, candidate_owner};
use crate::workload::{WorkloadKind, WorkloadRef};

/// Updates that wait to be applied; the watches slow down when there are more.
const QUEUE: usize = 256;
/// Patience for one page of a fresh read.
const READ_PATIENCE: Duration = Duration::from_secs(10);

enum Change {
    Workloads(WorkloadKind, Update<DynamicObject>),
    Pods(Update<Pod>),
    ReplicaSets(Update<PartialObjectMeta<ReplicaSet>>),
    Events(EventSource, Update<Event>),
}

/// What a collection is called in notices.
fn name_of(change: &Change) -> &'static str {
    match change {
        Change::Workloads(WorkloadKind::Deployment, _) => "deployments",
        Change::Workloads(WorkloadKind::StatefulSet, _) => "statefulsets",
        Change::Workloads(WorkloadKind::DaemonSet, _) => "daemonsets",
        Change::Workloads(WorkloadKind::CronJob, _) => "cronjobs",
        Change::Pods(_) => "pods",
        Change::ReplicaSets(_) => "replicasets",
        Change::Events(..) => "events",
    }
}

#[derive(Debug)]
struct ReplicaSetNote {
    deployment: String,
    deployment_uid: String,
    revision: String,
}

/// The current state of some workloads of one namespace.
pub struct Watched {
    client: Client,
    namespace: String,
    wanted: BTreeSet<WorkloadRef>,
    changes: mpsc::Receiver<Change>,
    followers: FuturesUnordered<BoxFuture<'static, ()>>,
    workloads: BTreeMap<WorkloadRef, Value>,
    pods: BTreeMap<WorkloadRef, BTreeMap<String, Pod>>,
    pods_are_listed: bool,
    replica_sets: HashMap<String, ReplicaSetNote>,
    replica_sets_are_refused: bool,
    events: Events,
    outages: Outages,
}

impl Watched {
    /// Begins to watch. Nothing is read before [`Watched::changed`] is polled.
    pub fn new(client: &Client, namespace: &str, workloads: &[WorkloadRef], started_at: Timestamp) -> Self {
        let (sender, changes) = mpsc::channel(QUEUE);
        let mut watched = Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            wanted: workloads.iter().cloned().collect(),
            changes,
            followers: FuturesUnordered::new(),
            workloads: BTreeMap::new(),
            pods: BTreeMap::new(),
            pods_are_listed: false,
            replica_sets: HashMap::new(),
            replica_sets_are_refused: false,
            events: Events::since(started_at),
            outages: Outages::default(),
        };
        for kind in watched.kinds() {
            let collection = watched.workloads_of(kind);
            watched.follow(collection, &sender, move |update| Change::Workloads(kind, update));
        }
        let pods = Collection {
            api: Api::namespaced(client.clone(), namespace),
            field_selector: None,
            label_selector: None,
            slim: slim_pod,
        };
        watched.follow(pods, &sender, Change::Pods);
        if watched.kinds().contains(&WorkloadKind::Deployment) {
            let replica_sets = Collection {
                api: Api::<PartialObjectMeta<ReplicaSet>>::namespaced(client.clone(), namespace),
                field_selector: None,
                label_selector: None,
                slim: |object| object.metadata.managed_fields = None,
            };
            watched.follow(replica_sets, &sender, Change::ReplicaSets);
        }
        for (source, selector) in
            [(EventSource::Warnings, "type=Warning"), (EventSource::ScaleUps, "reason=TriggeredScaleUp")]
        {
            let events = Collection {
                api: Api::namespaced(client.clone(), namespace),
                label_selector: None,
                field_selector: Some(selector.to_owned()),
                slim: |event: &mut Event| event.metadata.managed_fields = None,
            };
            watched.follow(events, &sender, move |update| Change::Events(source, update));
        }
        watched
    }

    fn kinds(&self) -> BTreeSet<WorkloadKind> {
        self.wanted.iter().map(|workload| workload.kind).collect()
    }

    fn workloads_of(&self, kind: WorkloadKind) -> Collection<DynamicObject> {
        Collection {
            api: Api::namespaced_with(self.client.clone(), &self.namespace, &kind.api_resource()),
            field_selector: None,
            label_selector: None,
            slim: |object| object.metadata.managed_fields = None,
        }
    }

    fn follow<K>(
        &mut self,
        collection: Collection<K>,
        sender: &mpsc::Sender<Change>,
        wrap: impl Fn(Update<K>) -> Change + Send + Sync + 'static,
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Send + Sync,
    {
        let sender = sender.clone();
        self.followers.push(collection.follow(Sink { sender, wrap }).boxed());
    }

    /// Waits until something has changed and applies it, with everything else that is already there. Can be
    /// dropped and called again at any time without losing anything.
    pub async fn changed(&mut self) {
        let first = loop {
            tokio::select! {
                biased;
                Some(change) = self.changes.recv() => break change,
                Some(()) = self.followers.next() => {}
                else => std::future::pending().await,
            }
        };
        self.apply(first);
        while let Ok(change) = self.changes.try_recv() {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        let name = name_of(&change);
        let trouble = match change {
            Change::Workloads(kind, update) => self.apply_workloads(kind, update),
            Change::Pods(update) => self.apply_pods(update),
            Change::ReplicaSets(update) => self.apply_replica_sets(update),
            Change::Events(source, update) => {
                let wanted = &self.wanted;
                self.events.apply(source, update, |name| {
                    wanted.iter().any(|workload| name.starts_with(&workload.name))
                })
            }
        };
        match trouble {
            None => self.outages.heard_of(name),
            Some(trouble) => self.outages.trouble_with(name, trouble),
        }
    }

    /// Up to when what is known can be believed; see `Outages::known_until`.
    pub fn known_until(&self) -> Instant {
        self.outages.known_until()
    }

    /// Sentences about collections that cannot be read, or can be read again, each told once.
    pub fn notices(&mut self) -> Vec<String> {
        self.outages.notices()
    }

    fn apply_workloads(&mut self, kind: WorkloadKind, update: Update<DynamicObject>) -> Option<Trouble> {
        let reference = |object: &DynamicObject| WorkloadRef {
            kind,
            namespace: self.namespace.clone(),
            name: object.name_any(),
        };
        match update {
            Update::Listed(objects) => {
                let found: Vec<(WorkloadRef, Value)> = objects
                    .into_iter()
                    .map(|object| (reference(&object), object))
                    .filter(|(workload, _)| self.wanted.contains(workload))
                    .filter_map(|(workload, object)| Some((workload, serde_json::to_value(object).ok()?)))
                    .collect();
                self.workloads.retain(|workload, _| workload.kind != kind);
                self.workloads.extend(found);
            }
            Update::Changed(object) => {
                let workload = reference(&object);
                if self.wanted.contains(&workload)
                    && let Ok(value) = serde_json::to_value(object)
                {
                    self.workloads.insert(workload, value);
                }
            }
            Update::Removed(object) => {
                let workload = reference(&object);
                self.workloads.remove(&workload);
            }
            Update::Trouble(trouble) => return Some(trouble),
        }
        None
    }

    /// The waited workload that the pod belongs to.
    fn owner_of(&self, pod: &Pod) -> Option<WorkloadRef> {
        let (kind, name) = candidate_owner(pod)?;
        let owner = WorkloadRef { kind, namespace: self.namespace.clone(), name: name.to_owned() };
        self.wanted.contains(&owner).then_some(owner)
    }

    fn apply_pods(&mut self, update: Update<Pod>) -> Option<Trouble> {
        match update {
            Update::Listed(pods) => {
                self.pods.clear();
                self.pods_are_listed = true;
                for pod in pods {
                    self.insert_pod(pod);
                }
            }
            Update::Changed(pod) => self.insert_pod(*pod),
            Update::Removed(pod) => {
                if let Some(pods) = self.owner_of(&pod).and_then(|owner| self.pods.get_mut(&owner)) {
                    pods.remove(&pod.name_any());
                }
            }
            Update::Trouble(trouble) => return Some(trouble),
        }
        None
    }

    fn insert_pod(&mut self, pod: Pod) {
        if let Some(owner) = self.owner_of(&pod) {
            self.pods.entry(owner).or_default().insert(pod.name_any(), pod);
        }
    }

    fn apply_replica_sets(&mut self, update: Update<PartialObjectMeta<ReplicaSet>>) -> Option<Trouble> {
        match update {
            Update::Listed(objects) => {
                self.replica_sets_are_refused = false;
                self.replica_sets.clear();
                self.replica_sets.extend(objects.iter().filter_map(replica_set_note));
            }
            Update::Changed(object) => self.replica_sets.extend(replica_set_note(&object)),
            Update::Removed(object) => {
                self.replica_sets.remove(&object.name_any());
            }
            Update::Trouble(trouble) => {
                self.replica_sets_are_refused |= trouble.is_refusal;
                return Some(trouble);
            }
        }
        None
    }

    /// The workload as it was last seen.
    pub fn workload(&self, workload: &WorkloadRef) -> Option<&Value> {
        self.workloads.get(workload)
    }

    /// The pods of the workload, of whatever revision, in the order of their names.
    pub fn pods_of(&self, workload: &WorkloadRef) -> Vec<&Pod> {
        self.pods.get(workload).into_iter().flat_map(BTreeMap::values).collect()
    }

    /// Whether the pods have been read at least once.
    pub fn knows_pods(&self) -> bool {
        self.pods_are_listed
    }

    /// The ReplicaSet of the workload's newest template: the one with the Deployment's own revision number.
    pub fn replica_set_of(&self, workload: &WorkloadRef) -> TargetReplicaSet<'_> {
        if self.replica_sets_are_refused || workload.kind != WorkloadKind::Deployment {
            return TargetReplicaSet::Unreadable;
        }
        let Some(object) = self.workload(workload) else {
            return TargetReplicaSet::NotYet;
        };
        let metadata = &object["metadata"];
        let uid = metadata["uid"].as_str().unwrap_or_default();
        let Some(revision) = metadata["annotations"][REVISION_ANNOTATION].as_str() else {
            return TargetReplicaSet::NotYet;
        };
        self.replica_sets
            .iter()
            .find(|(_, note)| {
                note.deployment == workload.name && note.deployment_uid == uid && note.revision == revision
            })
            .map_or(TargetReplicaSet::NotYet, |(name, _)| TargetReplicaSet::Known(name))
    }

    /// Events about the workload, its ReplicaSets and its pods.
    pub fn events_of(&self, workload: &WorkloadRef) -> Vec<&EventNote> {
        let pods = self.pods.get(workload);
        self.events
            .kept()
            .filter(|note| match note.kind.as_str() {
                "Pod" => pods.is_some_and(|pods| pods.contains_key(&note.name)),
                "ReplicaSet" => {
                    workload.kind == WorkloadKind::Deployment
                        && note
                            .name
                            .strip_prefix(workload.name.as_str())
                            .and_then(|rest| rest.strip_prefix('-'))
                            .is_some_and(|hash| !hash.contains('-'))
                }
                kind => kind == workload.kind.as_str() && note.name == workload.name,
            })
            .collect()
    }

    /// Reads the workloads afresh, past every watch.
    ///
    /// # Errors
    /// What the API server or the network said.
    pub async fn read_again(&mut self) -> Result<(), String> {
        for kind in self.kinds() {
            let (objects, _) =
                self.workloads_of(kind).list(READ_PATIENCE).await.map_err(|trouble| trouble.message)?;
            self.apply(Change::Workloads(kind, Update::Listed(objects)));
        }
        Ok(())
    }
}

fn replica_set_note(object: &PartialObjectMeta<ReplicaSet>) -> Option<(String, ReplicaSetNote)> {
    let owner = object.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "Deployment")?;
    let revision = object.annotations().get(REVISION_ANNOTATION)?.clone();
    let note = ReplicaSetNote { deployment: owner.name.clone(), deployment_uid: owner.uid.clone(), revision };
    Some((object.name_any(), note))
}

/// Cuts a pod down to what the rules read: a thousand of them are kept. Environments may hold secrets as well.
fn slim_pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes = None;
    spec.tolerations = None;
    spec.affinity = None;
    let init = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init) {
        container.env = None;
        container.env_from = None;
        container.args = None;
        container.volume_mounts = None;
        container.lifecycle = None;
        container.security_context = None;
    }
}
