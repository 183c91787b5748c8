//! One conversation with a registry about one repository: requests, the log-in that it asks for, bounded answers.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::challenge::{self, Challenge};
use super::client::Problem;
use super::credentials::Credential;
use super::settings::Endpoint;

/// Bytes of an answer that are read.
pub const LONGEST_BODY: usize = 4 * 1024 * 1024;
/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// Name by which token servers know us.
const CLIENT_ID: &str = "kubectl-rollback";

/// What a client of ours does with redirects: a few, and never from TLS to plain text. Credentials are left behind by the
/// HTTP client where a redirect leads to another host or port.
pub fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let is_downgrade = attempt.url().scheme() == "http"
            && attempt.previous().last().is_some_and(|previous| previous.scheme() == "https");
        if attempt.previous().len() > MOST_REDIRECTS || is_downgrade {
            attempt.error("a redirect that is not followed")
        } else {
            attempt.follow()
        }
    })
}

/// A conversation with at most one credential.
pub struct Conversation<'a> {
    client: &'a reqwest::Client,
    endpoint: &'a Endpoint,
    credential: Option<&'a Credential>,
    authorization: Option<HeaderValue>,
    /// Whether the registry asked who we are.
    pub challenged: bool,
    limit: Duration,
}

impl<'a> Conversation<'a> {
    /// Begins one; nothing is sent yet.
    pub fn new(
        client: &'a reqwest::Client,
        endpoint: &'a Endpoint,
        credential: Option<&'a Credential>,
        limit: Duration,
    ) -> Self {
        Self { client, endpoint, credential, authorization: None, challenged: false, limit }
    }

    /// Whether nobody vouches for us.
    pub fn is_anonymous(&self) -> bool {
        self.credential.is_none()
    }

    /// An address of the repository.
    pub fn address(&self, rest: &str) -> Result<Url, Problem> {
        let text = format!("{}/v2/{}/{rest}", self.endpoint.base(), self.endpoint.path);
        Url::parse(&text).map_err(|_| Problem::Odd("its address is no URL".to_owned()))
    }

    /// Sends a request; where the registry asks who we are, once more with the answer.
    pub async fn send(&mut self, method: &Method, address: &Url, accept: &str) -> Result<Response, Problem> {
        let response = self.send_once(method, address, accept).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.challenged = true;
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> =
            headers.iter().filter_map(|header| header.to_str().ok()).flat_map(challenge::parse).collect();
        let denied = || Problem::Denied { status: 401, with_credentials: self.credential.is_some() };
        // A redirect may have led elsewhere, and what is there has no claim on our credentials.
        if !is_same_origin(response.url(), address) {
            return Err(denied());
        }
        let authorization = self.log_in(&challenges).await?.ok_or_else(denied)?;
        let mut authorization = HeaderValue::from_str(authorization.expose_secret()).map_err(|_| denied())?;
        authorization.set_sensitive(true);
        self.authorization = Some(authorization);
        let response = self.send_once(method, address, accept).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                Err(Problem::Denied { status: 401, with_credentials: self.credential.is_some() })
            }
            _ => Ok(response),
        }
    }

    async fn send_once(&self, method: &Method, address: &Url, accept: &str) -> Result<Response, Problem> {
        let mut request =
            self.client.request(method.clone(), address.clone()).header(ACCEPT, accept).timeout(self.limit);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|error| unreachable(error, &self.endpoint.host))
    }

    /// The header that answers a challenge; `None` where we have nothing to show.
    async fn log_in(&self, challenges: &[Challenge]) -> Result<Option<SecretString>, Problem> {
        if let Some(Credential::Bearer(token)) = self.credential {
            return Ok(Some(bearer(token)));
        }
        for challenge in challenges {
            match challenge {
                Challenge::Bearer { realm, service, scope } => {
                    return self.token(realm, service.as_deref(), scope.as_deref()).await.map(Some);
                }
                Challenge::Basic => {
                    if let Some(header) = self.credential.and_then(Credential::basic_header) {
                        return Ok(Some(header));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Fetches a token from where the registry sends us.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<SecretString, Problem> {
        let odd = |what: &str| Problem::Odd(what.to_owned());
        let mut address = Url::parse(realm).map_err(|_| odd("it sends us to an address that is no URL"))?;
        let is_plain = address.scheme() != "https";
        if is_plain && (self.endpoint.tls || address.scheme() != "http") {
            return Err(odd("it sends us to a token server without TLS"));
        }
        let pull = format!("repository:{}:pull", self.endpoint.path);
        let mut parameters = vec![("scope", scope.unwrap_or(&pull))];
        parameters.extend(service.map(|service| ("service", service)));
        let request = if let Some(Credential::Identity(token)) = self.credential {
            parameters.extend([
                ("grant_type", "refresh_token"),
                ("client_id", CLIENT_ID),
                ("refresh_token", token.expose_secret()),
            ]);
            let mut form = Url::parse("form:").map_err(|_| odd("no form"))?;
            form.query_pairs_mut().extend_pairs(parameters);
            let body = form.query().unwrap_or_default().to_owned();
            let kind = "application/x-www-form-urlencoded";
            self.client.request(Method::POST, address).header("content-type", kind).body(body)
        } else {
            address.query_pairs_mut().extend_pairs(parameters);
            let request = self.client.request(Method::GET, address);
            match self.credential.and_then(Credential::basic_header) {
                Some(header) => {
                    let mut header = HeaderValue::from_str(header.expose_secret())
                        .map_err(|_| odd("the credential fits into no header"))?;
                    header.set_sensitive(true);
                    request.header(AUTHORIZATION, header)
                }
                None => request,
            }
        };
        let host = &self.endpoint.host;
        let response = request.timeout(self.limit).send().await.map_err(|error| unreachable(error, host))?;
        let status = response.status();
        if !status.is_success() {
            return Err(match status.as_u16() {
                429 => Problem::Busy,
                500.. => Problem::Odd(format!("its token server answers {}", status.as_u16())),
                // Wrong credentials, none where some are needed, an exchange that is not offered.
                code => Problem::Denied { status: code, with_credentials: self.credential.is_some() },
            });
        }
        let answer = json(response, host).await?;
        let token = ["token", "access_token"].iter().find_map(|name| answer.get(name)?.as_str());
        token.map(|token| bearer(&token.into())).ok_or_else(|| odd("its token server gives no token"))
    }
}

fn bearer(token: &SecretString) -> SecretString {
    format!("Bearer {}", token.expose_secret()).into()
}

/// Whether two addresses are of one scheme, host and port.
pub fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Reads an answer as JSON, up to a limit.
pub async fn json(response: Response, host: &str) -> Result<Value, Problem> {
    let text = body(response, host).await?;
    serde_json::from_slice(&text).map_err(|_| Problem::Odd("its answer is no JSON".to_owned()))
}

/// Reads an answer, up to a limit.
pub async fn body(mut response: Response, host: &str) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(error, host))? {
        text.extend_from_slice(&chunk);
        if text.len() > LONGEST_BODY {
            return Err(Problem::Odd(format!("its answer is longer than {LONGEST_BODY} bytes")));
        }
    }
    Ok(text)
}

/// Why there is no answer, by the innermost cause; addresses, which may hold what is nobody's business, are left out.
fn unreachable(error: reqwest::Error, host: &str) -> Problem {
    let what = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    };
    Problem::Unreachable { host: host.to_owned(), why: what }
}
