//! Pages as the tool writes them: of the journals that operations on a cluster wrote (`tests/cases/journals`), and of those
//! made longer, wider, hostile and empty.

use kubectl_rollback::journal::{Entry, Head, Journal, State};
use kubectl_rollback::report::incident::{assemble, html};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Kept {
    state: State,
    head: Head,
    entries: Vec<Entry>,
}

const EMERGENCY: &str = include_str!("../cases/journals/emergency.json");
const FAILED: &str = include_str!("../cases/journals/failed-rollback.json");
const HALF_WAY: &str = include_str!("../cases/journals/database-half-way.json");

fn page(kept: Kept) -> String {
    html(&assemble(&Journal { head: kept.head, entries: kept.entries }, kept.state))
}

fn read(text: &str) -> Kept {
    serde_json::from_str(text).unwrap()
}

/// Replaces texts everywhere within, keys of objects too.
fn renamed(value: Value, names: &[(&str, &str)]) -> Value {
    let rename = |text: String| names.iter().fold(text, |text, (from, to)| text.replace(from, to));
    match value {
        Value::String(text) => Value::String(rename(text)),
        Value::Array(items) => items.into_iter().map(|item| renamed(item, names)).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (rename(name), renamed(value, names))).collect()
        }
        other => other,
    }
}

/// The longest names that Kubernetes lets a workload of Helm have, and registries with long paths.
fn long_names() -> Kept {
    let backend = "payments-reconciliation-service-for-the-european-settlement-ba";
    let names = [
        ("todo-backend", backend),
        ("audit-consumer", "wwwwwwwwwwmmmmmmmmmmwwwwwwwwwwmmmmmmmmmmwwwwwwwwwwmmmmmmmmmm123"),
        (
            "ghcr.io/acme",
            "registry.eu-central-1.platform.example.com:5443/teams/payments/services/release-candidates",
        ),
        ("good-2", "2026.11.25-release-candidate-4711-g1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"),
        ("shop", "payments-production-european-settlement-batches-blue-green-slot"),
    ];
    let journal: Value = serde_json::from_str(EMERGENCY).unwrap();
    serde_json::from_value(renamed(journal, &names)).unwrap()
}

fn event(mut event: Value) -> Entry {
    if event["ts"].is_null() {
        event["ts"] = json!("2026-11-25T09:14:06Z");
    }
    Entry::Event { event }
}

/// Forty workloads more, most of which cannot become ready.
fn many() -> Kept {
    let mut kept = read(FAILED);
    let Some(Entry::Finished { result, .. }) = kept.entries.last_mut() else {
        panic!("a journal that ended")
    };
    let workloads = result["workloads"].as_array_mut().unwrap();
    let first = workloads[0].clone();
    let mut more = Vec::new();
    for number in 0..40 {
        let name = format!("worker-{number:02}");
        let mut workload = first.clone();
        workload["name"] = json!(name);
        workloads.push(workload);
        let object = json!({"kind": "Deployment", "name": name, "namespace": "shop"});
        more.push(event(json!({"ts": format!("2026-11-25T09:14:{:02}Z", 7 + number % 14), "type": "Progress",
            "object": object, "ready": number % 3, "desired": 3, "state": "CrashLoopBackOff (1 restart)", "done": false})));
        more.push(event(json!({"ts": "2026-11-25T09:14:21Z", "type": "Diagnosis", "object": object, "code": "CrashLoop",
            "severity": "fatal", "pod": format!("{name}-6b65c59c5-wmxj7"), "container": "worker", "exitCode": 1, "restarts": 1,
            "message": "container worker exited with code 1 (1 restart)",
            "logs": ["Traceback (most recent call last):", "  File \"/usr/local/lib/python3.13/site-packages/worker/application.py\", line 1041, in <module>",
                "KeyError: 'SMTP_URL'"],
            "events": [format!("BackOff: Back-off restarting failed container worker in pod {name}-6b65c59c5-wmxj7_shop(0cc9d741-8adb-4669-ba3d-9c59b4bfb903)")],
            "hint": format!("kubectl logs -n shop {name}-6b65c59c5-wmxj7 -c worker --previous")})));
    }
    let end = kept.entries.len() - 1;
    kept.entries.splice(end..end, more);
    kept
}

/// Every text that people or programs give is this one.
fn filled_with(text: &str) -> Kept {
    let mut kept = read(EMERGENCY);
    let head = &mut kept.head;
    for field in [&mut head.target, &mut head.actor, &mut head.command, &mut head.context] {
        text.clone_into(field);
    }
    for field in [&mut head.reason, &mut head.release, &mut head.incident] {
        *field = Some(text.to_owned());
    }
    let object = json!({"kind": "Deployment", "name": text, "namespace": text});
    let more = [
        json!({"type": "Progress", "object": object, "ready": 1, "desired": 2, "state": text}),
        json!({"type": "Change", "object": object, "verb": text, "fields": [text], "before": text, "after": {text: text}}),
        json!({"type": "Warning", "message": text}),
        json!({"type": "Stage", "stage": text, "status": "failed", "message": text}),
        json!({"type": "Verify", "check": text, "subject": text, "status": "fail", "message": text}),
        json!({"type": "Diagnosis", "object": object, "code": "CrashLoop", "severity": "fatal", "pod": text, "container": text,
            "message": text, "exitCode": 1, "restarts": 1, "logs": [text, text], "events": [text], "hint": text}),
    ];
    kept.entries.extend(more.into_iter().map(event));
    kept
}

/// The pages, by name.
pub fn pages() -> Vec<(&'static str, String)> {
    let hostile = "</title><script>console.error('ran')</script><img src=http://example.com/x.png onerror=\"console.error(1)\">\
        <style>*{display:none}</style><base href=http://example.com/>\"onload=\"x";
    let unbroken = "x".repeat(600);
    let mut cut = read(FAILED);
    cut.entries.truncate(cut.entries.len() * 2 / 3);
    cut.state = State::Open;
    let mut empty = read(EMERGENCY);
    empty.entries.clear();
    empty.state = State::Open;
    (empty.head.reason, empty.head.incident, empty.head.release) = (None, None, None);
    vec![
        ("succeeded", page(read(EMERGENCY))),
        ("failed", page(read(FAILED))),
        ("database-half-way", page(read(HALF_WAY))),
        ("not-ended", page(cut)),
        ("long-names", page(long_names())),
        ("many", page(many())),
        ("hostile", page(filled_with(hostile))),
        ("unbroken", page(filled_with(&unbroken))),
        ("empty", page(empty)),
    ]
}
