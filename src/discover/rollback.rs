//! What a rollback to a stored revision rests on: the target and every newer revision, the objects that they speak of as
//! they are in the cluster, the workloads among them. Bodies of records are read newest-down, and only until the target is
//! found (design D11).

mod target;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kube::Client;
use kube::core::ApiResource;
use serde_json::Value;

use super::apis::Apis;
use super::cluster::{self, NamespaceState};
use super::object;
use super::owners;
use super::run::DiscoverError;
use super::{Owner, Workload};
use crate::context::Context;
use crate::helm::hooks;
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::storage::{Driver, Storage, StoredRecord};
use crate::plan::fields;
use crate::plan::rollback::HOOK_EVENTS;
use crate::plan::rollback::objects::{self, ObjectHistory};
use crate::workload::WorkloadRef;
use target::{Line, choose};

pub use target::{Choice, ChosenBy, RollbackError, Wanted};

/// The field manager of Helm's command line.
const DEFAULT_WRITER: &str = "helm";

/// One object of the target or of a newer revision, as it is in the cluster.
#[derive(Debug, Clone)]
pub struct FoundObject {
    /// What the revisions say.
    pub history: ObjectHistory,
    /// Its resource.
    pub resource: ApiResource,
    /// The object as it is, managed fields included; `None` where it does not exist.
    pub live: Option<Value>,
}

/// Everything that planning a rollback needs.
#[derive(Debug, Clone)]
pub struct RollbackSnapshot {
    /// The release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Every record's metadata, newest first.
    pub metas: Vec<RecordMeta>,
    /// The newest record that can be read.
    pub current: StoredRecord,
    /// The target.
    pub target: StoredRecord,
    /// How it was chosen.
    pub choice: Choice,
    /// The objects: the target's in its order, then what only newer revisions have.
    pub objects: Vec<FoundObject>,
    /// What the API server serves of the kinds that the revisions speak of.
    pub apis: Apis,
    /// Why the target's manifest cannot be applied.
    pub obstacles: Vec<String>,
    /// The workloads of the namespaces that the target has workloads in.
    pub workloads: Vec<Workload>,
    /// Controllers that would undo us.
    pub owners: Vec<Owner>,
    /// What could not be read, and what follows from that.
    pub warnings: Vec<String>,
}

impl RollbackSnapshot {
    /// The workload of that name, if it was found.
    pub fn workload(&self, reference: &WorkloadRef) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.reference == *reference)
    }
}

impl RollbackSnapshot {
    /// The workloads that revisions of the release speak of.
    pub fn of_release(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.iter().filter(|workload| {
            self.objects.iter().any(|found| {
                let key = &found.history.key;
                key.kind == workload.reference.kind.as_str()
                    && key.name == workload.reference.name
                    && key.namespace.as_deref() == Some(workload.reference.namespace.as_str())
            })
        })
    }

    /// The field manager of whoever deploys this release: the one that most of its objects name, `helm` where none does.
    pub fn writer(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for live in self.objects.iter().filter_map(|found| found.live.as_ref()) {
            let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
            if let Some(writer) = fields::release_writer(entries.map_or(&[][..], Vec::as_slice)) {
                *counts.entry(writer).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by_key(|(name, count)| (*count, name == DEFAULT_WRITER));
        most.map_or_else(|| DEFAULT_WRITER.to_owned(), |(name, _)| name)
    }

    /// An object as it is in the cluster, managed fields included.
    pub fn live(&self, key: &objects::ObjectKey) -> Option<&Value> {
        self.objects.iter().find(|found| found.history.key == *key)?.live.as_ref()
    }

    /// What the target says of an object, with the marks of this release.
    pub fn with_marks(&self, found: &FoundObject) -> Option<Value> {
        let target = found.history.target.as_ref()?;
        Some(objects::with_ownership(target, &self.name, &self.namespace))
    }
}

/// Reads everything.
pub async fn read(
    context: &Context,
    name: &str,
    wanted: &Wanted,
    driver: Driver,
) -> Result<RollbackSnapshot, RollbackError> {
    let namespace = context.namespace.clone();
    let storage = Storage::new(context.client.clone(), &namespace, driver);
    let state = async {
        cluster::read(&context.client, &namespace, None)
            .await
            .map_err(|source| DiscoverError::Workloads { namespace: namespace.clone(), source })
    };
    let records = async {
        let mut metas = storage.list(name).await?;
        metas.retain(|meta| wanted.below.is_none_or(|limit| meta.revision < limit));
        if metas.is_empty() {
            let (namespace, name) = (namespace.clone(), name.to_owned());
            return Err(DiscoverError::NoSuchRelease { namespace, name }.into());
        }
        let line = choose(&storage, name, &metas, wanted).await?;
        Ok::<_, RollbackError>((metas, line))
    };
    let (state, records) = futures::join!(state, records);
    let (metas, line) = records?;
    assemble(context, state?, name.to_owned(), metas, line).await
}

async fn assemble(
    context: &Context,
    state: NamespaceState,
    name: String,
    metas: Vec<RecordMeta>,
    mut line: Line,
) -> Result<RollbackSnapshot, RollbackError> {
    let client = &context.client;
    let namespace = &context.namespace;
    let manifests: Vec<Manifest> =
        line.records.iter().map(|stored| Manifest::parse(stored.record.manifest(), namespace)).collect();
    let mut versions: BTreeSet<String> = manifests.iter().flat_map(objects::api_versions).collect();
    versions.extend(line.records.last().into_iter().flat_map(|target| versions_of_hooks(&target.record)));
    let apis = Apis::read(client, versions.iter().map(String::as_str)).await;
    let mut warnings = state.warnings;
    for (revision, why) in &line.unreadable {
        warnings.push(format!(
            "revision {revision} cannot be read, so what only it created cannot be found: {why}"
        ));
    }
    let (target_manifest, newer_manifests) =
        manifests.split_last().expect("a line of revisions ends with its target");
    let (target_objects, problems) = objects::rendered(target_manifest, namespace, &apis);
    let obstacles = problems.iter().map(ToString::to_string).collect();
    let mut newer = Vec::new();
    for (stored, manifest) in line.records.iter().zip(newer_manifests) {
        let (found, problems) = objects::rendered(manifest, namespace, &apis);
        newer.push(found);
        for problem in problems {
            warnings.push(format!(
                "revision {}: {problem}; what of it is still there stays",
                stored.meta.revision
            ));
        }
    }
    let histories = objects::histories(&target_objects, &newer);
    let objects = read_objects(client, &apis, histories)
        .await
        .map_err(|source| DiscoverError::Workloads { namespace: namespace.clone(), source })?;
    let mut workloads = state.workloads;
    workloads.extend(workloads_elsewhere(client, namespace, &target_objects, &mut warnings).await);
    let owners = owners::find(client, state.apis, &workloads).await;
    let target = line.records.pop().expect("a line of revisions ends with its target");
    let current = line.records.into_iter().next().unwrap_or_else(|| target.clone());
    Ok(RollbackSnapshot {
        name,
        namespace: namespace.clone(),
        metas,
        current,
        target,
        choice: line.choice,
        objects,
        apis,
        obstacles,
        workloads,
        owners,
        warnings,
    })
}

/// The versions of the APIs that the hooks of a rollback use.
fn versions_of_hooks(target: &Record) -> Vec<String> {
    let hooks = HOOK_EVENTS.iter().flat_map(|event| hooks::of_event(target, event).unwrap_or_default());
    let version = |object: Value| object["apiVersion"].as_str().map(str::to_owned);
    hooks.flat_map(|hook| hook.objects).filter_map(version).collect()
}

async fn read_objects(
    client: &Client,
    apis: &Apis,
    histories: Vec<ObjectHistory>,
) -> Result<Vec<FoundObject>, kube::Error> {
    let reads = histories.into_iter().filter_map(|history| {
        let (resource, _) = apis.resolve(&history.api_version, &history.key.kind)?;
        Some(async move {
            let namespace = history.key.namespace.as_deref();
            let live = object::read(client, &resource, namespace, &history.key.name).await?;
            Ok(FoundObject { history, resource, live })
        })
    });
    join_all(reads).await.into_iter().collect()
}

/// Workloads that the target has in other namespaces than the release's.
async fn workloads_elsewhere(
    client: &Client,
    namespace: &str,
    target: &[objects::Rendered],
    warnings: &mut Vec<String>,
) -> Vec<Workload> {
    let elsewhere: BTreeSet<&str> = target
        .iter()
        .filter(|object| crate::workload::WorkloadKind::from_api(&object.key.kind).is_some())
        .filter_map(|object| object.key.namespace.as_deref())
        .filter(|other| *other != namespace)
        .collect();
    let mut found: BTreeMap<&str, Vec<Workload>> = BTreeMap::new();
    for other in elsewhere {
        match cluster::read(client, other, None).await {
            Ok(state) => {
                warnings.extend(state.warnings);
                found.insert(other, state.workloads);
            }
            Err(error) => {
                warnings.push(format!("the workloads of namespace {other} cannot be read: {error}"));
            }
        }
    }
    found.into_values().flatten().collect()
}
