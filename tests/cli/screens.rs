//! What the operator sees before anything is written, and how much is asked of the API server at once.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use insta::{Settings, assert_snapshot};
use serde_json::json;

use crate::api::{Api, service};
use crate::{Output, program_against, run};

fn small_shop() -> Api {
    let mut objects = HashMap::new();
    service("backend", &mut objects);
    service("worker", &mut objects);
    Api::start(objects)
}

fn run_against(api: &Api, arguments: &[&str]) -> Output {
    run(&mut program_against(api, arguments))
}

/// Snapshots in which nothing changes from run to run.
fn with_steady_words(check: impl FnOnce()) {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]");
    settings.add_filter(r"operation=[0-9a-f]+", "operation=[id]");
    settings.add_filter(r#""operation": "[0-9a-f]+""#, r#""operation": "[id]""#);
    settings.add_filter(r"elapsed=[0-9.]+s", "elapsed=[seconds]");
    settings.bind(check);
}

#[test]
fn the_plan_is_shown_and_not_carried_out_without_consent() {
    let api = small_shop();
    let output = run_against(&api, &["emergency", "-l", "team=shop", "--tag", "good-1"]);
    assert_eq!(output.code, 9, "{output}");
    with_steady_words(|| assert_snapshot!("not-confirmed", output.to_string()));
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_dry_run_shows_the_same_plan() {
    let api = small_shop();
    let output = run_against(
        &api,
        &["emergency", "-l", "team=shop", "--tag", "good-1", "--dry-run=client", "--quiet"],
    );
    assert_eq!(output.code, 0, "{output}");
    with_steady_words(|| assert_snapshot!("dry-run", output.to_string()));
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_to_do_is_said() {
    let api = small_shop();
    let output = run_against(&api, &["emergency", "-l", "team=shop", "--tag", "good-2", "--yes", "--quiet"]);
    assert_eq!(output.code, 0, "{output}");
    with_steady_words(|| assert_snapshot!("unchanged", output.to_string()));
}

#[test]
fn workloads_that_are_not_there_are_a_usage_error() {
    let api = small_shop();
    let output = run_against(&api, &["emergency", "deploy/nobody", "--tag", "good-1", "-o", "json"]);
    let result: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (output.code, &result["exitCode"], &result["outcome"]),
        (2, &json!(2), &json!("Refused")),
        "{output}"
    );
    assert!(result["error"].as_str().unwrap().contains("nobody"), "{output}");
}

#[test]
fn names_that_are_no_releases_are_a_usage_error() {
    let api = small_shop();
    for subjects in [&["Shop"][..], &["a", "b"], &["a", "deploy/b"], &["pod/web"]] {
        let arguments: Vec<&str> = ["emergency", "--tag", "a"].iter().chain(subjects).copied().collect();
        let output = run_against(&api, &arguments);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
    }
}

#[test]
fn a_namespace_without_a_release_is_a_usage_error() {
    let api = small_shop();
    let output = run_against(&api, &["emergency", "--tag", "good-1", "--yes", "--quiet"]);
    assert_eq!(output.code, 2, "{output}");
    with_steady_words(|| assert_snapshot!("no-release", output.to_string()));
}

#[test]
fn status_of_workloads() {
    let api = small_shop();
    let output = run_against(&api, &["status", "-l", "team=shop"]);
    assert_eq!(output.code, 0, "{output}");
    with_steady_words(|| assert_snapshot!("status", output.to_string()));
}

/// As many requests at once as `--concurrency` says, and not more.
#[test]
fn requests_are_bounded() {
    let mut objects = HashMap::new();
    let names: Vec<String> = (0..40).map(|number| format!("service-{number}")).collect();
    for name in &names {
        service(name, &mut objects);
    }
    let api = Api::start(objects);
    let mut arguments = vec![
        "emergency",
        "--tag",
        "good-1",
        "--dry-run=server",
        "--quiet",
        "-l",
        "team=shop",
        "--concurrency",
    ];
    for (concurrency, bound) in [("1", 1), ("4", 4), ("16", 16)] {
        api.seen.at_once.store(0, Ordering::SeqCst);
        // On a busy machine, too, the last of them is there before the first has its answer.
        api.seen.hold.store(5 * bound as u64, Ordering::SeqCst);
        arguments.push(concurrency);
        let output = run_against(&api, &arguments);
        arguments.pop();
        assert_eq!(output.code, 0, "{output}");
        assert_eq!(
            api.seen.at_once.load(Ordering::SeqCst),
            bound,
            "at once with --concurrency {concurrency}"
        );
    }
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn an_emergency_is_planned_saved_and_carried_out_only_while_the_plan_holds() {
    let api = small_shop();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json").display().to_string();
    let plan = ["plan", "-l", "team=shop", "--tag", "good-1", "--strategy", "stop-first"];
    let saved = run_against(&api, &[&plan[..], &["--save", &file, "--quiet"]].concat());
    let steady = |name: &str, output: &Output, code: i32| {
        assert_eq!(output.code, code, "{output}");
        let mut settings = Settings::clone_current();
        settings.add_filter(r"/\S+/plan\.json", "plan.json");
        settings.bind(|| with_steady_words(|| assert_snapshot!(name, output.to_string())));
    };
    steady("plan-emergency", &saved, 0);
    let carry_out = ["emergency", "--plan", &file, "--quiet"];
    assert_eq!(run_against(&api, &carry_out).code, 9);

    let mut objects = HashMap::new();
    service("backend", &mut objects);
    service("worker", &mut objects);
    let deployments = objects.get_mut("deployments").unwrap();
    deployments[0]["spec"]["replicas"] = json!(2);
    deployments[1]["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!("ghcr.io/acme/worker:good-3");
    let moved = Api::start(objects);
    steady("emergency-plan-refused", &run_against(&moved, &carry_out), 3);
    for api in [&api, &moved] {
        assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_plan_is_of_a_rollback_or_of_an_emergency() {
    let api = small_shop();
    for (arguments, said) in [
        (&["-l", "team=shop"][..], "give --tag, --digest, --to-revision or --image"),
        (&["shop", "--tag", "a", "--image", "b=c", "--restart"], "cannot be used with"),
        (&["shop", "5", "--tag", "a"], "a revision that is named needs no flag that chooses one"),
        (&["shop", "five"], "\"five\" is no revision"),
        (&["shop", "5", "6"], "give RELEASE and REVISION"),
    ] {
        let output = run_against(&api, &[&["plan", "--quiet"], arguments].concat());
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stderr.contains(said), "{said}: {output}");
    }
}
