//! Which values drive an image: what stands where in the values, and whether the history agrees.
//!
//! A chart cannot be rendered again from its record, so nobody can ask the templates. But a leaf that stands beside the
//! image's repository, or that was the image's tag in revision after revision, is as good as an answer.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::values::{Path, prints};
use crate::registry::reference::ImageReference;
use crate::workload::ContainerRef;

use super::seen::{Seen, SeenContainer, is_empty, is_visible};
use super::shape::{Around, Shape, prefix};

/// How good the evidence is; the smaller the better. Only the best of a container's shapes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Repository and tag side by side.
    Beside,
    /// The whole image.
    Whole,
    /// A tag by itself that moved with the image.
    Tracked,
    /// An empty tag beside the repository, where history or `appVersion` says what fills it in.
    EmptyConfirmed,
    /// A tag by itself that says so by its name, equal now but never seen to move.
    Named,
    /// An empty tag beside the repository, where only the workload's version label says what fills it in. A template that
    /// falls back to another value's tag looks the same: such a value explains more.
    EmptyLabelled,
    /// An empty tag beside the repository: the convention of Helm's example chart.
    EmptyConventional,
}

/// A shape that the history supports.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    pub shape: Shape,
    pub tier: Tier,
    /// One clause for people.
    pub evidence: String,
}

/// What one revision says about a shape.
enum Verdict {
    /// It drives the image there, with this version.
    Agrees(String),
    /// It says nothing: the value or the container is not there.
    Silent,
    /// The value is there, and the image is another.
    Contradicts,
}

/// The values that drive a container's image in `reference`, judged by older revisions, newest first. Only the best tier.
pub(super) fn drivers(reference: &Seen, older: &[&Seen], container: &ContainerRef) -> Vec<Driver> {
    let Some(seen) = reference.containers.get(container) else {
        return Vec::new();
    };
    let mut drivers: Vec<Driver> = shapes(reference, seen)
        .into_iter()
        .filter_map(|shape| judge(shape, reference, older, container, seen))
        .collect();
    let Some(best) = drivers.iter().map(|driver| driver.tier).min() else {
        return Vec::new();
    };
    // A global tag that moved with the image drives it too, by a template that prefers it.
    let is_tracked_global = |driver: &Driver| {
        driver.tier == Tier::Tracked
            && matches!(&driver.shape, Shape::Bare { leaf } if leaf.is_within(&Path::of_keys(["global"])) && names_tag(leaf.last_key()))
    };
    drivers.retain(|driver| driver.tier == best || is_tracked_global(driver));
    // Among tags by themselves those that are called so come first: a banner may show the version as well.
    let named = |driver: &Driver| matches!(&driver.shape, Shape::Bare { leaf } if names_tag(leaf.last_key()));
    if best == Tier::Tracked && drivers.iter().any(named) {
        drivers.retain(named);
    }
    drivers
}

/// Whether a key is called a tag or a version.
pub(super) fn names_tag(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("tag") || key.ends_with("version")
}

/// Every shape in the values that fits the image.
fn shapes(seen: &Seen, container: &SeenContainer) -> Vec<Shape> {
    let image = &container.image;
    let mut shapes = Vec::new();
    // Leaves that a mapping explains already: its tag, and a repository that has a place for a tag beside it.
    let mut is_beside = BTreeSet::new();
    for map in seen.maps.iter().filter(|path| is_visible(path, &container.scope)) {
        if let Some(shape) = beside(seen, map, image) {
            if let Shape::Beside { repository: (repository, _), tag: Some(tag), .. } = &shape {
                is_beside.extend([map.join(tag), map.join(repository)]);
            }
            shapes.push(shape);
        }
    }
    for leaf in seen.leaves.iter().filter(|path| is_visible(path, &container.scope)) {
        let Some(value) = leaf.find(&seen.values) else {
            continue;
        };
        if is_beside.contains(leaf) {
            continue;
        }
        if let Some(prefix) = value.as_str().and_then(|text| whole(text, container)) {
            shapes.push(Shape::Whole { leaf: leaf.clone(), prefix });
        } else if image.tag.as_deref().is_some_and(|tag| prints(value, tag)) {
            shapes.push(Shape::Bare { leaf: leaf.clone() });
        }
    }
    shapes
}

/// The prefix of a leaf that holds the whole image.
fn whole(text: &str, container: &SeenContainer) -> Option<String> {
    if text == container.text {
        return Some(String::new());
    }
    let image = &container.image;
    let reference: ImageReference = text.parse().ok()?;
    let is_whole = reference.tag.is_some() || reference.digest.is_some();
    if !is_whole || reference.tag != image.tag || reference.digest != image.digest {
        return None;
    }
    prefix(&image.repository, &reference.repository).map(str::to_owned)
}

/// Whether a mapping holds an image's repository, and where its tag and digest are then.
fn beside(seen: &Seen, path: &Path, image: &ImageReference) -> Option<Shape> {
    let map = seen.map(path)?;
    // The longest match is the repository; a shorter one may be a name that happens to be its end.
    let (key, value) = map
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| prefix(&image.repository, value).is_some())
        .max_by_key(|(_, value)| value.len())?;
    let before = prefix(&image.repository, value)?;
    let tag_text = match (&image.tag, &image.digest) {
        (Some(tag), Some(digest)) => vec![tag.clone(), format!("{tag}@{digest}")],
        (Some(tag), None) => vec![tag.clone()],
        _ => Vec::new(),
    };
    let others = || map.iter().filter(|(other, _)| *other != key);
    let tag = others()
        .filter(|(_, value)| tag_text.iter().any(|text| prints(value, text)))
        .max_by_key(|(other, _)| (names_tag(other), std::cmp::Reverse(other.len())))
        .or_else(|| others().find(|(other, value)| names_tag(other) && is_empty(value)))
        .map(|(other, _)| (other.clone(), Around::default()))
        .or_else(|| {
            let whole = image.tag.as_deref()?;
            others()
                .filter(|(other, _)| names_tag(other))
                .find_map(|(other, value)| Some((other.clone(), Around::find(whole, value.as_str()?)?)))
        });
    let (tag, around) = match tag {
        Some((tag, around)) => (Some(tag), around),
        None => (None, Around::default()),
    };
    // A tag that is set to something else: this is not where the image comes from.
    if tag.is_none()
        && others().any(|(other, value)| other.to_ascii_lowercase().ends_with("tag") && !is_empty(value))
    {
        return None;
    }
    let digest = others()
        .find(|(other, value)| {
            let text = value.as_str().unwrap_or_default();
            let holds =
                image.digest.as_deref().is_some_and(|digest| !text.is_empty() && digest.ends_with(text));
            holds || other.to_ascii_lowercase().ends_with("digest")
        })
        .map(|(other, _)| other.clone());
    // A mere ending needs more: the registry in the same mapping or among the globals, or the tag.
    let holds_tag = tag
        .as_ref()
        .filter(|tag| names_tag(tag))
        .is_some_and(|tag| tag_text.iter().any(|text| prints(&map[tag], text)));
    let is_registry = |path: &Path| path.find(&seen.values).and_then(Value::as_str) == Some(before);
    let knows_registry = before.is_empty()
        || others().any(|(_, value)| value.as_str() == Some(before))
        || seen.leaves.iter().any(|leaf| leaf.is_within(&Path::of_keys(["global"])) && is_registry(leaf));
    (holds_tag || knows_registry).then(|| Shape::Beside {
        map: path.clone(),
        repository: (key.clone(), before.to_owned()),
        tag,
        around,
        digest,
    })
}

/// What a revision says about a shape.
fn verdict(shape: &Shape, seen: &Seen, container: &ContainerRef) -> Verdict {
    let Some(container) = seen.containers.get(container) else {
        return Verdict::Silent;
    };
    let image = &container.image;
    let version = || image.version().to_owned();
    let agree_if = |agrees: bool| {
        if agrees { Verdict::Agrees(version()) } else { Verdict::Contradicts }
    };
    match shape {
        Shape::Whole { leaf, .. } => match leaf.find(&seen.values).and_then(Value::as_str) {
            Some(text) => agree_if(whole(text, container).is_some()),
            None => Verdict::Silent,
        },
        Shape::Bare { leaf } => match leaf.find(&seen.values) {
            Some(value) if !value.is_object() && value.as_str() != Some("") => {
                agree_if(image.tag.as_deref().is_some_and(|tag| prints(value, tag)))
            }
            _ => Verdict::Silent,
        },
        Shape::Beside { map, repository: (key, before), tag: Some(tag), around, .. } => {
            let Some(map) = seen.map(map) else {
                return Verdict::Silent;
            };
            let holds_repository =
                map.get(key).and_then(Value::as_str).and_then(|name| prefix(&image.repository, name))
                    == Some(before);
            match map.get(tag) {
                Some(value) if holds_repository && !value.is_null() && value.as_str() != Some("") => {
                    let with_digest = image
                        .digest
                        .as_ref()
                        .map(|digest| format!("{}@{digest}", image.tag.as_deref().unwrap_or_default()));
                    let part = image.tag.as_deref().and_then(|tag| around.strip(tag));
                    agree_if(
                        part.is_some_and(|part| prints(value, part))
                            || with_digest.is_some_and(|text| prints(value, &text)),
                    )
                }
                _ => Verdict::Silent,
            }
        }
        Shape::Beside { .. } => Verdict::Silent,
    }
}

fn judge(
    shape: Shape,
    reference: &Seen,
    older: &[&Seen],
    container: &ContainerRef,
    seen: &SeenContainer,
) -> Option<Driver> {
    let mut versions = BTreeSet::new();
    let is_set = match verdict(&shape, reference, container) {
        Verdict::Agrees(version) => versions.insert(version),
        Verdict::Silent => false,
        Verdict::Contradicts => return None,
    };
    let mut revisions = Vec::new();
    for &earlier in older {
        match verdict(&shape, earlier, container) {
            Verdict::Agrees(version) => {
                versions.insert(version);
                revisions.push(earlier.revision);
            }
            Verdict::Silent => {}
            Verdict::Contradicts if earlier.is_ours => {}
            // The same templates did something else with it: it is not what drives the image.
            Verdict::Contradicts if earlier.chart == reference.chart => return None,
            Verdict::Contradicts => break,
        }
    }
    let history = match revisions.as_slice() {
        [] => String::new(),
        revisions => format!(
            ", the image's version also in revision{} {}",
            if revisions.len() == 1 { "" } else { "s" },
            join(revisions)
        ),
    };
    let (tier, evidence) = match &shape {
        Shape::Whole { .. } => (Tier::Whole, format!("holds the whole image{history}")),
        Shape::Bare { .. } if versions.len() > 1 => (Tier::Tracked, format!("moves with the image{history}")),
        Shape::Bare { leaf } if names_tag(leaf.last_key()) => {
            (Tier::Named, format!("equals the image's tag{history}"))
        }
        Shape::Bare { .. } => return None,
        // Once it may be a coincidence that the value stands in the tag.
        Shape::Beside { around, .. } if !around.is_empty() && versions.len() < 2 => return None,
        Shape::Beside { map, repository: (key, _), tag, around, digest } => {
            let mut beside = format!("beside {}", map.join(key));
            if !around.is_empty() {
                beside = format!("{beside}, {around}");
            }
            let fills_in = |version: &Option<String>| version.is_some() && *version == seen.image.tag;
            let holds_digest = digest.as_ref().is_some_and(|digest| {
                seen.image.digest.is_some()
                    && reference
                        .map(map)
                        .and_then(|map| map.get(digest))
                        .and_then(Value::as_str)
                        .is_some_and(|text| !text.is_empty())
            });
            if is_set || holds_digest {
                (Tier::Beside, format!("{beside}{history}"))
            } else if tag.is_some() && !revisions.is_empty() {
                (Tier::EmptyConfirmed, format!("{beside}, empty until now{history}"))
            } else if fills_in(&reference.app_version) {
                (Tier::EmptyConfirmed, format!("{beside}, filled in from appVersion"))
            } else if fills_in(&seen.version_label) {
                (Tier::EmptyLabelled, format!("{beside}, filled in from appVersion"))
            } else if tag.is_some() {
                (Tier::EmptyConventional, format!("{beside}, empty until now"))
            } else {
                return None;
            }
        }
    };
    Some(Driver { shape, tier, evidence })
}

fn join(revisions: &[u64]) -> String {
    let texts: Vec<String> = revisions.iter().map(u64::to_string).collect();
    texts.join(", ")
}
