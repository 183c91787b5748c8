//! Stored revisions as `history` and `list` show them: found by metadata, bodies fetched only of what is shown or needed
//! (design D11), a few at a time, and of each only the part that is shown kept.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;

use crate::helm::error::StorageError;
use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::storage::{Driver, Storage, StoredRecord};
use crate::plan::last_good::RevisionFacts;
use crate::workload::ContainerRef;

/// Bodies in memory at the same time: a record may be a megabyte, and several when it is decoded.
const AT_ONCE: usize = 8;

/// What is kept of a record's body.
#[derive(Debug, Clone)]
pub struct Content {
    /// What tells whether it was good.
    pub facts: RevisionFacts,
    /// When it was deployed, as Helm stored it.
    pub updated: String,
    /// The chart, as Helm lists it.
    pub chart: String,
    /// The chart's `appVersion`.
    pub app_version: String,
    /// The image of every container.
    pub images: BTreeMap<ContainerRef, String>,
}

impl Content {
    fn of(stored: &StoredRecord) -> Self {
        let record = &stored.record;
        let images = Manifest::parse(record.manifest(), &stored.meta.namespace).images();
        Self {
            facts: RevisionFacts::with_images(record, &images),
            updated: record.last_deployed_text().to_owned(),
            chart: record.chart_label(),
            app_version: record.app_version().unwrap_or_default().to_owned(),
            images,
        }
    }
}

/// A stored revision whose body was asked for.
#[derive(Debug, Clone)]
pub struct Revision {
    /// What its labels tell.
    pub meta: RecordMeta,
    /// What its body tells, or why it cannot be read.
    pub content: Result<Content, String>,
}

/// The revisions of one release.
#[derive(Debug)]
pub struct History {
    /// The release.
    pub release: String,
    /// Every stored revision, newest first.
    pub metas: Vec<RecordMeta>,
    /// Those whose bodies were fetched: the newest, without a gap.
    pub read: Vec<Revision>,
}

impl History {
    /// Finds a release's revisions; reads no body yet.
    pub async fn find(
        client: &Client,
        namespace: &str,
        release: &str,
        driver: Driver,
    ) -> Result<Self, StorageError> {
        let metas = Storage::new(client.clone(), namespace, driver).list(release).await?;
        Ok(Self { release: release.to_owned(), metas, read: Vec::new() })
    }

    /// Reads bodies until those of the newest `count` revisions are there.
    pub async fn read_newest(
        &mut self,
        client: &Client,
        driver: Driver,
        count: usize,
    ) -> Result<(), StorageError> {
        let missing = self.metas.iter().take(count).skip(self.read.len());
        self.read.extend(read(client, driver, missing).await?);
        Ok(())
    }

    /// Whether every body was read.
    pub fn is_complete(&self) -> bool {
        self.read.len() == self.metas.len()
    }
}

/// Reads the bodies of revisions, in any namespaces; those that cannot be understood, or are gone meanwhile, say so.
pub async fn read(
    client: &Client,
    driver: Driver,
    metas: impl IntoIterator<Item = &RecordMeta>,
) -> Result<Vec<Revision>, StorageError> {
    let reads = metas.into_iter().map(|meta| async {
        let storage = Storage::new(client.clone(), &meta.namespace, driver);
        let content = match storage.get(meta).await {
            Ok(stored) => Ok(Content::of(&stored)),
            Err(error) if error.is_unreadable() || matches!(error, StorageError::Gone { .. }) => {
                Err(error.to_string())
            }
            Err(error) => return Err(error),
        };
        Ok(Revision { meta: meta.clone(), content })
    });
    stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await
}
