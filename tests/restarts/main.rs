//! etcd and the API server are killed in the middle of an emergency and of a rollback, at the beginning of each phase; the
//! run completes all the same.
//!
//! A target of its own, because nobody else can work meanwhile: its tests run one after the other, on a cluster that
//! `cargo xtask` has started (its supervisor starts again what was killed). On any other cluster they say that they are
//! skipped.

#[expect(dead_code, unused_imports, reason = "the harness serves the end-to-end tests as well")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use harness::{Helm, Release, Test, all_tags, broken_tags, merge, wait_for};

/// What is killed, as the state of the cluster calls it.
const VICTIMS: [&str; 2] = ["etcd", "kube-apiserver"];

/// Only one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Name, process and number of restarts of the components; nothing where the cluster is not one of ours.
fn components(kubeconfig: &Path) -> Option<Vec<(String, u64, u64)>> {
    let file = kubeconfig.parent()?.join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let read = |component: &Value| {
        Some((
            component["name"].as_str()?.to_owned(),
            component["id"].as_u64()?,
            component["restarts"].as_u64()?,
        ))
    };
    state["components"].as_array()?.iter().map(read).collect()
}

/// Kills both, hard.
fn kill(kubeconfig: &Path) {
    for (name, id, _) in components(kubeconfig).unwrap() {
        if VICTIMS.contains(&name.as_str()) {
            let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap();
            assert!(killed.success(), "{name}");
        }
    }
}

fn restarts(kubeconfig: &Path) -> u64 {
    let all = components(kubeconfig).unwrap_or_default();
    all.iter().filter(|(name, ..)| VICTIMS.contains(&name.as_str())).map(|(.., restarts)| restarts).sum()
}

/// Kills at the beginning of a phase, and expects the run to end as if nothing had been.
fn completes(arguments: &[&str], phase: &'static str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(test) = Test::begin() else { return };
    let kubeconfig = test.cluster.kubeconfig.clone();
    if components(&kubeconfig).is_none() {
        harness::say("skipped: the cluster is not one that cargo xtask has started");
        return;
    }
    // Good, and slow enough that the phases last.
    let slow = json!({"backend": {"podAnnotations": {
        "kubectl-rollback.test/stop-delay": "2s", "kubectl-rollback.test/ready-delay": "3s"}}});
    let release = Release::install(&test, Helm::Four, "todo-app", &merge(&slow, &all_tags("good-1")));
    release.upgrade(&merge(&slow, &broken_tags()));
    test.cluster.wait_until_broken();

    let restarted = restarts(&kubeconfig);
    let arguments = [arguments, &["--yes", "--timeout", "3m", "-o", "jsonl"]].concat();
    let mut running = test.start(&arguments);
    running.until(phase, |event| {
        event["type"] == "Stage" && event["stage"] == phase && event["status"] == "started"
    });
    kill(&kubeconfig);
    let run = running.finish().expect(0);
    wait_for("both to be started again", Duration::from_secs(60), || {
        (restarts(&kubeconfig) >= restarted + 2).then_some(())
    });

    let last = run.events().last().unwrap().clone();
    assert_eq!(
        (&last["type"], &last["outcome"]),
        (&json!("OperationFinished"), &json!("Succeeded")),
        "{run}"
    );
    test.cluster.wait_until_ready();
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
    let history = Helm::Four.history(&test.cluster, &release.name);
    let deployed = history.iter().filter(|entry| entry["status"] == "deployed").count();
    assert_eq!(deployed, 1, "{history:?}\n{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
    // The lock was given back and the journal closed: nothing is left to resume.
    test.run(&["resume", "--yes"]).expect(2);
}

const EMERGENCY: [&str; 5] = ["emergency", "--tag", "good-1", "--strategy", "stop-first"];
const TO: [&str; 3] = ["to", "--tag", "good-1"];

macro_rules! phases {
    ($($name:ident: $arguments:ident $phase:literal;)*) => {
        $(
            #[test]
            fn $name() {
                completes(&$arguments, $phase);
            }
        )*
    };
}

phases! {
    an_emergency_that_stops: EMERGENCY "stop";
    an_emergency_that_starts: EMERGENCY "start";
    an_emergency_that_waits: EMERGENCY "wait";
    an_emergency_that_reconciles: EMERGENCY "reconcile";
    a_rollback_that_starts: TO "start";
    a_rollback_that_waits: TO "wait";
    a_rollback_that_reconciles: TO "reconcile";
}
