//! The table of checks after a rollback.

use super::Printer;
use super::table::{aligned, one_line};
use crate::event::{FindingStatus, Verification};
use crate::words::counted;

/// Characters of a message on its line.
const LONGEST: usize = 100;

/// Renders the results: all of them, or only those that are worth reading.
pub fn verify_table(printer: &Printer, results: &[Verification], all: bool) -> String {
    let shown: Vec<&Verification> =
        results.iter().filter(|result| all || result.status != FindingStatus::Pass).collect();
    let mut lines = Vec::new();
    if !shown.is_empty() {
        let mut rows = vec![["", "CHECK", "SUBJECT", "RESULT", "TIME"].map(str::to_owned).to_vec()];
        rows.extend(shown.iter().map(|result| {
            let word = match result.status {
                FindingStatus::Pass => "pass",
                FindingStatus::Warn => "warn",
                FindingStatus::Fail => "fail",
                FindingStatus::Unknown => "unknown",
            };
            let seconds = format!("{}.{}s", result.elapsed_ms / 1000, result.elapsed_ms % 1000 / 100);
            vec![
                word.to_owned(),
                result.check.clone(),
                result.subject.clone(),
                one_line(&result.message, Some(LONGEST)),
                seconds,
            ]
        }));
        lines.push(aligned(rows));
        for result in shown.iter().filter(|result| !result.hint.is_empty()) {
            lines.push(format!("  {}: {}", result.subject, result.hint));
        }
    }
    lines.push(summary(printer, results));
    lines.join("\n")
}

/// `12 checks: 10 passed, 1 failed, 1 unknown`.
pub fn summary(printer: &Printer, results: &[Verification]) -> String {
    let count = |status: FindingStatus| results.iter().filter(|result| result.status == status).count();
    let words: Vec<String> = [
        (FindingStatus::Pass, "passed"),
        (FindingStatus::Fail, "failed"),
        (FindingStatus::Warn, "to be looked at"),
        (FindingStatus::Unknown, "unknown"),
    ]
    .into_iter()
    .filter(|(status, _)| count(*status) > 0)
    .map(|(status, word)| format!("{} {word}", count(status)))
    .collect();
    let mark = if count(FindingStatus::Fail) > 0 {
        printer.bad("✘")
    } else if count(FindingStatus::Pass) == results.len() {
        printer.good("✔")
    } else {
        printer.caution("!")
    };
    let words = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
    format!("{mark} {}{words}", counted(results.len(), "check"))
}
