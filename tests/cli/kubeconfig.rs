//! Kubeconfigs that are wrong in one way each: a clear error, the next command, nothing touched, nothing secret shown.

use std::fs;

use insta::{Settings, assert_snapshot};
use serde_json::{Value, json};

use crate::{program, run};

/// A token, as it may stand in a file or be printed by a plugin.
const CANARY: &str = "canary-4711";

fn good() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "clusters": [{"name": "prod", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "oncall", "user": {"token": CANARY}}],
        "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "oncall"}}],
    })
}

fn with(change: impl Fn(&mut Value)) -> String {
    let mut config = good();
    change(&mut config);
    config.to_string()
}

fn plugin(script: &str) -> String {
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script], "interactiveMode": "Never",
    }});
    with(|config| config["users"][0]["user"] = user.clone())
}

fn server(address: &str) -> String {
    with(|config| config["clusters"][0]["cluster"]["server"] = json!(address))
}

#[test]
fn each_is_told_apart_and_nothing_is_touched() {
    let context = json!({"name": "prod", "context": {"cluster": "prod", "user": "oncall"}});
    let missing = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "interactiveMode": "Never"}});
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("not YAML", format!("users: [{{token: {CANARY}"), &[]),
        ("a list", format!("- {CANARY}\n"), &[]),
        ("empty", String::new(), &[]),
        ("two contexts of one name", with(|config| config["contexts"] = json!([context, context])), &[]),
        ("no current context", with(|config| config["current-context"] = json!("")), &[]),
        ("an unknown current context", with(|config| config["current-context"] = json!("gone")), &[]),
        ("an unknown --context", with(|_| {}), &["--context", "staging"]),
        ("an unknown --cluster", with(|_| {}), &["--cluster", "staging"]),
        ("an unknown --user", with(|_| {}), &["--user", "somebody"]),
        ("a context without its cluster", with(|config| config["clusters"] = json!([])), &[]),
        ("a context without its user", with(|config| config["users"] = json!([])), &[]),
        ("a server that is no URL", server("not a URL"), &[]),
        ("a server without a scheme", server("api.example.com"), &[]),
        ("a server that speaks FTP", server("ftp://api.example.com"), &[]),
        ("no server", with(|config| config["clusters"][0]["cluster"] = json!({})), &[]),
        ("a --server that is no URL", with(|_| {}), &["--server", "a b"]),
        ("a plugin that fails", plugin(&format!("echo {CANARY}; echo 'please log in' >&2; exit 3")), &[]),
        ("a plugin that prints rubbish", plugin(&format!("echo {CANARY}")), &[]),
        (
            "a plugin that prints no status",
            plugin("echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\"}'"),
            &[],
        ),
        ("a plugin that is not installed", with(|config| config["users"][0]["user"] = missing.clone()), &[]),
        (
            "a token file that is not there",
            with(|config| config["users"][0]["user"] = json!({"tokenFile": "/nonexistent/token"})),
            &[],
        ),
        (
            "a certificate authority that is not there",
            with(|config| {
                config["clusters"][0]["cluster"]["certificate-authority"] = json!("/nonexistent/ca.crt");
            }),
            &[],
        ),
        ("a server that nobody reaches", with(|_| {}), &[]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    for (what, text, flags) in &cases {
        let path = folder.path().join("kubeconfig");
        fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        for command in [&["emergency", "shop", "--tag", "a", "--yes"][..], &["preflight", "shop", "1"]] {
            let arguments = [command, &["--quiet", "--kubeconfig", &path], flags].concat();
            let output = run(program(arguments).env("PATH", "/usr/bin:/bin").env("NO_PROXY", "*"));
            assert!(matches!(output.code, 1 | 2) && output.stdout.is_empty(), "{what}: {output}");
            assert!(
                output.stderr.starts_with("error: ") && output.stderr.contains("next: "),
                "{what}: {output}"
            );
            for word in ["panicked", CANARY, "Output {"] {
                assert!(!output.stderr.contains(word), "{what}: {word}: {output}");
            }
            if command[0] == "emergency" {
                said.push(format!("# {what}: exit code {}\n{}", output.code, output.stderr));
            }
        }
    }
    let output = run(&mut program(["status", "--kubeconfig", "/nonexistent/kubeconfig"]));
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
    said.push(format!("# a file that is not there: exit code 1\n{}", output.stderr));
    let mut settings = Settings::clone_current();
    settings.add_filter(&regex_of(&folder.path().display().to_string()), "FOLDER");
    settings.bind(|| assert_snapshot!("kubeconfigs", said.join("\n")));
}

/// A path as a regular expression.
fn regex_of(path: &str) -> String {
    path.replace('.', r"\.")
}
