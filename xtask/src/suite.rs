//! `cargo xtask test`: everything that CI runs, from formatting to the end-to-end tests on a cluster.
//!
//! Test targets `tests/e2e`, `tests/parity` and `tests/restarts` run on a simulated cluster, `tests/full` on one with a real kubelet;
//! every other target needs none. A stage that fails does not hide the later ones, except that nothing
//! more is tried when the build itself is broken.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::cluster::{self, KUBECONFIG_VARIABLE, Mode, Temporary};
use crate::process::{self, cargo};
use crate::{folders, packages, screen, tools};

/// Test targets whose tests need a cluster.
const SIMULATED_TARGETS: [&str; 3] = ["e2e", "parity", "restarts"];
/// Test target whose tests need real containers.
const FULL_TARGET: &str = "full";
/// What `tests/browser` needs: a browser, and letters for it.
const BROWSER: [(&str, &str); 2] = [
    ("/usr/bin/chromium", "chromium"),
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
];
/// Tells tests where the pinned `helm3`, `helm4`, `kubectl` and krew are.
const TOOLS_VARIABLE: &str = "KUBECTL_ROLLBACK_TEST_TOOLS";

#[derive(Args)]
pub struct TestArguments {
    /// Run the long parts whole, of which otherwise a sample is run
    #[arg(long)]
    all: bool,
    /// Leave out formatting and lints
    #[arg(long)]
    no_lints: bool,
    /// Run only the end-to-end tests whose names contain this
    #[arg(long)]
    only: Option<String>,
}

/// Runs all stages; an error when any of them failed.
pub fn run(arguments: &TestArguments) -> Result<()> {
    // Ctrl-C reaches the running stage by itself; this process lives on to stop the cluster.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut suite = Suite { interrupted, stages: Vec::new(), passed: 0, failed: 0, left_out: Vec::new() };
    suite.run(arguments)?;
    suite.summarize()
}

struct Stage {
    name: String,
    duration: Duration,
    succeeded: bool,
}

struct Suite {
    interrupted: Arc<AtomicBool>,
    stages: Vec<Stage>,
    passed: u64,
    failed: u64,
    left_out: Vec<String>,
}

impl Suite {
    fn run(&mut self, arguments: &TestArguments) -> Result<()> {
        let targets = test_targets()?;
        if arguments.only.is_none() {
            if !arguments.no_lints {
                self.stage("formatting", cargo(&["fmt", "--all", "--check"]))?;
                let lints = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
                self.stage("lints", cargo(&lints))?;
            }
            if !self.stage("build", cargo(&["build", "--workspace", "--all-targets"]))? {
                return Ok(());
            }
            if let Err(error) = packages::ensure("tests/browser", &BROWSER) {
                // The tests use another Chromium if there is one. Else they say so here, and fail in CI.
                self.left_out.push(format!("tests/browser, if no other Chromium is installed ({error:#})"));
            }
            let mut tests = cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
            // The packages are judged by the tools that will install them.
            tests.env(TOOLS_VARIABLE, &tools::ensure()?.folder);
            for target in targets.iter().filter(|target| !needs_cluster(target)) {
                tests.args(["--test", target]);
            }
            self.stage("tests without a cluster", tests)?;
            self.stage("documentation examples", cargo(&["test", "--workspace", "--doc"]))?;
        }
        let simulated: Vec<&str> =
            SIMULATED_TARGETS.into_iter().filter(|target| targets.contains(*target)).collect();
        if !simulated.is_empty() {
            self.cluster_stage(Mode::Sim, &simulated, arguments)?;
        }
        if targets.contains(FULL_TARGET) {
            match cluster::missing_for(Mode::Full) {
                None => {
                    // Before the cluster, which could not reach the packages. Without them the tests that need them fail.
                    if let Err(error) = cluster::build_services() {
                        screen::say(&format!("error: {error:#}"));
                    }
                    self.cluster_stage(Mode::Full, &[FULL_TARGET], arguments)?;
                }
                Some(reason) => self.leave_out(&reason)?,
            }
        }
        Ok(())
    }

    /// Runs the tests of these targets, one target after the other, on a cluster of their own.
    fn cluster_stage(&mut self, mode: Mode, targets: &[&str], arguments: &TestArguments) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let name = format!("tests on a cluster ({})", mode.name());
        let tools = tools::ensure()?;
        let started = Instant::now();
        let temporary = match Temporary::start("test", mode) {
            Ok(temporary) => temporary,
            Err(error) => {
                screen::say(&format!("error: {error:#}"));
                self.stages.push(Stage { name, duration: started.elapsed(), succeeded: false });
                return Ok(());
            }
        };
        let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
        for target in targets {
            tests.args(["--test", target]);
        }
        tests
            .env(KUBECONFIG_VARIABLE, &temporary.kubeconfig)
            .env(TOOLS_VARIABLE, &tools.folder)
            .env("KUBECTL_ROLLBACK_TEST_MODE", mode.name())
            .env("GOGC", process::GARBAGE_PERCENT);
        // They mostly wait for pods. On simulated ones they bound themselves how many work at once.
        tests.env("RUST_TEST_THREADS", if mode == Mode::Sim { "8" } else { "3" });
        if arguments.all {
            tests.env("KUBECTL_ROLLBACK_TEST_ALL", "1");
        }
        if let Some(only) = &arguments.only {
            tests.arg(only);
        }
        self.stage(&name, tests)?;
        drop(temporary);
        Ok(())
    }

    /// Names the tests of [`FULL_TARGET`] that cannot run here.
    fn leave_out(&mut self, reason: &str) -> Result<()> {
        let listing = process::output_of(&mut cargo(&[
            "test",
            "--workspace",
            "--quiet",
            "--test",
            FULL_TARGET,
            "--",
            "--list",
        ]))?;
        let names = listing.lines().filter_map(|line| line.strip_suffix(": test"));
        self.left_out.extend(names.map(|name| format!("{name} ({reason})")));
        Ok(())
    }

    /// Runs one command with its output live; true when it succeeded.
    fn stage(&mut self, name: &str, mut command: Command) -> Result<bool> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        screen::say(&format!("== {name}: cargo {}", words.join(" ")));
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if let Some((passed, failed)) = counts(&line) {
                self.passed += passed;
                self.failed += failed;
            }
            screen::result(&line);
        }
        let succeeded = child.wait()?.success();
        let stage = Stage { name: name.to_owned(), duration: started.elapsed(), succeeded };
        screen::say(&stage.line());
        self.stages.push(stage);
        Ok(succeeded)
    }

    fn summarize(&self) -> Result<()> {
        screen::say("== summary");
        for stage in &self.stages {
            screen::say(&stage.line());
        }
        for name in &self.left_out {
            screen::say(&format!("left out: {name}"));
        }
        if self.passed + self.failed > 0 {
            screen::say(&format!("{} passed, {} failed", self.passed, self.failed));
        }
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let failed: Vec<_> =
            self.stages.iter().filter(|stage| !stage.succeeded).map(|stage| stage.name.as_str()).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

impl Stage {
    fn line(&self) -> String {
        let outcome = if self.succeeded { "ok" } else { "FAILED" };
        format!("{outcome:<6} {} ({})", self.name, screen::duration(self.duration))
    }
}

/// The names of the integration test targets: files and folders with a `main.rs` in `tests/`.
fn test_targets() -> Result<BTreeSet<String>> {
    let mut targets = BTreeSet::new();
    for entry in fs::read_dir(folders::repository().join("tests"))? {
        let path = entry?.path();
        let is_target =
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
        if let (true, Some(name)) = (is_target, path.file_stem()) {
            targets.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(targets)
}

fn needs_cluster(target: &str) -> bool {
    SIMULATED_TARGETS.contains(&target) || target == FULL_TARGET
}

/// The numbers in the line with which the test harness ends a target:
/// `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        numbers
            .split("; ")
            .find_map(|part| part.strip_suffix(word))
            .and_then(|number| number.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("test result_of_something ... ok"), None);
        assert_eq!(counts("running 12 tests"), None);
    }
}
