//! The table of `preflight`, its result, and the role that it prints.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::rollback::{assert_screen, run_against, shop};

#[test]
fn what_is_in_order_is_told_with_the_next_command() {
    let api = shop(|_| {});
    assert_screen("preflight-passes", &run_against(&api, &["preflight", "shop", "1"]), 0);
}

#[test]
fn what_fails_stands_last_with_a_hint() {
    let api = shop(|objects| {
        let container = &mut objects[2].1["spec"]["template"]["spec"]["containers"][0];
        container["env"] = json!([
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "backend", "key": "USER"}}},
        ]);
        objects[3].1["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    });
    assert_screen("preflight-fails", &run_against(&api, &["preflight", "shop", "1"]), 3);
    let output = run_against(&api, &["preflight", "shop", "1", "-o", "json"]);
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (&result["kind"], &result["procedure"], &result["outcome"], &result["exitCode"]),
        (&json!("Result"), &json!("preflight"), &json!("Refused"), &json!(3)),
        "{output}"
    );
    let findings = result["preflight"].as_array().unwrap();
    let failed: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["status"] == "fail")
        .map(|finding| &finding["subject"])
        .collect();
    assert_eq!(failed, ["Secret/backend", "Secret/database"], "{output}");
}

#[test]
fn an_emergency_is_checked_where_images_are_named() {
    let api = shop(|_| {});
    let arguments = ["preflight", "shop", "--image", "ghcr.io/acme/backend=good-1"];
    assert_screen("preflight-emergency", &run_against(&api, &arguments), 0);
}

#[test]
fn the_role_is_yaml_that_can_be_applied() {
    let api = shop(|_| {});
    let arguments = ["preflight", "shop", "--image", "ghcr.io/acme/backend=good-1", "--print-role"];
    let output = run_against(&api, &[&arguments[..], &["--service-account", "ci/runner"]].concat());
    assert_eq!(output.code, 0, "{output}");
    assert_snapshot!("preflight-role", output.stdout);
    let names = run_against(&api, &[&arguments[..], &["-o", "json"]].concat());
    let list: Value = serde_json::from_str(&names.stdout).unwrap();
    assert_eq!(list["kind"], "List", "{names}");
}

#[test]
fn what_is_no_target_is_a_usage_error() {
    let api = shop(|_| {});
    for arguments in
        [&["preflight", "shop", "one"][..], &["preflight", "a", "1", "2"], &["preflight", "Shop"]]
    {
        let output = run_against(&api, arguments);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
    }
}
