//! A release's stored manifest: the objects that Helm rendered, as text, as JSON, and by container.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::containers::{self, FoundContainer};
use super::yaml::{Document, YamlError};
use crate::workload::{ContainerRef, WorkloadKind, WorkloadRef};

/// A document that cannot be read; the others can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be read: {error}", source_name(*document, source_path.as_deref()))]
pub struct ManifestError {
    /// Index of the document within the manifest, from 0.
    pub document: usize,
    /// The template that it came from, by its `# Source:` comment.
    pub source_path: Option<String>,
    /// What is wrong with it.
    pub error: YamlError,
}

/// How to name a document to a person.
fn source_name(document: usize, source: Option<&str>) -> String {
    match source {
        Some(source) => format!("the manifest's document from {source}"),
        None => format!("the manifest's document {}", document + 1),
    }
}

/// One object of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestObject {
    /// Index of its document within the manifest, from 0.
    pub document: usize,
    /// The template that it came from, by the `# Source:` comment.
    pub source: Option<String>,
    /// The object, without what Helm adds when it sends it.
    pub value: Value,
}

/// A container of a workload in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestContainer {
    /// Which one.
    pub container: ContainerRef,
    /// Whether it is an init container.
    pub is_init: bool,
    /// Its image, as the text says.
    pub image: String,
    /// The template that it came from.
    pub source: Option<String>,
    /// Index of its document within the manifest, from 0.
    pub document: usize,
}

/// A piece of the manifest between two separators.
#[derive(Debug)]
pub(super) struct Part {
    /// Its place in the manifest's text.
    pub range: Range<usize>,
    /// The template that it came from.
    pub source: Option<String>,
    /// Its tree and its JSON.
    pub content: Result<(Document, Value), YamlError>,
}

/// A parsed manifest.
#[derive(Debug)]
pub struct Manifest {
    namespace: String,
    parts: Vec<Part>,
}

impl Manifest {
    /// Parses a manifest. Objects that name no namespace get `namespace`: the release's.
    ///
    /// A document that cannot be read is kept as a [problem](Self::problems).
    pub fn parse(text: &str, namespace: &str) -> Self {
        let parts = split(text)
            .into_iter()
            .map(|range| Part {
                source: source_path(&text[range.clone()]),
                content: read(&text[range.clone()]),
                range,
            })
            .filter(|part| !matches!(&part.content, Ok((_, Value::Null))))
            .collect();
        Self { namespace: namespace.to_owned(), parts }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The documents that cannot be read.
    pub fn problems(&self) -> Vec<ManifestError> {
        self.parts
            .iter()
            .enumerate()
            .filter_map(|(document, part)| {
                let error = part.content.as_ref().err()?;
                Some(ManifestError { document, source_path: part.source.clone(), error: error.clone() })
            })
            .collect()
    }

    /// Every object, lists taken apart, in the order in which Helm would send them.
    pub fn objects(&self) -> Vec<ManifestObject> {
        self.values()
            .map(|(document, value)| ManifestObject {
                document,
                source: self.parts[document].source.clone(),
                value: value.clone(),
            })
            .collect()
    }

    /// Which container of ours a found one is; `None` for kinds whose images we do not change.
    pub(super) fn container_ref(&self, found: &FoundContainer) -> Option<ContainerRef> {
        Some(ContainerRef {
            workload: WorkloadRef {
                kind: WorkloadKind::from_api(&found.kind)?,
                namespace: found.namespace.clone().unwrap_or_else(|| self.namespace.clone()),
                name: found.object.clone(),
            },
            container: found.container.clone(),
        })
    }

    /// The containers of Deployments, StatefulSets, DaemonSets and CronJobs that have an image.
    pub fn containers(&self) -> Vec<ManifestContainer> {
        let mut all = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let Ok((tree, _)) = &part.content else { continue };
            all.extend(containers::containers(tree).iter().filter_map(|found| {
                Some(ManifestContainer {
                    container: self.container_ref(found)?,
                    is_init: found.is_init,
                    image: tree.text(found.image?)?.to_owned(),
                    source: part.source.clone(),
                    document: index,
                })
            }));
        }
        all
    }

    /// The image of every such container. Where an object is rendered twice the later one counts: Helm sends it last.
    pub fn images(&self) -> BTreeMap<ContainerRef, String> {
        self.containers().into_iter().map(|found| (found.container, found.image)).collect()
    }

    /// The workloads of the manifest.
    pub fn workloads(&self) -> BTreeSet<WorkloadRef> {
        self.workload_objects().map(|(workload, _)| workload).collect()
    }

    /// The replicas that the manifest asks for; `None` when it leaves them to the server or to an autoscaler.
    pub fn replicas(&self, workload: &WorkloadRef) -> Option<i64> {
        self.workload_objects()
            .rev()
            .find(|(found, _)| found == workload)
            .and_then(|(_, object)| object.pointer("/spec/replicas")?.as_i64())
    }

    /// The objects by place, with the index of their document.
    fn values(&self) -> impl DoubleEndedIterator<Item = (usize, &Value)> {
        self.parts.iter().enumerate().flat_map(|(index, part)| {
            part.content.iter().flat_map(move |(tree, value)| {
                containers::objects(tree)
                    .into_iter()
                    .filter_map(move |object| Some((index, value.pointer(&object.pointer)?)))
            })
        })
    }

    /// The workloads with their objects.
    pub(crate) fn workload_objects(&self) -> impl DoubleEndedIterator<Item = (WorkloadRef, &Value)> {
        self.values().filter_map(|(_, object)| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let kind = text("/kind")?;
            containers::pod_spec_path(text("/apiVersion")?, kind)?;
            let workload = WorkloadRef {
                kind: WorkloadKind::from_api(kind)?,
                namespace: text("/metadata/namespace")
                    .filter(|namespace| !namespace.is_empty())
                    .unwrap_or(&self.namespace)
                    .to_owned(),
                name: text("/metadata/name")?.to_owned(),
            };
            Some((workload, object))
        })
    }
}

fn read(text: &str) -> Result<(Document, Value), YamlError> {
    let tree = Document::parse(text)?;
    let value = tree.to_json()?;
    if value.is_object() || value.is_null() {
        Ok((tree, value))
    } else {
        Err(YamlError::Value("it is no object".to_owned()))
    }
}

/// The places of a manifest's documents: between lines that start with `---`, wherever they stand.
///
/// What follows `---` on its line belongs to the document, and so does the line break before it: without it the text
/// of a block at the end of a document would lose its own.
fn split(text: &str) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut line = 0_usize;
    for part in text.split_inclusive('\n') {
        if let Some(rest) = part.strip_prefix("---") {
            documents.push(start..line);
            start = line + part.len() - rest.trim_start_matches([' ', '\t']).len();
        }
        line += part.len();
    }
    documents.push(start..text.len());
    documents.retain(|range| !text[range.clone()].trim().is_empty());
    documents
}

/// The path in a document's `# Source:` comment, which stands before its content.
fn source_path(text: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .find_map(|line| line.strip_prefix("# Source:"))
        .map(|path| path.trim().to_owned())
}
