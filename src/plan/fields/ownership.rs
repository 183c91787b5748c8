//! Who owns what: the one rewrite of `metadata.managedFields` that lets an apply take out what a rollback must take out
//! (design D1, step 3).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::items::ItemKey;
use super::node::{Node, value_below};
use super::{FieldSet, SHARED_MAPS, is_item};

/// Annotation by which Helm marks what belongs to a release; its owner in `managedFields` is the release's writer.
const RELEASE_NAME: &str = "f:meta.helm.sh/release-name";

/// Where the replicas are in a field set.
const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];

/// Fields that stay with whoever has them, by kind; no kind stands for all of them. The server or a controller once set
/// them and nobody may change them, but they can be owned: by who restored a backup, for one. An apply that dropped them
/// would be refused, or take a finalizer off.
const NEVER_MOVED: [(&str, &[&str]); 15] = [
    ("", &["f:metadata", "f:finalizers"]),
    ("", &["f:metadata", "f:ownerReferences"]),
    ("Job", &["f:spec", "f:selector"]),
    ("Job", &["f:spec", "f:template", "f:metadata", "f:labels", "f:batch.kubernetes.io/controller-uid"]),
    ("Job", &["f:spec", "f:template", "f:metadata", "f:labels", "f:batch.kubernetes.io/job-name"]),
    ("Job", &["f:spec", "f:template", "f:metadata", "f:labels", "f:controller-uid"]),
    ("Job", &["f:spec", "f:template", "f:metadata", "f:labels", "f:job-name"]),
    ("PersistentVolume", &["f:spec", "f:claimRef"]),
    ("PersistentVolumeClaim", &["f:spec", "f:storageClassName"]),
    ("PersistentVolumeClaim", &["f:spec", "f:volumeMode"]),
    ("PersistentVolumeClaim", &["f:spec", "f:volumeName"]),
    ("Service", &["f:spec", "f:clusterIP"]),
    ("Service", &["f:spec", "f:clusterIPs"]),
    ("Service", &["f:spec", "f:ipFamilies"]),
    ("ServiceAccount", &["f:secrets"]),
];

/// New `managedFields` of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// All entries.
    pub managed_fields: Vec<Value>,
    /// Whether they differ from what the object has.
    pub changed: bool,
}

/// The entries of an object's `managedFields`.
pub fn entries(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether an entry is about a subresource (`status`, `scale`).
fn is_subresource(entry: &Value) -> bool {
    entry["subresource"].as_str().is_some_and(|subresource| !subresource.is_empty())
}

fn fields_of(entry: &Value) -> Node {
    Node::root(&entry["fieldsV1"])
}

fn owns_release_name(entry: &Value) -> bool {
    !is_subresource(entry)
        && entry
            .pointer("/fieldsV1/f:metadata/f:annotations")
            .is_some_and(|annotations| annotations.get(RELEASE_NAME).is_some())
}

/// The entry that owns the release annotation, an `Apply` entry before an `Update` one.
pub fn release_entry(managed_fields: &[Value]) -> Option<usize> {
    let of = |operation: &str| {
        managed_fields.iter().position(|entry| entry["operation"] == operation && owns_release_name(entry))
    };
    of("Apply").or_else(|| of("Update"))
}

/// The writer of the release on this object: who owns the release annotation; `None` where nobody does.
pub fn release_writer(managed_fields: &[Value]) -> Option<String> {
    let entry = managed_fields.get(release_entry(managed_fields)?)?;
    entry["manager"].as_str().map(str::to_owned)
}

/// Under whose name an object is applied: the release's writer, unless somebody else *applies* this object for the
/// release. Who merely wrote the annotation (a restored backup, `kubectl annotate`) is no writer.
pub fn writer_of(managed_fields: &[Value], release_writer: &str) -> String {
    let owners = managed_fields.iter().filter(|entry| owns_release_name(entry));
    let mut appliers = owners.clone().filter(|entry| entry["operation"] == "Apply");
    let is_known = owners.clone().any(|entry| entry["manager"] == release_writer);
    let applier = appliers.next().and_then(|entry| entry["manager"].as_str());
    if is_known { release_writer.to_owned() } else { applier.unwrap_or(release_writer).to_owned() }
}

/// Everything that the release's writers own becomes the one `Apply` entry of `writer`, and `removals` are taken from
/// everybody else and added to it: the apply that follows then drops them (design D1, step 3).
///
/// - The release's writers are `writer` itself and whoever owns the release annotation; of the latter, items of lists,
///   labels and annotations that neither `target` nor `removals` know stay with them: after a restored backup the
///   backup owns everybody's.
/// - The `Apply` entry keeps the version in which the release has owned its fields so far: the server finds them by
///   converting the object to that version (an `autoscaling/v2` entry that said `v1` would lose its metrics). Entries of
///   several versions are joined by path; a path that does not exist in the version is ignored by the server.
/// - `spec.replicas` that the target does not render belongs to nobody: an apply would reset it to the default.
/// - Entries of subresources stay as they are.
/// - Where `managedFields` were cleared, what other people added to lists and maps belongs to nobody. It gets an entry
///   where it would vanish together with its list, under the name that the server gives to such fields.
pub fn rewrite(live: &Value, writer: &str, removals: &FieldSet, target: &Value) -> Rewrite {
    let managed_fields = entries(live);
    let removals = removals.node();
    let mut applied = Node::default();
    let mut others: Vec<Value> = Vec::with_capacity(managed_fields.len() + 1);
    let mut place = None;
    let mut times = BTreeSet::new();
    let api_version = owned_version(managed_fields, writer).unwrap_or(&target["apiVersion"]);
    for entry in managed_fields {
        if is_subresource(entry) {
            others.push(entry.clone());
            continue;
        }
        let mut fields = fields_of(entry);
        let before = fields.clone();
        let is_writer = entry["manager"] == writer;
        if is_writer && entry["operation"] == "Apply" {
            place.get_or_insert(others.len());
            times.extend(entry["time"].as_str());
            applied.union(&fields);
            continue;
        }
        if is_writer || owns_release_name(entry) {
            let moved = movable(&fields, target, &removals, is_writer);
            times.extend(entry["time"].as_str());
            applied.union(&moved);
            fields.subtract(&moved);
        }
        fields.remove(&removals);
        if fields == before {
            others.push(entry.clone());
        } else if !fields.below.is_empty() {
            let mut entry = entry.clone();
            entry["fieldsV1"] = fields.write();
            others.push(entry);
        }
    }
    claim(&mut applied, &removals);
    if target.pointer("/spec/replicas").is_none_or(Value::is_null) {
        applied.remove(&Node::root(FieldSet::path(&REPLICAS).as_value()));
    }
    if applied.below.is_empty() {
        // Without an entry of its own the server would give everything to one called `before-first-apply`.
        applied = Node::root(FieldSet::path(&["f:metadata", "f:annotations", RELEASE_NAME]).as_value());
    }
    let mut kept = Node::default();
    for entry in &others {
        kept.union(&fields_of(entry));
    }
    let strangers = strangers(&applied, Some(&kept), Some(target), live);
    let mut entry = json!({
        "manager": writer,
        "operation": "Apply",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": applied.write(),
    });
    if let Some(time) = times.last() {
        entry["time"] = json!(time);
    }
    others.insert(place.unwrap_or(0), entry);
    if !strangers.is_nothing() {
        give(&mut others, &strangers, api_version);
    }
    let changed = !is_same(managed_fields, &others);
    Rewrite { managed_fields: others, changed }
}

/// Adds what is to be removed. Who owns something of a structure already takes the structure out with it.
fn claim(applied: &mut Node, removals: &Node) {
    for (key, removed) in &removals.below {
        match applied.below.get_mut(key) {
            Some(node) if removed.member => node.member |= is_item(key),
            Some(node) => claim(node, removed),
            None => {
                applied.below.insert(key.clone(), removed.clone());
            }
        }
    }
}

/// The version in which a manager owns fields of an object, that of its applies first.
fn owned_version<'a>(managed_fields: &'a [Value], writer: &str) -> Option<&'a Value> {
    let own = |entry: &&Value| entry["manager"] == writer && !is_subresource(entry);
    let mut entries = managed_fields.iter().filter(own);
    let applied = entries.clone().find(|entry| entry["operation"] == "Apply");
    Some(&applied.or_else(|| entries.next())?["apiVersion"])
}

/// Whether two lists of entries say the same: times are the server's business.
fn is_same(before: &[Value], after: &[Value]) -> bool {
    let without_time = |entry: &Value| {
        let mut entry = entry.clone();
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("time");
            fields.insert("fieldsV1".to_owned(), fields_of(&Value::Object(fields.clone())).write());
        }
        entry
    };
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| without_time(before) == without_time(after))
}

/// What of an entry goes to the release's `Apply` entry.
fn movable(fields: &Node, target: &Value, removals: &Node, is_writer: bool) -> Node {
    let mut moved = fields.clone();
    let stays = NEVER_MOVED.iter().filter(|(kind, _)| kind.is_empty() || target["kind"] == *kind);
    for (_, path) in stays {
        moved.remove(&Node::root(FieldSet::path(path).as_value()));
    }
    if is_writer { moved } else { known(&moved, Some(target), Some(removals), false) }
}

/// The part of a set that is not other people's: without list items and keys of shared maps that are neither in the
/// target nor removed.
fn known(fields: &Node, target: Option<&Value>, removals: Option<&Node>, in_shared_map: bool) -> Node {
    let mut found = Node { member: fields.member, ..Node::default() };
    for (key, node) in &fields.below {
        let value = target.and_then(|target| value_below(target, key));
        let gone = removals.and_then(|removals| removals.below.get(key));
        let is_named = value.is_some() || gone.is_some();
        if (is_item(key) || in_shared_map) && !is_named {
            continue;
        }
        let node = if gone.is_some_and(|gone| gone.member) {
            node.clone()
        } else {
            known(node, value, gone, SHARED_MAPS.contains(&key.as_str()))
        };
        if !node.is_nothing() {
            found.below.insert(key.clone(), node);
        }
    }
    found
}

/// Gives fields to the manager that the server itself would give them to.
fn give(entries: &mut Vec<Value>, fields: &Node, api_version: &Value) {
    const NAME: &str = "before-first-apply";
    let found = entries.iter_mut().find(|entry| entry["manager"] == NAME && !is_subresource(entry));
    if let Some(entry) = found {
        let mut all = fields_of(entry);
        all.union(fields);
        entry["fieldsV1"] = all.write();
        return;
    }
    entries.push(json!({
        "manager": NAME,
        "operation": "Update",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields.write(),
    }));
}

/// Items of lists and keys of shared maps in an object that nobody owns and that would vanish because the list or map
/// goes: `own` has others of its items, and neither the target nor anybody else (`kept`) has any.
fn strangers(own: &Node, kept: Option<&Node>, target: Option<&Value>, live: &Value) -> Node {
    let mut found = Node::default();
    for (key, node) in &own.below {
        let kept = kept.and_then(|kept| kept.below.get(key));
        let target = target.and_then(|target| value_below(target, key));
        // An item of the release that goes goes whole.
        let goes = is_item(key) && target.is_none() && kept.is_none_or(|kept| !kept.member);
        let Some(value) = value_below(live, key).filter(|_| !goes) else { continue };
        let mut below = strangers(node, kept, target, value);
        if kept.is_none() && target.is_none() && !node.below.is_empty() {
            below.below.extend(unnamed(key, node, value).into_iter().map(|key| (key, Node::member())));
        }
        if !below.is_nothing() {
            found.below.insert(key.clone(), below);
        }
    }
    found
}

/// The keys of items of a list or shared map that a set does not name.
fn unnamed(key: &str, fields: &Node, value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) if SHARED_MAPS.contains(&key) => {
            map.keys().map(|name| format!("f:{name}")).filter(|key| !fields.below.contains_key(key)).collect()
        }
        Value::Array(items) => {
            let keys: Vec<ItemKey> = fields.below.keys().filter_map(|key| ItemKey::read(key)).collect();
            let is_named =
                |(index, item): &(usize, &Value)| keys.iter().any(|key| key.fit(*index, item).is_some());
            let strangers = items.iter().enumerate().filter(|item| !is_named(item));
            strangers.filter_map(|(_, item)| keys.first()?.of(item)).collect()
        }
        _ => Vec::new(),
    }
}

/// What an apply takes out of an object: what the manager owned before (`own`) and neither the target nor anybody else
/// owns (`kept`). Each field stands for everything below it.
pub fn dropped<'a>(own: &FieldSet, kept: impl IntoIterator<Item = &'a FieldSet>) -> FieldSet {
    let mut all = Node::default();
    for fields in kept {
        all.union(&fields.node());
    }
    FieldSet::of(&dropped_below(&own.node(), Some(&all)))
}

fn dropped_below(own: &Node, kept: Option<&Node>) -> Node {
    let mut gone = Node::default();
    for (key, node) in &own.below {
        let kept = kept.and_then(|kept| kept.below.get(key));
        // A field is owned with anything below it; an item only by itself.
        let goes =
            if is_item(key) { node.member && kept.is_none_or(|kept| !kept.member) } else { kept.is_none() };
        let below = if goes { Node::member() } else { dropped_below(node, kept) };
        if !below.is_nothing() {
            gone.below.insert(key.clone(), below);
        }
    }
    gone
}
