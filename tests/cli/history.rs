//! The screens of `history` and `list`, of records that are as Helm writes them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::{Settings, assert_snapshot};
use kubectl_rollback::helm::codec;
use serde_json::{Value, json};

use crate::api::{Api, service};
use crate::{Output, program_against, run};

/// What was deployed: the tag of the three services, and the description.
struct Deploy<'a> {
    status: &'a str,
    description: &'a str,
    /// Tags of backend, worker and redis.
    tags: [&'a str; 3],
}

const fn deploy<'a>(status: &'a str, description: &'a str, tags: [&'a str; 3]) -> Deploy<'a> {
    Deploy { status, description, tags }
}

fn secret(release: &str, revision: u64, status: &str, payload: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{release}.v{revision}"), "namespace": "shop",
            "uid": format!("{release}-{revision}"), "resourceVersion": "1",
            "labels": {"name": release, "owner": "helm", "status": status, "version": revision.to_string()},
        },
        "data": {"release": STANDARD.encode(payload)},
    })
}

fn record(release: &str, revision: u64, deploy: &Deploy) -> Value {
    let manifest: Vec<String> = ["backend", "worker", "redis"]
        .iter()
        .zip(deploy.tags)
        .map(|(name, tag)| {
            format!(
                "---\n# Source: shop/templates/{name}.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  \
                 template:\n    spec:\n      containers:\n        - name: {name}\n          image: ghcr.io/acme/{name}:{tag}\n"
            )
        })
        .collect();
    let body = json!({
        "name": release, "version": revision, "namespace": "shop",
        "info": {
            "status": deploy.status, "description": deploy.description, "first_deployed": "2026-01-01T10:00:00Z",
            "last_deployed": format!("2026-01-{revision:02}T10:00:00.5+01:00"), "notes": "the password is hunter2",
        },
        "chart": {"metadata": {"name": "shop", "version": format!("1.0.{revision}"), "appVersion": deploy.tags[0]}},
        "config": {"password": "hunter2"}, "manifest": manifest.concat(),
    });
    secret(release, revision, deploy.status, &codec::encode(&body))
}

fn api(releases: &[(&str, &[Deploy])]) -> Api {
    let mut objects: HashMap<&'static str, Vec<Value>> = HashMap::new();
    service("backend", &mut objects);
    let secrets = objects.entry("secrets").or_default();
    for (release, deploys) in releases {
        secrets.extend((1..).zip(*deploys).map(|(revision, deploy)| record(release, revision, deploy)));
    }
    Api::start(objects)
}

fn run_against(api: &Api, arguments: &[&str]) -> Output {
    let output = run(&mut program_against(api, arguments));
    assert!(!output.to_string().contains("hunter2"), "{output}");
    output
}

#[track_caller]
fn assert_screen(name: &str, output: &Output, code: i32) {
    assert_eq!(output.code, code, "{output}");
    let mut settings = Settings::clone_current();
    // Ages grow from day to day, and the columns with them.
    settings.add_filter(r"(\d{4}-\d\d-\d\d \d\d:\d\dZ) \(\d+[smhd]\) *", "$1 (age)  ");
    settings.add_filter(r"(DEPLOYED|UPDATED) +", "$1  ");
    settings.add_filter(r"  - {10,}", "  -  ");
    settings.bind(|| assert_snapshot!(name, output.to_string()));
}

const HISTORY: [Deploy; 7] = [
    deploy("superseded", "Install complete", ["good-1", "good-1", "7.2.4"]),
    deploy("superseded", "Upgrade complete", ["bad", "bad", "7.2.4"]),
    deploy("superseded", "Rollback to 1: checkout 500s", ["good-1", "good-1", "7.2.4"]),
    deploy(
        "superseded",
        "Upgrade \"shop\" failed: timed out waiting for the condition",
        ["good-1", "slow", "7.2.4"],
    ),
    deploy(
        "failed",
        "Upgrade \"shop\" failed: 1 error occurred:\n\t* Deployment \"backend\" is invalid: spec.selector: field is immutable",
        ["good-2", "good-2", "7.4"],
    ),
    deploy("failed", "Upgrade \"shop\" failed: backend is not ready", ["good-3", "good-1", "7.2.4"]),
    deploy("deployed", "Upgrade complete", ["good-4", "good-4", "7.2.4"]),
];

#[test]
fn what_was_good_and_what_was_not() {
    let api = api(&[("shop", &HISTORY)]);
    assert_screen("history", &run_against(&api, &["history"]), 0);
    assert_screen("history-wide", &run_against(&api, &["history", "shop", "-o", "wide", "--max", "2"]), 0);
    assert_screen("history-name", &run_against(&api, &["history", "-o", "name"]), 0);
    assert_screen("history-yaml", &run_against(&api, &["history", "-o", "yaml", "--max", "1"]), 0);
}

#[test]
fn after_a_rollback_there_is_nothing_to_do() {
    let [first, second, ..] = HISTORY;
    let rolled_back = deploy("deployed", HISTORY[2].description, HISTORY[2].tags);
    let api = api(&[("shop", &[first, second, rolled_back])]);
    assert_screen("history-rolled-back", &run_against(&api, &["history"]), 0);
}

#[test]
fn when_everything_failed_no_target_is_invented() {
    let api = api(&[("shop", &HISTORY[4..6])]);
    assert_screen("history-failed", &run_against(&api, &["history"]), 0);
}

#[test]
fn a_record_that_cannot_be_read_is_shown_with_the_reason() {
    let with = |secrets: Vec<Value>| Api::start(HashMap::from([("secrets", secrets)]));
    let garbage = secret("shop", 2, "superseded", "bm90IGEgcmVsZWFzZQ==");
    let api = with(vec![record("shop", 1, &HISTORY[0]), garbage, record("shop", 3, &HISTORY[6])]);
    assert_screen("history-unreadable", &run_against(&api, &["history", "shop"]), 0);
    let torn = secret("torn", 1, "deployed", "not base64 at all!");
    let api = with(vec![record("shop", 1, &HISTORY[0]), torn]);
    assert_screen("list-unreadable", &run_against(&api, &["list"]), 0);
    assert_screen("list-unreadable-json", &run_against(&api, &["list", "-o", "json"]), 0);
}

#[test]
fn workloads_without_a_release_have_a_past_too() {
    let api = api(&[]);
    assert_screen("history-workload", &run_against(&api, &["history", "deploy/backend"]), 0);
    assert_screen(
        "history-workload-json",
        &run_against(&api, &["history", "-l", "team=shop", "-o", "json"]),
        0,
    );
}

#[test]
fn releases_are_listed() {
    let api = api(&[("shop", &HISTORY), ("cart", &HISTORY[..6])]);
    assert_screen("list", &run_against(&api, &["list"]), 0);
    assert_screen("list-wide-flags", &run_against(&api, &["list", "-r", "--no-headers", "--max", "1"]), 0);
    assert_screen("list-json", &run_against(&api, &["list", "--deployed", "-o", "json"]), 0);
    for arguments in [&["list", "-q"][..], &["list", "--short"], &["ls", "--short"]] {
        assert_eq!(run_against(&api, arguments).stdout, "cart\nshop\n");
    }
    let names = run_against(&api, &["list", "-q", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&names.stdout).unwrap(), json!(["cart", "shop"]), "{names}");
    assert_screen("list-nothing", &run_against(&api, &["list", "--filter", "^nothing$"]), 0);
}

#[test]
fn several_releases_and_nobody_to_ask_are_refused_with_the_list() {
    let api = api(&[("shop", &HISTORY), ("cart", &HISTORY[..6])]);
    for arguments in [&["history"][..], &["status"], &["reconcile", "--quiet"]] {
        let output = run_against(&api, arguments);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
        assert!(output.stderr.contains("several releases: cart, shop; name one"), "{output}");
    }
}

#[test]
fn no_record_of_the_release_is_a_usage_error() {
    let api = api(&[]);
    assert_screen("history-no-release", &run_against(&api, &["history", "cart"]), 2);
}

#[test]
fn a_stuck_record_has_an_age_and_a_writer() {
    let mut stuck = record("shop", 8, &deploy("pending-upgrade", "Preparing upgrade", HISTORY[6].tags));
    stuck["metadata"]["labels"]["createdAt"] = json!("1767258000");
    stuck["metadata"]["managedFields"] = json!([
        {"manager": "helm", "operation": "Update", "time": "2026-01-01T09:00:00Z"},
        {"manager": "terraform-provider-helm", "operation": "Update", "time": "2026-01-01T09:00:01Z"},
    ]);
    let mut objects: HashMap<&'static str, Vec<Value>> = HashMap::new();
    service("backend", &mut objects);
    objects.entry("secrets").or_default().extend([record("shop", 7, &HISTORY[6]), stuck]);
    let api = Api::start(objects);
    let output = run_against(&api, &["status"]);
    assert_eq!(output.code, 0, "{output}");
    let line = output.stdout.lines().find(|line| line.contains("pending-upgrade since")).unwrap_or_default();
    assert!(line.contains("revision 8 is pending-upgrade since 2026-01-01T09:00:00Z ("), "{output}");
    assert!(line.contains("last written by terraform-provider-helm"), "{output}");
    assert!(line.contains("kubectl rollback repair shop -n shop"), "{output}");
}
