//! Debian's `docker-registry` as a registry for real: open, with users, with TLS. Where the package is not installed every
//! test says that it is skipped.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kubectl_rollback::registry::{Keyring, Location, Problem, Registry, Settings};

/// An index without images: the least that a registry keeps.
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
/// User `u`, password `U*U`: a test vector of bcrypt's.
const USERS: &str = "u:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

/// A registry; it ends with the test.
struct Served {
    child: Child,
    address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a registry over a folder, with more configuration; `None`, which is said, where there is none to start.
/// It finds a port by itself and says which: one that we had looked for could be somebody else's by then.
fn serve(folder: &Path, more: &str, tls: &str) -> Option<Served> {
    let storage = folder.join("storage").display().to_string();
    let config = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: \"127.0.0.1:0\"{tls}}}\n{more}"
    );
    let (file, said) = (folder.join("config.yml"), folder.join("said"));
    fs::write(&file, config).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
    let Ok(child) = command.spawn() else {
        let text = b"skipped: docker-registry is not installed (apt-get install docker-registry)\n";
        std::io::stderr().write_all(text).unwrap();
        return None;
    };
    let mut served = Served { child, address: String::new() };
    let begin = Instant::now();
    while served.address.is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the registry does not listen");
        std::thread::sleep(Duration::from_millis(20));
        let said = fs::read_to_string(&said).unwrap();
        let listens = said.lines().find_map(|line| line.split_once("listening on ")?.1.split_once('"'));
        let address = listens.map_or("", |(address, _)| address.trim_end_matches(", tls"));
        address.clone_into(&mut served.address);
    }
    Some(served)
}

fn push(address: &str, tag: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "PUT /v2/acme/backend/manifests/{tag} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/vnd.docker.distribution.manifest.list.v2+json\r\ncontent-length: {}\r\n\r\n{INDEX}",
        INDEX.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn keyring(address: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::default();
    let text = format!(r#"{{"auths":{{"{address}":{{"username":"u","password":"{password}"}}}}}}"#);
    keyring.add(text.as_bytes());
    keyring
}

/// Whether a tag of `ghcr.io/acme/backend` is there, the registry standing in for GitHub's.
async fn ask(settings: &Settings, tag: &str, keyring: &Keyring) -> Result<bool, Problem> {
    let found =
        Registry::new(settings).manifest(&Location::of("ghcr.io/acme/backend"), tag, keyring, true).await?;
    Ok(found.digest.is_some())
}

fn standing_in(address: &str) -> Settings {
    Settings { mirrors: vec![format!("ghcr.io={address}").parse().unwrap()], ..Settings::default() }
}

#[tokio::test]
async fn open_and_with_users() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Keyring::default();
    let Some(open) = serve(folder.path(), "", "") else { return };
    for tag in ["v1", "v2", "v3"] {
        push(&open.address, tag);
    }
    let settings = standing_in(&open.address);
    assert_eq!(ask(&settings, "v1", &nobody).await, Ok(true));
    assert_eq!(ask(&settings, "v9", &nobody).await, Err(Problem::Missing));
    let location = Location::of("ghcr.io/acme/backend");
    let tags = Registry::new(&settings).tags(&location, &nobody, 100).await.unwrap();
    assert_eq!(tags.tags, ["v1", "v2", "v3"]);
    let tags = Registry::new(&settings).tags(&location, &nobody, 2).await.unwrap();
    assert_eq!((tags.tags.len(), tags.more), (2, true));
    // More than a page: every one is read, each once, by the registry's own links.
    let more: Vec<String> = (0..1005).map(|number| format!("build-{number:04}")).collect();
    for tag in &more {
        push(&open.address, tag);
    }
    let tags = Registry::new(&settings).tags(&location, &nobody, 100_000).await.unwrap();
    let all: std::collections::BTreeSet<&String> = tags.tags.iter().collect();
    assert_eq!((tags.tags.len(), all.len(), tags.more), (1008, 1008, false));
    assert!(more.iter().all(|tag| all.contains(tag)));
    drop(open);

    let users = folder.path().join("users");
    fs::write(&users, USERS).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", users.display());
    let closed = serve(folder.path(), &auth, "").unwrap();
    let settings = standing_in(&closed.address);
    let denied = |with_credentials| Err(Problem::Denied { status: 401, with_credentials });
    assert_eq!(ask(&settings, "v1", &nobody).await, denied(false));
    assert_eq!(ask(&settings, "v1", &keyring(&closed.address, "wrong")).await, denied(true));
    let known = keyring(&closed.address, "U*U");
    assert_eq!(ask(&settings, "v1", &known).await, Ok(true));
    assert_eq!(ask(&settings, "v9", &known).await, Err(Problem::Missing));
}

#[tokio::test]
async fn with_a_private_certificate_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    let Ok(made) = made else { return };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tls = format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display());
    let Some(served) = serve(folder.path(), "", &tls) else { return };
    let nobody = Keyring::default();
    let mut settings = standing_in(&format!("https://{}", served.address));
    let untrusted = ask(&settings, "v1", &nobody).await;
    assert!(matches!(untrusted, Err(Problem::Unreachable { .. })), "{untrusted:?}");
    settings.authority = Some(certificate);
    assert_eq!(ask(&settings, "v1", &nobody).await, Err(Problem::Missing));
    settings.authority = Some(folder.path().join("nothing"));
    let unreadable = ask(&settings, "v1", &nobody).await;
    assert!(matches!(&unreadable, Err(Problem::Setup(why)) if why.contains("nothing")), "{unreadable:?}");
}
