//! The table of `preflight`.

use std::fmt::Write;

use super::Printer;
use super::table::aligned;
use crate::event::{Check, Finding, FindingStatus};
use crate::words::counted;

/// What the table is headed with.
pub struct PreflightHeader<'a> {
    /// The release, or what else is to be changed.
    pub subject: &'a str,
    /// Name of the kubeconfig context.
    pub context: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// What would be gone back to.
    pub target: &'a str,
}

/// Renders findings, the gravest last: there one looks first.
pub fn preflight_table(printer: &Printer, header: &PreflightHeader<'_>, findings: &[Finding]) -> String {
    let PreflightHeader { subject, context, namespace, target } = header;
    let mut text = String::new();
    let title = printer.strong("PREFLIGHT");
    let _ = writeln!(text, "{title}  {subject}   context {context}   namespace {namespace}");
    let _ = writeln!(text, "  target  {target}\n");
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| (rank(finding.status), finding.check));
    let rows = sorted.iter().map(|finding| {
        let subject = format!("{}  {}", check(finding.check), finding.subject);
        vec![mark(finding.status).to_owned(), subject, finding.message.clone()]
    });
    // Colours are added behind the alignment: their codes would count as width.
    for (line, finding) in aligned(rows).lines().zip(&sorted) {
        let sign = mark(finding.status);
        let rest = line.strip_prefix(sign).unwrap_or(line);
        let _ = writeln!(text, "  {}{rest}", coloured(printer, finding.status, sign));
        if !finding.hint.is_empty() && finding.status != FindingStatus::Pass {
            let _ = writeln!(text, "             hint: {}", finding.hint);
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (fail, warn) = (count(FindingStatus::Fail), count(FindingStatus::Warn));
    let _ = write!(
        text,
        "\n  {}: {} passed, {}, {} unknown, {fail} failed",
        counted(findings.len(), "check"),
        count(FindingStatus::Pass),
        counted(warn, "warning"),
        count(FindingStatus::Unknown),
    );
    text
}

fn rank(status: FindingStatus) -> u8 {
    match status {
        FindingStatus::Pass => 0,
        FindingStatus::Unknown => 1,
        FindingStatus::Warn => 2,
        FindingStatus::Fail => 3,
    }
}

fn mark(status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::Pass => "✔ pass   ",
        FindingStatus::Warn => "! warn   ",
        FindingStatus::Unknown => "? unknown",
        FindingStatus::Fail => "✘ fail   ",
    }
}

fn coloured(printer: &Printer, status: FindingStatus, text: &str) -> String {
    match status {
        FindingStatus::Pass => printer.good(text),
        FindingStatus::Warn | FindingStatus::Unknown => printer.caution(text),
        FindingStatus::Fail => printer.bad(text),
    }
}

/// The check's name as in JSON.
fn check(check: Check) -> String {
    let name = serde_json::to_value(check).ok();
    let name = name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    format!("{name:10}")
}
