//! The program that deploys: started without a shell, with our environment, folder and streams, and as a group of its own, so
//! that a signal reaches what it has started in turn (`sh -c 'helm …'`) and it is known when nothing of it runs any more.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::End;
use crate::context::interrupt::Signal;

/// How often it is looked whether everything of a group has ended.
const LOOK: Duration = Duration::from_millis(100);

/// A deploy at work.
pub struct Deploy {
    child: Child,
    group: Option<u32>,
    started: Instant,
}

impl Deploy {
    /// Starts it. What it prints goes where our own output goes; to stderr, where stdout is kept for the result.
    pub fn start(command: &[OsString], keep_stdout: bool) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::other("there is no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        if keep_stdout {
            command.stdout(Stdio::from(io::stderr()));
        }
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Self { group: child.id(), child, started: Instant::now() })
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> io::Result<End> {
        self.child.wait().await.map(end_of)
    }

    /// Asks it to end.
    pub fn ask(&mut self, signal: Signal) {
        #[cfg(unix)]
        self.send(match signal {
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Terminate => rustix::process::Signal::TERM,
        });
        #[cfg(not(unix))]
        {
            let _ = signal;
            let _ = self.child.start_kill();
        }
    }

    /// Ends it, and whatever it has started.
    pub fn kill(&mut self) {
        #[cfg(unix)]
        self.send(rustix::process::Signal::KILL);
        let _ = self.child.start_kill();
    }

    #[cfg(unix)]
    fn send(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.group() {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    #[cfg(unix)]
    fn group(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.group?).ok()?)
    }

    /// Whether anything that it has started still runs.
    fn has_rest(&self) -> bool {
        #[cfg(unix)]
        {
            self.group().is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
        }
        #[cfg(not(unix))]
        {
            let _ = self.group;
            false
        }
    }

    /// After its end: sees to it that nothing that it has started goes on writing to the cluster. Answers whether something had to
    /// be ended.
    pub async fn clear(&mut self, grace: Duration) -> bool {
        if !self.has_rest() {
            return false;
        }
        self.ask(Signal::Terminate);
        let end = Instant::now() + grace;
        while self.has_rest() {
            if Instant::now() >= end {
                self.kill();
                break;
            }
            sleep(LOOK).await;
        }
        true
    }
}

fn end_of(status: ExitStatus) -> End {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return End::Signal(signal);
    }
    End::Code(status.code().unwrap_or(1))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Deploy {
        Deploy::start(&["sh", "-c", script].map(OsString::from), true).unwrap()
    }

    #[tokio::test]
    async fn codes_and_signals_are_told_apart() {
        for (script, end) in
            [("exit 0", End::Code(0)), ("exit 3", End::Code(3)), ("kill -9 $$", End::Signal(9))]
        {
            assert_eq!(shell(script).wait().await.unwrap(), end, "{script}");
        }
        assert!(Deploy::start(&["/there/is/no/such/program".into()], true).is_err());
        assert!(Deploy::start(&[], true).is_err());
    }

    #[tokio::test]
    async fn what_a_shell_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mut deploy = shell(&format!("(sleep 1; echo late > {}) & kill -9 $$", mark.display()));
        assert_eq!(deploy.wait().await.unwrap(), End::Signal(9));
        assert!(deploy.clear(Duration::from_secs(5)).await);
        assert!(!deploy.clear(Duration::from_secs(5)).await, "nothing is left");
        sleep(Duration::from_millis(1200)).await;
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn who_does_not_listen_is_killed() {
        let mut deploy = shell("trap '' TERM; sleep 30 & trap '' TERM; kill -9 $$");
        deploy.wait().await.unwrap();
        let begin = Instant::now();
        assert!(deploy.clear(Duration::from_millis(300)).await);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
