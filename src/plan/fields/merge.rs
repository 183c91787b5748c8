//! What an object becomes: the live one with the target's fields, without those that go. The order of lists is the
//! API server's, so that a preview shows what will be stored.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::FieldSet;
use super::items::{ItemKey, assign};
use super::node::Node;

/// What the object becomes: `live` with the target's fields by path, minus `gone` (everything below included).
/// Fields that `target_fields` does not name stay as they are live, `metadata.name` and what the server sets among them.
pub fn merged(live: &Value, target: &Value, target_fields: &FieldSet, gone: &FieldSet) -> Value {
    let mut object = merge(Some(live), target, &target_fields.node());
    remove(&mut object, &gone.node());
    object
}

fn merge(live: Option<&Value>, target: &Value, fields: &Node) -> Value {
    if fields.below.is_empty() {
        return target.clone();
    }
    match target {
        Value::Object(target) => Value::Object(merge_fields(live, target, fields)),
        Value::Array(target) => {
            let live = live.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Value::Array(merge_items(live, target, fields))
        }
        _ => target.clone(),
    }
}

fn merge_fields(live: Option<&Value>, target: &Map<String, Value>, fields: &Node) -> Map<String, Value> {
    let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, below) in &fields.below {
        if let Some(name) = key.strip_prefix("f:")
            && let Some(value) = target.get(name)
        {
            let value = merge(merged.get(name), value, below);
            merged.insert(name.to_owned(), value);
        }
    }
    merged
}

/// Merges a list whose items have keys. The target's items come in the target's order; what only the live list has
/// stays before the shared item that it stood before.
fn merge_items(live: &[Value], target: &[Value], fields: &Node) -> Vec<Value> {
    let target_keys = assign(target, fields.below.keys());
    let live_keys: Vec<Option<&String>> = live
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let fits = |key: &&String| {
                ItemKey::read(key).and_then(|key| key.fit(index, item)).is_some_and(|left_out| left_out == 0)
            };
            fields.below.keys().find(fits)
        })
        .collect();
    let mut by_key: BTreeMap<&String, Vec<&Value>> = BTreeMap::new();
    for (item, key) in live.iter().zip(&live_keys) {
        if let Some(key) = key {
            by_key.entry(key).or_default().push(item);
        }
    }
    // What stands twice in the live list is not merged, but replaced.
    let live_item = |key: &String| match by_key.get(key).map(Vec::as_slice) {
        Some([item]) => Some(*item),
        _ => None,
    };
    let mut shared = target_keys.iter().flatten().copied().filter(|key| by_key.contains_key(*key)).peekable();
    let mut items = Vec::with_capacity(live.len().max(target.len()));
    let mut rest = live.iter().zip(live_keys).peekable();
    for (item, key) in target.iter().zip(&target_keys) {
        while let Some((live_item, live_key)) = rest.peek() {
            match (live_key, shared.peek()) {
                (None, _) => items.push((*live_item).clone()),
                (Some(found), Some(next)) if found == next => break,
                (Some(_), Some(_)) => {}
                // A shared item behind the last one in order: the server goes on with the target first.
                (Some(_), None) => {
                    rest.next();
                    break;
                }
            }
            rest.next();
        }
        let Some(key) = key else {
            items.push(item.clone());
            continue;
        };
        let below = &fields.below[*key];
        items.push(merge(live_item(key), item, below));
        if shared.peek() == Some(key) {
            shared.next();
            if rest.peek().is_some_and(|(_, live_key)| live_key == &Some(*key)) {
                rest.next();
            }
        }
    }
    items.extend(rest.filter(|(_, key)| key.is_none()).map(|(item, _)| item.clone()));
    items
}

fn remove(value: &mut Value, gone: &Node) {
    for (key, gone) in &gone.below {
        if let Some(name) = key.strip_prefix("f:") {
            let Some(fields) = value.as_object_mut() else { continue };
            if gone.member {
                fields.remove(name);
            } else if let Some(below) = fields.get_mut(name) {
                remove(below, gone);
            }
        } else if let Some(items) = value.as_array_mut()
            && let Some(item) = ItemKey::read(key)
        {
            if gone.member {
                let fit = items.iter().enumerate().filter_map(|(index, found)| item.fit(index, found)).min();
                let mut index = 0;
                items.retain(|found| {
                    index += 1;
                    fit.is_none() || item.fit(index - 1, found) != fit
                });
            } else if let Some(index) = item.position(items) {
                remove(&mut items[index], gone);
            }
        }
    }
}
