//! Storage against an API server that lives in memory: just enough of it to hold Secrets and ConfigMaps.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::codec;
use super::error::StorageError;
use super::meta::{RecordMeta, object_name};
use super::record::Record;
use super::status::Status;
use super::storage::{Driver, Storage};

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    writes: u64,
    requests: Vec<String>,
}

type Shared = Arc<Mutex<Server>>;

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn metadata_only(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

impl Server {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        is_partial: bool,
        body: &Value,
    ) -> (u16, Value) {
        let name = path.split('/').nth(6).map(str::to_owned);
        self.requests.push(format!("{method} {}", name.as_deref().unwrap_or(query)));
        match (method, name) {
            (&Method::GET, None) => {
                let wanted: Vec<(String, String)> = query
                    .split('&')
                    .filter_map(|part| part.strip_prefix("labelSelector="))
                    .flat_map(|selector| {
                        let selector = selector.replace("%3D", "=").replace("%2C", ",");
                        selector
                            .split(',')
                            .filter_map(|term| term.split_once('='))
                            .map(|(key, value)| (key.to_owned(), value.to_owned()))
                            .collect::<Vec<_>>()
                    })
                    .collect();
                assert!(is_partial, "lists read metadata only");
                // Two at a time, so that paging is exercised.
                let matching: Vec<Value> = self
                    .objects
                    .values()
                    .filter(|object| {
                        wanted.iter().all(|(key, value)| object["metadata"]["labels"][key] == json!(value))
                    })
                    .map(metadata_only)
                    .collect();
                let start: usize = query
                    .split('&')
                    .find_map(|part| part.strip_prefix("continue="))
                    .map_or(0, |token| token.parse().unwrap());
                let end = matching.len().min(start + 2);
                let token = if end < matching.len() { end.to_string() } else { String::new() };
                let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                    "metadata": {"resourceVersion": "9", "continue": token}, "items": &matching[start..end]});
                (200, list)
            }
            (&Method::GET, Some(name)) => match self.objects.get(&name) {
                Some(object) if is_partial => (200, metadata_only(object)),
                Some(object) => (200, object.clone()),
                None => failure(404, "NotFound", "not found"),
            },
            (&Method::POST, None) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if self.objects.contains_key(&name) {
                    return failure(409, "AlreadyExists", "already exists");
                }
                let mut object = body.clone();
                self.writes += 1;
                object["metadata"]["uid"] = format!("uid-{}", self.writes).into();
                object["metadata"]["resourceVersion"] = self.writes.to_string().into();
                self.objects.insert(name, object.clone());
                (201, object)
            }
            (&Method::PATCH, Some(name)) => {
                let Some(object) = self.objects.get(&name) else {
                    return failure(404, "NotFound", "not found");
                };
                let mut changed = object.clone();
                let operations: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
                if json_patch::patch(&mut changed, &operations).is_err() {
                    return failure(
                        422,
                        "Invalid",
                        "the server rejected our request due to an error in our request",
                    );
                }
                if changed["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return failure(409, "Conflict", "the object has been modified");
                }
                self.writes += 1;
                changed["metadata"]["resourceVersion"] = self.writes.to_string().into();
                self.objects.insert(name, changed.clone());
                (200, metadata_only(&changed))
            }
            (&Method::DELETE, Some(name)) => match self.objects.get(&name) {
                None => failure(404, "NotFound", "not found"),
                Some(object)
                    if body["preconditions"]["resourceVersion"] != object["metadata"]["resourceVersion"] =>
                {
                    failure(409, "Conflict", "precondition failed")
                }
                Some(_) => {
                    self.objects.remove(&name);
                    (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
                }
            },
            other => panic!("unexpected request {other:?}"),
        }
    }
}

fn serve(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let is_partial = parts
                .headers
                .get("accept")
                .is_some_and(|accept| accept.to_str().unwrap().contains("PartialObjectMetadata"));
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let (code, answer) =
                server.lock().unwrap().answer(&parts.method, parts.uri.path(), &query, is_partial, &body);
            let answer = Response::builder()
                .status(code)
                .body(Body::from(serde_json::to_vec(&answer).unwrap()))
                .unwrap();
            Ok::<_, tower::BoxError>(answer)
        }
    });
    Client::new(service, "default")
}

fn record(release: &str, revision: u64, status: &str) -> Record {
    let mut record = Record::from_json(json!({
        "name": release, "version": revision, "namespace": "shop",
        "info": {"status": status, "description": "Install complete"},
        "config": {"password": "hunter2"}, "manifest": "kind: Secret\n", "unheard_of": {"a": 1}
    }))
    .unwrap();
    record.labels.insert("team".to_owned(), "shop".to_owned());
    record
}

fn now() -> jiff::Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn storage(driver: Driver) -> (Shared, Storage) {
    let server = Shared::default();
    let storage = Storage::new(serve(&server), "shop", driver);
    (server, storage)
}

#[tokio::test]
async fn a_record_is_stored_as_helm_stores_it() {
    for driver in [Driver::Secrets, Driver::ConfigMaps] {
        let (server, storage) = storage(driver);
        let record = record("todo.app", 3, "pending-rollback");
        let meta = storage.create(&record, Some("7f3a"), now()).await.unwrap();
        assert_eq!(meta.operation.as_deref(), Some("7f3a"));

        let object = server.lock().unwrap().objects["sh.helm.release.v1.todo.app.v3"].clone();
        assert_eq!(
            object["metadata"]["labels"],
            json!({"name": "todo.app", "owner": "helm", "status": "pending-rollback", "version": "3",
                "createdAt": "1795428000", "team": "shop"})
        );
        let (kind, of_type) = match driver {
            Driver::Secrets => ("Secret", json!("helm.sh/release.v1")),
            Driver::ConfigMaps => ("ConfigMap", Value::Null),
        };
        assert_eq!((&object["kind"], &object["type"]), (&json!(kind), &of_type));

        let read = storage.get(&meta).await.unwrap();
        assert_eq!(read.record, record);
        assert_eq!(read.meta, meta);
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_read_no_bodies() {
    let (server, storage) = storage(Driver::Secrets);
    for (release, revision) in [("todo", 9), ("todo", 10), ("todo", 11), ("other", 1)] {
        storage.create(&record(release, revision, "superseded"), None, now()).await.unwrap();
    }
    let revisions: Vec<u64> = storage.list("todo").await.unwrap().iter().map(|meta| meta.revision).collect();
    assert_eq!(revisions, [11, 10, 9]);
    let all = storage.list_all().await.unwrap();
    assert_eq!((all.len(), all[0].release.as_str()), (4, "other"));
    assert!(storage.find("todo", 11).await.unwrap().is_some());
    assert!(storage.find("todo", 12).await.unwrap().is_none());
    let requests = server.lock().unwrap().requests.join("\n");
    assert!(!requests.contains("GET sh.helm.release.v1.todo.v9"), "{requests}");
}

#[tokio::test]
async fn a_taken_revision_is_told_apart_from_other_trouble() {
    let (_server, storage) = storage(Driver::Secrets);
    let record = record("todo", 2, "pending-rollback");
    storage.create(&record, None, now()).await.unwrap();
    let error = storage.create(&record, None, now()).await.unwrap_err();
    assert!(matches!(&error, StorageError::Taken { revision: 2, release } if release == "todo"), "{error}");
}

#[tokio::test]
async fn an_update_changes_payload_and_labels_and_nothing_else() {
    let (server, storage) = storage(Driver::Secrets);
    let mut record = record("todo", 2, "pending-rollback");
    let meta = storage.create(&record, Some("7f3a"), now()).await.unwrap();
    {
        let mut server = server.lock().unwrap();
        let object = server.objects.get_mut(&meta.object_name).unwrap();
        object["metadata"]["annotations"]["backup"] = "yes".into();
        object["metadata"]["finalizers"] = json!(["acme/keep"]);
        object["metadata"]["invented_later"] = json!({"a": 1});
        object["data"]["note"] = "aGk=".into();
        object["immutable"] = json!(false);
    }
    let before = server.lock().unwrap().objects[&meta.object_name].clone();

    record.set_status(&Status::Deployed);
    let updated = storage.update(&meta, &record, now()).await.unwrap();
    assert_eq!(updated.status, Status::Deployed);
    assert_eq!(updated.modified, Some(now()));

    let mut expected = before;
    expected["metadata"]["labels"]["status"] = "deployed".into();
    expected["metadata"]["labels"]["modifiedAt"] = "1795428000".into();
    expected["metadata"]["resourceVersion"] = updated.resource_version.clone().into();
    let mut after = server.lock().unwrap().objects[&meta.object_name].clone();
    expected["data"]["release"] = Value::Null;
    after["data"]["release"] = Value::Null;
    assert_eq!(after, expected);
    assert_eq!(storage.get(&updated).await.unwrap().record, record);
}

#[tokio::test]
async fn nobody_elses_change_is_overwritten() {
    let (server, storage) = storage(Driver::Secrets);
    let record = record("todo", 2, "pending-rollback");
    let meta = storage.create(&record, None, now()).await.unwrap();
    storage.update(&meta, &record, now()).await.unwrap();
    for stale in [meta.clone(), RecordMeta { uid: "another".to_owned(), ..meta.clone() }] {
        let error = storage.update(&stale, &record, now()).await.unwrap_err();
        assert!(matches!(error, StorageError::Changed { .. }), "{error}");
        let error = storage.delete(&stale).await.unwrap_err();
        assert!(matches!(error, StorageError::Changed { .. }), "{error}");
    }
    let current = storage.find("todo", 2).await.unwrap().unwrap();
    storage.delete(&current).await.unwrap();
    storage.delete(&current).await.unwrap();
    assert!(server.lock().unwrap().objects.is_empty());
    let error = storage.update(&current, &record, now()).await.unwrap_err();
    assert!(matches!(error, StorageError::Gone { .. }), "{error}");
}

#[tokio::test]
async fn damaged_records_are_named_and_the_others_stay_usable() {
    let (server, storage) = storage(Driver::ConfigMaps);
    for revision in 1..=6 {
        storage.create(&record("todo", revision, "superseded"), None, now()).await.unwrap();
    }
    let spoil = |revision: u64, pointer: &str, value: Value| {
        let mut server = server.lock().unwrap();
        let object = server.objects.get_mut(&object_name("todo", revision)).unwrap();
        *object.pointer_mut(pointer).unwrap() = value;
    };
    spoil(1, "/data", json!({}));
    spoil(2, "/data/release", json!("H4sIAAAA"));
    spoil(3, "/data/release", json!(codec::encode(&json!({"name": "todo"}))));
    spoil(4, "/metadata/labels/status", json!("deployed"));
    spoil(5, "/data/release", json!(codec::encode(&record("todo", 7, "superseded").to_json())));
    let metas = storage.list("todo").await.unwrap();
    let mut messages = Vec::new();
    for meta in &metas {
        if let Err(error) = storage.get(meta).await {
            assert!(error.is_unreadable(), "{error}");
            messages.push(error.to_string());
        }
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
    record sh.helm.release.v1.todo.v5 contradicts itself: its label `version` says "5", its body "7"
    record sh.helm.release.v1.todo.v4 contradicts itself: its label `status` says "deployed", its body "superseded"
    record sh.helm.release.v1.todo.v3 is not a release: `version` is missing
    record sh.helm.release.v1.todo.v2 cannot be read: the payload does not unpack (cut short or damaged?): unexpected end of file
    record sh.helm.release.v1.todo.v1 has no `data.release`
    "#);
}

#[tokio::test]
async fn every_kind_of_damage_is_named() {
    let (server, storage) = storage(Driver::Secrets);
    for revision in 1..=9 {
        storage.create(&record("todo", revision, "superseded"), None, now()).await.unwrap();
    }
    let spoil = |revision: u64, stored: &str| {
        let mut server = server.lock().unwrap();
        let object = server.objects.get_mut(&object_name("todo", revision)).unwrap();
        object["data"]["release"] = stored.into();
    };
    let changed = |revision: u64, pointer: &str, value: Value| {
        let mut body = record("todo", revision, "superseded").to_json();
        *body.pointer_mut(pointer).unwrap() = value;
        STANDARD.encode(codec::encode(&body))
    };
    let whole = codec::encode(&record("todo", 2, "superseded").to_json());
    spoil(1, "%%%");
    spoil(2, &STANDARD.encode(&whole[..whole.len() - 9]));
    let mut bomb = GzBuilder::new().write(Vec::new(), Compression::fast());
    bomb.write_all(&vec![b' '; 65 * 1024 * 1024]).unwrap();
    spoil(3, &STANDARD.encode(STANDARD.encode(bomb.finish().unwrap())));
    spoil(4, &changed(4, "/version", json!("4")));
    spoil(5, &changed(5, "/name", json!("other")));
    spoil(6, &changed(6, "/info", Value::Null));
    spoil(7, &changed(7, "/manifest", json!({"kind": "Secret", "data": "hunter2"})));
    spoil(8, &STANDARD.encode(STANDARD.encode("\u{fffd} no JSON")));
    let (mut messages, mut usable) = (Vec::new(), Vec::new());
    for meta in &storage.list("todo").await.unwrap() {
        match storage.get(meta).await {
            Ok(stored) => usable.push(stored.record.revision()),
            Err(error) => {
                assert!(error.is_unreadable(), "{error}");
                messages.push(error.to_string());
            }
        }
    }
    assert_eq!(usable, [9], "the others stay usable");
    insta::assert_snapshot!(messages.join("\n"), @r#"
    record sh.helm.release.v1.todo.v8 cannot be read: the payload is not JSON: expected value at line 1 column 1
    record sh.helm.release.v1.todo.v7 is not a release: `manifest` is an object, expected a string
    record sh.helm.release.v1.todo.v6 is not a release: `info` is missing
    record sh.helm.release.v1.todo.v5 contradicts itself: its label `name` says "todo", its body "other"
    record sh.helm.release.v1.todo.v4 is not a release: `version` is a string, expected a positive whole number
    record sh.helm.release.v1.todo.v3 cannot be read: the payload unpacks to more than 64 MiB, which no Helm release does
    record sh.helm.release.v1.todo.v2 cannot be read: the payload is not base64 (cut short or changed by hand?): Invalid padding
    record sh.helm.release.v1.todo.v1 cannot be read: the payload is not base64 (cut short or changed by hand?): Invalid symbol 37, offset 0.
    "#);
}

#[tokio::test]
async fn what_would_not_fit_is_refused_before_it_is_sent() {
    let (server, storage) = storage(Driver::Secrets);
    let mut record = record("todo", 1, "deployed");
    // Text that gzip cannot shrink.
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from(state >> 58).unwrap())
    })
    .take(1_100_000)
    .collect();
    record.set_manifest(noise);
    let error = storage.create(&record, None, now()).await.unwrap_err();
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    assert!(server.lock().unwrap().requests.is_empty());
}

#[test]
fn drivers_outside_of_the_cluster_are_refused() {
    for (value, driver) in [
        (None, Driver::Secrets),
        (Some(""), Driver::Secrets),
        (Some("secret"), Driver::Secrets),
        (Some("configmaps"), Driver::ConfigMaps),
    ] {
        assert_eq!(Driver::from_environment(value).unwrap(), driver, "{value:?}");
    }
    for value in ["sql", "memory", "Secret"] {
        let error = Driver::from_environment(Some(value)).unwrap_err().to_string();
        assert!(error.contains(value), "{error}");
    }
}
