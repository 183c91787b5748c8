//! The command line without a cluster: help pages, usage errors, exit codes, and the screens before and after the
//! confirmation, against canned answers of an API server.

mod api;
mod config;
mod help;
mod history;
mod kubeconfig;
mod preflight;
#[cfg(unix)]
mod registries;
mod report;
mod rollback;
mod screens;
mod tags;
mod usage;

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};

/// The program, with nothing of the surroundings of the test in its environment.
pub fn program<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rollback"));
    // Without a home there is no kubeconfig to be found by chance; help pages are as wide as COLUMNS says.
    command
        .env_clear()
        .env("COLUMNS", "100")
        .env("HOME", "/nonexistent")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// The program against canned answers of an API server. No real registry is ever asked: where nothing listens, that is
/// known at once.
pub fn program_against(api: &api::Api, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command
        .env("KUBECONFIG", api.kubeconfig())
        .env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", "ghcr.io=127.0.0.1:9,docker.io=127.0.0.1:9");
    command
}

/// What a run printed, as it stands in the snapshots.
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// The result.
    pub stdout: String,
    /// The talk.
    pub stderr: String,
}

/// Runs the program to its end.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "exit code {}\n----- stdout\n{}----- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}
