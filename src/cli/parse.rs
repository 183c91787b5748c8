//! Values of flags: durations as Go writes them, `KIND/NAME[/CONTAINER]`, `REPO=REF`, `KIND/NAME=N`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reconcile::LONGEST_DESCRIPTION;
use crate::registry::reference::{ImageReference, is_digest, is_tag};
use crate::workload::{WorkloadKind, WorkloadRef};

/// A duration as Go writes it (`90s`, `3m`, `1h30m`, `1.5h`); `0` means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("is empty; write it like 90s, 3m or 1h30m".to_owned());
        }
        let parsed = text
            .parse::<kube::core::Duration>()
            .map_err(|error| format!("{error}; write it like 90s, 3m or 1h30m"))?;
        if parsed.is_negative() {
            return Err("must not be negative".to_owned());
        }
        Ok(Self(parsed.into()))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        kube::core::Duration::from(self.0).fmt(formatter)
    }
}

/// `KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WorkloadSelector {
    /// The kind.
    pub kind: WorkloadKind,
    /// The name.
    pub name: String,
}

impl WorkloadSelector {
    /// Whether it names a workload.
    pub fn selects(&self, workload: &WorkloadRef) -> bool {
        self.kind == workload.kind && self.name == workload.name
    }
}

impl FromStr for WorkloadSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) =
            text.split_once('/').ok_or_else(|| format!("{text:?} is not KIND/NAME, like deploy/backend"))?;
        if name.is_empty() || name.contains('/') {
            return Err(format!("{text:?} is not KIND/NAME, like deploy/backend"));
        }
        Ok(Self { kind: kind.parse()?, name: name.to_owned() })
    }
}

/// `KIND/NAME[/CONTAINER]`: one container, or every container of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerSelector {
    /// The workload.
    pub workload: WorkloadSelector,
    /// The container; `None` means all of them.
    pub container: Option<String>,
}

impl FromStr for ContainerSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let (Some(kind), Some(name), container) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("{text:?} is not KIND/NAME[/CONTAINER], like deploy/backend/web"));
        };
        if name.is_empty()
            || container.is_some_and(|container| container.is_empty() || container.contains('/'))
        {
            return Err(format!("{text:?} is not KIND/NAME[/CONTAINER], like deploy/backend/web"));
        }
        let workload = WorkloadSelector { kind: kind.parse()?, name: name.to_owned() };
        Ok(Self { workload, container: container.map(str::to_owned) })
    }
}

/// `REPO=REF`: what containers of a repository get instead of the tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageOverride {
    /// The repository as it stands in the pod templates.
    pub repository: String,
    /// The image to write.
    pub image: ImageReference,
}

impl FromStr for ImageOverride {
    type Err = String;

    /// `REF` is a tag, a digest, or a whole reference.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (repository, reference) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not REPO=REF, like ghcr.io/acme/backend=abc123d"))?;
        let named: ImageReference = repository.parse().map_err(|error| format!("{error}"))?;
        if named.tag.is_some() || named.digest.is_some() {
            return Err(format!("the repository {repository:?} must stand without a tag"));
        }
        let image = if is_digest(reference) {
            named.with_digest(reference)
        } else if is_tag(reference) {
            named.with_tag(reference)
        } else {
            let image: ImageReference = reference.parse().map_err(|error| format!("{error}"))?;
            if image.tag.is_none() && image.digest.is_none() {
                return Err(format!("the image {reference:?} needs a tag or a digest"));
            }
            image
        };
        Ok(Self { repository: named.repository, image })
    }
}

/// `KIND/NAME=N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReplicaOverride {
    /// The workload.
    pub workload: WorkloadSelector,
    /// How many pods it gets.
    pub replicas: i32,
}

impl FromStr for ReplicaOverride {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (workload, replicas) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not KIND/NAME=N, like deploy/backend=2"))?;
        let replicas = replicas
            .parse::<u16>()
            .map_err(|error| format!("{replicas:?} is not a number of pods: {error}"))?;
        let workload: WorkloadSelector = workload.parse()?;
        if !workload.kind.has_replicas() {
            return Err(format!("a {} has no replicas", workload.kind));
        }
        Ok(Self { workload, replicas: i32::from(replicas) })
    }
}

/// In saved plans they stand as they are written on the command line.
macro_rules! as_text {
    ($($kind:ty)+) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )+};
}
as_text! { WorkloadSelector ContainerSelector ImageOverride ReplicaOverride }

impl fmt::Display for WorkloadSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.short_name(), self.name)
    }
}

impl fmt::Display for ContainerSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.workload.fmt(formatter)?;
        self.container.as_ref().map_or(Ok(()), |container| write!(formatter, "/{container}"))
    }
}

impl fmt::Display for ImageOverride {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.repository, self.image)
    }
}

impl fmt::Display for ReplicaOverride {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.workload, self.replicas)
    }
}

/// A moment: some time ago (`2h`), or an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// That long before now.
    Ago(Duration),
    /// At that time.
    At(jiff::Timestamp),
}

impl Moment {
    /// The time of day that it names.
    pub fn resolve(self, now: jiff::Timestamp) -> jiff::Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(jiff::Timestamp::MIN),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        let ago = text.parse::<GoDuration>();
        ago.map(|ago| Self::Ago(ago.0)).map_err(|_| {
            format!("{text:?} is neither a time ago like 90m or 2h nor a time like 2026-02-07T14:00:00Z")
        })
    }
}

/// Reads a description of a revision: what Helm accepts as one.
pub fn description(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length <= LONGEST_DESCRIPTION {
        Ok(text.to_owned())
    } else {
        Err(format!("has {length} characters; Helm allows {LONGEST_DESCRIPTION}"))
    }
}

/// Reads a tag.
pub fn tag(text: &str) -> Result<String, String> {
    if is_tag(text) {
        Ok(text.to_owned())
    } else {
        Err("a tag has at most 128 letters, digits, '_', '.' and '-', and starts with none of the last two"
            .to_owned())
    }
}

/// Reads a digest.
pub fn digest(text: &str) -> Result<String, String> {
    if is_digest(text) {
        Ok(text.to_owned())
    } else {
        Err("a digest looks like sha256:0123abcd…".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_durations() {
        for (text, millis) in
            [("90s", 90_000), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("300ms", 300), ("0", 0)]
        {
            assert_eq!(text.parse::<GoDuration>().map(|d| d.0.as_millis()), Ok(millis), "{text}");
        }
        for text in ["", "5", "-1s", "3 minutes"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments_are_ago_or_at() {
        let now: jiff::Timestamp = "2026-02-07T14:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-02-07T12:00:00Z"),
            ("2026-02-06T10:00:00+01:00", "2026-02-06T09:00:00Z"),
            ("0", "2026-02-07T14:00:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().resolve(now).to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-02-06", "-2h"] {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn descriptions_are_as_long_as_helm_allows() {
        assert!(description(&"ä".repeat(256)).is_ok());
        assert!(description(&"a".repeat(257)).is_err());
    }

    #[test]
    fn selectors() {
        let container: ContainerSelector = "deployment/backend/web".parse().unwrap();
        assert_eq!(
            (container.workload.name.as_str(), container.container.as_deref()),
            ("backend", Some("web"))
        );
        assert_eq!("sts/db".parse::<ContainerSelector>().unwrap().container, None);
        for text in ["backend", "pod/x", "deploy/", "deploy/a/b/c", "deploy/a/"] {
            assert!(text.parse::<ContainerSelector>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn image_overrides_take_tags_digests_and_whole_references() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, image) in [
            ("ghcr.io/acme/backend=abc123d".to_owned(), "ghcr.io/acme/backend:abc123d".to_owned()),
            (format!("ghcr.io/acme/backend={digest}"), format!("ghcr.io/acme/backend@{digest}")),
            ("ghcr.io/acme/backend=mirror:5000/backend:x".to_owned(), "mirror:5000/backend:x".to_owned()),
        ] {
            assert_eq!(text.parse::<ImageOverride>().unwrap().image.to_string(), image);
        }
        for text in ["backend", "backend:1=2", "backend=", "backend=ghcr.io/acme/backend"] {
            assert!(text.parse::<ImageOverride>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn replica_overrides_need_a_kind_with_replicas() {
        assert_eq!("deploy/backend=3".parse::<ReplicaOverride>().unwrap().replicas, 3);
        for text in ["ds/agent=1", "deploy/x=-1", "deploy/x", "deploy/x=two"] {
            assert!(text.parse::<ReplicaOverride>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_saved_plan_holds_reads_as_it_was_written() {
        fn same<T: FromStr<Err = String> + fmt::Display>(text: &str) {
            assert_eq!(text.parse::<T>().map(|value| value.to_string()).as_deref(), Ok(text));
        }
        same::<WorkloadSelector>("deploy/backend");
        same::<ContainerSelector>("sts/db");
        same::<ContainerSelector>("cronjob/cleanup/main");
        same::<ReplicaOverride>("deploy/backend=3");
        same::<ImageOverride>("ghcr.io/acme/backend=mirror:5000/backend:x");
        let tagged: ImageOverride = "ghcr.io/acme/backend=abc123d".parse().unwrap();
        assert_eq!(tagged.to_string().parse(), Ok(tagged.clone()));
        assert_eq!(
            serde_json::to_string(&tagged).unwrap(),
            "\"ghcr.io/acme/backend=ghcr.io/acme/backend:abc123d\""
        );
        assert!(serde_json::from_str::<ReplicaOverride>("\"deploy/x=two\"").is_err());
    }
}
