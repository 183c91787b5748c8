//! The containers of a manifest's objects, and where each one's image stands in the text.

use super::yaml::{Document, NodeId};

/// A container as a document shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundContainer {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// `kind` of the object.
    pub kind: String,
    /// `metadata.namespace`, if the object names one.
    pub namespace: Option<String>,
    /// `metadata.name` of the object.
    pub object: String,
    /// The container's name.
    pub container: String,
    /// Whether it is an init container.
    pub is_init: bool,
    /// The node that is the value of `image`; an alias where the text has one. `None` without an image.
    pub image: Option<NodeId>,
    /// JSON pointer of the container within the document.
    pub pointer: String,
}

/// Where objects of a kind have their pod's `spec`; `None` for kinds that start no pods.
///
/// The kinds are the built-in ones: what another API group means by the same word is not known here.
pub fn pod_spec_path(api_version: &str, kind: &str) -> Option<&'static [&'static str]> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(&["spec"]),
        ("apps" | "extensions", "Deployment" | "DaemonSet" | "ReplicaSet")
        | ("apps", "StatefulSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template", "spec"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// One object of a document, or of the `List` that the document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectNode {
    /// The object's node.
    pub node: NodeId,
    /// Its JSON pointer within the document.
    pub pointer: String,
}

/// The objects of a document, lists taken apart: whatever has `items` is one, as in Helm.
pub fn objects(document: &Document) -> Vec<ObjectNode> {
    let mut found = Vec::new();
    if let Some(root) = document.root() {
        collect_objects(document, root, String::new(), 0, &mut found);
    }
    found
}

fn collect_objects(
    document: &Document,
    node: NodeId,
    pointer: String,
    depth: usize,
    found: &mut Vec<ObjectNode>,
) {
    // Lists of lists exist; lists of lists of lists are somebody's mistake.
    const DEEPEST_LIST: usize = 4;
    match document.get(node, "items") {
        Some(items) if document.is_sequence(items) && depth < DEEPEST_LIST => {
            for (index, &item) in document.items(items).iter().enumerate() {
                collect_objects(document, item, format!("{pointer}/items/{index}"), depth + 1, found);
            }
        }
        _ => found.push(ObjectNode { node, pointer }),
    }
}

/// Every container of every object in a document that starts pods, in the order of the text.
pub fn containers(document: &Document) -> Vec<FoundContainer> {
    objects(document).iter().flat_map(|object| containers_of(document, object)).collect()
}

fn containers_of(document: &Document, object: &ObjectNode) -> Vec<FoundContainer> {
    let text_at = |node: Option<NodeId>, key: &str| {
        node.and_then(|node| document.get(node, key))
            .and_then(|value| document.text(value))
            .map(str::to_owned)
    };
    let node = Some(object.node);
    let api_version = text_at(node, "apiVersion").unwrap_or_default();
    let kind = text_at(node, "kind").unwrap_or_default();
    let metadata = document.get(object.node, "metadata");
    let Some(path) = pod_spec_path(&api_version, &kind) else {
        return Vec::new();
    };
    let Some(name) = text_at(metadata, "name") else {
        return Vec::new();
    };
    let pod_spec = path.iter().try_fold(object.node, |node, key| document.get(node, key));
    let Some(pod_spec) = pod_spec else {
        return Vec::new();
    };
    let namespace = text_at(metadata, "namespace").filter(|namespace| !namespace.is_empty());
    let mut found = Vec::new();
    for (list, is_init) in [("initContainers", true), ("containers", false)] {
        let items = document.get(pod_spec, list).map_or(&[][..], |list| document.items(list));
        for (index, &item) in items.iter().enumerate() {
            let Some(container) = text_at(Some(item), "name") else {
                continue;
            };
            found.push(FoundContainer {
                api_version: api_version.clone(),
                kind: kind.clone(),
                namespace: namespace.clone(),
                object: name.clone(),
                container,
                is_init,
                image: document.get(item, "image"),
                pointer: format!("{}/{}/{list}/{index}", object.pointer, path.join("/")),
            });
        }
    }
    found
}
