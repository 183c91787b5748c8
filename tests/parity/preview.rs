//! What the program says beforehand against what it then does: `diff` is asked before every rollback of the program's, and
//! the objects are read before and after it. Every object must become what was said of it, field by field, and nothing
//! may happen to any other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use kubectl_rollback::plan::diff::{self, FieldChange};
use kubectl_rollback::plan::rollback::forecast::RESTARTED_AT;
use serde_json::{Value, json};

use crate::contender::program;
use crate::objects;
use crate::records;
use crate::side::{RELEASE, Side};
use crate::story::Rollback;

/// Flags of `to` that say how it is carried out and not what comes of it; `diff` does not know them.
const OF_THE_EXECUTION: [&str; 5] =
    ["--take-over", "--dry-run", "--history-max", "--cleanup-on-fail", "--wait-for-jobs"];

/// What stands for a value that the server chooses anew each time it is asked.
const CHOSEN: &str = "CHOSEN BY THE SERVER";

/// Rolls back, and demands that it comes as `diff` said just before.
#[track_caller]
pub fn kept(side: &Side, rollback: &Rollback, roll_back: impl FnOnce() -> Output) -> Output {
    let hooks = hooks(side, rollback);
    let before = picture(side);
    let revision = rollback.revision.to_string();
    let mut arguments = vec!["diff".to_owned(), RELEASE.to_owned(), revision];
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    let of_diff = |flag: &&&str| !OF_THE_EXECUTION.contains(&flag.split('=').next().unwrap_or_default());
    arguments.extend(rollback.ours.iter().filter(of_diff).map(|flag| side.fill(flag)));
    let said = program(side, &arguments);
    let done = roll_back();
    let after = picture(side);
    let complaints = complaints(&document(&said), &document(&done), &before, &after, &hooks);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        complaints.is_empty(),
        "it did not come as diff said\n{}\n--- diff: {}{}\n--- to: {}{}",
        complaints.join("\n"),
        text(&said.stdout),
        text(&said.stderr),
        text(&done.stdout),
        text(&done.stderr)
    );
    done
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no document: {error}: {text}"));
    assert_eq!(document["exitCode"].as_i64(), output.status.code().map(i64::from), "{document}");
    document
}

/// Objects by [`key`].
type Picture = BTreeMap<String, Value>;

fn picture(side: &Side) -> Picture {
    let named = |object: Value| (key(&object["kind"], &object["metadata"]), object);
    objects::as_they_are(&side.cluster).into_iter().map(named).collect()
}

/// `ConfigMap/a in shop`: a kind and something with namespace and name. No scenario has one kind of two groups.
fn key(kind: &Value, named: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{} in {}", text(kind), text(&named["name"]), text(&named["namespace"]))
}

/// The objects that the target's rollback hooks are: they come and go beside the manifest.
fn hooks(side: &Side, rollback: &Rollback) -> BTreeSet<String> {
    if rollback.ours.contains(&"--no-hooks") {
        return BTreeSet::new();
    }
    let records = records::read(&side.cluster);
    let target = records.iter().find(|(_, body)| body["version"] == rollback.revision);
    let hooks = target.and_then(|(_, body)| body["hooks"].as_array().cloned()).unwrap_or_default();
    let runs = |hook: &&Value| {
        let events = hook["events"].as_array().into_iter().flatten();
        events.filter_map(Value::as_str).any(|event| event.ends_with("-rollback"))
    };
    let named =
        |hook: &Value| key(&hook["kind"], &json!({"name": hook["name"], "namespace": side.namespace()}));
    hooks.iter().filter(runs).map(named).collect()
}

/// Where `said`, the document of `diff`, and `done`, that of `to`, do not tell the same story as the objects.
fn complaints(
    said: &Value,
    done: &Value,
    before: &Picture,
    after: &Picture,
    hooks: &BTreeSet<String>,
) -> Vec<String> {
    let results: Vec<&Value> = done["objects"].as_array().into_iter().flatten().collect();
    let is_begun = results.iter().any(|result| !result["done"].is_null());
    let mut complaints = Vec::new();
    let mut named: BTreeSet<String> = hooks.clone();
    if is_begun {
        let diffs: Vec<&Value> = said["objects"].as_array().into_iter().flatten().collect();
        let keys = |objects: &[&Value]| -> Vec<String> {
            objects.iter().map(|object| key(&object["kind"], object)).collect()
        };
        if keys(&diffs) != keys(&results) {
            return vec![format!("diff speaks of {:?}, to of {:?}", keys(&diffs), keys(&results))];
        }
        for (diff, result) in diffs.iter().zip(&results) {
            let name = key(&diff["kind"], diff);
            complaints.extend(
                complaints_of_one(diff, result, before.get(&name), after.get(&name))
                    .into_iter()
                    .map(|complaint| format!("{name}: {complaint}")),
            );
            named.insert(name);
        }
    } else {
        // Refused, or a dry run: `diff` must have known the former.
        let exit = done["exitCode"].as_u64().unwrap_or_default();
        if exit > 1 && said["exitCode"] != exit {
            complaints.push(format!("to is refused with {exit}, diff ended with {}", said["exitCode"]));
        }
    }
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in all.into_iter().filter(|name| !named.contains(*name)) {
        let happened = happened(before.get(name), after.get(name));
        if happened != "unchanged" {
            let fields = real(before.get(name), after.get(name));
            complaints.push(format!("{name} was {happened}, and nobody had said so: {fields:?}"));
        }
    }
    complaints
}

fn complaints_of_one(
    diff: &Value,
    result: &Value,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let (said, done) = (text(&diff["change"]), text(&result["done"]));
    let happened = happened(before, after);
    // Where a rollback ends early, what it has not come to must be as it was.
    let is_carried_out = !matches!(done, "failed" | "notBegun");
    let wanted = match done {
        "kept" | "failed" | "notBegun" => "unchanged",
        done => done,
    };
    if happened != wanted {
        complaints.push(format!("to says {done}, it was {happened}"));
    }
    if is_carried_out {
        if said != done {
            complaints.push(format!("diff said {said}, to says {done}"));
        }
        let (said, real) = (foretold(diff), real(before, after));
        complaints.extend(
            said.iter()
                .filter(|change| !real.contains(change))
                .map(|change| format!("said, and not so: {change}")),
        );
        complaints.extend(
            real.iter()
                .filter(|change| !said.contains(change))
                .map(|change| format!("so, and not said: {change}")),
        );
    }
    complaints
}

fn happened(before: Option<&Value>, after: Option<&Value>) -> &'static str {
    match (before, after) {
        (None, Some(_)) => "created",
        (Some(_), None) => "deleted",
        (Some(_), Some(_)) if !real(before, after).is_empty() => "changed",
        _ => "unchanged",
    }
}

/// The changes that a document of `diff` speaks of.
fn foretold(diff: &Value) -> Vec<String> {
    let kind = text(&diff["kind"]);
    let fields = diff["fields"].as_array().into_iter().flatten();
    fields.filter_map(|field| shown(kind, text(&field["path"]), &field["before"], &field["after"])).collect()
}

/// The changes of an object that was there and still is.
fn real(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let kind = text(&after["kind"]);
    diff::fields(kind, before, after, None)
        .iter()
        .filter_map(|FieldChange { path, before, after, .. }| shown(kind, path, before, after))
        .collect()
}

/// A change as it is compared; nothing where it is noise by the same rules as between the two sides ([`objects`]). Of
/// what the server chooses it counts that it does.
fn shown(kind: &str, path: &str, before: &Value, after: &Value) -> Option<String> {
    let annotation = path.strip_prefix("metadata.annotations.");
    if annotation.is_some_and(objects::is_of_a_controller) {
        return None;
    }
    let field = path.rsplit('.').next().unwrap_or_default();
    let is_chosen =
        path.strip_prefix("spec.").is_some_and(|field| objects::server_set(kind).contains(&field))
            || field == "nodePort"
            || path.ends_with(RESTARTED_AT);
    let mask = |value: &Value| {
        if is_chosen && !value.is_null() && !objects::is_asked_for(value) {
            json!(CHOSEN)
        } else {
            masked(value.clone())
        }
    };
    let (before, after) = (mask(before), mask(after));
    (before != after || before == diff::HIDDEN).then(|| format!("{path}: {before} → {after}"))
}

/// A value with what is never the same twice marked as that: node ports, which are any that were free, and times.
fn masked(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, below) in fields.iter_mut() {
                let is_chosen = matches!(name.as_str(), "nodePort" | RESTARTED_AT);
                *below = if is_chosen { json!(CHOSEN) } else { masked(below.take()) };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = masked(item.take())),
        _ => {}
    }
    value
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;
    use crate::harness::Test;
    use crate::scenarios::{config_map, web};
    use crate::side::Mode;

    /// What Helm has no words for: told by the program alone.
    fn comes_as_said(name: &str, state: fn(&Side), rollback: &Rollback, wanted: fn(&Side)) {
        let Some(test) = Test::named(name) else { return };
        let side = Side::create(&test.cluster, "ours", Mode::Helm4);
        state(&side);
        let output = Contender::Program.roll_back(&side, rollback);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        wanted(&side);
    }

    #[test]
    fn a_restart_is_a_change_of_the_workload() {
        const WITH_SETTINGS: &str =
            "image: ghcr.io/acme/web:good-1\n          envFrom: [{configMapRef: {name: a}}]";
        let state = |side: &Side| {
            let web = web("good-1").replace("image: ghcr.io/acme/web:good-1", WITH_SETTINGS);
            side.install(web.clone() + &config_map("a", "1"));
            side.upgrade(web + &config_map("a", "2"));
        };
        comes_as_said("preview-restart", state, &Rollback::to(1).ours("--restart"), |side| {
            let template = side.cluster.get("deployments", "web")["spec"]["template"].clone();
            assert!(template["metadata"]["annotations"][RESTARTED_AT].is_string(), "{template}");
        });
    }

    fn stopped_by_an_emergency(side: &Side) {
        side.install(web("good-1"));
        side.upgrade(web("good-2"));
        let note = json!({"metadata": {"annotations": {"rollback.kubectl.dev/replicas-before": "3"}}, "spec": {"replicas": 0}});
        side.patch("deployments", "web", "kubectl-rollback", &note);
    }

    #[test]
    fn the_note_of_an_interrupted_emergency_goes() {
        comes_as_said("preview-note", stopped_by_an_emergency, &Rollback::to(1), |side| {
            let web = side.cluster.get("deployments", "web");
            assert_eq!(web["spec"]["replicas"], 1);
            assert!(!web["metadata"]["annotations"].to_string().contains("replicas-before"), "{web}");
        });
    }

    #[test]
    fn the_number_of_pods_that_an_emergency_noted_comes_back() {
        let keeping = Rollback::to(1).ours("--keep-replicas");
        comes_as_said("preview-noted-replicas", stopped_by_an_emergency, &keeping, |side| {
            assert_eq!(side.cluster.get("deployments", "web")["spec"]["replicas"], 3);
        });
    }

    fn config(value: &str) -> Value {
        json!({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"value": value}})
    }

    fn picture_of(objects: &[Value]) -> Picture {
        objects.iter().map(|object| (key(&object["kind"], &object["metadata"]), object.clone())).collect()
    }

    /// What is wrong where `diff` says this of the one object, and `to` that it went so.
    fn of_one(change: &str, fields: &Value, done: &str, before: &[Value], after: &[Value]) -> Vec<String> {
        let object = json!({"kind": "ConfigMap", "namespace": "n", "name": "a"});
        let with = |more: Value| {
            let mut object = object.clone();
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"exitCode": 0, "objects": [object]})
        };
        let said = with(json!({"change": change, "fields": fields}));
        let done = with(json!({"done": done}));
        complaints(&said, &done, &picture_of(before), &picture_of(after), &BTreeSet::new())
    }

    #[test]
    fn what_was_not_said_is_found() {
        let field =
            |before: &str, after: &str| json!([{"path": "data.value", "before": before, "after": after}]);
        let (one, two, none) = (&[config("1")][..], &[config("2")][..], &[][..]);
        let kept_its_word = [
            ("changed", field("1", "2"), "changed", one, two),
            ("unchanged", json!([]), "unchanged", one, one),
            ("created", json!([]), "created", none, one),
            ("deleted", json!([]), "deleted", one, none),
            ("kept", json!([]), "kept", one, one),
            ("changed", field("1", "2"), "notBegun", one, one),
        ];
        for (change, fields, done, before, after) in &kept_its_word {
            assert_eq!(of_one(change, fields, done, before, after), [""; 0], "{change} {done}");
        }
        let broke_it = [
            ("changed", json!([]), "changed", one, two, "so, and not said: data.value: \"1\" → \"2\""),
            ("changed", field("1", "3"), "changed", one, two, "said, and not so: data.value: \"1\" → \"3\""),
            ("unchanged", field("1", "2"), "changed", one, two, "diff said unchanged, to says changed"),
            ("created", json!([]), "changed", none, one, "to says changed, it was created"),
            ("kept", json!([]), "kept", one, none, "to says kept, it was deleted"),
            ("deleted", json!([]), "deleted", one, one, "to says deleted, it was unchanged"),
            ("changed", field("1", "2"), "notBegun", one, two, "to says notBegun, it was changed"),
        ];
        for (change, fields, done, before, after, complaint) in &broke_it {
            let found = of_one(change, fields, done, before, after).join("\n");
            assert!(found.contains(complaint), "{change} {done}: {found}");
        }
    }

    #[test]
    fn what_happens_to_others_and_refusals_are_found() {
        let none = BTreeSet::new();
        let (one, two) = (picture_of(&[config("1")]), picture_of(&[config("2")]));
        let begun = json!({"exitCode": 0, "objects": [{"kind": "Secret", "namespace": "n", "name": "s", "done": "kept"}]});
        let said = json!({"exitCode": 0, "objects": [{"kind": "Secret", "namespace": "n", "name": "s", "change": "kept"}]});
        let found = complaints(&said, &begun, &one, &two, &none).join("\n");
        assert!(found.starts_with("ConfigMap/a in n was changed, and nobody had said so"), "{found}");
        let hooks = BTreeSet::from(["ConfigMap/a in n".to_owned()]);
        assert_eq!(complaints(&said, &begun, &one, &two, &hooks), [""; 0]);
        let refused = json!({"exitCode": 3, "objects": [{"kind": "ConfigMap", "namespace": "n", "name": "a", "done": null}]});
        assert_eq!(complaints(&json!({"exitCode": 3}), &refused, &one, &one, &none), [""; 0]);
        let found = complaints(&json!({"exitCode": 1}), &refused, &one, &one, &none);
        assert_eq!(found, ["to is refused with 3, diff ended with 1"]);
        assert_eq!(complaints(&json!({"exitCode": 3}), &refused, &one, &two, &none).len(), 1);
    }

    #[test]
    fn of_what_the_server_chooses_it_counts_that_it_does() {
        let change = |kind: &str, path: &str, after: Value| shown(kind, path, &Value::Null, &after);
        let port = |number: u32| change("Service", "spec.ports[http].nodePort", json!(number));
        assert_eq!(port(30_001), port(30_002));
        assert!(port(30_001).is_some_and(|text| text.ends_with(&format!("null → \"{CHOSEN}\""))));
        let whole =
            |number: u32| change("Service", "spec.ports[http]", json!({"port": 80, "nodePort": number}));
        assert_eq!(whole(30_001), whole(30_002));
        assert_ne!(
            change("Service", "spec.clusterIP", json!("None")),
            change("Service", "spec.clusterIP", json!("10.0.0.1"))
        );
        assert_eq!(
            change("Deployment", "metadata.annotations.deployment.kubernetes.io/revision", json!("2")),
            None
        );
        let hidden = shown("Secret", "data.password", &json!(diff::HIDDEN), &json!(diff::HIDDEN));
        assert!(hidden.is_some(), "another secret is a change");
    }
}
