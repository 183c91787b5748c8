//! Requests that the API server passes on to a Service or a pod. It needs no image and no pod of our own, and works where
//! only the API server can be reached. The difficulty is to tell what the application answers from what stands between.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use crate::context::Context;

/// Bytes of an answer that are read.
const LONGEST_BODY: usize = 1024 * 1024;
/// Headers of proxies on the way. An application has no reason to send them.
const INTERMEDIARIES: [&str; 5] =
    ["via", "x-squid-error", "proxy-status", "proxy-authenticate", "proxy-connection"];

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The namespace.
    pub namespace: String,
    /// `services` or `pods`.
    pub resource: &'static str,
    /// The name.
    pub name: String,
    /// The port, by number or name.
    pub port: String,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Target {
    /// The start of every path there, without a slash at its end.
    pub fn base(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let Self { namespace, resource, name, port, .. } = self;
        format!("/api/v1/namespaces/{namespace}/{resource}/{scheme}:{name}:{port}/proxy")
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The application has answered.
    Answered(Reply),
    /// The API server could not deliver it.
    Undelivered(String),
    /// We may not ask this way.
    Forbidden(String),
    /// There is no such Service or pod.
    Missing(String),
    /// The API server itself cannot be reached, or does not answer in time.
    Failed(String),
}

/// An answer over HTTP.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Whether a proxy on the way has answered, or at least touched it.
    pub fn is_from_between(&self) -> bool {
        INTERMEDIARIES.iter().any(|name| self.headers.contains_key(*name))
    }
}

/// Asks for a path, which may have a query.
pub async fn get(context: &Context, path: &str, headers: &[(String, String)], limit: Duration) -> Answer {
    let mut request = match http::Request::get(path).body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return Answer::Failed(format!("the path cannot be asked for: {error}")),
    };
    for (name, value) in headers {
        let pair = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        if let (Ok(name), Ok(value)) = pair {
            request.headers_mut().insert(name, value);
        }
    }
    let ask = async {
        let answer = context.client.send(request).await.map_err(|error| describe(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await;
        let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.to_vec() })
    };
    match timeout(limit, ask).await {
        Ok(Ok(reply)) => classify(reply),
        Ok(Err(why)) => Answer::Failed(why),
        Err(_) => Answer::Failed(format!("no answer within {}", crate::cli::GoDuration(limit))),
    }
}

fn describe(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Tells the API server's own answers from those of the application. The API server speaks in `Status` objects (older ones in
/// a sentence that always begins the same); an application that is no API server has no reason to.
pub fn classify(reply: Reply) -> Answer {
    if reply.status < 400 {
        return Answer::Answered(reply);
    }
    let text = String::from_utf8_lossy(&reply.body);
    let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_status = field("kind") == "Status" && field("apiVersion") == "v1";
    let said = if is_status { field("message") } else { text.trim() };
    let sentence = "error trying to reach service";
    if reply.status >= 500 && said.to_ascii_lowercase().starts_with(sentence) {
        let why = said[sentence.len()..].trim_start_matches([':', ' ', '\'']).trim_end_matches('\'');
        return Answer::Undelivered(why.to_owned());
    }
    if reply.status >= 500 && said.starts_with("Error: '") && said.contains("Trying to reach: '") {
        let why = said.trim_start_matches("Error: '").split("'\n").next().unwrap_or_default();
        return Answer::Undelivered(why.to_owned());
    }
    if !is_status {
        return Answer::Answered(reply);
    }
    let is_about = document.pointer("/details/kind").and_then(Value::as_str).unwrap_or_default();
    match reply.status {
        401 | 403 if matches!(field("reason"), "Forbidden" | "Unauthorized") => {
            Answer::Forbidden(said.to_owned())
        }
        404 if matches!(is_about, "services" | "pods") => Answer::Missing(said.to_owned()),
        429 | 500.. => Answer::Undelivered(said.to_owned()),
        _ => Answer::Answered(reply),
    }
}
