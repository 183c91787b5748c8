//! Asks the server for the exact field set of a manifest: a dry-run apply as a manager of its own, under a name of its
//! own. On the live object the union of old and new fields would be validated, and refused.

use futures::future::join_all;
use kube::Client;
use kube::core::{ApiResource, Status};
use serde_json::Value;

use super::fit::fitted;
use super::{ApplyError, ObjectTarget, body};
use crate::plan::fields::{FieldSet, entries};
use crate::preflight::dry_run;

/// The field manager of probes.
const MANAGER: &str = "kubectl-rollback-probe";

/// A manifest as server-side apply takes it, with its field set.
pub struct Probed {
    pub object: Value,
    pub fields: FieldSet,
}

/// Asks about one manifest. What of it server-side apply refuses, but a plain update takes, is left out
/// ([`fitted`]).
pub async fn probe(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    mut object: Value,
) -> Result<Probed, ApplyError> {
    loop {
        match ask(client, resource, namespace, &object).await {
            Ok(fields) => return Ok(Probed { object, fields }),
            Err(error) => match fitted(&object, &error) {
                Some(fitted) => object = fitted,
                None => return Err(error.into()),
            },
        }
    }
}

/// The field sets of all newer versions of the object. One that the server does not accept never became part of the
/// live object.
pub async fn newer_field_sets(
    client: &Client,
    target: &ObjectTarget<'_>,
) -> Result<Vec<FieldSet>, ApplyError> {
    let answers = join_all(target.newer.iter().map(|newer| async move {
        let object = body::desired(&ObjectTarget { target: newer, ..*target });
        let resource = resource_of(target.resource, &object);
        probe(client, &resource, target.namespace, object).await
    }))
    .await;
    let mut sets = Vec::new();
    for answer in answers {
        match answer {
            Ok(probed) => sets.push(probed.fields),
            Err(ApplyError::Refused { .. } | ApplyError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sets)
}

/// The resource in the version that a manifest names.
fn resource_of(resource: &ApiResource, object: &Value) -> ApiResource {
    let api_version = object["apiVersion"].as_str().unwrap_or(&resource.api_version).to_owned();
    let version = api_version.rsplit('/').next().unwrap_or_default().to_owned();
    ApiResource { api_version, version, ..resource.clone() }
}

/// Asks under a name of our own, and where that is not possible (a name that follows from other fields, a quota, a
/// webhook that compares objects) under the object's.
async fn ask(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    object: &Value,
) -> Result<FieldSet, kube::Error> {
    let (scratch, left_out) = body::scratch(object, &scratch_name());
    let error = match dry_run::apply_probe(client, resource, namespace, &scratch, MANAGER).await {
        Ok(stored) => {
            let mut fields = own_fields(&stored);
            for path in left_out {
                fields.union(&path_in(object, &fields, &path));
            }
            return Ok(fields);
        }
        Err(error @ kube::Error::Api(_)) => error,
        Err(error) => return Err(error),
    };
    match dry_run::apply_probe(client, resource, namespace, object, MANAGER).await {
        Ok(stored) => Ok(own_fields(&stored)),
        // The first answer is about the manifest alone, the second about its union with the live object.
        Err(kube::Error::Api(_)) => Err(with_own_name(error, &scratch, object)),
        Err(error) => Err(error),
    }
}

/// A name that nothing has, valid for every kind whose names are free.
fn scratch_name() -> String {
    // The only source of randomness that the standard library has; two names in one call must differ too.
    let number = crate::context::random();
    format!("rollback-probe-{number:016x}")
}

/// An answer about the scratch object, told about the real one.
fn with_own_name(error: kube::Error, scratch: &Value, object: &Value) -> kube::Error {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match error {
        kube::Error::Api(status) => {
            let message = status.message.replace(&name(scratch), &name(object));
            kube::Error::Api(Status { message, ..*status }.boxed())
        }
        error => error,
    }
}

fn own_fields(stored: &Value) -> FieldSet {
    entries(stored)
        .iter()
        .find(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply")
        .map(|entry| FieldSet::from_value(entry["fieldsV1"].clone()))
        .unwrap_or_default()
}

/// A path of names and indexes as a field set, with the keys of `fields` for the items of lists.
fn path_in(object: &Value, fields: &FieldSet, path: &[String]) -> FieldSet {
    let mut keys: Vec<String> = Vec::new();
    let mut value = object;
    for name in path {
        if let Value::Array(items) = value {
            let index: usize = name.parse().unwrap_or_default();
            let parent: Vec<&str> = keys.iter().map(String::as_str).collect();
            let Some(key) = fields.item_keys(&parent, items).into_iter().nth(index).flatten() else {
                return FieldSet::default();
            };
            keys.push(key);
            value = &items[index];
        } else {
            keys.push(format!("f:{name}"));
            value = &value[name.as_str()];
        }
    }
    FieldSet::path(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The target's fields for merging by path. An empty list or map in the target says nothing about what others have put
/// there, unless it is replaced as a whole; which of the two shows in the sets of those who own something in it.
pub fn granular(fields: &FieldSet, object: &Value, live: &Value, surplus: &FieldSet) -> FieldSet {
    let mut known = surplus.clone();
    for entry in entries(live) {
        known.union(&FieldSet::from_value(entry["fieldsV1"].clone()));
    }
    fields.without_empty(object, &known)
}
