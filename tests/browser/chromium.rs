//! A headless Chromium that tests drive over a pipe, with its remote protocol: no port is opened, nothing is asked of a
//! network, and the browser ends when the pipe does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for one answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it is started with: without a network, without anything of its own to do.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
    "about:blank",
];

/// The browser of this machine; `None` where there is none, which only a developer's machine may lack.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|program| program.is_file());
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "CI has no Chromium: `cargo xtask test` installs the package `chromium` where it may"
    );
    found
}

/// A running browser with one page.
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What the page and its loading have told since it was opened.
    events: Vec<Value>,
    /// Its profile, new and empty.
    _profile: TempDir,
}

/// A kind of reader.
#[derive(Clone, Copy)]
pub struct Reader {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub is_phone: bool,
    /// `screen` or `print`.
    pub media: &'static str,
    /// `light` or `dark`.
    pub scheme: &'static str,
}

impl Browser {
    /// Starts one.
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol wants the descriptors 3 and 4, which a shell can give without unsafe code.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, messages) = channel();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                let parsed = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                message.clear();
                if parsed.is_ok_and(|message| sender.send(message).is_err()) {
                    break;
                }
            }
        });
        let commands = child.stdin.take();
        let mut browser =
            Self { child, commands, messages, session: None, last: 0, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", &json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.commands.as_mut().unwrap().write_all(&bytes).unwrap_or_else(|error| panic!("{method}: {error}"));
        let last = self.last;
        let answer = self.until(method, |message| message["id"] == last);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Waits for a message, and keeps what comes before it.
    fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let limit = Instant::now() + PATIENCE;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let message =
                message.unwrap_or_else(|error| panic!("the browser does not answer {what}: {error}"));
            if is_it(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Opens a file for a reader.
    pub fn open(&mut self, file: &Path, reader: Reader) {
        self.events.clear();
        let size = json!({"width": reader.width, "height": reader.height, "deviceScaleFactor": 1, "mobile": reader.is_phone});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([{"name": "prefers-color-scheme", "value": reader.scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"media": reader.media, "features": features}));
        let opened = self.call("Page.navigate", &json!({"url": format!("file://{}", file.display())}));
        assert!(opened["errorText"].is_null(), "{opened}");
        if !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let loaded = self.until("Page.navigate", |message| message["method"] == "Page.loadEventFired");
            self.events.push(loaded);
        }
    }

    /// What an expression is on the page that is open.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let question = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &question);
        assert!(answer["exceptionDetails"].is_null(), "{}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// What the page wrote to the console, and what the browser had to say about it.
    pub fn complaints(&self) -> Vec<String> {
        let text = |event: &Value| {
            let told = &event["params"];
            match event["method"].as_str()? {
                "Runtime.consoleAPICalled" => Some(format!("console: {}", told["args"])),
                "Runtime.exceptionThrown" => Some(format!("exception: {}", told["exceptionDetails"])),
                "Log.entryAdded" => Some(format!("log: {}", told["entry"]["text"])),
                _ => None,
            }
        };
        self.events.iter().filter_map(text).collect()
    }

    /// Every address that the page asked for.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_owned).collect()
    }

    /// The page as it is printed on A4 paper, in base64.
    pub fn print(&mut self) -> String {
        let paper = json!({"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false});
        self.call("Page.printToPDF", &paper)["data"].as_str().unwrap().to_owned()
    }

    /// A picture of the whole page, in base64.
    pub fn picture(&mut self) -> String {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        self.call("Page.captureScreenshot", &whole)["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its pipe.
        drop(self.commands.take());
        let limit = Instant::now() + Duration::from_secs(10);
        while Instant::now() < limit {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
