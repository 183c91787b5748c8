//! The Job that runs a program of migrations: one container of a workload's pod template, in its environment, and nothing
//! that would keep it from ending or send requests to it. Pure.
//!
//! Not taken over: other containers and init containers (one of them may be what migrates *up*), probes, ports, labels (a
//! Service would find the pod, a ReplicaSet or a disruption budget count it), and whatever would have a sidecar put in that
//! never ends.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Question, Said};
use crate::config::DatabaseConfig;

/// The label that says to which operation a Job belongs.
pub const OPERATION: &str = "rollback.kubectl.dev/operation";
/// The label that says what a Job is for: `read` or `downgrade`.
pub const PURPOSE: &str = "rollback.kubectl.dev/database";
/// The name of its container.
pub const CONTAINER: &str = "database";

/// Fields of a pod's spec that the program needs to run where the workload runs.
const POD_FIELDS: [&str; 16] = [
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "hostUsers",
    "imagePullSecrets",
    "nodeSelector",
    "os",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
];
/// Fields of a container that it needs.
const CONTAINER_FIELDS: [&str; 6] =
    ["env", "envFrom", "imagePullPolicy", "resources", "securityContext", "workingDir"];
/// Annotations that keep meshes from putting in a container that never ends.
const NO_SIDECARS: [(&str, &str); 4] = [
    ("sidecar.istio.io/inject", "false"),
    ("linkerd.io/inject", "disabled"),
    ("dapr.io/enabled", "false"),
    ("consul.hashicorp.com/connect-inject", "false"),
];
/// What Vault's injector puts in is read as files; its init container is enough.
const VAULT: &str = "vault.hashicorp.com/";

/// What a Job is made for.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Its name.
    pub name: &'a str,
    /// The operation.
    pub operation: &'a str,
    /// `read` or `downgrade`.
    pub purpose: &'a str,
    /// The container of the template that is taken.
    pub container: &'a str,
    /// The image that is run.
    pub image: &'a str,
    /// What is run, for `sh -c`.
    pub script: &'a str,
    /// How long it may take.
    pub limit: Duration,
    /// How long it stays after its end.
    pub stays: Duration,
}

/// The Job; `None` where the template has no such container.
pub fn job(template: &Value, settings: &DatabaseConfig, order: &Order<'_>) -> Option<Value> {
    let spec = template.get("spec")?;
    let containers = spec.get("containers")?.as_array()?;
    let model = containers.iter().find(|container| container["name"] == order.container)?;
    let volumes: Vec<&Value> = spec.get("volumes").and_then(Value::as_array).into_iter().flatten().collect();
    let is_there = |mount: &&Value| volumes.iter().any(|volume| volume["name"] == mount["name"]);
    let mounted = |field: &str| -> Vec<Value> {
        let mounts = model.get(field).and_then(Value::as_array).into_iter().flatten();
        mounts.filter(is_there).cloned().collect()
    };
    let (mounts, devices) = (mounted("volumeMounts"), mounted("volumeDevices"));
    let is_used =
        |volume: &&&Value| mounts.iter().chain(&devices).any(|mount| mount["name"] == volume["name"]);

    let mut container = taken(model, &CONTAINER_FIELDS);
    container.insert("name".to_owned(), json!(CONTAINER));
    container.insert("image".to_owned(), json!(order.image));
    container.insert("command".to_owned(), json!(["sh", "-c", order.script]));
    if let Some(directory) = &settings.directory {
        container.insert("workingDir".to_owned(), json!(directory.to_string()));
    }
    for (field, mounts) in [("volumeMounts", &mounts), ("volumeDevices", &devices)] {
        if !mounts.is_empty() {
            container.insert(field.to_owned(), json!(mounts));
        }
    }
    let mut pod = taken(spec, &POD_FIELDS);
    let used: Vec<&Value> = volumes.iter().filter(is_used).copied().collect();
    if !used.is_empty() {
        pod.insert("volumes".to_owned(), json!(used));
    }
    if let Some(affinity) = spec.pointer("/affinity/nodeAffinity") {
        pod.insert("affinity".to_owned(), json!({"nodeAffinity": affinity}));
    }
    pod.insert("restartPolicy".to_owned(), json!("Never"));
    pod.insert("containers".to_owned(), json!([container]));

    let ours = [
        ("app.kubernetes.io/managed-by", "kubectl-rollback"),
        (OPERATION, order.operation),
        (PURPOSE, order.purpose),
    ];
    let ours: BTreeMap<&str, &str> = ours.into_iter().collect();
    let given = settings.pod_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pod_labels: BTreeMap<&str, &str> = given.chain(ours.clone()).collect();
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": order.name, "labels": ours},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": order.limit.as_secs().max(1),
            "ttlSecondsAfterFinished": order.stays.as_secs(),
            "template": {
                "metadata": {"labels": pod_labels, "annotations": annotations(template)},
                "spec": pod,
            },
        },
    }))
}

fn taken(from: &Value, fields: &[&str]) -> Map<String, Value> {
    let found = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
    found.collect()
}

fn annotations(template: &Value) -> BTreeMap<String, String> {
    let mut annotations: BTreeMap<String, String> =
        NO_SIDECARS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let given = template.pointer("/metadata/annotations").and_then(Value::as_object);
    let vault = given.into_iter().flatten().filter(|(name, _)| name.starts_with(VAULT));
    let vault: Vec<_> =
        vault.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    if !vault.is_empty() {
        annotations.extend(vault);
        annotations.insert(format!("{VAULT}agent-pre-populate-only"), "true".to_owned());
    }
    annotations
}

/// The beginning of a line that is ours in the output of a pod.
const MARK: &str = "::kubectl-rollback ";

/// The script that asks questions one after the other. The log of a pod does not tell standard output from standard error,
/// so that the script keeps them apart.
pub fn questions(questions: &[(Question, Vec<String>)]) -> String {
    let mut script = format!(
        "ask() {{\n  name=$1; shift\n  printf '\\n{MARK}begin %s\\n' \"$name\"\n  exec 3>&1\n  errors=$(\"$@\" 2>&1 1>&3 3>&-)\n  code=$?\n  \
         printf '\\n{MARK}end %s\\n%s\\n{MARK}over\\n' \"$code\" \"$errors\"\n}}\n"
    );
    for (question, words) in questions {
        let _ = writeln!(script, "ask {} {}", question.as_str(), quoted(words));
    }
    script
}

/// The script that takes the database back: one command after the other, up to the first that fails; then it asks where the
/// database is, and ends as the commands did.
///
/// Programs that speak to PostgreSQL through libpq take the limits from `PGOPTIONS`; others do not know it.
pub fn downgrade(
    commands: &[Vec<String>],
    then: &[(Question, Vec<String>)],
    settings: &DatabaseConfig,
) -> String {
    let mut limits = String::new();
    for (name, limit) in
        [("lock_timeout", settings.lock_timeout), ("statement_timeout", settings.statement_timeout)]
    {
        if !limit.is_zero() {
            let _ = write!(limits, " -c {name}={}", limit.as_millis());
        }
    }
    let commands: Vec<String> = commands.iter().map(|words| quoted(words)).collect();
    let options =
        if limits.is_empty() { String::new() } else { format!("export PGOPTIONS=\"$PGOPTIONS{limits}\"; ") };
    format!("({options}{})\nended=$?\n{}exit $ended\n", commands.join(" && "), questions(then))
}

/// The part of a log that is not the answers to questions: what [`downgrade`]'s commands have said.
pub fn words(log: &str) -> &str {
    log.find(MARK).map_or(log, |start| &log[..start]).trim()
}

/// Words as a shell takes them for the same words.
fn quoted(words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<String>>().join(" ")
}

/// What a pod that ran [`questions`] has said.
pub fn answers(log: &str, asked: &[(Question, Vec<String>)]) -> Vec<Said> {
    let mut said = Vec::new();
    let (mut question, mut code) = (None, None);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for line in log.lines() {
        match line.strip_prefix(MARK).map(|mark| mark.split_once(' ').unwrap_or((mark, ""))) {
            Some(("begin", name)) => {
                question = asked.iter().map(|(question, _)| *question).find(|asked| asked.as_str() == name);
                code = None;
                stdout.clear();
                stderr.clear();
            }
            Some(("end", number)) => code = number.parse().ok(),
            Some(_) => {
                if let (Some(question), Some(code)) = (question.take(), code.take()) {
                    let (stdout, stderr) = (std::mem::take(&mut stdout), std::mem::take(&mut stderr));
                    said.push(Said { question, code, stdout, stderr });
                }
            }
            None => {
                let text = if code.is_some() { &mut stderr } else { &mut stdout };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    said
}
