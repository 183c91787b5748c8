//! The one screen before the confirmation: what changes, what does not and why, who would undo it.

use std::collections::BTreeMap;
use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Style;
use tabled::settings::object::Rows;
use tabled::settings::{Modify, Padding};

use super::Printer;
use crate::event::{Finding, FindingStatus};
use crate::plan::strategy::Strategy;
use crate::plan::{Plan, WorkloadPlan};
use crate::words::{counted, image_target};

/// Renders a plan.
pub fn plan_screen(
    printer: &Printer,
    plan: &Plan,
    context: &str,
    namespace: &str,
    findings: &[Finding],
    wide: bool,
) -> String {
    let mut text = String::new();
    let subject =
        plan.release.as_ref().map_or_else(|| "workloads".to_owned(), |release| release.name.clone());
    let title = printer.strong("EMERGENCY ROLLBACK");
    let _ = writeln!(text, "{title}  {subject}   context {context}   namespace {namespace}");
    if let Some(release) = &plan.release {
        let _ = writeln!(text, "  now     revision {}  {}", release.current_revision, release.current_status);
    }
    let same = plan
        .same_images_as
        .map(|revision| format!("  (the images of revision {revision})"))
        .unwrap_or_default();
    let _ = writeln!(text, "  target  {}{same}\n", plan.target);

    if !plan.workloads.is_empty() {
        let _ = writeln!(text, "{}", indent(&changes(plan, wide)));
    }
    for reference in &plan.unchanged {
        let _ = writeln!(text, "  {reference} is at the target already");
    }
    summary(&mut text, printer, plan);
    if let Some(step) = &plan.database {
        text.push_str(&super::database_plan(printer, step));
    }
    not_touched(&mut text, plan);
    checks(&mut text, printer, findings);
    if let Some(revision) = plan.same_images_as {
        let release = plan.release.as_ref().map_or("", |release| release.name.as_str());
        let _ = writeln!(
            text,
            "  Only images change here. Revision {revision} of {release} has exactly these images; `kubectl rollback to {release} {revision}`\n  would also bring back its ConfigMaps and the rest of its manifest."
        );
    }
    text
}

fn changes(plan: &Plan, wide: bool) -> String {
    let mut table = Builder::default();
    let mut header = vec!["WORKLOAD", "CONTAINER", "IMAGE", "REPLICAS", "STRATEGY"];
    if wide {
        header.push("WHY");
    }
    table.push_record(header);
    for workload in &plan.workloads {
        let replicas = workload.replicas.map_or_else(
            || "-".to_owned(),
            |replicas| match workload.strategy {
                Strategy::StopFirst => format!("{} → 0 → {}", replicas.live, replicas.after),
                Strategy::Rolling if replicas.live == replicas.after => replicas.live.to_string(),
                Strategy::Rolling => format!("{} → {}", replicas.live, replicas.after),
            },
        );
        let strategy = format!("{} ({})", workload.strategy.as_str(), workload.why);
        let name = workload.workload.to_string();
        if workload.containers.is_empty() {
            push(
                &mut table,
                [name, "-".into(), "(unchanged)".into(), replicas, strategy],
                wide.then(String::new),
            );
            continue;
        }
        for (index, change) in workload.containers.iter().enumerate() {
            let first = |text: &String| if index == 0 { text.clone() } else { String::new() };
            let container = if change.init { format!("{} (init)", change.name) } else { change.name.clone() };
            let row = [
                first(&name),
                container,
                image_change(&change.from, &change.to.to_string()),
                first(&replicas),
                first(&strategy),
            ];
            push(&mut table, row, wide.then(|| change.why.clone()));
        }
    }
    let mut table = table.build();
    table.with(Style::blank()).with(Modify::new(Rows::new(..)).with(Padding::new(0, 1, 0, 0)));
    table.to_string()
}

fn push(table: &mut Builder, row: [String; 5], why: Option<String>) {
    table.push_record(row.into_iter().chain(why));
}

/// `repository:old → new`, or both whole where the repository changes or a digest is replaced.
pub(super) fn image_change(from: &str, to: &str) -> String {
    if from.contains('@') {
        return format!("{from} → {to} (the digest is replaced by the tag)");
    }
    format!("{from} → {}", image_target(from, to))
}

fn summary(text: &mut String, printer: &Printer, plan: &Plan) {
    let stopped: Vec<&WorkloadPlan> =
        plan.workloads.iter().filter(|workload| workload.strategy == Strategy::StopFirst).collect();
    let killed: usize = stopped.iter().map(|workload| workload.pods_killed()).sum();
    if !stopped.is_empty() {
        let line = format!(
            "  {} of {} {} stopped first; that ends {}.",
            stopped.len(),
            counted(plan.workloads.len(), "workload"),
            if stopped.len() == 1 { "is" } else { "are" },
            counted(killed, "Ready pod")
        );
        let _ = writeln!(text, "{}", if killed > 0 { printer.caution(&line) } else { line });
    }
    for workload in plan.workloads.iter().filter(|workload| workload.unstick) {
        let _ = writeln!(
            text,
            "  {}: broken pods of the old revision are deleted after the write.",
            workload.workload
        );
    }
}

fn not_touched(text: &mut String, plan: &Plan) {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for skipped in &plan.skipped {
        by_reason.entry(&skipped.why).or_default().push(&skipped.what);
    }
    let and = if by_reason.is_empty() { "" } else { ", and" };
    let database = if plan.database.is_some() { "" } else { "database, " };
    let _ = writeln!(text, "\n  Not touched: {database}Secrets, ConfigMaps, volumes{and}");
    for (why, what) in by_reason {
        let _ = writeln!(text, "    {}: {why}", what.join(", "));
    }
}

pub(super) fn checks(text: &mut String, printer: &Printer, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let passed = findings.iter().filter(|finding| finding.status == FindingStatus::Pass).count();
    let _ = writeln!(text, "\n  Checks: {passed} of {} passed", findings.len());
    for finding in findings {
        let mark = match finding.status {
            FindingStatus::Pass => continue,
            FindingStatus::Warn => printer.caution("! warn   "),
            FindingStatus::Unknown => printer.caution("? unknown"),
            FindingStatus::Fail => printer.bad("✘ fail   "),
        };
        let _ = writeln!(text, "    {mark} {}: {}", finding.subject, finding.message);
        if !finding.hint.is_empty() {
            let _ = writeln!(text, "              hint: {}", finding.hint);
        }
    }
}

fn indent(table: &str) -> String {
    table.lines().map(|line| format!("  {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_changes_are_short_where_the_repository_stays() {
        assert_eq!(image_change("acme/web:a", "acme/web:b"), "acme/web:a → b");
        assert_eq!(
            image_change("localhost:5000/web", "localhost:5000/web:b"),
            "localhost:5000/web → localhost:5000/web:b"
        );
        assert_eq!(image_change("acme/web:a", "mirror/web:b"), "acme/web:a → mirror/web:b");
        assert!(image_change("acme/web@sha256:00", "acme/web:b").contains("digest is replaced"));
    }
}
