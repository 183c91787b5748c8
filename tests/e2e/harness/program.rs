//! The program under test: started, spoken to by signals, read while it works.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Cluster;

/// No run of the program may take longer.
const LIMIT: Duration = Duration::from_secs(300);

/// The program at work.
pub struct Running {
    child: Child,
    arguments: Vec<String>,
    lines: Receiver<String>,
    read: Vec<String>,
    errors: JoinHandle<String>,
    memory: JoinHandle<u64>,
    started: Instant,
}

/// How a run ended.
pub struct Run {
    /// What it was called with.
    pub arguments: Vec<String>,
    /// The exit code; a program killed by a signal has none.
    pub code: Option<i32>,
    /// What it printed as its result.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
    /// The most memory that it held, in KiB; 0 where the system does not tell.
    pub peak_memory: u64,
}

impl Running {
    #[track_caller]
    pub fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rollback"));
        // What stands behind `--` is another program's.
        let own = arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len());
        command.args(&arguments[..own]).arg("--namespace").arg(&cluster.namespace).args(&arguments[own..]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the surroundings of the test set must not reach the program.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_ours =
                ["KUBECTL_ROLLBACK_", "HELM_", "GITHUB_"].iter().any(|prefix| name.starts_with(prefix));
            if is_ours || name == "CI" {
                command.env_remove(name);
            }
        }
        // No real registry is ever asked: where nothing listens, that is known at once.
        command.env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", "ghcr.io=127.0.0.1:9,docker.io=127.0.0.1:9");
        command.env("KUBECONFIG", &cluster.kubeconfig).envs(cluster.environment.iter().copied());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let status = format!("/proc/{}/status", child.id());
        let memory = std::thread::spawn(move || peak_memory(&status));
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { child, arguments, lines, read: Vec::new(), errors, memory, started }
    }

    /// Reads events (`-o jsonl`) until one is as wanted.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(90)) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).unwrap_or_default();
                    self.read.push(line);
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no event in 90 s: {what}; until then:\n{}", self.read.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended before the event: {what}; until then:\n{}", self.read.join("\n"))
                }
            }
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "signal {name} could not be sent");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let status = self.wait();
        self.read.extend(self.lines.iter());
        let mut stdout = self.read.join("\n");
        if !stdout.is_empty() {
            stdout.push('\n');
        }
        Run {
            arguments: self.arguments,
            code: status.code(),
            stdout,
            stderr: self.errors.join().unwrap(),
            elapsed: self.started.elapsed(),
            peak_memory: self.memory.join().unwrap(),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if self.started.elapsed() > LIMIT {
                let _ = self.child.kill();
                panic!("{:?} did not end within {} s", self.arguments, LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Reads the high-water mark of a process's memory until the process is gone.
fn peak_memory(status: &str) -> u64 {
    let mut peak = 0;
    while let Ok(text) = std::fs::read_to_string(status) {
        // A process that has ended and is not yet waited for has no memory any more.
        let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
        peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

impl Run {
    /// Demands an exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The result (`-o json`): nothing else may stand on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        let result: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document: {error}\n{self}"));
        if result["kind"] == "Result" {
            assert_eq!(
                result["exitCode"],
                Value::from(self.code.unwrap_or(-1)),
                "the result's exit code\n{self}"
            );
        }
        result
    }

    /// The events (`-o jsonl`): nothing else may stand on stdout, and none may be missing.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let events: Vec<Value> = self
            .stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}\n{self}"))
            })
            .collect();
        for (event, number) in events.iter().zip(1..) {
            assert_eq!(event["seq"], Value::from(number), "events are numbered without gaps\n{self}");
        }
        events
    }

    /// The diagnoses among the events, as (workload, code, event).
    #[track_caller]
    pub fn diagnoses(&self) -> Vec<(String, String, Value)> {
        let events = self.events().into_iter().filter(|event| event["type"] == "Diagnosis");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.map(|event| (word(&event["object"]["name"]), word(&event["code"]), event)).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments, code, stdout, stderr, elapsed, .. } = self;
        writeln!(formatter, "$ kubectl-rollback {}", arguments.join(" "))?;
        writeln!(formatter, "exit code {code:?} after {:.1} s", elapsed.as_secs_f32())?;
        write!(formatter, "--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}
