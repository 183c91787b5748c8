//! The screen of `status`.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::{Modify, Padding, Style, object::Columns};

use super::Printer;
use crate::commands::StatusDocument;

/// Renders a status.
pub fn status_table(printer: &Printer, status: &StatusDocument) -> String {
    let mut text = String::new();
    if let Some(release) = &status.release {
        let name = printer.strong(&release.name);
        let _ = writeln!(
            text,
            "{name}  revision {} ({})  chart {}",
            release.revision, release.status, release.chart
        );
        if let Some(updated) = &release.updated {
            let _ = writeln!(text, "updated {updated}  {}", release.description);
        }
    }
    if let Some(problem) = &status.record_problem {
        let _ = writeln!(text, "{} {problem}", printer.bad("✘"));
    }
    if let Some(operation) = &status.open_operation {
        let _ = writeln!(text, "{} in progress: {operation}", printer.caution("!"));
    }
    for stuck in &status.stuck {
        let _ = writeln!(text, "{} {stuck}", printer.bad("✘"));
    }
    let _ = writeln!(text);
    let mut table = Builder::default();
    table.push_record(["WORKLOAD", "READY", "STATE", "CONTAINER", "IMAGE", "RECORD"]);
    for workload in &status.workloads {
        for (index, container) in workload.containers.iter().enumerate() {
            let first = |value: String| if index == 0 { value } else { String::new() };
            let record = match (&container.recorded, container.drift) {
                (Some(recorded), true) => format!("DRIFT: {recorded}"),
                (Some(_), false) => "same".to_owned(),
                (None, _) => "-".to_owned(),
            };
            table.push_record([
                first(workload.reference.clone()),
                first(format!("{}/{}", workload.ready_pods, workload.desired_pods)),
                first(workload.state.clone()),
                container.name.clone(),
                container.image.clone(),
                record,
            ]);
        }
    }
    let mut table = table.build();
    table.with(Style::blank()).with(Modify::new(Columns::new(..)).with(Padding::new(0, 1, 0, 0)));
    for line in table.to_string().lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for missing in &status.missing {
        let _ = writeln!(text, "{} {missing} is in the record, but not in the cluster", printer.caution("!"));
    }
    for owner in &status.owners {
        let _ = writeln!(text, "{} {}: {}", owner.kind, owner.name, owner.effect);
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "{} {warning}", printer.caution("!"));
    }
    if !status.stuck.is_empty() {
        let name = status.release.as_ref().map_or("RELEASE", |release| release.name.as_str());
        let _ = writeln!(
            text,
            "\nThe records are stuck unless somebody is at work: kubectl rollback repair {name} -n {}",
            status.namespace
        );
    }
    if status.drift {
        let name = status.release.as_ref().map_or("RELEASE", |release| release.name.as_str());
        let _ = writeln!(
            text,
            "\nHelm's record differs from what runs: kubectl rollback reconcile {name} -n {}",
            status.namespace
        );
    }
    text.trim_end().to_owned()
}
