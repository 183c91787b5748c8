//! Whether images exist, asked before the first write of a registry that wants the cluster's own credentials.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Test, wait_for};

/// User and password of the registry; no output may show the password, in whatever coding.
const PASSWORD: &str = "canary-4711";
const CODED: &str = "cHVsbGVyOmNhbmFyeS00NzEx";

/// A registry on this machine that has the given tags of every repository, for those who show the password.
fn closed_registry(tags: &'static [&'static str]) -> String {
    serve(tags, true)
}

/// As [`closed_registry`], for everybody.
pub fn registry(tags: &'static [&'static str]) -> String {
    serve(tags, false)
}

fn serve(tags: &'static [&'static str], closed: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let request = lines.first().cloned().unwrap_or_default();
            let may = !closed || lines.iter().any(|line| line.ends_with(&format!("Basic {CODED}")));
            let has = tags.iter().any(|tag| request.contains(&format!("/manifests/{tag} ")));
            let digest = format!("docker-content-digest: sha256:{}\r\n", "ab".repeat(32));
            let (status, header, body) = match (may, has) {
                (false, _) => ("401 Unauthorized", "www-authenticate: Basic realm=\"r\"\r\n", String::new()),
                (true, true) => ("200 OK", digest.as_str(), String::new()),
                (true, false) => {
                    ("404 Not Found", "", json!({"errors": [{"code": "MANIFEST_UNKNOWN"}]}).to_string())
                }
            };
            let body = if request.starts_with("HEAD") { "" } else { &body };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n{body}"
            );
        }
    });
    address
}

fn web_tag(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}})
}

fn images_of(run: &Run) -> Vec<Value> {
    let result = run.json();
    let findings = result["preflight"].as_array().cloned().unwrap_or_default();
    findings.into_iter().filter(|finding| finding["check"] == "image").collect()
}

/// A release at `good-2`, after `good-1`, whose namespace may pull from a registry.
fn begin(address: &str) -> Option<Test> {
    let test = Test::begin()?;
    let config = json!({"auths": {address: {"auth": CODED}}}).to_string();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}});
    test.cluster.create("secrets", &secret);
    // A controller makes it, after the namespace.
    wait_for("the ServiceAccount", Duration::from_secs(30), || {
        test.cluster.find("serviceaccounts", "default")
    });
    test.cluster.patch(
        "serviceaccounts",
        "default",
        "test",
        &json!({"imagePullSecrets": [{"name": "pull"}]}),
    );
    let release = Release::install(&test, Helm::Four, "variants/statefulset", &web_tag("good-1"));
    release.upgrade_and_wait(&web_tag("good-2"));
    Some(test)
}

#[test]
fn a_missing_image_blocks_and_one_that_is_there_passes() {
    let address = closed_registry(&["good-1"]);
    let Some(test) = begin(&address) else { return };
    let mirror = format!("ghcr.io={address}");
    let records = test.cluster.list_selected("secrets", "owner=helm").len();
    let missing = test.run(&[
        "emergency",
        "--image",
        "ghcr.io/acme/web=good-9",
        "--yes",
        "-o",
        "json",
        "--registry-mirror",
        &mirror,
    ]);
    let missing = missing.expect(3);
    let found = images_of(&missing);
    assert_eq!(found[0]["subject"], "ghcr.io/acme/web:good-9", "{missing}");
    assert_eq!(found[0]["message"], "the registry does not have it", "{missing}");
    assert!(found[0]["hint"].to_string().contains("revision 1 ran good-1"), "{missing}");
    assert_eq!(test.cluster.image("sts/web"), "ghcr.io/acme/web:good-2", "{missing}");
    assert_eq!(test.cluster.list_selected("secrets", "owner=helm").len(), records, "{missing}");

    let arguments = ["--dry-run=server", "-vv", "--registry-mirror", &mirror];
    let there =
        test.run(&[&["emergency", "--tag", "good-1", "-o", "json"][..], &arguments].concat()).expect(0);
    assert_eq!(images_of(&there)[0]["status"], "pass", "{there}");
    for run in [&missing, &there] {
        assert!(!run.to_string().contains(PASSWORD) && !run.to_string().contains(CODED), "{run}");
    }
}

#[test]
fn a_rollback_is_refused_for_an_image_that_is_gone() {
    let address = closed_registry(&[]);
    let Some(test) = begin(&address) else { return };
    let mirror = format!("ghcr.io={address}");
    let run = test.run(&["to", "1", "--yes", "-o", "json", "--registry-mirror", &mirror]).expect(3);
    assert_eq!(images_of(&run)[0]["status"], "fail", "{run}");
    assert_eq!(test.cluster.image("sts/web"), "ghcr.io/acme/web:good-2", "{run}");
}

#[test]
fn a_registry_that_nobody_reaches_costs_nothing_and_blocks_nothing() {
    let Some(test) = begin("127.0.0.1:9") else { return };
    let arguments = ["emergency", "--tag", "good-1", "--dry-run=server", "-o", "json"];
    let nowhere = ["--registry-mirror", "ghcr.io=registry.invalid"];
    for more in [&[][..], &nowhere] {
        let run = test.run(&[&arguments, more].concat()).expect(0);
        assert_eq!(images_of(&run)[0]["status"], "unknown", "{run}");
        assert!(run.elapsed < Duration::from_secs(8), "{run}");
    }
    // An address that swallows everything (a network for documentation): never longer than the time box.
    let swallowed = [&arguments[..], &["--registry-mirror", "ghcr.io=192.0.2.1"]].concat();
    let run = test.run(&swallowed).expect(0);
    assert_eq!(images_of(&run)[0]["status"], "unknown", "{run}");
    assert!(run.elapsed < Duration::from_secs(15), "{run}");
}
