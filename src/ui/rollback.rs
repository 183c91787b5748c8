//! The one screen before a rollback is confirmed: from where to where and why that revision, what changes, what does not,
//! who would undo it.

use std::fmt::Write;

use jiff::Timestamp;

use super::Printer;
use super::diff::{Detail, diff_summary, diff_text};
use super::plan::checks;
use super::table::age;
use crate::discover::rollback::{ChosenBy, RollbackSnapshot};
use crate::event::{Finding, FindingStatus};
use crate::helm::record::Record;
use crate::plan::rollback::RollbackPlan;
use crate::plan::rollback::forecast::{ObjectChange, ObjectDiff};

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
    /// The time, for ages.
    pub now: Timestamp,
    /// The words before the release's name.
    pub title: &'a str,
}

/// Renders the plan of a rollback.
pub fn rollback_screen(printer: &Printer, screen: &RollbackScreen<'_>) -> String {
    let RollbackScreen { snapshot, plan, differences, findings, context, now, title } = screen;
    let mut text = String::new();
    let title = printer.strong(title);
    let _ = writeln!(text, "{title}  {}   context {context}   namespace {}", plan.release, plan.namespace);
    let why = snapshot.choice.by.why();
    let width = plan.current_status.len().max(why.len());
    let digits = plan.new_revision.to_string().len();
    let _ = writeln!(
        text,
        "  now     revision {:<digits$}  {:width$}  {}",
        plan.current_revision,
        plan.current_status,
        describe(&snapshot.current.record, *now)
    );
    let _ = writeln!(
        text,
        "  target  revision {:<digits$}  {why:width$}  {}",
        plan.target_revision,
        describe(&snapshot.target.record, *now)
    );
    if let Some(doubt) = &snapshot.choice.doubt {
        let line = format!("revision {} may be a bad target: {doubt}", plan.target_revision);
        let _ = writeln!(text, "          {}", printer.caution(&line));
    }
    for (revision, reason) in &snapshot.choice.skipped {
        let _ = writeln!(text, "          revision {revision} is passed over: {reason}");
    }
    if snapshot.choice.by == ChosenBy::Search && snapshot.choice.helm != Some(plan.target_revision) {
        let _ = match snapshot.choice.helm {
            Some(revision) => {
                writeln!(text, "          plain `helm rollback` would choose revision {revision}")
            }
            None => writeln!(
                text,
                "          plain `helm rollback` would fail: the revision before the current one is not stored"
            ),
        };
    }
    let _ = writeln!(text, "  result  revision {:<digits$}  «{}»", plan.new_revision, plan.description);
    let _ = writeln!(text, "\n  {}", diff_summary(differences));
    let detail = Detail { fields: FIELDS, context_lines: None };
    for line in diff_text(printer, differences, detail).lines() {
        let _ = writeln!(text, "  {line}");
    }
    if !plan.hooks.is_empty() {
        let hooks: Vec<String> =
            plan.hooks.iter().map(|hook| format!("{}/{} ({})", hook.kind, hook.name, hook.event)).collect();
        let _ = writeln!(text, "  Hooks of revision {} run: {}", plan.target_revision, hooks.join(", "));
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
    if let Some(step) = &plan.database {
        let _ = write!(text, "\n{}", super::database_plan(printer, step));
    }
    let databases = if plan.database.is_some() { "" } else { "databases, " };
    let _ = writeln!(
        text,
        "\n  Not touched: {databases}data on volumes, and fields that only others have set on these objects."
    );
    // What stays, and why, stands among the objects already.
    let is_told = |finding: &Finding| {
        let is_kept =
            |diff: &ObjectDiff| diff.change == ObjectChange::Kept && diff.key.to_string() == finding.subject;
        finding.status == FindingStatus::Warn && differences.iter().any(is_kept)
    };
    let findings: Vec<Finding> = findings.iter().filter(|finding| !is_told(finding)).cloned().collect();
    checks(&mut text, printer, &findings);
    text
}

/// `todo-app-1.0.1, deployed 2026-02-06 10:00Z (12m ago)`.
fn describe(record: &Record, now: Timestamp) -> String {
    let deployed = record
        .last_deployed()
        .map(|time| format!(", deployed {} ({} ago)", time.strftime("%Y-%m-%d %H:%MZ"), age(time, now)));
    format!("{}{}", record.chart_label(), deployed.unwrap_or_default())
}
