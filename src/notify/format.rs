//! How a message is wrapped: plain text, Markdown, Slack's blocks, an adaptive card for Teams, or the facts as JSON.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Body, Facts, Message};
use crate::config::WebhookFormat;

/// Characters that Slack takes in one section; more would make it refuse the whole message.
const SLACK_LIMIT: usize = 2900;

/// How `notify` prints a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// Plain text
    #[default]
    Text,
    /// Markdown
    Md,
    /// The body of a post to Slack
    Slack,
    /// The body of a post to Teams
    Teams,
    /// The facts and the text as JSON
    Json,
}

/// The message as it is printed.
pub fn printed(message: &Message, facts: &Facts, format: MessageFormat) -> String {
    let pretty = |value: Value| serde_json::to_string_pretty(&value).unwrap_or_default();
    match format {
        MessageFormat::Text => text(message),
        MessageFormat::Md => markdown(message),
        MessageFormat::Slack => pretty(slack(message)),
        MessageFormat::Teams => pretty(teams(message)),
        MessageFormat::Json => pretty(facts_and_text(message, facts)),
    }
}

/// The body that a webhook gets.
pub fn posted(message: &Message, facts: &Facts, format: WebhookFormat) -> Value {
    match format {
        WebhookFormat::Slack => slack(message),
        WebhookFormat::Teams => teams(message),
        WebhookFormat::Json => facts_and_text(message, facts),
    }
}

/// As plain text.
pub fn text(message: &Message) -> String {
    match &message.body {
        Body::Text(text) => text.clone(),
        Body::Fields(fields) => {
            let lines: Vec<String> =
                fields.iter().map(|(label, value)| format!("{label}: {value}")).collect();
            format!("{}\n\n{}", message.title, lines.join("\n"))
        }
    }
}

fn markdown(message: &Message) -> String {
    match &message.body {
        Body::Text(text) => text.clone(),
        Body::Fields(fields) => {
            let lines: Vec<String> =
                fields.iter().map(|(label, value)| format!("- **{label}:** {}", escaped(value))).collect();
            format!("## {}\n\n{}", escaped(&message.title), lines.join("\n"))
        }
    }
}

/// Text that Markdown shows as it is.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|') {
            shown.push('\\');
        }
        shown.push(if character == '\n' { ' ' } else { character });
    }
    shown
}

/// Text without Slack's control characters: `<!channel>` in a reason must call nobody.
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn slack(message: &Message) -> Value {
    let body = match &message.body {
        Body::Text(text) => for_slack(text),
        Body::Fields(fields) => {
            let lines: Vec<String> =
                fields.iter().map(|(label, value)| format!("*{label}:* {}", for_slack(value))).collect();
            lines.join("\n")
        }
    };
    let mut blocks = Vec::new();
    if matches!(message.body, Body::Fields(_)) {
        let title: String = message.title.chars().take(150).collect();
        blocks.push(json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}));
    }
    let characters: Vec<char> = body.chars().collect();
    for part in characters.chunks(SLACK_LIMIT) {
        let part: String = part.iter().collect();
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": true}}));
    }
    json!({"text": for_slack(&message.title), "blocks": blocks})
}

fn teams(message: &Message) -> Value {
    let title = json!({"type": "TextBlock", "text": escaped(&message.title), "weight": "bolder", "size": "medium", "wrap": true});
    let body = match &message.body {
        Body::Text(text) => vec![json!({"type": "TextBlock", "text": text, "wrap": true})],
        Body::Fields(fields) => {
            let facts: Vec<Value> = fields
                .iter()
                .map(|(label, value)| json!({"title": label, "value": escaped(value)}))
                .collect();
            vec![title, json!({"type": "FactSet", "facts": facts})]
        }
    };
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4", "body": body,
            },
        }],
    })
}

fn facts_and_text(message: &Message, facts: &Facts) -> Value {
    json!({"apiVersion": crate::report::API_VERSION, "kind": "Message", "facts": facts, "title": message.title, "text": text(message)})
}
