//! The lock of a release: a Lease that says who is at work and is renewed while they are. It is a courtesy (design D15):
//! what keeps two operations apart in the end are the preconditions of every write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::super::FIELD_MANAGER;
use crate::discover::list::is_not_found;

/// How long a lock holds without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
pub const RENEWAL: Duration = Duration::from_secs(5);
/// How often somebody else's lock is looked at while its renewal is awaited.
const LOOK: Duration = Duration::from_secs(1);
/// Attempts to write a lock that changes under our hands.
const ATTEMPTS: u32 = 5;

const OPERATION: &str = "rollback.kubectl.dev/operation";
const COMMAND: &str = "rollback.kubectl.dev/command";
const ACTOR: &str = "rollback.kubectl.dev/actor";

/// The name of a release's lock; without a release, of an operation's own.
pub fn name(release: Option<&str>, operation: &str) -> String {
    // A release's name may hold what a Lease's may not: nothing, since both are DNS subdomains.
    format!("kubectl-rollback.{}", release.unwrap_or(operation))
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What tells one process from every other.
    pub identity: String,
    /// Who, as `user@host`.
    pub actor: String,
    /// Which operation.
    pub operation: String,
    /// With which command line.
    pub command: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was renewed last, by the holder's clock.
    pub renewed: Option<Timestamp>,
}

impl Holder {
    fn read(lease: &LeaseObject) -> Option<Self> {
        let spec = lease.spec.as_ref()?;
        let identity = spec.holder_identity.clone().filter(|identity| !identity.is_empty())?;
        let annotation = |name: &str| {
            let annotations = lease.metadata.annotations.as_ref()?;
            annotations.get(name).cloned()
        };
        Some(Self {
            actor: annotation(ACTOR).unwrap_or_else(|| identity.clone()),
            operation: annotation(OPERATION).unwrap_or_default(),
            command: annotation(COMMAND).unwrap_or_default(),
            since: spec.acquire_time.as_ref().map(|time| time.0),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            identity,
        })
    }

    /// In a sentence, with ages by our clock.
    pub fn describe(&self, now: Timestamp) -> String {
        let age = |time: Timestamp| crate::words::age(time, now);
        let mut text = format!("{} is at work", self.actor);
        if !self.operation.is_empty() {
            text.push_str(" on operation ");
            text.push_str(&self.operation);
        }
        if let Some(since) = self.since {
            text.push_str(" since ");
            text.push_str(&age(since));
        }
        if !self.command.is_empty() {
            text.push_str(" with «");
            text.push_str(&self.command);
            text.push('»');
        }
        if let Some(renewed) = self.renewed {
            text.push_str(" (last sign of life ");
            text.push_str(&age(renewed));
            text.push_str(" ago)");
        }
        text
    }

    /// Whether its last renewal is recent by our clock; a wrong clock, slow or fast, can only make us wait and look.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.renewed.is_some_and(|renewed| {
            let age = now.duration_since(renewed).abs();
            age < SignedDuration::try_from(DURATION).unwrap_or(SignedDuration::MAX)
        })
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody holds it.
    #[error("{} holds the lock", .0.actor)]
    Held(Box<Holder>),
    /// We may not read or write it.
    #[error("{0}")]
    Forbidden(String),
    /// The API server does not answer as it should.
    #[error("the lock cannot be read or written")]
    Api(#[from] kube::Error),
}

fn classify(error: kube::Error) -> LeaseError {
    match error {
        kube::Error::Api(status) if status.code == 403 => LeaseError::Forbidden(status.message),
        error => LeaseError::Api(error),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Who we are when we ask for a lock.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What tells this process from every other.
    pub identity: String,
    /// Who, as `user@host`.
    pub actor: String,
    /// The operation.
    pub operation: String,
    /// The command line, without credentials.
    pub command: String,
}

/// A lock that this process holds.
#[derive(Clone)]
pub struct Lease {
    api: Api<LeaseObject>,
    name: String,
    identity: String,
}

fn api(client: &Client, namespace: &str) -> Api<LeaseObject> {
    Api::namespaced(client.clone(), namespace)
}

/// What a look at a lock tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nobody holds it.
    Free,
    /// Somebody does.
    Held(Holder),
    /// It has not been renewed for as long as it holds, in this version of the object.
    Lifeless(String),
}

/// Whose lock may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeable {
    /// One whose holder gives no sign of life, which takes a while to see.
    Lifeless,
    /// As well one that was watched for that long in this version of the object.
    Watched(String),
    /// Anybody's.
    Any,
}

impl Takeable {
    /// Whose lock may be taken after a look at it; an error is whoever holds it.
    pub fn of(found: Found) -> Result<Self, Box<Holder>> {
        match found {
            Found::Free => Ok(Self::Lifeless),
            Found::Lifeless(version) => Ok(Self::Watched(version)),
            Found::Held(holder) => Err(Box::new(holder)),
        }
    }
}

/// Who is at work on a release. A lock that has not been renewed for long by our clock is watched until it is renewed or
/// has expired.
pub async fn look(client: &Client, namespace: &str, name: &str) -> Result<Found, LeaseError> {
    let api = api(client, namespace);
    let Some(lease) = api.get_opt(name).await.map_err(classify)? else { return Ok(Found::Free) };
    let Some(holder) = Holder::read(&lease) else { return Ok(Found::Free) };
    if is_alive(&api, name, &lease, &holder).await? {
        return Ok(Found::Held(holder));
    }
    Ok(Found::Lifeless(lease.metadata.resource_version.unwrap_or_default()))
}

/// Whether the holder of a lock is alive: renewed lately, or renewed while we look.
async fn is_alive(
    api: &Api<LeaseObject>,
    name: &str,
    seen: &LeaseObject,
    holder: &Holder,
) -> Result<bool, LeaseError> {
    if holder.is_fresh(Timestamp::now()) {
        return Ok(true);
    }
    let seconds = seen.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(15).clamp(1, 60);
    let end = tokio::time::Instant::now() + Duration::from_secs(u64::try_from(seconds).unwrap_or(15));
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        let now = api.get_opt(name).await.map_err(classify)?;
        let Some(now) = now else { return Ok(false) };
        if now.metadata.resource_version != seen.metadata.resource_version {
            return Ok(Holder::read(&now).is_some());
        }
    }
    Ok(false)
}

/// Takes the lock, somebody else's only where it is `takeable`.
pub async fn acquire(
    client: &Client,
    namespace: &str,
    name: &str,
    claim: &Claim,
    takeable: &Takeable,
) -> Result<Lease, LeaseError> {
    let api = api(client, namespace);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let found = api.get_opt(name).await.map_err(classify)?;
        let holder = found.as_ref().and_then(Holder::read);
        let is_takeable = match takeable {
            Takeable::Lifeless => false,
            Takeable::Watched(version) => {
                found.as_ref().and_then(|lease| lease.metadata.resource_version.as_ref()) == Some(version)
            }
            Takeable::Any => true,
        };
        let transitions = found.as_ref().and_then(|lease| lease.spec.as_ref()?.lease_transitions);
        let written = match (&found, holder) {
            (Some(lease), Some(holder))
                if holder.identity != claim.identity
                    && !is_takeable
                    && is_alive(&api, name, lease, &holder).await? =>
            {
                return Err(LeaseError::Held(Box::new(holder)));
            }
            (Some(lease), holder) => {
                let is_ours = holder.is_some_and(|holder| holder.identity == claim.identity);
                let transitions = transitions.unwrap_or(0) + i32::from(!is_ours);
                let mut wanted = wanted(name, claim, transitions);
                wanted.metadata.resource_version.clone_from(&lease.metadata.resource_version);
                api.replace(name, &parameters, &wanted).await
            }
            (None, _) => api.create(&parameters, &wanted(name, claim, 0)).await,
        };
        match written {
            Ok(_) => return Ok(Lease { api, name: name.to_owned(), identity: claim.identity.clone() }),
            // Somebody was quicker, or the answer to our own write was lost: the next look tells.
            Err(error) if (is_conflict(&error) || is_not_found(&error)) && attempt < ATTEMPTS => {}
            Err(error) if super::is_transient(&error) && attempt < ATTEMPTS => {
                tokio::time::sleep(super::pause(attempt)).await;
            }
            Err(error) => return Err(classify(error)),
        }
    }
}

fn wanted(name: &str, claim: &Claim, transitions: i32) -> LeaseObject {
    let now = MicroTime(Timestamp::now());
    LeaseObject {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/managed-by".to_owned(),
                "kubectl-rollback".to_owned(),
            )])),
            annotations: Some(BTreeMap::from(
                [(OPERATION, &claim.operation), (COMMAND, &claim.command), (ACTOR, &claim.actor)]
                    .map(|(key, value)| (key.to_owned(), value.clone())),
            )),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(claim.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }),
    }
}

impl Lease {
    /// A lock that is held already.
    #[cfg(test)]
    pub(super) fn of(client: &Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: api(client, namespace), name: name.to_owned(), identity: identity.to_owned() }
    }

    /// Whoever holds it now, if that is not us.
    pub async fn taken_by(&self) -> Result<Option<Holder>, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            // Deleted by hand: nobody else claims it.
            return Ok(None);
        };
        Ok(Holder::read(&lease).filter(|holder| holder.identity != self.identity))
    }

    /// Renews it, if it is still ours. A failed `test` means that it is not; the next check says whose it is.
    pub async fn renew(&self) -> Result<(), kube::Error> {
        self.write(json!([
            {"op": "test", "path": "/spec/holderIdentity", "value": self.identity},
            {"op": "replace", "path": "/spec/renewTime", "value": MicroTime(Timestamp::now())},
        ]))
        .await
    }

    /// Gives it back, if it is still ours.
    pub async fn release(&self) -> Result<(), kube::Error> {
        self.write(json!([
            {"op": "test", "path": "/spec/holderIdentity", "value": self.identity},
            {"op": "replace", "path": "/spec/holderIdentity", "value": ""},
        ]))
        .await
    }

    async fn write(&self, operations: serde_json::Value) -> Result<(), kube::Error> {
        let patch: json_patch::Patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch(&self.name, &parameters, &Patch::<()>::Json(patch)).await?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
