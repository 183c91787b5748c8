//! `version`: it needs no cluster.

use serde_json::json;

use crate::cli::OutputFormat;
use crate::ui::Printer;

/// Prints the version.
pub fn version(printer: &Printer, format: OutputFormat) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        OutputFormat::Json | OutputFormat::Jsonl => {
            printer.result(&json!({"name": "kubectl-rollback", "version": version}).to_string());
        }
        OutputFormat::Yaml => printer.result(&format!("name: kubectl-rollback\nversion: {version}")),
        _ => printer.result(&format!("kubectl-rollback {version}")),
    }
    0
}
