//! Single objects in the name of any field manager, and the library's way of bringing them to a target.

use http::Method;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Resource};
use kubectl_rollback::execute::apply::{self, Applied, ApplyError, ObjectTarget, Preview};
use kubectl_rollback::plan::fields::FieldSet;
use serde_json::{Value, json};

use super::Cluster;
use super::cluster::text;

/// The resource of an object.
pub fn resource_of(object: &Value) -> ApiResource {
    let (group, version) =
        text(&object["apiVersion"]).rsplit_once('/').unwrap_or(("", text(&object["apiVersion"])));
    let kind = text(&object["kind"]);
    let plural = if kind == "Ingress" { "ingresses".to_owned() } else { format!("{}s", kind.to_lowercase()) };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}

/// A manifest under another name, with the label and annotations of the release `todo`.
pub fn owned(manifest: &Value, name: &str, namespace: &str) -> Value {
    let mut object = manifest.clone();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
    object["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("todo");
    object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = json!(namespace);
    object
}

/// An object without what differs between two that are alike, and between a preview and what it previews.
pub fn content(object: &Value) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    fields.remove("status");
    let metadata = fields["metadata"].as_object_mut().unwrap();
    for own in ["name", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        metadata.remove(own);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.remove("deprecated.daemonset.template.generation");
    }
    if object["kind"] == "Service"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().unwrap().remove("nodePort");
        }
    }
    object
}

/// Who owns fields of the object itself, and which; the number that the Deployment controller keeps changing aside.
pub fn owners(object: &Value) -> Vec<Value> {
    let revision = FieldSet::path(&["f:metadata", "f:annotations", "f:deployment.kubernetes.io/revision"]);
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| entry["subresource"].is_null())
        .map(|entry| {
            let mut fields = FieldSet::from_value(entry["fieldsV1"].clone());
            fields.without(&revision);
            json!([entry["manager"], entry["operation"], fields])
        })
        .collect()
}

impl Cluster {
    fn object_path(&self, object: &Value, name: &str) -> String {
        format!("{}/{name}", DynamicObject::url_path(&resource_of(object), Some(&self.namespace)))
    }

    /// The object that a manifest names, as it is now.
    #[track_caller]
    pub fn live(&self, manifest: &Value) -> Value {
        let path = self.object_path(manifest, text(&manifest["metadata"]["name"]));
        self.send(Method::GET, &path, "application/json", &Value::Null)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Creates an object with a plain request (what Helm calls client-side apply).
    #[track_caller]
    pub fn create_as(&self, manager: &str, manifest: &Value) -> Value {
        let path = format!("{}?fieldManager={manager}", self.object_path(manifest, "").trim_end_matches('/'));
        self.send(Method::POST, &path, "application/json", manifest)
            .unwrap_or_else(|error| panic!("{path}: {error}\n{manifest}"))
    }

    /// Applies an object on the server's side.
    pub fn apply_as(&self, manager: &str, force: bool, manifest: &Value) -> Result<Value, kube::Error> {
        let path = self.object_path(manifest, text(&manifest["metadata"]["name"]));
        let path = format!("{path}?fieldManager={manager}&force={force}");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", manifest)
    }

    /// Patches an object in somebody's name; `kind` is the patch's content type.
    pub fn patch_as(
        &self,
        manager: &str,
        kind: &str,
        manifest: &Value,
        patch: &Value,
    ) -> Result<Value, kube::Error> {
        let path = self.object_path(manifest, text(&manifest["metadata"]["name"]));
        self.send(Method::PATCH, &format!("{path}?fieldManager={manager}"), kind, patch)
    }

    /// Edits an object as `kubectl edit` would: reads, changes, replaces.
    #[track_caller]
    pub fn edit_as(&self, manager: &str, manifest: &Value, change: impl Fn(&mut Value)) -> Value {
        let path = self.object_path(manifest, text(&manifest["metadata"]["name"]));
        loop {
            let mut object = self.live(manifest);
            change(&mut object);
            match self.send(
                Method::PUT,
                &format!("{path}?fieldManager={manager}"),
                "application/json",
                &object,
            ) {
                Ok(object) => return object,
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => panic!("{path}: {error}\n{object}"),
            }
        }
    }

    /// Deletes an object and creates it again from a copy, like a restored backup: everything then belongs to whoever
    /// restored it.
    #[track_caller]
    pub fn restore(&self, manifest: &Value, change: impl Fn(&mut Value)) {
        let mut saved = self.live(manifest);
        let path = self.object_path(manifest, text(&manifest["metadata"]["name"]));
        let free = json!({"metadata": {"finalizers": null}});
        let _ = self.send(Method::PATCH, &path, "application/merge-patch+json", &free);
        self.send(Method::DELETE, &path, "application/json", &json!({"propagationPolicy": "Background"}))
            .unwrap();
        super::wait_for("the deletion", std::time::Duration::from_secs(20), || {
            self.send(Method::GET, &path, "application/json", &Value::Null).err()
        });
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            saved["metadata"].as_object_mut().unwrap().remove(field);
        }
        change(&mut saved);
        self.create_as("velero-server", &saved);
    }

    /// Asks the library what it would do to an object.
    pub fn preview(&self, target: &Value, newer: &[Value]) -> Result<Preview, ApplyError> {
        let live = self.live(target);
        self.with_target(target, newer, None, async |client, target| {
            apply::preview(client, target, Some(&live)).await
        })
    }

    /// Lets the library bring an object to its target.
    pub fn bring(&self, target: &Value, newer: &[Value]) -> Result<Applied, ApplyError> {
        self.with_target(target, newer, None, async |client, target| apply::apply(client, target).await)
    }

    /// Asks the library something about an object and its target.
    pub fn with_target<T>(
        &self,
        target: &Value,
        newer: &[Value],
        replicas: Option<i64>,
        work: impl AsyncFnOnce(&kube::Client, &ObjectTarget<'_>) -> T,
    ) -> T {
        self.with_target_in(Some(&self.namespace), target, newer, replicas, work)
    }

    /// Asks the library something about an object that is in no namespace.
    pub fn with_cluster_target<T>(
        &self,
        target: &Value,
        newer: &[Value],
        work: impl AsyncFnOnce(&kube::Client, &ObjectTarget<'_>) -> T,
    ) -> T {
        self.with_target_in(None, target, newer, None, work)
    }

    fn with_target_in<T>(
        &self,
        namespace: Option<&str>,
        target: &Value,
        newer: &[Value],
        replicas: Option<i64>,
        work: impl AsyncFnOnce(&kube::Client, &ObjectTarget<'_>) -> T,
    ) -> T {
        let resource = resource_of(target);
        let name = text(&target["metadata"]["name"]);
        self.ask(async |client| {
            let target = ObjectTarget {
                resource: &resource,
                namespace,
                name,
                target,
                newer,
                writer: "helm",
                replicas,
            };
            work(&client, &target).await
        })
    }

    /// Previews, applies, and checks that the preview told the truth and that nothing is left to do.
    #[track_caller]
    pub fn bring_as_previewed(&self, target: &Value, newer: &[Value]) -> Value {
        let before = self.live(target);
        let preview = self.preview(target, newer).unwrap_or_else(|error| panic!("preview: {error}"));
        let applied = self.bring(target, newer).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(content(&preview.after), content(&applied.object), "the preview is not the result");
        assert_eq!(preview.changed, applied.changed, "{before:#}\n{:#}", applied.object);
        let again = self.bring(target, newer).unwrap_or_else(|error| panic!("again: {error}"));
        assert!(!again.changed, "there was something left to do");
        assert_eq!(owners(&again.object), owners(&applied.object), "the fields changed hands once more");
        applied.object
    }
}
