//! An API server that knows a few canned workloads and counts: just enough to see what the program asks, and how much
//! at once. It is no judge of what a real one would do; the end-to-end tests have that.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// What the server was asked.
#[derive(Default)]
pub struct Seen {
    /// Requests that are being answered.
    now: AtomicUsize,
    /// The most that were answered at the same time.
    pub at_once: AtomicUsize,
    /// How many milliseconds longer each answer takes.
    pub hold: AtomicU64,
    /// Method and path of each request.
    pub requests: Mutex<Vec<String>>,
    /// Those of them that could change something.
    pub writes: Mutex<Vec<String>>,
}

/// The server; its thread ends with the test's process.
pub struct Api {
    /// What it was asked.
    pub seen: Arc<Seen>,
    folder: tempfile::TempDir,
}

impl Api {
    /// Starts a server that has these objects, by plural (`deployments`).
    pub fn start(objects: HashMap<&'static str, Vec<Value>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (shared, objects) = (seen.clone(), Arc::new(objects));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, objects) = (shared.clone(), objects.clone());
                std::thread::spawn(move || serve(&stream, &seen, &objects));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod",
            "clusters": [{"name": "prod", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "oncall", "user": {}}],
            "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "oncall", "namespace": "shop"}}],
        });
        fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { seen, folder }
    }

    /// The kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

fn serve(stream: &TcpStream, seen: &Seen, objects: &HashMap<&str, Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    while let Some((method, target, body)) = read_request(&mut reader) {
        let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.at_once.fetch_max(now, Ordering::SeqCst);
        // Long enough for others to come in the meantime.
        std::thread::sleep(Duration::from_millis(10 + seen.hold.load(Ordering::SeqCst)));
        let path = target.split('?').next().unwrap_or_default();
        let is_question = target.contains("dryRun=All") || path.contains("selfsubjectaccessreviews");
        let request = format!("{method} {path}");
        if method != "GET" && !is_question {
            seen.writes.lock().unwrap().push(request.clone());
        }
        seen.requests.lock().unwrap().push(request);
        let (status, answer) = answer(&method, path, &body, objects);
        let answer = answer.to_string();
        seen.now.fetch_sub(1, Ordering::SeqCst);
        let head = format!(
            "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).is_err() {
            return;
        }
    }
}

/// Reads one request: method, target, body.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, target, serde_json::from_slice(&body).unwrap_or_default()))
}

fn answer(method: &str, path: &str, body: &Value, objects: &HashMap<&str, Vec<Value>>) -> (u16, Value) {
    if path == "/apis" {
        return (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}));
    }
    if let Some(kinds) = kinds(path) {
        return (
            200,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "", "resources": kinds}),
        );
    }
    if path.contains("selfsubjectaccessreviews") {
        let mut review = body.clone();
        review["status"] = json!({"allowed": true});
        return (201, review);
    }
    if let Some(refusal) = body.pointer("/metadata/annotations/refused-with") {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": refusal});
        return (422, status);
    }
    // A JSON patch is an array, and answered with the object as it is.
    if method == "PATCH" && body.is_object() {
        // Server-side apply: whoever applies owns what is in the body.
        let mut applied = body.clone();
        applied["metadata"]["managedFields"] = json!([{
            "manager": "kubectl-rollback-probe", "operation": "Apply", "apiVersion": body["apiVersion"], "fieldsType": "FieldsV1",
            "fieldsV1": field_set(body),
        }]);
        return (200, applied);
    }
    if method != "GET" && body.is_object() {
        return (200, body.clone());
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let last = parts.last().copied().unwrap_or_default();
    let names_one =
        parts.iter().position(|part| *part == "namespaces").is_some_and(|at| parts.len() > at + 3);
    let all =
        || objects.iter().flat_map(|(plural, objects)| objects.iter().map(move |object| (plural, object)));
    if let Some((_, object)) = all()
        .find(|(plural, object)| object["metadata"]["name"] == last && path.contains(&format!("/{plural}/")))
    {
        return (200, object.clone());
    }
    if names_one {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
        return (404, status);
    }
    let items = objects.get(last);
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

/// The kinds of a group-version, as discovery names them.
fn kinds(path: &str) -> Option<Vec<Value>> {
    let kinds: &[(&str, &str)] = match path {
        "/api/v1" => &[
            ("configmaps", "ConfigMap"),
            ("secrets", "Secret"),
            ("services", "Service"),
            ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ],
        "/apis/apps/v1" => &[("deployments", "Deployment")],
        "/apis/batch/v1" => &[("jobs", "Job")],
        _ => return None,
    };
    let resource = |(plural, kind): &(&str, &str)| json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "patch"]});
    Some(kinds.iter().map(resource).collect())
}

/// The fields of an object as `managedFields` names them; items of lists by their name.
fn field_set(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, below)| (format!("f:{key}"), field_set(below)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) if items.iter().all(|item| item["name"].is_string()) => items
            .iter()
            .map(|item| {
                let mut fields = field_set(item);
                fields["."] = json!({});
                (format!("k:{}", json!({"name": item["name"]})), fields)
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}

/// A Deployment at good-2 that is ready, and that has run good-1 before; with its ReplicaSets and its pod.
pub fn service(name: &str, objects: &mut HashMap<&'static str, Vec<Value>>) {
    let labels = json!({"app.kubernetes.io/name": name, "team": "shop"});
    let template = |tag: &str| json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": format!("ghcr.io/acme/{name}:{tag}")}]}});
    let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    objects.entry("deployments").or_default().push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("{name}-uid"), "generation": 2, "resourceVersion": "7", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template("good-2")},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    }));
    for (revision, tag) in [("1", "good-1"), ("2", "good-2")] {
        objects.entry("replicasets").or_default().push(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{name}-{revision}"), "namespace": "shop", "uid": format!("{name}-{revision}-uid"), "labels": labels,
                "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": owner("Deployment", name, &format!("{name}-uid")),
            },
            "spec": {"template": template(tag)},
        }));
    }
    objects.entry("pods").or_default().push(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-2-x"), "namespace": "shop", "uid": format!("{name}-pod"), "labels": {"app.kubernetes.io/name": name, "team": "shop", "pod-template-hash": "2"},
            "ownerReferences": owner("ReplicaSet", &format!("{name}-2"), &format!("{name}-2-uid")),
        },
        "spec": template("good-2")["spec"],
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
}
