//! A large release: same result, and requests and memory that grow with it and not faster.

use std::fmt::Write as _;
use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Test, all_tags, broken_tags, is_long_run, say};
use crate::restoration::assert_no_manager_of_ours;

/// A chart with as many services as wanted, five pods each, and a Redis.
fn write_chart(folder: &std::path::Path, services: usize) {
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: large\nversion: 1.0.0\n").unwrap();
    let mut values = String::from("services:\n");
    for number in 0..services {
        writeln!(
            values,
            "  service-{number}: {{image: {{repository: ghcr.io/acme/service-{number}, tag: good-1}}}}"
        )
        .unwrap();
    }
    fs::write(folder.join("values.yaml"), values).unwrap();
    let workload = |name: &str, replicas: u32, image: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels: &labels\n    \
             app.kubernetes.io/name: {name}\n    app.kubernetes.io/instance: {{{{ $.Release.Name }}}}\nspec:\n  \
             replicas: {replicas}\n  selector: {{matchLabels: *labels}}\n  template:\n    metadata: {{labels: *labels}}\n    \
             spec:\n      terminationGracePeriodSeconds: 5\n      containers:\n        - name: main\n          image: {image}\n"
        )
    };
    let services = workload("{{ $name }}", 5, "\"{{ .image.repository }}:{{ .image.tag }}\"");
    let templates = format!(
        "{{{{- range $name, $_ := .Values.services }}}}\n{services}{{{{- end }}}}\n{}",
        workload("redis", 1, "redis:7.2.4")
    );
    fs::write(folder.join("templates/all.yaml"), templates).unwrap();
}

fn values(services: usize, tag: &str) -> Value {
    let services = (0..services).map(|number| (format!("service-{number}"), json!({"image": {"tag": tag}})));
    json!({"services": services.collect::<serde_json::Map<_, _>>()})
}

/// Says what a run cost, for the notes.
fn report(what: &str, run: &Run) -> u64 {
    let result = run.json();
    let time = |field: &str| result["timings"][field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let to_first_write = time("firstWriteAt").duration_since(time("startedAt")).as_millis();
    let total = result["requests"]["total"].as_u64().unwrap();
    let phases = result["timings"]["phases"].as_array().unwrap().iter();
    let phases: Vec<String> =
        phases.map(|phase| format!("{} {}", phase["name"].as_str().unwrap(), phase["ms"])).collect();
    say(&format!(
        "{what}: {total} requests ({} writes, {} repeats), first write after {to_first_write} ms, {:.1} s in all, {} MiB at most; ms: {}",
        result["requests"]["writes"],
        result["requests"]["retries"],
        run.elapsed.as_secs_f32(),
        run.peak_memory / 1024,
        phases.join(", "),
    ));
    total
}

#[test]
fn many_services_come_back() {
    let Some(test) = Test::begin() else { return };
    let count = if is_long_run() { 200 } else { 40 };
    let folder = tempfile::tempdir().unwrap();
    write_chart(folder.path(), count);
    let chart = folder.path().display().to_string();
    let release = Release::install(&test, Helm::Four, &chart, &values(count, "good-1"));
    release.upgrade(&values(count, "unready"));
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let total = report(&format!("{count} services, {} pods", count * 5), &run);
    // A read, two rehearsals, a write, a read and a rewrite for the hand-over, a confirmation; and some for everybody.
    let bound = 60 + 10 * u64::try_from(count).unwrap();
    assert!(total <= bound, "{total} requests are more than {bound}\n{}", run.stderr);
    assert!(run.peak_memory < 300 * 1024, "{} KiB", run.peak_memory);
    for (name, workload) in test.cluster.workloads() {
        assert!(workload.ready, "{name}");
        if name != "deploy/redis" {
            assert!(workload.images["main"].ends_with(":good-1"), "{name}: {:?}", workload.images);
            assert_eq!(workload.replicas, Some(5), "{name}");
        }
    }
    assert_no_manager_of_ours(&test.cluster, &run);
    release.assert_record(3, &values(count, "good-1"));
}

#[test]
fn six_services_cost_few_requests() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    release.upgrade(&broken_tags());
    test.cluster.wait_until_broken();
    let run = test.run(&["emergency", "--tag", "good-1", "--yes", "-o", "json"]).expect(0);
    let total = report("the platform, 6 services", &run);
    assert!(total <= 160, "{total} requests\n{run}");
}
