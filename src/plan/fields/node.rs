//! A set of fields as a tree, for calculating with.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::items::ItemKey;

/// A field, what is below it, and whether it is in the set itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// In the set itself.
    pub member: bool,
    /// By the key in `fieldsV1`.
    pub below: BTreeMap<String, Node>,
}

impl Node {
    /// A field of which nothing below is in the set.
    pub fn member() -> Self {
        Self { member: true, below: BTreeMap::new() }
    }

    /// The root of a `fieldsV1`, which is never in the set itself.
    pub fn root(fields: &Value) -> Self {
        Self { member: false, ..Self::read(fields) }
    }

    fn read(fields: &Value) -> Self {
        let mut node = Self::default();
        for (key, below) in fields.as_object().into_iter().flatten() {
            if key == "." {
                node.member = true;
            } else {
                node.below.insert(key.clone(), Self::read(below));
            }
        }
        node.member |= node.below.is_empty();
        node
    }

    /// The `fieldsV1`.
    pub fn write(&self) -> Value {
        let mut fields: Map<String, Value> =
            self.below.iter().map(|(key, node)| (key.clone(), node.write())).collect();
        if self.member && !fields.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        Value::Object(fields)
    }

    /// Whether neither it nor anything below it is in the set.
    pub fn is_nothing(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.below.get(*key))
    }

    pub fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (key, node) in &other.below {
            self.below.entry(key.clone()).or_default().union(node);
        }
    }

    /// Takes the members of another set out, each with everything below it.
    pub fn remove(&mut self, gone: &Self) {
        for (key, gone) in &gone.below {
            let Some(node) = self.below.get_mut(key) else { continue };
            let had_below = !node.below.is_empty();
            node.remove(gone);
            // An emptied structure or list is nobody's any more; an item stays one.
            let is_emptied = had_below && node.below.is_empty() && key.starts_with("f:");
            if gone.member || node.is_nothing() || is_emptied {
                self.below.remove(key);
            }
        }
    }

    /// Takes exactly the members of another set out, and nothing below them.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (key, other) in &other.below {
            if let Some(node) = self.below.get_mut(key) {
                node.subtract(other);
                if node.is_nothing() {
                    self.below.remove(key);
                }
            }
        }
    }

    /// What of it exists in a value.
    pub fn within(&self, value: &Value) -> Self {
        let mut found = Self { member: self.member, below: BTreeMap::new() };
        for (key, node) in &self.below {
            if let Some(below) = value_below(value, key) {
                let node = node.within(below);
                if !node.is_nothing() {
                    found.below.insert(key.clone(), node);
                }
            }
        }
        found
    }

    /// Fields with nothing below them in the set whose value is a list or map with something in it: it is one value.
    pub fn whole(&self, value: &Value) -> Self {
        let is_whole = self.member
            && self.below.is_empty()
            && (value.is_array() || value.is_object())
            && !is_empty(value);
        let mut found = Self { member: is_whole, below: BTreeMap::new() };
        for (key, node) in &self.below {
            let whole = value_below(value, key).map(|below| node.whole(below)).unwrap_or_default();
            if !whole.is_nothing() {
                found.below.insert(key.clone(), whole);
            }
        }
        found
    }

    /// Without empty lists and maps of a value in which `known` has something.
    pub fn without_empty(&self, value: &Value, known: Option<&Self>) -> Self {
        let mut kept = Self { member: self.member, below: BTreeMap::new() };
        for (key, node) in &self.below {
            let known = known.and_then(|known| known.below.get(key));
            let node = match value_below(value, key) {
                Some(below) if is_empty(below) && known.is_some_and(|known| !known.below.is_empty()) => {
                    continue;
                }
                Some(below) => node.without_empty(below, known),
                None => node.clone(),
            };
            if !node.is_nothing() {
                kept.below.insert(key.clone(), node);
            }
        }
        kept
    }

    /// The paths of all members in words.
    pub fn names(&self, path: &str, names: &mut Vec<String>) {
        for (key, node) in &self.below {
            let path = match key.strip_prefix("f:") {
                Some(field) if path.is_empty() => field.to_owned(),
                Some(field) => format!("{path}.{field}"),
                None => {
                    format!("{path}[{}]", ItemKey::read(key).map_or_else(|| key.clone(), |key| key.name()))
                }
            };
            if node.member && node.below.is_empty() {
                names.push(path.clone());
            }
            node.names(&path, names);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

/// What a key of `fieldsV1` leads to in a value.
pub(super) fn value_below<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    if let Some(field) = key.strip_prefix("f:") {
        return value.get(field);
    }
    let key = ItemKey::read(key)?;
    let items = value.as_array()?;
    key.position(items).and_then(|index| items.get(index))
}
