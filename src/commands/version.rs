//! `version` and `completion`: they need no cluster.

use clap_complete::Shell;
use serde_json::json;

use crate::cli::{Cli, OutputFormat};
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

/// Prints a completion script.
pub fn completion(printer: &Printer, shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Cli::command_for("kubectl-rollback"),
        "kubectl-rollback",
        &mut script,
    );
    printer.result(String::from_utf8_lossy(&script).trim_end());
    0
}
