//! Checks after a rollback against the real programs: PostgreSQL, Redis, Prometheus and an application in Python. Each
//! passes, and each fails in the words of what it met.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::begin;
use crate::harness::{Cluster, Helm, Test, wait_for};
use crate::sql_platform::{REVISION_OF_V1, REVISION_OF_V2, REVISION_OF_V2_HALF, SqlPlatform};

/// The four tests of the runbook and what else can be asked.
const CHECKS: [(&str, &str); 9] = [
    (
        "backend health",
        "http: {service: todo-backend-service, path: /health, json: {/status: healthy, /service: hackathon-todo-api}}",
    ),
    ("frontend", "http: {service: todo-frontend-service, path: /, bodyContains: <title>Todos}"),
    ("todos", "http: {service: todo-backend-service, path: /todos, json: {/0/title: water the plants}}"),
    (
        "database",
        r#"exec: {workload: deploy/todo-backend, command: [python, -c, "from sqlalchemy import text; from app.db import engine; engine.connect().execute(text('SELECT 1'))"]}"#,
    ),
    (
        "driver",
        r#"exec: {workload: deploy/todo-backend, command: [python3, -c, "import os, psycopg2; psycopg2.connect(os.environ['DATABASE_URL']).cursor().execute('SELECT 1'); print('connected')"], stdoutContains: connected}"#,
    ),
    ("redis", "redis: {service: redis-service}"),
    (
        "redis from the backend",
        r#"exec: {workload: deploy/todo-backend, command: [python, -c, "import redis; r=redis.Redis(host='redis-service'); print(r.ping())"], stdoutContains: "True"}"#,
    ),
    (
        "error rate",
        r#"prometheus: {service: prometheus, query: 'sum(rate(http_requests_total{code=~"5.."}[10s]))', max: 0.05}"#,
    ),
    (
        "latency",
        "prometheus: {service: prometheus, query: 'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[10s])))', max: 2}",
    ),
];

const NOBODY: &str = "the API server cannot deliver the request: no endpoints available for service";

/// Runs `verify` with these checks alone, each tried once, and answers the messages of those that failed.
#[track_caller]
fn failures(test: &Test, checks: &[(&str, &str)], more: &[&str]) -> BTreeMap<String, String> {
    let run = verify(test, checks, "retries: 0", "defaults: false", more);
    run.into_iter()
        .filter(|(_, (status, _))| status == "fail")
        .map(|(name, (_, said))| (name, said))
        .collect()
}

/// A configuration with these checks, and its path.
fn config(checks: &[(&str, &str)], tries: &str, defaults: &str) -> (NamedTempFile, String) {
    let mut text = format!("verify:\n  {defaults}\n  checks:\n");
    for (name, check) in checks {
        write!(text, "    - name: {name}\n      {tries}\n      {check}\n").unwrap();
    }
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

/// Runs `verify` and answers status and message by subject; the exit code must follow from them.
#[track_caller]
fn verify(
    test: &Test,
    checks: &[(&str, &str)],
    tries: &str,
    defaults: &str,
    more: &[&str],
) -> BTreeMap<String, (String, String)> {
    let (_file, path) = config(checks, tries, defaults);
    let arguments: Vec<&str> =
        ["verify", "--config", &path, "-o", "json"].iter().chain(more).copied().collect();
    let run = test.run(&arguments);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let results = run.json()["verify"].as_array().unwrap_or_else(|| panic!("no results: {run}")).clone();
    let results: BTreeMap<_, _> = results
        .iter()
        .map(|result| (word(&result["subject"]), (word(&result["status"]), word(&result["message"]))))
        .collect();
    let has_failed = results.values().any(|(status, _)| status == "fail");
    let run = run.expect(if has_failed { 6 } else { 0 });
    for (name, _) in checks {
        assert!(results.contains_key(*name), "no result of {name}: {run}");
    }
    // The address of the database, with its password, is in the pods' environment only.
    assert!(!run.stdout.contains("correct-horse") && !run.stderr.contains("correct-horse"), "{run}");
    results
}

/// Demands that exactly these checks fail, each with a text that holds this.
#[track_caller]
fn assert_failures(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let mut wanted: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "{found:#?}");
    for (name, said) in expected {
        assert!(found[*name].contains(said), "{name}: {:?} does not say {said:?}", found[*name]);
    }
}

fn scale(cluster: &Cluster, name: &str, replicas: u32) {
    cluster.kubectl(&["scale", &format!("deploy/{name}"), &format!("--replicas={replicas}")]);
    cluster.kubectl(&["rollout", "status", &format!("deploy/{name}"), "--timeout=60s"]);
    wait_for(&format!("{replicas} pods of {name}"), Duration::from_secs(60), || {
        (u32::try_from(cluster.pods_of(name).len()) == Ok(replicas)).then_some(())
    });
}

/// Asks a Service as `verify` does; errors of the application are what may be wanted.
fn ask(cluster: &Cluster, service: &str, path: &str) -> Option<Value> {
    let path = format!("/api/v1/namespaces/{}/services/http:{service}/proxy{path}", cluster.namespace);
    cluster.send(Method::GET, &path, "application/json", &Value::Null).ok()
}

#[test]
fn the_tests_of_the_runbook_pass_on_real_services_and_name_what_is_down() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);

    let results = verify(&test, &CHECKS, "retries: 5", "defaults: true", &[]);
    let bad: Vec<_> = results.iter().filter(|(_, (status, _))| status != "pass").collect();
    assert!(bad.is_empty(), "{bad:#?}");
    // Five workloads, five Services, two declared paths, and the checks above.
    assert_eq!(results.len(), 12 + CHECKS.len(), "{results:#?}");
    assert!(results["redis"].1.starts_with("PONG from pod todo-redis-"), "{results:#?}");

    assert_wrong_answers_are_told(&test);

    // Nobody behind a Service.
    let selector = |app: &str| json!({"spec": {"selector": {"app.kubernetes.io/name": app}}});
    cluster.patch("services", "todo-frontend-service", "hand", &selector("todo-frontend"));
    let found = wait_for("a Service without endpoints", Duration::from_secs(20), || {
        let found = failures(&test, &CHECKS[..2], &[]);
        (!found.is_empty()).then_some(found)
    });
    assert_failures(&found, &[("frontend", NOBODY)]);
    cluster.patch("services", "todo-frontend-service", "hand", &selector("todo-backend"));

    // Redis down. Then the database, which the consumer does not survive.
    scale(cluster, "todo-redis", 0);
    let found = failures(&test, &CHECKS[..7], &[]);
    assert_failures(
        &found,
        &[
            ("redis", "there is no ready pod behind Service redis-service"),
            ("redis from the backend", "Connection refused"),
        ],
    );
    scale(cluster, "todo-redis", 1);
    scale(cluster, "todo-postgres", 0);
    let found = failures(&test, &CHECKS[..7], &[]);
    let refused = r#"connection to server at "todo-postgres""#;
    assert_failures(&found, &[("database", refused), ("driver", refused), ("todos", "answers 500")]);
    assert!(found["database"].contains("port 5432 failed: Connection refused"), "{found:#?}");
    assert!(found["driver"].contains("port 5432 failed: Connection refused"), "{found:#?}");

    // Nobody to run a command in.
    scale(cluster, "todo-backend", 0);
    let found = failures(&test, &CHECKS[..4], &[]);
    assert!(found["database"].contains("deploy/todo-backend has no ready pod to run it in"), "{found:#?}");
    assert!(found["backend health"].contains(NOBODY), "{found:#?}");

    // Who tries again meets the pods that have come since. The database's data went with its pod.
    scale(cluster, "todo-postgres", 1);
    let (succeeded, said) = platform.alembic("v1", &["upgrade", "head"]);
    assert!(succeeded, "{said}");
    cluster.kubectl(&["scale", "deploy/todo-backend", "--replicas=1"]);
    let results = verify(&test, &CHECKS[..6], "retries: 20\n      pause: 1s", "defaults: false", &[]);
    assert!(results.values().all(|(status, _)| status == "pass"), "{results:#?}");

    assert_passwords_are_used(&test);
}

/// Answers that are not as wanted, while everything is well.
#[track_caller]
fn assert_wrong_answers_are_told(test: &Test) {
    let wrong = [
        ("body", "http: {service: todo-backend-service, path: /health, json: {/version: v9}}"),
        ("page", "http: {service: todo-frontend-service, path: /, bodyContains: Basket}"),
        ("error", "http: {service: todo-backend-service, path: /fail}"),
        ("missing", "http: {service: todo-backend-service, path: /gone}"),
        (
            "table",
            r#"exec: {workload: deploy/todo-backend, command: [python, -c, "from sqlalchemy import text; from app.db import engine; engine.connect().execute(text('SELECT 1 FROM gone'))"]}"#,
        ),
        ("program", "exec: {workload: deploy/todo-backend, command: [redis-shell]}"),
        ("no redis", "redis: {service: todo-postgres}"),
        ("port", "http: {service: todo-backend-service, port: 81, path: /}"),
    ];
    assert_failures(
        &failures(test, &wrong, &[]),
        &[
            ("body", r#"/version is "v1" instead of "v9""#),
            ("page", r#""Basket" is not in the answer: <!doctype html>"#),
            ("error", "answers 500 instead of 200 to 299"),
            ("missing", "answers 404 instead of 200 to 299: no such page"),
            ("table", r#"psycopg2.errors.UndefinedTable) relation "gone" does not exist"#),
            ("program", r#"exec: "redis-shell": executable file not found in $PATH"#),
            ("no redis", "the connection is closed instead of an answer to PING"),
            ("port", "the API server cannot deliver the request: no service port 81 found"),
        ],
    );
}

/// A Redis that wants a password.
#[track_caller]
fn assert_passwords_are_used(test: &Test) {
    let cluster = &test.cluster;
    for (name, password) in [("right", "opensesame"), ("wrong", "guess")] {
        let secret = json!({"metadata": {"name": name}, "stringData": {"password": password}});
        cluster.create("secrets", &secret);
    }
    let container = json!({"name": "redis", "args": ["--requirepass", "opensesame"]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
    cluster.kubectl(&["patch", "deploy/todo-redis", "--type=strategic", "--patch", &patch]);
    scale(cluster, "todo-redis", 1);
    let checks = [
        ("none", "redis: {service: redis-service}"),
        ("wrong", "redis: {service: redis-service, password: {secret: {name: wrong, key: password}}}"),
        ("right", "redis: {service: redis-service, password: {secret: {name: right, key: password}}}"),
    ];
    let expected = [
        ("none", "Redis wants a password; give one"),
        ("wrong", "Redis does not take the password: -WRONGPASS"),
    ];
    assert_failures(&failures(test, &checks, &[]), &expected);
}

#[test]
fn prometheus_tells_of_errors_while_they_happen_and_of_what_was_before() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let _platform = SqlPlatform::install(&test);
    let rate = r#"sum(rate(http_requests_total{code=~"5.."}[5s]))"#;
    wait_for("eight seconds of history", Duration::from_secs(60), || {
        let answer =
            ask(cluster, "prometheus:9090", "/api/v1/query?query=http_requests_total%20offset%208s")?;
        (!answer["data"]["result"].as_array()?.is_empty()).then_some(())
    });

    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        assert!(ask(cluster, "todo-backend-service:80", "/fail").is_none(), "/fail must fail");
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = format!("{}s", begin.elapsed().as_secs() + 5);
    let absolute = format!("prometheus: {{service: prometheus, query: '{rate}', max: 0.05}}");
    let compared = format!("prometheus: {{service: prometheus, query: '{rate}', maxFactor: 1.5}}");
    let checks = [
        ("error rate", absolute.as_str()),
        ("compared", &compared),
        ("sentence", "prometheus: {service: prometheus, query: 'sum(', max: 1}"),
        ("nothing", "prometheus: {service: prometheus, query: gone_total, max: 1}"),
        ("undivided", "prometheus: {service: prometheus, query: 'sum(up) * 0 / 0', max: 1}"),
        ("many", "prometheus: {service: prometheus, query: http_requests_total, max: 1}"),
    ];
    let found = failures(&test, &checks, &["--since", &before]);
    assert_failures(
        &found,
        &[
            ("error rate", "; at most 0.05 is good"),
            ("compared", "after, 0 before; at most 1.5 times the number before is good"),
            ("sentence", r#"Prometheus answers 400: invalid parameter "query""#),
            ("nothing", "the query has no result"),
            ("undivided", "the query's result is not a number"),
            ("many", "results instead of one"),
        ],
    );

    // When they have stopped, the rate falls while the check is tried again.
    let results = verify(&test, &checks[..1], "retries: 15\n      pause: 1s", "defaults: false", &[]);
    assert_eq!(results["error rate"], ("pass".to_owned(), "0".to_owned()));

    scale(cluster, "prometheus", 0);
    let found = failures(&test, &checks[..1], &[]);
    assert_failures(&found, &[("error rate", NOBODY)]);
}

/// Code that does not find its schema is rolled back, and the checks at the end see the services as they are then.
#[test]
fn a_rollback_ends_with_the_tests_of_the_runbook() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    // Somebody has forgotten the migration.
    platform.release.upgrade(&json!({"image": {"tag": "v2"}, "migrate": ""}));
    let said = platform.wait_for_crash("todo-backend");
    assert!(said.contains("the schema does not fit this version: no todos.summary"), "{said}");

    let (_file, path) = config(&CHECKS, "retries: 10\n      pause: 1s", "defaults: true");
    let run = test.run(&["emergency", "--tag", "v1", "--yes", "--config", &path, "-o", "json"]).expect(0);
    let results = run.json()["verify"].as_array().unwrap().clone();
    assert!(results.len() > CHECKS.len() && results.iter().all(|result| result["status"] == "pass"), "{run}");
    assert_eq!(cluster.image("deploy/todo-backend"), "ghcr.io/acme/backend-sql:v1", "{run}");
    // Of the same tag as what was rolled back, and none of the team's.
    assert_eq!(cluster.image("deploy/prometheus"), "docker.io/prom/prometheus:v2", "{run}");

    // With the database down it is told, and the rollback stays what it is.
    platform.release.upgrade(&json!({"image": {"tag": "v2"}, "migrate": ""}));
    platform.wait_for_crash("todo-backend");
    scale(cluster, "todo-postgres", 0);
    let (_file, path) = config(&CHECKS[2..4], "retries: 0", "defaults: false");
    let run = test.run(&["emergency", "--tag", "v1", "--yes", "--config", &path, "-o", "json"]).expect(6);
    assert_eq!(run.json()["outcome"], "VerificationFailed", "{run}");
    assert!(cluster.workload("deploy/todo-backend").ready, "{run}");
    platform.release.assert_manifest_names_what_runs(Helm::Four);
    for said in ["verification failed: ", "todos: answers 500", "port 5432 failed: Connection refused"] {
        assert!(run.stderr.contains(said), "{said}: {run}");
    }
}

/// What the tests of migrations stand on: code and schema go together, and a way back can end half-way.
#[test]
fn code_needs_its_schema_and_a_downgrade_can_end_half_way() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    assert_eq!(platform.columns("todos"), ["id", "title", "done", "due"]);

    platform.upgrade("v2");
    assert_eq!(
        (platform.revision().as_str(), platform.columns("todos")[1].as_str()),
        (REVISION_OF_V2, "summary")
    );
    let page = ask(cluster, "todo-backend-service:80", "/todos").expect("todos");
    assert_eq!(page[0]["summary"], "water the plants", "{page}");

    platform.break_with("v2-half");
    let said = platform.wait_for_crash("todo-backend");
    assert!(said.contains("Traceback") && said.trim_end().ends_with("KeyError: 'SMTP_URL'"), "{said}");
    assert_eq!(platform.revision(), REVISION_OF_V2_HALF);

    // Back to the image alone: the code does not find its columns.
    cluster.kubectl(&["set", "image", "deploy/todo-backend", "backend=ghcr.io/acme/backend-sql:v1"]);
    let said = platform.wait_for_crash("todo-backend");
    assert!(said.contains("the schema does not fit this version: no todos.title"), "{said}");
    assert!(said.contains(REVISION_OF_V2_HALF), "{said}");

    let (succeeded, said) = platform.alembic("v2-half", &["downgrade", REVISION_OF_V1]);
    assert!(!succeeded && said.contains("this migration cannot be undone"), "{said}");
    assert_eq!(platform.revision(), REVISION_OF_V2, "{said}");
    assert!(platform.columns("labels").is_empty(), "the first step has happened");
    // v1 does not know where the database is; v2 knows the way back.
    let (succeeded, said) = platform.alembic("v1", &["current"]);
    assert!(!succeeded && said.contains("Can't locate revision identified by '1a2b3c4d5e03'"), "{said}");
    let (succeeded, said) = platform.alembic("v2", &["downgrade", REVISION_OF_V1]);
    assert!(succeeded, "{said}");
    assert_eq!(platform.sql("SELECT title FROM todos ORDER BY id").lines().next(), Some("water the plants"));
    cluster.kubectl(&["rollout", "restart", "deploy/todo-backend"]);
    cluster.kubectl(&["rollout", "status", "deploy/todo-backend", "--timeout=60s"]);
}
