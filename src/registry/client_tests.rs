//! Registries of several kinds, as scripts on this machine: what each answers, and what we make of it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::registry::Settings;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CANARY: &str = "canary-4711";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// A request: method, path with query, `Authorization`, body.
#[derive(Debug, Clone, Default)]
struct Asked {
    method: String,
    path: String,
    authorization: String,
    body: String,
}

/// An answer: status, headers, body.
type Given = (u16, Vec<(&'static str, String)>, String);

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts one; `answer` is given its address and the request.
    fn start(answer: impl Fn(&str, &Asked) -> Given + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, host) = (asked.clone(), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                let (status, headers, body) = answer(&host, &request);
                let body = if request.method == "HEAD" { String::new() } else { body };
                let mut text = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
                for (name, value) in headers {
                    let _ = write!(text, "{name}: {value}\r\n");
                }
                let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
                let _ = (&stream).write_all(text.as_bytes());
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Asks for an image of `repository`, this server standing in for its registry.
    async fn manifest(&self, repository: &str, keyring: &Keyring) -> Result<ManifestInfo, Problem> {
        let location = Location::of(repository);
        let mirror = format!("{}={}", location.host, self.address).parse().unwrap();
        let settings = Settings { mirrors: vec![mirror], ..Settings::default() };
        Registry::new(&settings).manifest(&location, "v1", keyring, true).await
    }

    fn keyring(&self, entry: &Value) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add(json!({"auths": {self.address.clone(): entry}}).to_string().as_bytes());
        keyring
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut asked =
        Asked { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Asked::default() };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut asked.authorization),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}

fn error(status: u16, code: &str) -> Given {
    (status, Vec::new(), json!({"errors": [{"code": code, "message": CANARY}]}).to_string())
}

fn found() -> Given {
    let headers = vec![("content-type", OCI.to_owned()), ("docker-content-digest", DIGEST.to_owned())];
    (200, headers, json!({"schemaVersion": 2}).to_string())
}

fn challenge(text: String) -> Given {
    (401, vec![("www-authenticate", text)], json!({"errors": [{"code": "UNAUTHORIZED"}]}).to_string())
}

/// A registry with a token server beside it, which gives a token to those that `admits`.
fn with_tokens(
    admits: impl Fn(&Asked) -> bool + Send + 'static,
    answer: impl Fn(&Asked) -> Given + Send + 'static,
) -> Server {
    Server::start(move |host, asked| {
        if asked.path.starts_with("/token") {
            return if admits(asked) {
                (200, Vec::new(), json!({"token": "let-in"}).to_string())
            } else {
                error(403, "DENIED")
            };
        }
        if asked.authorization == "Bearer let-in" {
            return answer(asked);
        }
        challenge(format!(
            r#"Bearer realm="http://{host}/token",service="s",scope="repository:acme/backend:pull""#
        ))
    })
}

fn denied(status: u16, with_credentials: bool) -> Result<ManifestInfo, Problem> {
    Err(Problem::Denied { status, with_credentials })
}

fn the_image() -> ManifestInfo {
    ManifestInfo { digest: Some(DIGEST.to_owned()), platforms: Vec::new() }
}

#[tokio::test]
async fn github_gives_anonymous_tokens_for_what_is_public() {
    let nobody = Keyring::default();
    let server = with_tokens(|_| true, |_| found());
    assert_eq!(server.manifest("ghcr.io/acme/backend", &nobody).await, Ok(the_image()));
    let token = &server.asked()[1].path;
    assert_eq!(token, "/token?scope=repository%3Aacme%2Fbackend%3Apull&service=s");

    let missing = with_tokens(|_| true, |_| error(404, "MANIFEST_UNKNOWN"));
    assert_eq!(missing.manifest("ghcr.io/acme/backend", &nobody).await, Err(Problem::Missing));

    let private = with_tokens(|_| false, |_| found());
    assert_eq!(private.manifest("ghcr.io/acme/backend", &nobody).await, denied(403, false));
}

#[tokio::test]
async fn docker_hub_denies_what_does_not_exist_or_is_private() {
    let nobody = Keyring::default();
    let private = with_tokens(|_| true, |_| error(401, "UNAUTHORIZED"));
    assert_eq!(private.manifest("acme/backend", &nobody).await, denied(401, false));
    let busy = with_tokens(|_| true, |_| error(429, "TOOMANYREQUESTS"));
    assert_eq!(busy.manifest("redis", &nobody).await, Err(Problem::Busy));
    assert!(busy.asked()[0].path.starts_with("/v2/library/redis/manifests/v1"));
}

#[tokio::test]
async fn amazon_wants_user_and_password_each_time() {
    let server = Server::start(|_, asked| match asked.authorization.as_str() {
        "" => challenge(r#"Basic realm="https://ecr.example.com/",service="ecr""#.to_owned()),
        _ => found(),
    });
    assert_eq!(server.manifest("r.example.com/acme/backend", &Keyring::default()).await, denied(401, false));
    let keyring = server.keyring(&json!({"username": "AWS", "password": CANARY}));
    assert_eq!(server.manifest("r.example.com/acme/backend", &keyring).await, Ok(the_image()));

    // To those who were let in, a missing repository is missing; to others it may be hidden.
    let no_name = || with_tokens(|_| true, |_| error(404, "NAME_UNKNOWN"));
    let server = no_name();
    assert_eq!(server.manifest("r.example.com/acme/backend", &Keyring::default()).await, denied(404, false));
    let keyring = server.keyring(&json!({"username": "me", "password": CANARY}));
    assert_eq!(server.manifest("r.example.com/acme/backend", &keyring).await, Err(Problem::Missing));
}

#[tokio::test]
async fn azure_exchanges_identity_tokens() {
    let server = with_tokens(
        |asked| {
            asked.method == "POST"
                && asked.body.contains("grant_type=refresh_token")
                && asked.body.contains(&format!("refresh_token={CANARY}"))
        },
        |_| found(),
    );
    let keyring = server.keyring(&json!({"identitytoken": CANARY}));
    assert_eq!(server.manifest("acme.azurecr.io/backend", &keyring).await, Ok(the_image()));
}

#[tokio::test]
async fn harbor_has_error_codes_of_its_own() {
    let server = with_tokens(|_| true, |_| error(404, "NOT_FOUND"));
    assert_eq!(
        server.manifest("harbor.example.com/acme/backend", &Keyring::default()).await,
        Err(Problem::Missing)
    );
    let private = with_tokens(|asked| asked.authorization.starts_with("Basic "), |_| found());
    let keyring = private.keyring(&json!({"username": "robot$me", "password": CANARY}));
    assert_eq!(private.manifest("harbor.example.com/acme/backend", &keyring).await, Ok(the_image()));
    assert_eq!(
        private.manifest("harbor.example.com/acme/backend", &Keyring::default()).await,
        denied(403, false)
    );
}

#[tokio::test]
async fn expired_credentials_do_not_hide_what_is_public() {
    let server = with_tokens(|asked| asked.authorization.is_empty(), |_| found());
    let keyring = server.keyring(&json!({"username": "me", "password": CANARY}));
    assert_eq!(server.manifest("ghcr.io/acme/backend", &keyring).await, Ok(the_image()));
}

#[tokio::test]
async fn an_index_tells_its_platforms() {
    let index = json!({"schemaVersion": 2, "manifests": [
        {"platform": {"os": "linux", "architecture": "arm64"}},
        {"platform": {"os": "unknown", "architecture": "unknown"}},
    ]});
    let server = Server::start(move |_, _| {
        let kind = "application/vnd.oci.image.index.v1+json".to_owned();
        (200, vec![("content-type", kind), ("docker-content-digest", DIGEST.to_owned())], index.to_string())
    });
    let found = server.manifest("ghcr.io/acme/backend", &Keyring::default()).await.unwrap();
    let arm = Platform { os: "linux".to_owned(), architecture: "arm64".to_owned() };
    assert_eq!(found, ManifestInfo { digest: Some(DIGEST.to_owned()), platforms: vec![arm] });
}

#[tokio::test]
async fn what_is_no_registry_proves_nothing() {
    let page = |status| move |_: &str, _: &Asked| -> Given { (status, Vec::new(), "<html>".to_owned()) };
    for status in [200, 404, 500] {
        let answer = Server::start(page(status)).manifest("ghcr.io/a/b", &Keyring::default()).await;
        assert!(matches!(answer, Err(Problem::Odd(_))), "{status}: {answer:?}");
    }
    let endless = Server::start(|_, asked| match asked.method.as_str() {
        "HEAD" => (405, Vec::new(), String::new()),
        _ => (200, Vec::new(), " ".repeat(exchange::LONGEST_BODY + 1)),
    });
    let answer = endless.manifest("ghcr.io/a/b", &Keyring::default()).await;
    assert!(matches!(&answer, Err(Problem::Odd(why)) if why.contains("longer")), "{answer:?}");
    let no_head = Server::start(|_, asked| match asked.method.as_str() {
        "HEAD" => (405, Vec::new(), String::new()),
        _ => found(),
    });
    assert_eq!(no_head.manifest("ghcr.io/a/b", &Keyring::default()).await, Ok(the_image()));
}

#[tokio::test]
async fn credentials_stay_with_whom_they_are_for() {
    let thief = Server::start(|_, _| challenge("Basic realm=x".to_owned()));
    let elsewhere = format!("http://{}/v2/acme/backend/manifests/v1", thief.address);
    let server = Server::start(move |_, asked| match asked.authorization.as_str() {
        "" => challenge("Basic realm=x".to_owned()),
        _ => (307, vec![("location", elsewhere.clone())], String::new()),
    });
    let keyring = server.keyring(&json!({"username": "me", "password": CANARY}));
    let answer = server.manifest("ghcr.io/acme/backend", &keyring).await;
    assert_eq!(answer, denied(401, true));
    assert!(!thief.asked().is_empty());
    assert!(thief.asked().iter().all(|asked| asked.authorization.is_empty()), "{:?}", thief.asked());
    assert!(!format!("{answer:?}").contains(CANARY));
}

#[tokio::test]
async fn a_refused_connection_is_known_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begin = Instant::now();
    let gone = Server { address: address.clone(), asked: Arc::default() };
    let answer = gone.manifest("ghcr.io/acme/backend", &Keyring::default()).await;
    let Err(Problem::Unreachable { host, why }) = answer else { panic!("{answer:?}") };
    assert_eq!(host, address);
    assert!(why.contains("refused"), "{why}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn tags_come_page_by_page() {
    let server = Server::start(|_, asked| {
        let (tags, next) = match asked.path.split_once("last=").map(|(_, last)| last) {
            None => (json!(["a", "b"]), Some("</v2/acme/backend/tags/list?last=b>; rel=\"next\"")),
            Some("b") => (json!(["c", "not a tag"]), Some("<?last=c>; rel=\"next\"")),
            _ => (Value::Null, None),
        };
        let headers = next.map(|next| ("link", next.to_owned())).into_iter().collect();
        (200, headers, json!({"name": "acme/backend", "tags": tags}).to_string())
    });
    let location = Location::of(&format!("{}/acme/backend", server.address));
    let registry = Registry::new(&Settings::default());
    let nobody = Keyring::default();
    let all = registry.tags(&location, &nobody, 10).await.unwrap();
    assert_eq!((all.tags.join(","), all.more), ("a,b,c".to_owned(), false));
    let some = registry.tags(&location, &nobody, 2).await.unwrap();
    assert_eq!((some.tags.join(","), some.more), ("a,b".to_owned(), true));
}
