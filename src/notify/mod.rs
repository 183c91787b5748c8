//! What is told to people outside the terminal: the messages of an incident, made from facts. Pure, but for
//! [`webhook`], which posts them where the configuration says.

pub mod facts;
pub mod format;
pub mod webhook;

use minijinja::{Environment, UndefinedBehavior};

pub use facts::{Facts, IncidentStatus};

use crate::config::{MessageKind, Template, Templates};

/// A message ready to be shown or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub title: String,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Label and value, in order: the built-in messages.
    Fields(Vec<(&'static str, String)>),
    /// A text of the team's own.
    Text(String),
}

/// A template that cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[error("the template of {}: {why}", kind.as_str())]
pub struct TemplateError {
    kind: MessageKind,
    why: String,
}

/// The message of some facts, by the team's template where there is one.
pub fn message(facts: &Facts, templates: &Templates) -> Result<Message, TemplateError> {
    let template = match facts.kind {
        MessageKind::Started => &templates.started,
        MessageKind::Update => &templates.update,
        MessageKind::Complete => &templates.complete,
    };
    let Some(template) = template else {
        return Ok(Message { title: title(facts), body: Body::Fields(fields(facts)) });
    };
    let text = render(template, facts).map_err(|why| TemplateError { kind: facts.kind, why })?;
    Ok(Message { title: title(facts), body: Body::Text(text) })
}

fn render(template: &Template, facts: &Facts) -> Result<String, String> {
    let facts = minijinja::Value::from(minijinja::value::Serde(facts));
    engine().render_str(template.text(), facts).map_err(|error| describe(&error))
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    // A misspelt fact would be an empty place in a message that nobody reads twice.
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine
}

fn describe(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}

/// Whether a template can be rendered, with every fact there is and with as few as there may be.
pub fn check_template(text: &str) -> Result<(), String> {
    for facts in [Facts::example(), Facts { release: "x".to_owned(), ..Facts::default() }] {
        engine().render_str(text, minijinja::Value::from(minijinja::value::Serde(&facts))).map_err(
            |error| {
                let known = "docs/notify.md lists the facts that a template can name";
                format!("cannot be rendered: {}; {known}", describe(&error))
            },
        )?;
    }
    Ok(())
}

fn title(facts: &Facts) -> String {
    let release = &facts.release;
    match (facts.kind, facts.status) {
        (_, IncidentStatus::Resolved) => format!("RESOLVED: {release} is rolled back"),
        (MessageKind::Started, _) => format!("INCIDENT: rollback of {release} has begun"),
        (MessageKind::Update, _) => format!("UPDATE: rollback of {release}"),
        (MessageKind::Complete, _) => format!("ROLLED BACK: {release}, under observation"),
    }
}

fn fields(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("Time", facts.time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ("Environment", facts.environment.clone()),
    ];
    let mut add = |label: &'static str, value: &Option<String>| {
        fields.extend(value.iter().map(|value| (label, value.clone())));
    };
    let is_over = facts.kind == MessageKind::Complete;
    add(if is_over { "Previous release" } else { "Release" }, &facts.from);
    if is_over {
        add("Rolled back to", &facts.to);
        add("Rollback time", &facts.duration);
    }
    add("Reason", &facts.reason);
    add("Impact", &facts.impact);
    if !is_over {
        add("Action", &facts.to.as_ref().map(|to| format!("rolling back to {to}")));
        add("Running for", &facts.duration);
        add("ETA", &facts.eta);
    }
    add("Health", &facts.health);
    fields.push(("Status", facts.status.as_str().to_owned()));
    let mut add = |label: &'static str, value: &Option<String>| {
        fields.extend(value.iter().map(|value| (label, value.clone())));
    };
    add("Next steps", &facts.next_steps);
    add("Incident", &facts.incident);
    if !is_over && !facts.contacts.is_empty() {
        let contacts: Vec<String> = facts.contacts.iter().map(facts::contact_line).collect();
        fields.push(("Contacts", contacts.join("; ")));
    }
    fields
}

#[cfg(test)]
mod tests;
