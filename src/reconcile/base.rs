//! Which stored record describes what runs.

use std::collections::BTreeMap;

use crate::helm::manifest::Manifest;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::StoredRecord;
use crate::workload::ContainerRef;

/// Whether a record is the placeholder of one of our operations.
///
/// Told by the annotation that the record carries. Helm never copies it forward: an upgrade takes over labels only.
pub fn is_our_pending(meta: &RecordMeta) -> bool {
    meta.operation.is_some() && meta.status.is_pending()
}

/// The record to make the next one from.
///
/// Candidates are the newest record and the newest deployed one: after a failed upgrade either may describe what runs. The one
/// whose manifest has more of the live images wins; if neither does, the newer. Placeholders of our own describe nothing, and
/// an uninstalled release has no workloads to describe. `records` may come in any order; `live` holds the images of the
/// workloads' templates.
pub fn choose_base<'a>(
    records: &'a [StoredRecord],
    live: &BTreeMap<ContainerRef, String>,
) -> Option<&'a StoredRecord> {
    let mut usable: Vec<&StoredRecord> =
        records.iter().filter(|stored| !is_our_pending(&stored.meta)).collect();
    usable.sort_by_key(|stored| std::cmp::Reverse(stored.meta.revision));
    let newest = *usable.first()?;
    if matches!(newest.meta.status, Status::Uninstalled | Status::Uninstalling) {
        return None;
    }
    let deployed = usable.iter().find(|stored| stored.meta.status == Status::Deployed);
    let agreement = |stored: &StoredRecord| {
        let images = Manifest::parse(stored.record.manifest(), &stored.meta.namespace).images();
        let equal = live.iter().filter(|(container, image)| images.get(container) == Some(image)).count();
        let known = live.keys().filter(|container| images.contains_key(container)).count();
        (equal, known)
    };
    match deployed {
        Some(deployed) if agreement(deployed) > agreement(newest) => Some(deployed),
        _ => Some(newest),
    }
}
