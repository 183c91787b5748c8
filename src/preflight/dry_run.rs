//! Questions to the API server that need a POST or PATCH. Every function here sets `dryRun=All` or asks for an access
//! review: nothing in this module can persist anything.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, Request, Resource};
use serde_json::Value;

use crate::execute::FIELD_MANAGER;
use crate::execute::apply::yaml_safe;
use crate::workload::WorkloadRef;

/// Asks what the server would say to a JSON Patch of a workload.
pub async fn patch(client: &Client, workload: &WorkloadRef, operations: &Value) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &workload.namespace, &workload.kind.api_resource());
    let patch: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(kube::Error::SerdeError)?;
    let parameters = PatchParams {
        dry_run: true,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(&workload.name, &parameters, &Patch::<()>::Json(patch)).await.map(drop)
}

/// Asks what the server would say to a pod.
pub async fn create_pod(client: &Client, namespace: &str, pod: Value) -> Result<(), kube::Error> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let pod: DynamicObject = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    api.create(&parameters, &pod).await.map(drop)
}

/// Asks what a server-side apply of an object in somebody's name would store: the whole object, `managedFields`
/// included. Fields that others own are taken, and unknown fields are only warned about, as with an apply in earnest.
pub async fn apply_probe(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    object: &Value,
    manager: &str,
) -> Result<Value, kube::Error> {
    let parameters = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let request = Request::new(DynamicObject::url_path(resource, namespace))
        .patch(name, &parameters, &Patch::Apply(object))
        .map_err(kube::Error::BuildRequest)?
        .map(yaml_safe);
    client.request(request).await
}

/// Asks what would be stored if an object were replaced by this one.
pub async fn replace(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    object: &Value,
) -> Result<Value, kube::Error> {
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(DynamicObject::url_path(resource, namespace))
        .replace(name, &parameters, body)
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}

/// Asks what would be stored if an object were created.
pub async fn create(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    object: &Value,
) -> Result<Value, kube::Error> {
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(DynamicObject::url_path(resource, namespace))
        .create(&parameters, body)
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}

/// What somebody may be allowed to do.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The namespace; empty for what is in none, or for all of them.
    pub namespace: &'a str,
    /// `get`, `patch`, …
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: Option<&'a str>,
    /// The object, where one is meant.
    pub name: Option<&'a str>,
}

/// Asks whether we may do something.
pub async fn may(client: &Client, question: Question<'_>) -> Result<bool, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(question.namespace.to_owned()),
                verb: Some(question.verb.to_owned()),
                group: Some(question.group.to_owned()),
                resource: Some(question.resource.to_owned()),
                subresource: question.subresource.map(str::to_owned),
                name: question.name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    // A review is an answer, not an object: the server stores nothing.
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
