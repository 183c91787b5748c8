//! The gate that every write of a running operation passes, whoever sends it: is the release still ours, is the intent
//! written down? It stands in the client, so that no writer can forget it. Without a running operation it lets everything
//! through.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;

use super::journal::JournalWriter;
use super::lease::{Holder, Lease};
use crate::context::client::is_write;
use crate::helm::storage::{Driver, Storage};
use crate::journal::Entry;

/// How long the answer to «is it still ours?» counts: writes that are sent together ask once.
const FRESH: Duration = Duration::from_millis(250);

/// The status with which a write is refused that is not ours to send any more: 423 Locked.
pub const LOST: StatusCode = StatusCode::LOCKED;

/// What is held while an operation runs.
pub(super) struct Armed {
    /// The operation.
    pub operation: String,
    /// The lock, where one could be taken.
    pub lease: Option<Lease>,
    /// The journal.
    pub journal: Arc<JournalWriter>,
    /// Helm's records, where we hold one.
    pub record: Mutex<Option<HeldRecord>>,
    /// When it was last seen that everything is still ours.
    pub seen: tokio::sync::Mutex<Option<Instant>>,
    /// Who took it from us.
    pub lost: Mutex<Option<String>>,
}

/// The record that marks the release as ours.
#[derive(Debug, Clone)]
pub(super) struct HeldRecord {
    pub driver: Driver,
    pub namespace: String,
    pub release: String,
    pub revision: u64,
}

/// The gate.
#[derive(Default)]
pub struct Guard {
    armed: Mutex<Option<Arc<Armed>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    pub(super) fn arm(&self, armed: Arc<Armed>) {
        *lock(&self.armed) = Some(armed);
    }

    pub(super) fn disarm(&self) {
        *lock(&self.armed) = None;
    }

    fn armed(&self) -> Option<Arc<Armed>> {
        lock(&self.armed).clone()
    }

    /// From now on the release is also marked by a record of Helm's: should it be gone, or a newer one be there, it is not
    /// ours any more.
    pub fn hold_record(&self, driver: Driver, namespace: &str, release: &str, revision: u64) {
        if let Some(armed) = self.armed() {
            let (namespace, release) = (namespace.to_owned(), release.to_owned());
            *lock(&armed.record) = Some(HeldRecord { driver, namespace, release, revision });
        }
    }

    /// The record is about to go, or to be somebody else's business.
    pub fn let_record_go(&self) {
        if let Some(armed) = self.armed() {
            *lock(&armed.record) = None;
        }
    }

    /// Writes down that something must not be done twice.
    pub async fn milestone(&self, name: &str) {
        if let Some(armed) = self.armed() {
            let (at, name) = (jiff::Timestamp::now(), name.to_owned());
            armed.journal.note(&Entry::Milestone { at, name });
            // Where that fails, the next write says so.
            let _ = armed.journal.commit().await;
        }
    }

    /// Writes down what is reported, with the next write.
    pub fn report(&self, event: &crate::event::Event) {
        if let Some(armed) = self.armed() {
            armed.journal.note(&Entry::Event { event: serde_json::to_value(event).unwrap_or_default() });
        }
    }

    /// Who took the release from us, if somebody did.
    pub fn lost(&self) -> Option<String> {
        self.armed().and_then(|armed| lock(&armed.lost).clone())
    }

    /// Sends a request, if it may be sent.
    pub async fn pass(&self, bare: &Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let armed = if is_write(&request) { self.armed() } else { None };
        let Some(armed) = armed else { return bare.send(request).await };
        if let Some(why) = armed.is_lost(bare).await {
            return Ok(refusal(&armed.operation, &why));
        }
        let write = armed.journal.next_write();
        armed.journal.note(&Entry::Intent {
            write,
            at: jiff::Timestamp::now(),
            verb: request.method().to_string(),
            path: request.uri().path().to_owned(),
        });
        if let Err(error) = armed.journal.commit().await {
            match error {
                super::store::StoreError::Api(error) => return Err(error),
                other => {
                    let why = other.to_string();
                    *lock(&armed.lost) = Some(why.clone());
                    return Ok(refusal(&armed.operation, &why));
                }
            }
        }
        let answer = bare.send(request).await;
        let status = answer.as_ref().map_or(0, |response| response.status().as_u16());
        armed.journal.note(&Entry::Answer { write, at: jiff::Timestamp::now(), status });
        answer
    }
}

impl Armed {
    /// Why the release is not ours any more; `None` where it is, or where that cannot be found out: then the preconditions
    /// of the write itself have to do.
    async fn is_lost(&self, bare: &Client) -> Option<String> {
        if let Some(why) = lock(&self.lost).clone() {
            return Some(why);
        }
        let mut seen = self.seen.lock().await;
        if seen.is_some_and(|seen| seen.elapsed() < FRESH) {
            return None;
        }
        let record = lock(&self.record).clone();
        let (by_lease, by_record) = futures::join!(self.taken(), changed(bare, record, &self.operation));
        let why = by_lease.map(|holder| holder.describe(jiff::Timestamp::now())).or(by_record);
        if let Some(why) = why {
            *lock(&self.lost) = Some(why.clone());
            return Some(why);
        }
        *seen = Some(Instant::now());
        None
    }

    async fn taken(&self) -> Option<Holder> {
        match &self.lease {
            Some(lease) => lease.taken_by().await.ok().flatten(),
            None => None,
        }
    }
}

/// What happened to the record that marks the release as ours.
async fn changed(bare: &Client, held: Option<HeldRecord>, operation: &str) -> Option<String> {
    let HeldRecord { driver, namespace, release, revision } = held?;
    let storage = Storage::new(bare.clone(), &namespace, driver);
    let (ours, next) = futures::join!(storage.find(&release, revision), storage.find(&release, revision + 1));
    if let Ok(Some(next)) = next {
        let by = next.last_writer.unwrap_or_else(|| "somebody".to_owned());
        return Some(format!("{by} has written revision {} of {release} meanwhile", next.revision));
    }
    match ours {
        Ok(None) => Some(format!("the record of revision {revision} of {release}, which we held, is gone")),
        Ok(Some(ours)) if ours.operation.as_deref() != Some(operation) => {
            Some(format!("the record of revision {revision} of {release} is another one's now"))
        }
        _ => None,
    }
}

/// What the API server would answer, had it known.
fn refusal(operation: &str, why: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": LOST.as_u16(), "reason": "Locked",
        "message": format!("operation {operation} was stopped before this write: {why}"),
    });
    let mut response = Response::new(Body::from(serde_json::to_vec(&status).unwrap_or_default()));
    *response.status_mut() = LOST;
    response
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
