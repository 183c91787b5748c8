//! Which resource an object of a manifest is: kinds are looked up among what the API server serves, and only the
//! group-versions that are asked for are read.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::{Client, Error};

use super::list::is_not_found;

/// Why a kind cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApisError {
    /// The API server does not know it: a version that was removed, or a definition that is not installed.
    #[error("the API server does not serve {api_version} {kind}")]
    NotServed {
        /// The `apiVersion` that was asked for.
        api_version: String,
        /// The kind that was asked for.
        kind: String,
    },
    /// The API server does not say what it serves: it, or the extension server behind that group, does not answer.
    #[error("cannot find out whether the API server serves {api_version} {kind}: {problem}")]
    Unknown {
        /// The `apiVersion` that was asked for.
        api_version: String,
        /// The kind that was asked for.
        kind: String,
        /// What the API server answered.
        problem: String,
    },
}

/// The kinds of one group-version, with whether they are namespaced; or why they could not be read.
type Kinds = Result<BTreeMap<String, (ApiResource, bool)>, String>;

/// The kinds of the group-versions that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Apis {
    versions: BTreeMap<String, Kinds>,
}

impl Apis {
    /// Reads the kinds of these `apiVersion`s, each once, all at the same time.
    ///
    /// Does not fail: what is not served or could not be read is said by [`Self::require`], for the kind that needs it.
    pub async fn read<'a>(client: &Client, api_versions: impl IntoIterator<Item = &'a str>) -> Self {
        let mut apis = Self::default();
        apis.add(client, api_versions).await;
        apis
    }

    /// Reads the `apiVersion`s that are not known yet, and those that could not be read before.
    pub async fn add<'a>(&mut self, client: &Client, api_versions: impl IntoIterator<Item = &'a str>) {
        let unknown: BTreeSet<&str> = api_versions
            .into_iter()
            .filter(|api_version| !matches!(self.versions.get(*api_version), Some(Ok(_))))
            .collect();
        let answers = join_all(
            unknown
                .into_iter()
                .map(|version| async move { (version.to_owned(), kinds(client, version).await) }),
        );
        self.versions.extend(answers.await);
    }

    /// The resource of a kind, and whether its objects live in namespaces; `None` where that is not known.
    pub fn resolve(&self, api_version: &str, kind: &str) -> Option<(ApiResource, bool)> {
        self.versions.get(api_version)?.as_ref().ok()?.get(kind).cloned()
    }

    /// As [`Self::resolve`], but says why it is not known.
    pub fn require(&self, api_version: &str, kind: &str) -> Result<(ApiResource, bool), ApisError> {
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        let problem = match self.versions.get(&api_version) {
            Some(Ok(kinds)) => match kinds.get(&kind) {
                Some(found) => return Ok(found.clone()),
                None => return Err(ApisError::NotServed { api_version, kind }),
            },
            Some(Err(problem)) => problem.clone(),
            None => "it was not asked".to_owned(),
        };
        Err(ApisError::Unknown { api_version, kind, problem })
    }

    /// Where objects of that kind are read and written; `namespace` is left out for cluster-wide kinds.
    pub fn api(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<Api<DynamicObject>, ApisError> {
        let (resource, is_namespaced) = self.require(api_version, kind)?;
        Ok(if is_namespaced {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        })
    }
}

/// Whether the text can be part of a path; anything else is no group or version that could be served.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

async fn kinds(client: &Client, api_version: &str) -> Kinds {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if !is_name(version) || !(is_name(group) || api_version == version) {
        return Ok(BTreeMap::new());
    }
    let answer = if group.is_empty() {
        client.list_core_api_resources(version).await
    } else {
        client.list_api_group_resources(api_version).await
    };
    match answer {
        Ok(list) => Ok(table(group, version, list)),
        Err(error) if is_not_found(&error) => Ok(BTreeMap::new()),
        Err(Error::Api(status)) => Err(status.message.clone()),
        Err(error) => Err(error.to_string()),
    }
}

/// The kinds of a list. Subresources such as `deployments/scale` are named with a slash and are no kinds of their own.
fn table(group: &str, version: &str, list: APIResourceList) -> BTreeMap<String, (ApiResource, bool)> {
    let is_whole = |name: &str| !name.contains('/');
    list.resources
        .into_iter()
        .filter(|resource| is_whole(&resource.name))
        .map(|found| {
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
                kind: found.kind.clone(),
                plural: found.name,
            };
            (found.kind, (resource, found.namespaced))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::context::tests::{context, exchange};

    fn list(group_version: &str, resources: &[(&str, &str, bool)]) -> Value {
        let resources: Vec<Value> = resources
            .iter()
            .map(|(name, kind, namespaced)| {
                json!({"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get"]})
            })
            .collect();
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources})
    }

    #[tokio::test]
    async fn each_group_version_is_read_once_and_subresources_are_no_kinds() {
        let core = list("v1", &[("pods", "Pod", true), ("pods/exec", "PodExecOptions", true)]);
        let rbac = list(
            "rbac.authorization.k8s.io/v1",
            &[("clusterroles", "ClusterRole", false), ("roles", "Role", true)],
        );
        let (context, script, _interrupter) = context(vec![
            exchange(Method::GET, "/apis/rbac.authorization.k8s.io/v1", 200, rbac),
            exchange(Method::GET, "/api/v1", 200, core),
        ]);
        let rbac = "rbac.authorization.k8s.io/v1";
        let mut apis = Apis::read(&context.client, [rbac, "v1", "v1", rbac]).await;
        let (role, is_namespaced) = apis.resolve(rbac, "ClusterRole").unwrap();
        assert_eq!(
            (role.plural.as_str(), role.api_version.as_str(), is_namespaced),
            ("clusterroles", rbac, false)
        );
        let (pod, is_namespaced) = apis.resolve("v1", "Pod").unwrap();
        assert_eq!((pod.plural.as_str(), pod.group.as_str(), is_namespaced), ("pods", "", true));
        assert!(apis.resolve("v1", "PodExecOptions").is_none());
        assert_eq!(
            apis.api(&context.client, "v1", "Pod", "shop").unwrap().resource_url(),
            "/api/v1/namespaces/shop/pods"
        );
        assert_eq!(
            apis.api(&context.client, rbac, "ClusterRole", "shop").unwrap().resource_url(),
            format!("/apis/{rbac}/clusterroles")
        );
        apis.add(&context.client, ["v1"]).await;
        assert_eq!(script.asked.lock().unwrap().len(), 2, "what is known is not read again");
    }

    #[tokio::test]
    async fn what_is_not_served_is_named_and_what_was_not_answered_is_told_apart() {
        let status = |code: u16, message: &str| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
        let (context, _script, _interrupter) = context(vec![
            exchange(Method::GET, "/apis/metrics.k8s.io/v1beta1", 503, status(503, "service unavailable")),
            exchange(Method::GET, "/apis/policy/v1beta1", 404, status(404, "not found")),
            exchange(Method::GET, "/api/v1", 200, list("v1", &[("pods", "Pod", true)])),
            exchange(
                Method::GET,
                "/apis/metrics.k8s.io/v1beta1",
                200,
                list("", &[("pods", "PodMetrics", true)]),
            ),
        ]);
        let asked = ["policy/v1beta1", "v1", "metrics.k8s.io/v1beta1", "../../secrets/v1", ""];
        let mut apis = Apis::read(&context.client, asked).await;
        let why = |apis: &Apis, version, kind| apis.require(version, kind).unwrap_err().to_string();
        for (version, kind) in [
            ("policy/v1beta1", "PodDisruptionBudget"),
            ("v1", "Pods"),
            ("../../secrets/v1", "X"),
            ("", "Pod"),
        ] {
            assert_eq!(why(&apis, version, kind), format!("the API server does not serve {version} {kind}"));
        }
        assert_eq!(
            why(&apis, "metrics.k8s.io/v1beta1", "PodMetrics"),
            "cannot find out whether the API server serves metrics.k8s.io/v1beta1 PodMetrics: service unavailable"
        );
        assert!(matches!(apis.require("apps/v1", "Deployment"), Err(ApisError::Unknown { .. })));
        apis.add(&context.client, ["metrics.k8s.io/v1beta1"]).await;
        assert!(
            apis.resolve("metrics.k8s.io/v1beta1", "PodMetrics").is_some(),
            "an outage is asked about again"
        );
    }
}
