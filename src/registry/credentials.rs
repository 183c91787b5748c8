//! Who we are to a registry: credentials of pull secrets, matched as the kubelet matches them, and of the local Docker
//! configuration. Secrets are held in types that cannot be printed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::docker_config::DockerConfig;
use super::location::{DOCKER_HUB, is_docker_hub};
use super::settings::Endpoint;

/// Credentials that are tried on one registry, at most.
const MOST: usize = 4;

/// One credential.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A user and a password.
    Basic {
        /// The user.
        username: SecretString,
        /// The password.
        password: SecretString,
    },
    /// What is exchanged for a token (Azure, Docker Desktop).
    Identity(SecretString),
    /// A token that the registry takes as it is.
    Bearer(SecretString),
}

impl Credential {
    /// Reads one entry of `auths`; `None` where it holds nothing.
    pub fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("registrytoken") {
            return Some(Self::Bearer(token.into()));
        }
        if let Some(token) = text("identitytoken") {
            return Some(Self::Identity(token.into()));
        }
        if let Some(auth) = text("auth") {
            let decoded = SecretString::from(String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?);
            let (username, password) = decoded.expose_secret().split_once(':')?;
            let password = password.trim_matches('\0');
            return Some(Self::Basic { username: username.into(), password: password.into() });
        }
        Some(Self::Basic { username: text("username")?.into(), password: text("password")?.into() })
    }

    /// The header of a request that shows user and password; `None` for tokens.
    pub fn basic_header(&self) -> Option<SecretString> {
        let Self::Basic { username, password } = self else { return None };
        let pair = SecretString::from(format!("{}:{}", username.expose_secret(), password.expose_secret()));
        Some(format!("Basic {}", STANDARD.encode(pair.expose_secret())).into())
    }
}

/// For which repositories a credential is: `ghcr.io`, `*.example.com:5000/team`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: String,
    path: String,
}

impl Pattern {
    fn read(key: &str) -> Self {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (host, path) = key.split_once('/').unwrap_or((key, ""));
        // Versions of the API in a key are history: https://index.docker.io/v1/.
        let path = path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path);
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        let host = if is_docker_hub(host) { DOCKER_HUB } else { host };
        Self { host: host.to_owned(), path: path.trim_end_matches('/').to_owned() }
    }

    /// As the kubelet matches: hosts part by part with wildcards, ports exactly, paths by prefix.
    fn matches(&self, host: &str, path: &str) -> bool {
        let (pattern, pattern_port) = split_port(&self.host);
        let (name, port) = split_port(host);
        let pattern_parts: Vec<&str> = pattern.split('.').collect();
        let parts: Vec<&str> = name.split('.').collect();
        pattern_port == port
            && pattern_parts.len() == parts.len()
            && pattern_parts.iter().zip(&parts).all(|(pattern, part)| fits(pattern, part))
            && path.starts_with(&self.path)
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether a text fits a pattern with `*` for any signs.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text.strip_prefix(before).is_some_and(|text| {
            (0..=text.len()).any(|skip| text.get(skip..).is_some_and(|text| fits(rest, text)))
        }),
    }
}

/// The credentials at hand.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    entries: Vec<(Pattern, Credential)>,
    local: Option<Arc<DockerConfig>>,
}

impl Keyring {
    /// A keyring that falls back to the local Docker configuration.
    pub fn with_local(local: Option<Arc<DockerConfig>>) -> Self {
        Self { entries: Vec::new(), local }
    }

    /// Adds what a pull secret holds: `.dockerconfigjson`, or the older `.dockercfg`, which is its `auths` alone.
    pub fn add(&mut self, text: &[u8]) {
        let Ok(document) = serde_json::from_slice::<Value>(text) else { return };
        let auths = document.get("auths").unwrap_or(&document);
        for (key, entry) in auths.as_object().into_iter().flatten() {
            if let Some(credential) = Credential::read(entry) {
                self.entries.push((Pattern::read(key), credential));
            }
        }
        // The longest path is the most particular.
        self.entries.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.path.len()));
    }

    /// What to try on a repository, the most particular first; the local configuration last. May run a credential helper.
    pub async fn candidates(&self, endpoint: &Endpoint) -> Vec<Credential> {
        let host = if is_docker_hub(&endpoint.host) { DOCKER_HUB } else { &endpoint.host };
        let mut found: Vec<Credential> = self
            .entries
            .iter()
            .filter(|(pattern, _)| pattern.matches(host, &endpoint.path))
            .map(|(_, credential)| credential.clone())
            .take(MOST)
            .collect();
        if let Some(local) = &self.local {
            found.extend(local.find(host).await);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(image: &str) -> Endpoint {
        let location = super::super::Location::of(image);
        super::super::Settings::default().endpoint(&location)
    }

    async fn users(keys: &[&str], image: &str) -> Vec<String> {
        let auths: serde_json::Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), json!({"username": key, "password": "p"}))).collect();
        let mut keyring = Keyring::default();
        keyring.add(json!({"auths": auths}).to_string().as_bytes());
        let found = keyring.candidates(&endpoint(image)).await;
        let user = |credential: &Credential| match credential {
            Credential::Basic { username, .. } => username.expose_secret().to_owned(),
            _ => String::new(),
        };
        found.iter().map(user).collect()
    }

    #[tokio::test]
    async fn keys_match_as_in_the_kubelet() {
        let hub = "https://index.docker.io/v1/";
        for (keys, image, expected) in [
            (&["ghcr.io"][..], "ghcr.io/acme/backend", &["ghcr.io"][..]),
            (&["ghcr.io", "ghcr.io/acme"], "ghcr.io/acme/backend", &["ghcr.io/acme", "ghcr.io"]),
            (&["ghcr.io", "ghcr.io/other"], "ghcr.io/acme/backend", &["ghcr.io"]),
            (&["https://ghcr.io/v2/"], "ghcr.io/acme/backend", &["https://ghcr.io/v2/"]),
            (&[hub], "redis", &[hub]),
            (&["docker.io/acme"], "acme/backend", &["docker.io/acme"]),
            (&["*.example.com"], "eu.example.com/x", &["*.example.com"]),
            (&["*.example.com"], "a.eu.example.com/x", &[]),
            (&["e*.example.com:5000"], "eu.example.com/x", &[]),
            (&["r.example.com:5000"], "r.example.com:5000/x", &["r.example.com:5000"]),
            (&["quay.io"], "ghcr.io/acme/backend", &[]),
        ] {
            assert_eq!(users(keys, image).await, expected, "{keys:?} {image}");
        }
    }

    #[test]
    fn entries_are_read_and_never_printed() {
        let auth = STANDARD.encode("me:canary");
        for entry in [
            json!({"auth": auth}),
            json!({"username": "me", "password": "canary"}),
            json!({"identitytoken": "canary"}),
            json!({"registrytoken": "canary"}),
        ] {
            let credential = Credential::read(&entry).unwrap();
            let printed = format!("{credential:?}");
            assert!(!printed.contains("canary") && !printed.contains(&auth), "{printed}");
            if let Some(header) = credential.basic_header() {
                assert_eq!(header.expose_secret(), format!("Basic {auth}"));
            }
        }
        for entry in [json!({}), json!({"auth": "%"}), json!({"username": "me"}), json!({"auth": "bWU="})] {
            assert!(Credential::read(&entry).is_none(), "{entry}");
        }
    }

    #[tokio::test]
    async fn old_pull_secrets_are_their_entries_alone() {
        let mut keyring = Keyring::default();
        keyring.add(br#"{"ghcr.io": {"username": "u", "password": "p"}}"#);
        keyring.add(b"rubbish");
        assert_eq!(keyring.candidates(&endpoint("ghcr.io/a/b")).await.len(), 1);
    }
}
