//! One release record: the whole JSON that Helm stored, with typed access to the parts that we use.
//!
//! The JSON itself is the truth. Keys that this version does not know come from a newer Helm or from another
//! client, and are written back as they were read.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::hooks;
use super::status::{ApplyMethod, Status};

/// Why a JSON value is not a release record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field has another type than Helm gives it.
    #[error("`{field}` is {found}, expected {expected}")]
    WrongType {
        /// Path of the field.
        field: &'static str,
        /// What Helm writes there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A field without which there is no release.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

/// A release record.
#[derive(Clone, PartialEq)]
pub struct Record {
    pub(super) body: Map<String, Value>,
    /// The labels that the user gave the release (`helm upgrade --labels`). Helm keeps them on the storage object,
    /// never in the JSON; Helm's own six labels are not among them.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Debug for Record {
    /// Names the record; manifest and values hold secrets and must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Record({}.v{} {})", self.name(), self.revision(), self.status())
    }
}

pub(super) fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Checks the type of an optional field; null counts as absent, as in Go.
pub(super) fn check(
    map: &Map<String, Value>,
    field: &'static str,
    expected: &'static str,
    is_expected: impl Fn(&Value) -> bool,
) -> Result<(), RecordError> {
    let key = field.rsplit('.').next().unwrap_or(field);
    match map.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if is_expected(value) => Ok(()),
        Some(value) => Err(RecordError::WrongType { field, expected, found: type_name(value) }),
    }
}

impl Record {
    /// Takes a decoded body, after checking the type of every field that the accessors read.
    pub fn from_json(body: Value) -> Result<Self, RecordError> {
        let Value::Object(body) = body else {
            return Err(RecordError::WrongType {
                field: "release",
                expected: "an object",
                found: type_name(&body),
            });
        };
        for field in ["name", "namespace", "manifest", "apply_method"] {
            check(&body, field, "a string", Value::is_string)?;
        }
        for field in ["info", "chart", "config"] {
            check(&body, field, "an object", Value::is_object)?;
        }
        check(&body, "version", "a positive whole number", Value::is_u64)?;
        check(&body, "hooks", "an array", Value::is_array)?;
        if text(&body, "name").is_empty() {
            return Err(RecordError::Missing("name"));
        }
        if body.get("version").and_then(Value::as_u64).unwrap_or_default() == 0 {
            return Err(RecordError::Missing("version"));
        }
        let Some(Value::Object(info)) = body.get("info") else {
            return Err(RecordError::Missing("info"));
        };
        for field in
            ["info.status", "info.description", "info.notes", "info.first_deployed", "info.last_deployed"]
        {
            check(info, field, "a string", Value::is_string)?;
        }
        if text(info, "status").is_empty() {
            return Err(RecordError::Missing("info.status"));
        }
        if let Some(Value::Object(chart)) = body.get("chart") {
            check(chart, "chart.metadata", "an object", Value::is_object)?;
            check(chart, "chart.values", "an object", Value::is_object)?;
        }
        for hook in body.get("hooks").and_then(Value::as_array).into_iter().flatten() {
            let Value::Object(hook) = hook else {
                return Err(RecordError::WrongType {
                    field: "hooks[]",
                    expected: "an object",
                    found: type_name(hook),
                });
            };
            hooks::check_types(hook)?;
        }
        Ok(Self { body, labels: BTreeMap::new() })
    }

    /// The whole body.
    pub fn to_json(&self) -> Value {
        Value::Object(self.body.clone())
    }

    /// The text that goes into the cluster.
    pub fn encode(&self) -> String {
        super::codec::encode(&self.to_json())
    }

    /// The release's name.
    pub fn name(&self) -> &str {
        text(&self.body, "name")
    }

    /// The revision number, from 1.
    pub fn revision(&self) -> u64 {
        self.body.get("version").and_then(Value::as_u64).unwrap_or_default()
    }

    /// The namespace that the release was installed into, if the body says so.
    pub fn namespace(&self) -> Option<&str> {
        self.body.get("namespace").and_then(Value::as_str)
    }

    fn info(&self, key: &str) -> &str {
        self.body.get("info").and_then(Value::as_object).map_or("", |info| text(info, key))
    }

    /// The status in the body; the `status` label must say the same.
    pub fn status(&self) -> Status {
        self.info("status").into()
    }

    /// What Helm's history shows as description.
    pub fn description(&self) -> &str {
        self.info("description")
    }

    /// When the release was first installed.
    pub fn first_deployed(&self) -> Option<jiff::Timestamp> {
        self.info("first_deployed").parse().ok()
    }

    /// When this revision was deployed, as the text that Helm stored: with the writer's own offset. Empty when unset.
    pub fn last_deployed_text(&self) -> &str {
        self.info("last_deployed")
    }

    /// When this revision was deployed.
    pub fn last_deployed(&self) -> Option<jiff::Timestamp> {
        self.info("last_deployed").parse().ok()
    }

    /// The rendered objects, without hooks.
    pub fn manifest(&self) -> &str {
        text(&self.body, "manifest")
    }

    /// The values that the user supplied.
    pub fn config(&self) -> Option<&Map<String, Value>> {
        self.body.get("config").and_then(Value::as_object)
    }

    fn chart(&self) -> Option<&Map<String, Value>> {
        self.body.get("chart").and_then(Value::as_object)
    }

    fn chart_metadata(&self, key: &str) -> Option<&str> {
        self.chart()?.get("metadata")?.get(key)?.as_str()
    }

    /// The chart's default values; those of its dependencies are merged in.
    pub fn chart_values(&self) -> Option<&Map<String, Value>> {
        self.chart()?.get("values")?.as_object()
    }

    /// The chart's name.
    pub fn chart_name(&self) -> Option<&str> {
        self.chart_metadata("name")
    }

    /// The chart's version.
    pub fn chart_version(&self) -> Option<&str> {
        self.chart_metadata("version")
    }

    /// The chart's `appVersion`.
    pub fn app_version(&self) -> Option<&str> {
        self.chart_metadata("appVersion")
    }

    /// The chart as Helm lists it: `name-version`, or `MISSING`.
    pub fn chart_label(&self) -> String {
        match (self.chart_name(), self.chart_version()) {
            (Some(name), Some(version)) => format!("{name}-{version}"),
            _ => "MISSING".to_owned(),
        }
    }

    /// How Helm will write this release next time.
    pub fn apply_method(&self) -> ApplyMethod {
        if text(&self.body, "apply_method") == "ssa" {
            ApplyMethod::ServerSide
        } else {
            ApplyMethod::ClientSide
        }
    }

    fn set_info(&mut self, key: &str, value: String) {
        if let Some(Value::Object(info)) = self.body.get_mut("info") {
            info.insert(key.to_owned(), value.into());
        }
    }

    /// Sets the status in the body; storage writes the label from it.
    pub fn set_status(&mut self, status: &Status) {
        self.set_info("status", status.to_string());
    }

    /// Sets the description.
    pub fn set_description(&mut self, description: &str) {
        self.set_info("description", description.to_owned());
    }

    /// Sets when this revision was deployed.
    pub fn set_last_deployed(&mut self, time: jiff::Timestamp) {
        self.set_info("last_deployed", time.to_string());
    }

    /// Sets the revision number.
    pub fn set_revision(&mut self, revision: u64) {
        self.body.insert("version".to_owned(), revision.into());
        // Helm's newest versions note here which revision a rollback went back to; a copy did not.
        if let Some(Value::Object(info)) = self.body.get_mut("info") {
            info.remove("rollback_revision");
        }
    }

    /// Replaces the manifest.
    pub fn set_manifest(&mut self, manifest: String) {
        self.body.insert("manifest".to_owned(), manifest.into());
    }

    /// The user-supplied values, to be changed; made when there were none.
    pub fn config_mut(&mut self) -> &mut Map<String, Value> {
        let config = self.body.entry("config").or_insert_with(|| json!({}));
        if !config.is_object() {
            *config = json!({});
        }
        config.as_object_mut().expect("made an object just now")
    }

    /// Drops what no later rollback needs, the chart's templates and files: a record that is only a bit smaller than
    /// the limit can then be written again, and a slow line is not held up by it.
    pub fn slim(&mut self) {
        if let Some(Value::Object(chart)) = self.body.get_mut("chart") {
            for key in ["templates", "files"] {
                if chart.contains_key(key) {
                    chart.insert(key.to_owned(), Value::Null);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Value {
        json!({
            "name": "todo", "version": 3, "namespace": "shop", "unheard_of": [1],
            "info": {"status": "deployed", "first_deployed": "2026-11-20T10:00:00.123456789+01:00", "deleted": "",
                     "description": "Upgrade complete", "rollback_revision": 1},
            "chart": {"metadata": {"name": "todo-app", "version": "1.2.3", "appVersion": "good-1"},
                      "values": {"a": 1}, "templates": [{"name": "x"}], "files": null, "modtime": "x"},
            "config": {"secret": "hunter2"}, "manifest": "kind: Secret",
            "hooks": [{"name": "migrate", "kind": "Job", "manifest": "kind: Job", "events": ["pre-upgrade"]}],
            "apply_method": "ssa"
        })
    }

    #[test]
    fn every_part_is_readable_and_unknown_keys_stay() {
        let record = Record::from_json(body()).unwrap();
        assert_eq!(record.name(), "todo");
        assert_eq!(record.revision(), 3);
        assert_eq!(record.namespace(), Some("shop"));
        assert_eq!(record.status(), Status::Deployed);
        assert_eq!(record.description(), "Upgrade complete");
        assert_eq!(record.chart_label(), "todo-app-1.2.3");
        assert_eq!(record.app_version(), Some("good-1"));
        assert_eq!(record.apply_method(), ApplyMethod::ServerSide);
        assert_eq!(record.first_deployed().unwrap().to_string(), "2026-11-20T09:00:00.123456789Z");
        assert_eq!(record.last_deployed(), None);
        let hook = record.hooks().next().unwrap();
        assert_eq!((hook.name(), hook.kind(), hook.manifest()), ("migrate", "Job", "kind: Job"));
        assert_eq!(hook.events().collect::<Vec<_>>(), ["pre-upgrade"]);
        assert_eq!(record.to_json(), body());
    }

    #[test]
    fn a_log_line_shows_no_values() {
        let shown = format!("{:?}", Record::from_json(body()).unwrap());
        assert_eq!(shown, "Record(todo.v3 deployed)");
    }

    #[test]
    fn bad_records_name_the_field() {
        for (pointer, value, message) in [
            ("/name", json!(7), "`name` is a number, expected a string"),
            ("/name", Value::Null, "`name` is missing"),
            ("/version", json!("3"), "`version` is a string, expected a positive whole number"),
            ("/version", json!(-1), "`version` is a number, expected a positive whole number"),
            ("/version", json!(0), "`version` is missing"),
            ("/info", json!([]), "`info` is an array, expected an object"),
            ("/info", Value::Null, "`info` is missing"),
            ("/info/status", json!(""), "`info.status` is missing"),
            ("/info/status", json!(true), "`info.status` is a boolean, expected a string"),
            ("/config", json!("x"), "`config` is a string, expected an object"),
            ("/chart/values", json!([]), "`chart.values` is an array, expected an object"),
            ("/hooks/0/manifest", json!({}), "`hooks[].manifest` is an object, expected a string"),
            ("/hooks/0", json!(1), "`hooks[]` is a number, expected an object"),
        ] {
            let mut bad = body();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = Record::from_json(bad).unwrap_err();
            assert_eq!(error.to_string(), message, "{pointer}");
        }
        assert!(Record::from_json(json!("text")).is_err());
    }

    #[test]
    fn slimming_drops_only_templates_and_files() {
        let mut record = Record::from_json(body()).unwrap();
        record.slim();
        let mut expected = body();
        expected["chart"]["templates"] = Value::Null;
        assert_eq!(record.to_json(), expected);
    }

    #[test]
    fn values_can_be_set_where_there_were_none() {
        for config in [json!({}), Value::Null] {
            let mut none = body();
            none["config"] = config;
            let mut record = Record::from_json(none).unwrap();
            record.config_mut().insert("a".to_owned(), json!("b"));
            assert_eq!(record.to_json()["config"], json!({"a": "b"}));
        }
    }
}
