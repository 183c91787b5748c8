//! The hooks of a record: objects that Helm does not keep, but creates at an event and waits for.
//!
//! Which run at an event, in which order, and what becomes of their objects; and how a run is noted in the record.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::manifest::{Manifest, ManifestError};
use super::record::{Record, RecordError, check, text};

/// Deletion policy: an object that is there is deleted before the hook runs. It holds where a hook names none.
pub const BEFORE_CREATION: &str = "before-hook-creation";
/// Policy of deletion and of output: after the hook has succeeded.
pub const SUCCEEDED: &str = "hook-succeeded";
/// Policy of deletion and of output: after the hook has failed.
pub const FAILED: &str = "hook-failed";

/// Why a hook cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// Its text is no YAML of an object.
    #[error("the hook {hook} cannot be run: {source}")]
    Manifest {
        /// Kind and name of the hook, and its template.
        hook: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// Its object lacks what every object has.
    #[error("the hook {hook} cannot be run: its object has no `{field}`")]
    Missing {
        /// Kind and name of the hook, and its template.
        hook: String,
        /// The field.
        field: &'static str,
    },
}

/// A hook of a release: an object that is not in the manifest.
#[derive(Clone, Copy)]
pub struct Hook<'a>(&'a Map<String, Value>);

impl<'a> Hook<'a> {
    /// The object's name.
    pub fn name(self) -> &'a str {
        text(self.0, "name")
    }

    /// The object's kind.
    pub fn kind(self) -> &'a str {
        text(self.0, "kind")
    }

    /// The template it came from.
    pub fn path(self) -> &'a str {
        text(self.0, "path")
    }

    /// The object as YAML.
    pub fn manifest(self) -> &'a str {
        text(self.0, "manifest")
    }

    /// How its last run ended (`Succeeded`, `Failed`, `Running`, …); empty where it has not run.
    pub fn last_run_phase(self) -> &'a str {
        self.0.get("last_run").and_then(|run| run.get("phase")).and_then(Value::as_str).unwrap_or_default()
    }

    /// The events that run it, such as `pre-rollback`.
    pub fn events(self) -> impl Iterator<Item = &'a str> {
        self.texts("events")
    }

    /// Its place among the hooks of an event: lower ones run first.
    pub fn weight(self) -> i64 {
        self.0.get("weight").and_then(Value::as_i64).unwrap_or_default()
    }

    /// When its objects are deleted, as the record says; Helm deletes [before creation](BEFORE_CREATION) where it says
    /// nothing.
    pub fn delete_policies(self) -> impl Iterator<Item = &'a str> {
        self.texts("delete_policies")
    }

    /// When the output of its pods is shown; where it says nothing, never.
    pub fn output_log_policies(self) -> impl Iterator<Item = &'a str> {
        self.texts("output_log_policies")
    }

    fn texts(self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
}

/// A hook that is about to run.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHook {
    /// Its index among the record's hooks.
    pub index: usize,
    /// The kind of its object.
    pub kind: String,
    /// The name of its object.
    pub name: String,
    /// The template it came from.
    pub path: String,
    /// When its objects are deleted, Helm's default filled in.
    pub delete_policies: Vec<String>,
    /// When the output of its pods is shown.
    pub output_log_policies: Vec<String>,
    /// Its objects as the text says: one, unless it is a list. Each has `apiVersion`, `kind` and a name.
    pub objects: Vec<Value>,
}

impl EventHook {
    /// Whether its objects are deleted at that moment; definitions of custom resources never are, because everything
    /// of their kind would go with them.
    pub fn is_deleted(&self, policy: &str) -> bool {
        self.kind != "CustomResourceDefinition" && self.delete_policies.iter().any(|known| known == policy)
    }

    /// Whether the output of its pods is shown at that moment.
    pub fn shows_output(&self, policy: &str) -> bool {
        self.output_log_policies.iter().any(|known| known == policy)
    }
}

/// How far the run of a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPhase {
    /// It has begun.
    Running,
    /// It has ended well.
    Succeeded,
    /// It has ended badly, or was not waited for any longer.
    Failed,
    /// It has begun, and how it ended was not seen.
    Unknown,
}

impl HookPhase {
    /// As Helm writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// The types of a hook's fields.
pub(super) fn check_types(hook: &Map<String, Value>) -> Result<(), RecordError> {
    for field in ["hooks[].name", "hooks[].kind", "hooks[].path", "hooks[].manifest"] {
        check(hook, field, "a string", Value::is_string)?;
    }
    let is_texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    for field in ["hooks[].events", "hooks[].delete_policies", "hooks[].output_log_policies"] {
        check(hook, field, "a list of strings", is_texts)?;
    }
    check(hook, "hooks[].weight", "a whole number", Value::is_i64)?;
    check(hook, "hooks[].last_run", "an object", Value::is_object)
}

/// The hooks of an event in the order in which Helm runs them: by weight, then by name; where both are the same, as
/// they are stored.
pub fn of_event(record: &Record, event: &str) -> Result<Vec<EventHook>, HookError> {
    let mut chosen: Vec<(usize, Hook<'_>)> = record
        .hooks()
        .enumerate()
        .filter(|(_, hook)| hook.events().any(|of_hook| of_hook == event))
        .collect();
    chosen.sort_by_key(|(_, hook)| (hook.weight(), hook.name()));
    chosen.into_iter().map(|(index, hook)| read(index, hook)).collect()
}

fn read(index: usize, hook: Hook<'_>) -> Result<EventHook, HookError> {
    let texts = |all: &mut dyn Iterator<Item = &str>| all.map(str::to_owned).collect::<Vec<String>>();
    let mut delete_policies = texts(&mut hook.delete_policies());
    if delete_policies.is_empty() {
        delete_policies.push(BEFORE_CREATION.to_owned());
    }
    // The namespace of the objects is left to whoever knows which kinds have one.
    let manifest = Manifest::parse(hook.manifest(), "");
    if let Some(source) = manifest.problems().into_iter().next() {
        return Err(HookError::Manifest { hook: described(hook), source });
    }
    let objects: Vec<Value> = manifest.objects().into_iter().map(|object| object.value).collect();
    let missing = |field| HookError::Missing { hook: described(hook), field };
    for object in &objects {
        for (pointer, field) in
            [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
        {
            if object.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(missing(field));
            }
        }
    }
    if objects.is_empty() {
        return Err(missing("kind"));
    }
    Ok(EventHook {
        index,
        kind: hook.kind().to_owned(),
        name: hook.name().to_owned(),
        path: hook.path().to_owned(),
        delete_policies,
        output_log_policies: texts(&mut hook.output_log_policies()),
        objects,
    })
}

fn described(hook: Hook<'_>) -> String {
    let path = if hook.path().is_empty() { String::new() } else { format!(" ({})", hook.path()) };
    format!("{} {}{path}", hook.kind(), hook.name())
}

impl Record {
    /// The hooks, in stored order.
    pub fn hooks(&self) -> impl Iterator<Item = Hook<'_>> {
        self.body
            .get("hooks")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(Hook)
    }

    fn hook_mut(&mut self, index: usize) -> Option<&mut Map<String, Value>> {
        self.body.get_mut("hooks")?.as_array_mut()?.get_mut(index)?.as_object_mut()
    }

    /// Replaces the manifest of the hook at `index`.
    pub fn set_hook_manifest(&mut self, index: usize, manifest: String) {
        if let Some(hook) = self.hook_mut(index) {
            hook.insert("manifest".to_owned(), manifest.into());
        }
    }

    /// Notes that the hook at `index` begins to run. Helm writes its default deletion policy down at this moment.
    pub fn begin_hook(&mut self, index: usize, now: Timestamp) {
        let writes_empty_times = self.writes_empty_times();
        let Some(hook) = self.hook_mut(index) else { return };
        if hook.get("delete_policies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            hook.insert("delete_policies".to_owned(), json!([BEFORE_CREATION]));
        }
        let mut run = json!({"started_at": now.to_string(), "phase": HookPhase::Running.as_str()});
        if writes_empty_times {
            run["completed_at"] = "".into();
        }
        hook.insert("last_run".to_owned(), run);
    }

    /// Notes how the hook at `index` ended.
    pub fn end_hook(&mut self, index: usize, phase: HookPhase, now: Timestamp) {
        let Some(hook) = self.hook_mut(index) else { return };
        if !hook.get("last_run").is_some_and(Value::is_object) {
            hook.insert("last_run".to_owned(), json!({}));
        }
        hook["last_run"]["completed_at"] = now.to_string().into();
        hook["last_run"]["phase"] = phase.as_str().into();
    }

    /// Whether times that are not set stand in the record as empty texts, as Helm 3 writes them; Helm 4 leaves them out.
    fn writes_empty_times(&self) -> bool {
        self.body.get("info").and_then(|info| info.get("deleted")).is_some()
    }
}
