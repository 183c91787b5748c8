//! The database whose migrations go with the application: which program keeps them, and where it is run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{Text, Wait, Workload};

/// Time that a downgrade waits for a lock, where nothing is said.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a downgrade may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Time that reading a revision may take, where nothing is said.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A database whose migrations go with the application
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DatabaseFields", into = "DatabaseFields")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DatabaseConfig {
    /// Which program keeps the migrations.
    pub adapter: Adapter,
    /// The workload in whose image and environment it is run.
    pub workload: Workload,
    /// The container of it; the first where nothing is said.
    pub container: Option<Text>,
    /// How the program is called, in place of the adapter's own words.
    pub program: Vec<String>,
    /// The folder that it is run in; the container's own where nothing is said.
    pub directory: Option<Text>,
    /// The commands of a program that we do not know.
    pub commands: Option<Commands>,
    /// Workloads that use the database; those whose images change where nothing is said.
    pub uses: Vec<Workload>,
    /// Labels of the pods that we make, where a `NetworkPolicy` asks for some.
    pub pod_labels: BTreeMap<String, String>,
    /// Time that a downgrade waits for a lock; zero means for ever.
    pub lock_timeout: Duration,
    /// Time that one statement of a downgrade may take; zero means no limit.
    pub statement_timeout: Duration,
    /// Time that a downgrade may take.
    pub timeout: Duration,
    /// Time that reading a revision may take.
    pub read_timeout: Duration,
}

impl DatabaseConfig {
    /// What holds where nothing but the program and the workload is said.
    pub fn of(adapter: Adapter, workload: Workload) -> Self {
        Self {
            adapter,
            workload,
            container: None,
            program: adapter.program(),
            directory: None,
            commands: None,
            uses: Vec::new(),
            pod_labels: BTreeMap::new(),
            lock_timeout: LOCK_TIMEOUT,
            statement_timeout: Duration::ZERO,
            timeout: TIMEOUT,
            read_timeout: READ_TIMEOUT,
        }
    }
}

/// A program that keeps migrations
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    /// Alembic (`SQLAlchemy`)
    Alembic,
    /// Django's migrate
    Django,
    /// Flyway; going back needs its undo migrations
    Flyway,
    /// Commands of your own
    Command,
}

impl Adapter {
    /// The word on the command line and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alembic => "alembic",
            Self::Django => "django",
            Self::Flyway => "flyway",
            Self::Command => "command",
        }
    }

    /// How the program is called where nothing else is said.
    fn program(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Alembic => &["alembic"],
            Self::Django => &["python", "manage.py"],
            Self::Flyway => &["flyway"],
            Self::Command => &[],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

/// Commands for a program that we do not know; each is a list of words, `{from}` and `{to}` are filled in
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Commands {
    /// Prints the revision that the database is at; nothing where it is at none
    pub current: Vec<String>,
    /// Prints the revisions that an image knows, one a line with its description behind it, newest first
    pub history: Vec<String>,
    /// Takes the database back to the revision {to}
    pub downgrade: Vec<String>,
    /// Prints the SQL of that without running it
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sql: Vec<String>,
}

/// A database whose migrations go with the application
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "DatabaseConfig"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DatabaseFields {
    /// The program that keeps the migrations
    adapter: Adapter,
    /// The workload in whose image and environment it is run
    workload: Workload,
    /// The container of it; the first where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Text>,
    /// How the program is called: [poetry, run, alembic]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    program: Vec<String>,
    /// The folder that it is run in; the container's own where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<Text>,
    /// The commands of a program that we do not know; with adapter command
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<Commands>,
    /// Workloads that use the database and are stopped while it goes back; those whose images change where nothing is said
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    uses: Vec<Workload>,
    /// Labels of the pods that run it, where a `NetworkPolicy` asks for some
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pod_labels: BTreeMap<String, String>,
    /// Time that a downgrade waits for a lock; 10s where nothing is said, 0s means for ever
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_timeout: Option<Wait>,
    /// Time that one statement of a downgrade may take; no limit where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    statement_timeout: Option<Wait>,
    /// Time that a downgrade may take; 10m where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Wait>,
    /// Time that reading a revision may take; 60s where nothing is said
    #[serde(skip_serializing_if = "Option::is_none")]
    read_timeout: Option<Wait>,
}

impl TryFrom<DatabaseFields> for DatabaseConfig {
    type Error = String;

    fn try_from(fields: DatabaseFields) -> Result<Self, String> {
        let DatabaseFields { adapter, workload, container, program, directory, commands, uses, .. } = fields;
        if (adapter == Adapter::Command) != commands.is_some() {
            return Err(match adapter {
                Adapter::Command => "database: adapter command needs commands".to_owned(),
                _ => format!("database: commands go with adapter command, not with {}", adapter.as_str()),
            });
        }
        if adapter == Adapter::Command && !program.is_empty() {
            return Err("database: adapter command has commands, and no program".to_owned());
        }
        if let Some(commands) = &commands
            && [&commands.current, &commands.history, &commands.downgrade]
                .iter()
                .any(|words| words.is_empty())
        {
            return Err("database: a command needs at least one word".to_owned());
        }
        let limits = [fields.timeout, fields.read_timeout];
        if limits.iter().flatten().any(|limit| limit.0.is_zero()) {
            return Err("database: timeout and readTimeout are longer than nothing".to_owned());
        }
        let blank = Self::of(adapter, workload);
        let or = |given: Option<Wait>, otherwise: Duration| given.map_or(otherwise, |wait| wait.0);
        Ok(Self {
            container,
            program: if program.is_empty() { blank.program.clone() } else { program },
            directory,
            commands,
            uses,
            pod_labels: fields.pod_labels,
            lock_timeout: or(fields.lock_timeout, blank.lock_timeout),
            statement_timeout: or(fields.statement_timeout, blank.statement_timeout),
            timeout: or(fields.timeout, blank.timeout),
            read_timeout: or(fields.read_timeout, blank.read_timeout),
            ..blank
        })
    }
}

impl From<DatabaseConfig> for DatabaseFields {
    fn from(config: DatabaseConfig) -> Self {
        let blank = DatabaseConfig::of(config.adapter, config.workload.clone());
        let unless = |given: Duration, otherwise: Duration| (given != otherwise).then_some(Wait(given));
        Self {
            program: if config.program == blank.program { Vec::new() } else { config.program },
            lock_timeout: unless(config.lock_timeout, blank.lock_timeout),
            statement_timeout: unless(config.statement_timeout, blank.statement_timeout),
            timeout: unless(config.timeout, blank.timeout),
            read_timeout: unless(config.read_timeout, blank.read_timeout),
            adapter: config.adapter,
            workload: config.workload,
            container: config.container,
            directory: config.directory,
            commands: config.commands,
            uses: config.uses,
            pod_labels: config.pod_labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DatabaseConfig, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = read("{adapter: alembic, workload: deploy/web}").unwrap();
        assert_eq!(config.program, ["alembic"]);
        assert_eq!((config.lock_timeout.as_secs(), config.timeout.as_secs()), (10, 600));
        let config = read("{adapter: django, workload: deploy/web, lockTimeout: 0s, timeout: 1h, program: [uv, run, manage.py]}").unwrap();
        assert_eq!((config.lock_timeout.as_secs(), config.timeout.as_secs()), (0, 3600));
        let written = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(read(&written).unwrap(), config, "{written}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (text, said) in [
            ("{adapter: command, workload: deploy/web}", "needs commands"),
            (
                "{adapter: alembic, workload: deploy/web, commands: {current: [a], history: [a], downgrade: [a]}}",
                "go with adapter command",
            ),
            (
                "{adapter: command, workload: deploy/web, program: [x], commands: {current: [a], history: [a], downgrade: [a]}}",
                "no program",
            ),
            (
                "{adapter: command, workload: deploy/web, commands: {current: [], history: [a], downgrade: [a]}}",
                "at least one word",
            ),
            ("{adapter: liquibase, workload: deploy/web}", "liquibase"),
            ("{adapter: alembic, workload: web}", "KIND/NAME"),
            ("{adapter: alembic, workload: deploy/web, timeout: 0s}", "longer than nothing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
