//! Follows one collection of the API server, for ever: a list, then a watch, and a fresh list whenever the watch
//! cannot be trusted any more. Neither a disconnect nor 410, 429, a 5xx nor a connection that is dead without
//! saying so ends it.

use std::fmt::Debug;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// After this much silence a watch counts as dead: its objects are listed anew.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// The server ends each watch after this long; a new one continues where it ended.
const WATCH_SECONDS: u32 = 290;
/// Objects in one answer. Small pages keep the peak of memory low.
const PAGE: u32 = 250;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A page on a slow line is given more time after each failure, up to this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// What happened in a collection.
#[derive(Debug)]
pub(super) enum Update<K> {
    /// Everything there is; whatever was known before and is missing here is gone.
    Listed(Vec<K>),
    /// One object was made or changed.
    Changed(Box<K>),
    /// One object was deleted.
    Removed(Box<K>),
    /// It cannot be read at the moment; it is being tried again.
    Trouble(Trouble),
}

/// Why a collection cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// What the API server or the network said.
    pub message: String,
    /// Whether we lack the permission.
    pub is_refusal: bool,
    /// How long the server asks us to stay away.
    retry_after: Option<Duration>,
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self {
                    message: status.message.clone(),
                    is_refusal: status.code == 403,
                    retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
                }
            }
            other => Self::new(other.to_string()),
        }
    }
}

impl Trouble {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_refusal: false, retry_after: None }
    }
}

/// One collection: which objects, and how they are cut down on arrival.
pub(super) struct Collection<K> {
    pub api: Api<K>,
    /// Restricts the objects on the server.
    pub field_selector: Option<String>,
    /// Restricts the objects on the server.
    pub label_selector: Option<String>,
    /// Drops what nobody will read.
    pub slim: fn(&mut K),
}

/// Where updates go: a channel, and how they are dressed for it.
pub(super) struct Sink<T, W> {
    pub sender: mpsc::Sender<T>,
    pub wrap: W,
}

impl<T, W> Sink<T, W> {
    /// Whether somebody still listens.
    async fn send<K>(&self, update: Update<K>) -> bool
    where
        W: Fn(Update<K>) -> T,
    {
        self.sender.send((self.wrap)(update)).await.is_ok()
    }
}

/// How a watch ended.
enum Ended {
    /// As it should, after its time: go on from the version it reached.
    Orderly { version: String, lasted: Duration },
    /// What we know is no longer certain: list again.
    Lost(Option<Trouble>),
}

impl<K> Collection<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Sends whatever happens to `sink`, until the receiver is dropped.
    pub(super) async fn follow<T: Send, W: Fn(Update<K>) -> T + Send + Sync>(self, sink: Sink<T, W>) {
        let mut pause = Pause::default();
        let mut patience = SILENCE;
        loop {
            let mut trouble = match self.list(patience).await {
                Ok((objects, version)) => {
                    patience = SILENCE;
                    if !sink.send(Update::Listed(objects)).await {
                        return;
                    }
                    let begun = Instant::now();
                    let trouble = self.watch_from(version, &sink).await;
                    if begun.elapsed() >= SILENCE {
                        pause = Pause::default();
                    }
                    match trouble {
                        Some(trouble) => trouble,
                        None => continue,
                    }
                }
                Err(trouble) => {
                    patience = (patience * 2).min(LONGEST_PATIENCE);
                    trouble
                }
            };
            let retry_after = trouble.retry_after.take();
            if !sink.send(Update::Trouble(trouble)).await {
                return;
            }
            sleep(pause.next().max(retry_after.unwrap_or_default())).await;
        }
    }

    /// Everything there is, read from the store and not from a cache, with the version to watch from.
    pub(super) async fn list(&self, patience: Duration) -> Result<(Vec<K>, String), Trouble> {
        let mut parameters = ListParams {
            field_selector: self.field_selector.clone(),
            label_selector: self.label_selector.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut objects = Vec::new();
        loop {
            let page = timeout(patience, self.api.list(&parameters))
                .await
                .map_err(|_| Trouble::new(format!("no answer within {} s", patience.as_secs())))??;
            objects.extend(page.items.into_iter().map(|mut object| {
                (self.slim)(&mut object);
                object
            }));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    /// Watches for as long as the watch can be trusted; `None` asks for a fresh list at once.
    async fn watch_from<T: Send, W: Fn(Update<K>) -> T + Send + Sync>(
        &self,
        mut version: String,
        sink: &Sink<T, W>,
    ) -> Option<Trouble> {
        let mut pause = Pause::default();
        loop {
            match self.watch(version, sink).await {
                Ended::Orderly { version: reached, lasted } => {
                    version = reached;
                    // Something on the way may end every watch as soon as it has begun.
                    if lasted < SILENCE {
                        sleep(pause.next()).await;
                    } else {
                        pause = Pause::default();
                    }
                }
                Ended::Lost(trouble) => return trouble,
            }
        }
    }

    async fn watch<T: Send, W: Fn(Update<K>) -> T + Send + Sync>(
        &self,
        mut version: String,
        sink: &Sink<T, W>,
    ) -> Ended {
        let parameters = WatchParams {
            field_selector: self.field_selector.clone(),
            label_selector: self.label_selector.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let begun = Instant::now();
        let mut stream = match timeout(SILENCE, self.api.watch(&parameters, &version)).await {
            Ok(Ok(stream)) => stream.boxed(),
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => return Ended::Lost(None),
            Ok(Err(error)) => return Ended::Lost(Some(error.into())),
            Err(_) => return Ended::Lost(Some(Trouble::new("a watch does not begin"))),
        };
        loop {
            let (update, reached) = match timeout(SILENCE, stream.try_next()).await {
                Ok(Ok(Some(WatchEvent::Added(mut object) | WatchEvent::Modified(mut object)))) => {
                    (self.slim)(&mut object);
                    let reached = object.resource_version();
                    (Some(Update::Changed(Box::new(object))), reached)
                }
                Ok(Ok(Some(WatchEvent::Deleted(object)))) => {
                    let reached = object.resource_version();
                    (Some(Update::Removed(Box::new(object))), reached)
                }
                Ok(Ok(Some(WatchEvent::Bookmark(bookmark)))) => {
                    (None, Some(bookmark.metadata.resource_version))
                }
                Ok(Ok(Some(WatchEvent::Error(status)))) => {
                    // 410: the version is too old to go on from.
                    return Ended::Lost((status.code != 410).then(|| kube::Error::Api(status).into()));
                }
                Ok(Ok(None)) => {
                    let lasted = begun.elapsed();
                    return Ended::Orderly { version, lasted };
                }
                Ok(Err(error)) => return Ended::Lost(Some(error.into())),
                // Nothing happens, or nothing arrives: only a fresh list can tell.
                Err(_) => return Ended::Lost(None),
            };
            if let Some(reached) = reached.filter(|reached| !reached.is_empty()) {
                version = reached;
            }
            if let Some(update) = update
                && !sink.send(update).await
            {
                return Ended::Lost(None);
            }
        }
    }
}

/// Pauses that double, with jitter so that several collections do not come back together.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        let random = crate::context::random() % 500;
        let percent = u32::try_from(750 + random).unwrap_or(1000);
        pause * percent / 1000
    }
}
