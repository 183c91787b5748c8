//! `config`: the configuration as it is in force, and whether it can be read.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Conclusion, Failure, Session, choose, session};
use crate::cli::{Cli, ConfigCommand};
use crate::config::{self, FILE_NAME, Loaded, Source};
use crate::discover::{self, Scope};
use crate::outcome::{ExitCode, Outcome};
use crate::report::ResultDocument;
use crate::ui::Printer;
use crate::verify;
use crate::wait::redaction::redact;
use crate::words::counted;

const PROCEDURE: &str = "config";

/// Runs the command. A file needs no cluster.
pub async fn run(
    cli: &Cli,
    printer: Printer,
    lookup: impl Fn(&str) -> Option<String>,
    command: &ConfigCommand,
) -> u8 {
    if let ConfigCommand::Init { release, force } = command {
        let path = cli.configuration.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
        return session::with(cli, printer, lookup, PROCEDURE, async |session| {
            Box::pin(init(session, release.as_deref(), &path, *force)).await
        })
        .await;
    }
    match file(cli) {
        Some(path) => match config::read_file(&path).map_err(Failure::from) {
            Ok(loaded) => {
                let conclusion = conclude(command, &loaded);
                conclusion.print_to(&printer, cli.output.output);
                conclusion.document.exit_code
            }
            Err(failure) => Conclusion::without_session(&printer, &cli.output, PROCEDURE, &unhinted(failure)),
        },
        None => {
            session::with(cli, printer, lookup, PROCEDURE, async |session| {
                session.config().await.map(|loaded| conclude(command, loaded)).map_err(unhinted)
            })
            .await
        }
    }
}

/// Writes a first configuration; never over one that is there, unless that was asked for.
async fn init(
    session: &Session,
    release: Option<&str>,
    path: &Path,
    force: bool,
) -> Result<Conclusion, Failure> {
    let there = || {
        Failure::usage(format!("{} is there already; it was left alone", path.display()))
            .hinted("write over it with --force, or to another place with --config PATH")
    };
    if path.exists() && !force {
        return Err(there());
    }
    let context = &session.context;
    let name = choose::release(session, release).await?;
    let scope = Scope::Release(Some(name.clone()));
    let read = async {
        let snapshot = Box::pin(discover::glance(context, &scope, session.driver)).await?;
        let services = verify::list_services(context).await.map_err(anyhow::Error::from)?;
        Ok((snapshot, services))
    };
    let (snapshot, services) = session.unless_interrupted(read).await?;
    let services = verify::services_of(services, Some(&name), &snapshot.workloads);
    let declared = verify::declared_paths(&snapshot.workloads, &services);
    let text = config::init::text(&name, &declared, &services);
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    // What came in the meantime is not written over either.
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there(),
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())).into(),
    })?;
    let checks = declared.iter().filter(|path| path.service.is_some()).count();
    let text = format!("{} is written, with {}", path.display(), counted(checks, "check"));
    let own = json!({"source": path.display().to_string(), "checks": checks});
    Ok(Conclusion { document: session.document(), text, name: path.display().to_string(), own: Some(own) })
}

fn file(cli: &Cli) -> Option<PathBuf> {
    let nearest = || config::find_file(&std::env::current_dir().ok()?);
    cli.configuration.config.clone().or_else(nearest)
}

/// Here nothing goes on without a configuration.
fn unhinted(failure: Failure) -> Failure {
    Failure { next: Vec::new(), ..failure }
}

fn conclude(command: &ConfigCommand, loaded: &Loaded) -> Conclusion {
    let source = &loaded.source;
    let source_name = match source {
        Source::None => Value::Null,
        source => Value::from(source.to_string()),
    };
    let (text, own) = match command {
        ConfigCommand::View => {
            let shown = shown(loaded);
            let yaml = serde_saphyr::to_string(&shown).unwrap_or_default();
            let head = match source {
                Source::None => "# no configuration was found; these are the defaults".to_owned(),
                source => format!("# {source}"),
            };
            (format!("{head}\n{}", yaml.trim_end()), json!({"source": source_name, "config": shown}))
        }
        ConfigCommand::Init { .. } | ConfigCommand::Validate => {
            let text = match source {
                Source::None => "no configuration was found; everything works without".to_owned(),
                source => format!("{source} is valid"),
            };
            (text, json!({"source": source_name, "valid": true}))
        }
    };
    let document =
        ResultDocument::new(PROCEDURE, Outcome::Succeeded, ExitCode::Success, jiff::Timestamp::now());
    Conclusion { document, text, name: source.to_string(), own: Some(own) }
}

/// The configuration as it may be shown: the address of a webhook is its secret, and headers and commands may hold others.
fn shown(loaded: &Loaded) -> Value {
    let mut value = serde_json::to_value(&loaded.config).unwrap_or_default();
    let webhooks = &loaded.config.notify.webhooks;
    for (index, webhook) in webhooks.iter().enumerate() {
        if let (Some(address), Some(place)) =
            (&webhook.url, value.pointer_mut(&format!("/notify/webhooks/{index}/url")))
        {
            *place = address.shown().into();
        }
    }
    hide(&mut value);
    value
}

fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => {
            if let Some(Value::Object(headers)) = fields.get_mut("requestHeaders") {
                headers.values_mut().for_each(|header| *header = "***".into());
            }
            fields.values_mut().for_each(hide);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let text = r#"
verify:
  checks:
    - {name: a, http: {service: web, requestHeaders: {X-Key: HIDDEN1}}}
    - {name: b, http: {url: "https://user:HIDDEN2@example.com/health"}}
    - {name: c, exec: {workload: deploy/a, command: [psql, "postgres://u:HIDDEN3@db/x"]}}
notify:
  webhooks: [{name: slack, url: "https://hooks.example.com/HIDDEN4", format: slack}]
"#;
        let loaded = Loaded { config: config::parse("x", text).unwrap(), source: Source::None };
        let view = conclude(&ConfigCommand::View, &loaded);
        for shown in [view.text, view.own.unwrap().to_string()] {
            assert!(!shown.contains("HIDDEN"), "{shown}");
            assert!(shown.contains("https://hooks.example.com/…"), "{shown}");
        }
    }
}
