//! What a rollback to a stored revision rests on: the target and every newer revision, the objects that they speak of as
//! they are in the cluster, the workloads among them. Bodies of records are read newest-down, and only until the target is
//! found (design D11).

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use serde_json::Value;

use super::apis::Apis;
use super::cluster::{self, NamespaceState};
use super::owners;
use super::run::{DiscoverError, the_only_release};
use super::{Owner, Workload, release};
use crate::context::Context;
use crate::helm::error::StorageError;
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::storage::{Driver, Storage, StoredRecord};
use crate::plan::fields;
use crate::plan::last_good::{LastGood, NothingToDo, RevisionFacts, SkipReason, Verdict, helm_would_choose};
use crate::plan::rollback::objects::{self, ObjectHistory};
use crate::workload::WorkloadRef;

/// The field manager of Helm's command line.
const DEFAULT_WRITER: &str = "helm";

/// Which revision is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// This one.
    pub revision: Option<u64>,
    /// The newest good one that ran this tag.
    pub tag: Option<String>,
    /// The good one that was deployed then.
    pub before: Option<Timestamp>,
    /// The newest good one of this chart version.
    pub chart_version: Option<String>,
    /// Without any of these: the last one minus one, as Helm chooses.
    pub helm_compat: bool,
    /// A revision that is named may have failed.
    pub allow_failed: bool,
}

impl Wanted {
    fn is_default(&self) -> bool {
        self.tag.is_none() && self.before.is_none() && self.chart_version.is_none()
    }

    fn matches(&self, record: &Record) -> bool {
        self.chart_version.as_deref().is_none_or(|version| record.chart_version() == Some(version))
            && self.before.is_none_or(|time| record.last_deployed().is_some_and(|deployed| deployed <= time))
            && self.tag.as_deref().is_none_or(|tag| runs_tag(record, tag))
    }

    fn describe(&self) -> String {
        match (&self.tag, self.before, &self.chart_version) {
            (Some(tag), ..) => format!("ran tag {tag}"),
            (_, Some(time), _) => format!("was deployed before {time}"),
            (.., Some(version)) => format!("has chart version {version}"),
            _ => "really ran".to_owned(),
        }
    }
}

fn runs_tag(record: &Record, tag: &str) -> bool {
    let images = Manifest::parse(record.manifest(), record.namespace().unwrap_or_default()).images();
    images
        .values()
        .filter_map(|image| image.parse::<crate::registry::ImageReference>().ok())
        .any(|image| image.tag.as_deref() == Some(tag))
}

/// Why there is nothing to roll back to, or it cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The release or its workloads cannot be read.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// A record cannot be read.
    #[error(transparent)]
    Records(#[from] StorageError),
    /// The default has nothing to do.
    #[error("{nothing}")]
    NothingToDo {
        /// The release.
        name: String,
        /// Why.
        nothing: NothingToDo,
    },
    /// The revision is not stored.
    #[error("release {name} has no revision {revision}; stored: {}", numbers(stored))]
    NoSuchRevision {
        /// The release.
        name: String,
        /// What was asked for.
        revision: u64,
        /// What there is.
        stored: Vec<u64>,
    },
    /// No revision is good.
    #[error("release {name} has no earlier revision that {wanted}{}", reasons(skipped))]
    NothingGood {
        /// The release.
        name: String,
        /// What was asked for, as the end of a sentence.
        wanted: String,
        /// What was passed over.
        skipped: Vec<(u64, SkipReason)>,
    },
    /// The revision that was named never ran.
    #[error("revision {revision} of {name} is no good target: {reason}")]
    NotGood {
        /// The release.
        name: String,
        /// The revision.
        revision: u64,
        /// Why.
        reason: SkipReason,
    },
}

fn numbers(revisions: &[u64]) -> String {
    revisions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn reasons(skipped: &[(u64, SkipReason)]) -> String {
    skipped.iter().map(|(revision, reason)| format!("\n  revision {revision}: {reason}")).collect()
}

/// The target and how it was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The revision.
    pub revision: u64,
    /// Revisions that were passed over, newest first.
    pub skipped: Vec<(u64, SkipReason)>,
    /// What plain `helm rollback` would have chosen; `None` when that revision is not stored.
    pub helm: Option<u64>,
    /// Whether the operator named it.
    pub named: bool,
    /// What speaks against a revision that was named.
    pub doubt: Option<SkipReason>,
}

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

    /// What the target says of an object, with the marks of this release.
    pub fn with_marks(&self, found: &FoundObject) -> Option<Value> {
        let target = found.history.target.as_ref()?;
        Some(objects::with_ownership(target, &self.name, &self.namespace))
    }
}

/// The revisions from the newest down to the target, and the target last.
struct Line {
    records: Vec<StoredRecord>,
    unreadable: Vec<(u64, String)>,
    choice: Choice,
}

/// Reads everything.
pub async fn read(
    context: &Context,
    name: Option<&str>,
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
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                let names = release::names(&context.client, &namespace, driver).await;
                the_only_release(&namespace, names, &[])?
            }
        };
        let metas = storage.list(&name).await?;
        if metas.is_empty() {
            return Err(DiscoverError::NoSuchRelease { namespace: namespace.clone(), name }.into());
        }
        let line = choose(&storage, &name, &metas, wanted).await?;
        Ok::<_, RollbackError>((name, metas, line))
    };
    let (state, records) = futures::join!(state, records);
    let (name, metas, line) = records?;
    assemble(context, state?, name, metas, line).await
}

/// Finds the target, reading bodies newest-down.
async fn choose(
    storage: &Storage,
    name: &str,
    metas: &[RecordMeta],
    wanted: &Wanted,
) -> Result<Line, RollbackError> {
    let stored: Vec<u64> = metas.iter().map(|meta| meta.revision).collect();
    let helm = helm_would_choose(stored[0], &stored);
    let named = if wanted.helm_compat && wanted.is_default() && wanted.revision.is_none() {
        Some(stored[0].saturating_sub(1))
    } else {
        wanted.revision
    };
    if let Some(revision) = named {
        if !stored.contains(&revision) {
            return Err(RollbackError::NoSuchRevision { name: name.to_owned(), revision, stored });
        }
        let line = read_down_to(storage, metas, revision).await?;
        let target = line.records.last().filter(|stored| stored.meta.revision == revision);
        let Some(target) = target else {
            return Err(storage
                .get(&metas[stored.iter().position(|&number| number == revision).unwrap_or(0)])
                .await
                .err()
                .map_or_else(
                    || RollbackError::NoSuchRevision {
                        name: name.to_owned(),
                        revision,
                        stored: stored.clone(),
                    },
                    RollbackError::Records,
                ));
        };
        // As in Helm, --helm-compat takes whatever became of it.
        if !wanted.allow_failed
            && !wanted.helm_compat
            && let Err(reason) = RevisionFacts::of(&target.record).ran()
        {
            return Err(RollbackError::NotGood { name: name.to_owned(), revision, reason });
        }
        let doubt = doubt(&line.records);
        let choice = Choice { revision, skipped: Vec::new(), helm, named: true, doubt };
        return Ok(Line { choice, ..line });
    }
    search(storage, name, metas, wanted, helm).await
}

/// What speaks against the last of these records (newest first) as a target.
fn doubt(records: &[StoredRecord]) -> Option<SkipReason> {
    let (current, older) = records.split_first()?;
    let mut search = LastGood::below(&RevisionFacts::of(&current.record));
    let verdicts = older.iter().map(|stored| search.consider(&RevisionFacts::of(&stored.record)));
    match verdicts.last()? {
        Verdict::Skipped(SkipReason::SameAsCurrent) | Verdict::Candidate => None,
        Verdict::Skipped(reason) => Some(reason),
    }
}

async fn read_down_to(storage: &Storage, metas: &[RecordMeta], revision: u64) -> Result<Line, RollbackError> {
    let wanted: Vec<&RecordMeta> = metas.iter().take_while(|meta| meta.revision >= revision).collect();
    let bodies = join_all(wanted.iter().map(|meta| storage.get(meta))).await;
    let mut line = Line {
        records: Vec::new(),
        unreadable: Vec::new(),
        choice: Choice { revision, skipped: Vec::new(), helm: None, named: true, doubt: None },
    };
    for (meta, body) in wanted.iter().zip(bodies) {
        match body {
            Ok(stored) => line.records.push(stored),
            Err(error) if error.is_unreadable() => line.unreadable.push((meta.revision, error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(line)
}

async fn search(
    storage: &Storage,
    name: &str,
    metas: &[RecordMeta],
    wanted: &Wanted,
    helm: Option<u64>,
) -> Result<Line, RollbackError> {
    let mut records: Vec<StoredRecord> = Vec::new();
    let mut unreadable = Vec::new();
    let mut last_good: Option<LastGood> = None;
    let mut found = None;
    for meta in metas {
        let stored = match storage.get(meta).await {
            Ok(stored) => stored,
            Err(error) if error.is_unreadable() => {
                if let Some(search) = &mut last_good {
                    search.skip_unreadable(meta.revision, error.to_string());
                }
                unreadable.push((meta.revision, error.to_string()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let facts = RevisionFacts::of(&stored.record);
        let fits = wanted.matches(&stored.record);
        records.push(stored);
        match &mut last_good {
            None if wanted.is_default() => {
                last_good = Some(
                    LastGood::begin(&facts)
                        .map_err(|nothing| RollbackError::NothingToDo { name: name.to_owned(), nothing })?,
                );
            }
            None => last_good = Some(LastGood::below(&facts)),
            Some(search) => {
                if search.consider(&facts) == Verdict::Candidate && fits {
                    found = Some(meta.revision);
                    break;
                }
            }
        }
    }
    let answer = last_good.map(LastGood::finish);
    // One that was perhaps left by an emergency counts when nothing better was found.
    let perhaps = answer.as_ref().and_then(|answer| answer.target);
    let fitting = |revision: &u64| {
        records.iter().any(|stored| stored.meta.revision == *revision && wanted.matches(&stored.record))
    };
    let revision = found.or(perhaps.filter(fitting));
    let skipped = answer.map(|answer| answer.skipped).unwrap_or_default();
    let Some(revision) = revision else {
        return Err(RollbackError::NothingGood { name: name.to_owned(), wanted: wanted.describe(), skipped });
    };
    records.retain(|stored| stored.meta.revision >= revision);
    let skipped = skipped.into_iter().filter(|(number, _)| *number > revision).collect();
    let choice = Choice { revision, skipped, helm, named: !wanted.is_default(), doubt: None };
    Ok(Line { records, unreadable, choice })
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
    let versions: BTreeSet<String> = manifests.iter().flat_map(objects::api_versions).collect();
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

/// One object as it is in the cluster, managed fields included.
pub async fn read_object(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Value>, kube::Error> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    };
    let object = api.get_opt(name).await?;
    object.map(|object| serde_json::to_value(object).map_err(kube::Error::SerdeError)).transpose()
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
            let live = read_object(client, &resource, namespace, &history.key.name).await?;
            Ok(FoundObject { resource, live, history })
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
                warnings.push(format!("the workloads of namespace {other} cannot be read: {error}"))
            }
        }
    }
    found.into_values().flatten().collect()
}
