//! Items of lists and sets: how a key of `fieldsV1` (`k:{"name":"app"}`, `v:"x"`, `i:0`) finds its item.

use serde_json::{Map, Value};

/// What tells an item from its neighbours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ItemKey {
    /// `k:`: the values of its key fields.
    Fields(Map<String, Value>),
    /// `v:`: its own value.
    Value(Value),
    /// `i:`: its place.
    Index(usize),
}

impl ItemKey {
    /// Reads a key; `None` for a field (`f:`).
    pub fn read(key: &str) -> Option<Self> {
        let (kind, text) = key.split_at_checked(2)?;
        match kind {
            "k:" => serde_json::from_str(text).ok().map(Self::Fields),
            "v:" => serde_json::from_str(text).ok().map(Self::Value),
            "i:" => text.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// How well an item of a list fits: `None` not at all, else how many key fields it leaves to the server's default
    /// (a port without `protocol`).
    pub fn fit(&self, index: usize, item: &Value) -> Option<usize> {
        match self {
            Self::Fields(fields) => {
                let differs =
                    |(name, value): (&String, &Value)| item.get(name).is_some_and(|found| found != value);
                let left_out = fields.keys().filter(|name| item.get(name.as_str()).is_none()).count();
                (left_out < fields.len() && !fields.iter().any(differs)).then_some(left_out)
            }
            Self::Value(value) => (item == value).then_some(0),
            Self::Index(place) => (index == *place).then_some(0),
        }
    }

    /// Where in a list its item is: the one that fits best.
    pub fn position(&self, items: &[Value]) -> Option<usize> {
        let fits = items.iter().enumerate().filter_map(|(index, item)| Some((self.fit(index, item)?, index)));
        fits.min().map(|(_, index)| index)
    }

    /// For people: the first key's value.
    pub fn name(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match self {
            Self::Fields(fields) => fields.values().map(text).collect::<Vec<_>>().join(","),
            Self::Value(value) => text(value),
            Self::Index(index) => index.to_string(),
        }
    }
}

/// Which of `keys` each item of a list has, each key at most once: items that say all of their key fields come first.
pub(super) fn assign<'a>(items: &[Value], keys: impl Iterator<Item = &'a String>) -> Vec<Option<&'a String>> {
    let mut pairs: Vec<(usize, usize, &String)> = keys
        .filter_map(|key| Some((key, ItemKey::read(key)?)))
        .flat_map(|(name, key)| {
            let fits = items.iter().enumerate();
            fits.filter_map(|(index, item)| Some((key.fit(index, item)?, index, name))).collect::<Vec<_>>()
        })
        .collect();
    pairs.sort_unstable();
    let mut assigned = vec![None; items.len()];
    for (_, index, key) in pairs {
        if assigned[index].is_none() && !assigned.contains(&Some(key)) {
            assigned[index] = Some(key);
        }
    }
    assigned
}
