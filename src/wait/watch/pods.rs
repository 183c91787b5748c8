//! The pods of one workload alone, for the stop barrier.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use super::follow::{Collection, Sink, Update};
use super::slim_pod;
use crate::wait::ownership::looks_owned;
use crate::workload::WorkloadRef;

/// The pods that belong to one workload, kept current.
pub struct Pods {
    workload: WorkloadRef,
    updates: mpsc::Receiver<Update<Pod>>,
    follower: BoxFuture<'static, ()>,
    known: BTreeMap<String, Pod>,
    is_listed: bool,
    trouble: Option<String>,
}

impl Pods {
    /// Begins to watch; the selector, where there is one, keeps other pods from being sent at all. Nothing is read before [`Pods::changed`] is polled.
    pub fn of(client: &Client, workload: &WorkloadRef, label_selector: Option<String>) -> Self {
        let (sender, updates) = mpsc::channel(super::QUEUE);
        let collection = Collection {
            api: Api::namespaced(client.clone(), &workload.namespace),
            field_selector: None,
            label_selector,
            slim: slim_pod,
        };
        Self {
            workload: workload.clone(),
            updates,
            follower: collection.follow(Sink { sender, wrap: |update| update }).boxed(),
            known: BTreeMap::new(),
            is_listed: false,
            trouble: None,
        }
    }

    /// Waits for the next change and applies it, with everything else that is already there.
    pub async fn changed(&mut self) {
        let first = tokio::select! {
            biased;
            Some(update) = self.updates.recv() => update,
            () = &mut self.follower => std::future::pending().await,
        };
        self.apply(first);
        while let Ok(update) = self.updates.try_recv() {
            self.apply(update);
        }
    }

    fn apply(&mut self, update: Update<Pod>) {
        self.trouble = None;
        match update {
            Update::Listed(pods) => {
                self.is_listed = true;
                self.known.clear();
                for pod in pods {
                    self.insert(pod);
                }
            }
            Update::Changed(pod) => self.insert(*pod),
            Update::Removed(pod) => {
                self.known.remove(&pod.name_any());
            }
            Update::Trouble(trouble) => self.trouble = Some(trouble.message),
        }
    }

    fn insert(&mut self, pod: Pod) {
        if looks_owned(&self.workload, &pod) {
            self.known.insert(pod.name_any(), pod);
        }
    }

    /// The pods by name.
    pub fn known(&self) -> &BTreeMap<String, Pod> {
        &self.known
    }

    /// Whether they have been read at least once.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Why they cannot be read at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
