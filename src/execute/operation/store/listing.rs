//! What the metadata of journals tell, without their contents: which operations there are and where they stand.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams};
use serde_json::json;

use super::super::super::FIELD_MANAGER;
use super::{
    ACTOR, FINISHED, OPERATION, OUTCOME, PAGE, PART, PROCEDURE, RELEASE, STARTED, STATE, StoreError, TARGET,
    again, api,
};
use crate::journal::State;

/// What a journal's metadata tell about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its identifier.
    pub operation: String,
    /// The release, where there is one.
    pub release: Option<String>,
    /// Where it stands.
    pub state: State,
    /// `emergency` or `to`.
    pub procedure: String,
    /// What it goes back to, in words.
    pub target: String,
    /// Who began it.
    pub actor: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When its last process ended in good order.
    pub finished_at: Option<Timestamp>,
    /// How that process ended.
    pub outcome: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// The Secret that says so.
    pub object: String,
}

#[cfg(test)]
impl Listed {
    /// An operation of which nothing is known.
    pub fn for_test() -> Self {
        Self {
            operation: String::new(),
            release: None,
            state: State::Open,
            procedure: String::new(),
            target: String::new(),
            actor: String::new(),
            started_at: None,
            finished_at: None,
            outcome: None,
            namespace: String::new(),
            object: String::new(),
        }
    }
}

/// The operations that have a journal in a namespace, the newest first.
pub async fn list(
    client: &Client,
    namespace: Option<&str>,
    release: Option<&str>,
) -> Result<Vec<Listed>, StoreError> {
    let api: Api<Secret> = match namespace {
        Some(namespace) => api(client, namespace),
        None => Api::all(client.clone()),
    };
    let mut selector = format!("{PART}=journal,{STATE}");
    if let Some(release) = release {
        selector = format!("{selector},{RELEASE}={release}");
    }
    let mut parameters = ListParams::default().labels(&selector).limit(PAGE);
    let mut listed = Vec::new();
    loop {
        let page = again(|| api.list_metadata(&parameters)).await?;
        listed.extend(page.items.iter().filter_map(|item| read_listed(&item.metadata)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    listed.sort_by(|left, right| {
        right.started_at.cmp(&left.started_at).then(right.operation.cmp(&left.operation))
    });
    Ok(listed)
}

fn read_listed(metadata: &ObjectMeta) -> Option<Listed> {
    let labels = metadata.labels.as_ref()?;
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name).cloned());
    let time = |name: &str| annotation(name).and_then(|text| text.parse().ok());
    Some(Listed {
        operation: labels.get(OPERATION)?.clone(),
        release: labels.get(RELEASE).cloned(),
        state: State::from_label(labels.get(STATE)?),
        procedure: annotation(PROCEDURE).unwrap_or_default(),
        target: annotation(TARGET).unwrap_or_default(),
        actor: annotation(ACTOR).unwrap_or_default(),
        started_at: time(STARTED).or(metadata.creation_timestamp.as_ref().map(|time| time.0)),
        finished_at: time(FINISHED),
        outcome: annotation(OUTCOME),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        object: metadata.name.clone()?,
    })
}

/// Says of an operation that another one took its release over.
pub async fn abandon(client: &Client, listed: &Listed) -> Result<(), StoreError> {
    let api = api(client, &listed.namespace);
    let patch = json!({"metadata": {"labels": {STATE: State::Abandoned.as_str()}}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    again(|| api.patch_metadata(&listed.object, &parameters, &patch)).await?;
    Ok(())
}
