//! Hooks of a rollback, run by the library, with both Helms beside it on the same chart.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kubectl_rollback::context::interrupt::Interrupt;
use kubectl_rollback::context::{Context, Deadline};
use kubectl_rollback::discover::apis::Apis;
use kubectl_rollback::execute::hooks::{HookError, HookRun, run};
use kubectl_rollback::helm::record::Record;
use kubectl_rollback::helm::storage::{Driver, Storage};
use kubectl_rollback::reconcile;
use kubectl_rollback::ui::{EventStyle, Printer, Reporter, Streams};
use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Test, wait_for};

/// What the hooks of the chart are, as `name weight event policies tag`; the chart's other object never changes.
const HOOKS: [(&str, &str); 7] = [
    ("Job first", "-1 pre-rollback - good-1"),
    ("Job succeeded", "0 pre-rollback hook-succeeded good-1"),
    ("Job second", "5 pre-rollback,post-rollback before-hook-creation,hook-succeeded good-1"),
    ("Pod check", "5 pre-rollback hook-succeeded,hook-failed good-1"),
    ("ConfigMap settings", "-7 pre-rollback hook-failed good-1"),
    ("Job last", "9 pre-rollback hook-failed TAG"),
    ("Job after", "0 post-rollback hook-failed good-1"),
];

/// A chart with these hooks, in a folder of its own.
pub fn chart(tag: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: hooks\nversion: 1.0.0\n")
        .unwrap();
    let plain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {revision: {{ .Release.Revision | quote }}}\n";
    std::fs::write(templates.join("plain.yaml"), plain).unwrap();
    for (what, how) in HOOKS {
        let (kind, name) = what.split_once(' ').unwrap();
        let how = how.replace("TAG", tag);
        let [weight, events, policies, image] = how.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{how}")
        };
        let policies = match policies {
            "-" => String::new(),
            policies => format!("    helm.sh/hook-delete-policy: {policies}\n"),
        };
        let spec = format!(
            "{{restartPolicy: Never, containers: [{{name: main, image: 'ghcr.io/acme/job:{image}'}}]}}"
        );
        let body = match kind {
            "Job" => format!(
                "apiVersion: batch/v1\nkind: Job\nspec: {{backoffLimit: 0, template: {{spec: {spec}}}}}\n"
            ),
            "Pod" => format!("apiVersion: v1\nkind: Pod\nspec: {spec}\n"),
            _ => "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n".to_owned(),
        };
        let text = format!(
            "{body}metadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {events}\n    helm.sh/hook-weight: \"{weight}\"\n    helm.sh/hook-output-log-policy: hook-succeeded,hook-failed\n{policies}"
        );
        std::fs::write(templates.join(format!("{name}.yaml")), text).unwrap();
    }
    folder
}

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

/// The library at work on the test's namespace.
struct Library {
    runtime: tokio::runtime::Runtime,
    context: Context,
    output: Output,
}

impl Library {
    fn new(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(cluster.new_client());
        let output = Output::default();
        let streams = Streams { out: Box::new(output.clone()), err: Box::new(std::io::sink()) };
        let reporter = Reporter::new(Printer::new(streams, true, 0, false), EventStyle::JsonLines);
        let (_, interrupt) = Interrupt::new();
        let context = Context {
            client: client.clone(),
            bare: client,
            guard: Arc::default(),
            context_name: "test".to_owned(),
            namespace: cluster.namespace.clone(),
            requests: Arc::default(),
            operation: "0000".to_owned(),
            reporter: Arc::new(reporter),
            interrupt,
            deadline: Arc::new(Deadline::new(Duration::ZERO)),
            actor: "test".to_owned(),
            registries: Arc::default(),
        };
        Self { runtime, context, output }
    }

    /// The record of a revision.
    fn record(&self, revision: u64) -> Record {
        let storage = Storage::new(self.context.client.clone(), &self.context.namespace, Driver::Secrets);
        self.runtime.block_on(async {
            let meta = storage.find("r", revision).await.unwrap().unwrap();
            storage.get(&meta).await.unwrap().record
        })
    }

    fn run(&self, record: &mut Record, event: &str) -> Result<(), HookError> {
        let hooks = HookRun { event, timeout: Duration::from_secs(60), namespace: &self.context.namespace };
        self.runtime.block_on(run(&self.context, record, &mut Apis::default(), &hooks, async |_| Ok(())))
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let bytes = self.output.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["type"] == kind).collect()
    }
}

/// Names of what hooks have left, without what is on its way out.
fn left(cluster: &Cluster) -> Vec<String> {
    let of = |resource: &str| {
        let objects = cluster.list(resource).into_iter();
        objects
            .filter(|object| object["metadata"]["deletionTimestamp"].is_null())
            .filter(|object| object["metadata"]["ownerReferences"].is_null())
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .filter(|name| HOOKS.iter().any(|(hook, _)| hook.ends_with(&format!(" {name}"))))
            .collect::<Vec<_>>()
    };
    ["configmaps", "jobs", "pods"].into_iter().flat_map(of).collect()
}

/// The body of a record; of times only whether they are set.
fn without_times(record: &Record) -> Value {
    let blank = |value: Option<&mut Value>| {
        if let Some(value) = value {
            *value = json!(if *value == "" { "unset" } else { "set" });
        }
    };
    let mut body = record.to_json();
    blank(body.pointer_mut("/info/last_deployed"));
    for hook in body["hooks"].as_array_mut().unwrap() {
        for time in ["started_at", "completed_at"] {
            blank(hook["last_run"].get_mut(time));
        }
    }
    body
}

fn remove_hooks(cluster: &Cluster) {
    cluster.kubectl(&["delete", "jobs,pods", "--all", "--wait=true"]);
    cluster.kubectl(&["delete", "configmap", "settings", "--ignore-not-found"]);
}

fn installed(test: &Test, helm: Helm, tag: &str) -> Library {
    let chart = chart(tag);
    let chart = chart.path().to_str().unwrap();
    helm.succeed(&test.cluster, &["install", "r", chart]);
    helm.succeed(&test.cluster, &["upgrade", "r", chart]);
    Library::new(&test.cluster)
}

#[track_caller]
fn succeed_like(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let library = installed(&test, helm, "good-1");
    helm.succeed(cluster, &["rollback", "r", "1", "--timeout", "60s"]);
    let (helms, helms_left) = (library.record(3), left(cluster));
    remove_hooks(cluster);

    let (current, target) = (library.record(2), library.record(1));
    let now = jiff::Timestamp::now();
    let mut ours = reconcile::rollback_record(&current, &target, 3, "Rollback to 1", now);
    library.run(&mut ours, "pre-rollback").unwrap();
    library.run(&mut ours, "post-rollback").unwrap();
    assert_eq!(left(cluster), helms_left, "the same objects are left");
    assert_eq!(helms_left, ["settings", "after", "first", "last"]);
    let closed = reconcile::rolled_back(&ours);
    assert_eq!(without_times(&closed), without_times(&helms), "the record says the same");
    assert_eq!(closed.labels, helms.labels);
    let created: Vec<Value> = library
        .events("Change")
        .into_iter()
        .filter(|event| event["verb"] == "create")
        .map(|event| event["object"]["name"].clone())
        .collect();
    assert_eq!(created, ["settings", "first", "succeeded", "check", "second", "last", "after", "second"]);
    let outputs = library.events("Output");
    assert!(outputs.iter().any(|event| event["object"]["name"] == "check"), "{outputs:?}");
    // Again: what is left is deleted where the policies allow it, else it is in the way, for Helm as for us.
    let said = library.run(&mut ours, "pre-rollback").unwrap_err().to_string();
    let in_the_way = if helm == Helm::Three { "configmaps \"settings\"" } else { "jobs \"last\"" };
    assert!(said.contains(&format!("{in_the_way} already exists")), "{said}");
}

#[test]
fn hooks_succeed_like_those_of_helm_3() {
    succeed_like(Helm::Three);
}

#[test]
fn hooks_succeed_like_those_of_helm_4() {
    succeed_like(Helm::Four);
}

#[track_caller]
fn fail_like(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let library = installed(&test, helm, "crash");
    helm.fail(cluster, &["rollback", "r", "1", "--timeout", "60s"]);
    let (helms, helms_left) = (library.record(3), left(cluster));
    remove_hooks(cluster);

    let mut ours = library.record(1);
    let said = library.run(&mut ours, "pre-rollback").unwrap_err().to_string();
    assert!(said.starts_with("the pre-rollback hook Job last: it failed: BackoffLimitExceeded"), "{said}");
    assert_eq!(
        helms_left,
        ["settings", "first"],
        "what failed, and what succeeded before it, is deleted by policy"
    );
    assert_eq!(left(cluster), helms_left);
    // Helm leaves the hook Running for ever, ours says what became of it.
    let phase = |record: &Record| {
        let hooks = record.to_json()["hooks"].as_array().unwrap().clone();
        let last = hooks.into_iter().find(|hook| hook["name"] == "last").unwrap();
        last["last_run"]["phase"].clone()
    };
    assert_eq!((phase(&helms), phase(&ours)), (json!("Running"), json!("Failed")));
    let diagnoses = library.events("Diagnosis");
    let last = diagnoses.last().unwrap();
    assert_eq!(last["code"], "JobFailed");
    assert!(last["logs"].to_string().contains("SMTP_URL"), "{last}");
}

#[test]
fn hooks_fail_like_those_of_helm_3() {
    fail_like(Helm::Three);
}

#[test]
fn hooks_fail_like_those_of_helm_4() {
    fail_like(Helm::Four);
}

#[test]
fn a_hook_without_its_image_ends_long_before_the_timeout() {
    let Some(test) = Test::begin() else { return };
    let library = installed(&test, Helm::Four, "missing");
    let mut record = library.record(1);
    let begun = Instant::now();
    let error = library.run(&mut record, "pre-rollback").unwrap_err();
    assert!(
        error.to_string().contains("it cannot run: image ghcr.io/acme/job:missing does not exist"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    assert_eq!(library.events("Diagnosis").last().unwrap()["code"], "ImageNotFound");
}

#[test]
fn the_end_of_an_old_hook_is_waited_for() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let library = installed(&test, Helm::Four, "good-1");
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "ghcr.io/acme/job:good-1"}]}}});
    let held = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec,
                      "metadata": {"name": "first", "finalizers": ["acme.io/hold"]}});
    cluster.create("jobs", &held);
    let another = cluster.another();
    let release = std::thread::spawn(move || {
        let job =
            || another.find("jobs", "first").filter(|job| !job["metadata"]["deletionTimestamp"].is_null());
        wait_for("the old Job to be deleted", Duration::from_secs(30), job);
        std::thread::sleep(Duration::from_secs(3));
        another.patch("jobs", "first", "acme", &json!({"metadata": {"finalizers": null}}));
    });
    let mut record = library.record(1);
    library.run(&mut record, "pre-rollback").unwrap();
    release.join().unwrap();
    assert!(left(cluster).contains(&"first".to_owned()));
}
