//! Who rolls the second side back: the program, or Helm once more.
//!
//! With `KUBECTL_ROLLBACK_TEST_CONTENDER=helm` Helm plays both sides: then everything must be equal, which shows that
//! a difference seen otherwise comes from the program and not from the comparison.

use std::process::{Command, Output, Stdio};

use crate::preview;
use crate::side::{RELEASE, Side};
use crate::story::Rollback;
use crate::tickets::Ticket;

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The program under test.
    Program,
    /// The Helm of the scenario.
    Helm,
}

impl Contender {
    /// The program, if the environment says nothing else.
    pub fn chosen() -> Self {
        let is_helm =
            std::env::var_os("KUBECTL_ROLLBACK_TEST_CONTENDER").is_some_and(|value| value == "helm");
        if is_helm { Self::Helm } else { Self::Program }
    }

    /// Rolls a side back; the program must have said before what comes of it.
    pub fn roll_back(self, side: &Side, rollback: &Rollback) -> Output {
        match self {
            Self::Helm => {
                let mut arguments = rollback.helm.clone();
                if rollback.waits {
                    arguments.extend(["--wait", "--timeout=60s"]);
                }
                side.helm_rollback(rollback.revision, &arguments)
            }
            Self::Program => {
                let revision = rollback.revision.to_string();
                let mut arguments = vec!["to", RELEASE, &revision, "--yes", "-o", "json"];
                arguments.extend(if rollback.waits {
                    ["--wait", "--timeout=60s"]
                } else {
                    ["--no-wait", "--timeout=60s"]
                });
                arguments.extend(&rollback.ours);
                let filled: Vec<String> = arguments.iter().map(|argument| side.fill(argument)).collect();
                preview::kept(side, rollback, || program(side, &filled))
            }
        }
    }
}

/// Runs the program in the side's namespace with nobody at the keyboard.
pub fn program(side: &Side, arguments: &[String]) -> Output {
    let _ticket = Ticket::take();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rollback"));
    command.args(arguments).arg("--namespace").arg(side.namespace()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("KUBECTL_ROLLBACK_") || name.starts_with("HELM_") || name == "CI" {
            command.env_remove(name);
        }
    }
    // No real registry is ever asked.
    command.env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", "ghcr.io=127.0.0.1:9,docker.io=127.0.0.1:9");
    command.env("KUBECONFIG", &side.cluster.kubeconfig).envs(side.cluster.environment.iter().copied());
    command.output().unwrap()
}
