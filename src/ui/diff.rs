//! Differences of objects as text: one block an object, one line a field, long texts line by line.

use std::fmt::Write;

use serde_json::Value;

use super::Printer;
use super::plan::image_change;
use crate::plan::diff::{FieldChange, HIDDEN};
use crate::plan::rollback::forecast::{ObjectChange, ObjectDiff};
use crate::words::counted;

/// Both values of a field together, above which they get lines of their own or are cut.
const LONGEST_CHANGE: usize = 100;

/// Characters of a digest that are shown.
const DIGEST: usize = 8;

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
        let _ = writeln!(text, "{}", line.trim_end_matches([':', ' ']));
        for field in diff.fields.iter().take(detail.fields) {
            push_field(&mut text, printer, field, detail);
        }
        if diff.fields.len() > detail.fields {
            let more = counted(diff.fields.len() - detail.fields, "more field");
            let _ = writeln!(text, "    … and {more}");
        }
        for owner in &diff.stays {
            let _ = writeln!(text, "    stays as it was set beside Helm: {owner}");
        }
    }
    text
}

/// `38 objects: 6 changed, 1 created, 31 unchanged`.
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
    let counts = kinds
        .iter()
        .map(|(kind, word)| (differences.iter().filter(|diff| diff.change == *kind).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>();
    format!("{}: {}", counted(differences.len(), "object"), counts.join(", "))
}

fn push_field(text: &mut String, printer: &Printer, field: &FieldChange, detail: Detail) {
    let drift = if field.drift { "  (drift: it was changed beside Helm)" } else { "" };
    let path = short_path(&field.path);
    if let Some(change) = on_one_line(field) {
        let _ = writeln!(text, "    {path}: {change}{drift}");
        return;
    }
    let (before, after) = (lines_of(&field.before), lines_of(&field.after));
    let diff = similar::TextDiff::from_lines(&before, &after);
    let Some(context) = detail.context_lines else {
        let changed = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let (added, removed) = (changed(similar::ChangeTag::Insert), changed(similar::ChangeTag::Delete));
        let said: Vec<String> = [(removed, "removed"), (added, "added")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", counted(count, "line")))
            .collect();
        let _ = writeln!(text, "    {path}: {}{drift}", said.join(", "));
        return;
    };
    let _ = writeln!(text, "    {path}:{drift}");
    for (index, group) in diff.grouped_ops(context).iter().enumerate() {
        if index > 0 {
            let _ = writeln!(text, "      …");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                similar::ChangeTag::Delete => printer.bad(&format!("- {line}")),
                similar::ChangeTag::Insert => printer.good(&format!("+ {line}")),
                similar::ChangeTag::Equal => format!("  {line}"),
            };
            let _ = writeln!(text, "      {}", line.trim_end());
        }
    }
}

/// Where a field is, as people say it: what a pod template holds is known by its name.
fn short_path(path: &str) -> &str {
    let starts = ["spec.template.spec.", "spec.jobTemplate.spec.template.spec."];
    starts.iter().find_map(|start| path.strip_prefix(start)).unwrap_or(path)
}

/// The change where it fits on a line.
fn on_one_line(field: &FieldChange) -> Option<String> {
    let is_hidden = |value: &Value| value == HIDDEN;
    if is_hidden(&field.before) && is_hidden(&field.after) {
        return Some("another value (hidden)".to_owned());
    }
    let (before, after) = (shown(&field.before), shown(&field.after));
    let is_image = field.path.rsplit('.').next() == Some("image");
    let change = match (&field.before, &field.after) {
        (Value::String(before), Value::String(after)) if is_image => image_change(before, after),
        _ => format!("{before} → {after}"),
    };
    let is_long = change.contains('\n') || change.chars().count() > LONGEST_CHANGE;
    (!is_long || is_image).then_some(change)
}

/// A value as lines: nothing as none, text bare, the rest as YAML.
fn lines_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => serde_saphyr::to_string(other).unwrap_or_else(|_| other.to_string()),
    }
}

/// A value as a person writes it: text bare, nothing as `(none)`, digests by their beginning, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) if is_digest(text) => format!("{}…", &text[..DIGEST]),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether it is the sum of something, as charts put it into annotations.
fn is_digest(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(path: &str, before: Value, after: Value) -> Option<String> {
        on_one_line(&FieldChange { path: path.to_owned(), before, after, drift: false })
    }

    #[test]
    fn a_change_is_one_line_where_it_fits() {
        let cases = [
            ("data.LEVEL", json!("warn"), Value::Null, Some("warn → (none)")),
            ("data.LEVEL", json!(""), json!("warn"), Some("\"\" → warn")),
            ("data.PASSWORD", json!(HIDDEN), json!(HIDDEN), Some("another value (hidden)")),
            ("spec.replicas", json!(3), json!(2), Some("3 → 2")),
            (
                "containers[web].image",
                json!("acme/web:bad"),
                json!("acme/web:good"),
                Some("acme/web:bad → good"),
            ),
            ("annotations.sum", json!("a".repeat(64)), json!("b".repeat(64)), Some("aaaaaaaa… → bbbbbbbb…")),
            ("data.file", json!("a\nb"), json!("a"), None),
            ("data.file", json!("a ".repeat(60)), json!("a"), None),
        ];
        for (path, before, after, expected) in cases {
            assert_eq!(line(path, before, after).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_a_pod_template_holds_needs_no_path_to_it() {
        assert_eq!(short_path("spec.template.spec.containers[web].image"), "containers[web].image");
        assert_eq!(
            short_path("spec.template.metadata.annotations.sum"),
            "spec.template.metadata.annotations.sum"
        );
        assert_eq!(short_path("spec.jobTemplate.spec.template.spec.restartPolicy"), "restartPolicy");
    }
}
