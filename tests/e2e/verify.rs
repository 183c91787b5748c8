//! Checks after a rollback, where pods are only simulated: no request reaches them, and that alone is no failure.

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::{Helm, Release, Run, Test, deployment};

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

fn config(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

/// The results of one check by subject: status and message.
fn results(run: &Run, check: &str) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let result = run.json();
    let all = result["verify"].as_array().unwrap().iter().filter(|result| result["check"] == check);
    all.map(|result| (text(&result["subject"]), text(&result["status"]), text(&result["message"]))).collect()
}

fn service(name: &str, app: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"selector": {"app.kubernetes.io/name": app}, "ports": [{"port": 80, "targetPort": 8000}]}})
}

#[test]
fn a_rollback_is_checked_and_what_cannot_be_asked_is_no_failure() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    test.cluster.create("services", &service("web", "web"));

    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let readiness = results(&run, "readiness");
    assert_eq!(readiness.len(), 3, "{run}");
    assert!(readiness.iter().all(|(_, status, _)| status == "pass"), "{run}");
    assert_eq!(results(&run, "endpoints")[0].0, "Service/web", "{run}");
    assert_eq!(results(&run, "endpoints")[0].1, "pass", "{run}");
    let paths = results(&run, "http");
    assert_eq!(paths[0].0, "Service/web:80/health", "{run}");
    assert!(paths.iter().all(|(_, status, _)| matches!(status.as_str(), "unknown" | "warn")), "{run}");
    let result = run.json();
    let phases = result["timings"]["phases"].as_array().unwrap();
    assert_eq!(phases.last().unwrap()["name"], "verify", "{run}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("team.yaml").display().to_string();
    let init = test.run(&["config", "init", "--config", &path]).expect(0);
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.contains("http: {service: web, port: 80, path: /health}"), "{written}\n{init}");
    test.run(&["config", "validate", "--config", &path]).expect(0);
    std::fs::write(&path, "contacts: []\n").unwrap();
    test.run(&["config", "init", "--config", &path]).expect(2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "contacts: []\n");
    test.run(&["config", "init", "--config", &path, "--force"]).expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);

    let run = test.run(&["to", "2", "--yes", "-o", "json"]).expect(0);
    assert_eq!(results(&run, "readiness").len(), 3, "{run}");
    let run = test.run(&["to", "1", "--no-verify", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["verify"], json!([]), "{run}");
}

#[test]
fn a_failed_check_ends_with_6_and_leaves_the_record_true() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    // No command can be run in a pod that is not real.
    let (_file, path) = config(
        "verify: {checks: [{name: database, retries: 0, exec: {workload: deploy/web, command: ['true']}}]}",
    );
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "--config", &path, "-o", "json"]).expect(6);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["stopped"]), (&json!("VerificationFailed"), &json!([])), "{run}");
    assert_eq!(results(&run, "exec")[0].1, "fail", "{run}");
    assert!(result["error"].as_str().unwrap().contains("database"), "{run}");
    assert!(result["next"].to_string().contains("kubectl rollback verify shop"), "{run}");
    release.assert_record(3, &values("good-1"));

    let run = test.run(&["to", "2", "--yes", "--config", &path, "-o", "jsonl"]).expect(6);
    assert_eq!(release.newest(), (4, "deployed".to_owned()), "{run}");
    let events = run.events();
    let failed = |event: &&Value| event["type"] == "Verify" && event["status"] == "fail";
    assert_eq!(events.iter().filter(failed).count(), 1, "{run}");
    assert_eq!(events.last().unwrap()["outcome"], "VerificationFailed", "{run}");

    let (_file, path) = config(
        "verify: {checks: [{name: no errors, logs: {}}, {name: none, logs: {patterns: ['listening on'], ignore: ['0\\.0\\.0\\.0']}}]}",
    );
    // What simulated pods say when they start is from the beginning of that year.
    let run =
        test.run(&["verify", "--since", "2020-01-01T00:00:00Z", "--config", &path, "-o", "json"]).expect(0);
    assert!(results(&run, "logs").iter().all(|(_, status, _)| status == "pass"), "{run}");
    let (_file, path) = config(
        "verify: {defaults: false, checks: [{name: quiet, retries: 0, logs: {patterns: ['listening on']}}]}",
    );
    let since = ["verify", "--since", "2020-01-01T00:00:00Z", "--config", &path, "-o", "json"];
    let run = test.run(&since).expect(6);
    assert!(results(&run, "logs")[0].2.contains("listening on 0.0.0.0"), "{run}");
}

#[test]
fn verify_says_what_is_not_well() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-1")]);
    cluster.create("services", &service("web", "web"));
    let run = test.run(&["verify", "deploy/web"]).expect(0);
    assert!(run.stdout.contains("2 of 2 ready") && run.stdout.contains("2 ready endpoints"), "{run}");

    // A command cannot be run in a pod that is not real: where the configuration asks for it, that is a failure.
    let (_file, path) = config(
        "verify: {defaults: false, checks: [{name: database, retries: 0, exec: {workload: deploy/web, command: ['true']}}, {name: port, retries: 0, tcp: {service: web}}, {name: gone, retries: 0, redis: {service: redis}}]}",
    );
    let run = test.run(&["verify", "deploy/web", "--config", &path, "-o", "json"]).expect(6);
    for check in ["exec", "tcp", "redis"] {
        assert_eq!(results(&run, check)[0].1, "fail", "{run}");
    }
    assert!(results(&run, "redis")[0].2.contains("Service redis"), "{run}");
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");

    cluster.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:crash"]);
    let run = test.run(&["verify", "deploy/web", "-o", "json"]).expect(6);
    assert_eq!(results(&run, "readiness")[0].1, "fail", "{run}");
    assert_eq!(run.json()["outcome"], "VerificationFailed", "{run}");
}
