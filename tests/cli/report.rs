//! `report` and `checklist`: which formats go with which command, and the screens over the journal of a real operation.

use std::collections::HashMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;
use kubectl_rollback::journal::codec::{encode_entry, encode_head};
use kubectl_rollback::journal::{Entry, Head};
use serde_json::{Value, json};

use crate::api::Api;
use crate::{Output, program, program_against, run};

/// An API server that holds the journal of one operation.
fn api() -> Api {
    let kept: Value = serde_json::from_str(include_str!("../cases/journals/emergency.json")).unwrap();
    let head: Head = serde_json::from_value(kept["head"].clone()).unwrap();
    let entries: Vec<Entry> = serde_json::from_value(kept["entries"].clone()).unwrap();
    let lines: String = entries.iter().map(encode_entry).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubectl-rollback/journal",
        "metadata": {
            "name": "kubectl-rollback.d177.0", "namespace": "shop", "resourceVersion": "7",
            "labels": {
                "rollback.kubectl.dev/operation": "d177",
                "rollback.kubectl.dev/release": "todo-app",
                "rollback.kubectl.dev/state": "finished",
                "rollback.kubectl.dev/part": "journal",
            },
            "annotations": {"rollback.kubectl.dev/started-at": head.started_at.to_string()},
        },
        "data": {"head": STANDARD.encode(encode_head(&head)), "entries": STANDARD.encode(lines)},
    });
    Api::start(HashMap::from([("secrets", vec![secret])]))
}

fn against(api: &Api, arguments: &[&str]) -> Output {
    run(&mut program_against(api, arguments))
}

#[test]
fn formats_of_documents_are_refused_elsewhere_before_anything_else() {
    for arguments in [
        ["status", "-o", "md"],
        ["operations", "-o", "html"],
        ["emergency", "--tag=a", "-o=md"],
        ["checklist", "-o", "md"],
        ["version", "-o", "html"],
    ] {
        // There is no kubeconfig: had anything been looked at, the error would be another one.
        let output = run(&mut program(arguments));
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
        assert!(output.stderr.contains("is a format of `report`"), "{output}");
    }
    let output = run(&mut program(["checklist", "export", "-o", "html"]));
    assert_eq!(output.code, 2, "{output}");
}

#[test]
fn a_report_is_printed_or_written_to_a_file() {
    let api = api();
    let printed = against(&api, &["report"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed}");
    assert!(printed.stdout.starts_with("# Rollback of todo-app to tag good-2\n"), "{printed}");
    let same = against(&api, &["report", "d177", "-o", "md"]);
    assert_eq!(same.stdout, printed.stdout);
    let json = against(&api, &["report", "--release", "todo-app", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["kind"], &json["operation"]), (&json!("Report"), &json!("d177")));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html").display().to_string();
    let written = against(&api, &["report", "-o", "html", "--file", &path]);
    assert_eq!(written.stdout, format!("report of operation d177 written to {path}\n"), "{written}");
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    // Below a file there is no folder, whoever asks.
    let below = format!("{path}/report.md");
    let nowhere = against(&api, &["report", "--file", &below]);
    assert_eq!(nowhere.code, 1, "{nowhere}");
    assert!(nowhere.stderr.contains(&format!("cannot write {below}")), "{nowhere}");
    assert!(api.seen.writes.lock().unwrap().is_empty(), "a report writes nothing to the cluster");
}

#[test]
fn nothing_to_report_is_said() {
    let output = against(&Api::start(HashMap::new()), &["report"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("namespace shop holds no operation"), "{output}");
}

#[test]
fn a_team_says_who_does_what() {
    let api = api();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("team.yaml").display().to_string();
    fs::write(&path, "checklist:\n  owners: {workflow: the checkout team}\n").unwrap();
    let shown = against(&api, &["checklist", "--config", &path]);
    let line = |item: &str| shown.stdout.lines().find(|line| line.contains(item)).unwrap_or_default();
    assert!(line("[ ] workflow").ends_with("  the checkout team"), "{shown}");
    assert!(line("[ ] postmortem").ends_with("  DevOps Lead"), "{shown}");
    let exported = against(&api, &["checklist", "export", "--config", &path]);
    assert!(exported.stdout.contains("end-to-end (owner: the checkout team)\n"), "{exported}");

    fs::write(&path, "checklist:\n  owners: {coffee: SRE}\n").unwrap();
    for command in [&["config", "validate"][..], &["checklist"]] {
        let refused = against(&api, &[command, &["--config", &path]].concat());
        assert_eq!(refused.code, 1, "{refused}");
        let place = format!("{path}:2:12: \"coffee\" is no item of the checklist; there are pods, ");
        assert!(refused.stderr.contains(&place), "{refused}");
    }
    assert!(api.seen.writes.lock().unwrap().is_empty());
}

#[test]
fn the_checklist_is_shown_and_exported() {
    let api = api();
    assert_snapshot!("checklist", against(&api, &["checklist"]).to_string());
    assert_snapshot!("checklist-export", against(&api, &["checklist", "d177", "export"]).to_string());
    let unknown = against(&api, &["checklist", "done", "coffee", "--note", "hot"]);
    assert_eq!(unknown.code, 2, "{unknown}");
    assert!(unknown.stderr.contains("is no item of the checklist; there are pods, smoke-tests"), "{unknown}");
    assert!(api.seen.writes.lock().unwrap().is_empty());
}
