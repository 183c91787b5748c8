//! From a snapshot of a release to what a rollback will do to each object, hook and workload. Pure.
//!
//! A plan names objects and says what happens to them; it holds none of their contents, so that it can be printed and
//! saved without showing a secret. What the server makes of it is a [`forecast`].

pub mod forecast;
pub mod objects;
pub mod saved;
#[cfg(test)]
mod tests;
pub mod version;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::discover::Workload;
use crate::discover::rollback::{FoundObject, RollbackSnapshot};
use crate::discover::workload::REPLICAS_BEFORE;
use crate::event::{Check, Finding, FindingStatus};
use crate::helm::record::Record;
use crate::plan::WorkloadPlan;
use crate::plan::database::DatabasePlan;
use crate::workload::{WorkloadKind, WorkloadRef};
use objects::ObjectKey;

/// Annotation by which a chart asks for an object to stay.
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// What the operator wants beside the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Request {
    /// `--keep-replicas`.
    pub keep_replicas: bool,
    /// `--allow-delete KIND/NAME`.
    pub allow_delete: Vec<String>,
    /// `--no-hooks`.
    pub no_hooks: bool,
    /// `--restart`.
    pub restart: bool,
    /// `--force-replace`.
    pub force_replace: bool,
    /// The new revision's description.
    pub description: Option<String>,
    /// `--reason` and `--incident`, as they end a description of ours.
    pub reason: Option<String>,
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPlan {
    /// The release.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
    /// Its newest revision.
    pub current_revision: u64,
    /// That revision's status.
    pub current_status: String,
    /// The revision that is gone back to.
    pub target_revision: u64,
    /// The revision that will describe the result.
    pub new_revision: u64,
    /// Its description.
    pub description: String,
    /// The objects: the target's in its order, then what is deleted.
    pub objects: Vec<ObjectStep>,
    /// The target's hooks that will run.
    pub hooks: Vec<HookStep>,
    /// Workloads whose readiness is waited for.
    pub waits: Vec<WorkloadRef>,
    /// `StatefulSet`s whose broken pods are deleted after the write.
    pub unstick: Vec<WorkloadRef>,
    /// Workloads whose pods will keep old settings unless they are restarted.
    pub restarts: Vec<Restart>,
    /// What planning itself found out.
    pub findings: Vec<Finding>,
    /// How the database goes back before anything is applied, where it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub database: Option<Box<DatabasePlan>>,
    /// The workloads that are stopped meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stopped: Vec<WorkloadPlan>,
}

/// What happens to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStep {
    /// Which.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// The version of its API that is used.
    pub api_version: String,
    /// What happens.
    pub action: Action,
    /// Why it stays, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// UID of the live object.
    pub uid: Option<String>,
    /// What tells whether somebody changed the live object: [`version::of`] it.
    pub version: Option<String>,
    /// The number of pods to send in place of the rendered one.
    pub replicas: Option<i64>,
    /// Whether the note of an interrupted emergency is taken off the object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
}

impl ObjectStep {
    /// The workload that the object is; `None` for every other kind.
    pub fn workload(&self) -> Option<WorkloadRef> {
        workload_ref(&self.key)
    }
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It does not exist, and is made.
    Create,
    /// The target is applied to it.
    Apply,
    /// It is written whole.
    Replace,
    /// The target does not have it: it is deleted.
    Delete,
    /// The target does not have it, and it stays.
    Keep,
}

/// A hook that will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStep {
    /// `pre-rollback` or `post-rollback`.
    pub event: String,
    /// The object's kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

/// A workload whose pod template stays while what it refers to changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The workload.
    pub workload: WorkloadRef,
    /// The ConfigMaps and Secrets that change.
    pub because: Vec<String>,
    /// Whether it will be restarted.
    pub planned: bool,
}

/// The events of a rollback, in the order in which their hooks run.
pub const HOOK_EVENTS: [&str; 2] = ["pre-rollback", "post-rollback"];

/// Plans a rollback.
pub fn plan(request: &Request, snapshot: &RollbackSnapshot) -> RollbackPlan {
    let target = snapshot.choice.revision;
    let newest = &snapshot.metas[0];
    let objects: Vec<ObjectStep> =
        snapshot.objects.iter().filter_map(|found| step(request, snapshot, found)).collect();
    let mut plan = RollbackPlan {
        release: snapshot.name.clone(),
        namespace: snapshot.namespace.clone(),
        current_revision: newest.revision,
        current_status: newest.status.to_string(),
        target_revision: target,
        new_revision: newest.revision + 1,
        description: description(request, target),
        waits: waits(&objects),
        unstick: unstick(snapshot, &objects),
        objects,
        hooks: hooks(request, &snapshot.target.record),
        restarts: Vec::new(),
        findings: Vec::new(),
        database: None,
        stopped: Vec::new(),
    };
    plan.findings = findings(request, snapshot, &plan);
    plan
}

fn description(request: &Request, target: u64) -> String {
    if let Some(description) = &request.description {
        return description.clone();
    }
    let text = match &request.reason {
        Some(reason) => format!("Rollback to {target}: {reason}"),
        None => format!("Rollback to {target}"),
    };
    crate::reconcile::shorten(&text)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn step(request: &Request, snapshot: &RollbackSnapshot, found: &FoundObject) -> Option<ObjectStep> {
    let history = &found.history;
    let live = found.live.as_ref();
    let (action, why) = match (&history.target, live) {
        (Some(_), None) => (Action::Create, None),
        (Some(_), Some(_)) if request.force_replace => (Action::Replace, None),
        (Some(_), Some(_)) => (Action::Apply, None),
        // What newer revisions brought is gone already.
        (None, None) => return None,
        (None, Some(live)) => match reason_to_keep(request, snapshot, &history.key, live) {
            Some(why) => (Action::Keep, Some(why)),
            None => (Action::Delete, None),
        },
    };
    Some(ObjectStep {
        key: history.key.clone(),
        api_version: history.api_version.clone(),
        action,
        why,
        uid: live.and_then(|live| text(live, "/metadata/uid")).map(str::to_owned),
        version: live.and_then(version::of),
        replicas: replicas(request, snapshot, found),
        forget: history.target.is_some()
            && live.is_some_and(|live| live["metadata"]["annotations"].get(REPLICAS_BEFORE).is_some()),
    })
}

/// Why an object that the target lacks is not deleted.
fn reason_to_keep(
    request: &Request,
    snapshot: &RollbackSnapshot,
    key: &ObjectKey,
    live: &Value,
) -> Option<String> {
    if !objects::belongs_to(live, &snapshot.name, &snapshot.namespace) {
        return Some(match objects::owner_of(live) {
            Some(owner) => format!("it belongs to release {owner} now"),
            None => "nothing on it says any more that it belongs to this release".to_owned(),
        });
    }
    let policy = live["metadata"]["annotations"].get(RESOURCE_POLICY).and_then(Value::as_str);
    if policy == Some("keep") {
        return Some(format!("{RESOURCE_POLICY}: keep"));
    }
    let takes_along = match (key.group.as_str(), key.kind.as_str()) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => "every custom resource of it",
        ("", "PersistentVolumeClaim" | "PersistentVolume") => "the data on it",
        ("", "Namespace") => "everything in it",
        _ => return None,
    };
    let is_allowed = request.allow_delete.iter().any(|allowed| {
        allowed
            .split_once('/')
            .is_some_and(|(kind, name)| kind.eq_ignore_ascii_case(&key.kind) && name == key.name)
    });
    (!is_allowed).then(|| format!("deleting it would take {takes_along} along (--allow-delete {key})"))
}

fn workload_ref(key: &ObjectKey) -> Option<WorkloadRef> {
    let kind = WorkloadKind::from_api(&key.kind)?;
    (kind.api_resource().group == key.group).then(|| WorkloadRef {
        kind,
        namespace: key.namespace.clone().unwrap_or_default(),
        name: key.name.clone(),
    })
}

/// The number of pods to send: the live one where somebody else decides it, or where the operator wants it kept.
fn replicas(request: &Request, snapshot: &RollbackSnapshot, found: &FoundObject) -> Option<i64> {
    let target = found.history.target.as_ref()?;
    let workload = snapshot.workload(&workload_ref(&found.history.key)?)?;
    let live = i64::from(workload.replicas?);
    let renders = target.pointer("/spec/replicas").is_some();
    if let Some(remembered) = remembered(workload) {
        // An interrupted run left it at zero; where the target renders a number that one counts.
        return (!renders || request.keep_replicas).then_some(remembered);
    }
    if request.keep_replicas {
        return Some(live);
    }
    let autoscaler = workload.autoscaler.as_ref().filter(|_| renders)?;
    let goes_away = snapshot.objects.iter().any(|other| {
        other.history.target.is_none()
            && other.history.key.kind == autoscaler.kind
            && other.history.key.name == autoscaler.name
    });
    (!goes_away).then(|| if live == 0 { i64::from(autoscaler.minimum.max(1)) } else { live })
}

fn remembered(workload: &Workload) -> Option<i64> {
    let number = workload.annotations.get(REPLICAS_BEFORE)?.parse().ok()?;
    (workload.replicas == Some(0)).then_some(number)
}

fn waits(objects: &[ObjectStep]) -> Vec<WorkloadRef> {
    objects
        .iter()
        .filter(|step| matches!(step.action, Action::Create | Action::Apply | Action::Replace))
        .filter_map(|step| workload_ref(&step.key))
        .filter(|workload| workload.kind != WorkloadKind::CronJob)
        .collect()
}

/// `StatefulSet`s with pods that are not ready: their controller waits for those for ever.
fn unstick(snapshot: &RollbackSnapshot, objects: &[ObjectStep]) -> Vec<WorkloadRef> {
    objects
        .iter()
        .filter(|step| matches!(step.action, Action::Apply | Action::Replace))
        .filter_map(|step| workload_ref(&step.key))
        .filter(|workload| workload.kind == WorkloadKind::StatefulSet)
        .filter(|reference| {
            snapshot.workload(reference).is_some_and(|workload| {
                let is_rolled = !workload.on_delete && workload.partition == 0;
                is_rolled && workload.live_pods().any(|pod| !pod.ready)
            })
        })
        .collect()
}

fn hooks(request: &Request, target: &Record) -> Vec<HookStep> {
    if request.no_hooks {
        return Vec::new();
    }
    HOOK_EVENTS
        .iter()
        .flat_map(|event| {
            // One that cannot be read is a finding, see below.
            let hooks = crate::helm::hooks::of_event(target, event).unwrap_or_default();
            hooks.into_iter().map(|hook| HookStep {
                event: (*event).to_owned(),
                kind: hook.kind.clone(),
                name: hook.name.clone(),
            })
        })
        .collect()
}

fn findings(request: &Request, snapshot: &RollbackSnapshot, plan: &RollbackPlan) -> Vec<Finding> {
    let finding = |check, subject: String, status, message: String, hint: &str| Finding {
        check,
        subject,
        status,
        message,
        hint: hint.to_owned(),
    };
    let mut findings: Vec<Finding> = snapshot
        .obstacles
        .iter()
        .map(|obstacle| {
            finding(
                Check::Api,
                format!("revision {}", plan.target_revision),
                FindingStatus::Fail,
                obstacle.clone(),
                "choose another revision: kubectl rollback history; or bring only the images back: kubectl rollback emergency --to-revision",
            )
        })
        .collect();
    for event in HOOK_EVENTS.iter().filter(|_| !request.no_hooks) {
        if let Err(error) = crate::helm::hooks::of_event(&snapshot.target.record, event) {
            findings.push(finding(
                Check::Api,
                format!("{event} hooks"),
                FindingStatus::Fail,
                error.to_string(),
                "leave the hooks out with --no-hooks",
            ));
        }
    }
    for found in &snapshot.objects {
        let (Some(_), Some(live)) = (&found.history.target, &found.live) else { continue };
        if objects::belongs_to(live, &snapshot.name, &snapshot.namespace) {
            continue;
        }
        let subject = found.history.key.to_string();
        findings.push(match objects::owner_of(live) {
            Some(owner) => finding(
                Check::Owner,
                subject,
                FindingStatus::Fail,
                format!("it belongs to release {owner} now"),
                "rename it in one of the charts, or take it over with --skip-preflight",
            ),
            None => finding(
                Check::Owner,
                subject,
                FindingStatus::Warn,
                "nothing on it says that it belongs to this release; it will be marked and changed"
                    .to_owned(),
                "",
            ),
        });
    }
    for step in plan.objects.iter().filter(|step| step.action == Action::Keep) {
        let why = step.why.clone().unwrap_or_default();
        findings.push(finding(
            Check::Owner,
            step.key.to_string(),
            FindingStatus::Warn,
            format!("stays although revision {} does not have it: {why}", plan.target_revision),
            "",
        ));
    }
    findings
}
