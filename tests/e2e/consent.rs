//! Nothing is written without consent, in a dry run, or where only the operator can decide.

use serde_json::{Value, json};

use crate::harness::{Helm, INFRASTRUCTURE, Release, Run, SERVICES, Test, all_tags};

/// A healthy release with two revisions, in which nothing moves any more.
#[track_caller]
fn settled_platform(test: &Test) -> Vec<String> {
    let release = Release::install(test, Helm::Four, "todo-app", &all_tags("good-1"));
    release.upgrade_and_wait(&all_tags("good-2"));
    test.cluster.settled_versions()
}

#[track_caller]
fn assert_nothing_written(test: &Test, before: &[String], run: &Run, result: &Value) {
    assert_eq!(test.cluster.resource_versions(), before, "{run}");
    assert_eq!(result["requests"]["writes"], 0, "{run}");
}

#[test]
fn without_a_terminal_and_yes_nothing_is_written() {
    let Some(test) = Test::begin() else { return };
    let before = settled_platform(&test);
    let run = test.run(&["emergency", "--tag", "good-1", "-o", "json"]).expect(9);
    let result = run.json();
    assert_eq!(result["outcome"], "NotConfirmed", "{run}");
    assert!(format!("{}{}", result["error"], result["next"]).contains("--yes"), "{run}");
    assert_nothing_written(&test, &before, &run, &result);

    let run = test.run(&["emergency", "--tag", "good-1"]).expect(9);
    assert!(run.stderr.contains("--yes"), "{run}");
    assert_eq!(run.stdout, "", "the plan and the refusal are talk, no result");
    assert_eq!(test.cluster.resource_versions(), before, "{run}");
}

#[test]
fn dry_runs_show_the_whole_plan_and_write_nothing() {
    let Some(test) = Test::begin() else { return };
    let before = settled_platform(&test);
    for dry_run in ["--dry-run=server", "--dry-run=client"] {
        let run = test.run(&["emergency", "--tag", "good-1", dry_run, "-o", "json"]).expect(0);
        let result = run.json();
        assert_eq!(result["outcome"], "Planned", "{run}");
        let workloads = result["workloads"].as_array().unwrap();
        assert_eq!(workloads.len(), SERVICES.len(), "{run}");
        for workload in workloads {
            let change = &workload["containers"][0];
            let (from, to) = (change["from"].as_str().unwrap(), change["to"].as_str().unwrap());
            assert!(from.ends_with(":good-2") && to.ends_with(":good-1"), "{run}");
            assert_eq!(workload["strategy"], "rolling", "{run}");
        }
        for name in INFRASTRUCTURE {
            assert!(result["skipped"].to_string().contains(name), "{name} is named as not touched\n{run}");
        }
        let asked = |check: &str| {
            let findings = result["preflight"].as_array().unwrap();
            findings.iter().filter(|finding| finding["check"] == check && finding["status"] == "pass").count()
        };
        let expected = if dry_run == "--dry-run=server" { SERVICES.len() } else { 0 };
        assert_eq!((asked("api"), asked("quota")), (expected, expected), "{run}");
        assert_nothing_written(&test, &before, &run, &result);
    }
}

#[test]
fn ambiguous_containers_need_the_operators_word() {
    let Some(test) = Test::begin() else { return };
    Release::install(&test, Helm::Four, "variants/two-containers", &json!({}));
    let before = test.cluster.settled_versions();
    for arguments in [&["emergency", "--tag", "9f31c02", "--yes"][..], &["emergency", "--tag", "9f31c02"]] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let run = test.run(&arguments).expect(2);
        let result = run.json();
        let error = result["error"].as_str().unwrap_or_default();
        for flag in ["--container deploy/web/web", "--exclude deploy/web/proxy"] {
            assert!(error.contains(flag), "{flag}\n{run}");
        }
        assert_nothing_written(&test, &before, &run, &result);
    }
    let said = [
        "--container",
        "deploy/web/web",
        "--container",
        "deploy/web/worker",
        "--exclude",
        "deploy/web/proxy",
    ];
    let arguments: Vec<&str> =
        ["emergency", "--tag", "9f31c02", "--yes", "-o", "json"].into_iter().chain(said).collect();
    let run = test.run(&arguments).expect(0);
    let images = test.cluster.workload("deploy/web").images;
    assert_eq!(images["web"], "ghcr.io/acme/web:9f31c02", "{run}");
    assert_eq!(images["worker"], "ghcr.io/acme/web:9f31c02", "{run}");
    assert_eq!(images["proxy"], "nginx:1.25.4", "{run}");
}

#[test]
fn stopped_workload_that_nobody_remembers_needs_a_number() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/no-replicas", &tags("good-1"));
    release.upgrade_and_wait(&tags("good-2"));
    test.cluster.kubectl(&["scale", "deployment/web", "--replicas=0"]);
    test.cluster.wait_until_ready();
    let before = test.cluster.settled_versions();
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(2);
    let result = run.json();
    assert!(result["error"].as_str().unwrap_or_default().contains("--replicas deploy/web="), "{run}");
    assert_nothing_written(&test, &before, &run, &result);
    let run = test
        .run(&["emergency", "--tag", "good-1", "--yes", "--replicas", "deploy/web=3", "-o", "json"])
        .expect(0);
    let workload = test.cluster.workload("deploy/web");
    assert_eq!((workload.replicas, workload.ready), (Some(3), true), "{run}");
}

fn tags(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}
