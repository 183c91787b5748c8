//! Values of the configuration that are checked while they are read, so that an error names the place where it stands.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::cli::{GoDuration, WorkloadSelector};
use crate::report::checklist;

/// A type that is written as text and checked while it is read.
macro_rules! written_as_text {
    ($type:ident, $description:literal) => {
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "description": $description})
            }
        }
    };
}

/// A text that says something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

impl FromStr for Text {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(Self(text.trim().to_owned())) }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

written_as_text!(Text, "a text that is not empty");

/// The name of a context, with `*` for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextPattern(String);

impl FromStr for ContextPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Text::from_str(text).map(|Text(text)| Self(text))
    }
}

impl fmt::Display for ContextPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl ContextPattern {
    /// Whether a name fits, as a whole.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(start) => rest = &rest[start + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

written_as_text!(ContextPattern, "the name of a kubeconfig context; * stands for anything: prod-*");

/// A regular expression.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether it is found in a line.
    pub fn is_in(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The error of the regex crate draws an arrow over several lines; its last one says what is wrong.
        Regex::new(text).map(Self).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("is no regular expression: {last}")
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

written_as_text!(Pattern, "a regular expression, as Rust's regex crate reads it: (?i)error|panic");

/// A duration as Go writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wait(pub Duration);

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<GoDuration>().map(|duration| Self(duration.0))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        GoDuration(self.0).fmt(formatter)
    }
}

written_as_text!(Wait, "a duration: 500ms, 30s, 1m30s");

/// A workload, as `KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Workload(pub WorkloadSelector);

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.0.kind.short_name(), self.0.name)
    }
}

written_as_text!(Workload, "a workload as KIND/NAME: deploy/backend");

/// An address on the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebAddress(reqwest::Url);

impl WebAddress {
    /// The address.
    pub fn url(&self) -> &reqwest::Url {
        &self.0
    }

    /// As much of it as may be shown: of a webhook the rest is the secret.
    pub fn shown(&self) -> String {
        format!("{}/…", self.0.origin().ascii_serialization())
    }
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text itself is not repeated: it may be a secret.
        let url = reqwest::Url::parse(text.trim()).map_err(|error| format!("is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self(url)),
            _ => Err("is no address that starts with https:// or http://".to_owned()),
        }
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

written_as_text!(WebAddress, "an address that starts with https:// or http://");

/// A Jinja template that can be rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

impl Template {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::notify::check_template(text).map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

written_as_text!(Template, "a Jinja template; docs/notify.md lists the facts that it can name");

/// An item of the checklist, by its identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChecklistItem(String);

impl TryFrom<String> for ChecklistItem {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        checklist::identifier(&text).map(|id| Self(id.to_owned()))
    }
}

impl From<ChecklistItem> for String {
    fn from(item: ChecklistItem) -> Self {
        item.0
    }
}

impl Borrow<str> for ChecklistItem {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl schemars::JsonSchema for ChecklistItem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ChecklistItem".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let known: Vec<&str> = checklist::identifiers().collect();
        schemars::json_schema!({"type": "string", "enum": known})
    }
}

/// A port of a Service, by number or name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum PortName {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

impl fmt::Display for PortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

/// Where a secret is kept. It is read when it is needed and never printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretSource {
    /// In an environment variable
    Env(String),
    /// In a Secret of the release's namespace
    Secret(SecretKey),
}

/// A key of a Secret
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name
    pub name: String,
    /// The key within it
    pub key: String,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::Secret(SecretKey { name, key }) => write!(formatter, "key {key} of Secret {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("prod-*", "prod-eu", true),
            ("prod-*", "preprod-eu", false),
            ("*prod*", "preprod-eu", true),
            ("*-prod", "eu-prod", true),
            ("*-prod", "eu-prod-2", false),
            ("a*b*a", "aba", true),
            ("a*b*a", "aa", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            let pattern: ContextPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn of_an_address_only_the_origin_is_shown() {
        let address: WebAddress = "https://hooks.example.com/services/T0/SECRET?x=y".parse().unwrap();
        assert_eq!(address.shown(), "https://hooks.example.com/…");
        for wrong in ["hooks.example.com", "ftp://x/y", "", "https://"] {
            assert!(wrong.parse::<WebAddress>().is_err(), "{wrong}");
        }
    }
}
