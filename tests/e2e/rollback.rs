//! `to`: which revision is chosen, what comes back, what the records say, and what happens when it does not work.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Proxy, Release, Run, Running, SERVICES, Test, all_tags, broken_tags, merge};

/// Installs good-1, then deploys what breaks every service, without waiting.
#[track_caller]
fn broken(test: &Test, helm: Helm) -> Release<'_> {
    let release = Release::install(test, helm, "todo-app", &all_tags("good-1"));
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    release
}

fn to(test: &Test, more: &[&str]) -> Run {
    test.run(&[&["to", "todo-app", "--yes", "-o", "json"], more].concat())
}

#[track_caller]
fn assert_tags(test: &Test, tag: &str, run: &Run) {
    for (_, name, _) in SERVICES {
        let image = test.cluster.image(&format!("deploy/{name}"));
        assert!(image.ends_with(&format!(":{tag}")), "{name}: {image}\n{run}");
    }
}

fn the_bad_one_never_again(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, helm);
    let run = to(&test, &[]).expect(0);
    assert_eq!(run.json()["release"]["toRevision"], 1, "{run}");
    assert_tags(&test, "good-1", &run);
    release.assert_record(3, &all_tags("good-1"));
    // Plain Helm would now choose revision 2, the broken one.
    let again = to(&test, &[]).expect(0);
    assert_eq!(again.json()["outcome"], "Unchanged", "{again}");
    assert_eq!(again.json()["requests"]["writes"], 0, "{again}");
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{again}");
    // The next broken deploy is left for the rollback's content, not for revision 2.
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    let run = to(&test, &[]).expect(0);
    assert_eq!(run.json()["release"]["toRevision"], 3, "{run}");
    assert_tags(&test, "good-1", &run);
    release.assert_record(5, &all_tags("good-1"));
}

#[test]
fn the_last_good_revision_comes_back_with_helm_4() {
    the_bad_one_never_again(Helm::Four);
}

#[test]
fn the_last_good_revision_comes_back_with_helm_3() {
    the_bad_one_never_again(Helm::Three);
}

#[test]
fn what_an_emergency_left_is_not_chosen() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(to(&test, &[]).expect(0).json()["outcome"], "Unchanged");
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    let run = to(&test, &[]).expect(0);
    assert_eq!(run.json()["release"]["toRevision"], 3, "{run}");
    assert_tags(&test, "good-1", &run);
}

#[test]
fn a_failed_revision_is_passed_over_and_told() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    let never = ["--reuse-values", "--set", "backend.image.tag=crash", "--wait", "--timeout", "3s"];
    let upgrade = [&["upgrade", "todo-app", release.chart_path()], &never[..]].concat();
    Helm::Four.fail(&test.cluster, &upgrade);
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    let run = to(&test, &[]).expect(0);
    let result = run.json();
    assert_eq!(result["release"]["toRevision"], 1, "{run}");
    assert!(result["skipped"].to_string().contains("revision 2"), "{run}");
    let refused = to(&test, &["2"]).expect(3);
    assert_eq!(refused.json()["requests"]["writes"], 0, "{refused}");
    assert!(refused.stderr.contains("--allow-failed-revision"), "{refused}");
}

#[test]
fn a_target_is_found_by_tag_time_and_chart() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    std::thread::sleep(Duration::from_millis(1100));
    let moment = jiff::Timestamp::now().to_string();
    std::thread::sleep(Duration::from_millis(1100));
    release.upgrade_and_wait(&all_tags("good-2"));
    release.upgrade(&broken_tags());
    for (flags, revision) in [
        (&["--tag", "good-1"][..], 1),
        (&["--tag", "good-2"], 2),
        (&["--before", &moment], 1),
        (&["--before", "0"], 2),
        (&["--chart-version", "1.0.0"], 2),
        (&["--helm-compat"], 2),
        (&["1"], 1),
    ] {
        let run = to(&test, &[flags, &["--dry-run=client"]].concat()).expect(0);
        assert_eq!(run.json()["release"]["toRevision"], revision, "{flags:?}\n{run}");
    }
    for (flags, exit) in [(&["--tag", "never-built"][..], 3), (&["9"], 2), (&["--chart-version", "9.9.9"], 3)]
    {
        let run = to(&test, flags).expect(exit);
        assert_eq!(run.json()["requests"]["writes"], 0, "{flags:?}\n{run}");
    }
}

#[test]
fn without_a_word_nothing_is_written() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    let before = test.cluster.resource_versions();
    let run = test.run(&["to", "todo-app", "-o", "json"]).expect(9);
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
    let run = to(&test, &["--dry-run=server"]).expect(0);
    assert_eq!(run.json()["outcome"], "Planned", "{run}");
    test.run(&["plan", "todo-app", "-o", "json"]).expect(0);
    let run = test.run(&["diff", "todo-app", "-o", "json"]).expect(1);
    assert_eq!(run.json()["kind"], "Diff", "{run}");
    let still = |versions: &[String]| -> Vec<String> {
        // Broken pods restart by themselves meanwhile.
        let is_written = |line: &&String| {
            ["secrets/", "configmaps/", "services/"].iter().any(|kind| line.starts_with(kind))
        };
        versions.iter().filter(is_written).cloned().collect()
    };
    assert_eq!(still(&test.cluster.resource_versions()), still(&before));
    assert_eq!(release.newest(), (2, "deployed".to_owned()));
    test.run(&["diff", "todo-app", "2", "-o", "json"]).expect(0);
}

#[test]
fn a_saved_plan_holds_until_the_cluster_moves() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json").display().to_string();
    test.run(&["plan", "todo-app", "--save", &file, "-o", "json"]).expect(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("logLevel"), "a plan holds no contents: {text}");
    test.cluster.kubectl(&["set", "env", "deployment/todo-backend", "HOTFIX=1"]);
    let run = test.run(&["to", "--plan", &file, "--yes", "-o", "json"]).expect(3);
    assert!(run.stderr.contains("Deployment/todo-backend was changed"), "{run}");
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
    test.run(&["plan", "todo-app", "--save", &file, "-o", "json"]).expect(0);
    // A controller that writes what it sees changes nothing that was planned.
    let seen = r#"{"status": {"lastScaleTime": "2026-01-01T00:00:00Z"}}"#;
    let autoscaler =
        ["hpa", "notification-consumer", "--subresource=status", "--type=merge", "--patch", seen];
    test.cluster.kubectl(&[&["patch"], &autoscaler[..]].concat());
    let run = test.run(&["to", "--plan", &file, "--yes", "-o", "json"]).expect(0);
    assert_tags(&test, "good-1", &run);
    assert_eq!(release.newest(), (3, "deployed".to_owned()));
    let backend = test.cluster.workload("deploy/todo-backend").object;
    assert!(backend.to_string().contains("HOTFIX"), "what somebody else set stays\n{run}");
}

#[test]
fn a_target_that_does_not_run_is_a_failed_revision() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    to(&test, &["1"]).expect(0);
    let run = to(&test, &["2", "--timeout", "90s"]).expect(4);
    let result = run.json();
    assert_eq!(result["outcome"], "Failed", "{run}");
    assert!(result["workloads"].to_string().contains("CrashLoop"), "{run}");
    assert_eq!(release.newest(), (4, "failed".to_owned()), "{run}");
    for helm in Helm::BOTH {
        let history = helm.history(&test.cluster, "todo-app");
        let said: Vec<&str> = history.iter().filter_map(|revision| revision["status"].as_str()).collect();
        assert_eq!(said, ["superseded", "superseded", "deployed", "failed"], "{helm:?}\n{run}");
        let why = history[3]["description"].as_str().unwrap_or_default();
        assert!(why.contains("failed") && why.contains("todo-backend"), "{why}");
    }
    // And back again: neither the failed attempt nor what the first rollback had left is chosen.
    let run = to(&test, &[]).expect(0);
    assert_eq!(run.json()["release"]["toRevision"], 1, "{run}");
    release.assert_record(5, &all_tags("good-1"));
}

/// Pods that take their time, so that there is something to interrupt.
fn slow(tags: &Value) -> Value {
    let slow = json!({"kubectl-rollback.test/ready-delay": "4s"});
    let services = SERVICES.iter().map(|(key, _, _)| ((*key).to_owned(), json!({"podAnnotations": slow})));
    merge(&services.collect::<serde_json::Map<_, _>>().into(), tags)
}

#[track_caller]
fn slow_release(test: &Test) -> Release<'_> {
    let release = Release::install(test, Helm::Four, "todo-app", &slow(&all_tags("good-1")));
    release.upgrade_and_wait(&slow(&all_tags("good-2")));
    release
}

const JSON_LINES: [&str; 6] = ["to", "todo-app", "1", "--yes", "-o", "jsonl"];

/// Interrupts a rollback; the records must be true, and both a deploy and the same rollback must then work.
fn interrupted(moment: impl Fn(&mut Running), signal: &str, exit: i32, newest: &[(u64, &str)]) {
    let Some(test) = Test::begin() else { return };
    let release = slow_release(&test);
    let mut running = test.start(&JSON_LINES);
    moment(&mut running);
    running.signal(signal);
    let run = running.finish().expect(exit);
    assert_eq!(run.events().last().unwrap()["outcome"], "Interrupted", "{run}");
    let (revision, status) = release.newest();
    assert!(newest.contains(&(revision, status.as_str())), "{revision} is {status}\n{run}");
    let deployed = Helm::Four
        .history(&test.cluster, "todo-app")
        .iter()
        .filter(|revision| revision["status"] == "deployed")
        .count();
    assert_eq!(deployed, 1, "{run}");
    let run = to(&test, &["1"]).expect(0);
    assert_tags(&test, "good-1", &run);
    release.upgrade_reusing_values(Helm::Four);
}

fn stage(name: &'static str, status: &'static str) -> impl Fn(&mut Running) {
    move |running| {
        running.until(name, |event| {
            event["type"] == "Stage" && event["stage"] == name && event["status"] == status
        });
    }
}

#[test]
fn ctrl_c_while_a_rollback_reads() {
    interrupted(stage("discover", "started"), "INT", 130, &[(2, "deployed")]);
}

#[test]
fn sigterm_while_a_rollback_asks() {
    interrupted(stage("preflight", "started"), "TERM", 143, &[(2, "deployed")]);
}

#[test]
fn ctrl_c_when_a_rollback_has_written_its_record() {
    // Whether something was applied already is a matter of milliseconds.
    interrupted(stage("start", "started"), "INT", 130, &[(2, "deployed"), (3, "failed")]);
}

#[test]
fn ctrl_c_while_objects_are_applied() {
    let change = |running: &mut Running| {
        running
            .until("a change", |event| event["type"] == "Change" && event["object"]["kind"] == "Deployment");
    };
    interrupted(change, "INT", 130, &[(3, "failed")]);
}

#[test]
fn sigterm_while_a_rollback_waits() {
    interrupted(stage("wait", "started"), "TERM", 143, &[(3, "failed")]);
}

/// Cuts the network for eight seconds when a phase begins.
fn cut_when(name: &'static str) {
    let Some(test) = Test::begin() else { return };
    let release = slow_release(&test);
    let proxy = Proxy::start(&test.cluster);
    let server = proxy.url();
    let mut running = test.start(&[&JSON_LINES[..], &["--server", &server]].concat());
    running.until(name, |event| event["type"] == "Stage" && event["stage"] == name);
    proxy.cut_for(Duration::from_secs(8));
    let run = running.finish();
    if run.code == Some(0) {
        assert_tags(&test, "good-1", &run);
        release.assert_record(3, &slow(&all_tags("good-1")));
    } else {
        // Only before anything was written may it give up.
        assert_eq!(name, "discover", "{run}");
        assert_eq!(release.newest(), (2, "deployed".to_owned()), "{run}");
    }
}

#[test]
fn a_network_that_breaks_while_a_rollback_reads() {
    cut_when("discover");
}

#[test]
fn a_network_that_breaks_while_objects_are_applied() {
    cut_when("start");
}

#[test]
fn a_network_that_breaks_while_a_rollback_waits() {
    cut_when("wait");
}

#[test]
fn a_network_that_breaks_while_a_rollback_closes_its_record() {
    cut_when("reconcile");
}

#[test]
fn a_killed_rollback_stays_pending_and_is_taken_over() {
    let Some(test) = Test::begin() else { return };
    let release = slow_release(&test);
    let mut running = test.start(&JSON_LINES);
    stage("wait", "started")(&mut running);
    running.signal("KILL");
    let run = running.finish();
    assert_eq!(release.newest(), (3, "pending-rollback".to_owned()), "{run}");
    let refused = to(&test, &["1"]).expect(8);
    assert!(refused.stderr.contains("--take-over"), "{refused}");
    let run = to(&test, &["1", "--take-over"]).expect(0);
    let history = Helm::Four.history(&test.cluster, "todo-app");
    let said: Vec<&str> = history.iter().filter_map(|revision| revision["status"].as_str()).collect();
    assert_eq!(said, ["superseded", "superseded", "failed", "deployed"], "{run}");
    assert_tags(&test, "good-1", &run);
}

const SETTINGS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {LEVEL: {{ .Values.level }}}
";

#[test]
fn pods_are_restarted_for_settings_that_change_alone() {
    let Some(test) = Test::begin() else { return };
    let chart = tempfile::tempdir().unwrap();
    std::fs::create_dir(chart.path().join("templates")).unwrap();
    let files = [
        ("Chart.yaml", json!({"apiVersion": "v2", "name": "settings", "version": "1.0.0"}).to_string()),
        ("templates/settings.yaml", SETTINGS.to_owned()),
        ("templates/web.yaml", {
            let mut web = crate::harness::deployment("web", 1, "ghcr.io/acme/web:good-1");
            web["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
                json!([{"configMapRef": {"name": "settings"}}]);
            web.to_string()
        }),
    ];
    for (name, text) in files {
        std::fs::write(chart.path().join(name), text).unwrap();
    }
    let path = chart.path().display().to_string();
    let release = Release::install(&test, Helm::Four, &path, &json!({"level": "info"}));
    release.upgrade_and_wait(&json!({"level": "debug"}));
    let pods = test.cluster.pod_uids("web");
    let run = test.run(&["to", "shop", "1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(test.cluster.get("configmaps", "settings")["data"]["LEVEL"], "info", "{run}");
    assert_eq!(test.cluster.pod_uids("web"), pods, "pods are not restarted unasked\n{run}");
    assert!(run.json()["next"].to_string().contains("rollout restart deploy/web"), "{run}");
    let run = test.run(&["to", "shop", "2", "--restart", "--yes", "-o", "json"]).expect(0);
    let now = test.cluster.pod_uids("web");
    assert!(now.iter().all(|uid| !pods.contains(uid)), "{run}");
    assert_eq!(release.newest(), (4, "deployed".to_owned()));
}

#[test]
fn what_an_interrupted_emergency_stopped_is_started_again() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    // As a killed emergency leaves it.
    let note = json!({"metadata": {"annotations": {"rollback.kubectl.dev/replicas-before": "3"}}, "spec": {"replicas": 0}});
    test.cluster.patch("deployments", "todo-backend", "kubectl-rollback", &note);
    let run = to(&test, &["--keep-replicas"]).expect(0);
    let backend = test.cluster.workload("deploy/todo-backend");
    assert_eq!((backend.replicas, backend.ready), (Some(3), true), "{run}");
    assert!(!backend.object["metadata"]["annotations"].to_string().contains("rollback.kubectl.dev"), "{run}");
    crate::restoration::assert_no_manager_of_ours(&test.cluster, &run);
    assert_eq!(release.newest(), (3, "deployed".to_owned()));
}

#[test]
fn nothing_is_written_for_pods_that_the_server_refuses() {
    let Some(test) = Test::begin() else { return };
    let release = broken(&test, Helm::Four);
    test.cluster.kubectl(&[
        "label",
        "namespace",
        test.namespace(),
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    let run = to(&test, &[]).expect(3);
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
    assert!(run.json()["preflight"].to_string().contains("PodSecurity"), "{run}");
    assert_eq!(release.newest(), (2, "deployed".to_owned()));
}
