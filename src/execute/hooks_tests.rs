//! Hooks against canned answers: what is asked in which order, what is noted, what is deleted.

mod failing_tests;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::hooks::{HookRun, run};
use crate::context::Context;
use crate::context::interrupt::{Interrupter, Signal};
use crate::context::tests::{Exchange, Script, context, exchange};
use crate::discover::apis::Apis;
use crate::helm::error::StorageError;
use crate::helm::record::Record;
use crate::ui::{EventStyle, Printer, Reporter, Streams};

/// What goes to stdout, to be looked at.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One run of the event `pre-rollback` against a script.
struct Case {
    context: Context,
    script: Arc<Script>,
    interrupter: Interrupter,
    output: Output,
    record: Record,
    timeout: Duration,
    /// Phases of all hooks at each time that the record was stored.
    stored: Vec<Vec<String>>,
    persist_answer: fn() -> Result<(), StorageError>,
}

fn phases(record: &Record) -> Vec<String> {
    let hooks = record.to_json()["hooks"].clone();
    let phase = |hook: &Value| hook["last_run"]["phase"].as_str().unwrap_or("-").to_owned();
    hooks.as_array().unwrap().iter().map(phase).collect()
}

impl Case {
    fn new(method: &str, hooks: &[Value], exchanges: Vec<Exchange>) -> Self {
        let (mut context, script, interrupter) = context(exchanges);
        let output = Output::default();
        let streams = Streams { out: Box::new(output.clone()), err: Box::new(std::io::sink()) };
        let printer = Printer::new(streams, true, 0, false);
        context.reporter = Arc::new(Reporter::new(printer, EventStyle::JsonLines));
        let body = json!({"name": "r", "version": 3, "info": {"status": "pending-rollback"}, "hooks": hooks,
                          "apply_method": method});
        Self {
            context,
            script,
            interrupter,
            output,
            record: Record::from_json(body).unwrap(),
            timeout: Duration::from_secs(60),
            stored: Vec::new(),
            persist_answer: || Ok(()),
        }
    }

    /// Runs the hooks; answers what went wrong.
    async fn run(&mut self) -> Option<super::hooks::HookError> {
        let hook_run = HookRun { event: "pre-rollback", timeout: self.timeout, namespace: "n" };
        let (stored, answer) = (&mut self.stored, self.persist_answer);
        let persist = async |record: &Record| {
            stored.push(phases(record));
            answer()
        };
        run(&self.context, &mut self.record, &mut Apis::default(), &hook_run, persist).await.err()
    }

    fn assert_all_asked(&self) {
        assert_eq!(self.script.left(), 0, "asked: {:#?}", self.script.asked.lock().unwrap());
    }

    /// Events of a type.
    fn events(&self, kind: &str) -> Vec<Value> {
        let bytes = self.output.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["type"] == kind).collect()
    }
}

fn hook(name: &str, weight: i64, delete: &[&str], output: &[&str]) -> Value {
    json!({"name": name, "kind": "Job", "path": "app/templates/hook.yaml", "events": ["pre-rollback"], "weight": weight,
           "delete_policies": delete, "output_log_policies": output, "last_run": {"phase": ""},
           "manifest": format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{template: {{spec: {{containers: [{{name: main, image: 'app:1'}}]}}}}}}")})
}

fn job(name: &str, conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, reason)| json!({"type": kind, "status": "True", "reason": reason, "message": "it says so"}))
        .collect();
    json!({"apiVersion": "batch/v1", "kind": "Job",
           "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"), "managedFields": [{"manager": "helm"}]},
           "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "app:1"}]}}},
           "status": {"conditions": conditions, "active": 1}})
}

fn old_job(name: &str, is_deleted: bool) -> Value {
    let mut job = job(name, &[("Complete", "")]);
    job["metadata"]["uid"] = json!("old");
    if is_deleted {
        job["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        job["metadata"]["finalizers"] = json!(["acme.io/hold"]);
    }
    job
}

fn pod(job: &str, waiting: Option<(&str, &str)>) -> Value {
    let state = match waiting {
        Some((reason, message)) => json!({"waiting": {"reason": reason, "message": message}}),
        None => json!({"running": {}}),
    };
    json!({"metadata": {"name": format!("{job}-pod"), "namespace": "n", "uid": format!("pod-{job}"),
                        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": format!("uid-{job}"), "controller": true}]},
           "spec": {"containers": [{"name": "main", "image": "app:1"}]},
           "status": {"phase": "Pending", "containerStatuses": [
               {"name": "main", "image": "app:1", "imageID": "", "ready": waiting.is_none(), "restartCount": 0, "state": state}]}})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn apis() -> Exchange {
    let resources =
        json!([{"name": "jobs", "singularName": "job", "kind": "Job", "namespaced": true, "verbs": []}]);
    let list = json!({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": resources});
    exchange(Method::GET, "/apis/batch/v1", 200, list)
}

fn absent(path: &'static str) -> Exchange {
    exchange(Method::GET, path, 404, status(404, "NotFound", "not found"))
}

fn found(path: &'static str, object: Value) -> Exchange {
    exchange(Method::GET, path, 200, object)
}

fn created(name: &str) -> Exchange {
    exchange(Method::POST, "/jobs?&fieldManager=helm", 201, job(name, &[]))
}

fn deleted(path: &'static str) -> Exchange {
    exchange(Method::DELETE, path, 200, status(200, "", ""))
}

fn pods(items: &[Value]) -> Exchange {
    found(
        "/pods?&labelSelector=job-name",
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}),
    )
}

fn events(items: &[Value]) -> Exchange {
    found("/events?", json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn log(text: &str) -> Exchange {
    found("/log?", json!(text))
}

fn broken(method: Method, path: &'static str) -> Exchange {
    Exchange { method, path, status: None, answer: Value::Null }
}

#[tokio::test(start_paused = true)]
async fn hooks_run_one_after_the_other_and_each_run_is_noted() {
    let hooks = [hook("b", 0, &[], &[]), hook("a", 0, &[], &[])];
    let mut case = Case::new(
        "csa",
        &hooks,
        vec![
            apis(),
            absent("/jobs/a"),
            created("a"),
            found("/jobs/a", job("a", &[])),
            pods(&[pod("a", None)]),
            found("/jobs/a", job("a", &[("Complete", "")])),
            absent("/jobs/b"),
            created("b"),
            found("/jobs/b", job("b", &[("SuccessCriteriaMet", ""), ("Complete", "")])),
        ],
    );
    assert!(case.run().await.is_none());
    case.assert_all_asked();
    assert_eq!(case.stored, [["", "Running"], ["Running", "Succeeded"]], "the caller stores the last end");
    assert_eq!(phases(&case.record), ["Succeeded", "Succeeded"]);
    let sent = &case.script.writes()[0];
    assert_eq!(sent["metadata"], json!({"name": "a", "namespace": "n"}), "no ownership metadata, as in Helm");
    let progress: Vec<String> =
        case.events("Progress").iter().map(|event| event["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(progress, ["1 active", "succeeded", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_in_the_way_is_deleted_and_its_end_is_waited_for() {
    let exchanges = || {
        vec![
            apis(),
            found("/jobs/a", old_job("a", false)),
            deleted("/jobs/a"),
            found("/jobs/a", old_job("a", true)),
            found("/jobs/a", old_job("a", true)),
            broken(Method::GET, "/jobs/a"),
            found("/jobs/a", old_job("a", true)),
        ]
    };
    let end = [absent("/jobs/a"), created("a"), found("/jobs/a", job("a", &[("Complete", "")]))];
    let mut case = Case::new(
        "csa",
        &[hook("a", 0, &["before-hook-creation"], &[])],
        exchanges().into_iter().chain(end).collect(),
    );
    assert!(case.run().await.is_none());
    case.assert_all_asked();
    let options = &case.script.writes()[0];
    assert_eq!(options["preconditions"], json!({"uid": "old"}));
    assert_eq!(options["propagationPolicy"], "Background");

    // It never goes: the run ends in time, and says who holds it.
    let never = exchanges().into_iter().chain([found("/jobs/a", old_job("a", true))]);
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], never.collect());
    case.timeout = Duration::from_millis(3500);
    let error = case.run().await.unwrap();
    assert_eq!(
        error.to_string(),
        "the pre-rollback hook Job a: it was not run: jobs \"a\" of an earlier run is deleted and still there, held by acme.io/hold"
    );
    assert!(error.is_timeout());
    case.assert_all_asked();
    assert!(case.stored.is_empty() && phases(&case.record) == [""], "it has not begun");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_may_not_be_deleted_is_an_error_with_a_way_out() {
    for method in ["csa", "ssa"] {
        let mut case = Case::new(
            method,
            &[hook("a", 0, &["hook-succeeded"], &[])],
            vec![apis(), found("/jobs/a", old_job("a", false))],
        );
        let error = case.run().await.unwrap();
        assert_eq!(
            error.to_string(),
            "the pre-rollback hook Job a: it was not run: jobs \"a\" already exists, and its deletion policies (hook-succeeded) do not allow deleting it"
        );
        assert_eq!(error.next()[0], "kubectl delete job a -n n");
        assert_eq!(phases(&case.record), [""]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_server_side_apply_has_its_hooks_applied() {
    let mut case = Case::new(
        "ssa",
        &[hook("a", 0, &[], &[])],
        vec![
            apis(),
            absent("/jobs/a"),
            exchange(Method::PATCH, "/jobs/a?&fieldManager=helm&fieldValidation=Strict", 201, job("a", &[])),
            found("/jobs/a", job("a", &[("Complete", "")])),
        ],
    );
    assert!(case.run().await.is_none());
    let asked = case.script.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, path, _)| !path.contains("force")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn after_success_output_and_deletion_come_in_reverse_order() {
    let mut case = Case::new(
        "csa",
        &[
            hook("a", 0, &["hook-succeeded"], &["hook-succeeded"]),
            hook("b", 1, &["hook-failed"], &["hook-failed"]),
            hook("c", 2, &["before-hook-creation", "hook-succeeded"], &["hook-succeeded", "hook-failed"]),
        ],
        vec![
            apis(),
            absent("/jobs/a"),
            created("a"),
            found("/jobs/a", job("a", &[("Complete", "")])),
            absent("/jobs/b"),
            created("b"),
            found("/jobs/b", job("b", &[("Complete", "")])),
            absent("/jobs/c"),
            created("c"),
            found("/jobs/c", job("c", &[("Complete", "")])),
            pods(&[pod("c", None)]),
            log("migrated with password=hunter2"),
            deleted("/jobs/c"),
            pods(&[pod("a", None)]),
            log("done"),
            deleted("/jobs/a"),
        ],
    );
    assert!(case.run().await.is_none());
    case.assert_all_asked();
    let output = case.events("Output");
    assert_eq!(output.len(), 2);
    assert_eq!(output[0]["object"]["name"], "c");
    assert_eq!(output[0]["lines"], json!(["\"migrated with password=***\""]), "credentials are masked");
}
