//! The release's records: found by metadata, bodies fetched only as far as evidence needs them (design D11).

use futures::future::join_all;
use kube::Client;

use super::StoredRevision;
use crate::helm::error::StorageError;
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::{Driver, Storage, StoredRecord};
use crate::workload::WorkloadRef;

/// Bodies that are fetched at most: what Helm keeps by default.
const BODIES: usize = 10;

/// The records of a release.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Every record's metadata, newest first.
    pub metas: Vec<RecordMeta>,
    /// The readable records, newest first.
    pub records: Vec<StoredRecord>,
    /// What those records say about images, newest first.
    pub revisions: Vec<StoredRevision>,
    /// Records that cannot be read, with the reason.
    pub unreadable: Vec<(u64, String)>,
    /// Records whose label and body name different statuses; they are among the unreadable ones too.
    pub contradictory: Vec<StoredRecord>,
    /// The revision whose record agrees best with what runs.
    pub base_revision: Option<u64>,
}

/// The newest record as its labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its revision.
    pub revision: u64,
    /// Its status.
    pub status: String,
    /// Whether an operation is in progress by that status.
    pub pending: bool,
}

impl Release {
    /// The newest record as its labels say, readable or not.
    pub fn newest(&self) -> Option<Newest> {
        self.metas.first().map(|meta| Newest {
            revision: meta.revision,
            status: meta.status.to_string(),
            pending: meta.status.is_pending(),
        })
    }

    /// The number of replicas that the base record renders for a workload; `None` where it renders none.
    pub fn rendered_replicas(&self, workload: &WorkloadRef) -> Option<i32> {
        let base = self.base_revision_images()?;
        base.replicas.get(workload).copied().flatten().and_then(|number| i32::try_from(number).ok())
    }

    /// What the record that the new one is made from says about images and replicas.
    pub fn base_revision_images(&self) -> Option<&StoredRevision> {
        self.revisions.iter().find(|stored| Some(stored.revision) == self.base_revision)
    }

    /// The record that the new one is made from.
    pub fn base(&self) -> Option<&StoredRecord> {
        self.records.iter().find(|stored| Some(stored.meta.revision) == self.base_revision)
    }

    /// The record that says `deployed`, the newest if there are several.
    pub fn deployed(&self) -> Option<&RecordMeta> {
        self.metas.iter().find(|meta| meta.status == Status::Deployed)
    }

    /// Whether the newest record is an operation of ours that has not been closed.
    pub fn open_operation(&self) -> Option<&str> {
        let newest = self.metas.first().filter(|meta| meta.status.is_pending())?;
        newest.operation.as_deref()
    }
}

/// Why Helm's records cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// There are none.
    #[error("Helm has no record of release {0}")]
    Missing(String),
    /// There are some, but the newest cannot be read.
    #[error("Helm's record of revision {revision} cannot be read: {why}")]
    Unreadable {
        /// The revision.
        revision: u64,
        /// Why not.
        why: String,
    },
    /// We may not read them.
    #[error("reading Helm's records is forbidden: {0}")]
    Forbidden(String),
    /// The storage driver is not one that the cluster holds.
    #[error("{0}")]
    Driver(String),
}

/// What the records look like.
#[derive(Debug)]
pub enum Records {
    /// Readable.
    Found(Box<Release>),
    /// Not usable.
    Problem(RecordProblem),
    /// Not usable, because the newest cannot be read; the others can.
    Damaged(RecordProblem, Box<Release>),
}

/// Names of the releases that have records in a namespace.
pub async fn names(client: &Client, namespace: &str, driver: Driver) -> Result<Vec<String>, StorageError> {
    let mut names: Vec<String> = Storage::new(client.clone(), namespace, driver)
        .list_all()
        .await?
        .into_iter()
        .map(|meta| meta.release)
        .collect();
    names.dedup();
    Ok(names)
}

/// Reads a release's records. Unreadable ones among them are named; an unreadable newest one is a problem only when
/// nothing else tells what runs.
pub async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
    driver: Driver,
) -> Result<Records, StorageError> {
    let storage = Storage::new(client.clone(), namespace, driver);
    let metas = match storage.list(name).await {
        Ok(metas) => metas,
        Err(error) if matches!(error, StorageError::Forbidden { .. }) => {
            return Ok(Records::Problem(RecordProblem::Forbidden(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    if metas.is_empty() {
        return Ok(Records::Problem(RecordProblem::Missing(name.to_owned())));
    }
    // The deployed one may lie far back, below many failed upgrades.
    let wanted: Vec<&RecordMeta> = (0..)
        .zip(&metas)
        .filter(|(index, meta)| *index < BODIES || meta.status == Status::Deployed)
        .map(|(_, meta)| meta)
        .collect();
    let bodies = join_all(wanted.iter().map(|meta| storage.get(meta))).await;
    let bodies: Vec<(u64, Result<StoredRecord, StorageError>)> =
        wanted.iter().map(|meta| meta.revision).zip(bodies).collect();
    let contradictory = bodies.iter().filter_map(|(revision, body)| {
        let is_contradictory = body.as_ref().is_err_and(StorageError::is_about_status);
        is_contradictory.then(|| metas.iter().find(|meta| meta.revision == *revision))?
    });
    let contradictory =
        join_all(contradictory.map(|meta| storage.get_whatever_status(meta))).await.into_iter().flatten();
    let contradictory = contradictory.collect();
    let mut release = Release {
        name: name.to_owned(),
        metas,
        records: Vec::new(),
        revisions: Vec::new(),
        unreadable: Vec::new(),
        contradictory,
        base_revision: None,
    };
    for (revision, body) in bodies {
        match body {
            Ok(stored) => release.records.push(stored),
            Err(error) if matches!(error, StorageError::Forbidden { .. }) => {
                return Ok(Records::Problem(RecordProblem::Forbidden(error.to_string())));
            }
            Err(error) => release.unreadable.push((revision, error.to_string())),
        }
    }
    release.revisions = release.records.iter().map(|stored| revision(stored, namespace)).collect();
    if let Some((revision, why)) = release.unreadable.first()
        && release.metas.first().is_some_and(|newest| newest.revision == *revision)
    {
        let problem = RecordProblem::Unreadable { revision: *revision, why: why.clone() };
        return Ok(Records::Damaged(problem, Box::new(release)));
    }
    Ok(Records::Found(Box::new(release)))
}

fn revision(stored: &StoredRecord, namespace: &str) -> StoredRevision {
    let manifest = Manifest::parse(stored.record.manifest(), namespace);
    StoredRevision {
        revision: stored.meta.revision,
        status: stored.meta.status.to_string(),
        description: stored.record.description().to_owned(),
        images: manifest
            .images()
            .into_iter()
            .filter_map(|(container, image)| Some((container, image.parse().ok()?)))
            .collect(),
        replicas: manifest
            .workloads()
            .into_iter()
            .map(|workload| {
                let replicas = manifest.replicas(&workload);
                (workload, replicas)
            })
            .collect(),
    }
}
