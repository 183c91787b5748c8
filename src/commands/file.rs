//! Plans in files: read and written.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use crate::plan::saved::Saved;

/// Reads a plan that `procedure` is to carry out.
pub fn read<R: DeserializeOwned, P: DeserializeOwned>(
    path: &Path,
    procedure: &str,
) -> Result<Saved<R, P>, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::usage(format!("cannot read the plan {name}: {source}")))?;
    Saved::parse(&name, &text, procedure).map_err(|error| Failure::usage(error.to_string()))
}

/// Writes a plan; answers the command that carries it out.
pub fn write<R: Serialize, P: Serialize>(path: &Path, plan: &Saved<R, P>) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(plan).map_err(anyhow::Error::from)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("kubectl rollback {} --plan {}", plan.procedure, path.display()))
}
