use http::Method;
use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::context::tests::{context, exchange};

const WHOLE: &str = r##"
protectedContexts: ["prod-*"]
contacts:
  - {role: DBA, name: A, contact: "#dba"}
verify:
  checks:
    - name: backend health
      http: {service: todo-backend-service, path: /health, json: {/status: healthy}}
    - name: database
      exec: {workload: deploy/todo-backend, command: [python, -c, "import db; db.check()"]}
      timeout: 20s
    - name: broker
      tcp: {service: redpanda, port: kafka}
    - name: redis
      redis: {service: redis-service, password: {secret: {name: redis, key: password}}}
    - name: errors
      prometheus: {service: prometheus, port: 9090, query: "sum(rate(errors[1m]))", max: 0.01, maxFactor: 1}
      retries: 10
      pause: 30s
    - name: logs
      logs: {workloads: [deploy/todo-backend], ignore: [deprecated], max: 2}
notify:
  webhooks:
    - {name: incidents, urlFrom: {env: SLACK_URL}, format: slack, events: [started, complete]}
  templates:
    started: "Rolling back {{ release }}"
checklist:
  owners: {metrics: SRE, smoke-tests: "the checkout team"}
"##;

#[test]
fn everything_that_can_be_said_is_read_and_written_again() {
    let config = parse("x", WHOLE).unwrap();
    assert_eq!(config.verify.checks.len(), 6);
    assert_eq!(config.protects("prod-eu").unwrap().to_string(), "prod-*");
    assert!(config.protects("staging").is_none());
    let errors = &config.verify.checks[4];
    assert_eq!((errors.kind.as_str(), errors.retries, errors.pause.as_secs()), ("prometheus", 10, 30));
    let written = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(parse("x", &written).unwrap(), config, "{written}");
}

#[test]
fn nothing_is_a_configuration_too() {
    for text in ["", "# later\n", "---\n", "{}\n", "verify: {}\n"] {
        assert_eq!(parse("x", text).unwrap(), Config::default(), "{text:?}");
    }
}

#[test]
fn errors_name_the_place() {
    let cases = [
        "verify:\n  chekcs: []\n",
        "verify:\n  checks:\n    - name: a\n      http: {servce: web}\n",
        "verify:\n  checks:\n    - name: a\n",
        "verify:\n  checks:\n    - name: ok\n      tcp: {service: a}\n    - name: a\n      tcp: {service: a}\n      redis: {service: a}\n",
        "verify:\n  checks:\n    - {name: a, http: {service: web, url: 'https://x'}}\n",
        "verify:\n  checks:\n    - {name: a, http: {service: web, json: {status: healthy}}}\n",
        "verify:\n  checks:\n    - {name: a, exec: {workload: backend, command: [x]}}\n",
        "verify:\n  checks:\n    - {name: a, exec: {workload: deploy/backend, command: []}}\n",
        "verify:\n  checks:\n    - {name: a, prometheus: {service: p, query: up}}\n",
        "verify:\n  checks:\n    - name: a\n      logs:\n        patterns: ['(']\n",
        "verify:\n  checks:\n    - {name: a, tcp: {service: a}, timeout: 0}\n",
        "verify:\n  checks:\n    - {name: a, tcp: {service: a}, pause: 5}\n",
        "notify:\n  webhooks:\n    - {name: a, format: slack}\n",
        "notify:\n  webhooks:\n    - {name: a, format: irc, url: 'https://x'}\n",
        "notify:\n  webhooks:\n    - {name: a, format: json, url: 'x/SECRET'}\n",
        "notify:\n  templates:\n    started: '{{ relaese }}'\n",
        "notify:\n  templates:\n    started: '{{ release'\n",
        "checklist:\n  owners:\n    pods: SRE\n    coffee: SRE\n",
        "checklist:\n  owners: {pods: ''}\n",
        "contacts: [{role: '', contact: x}]\n",
        "contacts:\n  - role: a\n   contact: b\n",
        "verify: {defaults: true, defaults: false}\n",
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|text| {
            let error = parse("team.yaml", text).unwrap_err().to_string();
            assert!(!error.contains("SECRET"), "{error}");
            format!("{}\n=> {error}\n", text.trim_end())
        })
        .collect();
    assert_snapshot!(said.join("\n"));
}

#[test]
fn the_nearest_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    assert_eq!(find_file(&inner), None);
    let outer = folder.path().join(FILE_NAME);
    std::fs::write(&outer, "").unwrap();
    assert_eq!(find_file(&inner), Some(outer));
    let nearer = folder.path().join("a").join(FILE_NAME);
    std::fs::write(&nearer, "").unwrap();
    assert_eq!(find_file(&inner), Some(nearer));
}

#[tokio::test]
async fn without_a_file_the_config_map_counts() {
    let path = "/api/v1/namespaces/n/configmaps/kubectl-rollback";
    let map = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubectl-rollback"}, "data": data});
    let failure = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "x", "code": code});
    for (status, answer, expected) in [
        (200, map(json!({"config.yaml": "protectedContexts: [prod]"})), Ok(1)),
        (404, failure(404), Ok(0)),
        (403, failure(403), Ok(0)),
        (200, map(json!({"other": ""})), Err("ConfigMap n/kubectl-rollback has no key config.yaml")),
        (200, map(json!({"config.yaml": "x: 1"})), Err("ConfigMap n/kubectl-rollback:1:1: ")),
        (500, failure(500), Err("cannot ask for the ConfigMap")),
    ] {
        let (context, ..) = context(vec![exchange(Method::GET, path, status, answer)]);
        let found = load(None, &context.client, "n").await;
        match (found, expected) {
            (Ok(loaded), Ok(number)) => assert_eq!(loaded.config.protected_contexts.len(), number),
            (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}

/// The published schema is the one of the code. `KUBECTL_ROLLBACK_UPDATE_SCHEMA=1` writes it.
#[test]
fn the_published_schema_is_that_of_the_code() {
    let schema = schemars::schema_for!(Config);
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");
    if std::env::var_os("KUBECTL_ROLLBACK_UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "{path} is not up to date");
}
