//! The credentials with which the cluster pulls: pull secrets of a pod template and of its `ServiceAccount`. What may not be
//! read is gone on without: it is the registry that decides whether that was enough.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::Value;

/// Whose pull secrets are wanted: one namespace's pod templates.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pullers {
    /// The namespace.
    pub namespace: String,
    /// Names of `imagePullSecrets`.
    pub secrets: BTreeSet<String>,
    /// Names of `ServiceAccount`s.
    pub accounts: BTreeSet<String>,
}

impl Pullers {
    /// Adds what a pod's `spec` says.
    pub fn add(&mut self, pod_spec: &Value) {
        let listed = pod_spec.get("imagePullSecrets").and_then(Value::as_array);
        let names = listed.into_iter().flatten().filter_map(|secret| secret.get("name")?.as_str());
        self.secrets.extend(names.map(str::to_owned));
        let account = pod_spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        self.accounts.insert(account.to_owned());
    }
}

/// The texts of the pull secrets.
pub async fn read(client: &Client, pullers: &Pullers) -> Vec<SecretSlice<u8>> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pullers.namespace);
    let of_accounts = join_all(pullers.accounts.iter().map(|name| accounts.get_opt(name))).await;
    let mut names = pullers.secrets.clone();
    let listed = of_accounts.into_iter().filter_map(|account| account.ok().flatten());
    names.extend(
        listed.flat_map(|account| account.image_pull_secrets.unwrap_or_default()).map(|secret| secret.name),
    );
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Secret"), "secrets");
    let secrets: Api<DynamicObject> = Api::namespaced_with(client.clone(), &pullers.namespace, &resource);
    let read = join_all(names.iter().filter(|name| !name.is_empty()).map(|name| secrets.get_opt(name))).await;
    read.into_iter().filter_map(|secret| text_of(&secret.ok()??)).collect()
}

fn text_of(secret: &DynamicObject) -> Option<SecretSlice<u8>> {
    let data = secret.data.get("data")?;
    let text = [".dockerconfigjson", ".dockercfg"].iter().find_map(|key| data.get(key)?.as_str())?;
    STANDARD.decode(text).ok().map(SecretSlice::from)
}

/// A keyring of the texts, over the local Docker configuration.
pub fn keyring(mut keyring: super::Keyring, texts: &[SecretSlice<u8>]) -> super::Keyring {
    for text in texts {
        keyring.add(text.expose_secret());
    }
    keyring
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::context::tests::{context, exchange};

    #[tokio::test]
    async fn secrets_of_the_template_and_of_its_account_are_read() {
        let mut pullers = Pullers { namespace: "n".to_owned(), ..Pullers::default() };
        pullers.add(&json!({"imagePullSecrets": [{"name": "own"}], "serviceAccountName": "runner"}));
        let secret = |text: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"},
                "data": {".dockerconfigjson": STANDARD.encode(text)}})
        };
        let account = json!({"metadata": {"name": "runner"}, "imagePullSecrets": [{"name": "registry"}, {"name": "zz"}]});
        let refusal = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
        let (context, script, _interrupter) = context(vec![
            exchange(Method::GET, "/serviceaccounts/runner", 200, account),
            exchange(Method::GET, "/secrets/own", 200, secret("one")),
            exchange(Method::GET, "/secrets/registry", 200, secret("two")),
            exchange(Method::GET, "/secrets/zz", 403, refusal),
        ]);
        let texts = read(&context.client, &pullers).await;
        let texts: Vec<&[u8]> = texts.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(texts, [b"one", b"two"]);
        assert_eq!(script.left(), 0);
    }
}
