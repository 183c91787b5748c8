//! A person's shell: a terminal of its own, with `kubectl`, `helm` and the program on the path, and a kubeconfig whose
//! context is the test's namespace. What is typed there is what a document says.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use regex::Regex;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

use super::{Cluster, Helm, Test};

/// How long what is typed may take.
const LIMIT: Duration = Duration::from_secs(300);
/// Name of the context and of the namespace, as the documents call them.
const CONTEXT: &str = "prod";
const NAMESPACE: &str = "shop";

/// A shell in a folder of its own.
pub struct Shell<'test> {
    cluster: &'test Cluster,
    /// Its folder, where files that a document names may be put.
    pub folder: TempDir,
}

/// What became of what was typed.
pub struct Typed {
    script: String,
    /// The exit code.
    pub code: Option<i32>,
    /// What was seen, without colours, in lines; the namespace is called as in the documents.
    pub lines: Vec<String>,
}

impl<'test> Shell<'test> {
    /// Opens one.
    pub fn open(test: &'test Test, helm: Helm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shell = Self { cluster: &test.cluster, folder };
        let path = |name: &str| shell.folder.path().join(name);
        std::fs::create_dir_all(path("bin")).unwrap();
        std::fs::create_dir_all(path("home")).unwrap();
        let tools = &test.cluster.tools;
        symlink(tools.join("kubectl"), path("bin/kubectl")).unwrap();
        symlink(tools.join(helm.file()), path("bin/helm")).unwrap();
        symlink(env!("CARGO_BIN_EXE_kubectl-rollback"), path("bin/kubectl-rollback")).unwrap();
        std::fs::copy(&test.cluster.kubeconfig, path("kubeconfig")).unwrap();
        let kubeconfig = path("kubeconfig").display().to_string();
        let config = |arguments: &[&str]| {
            let configured = Command::new(tools.join("kubectl"))
                .args(["--kubeconfig", &kubeconfig, "config"])
                .args(arguments)
                .output();
            let configured = configured.unwrap();
            assert!(configured.status.success(), "{}", String::from_utf8_lossy(&configured.stderr));
            String::from_utf8(configured.stdout).unwrap()
        };
        let context = config(&["current-context"]);
        config(&["rename-context", context.trim(), CONTEXT]);
        config(&["set-context", CONTEXT, "--namespace", test.namespace()]);
        shell
    }

    /// Types lines, and answers every question with what `answers` hold, one after the other.
    #[track_caller]
    pub fn type_in(&self, lines: &[String], answers: &[String]) -> Typed {
        let script = lines.join("\n");
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let end = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let stdio = || Stdio::from(end.try_clone().unwrap());

        let folder = self.folder.path();
        let mut path = vec![folder.join("bin")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &script]).current_dir(folder);
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        command.env_clear().envs([
            ("PATH", std::env::join_paths(path).unwrap()),
            ("HOME", folder.join("home").into()),
            ("KUBECONFIG", folder.join("kubeconfig").into()),
            ("KUBECTL_ROLLBACK_REGISTRY_MIRROR", "ghcr.io=127.0.0.1:9,docker.io=127.0.0.1:9".into()),
            ("TERM", "xterm".into()),
            ("LANG", "C.UTF-8".into()),
        ]);
        let mut child = command.spawn().unwrap();
        drop((command, end));

        let mut keyboard = File::from(terminal);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal without a program answers with an error.
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + LIMIT;
        let (mut output, mut answers, mut asked) = (Vec::new(), answers.iter(), 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match seen.recv_timeout(left) {
                Ok(bytes) => output.extend(bytes),
                Err(_) if left.is_zero() => {
                    let _ = child.kill();
                    panic!("{script}\ndid not end; until then:\n{}", String::from_utf8_lossy(&output));
                }
                Err(_) => break,
            }
            let questions = String::from_utf8_lossy(&output).matches(" to continue: ").count();
            if questions > asked {
                asked = questions;
                // Without an answer there is nobody at the keyboard any more.
                let answer = answers.next().map_or("\u{4}".to_owned(), |answer| format!("{answer}\n"));
                keyboard.write_all(answer.as_bytes()).unwrap();
            }
        }
        let code = child.wait().unwrap().code();
        Typed { script, code, lines: self.plain(&output) }
    }

    /// What came onto the screen, without colours; what was written over later is in it, too.
    fn plain(&self, output: &[u8]) -> Vec<String> {
        let colours = Regex::new(r"\x1b\[[0-9;]*m").unwrap();
        // Whoever moves about on the screen begins a line anew.
        let moves = Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").unwrap();
        let text = String::from_utf8_lossy(output).into_owned();
        let text = moves.replace_all(&colours.replace_all(&text, ""), "\n").into_owned();
        let text = text.replace(&self.cluster.namespace, NAMESPACE);
        text.split(['\n', '\r'])
            .map(|line| line.trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n--- exit code {:?}\n{}\n---", self.script, self.code, self.lines.join("\n"))
    }
}
