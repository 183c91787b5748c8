//! `report`: writes the report of an operation from its journal.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::{Conclusion, Failure, Session, operation};
use crate::cli::{OutputFormat, ReportArgs};
use crate::report::{API_VERSION, incident};

/// Runs the command.
pub async fn run(session: &Session, arguments: &ReportArgs) -> Result<Conclusion, Failure> {
    session.start(arguments.release.as_deref(), "report");
    let wanted = operation::newest(session, arguments.operation.as_deref(), arguments.release.as_deref());
    let opened = session.unless_interrupted(wanted).await?;
    let report = incident::assemble(&opened.journal, opened.state);
    let own = serde_json::to_value(&report).map_err(anyhow::Error::from)?;
    let text = match session.output.output {
        OutputFormat::Html => incident::html(&report),
        _ => incident::markdown(&report),
    };
    let name = format!("operation/{}", report.operation);
    let mut conclusion = Conclusion { document: session.document(), text, name, own: Some(own) };
    if arguments.file != Path::new("-") {
        let path = arguments.file.display();
        let content = match session.output.output {
            OutputFormat::Json | OutputFormat::Yaml => conclusion.rendered(session.output.output),
            _ => conclusion.text.clone(),
        };
        std::fs::write(&arguments.file, content.trim_end().to_owned() + "\n")
            .with_context(|| format!("cannot write {path}"))?;
        // The document is in the file: stdout says only where.
        conclusion.own = Some(json!({
            "apiVersion": API_VERSION, "kind": "Written", "operation": report.operation, "file": arguments.file,
        }));
        conclusion.text = format!("report of operation {} written to {path}", report.operation);
    }
    Ok(conclusion)
}
