//! Where Helm keeps its records: Secrets or ConfigMaps of the release's namespace, found by label.
//!
//! Lists read metadata only: labels hold name, status and revision. A body is fetched when it is needed. Writes name
//! the resourceVersion that they were computed from, and touch nothing but the payload and Helm's labels, so that
//! annotations, owners and finalizers that somebody put on a record stay.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::codec::{self, CodecError, MAXIMUM_STORED};
use super::error::StorageError;
use super::meta::{OPERATION_ANNOTATION, RecordMeta, object_name};
use super::record::Record;

/// The field manager of our record writes: managedFields then tell truthfully who wrote a record last.
pub const FIELD_MANAGER: &str = "kubectl-rollback";

/// How many records one page of a list holds.
const PAGE: u32 = 500;

/// Where Helm was told to keep its records (`HELM_DRIVER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// One Secret a revision: the default.
    #[default]
    Secrets,
    /// One ConfigMap a revision.
    ConfigMaps,
}

impl Driver {
    /// Reads `HELM_DRIVER` as Helm does; refuses what is not in the cluster.
    pub fn from_environment(value: Option<&str>) -> Result<Self, StorageError> {
        match value.unwrap_or_default() {
            "" | "secret" | "secrets" => Ok(Self::Secrets),
            "configmap" | "configmaps" => Ok(Self::ConfigMaps),
            other => Err(StorageError::Driver(other.to_owned())),
        }
    }

    fn api_resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::Secrets => ("Secret", "secrets"),
            Self::ConfigMaps => ("ConfigMap", "configmaps"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
    }

    /// The resource's plural, as permissions name it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::ConfigMaps => "configmaps",
        }
    }
}

/// A record with its place in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its place.
    pub meta: RecordMeta,
    /// Its body.
    pub record: Record,
}

/// The records of one namespace.
#[derive(Clone)]
pub struct Storage {
    api: Api<DynamicObject>,
    resource: ApiResource,
    driver: Driver,
}

impl Storage {
    /// The records in `namespace`, kept by `driver`.
    pub fn new(client: Client, namespace: &str, driver: Driver) -> Self {
        let resource = driver.api_resource();
        Self { api: Api::namespaced_with(client, namespace, &resource), resource, driver }
    }

    /// The records of every namespace: for lists; a body is read in its own namespace.
    pub fn of_all_namespaces(client: Client, driver: Driver) -> Self {
        let resource = driver.api_resource();
        Self { api: Api::all_with(client, &resource), resource, driver }
    }

    /// The driver.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// The revisions of a release, newest first.
    pub async fn list(&self, release: &str) -> Result<Vec<RecordMeta>, StorageError> {
        self.list_by(&format!("owner=helm,name={release}")).await
    }

    /// The revisions of every release of the namespace: by release, newest first.
    pub async fn list_all(&self) -> Result<Vec<RecordMeta>, StorageError> {
        self.list_by("owner=helm").await
    }

    /// The revisions that a label selector selects besides: by release, newest first.
    pub async fn list_selected(&self, selector: &str) -> Result<Vec<RecordMeta>, StorageError> {
        self.list_by(&format!("owner=helm,{selector}")).await
    }

    async fn list_by(&self, selector: &str) -> Result<Vec<RecordMeta>, StorageError> {
        let action = || format!("list Helm's records ({})", self.driver.plural());
        let mut parameters = ListParams::default().labels(selector).limit(PAGE);
        let mut records = Vec::new();
        loop {
            let page = match self.api.list_metadata(&parameters).await {
                // The snapshot that the pages belong to has expired: read everything at once.
                Err(kube::Error::Api(status))
                    if status.code == 410 && parameters.continue_token.is_some() =>
                {
                    records.clear();
                    parameters = ListParams::default().labels(selector);
                    continue;
                }
                answer => answer.map_err(|error| StorageError::from_answer(error, action, selector))?,
            };
            records.extend(page.items.iter().filter_map(|item| RecordMeta::from_metadata(&item.metadata)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => break,
            }
        }
        records.sort_by(|left, right| {
            let key = |meta: &RecordMeta| (meta.release.clone(), meta.namespace.clone());
            key(left).cmp(&key(right)).then(right.revision.cmp(&left.revision))
        });
        Ok(records)
    }

    /// The metadata of one revision as it is now; `None` when there is no such record.
    pub async fn find(&self, release: &str, revision: u64) -> Result<Option<RecordMeta>, StorageError> {
        let name = object_name(release, revision);
        let found = self.api.get_metadata_opt(&name).await.map_err(|error| {
            StorageError::from_answer(error, || format!("read Helm's record {name}"), &name)
        })?;
        Ok(found.and_then(|object| RecordMeta::from_metadata(&object.metadata)))
    }

    /// The body of a revision, with its metadata as they are now.
    pub async fn get(&self, meta: &RecordMeta) -> Result<StoredRecord, StorageError> {
        let name = &meta.object_name;
        let object = self.api.get(name).await.map_err(|error| {
            StorageError::from_answer(error, || format!("read Helm's record {name}"), name)
        })?;
        self.read(&object)
    }

    /// The body of a revision, also where its status in the label and in the body differ: to put that right. Name and
    /// revision must agree all the same.
    pub async fn get_whatever_status(&self, meta: &RecordMeta) -> Result<StoredRecord, StorageError> {
        let name = &meta.object_name;
        let object = self.api.get(name).await.map_err(|error| {
            StorageError::from_answer(error, || format!("read Helm's record {name}"), name)
        })?;
        let stored = self.read_unchecked(&object)?;
        match contradiction(&stored) {
            Some(error) if !error.is_about_status() => Err(error),
            _ => Ok(stored),
        }
    }

    fn read(&self, object: &DynamicObject) -> Result<StoredRecord, StorageError> {
        let stored = self.read_unchecked(object)?;
        contradiction(&stored).map_or(Ok(stored), Err)
    }

    fn read_unchecked(&self, object: &DynamicObject) -> Result<StoredRecord, StorageError> {
        let record_name = object.name_any();
        let no_payload = || StorageError::NoPayload { record: record_name.clone() };
        let codec_error = |source| StorageError::Codec { record: record_name.clone(), source };
        let stored = object.data.pointer("/data/release").and_then(Value::as_str).ok_or_else(no_payload)?;
        let body = match self.driver {
            Driver::ConfigMaps => codec::decode(stored),
            Driver::Secrets => STANDARD
                .decode(stored)
                .map_err(CodecError::Base64)
                .and_then(|bytes| codec::decode(&String::from_utf8_lossy(&bytes))),
        }
        .map_err(codec_error)?;
        let mut record = Record::from_json(body)
            .map_err(|source| StorageError::Record { record: record_name.clone(), source })?;
        let meta = RecordMeta::from_metadata(&object.metadata).ok_or_else(no_payload)?;
        record.labels.clone_from(&meta.user_labels);
        Ok(StoredRecord { meta, record })
    }

    /// The payload as it stands under `data.release` of the object, after the size check.
    fn payload(&self, name: &str, record: &Record) -> Result<String, StorageError> {
        let text = record.encode();
        if text.len() > MAXIMUM_STORED {
            return Err(StorageError::TooLarge { record: name.to_owned(), bytes: text.len() });
        }
        Ok(match self.driver {
            Driver::ConfigMaps => text,
            Driver::Secrets => STANDARD.encode(text),
        })
    }

    /// Creates the record of a new revision, marked with the operation that holds it.
    ///
    /// Fails with [`StorageError::Taken`] when somebody else wrote this revision first: the name of the object is the
    /// only lock that Helm knows.
    pub async fn create(
        &self,
        record: &Record,
        operation: Option<&str>,
        now: jiff::Timestamp,
    ) -> Result<RecordMeta, StorageError> {
        let name = object_name(record.name(), record.revision());
        let payload = self.payload(&name, record)?;
        let mut labels = record.labels.clone();
        labels.extend(
            [
                ("name", record.name().to_owned()),
                ("owner", "helm".to_owned()),
                ("status", record.status().to_string()),
                ("version", record.revision().to_string()),
                ("createdAt", now.as_second().to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let mut object = DynamicObject::new(&name, &self.resource);
        object.metadata.labels = Some(labels);
        object.metadata.annotations = operation
            .map(|operation| BTreeMap::from([(OPERATION_ANNOTATION.to_owned(), operation.to_owned())]));
        object.data = json!({"data": {"release": payload}});
        if self.driver == Driver::Secrets {
            object.data["type"] = "helm.sh/release.v1".into();
        }
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.api.create(&parameters, &object).await.map_err(|error| {
            let action = || format!("create Helm's record {name}");
            match StorageError::from_answer(error, action, &name) {
                StorageError::Changed { .. } => {
                    StorageError::Taken { release: record.name().to_owned(), revision: record.revision() }
                }
                other => other,
            }
        })?;
        RecordMeta::from_metadata(&created.metadata).ok_or(StorageError::NoPayload { record: name })
    }

    /// Writes a changed body, and the status label with it, over exactly the state that `meta` describes.
    pub async fn update(
        &self,
        meta: &RecordMeta,
        record: &Record,
        now: jiff::Timestamp,
    ) -> Result<RecordMeta, StorageError> {
        let name = &meta.object_name;
        let payload = self.payload(name, record)?;
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version},
            {"op": "add", "path": "/metadata/labels/status", "value": record.status()},
            {"op": "add", "path": "/metadata/labels/modifiedAt", "value": now.as_second().to_string()},
            {"op": "replace", "path": "/data/release", "value": payload},
        ]);
        let patch: json_patch::Patch =
            serde_json::from_value(patch).expect("the operations above are a JSON Patch");
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let updated =
            self.api.patch_metadata(name, &parameters, &Patch::<()>::Json(patch)).await.map_err(|error| {
                match &error {
                    // The object was deleted and made anew: so a failed `test` is answered. An object that the server finds
                    // invalid comes with causes.
                    kube::Error::Api(status) if status.code == 422 && has_no_causes(status) => {
                        StorageError::Changed { record: name.clone() }
                    }
                    _ => StorageError::from_answer(error, || format!("write Helm's record {name}"), name),
                }
            })?;
        RecordMeta::from_metadata(&updated.metadata)
            .ok_or_else(|| StorageError::NoPayload { record: name.clone() })
    }

    /// Deletes exactly the record that `meta` describes; one that is gone already is fine.
    pub async fn delete(&self, meta: &RecordMeta) -> Result<(), StorageError> {
        let name = &meta.object_name;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(meta.uid.clone()),
                resource_version: Some(meta.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let answer = self.api.delete(name, &parameters).await.map_err(|error| {
            StorageError::from_answer(error, || format!("delete Helm's record {name}"), name)
        });
        match answer {
            Ok(_) | Err(StorageError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What labels and body of a record say differently.
fn contradiction(stored: &StoredRecord) -> Option<StorageError> {
    let StoredRecord { meta, record } = stored;
    let pairs = [
        ("name", meta.release.clone(), record.name().to_owned()),
        ("version", meta.revision.to_string(), record.revision().to_string()),
        ("status", meta.status.to_string(), record.status().to_string()),
    ];
    let (field, label, body) = pairs.into_iter().find(|(_, label, body)| label != body)?;
    Some(StorageError::Disagrees { record: meta.object_name.clone(), field, label, body })
}

fn has_no_causes(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_none_or(|details| details.causes.is_empty())
}
