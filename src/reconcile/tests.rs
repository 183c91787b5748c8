//! The record after an emergency, over records that both Helms wrote (`tests/cases/records/`) and over small ones of our own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::helm::codec;
use crate::helm::meta::RecordMeta;
use crate::helm::storage::StoredRecord;
use crate::workload::{WorkloadKind, WorkloadRef};

/// The recorded revisions of a folder, oldest first.
fn recorded(folder: &str) -> Vec<Record> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/records").join(folder);
    let mut records: Vec<Record> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let payload = fs::read_to_string(entry.unwrap().path()).unwrap();
            Record::from_json(codec::decode(&payload).unwrap()).unwrap()
        })
        .collect();
    records.sort_by_key(Record::revision);
    assert!(records.len() > 1);
    records
}

fn image(text: &str) -> ImageReference {
    text.parse().expect(text)
}

fn now() -> jiff::Timestamp {
    "2026-11-24T08:00:00.5Z".parse().unwrap()
}

/// Swaps of the containers whose name or repository says `is_ours`, to what `to` makes of their image.
fn swaps(
    base: &Record,
    is_ours: impl Fn(&ContainerRef, &str) -> bool,
    to: impl Fn(&ImageReference) -> ImageReference,
) -> Vec<Swap> {
    let namespace = base.namespace().unwrap();
    Manifest::parse(base.manifest(), namespace)
        .images()
        .into_iter()
        .filter(|(container, text)| is_ours(container, text))
        .map(|(container, text)| Swap { to: to(&image(&text)), container })
        .collect()
}

pub(super) fn run(base: &Record, older: &[Record], swaps: &[Swap]) -> Reconciled {
    reconcile(&Request {
        base,
        older,
        swaps,
        namespace: base.namespace().unwrap(),
        revision: base.revision() + 1,
        now: now(),
        status: Status::Deployed,
        description: &description("emergency", "good-2", base.revision(), "7f3a"),
    })
}

/// The outcome on one screen.
pub(super) fn shown(outcome: &Reconciled) -> String {
    let mut lines: Vec<String> = outcome
        .edits
        .iter()
        .map(|edit| {
            let containers: Vec<String> = edit.containers.iter().map(ToString::to_string).collect();
            format!("{}={:?} for {}: {}", edit.path, edit.value, containers.join(" "), edit.evidence)
        })
        .collect();
    lines.extend(outcome.unplaced.iter().map(|unplaced| {
        format!(
            "unplaced {} {}: {} [{}]",
            unplaced.container,
            unplaced.image,
            unplaced.reason,
            unplaced.suggestion.as_deref().unwrap_or("-")
        )
    }));
    lines.extend(
        outcome.manifest_unplaced.iter().map(|(container, error)| format!("manifest {container}: {error}")),
    );
    lines.extend(outcome.problems.iter().cloned());
    lines.extend(outcome.same_images_as.map(|revision| format!("same as {revision}")));
    lines.join("\n")
}

fn shown_for(folder: &str, to: impl Fn(&ImageReference) -> ImageReference) -> String {
    let mut records = recorded(folder);
    let base = records.pop().unwrap();
    let swaps = swaps(&base, |_, text| text.contains("/acme/"), to);
    assert!(!swaps.is_empty());
    let outcome = run(&base, &records, &swaps);
    // The manifest says what runs, whatever became of the values.
    let images = Manifest::parse(outcome.record.manifest(), base.namespace().unwrap()).images();
    for swap in &swaps {
        assert_eq!(images[&swap.container], swap.to.to_string());
    }
    shown(&outcome)
}

#[test]
fn the_platform_gets_its_six_tags_and_keeps_every_value() {
    for folder in ["todo-app-helm3", "todo-app-helm4"] {
        let mut records = recorded(folder);
        let base = records.pop().unwrap();
        let swaps = swaps(&base, |_, text| text.contains("/acme/"), |image| image.with_tag("good-2"));
        assert_eq!(swaps.len(), 6);
        let outcome = run(&base, &records, &swaps);
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&outcome), @r#"
    audit.image.tag="good-2" for deploy/audit-consumer/audit-consumer: beside audit.image.repository, the image's version also in revisions 4, 3, 2
    backend.image.tag="good-2" for deploy/todo-backend/todo-backend: beside backend.image.repository, the image's version also in revisions 4, 3, 2, 1
    frontend.image.tag="good-2" for deploy/todo-frontend/todo-frontend: beside frontend.image.repository, the image's version also in revisions 4, 3, 2, 1
    notification.image.tag="good-2" for deploy/notification-consumer/notification-consumer: beside notification.image.repository, the image's version also in revisions 4, 3, 2, 1
    recurring.image.tag="good-2" for deploy/recurring-consumer/recurring-consumer: beside recurring.image.repository, the image's version also in revisions 4, 3, 2, 1
    reminder.image.tag="good-2" for deploy/reminder-consumer/reminder-consumer: beside reminder.image.repository, the image's version also in revisions 4, 3, 2, 1
    same as 3
    "#);
        }
        let mut expected = base.to_json();
        for service in ["backend", "frontend", "reminder", "recurring", "audit", "notification"] {
            expected["config"][service]["image"]["tag"] = "good-2".into();
        }
        let bad = ["crash", "unready", "missing"];
        let mut manifest = base.manifest().to_owned();
        let mut hook = base.hooks().next().unwrap().manifest().to_owned();
        for tag in bad {
            manifest = manifest.replace(&format!(":{tag}\""), ":good-2\"");
            hook = hook.replace(&format!(":{tag}\""), ":good-2\"");
        }
        expected["manifest"] = manifest.into();
        expected["hooks"][0]["manifest"] = hook.into();
        expected["version"] = 6.into();
        expected["info"]["last_deployed"] = "2026-11-24T08:00:00.5Z".into();
        expected["info"]["description"] =
            "kubectl-rollback emergency to good-2 (from=5, operation 7f3a)".into();
        assert_eq!(outcome.record.to_json(), expected);
    }
}

#[test]
fn a_stored_revision_with_these_images_is_named() {
    let mut records = recorded("todo-app-helm4");
    let base = records.pop().unwrap();
    let same = run(
        &base,
        &records,
        &swaps(&base, |_, text| text.contains("/acme/"), |image| image.with_tag("good-3")),
    );
    assert_eq!(same.same_images_as, Some(4));
    // Revision 3 has these services, but another Redis.
    let other = run(
        &base,
        &records,
        &swaps(&base, |_, text| text.contains("/acme/"), |image| image.with_tag("good-1")),
    );
    assert_eq!(other.same_images_as, None);
}

#[test]
fn each_pattern_finds_its_value() {
    let good = |image: &ImageReference| image.with_tag("good-2");
    insta::assert_snapshot!(shown_for("whole-image", good), @r#"
    web.image="ghcr.io/acme/web:good-2" for deploy/web/web: holds the whole image, the image's version also in revision 1
    worker.image="ghcr.io/acme/worker:good-2" for deploy/worker/worker: holds the whole image, the image's version also in revision 1
    "#);
    insta::assert_snapshot!(shown_for("global-tag", good), @r#"global.image.tag="good-2" for deploy/web/web deploy/worker/worker: moves with the image, the image's version also in revision 1"#);
    insta::assert_snapshot!(shown_for("digest", good), @r#"
    web.image.digest="" for deploy/web/web: beside web.image.repository, the image's version also in revision 1
    web.image.tag="good-2" for deploy/web/web: beside web.image.repository, the image's version also in revision 1
    worker.image.digest="" for deploy/worker/worker: beside worker.image.repository
    worker.image.tag="good-2" for deploy/worker/worker: beside worker.image.repository
    "#);
    insta::assert_snapshot!(shown_for("registry-split", good), @r#"
    web.image.tag="good-2" for deploy/web/web: beside web.image.repository, the image's version also in revision 1
    worker.image.tag="good-2" for deploy/worker/worker: beside worker.image.repository, the image's version also in revision 1
    "#);
    insta::assert_snapshot!(shown_for("init-container", good), @r#"web.image.tag="good-2" for deploy/web/migrate deploy/web/web: beside web.image.repository, the image's version also in revision 1"#);
    insta::assert_snapshot!(shown_for("two-containers", good), @r#"web.image.tag="good-2" for deploy/web/web deploy/web/worker: beside web.image.repository, the image's version also in revision 1"#);
    insta::assert_snapshot!(shown_for("cronjob", good), @r#"
    cleanup.image.tag="good-2" for cronjob/cleanup/cleanup: beside cleanup.image.repository, the image's version also in revision 1
    web.image.tag="good-2" for deploy/web/web: beside web.image.repository, the image's version also in revision 1
    "#);
    insta::assert_snapshot!(shown_for("hook", good), @r#"web.image.tag="good-2" for deploy/web/web: beside web.image.repository, the image's version also in revision 1"#);
}

/// A record of a chart without subcharts: each image is `workload/container=image`, in a Deployment of its own document.
pub(super) fn made(revision: u64, values: &Value, config: &Value, images: &[&str]) -> Record {
    use std::fmt::Write;

    let mut manifest = String::new();
    for line in images {
        let (name, image) = line.split_once('=').unwrap();
        let (workload, container) = name.split_once('/').unwrap();
        write!(
            manifest,
            "---\n# Source: shop/templates/{workload}.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {workload}}}\n\
             spec: {{template: {{spec: {{containers: [{{name: {container}, image: \"{image}\"}}]}}}}}}\n"
        )
        .unwrap();
    }
    Record::from_json(json!({
        "name": "shop", "version": revision, "namespace": "shop", "manifest": manifest, "config": config,
        "info": {"status": "superseded", "description": "Upgrade complete"},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0", "appVersion": "app-1"}, "values": values}
    }))
    .unwrap()
}

pub(super) fn swap(name: &str, to: &str) -> Swap {
    let (workload, container) = name.split_once('/').unwrap();
    Swap {
        container: ContainerRef {
            workload: WorkloadRef {
                kind: WorkloadKind::Deployment,
                namespace: "shop".to_owned(),
                name: workload.to_owned(),
            },
            container: container.to_owned(),
        },
        to: image(to),
    }
}

#[test]
fn the_base_is_the_record_that_describes_what_runs() {
    let stored = |revision: u64, status: &str, image: &str| {
        let mut record = made(revision, &json!({}), &json!({}), &[&format!("web/web={image}")]);
        record.set_status(&status.into());
        let mut meta = RecordMeta::for_test("shop", revision, status);
        meta.namespace = "shop".to_owned();
        StoredRecord { meta, record }
    };
    let live = |image: &str| BTreeMap::from([(swap("web/web", "x").container, image.to_owned())]);
    let failed_upgrade = [stored(3, "failed", "acme/web:v3"), stored(2, "deployed", "acme/web:v2")];
    for (running, revision) in [("acme/web:v3", 3), ("acme/web:v2", 2), ("acme/web:v9", 3)] {
        let base = choose_base(&failed_upgrade, &live(running));
        assert_eq!(base.unwrap().meta.revision, revision, "{running}");
    }
    // A placeholder of ours is none; one of Helm's may be.
    let mut pending = [stored(3, "pending-rollback", "acme/web:v2"), stored(2, "deployed", "acme/web:v2")];
    assert_eq!(choose_base(&pending, &live("acme/web:v2")).unwrap().meta.revision, 3);
    pending[0].meta.operation = Some("7f3a".to_owned());
    assert_eq!(choose_base(&pending, &live("acme/web:v2")).unwrap().meta.revision, 2);
    assert!(choose_base(&pending[..1], &live("acme/web:v2")).is_none());
    let gone = [stored(3, "uninstalled", "acme/web:v2"), stored(2, "superseded", "acme/web:v2")];
    assert!(choose_base(&gone, &live("acme/web:v2")).is_none());
}

#[test]
fn records_begin_pending_and_end_true() {
    let base = recorded("todo-app-helm4").pop().unwrap();
    let placeholder = pending(&base, 6, &description("emergency", "good-2", 5, "7f3a"), now());
    assert_eq!(placeholder.status(), Status::PendingRollback);
    assert_eq!(placeholder.revision(), 6);
    assert_eq!(placeholder.config(), base.config());
    assert_eq!(placeholder.manifest(), base.manifest());
    assert_eq!(placeholder.to_json()["chart"]["templates"], Value::Null);
    assert_eq!(placeholder.to_json()["chart"]["metadata"], base.to_json()["chart"]["metadata"]);
    assert!(placeholder.encode().len() < base.encode().len());

    let deployed = close(&placeholder, &Closing::Deployed, now());
    assert_eq!(deployed.status(), Status::Deployed);
    assert_eq!(deployed.description(), placeholder.description());
    let reason = "deploy/todo-backend: ".to_owned() + &"é".repeat(300);
    let failed = close(&placeholder, &Closing::Failed { reason }, now());
    assert_eq!(failed.status(), Status::Failed);
    assert_eq!(failed.description().chars().count(), 256);
    assert!(
        failed
            .description()
            .starts_with("kubectl-rollback emergency to good-2 (from=5, operation 7f3a) failed: deploy/")
    );

    let statuses = ["superseded", "deployed", "failed", "pending-upgrade", "deployed", "pending-rollback"];
    let metas: Vec<RecordMeta> = (1..)
        .zip(statuses)
        .map(|(revision, status)| RecordMeta::for_test("todo", revision, status))
        .collect();
    let settled: Vec<(u64, String)> =
        to_settle(&metas, 6).into_iter().map(|(meta, status)| (meta.revision, status.to_string())).collect();
    assert_eq!(
        settled,
        [(2, "superseded".to_owned()), (4, "failed".to_owned()), (5, "superseded".to_owned())]
    );
}
