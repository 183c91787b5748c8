//! A real Kubernetes cluster for tests: `cargo xtask cluster up | status | kubeconfig | tools | down`.
//!
//! A supervisor process, detached from the terminal, starts the components and is their parent. It ends
//! them all when it is told to, when its time is over or when its runtime folder disappears, so that a
//! crashed test run leaves nothing for ever.

mod certificates;
mod components;
#[cfg(target_os = "linux")]
mod full;
mod lifecycle;
mod simulation;
mod state;
mod supervisor;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

pub use lifecycle::{Temporary, missing_for};
use lifecycle::{down, down_all, foreign_kubeconfig, kubeconfig, up};
use state::State;

use crate::process::is_ours;
use crate::{folders, screen, tools};

/// Names the kubeconfig of somebody else's cluster that the tests shall use.
pub const KUBECONFIG_VARIABLE: &str = "KUBECTL_ROLLBACK_TEST_KUBECONFIG";

/// How much of a cluster is real.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A real control plane with simulated kubelets: quick, thousands of pods, no root
    Sim,
    /// Real kubelet and containers in a private network namespace: Linux, root
    Full,
}

impl Mode {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Full => "full",
        }
    }
}

#[derive(Subcommand)]
pub enum ClusterCommand {
    /// Start a cluster; nothing happens when it runs already
    Up(UpArguments),
    /// Say what runs
    Status(Name),
    /// Print the path of the administrator's kubeconfig
    Kubeconfig(Name),
    /// Print the folder with helm3, helm4, kubectl, krew and validate-krew-manifest, built when missing
    Tools,
    /// Put one more image into the registry of a cluster of mode full
    Image(ImageArguments),
    /// Put the images of the real services (PostgreSQL, Redis, Prometheus, a backend) into the registry of a cluster of mode full
    Services(Name),
    /// Stop a cluster and remove everything that it left
    Down(DownArguments),
    /// Run the components of a cluster (what `up` starts in the background)
    #[command(hide = true)]
    Supervise(supervisor::SuperviseArguments),
}

#[derive(Args)]
pub struct Name {
    /// Name of the cluster; several can run at once
    #[arg(long, default_value = "default")]
    pub name: String,
}

#[derive(Args)]
pub struct UpArguments {
    #[command(flatten)]
    pub name: Name,
    /// How much is real
    #[arg(long, value_enum, default_value = "sim")]
    pub mode: Mode,
    /// The cluster ends by itself after this time (30s, 90m, 4h)
    #[arg(long, default_value = "4h", value_parser = parse_duration)]
    pub max_age: Duration,
    /// The cluster ends together with this process
    #[arg(skip)]
    pub owner: Option<u32>,
}

#[derive(Args)]
pub struct ImageArguments {
    #[command(flatten)]
    name: Name,
    /// Repository and tag, for example ghcr.io/acme/backend:abc123d
    image: String,
    /// What it does: good, crash, exit, slow, unready, oom, initfail
    #[arg(long, default_value = "good")]
    behaviour: String,
}

#[derive(Args)]
pub struct DownArguments {
    #[command(flatten)]
    name: Name,
    /// Stop every cluster of this cache folder
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// Runs one of the cluster commands.
pub fn run(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Up(arguments) => up(&arguments).map(|_| ()),
        ClusterCommand::Status(Name { name }) => status(&name),
        ClusterCommand::Kubeconfig(Name { name }) => {
            screen::result(&kubeconfig(&name)?.display().to_string());
            Ok(())
        }
        ClusterCommand::Tools => {
            screen::result(&tools::ensure()?.folder.display().to_string());
            // Nobody who only wants the programs shall miss them for this.
            if let Err(error) = build_services() {
                screen::say(&format!("{error:#}"));
            }
            Ok(())
        }
        ClusterCommand::Image(arguments) => add_image(&arguments),
        ClusterCommand::Services(Name { name }) => add_services(&name),
        ClusterCommand::Down(DownArguments { all: true, .. }) => down_all(),
        ClusterCommand::Down(DownArguments { name, .. }) => down(&name.name),
        ClusterCommand::Supervise(arguments) => supervisor::run(&arguments),
    }
}

fn status(name: &str) -> Result<()> {
    if let Some(path) = foreign_kubeconfig() {
        screen::result(&format!("somebody else's cluster: {KUBECONFIG_VARIABLE}={}", path.display()));
        return Ok(());
    }
    let folder = folders::cluster(name)?;
    let Some(state) = State::read(&folder).filter(State::supervisor_runs) else {
        bail!("cluster {name} does not run");
    };
    let left = state.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    screen::result(&format!(
        "cluster {name}: mode {}, ends by itself in {}",
        state.mode.name(),
        screen::duration(left)
    ));
    for component in &state.components {
        let alive = if is_ours(component.id, &state.mark) { "runs" } else { "is gone" };
        let restarts = match component.restarts {
            0 => String::new(),
            times => format!(", restarted {times} times"),
        };
        screen::result(&format!("  {:<24} pid {:<8} {alive}{restarts}", component.name, component.id));
    }
    let tools = tools::ensure()?;
    let nodes = simulation::nodes_ready(&tools.kubectl(), &state::kubeconfig(&folder))?;
    screen::result(&format!("  nodes ready: {} of {}", nodes.ready, nodes.all));
    screen::result(&format!("  kubeconfig: {}", state::kubeconfig(&folder).display()));
    Ok(())
}

/// Builds what the images of the real services need, where this machine can.
pub fn build_services() -> Result<()> {
    #[cfg(target_os = "linux")]
    if full::debian::is_possible() {
        full::debian::ensure()?;
    }
    Ok(())
}

fn add_services(name: &str) -> Result<()> {
    let folder = folder_with_registry(name)?;
    #[cfg(target_os = "linux")]
    full::services::add(&folder)?;
    screen::say(&format!("cluster {name} has the images of the real services"));
    Ok(())
}

fn folder_with_registry(name: &str) -> Result<PathBuf> {
    let folder = folders::cluster(name)?;
    let running = State::read(&folder).filter(State::supervisor_runs);
    if !running.is_some_and(|state| state.mode == Mode::Full) {
        bail!("cluster {name} does not run in mode full: it has no registry");
    }
    Ok(folder)
}

fn add_image(arguments: &ImageArguments) -> Result<()> {
    let folder = folder_with_registry(&arguments.name.name)?;
    let Some((repository, tag)) = arguments.image.rsplit_once(':') else {
        bail!("{} has no tag", arguments.image);
    };
    #[cfg(target_os = "linux")]
    full::images::add(&folder, repository, tag, &arguments.behaviour)?;
    screen::say(&format!("{repository}:{tag} behaves like {}", arguments.behaviour));
    Ok(())
}

/// Reads a duration as `30s`, `90m` or `4h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().ok_or("empty")?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err("end it with s, m or h".to_owned()),
    };
    let number: u64 =
        text[..text.len() - 1].parse().map_err(|_| "no whole number before the unit".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(parse_duration("4h"), Ok(Duration::from_secs(14_400)));
        assert_eq!(parse_duration("90m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        for wrong in ["", "4", "h", "1h30m", "-1s", "4é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
