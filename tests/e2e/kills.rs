//! The program is killed before and after every single write; `abort` then leads to the state before, `resume` to the state
//! of an undisturbed run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Helm, Killer, Release, Test, all_tags, broken_tags, content, is_long_run, merge, say};

/// Kinds of which every object is compared.
const KINDS: [&str; 8] = [
    "deployments",
    "statefulsets",
    "daemonsets",
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "horizontalpodautoscalers",
];

/// Everything of a namespace that a rollback may change, by kind and name, without what differs between two that are alike.
fn everything(test: &Test) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for kind in KINDS {
        for object in test.cluster.list(kind) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let is_record = name.starts_with("sh.helm.release.v1.") || name.starts_with("kubectl-rollback.");
            if is_record || name == "kube-root-ca.crt" {
                continue;
            }
            all.insert(format!("{kind}/{name}"), content(&object));
        }
    }
    all
}

/// Who owns what of everything that a rollback may change, without times and without the status.
fn owners(test: &Test) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    for object in test.cluster.list("deployments") {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        all.insert(name, crate::harness::owners(&object));
    }
    all
}

/// Revisions and statuses of Helm's records.
fn records(test: &Test, release: &Release<'_>) -> Vec<String> {
    let history = Helm::Four.history(&test.cluster, &release.name);
    history
        .iter()
        .map(|entry| format!("{} {}", entry["revision"], entry["status"].as_str().unwrap_or_default()))
        .collect()
}

#[track_caller]
fn assert_same(what: &str, left: &BTreeMap<String, Value>, right: &BTreeMap<String, Value>) {
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        assert_eq!(left.get(name), right.get(name), "{what}: {name}");
    }
}

/// Kills `arguments` at every `step`-th point, from `first` on.
fn matrix(helm: Helm, procedure: &str, arguments: &[&str], first: usize, step: usize) {
    let Some(test) = Test::named(&format!("kills-{procedure}")) else { return };
    let release = Release::install(&test, helm, "todo-app", &all_tags("good-1"));
    release.upgrade_and_wait(&merge(&json!({"backend": {"logLevel": "debug"}}), &all_tags("good-2")));
    let broken = merge(&json!({"backend": {"logLevel": "trace"}}), &broken_tags());
    release.upgrade(&broken);
    test.cluster.wait_until_broken();
    let killer = Killer::new(&test);

    // The first rollback of a release also settles who owns what; the matrix begins with the second.
    test.run(arguments).expect(0);
    release.upgrade(&broken);
    test.cluster.wait_until_broken();
    let (undisturbed, writes) = killer.count(&test, arguments);
    let undisturbed = undisturbed.expect(0);
    let wanted = everything(&test);
    assert!(writes > 10, "{undisturbed}");
    let mut points = 0;
    for point in (first..).step_by(step) {
        let at = (point.div_ceil(2), point % 2 == 0);
        release.upgrade(&broken);
        test.cluster.wait_until_broken();
        let (before, owned, recorded) = (everything(&test), owners(&test), records(&test, &release));
        let newest = release.newest().0;

        // It came to its end: there is no further write.
        let Some(killed) = killer.kill(&test, arguments, at) else { break };
        let when = format!("killed {killed}");
        let abort = test.run(&["abort", "--yes", "--take-over", "-o", "json"]);
        // Where it was killed before the journal was there, or after its end, there is nothing to undo.
        let had_journal = abort.code != Some(2);
        if had_journal {
            let abort = abort.expect(0);
            assert_same(&format!("{when}, undone\n{abort}"), &before, &everything(&test));
            assert_eq!(owned, owners(&test), "{when}, undone: owners\n{abort}");
            let mut now = records(&test, &release);
            now.retain(|record| *record != format!("{} failed", newest + 1));
            // What Helm's history limit took away before it was killed does not come back.
            let recorded: Vec<&String> = recorded.iter().skip_while(|record| **record != now[0]).collect();
            assert!(recorded.len() >= 8 || recorded.len() == now.len(), "{now:?}");
            assert_eq!(now.iter().collect::<Vec<_>>(), recorded, "{when}, undone: records\n{abort}");
        }

        if !had_journal && everything(&test) == wanted {
            // Only notes were left to write: there is nothing to go on with either.
            test.run(&["resume", "--yes", "--take-over"]).expect(2);
            points += 1;
            continue;
        }

        // A lock without a journal expires after a while; who does not want to wait says so.
        let again = if had_journal { arguments.to_vec() } else { [arguments, &["--take-over"]].concat() };
        let Some(killed) = killer.kill(&test, &again, at) else { continue };
        let when = format!("killed {killed}");
        let resume = test.run(&["resume", "--yes", "--take-over", "-o", "json"]);
        let resume = if resume.code == Some(2) {
            assert!(resume.stdout.contains("no unfinished operation"), "{when}\n{resume}");
            // Either nothing was begun, or everything was done.
            let again = [arguments, &["--take-over"]].concat();
            if everything(&test) == wanted { resume } else { test.run(&again).expect(0) }
        } else {
            resume.expect(0)
        };
        assert_same(&format!("{when}, gone on with\n{resume}"), &wanted, &everything(&test));
        release.assert_manifest_names_what_runs(Helm::Four);
        let now = records(&test, &release);
        let deployed: Vec<&String> = now.iter().filter(|record| record.ends_with(" deployed")).collect();
        assert_eq!(deployed, [now.last().unwrap()], "{when}, gone on with\n{resume}");
        assert!(!now.iter().any(|record| record.contains("pending")), "{when}: {now:?}\n{resume}");
        points += 1;
    }
    say(&format!("{procedure}: {writes} writes, killed at {points} of {} points", 2 * writes));
    assert!(points > 2 * writes / step / 2, "{points} of {writes} writes");
}

/// How far the points of a short run are apart; a long run takes every one.
fn step(short: usize) -> usize {
    if is_long_run() { 1 } else { short }
}

#[test]
fn an_emergency_can_be_gone_on_with_and_undone_from_every_write() {
    let arguments = ["emergency", "--tag", "good-2", "--strategy", "stop-first", "--yes", "-o", "json"];
    matrix(Helm::Four, "emergency", &arguments, 1, step(13));
}

#[test]
fn a_rollback_can_be_gone_on_with_and_undone_from_every_write() {
    matrix(Helm::Four, "to", &["to", "--tag", "good-2", "--yes", "-o", "json"], 1, step(13));
}
