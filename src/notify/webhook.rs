//! Posts messages where the configuration says, and only where somebody said `--send`. The address of a webhook is its
//! secret: it is read when it is needed and stands in no error.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::time::sleep;

use super::format::posted;
use super::{Facts, Message};
use crate::config::{WebAddress, Webhook, secret};
use crate::context::Context;
use crate::web;

/// Time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Waits before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// What became of one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The webhook's name.
    pub webhook: String,
    /// Whether the message was taken.
    pub sent: bool,
    /// How often it was posted.
    pub tries: usize,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How patiently a webhook is asked.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Time for one answer.
    pub limit: Duration,
    /// Waits between the tries.
    pub pauses: [Duration; 2],
}

impl Default for Patience {
    fn default() -> Self {
        Self { limit: ANSWER_LIMIT, pauses: PAUSES }
    }
}

/// Posts a message to a webhook; tries again where that may help.
pub async fn send(
    context: &Context,
    webhook: &Webhook,
    message: &Message,
    facts: &Facts,
    patience: Patience,
) -> Delivery {
    let mut delivery = Delivery { webhook: webhook.name.to_string(), sent: false, tries: 0, error: None };
    let address = match address(context, webhook).await {
        Ok(address) => address,
        Err(why) => {
            delivery.error = Some(why);
            return delivery;
        }
    };
    let body = posted(message, facts, webhook.format).to_string();
    let client = match web::client(address.url()) {
        Ok(client) => client,
        Err(why) => {
            delivery.error = Some(why);
            return delivery;
        }
    };
    for pause in patience.pauses.map(Some).into_iter().chain([None]) {
        delivery.tries += 1;
        let request = client
            .post(address.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .timeout(patience.limit)
            .body(body.clone());
        let (why, may_help) = match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                delivery.sent = true;
                delivery.error = None;
                return delivery;
            }
            Ok(answer) => refusal(&answer),
            Err(error) => (web::problem(error), true),
        };
        delivery.error = Some(why);
        match pause {
            Some(pause) if may_help => sleep(pause).await,
            _ => break,
        }
    }
    delivery
}

/// Why an answer is none that we want, and whether another try may help.
fn refusal(answer: &reqwest::Response) -> (String, bool) {
    let status = answer.status();
    if status.is_redirection() {
        let target = answer.headers().get(LOCATION).and_then(|target| target.to_str().ok());
        let target = target.and_then(|target| answer.url().join(target).ok());
        let host = target.and_then(|target| target.host_str().map(str::to_owned));
        let whither = host.map_or_else(|| "elsewhere".to_owned(), |host| format!("to {host}"));
        return (format!("it redirects {whither} ({}), which is not followed", status.as_u16()), false);
    }
    let may_help = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    (format!("it answers {}", status.as_u16()), may_help)
}

async fn address(context: &Context, webhook: &Webhook) -> Result<WebAddress, String> {
    if let Some(address) = &webhook.url {
        return Ok(address.clone());
    }
    let source = webhook.url_from.as_ref().ok_or("it has no address")?;
    let secret = secret::read(source, &context.client, &context.namespace).await?;
    secret.expose_secret().parse().map_err(|why| format!("{source}: {why}"))
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
