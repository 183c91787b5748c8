//! What one revision shows: the values that its templates saw, and the images that came out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::helm::manifest::Manifest;
use crate::helm::record::Record;
use crate::helm::values::{self, Path, Segment};
use crate::registry::reference::ImageReference;
use crate::workload::{ContainerRef, WorkloadRef};

use super::DESCRIPTION_PREFIX;

/// The label in which charts that follow Helm's own example render their `appVersion`.
const VERSION_LABEL: &str = "/metadata/labels/app.kubernetes.io~1version";

/// A container as a revision rendered it.
#[derive(Debug, Clone)]
pub(super) struct SeenContainer {
    /// The image, as text.
    pub text: String,
    /// The image, taken apart.
    pub image: ImageReference,
    /// Where the values of its template's chart start: the names of the subcharts down to it.
    pub scope: Path,
    /// The version label of its workload.
    pub version_label: Option<String>,
}

/// A revision, prepared for looking for evidence.
#[derive(Debug)]
pub(super) struct Seen {
    pub revision: u64,
    /// Whether we wrote it: its values need not explain its images.
    pub is_ours: bool,
    pub chart: String,
    pub app_version: Option<String>,
    pub values: Map<String, Value>,
    pub containers: BTreeMap<ContainerRef, SeenContainer>,
    /// Every mapping of the values.
    pub maps: Vec<Path>,
    /// Every value that is neither mapping nor list.
    pub leaves: Vec<Path>,
    /// Tags in mappings of the chart's defaults where the tag and the `repository` beside it are empty, and still are.
    pub open_tags: Vec<Path>,
}

impl Seen {
    pub(super) fn of(record: &Record, manifest: &Manifest) -> Self {
        let labels: BTreeMap<WorkloadRef, String> = manifest
            .workload_objects()
            .filter_map(|(workload, object)| {
                let label = object.pointer(VERSION_LABEL)?.as_str()?.to_owned();
                Some((workload, label))
            })
            .collect();
        let containers = manifest
            .containers()
            .into_iter()
            .filter_map(|found| {
                let container = SeenContainer {
                    image: found.image.parse().ok()?,
                    text: found.image,
                    scope: scope(found.source.as_deref().unwrap_or_default()),
                    version_label: labels.get(&found.container.workload).cloned(),
                };
                Some((found.container, container))
            })
            .collect();
        let values = values::coalesce(record.chart_values(), record.config());
        let (mut maps, mut leaves) = (vec![Path::default()], Vec::new());
        for (key, value) in &values {
            collect(value, &Path::of_keys([key.as_str()]), &mut maps, &mut leaves);
        }
        // Empty places are looked for in the defaults themselves: what is null there is no value that templates see.
        let mut open_tags = Vec::new();
        for (key, value) in record.chart_values().into_iter().flatten() {
            collect_open_tags(value, &Path::of_keys([key.as_str()]), &mut open_tags);
        }
        open_tags.retain(|tag| tag.find(&values).is_none_or(is_empty));
        Self {
            revision: record.revision(),
            is_ours: record.description().starts_with(DESCRIPTION_PREFIX),
            chart: record.chart_label(),
            app_version: record.app_version().map(str::to_owned),
            values,
            containers,
            maps,
            leaves,
            open_tags,
        }
    }

    /// The mapping at a path; the values themselves at the empty one.
    pub(super) fn map(&self, path: &Path) -> Option<&Map<String, Value>> {
        if path.0.is_empty() { Some(&self.values) } else { path.find(&self.values)?.as_object() }
    }
}

/// Whether templates of the chart at `scope` see a value: their own part of the values, and the globals.
pub(super) fn is_visible(path: &Path, scope: &Path) -> bool {
    let is_global = matches!(path.0.first(), Some(Segment::Key(key)) if key == "global");
    path.is_within(scope) || is_global
}

fn collect(value: &Value, path: &Path, maps: &mut Vec<Path>, leaves: &mut Vec<Path>) {
    match value {
        Value::Object(map) => {
            maps.push(path.clone());
            for (key, value) in map {
                collect(value, &path.join(key), maps, leaves);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, &path.with(Segment::Index(index)), maps, leaves);
            }
        }
        _ => leaves.push(path.clone()),
    }
}

fn collect_open_tags(value: &Value, path: &Path, tags: &mut Vec<Path>) {
    let Some(map) = value.as_object() else {
        return;
    };
    if ["repository", "tag"].iter().all(|key| map.get(*key).is_some_and(is_empty)) {
        tags.push(path.join("tag"));
    }
    for (key, value) in map {
        collect_open_tags(value, &path.join(key), tags);
    }
}

/// Whether a template's `default` would take something else.
pub(super) fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// The subcharts in the path of a template: `shop/charts/web/charts/lib/templates/x.yaml` is `web`, then `lib`. Helm names
/// the folders of aliased subcharts by their alias, as the values do.
fn scope(source: &str) -> Path {
    let mut parts = source.split('/').skip(1);
    let mut names = Vec::new();
    while let (Some("charts"), Some(name)) = (parts.next(), parts.next()) {
        names.push(name);
    }
    Path::of_keys(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_the_chain_of_subcharts() {
        for (source, path) in [
            ("shop/templates/web.yaml", ""),
            ("shop/charts/web/templates/charts/x.yaml", "web"),
            ("shop/charts/web/charts/lib/templates/x.yaml", "web.lib"),
            ("", ""),
        ] {
            assert_eq!(scope(source).to_string(), path, "{source}");
        }
        let scope = Path::of_keys(["web"]);
        assert!(is_visible(&Path::of_keys(["web", "image"]), &scope));
        assert!(is_visible(&Path::of_keys(["global", "tag"]), &scope));
        assert!(!is_visible(&Path::of_keys(["worker", "tag"]), &scope));
    }
}
