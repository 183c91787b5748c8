//! Whether somebody changed an object since a plan was made from it.
//!
//! A resourceVersion tells too much: a controller that writes a status moves it, an autoscaler's every fifteen seconds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Annotations in which `autoscaling/v1` keeps what later versions of that API have in the status.
const STATUS_ANNOTATIONS: &str = "autoscaling.alpha.kubernetes.io/";

/// The generation, which the server counts where what is wanted changes; else a digest of what is wanted where the object
/// has a status, which is not part of it; else the resourceVersion.
pub fn of(live: &Value) -> Option<String> {
    let metadata = live.get("metadata")?;
    match metadata["generation"].as_i64() {
        Some(generation) if generation > 0 => Some(format!("generation {generation}")),
        _ if live.get("status").is_some() => Some(format!("contents {}", digest(live))),
        _ => metadata["resourceVersion"].as_str().map(|version| format!("resourceVersion {version}")),
    }
}

/// SHA-256 of everything but the status and the server's bookkeeping, in Base64.
fn digest(live: &Value) -> String {
    let mut wanted = live.clone();
    if let Some(object) = wanted.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        metadata.retain(|name, _| name == "labels" || name == "annotations" || name == "finalizers");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !name.starts_with(STATUS_ANNOTATIONS));
        }
    }
    STANDARD.encode(Sha256::digest(wanted.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn autoscaler() -> Value {
        json!({
            "metadata": {
                "name": "web", "resourceVersion": "7", "labels": {"app": "web"},
                "annotations": {"autoscaling.alpha.kubernetes.io/conditions": "[]", "team": "shop"},
                "managedFields": [{"manager": "helm", "time": "2026-01-01T00:00:00Z"}],
            },
            "spec": {"maxReplicas": 6},
            "status": {"currentReplicas": 1},
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut changed = autoscaler();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    }

    #[test]
    fn a_status_that_moves_is_no_change() {
        let before = of(&autoscaler()).unwrap();
        assert!(before.starts_with("contents ") && before.len() == "contents ".len() + 44, "{before}");
        for (pointer, value) in [
            ("/status/currentReplicas", json!(2)),
            ("/metadata/resourceVersion", json!("8")),
            ("/metadata/managedFields", json!([])),
            ("/metadata/annotations/autoscaling.alpha.kubernetes.io~1conditions", json!("[1]")),
        ] {
            assert_eq!(of(&with(pointer, value)).unwrap(), before, "{pointer}");
        }
        for (pointer, value) in [
            ("/spec/maxReplicas", json!(7)),
            ("/metadata/labels/app", json!("api")),
            ("/metadata/annotations/team", json!("pay")),
        ] {
            assert_ne!(of(&with(pointer, value)).unwrap(), before, "{pointer}");
        }
    }

    #[test]
    fn what_the_server_counts_is_believed() {
        let counted = json!({"metadata": {"generation": 3, "resourceVersion": "7"}, "status": {}});
        assert_eq!(of(&counted).unwrap(), "generation 3");
        for metadata in [json!({"resourceVersion": "7"}), json!({"generation": 0, "resourceVersion": "7"})] {
            assert_eq!(of(&json!({"metadata": metadata, "data": {}})).unwrap(), "resourceVersion 7");
        }
    }
}
