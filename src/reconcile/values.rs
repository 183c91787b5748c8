//! Which user values must be set so that the next deploy keeps the images that run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::helm::values::Path;
use crate::registry::reference::ImageReference;
use crate::workload::ContainerRef;

use super::evidence::{Driver, drivers, names_tag};
use super::seen::{Seen, is_visible};
use super::shape::Around;
use super::{Unplaced, ValueEdit};

/// A container that wants another image in the values.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub container: ContainerRef,
    pub to: ImageReference,
}

/// One way to give a container its image.
struct Proposal {
    driver: Driver,
    edits: Vec<(Path, String)>,
}

/// Who wants which text at a path.
type Claims = BTreeMap<Path, BTreeMap<String, BTreeSet<ContainerRef>>>;

/// Finds the edits. `older` is newest first.
///
/// A value that also drives a container which stays as it is, or one that wants something else, is left alone: the containers
/// that depend on it are reported instead.
pub(super) fn place(base: &Seen, older: &[Seen], wishes: &[Wish]) -> (Vec<ValueEdit>, Vec<Unplaced>) {
    let references = references(base, older);
    let mut unplaced = Vec::new();
    let mut proposals: BTreeMap<&ContainerRef, Vec<Proposal>> = BTreeMap::new();
    for wish in wishes {
        match propose(&references, wish) {
            Ok(found) => {
                proposals.insert(&wish.container, found);
            }
            Err(reason) => unplaced.push(refuse(base, wish, reason)),
        }
    }
    let claims = claims(base, &references, wishes, &proposals);
    let contested = |path: &Path| claims.get(path).is_some_and(|values| values.len() > 1);
    let mut edits: BTreeMap<Path, ValueEdit> = BTreeMap::new();
    for wish in wishes {
        let Some(proposals) = proposals.get(&wish.container) else {
            continue;
        };
        let free: Vec<&Proposal> = proposals
            .iter()
            .filter(|proposal| !proposal.edits.iter().any(|(path, _)| contested(path)))
            .collect();
        if free.is_empty() {
            unplaced.push(contest(wish, proposals, &claims));
            continue;
        }
        for (proposal, (path, value)) in
            free.iter().flat_map(|proposal| proposal.edits.iter().map(move |edit| (proposal, edit)))
        {
            edits
                .entry(path.clone())
                .or_insert_with(|| ValueEdit {
                    path: path.clone(),
                    value: value.clone(),
                    evidence: proposal.driver.evidence.clone(),
                    containers: Vec::new(),
                })
                .containers
                .push(wish.container.clone());
        }
    }
    // What is already so needs no edit; a number that prints alike still becomes a text.
    edits.retain(|path, edit| path.find(&base.values).and_then(Value::as_str) != Some(edit.value.as_str()));
    (edits.into_values().collect(), unplaced)
}

/// The revisions to look for drivers in: the base and, if we wrote that one, the newest that we did not.
///
/// A record of ours names images that its values need not explain.
fn references<'a>(base: &'a Seen, older: &'a [Seen]) -> Vec<(&'a Seen, Vec<&'a Seen>)> {
    let mut references = vec![(base, older.iter().collect())];
    if base.is_ours
        && let Some(position) = older.iter().position(|seen| !seen.is_ours)
    {
        references.push((&older[position], older[position + 1..].iter().collect()));
    }
    references
}

fn find_drivers<'a>(
    references: &[(&'a Seen, Vec<&'a Seen>)],
    container: &ContainerRef,
) -> Option<(&'a Seen, Vec<Driver>)> {
    references.iter().find_map(|(reference, older)| {
        let found = drivers(reference, older, container);
        (!found.is_empty()).then_some((*reference, found))
    })
}

fn propose(references: &[(&Seen, Vec<&Seen>)], wish: &Wish) -> Result<Vec<Proposal>, String> {
    let (reference, drivers) = find_drivers(references, &wish.container)
        .ok_or_else(|| "no value was found that drives its image".to_owned())?;
    let from = &reference.containers[&wish.container].image;
    let mut refusal = None;
    let proposals: Vec<Proposal> = drivers
        .into_iter()
        .filter_map(|driver| match driver.shape.edits(reference, from, &wish.to) {
            Ok(edits) => Some(Proposal { driver, edits }),
            Err(reason) => {
                refusal = Some(reason);
                None
            }
        })
        .collect();
    match refusal {
        Some(reason) if proposals.is_empty() => Err(reason),
        _ => Ok(proposals),
    }
}

/// Says who else depends on the values that drive a container's image.
fn contest(wish: &Wish, proposals: &[Proposal], claims: &Claims) -> Unplaced {
    let contested: Vec<&(Path, String)> = proposals
        .iter()
        .flat_map(|proposal| &proposal.edits)
        .filter(|(path, _)| claims.get(path).is_some_and(|values| values.len() > 1))
        .collect();
    let others: BTreeSet<String> = contested
        .iter()
        .filter_map(|(path, _)| claims.get(path))
        .flat_map(BTreeMap::values)
        .flatten()
        .filter(|&other| *other != wish.container)
        .map(ToString::to_string)
        .collect();
    let others: Vec<String> = others.into_iter().collect();
    let paths: Vec<String> = contested.iter().map(|(path, _)| path.to_string()).collect();
    let (verb, suggestion) = match contested.as_slice() {
        [(path, value)] => ("drives", Some(format!("--set-string {path}={value}"))),
        _ => ("drive", None),
    };
    Unplaced {
        container: wish.container.clone(),
        image: wish.to.clone(),
        reason: format!(
            "{} also {verb} {}, which wants another version",
            paths.join(" and "),
            others.join(" and ")
        ),
        suggestion,
    }
}

/// Who wants which value at each path that somebody wants to change: the wishes, and the containers that stay.
fn claims(
    base: &Seen,
    references: &[(&Seen, Vec<&Seen>)],
    wishes: &[Wish],
    proposals: &BTreeMap<&ContainerRef, Vec<Proposal>>,
) -> Claims {
    let mut claims = Claims::new();
    for (&container, proposals) in proposals {
        for (path, value) in proposals.iter().flat_map(|proposal| &proposal.edits) {
            claims
                .entry(path.clone())
                .or_default()
                .entry(value.clone())
                .or_default()
                .insert(container.clone());
        }
    }
    let wanting: BTreeSet<&ContainerRef> = wishes.iter().map(|wish| &wish.container).collect();
    for (container, seen) in &base.containers {
        if wanting.contains(container) {
            continue;
        }
        let Some((reference, drivers)) = find_drivers(references, container) else {
            continue;
        };
        let stays = drivers
            .iter()
            .filter_map(|driver| {
                driver.shape.edits(reference, &reference.containers[container].image, &seen.image).ok()
            })
            .flatten();
        for (path, value) in stays {
            if let Some(values) = claims.get_mut(&path) {
                values.entry(value).or_default().insert(container.clone());
            }
        }
    }
    claims
}

fn refuse(base: &Seen, wish: &Wish, reason: String) -> Unplaced {
    Unplaced {
        container: wish.container.clone(),
        image: wish.to.clone(),
        suggestion: suggest(base, wish),
        reason,
    }
}

/// A plausible `--set-string` for a person to judge: the one mapping that names the repository, or that leaves
/// repository and tag to the template.
fn suggest(base: &Seen, wish: &Wish) -> Option<String> {
    let seen = base.containers.get(&wish.container)?;
    let (scope, tag) = (&seen.scope, wish.to.tag.as_deref()?);
    let repository = &wish.to.repository;
    let mut places = base.maps.iter().filter(|path| is_visible(path, scope)).filter_map(|path| {
        let map = base.map(path)?;
        let (repository_key, _) = map.iter().find(|(_, value)| {
            value.as_str().is_some_and(|name| {
                name == repository || name.contains('/') && repository.ends_with(&format!("/{name}"))
            })
        })?;
        let key =
            map.keys().find(|key| *key != repository_key && names_tag(key)).map_or("tag", String::as_str);
        // Where the value is a part of the tag, the whole tag would be wrong there.
        let part = map.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
        let around = part.and_then(|part| Around::find(seen.image.tag.as_deref()?, part)).unwrap_or_default();
        Some((path.join(key), around.strip(tag)))
    });
    match (places.next(), places.next()) {
        (Some((place, Some(value))), None) => Some(format!("--set-string {place}={value}")),
        (None, None) => place_of_defaults(base, scope).map(|place| format!("--set-string {place}={tag}")),
        _ => None,
    }
}

/// The tag of the one mapping in sight that leaves repository and tag to the template.
fn place_of_defaults<'a>(base: &'a Seen, scope: &Path) -> Option<&'a Path> {
    let mut places = base.open_tags.iter().filter(|path| is_visible(path, scope));
    places.next().filter(|_| places.next().is_none())
}
