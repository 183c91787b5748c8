//! Registries behind proxies, with credential helpers, and those that never answer: the whole program, in an environment of
//! its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{Api, service};
use crate::{Output, program_against, run};

/// `helper:canary-4711`, as a registry is shown it.
const CODED: &str = "aGVscGVyOmNhbmFyeS00NzEx";

/// A listener that notes the head of each request.
struct Stub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Answers as `answer` says; with nothing, never.
    fn start(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let head = lines.join("\n");
                log.lock().unwrap().push(head.clone());
                match answer(&head) {
                    Some(text) => drop(stream.write_all(text.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn found() -> String {
    let digest = "ab".repeat(32);
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ndocker-content-digest: sha256:{digest}\r\ncontent-length: 0\r\n\r\n"
    )
}

fn shop() -> Api {
    let mut objects = std::collections::HashMap::new();
    service("backend", &mut objects);
    service("worker", &mut objects);
    Api::start(objects)
}

/// The checks of an emergency, `mirror` standing in for GitHub's registry.
fn check(api: &Api, mirror: &str) -> Command {
    let mut command =
        program_against(api, &["preflight", "-l", "team=shop", "--tag", "good-1", "-o", "json"]);
    command.env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", format!("ghcr.io={mirror}"));
    command
}

/// Status and message of what was found out about images.
#[track_caller]
fn image(output: &Output) -> (String, String) {
    let result: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let findings = result["preflight"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == "image").unwrap();
    let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

#[test]
fn proxies_are_used_and_what_they_are_not_for_is_left_out() {
    let api = shop();
    // By a proxy for plain HTTP a registry is asked in full.
    let proxy = Stub::start(|_| Some(found()));
    let output = run(check(&api, "http://registry.invalid")
        .env("HTTP_PROXY", format!("http://{}", proxy.address))
        .env("NO_PROXY", "127.0.0.1"));
    assert_eq!(image(&output).0, "pass", "{output}");
    let asked = proxy.asked();
    assert!(asked.iter().all(|head| head.starts_with("HEAD http://registry.invalid/v2/acme/")), "{asked:#?}");

    // By one for TLS there is a tunnel; this one gives none.
    let tunnel =
        Stub::start(|_| Some("HTTP/1.1 502 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()));
    let output = run(check(&api, "registry.invalid")
        .env("HTTPS_PROXY", format!("http://{}", tunnel.address))
        .env("NO_PROXY", "127.0.0.1"));
    assert_eq!((output.code, image(&output).0.as_str()), (0, "unknown"), "{output}");
    let asked = tunnel.asked();
    assert!(asked.iter().any(|head| head.starts_with("CONNECT registry.invalid:443 ")), "{asked:#?}");

    let unused = Stub::start(|_| Some(found()));
    let output = run(check(&api, "http://registry.invalid")
        .env("HTTP_PROXY", format!("http://{}", unused.address))
        .env("NO_PROXY", "127.0.0.1,.invalid"));
    assert_eq!((output.code, image(&output).0.as_str()), (0, "unknown"), "{output}");
    assert_eq!(unused.asked(), Vec::<String>::new());
}

/// A folder with a credential helper that does what the script says, and a configuration that names it.
fn helper(folder: &Path, registry: &str, script: &str) {
    let program = folder.join("docker-credential-test");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = serde_json::json!({"credHelpers": {registry: "test"}});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn credential_helpers_are_asked_and_none_of_their_faults_is_ours() {
    let api = shop();
    let answer =
        r#"read server; printf '{"ServerURL":"%s","Username":"helper","Secret":"canary-4711"}' "$server""#;
    for (script, status, longest) in [
        (answer, "pass", 5),
        ("echo 'credentials not found in native keychain'; exit 1", "unknown", 5),
        ("echo 'this is no JSON'", "unknown", 5),
        (r#"echo '{"Username":7}'"#, "unknown", 5),
        ("head -c 200000 /dev/zero", "unknown", 5),
        ("exec sleep 30", "unknown", 9),
    ] {
        let registry = Stub::start(|head| {
            if head.contains(CODED) {
                return Some(found());
            }
            let wants = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\nwww-authenticate: Basic realm=\"r\"\r\ncontent-length: 0\r\n\r\n";
            Some(wants.to_owned())
        });
        let folder = tempfile::tempdir().unwrap();
        helper(folder.path(), &registry.address, script);
        let begin = Instant::now();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let output =
            run(check(&api, &registry.address).env("DOCKER_CONFIG", folder.path()).env("PATH", path));
        let (found, message) = image(&output);
        assert_eq!((output.code, found.as_str()), (0, status), "{script}: {message}\n{output}");
        assert!(begin.elapsed() < Duration::from_secs(longest), "{script}: {:?}", begin.elapsed());
        assert!(!output.to_string().contains("canary") && !output.to_string().contains(CODED), "{output}");
    }
}

/// A registry that takes every connection and says nothing costs its time box, and blocks nothing.
#[test]
fn a_registry_that_never_answers_costs_its_time_box() {
    let api = shop();
    let registry = Stub::start(|_| None);
    let begin = Instant::now();
    let output = run(&mut check(&api, &registry.address));
    let (status, message) = image(&output);
    assert_eq!((output.code, status.as_str()), (0, "unknown"), "{output}");
    assert!(message.contains("no answer in time"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
}
