//! Which repositories an application has, which of their tags were deployed when, and in which order tags are shown. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::discover::Snapshot;
use crate::discover::workload::Container;
use crate::registry::ImageReference;

/// A stored revision that ran a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Deployed {
    /// The revision.
    pub revision: u64,
    /// Its status.
    pub status: String,
    /// When it was deployed.
    pub at: Option<Timestamp>,
}

/// A repository that the workloads pull from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Its name as it stands in the images.
    pub name: String,
    /// The tags that run now.
    pub live: BTreeSet<String>,
    /// The tags that earlier pod templates ran.
    pub past: BTreeSet<String>,
    /// The revisions that ran each tag, newest first.
    pub deployed: BTreeMap<String, Vec<Deployed>>,
}

impl Repository {
    /// Whether its tag has changed: what never does is infrastructure, or has no past to speak of.
    pub fn moves(&self) -> bool {
        let tags: BTreeSet<&String> = self.deployed.keys().chain(&self.live).chain(&self.past).collect();
        tags.len() > 1
    }
}

/// The repositories of a snapshot, by name.
pub fn repositories(snapshot: &Snapshot) -> Vec<Repository> {
    let mut all: BTreeMap<String, Repository> = BTreeMap::new();
    let mut of = |image: &ImageReference, note: &mut dyn FnMut(&mut Repository, &str)| {
        let name = image.repository.clone();
        let found = all.entry(name.clone()).or_insert_with(|| Repository { name, ..Repository::default() });
        if let Some(tag) = &image.tag {
            note(found, tag);
        }
    };
    for workload in &snapshot.workloads {
        for image in workload.containers.iter().filter_map(Container::reference) {
            of(&image, &mut |found, tag| found.live.extend([tag.to_owned()]));
        }
        let past = workload.past_images.iter().flat_map(BTreeMap::values);
        for image in past.filter_map(|image| image.parse::<ImageReference>().ok()) {
            of(&image, &mut |found, tag| found.past.extend([tag.to_owned()]));
        }
    }
    for stored in snapshot.release.iter().flat_map(|release| &release.revisions) {
        let record = snapshot.release.iter().flat_map(|release| &release.records);
        let record = record.into_iter().find(|record| record.meta.revision == stored.revision);
        let deployed = Deployed {
            revision: stored.revision,
            status: stored.status.clone(),
            at: record.and_then(|record| record.record.last_deployed()),
        };
        for image in stored.images.values() {
            of(image, &mut |found, tag| {
                let list = found.deployed.entry(tag.to_owned()).or_default();
                if !list.contains(&deployed) {
                    list.push(deployed.clone());
                }
            });
        }
    }
    all.into_values().collect()
}

/// What a registry said of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The repository.
    pub repository: Repository,
    /// Its tags in the registry's order, or why they are not known.
    pub tags: Result<Vec<String>, String>,
    /// Whether the registry has more.
    pub more: bool,
}

/// One tag, over all repositories that were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagRow {
    /// The tag.
    pub tag: String,
    /// The repositories that have it in their registry.
    pub repositories: Vec<String>,
    /// Repositories that do not have it although it was deployed from them, by a registry that answered.
    pub gone: Vec<String>,
    /// Whether it runs now.
    pub current: bool,
    /// Whether an earlier pod template ran it.
    pub ran: bool,
    /// The stored revisions that ran it, newest first.
    pub deployed: Vec<Deployed>,
}

/// The tags of all repositories: deployed ones first, the newest on top; then versions, the highest on top; then the rest in
/// the registry's order.
pub fn rows(asked: &[Asked]) -> Vec<TagRow> {
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows: BTreeMap<&str, TagRow> = BTreeMap::new();
    let blank = |tag: &str| TagRow {
        tag: tag.to_owned(),
        repositories: Vec::new(),
        gone: Vec::new(),
        current: false,
        ran: false,
        deployed: Vec::new(),
    };
    for Asked { repository, tags, more } in asked {
        let listed = tags.as_deref().unwrap_or_default();
        for tag in listed {
            let next = order.len();
            order.entry(tag).or_insert(next);
            rows.entry(tag).or_insert_with(|| blank(tag)).repositories.push(repository.name.clone());
        }
        let is_gone = |tag: &String| tags.is_ok() && !more && !listed.contains(tag);
        let known: BTreeSet<&String> =
            repository.deployed.keys().chain(&repository.live).chain(&repository.past).collect();
        for tag in known {
            let row = rows.entry(tag).or_insert_with(|| blank(tag));
            row.current |= repository.live.contains(tag);
            row.ran |= repository.past.contains(tag);
            if is_gone(tag) {
                row.gone.push(repository.name.clone());
            }
            for deployed in repository.deployed.get(tag).into_iter().flatten() {
                if !row.deployed.contains(deployed) {
                    row.deployed.push(deployed.clone());
                }
            }
        }
    }
    let mut rows: Vec<TagRow> = rows.into_values().collect();
    for row in &mut rows {
        row.deployed.sort_by_key(|deployed| Reverse(deployed.revision));
    }
    let place = |row: &TagRow| order.get(row.tag.as_str()).copied().unwrap_or(usize::MAX);
    rows.sort_by_cached_key(|row| {
        let newest = row.deployed.first().map(|deployed| deployed.revision);
        let was_used = row.current || row.ran;
        (Reverse(newest), Reverse(was_used), Reverse(version(&row.tag)), place(row))
    });
    rows
}

/// A tag as numbers, where it looks like a version (`v1.10.2`) or a date (`2026-11-24`); a release above its candidates.
fn version(tag: &str) -> Option<(Vec<u64>, bool)> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let end =
        text.find(|character: char| !(character.is_ascii_digit() || matches!(character, '.' | '-' | '_')));
    let (numbers, suffix) = text.split_at(end.unwrap_or(text.len()));
    // A commit that happens to begin with digits is no version.
    if !(suffix.is_empty() || numbers.ends_with(['-', '_', '.'])) {
        return None;
    }
    let numbers: Vec<u64> = numbers
        .split(['.', '-', '_'])
        .filter(|part| !part.is_empty())
        .map_while(|part| part.parse().ok())
        .collect();
    (numbers.len() > 1).then_some((numbers, suffix.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, deployed: &[(&str, u64)], live: &str, tags: &[&str]) -> Asked {
        let mut repository = Repository { name: name.to_owned(), ..Repository::default() };
        for (tag, revision) in deployed {
            let deployed = Deployed { revision: *revision, status: "superseded".into(), at: None };
            repository.deployed.entry((*tag).to_owned()).or_default().push(deployed);
        }
        repository.live.insert(live.to_owned());
        let tags = Ok(tags.iter().map(|tag| (*tag).to_owned()).collect());
        Asked { repository, tags, more: false }
    }

    #[test]
    fn deployed_tags_come_first_then_versions_then_the_rest() {
        let tags =
            ["9f31c02", "abc123d", "latest", "v1.2.0", "v1.10.0", "v1.10.0-rc1", "2026-11-24", "2026-11-03"];
        let rows =
            rows(&[asked("acme/web", &[("9f31c02", 7), ("abc123d", 5), ("gone", 6)], "9f31c02", &tags)]);
        let order: Vec<&str> = rows.iter().map(|row| row.tag.as_str()).collect();
        assert_eq!(
            order,
            [
                "9f31c02",
                "gone",
                "abc123d",
                "2026-11-24",
                "2026-11-03",
                "v1.10.0",
                "v1.10.0-rc1",
                "v1.2.0",
                "latest"
            ]
        );
        assert!(rows[0].current && !rows[1].current);
        assert_eq!((rows[1].gone.len(), rows[1].repositories.len(), rows[0].gone.len()), (1, 0, 0));
    }

    #[test]
    fn repositories_are_put_together_and_silence_proves_nothing() {
        let web = asked("acme/web", &[("a", 1), ("b", 2)], "b", &["a", "b", "c"]);
        let mut api = asked("acme/api", &[("a", 1), ("b", 2)], "b", &[]);
        let one = rows(&[web.clone(), api.clone()]);
        let a = one.iter().find(|row| row.tag == "a").unwrap();
        assert_eq!(
            (a.repositories.as_slice(), a.gone.as_slice()),
            (&["acme/web".to_owned()][..], &["acme/api".to_owned()][..])
        );
        assert_eq!(a.deployed.len(), 1);
        api.tags = Err("no answer".into());
        assert!(rows(&[web.clone(), api.clone()]).iter().all(|row| row.gone.is_empty()));
        (api.tags, api.more) = (Ok(vec!["z".into()]), true);
        assert!(rows(&[web, api]).iter().all(|row| row.gone.is_empty()));
    }

    #[test]
    fn what_never_moved_is_not_the_application() {
        let still = asked("redis", &[("7.2", 1), ("7.2", 2)], "7.2", &[]).repository;
        let moved = asked("acme/web", &[("a", 1)], "b", &[]).repository;
        assert!(!still.moves() && moved.moves());
        assert_eq!(version("1234567"), None);
        assert_eq!(version("12ab34c"), None);
        assert_eq!(version("v1.2"), Some((vec![1, 2], true)));
    }
}
