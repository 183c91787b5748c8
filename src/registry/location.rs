//! Where an image lies, whatever way its reference is written.

use std::fmt;

use super::ImageReference;

/// The registry that is meant where a reference names none.
pub const DOCKER_HUB: &str = "docker.io";

/// A repository by the host of its registry and its path there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Host and port: `ghcr.io`, `localhost:5000`, `docker.io`.
    pub host: String,
    /// Path of the repository: `acme/backend`, `library/redis`.
    pub path: String,
}

impl Location {
    /// Reads a repository as it stands in a reference. The first part is a host where it looks like one (a dot, a port, or
    /// `localhost`), as in every container engine.
    pub fn of(repository: &str) -> Self {
        let (host, path) = match repository.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DOCKER_HUB, repository),
        };
        let host = if is_docker_hub(host) { DOCKER_HUB } else { host };
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Self { host: host.to_owned(), path }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)
    }
}

/// Whether a host is one of the names of Docker Hub.
pub fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com")
}

/// A reference in full, as a node lists it: `docker.io/library/redis:7`. With a digest the tag means nothing.
pub fn in_full(image: &ImageReference) -> String {
    let location = Location::of(&image.repository);
    match (&image.digest, &image.tag) {
        (Some(digest), _) => format!("{location}@{digest}"),
        (None, tag) => format!("{location}:{}", tag.as_deref().unwrap_or("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_as_container_engines_do() {
        for (text, full) in [
            ("redis", "docker.io/library/redis:latest"),
            ("redis:7.2", "docker.io/library/redis:7.2"),
            ("acme/backend:v1", "docker.io/acme/backend:v1"),
            ("index.docker.io/acme/backend:v1", "docker.io/acme/backend:v1"),
            ("ghcr.io/acme/backend:v1", "ghcr.io/acme/backend:v1"),
            ("localhost/backend:v1", "localhost/backend:v1"),
            ("registry:5000/backend:v1", "registry:5000/backend:v1"),
        ] {
            assert_eq!(in_full(&text.parse().unwrap()), full, "{text}");
        }
    }
}
