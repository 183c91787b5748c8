//! The records of a rollback against Helm's own: 25 recorded runs of its state machine (`tests/cases/rollback-flows.json`,
//! Helm 4.2.3). Where ours end otherwise, by design, the reason stands here.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::{Value, json};

use super::{rollback_failed, rollback_record, rolled_back, to_settle};
use crate::helm::history;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;
use crate::helm::status::Status;

/// Revision to status.
type Statuses = BTreeMap<u64, String>;

/// Why a record of ours ends otherwise than Helm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// An operation that died below ours has failed; Helm leaves it pending for ever.
    DeadOperation,
    /// A rollback that did not come to its end has failed; Helm leaves it pending, and refuses to upgrade over it.
    EndIsNoted,
    /// A failed record stays failed: superseded it looks good to everything that looks for a good revision.
    FailedStaysFailed,
    /// The old deployed record stays deployed until the new one is: there is never none.
    OldStaysDeployed,
    /// The target is never pruned.
    TargetIsKept,
}

use Reason::{DeadOperation, EndIsNoted, FailedStaysFailed, OldStaysDeployed, TargetIsKept};

/// By case: which revisions end otherwise, and why. Every other revision of every case ends as Helm's.
const DIFFERENCES: [(&str, &[(u64, Reason)]); 9] = [
    ("last is pending-upgrade", &[(2, DeadOperation)]),
    ("last is pending-rollback", &[(2, DeadOperation)]),
    ("patch rejected, last is failed and 1 deployed", &[(2, FailedStaysFailed)]),
    ("create rejected, cleanup_on_fail", &[(2, OldStaysDeployed)]),
    ("cleanup_on_fail with nothing created", &[(2, OldStaysDeployed)]),
    ("pre hook fails", &[(3, EndIsNoted)]),
    ("post hook fails", &[(3, EndIsNoted)]),
    ("removed api in current manifest", &[(3, EndIsNoted)]),
    ("history max 1", &[(1, TargetIsKept)]),
];

/// Runs that we do not have, and why.
const NOT_OFFERED: [(&str, &str); 2] = [
    ("server_side true on csa", "the method is always the target's own: there is no --server-side"),
    (
        "force_replace on ssa",
        "--force-replace is no contradiction to server-side apply here, so that there is no error to compare",
    ),
];

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn now() -> jiff::Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn record(revision: u64, status: &str) -> Record {
    let info = json!({"status": status, "description": "Upgrade complete"});
    Record::from_json(json!({"name": "todo", "version": revision, "info": info})).unwrap()
}

/// What the cluster did to a run: nothing, kept it from beginning, or broke it for a reason.
enum Fate {
    Succeeds,
    NeverBegins,
    Fails(String),
}

fn fate(case: &Value) -> Fate {
    let begins = case["writes"].as_array().unwrap().len() > 1 || case["fault"].is_null();
    let is_real = case["options"]["dry_run"].is_null() && case["options"]["version"] != json!(-1);
    match case["error"].as_str() {
        _ if !(begins && is_real) => Fate::NeverBegins,
        None => Fate::Succeeds,
        Some(error) => Fate::Fails(error.trim_start_matches("HelmReleaseError: ").to_owned()),
    }
}

/// Runs a case through our decisions: the statuses and our record at the end.
fn run(case: &Value) -> (Statuses, Option<Record>) {
    let revisions = case["revisions"].as_array().unwrap();
    let mut metas: Vec<RecordMeta> = revisions
        .iter()
        .map(|known| RecordMeta::for_test("todo", number(&known["revision"]), text(&known["status"])))
        .collect();
    let mut statuses: Statuses = metas.iter().map(|meta| (meta.revision, meta.status.to_string())).collect();
    let current = metas.iter().map(|meta| meta.revision).max().unwrap();
    let target = case["options"]["version"].as_u64().unwrap_or(current - 1);
    let maximum =
        case["options"]["max_history"].as_u64().map_or(10, |maximum| usize::try_from(maximum).unwrap());
    let ours = current + 1;
    let of = |revision: u64| record(revision, &statuses[&revision]);
    let fate = fate(case);
    if matches!(fate, Fate::NeverBegins) {
        return (statuses, None);
    }
    let pending = rollback_record(&of(current), &of(target), ours, &format!("Rollback to {target}"), now());
    assert_eq!(pending.status(), Status::PendingRollback);
    let record = match &fate {
        Fate::Fails(reason) => rollback_failed(&pending, reason),
        _ => rolled_back(&pending),
    };
    metas.push(RecordMeta::for_test("todo", ours, record.status().as_str()));
    let is_deployed = record.status() == Status::Deployed;
    for (meta, status) in to_settle(&metas, ours) {
        if is_deployed || status != Status::Superseded {
            statuses.insert(meta.revision, status.to_string());
        }
    }
    statuses.insert(ours, record.status().to_string());
    if is_deployed {
        for meta in history::prune_after(&metas, ours, maximum, &[target, ours]) {
            statuses.remove(&meta.revision);
        }
    }
    (statuses, Some(record))
}

#[test]
fn records_end_as_helms_or_as_the_design_says() {
    let recorded: Value =
        serde_json::from_str(include_str!("../../tests/cases/rollback-flows.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 25);
    let mut compared = 0;
    let mut seen = Vec::new();
    for case in cases {
        let name = text(&case["name"]);
        if let Some((_, why)) = NOT_OFFERED.iter().find(|(skipped, _)| *skipped == name) {
            seen.push(name);
            let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
            continue;
        }
        let finals = case["final"].as_array().unwrap();
        let mut expected: Statuses = finals
            .iter()
            .map(|known| {
                assert_eq!(known["label"], known["status"], "{name}");
                (number(&known["revision"]), text(&known["status"]).to_owned())
            })
            .collect();
        let (ours, record) = run(case);
        let differences = DIFFERENCES.iter().find(|(differing, _)| *differing == name);
        for (revision, reason) in differences.iter().flat_map(|(_, revisions)| revisions.iter()) {
            seen.push(name);
            let helms = expected.remove(revision);
            let (before, after) = match reason {
                DeadOperation => (helms.as_deref().filter(|status| status.starts_with("pending-")), "failed"),
                EndIsNoted => (helms.as_deref().filter(|status| *status == "pending-rollback"), "failed"),
                FailedStaysFailed => (helms.as_deref().filter(|status| *status == "superseded"), "failed"),
                OldStaysDeployed => (helms.as_deref().filter(|status| *status == "superseded"), "deployed"),
                TargetIsKept => {
                    assert_eq!(helms, None, "{name}: Helm prunes what it rolls back to");
                    (Some(""), "superseded")
                }
            };
            assert!(before.is_some(), "{name}: Helm's revision {revision} is {helms:?}");
            expected.insert(*revision, after.to_owned());
        }
        assert_eq!(ours, expected, "{name}");
        assert_one_deployed(name, case, &ours);
        if let (Some(record), Some(helms)) =
            (record, finals.iter().find(|known| known["revision"].as_u64() == ours.keys().max().copied()))
        {
            assert_description(name, &record, helms);
        }
        compared += 1;
    }
    assert_eq!(compared, 23);
    seen.dedup();
    assert_eq!(
        seen.len(),
        DIFFERENCES.len() + NOT_OFFERED.len(),
        "every difference is one of a case: {seen:?}"
    );
}

/// After a success exactly one record is deployed, and it is ours; after a failure the one that was.
fn assert_one_deployed(name: &str, case: &Value, statuses: &Statuses) {
    let deployed: Vec<u64> = statuses
        .iter()
        .filter(|(_, status)| status.as_str() == "deployed")
        .map(|(revision, _)| *revision)
        .collect();
    let before = case["revisions"].as_array().unwrap().iter().find(|known| known["status"] == "deployed");
    let expected = match fate(case) {
        Fate::Succeeds => statuses.keys().max().copied(),
        _ => before.map(|known| number(&known["revision"])),
    };
    assert_eq!(deployed, expected.into_iter().collect::<Vec<_>>(), "{name}");
    assert!(!statuses.values().any(|status| status.starts_with("pending-")), "{name}: {statuses:?}");
}

/// Helm's words, up to the length that it accepts from others.
fn assert_description(name: &str, record: &Record, helms: &Value) {
    let helms = text(&helms["description"]);
    let is_other = name == "cleanup_on_fail with nothing created";
    match record.status() {
        Status::Failed if helms.starts_with("Rollback \"todo\" failed: ") && !is_other => {
            assert_eq!(record.description(), helms, "{name}");
        }
        // Helm's error is about the tidying up (helm#32350), or its record was never closed.
        Status::Failed => assert!(record.description().starts_with("Rollback \"todo\" failed: "), "{name}"),
        _ => assert_eq!(record.description(), helms, "{name}"),
    }
}

#[test]
fn the_new_record_is_the_target_with_the_releases_own_beginning() {
    let mut target = Record::from_json(json!({
        "name": "todo", "version": 2, "namespace": "old", "invented_later": {"a": 1}, "apply_method": "ssa",
        "info": {"first_deployed": "2026-01-01T00:00:00Z", "last_deployed": "2026-01-02T00:00:00Z", "status": "superseded",
                 "description": "Upgrade complete", "notes": "hello", "deleted": "2026-01-03T00:00:00Z",
                 "rollback_revision": 1, "invented_later": true},
        "chart": {"metadata": {"name": "app", "version": "1.0.0"}, "templates": [{"name": "x", "data": "eA=="}], "lock": null,
                  "values": {"a": 1}, "modtime": "2026-01-01T00:00:00Z"},
        "config": {"b": 2}, "manifest": "---\nkind: ConfigMap\n",
        "hooks": [{"name": "h", "manifest": "kind: Job", "last_run": {"started_at": "2026-01-02T00:00:00Z", "completed_at": "", "phase": "Failed"}}],
    }))
    .unwrap();
    target.labels.insert("team".to_owned(), "shop".to_owned());
    let mut current = Record::from_json(json!({
        "name": "todo", "version": 7, "namespace": "shop", "apply_method": "csa",
        "info": {"first_deployed": "2025-12-31T00:00:00+01:00", "status": "deployed", "notes": "other", "description": "x"},
        "chart": {"metadata": {"name": "app", "version": "2.0.0"}}, "config": {"c": 3}, "manifest": "kind: Pod",
    }))
    .unwrap();
    current.labels.insert("team".to_owned(), "other".to_owned());
    let pending = rollback_record(&current, &target, 8, "Rollback to 2", now());
    let mut expected = target.to_json();
    expected["version"] = json!(8);
    expected["namespace"] = json!("shop");
    let info = expected["info"].as_object_mut().unwrap();
    info.remove("rollback_revision");
    info.insert("deleted".to_owned(), json!(""));
    info.insert("first_deployed".to_owned(), json!("2025-12-31T00:00:00+01:00"));
    info.insert("last_deployed".to_owned(), json!("2026-11-23T10:00:00Z"));
    info.insert("status".to_owned(), json!("pending-rollback"));
    info.insert("description".to_owned(), json!("Rollback to 2"));
    assert_eq!(pending.to_json(), expected);
    assert_eq!(pending.labels, target.labels, "only the target's own labels, as in Helm");
    expected["info"]["status"] = json!("deployed");
    assert_eq!(rolled_back(&pending).to_json(), expected);
    expected["info"]["status"] = json!("failed");
    let reason = "cannot patch \"é\"".repeat(30);
    let failed = rollback_failed(&pending, &reason);
    assert_eq!(failed.description().chars().count(), 256);
    assert!(failed.description().starts_with("Rollback \"todo\" failed: cannot patch"), "{failed:?}");
    expected["info"]["description"] = json!(failed.description());
    assert_eq!(failed.to_json(), expected);
}

/// Where the release is the target itself (Helm allows it), nothing but the number and the times is new.
#[test]
fn a_rollback_to_the_current_revision_is_a_copy() {
    let info = json!({"status": "deployed", "description": "Upgrade complete"});
    let body = json!({"name": "todo", "version": 2, "info": info, "manifest": "kind: Pod"});
    let current = Record::from_json(body).unwrap();
    let pending = rollback_record(&current, &current, 3, "Rollback to 2", now());
    assert_eq!(pending.manifest(), current.manifest());
    assert_eq!((pending.revision(), pending.status()), (3, Status::PendingRollback));
}
