//! Releases that the program has rolled back are read and continued by both Helms.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::harness::{Helm, Test};
use crate::records;
use crate::scenarios::{annotated, config_map, web};
use crate::side::{Chart, Mode, RELEASE, Side};
use crate::story::Rollback;

fn chart(size: u64) -> Chart {
    Chart {
        template: config_map("a", "{{ .Values.size }}")
            + &web(&format!("good-{size}"))
            + &annotated("hook", "{{ .Values.size }}", "helm.sh/hook: post-rollback"),
        notes: "Size {{ .Values.size }}".to_owned(),
        values: json!({"size": size}),
        ..Chart::default()
    }
}

/// Begins a release of two revisions that the program has brought back to the first.
fn rolled_back(name: &str, writer: Mode, prepare: fn(&Side)) -> Option<(Test, Side)> {
    let test = Test::named(name)?;
    let side = Side::create(&test.cluster, "ours", writer);
    prepare(&side);
    Some((test, side))
}

fn back_to(side: &Side, revision: u64) {
    let output = Contender::chosen().roll_back(side, &Rollback::to(revision));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What a Helm says of the release; JSON where there is any.
#[track_caller]
fn ask(side: &Side, helm: Helm, arguments: &[&str]) -> Value {
    let text = helm.succeed(&side.cluster, arguments);
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Demands that both Helms tell the same and right story of a release whose newest revision is a rollback to 1.
#[track_caller]
fn assert_read(side: &Side, revision: u64) {
    for helm in Helm::BOTH {
        let history = helm.history(&side.cluster, RELEASE);
        let newest = history.last().unwrap();
        assert_eq!(newest["revision"], json!(revision), "{helm:?}: {history:?}");
        assert_eq!(newest["status"], "deployed", "{helm:?}: {history:?}");
        assert!(
            newest["description"].as_str().unwrap().starts_with("Rollback to 1"),
            "{helm:?}: {history:?}"
        );
        assert_eq!(newest["chart"], "parity-0.1.0", "{helm:?}: {history:?}");
        let older: BTreeSet<&str> =
            history.iter().rev().skip(1).map(|entry| entry["status"].as_str().unwrap()).collect();
        assert_eq!(older, BTreeSet::from(["superseded"]), "{helm:?}: {history:?}");

        let status = ask(side, helm, &["status", RELEASE, "-o", "json"]);
        assert_eq!(status["info"]["status"], "deployed", "{helm:?}");
        assert_eq!(status["version"], json!(revision), "{helm:?}");
        assert_eq!(status["config"], json!({"size": 1}), "{helm:?}");
        assert_eq!(status["info"]["notes"], "Size 1", "{helm:?}");
        let list = ask(side, helm, &["list", "-o", "json"]);
        assert_eq!(list[0]["revision"], json!(revision.to_string()), "{helm:?}: {list}");

        let number = revision.to_string();
        for part in ["manifest", "hooks", "notes", "values", "all"] {
            let (new, old) =
                (["get", part, RELEASE, "--revision", &number], ["get", part, RELEASE, "--revision", "1"]);
            let (new, old) = (ask(side, helm, &new), ask(side, helm, &old));
            if part == "all" {
                let text = new.as_str().unwrap();
                assert!(text.contains("size: 1") && text.contains("good-1"), "{helm:?}: {text}");
            } else {
                assert_eq!(new, old, "{helm:?}: get {part}");
            }
        }
        ask(side, helm, &["get", "metadata", RELEASE, "-o", "json"]);
    }
}

/// Demands what runs.
#[track_caller]
fn assert_size(side: &Side, size: u64) {
    assert_eq!(side.cluster.get("configmaps", "a")["data"]["value"], size.to_string());
    assert_eq!(side.cluster.image("deploy/web"), format!("ghcr.io/acme/web:good-{size}"));
}

fn goes_on(name: &str, writer: Mode, next: Mode) {
    let prepare = |side: &Side| {
        side.install(chart(1));
        side.upgrade(chart(2));
        back_to(side, 1);
    };
    let Some((_test, side)) = rolled_back(name, writer, prepare) else { return };
    assert_read(&side, 3);
    assert_size(&side, 1);
    side.writer.set(next);
    side.upgrade_with(chart(3), &["--reset-values"]);
    assert_size(&side, 3);
    side.helm("rollback", &["3"]);
    assert_read_statuses(
        &side,
        &["1 superseded", "2 superseded", "3 superseded", "4 superseded", "5 deployed"],
    );
    assert_size(&side, 1);
    side.helm("rollback", &["2"]);
    assert_size(&side, 2);
    // And once more by the program, on top of whatever has been written since.
    back_to(&side, 1);
    assert_read(&side, 7);
    assert_size(&side, 1);
    side.upgrade_with(Chart { values: Value::Null, ..chart(2) }, &["--reuse-values", "--set", "size=2"]);
    assert_size(&side, 2);
    side.helm("uninstall", &[]);
    assert_eq!(records::statuses(&side.cluster), [""; 0]);
    assert_eq!(side.cluster.find("configmaps", "a"), None);
    assert_eq!(side.cluster.find("deployments", "web"), None);
}

#[track_caller]
fn assert_read_statuses(side: &Side, wanted: &[&str]) {
    assert_eq!(records::statuses(&side.cluster), wanted);
}

#[test]
fn helm_3_goes_on_with_its_release() {
    goes_on("continued-3-3", Mode::Helm3, Mode::Helm3);
}

#[test]
fn helm_4_goes_on_with_its_release() {
    goes_on("continued-4-4", Mode::Helm4, Mode::Helm4);
}

#[test]
fn helm_4_goes_on_with_a_release_of_helm_3() {
    goes_on("continued-3-4", Mode::Helm3, Mode::Helm4);
}

#[test]
fn helm_3_goes_on_with_a_release_of_helm_4() {
    goes_on("continued-4-3", Mode::Helm4, Mode::Helm3);
}

#[test]
fn helm_4_goes_on_with_a_client_side_release() {
    goes_on("continued-4c-4", Mode::Helm4ClientSide, Mode::Helm4ClientSide);
}

/// After a rollback that failed, nothing is pending: both Helms can upgrade and roll back at once.
fn goes_on_after_a_failure(name: &str, writer: Mode) {
    if Contender::chosen() == Contender::Helm {
        // Helm leaves such a release pending.
        return;
    }
    let prepare = |side: &Side| {
        let job = "\napiVersion: batch/v1\nkind: Job\nmetadata: {name: after, annotations: {helm.sh/hook: post-rollback}}\nspec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: after, image: \"ghcr.io/acme/web:crash\"}]}}}\n---\n";
        side.install(config_map("a", "1") + &web("good-1") + job);
        side.upgrade(config_map("a", "2") + &web("good-2"));
        let output = Contender::Program.roll_back(side, &Rollback::to(1));
        assert!(!output.status.success(), "the hook fails");
    };
    let Some((_test, side)) = rolled_back(name, writer, prepare) else { return };
    assert_read_statuses(&side, &["1 superseded", "2 deployed", "3 failed"]);
    for helm in Helm::BOTH {
        assert_eq!(helm.history(&side.cluster, RELEASE).last().unwrap()["status"], "failed");
    }
    side.upgrade(config_map("a", "3") + &web("good-3"));
    assert_size(&side, 3);
    side.helm("rollback", &["2"]);
    assert_size(&side, 2);
    side.helm("uninstall", &[]);
}

#[test]
fn helm_3_goes_on_after_a_failure() {
    goes_on_after_a_failure("continued-failed-3", Mode::Helm3);
}

#[test]
fn helm_4_goes_on_after_a_failure() {
    goes_on_after_a_failure("continued-failed-4", Mode::Helm4);
}
