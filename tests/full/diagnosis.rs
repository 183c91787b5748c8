//! What a kubelet and containerd say of a target that cannot run, and what is made of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::begin;
use crate::harness::{Run, Sample, Sampler, Test, deployment, wait_for};

/// How soon, in seconds, a reason must be named once the API shows it.
const SOON: f64 = 15.0;

/// A target that cannot run.
struct Case<'a> {
    /// The tag that `web` gets.
    tag: &'a str,
    /// The diagnosis that must be made.
    code: &'a str,
    /// The exit code that must follow.
    exit: i32,
    /// `--timeout`.
    timeout: &'a str,
    /// Whether a pod shows it.
    is_visible: &'a dyn Fn(&Value) -> bool,
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
    lists.flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
}

/// Pods with a container that waits for one of these reasons.
fn waits(reasons: &'static [&'static str]) -> impl Fn(&Value) -> bool {
    move |pod| {
        statuses(pod)
            .any(|status| reasons.iter().any(|reason| status["state"]["waiting"]["reason"] == *reason))
    }
}

/// Pods with a container that ended badly and was started again. It waits for the next start most of the time, but
/// a list may well miss that.
fn was_restarted(pod: &Value) -> bool {
    statuses(pod).any(|status| {
        let failed =
            |state: &&str| status[*state]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
        status["restartCount"].as_i64() >= Some(1) && ["state", "lastState"].iter().any(failed)
    })
}

fn was_killed_for_memory(pod: &Value) -> bool {
    statuses(pod).any(|status| {
        ["state", "lastState"].iter().any(|state| status[state]["terminated"]["reason"] == "OOMKilled")
    })
}

fn runs_unready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && statuses(pod).any(|status| status["started"] == true && status["ready"] == false)
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Creates a healthy `web` (after `change`) and `worker`.
#[track_caller]
fn create_pair(test: &Test, change: impl FnOnce(&mut Value)) {
    let mut web = deployment("web", 2, "ghcr.io/acme/web:good-1");
    change(&mut web);
    test.cluster.create_ready(&[web, deployment("worker", 1, "ghcr.io/acme/worker:good-1")]);
}

/// Rolls the healthy `web` to the case's tag and `worker` to a good one beside it. Answers the last diagnosis with the
/// case's code.
#[track_caller]
fn diagnose(test: &Test, case: &Case) -> (Value, Run) {
    let image = format!("ghcr.io/acme/web={}", case.tag);
    let watch = Sampler::start(&test.cluster);
    let run = test
        .run(&[
            "emergency",
            "deploy/web",
            "deploy/worker",
            "--image",
            &image,
            "--image",
            "ghcr.io/acme/worker=good-2",
            "--yes",
            "--skip-preflight",
            "--timeout",
            case.timeout,
            "-o",
            "jsonl",
        ])
        .expect(case.exit);
    let samples = watch.stop();
    let diagnoses = run.diagnoses();
    let named: Vec<&Value> = diagnoses
        .iter()
        .filter(|(name, code, _)| name == "web" && code == case.code)
        .map(|(_, _, event)| event)
        .collect();
    let (Some(first), Some(last)) = (named.first(), named.last()) else {
        panic!("{} is not named\n{run}", case.code)
    };
    let shown = samples.iter().find(|sample| sample.pods.iter().any(case.is_visible));
    let shown =
        shown.unwrap_or_else(|| panic!("no pod shows {}: the test proves nothing\n{run}", case.code)).at;
    let seconds = time(&first["ts"]).duration_since(shown).as_secs_f64();
    assert!(seconds <= SOON, "{} was named {seconds:.1} s after a pod showed it\n{run}", case.code);
    if case.exit == 4 {
        assert_eq!(last["severity"], "fatal", "{run}");
    }
    for (name, code, event) in &diagnoses {
        assert!(name == "web" || event["severity"] != "fatal", "{code} for {name}\n{run}");
    }
    assert_others_unharmed(test, &samples, &run);
    ((*last).clone(), run)
}

/// What served goes on serving, the other service is ready on its target, and the broken one is never called done.
#[track_caller]
fn assert_others_unharmed(test: &Test, samples: &[Sample], run: &Run) {
    for (name, least) in [("web", 2), ("worker", 1)] {
        let serving: Vec<usize> = samples.iter().map(|sample| sample.serving(name)).collect();
        assert!(serving.iter().all(|number| *number >= least), "serving pods of {name}: {serving:?}\n{run}");
    }
    assert!(test.cluster.workload("deploy/worker").ready, "{run}");
    assert_eq!(test.cluster.image("deploy/worker"), "ghcr.io/acme/worker:good-2", "{run}");
    let events = run.events();
    let is_done = |event: &&Value| {
        event["type"] == "Progress" && event["object"]["name"] == "web" && event["done"] == true
    };
    assert!(!events.iter().any(|event| is_done(&event)), "web is called done\n{run}");
}

/// Demands that a text holds all of these.
#[track_caller]
fn assert_says(value: &Value, parts: &[&str], run: &Run) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}\n{run}");
    }
}

#[test]
fn a_crash_is_told_with_exit_code_and_last_words() {
    let Some(test) = begin() else { return };
    create_pair(&test, |_| {});
    let case = Case { tag: "crash", code: "CrashLoop", exit: 4, timeout: "90s", is_visible: &was_restarted };
    let (told, run) = diagnose(&test, &case);
    assert_eq!((&told["container"], &told["exitCode"]), (&json!("web"), &json!(1)), "{run}");
    assert!(told["restarts"].as_i64() >= Some(1), "{run}");
    // The container that runs now may not have said anything yet: these are the words of the one before.
    let logs = told["logs"].as_array().unwrap();
    assert!(logs.len() <= 25, "{run}");
    // Not necessarily the last line: a runtime mixes both streams of a container as they come.
    assert_says(&told["logs"], &["KeyError: 'SMTP_URL'"], &run);
    assert_says(&told["hint"], &["kubectl logs", "--previous", test.namespace()], &run);
    assert_says(&told["events"], &["BackOff", "Back-off restarting failed container"], &run);
}

#[test]
fn a_container_killed_for_memory_is_told_with_its_limit() {
    let Some(test) = begin() else { return };
    create_pair(&test, |web| {
        web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "32Mi"}});
    });
    let case =
        Case { tag: "oom", code: "OOMKilled", exit: 4, timeout: "90s", is_visible: &was_killed_for_memory };
    let (told, run) = diagnose(&test, &case);
    assert_eq!(told["exitCode"], 137, "{run}");
    assert_says(&told["message"], &["memory limit of 32Mi"], &run);
    assert_says(&told["logs"], &["loading the recommendation model"], &run);
}

#[test]
fn a_missing_image_is_told_in_containerds_words() {
    let Some(test) = begin() else { return };
    create_pair(&test, |_| {});
    let is_visible = waits(&["ErrImagePull", "ImagePullBackOff"]);
    let case =
        Case { tag: "missing", code: "ImageNotFound", exit: 4, timeout: "60s", is_visible: &is_visible };
    let (told, run) = diagnose(&test, &case);
    assert_says(&told["message"], &["ghcr.io/acme/web:missing", "code = NotFound", "not found"], &run);
    assert_eq!(told["logs"], json!([]), "a container that never ran has none\n{run}");
}

#[test]
fn a_missing_secret_is_told_by_its_name() {
    let Some(test) = begin() else { return };
    test.cluster.create(
        "secrets",
        &json!({"metadata": {"name": "settings"}, "stringData": {"SMTP_URL": "smtp://mail"}}),
    );
    create_pair(&test, |web| {
        let source = json!([{"secretRef": {"name": "settings"}}]);
        web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = source;
    });
    test.cluster.delete("secrets", "settings");
    let is_visible = waits(&["CreateContainerConfigError"]);
    let case = Case { tag: "good-2", code: "ConfigError", exit: 4, timeout: "60s", is_visible: &is_visible };
    let (told, run) = diagnose(&test, &case);
    assert_says(&told["message"], &["secret \"settings\" not found"], &run);
}

#[test]
fn a_failing_init_container_is_told_with_its_own_words() {
    let Some(test) = begin() else { return };
    create_pair(&test, |web| {
        let command = ["/bin/check", "--migrate"];
        let init = json!([{"name": "migrate", "image": "ghcr.io/acme/web:good-1", "command": command}]);
        web["spec"]["template"]["spec"]["initContainers"] = init;
    });
    let case =
        Case { tag: "initfail", code: "InitFailed", exit: 4, timeout: "90s", is_visible: &was_restarted };
    let (told, run) = diagnose(&test, &case);
    assert_eq!((&told["container"], &told["exitCode"]), (&json!("migrate"), &json!(1)), "{run}");
    assert_says(&told["logs"], &["Can't locate revision identified by"], &run);
}

#[test]
fn a_probe_that_never_passes_is_a_timeout_that_names_the_probe() {
    let Some(test) = begin() else { return };
    create_pair(&test, |_| {});
    // Long enough for the warning that comes before the time is up, and for a kubelet with much to do to have asked.
    let case =
        Case { tag: "unready", code: "ReadinessStuck", exit: 5, timeout: "30s", is_visible: &runs_unready };
    let (told, run) = diagnose(&test, &case);
    assert_says(&told["message"], &["HTTP GET :8000/health", "statuscode: 503"], &run);
    assert_eq!(run.events().last().unwrap()["outcome"], "TimedOut", "{run}");
}

/// A pod that is Ready and dies after ten seconds looks like any other until then. Only `minReadySeconds` makes a
/// controller, and therefore the wait, look longer.
#[test]
fn a_late_death_is_noticed_within_min_ready_seconds_and_shown_by_status() {
    let Some(test) = begin() else { return };
    create_pair(&test, |web| web["spec"]["minReadySeconds"] = json!(15));
    let case = Case { tag: "exit", code: "CrashLoop", exit: 4, timeout: "120s", is_visible: &was_restarted };
    let (told, run) = diagnose(&test, &case);
    assert_eq!(told["exitCode"], 1, "{run}");

    // Without it the deploy has succeeded before the first death; status tells the truth afterwards.
    let run = test.run(&["emergency", "deploy/worker", "--tag", "exit", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["workloads"][0]["ready"], true, "{run}");
    wait_for("the death of worker", Duration::from_secs(60), || {
        test.cluster.pods_of("worker").iter().any(waits(&["CrashLoopBackOff"])).then_some(())
    });
    let status = test.run(&["status", "deploy/worker", "-o", "json"]).expect(0);
    assert_eq!(status.json()["workloads"][0]["ready"], false, "{status}");
}
