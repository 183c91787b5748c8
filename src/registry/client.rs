//! A client of the OCI distribution API: does an image exist, which tags does a repository have.
//!
//! What registries answer differs. Only a registry that has let us in can say that something is missing: without
//! credentials a private repository is denied (401, 403), or pretended not to exist (`NAME_UNKNOWN`).

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use reqwest::Response;
use serde_json::Value;

use super::exchange::{self, Conversation};
use super::reference::{is_digest, is_tag};
use super::settings::Endpoint;
use super::{Keyring, Location, Settings};

/// Time for opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
/// Tags that are asked for at once.
const PAGE: usize = 1000;
/// Pages that are asked for at most.
const MOST_PAGES: usize = 200;
/// The kinds of manifests that say that an image exists.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, application/json;q=0.5";

/// Why a registry did not say what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The repository is there and the image is not, or the repository is not there.
    #[error("the registry does not have it")]
    Missing,
    /// We are not let in.
    #[error("{}", denied(*status, *with_credentials))]
    Denied {
        /// The HTTP status.
        status: u16,
        /// Whether credentials were shown.
        with_credentials: bool,
    },
    /// There is no answer.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// The registry.
        host: String,
        /// Why.
        why: String,
    },
    /// It wants us to come back later.
    #[error("the registry limits how often it answers (429)")]
    Busy,
    /// It cannot be asked from here.
    #[error("registries cannot be asked: {0}")]
    Setup(String),
    /// It answers like no registry.
    #[error("the registry gives no usable answer: {0}")]
    Odd(String),
}

fn denied(status: u16, with_credentials: bool) -> String {
    if with_credentials {
        format!("the registry does not let the credentials in that are known here ({status})")
    } else {
        format!("the registry wants credentials that are not known here ({status})")
    }
}

/// An image that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its digest, where the registry says it.
    pub digest: Option<String>,
    /// The platforms of an index; empty where it is for one platform, or that was not asked.
    pub platforms: Vec<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`, `windows`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

/// Tags of a repository, in the registry's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagList {
    /// The tags.
    pub tags: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

/// A client of registries.
pub struct Registry {
    /// By way of the proxies that the environment names.
    proxied: OnceLock<Result<reqwest::Client, Problem>>,
    /// To this machine.
    direct: OnceLock<Result<reqwest::Client, Problem>>,
    settings: Settings,
}

impl Registry {
    /// A client that is set up when it is first used.
    pub fn new(settings: &Settings) -> Self {
        Self { proxied: OnceLock::new(), direct: OnceLock::new(), settings: settings.clone() }
    }

    fn client(&self, endpoint: &Endpoint) -> Result<&reqwest::Client, Problem> {
        let client = if endpoint.is_loopback() {
            self.direct.get_or_init(|| self.build(reqwest::ClientBuilder::no_proxy))
        } else {
            self.proxied.get_or_init(|| self.build(|builder| builder))
        };
        client.as_ref().map_err(Clone::clone)
    }

    fn build(
        &self,
        finish: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<reqwest::Client, Problem> {
        let failed = |why: String| Problem::Setup(why);
        // As in main; an error means that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut certificates = Vec::new();
        if let Some(path) = &self.settings.authority {
            let wrong = |why: String| failed(format!("cannot read {}: {why}", path.display()));
            let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
            certificates =
                reqwest::Certificate::from_pem_bundle(&text).map_err(|error| wrong(error.to_string()))?;
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("kubectl-rollback/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(certificates)
            .redirect(exchange::redirects())
            .referer(false)
            .connect_timeout(CONNECT_LIMIT);
        finish(builder).build().map_err(|error| failed(format!("cannot set up TLS: {error}")))
    }

    /// Whether an image exists. `version` is its tag or digest. Platforms of an index cost a second request.
    pub async fn manifest(
        &self,
        location: &Location,
        version: &str,
        keyring: &Keyring,
        platforms: bool,
    ) -> Result<ManifestInfo, Problem> {
        let rest = format!("manifests/{version}");
        self.with_each(location, keyring, async |mut conversation| {
            let address = conversation.address(&rest)?;
            let head = conversation.send(&Method::HEAD, &address, MANIFESTS).await?;
            if head.status() != StatusCode::OK {
                // Only a body tells what is missing; and not every registry knows HEAD.
                let answer = match head.status() {
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                        conversation.send(&Method::GET, &address, MANIFESTS).await?
                    }
                    _ => head,
                };
                let answer = self.accept(answer, location, &conversation).await?;
                return read_manifest(answer, location).await;
            }
            let found = ManifestInfo { digest: digest_of(&head), platforms: Vec::new() };
            let is_registrys = found.digest.is_some() || kind_of(&head).contains("vnd.");
            if is_registrys && !(platforms && is_index(&head)) {
                return Ok(found);
            }
            if !is_registrys {
                let answer = conversation.send(&Method::GET, &address, MANIFESTS).await?;
                let answer = self.accept(answer, location, &conversation).await?;
                return read_manifest(answer, location).await;
            }
            // That it exists is known; that its platforms are not is no reason to doubt it.
            let answer = conversation.send(&Method::GET, &address, MANIFESTS).await;
            let read = match answer {
                Ok(answer) if answer.status() == StatusCode::OK => read_manifest(answer, location).await.ok(),
                _ => None,
            };
            Ok(ManifestInfo { platforms: read.map(|read| read.platforms).unwrap_or_default(), ..found })
        })
        .await
    }

    /// The tags of a repository, `most` at most.
    pub async fn tags(
        &self,
        location: &Location,
        keyring: &Keyring,
        most: usize,
    ) -> Result<TagList, Problem> {
        let rest = format!("tags/list?n={}", PAGE.min(most.max(1)));
        self.with_each(location, keyring, async |mut conversation| {
            let mut address = conversation.address(&rest)?;
            let mut list = TagList::default();
            for _ in 0..MOST_PAGES {
                let answer = conversation.send(&Method::GET, &address, "application/json").await?;
                let answer = self.accept(answer, location, &conversation).await?;
                let next = next_page(&answer);
                let document = exchange::json(answer, &location.host).await?;
                let tags = document.get("tags").and_then(Value::as_array);
                let before = list.tags.len();
                list.tags.extend(
                    tags.into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .filter(|tag| is_tag(tag))
                        .map(str::to_owned),
                );
                list.more = list.tags.len() > most || next.is_some();
                list.tags.truncate(most);
                let Some(next) = next.filter(|_| list.tags.len() < most && list.tags.len() > before) else {
                    return Ok(list);
                };
                // A page elsewhere would be given what we show here.
                if !exchange::is_same_origin(&next, &address) {
                    return Ok(list);
                }
                address = next;
            }
            Ok(list)
        })
        .await
    }

    /// Asks with each credential, then with none, until we are let in.
    async fn with_each<T>(
        &self,
        location: &Location,
        keyring: &Keyring,
        ask: impl AsyncFn(Conversation<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let endpoint = self.settings.endpoint(location);
        let client = self.client(&endpoint)?;
        let candidates = keyring.candidates(&endpoint).await;
        let mut first = None;
        for credential in candidates.iter().map(Some).chain([None]) {
            match ask(Conversation::new(client, &endpoint, credential, ANSWER_LIMIT)).await {
                Err(denied @ Problem::Denied { .. }) => first = first.or(Some(denied)),
                answer => return answer,
            }
        }
        Err(first.unwrap_or(Problem::Missing))
    }

    /// Sorts out what is no success.
    async fn accept(
        &self,
        answer: Response,
        location: &Location,
        conversation: &Conversation<'_>,
    ) -> Result<Response, Problem> {
        let status = answer.status();
        let is_anonymous = conversation.is_anonymous();
        match status.as_u16() {
            200 => Ok(answer),
            404 => {
                let says_missing = match code_of(answer, location).await.as_deref() {
                    Some("MANIFEST_UNKNOWN" | "TAG_INVALID" | "NOT_FOUND") => true,
                    // To those who may not look, the private is pretended not to be there.
                    Some("NAME_UNKNOWN") => !(is_anonymous && conversation.challenged),
                    _ => return Err(Problem::Odd("404, but not as a registry says it".to_owned())),
                };
                if says_missing {
                    Err(Problem::Missing)
                } else {
                    Err(Problem::Denied { status: 404, with_credentials: false })
                }
            }
            code @ (401 | 403) => Err(Problem::Denied { status: code, with_credentials: !is_anonymous }),
            429 => Err(Problem::Busy),
            code => Err(Problem::Odd(format!("HTTP status {code}"))),
        }
    }
}

/// The first error code of an answer: one word of the specification's, or of a registry's own.
async fn code_of(answer: Response, location: &Location) -> Option<String> {
    let document = exchange::json(answer, &location.host).await.ok()?;
    let code = document.pointer("/errors/0/code")?.as_str()?;
    Some(code.to_ascii_uppercase())
}

fn digest_of(answer: &Response) -> Option<String> {
    let digest = answer.headers().get("docker-content-digest")?.to_str().ok()?;
    is_digest(digest).then(|| digest.to_owned())
}

fn kind_of(answer: &Response) -> &str {
    answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

fn is_index(answer: &Response) -> bool {
    let kind = kind_of(answer);
    kind.contains("image.index") || kind.contains("manifest.list")
}

/// Reads a manifest or an index. What is no JSON with a schema version is a page of somebody else.
async fn read_manifest(answer: Response, location: &Location) -> Result<ManifestInfo, Problem> {
    let digest = digest_of(&answer);
    let document = exchange::json(answer, &location.host).await?;
    if document.get("schemaVersion").is_none() {
        return Err(Problem::Odd("its answer is no manifest".to_owned()));
    }
    let listed = document.get("manifests").and_then(Value::as_array);
    let read = |entry: &Value| {
        let platform = entry.get("platform")?;
        let text = |name: &str| platform.get(name)?.as_str().map(str::to_owned);
        // Attestations lie beside images, for a platform that is not known.
        let platform = Platform { os: text("os")?, architecture: text("architecture")? };
        (platform.os != "unknown").then_some(platform)
    };
    let mut platforms: Vec<Platform> = listed.into_iter().flatten().filter_map(read).collect();
    platforms.sort();
    platforms.dedup();
    Ok(ManifestInfo { digest, platforms })
}

/// The next page by the header `Link: <…>; rel="next"`, relative to the page that has it.
fn next_page(answer: &Response) -> Option<reqwest::Url> {
    let links = answer.headers().get_all("link");
    links.iter().filter_map(|link| link.to_str().ok()).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.contains("next").then(|| answer.url().join(target).ok())?
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
