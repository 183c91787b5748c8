//! Tables over what happens to each object, and what is said of it.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::forecast::{self, Answer, Forecast, ObjectChange};
use super::objects::{self, ObjectHistory, ObjectKey, Rendered};
use super::saved::{SavedPlan, moved};
use super::*;
use crate::discover::apis::Apis;
use crate::discover::rollback::{Choice, ChosenBy};
use crate::discover::workload::Autoscaler;
use crate::helm::meta::RecordMeta;
use crate::helm::storage::StoredRecord;

fn key(kind: &str, name: &str) -> ObjectKey {
    let group = match kind {
        "Deployment" | "StatefulSet" => "apps",
        "CustomResourceDefinition" => "apiextensions.k8s.io",
        _ => "",
    };
    let namespace = (kind != "Namespace" && kind != "CustomResourceDefinition").then(|| "shop".to_owned());
    ObjectKey { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }
}

fn owned(mut object: Value) -> Value {
    object["metadata"]["annotations"][objects::RELEASE_NAME] = json!("todo");
    object["metadata"]["annotations"][objects::RELEASE_NAMESPACE] = json!("shop");
    object
}

fn found(kind: &str, name: &str, target: Option<Value>, live: Option<Value>) -> FoundObject {
    let key = key(kind, name);
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(&key.group, "v1", kind),
        &format!("{}s", kind.to_lowercase()),
    );
    let api_version = resource.api_version.clone();
    FoundObject {
        history: ObjectHistory { key, api_version, target, newer: Vec::new(), current: None },
        resource,
        live,
    }
}

fn stored(revision: u64, status: &str) -> StoredRecord {
    let body = json!({
        "name": "todo", "version": revision, "namespace": "shop", "info": {"status": status}, "manifest": "",
        "hooks": [
            {"name": "migrate", "kind": "Job", "manifest": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}", "events": ["pre-rollback"]},
            {"name": "seed", "kind": "Job", "manifest": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: seed}", "events": ["post-install"]},
        ],
    });
    StoredRecord {
        meta: RecordMeta::for_test("todo", revision, status),
        record: Record::from_json(body).unwrap(),
    }
}

fn snapshot(objects: Vec<FoundObject>) -> RollbackSnapshot {
    RollbackSnapshot {
        name: "todo".to_owned(),
        namespace: "shop".to_owned(),
        metas: vec![RecordMeta::for_test("todo", 7, "failed"), RecordMeta::for_test("todo", 5, "superseded")],
        current: stored(7, "failed"),
        target: stored(5, "superseded"),
        choice: Choice { revision: 5, skipped: Vec::new(), helm: None, by: ChosenBy::Search, doubt: None },
        objects,
        apis: Apis::default(),
        obstacles: Vec::new(),
        workloads: Vec::new(),
        owners: Vec::new(),
        warnings: Vec::new(),
    }
}

fn live(kind: &str, name: &str) -> Value {
    owned(json!({"kind": kind, "metadata": {"name": name, "uid": "u", "resourceVersion": "9"}}))
}

fn actions(plan: &RollbackPlan) -> Vec<(String, Action)> {
    plan.objects.iter().map(|step| (step.key.to_string(), step.action)).collect()
}

#[test]
fn each_object_gets_what_the_revisions_and_the_cluster_say() {
    let rendered = || Some(json!({"kind": "ConfigMap"}));
    let mut kept = live("ConfigMap", "kept");
    kept["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    let mut loud = live("ConfigMap", "loud");
    loud["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("Keep");
    let mut foreign = live("ConfigMap", "foreign");
    foreign["metadata"]["annotations"][objects::RELEASE_NAME] = json!("other");
    let unmarked = json!({"kind": "ConfigMap", "metadata": {"name": "unmarked"}});
    let snapshot = snapshot(vec![
        found("ConfigMap", "new", rendered(), None),
        found("ConfigMap", "both", rendered(), Some(live("ConfigMap", "both"))),
        found("ConfigMap", "gone", None, None),
        found("ConfigMap", "old", None, Some(live("ConfigMap", "old"))),
        found("ConfigMap", "kept", None, Some(kept)),
        found("ConfigMap", "loud", None, Some(loud)),
        found("ConfigMap", "foreign", None, Some(foreign)),
        found("ConfigMap", "unmarked", None, Some(unmarked)),
        found("PersistentVolumeClaim", "data", None, Some(live("PersistentVolumeClaim", "data"))),
        found("CustomResourceDefinition", "crd", None, Some(live("CustomResourceDefinition", "crd"))),
    ]);
    let with = |request: Request| actions(&plan(&request, &snapshot));
    let expected = |data: Action, both: Action| -> Vec<(String, Action)> {
        [
            ("ConfigMap/new", Action::Create),
            ("ConfigMap/both", both),
            ("ConfigMap/old", Action::Delete),
            ("ConfigMap/kept", Action::Keep),
            // As in Helm, only the exact word counts.
            ("ConfigMap/loud", Action::Delete),
            ("ConfigMap/foreign", Action::Keep),
            ("ConfigMap/unmarked", Action::Keep),
            ("PersistentVolumeClaim/data", data),
            ("CustomResourceDefinition/crd", Action::Keep),
        ]
        .map(|(name, action)| (name.to_owned(), action))
        .to_vec()
    };
    assert_eq!(with(Request::default()), expected(Action::Keep, Action::Apply));
    let allowed = vec!["persistentvolumeclaim/data".to_owned(), "ConfigMap/kept".to_owned()];
    assert_eq!(
        with(Request { allow_delete: allowed, ..Request::default() }),
        expected(Action::Delete, Action::Apply)
    );
    assert_eq!(
        with(Request { force_replace: true, ..Request::default() }),
        expected(Action::Keep, Action::Replace)
    );
}

#[test]
fn an_object_of_another_release_is_not_taken_over_silently() {
    let mut foreign = live("ConfigMap", "theirs");
    foreign["metadata"]["annotations"][objects::RELEASE_NAME] = json!("other");
    let unmarked = json!({"kind": "ConfigMap", "metadata": {"name": "nobodys"}});
    let target = || Some(json!({"kind": "ConfigMap"}));
    let snapshot = snapshot(vec![
        found("ConfigMap", "theirs", target(), Some(foreign)),
        found("ConfigMap", "nobodys", target(), Some(unmarked)),
        found("ConfigMap", "ours", target(), Some(live("ConfigMap", "ours"))),
    ]);
    let findings = plan(&Request::default(), &snapshot).findings;
    let said: Vec<(&str, FindingStatus)> =
        findings.iter().map(|finding| (finding.subject.as_str(), finding.status)).collect();
    assert_eq!(said, [("ConfigMap/theirs", FindingStatus::Fail), ("ConfigMap/nobodys", FindingStatus::Warn)]);
    assert!(findings[0].message.contains("shop/other"), "{findings:?}");
}

fn deployment(replicas: Option<i64>) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}});
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

fn sent(
    rendered: Option<i64>,
    live: i64,
    scaler: bool,
    request: &Request,
    note: Option<&str>,
) -> Option<i64> {
    let mut object = owned(deployment(Some(live)));
    if let Some(note) = note {
        object["metadata"]["annotations"][REPLICAS_BEFORE] = json!(note);
    }
    let mut workload =
        Workload::read(WorkloadKind::Deployment, &serde_json::from_value(object.clone()).unwrap());
    workload.autoscaler = scaler.then(|| Autoscaler {
        kind: "HorizontalPodAutoscaler",
        name: "web".to_owned(),
        minimum: 2,
        maximum: 9,
        paused: false,
        held: None,
        limited: false,
    });
    let mut snapshot = snapshot(vec![found("Deployment", "web", Some(deployment(rendered)), Some(object))]);
    snapshot.workloads = vec![workload];
    plan(request, &snapshot).objects[0].replicas
}

#[test]
fn replicas_are_sent_where_somebody_else_decides_them() {
    let plain = Request::default();
    let keep = Request { keep_replicas: true, ..Request::default() };
    for (rendered, live, scaler, request, note, expected) in [
        (Some(2), 5, false, &plain, None, None),
        (Some(2), 5, true, &plain, None, Some(5)),
        (Some(2), 0, true, &plain, None, Some(2)),
        (None, 5, true, &plain, None, None),
        (Some(2), 5, false, &keep, None, Some(5)),
        (None, 5, false, &keep, None, Some(5)),
        // Left at zero by an interrupted run, which remembered the number.
        (None, 0, false, &plain, Some("4"), Some(4)),
        (Some(2), 0, false, &plain, Some("4"), None),
        (Some(2), 0, false, &keep, Some("4"), Some(4)),
    ] {
        assert_eq!(
            sent(rendered, live, scaler, request, note),
            expected,
            "{rendered:?} {live} {scaler} {} {note:?}",
            request.keep_replicas
        );
    }
}

#[test]
fn hooks_are_those_of_the_target_and_can_be_left_out() {
    let snapshot = snapshot(Vec::new());
    let hooks = plan(&Request::default(), &snapshot).hooks;
    assert_eq!(
        hooks,
        [HookStep { event: "pre-rollback".into(), kind: "Job".into(), name: "migrate".into() }]
    );
    assert_eq!(plan(&Request { no_hooks: true, ..Request::default() }, &snapshot).hooks, []);
}

#[test]
fn the_description_is_helms_unless_somebody_wants_another() {
    let snapshot = snapshot(Vec::new());
    let said = |request: Request| plan(&request, &snapshot).description;
    assert_eq!(said(Request::default()), "Rollback to 5");
    let reason = Request { reason: Some("checkout fails (INC-1)".into()), ..Request::default() };
    assert_eq!(said(reason.clone()), "Rollback to 5: checkout fails (INC-1)");
    assert_eq!(said(Request { description: Some("own".into()), ..reason }), "own");
}

#[test]
fn the_baseline_is_every_newer_revision() {
    let object = |name: &str, value: i64| Rendered {
        key: key("ConfigMap", name),
        api_version: "v1".to_owned(),
        value: json!({"data": value}),
    };
    let target = [object("a", 1), object("b", 1)];
    let newer =
        [vec![object("a", 3), object("c", 3)], vec![object("a", 2), object("d", 2)], vec![object("a", 1)]];
    let histories = objects::histories(&target, &newer);
    let seen: Vec<(&str, bool, Vec<i64>, bool)> = histories
        .iter()
        .map(|history| {
            let newer = history.newer.iter().filter_map(|value| value["data"].as_i64()).collect();
            (history.key.name.as_str(), history.target.is_some(), newer, history.current.is_some())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("a", true, vec![3, 2], true),
            ("b", true, vec![], false),
            ("c", false, vec![3], true),
            ("d", false, vec![2], false),
        ]
    );
}

#[test]
fn a_restart_is_offered_where_only_what_is_referred_to_changes() {
    let web = |image: &str| {
        let mut object = owned(deployment(Some(1)));
        object["spec"]["template"] = json!({"spec": {"containers": [{"name": "web", "image": image,
            "envFrom": [{"configMapRef": {"name": "settings"}}]}], "volumes": [{"name": "s", "secret": {"secretName": "keys"}}]}});
        object
    };
    let data = |kind: &str, name: &str, value: &str| {
        let mut object = live(kind, name);
        object["data"] = json!({"key": value});
        object
    };
    let snapshot = snapshot(vec![
        found("ConfigMap", "settings", Some(json!({})), Some(data("ConfigMap", "settings", "a"))),
        found("Secret", "keys", Some(json!({})), Some(data("Secret", "keys", "a"))),
        found("ConfigMap", "unrelated", Some(json!({})), Some(data("ConfigMap", "unrelated", "a"))),
        found("Deployment", "web", Some(deployment(None)), Some(web("web:1"))),
    ]);
    let plan = plan(&Request::default(), &snapshot);
    let forecast = |image: &str| Forecast {
        answers: vec![
            (key("ConfigMap", "settings"), Answer::After(data("ConfigMap", "settings", "b"))),
            (key("Secret", "keys"), Answer::After(data("Secret", "keys", "a"))),
            (key("ConfigMap", "unrelated"), Answer::After(data("ConfigMap", "unrelated", "b"))),
            (key("Deployment", "web"), Answer::After(web(image))),
        ],
    };
    let offered = forecast::restarts(&plan, &snapshot, &forecast("web:1"), false);
    assert_eq!(offered.len(), 1);
    assert_eq!(
        (offered[0].because.clone(), offered[0].planned),
        (vec!["ConfigMap/settings".to_owned()], false)
    );
    assert_eq!(
        forecast::restarts(&plan, &snapshot, &forecast("web:2"), false),
        [],
        "its pods are replaced anyway"
    );

    let changes: Vec<ObjectChange> =
        forecast::differences(&plan, &snapshot, &forecast("web:1")).iter().map(|diff| diff.change).collect();
    assert_eq!(
        changes,
        [ObjectChange::Changed, ObjectChange::Unchanged, ObjectChange::Changed, ObjectChange::Unchanged]
    );
}

#[test]
fn a_saved_plan_notices_that_the_cluster_moved() {
    let snapshot = snapshot(vec![
        found("ConfigMap", "a", Some(json!({})), Some(live("ConfigMap", "a"))),
        found("ConfigMap", "b", Some(json!({})), None),
    ]);
    let saved = plan(&Request::default(), &snapshot);
    assert_eq!(moved(&saved, &saved), [""; 0]);
    let changed = |change: &dyn Fn(&mut RollbackPlan)| {
        let mut fresh = saved.clone();
        change(&mut fresh);
        moved(&saved, &fresh).join("; ")
    };
    for (change, said) in [
        (
            &(|plan: &mut RollbackPlan| plan.current_revision = 8) as &dyn Fn(&mut RollbackPlan),
            "at revision 8",
        ),
        (&|plan: &mut RollbackPlan| plan.current_status = "deployed".into(), "is deployed now"),
        (&|plan: &mut RollbackPlan| plan.objects[0].version = Some("x".into()), "ConfigMap/a was changed"),
        (
            &|plan: &mut RollbackPlan| plan.objects[1].uid = Some("x".into()),
            "ConfigMap/b was deleted, created",
        ),
        (&|plan: &mut RollbackPlan| drop(plan.objects.pop()), "ConfigMap/b is gone"),
        (
            &|plan: &mut RollbackPlan| plan.objects[1].action = Action::Apply,
            "done to ConfigMap/b is something else",
        ),
        (&|plan: &mut RollbackPlan| plan.hooks.clear(), "hooks"),
    ] {
        let moves = changed(change);
        assert!(moves.contains(said), "{said}: {moves}");
    }
}

#[test]
fn only_plans_are_read_as_plans() {
    for (text, why) in [
        ("", "is not a plan"),
        ("{\"kind\":\"Result\",\"apiVersion\":\"kubectl-rollback/v1\"}", "holds a Result"),
        ("{\"kind\":\"Plan\",\"apiVersion\":\"kubectl-rollback/v9\"}", "of kubectl-rollback/v9"),
        ("{\"kind\":\"Plan\",\"apiVersion\":\"kubectl-rollback/v1\"}", "is not a plan"),
        (
            "{\"kind\":\"Plan\",\"apiVersion\":\"kubectl-rollback/v1\",\"procedure\":\"emergency\"}",
            "kubectl rollback emergency --plan plan.json",
        ),
    ] {
        let error = SavedPlan::parse("plan.json", text, "to").unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
