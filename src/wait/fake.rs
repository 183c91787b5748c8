//! An API server for tests, reduced to lists, watches and logs, which can be made to misbehave: behind the
//! transport, so that the code under test runs whole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{self, StreamExt};
use http_body_util::{BodyStream, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error of this HTTP status; with the seconds for Retry-After, or none.
    Status(u16, u32),
    /// No answer, ever.
    Stall,
    /// The connection breaks before an answer.
    Break,
    /// A watch ends in order as soon as it has begun.
    EndAtOnce,
    /// A watch begins with an error event of this code.
    ErrorEvent(u16),
    /// A watch from which nothing ever comes, although the connection stands.
    Dead,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub at: Duration,
    pub resource: String,
    pub verb: &'static str,
    pub query: String,
}

#[derive(Default)]
struct World {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<(u64, String, Value)>,
    watchers: Vec<(String, UnboundedSender<Piece>)>,
    faults: BTreeMap<(String, &'static str), VecDeque<Fault>>,
    standing: BTreeMap<(String, &'static str), Fault>,
    logs: BTreeMap<String, String>,
    asked: Vec<Asked>,
}

/// The server; clones share one world.
#[derive(Clone)]
pub(super) struct Fake {
    world: Arc<Mutex<World>>,
    begun: Instant,
}

/// A piece of a body, or what breaks it off.
type Piece = Result<Vec<u8>, kube::Error>;
type Lines = UnboundedReceiver<Piece>;

enum Reply {
    Stalled,
    Broken,
    Answer(u16, Vec<u8>),
    Watch(Lines),
}

impl Fake {
    pub(super) fn new() -> Self {
        let world = World { version: 100, ..World::default() };
        Self { world: Arc::new(Mutex::new(world)), begun: Instant::now() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics while it holds the world")
    }

    /// Makes or changes an object of a collection (`pods`, `deployments`), and tells every watch.
    pub(super) fn set(&self, resource: &str, mut object: Value) {
        let mut world = self.world();
        world.version += 1;
        object["metadata"]["resourceVersion"] = json!(world.version.to_string());
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let key = (resource.to_owned(), name);
        let kind = if world.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        world.objects.insert(key, object.clone());
        world.tell(resource, &json!({"type": kind, "object": object}));
    }

    pub(super) fn remove(&self, resource: &str, name: &str) {
        let mut world = self.world();
        world.version += 1;
        let mut object = world.objects.remove(&(resource.to_owned(), name.to_owned())).expect("an object");
        object["metadata"]["resourceVersion"] = json!(world.version.to_string());
        world.tell(resource, &json!({"type": "DELETED", "object": object}));
    }

    /// The next requests of this verb (`list`, `watch`, `log`) go wrong, one after the other.
    pub(super) fn fail(&self, resource: &str, verb: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let mut world = self.world();
        world.faults.entry((resource.to_owned(), verb)).or_default().extend(faults);
    }

    /// Every request of this verb goes wrong until told otherwise.
    pub(super) fn always(&self, resource: &str, verb: &'static str, fault: Option<Fault>) {
        let key = (resource.to_owned(), verb);
        match fault {
            Some(fault) => self.world().standing.insert(key, fault),
            None => self.world().standing.remove(&key),
        };
    }

    /// Breaks every watch of the collection.
    pub(super) fn disconnect(&self, resource: &str) {
        self.world().watchers.retain(|(watched, sender)| {
            if watched == resource {
                let _ = sender.unbounded_send(Err(broken()));
            }
            watched != resource
        });
    }

    /// Watches of the collection stand, but nothing comes from them any more.
    pub(super) fn deafen(&self, resource: &str) {
        for (watched, _) in &mut self.world().watchers {
            if watched == resource {
                "nothing".clone_into(watched);
            }
        }
    }

    /// Forgets history: watches from an old version are answered with 410.
    pub(super) fn compact(&self) {
        self.world().history.clear();
    }

    pub(super) fn log(&self, pod: &str, text: &str) {
        self.world().logs.insert(pod.to_owned(), text.to_owned());
    }

    pub(super) fn asked(&self, resource: &str, verb: &str) -> Vec<Asked> {
        let world = self.world();
        world.asked.iter().filter(|asked| asked.resource == resource && asked.verb == verb).cloned().collect()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let fake = fake.clone();
            async move {
                let (status, lines) = match fake.reply(request.uri()) {
                    Reply::Stalled => std::future::pending().await,
                    Reply::Broken => return Err(broken()),
                    Reply::Answer(status, bytes) => {
                        let (sender, lines) = unbounded();
                        let _ = sender.unbounded_send(Ok(bytes));
                        (status, lines)
                    }
                    Reply::Watch(lines) => (200, lines),
                };
                let frames = lines.flat_map(|piece| match piece {
                    Ok(bytes) => BodyStream::new(Body::from(bytes)).left_stream(),
                    Err(error) => stream::once(async { Err(error) }).right_stream(),
                });
                let body = StreamBody::new(frames);
                Ok(http::Response::builder().status(status).body(body).expect("a response"))
            }
        });
        Client::new(service, "default")
    }

    fn reply(&self, uri: &http::Uri) -> Reply {
        let query = uri.query().unwrap_or_default().to_owned();
        let parts: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        // …/namespaces/NAMESPACE/RESOURCE[/NAME[/log]]
        let after = parts.iter().position(|part| *part == "namespaces").expect("a namespaced request") + 2;
        let resource = parts[after].to_owned();
        let verb = match parts.len() - after {
            1 if query.contains("watch=true") => "watch",
            1 => "list",
            2 => "get",
            _ => "log",
        };
        let mut world = self.world();
        assert!(world.asked.len() < 5000, "a storm of requests");
        world.asked.push(Asked {
            at: self.begun.elapsed(),
            resource: resource.clone(),
            verb,
            query: query.clone(),
        });
        let key = (resource.clone(), verb);
        let fault = world.faults.get_mut(&key).and_then(VecDeque::pop_front);
        match fault.or_else(|| world.standing.get(&key).copied()) {
            Some(Fault::Status(code, retry_after)) => return error(code, retry_after),
            Some(Fault::Stall) => return Reply::Stalled,
            Some(Fault::Break) => return Reply::Broken,
            Some(Fault::EndAtOnce) => return Reply::Watch(unbounded().1),
            Some(Fault::ErrorEvent(code)) => return Reply::Watch(error_event(code)),
            Some(Fault::Dead) => return Reply::Watch(world.register("nothing")),
            None => {}
        }
        match verb {
            "watch" => world.watch(&resource, &query),
            "list" => world.list(&resource, &query),
            "log" => {
                let pod = parts[after + 1];
                let previous = if query.contains("previous=true") { "previous " } else { "" };
                match world.logs.get(&format!("{previous}{pod}")) {
                    Some(text) => Reply::Answer(200, text.clone().into_bytes()),
                    None => error(400, 0),
                }
            }
            _ => match world.objects.get(&(resource, parts[after + 1].to_owned())) {
                Some(object) => Reply::Answer(200, object.to_string().into_bytes()),
                None => error(404, 0),
            },
        }
    }
}

impl World {
    fn tell(&mut self, resource: &str, event: &Value) {
        let (version, line) = (self.version, format!("{event}\n").into_bytes());
        self.history.push((version, resource.to_owned(), event.clone()));
        for (watched, sender) in &self.watchers {
            if watched == resource {
                let _ = sender.unbounded_send(Ok(line.clone()));
            }
        }
    }

    fn register(&mut self, resource: &str) -> Lines {
        let (sender, lines) = unbounded();
        self.watchers.push((resource.to_owned(), sender));
        lines
    }

    fn watch(&mut self, resource: &str, query: &str) -> Reply {
        let version: u64 =
            parameter(query, "resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        let oldest = self.history.first().map_or(self.version, |(version, ..)| version - 1);
        if version < oldest {
            return Reply::Watch(error_event(410));
        }
        let lines = self.register(resource);
        let (_, sender) = self.watchers.last().expect("just registered");
        for (_, _, event) in self.history.iter().filter(|(at, of, _)| *at > version && of == resource) {
            let _ = sender.unbounded_send(Ok(format!("{event}\n").into_bytes()));
        }
        Reply::Watch(lines)
    }

    /// Pages by `limit`; the continue token is the number of objects that went before.
    fn list(&self, resource: &str, query: &str) -> Reply {
        let number = |name: &str| parameter(query, name).and_then(|text| text.parse::<usize>().ok());
        let all: Vec<&Value> =
            self.objects.iter().filter(|((of, _), _)| of == resource).map(|(_, object)| object).collect();
        let from = number("continue").unwrap_or(0);
        let to = number("limit").map_or(all.len(), |limit| (from + limit).min(all.len()));
        let token = if to < all.len() { to.to_string() } else { String::new() };
        let page = json!({"apiVersion": "v1", "kind": "List", "items": all[from..to],
            "metadata": {"resourceVersion": self.version.to_string(), "continue": token}});
        Reply::Answer(200, page.to_string().into_bytes())
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn broken() -> kube::Error {
    kube::Error::Service("connection reset by peer".into())
}

fn status(code: u16, retry_after: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": "Injected",
        "message": format!("injected {code}"), "details": {"retryAfterSeconds": retry_after}})
}

fn error(code: u16, retry_after: u32) -> Reply {
    Reply::Answer(code, status(code, retry_after).to_string().into_bytes())
}

fn error_event(code: u16) -> Lines {
    let (sender, lines) = unbounded();
    let event = json!({"type": "ERROR", "object": status(code, 0)});
    let _ = sender.unbounded_send(Ok(format!("{event}\n").into_bytes()));
    lines
}

/// Does something to the world at a moment counted from now.
pub(super) async fn after(seconds: u64, then: impl FnOnce()) {
    sleep(Duration::from_secs(seconds)).await;
    then();
}
