//! A release of 250 revisions: bodies are fetched only of what is shown or decides, and what that costs beside both Helms.

use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubectl_rollback::helm::codec;
use serde_json::{Value, json};

use crate::harness::{Recorder, Run, Test, deployment, is_long_run, say};

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
    let web = deployment("web", 1, &format!("ghcr.io/acme/web:build-{revision}"));
    let manifest = format!("---\n# Source: long/templates/web.yaml\n{web}\n");
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

/// Which bodies were asked for, newest first; of Helm's records there must be one metadata list.
#[track_caller]
fn bodies(requests: &[String]) -> Vec<u64> {
    // Whether another operation was begun and not ended is asked of the journals, not of Helm's records.
    let of_helm: Vec<&String> =
        requests.iter().filter(|request| !request.contains("rollback.kubectl.dev%2Fpart")).collect();
    let is_list = |request: &&&String| request.contains("/secrets?");
    assert_eq!(of_helm.iter().filter(is_list).count(), 1, "lists\n{}", requests.join("\n"));
    let mut bodies: Vec<u64> = of_helm
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

    let ours = rollback_reads_only_what_it_uses(&test, &recorder);
    report_costs(&test, &ours);
}

/// A rollback reads from the newest down to its target, each once, and nothing below; then it goes on from there.
#[track_caller]
fn rollback_reads_only_what_it_uses(test: &Test, recorder: &Recorder) -> Run {
    let server = recorder.url();
    let of_records = || -> Vec<String> {
        recorder.take().into_iter().filter(|request| request.contains("/secrets")).collect()
    };
    for command in
        [&["plan", "long"][..], &["to", "long", "--dry-run=server"], &["to", "long", "237", "--dry-run"]]
    {
        let run = test.run(&[command, &["--server", &server, "-o", "json"]].concat()).expect(0);
        assert_eq!(bodies(&of_records()), (237..=250).rev().collect::<Vec<u64>>(), "{command:?}\n{run}");
    }
    let arguments =
        ["to", "long", "--yes", "--no-wait", "--history-max", "0", "--server", &server, "-o", "json"];
    let run = test.run(&arguments).expect(0);
    assert_eq!(run.json()["release"]["toRevision"], 237, "{run}");
    assert_eq!(run.json()["release"]["newRevision"], 251, "{run}");
    let mut read: Vec<u64> = of_records()
        .iter()
        .filter_map(|request| request.strip_prefix("GET ")?.rsplit_once("/secrets/sh.helm.release.v1.long.v"))
        .map(|(_, revision)| revision.trim_end_matches('?').parse().unwrap())
        .collect();
    read.sort_unstable();
    let written: Vec<u64> = read.iter().copied().filter(|revision| !(237..=250).contains(revision)).collect();
    // Beside those, the record that it writes, and the one that it replaces, may be looked at again; and before writes the
    // metadata of its own record and of the next one, which must not be there.
    assert!(written.iter().all(|revision| matches!(revision, 251 | 252)), "{read:?}\n{run}");
    let again = read.len() - written.len() - 14;
    assert!(again <= 1, "bodies are read once: {read:?}\n{run}");
    // Without somebody in between, for the costs.
    test.run(&["to", "long", "237", "--yes", "--no-wait", "--history-max", "0"]).expect(0)
}

/// Says what it costs, ours and both Helms'.
fn report_costs(test: &Test, to: &Run) {
    let history = test.run(&["history", "long"]).expect(0);
    let theirs = ["history", "long", "--max", "10"];
    compare(test, "history", &history, &theirs);
    let theirs = ["rollback", "long", "237", "--history-max", "0"];
    compare(test, "to revision 237", to, &theirs);
}

/// Says what a command of ours cost, beside one of both Helms.
#[track_caller]
fn compare(test: &Test, what: &str, ours: &Run, theirs: &[&str]) {
    let mebibytes = |kibibytes: u64| kibibytes / 1024;
    say(&format!(
        "{what} of {REVISIONS} revisions: ours {:.2} s, {} MiB at most",
        ours.elapsed.as_secs_f32(),
        mebibytes(ours.peak_memory)
    ));
    let mut least = u64::MAX;
    for file in ["helm3", "helm4"] {
        let (elapsed, peak) = measure(test, file, theirs);
        say(&format!("  {file} {:.2} s, {} MiB at most", elapsed.as_secs_f32(), mebibytes(peak)));
        least = least.min(peak);
    }
    // Helm reads every record whole; where the system tells, we must not.
    assert!(least == 0 || ours.peak_memory < least, "{what}: {} KiB, Helm {least} KiB", ours.peak_memory);
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
