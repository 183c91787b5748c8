//! The same program on a real kubelet: real pulls, exit codes, logs, probes and signals, with the texts that
//! containerd and the kubelet write, which a simulated node only imitates.
//!
//! `cargo xtask test` starts a cluster of mode `full` (root, Linux) and names it in the environment; elsewhere every
//! test says that it is skipped. The harness is that of the end-to-end tests.

#[expect(dead_code, unused_imports, reason = "the harness serves the end-to-end tests as well")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

#[path = "../documents/mod.rs"]
mod documents;

mod database;
mod database_kills;
mod database_steps;
mod diagnosis;
mod django;
mod interruption;
mod restoration;
mod runbook;
mod services;
mod sql_platform;
mod stateful_set;
mod verify;

/// Begins a test; `None`, which is said, where the cluster has no real containers.
fn begin() -> Option<harness::Test> {
    let is_full = std::env::var_os("KUBECTL_ROLLBACK_TEST_MODE").is_some_and(|mode| mode == "full");
    if is_full {
        return harness::Test::begin();
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    harness::say(&format!(
        "{name}: skipped, it needs a cluster of mode full: run cargo xtask test as root on Linux"
    ));
    None
}
