//! Checks after a rollback on real containers: the four of the runbook (health of the backend, the frontend's page, a
//! command in a pod, a Redis that answers), ports, and Prometheus.

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::begin;
use crate::harness::{Helm, Release, Run, Test, all_tags, broken_tags, deployment};

fn config(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

/// Status and message of a result by its subject.
fn result(run: &Run, subject: &str) -> (String, String) {
    let document = run.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = document["verify"].as_array().unwrap().clone();
    let found = all.iter().find(|result| result["subject"] == subject);
    let found = found.unwrap_or_else(|| panic!("no {subject}: {run}"));
    (text(&found["status"]), text(&found["message"]))
}

/// Something that speaks like a Redis on 6379 and like a Prometheus on 8000.
#[track_caller]
fn start_stand_in(test: &Test) {
    let script = r#"
printf '#!/bin/sh\nread a; read a; read a; printf "+PONG\\r\\n"; sleep 1\n' > /tmp/redis
chmod +x /tmp/redis
nc -ll -p 6379 -e /tmp/redis &
mkdir -p /tmp/www/api/v1
echo ok > /tmp/www/health
printf '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}' > /tmp/www/api/v1/query
exec httpd -f -p 8000 -h /tmp/www
"#;
    let mut object = deployment("stand-in", 1, "ghcr.io/acme/web:good-1");
    object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", script]);
    test.cluster.create_ready(&[object]);
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8000}, {"name": "redis", "port": 6379}]);
    test.cluster.create(
        "services",
        &json!({"metadata": {"name": "stand-in"}, "spec": {"selector": {"app.kubernetes.io/name": "stand-in"}, "ports": ports}}),
    );
}

const CHECKS: &str = r#"
verify:
  checks:
    - name: backend health
      http: {service: todo-backend, path: /health, json: {/status: ok, /version: good-1}}
    - name: frontend
      http: {service: todo-frontend, path: /}
    - name: database
      exec: {workload: deploy/todo-backend, command: [sh, -c, "echo connected"], stdoutContains: connected}
    - name: redis
      redis: {service: stand-in, port: redis}
    - name: port
      tcp: {service: stand-in, port: redis}
    - name: error rate
      prometheus: {service: stand-in, query: "sum(rate(errors[1m]))", max: 0.5, maxFactor: 1}
    - name: logs
      logs: {workloads: [deploy/todo-backend], patterns: [Traceback]}
"#;

#[test]
fn the_checks_of_the_runbook_pass_on_real_containers() {
    let Some(test) = begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    start_stand_in(&test);
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    let (_file, path) = config(CHECKS);
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "--config", &path, "-o", "json"]).expect(0);
    for subject in ["backend health", "frontend", "database", "redis", "port", "error rate", "logs"] {
        assert_eq!(result(&run, subject).0, "pass", "{subject}\n{run}");
    }
    // Without configuration the declared paths are asked, and here they answer.
    let paths = run.json()["verify"].as_array().unwrap().clone();
    let paths: Vec<&Value> =
        paths.iter().filter(|result| result["check"] == "http" && result["subject"] != "frontend").collect();
    assert!(paths.len() >= 6, "{run}");
    assert!(paths.iter().all(|path| path["status"] == "pass"), "{run}");

    // And each can fail.
    let broken = CHECKS
        .replace("/version: good-1", "/version: good-2")
        .replace("path: /}", "path: /gone}")
        .replace("echo connected", "echo refused >&2; exit 3")
        .replace("redis: {service: stand-in, port: redis}", "redis: {service: stand-in, port: http}")
        .replace("tcp: {service: stand-in, port: redis}", "tcp: {service: closed}")
        .replace("max: 0.5", "max: 0.4")
        .replace("Traceback", "listening")
        .replace("      http:", "      retries: 0\n      http:");
    test.cluster.create(
        "services",
        &json!({"metadata": {"name": "closed"}, "spec": {"selector": {"app.kubernetes.io/name": "stand-in"}, "ports": [{"port": 81}]}}),
    );
    let (_file, path) = config(&broken);
    let run = test.run(&["verify", "--since", "1h", "--config", &path, "-o", "json"]).expect(6);
    for (subject, said) in [
        ("backend health", "/version is \"good-1\""),
        ("frontend", "answers 404"),
        ("database", "exit code 3 in pod"),
        ("redis", "answers PING with HTTP/1"),
        ("port", "nobody listens"),
        ("error rate", "at most 0.4"),
        ("logs", "error line"),
    ] {
        let (status, message) = result(&run, subject);
        assert_eq!(status, "fail", "{subject}\n{run}");
        assert!(message.contains(said), "{subject}: {message}");
    }
}
