//! Changes images inside a stored manifest and leaves every other byte as it is.
//!
//! Helm's record keeps the text that was rendered: comments, quotes, anchors. We replace the image scalars where they
//! stand, read the result again, and take it only if exactly the intended images differ. What cannot be changed
//! that way is reported, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::Value;

use super::containers::{self, FoundContainer};
use super::manifest::Manifest;
use super::scalar::{self, Tag};
use super::yaml::{Content, Document, NodeId};
use crate::registry::reference::ImageReference;
use crate::workload::ContainerRef;

/// Why an image could not be changed in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No such container in the manifest.
    #[error("the manifest does not have this container")]
    NotFound,
    /// The document that has it cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The container has no image, or one that is no text.
    #[error("the manifest has no image text for this container")]
    NoImage,
    /// The text cannot be changed without changing something else, or not to exactly this image.
    #[error("the manifest's text for it cannot be changed alone (a YAML anchor, a merge or a block text)")]
    Entangled,
    /// Two different images were asked for.
    #[error("two different images are asked for: {0} and {1}")]
    Contradiction(String, String),
}

/// An edited manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited<Subject> {
    /// The text.
    pub text: String,
    /// How many images differ from before.
    pub changed: usize,
    /// What could not be changed, and why. Its text is as before.
    pub unplaced: Vec<(Subject, EditError)>,
}

/// Sets the images of containers in a release's manifest.
///
/// Objects that name no namespace are taken for `namespace`, the release's. A container that is rendered twice is changed
/// in both places.
pub fn set_images(
    text: &str,
    namespace: &str,
    images: &[(ContainerRef, ImageReference)],
) -> Edited<ContainerRef> {
    let manifest = Manifest::parse(text, namespace);
    let mut wanted: BTreeMap<&ContainerRef, String> = BTreeMap::new();
    let mut unplaced: BTreeMap<ContainerRef, EditError> = BTreeMap::new();
    for (container, image) in images {
        let image = image.to_string();
        match wanted.get(container) {
            Some(first) if *first != image => {
                let error = EditError::Contradiction(first.clone(), image);
                unplaced.insert(container.clone(), error);
            }
            _ => {
                wanted.insert(container, image);
            }
        }
    }
    wanted.retain(|container, _| !unplaced.contains_key(container));

    let mut missing: BTreeSet<ContainerRef> = wanted.keys().map(|&container| container.clone()).collect();
    let edited = edit(
        text,
        &manifest,
        |found, _| {
            let container = manifest.container_ref(found)?;
            let image = wanted.get(&container)?.clone();
            missing.remove(&container);
            Some((container, image))
        },
        &mut unplaced,
    );
    // A document that cannot be read may well be the one that has the container.
    let unreadable = manifest.problems().first().map(ToString::to_string);
    for container in missing {
        let error = unreadable.clone().map_or(EditError::NotFound, EditError::Unreadable);
        unplaced.insert(container, error);
    }
    Edited { text: edited.0, changed: edited.1, unplaced: unplaced.into_iter().collect() }
}

/// Replaces images in a hook's manifest: every container, of any kind that starts pods, whose image is the first of a pair
/// gets the second.
pub fn replace_images(text: &str, images: &[(String, ImageReference)]) -> Edited<String> {
    let mut wanted: BTreeMap<&str, String> = BTreeMap::new();
    let mut contradictions: BTreeMap<&str, EditError> = BTreeMap::new();
    for (from, to) in images {
        let to = to.to_string();
        match wanted.get(from.as_str()) {
            Some(first) if *first != to => {
                contradictions.insert(from, EditError::Contradiction(first.clone(), to));
            }
            _ => {
                wanted.insert(from, to);
            }
        }
    }
    wanted.retain(|from, _| !contradictions.contains_key(*from));
    let manifest = Manifest::parse(text, "");
    let mut unplaced: BTreeMap<String, EditError> = BTreeMap::new();
    let mut contradicted: BTreeMap<String, EditError> = BTreeMap::new();
    let (text, changed) = edit(
        text,
        &manifest,
        |_, image| {
            let image = image?;
            // Only a contradiction if the hook has that image at all.
            if let Some(error) = contradictions.get(image) {
                contradicted.insert(image.to_owned(), error.clone());
            }
            Some((image.to_owned(), wanted.get(image)?.clone()))
        },
        &mut unplaced,
    );
    unplaced.extend(contradicted);
    Edited { text, changed, unplaced: unplaced.into_iter().collect() }
}

/// One image to be changed within a document.
struct Target<Subject> {
    subject: Subject,
    node: NodeId,
    pointer: String,
    image: String,
}

/// Edits document by document; returns the text and the number of images that changed.
fn edit<Subject: Clone + Ord>(
    text: &str,
    manifest: &Manifest,
    mut wanted: impl FnMut(&FoundContainer, Option<&str>) -> Option<(Subject, String)>,
    unplaced: &mut BTreeMap<Subject, EditError>,
) -> (String, usize) {
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    let mut changed = 0;
    for part in manifest.parts() {
        let Ok((tree, value)) = &part.content else {
            continue;
        };
        let mut targets = Vec::new();
        for found in containers::containers(tree) {
            let current = found.image.and_then(|node| tree.text(node));
            let Some((subject, image)) = wanted(&found, current) else {
                continue;
            };
            match found.image.filter(|_| current.is_some()) {
                None => {
                    unplaced.insert(subject, EditError::NoImage);
                }
                Some(_) if current == Some(image.as_str()) => {}
                Some(node) => {
                    targets.push(Target {
                        subject,
                        node,
                        pointer: format!("{}/image", found.pointer),
                        image,
                    });
                }
            }
        }
        if targets.is_empty() {
            continue;
        }
        let document = &text[part.range.clone()];
        let edited = edit_document(document, tree, value, &targets, unplaced, &mut changed);
        result.push_str(&text[copied..part.range.start]);
        result.push_str(&edited);
        copied = part.range.end;
    }
    result.push_str(&text[copied..]);
    (result, changed)
}

fn edit_document<Subject: Clone + Ord>(
    text: &str,
    tree: &Document,
    value: &Value,
    targets: &[Target<Subject>],
    unplaced: &mut BTreeMap<Subject, EditError>,
    changed: &mut usize,
) -> String {
    // All at once keeps anchors that several of the targets share.
    let all: Vec<&Target<Subject>> = targets.iter().collect();
    if let Some(edited) = attempt(text, tree, value, &all, false) {
        *changed += targets.len();
        return edited;
    }
    // One by one, so that what cannot be placed does not hold up the others.
    let mut text = text.to_owned();
    let mut current: Option<(Document, Value)> = None;
    for target in targets {
        let (tree, value) = current.as_ref().map_or((tree, value), |(tree, value)| (tree, value));
        // Nodes are numbered anew after each edit; the pointer finds this one again.
        let edited = find(tree, &target.pointer).and_then(|node| {
            let moved =
                Target { subject: (), node, pointer: target.pointer.clone(), image: target.image.clone() };
            attempt(&text, tree, value, &[&moved], true)
        });
        let parsed = edited.and_then(|edited| {
            let tree = Document::parse(&edited).ok()?;
            let value = tree.to_json().ok()?;
            Some((edited, tree, value))
        });
        match parsed {
            Some((edited, tree, value)) => {
                text = edited;
                current = Some((tree, value));
                *changed += 1;
            }
            None => {
                unplaced.insert(target.subject.clone(), EditError::Entangled);
            }
        }
    }
    text
}

/// The image node of a container by its pointer.
fn find(tree: &Document, pointer: &str) -> Option<NodeId> {
    containers::containers(tree)
        .into_iter()
        .find(|found| pointer.strip_suffix("/image") == Some(found.pointer.as_str()))
        .and_then(|found| found.image)
}

/// Makes the edits and accepts the text only when reading it gives exactly the intended value.
fn attempt<Subject>(
    text: &str,
    tree: &Document,
    value: &Value,
    targets: &[&Target<Subject>],
    detach: bool,
) -> Option<String> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for target in targets {
        edits.extend(edits_for(text, tree, target, targets, detach)?);
    }
    edits.sort_by_key(|(range, _)| range.start);
    edits.dedup();
    if edits.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return None;
    }
    let mut edited = text.to_owned();
    for (range, replacement) in edits.iter().rev() {
        edited.replace_range(range.clone(), replacement);
    }
    let mut expected = value.clone();
    for target in targets {
        *expected.pointer_mut(&target.pointer)? = Value::from(target.image.as_str());
    }
    let reread = Document::parse(&edited).ok()?.to_json().ok()?;
    (reread == expected).then_some(edited)
}

/// The replacements that give one target its image.
fn edits_for<Subject>(
    text: &str,
    tree: &Document,
    target: &Target<Subject>,
    targets: &[&Target<Subject>],
    detach: bool,
) -> Option<Vec<(Range<usize>, String)>> {
    let definition = tree.target(target.node);
    let is_alias = definition != target.node;
    let definition_changes_too =
        targets.iter().any(|other| other.node == definition && other.image == target.image);
    if is_alias {
        if definition_changes_too {
            return Some(Vec::new());
        }
        let replacement =
            if is_plain(&target.image) { target.image.clone() } else { format!("\"{}\"", target.image) };
        return Some(vec![(tree.node(target.node).span.clone(), replacement)]);
    }
    let node = tree.node(definition);
    let mut edits = vec![replacement(text, &node.content, node.span.clone(), &target.image)?];
    if detach {
        // Everybody else who refers to this text keeps it, written out.
        let Content::Scalar { text: old, .. } = &node.content else {
            return None;
        };
        let written = serde_json::to_string(old).ok()?;
        edits.extend(
            tree.nodes()
                .filter(|(_, other)| matches!(other.content, Content::Alias(to) if to == definition))
                .map(|(_, other)| (other.span.clone(), written.clone())),
        );
    }
    Some(edits)
}

/// The new text of a scalar, in the style of the old.
fn replacement(
    text: &str,
    content: &Content,
    span: Range<usize>,
    image: &str,
) -> Option<(Range<usize>, String)> {
    let Content::Scalar { style, .. } = content else {
        return None;
    };
    let edit = match style {
        ScalarStyle::SingleQuoted => (span, format!("'{image}'")),
        ScalarStyle::Plain if is_plain(image) => (span, image.to_owned()),
        ScalarStyle::Plain | ScalarStyle::DoubleQuoted => (span, format!("\"{image}\"")),
        // The span of a block scalar is its lines without the header: only the one line of text goes.
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let lines = &text[span.clone()];
            let line = lines.trim();
            if line.is_empty() || line.contains(['\n', '\r']) {
                return None;
            }
            let start = span.start + lines.find(line)?;
            (start..start + line.len(), image.to_owned())
        }
    };
    Some(edit)
}

/// Whether an image can stand without quotes: it starts with no indicator and no reader takes it for a number.
fn is_plain(image: &str) -> bool {
    image.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !image.contains(['[', ']'])
        && scalar::resolve(image, Tag::Absent).is_ok_and(|value| value.is_string())
}
