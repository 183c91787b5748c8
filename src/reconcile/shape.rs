//! The places in a release's values that can hold an image, and what must stand there for another one.

use std::fmt;

use serde_json::Value;

use crate::helm::values::Path;
use crate::registry::reference::ImageReference;

use super::seen::Seen;

/// A value, or a group of values, that may drive an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A mapping that holds the repository, and a tag or the place for one.
    Beside {
        map: Path,
        /// Its key, and what the template puts before it (a registry), without the slash.
        repository: (String, String),
        tag: Option<String>,
        around: Around,
        digest: Option<String>,
    },
    /// One text that is the whole image, behind a registry or not.
    Whole { leaf: Path, prefix: String },
    /// A tag by itself, such as a global one.
    Bare { leaf: Path },
}

/// What a template puts around the value of a tag: `v` before it, `-slim` after it. Empty where the value is the tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Around {
    before: String,
    after: String,
}

impl Around {
    /// What stands around `value` in `tag`, if it is one whole part of it.
    pub(super) fn find(tag: &str, value: &str) -> Option<Self> {
        let is_separator = |sign: char| "-._+".contains(sign);
        let parts = tag.match_indices(value).map(|(at, _)| (&tag[..at], &tag[at + value.len()..]));
        parts
            .filter(|(before, after)| {
                !value.is_empty()
                    && (before.is_empty() || *before == "v" || before.ends_with(is_separator))
                    && (after.is_empty() || after.starts_with(is_separator))
            })
            .map(|(before, after)| Self { before: before.to_owned(), after: after.to_owned() })
            .next()
    }

    /// Whether the value is the whole tag.
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The value that makes this tag, if one does.
    pub(super) fn strip<'a>(&self, tag: &'a str) -> Option<&'a str> {
        let value = tag.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        (!value.is_empty()).then_some(value)
    }
}

impl fmt::Display for Around {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.before.as_str(), self.after.as_str()) {
            (before, "") => write!(formatter, "with {before} before it"),
            ("", after) => write!(formatter, "with {after} after it"),
            (before, after) => write!(formatter, "with {before} before and {after} after it"),
        }
    }
}

/// What stands before `name` in a repository: nothing, or a registry or path. `None` if the repository does not end so.
pub(super) fn prefix<'a>(repository: &'a str, name: &str) -> Option<&'a str> {
    let rest = repository.strip_suffix(name)?;
    if name.is_empty() {
        None
    } else if rest.is_empty() {
        Some("")
    } else {
        rest.strip_suffix('/')
    }
}

impl Shape {
    /// What must be set where, so that the image becomes `to`.
    ///
    /// The error says what stands in the way.
    pub(super) fn edits(
        &self,
        seen: &Seen,
        from: &ImageReference,
        to: &ImageReference,
    ) -> Result<Vec<(Path, String)>, String> {
        match self {
            Self::Whole { leaf, prefix } => {
                let image = to.to_string();
                let text = if prefix.is_empty() {
                    Some(image.as_str())
                } else {
                    image.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'))
                };
                text.map(|text| vec![(leaf.clone(), text.to_owned())])
                    .ok_or_else(|| format!("{leaf} cannot name another registry than {prefix}"))
            }
            Self::Bare { leaf } => match (&to.tag, &to.digest) {
                _ if to.repository != from.repository => {
                    Err(format!("{leaf} holds a tag only, and the repository changes"))
                }
                (Some(tag), None) => Ok(vec![(leaf.clone(), tag.clone())]),
                _ => Err(format!("{leaf} holds a tag, not a digest")),
            },
            Self::Beside { map, repository: (key, before), tag, around, digest } => {
                let mut edits = Vec::new();
                if to.repository != from.repository {
                    let name = prefix_stripped(&to.repository, before).ok_or_else(|| {
                        format!("{} cannot name another registry than {before}", map.join(key))
                    })?;
                    edits.push((map.join(key), name.to_owned()));
                }
                let current = |key: &String| {
                    seen.map(map).and_then(|map| map.get(key)).and_then(Value::as_str).unwrap_or_default()
                };
                if tag.is_none() && to.tag.is_some() && from.digest.is_some() {
                    return Err(format!("{map} has a place for a digest, none for a tag"));
                }
                // A tag's key that is not there yet is called what everybody calls it.
                let tag_key = tag.clone().unwrap_or_else(|| "tag".to_owned());
                match (&to.tag, &to.digest, digest) {
                    (Some(tag), None, digest) => {
                        let value = around.strip(tag).ok_or_else(|| {
                            format!("{} is only a part of the tag, {around}", map.join(&tag_key))
                        })?;
                        edits.push((map.join(&tag_key), value.to_owned()));
                        // Left as it is, the digest would win over the tag.
                        edits.extend(
                            digest
                                .as_ref()
                                .filter(|key| !current(key).is_empty())
                                .map(|key| (map.join(key), String::new())),
                        );
                    }
                    (tag, Some(to_digest), Some(digest)) if around.is_empty() => {
                        // Some charts keep the digest without its algorithm.
                        let is_bare = !current(digest).is_empty() && !current(digest).contains(':');
                        let text = match to_digest.split_once(':') {
                            Some((_, hex)) if is_bare => hex,
                            _ => to_digest,
                        };
                        edits.extend(tag.as_ref().map(|tag| (map.join(&tag_key), tag.clone())));
                        edits.push((map.join(digest), text.to_owned()));
                    }
                    (Some(tag), Some(digest), None) if around.is_empty() => {
                        edits.push((map.join(&tag_key), format!("{tag}@{digest}")));
                    }
                    _ => return Err(format!("{map} has no place for a digest")),
                }
                Ok(edits)
            }
        }
    }
}

fn prefix_stripped<'a>(repository: &'a str, before: &str) -> Option<&'a str> {
    if before.is_empty() { Some(repository) } else { repository.strip_prefix(before)?.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_whole_parts_of_tags() {
        let found = |tag, value| Around::find(tag, value).map(|around| (around.before, around.after));
        let is = |before: &str, after: &str| Some((before.to_owned(), after.to_owned()));
        assert_eq!(found("1.2.3-slim", "1.2.3"), is("", "-slim"));
        assert_eq!(found("v1.2.3", "1.2.3"), is("v", ""));
        assert_eq!(found("web-1.2.3-slim", "1.2.3"), is("web-", "-slim"));
        assert_eq!(found("11-1", "1"), is("11-", ""));
        assert_eq!(found("1.2.30", "1.2.3"), None);
        assert_eq!(found("v2", "v1"), None);
        assert_eq!(found("v2", ""), None);
    }
}
