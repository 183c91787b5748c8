//! Where a journal is kept in the cluster: Secrets beside the release, `kubectl-rollback.OPERATION.N`, the first with the
//! head. What `abort` needs of Secrets' values lies in `kubectl-rollback.OPERATION.restore.N`.

mod listing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::super::FIELD_MANAGER;
use super::{is_transient, pause};
use crate::journal::codec::{self, JournalError};
use crate::journal::restore::Restore;
use crate::journal::{Head, Journal, State};

pub use listing::{Listed, abandon, list};

/// The type of a journal's Secrets.
const TYPE: &str = "kubectl-rollback/journal";
/// The type of the Secrets that hold what `abort` brings back.
const RESTORE_TYPE: &str = "kubectl-rollback/restore";
/// Bytes of entries after which the next Secret is begun: every write of entries sends the whole piece.
const PIECE: usize = 96 << 10;
/// Attempts of one write while the API server does not answer as it should.
pub(super) const ATTEMPTS: u32 = 5;
/// Journals that are read at a time.
const PAGE: u32 = 500;

const OPERATION: &str = "rollback.kubectl.dev/operation";
const RELEASE: &str = "rollback.kubectl.dev/release";
const STATE: &str = "rollback.kubectl.dev/state";
const PART: &str = "rollback.kubectl.dev/part";
const STARTED: &str = "rollback.kubectl.dev/started-at";
const FINISHED: &str = "rollback.kubectl.dev/finished-at";
const OUTCOME: &str = "rollback.kubectl.dev/outcome";
const ACTOR: &str = "rollback.kubectl.dev/actor";
const PROCEDURE: &str = "rollback.kubectl.dev/procedure";
const TARGET: &str = "rollback.kubectl.dev/target";

/// Why a journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error("namespace {namespace} holds no journal of an operation {operation}")]
    NotFound {
        /// The operation.
        operation: String,
        /// The namespace.
        namespace: String,
    },
    /// It cannot be understood.
    #[error("the journal of operation {operation} cannot be used")]
    Journal {
        /// The operation.
        operation: String,
        /// Why not.
        source: JournalError,
    },
    /// What was ticked cannot be understood.
    #[error("the checklist of operation {operation} cannot be understood")]
    Checklist {
        /// The operation.
        operation: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// Somebody else writes it.
    #[error("somebody else writes the journal of operation {0}")]
    Contested(String),
    /// The API server does not allow it or does not answer as it should.
    #[error("the journal's Secrets cannot be read or written")]
    Api(#[from] kube::Error),
}

impl StoreError {
    /// Whether the server will go on refusing, so that the operation has to do without.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => {
                (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429)
            }
            Self::Api(_) => false,
            Self::NotFound { .. } | Self::Journal { .. } | Self::Checklist { .. } | Self::Contested(_) => {
                true
            }
        }
    }
}

/// The journal of one operation, open for writing.
pub struct Store {
    api: Api<Secret>,
    operation: String,
    labels: BTreeMap<String, String>,
    /// Which piece is written now.
    piece: usize,
    /// The entries in that piece.
    text: String,
    version: String,
}

pub(super) fn object_name(operation: &str, piece: usize) -> String {
    format!("kubectl-rollback.{operation}.{piece}")
}

pub(super) fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn labels(operation: &str, release: Option<&str>, part: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        [("app.kubernetes.io/managed-by", "kubectl-rollback"), (OPERATION, operation), (PART, part)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    if let Some(release) = release {
        labels.insert(RELEASE.to_owned(), release.to_owned());
    }
    labels
}

impl Store {
    /// Writes the first Secret of a journal, with its head and first entries.
    pub async fn create(client: &Client, head: &Head, text: String) -> Result<Self, StoreError> {
        let api = api(client, &head.namespace);
        let labels = labels(&head.operation, head.release.as_deref(), "journal");
        let mut first = labels.clone();
        first.insert(STATE.to_owned(), State::Open.as_str().to_owned());
        let annotations = [
            (STARTED, head.started_at.to_string()),
            (ACTOR, head.actor.clone()),
            (PROCEDURE, head.procedure.clone()),
            (TARGET, head.target.clone()),
        ];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(object_name(&head.operation, 0)),
                labels: Some(first),
                annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            data: Some(
                [
                    ("head".to_owned(), ByteString(codec::encode_head(head))),
                    ("entries".to_owned(), ByteString(text.clone().into_bytes())),
                ]
                .into(),
            ),
            ..Secret::default()
        };
        let version = create(&api, &head.operation, &secret).await?;
        Ok(Self { api, operation: head.operation.clone(), labels, piece: 0, text, version })
    }

    /// Adds lines; in the end they are there, or an error says why not.
    pub async fn append(&mut self, lines: &str) -> Result<(), StoreError> {
        self.write(lines).await
    }

    /// Adds lines and says where the operation stands.
    pub async fn close(
        &mut self,
        lines: &str,
        state: State,
        outcome: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(lines).await?;
        self.set_state(state, Some((outcome, now))).await
    }

    async fn write(&mut self, lines: &str) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.text.len() + lines.len() > PIECE && !self.text.is_empty() {
            let piece = self.piece + 1;
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(object_name(&self.operation, piece)),
                    labels: Some(self.labels.clone()),
                    ..ObjectMeta::default()
                },
                type_: Some(TYPE.to_owned()),
                data: Some([("entries".to_owned(), ByteString(lines.as_bytes().to_vec()))].into()),
                ..Secret::default()
            };
            let arrived = match create(&self.api, &self.operation, &secret).await {
                Ok(version) => {
                    self.version = version;
                    lines.to_owned()
                }
                // An earlier attempt may have arrived with fewer lines.
                Err(StoreError::Contested(operation)) => {
                    let name = object_name(&self.operation, piece);
                    let found = again(|| self.api.get(&name)).await?;
                    let text = entries(&found);
                    if !lines.starts_with(&text) {
                        return Err(StoreError::Contested(operation));
                    }
                    self.version = found.metadata.resource_version.unwrap_or_default();
                    text
                }
                Err(error) => return Err(error),
            };
            self.piece = piece;
            let rest = lines[arrived.len()..].to_owned();
            self.text = arrived;
            return Box::pin(self.write(&rest)).await;
        }
        let text = format!("{}{lines}", self.text);
        let name = object_name(&self.operation, self.piece);
        for attempt in 1.. {
            let patch = json!({
                "metadata": {"resourceVersion": self.version},
                "data": {"entries": STANDARD.encode(&text)},
            });
            match self.patch(&name, &patch).await {
                Ok(version) => {
                    self.version = version;
                    self.text = text;
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {
                    // Either our own write arrived and its answer did not, or somebody else writes.
                    let stored = self.api.get(&name).await;
                    let Ok(stored) = stored else {
                        tokio::time::sleep(pause(attempt)).await;
                        continue;
                    };
                    let found = entries(&stored);
                    self.version = stored.metadata.resource_version.unwrap_or_default();
                    if found == text {
                        self.text = text;
                        return Ok(());
                    }
                    // An earlier attempt, of which no answer came, may have arrived with fewer lines.
                    if !(found.starts_with(&self.text) && text.starts_with(&found)) {
                        return Err(StoreError::Contested(self.operation.clone()));
                    }
                }
                Err(error) if is_transient(&error) && attempt < ATTEMPTS => {
                    tokio::time::sleep(pause(attempt)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the loop returns at the last attempt")
    }

    async fn patch(&self, name: &str, patch: &Value) -> Result<String, kube::Error> {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let after = self.api.patch_metadata(name, &parameters, &Patch::Merge(patch)).await?;
        Ok(after.metadata.resource_version.unwrap_or_default())
    }

    /// Says where the operation stands.
    pub async fn set_state(
        &mut self,
        state: State,
        outcome: Option<(&str, Timestamp)>,
    ) -> Result<(), StoreError> {
        let name = object_name(&self.operation, 0);
        let mut patch = json!({"metadata": {"labels": {STATE: state.as_str()}}});
        if let Some((outcome, now)) = outcome {
            patch["metadata"]["annotations"] = json!({OUTCOME: outcome, FINISHED: now.to_string()});
        }
        let version = again(|| self.patch(&name, &patch)).await?;
        if self.piece == 0 {
            self.version = version;
        }
        Ok(())
    }
}

/// The lines that a piece holds.
fn entries(secret: &Secret) -> String {
    let data = secret.data.as_ref().and_then(|data| data.get("entries"));
    data.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

/// Repeats something that may be done twice while the API server does not answer as it should.
pub(super) async fn again<T, F: Future<Output = Result<T, kube::Error>>>(
    work: impl Fn() -> F,
) -> Result<T, kube::Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match work().await {
            Err(error) if is_transient(&error) && attempt < ATTEMPTS => {
                tokio::time::sleep(pause(attempt)).await;
            }
            answer => return answer,
        }
    }
}

/// Creates a Secret; one with the same contents that is there after a lost answer is the one that was asked for.
async fn create(api: &Api<Secret>, operation: &str, secret: &Secret) -> Result<String, StoreError> {
    let version = |secret: Secret| secret.metadata.resource_version.unwrap_or_default();
    for attempt in 1.. {
        match api.create(&post(), secret).await {
            Ok(created) => return Ok(version(created)),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let name = secret.metadata.name.as_deref().unwrap_or_default();
                match again(|| api.get_opt(name)).await? {
                    Some(found) if found.data == secret.data => return Ok(version(found)),
                    // The conflict was no conflict: there is nothing of that name.
                    None if attempt < ATTEMPTS => {}
                    _ => return Err(StoreError::Contested(operation.to_owned())),
                }
            }
            Err(error) if is_transient(&error) && attempt < ATTEMPTS => {
                tokio::time::sleep(pause(attempt)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("the loop returns at the last attempt")
}

/// Writes what `abort` will need.
pub async fn save_restore(client: &Client, head: &Head, documents: &[Restore]) -> Result<(), StoreError> {
    let api = api(client, &head.namespace);
    for (index, piece) in codec::encode_restore(documents).into_iter().enumerate() {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(object_name(&format!("{}.restore", head.operation), index)),
                labels: Some(labels(&head.operation, head.release.as_deref(), "restore")),
                ..ObjectMeta::default()
            },
            type_: Some(RESTORE_TYPE.to_owned()),
            data: Some([("documents".to_owned(), ByteString(piece))].into()),
            ..Secret::default()
        };
        create(&api, &head.operation, &secret).await?;
    }
    Ok(())
}

/// Deletes what `abort` would have needed.
pub async fn forget_restore(client: &Client, namespace: &str, operation: &str) -> Result<(), StoreError> {
    delete_selected(client, namespace, &format!("{OPERATION}={operation},{PART}=restore")).await
}

/// Deletes everything of an operation.
pub async fn delete(client: &Client, namespace: &str, operation: &str) -> Result<(), StoreError> {
    delete_selected(client, namespace, &format!("{OPERATION}={operation},{PART}")).await
}

async fn delete_selected(client: &Client, namespace: &str, selector: &str) -> Result<(), StoreError> {
    let api = api(client, namespace);
    let parameters = ListParams::default().labels(selector).limit(PAGE);
    let found = again(|| api.list_metadata(&parameters)).await?;
    let deletion = DeleteParams::default();
    for name in found.items.into_iter().filter_map(|secret| secret.metadata.name) {
        let answer = again(|| api.delete(&name, &deletion)).await.map(drop);
        match answer {
            Err(error) if crate::discover::list::is_not_found(&error) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// A journal with what is needed to go on writing it, and where it stands.
pub struct Opened {
    /// What it says.
    pub journal: Journal,
    /// Where the operation stands.
    pub state: State,
    /// For writing on.
    pub store: Store,
}

/// Reads the journal of an operation.
pub async fn open(client: &Client, namespace: &str, operation: &str) -> Result<Opened, StoreError> {
    let api = api(client, namespace);
    let mut secrets = Vec::new();
    loop {
        let name = object_name(operation, secrets.len());
        let Some(secret) = again(|| api.get_opt(&name)).await? else { break };
        secrets.push(secret);
    }
    let Some(first) = secrets.first() else {
        let (operation, namespace) = (operation.to_owned(), namespace.to_owned());
        return Err(StoreError::NotFound { operation, namespace });
    };
    let bytes = |secret: &Secret, key: &str| {
        let data = secret.data.as_ref()?;
        data.get(key).map(|bytes| bytes.0.clone())
    };
    let pieces: Vec<Vec<u8>> =
        secrets.iter().map(|secret| bytes(secret, "entries").unwrap_or_default()).collect();
    let journal = codec::decode(bytes(first, "head").as_deref(), &pieces)
        .map_err(|source| StoreError::Journal { operation: operation.to_owned(), source })?;
    let state = first.metadata.labels.as_ref().and_then(|labels| labels.get(STATE));
    let state = state.map_or(State::Open, |text| State::from_label(text));
    let last = secrets.last().expect("there is a first one");
    let store = Store {
        api: api.clone(),
        operation: operation.to_owned(),
        labels: labels(operation, journal.head.release.as_deref(), "journal"),
        piece: secrets.len() - 1,
        text: String::from_utf8_lossy(pieces.last().map(Vec::as_slice).unwrap_or_default()).into_owned(),
        version: last.metadata.resource_version.clone().unwrap_or_default(),
    };
    Ok(Opened { journal, state, store })
}

/// Reads what `abort` needs.
pub async fn open_restore(
    client: &Client,
    namespace: &str,
    operation: &str,
) -> Result<Vec<Restore>, StoreError> {
    let api = api(client, namespace);
    let mut pieces = Vec::new();
    let name = format!("{operation}.restore");
    loop {
        let piece = object_name(&name, pieces.len());
        let Some(secret) = again(|| api.get_opt(&piece)).await? else { break };
        let bytes = secret.data.and_then(|mut data| data.remove("documents"));
        pieces.push(bytes.map(|bytes| bytes.0).unwrap_or_default());
    }
    codec::decode_restore(&pieces)
        .map_err(|source| StoreError::Journal { operation: operation.to_owned(), source })
}
