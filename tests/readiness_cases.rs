//! Our readiness rules against the test data of three other implementations: kstatus (what Helm 4 waits with),
//! Helm's own wait, and `kubectl rollout status`. Where ours differ on purpose, the case stands in a table here
//! with the reason; a difference that is not in the table fails, and so does an entry that no longer differs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kubectl_rollback::wait::readiness;
use serde_json::{Value, json};

/// Differences to kstatus: name of the case, what we say, and why.
const KSTATUS: [(&str, &str, &str); 4] = [
    (
        "podCompletedFailed",
        "failed",
        "a pod that ended badly is not what was wanted, although nothing will change any more",
    ),
    (
        "podUnschedulable",
        "waiting",
        "kstatus fails a pod by its age; ours needs a clock and is in the diagnosis (60 s, not while a node is being added)",
    ),
    ("jobInProgress", "waiting", "a Job that has started is not finished"),
    ("serviceLBok", "waiting", "a load balancer without any address does not serve; Helm's wait says so too"),
];

/// Differences to Helm's wait.
const HELM: [(&str, &str, &str); 7] = [
    (
        "deploymentReady: deployment is ready",
        "waiting",
        "Helm counts the ReplicaSet's pods; the Deployment of this case has no counts, which a real one has",
    ),
    (
        "deploymentReady: deployment is ready when maxUnavailable is set",
        "waiting",
        "maxUnavailable excuses no pod: Helm calls a Deployment ready with none at all when it is high enough",
    ),
    (
        "daemonSetReady: daemonset is ready when maxUnavailable is set",
        "waiting",
        "maxUnavailable excuses no pod",
    ),
    (
        "replicationControllerReady: replicationController is ready",
        "waiting",
        "Helm looks at the generation here and at the pods elsewhere; the case has no ready pods",
    ),
    (
        "podsReadyForObject: pods not ready for a replicaset",
        "done",
        "the pods are given beside the object, whose own counts say ready; ours reads the object alone",
    ),
    (
        "crdBetaReady: crdBeta type is NamesAccepted and Conditional is false",
        "failed",
        "names that collide with another definition never become usable; Helm passes over it",
    ),
    (
        "crdReady: crdBeta type is NamesAccepted and Conditional is false",
        "failed",
        "names that collide with another definition never become usable; Helm passes over it",
    ),
];

/// Differences to `kubectl rollout status`.
const ROLLOUT: [(&str, &str, &str); 1] = [(
    "TestStatefulSetStatusViewerStatus: on delete returns an error",
    "waiting",
    "with OnDelete kubectl gives up; ours says that the pods must be deleted, and goes on looking",
)];

fn cases(file: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("the cases are JSON")),
        Err(error) => {
            skipped(file, &error);
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that is left out has to say so")]
fn skipped(file: &str, error: &std::io::Error) {
    eprintln!("skipped: the shared test data {file} is not there ({error})");
}

/// `done`, `failed` or `waiting`.
fn ours(object: &Value) -> &'static str {
    let kind = object["kind"].as_str().expect("a kind");
    let readiness = readiness::of(kind, object);
    match (readiness.done, readiness.failed) {
        (true, None) => "done",
        (false, Some(_)) => "failed",
        (false, None) => "waiting",
        (true, Some(failure)) => panic!("done and failed at once: {failure:?}"),
    }
}

/// Compares all answers with what was expected and with the table of differences.
fn judge(answers: &BTreeMap<String, (&'static str, &'static str)>, known: &[(&str, &str, &str)]) {
    assert!(!answers.is_empty());
    let mut complaints = Vec::new();
    for (name, (theirs, ours)) in answers {
        let difference = known.iter().find(|(case, ..)| case == name);
        match difference {
            None if theirs == ours => {}
            None => complaints.push(format!("{name}: theirs {theirs}, ours {ours}")),
            Some((_, expected, _)) if theirs != ours && expected == ours => {}
            Some(entry) => {
                complaints.push(format!("{name}: theirs {theirs}, ours {ours}, listed as {entry:?}"));
            }
        }
    }
    for (case, ..) in known {
        if !answers.contains_key(*case) {
            complaints.push(format!("{case} is listed, but there is no such case"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn kstatus() {
    let Some(data) = cases("kstatus.json") else { return };
    for source in ["fluxcd/cli-utils", "kubernetes-sigs/cli-utils"] {
        let mut answers = BTreeMap::new();
        for case in data[source]["cases"].as_array().expect("cases") {
            let theirs = match case["status"].as_str() {
                Some("Current") => "done",
                Some("Failed") => "failed",
                Some("InProgress") => "waiting",
                other => panic!("unknown status {other:?}"),
            };
            let name = case["name"].as_str().expect("a name").to_owned();
            answers.insert(name, (theirs, ours(&case["object"])));
        }
        judge(&answers, &KSTATUS);
    }
}

#[test]
fn helm_ready() {
    let Some(data) = cases("helm-ready.json") else { return };
    let mut answers = BTreeMap::new();
    for case in data["cases"].as_array().expect("cases") {
        let function = case["fn"].as_str().expect("a function");
        let argument = ["dep", "rs", "rc", "ds", "sts", "obj", "job", "v", "service", "crdBeta"]
            .iter()
            .map(|name| &case["args"][*name])
            .find(|argument| argument.is_object());
        let Some(object) = argument else { continue };
        let theirs = match (case["want"].as_bool(), case["wantErr"].as_bool()) {
            (Some(true), _) => "done",
            (_, Some(true)) => "failed",
            _ => "waiting",
        };
        // Two Services have the same name in Helm's table; the answer tells them apart.
        let mut name = format!("{function}: {}", case["name"].as_str().expect("a name"));
        if answers.contains_key(&name) {
            name.push_str(" (2)");
        }
        answers.insert(name, (theirs, ours(object)));
    }
    judge(&answers, &HELM);
}

#[test]
fn rollout_status() {
    let Some(data) = cases("rollout-status.json") else { return };
    let mut answers = BTreeMap::new();
    for case in data["cases"].as_array().expect("cases") {
        let test = case["test"].as_str().expect("a test");
        let kind = ["Deployment", "DaemonSet", "StatefulSet"]
            .into_iter()
            .find(|kind| test.starts_with(&format!("Test{kind}")))
            .expect("a kind");
        let mut object = json!({"kind": kind, "metadata": {"generation": case["generation"]},
            "spec": {"replicas": case["specReplicas"].as_i64().unwrap_or(1), "updateStrategy": case["strategy"]},
            "status": case["status"]});
        if kind == "Deployment" {
            // Their cases leave out the ready pods; every available pod is one.
            object["status"]["readyReplicas"] = case["status"]["availableReplicas"].clone();
        }
        let theirs = if case["done"] == true { "done" } else { "waiting" };
        let name = format!("{test}: {}", case["name"].as_str().expect("a name"));
        answers.insert(name, (theirs, ours(&object)));
    }
    judge(&answers, &ROLLOUT);
}
