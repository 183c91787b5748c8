//! A client for what is neither the API server nor a registry: webhooks, Prometheus, addresses that a check names. It
//! follows no redirect, so that nothing that is sent goes elsewhere than the configuration says.

use std::time::Duration;

use reqwest::Url;

/// Time for opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const LONGEST_BODY: usize = 1024 * 1024;

/// A client for an address. To this machine no proxy leads.
pub fn client(address: &Url) -> Result<reqwest::Client, String> {
    // As in main; an error means that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("kubectl-rollback/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT);
    let host = address.host_str().unwrap_or_default();
    let builder = if crate::registry::is_loopback(host) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| format!("cannot set up TLS: {error}"))
}

/// Why there is no answer, without the address: it may be a secret.
pub fn problem(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Reads an answer, up to a limit.
pub async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(problem)? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_BODY {
            return Err(format!("the answer is longer than {LONGEST_BODY} bytes"));
        }
    }
    Ok(body)
}
