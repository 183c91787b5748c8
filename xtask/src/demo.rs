//! `cargo xtask demo`: a release breaks on a real control plane and is brought back, before your eyes.
//!
//! Every command is shown as it would be typed. What the commands promise is checked afterwards with
//! the means of others (Helm, kubectl), and the demonstration fails when anything is not as promised.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::cluster::{Mode, Temporary};
use crate::{folders, process, screen, tools};

/// The tag that the platform is installed with and brought back to.
const GOOD_TAG: &str = "good-1";

/// The services of the platform, by the keys of their values.
const SERVICES: [&str; 6] = ["backend", "frontend", "reminder", "recurring", "audit", "notification"];

/// Where the services' own images come from; the infrastructure's come from elsewhere.
const SERVICE_REGISTRY: &str = "ghcr.io/acme/";

#[derive(Args)]
pub struct DemoArguments {
    /// How much of the cluster is real
    #[arg(long, value_enum, default_value = "sim")]
    mode: Mode,
}

/// Shows the emergency rollback on a cluster of its own, from installation to proof.
pub fn run(arguments: &DemoArguments) -> Result<()> {
    // Ctrl-C reaches the running command by itself; this process lives on to stop the cluster.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let started = Instant::now();
    let tools = tools::ensure()?;
    let program = build_program()?;
    heading("a cluster");
    let cluster = Temporary::start("demo", arguments.mode)?;
    let shell = Shell::new(&tools.folder, &program, &cluster)?;
    let outcome = play(&shell);
    drop(cluster);
    outcome?;
    screen::say(&format!("demonstration done in {}", screen::duration(started.elapsed())));
    Ok(())
}

fn play(shell: &Shell) -> Result<()> {
    heading("the platform, installed by Helm at a good tag");
    shell.run("kubectl apply -f tests/platform/storage-class.yaml -f tests/platform/dapr-sidecar.yaml")?;
    shell.wait_for_sidecars()?;
    shell.run(
        "helm4 install todo-app tests/platform/todo-app -f tests/platform/history/01-good-1.yaml \
         -f tests/platform/user-values.yaml --wait --timeout 3m",
    )?;
    shell.run("kubectl get deployments,statefulsets")?;

    heading("a deploy that breaks production");
    shell.run(
        "helm4 upgrade todo-app tests/platform/todo-app -f tests/platform/history/05-broken.yaml \
         -f tests/platform/user-values.yaml",
    )?;
    shell.wait_until_broken()?;
    shell.run("kubectl get pods")?;
    shell.run("helm4 history todo-app")?;
    let user_values = shell.json("helm4 get values todo-app -o json")?;

    heading("the emergency");
    shell.run(&format!("kubectl rollback emergency todo-app --tag {GOOD_TAG} --yes"))?;

    heading("the proof");
    shell.run("kubectl get deployments,statefulsets -o wide")?;
    shell.run("helm4 history todo-app")?;
    shell.run("helm4 get values todo-app")?;
    shell.check(&user_values)
}

fn heading(text: &str) {
    screen::say(&format!("\n== {text}"));
}

/// Builds the program that is shown and returns its path.
fn build_program() -> Result<PathBuf> {
    screen::say("building kubectl-rollback");
    let mut cargo = process::cargo(&["build", "--workspace", "--message-format", "json-render-diagnostics"]);
    cargo.stderr(Stdio::inherit());
    let messages = process::output_of(&mut cargo)?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|artifact| artifact["target"]["name"] == "kubectl-rollback")
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
        .context("cargo built no program kubectl-rollback")
}

/// Runs commands as somebody would type them in the repository's folder.
struct Shell {
    path: OsString,
    kubeconfig: PathBuf,
}

impl Shell {
    fn new(tools: &std::path::Path, program: &std::path::Path, cluster: &Temporary) -> Result<Self> {
        let mut folders = vec![tools.to_path_buf()];
        folders.extend(program.parent().map(PathBuf::from));
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        screen::say(&format!("$ export KUBECONFIG={}", cluster.kubeconfig.display()));
        Ok(Self { path: env::join_paths(folders)?, kubeconfig: cluster.kubeconfig.clone() })
    }

    fn command(&self, line: &str) -> Command {
        // env(1) looks the program up in the PATH that it is given, not in ours.
        let mut command = Command::new("env");
        command.args(line.split_whitespace()).current_dir(folders::repository());
        command.env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        // The platform's images are in no registry: nobody is asked about them.
        command.env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", "ghcr.io=127.0.0.1:9,docker.io=127.0.0.1:9");
        command
    }

    /// Shows the command, runs it with its output live; an error unless it ends with code 0.
    fn run(&self, line: &str) -> Result<()> {
        screen::say(&format!("\n$ {line}"));
        let started = Instant::now();
        let status = self.command(line).status()?;
        screen::say(&format!("({})", screen::duration(started.elapsed())));
        ensure!(status.success(), "{line} failed ({status})");
        Ok(())
    }

    /// Runs a command without showing it and reads its output as JSON.
    fn json(&self, line: &str) -> Result<Value> {
        let output = process::output_of(&mut self.command(line))?;
        serde_json::from_str(&output).with_context(|| format!("{line} gave no JSON"))
    }

    /// Waits until the API server heeds the policy that gives pods their sidecar.
    fn wait_for_sidecars(&self) -> Result<()> {
        let probe = "kubectl run probe --image=probe --annotations=dapr.io/enabled=true --dry-run=server \
                     -o jsonpath={.spec.containers[*].name}";
        let injected =
            || process::output_of(&mut self.command(probe)).is_ok_and(|names| names.contains("daprd"));
        ensure!(process::wait_until(Duration::from_secs(30), injected), "pods get no sidecar");
        Ok(())
    }

    /// Waits until pods show that the deploy went wrong.
    fn wait_until_broken(&self) -> Result<()> {
        let broken = || {
            process::output_of(&mut self.command("kubectl get pods"))
                .is_ok_and(|pods| pods.contains("CrashLoopBackOff") && pods.contains("ImagePullBackOff"))
        };
        ensure!(process::wait_until(Duration::from_secs(120), broken), "the broken deploy broke nothing");
        Ok(())
    }

    /// Checks what the emergency promises: the services run on the tag, Helm's record says so, and
    /// every value that people had set is still there.
    fn check(&self, values_before: &Value) -> Result<()> {
        let deployments = self.json("kubectl get deployments -o json")?;
        let services: Vec<&Value> = deployments["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|deployment| image(deployment).is_some_and(|image| image.starts_with(SERVICE_REGISTRY)))
            .collect();
        ensure!(services.len() == SERVICES.len(), "{} services instead of six", services.len());
        for deployment in services {
            let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
            let image = image(deployment).unwrap_or_default();
            ensure!(image.ends_with(&format!(":{GOOD_TAG}")), "{name} runs {image}");
            ensure!(is_ready(deployment), "{name} is not ready: {}", deployment["status"]);
        }

        let history = self.json("helm4 history todo-app -o json")?;
        let revisions = history.as_array().context("helm history gave no list")?;
        let deployed = revisions.iter().filter(|revision| revision["status"] == "deployed").count();
        ensure!(deployed == 1, "{deployed} deployed revisions instead of one");
        let last = revisions.last().context("helm history is empty")?;
        ensure!(last["status"] == "deployed", "the last revision is {}", last["status"]);

        let mut expected = values_before.clone();
        for service in SERVICES {
            expected[service]["image"]["tag"] = GOOD_TAG.into();
        }
        let values = self.json("helm4 get values todo-app -o json")?;
        if values != expected {
            bail!("helm's values are not the earlier ones with the tag {GOOD_TAG}: {values}");
        }
        screen::say(&format!(
            "\nchecked: six services ready on {GOOD_TAG}, one deployed revision, all other values as before"
        ));
        Ok(())
    }
}

/// The image of a Deployment's first container.
fn image(deployment: &Value) -> Option<&str> {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str()
}

/// Whether all replicas are of the newest template, ready, and no others are left.
fn is_ready(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "readyReplicas"]
            .iter()
            .all(|field| status[field].as_u64() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leftover_replica_is_not_ready() {
        let deployment = |replicas: u64, ready: u64| {
            json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 2},
                "status": {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": 2, "readyReplicas": ready},
            })
        };
        assert!(is_ready(&deployment(2, 2)));
        assert!(!is_ready(&deployment(3, 2)));
        assert!(!is_ready(&deployment(2, 1)));
    }
}
