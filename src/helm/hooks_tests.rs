//! Which hooks run, in which order, and how their runs are noted.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::hooks::{BEFORE_CREATION, FAILED, HookPhase, SUCCEEDED, of_event};
use super::record::Record;

fn job(name: &str) -> String {
    format!("apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n")
}

fn hook(name: &str, events: &[&str], weight: &Value) -> Value {
    json!({"name": name, "kind": "Job", "path": format!("app/templates/{name}.yaml"), "manifest": job(name),
           "events": events, "weight": weight, "last_run": {"phase": ""}})
}

fn record(hooks: &Value) -> Record {
    let info = json!({"status": "deployed"});
    Record::from_json(json!({"name": "r", "version": 1, "info": info, "hooks": hooks})).unwrap()
}

#[test]
fn hooks_run_by_weight_then_name_then_as_stored() {
    let mut twin = hook("b", &["pre-rollback"], &json!(0));
    twin["kind"] = json!("ConfigMap");
    let record = record(&json!([
        hook("z", &["pre-rollback"], &json!(-5)),
        hook("c", &["pre-rollback", "post-rollback"], &Value::Null),
        twin,
        hook("b", &["pre-rollback"], &json!(0)),
        hook("a", &["post-rollback", "pre-upgrade"], &json!(-9)),
        hook("a2", &["pre-rollback"], &json!(10)),
    ]));
    let order = |event: &str| {
        let hooks = of_event(&record, event).unwrap();
        hooks.iter().map(|hook| (hook.index, hook.name.clone())).collect::<Vec<_>>()
    };
    let named = |all: &[(usize, &str)]| {
        all.iter().map(|(index, name)| (*index, (*name).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(order("pre-rollback"), named(&[(0, "z"), (2, "b"), (3, "b"), (1, "c"), (5, "a2")]));
    assert_eq!(order("post-rollback"), named(&[(4, "a"), (1, "c")]));
    assert_eq!(order("test"), []);
}

#[test]
fn policies_have_helms_default_and_definitions_are_never_deleted() {
    let mut deleted = hook("a", &["e"], &json!(0));
    deleted["delete_policies"] = json!(["hook-succeeded", "hook-failed"]);
    deleted["output_log_policies"] = json!(["hook-failed"]);
    let mut definition = hook("c", &["e"], &json!(0));
    definition["kind"] = json!("CustomResourceDefinition");
    let record = record(&json!([deleted, hook("b", &["e"], &json!(0)), definition]));
    let hooks = of_event(&record, "e").unwrap();
    let policies = [BEFORE_CREATION, SUCCEEDED, FAILED];
    let deletions: Vec<[bool; 3]> =
        hooks.iter().map(|hook| policies.map(|policy| hook.is_deleted(policy))).collect();
    assert_eq!(deletions, [[false, true, true], [true, false, false], [false; 3]]);
    assert_eq!(policies.map(|policy| hooks[0].shows_output(policy)), [false, false, true]);
    assert_eq!(policies.map(|policy| hooks[1].shows_output(policy)), [false; 3]);
}

#[test]
fn lists_are_taken_apart_and_yaml_is_read_as_helm_reads_it() {
    let mut list = hook("a", &["e"], &json!(0));
    list["manifest"] = json!(
        "# Source: app/x.yaml\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {on: yes}}\n- {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: other}}\n"
    );
    let objects = of_event(&record(&json!([list])), "e").unwrap().remove(0).objects;
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["data"], json!({"true": true}));
    assert_eq!(objects[1]["metadata"], json!({"name": "b", "namespace": "other"}));
}

#[test]
fn hooks_that_cannot_run_are_named() {
    for (manifest, message) in [
        ("kind: [", "the hook Job a (app/templates/a.yaml) cannot be run: "),
        ("kind: Job\nmetadata: {name: a}", "cannot be run: its object has no `apiVersion`"),
        ("apiVersion: v1\nmetadata: {name: a}", "cannot be run: its object has no `kind`"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}",
            "cannot be run: its object has no `metadata.name`",
        ),
        ("# nothing", "cannot be run: its object has no `kind`"),
        ("- a", "it is no object"),
    ] {
        let mut broken = hook("a", &["e"], &json!(0));
        broken["manifest"] = json!(manifest);
        let record = record(&json!([broken]));
        let said = of_event(&record, "e").unwrap_err().to_string();
        assert!(
            said.starts_with("the hook Job a (app/templates/a.yaml) ") && said.contains(message),
            "{said}"
        );
        assert!(of_event(&record, "other").unwrap().is_empty(), "other events do not need it");
    }
}

#[test]
fn wrong_types_are_named() {
    for (field, value, message) in [
        ("name", json!(1), "`hooks[].name` is a number, expected a string"),
        ("events", json!("pre-rollback"), "`hooks[].events` is a string, expected a list of strings"),
        ("delete_policies", json!([1]), "`hooks[].delete_policies` is an array, expected a list of strings"),
        ("weight", json!("5"), "`hooks[].weight` is a string, expected a whole number"),
        ("last_run", json!(true), "`hooks[].last_run` is a boolean, expected an object"),
    ] {
        let mut wrong = hook("a", &["e"], &json!(0));
        wrong[field] = value;
        let body = json!({"name": "r", "version": 1, "info": {"status": "deployed"}, "hooks": [wrong]});
        assert_eq!(Record::from_json(body).unwrap_err().to_string(), message);
    }
}

#[test]
fn runs_are_noted_in_the_style_of_the_record() {
    let start: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
    let end: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    let three = json!({"started_at": "2026-01-01T00:00:00.5Z", "completed_at": "", "phase": "Running"});
    let four = json!({"started_at": "2026-01-01T00:00:00.5Z", "phase": "Running"});
    let mut body = record(&json!([hook("a", &["e"], &json!(0)), hook("b", &["e"], &json!(0))])).to_json();
    for (deleted, running) in [(Some(""), three), (None, four)] {
        if let Some(deleted) = deleted {
            body["info"]["deleted"] = json!(deleted);
        } else {
            body["info"].as_object_mut().unwrap().remove("deleted");
        }
        let mut record = Record::from_json(body.clone()).unwrap();
        record.begin_hook(1, start);
        let hooks = record.to_json()["hooks"].clone();
        assert_eq!(hooks[0], body["hooks"][0], "the other hook is as it was");
        assert_eq!(hooks[1]["last_run"], running);
        assert_eq!(hooks[1]["delete_policies"], json!(["before-hook-creation"]), "as Helm writes it");
        record.end_hook(1, HookPhase::Succeeded, end);
        let done = json!({"started_at": "2026-01-01T00:00:00.5Z", "completed_at": "2026-01-01T00:01:00Z", "phase": "Succeeded"});
        assert_eq!(record.to_json()["hooks"][1]["last_run"], done);
        // Once more: what was there before is gone.
        record.begin_hook(1, start);
        assert_eq!(record.to_json()["hooks"][1]["last_run"], running);
        record.end_hook(7, HookPhase::Failed, end);
    }
}

#[test]
fn policies_that_are_there_stay() {
    let mut with_policy = hook("a", &["e"], &json!(0));
    with_policy["delete_policies"] = json!(["hook-failed"]);
    let mut record = record(&json!([with_policy]));
    record.begin_hook(0, Timestamp::UNIX_EPOCH);
    record.end_hook(0, HookPhase::Failed, Timestamp::UNIX_EPOCH);
    let hook = &record.to_json()["hooks"][0];
    assert_eq!(hook["delete_policies"], json!(["hook-failed"]));
    assert_eq!(hook["last_run"]["phase"], "Failed");
}
