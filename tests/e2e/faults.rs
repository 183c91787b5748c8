//! A bad network: a fifth of all requests goes wrong in one of many ways. Whatever comes of it, no run claims a success that
//! is none, none hangs, and what was begun can be gone on with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Helm, Recorder, Release, Run, Test, Verdict, is_long_run, is_write, say, wait_for};

/// Requests of which one goes wrong.
const ONE_IN: u64 = 5;
/// The time limit of a run.
const LIMIT: Duration = Duration::from_secs(60);
/// What a run may take beyond its limit: starting what was stopped, closing the record, giving back the lock.
const GRACE: Duration = Duration::from_secs(90);

/// Numbers that look random and are the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What goes wrong with a request.
fn fault(dice: &mut Dice, method: &str, target: &str) -> Verdict {
    if dice.roll(ONE_IN) != 0 {
        return Verdict::Pass;
    }
    match dice.roll(9) {
        0 if is_write(method, target) => Verdict::Answer(409, "Conflict", None),
        0 | 1 => Verdict::Answer(410, "Expired", None),
        2 => Verdict::Answer(429, "TooManyRequests", Some(1)),
        3 => Verdict::Answer(500, "InternalError", None),
        4 => Verdict::Answer(503, "ServiceUnavailable", None),
        5 => Verdict::Lose,
        6 => Verdict::LoseAnswer,
        7 => Verdict::Stall(Duration::from_secs(5)),
        _ => Verdict::Silence(Duration::from_secs(20)),
    }
}

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

/// Images and replicas of every workload.
fn state(test: &Test) -> BTreeMap<String, (BTreeMap<String, String>, Option<i64>)> {
    let workloads = test.cluster.workloads();
    workloads.into_iter().map(|(name, workload)| (name, (workload.images, workload.replicas))).collect()
}

#[track_caller]
fn assert_true_records(test: &Test, release: &Release<'_>, run: &Run, seed: u64) {
    let history = Helm::Four.history(&test.cluster, &release.name);
    let is = |entry: &Value, status: &str| entry["status"] == status;
    assert!(is(history.last().unwrap(), "deployed"), "seed {seed}: {history:?}\n{run}");
    let deployed = history.iter().filter(|entry| is(entry, "deployed")).count();
    assert_eq!(deployed, 1, "seed {seed}: {history:?}\n{run}");
    release.assert_manifest_names_what_runs(Helm::Four);
}

/// One after the other, runs whose network goes wrong by these seeds.
fn runs(name: &str, arguments: &[&str], seeds: impl IntoIterator<Item = u64>) {
    let Some(test) = Test::named(name) else { return };
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    let wanted = state(&test);
    let dice = Arc::new(Mutex::new(Dice(1)));
    let shared = dice.clone();
    let recorder = Recorder::with(&test.cluster, move |method, target| {
        fault(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), method, target)
    });
    let url = recorder.url();
    let limit = format!("{}s", LIMIT.as_secs());
    let more = ["--yes", "-o", "json", "--server", &url, "--request-timeout", "8s", "--timeout", &limit];
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for seed in seeds {
        release.upgrade(&values("crash"));
        wait_for("the broken deploy to break", Duration::from_secs(60), || {
            let pods = test.cluster.list("pods");
            pods.iter().any(|pod| pod["spec"]["containers"].to_string().contains(":crash")).then_some(())
        });
        let before = state(&test);
        *dice.lock().unwrap_or_else(PoisonError::into_inner) =
            Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let begun = Instant::now();
        let all: Vec<&str> = arguments.iter().copied().chain(more).collect();
        let run = test.run(&all);
        let code = run.code.unwrap_or(-1);
        assert!(begun.elapsed() < LIMIT + GRACE, "seed {seed} hung\n{run}");
        *ends.entry(format!("exit {code}")).or_default() += 1;
        let last = if code == 0 {
            run
        } else {
            // Either it ended before anything was done, or it can be gone on with. The one before may have done everything
            // and not have been able to write that down: it cannot be gone on with, since there was a deploy after it.
            let resume = test.run(&["resume", "--yes", "--take-over", "-o", "json"]);
            if matches!(resume.code, Some(2 | 3)) {
                assert_eq!(
                    state(&test),
                    before,
                    "seed {seed}: it left a change and no journal\n{run}\n{resume}"
                );
                let again: Vec<&str> = arguments.iter().copied().chain(["--yes", "--take-over"]).collect();
                test.run(&again).expect(0)
            } else {
                resume.expect(0)
            }
        };
        assert_eq!(state(&test), wanted, "seed {seed}\n{last}");
        assert_true_records(&test, &release, &last, seed);
        let notes: Vec<Value> = test
            .cluster
            .list("deployments")
            .into_iter()
            .filter(|object| object["metadata"]["annotations"].to_string().contains("rollback.kubectl.dev"))
            .collect();
        assert!(notes.is_empty(), "seed {seed}: {notes:?}\n{last}");
    }
    say(&format!("{name}: {ends:?}"));
}

/// Chooses other seeds, as in `1007-1007`: to see again what one of them does.
const SEEDS: &str = "KUBECTL_ROLLBACK_TEST_SEEDS";

/// How many seeds each of the six tests takes: together 300 in a long run.
fn seeds(part: u64) -> std::ops::Range<u64> {
    if let Ok(text) = std::env::var(SEEDS) {
        let chosen = text.split_once('-').and_then(|(first, last)| {
            Some(first.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
        });
        return chosen.unwrap_or_else(|| panic!("{SEEDS}={text:?} is not FIRST-LAST"));
    }
    let each = if is_long_run() { 50 } else { 1 };
    let first = part * 1000 + 1;
    first..first + each
}

const EMERGENCY: [&str; 5] = ["emergency", "--tag", "good-2", "--strategy", "stop-first"];
const TO: [&str; 3] = ["to", "--tag", "good-2"];

#[test]
fn an_emergency_over_a_bad_network_first_part() {
    runs("faults-emergency-1", &EMERGENCY, seeds(0));
}

#[test]
fn an_emergency_over_a_bad_network_second_part() {
    runs("faults-emergency-2", &EMERGENCY, seeds(1));
}

#[test]
fn an_emergency_over_a_bad_network_third_part() {
    runs("faults-emergency-3", &EMERGENCY, seeds(2));
}

#[test]
fn a_rollback_over_a_bad_network_first_part() {
    runs("faults-to-1", &TO, seeds(3));
}

#[test]
fn a_rollback_over_a_bad_network_second_part() {
    runs("faults-to-2", &TO, seeds(4));
}

#[test]
fn a_rollback_over_a_bad_network_third_part() {
    runs("faults-to-3", &TO, seeds(5));
}
