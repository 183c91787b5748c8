//! Secrets that the configuration names: read when they are needed, kept out of every text.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use secrecy::SecretString;

use super::{SecretKey, SecretSource};

/// Reads a secret. The error names where it should stand, and nothing of what stands there.
pub async fn read(
    source: &SecretSource,
    client: &kube::Client,
    namespace: &str,
) -> Result<SecretString, String> {
    let text = match source {
        SecretSource::Env(name) => std::env::var(name).map_err(|_| format!("{source} is not set"))?,
        SecretSource::Secret(SecretKey { name, key }) => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let found = api.get(name).await.map_err(|error| match error {
                kube::Error::Api(status) => format!("{source} cannot be read: {}", status.message),
                error => format!("{source} cannot be read: {error}"),
            })?;
            let data = found.data.and_then(|mut data| data.remove(key));
            let bytes = data.ok_or_else(|| format!("{source}: there is no such key"))?;
            String::from_utf8(bytes.0).map_err(|_| format!("{source} is no text"))?
        }
    };
    let text = text.trim();
    if text.is_empty() { Err(format!("{source} is empty")) } else { Ok(text.to_owned().into()) }
}
