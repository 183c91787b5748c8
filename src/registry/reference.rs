//! Image references as they stand in a pod template: `repository[:tag][@digest]`.
//!
//! Nothing is normalised: what the manifest says (`redis:7.2.4`, not `docker.io/library/redis:7.2.4`) is what is
//! compared, shown and written back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An image reference, split into its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    /// Everything before the tag and digest, registry host included.
    pub repository: String,
    /// The tag, if the reference names one.
    pub tag: Option<String>,
    /// The digest with its algorithm (`sha256:…`), if the reference names one.
    pub digest: Option<String>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// A part has characters that the grammar does not allow.
    #[error("{text:?} is not an image reference: its {part} is not valid")]
    Invalid {
        /// The text that was read.
        text: String,
        /// `repository`, `tag` or `digest`.
        part: &'static str,
    },
}

impl ImageReference {
    /// The same repository at another tag; a digest is dropped, because it would win over the tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { repository: self.repository.clone(), tag: Some(tag.to_owned()), digest: None }
    }

    /// The same repository at a digest.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> Self {
        Self { repository: self.repository.clone(), tag: None, digest: Some(digest.to_owned()) }
    }

    /// The tag or, without one, the digest: what people call the version. `latest` when there is neither.
    pub fn version(&self) -> &str {
        self.tag.as_deref().or(self.digest.as_deref()).unwrap_or("latest")
    }
}

/// Whether a text is a tag: at most 128 of `[A-Za-z0-9_.-]`, not starting with `.` or `-` (OCI distribution).
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first
        && text.len() <= 128
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Whether a text is a digest: `algorithm:hex` with at least 32 hex digits (OCI image specification).
pub fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'_' | b'-'))
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_repository(text: &str) -> bool {
    let name_after_host = text.split_once('/').map_or(text, |(_, name)| name);
    !text.is_empty()
        && !name_after_host.contains(':')
        && !text.starts_with('/')
        && !text.ends_with('/')
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'[' | b']')
        })
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let invalid = |part| ReferenceError::Invalid { text: text.to_owned(), part };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon is a tag's only behind the last slash; before it, it is a port's.
        let last_segment = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name[last_segment..].rfind(':') {
            Some(colon) => (&name[..last_segment + colon], Some(&name[last_segment + colon + 1..])),
            None => (name, None),
        };
        if !is_repository(repository) {
            return Err(invalid("repository"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("tag"));
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(invalid("digest"));
        }
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn splits_into_parts() {
        let pinned = format!("ghcr.io/acme/backend:9f31c02@{DIGEST}");
        let digest_only = format!("localhost:5000/backend@{DIGEST}");
        for (text, repository, tag, digest) in [
            ("redis", "redis", None, None),
            ("redis:7.2.4", "redis", Some("7.2.4"), None),
            ("localhost:5000/backend", "localhost:5000/backend", None, None),
            ("localhost:5000/a/backend:v1", "localhost:5000/a/backend", Some("v1"), None),
            (pinned.as_str(), "ghcr.io/acme/backend", Some("9f31c02"), Some(DIGEST)),
            (digest_only.as_str(), "localhost:5000/backend", None, Some(DIGEST)),
        ] {
            let reference: ImageReference = text.parse().expect(text);
            assert_eq!(reference.repository, repository, "{text}");
            assert_eq!(reference.tag.as_deref(), tag, "{text}");
            assert_eq!(reference.digest.as_deref(), digest, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_no_registry_knows() {
        for text in
            ["", ":tag", "a b", "repo:", "repo:-x", "repo@sha256:xyz", "repo@", "/repo", "repo:tag:tag"]
        {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tag_replaces_a_digest() {
        let reference: ImageReference = format!("acme/backend:old@{DIGEST}").parse().unwrap();
        assert_eq!(reference.with_tag("new").to_string(), "acme/backend:new");
    }
}
