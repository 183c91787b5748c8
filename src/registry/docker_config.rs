//! Docker's `config.json` on this machine: stored credentials, and programs that keep them (`docker-credential-NAME get`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::credentials::Credential;
use super::location::{DOCKER_HUB, is_docker_hub};

/// Time that a credential helper may take.
const HELPER_LIMIT: Duration = Duration::from_secs(4);
/// Bytes that a credential helper may say.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// Docker Hub's name in Docker's configuration.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What the file says.
pub struct DockerConfig(Value);

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DockerConfig")
    }
}

impl DockerConfig {
    /// Reads the file of a folder; `None` where there is none or it is no JSON.
    pub async fn read(folder: &Path) -> Option<Self> {
        let text = tokio::fs::read(folder.join("config.json")).await.ok()?;
        serde_json::from_slice(&text).ok().map(Self)
    }

    /// The credential of a registry: of its own helper, else of the store for all, else of the file.
    pub async fn find(&self, host: &str) -> Option<Credential> {
        let server = if host == DOCKER_HUB { HUB_KEY } else { host };
        let helpers = self.0.get("credHelpers");
        let own = helpers.and_then(|helpers| helpers.get(server).or_else(|| helpers.get(host)));
        let helper = own.or_else(|| self.0.get("credsStore")).and_then(Value::as_str);
        if let Some(helper) = helper.filter(|name| !name.is_empty())
            && let Some(credential) = ask(helper, server).await
        {
            return Some(credential);
        }
        let auths = self.0.get("auths").and_then(Value::as_object)?;
        auths.iter().find(|(key, _)| names(key, host)).and_then(|(_, entry)| Credential::read(entry))
    }
}

/// Whether a key of `auths` is this registry.
fn names(key: &str, host: &str) -> bool {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let name = key.split('/').next().unwrap_or_default();
    name == host || host == DOCKER_HUB && is_docker_hub(name)
}

/// Asks a helper; whatever goes wrong there means that it knows nothing.
async fn ask(helper: &str, server: &str) -> Option<Credential> {
    let is_name = helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return None;
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let conversation = async {
        let mut stdin = child.stdin.take()?;
        stdin.write_all(server.as_bytes()).await.ok()?;
        drop(stdin);
        let mut answer = Vec::new();
        child.stdout.take()?.take(LONGEST_ANSWER).read_to_end(&mut answer).await.ok()?;
        child.wait().await.ok()?.success().then_some(answer)
    };
    let answer = tokio::time::timeout(HELPER_LIMIT, conversation).await.ok()??;
    let answer: Value = serde_json::from_slice(&answer).ok()?;
    let text = |name: &str| answer.get(name)?.as_str().map(SecretString::from);
    let (username, password) = (text("Username")?, text("Secret")?);
    Some(match username.expose_secret() {
        "<token>" => Credential::Identity(password),
        _ => Credential::Basic { username, password },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn user(config: &Value, host: &str) -> Option<String> {
        match DockerConfig(config.clone()).find(host).await? {
            Credential::Basic { username, .. } => Some(username.expose_secret().to_owned()),
            _ => Some("token".to_owned()),
        }
    }

    #[tokio::test]
    async fn stored_credentials_are_found_by_host() {
        let entry = |name: &str| json!({"username": name, "password": "p"});
        let config = json!({"auths": {HUB_KEY: entry("hub"), "https://ghcr.io": entry("github")},
            "credHelpers": {"ghcr.io": "there-is-no-such-helper", "quay.io": "../../bin/sh"}});
        assert_eq!(user(&config, DOCKER_HUB).await.as_deref(), Some("hub"));
        assert_eq!(user(&config, "ghcr.io").await.as_deref(), Some("github"));
        assert_eq!(user(&config, "quay.io").await, None);
        assert!(!format!("{:?}", DockerConfig(config)).contains("github"));
    }
}
