//! What server-side apply refuses in a manifest that every other write takes: fields that the server does not know
//! (they are dropped with a warning elsewhere) and items of a list that say the same key twice (the last one counts).
//! Charts have both. Which ones stands in the server's message; they are left out, and the rest is sent again.

use serde_json::Value;

/// A step of a path in such a message.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// `[name="app"]`
    Item(Vec<(String, Value)>),
    /// `[0]`
    Index(usize),
}

/// The object without what the server complains about; `None` where it complains about something else.
pub fn fitted(object: &Value, error: &kube::Error) -> Option<Value> {
    let kube::Error::Api(status) = error else { return None };
    if !status.message.contains("failed to create typed patch object") {
        return None;
    }
    fitted_to(object, &status.message)
}

fn fitted_to(object: &Value, message: &str) -> Option<Value> {
    let mut fitted = object.clone();
    for line in message.lines() {
        let Some(start) = line.find(" .") else { continue };
        let line = &line[start + 1..];
        if let Some(path) = line.strip_suffix(": field not declared in schema") {
            remove(&mut fitted, &steps(path)?);
        } else if let Some((path, key)) = line.split_once(": duplicate entries for key ") {
            keep_last(&mut fitted, &steps(path)?, steps(key)?.first()?);
        }
    }
    (fitted != *object).then_some(fitted)
}

/// Reads `.spec.containers[name="app"].env`; `None` for what is not such a path.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            // Names of fields with dots in them (annotations) are always known to the server.
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Field(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let inside = rest.strip_prefix('[')?;
            if let Some((index, after)) = inside.split_once(']')
                && let Ok(index) = index.parse()
            {
                steps.push(Step::Index(index));
                rest = after;
                continue;
            }
            let (keys, after) = item_keys(inside)?;
            steps.push(Step::Item(keys));
            rest = after;
        }
    }
    Some(steps)
}

/// Reads `name="app",port=80]`, and answers what follows.
fn item_keys(mut rest: &str) -> Option<(Vec<(String, Value)>, &str)> {
    let mut keys = Vec::new();
    loop {
        let (name, value) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
        let parsed = values.next()?.ok()?;
        let after = &value[values.byte_offset()..];
        keys.push((name.to_owned(), parsed));
        match after.split_at_checked(1)? {
            (",", more) => rest = more,
            ("]", more) => return Some((keys, more)),
            _ => return None,
        }
    }
}

/// Whether an item has these keys, or leaves some of them to their default.
fn has(item: &Value, keys: &[(String, Value)]) -> bool {
    keys.iter().all(|(name, value)| item.get(name).is_none_or(|found| found == value))
        && keys.iter().any(|(name, _)| item.get(name).is_some())
}

fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => {
            if rest.is_empty() {
                fields.remove(name);
            } else if let Some(below) = fields.get_mut(name) {
                remove(below, rest);
            }
        }
        (Step::Item(keys), Value::Array(items)) => {
            items.iter_mut().filter(|item| has(item, keys)).for_each(|item| remove(item, rest));
        }
        (Step::Index(index), Value::Array(items)) => {
            if let Some(item) = items.get_mut(*index) {
                remove(item, rest);
            }
        }
        _ => {}
    }
}

fn keep_last(value: &mut Value, path: &[Step], key: &Step) {
    let Some((step, rest)) = path.split_first() else {
        let (Value::Array(items), Step::Item(keys)) = (value, key) else { return };
        let last = items.iter().rposition(|item| has(item, keys));
        let mut index = 0;
        items.retain(|item| {
            index += 1;
            Some(index - 1) == last || !has(item, keys)
        });
        return;
    };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => {
            if let Some(below) = fields.get_mut(name) {
                keep_last(below, rest, key);
            }
        }
        (Step::Item(keys), Value::Array(items)) => {
            items.iter_mut().filter(|item| has(item, keys)).for_each(|item| keep_last(item, rest, key));
        }
        (Step::Index(index), Value::Array(items)) => {
            if let Some(item) = items.get_mut(*index) {
                keep_last(item, rest, key);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As a real API server (1.36.2) said it.
    const UNKNOWN: &str = "failed to create typed patch object (n/probe; apps/v1, Kind=Deployment): \
        .spec.template.spec.nope: field not declared in schema";
    const TWICE: &str = "failed to create typed patch object (n/probe; apps/v1, Kind=Deployment): \
        .spec.template.spec.containers[name=\"app\"].env: duplicate entries for key [name=\"A\"]";
    const PORTS: &str = "failed to create typed patch object (n/probe; apps/v1, Kind=Deployment): errors:\n  \
        .spec.template.spec.containers[name=\"app\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]\n  \
        .spec.template.spec.containers[name=\"app\"].nope: field not declared in schema";

    fn object(pod: &Value) -> Value {
        json!({"kind": "Deployment", "spec": {"template": {"spec": pod}}})
    }

    #[test]
    fn what_the_server_does_not_know_is_left_out() {
        let before = object(&json!({"nope": 1, "nodeName": "a"}));
        assert_eq!(fitted_to(&before, UNKNOWN), Some(object(&json!({"nodeName": "a"}))));
    }

    #[test]
    fn of_two_items_with_one_key_the_last_counts() {
        let before = object(&json!({"containers": [
            {"name": "app", "env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]},
            {"name": "side", "env": [{"name": "A", "value": "1"}]},
        ]}));
        let after = object(&json!({"containers": [
            {"name": "app", "env": [{"name": "B"}, {"name": "A", "value": "2"}]},
            {"name": "side", "env": [{"name": "A", "value": "1"}]},
        ]}));
        assert_eq!(fitted_to(&before, TWICE), Some(after));
    }

    #[test]
    fn several_complaints_at_once() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "name": "b"}]);
        let before = object(&json!({"containers": [{"name": "app", "nope": true, "ports": ports}]}));
        let after = object(&json!({"containers": [{"name": "app", "ports": [
            {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "name": "b"},
        ]}]}));
        assert_eq!(fitted_to(&before, PORTS), Some(after));
    }

    #[test]
    fn other_complaints_stay() {
        let before = object(&json!({"containers": [{"name": "app", "env": [{"name": "A", "value": 5}]}]}));
        let message = "failed to create typed patch object (n/probe; apps/v1, Kind=Deployment): \
            .spec.template.spec.containers[name=\"app\"].env[name=\"A\"].value: expected string, got &value.valueUnstructured{Value:5}";
        assert_eq!(fitted_to(&before, message), None);
        assert_eq!(fitted_to(&before, UNKNOWN), None);
    }
}
