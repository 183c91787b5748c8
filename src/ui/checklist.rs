//! The screen of `checklist`.

use std::fmt::Write;

use super::Printer;
use super::table::one_line;
use crate::report::checklist::Checklist;

/// Renders a checklist.
pub fn checklist_screen(printer: &Printer, list: &Checklist) -> String {
    let mut text = format!(
        "after operation {}  {}   {} of {} done\n",
        list.operation,
        one_line(&list.subject, Some(60)),
        list.done,
        list.items.len()
    );
    for item in &list.items {
        let tick = if item.done { printer.good("[x]") } else { "[ ]".to_owned() };
        let who = match (&item.by, item.at) {
            (Some(by), Some(at)) => format!("{} {}", one_line(by, Some(40)), at.strftime("%H:%MZ")),
            (Some(by), None) => one_line(by, Some(40)),
            (None, _) => one_line(&item.owner, Some(40)),
        };
        let _ = writeln!(text, "  {tick} {:<16} {:<47} {who}", item.id, item.text);
        for line in item.note.iter().chain(&item.evidence) {
            let _ = writeln!(text, "      {:<16} {}", "", one_line(line, Some(110)));
        }
    }
    let _ = write!(
        text,
        "\n  kubectl rollback checklist {} done ITEM --note TEXT -n {}",
        list.operation, list.namespace
    );
    text
}
