//! A first configuration, written from what a release declares about itself. Pure.

use std::fmt::Write;

use crate::verify::{DeclaredPath, ServiceView};

/// The text of a configuration that asks what the release declares; what can only be guessed is written as a comment.
pub fn text(release: &str, declared: &[DeclaredPath], services: &[ServiceView]) -> String {
    let mut text = format!(
        "# How {release} is checked after a rollback, and what else only its team knows.\n\
         # kubectl rollback config validate says whether this can be read.\n\n\
         # Contexts in which whatever changes the cluster needs --confirm-context.\n\
         protectedContexts: []\n\n\
         # Whom to call: {{role: On-call engineer, contact: \"#oncall\"}}\n\
         contacts: []\n\nverify:\n"
    );
    let mut checks = String::new();
    let mut named: Vec<&str> = Vec::new();
    for path in declared {
        let Some((service, port)) = &path.service else { continue };
        let scheme = if path.tls { ", scheme: https" } else { "" };
        let name =
            if named.contains(&service.as_str()) { format!("{service} {port}") } else { service.clone() };
        named.push(service);
        let _ = writeln!(checks, "    - name: {}", quoted(&name));
        let path = quoted(&path.path);
        let _ = writeln!(
            checks,
            "      http: {{service: {}, port: {port}{scheme}, path: {path}}}",
            quoted(service)
        );
    }
    let unasked =
        services.iter().filter(|service| !service.external && !named.contains(&service.name.as_str()));
    for service in unasked {
        for port in &service.ports {
            let name = port.name.as_deref().unwrap_or_default();
            let guess = if name.starts_with("http") || port.number == 80 {
                format!("http: {{service: {}, port: {}, path: /}}", quoted(&service.name), port.number)
            } else {
                format!("tcp: {{service: {}, port: {}}}", quoted(&service.name), port.number)
            };
            let _ = writeln!(checks, "    # - name: {}\n    #   {guess}", quoted(&service.name));
        }
    }
    let is_empty = checks.lines().all(|line| line.trim_start().starts_with('#'));
    text.push_str(if is_empty { "  checks: []\n" } else { "  checks:\n" });
    text.push_str(&checks);
    text.push_str(
        "\n# A database whose migrations go back with the application, as docs/database.md says:\n\
         # database: {adapter: alembic, workload: deploy/NAME}\n",
    );
    text.push_str(
        "\n# Where notify --send posts to: {name: incidents, format: slack, urlFrom: {env: SLACK_URL}}\n\
         notify:\n  webhooks: []\n",
    );
    text
}

/// A text as YAML, quoted as JSON is.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|one| one.is_ascii_alphanumeric() || "-_./".contains(one));
    // Words that YAML takes for something else.
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "y" | "n"
    );
    if is_plain && !is_word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{WorkloadKind, WorkloadRef};

    #[test]
    fn what_is_written_can_be_read() {
        let declared = |service: Option<(&str, u16)>, path: &str| DeclaredPath {
            workload: WorkloadRef {
                kind: WorkloadKind::Deployment,
                namespace: "n".into(),
                name: "web".into(),
            },
            service: service.map(|(name, port)| (name.to_owned(), port)),
            pod: None,
            port: 8000,
            path: path.to_owned(),
            tls: false,
            headers: Vec::new(),
        };
        let service = |name: &str, port: u16| {
            let object = serde_json::json!({"metadata": {"name": name}, "spec": {"ports": [{"port": port}]}});
            ServiceView::read(&serde_json::from_value(object).unwrap())
        };
        let paths = [
            declared(Some(("web", 80)), "/health?deep=1&x=#y"),
            declared(Some(("web", 90)), "/-/ready"),
            declared(None, "/x"),
        ];
        let services = [service("web", 80), service("redis", 6379), service("on", 80)];
        let text = text("shop", &paths, &services);
        let config = crate::config::parse("x", &text).unwrap();
        let names: Vec<String> = config.verify.checks.iter().map(|check| check.name.to_string()).collect();
        assert_eq!(names, ["web", "web 90"], "{text}");
        insta::assert_snapshot!("init", text);
        let empty = super::text("shop", &[], &services);
        assert!(crate::config::parse("x", &empty).unwrap().verify.checks.is_empty(), "{empty}");
    }
}
