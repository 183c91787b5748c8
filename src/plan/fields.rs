//! Sets of fields as the API server writes them (`fieldsV1`), and what a rollback takes out of an object by them
//! (design D1): which fields of newer manifests the target lacks ([`removals`]), who owns what afterwards ([`rewrite`])
//! and what the object then looks like ([`merged`]). Pure: the sets themselves come from the server.

mod items;
mod merge;
mod node;
mod ownership;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use merge::merged;
use node::Node;
pub use ownership::{Rewrite, dropped, entries, release_entry, release_writer, rewrite, writer_of};

/// A set of fields in the form of `managedFields[].fieldsV1`: `f:` a field, `k:` an item of a list by its keys, `v:` an
/// item of a set by its value, `.` the thing itself where something below it is in the set too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldSet(Value);

impl Default for FieldSet {
    fn default() -> Self {
        Self(json!({}))
    }
}

impl FieldSet {
    /// A set from a `fieldsV1`; anything but an object is the empty set.
    pub fn from_value(fields: Value) -> Self {
        if fields.is_object() { Self(fields) } else { Self::default() }
    }

    /// The `fieldsV1`.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The `fieldsV1`.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Whether there is no field in it.
    pub fn is_empty(&self) -> bool {
        self.0.as_object().is_none_or(serde_json::Map::is_empty)
    }

    fn node(&self) -> Node {
        Node::root(&self.0)
    }

    fn of(node: &Node) -> Self {
        Self(node.write())
    }

    /// The set of one path, written as in `fieldsV1`: `["f:spec", "f:replicas"]`.
    pub fn path(path: &[&str]) -> Self {
        Self(path.iter().rev().fold(json!({}), |below, key| json!({*key: below})))
    }

    /// Adds every field of another set.
    pub fn union(&mut self, other: &Self) {
        let mut node = self.node();
        node.union(&other.node());
        *self = Self::of(&node);
    }

    /// Whether exactly this field is in the set.
    pub fn contains(&self, path: &[&str]) -> bool {
        self.node().find(path).is_some_and(|node| node.member)
    }

    /// Whether this field or anything below it is in the set.
    pub fn touches(&self, path: &[&str]) -> bool {
        self.node().find(path).is_some()
    }

    /// Takes out every field of another set together with everything below it. What is left of an emptied structure
    /// goes too; an item of a list stays an item.
    pub fn without(&mut self, gone: &Self) {
        let mut node = self.node();
        node.remove(&gone.node());
        *self = Self::of(&node);
    }

    /// Every field of the set that exists in an object.
    #[must_use]
    pub fn within(&self, object: &Value) -> Self {
        Self::of(&self.node().within(object))
    }

    /// Which key of the set each item of a list at a path has.
    pub fn item_keys(&self, path: &[&str], items: &[Value]) -> Vec<Option<String>> {
        let node = self.node();
        let keys = node.find(path).into_iter().flat_map(|node| node.below.keys());
        items::assign(items, keys).into_iter().map(Option::<&String>::cloned).collect()
    }

    /// The set without empty lists and maps of `object` in which `known` has something: such a list or map is not
    /// replaced as a whole, so that an empty one leaves what others have put there.
    #[must_use]
    pub fn without_empty(&self, object: &Value, known: &Self) -> Self {
        Self::of(&self.node().without_empty(object, Some(&known.node())))
    }

    /// The fields of the set that `object` has as one value, a list or map that is replaced whole: another version of
    /// the kind may know the parts of it.
    #[must_use]
    pub fn whole(&self, object: &Value) -> Self {
        Self::of(&self.node().whole(object))
    }

    /// Every field as a path in words, for people: `spec.template.spec.containers[app].image`.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.node().names("", &mut names);
        names
    }
}

/// Fields of the newer manifests that the target lacks (design D1, step 2); each stands for everything below it.
///
/// - Never `spec.replicas`: who leaves it out of a manifest wants an autoscaler to own it.
/// - A field takes the structure that it is in along where the target renders nothing of it: of a probe's `httpGet`
///   the server's defaults must go as well, or the rest is refused.
/// - Items of lists and sets, labels, annotations and the like stand for themselves: what other people have added
///   beside them stays. An item that the target lacks goes whole.
pub fn removals(newer: &[FieldSet], target: &FieldSet) -> FieldSet {
    let mut all = Node::default();
    for fields in newer {
        all.union(&fields.node());
    }
    let mut path = Vec::new();
    FieldSet::of(&removed_below(&all, Some(&target.node()), &mut path))
}

/// Maps whose keys are anybody's; in `fieldsV1` they look like structures.
const SHARED_MAPS: [&str; 7] = [
    "f:annotations",
    "f:binaryData",
    "f:data",
    "f:labels",
    "f:matchLabels",
    "f:nodeSelector",
    "f:stringData",
];

fn removed_below<'a>(newer: &'a Node, target: Option<&Node>, path: &mut Vec<&'a str>) -> Node {
    let mut removed = Node::default();
    for (key, node) in &newer.below {
        path.push(key);
        let below = target.and_then(|target| target.below.get(key));
        let found = match (path.as_slice(), below) {
            (["f:spec", "f:replicas"], _) => Node::default(),
            (_, None) if is_item(key) || !is_shared(path, node) => Node::member(),
            (_, _) => removed_below(node, below, path),
        };
        path.pop();
        if found.member || !found.below.is_empty() {
            removed.below.insert(key.clone(), found);
        }
    }
    // The server stores this one under two names, and takes the one from the other.
    if removed.below.contains_key("f:serviceAccountName") {
        removed.below.insert("f:serviceAccount".to_owned(), Node::member());
    }
    removed
}

fn is_item(key: &str) -> bool {
    !key.starts_with("f:")
}

/// Whether something below a field can be somebody else's, or `spec.replicas`: then it is not taken as a whole.
fn is_shared(path: &[&str], node: &Node) -> bool {
    let own_key = path.last().is_some_and(|key| SHARED_MAPS.contains(key));
    path == ["f:spec"] || (own_key && !node.below.is_empty()) || has_shared_below(node)
}

fn has_shared_below(node: &Node) -> bool {
    node.below.iter().any(|(key, below)| {
        is_item(key)
            || (SHARED_MAPS.contains(&key.as_str()) && !below.below.is_empty())
            || has_shared_below(below)
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
