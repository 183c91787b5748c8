//! The parent of a cluster's processes: starts them in order, keeps them running, ends them all.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::components::Component;
#[cfg(target_os = "linux")]
use super::full;
use super::state::{self, ComponentState, State};
use super::{Mode, parse_duration, simulation};
use crate::process::{self, is_ours, wait_until};
use crate::screen;
use crate::tools::{self, Tools};

/// The line on the supervisor's standard output after which the cluster is usable.
pub const READY: &str = "ready";

/// How long a single step of the start may take on a busy machine.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// How long processes get to end by themselves: nothing of a throw-away cluster is worth saving.
const GRACE: Duration = Duration::from_secs(2);

/// A component that ends this often is not started again.
const MAXIMUM_RESTARTS: u32 = 20;

/// Occurs in the command line of every process that can own a cluster: the name of this program.
const OWNER_MARK: &str = "xtask";

#[derive(Args)]
pub struct SuperviseArguments {
    #[arg(long, value_enum)]
    mode: Mode,
    /// The runtime folder
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, value_parser = parse_duration)]
    max_age: Duration,
    /// The cluster ends together with the process of this id
    #[arg(long)]
    owner: Option<u32>,
}

/// Starts the cluster, says [`READY`], and stays until the cluster's end.
pub fn run(arguments: &SuperviseArguments) -> Result<()> {
    // Out of the terminal's session: neither Ctrl-C nor its closing reaches the cluster.
    _ = rustix::process::setsid();
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let mut supervisor = Supervisor::new(arguments, ended)?;
    let outcome = supervisor.start();
    if let Err(error) = &outcome {
        tell(&format!("error: {error:#}"));
        tell(&supervisor.last_log_lines());
    } else if tell(READY) {
        supervisor.watch();
    }
    supervisor.end();
    clean(&supervisor.folder, supervisor.mode)?;
    Ok(fs::remove_dir_all(&supervisor.folder)?)
}

struct Running {
    component: Component,
    child: Child,
    restarts: u32,
    /// Set when it ended too often to be started again.
    given_up: bool,
}

/// Everything that the supervisor knows about its cluster.
pub struct Supervisor {
    mode: Mode,
    folder: PathBuf,
    mark: String,
    tools: Tools,
    expires_at: SystemTime,
    owner: Option<u32>,
    started: Instant,
    ended: Arc<AtomicBool>,
    running: Vec<Running>,
}

impl Supervisor {
    fn new(arguments: &SuperviseArguments, ended: Arc<AtomicBool>) -> Result<Self> {
        let supervisor = Self {
            mode: arguments.mode,
            folder: arguments.folder.clone(),
            mark: mark(&arguments.folder),
            tools: tools::ensure()?,
            expires_at: SystemTime::now() + arguments.max_age,
            owner: arguments.owner,
            started: Instant::now(),
            ended,
            running: Vec::new(),
        };
        supervisor.write_state()?;
        Ok(supervisor)
    }

    fn start(&mut self) -> Result<()> {
        match self.mode {
            Mode::Sim => simulation::start(self),
            #[cfg(target_os = "linux")]
            Mode::Full => full::start(self),
            #[cfg(not(target_os = "linux"))]
            Mode::Full => bail!("mode full needs Linux"),
        }
    }

    /// The runtime folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs of the cluster.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Starts a component; from now on it is started again when it ends by itself.
    pub fn launch(&mut self, component: Component) -> Result<()> {
        let child = self.spawn(&component)?;
        self.running.push(Running { component, child, restarts: 0, given_up: false });
        self.write_state()
    }

    fn spawn(&self, component: &Component) -> Result<Child> {
        let log = self.log(component.name)?;
        let mut command = Command::new(&component.program);
        process::start(command.args(&component.arguments).env("GOGC", process::GARBAGE_PERCENT), &log)
    }

    fn log(&self, name: &str) -> Result<PathBuf> {
        Ok(state::log_folder(&self.folder)?.join(format!("{name}.log")))
    }

    /// Waits until the API server serves.
    pub fn wait_for_api_server(&mut self) -> Result<()> {
        self.wait_for("the API server", |kubectl| {
            process::output_of(kubectl.args(["get", "--raw", "/readyz"])).map(|answer| answer == "ok")
        })
    }

    /// Waits until there are nodes and all of them are ready.
    pub fn wait_for_nodes(&mut self) -> Result<()> {
        let tool = self.tools.kubectl();
        let kubeconfig = state::kubeconfig(&self.folder);
        self.wait_for("the nodes", |_| {
            let nodes = simulation::nodes_ready(&tool, &kubeconfig)?;
            Ok(nodes.all > 0 && nodes.ready == nodes.all)
        })
    }

    /// Waits for the service account of the default namespace: its pods are refused without.
    pub fn wait_for_service_account(&mut self) -> Result<()> {
        self.wait_for("the controllers", |kubectl| {
            process::output_of(kubectl.args(["get", "serviceaccount", "default"])).map(|_| true)
        })
    }

    /// Repeats a question that is asked with kubectl until the answer is yes.
    fn wait_for(&mut self, what: &str, mut question: impl FnMut(&mut Command) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + STEP_LIMIT;
        loop {
            let mut kubectl = Command::new(self.tools.kubectl());
            kubectl.arg("--kubeconfig").arg(state::kubeconfig(&self.folder)).arg("--request-timeout=5s");
            let answer = question(&mut kubectl);
            if matches!(answer, Ok(true)) {
                tell(&format!("[{:>4.1} s] {what}", self.started.elapsed().as_secs_f64()));
                return Ok(());
            }
            if self.ended.load(Ordering::Relaxed) {
                bail!("interrupted while waiting for {what}");
            }
            if let Some((name, status)) = self.first_ended() {
                bail!("{name} ended ({status}) while waiting for {what}");
            }
            if Instant::now() > deadline {
                let reason =
                    answer.err().map_or_else(|| "not ready".to_owned(), |error| format!("{error:#}"));
                bail!("{what} did not come within {}: {reason}", screen::duration(STEP_LIMIT));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn first_ended(&mut self) -> Option<(&'static str, ExitStatus)> {
        self.running.iter_mut().find_map(|running| {
            let status = running.child.try_wait().ok().flatten()?;
            Some((running.component.name, status))
        })
    }

    /// Stays until the cluster shall end; starts again what ended by itself.
    fn watch(&mut self) {
        while !self.is_over() {
            if let Err(error) = self.restart_ended() {
                screen::say(&format!("{error:#}"));
            }
            sleep(Duration::from_millis(250));
        }
    }

    fn is_over(&self) -> bool {
        let owner_is_gone = || self.owner.is_some_and(|owner| !is_ours(owner, OWNER_MARK));
        self.ended.load(Ordering::Relaxed)
            || SystemTime::now() >= self.expires_at
            || !self.folder.is_dir()
            || owner_is_gone()
    }

    fn restart_ended(&mut self) -> Result<()> {
        for index in 0..self.running.len() {
            let running = &mut self.running[index];
            let Some(status) = running.child.try_wait()? else {
                continue;
            };
            if running.given_up {
                continue;
            }
            let name = running.component.name;
            running.restarts += 1;
            if running.restarts > MAXIMUM_RESTARTS {
                running.given_up = true;
                bail!("{name} ended again ({status}); giving up");
            }
            screen::say(&format!("{name} ended ({status}); starting it again"));
            let component = running.component.clone();
            self.running[index].child = self.spawn(&component)?;
            self.write_state()?;
        }
        Ok(())
    }

    /// Ends everything, last started first.
    fn end(&mut self) {
        if self.mode == Mode::Full {
            // The kubelet goes first: it would start again what is ended.
            for running in self.running.iter_mut().filter(|running| running.component.name == "kubelet") {
                _ = running.child.kill().and_then(|()| running.child.wait());
            }
            end_containers(&self.folder);
        }
        for running in self.running.iter().rev() {
            process::terminate(running.child.id());
        }
        let all_ended = wait_until(GRACE, || {
            self.running.iter_mut().all(|running| !matches!(running.child.try_wait(), Ok(None)))
        });
        if !all_ended {
            for running in &mut self.running {
                _ = running.child.kill();
            }
        }
        for running in &mut self.running {
            _ = running.child.wait();
        }
    }

    fn write_state(&self) -> Result<()> {
        let components = self.running.iter().map(|running| ComponentState {
            name: running.component.name.to_owned(),
            id: running.child.id(),
            restarts: running.restarts,
        });
        let state = State {
            mode: self.mode,
            mark: self.mark.clone(),
            supervisor: std::process::id(),
            expires_at: self.expires_at,
            components: components.collect(),
        };
        state.write(&self.folder)
    }

    /// The ends of the logs: they would be gone with the runtime folder.
    fn last_log_lines(&self) -> String {
        let end = |running: &Running| {
            let name = running.component.name;
            let end = self.log(name).and_then(|path| end_of(&path, 1500)).unwrap_or_default();
            format!("--- end of the log of {name}\n{}", end.trim_end())
        };
        self.running.iter().map(end).collect::<Vec<_>>().join("\n")
    }
}

/// Says a line to whoever waits in `up`; false when nobody does any more.
fn tell(line: &str) -> bool {
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).is_ok()
}

/// What occurs in the command line of every process of the cluster in `folder`; with a slash at the
/// end, so that no other cluster's folder begins with it.
pub fn mark(folder: &Path) -> String {
    format!("{}/", folder.display().to_string().trim_end_matches('/'))
}

#[cfg(target_os = "linux")]
use full::isolation::end_containers;

/// Off Linux there are none.
#[cfg(not(target_os = "linux"))]
fn end_containers(_folder: &Path) {}

/// Takes back what a cluster of this mode left outside of its runtime folder.
fn clean(folder: &Path, mode: Mode) -> Result<()> {
    match mode {
        #[cfg(target_os = "linux")]
        Mode::Full => full::isolation::clean(folder),
        _ => Ok(()),
    }
}

/// Ends the components that a killed supervisor left behind.
pub fn end_leftovers(folder: &Path, state: &State) -> Result<()> {
    let alive = || state.components.iter().filter(|component| is_ours(component.id, &state.mark));
    for component in alive() {
        process::terminate(component.id);
    }
    if !wait_until(GRACE, || alive().next().is_none()) {
        for component in alive() {
            process::kill(component.id);
        }
        wait_until(GRACE, || alive().next().is_none());
    }
    if state.mode == Mode::Full {
        end_containers(folder);
    }
    clean(folder, state.mode)
}

fn end_of(path: &Path, bytes: u64) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}
