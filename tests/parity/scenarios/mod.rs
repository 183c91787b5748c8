//! The scenarios by theme.

mod clients;
mod config;
mod custom;
mod drift;
mod hooks;
mod immutable;
mod network;
mod options;
mod presence;
mod records;
mod workloads;

use crate::side::Mode;
use crate::story::{Expected, Rollback, Scenario, scenarios};

/// All three ways of Helm.
const EVERY: &[Mode] = &[Mode::Helm3, Mode::Helm4, Mode::Helm4ClientSide];
/// The two that merge in the client.
const CLIENT_SIDE: &[Mode] = &[Mode::Helm3, Mode::Helm4ClientSide];
/// The one that lets the server merge.
const SERVER_SIDE: &[Mode] = &[Mode::Helm4];
/// Helm 3 alone.
const HELM_3: &[Mode] = &[Mode::Helm3];
/// Helm 4, either way.
const HELM_4: &[Mode] = &[Mode::Helm4, Mode::Helm4ClientSide];

/// Every scenario, as `theme::name`.
pub fn all() -> Vec<(String, &'static Scenario)> {
    let themes = [
        ("clients", clients::ALL),
        ("config", config::ALL),
        ("custom", custom::ALL),
        ("drift", drift::ALL),
        ("hooks", hooks::ALL),
        ("immutable", immutable::ALL),
        ("network", network::ALL),
        ("options", options::ALL),
        ("presence", presence::ALL),
        ("records", records::ALL),
        ("workloads", workloads::ALL),
    ];
    let named = |(theme, scenarios): (&str, &'static [(&str, Scenario)])| {
        let theme = theme.to_owned();
        scenarios.iter().map(move |(name, scenario)| (format!("{theme}::{name}"), scenario))
    };
    themes.into_iter().flat_map(named).collect()
}

/// A Deployment `web` of one container whose image is `good-1` or so.
pub fn web(tag: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: ghcr.io/acme/web:{tag}
---
"
    )
}

/// A `ConfigMap` with one value.
pub fn config_map(name: &str, value: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  value: "{value}"
---
"#
    )
}

/// A `ConfigMap` with annotations.
pub fn annotated(name: &str, value: &str, annotations: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
  annotations: {{{annotations}}}
data:
  value: "{value}"
---
"#
    )
}
