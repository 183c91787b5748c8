//! What a team tells the tool once: contexts that need a second confirmation, checks after a rollback, who is told and
//! whom to call. Nothing of it is needed; everything works without.
//!
//! Reading is strict: a field that is not known is an error with its line and column, not a setting that is silently
//! without effect in the night when it is needed.

mod check;
mod database;
pub mod init;
pub mod secret;
mod source;
mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use check::{
    Check, CheckKind, ExecCheck, HttpCheck, LogsCheck, Place, PrometheusCheck, RedisCheck, TcpCheck,
};
pub use database::{Adapter, Commands, DatabaseConfig};
pub use source::{CONFIG_MAP, ConfigError, FILE_NAME, Loaded, Source, find_file, load, parse, read_file};
pub use values::{
    ChecklistItem, ContextPattern, Pattern, PortName, SecretKey, SecretSource, Template, Text, Wait,
    WebAddress, Workload,
};

/// The configuration of kubectl-rollback
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Names of kubeconfig contexts, with `*` for anything, in which whatever changes the cluster needs --confirm-context
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_contexts: Vec<ContextPattern>,
    /// Whom to call; they stand at the end of the messages of `notify`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// A database whose migrations go with the application
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseConfig>,
    /// What is checked after a rollback, and by `verify`
    pub verify: VerifyConfig,
    /// Messages, and where they are sent
    pub notify: NotifyConfig,
    /// What is to be done after a rollback
    pub checklist: ChecklistConfig,
}

impl Config {
    /// The pattern that makes a context a protected one.
    pub fn protects(&self, context: &str) -> Option<&ContextPattern> {
        self.protected_contexts.iter().find(|pattern| pattern.matches(context))
    }
}

/// Somebody to call
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contact {
    /// What they are called for: On-call engineer, DBA
    pub role: Text,
    /// Their name
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<Text>,
    /// Telephone, chat or mail
    pub contact: Text,
}

/// What is checked after a rollback, and by `verify`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VerifyConfig {
    /// Whether what is checked without configuration is checked beside the configured checks: readiness, endpoints, declared paths
    pub defaults: bool,
    /// Checks of the team's own
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self { defaults: true, checks: Vec::new() }
    }
}

/// What is to be done after a rollback
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChecklistConfig {
    /// Who does an item, in place of whom `checklist` names otherwise
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<ChecklistItem, Text>,
}

/// Messages, and where they are sent
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Where `notify --send` posts to
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
    /// Texts in place of the built-in ones
    pub templates: Templates,
}

/// Texts in place of the built-in ones, as Jinja templates
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Templates {
    /// A rollback has begun
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Template>,
    /// How it goes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Template>,
    /// It is over
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<Template>,
}

/// An address that messages are posted to
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "WebhookFields", rename_all = "camelCase")]
pub struct Webhook {
    /// How results call it
    pub name: Text,
    /// The address; write it here only where it is no secret
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<WebAddress>,
    /// Where the address is kept
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretSource>,
    /// How the message is wrapped
    pub format: WebhookFormat,
    /// Which messages it gets; all where nothing is said
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<MessageKind>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Webhook"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookFields {
    /// How results call it
    name: Text,
    /// The address; write it here only where it is no secret
    url: Option<WebAddress>,
    /// Where the address is kept
    url_from: Option<SecretSource>,
    /// How the message is wrapped
    format: WebhookFormat,
    /// Which messages it gets; all where nothing is said
    #[serde(default)]
    events: Vec<MessageKind>,
}

impl TryFrom<WebhookFields> for Webhook {
    type Error = String;

    fn try_from(fields: WebhookFields) -> Result<Self, String> {
        if fields.url.is_some() == fields.url_from.is_some() {
            return Err(format!("webhook {}: give either url or urlFrom", fields.name));
        }
        let WebhookFields { name, url, url_from, format, events } = fields;
        Ok(Self { name, url, url_from, format, events })
    }
}

/// How a message is wrapped
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// Slack's incoming webhooks
    Slack,
    /// Teams' workflows: an adaptive card
    Teams,
    /// The facts as they are
    Json,
}

/// The messages of an incident
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A rollback has begun
    Started,
    /// How it goes
    Update,
    /// It is over
    Complete,
}

impl MessageKind {
    /// The word on the command line and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Update => "update",
            Self::Complete => "complete",
        }
    }
}

#[cfg(test)]
mod tests;
