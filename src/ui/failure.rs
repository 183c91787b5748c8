//! The block that a failure ends with: what failed, why, the last log lines and events, and the next command.

use std::fmt::Write;

use super::Printer;
use crate::event::{Diagnosis, ObjectReference};

/// Renders the diagnoses of one workload.
pub fn failure_block(printer: &Printer, object: &ObjectReference, diagnoses: &[Diagnosis]) -> String {
    let mut text = String::new();
    for diagnosis in diagnoses {
        let code = printer.bad(&diagnosis.code.to_string());
        let mark = printer.bad("✘");
        let _ = writeln!(text, "{mark} {}/{}  {code}", object.kind, object.name);
        let _ = writeln!(text, "    {}", diagnosis.message);
        let mut facts = Vec::new();
        if let Some(pod) = &diagnosis.pod {
            facts.push(format!("pod {pod}"));
        }
        if let Some(container) = &diagnosis.container {
            facts.push(format!("container {container}"));
        }
        if let Some(code) = diagnosis.exit_code {
            facts.push(format!("exit code {code}"));
        }
        if diagnosis.restarts > 0 {
            let plural = if diagnosis.restarts == 1 { "" } else { "s" };
            facts.push(format!("{} restart{plural}", diagnosis.restarts));
        }
        if !facts.is_empty() {
            let _ = writeln!(text, "    {}", facts.join("   "));
        }
        if !diagnosis.logs.is_empty() {
            let _ = writeln!(text, "    last log lines:");
            for line in &diagnosis.logs {
                let _ = writeln!(text, "      {line}");
            }
        }
        if !diagnosis.events.is_empty() {
            let _ = writeln!(text, "    events:");
            for event in &diagnosis.events {
                let _ = writeln!(text, "      {event}");
            }
        }
        if !diagnosis.hint.is_empty() {
            let _ = writeln!(text, "    next: {}", diagnosis.hint);
        }
    }
    text
}
