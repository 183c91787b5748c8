//! The objects of stored revisions: which they are, what the target says of each, and what newer revisions said.
//!
//! As in Helm an object is the same when group, kind, namespace and name are: a new version of its API is an update. The
//! baseline is the union of every revision newer than the target, because a failed upgrade leaves objects and
//! fields behind that the last revision does not know of.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::discover::apis::{Apis, ApisError};
use crate::helm::manifest::{Manifest, ManifestError};

/// Label that marks what Helm manages.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Annotation that names the release that an object belongs to.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// Annotation that names that release's namespace.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Which object, whatever the version of its API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    /// `Deployment/todo-backend`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}

impl From<&crate::workload::WorkloadRef> for ObjectKey {
    fn from(workload: &crate::workload::WorkloadRef) -> Self {
        let resource = workload.kind.api_resource();
        Self {
            group: resource.group,
            kind: resource.kind,
            namespace: Some(workload.namespace.clone()),
            name: workload.name.clone(),
        }
    }
}

impl From<&ObjectKey> for crate::event::ObjectReference {
    fn from(key: &ObjectKey) -> Self {
        Self {
            kind: key.kind.clone(),
            namespace: key.namespace.clone().unwrap_or_default(),
            name: key.name.clone(),
        }
    }
}

/// Why a revision's manifest cannot be turned into objects.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// A document cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A kind is not served, or not known.
    #[error(transparent)]
    Apis(#[from] ApisError),
    /// An object lacks what names it.
    #[error("an object from {source_path} has no {field}")]
    Nameless {
        /// The template that it came from.
        source_path: String,
        /// What it lacks.
        field: &'static str,
    },
}

/// An object as a revision renders it, its namespace filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Which.
    pub key: ObjectKey,
    /// The `apiVersion` that the manifest uses.
    pub api_version: String,
    /// The object.
    pub value: Value,
}

/// The `apiVersion`s that a manifest uses.
pub fn api_versions(manifest: &Manifest) -> Vec<String> {
    let mut versions: Vec<String> = manifest
        .objects()
        .iter()
        .filter_map(|object| object.value.get("apiVersion")?.as_str().map(str::to_owned))
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// The objects of a manifest in the order in which Helm sends them; an object that is rendered twice stands where it is
/// rendered first, as it is rendered last. What cannot be read is told beside.
pub fn rendered(manifest: &Manifest, namespace: &str, apis: &Apis) -> (Vec<Rendered>, Vec<ObjectsError>) {
    let mut found: Vec<Rendered> = Vec::new();
    let mut problems: Vec<ObjectsError> =
        manifest.problems().into_iter().map(ObjectsError::Manifest).collect();
    for object in manifest.objects() {
        let source = object.source.unwrap_or_else(|| "the manifest".to_owned());
        match read(object.value, &source, namespace, apis) {
            Ok(object) => match found.iter_mut().find(|other| other.key == object.key) {
                Some(earlier) => *earlier = object,
                None => found.push(object),
            },
            Err(problem) => problems.push(problem),
        }
    }
    (found, problems)
}

fn read(mut value: Value, source: &str, namespace: &str, apis: &Apis) -> Result<Rendered, ObjectsError> {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let nameless = |field| ObjectsError::Nameless { source_path: source.to_owned(), field };
    let api_version = text(&value, "/apiVersion").ok_or_else(|| nameless("apiVersion"))?;
    let kind = text(&value, "/kind").ok_or_else(|| nameless("kind"))?;
    let name = text(&value, "/metadata/name").ok_or_else(|| nameless("metadata.name"))?;
    let (resource, is_namespaced) = apis.require(&api_version, &kind)?;
    let own = text(&value, "/metadata/namespace").filter(|namespace| !namespace.is_empty());
    let namespace = is_namespaced.then(|| own.unwrap_or_else(|| namespace.to_owned()));
    if let (Some(namespace), Some(metadata)) =
        (&namespace, value.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    Ok(Rendered { key: ObjectKey { group: resource.group, kind, namespace, name }, api_version, value })
}

/// The object with the label and annotations by which Helm marks what belongs to a release.
pub fn with_ownership(object: &Value, release: &str, namespace: &str) -> Value {
    let mut object = object.clone();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for (map, key, value) in [
        ("labels", MANAGED_BY, "Helm"),
        ("annotations", RELEASE_NAME, release),
        ("annotations", RELEASE_NAMESPACE, namespace),
    ] {
        let entry = metadata.entry(map).or_insert_with(|| json!({}));
        if !entry.is_object() {
            *entry = json!({});
        }
        entry[key] = json!(value);
    }
    object
}

/// Whether a live object belongs to a release by Helm's annotations.
pub fn belongs_to(live: &Value, release: &str, namespace: &str) -> bool {
    let annotation = |name: &str| live["metadata"]["annotations"].get(name).and_then(Value::as_str);
    annotation(RELEASE_NAME) == Some(release) && annotation(RELEASE_NAMESPACE) == Some(namespace)
}

/// The release that a live object says it belongs to, as `namespace/name`.
pub fn owner_of(live: &Value) -> Option<String> {
    let annotation = |name: &str| live["metadata"]["annotations"].get(name).and_then(Value::as_str);
    let name = annotation(RELEASE_NAME)?;
    Some(match annotation(RELEASE_NAMESPACE) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}

/// One object with what the target and the newer revisions say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectHistory {
    /// Which.
    pub key: ObjectKey,
    /// The `apiVersion` to use: the target's, else the newest revision's.
    pub api_version: String,
    /// What the target says, without Helm's ownership marks; `None` where it has no such object.
    pub target: Option<Value>,
    /// What newer revisions say, newest first, each once, without those that equal the target.
    pub newer: Vec<Value>,
    /// What the newest readable revision says; `None` where it has no such object.
    pub current: Option<Value>,
}

/// Puts the target's objects and those of newer revisions (newest first) together: the target's in its order, then what it
/// lacks in the order of the newest revision that has it.
pub fn histories(target: &[Rendered], newer: &[Vec<Rendered>]) -> Vec<ObjectHistory> {
    let mut all: Vec<ObjectHistory> = target
        .iter()
        .map(|object| ObjectHistory {
            key: object.key.clone(),
            api_version: object.api_version.clone(),
            target: Some(object.value.clone()),
            newer: Vec::new(),
            current: None,
        })
        .collect();
    let mut places: BTreeMap<ObjectKey, usize> =
        all.iter().enumerate().map(|(index, object)| (object.key.clone(), index)).collect();
    for (age, revision) in newer.iter().enumerate() {
        for object in revision {
            let place = *places.entry(object.key.clone()).or_insert_with(|| {
                all.push(ObjectHistory {
                    key: object.key.clone(),
                    api_version: object.api_version.clone(),
                    target: None,
                    newer: Vec::new(),
                    current: None,
                });
                all.len() - 1
            });
            let history = &mut all[place];
            if age == 0 {
                history.current = Some(object.value.clone());
            }
            if history.target.as_ref() != Some(&object.value) && !history.newer.contains(&object.value) {
                history.newer.push(object.value.clone());
            }
        }
    }
    all
}
