//! The screens of `to`, `diff` and `plan`, of a release in which everything happens that can happen to an object.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::{Settings, assert_snapshot};
use kubectl_rollback::helm::codec;
use serde_json::{Value, json};

use crate::api::Api;
use crate::{Output, program_against, run};

/// What a revision renders, in the order of an install.
fn objects(version: &str) -> Vec<(&'static str, Value)> {
    let object = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    let is_good = version == "good-1";
    let (level, limit) = if is_good { ("info", "10") } else { ("warn", "1") };
    let file = format!(
        "worker_processes 4;\nevents {{}}\nhttp {{\n  sendfile on;\n  limit_req {limit};\n  gzip on;\n}}\n"
    );
    let password = STANDARD.encode(if is_good { "hunter2" } else { "hunter3" });
    let deployment = |name: &str, tag: &str, settings: &str| {
        let container = json!({
            "name": name, "image": format!("ghcr.io/acme/{name}:{tag}"), "envFrom": [{"configMapRef": {"name": settings}}],
        });
        let labels = json!({"app": name});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        })
    };
    let mut all = vec![
        ("secrets", with(object("Secret", "backend"), "data", json!({"PASSWORD": password}))),
        (
            "configmaps",
            with(object("ConfigMap", "settings"), "data", json!({"LEVEL": level, "nginx.conf": file})),
        ),
        ("deployments", deployment("backend", version, "backend")),
        ("deployments", deployment("worker", "7.2", "settings")),
    ];
    if is_good {
        all.push(("services", with(object("Service", "legacy"), "spec", json!({"ports": [{"port": 80}]}))));
    } else {
        all.push(("configmaps", with(object("ConfigMap", "flags"), "data", json!({"NEW": "on"}))));
        let claim = json!({"accessModes": ["ReadWriteOnce"]});
        all.push(("persistentvolumeclaims", with(object("PersistentVolumeClaim", "uploads"), "spec", claim)));
    }
    all
}

/// An object as the release has made it, with a variable and a number of pods that somebody else has set.
fn live(mut object: Value) -> Value {
    let is_backend = object["kind"] == "Deployment" && object["metadata"]["name"] == "backend";
    object["metadata"]["uid"] = json!(format!("{}-{}", object["kind"], object["metadata"]["name"]));
    object["metadata"]["resourceVersion"] = json!("7");
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
    let marks = json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "shop"});
    object["metadata"]["annotations"] = marks;
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "apiVersion": object["apiVersion"], "fieldsType": "FieldsV1", "fieldsV1": fields});
    let mark = json!({"f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}}});
    let mut entries = vec![entry("helm", mark)];
    if is_backend {
        let variable = json!({".": {}, "f:name": {}, "f:value": {}});
        let container = json!({"f:env": {"k:{\"name\":\"HOTFIX\"}": variable}});
        let containers = json!({"k:{\"name\":\"backend\"}": container});
        let spec = json!({"f:template": {"f:spec": {"f:containers": containers}}});
        entries.push(entry("kubectl-set", json!({"f:spec": spec})));
        entries.push(entry("kubectl", json!({"f:spec": {"f:replicas": {}}})));
    }
    object["metadata"]["managedFields"] = json!(entries);
    if object["kind"] == "Deployment" {
        object["metadata"]["generation"] = json!(3);
        object["status"] = json!({"observedGeneration": 3, "replicas": 2, "readyReplicas": 2});
    }
    if is_backend {
        object["spec"]["replicas"] = json!(5);
        object["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "HOTFIX", "value": "1"}]);
    }
    object
}

fn record(revision: u64, status: &str, description: &str, objects: &[(&str, Value)]) -> Value {
    let documents: Vec<String> = objects
        .iter()
        .map(|(_, object)| {
            format!("---\n# Source: shop/templates/all.yaml\n{}\n", serde_json::to_string(object).unwrap())
        })
        .collect();
    let manifest = documents.concat();
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}, "spec": {"template": {"spec": {}}},
    });
    let body = json!({
        "name": "shop", "version": revision, "namespace": "shop",
        "info": {
            "status": status, "description": description, "first_deployed": "2026-01-01T10:00:00Z",
            "last_deployed": format!("2026-01-{revision:02}T10:00:00Z"),
        },
        "chart": {"metadata": {"name": "shop", "version": format!("1.0.{revision}")}},
        "config": {"password": "hunter2"}, "manifest": manifest,
        "hooks": [{
            "name": "migrate", "kind": "Job", "path": "shop/templates/migrate.yaml", "manifest": job.to_string(),
            "events": ["pre-rollback"],
        }],
    });
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.shop.v{revision}"), "namespace": "shop", "uid": revision.to_string(),
            "resourceVersion": "1",
            "labels": {"name": "shop", "owner": "helm", "status": status, "version": revision.to_string()},
        },
        "data": {"release": STANDARD.encode(codec::encode(&body))},
    })
}

const FAILED: &str = "Upgrade \"shop\" failed: context deadline exceeded";

/// Revisions 1 (good), 2 (failed) and 3, which runs; `target` changes what revision 1 renders.
pub fn shop(target: impl Fn(&mut Vec<(&'static str, Value)>)) -> Api {
    let mut good = objects("good-1");
    target(&mut good);
    let bad = objects("bad");
    let mut all: HashMap<&'static str, Vec<Value>> = HashMap::new();
    for (plural, object) in &bad {
        all.entry(plural).or_default().push(live(object.clone()));
    }
    all.entry("secrets").or_default().extend([
        record(1, "superseded", "Install complete", &good),
        record(2, "failed", FAILED, &bad),
        record(3, "deployed", "Upgrade complete", &bad),
    ]);
    // Somebody else's, which the release only refers to.
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "backend", "namespace": "shop"}});
    all.entry("configmaps").or_default().push(settings);
    Api::start(all)
}

pub fn run_against(api: &Api, arguments: &[&str]) -> Output {
    let output = run(&mut program_against(api, arguments));
    assert!(!output.to_string().contains("hunter"), "{output}");
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new(), "{output}");
    output
}

#[track_caller]
pub fn assert_screen(name: &str, output: &Output, code: i32) {
    assert_eq!(output.code, code, "{output}");
    let mut settings = Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]");
    settings.add_filter(r"operation=[0-9a-f]+", "operation=[id]");
    settings.add_filter(r#""operation": "[0-9a-f]+""#, r#""operation": "[id]""#);
    settings.add_filter(r#""ms": \d+"#, r#""ms": [ms]"#);
    settings.add_filter(r"elapsed=[0-9.]+s", "elapsed=[seconds]");
    settings.add_filter(r"\(\d+[smhd] ago\)", "([age] ago)");
    settings.add_filter(r"/\S+/plan\.json", "plan.json");
    settings.bind(|| assert_snapshot!(name, output.to_string()));
}

#[test]
fn the_plan_of_a_rollback_is_not_carried_out_without_consent() {
    let api = shop(|_| {});
    assert_screen("to-not-confirmed", &run_against(&api, &["to", "-m", "checkout fails"]), 9);
}

#[test]
fn what_is_asked_for_is_in_the_plan() {
    let api = shop(|_| {});
    let flags =
        ["--restart", "--keep-replicas", "--no-hooks", "--allow-delete", "PersistentVolumeClaim/uploads"];
    let arguments = [&["plan", "shop", "1", "--quiet"][..], &flags].concat();
    assert_screen("plan-flags", &run_against(&api, &arguments), 0);
}

#[test]
fn a_revision_that_failed_is_refused() {
    let api = shop(|_| {});
    assert_screen("to-failed-revision", &run_against(&api, &["to", "2", "--yes", "--quiet"]), 3);
    let doubtful = ["plan", "2", "--allow-failed-revision", "--quiet"];
    assert_screen("plan-doubtful", &run_against(&api, &doubtful), 0);
    assert_screen("to-no-such-revision", &run_against(&api, &["to", "9", "--yes", "--quiet"]), 2);
    assert_screen("to-no-such-tag", &run_against(&api, &["to", "--tag", "good-9", "--yes", "--quiet"]), 3);
}

#[test]
fn a_tag_of_no_revision_is_planned_as_an_emergency() {
    let api = shop(|_| {});
    assert_screen("plan-no-such-tag", &run_against(&api, &["plan", "--tag", "good-9"]), 2);
    // With flags of a rollback it is the rollback that is meant.
    let output = run_against(&api, &["plan", "--tag", "good-9", "--keep-replicas", "--quiet"]);
    assert_eq!(output.code, 3, "{output}");
    let decided = ["plan", "--tag", "good-9", "--container", "deploy/backend", "--exclude", "deploy/worker"];
    assert_screen("plan-emergency-decided", &run_against(&api, &[&decided[..], &["--quiet"]].concat()), 0);
}

#[test]
fn what_the_server_refuses_is_known_before() {
    let api = shop(|objects| {
        let why = "Deployment.apps \"worker\" is invalid: spec.selector: field is immutable";
        objects[3].1["metadata"]["annotations"] = json!({"refused-with": why});
    });
    assert_screen("to-refused", &run_against(&api, &["to", "--yes", "--quiet"]), 3);
    let output = run_against(&api, &["diff", "--quiet"]);
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn a_revision_that_cannot_be_shown_whole_is_no_difference_but_an_error() {
    let api = shop(|objects| {
        let gone = json!({"apiVersion": "apps/v1", "kind": "Rollout", "metadata": {"name": "web"}});
        objects.push(("rollouts", gone));
    });
    assert_screen("diff-incomplete", &run_against(&api, &["diff", "--quiet"]), 3);
    let json = run_against(&api, &["diff", "-o", "json", "--quiet"]);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["exitCode"], 3, "{json}");
    assert!(document["obstacles"].to_string().contains("Rollout"), "{json}");
}

#[test]
fn after_a_rollback_there_is_nothing_to_do() {
    let mut all: HashMap<&'static str, Vec<Value>> = HashMap::new();
    all.entry("secrets").or_default().extend([
        record(1, "superseded", "Install complete", &objects("good-1")),
        record(2, "superseded", "Upgrade complete", &objects("bad")),
        record(3, "deployed", "Rollback to 1", &objects("good-1")),
    ]);
    assert_screen("to-nothing", &run_against(&Api::start(all), &["to", "--yes", "--quiet"]), 0);
}

#[test]
fn differences_are_shown_line_by_line_and_secrets_not_at_all() {
    let api = shop(|_| {});
    assert_screen("diff", &run_against(&api, &["diff", "-C", "1"]), 1);
    let json = run_against(&api, &["diff", "-o", "json"]);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&document["kind"], &document["exitCode"]), (&json!("Diff"), &json!(1)), "{json}");
    let configuration = "GET /api/v1/namespaces/shop/configmaps/kubectl-rollback";
    let has_asked = || api.seen.requests.lock().unwrap().iter().any(|request| request == configuration);
    assert!(!has_asked(), "nothing of the configuration changes what is different");
    run_against(&api, &["plan"]);
    assert!(has_asked(), "a plan may be about a database");
    let same = run_against(&api, &["diff", "3"]);
    assert_eq!(same.code, 1, "somebody scaled, which the revision undoes: {same}");
}

#[test]
fn a_plan_is_saved_with_the_command_that_carries_it_out() {
    let api = shop(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json").display().to_string();
    assert_screen("plan-saved", &run_against(&api, &["plan", "--save", &file, "--quiet"]), 0);
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(plan["plan"]["targetRevision"], 1, "{plan}");
    assert!(!plan.to_string().contains("nginx"), "a plan holds no contents: {plan}");
    let output = run_against(&api, &["to", "--plan", &file, "--quiet"]);
    assert_eq!(output.code, 9, "{output}");
}
