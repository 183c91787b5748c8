//! Lists, page by page, so that no single answer is large.

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Client, Error};

use crate::context::kubeconfig;

/// Objects a page: keeps an answer of full pods near 4 MB.
const PAGE: u32 = 500;

/// Lists every object of a kind in a namespace.
pub async fn list_all(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
    selector: Option<&str>,
) -> Result<Vec<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.label_selector = selector.map(str::to_owned);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// What an error says, without what only machines read.
pub fn words(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => kubeconfig::of_log_in(error).unwrap_or_else(|| error.to_string()),
    }
}

/// Whether an error says that we may not do this.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if matches!(status.code, 401 | 403))
}

/// Whether an error says that there is no such thing.
pub fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}
