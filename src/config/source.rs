//! Where the configuration stands: a file that was named, a file in this folder or one above it, or a ConfigMap of the
//! release's namespace. The first one found is the whole configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

use super::Config;
use crate::discover::list::{is_forbidden, is_not_found};

/// Name of the file that is looked for.
pub const FILE_NAME: &str = ".kubectl-rollback.yaml";
/// Name of the ConfigMap that is looked for.
pub const CONFIG_MAP: &str = "kubectl-rollback";
/// The ConfigMap's key.
const KEY: &str = "config.yaml";

/// Why there is no configuration where there should be one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What stands there is no configuration.
    #[error("{source_name}{}: {message}", position(*line, *column))]
    Parse {
        /// The file or ConfigMap.
        source_name: String,
        /// The line, from 1; 0 where it is not known.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// The ConfigMap lacks its key.
    #[error("{0} has no key {KEY}")]
    NoKey(Source),
    /// The ConfigMap cannot be read.
    #[error("cannot ask for the ConfigMap {CONFIG_MAP} of namespace {namespace}")]
    Ask {
        /// The namespace.
        namespace: String,
        /// Why not.
        source: kube::Error,
    },
}

fn position(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}:{column}") }
}

/// Where a configuration was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In a ConfigMap.
    ConfigMap {
        /// Its namespace.
        namespace: String,
    },
    /// Nowhere.
    None,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::ConfigMap { namespace } => write!(formatter, "ConfigMap {namespace}/{CONFIG_MAP}"),
            Self::None => formatter.write_str("no configuration"),
        }
    }
}

/// A configuration and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Where.
    pub source: Source,
}

/// Reads a configuration; `source_name` stands in the error.
pub fn parse(source_name: &str, text: &str) -> Result<Config, ConfigError> {
    let is_blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || matches!(line, "---" | "{}")
    };
    if text.lines().all(is_blank) {
        return Ok(Config::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = error.location().filter(|location| location.line() > 0);
        let (line, column) = location.map_or((0, 0), |location| (location.line(), location.column()));
        // The position stands in front of it already.
        let message = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let repeated = format!(" at line {line}, column {column}");
        let message = message.strip_suffix(&repeated).unwrap_or(&message).to_owned();
        ConfigError::Parse { source_name: source_name.to_owned(), line, column, message }
    })
}

/// Reads a file.
pub fn read_file(path: &Path) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let config = parse(&path.display().to_string(), &text)?;
    Ok(Loaded { config, source: Source::File(path.to_owned()) })
}

/// The nearest file in a folder or one above it.
pub fn find_file(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
}

/// Reads what is in force: the file that was named, the nearest file, the namespace's ConfigMap, or nothing. Where the
/// ConfigMap may not be read, there is none for us.
pub async fn load(
    named: Option<&Path>,
    client: &kube::Client,
    namespace: &str,
) -> Result<Loaded, ConfigError> {
    if let Some(path) = named {
        return read_file(path);
    }
    let nearest = std::env::current_dir().ok().and_then(|folder| find_file(&folder));
    if let Some(path) = nearest {
        return read_file(&path);
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = match api.get(CONFIG_MAP).await {
        Ok(found) => found,
        Err(error) if is_not_found(&error) || is_forbidden(&error) => {
            return Ok(Loaded { config: Config::default(), source: Source::None });
        }
        Err(source) => return Err(ConfigError::Ask { namespace: namespace.to_owned(), source }),
    };
    let source = Source::ConfigMap { namespace: namespace.to_owned() };
    match found.data.as_ref().and_then(|data| data.get(KEY)) {
        Some(text) => Ok(Loaded { config: parse(&source.to_string(), text)?, source }),
        None => Err(ConfigError::NoKey(source)),
    }
}
