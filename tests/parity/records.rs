//! Helm's records as the comparison sees them: decoded here by means of our own, not by the program under test.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::side::RELEASE;

/// Which kind of object holds the records of a cluster's Helm.
fn resource(cluster: &Cluster) -> &'static str {
    let is_config_map =
        cluster.environment.iter().any(|(name, value)| *name == "HELM_DRIVER" && *value == "configmap");
    if is_config_map { "configmaps" } else { "secrets" }
}

/// The objects that hold the release's records, oldest first, each with its decoded body.
pub fn read(cluster: &Cluster) -> Vec<(Value, Value)> {
    let resource = resource(cluster);
    let objects = cluster.list_selected(resource, &format!("owner=helm,name={RELEASE}").replace(',', "%2C"));
    let mut records: Vec<(Value, Value)> = objects
        .into_iter()
        .map(|object| (decode(resource, &object), object))
        .map(|(body, object)| (object, body))
        .collect();
    records.sort_by_key(|(_, body)| body["version"].as_u64());
    records
}

fn decode(resource: &str, object: &Value) -> Value {
    let stored = object["data"]["release"].as_str().expect("a record has a payload");
    // A Secret's data is encoded once more than a ConfigMap's.
    let text =
        if resource == "secrets" { STANDARD.decode(stored).unwrap() } else { stored.as_bytes().to_vec() };
    let packed = STANDARD.decode(text).unwrap();
    let mut json = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The statuses in words: `1 superseded`, as labels say and bodies agree.
pub fn statuses(cluster: &Cluster) -> Vec<String> {
    read(cluster)
        .iter()
        .map(|(object, body)| format!("{} {}", body["version"], status(object, body)))
        .collect()
}

/// A record's status; both where label and body disagree.
pub fn status(object: &Value, body: &Value) -> String {
    let (label, inside) = (&object["metadata"]["labels"]["status"], &body["info"]["status"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if label == inside { text(label) } else { format!("{} (label {})", text(inside), text(label)) }
}

/// Writes another status into a record.
pub fn set_status(cluster: &Cluster, revision: u64, status: &str) {
    edit(cluster, revision, |body| body["info"]["status"] = json!(status));
}

/// Changes a record's body behind everybody's back; its label says the body's status afterwards.
pub fn edit(cluster: &Cluster, revision: u64, change: impl FnOnce(&mut Value)) {
    let resource = resource(cluster);
    let name = format!("sh.helm.release.v1.{RELEASE}.v{revision}");
    let object = cluster.get(resource, &name);
    let mut body = decode(resource, &object);
    change(&mut body);
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body.to_string().as_bytes()).unwrap();
    let text = STANDARD.encode(packer.finish().unwrap());
    let payload = if resource == "secrets" { STANDARD.encode(text) } else { text };
    let patch =
        json!({"metadata": {"labels": {"status": body["info"]["status"]}}, "data": {"release": payload}});
    cluster.patch(resource, &name, "somebody", &patch);
}
