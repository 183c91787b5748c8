//! The nodes that pods may land on: their platforms, and the images that they have. Who may not list nodes goes without.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Client;
use kube::api::{Api, ListParams, ResourceExt};

use crate::registry::{ImageReference, Platform, location};

/// What is wanted of the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Questions {
    /// What they run on.
    pub platforms: bool,
    /// What they have: a long list a node.
    pub images: bool,
}

/// A node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// What it runs on; `None` where it is not said.
    pub platform: Option<Platform>,
    /// The images that it lists, in full.
    pub images: BTreeSet<String>,
}

/// Reads the nodes; `None` where they were not asked for, or may not be read.
pub async fn read(client: &Client, questions: Questions) -> Option<Vec<Node>> {
    let api: Api<ApiNode> = Api::all(client.clone());
    let parameters = ListParams::default();
    if questions.images {
        let nodes = api.list(&parameters).await.ok()?;
        return Some(nodes.items.into_iter().map(with_images).collect());
    }
    if !questions.platforms {
        return None;
    }
    let nodes = api.list_metadata(&parameters).await.ok()?;
    let label = |node: &dyn Fn(&str) -> Option<String>| {
        Some(Platform { os: node("kubernetes.io/os")?, architecture: node("kubernetes.io/arch")? })
    };
    let read = nodes.items.iter().map(|node| Node {
        platform: label(&|name| node.labels().get(name).cloned()),
        images: BTreeSet::new(),
    });
    Some(read.collect())
}

fn with_images(node: ApiNode) -> Node {
    let status = node.status.unwrap_or_default();
    let names =
        status.images.unwrap_or_default().into_iter().flat_map(|image| image.names.unwrap_or_default());
    let images = names
        .filter_map(|name| name.parse::<ImageReference>().ok())
        .map(|image| location::in_full(&image))
        .collect();
    let platform =
        status.node_info.map(|info| Platform { os: info.operating_system, architecture: info.architecture });
    Node { platform, images }
}
