//! What an emergency plans for a small release, and what it asks.

use super::saved::{Order, PROCEDURE, SavedEmergency, again};
use super::*;
use crate::discover::workload::{Autoscaler, PodSummary, REPLICAS_BEFORE};
use crate::discover::{Release, Scope};
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::plan::strategy::Strategy;
use crate::workload::{ContainerRef, WorkloadRef};
use serde_json::json;
use std::collections::BTreeMap;

fn deployment(name: &str, image: &str, replicas: i32) -> Workload {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": name, "image": image}]}}}
    });
    Workload::read(WorkloadKind::Deployment, &serde_json::from_value(object).unwrap())
}

fn reference(name: &str) -> WorkloadRef {
    WorkloadRef { kind: WorkloadKind::Deployment, namespace: "n".into(), name: name.into() }
}

/// A release whose revisions render the given images, oldest first; every workload with `replicas: 2`.
fn release(revisions: &[&[(&str, &str)]]) -> Release {
    let stored = |(revision, images): (u64, &&[(&str, &str)])| StoredRevision {
        revision,
        status: "superseded".into(),
        description: "Upgrade complete".into(),
        images: images
            .iter()
            .map(|(name, image)| {
                let container = ContainerRef { workload: reference(name), container: (*name).to_owned() };
                (container, image.parse().unwrap())
            })
            .collect(),
        replicas: images.iter().map(|(name, _)| (reference(name), Some(2))).collect(),
    };
    let mut revisions: Vec<StoredRevision> = (1..).zip(revisions).map(stored).collect();
    revisions.reverse();
    Release {
        name: "app".into(),
        metas: Vec::new(),
        records: Vec::new(),
        unreadable: Vec::new(),
        contradictory: Vec::new(),
        base_revision: revisions.first().map(|stored| stored.revision),
        revisions,
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        release_name: Some("app".into()),
        release: Some(release(&[
            &[("web", "acme/web:one"), ("api", "acme/api:one"), ("redis", "redis:7")],
            &[("web", "acme/web:two"), ("api", "acme/api:two"), ("redis", "redis:7")],
        ])),
        workloads: vec![
            deployment("api", "acme/api:two", 2),
            deployment("redis", "redis:7", 1),
            deployment("web", "acme/web:two", 5),
        ],
        ..Snapshot::default()
    }
}

fn to_tag(tag: &str) -> Request {
    Request { target: Target::Tag(tag.into()), ..Request::default() }
}

#[test]
fn swaps_the_application_and_names_the_equal_revision() {
    let plan = plan(&to_tag("one"), &snapshot()).unwrap();
    let names: Vec<&str> = plan.workloads.iter().map(|planned| planned.workload.name.as_str()).collect();
    assert_eq!(names, ["api", "web"]);
    assert_eq!(plan.skipped[0].what, "Deployment/redis redis");
    assert_eq!(plan.same_images_as, Some(1));
    assert_eq!(plan.workloads[1].replicas, Some(ReplicaPlan { before: 5, after: 5, live: 5 }));
    assert_eq!(plan.workloads[1].containers[0].to.to_string(), "acme/web:one");
}

#[test]
fn an_equal_revision_that_failed_is_not_named() {
    let mut snapshot = snapshot();
    let revisions = &mut snapshot.release.as_mut().unwrap().revisions;
    revisions.last_mut().unwrap().description = "Upgrade \"app\" failed: web is not ready".into();
    assert_eq!(plan(&to_tag("one"), &snapshot).unwrap().same_images_as, None);
}

#[test]
fn what_is_there_already_is_not_written() {
    let plan = plan(&to_tag("two"), &snapshot()).unwrap();
    assert!(plan.workloads.is_empty());
    assert_eq!(plan.unchanged.len(), 2);
}

#[test]
fn a_remembered_number_comes_back_and_an_autoscaler_raises_it() {
    let mut found = snapshot();
    found.workloads[0] = deployment("api", "acme/api:one", 0);
    found.workloads[0].annotations.insert(REPLICAS_BEFORE.into(), "3".into());
    let planned = plan(&to_tag("one"), &found).unwrap();
    let api = &planned.workloads[0];
    assert_eq!(api.replicas, Some(ReplicaPlan { before: 3, after: 3, live: 0 }));
    assert!(api.containers.is_empty() && api.forget && api.strategy == Strategy::Rolling);

    found.workloads[0].autoscaler = Some(Autoscaler {
        kind: "HorizontalPodAutoscaler",
        name: "api".into(),
        minimum: 4,
        maximum: 9,
        paused: false,
        held: None,
        limited: false,
    });
    let planned = plan(&to_tag("one"), &found).unwrap();
    assert_eq!(planned.workloads[0].replicas.unwrap().after, 4);
}

#[test]
fn a_zero_that_nobody_remembers_is_asked() {
    let mut found = snapshot();
    found.workloads[0] = deployment("api", "acme/api:two", 0);
    let Err(PlanError::Questions(questions)) = plan(&to_tag("one"), &found) else { panic!("no question") };
    assert!(questions[0].to_string().contains("--replicas deploy/api=2 (the number of Helm's manifest)"));
    let mut request = to_tag("one");
    request.replicas = vec!["deploy/api=4".parse().unwrap()];
    assert_eq!(plan(&request, &found).unwrap().workloads[0].replicas.unwrap().after, 4);
}

#[test]
fn an_intended_zero_stays() {
    let mut found = snapshot();
    found.workloads[0] = deployment("api", "acme/api:two", 0);
    for stored in &mut found.release.as_mut().unwrap().revisions {
        stored.replicas = BTreeMap::from([(reference("api"), Some(0))]);
    }
    assert_eq!(plan(&to_tag("one"), &found).unwrap().workloads[0].replicas.unwrap().after, 0);
}

#[test]
fn unclear_containers_name_the_flags_that_decide() {
    let mut found = snapshot();
    found.release = None;
    let Err(error) = plan(&to_tag("never"), &found) else { panic!("nothing was asked") };
    let text = error.to_string();
    assert!(text.contains("--container deploy/api/api or --exclude deploy/api/api"), "{text}");
}

#[test]
fn revisions_give_each_container_its_own_image() {
    let request = Request { target: Target::Revision(1), ..Request::default() };
    let planned = plan(&request, &snapshot()).unwrap();
    assert_eq!(planned.workloads.len(), 2);
    let missing = Request { target: Target::Revision(9), ..Request::default() };
    assert_eq!(plan(&missing, &snapshot()), Err(PlanError::NoSuchRevision(9, "2, 1".into())));
}

#[test]
fn a_digest_fits_one_repository_only() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut request = Request { target: Target::Digest(digest.clone()), ..Request::default() };
    assert!(matches!(plan(&request, &snapshot()), Err(PlanError::DigestNeedsOneRepository(_))));
    request.take = vec!["deploy/web".parse().unwrap()];
    request.keep = vec!["deploy/api".parse().unwrap()];
    let planned = plan(&request, &snapshot()).unwrap();
    assert_eq!(planned.workloads[0].containers[0].to.to_string(), format!("acme/web@{digest}"));
}

#[test]
fn flags_that_name_nothing_are_refused_first() {
    let mut request = to_tag("one");
    request.keep = vec!["deploy/wbe".parse().unwrap()];
    let Err(error) = plan(&request, &snapshot()) else { panic!("accepted") };
    assert!(error.to_string().contains("--exclude deploy/wbe names no container"), "{error}");
}

#[test]
fn images_by_repository_leave_the_rest_alone() {
    let request = Request { images: vec!["redis=7.4".parse().unwrap()], ..Request::default() };
    let planned = plan(&request, &snapshot()).unwrap();
    assert_eq!(planned.workloads.len(), 1);
    assert_eq!(planned.workloads[0].containers[0].to.to_string(), "redis:7.4");
}

fn order() -> Order {
    let request = Request {
        images: vec!["redis=7.4".parse().unwrap()],
        take: vec!["deploy/web/web".parse().unwrap()],
        keep: vec!["deploy/api".parse().unwrap()],
        replicas: vec!["deploy/web=3".parse().unwrap()],
        wish: Wish::StopFirst,
        ..to_tag("one")
    };
    let scope = Scope::Release(Some("app".into()));
    Order { namespace: "n".into(), scope, skip_reconcile: true, request }
}

#[test]
fn a_saved_plan_says_the_same_when_it_is_read() {
    let planned = plan(&to_tag("one"), &with_records()).unwrap();
    let saved = SavedEmergency::new(PROCEDURE, jiff::Timestamp::UNIX_EPOCH, "prod", order(), planned);
    let text = serde_json::to_string_pretty(&saved).unwrap();
    assert_eq!(SavedEmergency::parse("plan.json", &text, PROCEDURE).unwrap(), saved, "{text}");
    let error = SavedEmergency::parse("plan.json", &text, "to").unwrap_err().to_string();
    assert!(error.ends_with("kubectl rollback emergency --plan plan.json"), "{error}");
    for scope in [Scope::Selector("app=web".into()), Scope::Workloads(vec!["deploy/web".parse().unwrap()])] {
        let order = Order { scope, ..order() };
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order, "{text}");
    }
}

#[test]
fn an_order_is_told_as_a_command_line() {
    assert_eq!(
        order().arguments(),
        "app -n n --tag one --image redis=redis:7.4 --container deploy/web/web --exclude deploy/api --replicas deploy/web=3 --strategy stop-first --skip-reconcile"
    );
    let scope = Scope::Selector("app=web".into());
    let request = Request { target: Target::Revision(4), ..Request::default() };
    let plain = Order { namespace: "n".into(), scope, skip_reconcile: false, request };
    assert_eq!(plain.arguments(), "-l app=web -n n --to-revision 4");
}

/// The shop, with the metadata of its newest record.
fn with_records() -> Snapshot {
    let mut found = snapshot();
    let newest = RecordMeta {
        release: "app".into(),
        namespace: "n".into(),
        revision: 2,
        status: Status::Deployed,
        object_name: "sh.helm.release.v1.app.v2".into(),
        uid: "2".into(),
        resource_version: "1".into(),
        created: None,
        modified: None,
        operation: None,
        last_writer: None,
        last_written: None,
        user_labels: BTreeMap::new(),
    };
    release_of(&mut found).metas = vec![newest];
    found
}

/// How a plan that was saved comes out on another cluster.
fn on(saved: &Plan, change: impl FnOnce(&mut Snapshot)) -> Result<Plan, Vec<String>> {
    let mut found = with_records();
    change(&mut found);
    again(saved, &to_tag("one"), &found)
}

fn web(snapshot: &mut Snapshot) -> &mut Workload {
    snapshot.workloads.iter_mut().find(|workload| workload.reference.name == "web").unwrap()
}

fn running(image: &str, replicas: i32) -> Workload {
    deployment("web", image, replicas)
}

/// A Deployment of no revision that ran `one` before.
fn with_past(name: &str) -> Workload {
    let mut workload = deployment(name, &format!("acme/{name}:two"), 1);
    workload.past_images = vec![BTreeMap::from([(name.to_owned(), format!("acme/{name}:one"))])];
    workload
}

fn ready_pod() -> PodSummary {
    PodSummary {
        name: "web-1".into(),
        uid: "pod".into(),
        ready: true,
        terminating: false,
        finished: false,
        grace_seconds: 30,
        images: BTreeMap::new(),
        controller: None,
        template_hash: None,
        revision_hash: None,
    }
}

type Move = fn(&mut Snapshot);

#[test]
fn a_saved_plan_is_refused_where_the_cluster_has_moved() {
    let saved = plan(&to_tag("one"), &with_records()).unwrap();
    assert_eq!(on(&saved, |_| {}), Ok(saved.clone()));
    let moves: [(Move, &str); 14] = [
        (|found| web(found).uid = "another".into(), "deploy/web was deleted and made anew since"),
        (|found| drop(found.workloads.pop()), "deploy/web is gone"),
        (
            |found| *web(found) = running("acme/web:three", 5),
            "deploy/web would leave other images behind: web acme/web:three, the plan says web acme/web:two",
        ),
        (
            |found| *web(found) = running("mirror/web:two", 5),
            "deploy/web would leave other images behind: web mirror/web:two",
        ),
        (|found| *web(found) = running("acme/web:one", 5), "deploy/web is at the target already"),
        (
            |found| *web(found) = running("acme/web:two", 7),
            "deploy/web has other replicas: 7 (in the end 7), the plan says 5 (in the end 5)",
        ),
        (
            |found| *web(found) = running("acme/web:two", 0),
            "the same cannot be planned any more: some things only you can decide",
        ),
        (
            |found| release_of(found).metas[0].revision = 9,
            "the release is at revision 9, the plan was made at 2",
        ),
        (
            |found| release_of(found).metas[0].status = Status::Failed,
            "revision 2 is failed now; it was deployed",
        ),
        (
            |found| release_of(found).base_revision = Some(1),
            "the new record would be made from revision 1, no longer from 2",
        ),
        (|found| release_of(found).base_revision = None, "release app cannot be read any more"),
        (|found| found.workloads.push(with_past("cache")), "deploy/cache is not in the plan"),
        (
            |found| web(found).pods = vec![ready_pod()],
            "deploy/web has 1 pod Ready, which stopping it would end; the plan was made with 0",
        ),
        (|found| web(found).replicas = None, "deploy/web has other replicas: none"),
    ];
    for (change, said) in moves {
        let moves = on(&saved, change).unwrap_err();
        assert!(moves.len() == 1 && moves[0].contains(said), "{said}: {moves:?}");
    }
}

fn release_of(snapshot: &mut Snapshot) -> &mut Release {
    snapshot.release.as_mut().unwrap()
}

#[test]
fn what_was_at_the_target_and_is_not_any_more_has_moved() {
    let saved = plan(&to_tag("two"), &snapshot()).unwrap();
    assert_eq!((saved.workloads.len(), saved.unchanged.len()), (0, 2));
    let mut found = snapshot();
    *web(&mut found) = running("acme/web:one", 5);
    let moves = again(&saved, &to_tag("two"), &found).unwrap_err();
    assert_eq!(moves, ["deploy/web is not at the target any more"]);
    found.workloads.pop();
    assert_eq!(again(&saved, &to_tag("two"), &found).unwrap_err(), ["deploy/web is gone"]);
}

#[test]
fn a_saved_plan_is_carried_out_as_it_says_on_what_is_there_now() {
    let ready = |found: &mut Snapshot| web(found).pods = vec![ready_pod()];
    let mut found = with_records();
    ready(&mut found);
    let saved = plan(&to_tag("one"), &found).unwrap();
    let strategy = |plan: &Plan| plan.workloads[1].strategy;
    assert_eq!(strategy(&saved), Strategy::Rolling);
    // Its pod has died since, so that it would be stopped first if it were planned now.
    assert_eq!(strategy(&plan(&to_tag("one"), &with_records()).unwrap()), Strategy::StopFirst);
    let carried_out =
        on(&saved, |found| drop(web(found).annotations.insert("note".into(), "x".into()))).unwrap();
    assert_eq!(strategy(&carried_out), Strategy::Rolling);
    assert_eq!(carried_out.workloads[1].why, saved.workloads[1].why);
    assert!(carried_out.workloads[1].has_annotations, "a patch must know what is there now");
}
