//! What Helm's record must say after an emergency: revision N+1, computed from the record that describes what runs.
//!
//! Pure. The stored manifest is edited, never rendered: stored charts lack their subcharts' templates. The user's values get the
//! tags that drive the swapped images, found by evidence; what cannot be placed is reported with what the next upgrade needs.

mod base;
mod evidence;
mod rollback;
mod seen;
mod shape;
mod transition;
mod values;

#[cfg(test)]
mod rollback_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values_tests;

use crate::helm::edit::{self, EditError};
use crate::helm::manifest::Manifest;
use crate::helm::record::Record;
use crate::helm::status::Status;
use crate::helm::values::{Path, set};
use crate::registry::reference::ImageReference;
use crate::workload::ContainerRef;

pub use base::{choose_base, is_our_pending};
pub use rollback::{rollback_failed, rollback_record, rolled_back};
pub use transition::{
    Closing, LONGEST_DESCRIPTION, close, description, failed_description, pending, shorten, to_settle,
    undone_description,
};
pub use transition::{Described, read_description};

/// How the description of every record of ours starts.
pub const DESCRIPTION_PREFIX: &str = "kubectl-rollback ";

/// A container and the image that it runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The container.
    pub container: ContainerRef,
    /// Its new image.
    pub to: ImageReference,
}

/// What to write a record about.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The record that describes what ran before; see [`choose_base`].
    pub base: &'a Record,
    /// Other stored revisions, as evidence. Order does not matter; more is better, a handful is enough.
    pub older: &'a [Record],
    /// The containers that run another image than the base says.
    pub swaps: &'a [Swap],
    /// The namespace that the release's objects live in.
    pub namespace: &'a str,
    /// The number of the new revision.
    pub revision: u64,
    /// Now.
    pub now: jiff::Timestamp,
    /// The status to write.
    pub status: Status,
    /// The description to write; see [`description`].
    pub description: &'a str,
}

/// A user value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueEdit {
    /// Where.
    pub path: Path,
    /// The text, always a string: an all-digit tag must not become a number.
    pub value: String,
    /// Why there, as a clause for people.
    pub evidence: String,
    /// The containers whose images it drives.
    pub containers: Vec<ContainerRef>,
}

/// An image that no value could be set for: the next upgrade would bring the old one back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    /// The container.
    pub container: ContainerRef,
    /// What it runs.
    pub image: ImageReference,
    /// Why no value was set.
    pub reason: String,
    /// A flag for `helm upgrade` that may do it, where there is a plausible place.
    pub suggestion: Option<String>,
}

/// The new record, and what to say about it.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// Revision N+1.
    pub record: Record,
    /// The values that were set.
    pub edits: Vec<ValueEdit>,
    /// The images that no value was found for. The record is true all the same.
    pub unplaced: Vec<Unplaced>,
    /// The images that could not be written into the manifest: there the record is not true.
    pub manifest_unplaced: Vec<(ContainerRef, EditError)>,
    /// What could not be done to hooks, and which documents of the manifest cannot be read.
    pub problems: Vec<String>,
    /// The newest stored revision whose manifest has exactly these images: a full rollback to it is possible.
    pub same_images_as: Option<u64>,
}

/// Computes revision N+1.
pub fn reconcile(request: &Request<'_>) -> Reconciled {
    let base = request.base;
    let manifest = Manifest::parse(base.manifest(), request.namespace);
    let before = manifest.images();
    let mut problems: Vec<String> = manifest.problems().iter().map(ToString::to_string).collect();

    let mut record = base.clone();
    record.set_revision(request.revision);
    record.set_last_deployed(request.now);
    record.set_status(&request.status);
    record.set_description(request.description);

    // The manifest.
    let images: Vec<(ContainerRef, ImageReference)> =
        request.swaps.iter().map(|swap| (swap.container.clone(), swap.to.clone())).collect();
    let edited = edit::set_images(base.manifest(), request.namespace, &images);
    record.set_manifest(edited.text);

    // Hooks of a swapped image.
    let pairs: Vec<(String, ImageReference)> = request
        .swaps
        .iter()
        .filter_map(|swap| Some((before.get(&swap.container)?.clone(), swap.to.clone())))
        .collect();
    for (index, hook) in base.hooks().enumerate() {
        let edited = edit::replace_images(hook.manifest(), &pairs);
        problems.extend(edited.unplaced.into_iter().map(|(image, error)| {
            format!("hook {} {}: image {image} stays: {error}", hook.kind(), hook.name())
        }));
        if edited.changed > 0 {
            record.set_hook_manifest(index, edited.text);
        }
    }

    // The values.
    let base_seen = seen::Seen::of(base, &manifest);
    let mut older: Vec<(&Record, Manifest)> = request
        .older
        .iter()
        .filter(|record| record.revision() != base.revision() && record.revision() != request.revision)
        .map(|record| (record, Manifest::parse(record.manifest(), request.namespace)))
        .collect();
    older.sort_by_key(|(record, _)| std::cmp::Reverse(record.revision()));
    let older_seen: Vec<seen::Seen> =
        older.iter().map(|(record, manifest)| seen::Seen::of(record, manifest)).collect();
    let wishes: Vec<values::Wish> = request
        .swaps
        .iter()
        .filter(|swap| before.get(&swap.container) != Some(&swap.to.to_string()))
        .map(|swap| values::Wish { container: swap.container.clone(), to: swap.to.clone() })
        .collect();
    let (edits, unplaced) = values::place(&base_seen, &older_seen, &wishes);
    for edit in &edits {
        set(record.config_mut(), &base_seen.values, &edit.path, &edit.value);
    }

    let after = Manifest::parse(record.manifest(), request.namespace).images();
    let same_images_as = std::iter::once((base, &manifest))
        .chain(older.iter().map(|(record, manifest)| (*record, manifest)))
        .filter(|_| edited.unplaced.is_empty())
        .filter(|(_, manifest)| manifest.problems().is_empty() && manifest.images() == after)
        .map(|(record, _)| record.revision())
        .max();
    problems.dedup();
    Reconciled { record, edits, unplaced, manifest_unplaced: edited.unplaced, problems, same_images_as }
}
