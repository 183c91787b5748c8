//! A release of 250 revisions: bodies are fetched only of what is shown or decides, and what that costs beside both Helms.

use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubectl_rollback::helm::codec;
use serde_json::{Value, json};

use crate::harness::{Recorder, Test, is_long_run, say};

const REVISIONS: u64 = 250;
/// Bytes that no compression makes fewer: a record of about 700 KiB.
const BULK: usize = 520 * 1024;

/// Noise that is the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Stores a revision as Helm does, with `bulk` bytes of files in its chart.
fn store(test: &Test, revision: u64, status: &str, bulk: usize) {
    let failed = status == "failed";
    let description = if failed { "Upgrade \"long\" failed: not ready" } else { "Upgrade complete" };
    let manifest = format!(
        "---\n# Source: long/templates/web.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    \
         spec:\n      containers:\n        - name: web\n          image: ghcr.io/acme/web:build-{revision}\n"
    );
    let body = json!({
        "name": "long", "version": revision, "namespace": test.namespace(),
        "info": {
            "status": status, "description": description, "notes": "",
            "first_deployed": "2026-11-01T10:00:00Z", "last_deployed": "2026-11-02T10:00:00Z",
        },
        "chart": {
            "metadata": {"name": "long", "version": "1.0.0", "apiVersion": "v2"}, "lock": null, "templates": [], "values": {},
            "schema": null, "files": [{"name": "noise", "data": STANDARD.encode(noise(revision, bulk))}],
        },
        "manifest": manifest, "hooks": [],
    });
    test.cluster.create(
        "secrets",
        &json!({
            "type": "helm.sh/release.v1",
            "metadata": {
                "name": format!("sh.helm.release.v1.long.v{revision}"),
                "labels": {"name": "long", "owner": "helm", "status": status, "version": revision.to_string()},
            },
            "data": {"release": STANDARD.encode(codec::encode(&body))},
        }),
    );
}

/// Which bodies were asked for, newest first; every other request must be one metadata list.
#[track_caller]
fn bodies(requests: &[String]) -> Vec<u64> {
    let is_list = |request: &&String| request.contains("/secrets?");
    assert_eq!(requests.iter().filter(is_list).count(), 1, "lists\n{}", requests.join("\n"));
    let mut bodies: Vec<u64> = requests
        .iter()
        .filter(|request| !is_list(request))
        .map(|request| {
            let (_, revision) = request
                .rsplit_once("/secrets/sh.helm.release.v1.long.v")
                .unwrap_or_else(|| panic!("{request}"));
            revision.trim_end_matches('?').parse().unwrap()
        })
        .collect();
    bodies.sort_unstable_by_key(|revision| std::cmp::Reverse(*revision));
    bodies
}

#[test]
fn history_fetches_only_the_bodies_it_uses() {
    let Some(test) = Test::begin() else { return };
    let status = |revision: u64| match revision {
        REVISIONS => "deployed",
        // Below those that are shown by default the search for a good one goes on.
        238..REVISIONS => "failed",
        _ => "superseded",
    };
    for revision in 1..=REVISIONS {
        let bulk = if is_long_run() || revision > REVISIONS - 12 { BULK } else { 1024 };
        store(&test, revision, status(revision), bulk);
    }
    let recorder = Recorder::start(&test.cluster);
    let server = recorder.url();
    let run = |more: &[&str]| {
        let arguments = [&["history", "long", "--server", &server, "-o", "json"][..], more].concat();
        let run = test.run(&arguments).expect(0);
        (run.json(), bodies(&recorder.take()))
    };

    // Ten are shown; fourteen must be read until one is good.
    let (rows, read) = run(&[]);
    assert_eq!(rows.as_array().unwrap().len(), 10);
    assert_eq!(read, (237..=250).rev().collect::<Vec<u64>>());
    let (rows, read) = run(&["--max", "20"]);
    let targets: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["target"] == true).collect();
    assert_eq!(targets.iter().map(|row| &row["revision"]).collect::<Vec<_>>(), [237]);
    assert_eq!(read, (231..=250).rev().collect::<Vec<u64>>());
    let (_, read) = run(&["--max", "1"]);
    // Below those that are shown a few are read at once.
    assert_eq!(read, (234..=250).rev().collect::<Vec<u64>>());
    let (rows, read) = run(&["--max", "0"]);
    assert_eq!((rows.as_array().unwrap().len(), read.len()), (250, 250));

    let requests = {
        test.run(&["list", "--server", &server, "-o", "json"]).expect(0);
        recorder.take()
    };
    assert_eq!(bodies(&requests), [250], "list");
    test.run(&["status", "long", "--server", &server, "-o", "json"]).expect(0);
    let requests: Vec<String> =
        recorder.take().into_iter().filter(|request| request.contains("/secrets")).collect();
    assert_eq!(bodies(&requests), [250], "status");
    report_costs(&test);
}

/// Says what it costs, ours and both Helms'.
fn report_costs(test: &Test) {
    let ours = test.run(&["history", "long"]).expect(0);
    say(&format!(
        "history of {REVISIONS} revisions: ours {:.2} s, {} MiB at most",
        ours.elapsed.as_secs_f32(),
        ours.peak_memory / 1024
    ));
    let mut least = u64::MAX;
    for file in ["helm3", "helm4"] {
        let (elapsed, peak) = measure(test, file, &["history", "long", "--max", "10"]);
        say(&format!("  {file} {:.2} s, {} MiB at most", elapsed.as_secs_f32(), peak / 1024));
        least = least.min(peak);
    }
    // Helm reads every record whole; where the system tells, we must not.
    assert!(least == 0 || ours.peak_memory < least, "{} KiB, Helm {least} KiB", ours.peak_memory);
}

/// Runs a tool; how long it took and the most memory that it held, in KiB.
#[track_caller]
fn measure(test: &Test, file: &str, arguments: &[&str]) -> (Duration, u64) {
    let mut command = test.cluster.command(file, "helm", arguments);
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(exit.success(), "{file} {arguments:?}");
    (started.elapsed(), peak)
}
