//! The screen of `history`.

use std::fmt::Write;

use jiff::Timestamp;

use super::Printer;
use super::table::{aligned, moment, one_line};
use crate::commands::{ContainerImage, HistoryDocument, HistoryRow, WorkloadHistoryDocument};
use crate::registry::ImageReference;

/// Groups of containers that share a version, shown without `-o wide`.
const GROUPS: usize = 2;
/// Characters of somebody's description in a note.
const LONGEST_NOTE: usize = 72;

/// Renders the revisions of a release, newest first.
pub fn history_table(printer: &Printer, history: &HistoryDocument, wide: bool, now: Timestamp) -> String {
    let header = ["REV", "STATUS", "DEPLOYED", "CHART", "IMAGES", "NOTE"].map(str::to_owned).to_vec();
    let mut rows = vec![header];
    for (index, row) in history.rows.iter().enumerate().rev() {
        let older = index.checked_sub(1).and_then(|older| history.rows.get(older));
        let images = if wide { all_images(row) } else { short_images(row, older) };
        let mark = if row.target { " *" } else { "" };
        rows.push(vec![
            format!("{}{mark}", row.revision),
            row.status.clone(),
            row.updated.parse().map_or_else(|_| "-".to_owned(), |then| moment(then, now)),
            if row.chart.is_empty() { "-".to_owned() } else { row.chart.clone() },
            images,
            note(row, wide),
        ]);
    }
    let mut text = aligned(rows);
    text.push('\n');
    if history.hidden > 0 {
        let _ = writeln!(text, "{} older revisions are not shown; --max 0 shows all", history.hidden);
    }
    let _ = write!(text, "\n{}", verdict(printer, history));
    text
}

/// What a bare rollback would choose, and what plain Helm would.
fn verdict(printer: &Printer, history: &HistoryDocument) -> String {
    let (release, namespace) = (&history.release, &history.namespace);
    let command = printer.strong(&format!("kubectl rollback to {release} -n {namespace}"));
    let ours = match (history.target, &history.nothing) {
        (Some(target), _) => format!("* {command} would go to revision {target}, the last good one"),
        (None, Some(nothing)) => format!("{command} would do nothing: {nothing}"),
        (None, None) => format!("{command} would refuse: no good revision is stored below the current one"),
    };
    let helm = match &history.helm_target {
        Some((target, _)) if Some(*target) == history.target => "the same".to_owned(),
        Some((target, None)) => format!("revision {target}"),
        Some((target, Some(why))) => format!("revision {target}, although {why}"),
        None => "nothing and fail: the last revision minus one is not stored".to_owned(),
    };
    format!("{ours}\n  plain helm rollback would choose {helm}")
}

fn note(row: &HistoryRow, wide: bool) -> String {
    let limit = (!wide).then_some(LONGEST_NOTE);
    let said = one_line(&row.description, limit);
    let is_routine = matches!(said.as_str(), "" | "Install complete" | "Upgrade complete");
    let what = match (row.good, &row.why) {
        (Some(true), None) if row.target => "last good".to_owned(),
        (Some(true), None) => "good".to_owned(),
        (Some(true) | None, Some(why)) => one_line(why, limit),
        (Some(false), Some(why)) => one_line(why.strip_prefix("it failed: ").unwrap_or(why), limit),
        (_, None) => String::new(),
    };
    let mut parts = Vec::new();
    if row.current {
        parts.push("current".to_owned());
    }
    if row.current && row.good == Some(true) && row.why.is_none() {
        // That it is there is enough to say; whether it is good is what the operator wants to find out.
    } else if !what.is_empty() {
        parts.push(what);
    }
    if row.good == Some(true) && !is_routine {
        parts.push(said);
    }
    parts.join(", ")
}

/// Containers that share a version.
struct Group<'a> {
    version: String,
    first: &'a str,
    count: usize,
    is_new: bool,
}

/// The versions in short: those that are new in this revision first, then what most containers share.
fn short_images(row: &HistoryRow, older: Option<&HistoryRow>) -> String {
    let mut groups: Vec<Group> = Vec::new();
    for image in &row.images {
        let version = version(&image.image);
        let was_there = |older: &HistoryRow| older.images.contains(image);
        let is_new = older.is_some_and(|older| !older.images.is_empty() && !was_there(older));
        match groups.iter_mut().find(|group| group.version == version && group.is_new == is_new) {
            Some(group) => group.count += 1,
            None => groups.push(Group { version, first: &image.name, count: 1, is_new }),
        }
    }
    groups.sort_by_key(|group| (!group.is_new, std::cmp::Reverse(group.count)));
    let new = groups.iter().filter(|group| group.is_new).count();
    let shown = new.clamp(1, GROUPS);
    let mut texts: Vec<String> = groups
        .iter()
        .take(shown)
        .map(|group| match group.count {
            1 => format!("{} {}", group.first, group.version),
            count => format!("{} {} +{}", group.first, group.version, count - 1),
        })
        .collect();
    if new > shown {
        texts.push("…".to_owned());
    }
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn all_images(row: &HistoryRow) -> String {
    let name = |image: &ContainerImage| {
        if image.name == image.container {
            image.name.clone()
        } else {
            format!("{}/{}", image.name, image.container)
        }
    };
    let images: Vec<String> =
        row.images.iter().map(|image| format!("{} {}", name(image), image.image)).collect();
    if images.is_empty() { "-".to_owned() } else { images.join(", ") }
}

/// What people call the version of an image; a digest by its first digits.
fn version(image: &str) -> String {
    let version =
        image.parse::<ImageReference>().map_or_else(|_| image.to_owned(), |image| image.version().to_owned());
    match version.split_once(':') {
        Some((_, digest)) => digest.chars().take(12).collect(),
        None => version,
    }
}

/// Renders the past of workloads without a release.
pub fn workload_history_table(printer: &Printer, history: &WorkloadHistoryDocument) -> String {
    let mut rows = vec![["WORKLOAD", "TEMPLATE", "IMAGES"].map(str::to_owned).to_vec()];
    for workload in &history.workloads {
        for (age, template) in workload.templates.iter().enumerate() {
            let images: Vec<String> =
                template.images.iter().map(|(container, image)| format!("{container} {image}")).collect();
            rows.push(vec![
                if age == 0 { workload.reference.clone() } else { String::new() },
                if template.current { "current".to_owned() } else { format!("-{age}") },
                images.join(", "),
            ]);
        }
    }
    let mut text = aligned(rows);
    for warning in &history.warnings {
        let _ = write!(text, "\n{} {warning}", printer.caution("!"));
    }
    text
}
