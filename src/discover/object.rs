//! One object of any kind, as it is.

use kube::Client;
use kube::api::GetParams;
use kube::core::{ApiResource, DynamicObject, Request, Resource};
use serde_json::Value;

use super::list::is_not_found;

/// Reads an object as plain JSON, managed fields included: a typed structure would lose what it does not know. `None`
/// where there is none.
pub async fn read(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Value>, kube::Error> {
    let request = Request::new(DynamicObject::url_path(resource, namespace))
        .get(name, &GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    match client.request(request).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
