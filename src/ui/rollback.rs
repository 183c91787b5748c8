//! The one screen before a rollback is confirmed: from where to where and why that revision, what changes, what does not,
//! who would undo it.

use std::fmt::Write;

use super::Printer;
use super::diff::{Detail, diff_summary, diff_text};
use super::plan::checks;
use crate::discover::rollback::RollbackSnapshot;
use crate::event::Finding;
use crate::helm::record::Record;
use crate::plan::rollback::RollbackPlan;
use crate::plan::rollback::forecast::ObjectDiff;

/// Fields an object that the screen shows; `diff` shows them all.
const FIELDS: usize = 6;

/// What the screen is made from.
pub struct RollbackScreen<'a> {
    /// What was found.
    pub snapshot: &'a RollbackSnapshot,
    /// What will be done.
    pub plan: &'a RollbackPlan,
    /// What the server makes of it.
    pub differences: &'a [ObjectDiff],
    /// Results of the checks.
    pub findings: &'a [Finding],
    /// Name of the kubeconfig context.
    pub context: &'a str,
    /// The words before the release's name.
    pub title: &'a str,
}

/// Renders the plan of a rollback.
pub fn rollback_screen(printer: &Printer, screen: &RollbackScreen<'_>) -> String {
    let RollbackScreen { snapshot, plan, differences, findings, context, title } = screen;
    let mut text = String::new();
    let title = printer.strong(title);
    let _ = writeln!(text, "{title}  {}   context {context}   namespace {}", plan.release, plan.namespace);
    let current = describe(&snapshot.current.record);
    let _ =
        writeln!(text, "  now     revision {}  {}  {current}", plan.current_revision, plan.current_status);
    let why = if snapshot.choice.named { "as asked for" } else { "the last good one" };
    let _ = writeln!(
        text,
        "  target  revision {}  {why}  {}; the result becomes revision {}",
        plan.target_revision,
        describe(&snapshot.target.record),
        plan.new_revision
    );
    for (revision, reason) in &snapshot.choice.skipped {
        let _ = writeln!(text, "          revision {revision} is passed over: {reason}");
    }
    if !snapshot.choice.named && snapshot.choice.helm != Some(plan.target_revision) {
        let would = snapshot.choice.helm.map_or_else(
            || "nothing: the revision before the current one is not stored".to_owned(),
            |revision| format!("revision {revision}"),
        );
        let _ = writeln!(text, "          plain `helm rollback` would choose {would}");
    }
    let _ = writeln!(text, "\n  {}", diff_summary(differences));
    let detail = Detail { fields: FIELDS, context_lines: None };
    for line in diff_text(printer, differences, detail).lines() {
        let _ = writeln!(text, "  {line}");
    }
    for hook in &plan.hooks {
        let _ = writeln!(
            text,
            "  {} hook of revision {}: {}/{}",
            hook.event, plan.target_revision, hook.kind, hook.name
        );
    }
    for workload in &plan.unstick {
        let _ = writeln!(text, "  {workload}: broken pods of the old revision are deleted after the write.");
    }
    for restart in &plan.restarts {
        let because = restart.because.join(", ");
        let _ = if restart.planned {
            writeln!(text, "  {} is restarted, because {because} changes.", restart.workload)
        } else {
            let line = format!(
                "{} keeps the old contents of {because} until its pods are restarted (--restart).",
                restart.workload
            );
            writeln!(text, "  {}", printer.caution(&line))
        };
    }
    let _ = writeln!(
        text,
        "\n  Not touched: database, data on volumes, and what others have set on these objects."
    );
    checks(&mut text, printer, findings);
    text
}

/// `todo-app-1.0.1, deployed 2026-02-06T10:00:00Z`.
fn describe(record: &Record) -> String {
    let time = record
        .last_deployed()
        .and_then(|time| time.round(jiff::Unit::Second).ok())
        .map(|time| format!(", deployed {time}"))
        .unwrap_or_default();
    format!("{}{time}", record.chart_label())
}
