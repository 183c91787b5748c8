//! Differences of objects as text: one block an object, one line a field, long texts line by line.

use std::fmt::Write;

use serde_json::Value;

use super::Printer;
use crate::plan::diff::FieldChange;
use crate::plan::rollback::forecast::{ObjectChange, ObjectDiff};

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// Fields an object; the others are counted.
    pub fields: usize,
    /// Lines of context around changed lines of long texts; `None` only counts those lines.
    pub context_lines: Option<usize>,
}

/// Renders the objects that will be different, and those that stay for a reason.
pub fn diff_text(printer: &Printer, differences: &[ObjectDiff], detail: Detail) -> String {
    let mut text = String::new();
    for diff in differences {
        let name = &diff.key;
        let why = diff.why.as_deref().unwrap_or_default();
        let line = match diff.change {
            ObjectChange::Unchanged => continue,
            ObjectChange::Created => printer.good(&format!("+ {name}")),
            ObjectChange::Changed => printer.caution(&format!("~ {name}")),
            ObjectChange::Deleted => printer.bad(&format!("- {name}")),
            ObjectChange::Kept => format!("= {name} stays: {why}"),
            ObjectChange::Refused => printer.bad(&format!("✘ {name} is refused: {why}")),
            ObjectChange::Unknown => printer.caution(&format!("? {name}: {why}")),
        };
        let _ = writeln!(text, "{line}");
        for field in diff.fields.iter().take(detail.fields) {
            push_field(&mut text, printer, field, detail);
        }
        if diff.fields.len() > detail.fields {
            let _ = writeln!(text, "    … and {} more fields", diff.fields.len() - detail.fields);
        }
        for owner in &diff.stays {
            let _ = writeln!(text, "    stays as it was set beside Helm: {owner}");
        }
    }
    text
}

/// `6 changed, 1 created, 31 unchanged`.
pub fn diff_summary(differences: &[ObjectDiff]) -> String {
    let kinds = [
        (ObjectChange::Changed, "changed"),
        (ObjectChange::Created, "created"),
        (ObjectChange::Deleted, "deleted"),
        (ObjectChange::Kept, "kept"),
        (ObjectChange::Refused, "refused"),
        (ObjectChange::Unknown, "unknown"),
        (ObjectChange::Unchanged, "unchanged"),
    ];
    kinds
        .iter()
        .map(|(kind, word)| (differences.iter().filter(|diff| diff.change == *kind).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn push_field(text: &mut String, printer: &Printer, field: &FieldChange, detail: Detail) {
    let drift = if field.drift { "  (drift: it was changed beside Helm)" } else { "" };
    let path = &field.path;
    let (before, after) = (shown(&field.before), shown(&field.after));
    if !is_long(&before) && !is_long(&after) {
        let _ = writeln!(text, "    {path}: {before} → {after}{drift}");
        return;
    }
    let _ = writeln!(text, "    {path}:{drift}");
    let diff = similar::TextDiff::from_lines(&before, &after);
    let Some(context) = detail.context_lines else {
        let changed = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let (added, removed) = (changed(similar::ChangeTag::Insert), changed(similar::ChangeTag::Delete));
        let _ = writeln!(text, "      {removed} lines go, {added} lines come");
        return;
    };
    for group in diff.grouped_ops(context) {
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                similar::ChangeTag::Delete => printer.bad(&format!("- {line}")),
                similar::ChangeTag::Insert => printer.good(&format!("+ {line}")),
                similar::ChangeTag::Equal => format!("  {line}"),
            };
            let _ = writeln!(text, "      {line}");
        }
    }
}

fn is_long(text: &str) -> bool {
    text.contains('\n')
}

/// A value as a person writes it: text bare, nothing as `(none)`, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
