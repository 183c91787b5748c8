//! How registries are reached: mirrors, a private certificate authority, the local Docker configuration.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::Location;
use super::location::DOCKER_HUB;

/// What the operator said about registries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A file of certificates that are trusted beside the system's.
    pub authority: Option<PathBuf>,
    /// Registries that are asked elsewhere.
    pub mirrors: Vec<Mirror>,
    /// The folder of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
}

impl Settings {
    /// Where a repository is asked for.
    pub fn endpoint(&self, location: &Location) -> Endpoint {
        if let Some(mirror) = self.mirrors.iter().find(|mirror| mirror.host == location.host) {
            let path = match mirror.prefix.as_str() {
                "" => location.path.clone(),
                prefix => format!("{prefix}/{}", location.path),
            };
            return Endpoint { tls: mirror.tls, host: mirror.address.clone(), path };
        }
        Endpoint {
            tls: !is_loopback(&location.host),
            host: location.host.clone(),
            path: location.path.clone(),
        }
    }

    /// The folder of Docker's configuration by the environment that `lookup` reads.
    pub fn docker_config_folder(lookup: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        lookup("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
            ["HOME", "USERPROFILE"]
                .iter()
                .find_map(|name| lookup(name))
                .map(|home| PathBuf::from(home).join(".docker"))
        })
    }
}

/// A registry that is asked at another address: `ghcr.io=mirror.example.com/ghcr`, `ghcr.io=http://localhost:5001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry as images name it.
    host: String,
    /// Whether the address speaks TLS.
    tls: bool,
    /// Host and port of the address.
    address: String,
    /// What stands before the repository's path there.
    prefix: String,
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not HOST=ADDRESS, as in ghcr.io=mirror.example.com/ghcr");
        let (host, target) = text.split_once('=').ok_or_else(wrong)?;
        let (scheme, rest) = match target.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, target),
        };
        let (address, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        };
        let is_path = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        let tls = match scheme {
            Some("https") => true,
            Some("http") => false,
            None => !is_loopback(address),
            Some(_) => return Err(wrong()),
        };
        if !is_name(host) || !is_name(address) || !is_path {
            return Err(wrong());
        }
        let host = if super::location::is_docker_hub(host) { DOCKER_HUB } else { host };
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), tls, address: address.to_owned(), prefix })
    }
}

/// Where a repository is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Host and port, as credentials name it.
    pub host: String,
    /// Path of the repository there.
    pub path: String,
}

impl Endpoint {
    /// The start of every address there. Docker Hub's registry has another name than its images.
    pub fn base(&self) -> String {
        let host = if self.host == DOCKER_HUB { "registry-1.docker.io" } else { &self.host };
        format!("{}://{host}", if self.tls { "https" } else { "http" })
    }

    /// Whether it is on this machine: no proxy leads there.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, with or without a port, is this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_at(mirror: &str, repository: &str) -> String {
        let mirrors = if mirror.is_empty() { Vec::new() } else { vec![mirror.parse().unwrap()] };
        let endpoint = Settings { mirrors, ..Settings::default() }.endpoint(&Location::of(repository));
        format!("{}/v2/{}", endpoint.base(), endpoint.path)
    }

    #[test]
    fn mirrors_lead_elsewhere() {
        for (mirror, repository, address) in [
            ("", "ghcr.io/acme/backend", "https://ghcr.io/v2/acme/backend"),
            ("", "redis", "https://registry-1.docker.io/v2/library/redis"),
            ("", "localhost:5000/backend", "http://localhost:5000/v2/backend"),
            ("", "[::1]:5000/backend", "http://[::1]:5000/v2/backend"),
            ("ghcr.io=127.0.0.1:5001", "ghcr.io/acme/backend", "http://127.0.0.1:5001/v2/acme/backend"),
            ("ghcr.io=https://127.0.0.1:1", "ghcr.io/a/b", "https://127.0.0.1:1/v2/a/b"),
            ("ghcr.io=m.example.com/ghcr/", "ghcr.io/a/b", "https://m.example.com/v2/ghcr/a/b"),
            ("ghcr.io=m.example.com", "quay.io/a/b", "https://quay.io/v2/a/b"),
            ("r.example.com=http://r.example.com", "r.example.com/b", "http://r.example.com/v2/b"),
            ("index.docker.io=m.example.com/hub", "redis", "https://m.example.com/v2/hub/library/redis"),
        ] {
            assert_eq!(asked_at(mirror, repository), address, "{mirror} {repository}");
        }
        for wrong in ["ghcr.io", "=x", "ghcr.io=", "ghcr.io=ftp://x", "ghcr.io=user:pw@host", "a=b/c?d"] {
            assert!(wrong.parse::<Mirror>().is_err(), "{wrong}");
        }
    }
}
