//! Brings one object to its target manifest (design D1): the server computes every merge, and one rewrite of
//! `managedFields` makes it take out what newer revisions have left behind. [`preview`] asks first, with `dryRun=All`
//! only; [`apply`], [`replace`] and [`delete`] write, each with a precondition.

mod body;
mod error;
mod fit;
mod probe;
mod write;

use kube::Client;
use kube::core::ApiResource;
use serde_json::Value;

use crate::discover::object;
use crate::plan::fields::{FieldSet, Rewrite, dropped, entries, merged, removals, rewrite, writer_of};
use crate::preflight::dry_run;

pub use body::yaml_safe;
pub use error::{ApplyError, Cause};
pub use write::{apply, delete, replace};

/// One object and what it is to become.
#[derive(Debug, Clone, Copy)]
pub struct ObjectTarget<'a> {
    /// Of the target's apiVersion and kind.
    pub resource: &'a ApiResource,
    /// `None` for cluster-scoped kinds.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
    /// The full manifest with the release's label and annotations.
    pub target: &'a Value,
    /// The same object in newer revisions: each version of it once, without those that equal the target.
    pub newer: &'a [Value],
    /// The release's field manager, for objects that no other one applies.
    pub writer: &'a str,
    /// For an autoscaled workload: the number that is sent in place of a rendered one. Where the target renders none,
    /// none is sent.
    pub replicas: Option<i64>,
}

/// What an apply would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The object as the server would store it, without `managedFields`.
    pub after: Value,
    /// It does not exist yet.
    pub created: bool,
    /// Something but bookkeeping changes.
    pub changed: bool,
    /// The fields that go: what newer revisions have left, and what the release owned and no longer renders.
    pub removed: FieldSet,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// It did not exist.
    pub created: bool,
    /// Something but bookkeeping (`managedFields`, `resourceVersion`) changed.
    pub changed: bool,
    /// The object as it is stored now.
    pub object: Value,
}

/// How often a preview reads again what somebody has changed meanwhile.
const PREVIEW_ATTEMPTS: u32 = 4;

/// What [`apply`] would do to an object, without doing it. `live` is the object as it was read, with its
/// `managedFields`.
pub async fn preview(
    client: &Client,
    target: &ObjectTarget<'_>,
    live: Option<&Value>,
) -> Result<Preview, ApplyError> {
    let Some(live) = live else {
        let created = preview_creation(client, target).await?;
        return Ok(Preview {
            after: without_managed_fields(created),
            created: true,
            changed: true,
            removed: FieldSet::default(),
        });
    };
    let probed = probe::probe(client, target.resource, target.namespace, body::desired(target)).await?;
    let (object, fields) = (probed.object, probed.fields);
    let surplus = surplus(client, target, Some((&object, &fields))).await?;
    let mut live = live.clone();
    let mut attempt = 1;
    loop {
        let transition = Transition::new(target, &object, &live, &surplus);
        let gone = transition.gone(&fields, &object);
        let answer = if transition.rewrite.changed {
            let granular = probe::granular(&fields, &object, &live, &surplus);
            let result = merged(&live, &object, &granular, &gone);
            dry_run::replace(client, target.resource, target.namespace, &result).await
        } else {
            // Nothing has to be prepared for the apply: the server can be asked about it.
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
            dry_run::apply_probe(client, target.resource, target.namespace, &object, &transition.writer).await
        };
        match answer {
            Ok(stored) => {
                let changed = differs(&live, &stored);
                return Ok(Preview {
                    after: without_managed_fields(stored),
                    created: false,
                    changed,
                    removed: gone.within(&live),
                });
            }
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < PREVIEW_ATTEMPTS => {
                attempt += 1;
                live = read(client, target).await?.ok_or(ApplyError::Gone)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What [`replace`] would do to an object, without doing it.
pub async fn preview_replace(
    client: &Client,
    target: &ObjectTarget<'_>,
    live: Option<&Value>,
) -> Result<Preview, ApplyError> {
    let Some(live) = live else { return preview(client, target, None).await };
    let replacement = body::replacement(&body::desired(target), live);
    let stored = dry_run::replace(client, target.resource, target.namespace, &replacement).await?;
    let changed = differs(live, &stored);
    let after = without_managed_fields(stored);
    Ok(Preview { after, created: false, changed, removed: FieldSet::default() })
}

async fn preview_creation(client: &Client, target: &ObjectTarget<'_>) -> Result<Value, ApplyError> {
    let mut object = body::desired(target);
    loop {
        let answer =
            dry_run::apply_probe(client, target.resource, target.namespace, &object, target.writer).await;
        match answer {
            Ok(created) => return Ok(created),
            Err(error) => match fit::fitted(&object, &error) {
                Some(fitted) => object = fitted,
                None => return Err(error.into()),
            },
        }
    }
}

/// What newer revisions may have left in an object: the fields of their manifests that the target lacks. Asks the
/// server only where there are newer versions of the object.
async fn surplus(
    client: &Client,
    target: &ObjectTarget<'_>,
    known: Option<(&Value, &FieldSet)>,
) -> Result<FieldSet, ApplyError> {
    if target.newer.is_empty() {
        return Ok(FieldSet::default());
    }
    let mut newer = probe::newer_field_sets(client, target).await?;
    let probed;
    let (object, fields) = if let Some(known) = known {
        known
    } else {
        probed = probe::probe(client, target.resource, target.namespace, body::desired(target)).await?;
        (&probed.object, &probed.fields)
    };
    let whole = fields.whole(object);
    for fields in &mut newer {
        fields.without(&whole);
    }
    Ok(removals(&newer, fields))
}

/// How an object's `managedFields` change before an apply, and in whose name that apply is.
struct Transition {
    writer: String,
    rewrite: Rewrite,
}

impl Transition {
    fn new(target: &ObjectTarget<'_>, object: &Value, live: &Value, surplus: &FieldSet) -> Self {
        let writer = writer_of(entries(live), target.writer);
        // Paths of another version say nothing about the object in this one.
        let is_same_version = target.newer.iter().all(|newer| newer["apiVersion"] == object["apiVersion"]);
        let surplus = if is_same_version { &surplus.within(live) } else { surplus };
        let rewrite = rewrite(live, &writer, surplus, object);
        Self { writer, rewrite }
    }

    /// What the apply takes out of the object.
    fn gone(&self, fields: &FieldSet, object: &Value) -> FieldSet {
        let is_own = |entry: &&Value| {
            entry["manager"] == *self.writer
                && entry["operation"] == "Apply"
                && entry.get("subresource").is_none()
        };
        let set = |entry: &Value| FieldSet::from_value(entry["fieldsV1"].clone());
        let entries = &self.rewrite.managed_fields;
        let mut own = entries.iter().find(is_own).map(set).unwrap_or_default();
        own.without(&fields.whole(object));
        let mut kept: Vec<FieldSet> = entries.iter().filter(|entry| !is_own(entry)).map(set).collect();
        kept.push(fields.clone());
        dropped(&own, &kept)
    }
}

/// Reads the object as it is now. `None` where there is none.
async fn read(client: &Client, target: &ObjectTarget<'_>) -> Result<Option<Value>, ApplyError> {
    Ok(object::read(client, target.resource, target.namespace, target.name).await?)
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Whether two versions of an object differ in more than bookkeeping and status.
fn differs(before: &Value, after: &Value) -> bool {
    let content = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for bookkeeping in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(bookkeeping);
            }
        }
        object
    };
    content(before) != content(after)
}
