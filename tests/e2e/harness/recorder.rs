//! A place between the program and the API server that notes every request and may get in its way: plain HTTP on this side,
//! the administrator's connection on the other.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Cluster;

/// Headers that change the answer.
const PASSED_ON: [&str; 2] = ["accept", "content-type"];

/// What becomes of a request.
pub enum Verdict {
    /// It is passed on, and its answer back.
    Pass,
    /// It never arrives, and the connection breaks.
    Lose,
    /// It arrives, and the connection breaks before its answer.
    LoseAnswer,
    /// It never arrives, and this is the answer: status, reason, seconds to wait.
    Answer(u16, &'static str, Option<u32>),
    /// It is passed on after a while.
    Stall(Duration),
    /// It never arrives, and the connection stays open without a word.
    Silence(Duration),
}

/// Decides about each request, by method and target.
type Judge = dyn Fn(&str, &str) -> Verdict + Send + Sync;

/// Whether a request can change the cluster.
pub fn is_write(method: &str, target: &str) -> bool {
    method != "GET" && !target.contains("dryRun=All") && !target.contains("/authorization.k8s.io/")
}

/// The place; its threads end with the test's process.
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub fn start(cluster: &Cluster) -> Self {
        Self::with(cluster, |_, _| Verdict::Pass)
    }

    /// A place that decides about each request.
    pub fn with(cluster: &Cluster, judge: impl Fn(&str, &str) -> Verdict + Send + Sync + 'static) -> Self {
        let judge: Arc<Judge> = Arc::new(judge);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (shared, cluster) = (seen.clone(), cluster.another());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, cluster, judge) = (shared.clone(), cluster.another(), judge.clone());
                thread::spawn(move || serve(&stream, &seen, &cluster, &*judge));
            }
        });
        Self { address, seen }
    }

    /// What to give as `--server`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Method and target of every request since the last call, in the order of their arrival.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, cluster: &Cluster, judge: &Judge) {
    let mut reader = BufReader::new(stream);
    while let Some((method, target, headers, body)) = read_request(&mut reader) {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {target}"));
        let mut stream = stream;
        let verdict = judge(&method, &target);
        match verdict {
            Verdict::Pass | Verdict::LoseAnswer => {}
            Verdict::Lose => return,
            Verdict::Stall(time) => thread::sleep(time),
            Verdict::Silence(time) => {
                thread::sleep(time);
                return;
            }
            Verdict::Answer(status, reason, wait) => {
                if stream.write_all(refusal(status, reason, wait).as_bytes()).is_err() {
                    return;
                }
                continue;
            }
        }
        let head = |status: u16, kind: &str| {
            format!(
                "HTTP/1.1 {status} Passed on\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
            )
        };
        let is_lost = matches!(verdict, Verdict::LoseAnswer);
        let passed = cluster.pass_on(&method, &target, &headers, body, |part| {
            if is_lost {
                return true;
            }
            let bytes = match part {
                Part::Head(status, kind) => head(status, &kind).into_bytes(),
                Part::Data(data) if data.is_empty() => Vec::new(),
                Part::Data(data) => [format!("{:x}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat(),
            };
            stream.write_all(&bytes).is_ok()
        });
        if is_lost || !passed || stream.write_all(b"0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// An answer of the API server that it never gave.
fn refusal(status: u16, reason: &str, wait: Option<u32>) -> String {
    let details = wait.map(|seconds| format!(r#","details":{{"retryAfterSeconds":{seconds}}}"#));
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"made up for a test","reason":"{reason}","code":{status}{}}}"#,
        details.unwrap_or_default()
    );
    let wait = wait.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n{wait}content-length: {length}\r\n\r\n{body}"
    )
}

/// A piece of an answer.
pub enum Part {
    /// Its status and content type.
    Head(u16, String),
    /// Some of its body.
    Data(Vec<u8>),
}

type Request = (String, String, Vec<(String, String)>, Vec<u8>);

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (mut length, mut headers) = (0, Vec::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok()?;
        } else if PASSED_ON.contains(&name.as_str()) {
            headers.push((name, value));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, target, headers, body))
}
