//! Strings the reads together: from a scope to a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::release::{self, Depth, RecordProblem, Records};
use super::workload::Workload;
use super::{Scope, Snapshot, cluster, owners};
use crate::context::Context;
use crate::helm::error::StorageError;
use crate::helm::storage::Driver;
use crate::reconcile;
use crate::workload::ContainerRef;

/// Annotation by which Helm marks what belongs to a release.
const RELEASE_ANNOTATION: &str = "meta.helm.sh/release-name";
/// Label that charts set by convention.
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The workloads cannot be read.
    #[error("cannot read the workloads of namespace {namespace}")]
    Workloads {
        /// The namespace.
        namespace: String,
        /// Why not.
        source: kube::Error,
    },
    /// Helm's records cannot be read.
    #[error("cannot read Helm's records")]
    Records(#[from] StorageError),
    /// There is no release, and nothing that looks like one.
    #[error("namespace {0} holds no Helm release")]
    NoRelease(String),
    /// There are several.
    #[error("namespace {namespace} holds several releases: {}; name one", names.join(", "))]
    SeveralReleases {
        /// The namespace.
        namespace: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Nothing belongs to the release that was named.
    #[error("namespace {namespace} holds neither records nor workloads of a release {name}")]
    NoSuchRelease {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// Helm has no record of the release that was named.
    #[error("namespace {namespace} holds no record of a Helm release {name}")]
    NoSuchRecord {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// A named workload is not there.
    #[error("namespace {namespace} has no {name}")]
    NoSuchWorkload {
        /// The namespace.
        namespace: String,
        /// The workload.
        name: String,
    },
    /// A selector selects nothing.
    #[error("no workload in namespace {namespace} matches {selector:?}")]
    NothingSelected {
        /// The namespace.
        namespace: String,
        /// The selector.
        selector: String,
    },
}

/// Reads everything that planning needs.
pub async fn run(context: &Context, scope: &Scope, driver: Driver) -> Result<Snapshot, DiscoverError> {
    run_to(context, scope, driver, Depth::Evidence).await
}

/// As [`run`], for a look at what there is: of Helm's records only those that say what the release is now.
pub async fn glance(context: &Context, scope: &Scope, driver: Driver) -> Result<Snapshot, DiscoverError> {
    run_to(context, scope, driver, Depth::Present).await
}

async fn run_to(
    context: &Context,
    scope: &Scope,
    driver: Driver,
    depth: Depth,
) -> Result<Snapshot, DiscoverError> {
    match scope {
        Scope::Release(name) => of_release(context, name.as_deref(), driver, depth).await,
        Scope::Selector(selector) => of_selector(context, selector).await,
        Scope::Workloads(names) => {
            let namespace = &context.namespace;
            let mut state = read_namespace(context, None).await?;
            for name in names {
                let is_named = |workload: &Workload| {
                    workload.reference.kind == name.kind && workload.reference.name == name.name
                };
                if !state.workloads.iter().any(is_named) {
                    let name = format!("{} {}", name.kind, name.name);
                    return Err(DiscoverError::NoSuchWorkload { namespace: namespace.clone(), name });
                }
            }
            state.workloads.retain(|workload| {
                names
                    .iter()
                    .any(|name| workload.reference.kind == name.kind && workload.reference.name == name.name)
            });
            Ok(without_release(context, state).await)
        }
    }
}

async fn read_namespace(
    context: &Context,
    selector: Option<&str>,
) -> Result<cluster::NamespaceState, DiscoverError> {
    let namespace = context.namespace.clone();
    cluster::read(&context.client, &namespace, selector)
        .await
        .map_err(|source| DiscoverError::Workloads { namespace, source })
}

async fn of_selector(context: &Context, selector: &str) -> Result<Snapshot, DiscoverError> {
    let state = read_namespace(context, Some(selector)).await?;
    if state.workloads.is_empty() {
        let namespace = context.namespace.clone();
        return Err(DiscoverError::NothingSelected { namespace, selector: selector.to_owned() });
    }
    Ok(without_release(context, state).await)
}

async fn without_release(context: &Context, state: cluster::NamespaceState) -> Snapshot {
    let owners = owners::find(&context.client, state.apis, &state.workloads).await;
    let mut warnings = state.warnings;
    let releases: BTreeSet<&str> = state
        .workloads
        .iter()
        .filter_map(|workload| workload.annotations.get(RELEASE_ANNOTATION))
        .map(String::as_str)
        .collect();
    for name in releases {
        warnings.push(format!(
            "these workloads belong to Helm release {name}; an emergency that names them one by one does not write its record; afterwards run: kubectl rollback reconcile {name} -n {}",
            context.namespace
        ));
    }
    Snapshot { workloads: state.workloads, owners, warnings, ..Snapshot::default() }
}

async fn of_release(
    context: &Context,
    name: Option<&str>,
    driver: Driver,
    depth: Depth,
) -> Result<Snapshot, DiscoverError> {
    let (client, namespace) = (&context.client, &context.namespace);
    let (state, name, records) = if let Some(name) = name {
        let (state, records) = futures::join!(
            read_namespace(context, None),
            release::read(client, namespace, name, driver, depth)
        );
        (state?, name.to_owned(), records?)
    } else {
        let (state, names) =
            futures::join!(read_namespace(context, None), release::names(client, namespace, driver));
        let state = state?;
        let name = the_only_release(namespace, names, &state.workloads)?;
        let records = release::read(client, namespace, &name, driver, depth).await?;
        (state, name, records)
    };
    let mut snapshot =
        Snapshot { release_name: Some(name.clone()), warnings: state.warnings, ..Snapshot::default() };
    match records {
        Records::Found(release) => snapshot.release = Some(*release),
        Records::Problem(problem) => snapshot.record_problem = Some(problem),
        Records::Damaged(problem, release) => {
            snapshot.record_problem = Some(problem);
            snapshot.damaged = Some(*release);
        }
    }
    snapshot.workloads = workloads_of(&snapshot, &name, namespace, state.workloads);
    if snapshot.workloads.is_empty() && matches!(snapshot.record_problem, Some(RecordProblem::Missing(_))) {
        return Err(DiscoverError::NoSuchRelease { namespace: namespace.clone(), name });
    }
    choose_base(&mut snapshot);
    let mentioned = snapshot.release.as_ref().and_then(|release| release.revisions.first());
    snapshot.missing = mentioned
        .map(|newest| {
            newest.replicas.keys().filter(|workload| snapshot.workload(workload).is_none()).cloned().collect()
        })
        .unwrap_or_default();
    snapshot.owners = owners::find(client, state.apis, &snapshot.workloads).await;
    Ok(snapshot)
}

/// The only release of a namespace: by records, else by the marks that Helm and charts leave on workloads.
fn the_only_release(
    namespace: &str,
    names: Result<Vec<String>, StorageError>,
    workloads: &[Workload],
) -> Result<String, DiscoverError> {
    let mut names = match names {
        Ok(names) => names,
        Err(StorageError::Forbidden { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if names.is_empty() {
        let marks: BTreeSet<&String> =
            workloads.iter().filter_map(|workload| workload.annotations.get(RELEASE_ANNOTATION)).collect();
        names = marks.into_iter().cloned().collect();
    }
    match names.len() {
        0 => Err(DiscoverError::NoRelease(namespace.to_owned())),
        1 => Ok(names.remove(0)),
        _ => Err(DiscoverError::SeveralReleases { namespace: namespace.to_owned(), names }),
    }
}

/// The workloads that belong to a release: those that its newest records name, and those that carry Helm's mark; without
/// either, those with the conventional label.
fn workloads_of(snapshot: &Snapshot, name: &str, namespace: &str, all: Vec<Workload>) -> Vec<Workload> {
    let named: BTreeSet<_> = snapshot
        .release
        .iter()
        .flat_map(|release| release.revisions.iter().take(1))
        .flat_map(|stored| stored.replicas.keys())
        .collect();
    let is_marked = |workload: &Workload| {
        let annotation = |name: &str| workload.annotations.get(name).map(String::as_str);
        annotation(RELEASE_ANNOTATION) == Some(name)
            && annotation("meta.helm.sh/release-namespace").is_none_or(|of| of == namespace)
    };
    let belongs = |workload: &Workload| named.contains(&workload.reference) || is_marked(workload);
    if all.iter().any(belongs) {
        return all.into_iter().filter(belongs).collect();
    }
    let has_label =
        |workload: &Workload| workload.labels.get(INSTANCE_LABEL).is_some_and(|instance| instance == name);
    all.into_iter().filter(has_label).collect()
}

fn choose_base(snapshot: &mut Snapshot) {
    let live: BTreeMap<ContainerRef, String> = snapshot
        .workloads
        .iter()
        .flat_map(|workload| {
            workload.containers.iter().map(|container| {
                let reference = workload.container_ref(container);
                (reference, container.image.clone())
            })
        })
        .collect();
    if let Some(release) = &mut snapshot.release {
        release.base_revision =
            reconcile::choose_base(&release.records, &live).map(|base| base.meta.revision);
    }
}
