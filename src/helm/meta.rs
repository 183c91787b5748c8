//! What the metadata of a storage object tells about a revision, without its body.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;

use super::status::Status;

/// Marks a record that one of our operations holds. An annotation, not a label: Helm's upgrade copies the labels of the
/// last record into the next one, and drops annotations.
pub const OPERATION_ANNOTATION: &str = "rollback.kubectl.dev/operation";

/// The labels that are Helm's own; every other label on a record is the user's.
const SYSTEM_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// The storage object's name of a revision. Release names may hold dots: never take a name apart.
pub fn object_name(release: &str, revision: u64) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// What a record's metadata tells, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMeta {
    /// The release's name (label `name`).
    pub release: String,
    /// The namespace of the storage object, which is the release's.
    pub namespace: String,
    /// The revision (label `version`).
    pub revision: u64,
    /// The status (label `status`).
    pub status: Status,
    /// The storage object's name.
    pub object_name: String,
    /// The storage object's uid.
    pub uid: String,
    /// The storage object's resourceVersion.
    pub resource_version: String,
    /// When it was created.
    pub created: Option<jiff::Timestamp>,
    /// When Helm last changed it (label `modifiedAt`).
    pub modified: Option<jiff::Timestamp>,
    /// The operation of ours that holds or wrote it.
    pub operation: Option<String>,
    /// Who wrote it last, by managedFields.
    pub last_writer: Option<String>,
    /// When that was, by the API server's clock.
    pub last_written: Option<jiff::Timestamp>,
    /// The user's labels.
    pub user_labels: BTreeMap<String, String>,
}

impl RecordMeta {
    /// Reads the metadata of a storage object; `None` when it names no release or no revision.
    pub(super) fn from_metadata(metadata: &ObjectMeta) -> Option<Self> {
        let labels = metadata.labels.as_ref()?;
        let object_name = metadata.name.clone()?;
        let release = labels.get("name").filter(|name| !name.is_empty())?.clone();
        let revision = labels
            .get("version")
            .and_then(|text| text.parse().ok())
            .or_else(|| object_name.rsplit_once(".v")?.1.parse().ok())?;
        let seconds = |key: &str| {
            let text = labels.get(key)?;
            jiff::Timestamp::from_second(text.parse().ok()?).ok()
        };
        let last_entry = metadata
            .managed_fields
            .iter()
            .flatten()
            .max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        Some(Self {
            release,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            revision,
            status: labels.get("status").map_or(Status::Unknown, |text| text.as_str().into()),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            created: seconds("createdAt").or_else(|| metadata.creation_timestamp.as_ref().map(|time| time.0)),
            modified: seconds("modifiedAt"),
            operation: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(OPERATION_ANNOTATION).cloned()),
            last_writer: last_entry.and_then(|entry| entry.manager.clone()),
            last_written: last_entry.and_then(|entry| entry.time.as_ref()).map(|time| time.0),
            user_labels: labels
                .iter()
                .filter(|(key, _)| !SYSTEM_LABELS.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            object_name,
        })
    }

    #[cfg(test)]
    pub(crate) fn for_test(release: &str, revision: u64, status: &str) -> Self {
        Self {
            release: release.to_owned(),
            namespace: "default".to_owned(),
            revision,
            status: status.into(),
            object_name: object_name(release, revision),
            uid: format!("uid-{revision}"),
            resource_version: "1".to_owned(),
            created: None,
            modified: None,
            operation: None,
            last_writer: None,
            last_written: None,
            user_labels: BTreeMap::new(),
        }
    }
}
