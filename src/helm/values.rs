//! Values as Helm merges, prints and sets them.

use std::fmt;

use serde_json::{Map, Value};

use super::scalar;

/// One step into values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A key of a mapping.
    Key(String),
    /// An index of a list, from 0.
    Index(usize),
}

/// A place in values. Displayed as `--set` wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// A path of keys.
    pub fn of_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Segment::Key(key.to_owned())).collect())
    }

    /// One key further.
    #[must_use]
    pub fn join(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// One step further.
    #[must_use]
    pub fn with(&self, segment: Segment) -> Self {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }

    /// The last key, empty for an index.
    pub fn last_key(&self) -> &str {
        match self.0.last() {
            Some(Segment::Key(key)) => key,
            _ => "",
        }
    }

    /// Whether this place is `other` or lies within it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The value at this place.
    pub fn find<'a>(&self, values: &'a Map<String, Value>) -> Option<&'a Value> {
        let (Segment::Key(first), rest) = self.0.split_first()? else {
            return None;
        };
        rest.iter().try_fold(values.get(first)?, |value, segment| match segment {
            Segment::Key(key) => value.get(key),
            Segment::Index(index) => value.get(index),
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) => {
                    if position > 0 {
                        formatter.write_str(".")?;
                    }
                    for letter in key.chars() {
                        if matches!(letter, '.' | ',' | '=' | '[' | ']' | '{' | '}' | '\\') {
                            formatter.write_str("\\")?;
                        }
                        write!(formatter, "{letter}")?;
                    }
                }
                Segment::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The values that a chart's templates saw: the user's over the chart's defaults, where null takes a default away.
pub fn coalesce(
    defaults: Option<&Map<String, Value>>,
    user: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut merged = user.cloned().unwrap_or_default();
    if let Some(defaults) = defaults {
        fill_in(&mut merged, defaults);
    }
    drop_nulls(&mut merged);
    merged
}

fn fill_in(values: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (key, default) in defaults {
        match (values.get_mut(key), default) {
            (None, _) => {
                values.insert(key.clone(), default.clone());
            }
            (Some(Value::Object(value)), Value::Object(default)) => fill_in(value, default),
            // The user's value wins, be it of another type or null.
            (Some(_), _) => {}
        }
    }
}

fn drop_nulls(values: &mut Map<String, Value>) {
    values.retain(|_, value| !value.is_null());
    for value in values.values_mut() {
        if let Value::Object(map) = value {
            drop_nulls(map);
        }
    }
}

/// Sets a text at a place of the user's values.
///
/// Mappings on the way are made. A list is replaced as a whole by Helm, so when the user's values do not have it, all of it
/// is taken from `effective`, what the templates saw.
pub fn set(config: &mut Map<String, Value>, effective: &Map<String, Value>, path: &Path, text: &str) {
    let Some(Segment::Key(first)) = path.0.first() else {
        return;
    };
    let mut place = config.entry(first.clone()).or_insert(Value::Null);
    for position in 1..path.0.len() {
        let here = Path(path.0[..position].to_vec());
        match &path.0[position] {
            Segment::Key(key) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(map) = place else { return };
                place = map.entry(key.clone()).or_insert(Value::Null);
            }
            Segment::Index(index) => {
                if !place.is_array() {
                    *place = here.find(effective).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
                }
                match place.get_mut(index) {
                    Some(_) => {}
                    None => return,
                }
                place = &mut place[index];
            }
        }
    }
    *place = text.into();
}

/// Every text that a template may print for a value: a number arrives as an integer or, read back from a record, as a float.
pub fn printed(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(boolean) => vec![boolean.to_string()],
        Value::Number(number) => {
            let mut texts = vec![number.to_string()];
            texts.extend(number.as_f64().map(scalar::format_float));
            texts
        }
        _ => Vec::new(),
    }
}

/// Whether a template may print a value as this text.
pub fn prints(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        _ => printed(value).iter().any(|printed| printed == text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_user_wins_and_null_takes_away() {
        let defaults = json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 1, "f": {"g": 1}, "h": {"i": 1}});
        let user = json!({"a": {"b": "x", "z": null}, "d": [3], "e": null, "f": 7, "h": {"i": null}});
        assert_eq!(
            Value::Object(coalesce(Some(&map(&defaults)), Some(&map(&user)))),
            json!({"a": {"b": "x", "c": 2}, "d": [3], "f": 7, "h": {}})
        );
        assert!(coalesce(None, None).is_empty());
    }

    #[test]
    fn setting_makes_what_is_missing_and_keeps_the_rest() {
        let effective = map(&json!({"services": [{"tag": "1", "name": "a"}, {"tag": "2"}]}));
        for (config, path, expected) in [
            (json!({}), Path::of_keys(["a", "b"]), json!({"a": {"b": "t"}})),
            (json!({"a": {"c": 1}}), Path::of_keys(["a", "b"]), json!({"a": {"b": "t", "c": 1}})),
            (json!({"a": null}), Path::of_keys(["a", "b"]), json!({"a": {"b": "t"}})),
            (json!({"a": 5}), Path::of_keys(["a"]), json!({"a": "t"})),
            (
                json!({}),
                Path::of_keys(["services"]).with(Segment::Index(1)).join("tag"),
                json!({"services": [{"tag": "1", "name": "a"}, {"tag": "t"}]}),
            ),
        ] {
            let mut config = map(&config);
            set(&mut config, &effective, &path, "t");
            assert_eq!(Value::Object(config), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_written_as_set_reads_them() {
        let path = Path::of_keys(["a.b", "c=d"]).with(Segment::Index(2)).join("tag");
        assert_eq!(path.to_string(), "a\\.b.c\\=d[2].tag");
        let values = map(&json!({"a.b": {"c=d": [0, 1, {"tag": "x"}]}}));
        assert_eq!(path.find(&values), Some(&json!("x")));
        assert_eq!(path.last_key(), "tag");
    }

    #[test]
    fn numbers_print_as_integer_or_float() {
        assert!(prints(&json!(1_234_567), "1234567"));
        assert!(prints(&json!(1_234_567), "1.234567e+06"));
        assert!(prints(&json!(7.2), "7.2"));
        assert!(prints(&json!("7.20"), "7.20"));
        assert!(!prints(&json!(7.2), "7.20"));
        assert!(!prints(&json!(null), ""));
        assert!(prints(&json!(true), "true"));
    }
}
