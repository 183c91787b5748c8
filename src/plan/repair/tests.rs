//! Tables of what Helm's accidents leave, and what repair makes of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::discover::Workload;
use crate::helm::record::Record;
use crate::workload::WorkloadKind;

const NOW: i64 = 1_800_000_000;

/// One stored revision: what label and body say, the images of `web` and `api`, and what else is to be told.
struct Given {
    label: &'static str,
    body: &'static str,
    web: &'static str,
    api: &'static str,
    description: &'static str,
    age_minutes: i64,
    operation: Option<&'static str>,
}

fn given(status: &'static str, web: &'static str, api: &'static str) -> Given {
    Given {
        label: status,
        body: status,
        web,
        api,
        description: "Upgrade complete",
        age_minutes: 60,
        operation: None,
    }
}

fn stored(revision: u64, given: &Given) -> StoredRecord {
    let document = |name: &str, image: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{template: {{spec: {{containers: [{{name: {name}, image: '{image}'}}]}}}}}}\n"
        )
    };
    let images = [("web", given.web), ("api", given.api)].into_iter().filter(|(_, image)| !image.is_empty());
    let manifest: String = images.map(|(name, image)| document(name, image)).collect();
    let hooks = json!([{"name": "migrate", "kind": "Job", "events": ["post-upgrade"], "manifest": "", "last_run": {"phase": "Running"}}]);
    let record = Record::from_json(json!({
        "name": "app", "version": revision, "manifest": manifest, "hooks": hooks,
        "info": {"status": given.body, "description": given.description},
    }));
    let mut meta = RecordMeta::for_test("app", revision, given.label);
    meta.created = Timestamp::from_second(NOW - given.age_minutes * 60).ok();
    meta.operation = given.operation.map(str::to_owned);
    meta.last_writer = Some("helm".into());
    StoredRecord { meta, record: record.unwrap() }
}

fn workload(name: &str, image: &str, is_ready: bool) -> Workload {
    let ready = i32::from(is_ready);
    let object: Value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": name, "image": image}]}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready},
    });
    Workload::read(WorkloadKind::Deployment, &serde_json::from_value(object).unwrap())
}

/// A release with these revisions, oldest first, and `web` and `api` as they run; an image with a `!` is not ready.
fn snapshot(revisions: &[Given], web: &str, api: &str) -> Snapshot {
    let mut records: Vec<StoredRecord> =
        (1..).zip(revisions).map(|(revision, given)| stored(revision, given)).collect();
    records.reverse();
    let metas = records.iter().map(|stored| stored.meta.clone()).collect();
    let (records, contradictory): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|stored| stored.meta.status == stored.record.status());
    let unreadable =
        contradictory.iter().map(|stored| (stored.meta.revision, "contradicts itself".to_owned())).collect();
    let release = Release {
        name: "app".into(),
        metas,
        records,
        revisions: Vec::new(),
        unreadable,
        contradictory,
        base_revision: None,
    };
    let live = [("web", web), ("api", api)].into_iter().filter(|(_, image)| !image.is_empty());
    Snapshot {
        release_name: Some("app".into()),
        release: Some(release),
        workloads: live
            .map(|(name, image)| workload(name, image.trim_end_matches('!'), !image.ends_with('!')))
            .collect(),
        ..Snapshot::default()
    }
}

fn planned(snapshot: &Snapshot) -> RepairPlan {
    let now = Timestamp::from_second(NOW).unwrap();
    plan(Request { now, operation: "ab12", reason: None }, snapshot).unwrap()
}

/// `4 failed, 3 superseded`: the changes in the order in which they are written.
fn written(plan: &RepairPlan) -> String {
    let changes: Vec<String> =
        plan.changes.iter().map(|change| format!("{} {}", change.revision, change.to)).collect();
    changes.join(", ")
}

fn codes(plan: &RepairPlan) -> Vec<&str> {
    plan.problems.iter().map(|problem| problem.code).collect()
}

fn good(image: &'static str) -> Given {
    given("superseded", image, image)
}

fn deployed(image: &'static str) -> Given {
    given("deployed", image, image)
}

fn failed(image: &'static str) -> Given {
    Given { description: "Upgrade \"app\" failed: timed out", ..given("failed", image, image) }
}

fn pending(image: &'static str) -> Given {
    Given { description: "Preparing upgrade", ..given("pending-upgrade", image, image) }
}

fn rollback(image: &'static str) -> Given {
    Given { description: "Rollback to 1", ..given("pending-rollback", image, image) }
}

fn install(image: &'static str) -> Given {
    given("pending-install", image, image)
}

fn our_emergency(image: &'static str) -> Given {
    let description = "kubectl-rollback emergency to tag b (from=1, operation cd34)";
    Given { description, ..our_rollback(image) }
}

fn our_rollback(image: &'static str) -> Given {
    Given { operation: Some("cd34"), ..rollback(image) }
}

/// An accident: its name, the revisions, what runs, what is written.
type Accident = (&'static str, Vec<Given>, [&'static str; 2], &'static str);

fn killed_operations() -> Vec<Accident> {
    vec![
        ("nothing is wrong", vec![good("a"), deployed("b")], ["b", "b"], ""),
        ("a failed upgrade is no accident", vec![deployed("a"), failed("b")], ["b", "a"], ""),
        ("killed before it changed anything", vec![deployed("a"), pending("b")], ["a", "a"], "2 failed"),
        ("what was there need not be ready", vec![deployed("a"), pending("b")], ["a!", "a"], "2 failed"),
        (
            "killed while it waited, complete",
            vec![deployed("a"), pending("b")],
            ["b", "b"],
            "2 deployed, 1 superseded",
        ),
        ("killed while it waited, broken", vec![deployed("a"), pending("b")], ["b", "b!"], "2 failed"),
        ("killed halfway", vec![deployed("a"), pending("b")], ["b", "a"], "2 failed"),
        ("something of it is missing", vec![deployed("a"), pending("b")], ["b", ""], "2 failed"),
        ("images do not tell the two apart", vec![deployed("a"), pending("a")], ["a", "a"], "2 failed"),
        (
            "a rollback that was complete",
            vec![good("a"), deployed("b"), rollback("a")],
            ["a", "a"],
            "3 deployed, 2 superseded",
        ),
        (
            "only the last write is missing",
            vec![good("a"), good("b"), rollback("a")],
            ["a", "a"],
            "3 deployed",
        ),
        (
            "no deployed one, pending is not it",
            vec![good("a"), good("b"), rollback("a")],
            ["b", "b"],
            "2 deployed, 3 failed",
        ),
        ("no deployed one, nothing agrees", vec![good("a"), good("b"), pending("c")], ["c", "b"], "3 failed"),
        ("an emergency describes nothing", vec![deployed("a"), our_emergency("b")], ["b", "b"], "2 failed"),
        (
            "a rollback of ours that was complete",
            vec![good("a"), deployed("b"), our_rollback("a")],
            ["a", "a"],
            "3 deployed, 2 superseded",
        ),
        ("an install is never called complete", vec![install("a")], ["a", "a"], "1 failed"),
        ("an install that never got anywhere", vec![install("a")], ["", ""], "1 failed"),
        (
            "an old pending one below",
            vec![deployed("a"), pending("b"), deployed("c")],
            ["c", "c"],
            "2 failed, 1 superseded",
        ),
    ]
}

fn other_accidents() -> Vec<Accident> {
    vec![
        (
            "a failed rollback, the target runs",
            vec![good("a"), good("b"), failed("a")],
            ["a", "a"],
            "1 deployed",
        ),
        (
            "a failed rollback, the old one runs",
            vec![good("a"), good("b"), failed("a")],
            ["b", "b"],
            "2 deployed",
        ),
        ("a failed rollback, halfway", vec![good("a"), good("b"), failed("a")], ["a", "b"], ""),
        ("a failed rollback, nothing ready", vec![good("a"), good("b"), failed("a")], ["a!", "a"], ""),
        ("what failed runs after all, and only that", vec![good("a"), failed("b")], ["b", "b"], "2 deployed"),
        ("a failed first install is no accident", vec![failed("a")], ["a", "a"], ""),
        ("several deployed, the newest runs", vec![deployed("a"), deployed("b")], ["b", "b"], "1 superseded"),
        (
            "several deployed, an older runs",
            vec![deployed("a"), deployed("b"), deployed("c")],
            ["b", "b!"],
            "3 superseded, 1 superseded",
        ),
        (
            "several deployed, one is nearer",
            vec![deployed("a"), given("deployed", "b", "c")],
            ["a", "x"],
            "2 superseded",
        ),
        ("several deployed, none is near", vec![deployed("a"), deployed("b")], ["x", "x"], "1 superseded"),
        (
            "several deployed and a complete upgrade",
            vec![deployed("a"), deployed("b"), pending("c")],
            ["c", "c"],
            "3 deployed, 2 superseded, 1 superseded",
        ),
        ("an interrupted uninstall", vec![good("a"), given("uninstalling", "b", "b")], ["b", ""], "2 failed"),
        ("an uninstalled release", vec![good("a"), given("uninstalled", "b", "b")], ["", ""], ""),
        (
            "installed again after that, failed",
            vec![good("a"), given("uninstalled", "a", "a"), failed("b")],
            ["b!", "b"],
            "",
        ),
    ]
}

#[test]
fn what_runs_decides() {
    for (name, revisions, [web, api], expected) in killed_operations().iter().chain(&other_accidents()) {
        let plan = planned(&snapshot(revisions, web, api));
        assert_eq!(written(&plan), *expected, "{name}: {plan:?}");
        assert_eq!(plan.problems.is_empty(), expected.is_empty() && plan.undecided.is_none(), "{name}");
        let deployed_after = (1..).zip(revisions).filter(|(revision, given)| {
            let change = plan.changes.iter().find(|change| change.revision == *revision);
            change.map_or(given.label == "deployed", |change| change.to == Status::Deployed)
        });
        assert!(deployed_after.count() <= 1, "{name}");
        // A repaired release needs no repair.
        let again: BTreeMap<u64, &'static str> = plan
            .changes
            .iter()
            .map(|change| {
                (
                    change.revision,
                    ["deployed", "failed", "superseded"]
                        .into_iter()
                        .find(|text| *text == change.to.as_str())
                        .unwrap(),
                )
            })
            .collect();
        let after: Vec<Given> = (1..)
            .zip(revisions)
            .map(|(revision, given)| {
                let status = again.get(&revision).copied().unwrap_or(given.label);
                let description =
                    if again.contains_key(&revision) { "Upgrade complete" } else { given.description };
                Given { label: status, body: status, description, operation: None, ..*given }
            })
            .collect();
        assert_eq!(written(&planned(&snapshot(&after, web, api))), "", "{name}, repaired once more");
    }
}

#[test]
fn where_nothing_agrees_the_operator_decides() {
    let failed = Given { description: "Rollback \"app\" failed: x", ..given("failed", "a", "a") };
    let plan = planned(&snapshot(&[good("a"), good("b"), failed], "a", "b"));
    assert_eq!(codes(&plan), ["NoDeployed"]);
    assert!(
        plan.undecided.is_some() && plan.next[0].starts_with("kubectl rollback reconcile app"),
        "{plan:?}"
    );
    let of = |index: usize| (plan.running[index].image.as_str(), plan.running[index].revisions.clone());
    assert_eq!([of(0), of(1)], [("b", vec![2]), ("a", vec![3, 1])], "api, then web");
}

#[test]
fn descriptions_say_what_happened() {
    let pending = || Given { description: "Preparing upgrade", ..given("pending-upgrade", "b", "b") };
    let deployed = || given("deployed", "a", "a");
    let description = |web, api| {
        let plan = planned(&snapshot(&[deployed(), pending()], web, api));
        plan.changes[0].description.clone().unwrap()
    };
    assert_eq!(
        description("a", "a"),
        "Preparing upgrade failed: interrupted; revision 1 is what runs (kubectl-rollback repair, operation ab12)"
    );
    assert!(description("b", "a").contains("failed: interrupted halfway"));
    assert!(description("b", "b!").contains("it is what runs, and not ready"));
    assert_eq!(description("b", "b"), "Upgrade complete (kubectl-rollback repair, operation ab12)");
    // What only runs after all must not go on saying that it failed; what Helm called superseded keeps its own words.
    let failed = Given { description: "Upgrade \"app\" failed: timed out", ..given("failed", "b", "b") };
    let plan = planned(&snapshot(&[good("a"), failed], "b", "b"));
    assert_eq!(
        plan.changes[0].description.as_deref(),
        Some("Runs and is ready (kubectl-rollback repair, operation ab12)")
    );
    let plan = planned(&snapshot(&[good("a"), good("b"), given("failed", "a", "a")], "b", "b"));
    assert_eq!(plan.changes[0].description, None);
}

#[test]
fn hooks_that_may_not_have_run_are_named() {
    let pending = given("pending-upgrade", "b", "b");
    let plan = planned(&snapshot(&[given("deployed", "a", "a"), pending], "b", "b"));
    assert!(plan.notes.iter().any(|note| note.contains("Job migrate")), "{plan:?}");
}

#[test]
fn a_young_operation_may_be_alive() {
    let after = |age_minutes| {
        let pending = Given { age_minutes, ..given("pending-upgrade", "b", "b") };
        planned(&snapshot(&[given("deployed", "a", "a"), pending], "a", "a")).alive
    };
    assert_eq!(
        after(9).map(|alive| (alive.revision, alive.age_seconds, alive.writer)),
        Some((2, 540, "helm".into()))
    );
    assert_eq!(after(10), None);
    // A clock that is ahead of ours.
    assert_eq!(after(-90).map(|alive| alive.age_seconds), Some(0));
    // What the API server saw counts as well: a writer's clock that is behind does not make its operation dead.
    let mut snapshot = snapshot(&[given("deployed", "a", "a"), given("pending-upgrade", "b", "b")], "a", "a");
    snapshot.release.as_mut().unwrap().metas[0].last_written = Timestamp::from_second(NOW - 5).ok();
    assert_eq!(planned(&snapshot).alive.map(|alive| alive.age_seconds), Some(5));
    // A release in which nothing is open has no operation.
    assert_eq!(
        planned(&self::snapshot(&[Given { age_minutes: 0, ..given("deployed", "a", "a") }], "a", "a")).alive,
        None
    );
}

#[test]
fn labels_and_bodies_that_differ_are_brought_together() {
    let split = |label, body, image| Given { label, body, ..given("", image, image) };
    let deployed = || given("deployed", "a", "a");
    let table = [
        ("only the label was edited", vec![deployed(), split("failed", "pending-upgrade", "b")], "2 failed"),
        ("the label says pending", vec![deployed(), split("pending-upgrade", "failed", "b")], "2 failed"),
        ("a deployed one beside", vec![deployed(), split("deployed", "failed", "b")], "2 superseded"),
        ("the label is lost", vec![split("unknown", "deployed", "a")], "1 deployed"),
        ("both are past", vec![split("failed", "superseded", "b"), deployed()], "1 superseded"),
    ];
    for (name, revisions, expected) in table {
        let plan = planned(&snapshot(&revisions, "a", "a"));
        assert_eq!(written(&plan), expected, "{name}: {plan:?}");
        assert!(codes(&plan).contains(&"Contradiction"), "{name}");
    }
}

#[test]
fn an_unreadable_newest_record_stops_everything() {
    let mut snapshot = snapshot(&[given("pending-upgrade", "a", "a"), given("deployed", "a", "a")], "a", "a");
    let mut release = snapshot.release.take().unwrap();
    release.records.remove(0);
    release.unreadable.push((2, "not JSON".into()));
    snapshot.damaged = Some(release.clone());
    let plan = planned(&snapshot);
    assert_eq!((codes(&plan), written(&plan)), (vec!["Unreadable"], String::new()));
    assert!(plan.undecided.is_some() && plan.next[0].contains("sh.helm.release.v1.app.v2"), "{plan:?}");
    // An older one is only mentioned.
    release.unreadable = vec![(1, "not JSON".into())];
    release.records = vec![stored(2, &given("deployed", "a", "a"))];
    snapshot.damaged = Some(release);
    let plan = planned(&snapshot);
    assert_eq!((codes(&plan), plan.undecided.is_some()), (vec![], false));
    assert!(plan.notes[0].contains("revision 1 cannot be read"), "{plan:?}");
}

#[test]
fn objects_kept_on_purpose_do_not_count_against_a_revision() {
    let pending = given("pending-upgrade", "b", "");
    let mut snapshot = snapshot(&[given("deployed", "a", "a"), pending], "b", "a");
    assert_eq!(written(&planned(&snapshot)), "2 failed", "api still runs, and revision 2 has none");
    let api = snapshot.workloads.iter_mut().find(|workload| workload.reference.name == "api").unwrap();
    api.annotations.insert("helm.sh/resource-policy".into(), "keep".into());
    assert_eq!(written(&planned(&snapshot)), "2 deployed, 1 superseded");
}
