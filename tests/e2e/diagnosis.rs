//! A target that cannot run: why is said soon, the others are left alone, and nothing is called ready that is not.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::guards::set_pod_quota;
use crate::harness::{Run, Sample, Sampler, Test, deployment, stateful_set, unique, wait_for};

/// How soon a reason must be named once the API shows it.
const SOON: f64 = 15.0;

/// A target that cannot run.
struct Case<'a> {
    /// The tag that `web` gets.
    tag: &'a str,
    /// The diagnosis that must be made.
    code: &'a str,
    /// Its severity in the end.
    severity: &'a str,
    /// The exit code that must follow.
    exit: i32,
    /// `--timeout`.
    timeout: &'a str,
    /// Whether a pod shows it.
    is_visible: &'a dyn Fn(&Value) -> bool,
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
}

fn waits(reasons: &'static [&'static str]) -> impl Fn(&Value) -> bool {
    move |pod| {
        statuses(pod)
            .any(|status| reasons.iter().any(|reason| status["state"]["waiting"]["reason"] == *reason))
    }
}

fn was_killed_for_memory(pod: &Value) -> bool {
    statuses(pod).any(|status| {
        ["state", "lastState"].iter().any(|state| status[state]["terminated"]["reason"] == "OOMKilled")
    })
}

fn cannot_be_scheduled(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Rolls a healthy `web` to the case's tag, and `worker` to a good one beside it.
fn diagnoses(case: &Case, change: impl FnOnce(&mut Value)) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut web = deployment("web", 2, "ghcr.io/acme/web:good-1");
    change(&mut web);
    cluster.create_ready(&[web, deployment("worker", 1, "ghcr.io/acme/worker:good-1")]);
    let run_case = |output: &str| {
        let image = format!("ghcr.io/acme/web={}", case.tag);
        let targets = ["--image", &image, "--image", "ghcr.io/acme/worker=good-2"];
        let arguments =
            ["emergency", "deploy/web", "deploy/worker", "--yes", "--timeout", case.timeout, "-o", output];
        test.run(&arguments.into_iter().chain(targets).collect::<Vec<&str>>()).expect(case.exit)
    };
    let sampler = Sampler::start(cluster);
    let run = run_case("jsonl");
    let samples = sampler.stop();
    assert_named(case, &run, &samples);
    assert_others_unharmed(&run, &samples);
    assert_eq!(cluster.image("deploy/worker"), "ghcr.io/acme/worker:good-2", "{run}");
    assert!(cluster.workload("deploy/worker").ready, "{run}");

    // Run again it finds everything written, and still claims nothing.
    let again = run_case("json");
    let result = again.json();
    for workload in result["workloads"].as_array().unwrap() {
        assert_eq!(workload["ready"], workload["name"] == "worker", "{again}");
    }
    assert!(result["workloads"].to_string().contains(case.code), "{again}");
    assert_eq!(result["outcome"], if case.exit == 5 { "TimedOut" } else { "Failed" }, "{again}");
}

#[track_caller]
fn assert_named(case: &Case, run: &Run, samples: &[Sample]) {
    let diagnoses = run.diagnoses();
    let named: Vec<&Value> = diagnoses
        .iter()
        .filter(|(name, code, _)| name == "web" && code == case.code)
        .map(|(_, _, event)| event)
        .collect();
    let (Some(first), Some(last)) = (named.first(), named.last()) else {
        panic!("{} is not named\n{run}", case.code)
    };
    assert_eq!(last["severity"], case.severity, "{run}");
    assert_ne!(last["message"], "", "{run}");
    assert_ne!(last["hint"], "", "{run}");
    let shown = samples.iter().find(|sample| sample.pods.iter().any(case.is_visible));
    let shown =
        shown.unwrap_or_else(|| panic!("no pod shows {}: the test proves nothing\n{run}", case.code)).at;
    let seconds = time(&first["ts"]).duration_since(shown).as_secs_f64();
    assert!(seconds <= SOON, "{} was named {seconds:.1} s after a pod showed it\n{run}", case.code);
    for (name, code, event) in &diagnoses {
        assert!(name == "web" || event["severity"] != "fatal", "{code} for {name}\n{run}");
    }
}

/// What served goes on serving; progress never says done of what is not.
#[track_caller]
fn assert_others_unharmed(run: &Run, samples: &[Sample]) {
    crate::restoration::assert_never_fewer(samples, "web", run);
    crate::restoration::assert_never_fewer(samples, "worker", run);
    let events = run.events();
    let progress = |name: &str| {
        events.iter().rfind(|event| event["type"] == "Progress" && event["object"]["name"] == name)
    };
    assert_eq!(progress("web").map(|event| &event["done"]), Some(&json!(false)), "{run}");
    assert_eq!(progress("worker").map(|event| &event["done"]), Some(&json!(true)), "{run}");
    for event in events.iter().filter(|event| event["type"] == "Progress" && event["object"]["name"] == "web")
    {
        assert_eq!(event["done"], false, "{run}");
    }
}

#[test]
fn crash_loops_are_named() {
    let is_visible = waits(&["CrashLoopBackOff"]);
    let case = Case {
        tag: "crash",
        code: "CrashLoop",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |_| {});
}

#[test]
fn containers_killed_for_memory_are_named() {
    let case = Case {
        tag: "oom",
        code: "OOMKilled",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &was_killed_for_memory,
    };
    diagnoses(&case, |web| {
        web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "64Mi"}});
    });
}

#[test]
fn missing_images_are_named() {
    let is_visible = waits(&["ErrImagePull", "ImagePullBackOff"]);
    let case = Case {
        tag: "missing",
        code: "ImageNotFound",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |_| {});
}

#[test]
fn missing_references_are_named() {
    let is_visible = waits(&["CreateContainerConfigError"]);
    let case = Case {
        tag: "noconfig",
        code: "ConfigError",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |_| {});
}

#[test]
fn failing_init_containers_are_named() {
    let is_visible = waits(&["CrashLoopBackOff"]);
    let case = Case {
        tag: "initfail",
        code: "InitFailed",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |web| {
        let init = json!([{"name": "migrate", "image": "ghcr.io/acme/web:good-1"}]);
        web["spec"]["template"]["spec"]["initContainers"] = init;
    });
}

#[test]
fn pods_that_no_node_takes_are_named() {
    let port = 20000 + u64::from_str_radix(&unique(), 16).unwrap() % 20000;
    // Longer only where time is no matter: after 60 s without a node it counts as hopeless.
    let (severity, timeout) =
        if crate::harness::is_long_run() { ("fatal", "100s") } else { ("warning", "25s") };
    let case = Case {
        tag: "good-2",
        code: "Unschedulable",
        severity,
        exit: 4,
        timeout,
        is_visible: &cannot_be_scheduled,
    };
    // The port of that node is taken by the pod that is to be replaced.
    diagnoses(&case, |web| {
        web["spec"]["replicas"] = json!(1);
        let pod = &mut web["spec"]["template"]["spec"];
        pod["nodeSelector"] = json!({"kubernetes.io/hostname": "node-7"});
        pod["containers"][0]["ports"] = json!([{"containerPort": 8000, "hostPort": port}]);
    });
}

#[test]
fn readiness_that_never_comes_is_a_timeout() {
    let is_visible =
        |pod: &Value| statuses(pod).any(|status| status["started"] == true && status["ready"] == false);
    let case = Case {
        tag: "unready",
        code: "ReadinessStuck",
        severity: "fatal",
        exit: 5,
        timeout: "20s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |_| {});
}

#[test]
fn a_missed_progress_deadline_is_named() {
    let is_visible =
        |pod: &Value| statuses(pod).any(|status| status["started"] == true && status["ready"] == false);
    let case = Case {
        tag: "unready",
        code: "ProgressDeadline",
        severity: "fatal",
        exit: 4,
        timeout: "60s",
        is_visible: &is_visible,
    };
    diagnoses(&case, |web| web["spec"]["progressDeadlineSeconds"] = json!(4));
}

#[test]
fn pods_that_a_quota_refuses_are_named() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_ready(&[deployment("web", 2, "ghcr.io/acme/web:good-1")]);
    set_pod_quota(cluster, 2);
    let sampler = Sampler::start(cluster);
    let arguments = [
        "emergency",
        "deploy/web",
        "--tag",
        "good-2",
        "--yes",
        "--skip-preflight",
        "--timeout",
        "60s",
        "-o",
        "jsonl",
    ];
    let run = test.run(&arguments).expect(4);
    crate::restoration::assert_never_fewer(&sampler.stop(), "web", &run);
    let events = run.events();
    let written = events.iter().find(|event| event["type"] == "Change").unwrap();
    let diagnoses = run.diagnoses();
    let (_, _, named) = diagnoses
        .iter()
        .find(|(_, code, _)| code == "QuotaOrAdmission")
        .unwrap_or_else(|| panic!("not named\n{run}"));
    assert!(named["message"].as_str().unwrap().contains("exceeded quota"), "the whole message\n{run}");
    let seconds = time(&named["ts"]).duration_since(time(&written["ts"])).as_secs_f64();
    assert!(seconds <= SOON, "named after {seconds:.1} s\n{run}");
}

#[test]
fn a_stuck_stateful_set_is_named() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_ready(&[stateful_set("queue", 2, "ghcr.io/acme/queue:good-1")]);
    cluster.kubectl(&["set", "image", "statefulset/queue", "queue=ghcr.io/acme/queue:crash"]);
    wait_for("a crashing pod", Duration::from_secs(30), || {
        let pod = cluster.find("pods", "queue-1")?;
        waits(&["CrashLoopBackOff"])(&pod).then_some(())
    });
    // Whoever may not delete pods cannot help the controller, and is told so beforehand.
    cluster.create_operator("somebody");
    let arguments = ["emergency", "sts/queue", "--tag", "good-1", "--yes", "--timeout", "40s", "-o", "jsonl"];
    let powerless = |more: &[&'static str]| -> Vec<&str> {
        arguments.iter().chain(&["--as", "somebody"]).chain(more).copied().collect()
    };
    let refused = test.run(&powerless(&[])).expect(3);
    assert!(refused.stdout.contains("delete pods"), "{refused}");
    let run = test.run(&powerless(&["--skip-preflight"])).expect(4);
    let events = run.events();
    let written = events.iter().find(|event| event["type"] == "Change").unwrap();
    let diagnoses = run.diagnoses();
    let (_, _, named) = diagnoses
        .iter()
        .find(|(_, code, _)| code == "StatefulSetStuck")
        .unwrap_or_else(|| panic!("not named\n{run}"));
    let seconds = time(&named["ts"]).duration_since(time(&written["ts"])).as_secs_f64();
    assert!(seconds <= SOON + 2.0, "named after {seconds:.1} s\n{run}");
    let run = test.run(&arguments).expect(0);
    assert!(cluster.workload("sts/queue").ready, "{run}");
}

/// The runbook's order: scale to zero, set the image, scale up. Onto an existing ReplicaSet the Deployment then says
/// `NewReplicaSetAvailable` for ever and never misses its deadline.
#[test]
fn an_existing_replica_set_without_a_progress_deadline_is_diagnosed() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut web = deployment("web", 2, "ghcr.io/acme/web:good-1");
    web["spec"]["progressDeadlineSeconds"] = json!(3);
    cluster.create_ready(&[web]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=0"]);
    // The broken version gets its ReplicaSet while nothing runs, so that it "completes" with no pod.
    for image in ["missing", "good-1"] {
        cluster.kubectl(&["set", "image", "deployment/web", &format!("web=ghcr.io/acme/web:{image}")]);
        cluster.wait_until_ready();
    }
    let arguments = [
        "emergency",
        "deploy/web",
        "--tag",
        "missing",
        "--replicas",
        "deploy/web=2",
        "--yes",
        "--timeout",
        "30s",
    ];
    let run = test.run(&arguments.iter().copied().chain(["-o", "jsonl"]).collect::<Vec<&str>>()).expect(4);
    let codes: Vec<String> = run.diagnoses().into_iter().map(|(_, code, _)| code).collect();
    assert!(codes.contains(&"ImageNotFound".to_owned()), "{run}");
    // The Deployment itself has no idea: that is what makes the case.
    std::thread::sleep(Duration::from_secs(4));
    let conditions = cluster.get("deployments", "web")["status"]["conditions"].to_string();
    assert!(conditions.contains("NewReplicaSetAvailable"), "{conditions}\n{run}");
    let run =
        test.run(&["emergency", "deploy/web", "--tag", "unready", "--yes", "--timeout", "8s", "-o", "json"]);
    assert!(matches!(run.code, Some(4 | 5)), "{run}");
    let run = test.run(&["emergency", "deploy/web", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["workloads"][0]["ready"], true, "{run}");
}
