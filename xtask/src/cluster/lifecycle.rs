//! Starting and stopping a cluster as seen from outside: the supervisor does the work.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::state::{self, State};
use super::{KUBECONFIG_VARIABLE, Mode, Name, UpArguments, supervisor};
use crate::process::{self, kill, terminate, wait_until};
use crate::{folders, screen, tools};

/// A cluster for the time of one chore: it ends when this value is dropped, or with this process.
pub struct Temporary {
    name: String,
    pub kubeconfig: PathBuf,
}

impl Temporary {
    /// Starts a cluster of its own for this process, unless the environment names somebody else's.
    pub fn start(purpose: &str, mode: Mode) -> Result<Self> {
        let name = format!("{purpose}-{}", std::process::id());
        let arguments = UpArguments {
            name: Name { name: name.clone() },
            mode,
            max_age: Duration::from_secs(6 * 3600),
            owner: Some(std::process::id()),
        };
        Ok(Self { kubeconfig: up(&arguments)?, name })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if foreign_kubeconfig().is_none()
            && let Err(error) = down(&self.name)
        {
            screen::say(&format!("cluster {} is not down: {error:#}", self.name));
        }
    }
}

/// The kubeconfig of a cluster that somebody else started and that the tests shall use, if any.
pub fn foreign_kubeconfig() -> Option<PathBuf> {
    env::var_os(KUBECONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Why a cluster of this mode cannot run on this machine; nothing when it can.
pub fn missing_for(mode: Mode) -> Option<String> {
    match mode {
        Mode::Full if !cfg!(target_os = "linux") => Some("needs Linux".to_owned()),
        Mode::Full if !rustix::process::geteuid().is_root() => Some("needs root".to_owned()),
        Mode::Sim | Mode::Full => None,
    }
}

/// Starts the cluster unless it runs, waits until it is usable and returns its kubeconfig.
pub fn up(arguments: &UpArguments) -> Result<PathBuf> {
    if let Some(path) = foreign_kubeconfig() {
        screen::say(&format!(
            "using the cluster of {KUBECONFIG_VARIABLE}={}; nothing started",
            path.display()
        ));
        return Ok(path);
    }
    let name = &arguments.name.name;
    if let Some(reason) = missing_for(arguments.mode) {
        bail!("mode {} {reason}", arguments.mode.name());
    }
    let folder = folders::cluster(name)?;
    tools::ensure()?;
    #[cfg(target_os = "linux")]
    if arguments.mode == Mode::Full {
        super::full::packages::ensure()?;
    }
    let _lock = lock(name)?;
    if let Some(state) = State::read(&folder)
        && state.supervisor_runs()
    {
        if state.mode != arguments.mode {
            bail!("cluster {name} runs already, in mode {}: stop it first", state.mode.name());
        }
        screen::say(&format!("cluster {name} runs already"));
        return Ok(state::kubeconfig(&folder));
    }
    remove_remains(&folder)?;
    let started = Instant::now();
    fs::create_dir_all(&folder)?;
    if let Err(error) = start_supervisor(&folder, arguments) {
        remove_remains(&folder)?;
        return Err(error.context(format!("cluster {name} did not start")));
    }
    screen::say(&format!(
        "cluster {name} ({}) is up in {}",
        arguments.mode.name(),
        screen::duration(started.elapsed())
    ));
    Ok(state::kubeconfig(&folder))
}

fn start_supervisor(folder: &Path, arguments: &UpArguments) -> Result<()> {
    let mut command = match arguments.mode {
        Mode::Sim => Command::new(process::own_program()?),
        Mode::Full => {
            let mut command = Command::new("unshare");
            command.args(["--net", "--mount", "--propagation", "private"]).arg(process::own_program()?);
            command
        }
    };
    command.args(["cluster", "supervise", "--mode", arguments.mode.name()]);
    command.args(["--folder", &supervisor::mark(folder)]);
    command.args(["--max-age", &format!("{}s", arguments.max_age.as_secs())]);
    if let Some(owner) = arguments.owner {
        command.args(["--owner", &owner.to_string()]);
    }
    let mut supervisor = command
        .current_dir(folders::repository())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(state::log_folder(folder)?.join("supervisor.log"))?)
        .spawn()
        .context("cannot start the supervisor")?;
    let pipe = supervisor.stdout.take().context("the supervisor has no output")?;
    for line in BufReader::new(pipe).lines() {
        let line = line?;
        if line == supervisor::READY {
            return Ok(());
        }
        screen::say(&line);
    }
    supervisor.wait()?;
    bail!("the supervisor gave up")
}

/// The kubeconfig of the running cluster `name`, or of the cluster that the environment names.
pub fn kubeconfig(name: &str) -> Result<PathBuf> {
    if let Some(path) = foreign_kubeconfig() {
        return Ok(path);
    }
    let folder = folders::cluster(name)?;
    match State::read(&folder) {
        Some(state) if state.supervisor_runs() => Ok(state::kubeconfig(&folder)),
        _ => bail!("cluster {name} does not run; start it with: cargo xtask cluster up --name {name}"),
    }
}

/// Stops the cluster `name` and removes its runtime folder.
pub fn down(name: &str) -> Result<()> {
    if let Some(path) = foreign_kubeconfig() {
        screen::say(&format!(
            "{KUBECONFIG_VARIABLE}={} is somebody else's cluster; it stays",
            path.display()
        ));
        return Ok(());
    }
    let folder = folders::cluster(name)?;
    let _lock = lock(name)?;
    if folder.exists() {
        let started = Instant::now();
        remove_remains(&folder)?;
        screen::say(&format!("cluster {name} is down in {}", screen::duration(started.elapsed())));
    } else {
        screen::say(&format!("cluster {name} does not run"));
    }
    Ok(())
}

/// Stops every cluster of the cache folder.
pub fn down_all() -> Result<()> {
    for entry in fs::read_dir(folders::clusters()?)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            down(&entry.file_name().to_string_lossy())?;
        }
    }
    Ok(())
}

/// Ends every process that the state in `folder` names and that is really ours, then removes the folder.
fn remove_remains(folder: &Path) -> Result<()> {
    if let Some(state) = State::read(folder) {
        if state.supervisor_runs() {
            terminate(state.supervisor);
            if !wait_until(Duration::from_secs(60), || !state.supervisor_runs()) {
                kill(state.supervisor);
            }
        }
        // Only a supervisor that was killed leaves something to do here.
        supervisor::end_leftovers(folder, &state)?;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Held while a cluster of one name is started or stopped; the file stays, its removal would be a race.
fn lock(name: &str) -> Result<File> {
    let path = folders::cluster_lock(name)?;
    let file = File::create(&path)?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
