//! The report as Markdown, as it goes into an incident's document or an issue. What others wrote stands in it as text:
//! none of it can become a heading, a link or HTML.

use std::fmt::Write;

use super::database::{last_lines, sentences};
use super::{Report, change_words, duration, moment};
use crate::event::{Finding, FindingStatus, StageStatus};
use crate::words::counted;

/// Renders a report.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    head(&mut text, report);
    times(&mut text, report);
    phases(&mut text, report);
    workloads(&mut text, report);
    diagnoses(&mut text, report);
    checks(&mut text, report);
    list(&mut text, "Warnings", report.warnings.iter().map(|warning| plain(warning)));
    list(&mut text, "Left at zero", report.stopped.iter().map(|workload| code(workload)));
    if !report.next.is_empty() {
        let _ = writeln!(text, "\n## Next steps\n\n{}", fenced("sh", &report.next));
    }
    changes(&mut text, report);
    replicas(&mut text, report);
    let skipped =
        report.skipped.iter().map(|skipped| format!("{}: {}", code(&skipped.what), plain(&skipped.why)));
    list(&mut text, "Left alone", skipped);
    text.trim_end().to_owned()
}

fn head(text: &mut String, report: &Report) {
    let _ = writeln!(text, "# Rollback of {}\n", plain(&report.subject()));
    let ending = match (&report.error, report.exit_code) {
        (Some(error), Some(code)) => {
            format!("**{}** (exit code {code}): {}", report.ending(), plain(error))
        }
        _ => format!("**{}**", report.ending()),
    };
    let _ = writeln!(text, "{ending}\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    row("", String::new());
    row("---", "---".to_owned());
    if let Some(incident) = &report.incident {
        row("Incident", plain(incident));
    }
    if let Some(reason) = &report.reason {
        row("Reason", plain(reason));
    }
    row("Operation", format!("{} ({})", code(&report.operation), plain(&report.procedure)));
    row("Where", format!("context {}, namespace {}", code(&report.context), code(&report.namespace)));
    row("By", code(&report.actor));
    row("From", from(report));
    row("To", to(report));
    row("Command", code(&report.command));
}

/// What was there before, in words.
fn from(report: &Report) -> String {
    let change = &report.change;
    match (change.from_revision, &change.from_status) {
        (Some(revision), Some(status)) => format!("revision {revision} ({})", plain(status)),
        (Some(revision), None) => format!("revision {revision}"),
        (None, _) => "workloads without a Helm release".to_owned(),
    }
}

/// What is there now, in words.
fn to(report: &Report) -> String {
    let change = &report.change;
    let mut words = plain(&change.target);
    if let Some(revision) = change.to_revision.filter(|_| report.procedure != "to") {
        let _ = write!(words, ", the images of revision {revision}");
    }
    if let Some(revision) = change.new_revision {
        let _ = write!(words, "; recorded as revision {revision}");
    }
    words
}

fn times(text: &mut String, report: &Report) {
    let (times, durations) = (&report.times, &report.durations);
    let _ = writeln!(text, "\n## Times\n\n| what | when | since the beginning |\n| --- | --- | ---: |");
    let rows = [
        ("Deploy that was rolled back", times.deployed_at),
        ("Rollback began", Some(times.started_at)),
        ("First write", times.first_write_at),
        ("Every workload ready", times.restored_at),
        ("Helm's record true", times.reconciled_at),
        ("Ended", times.finished_at),
    ];
    for (what, at) in rows {
        let Some(at) = at else { continue };
        let since = at.duration_since(times.started_at).as_millis();
        let since = i64::try_from(since).unwrap_or_default();
        let since = match since {
            ..0 => format!("{} before", duration(-since)),
            0 => String::new(),
            since => duration(since),
        };
        let _ = writeln!(text, "| {what} | {} | {since} |", moment(at));
    }
    match durations.recovery_ms {
        Some(ms) => {
            let _ =
                writeln!(text, "\nRecovery time: **{}** ({}).", duration(ms), durations.recovery_definition);
        }
        None => text.push_str(
            "\nRecovery time: not known, because this operation did not see every workload ready.\n",
        ),
    }
}

fn phases(text: &mut String, report: &Report) {
    if report.phases.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Phases\n\n| phase | took | |\n| --- | ---: | --- |");
    for phase in &report.phases {
        let took = phase.ended_at.map_or_else(
            || "not ended".to_owned(),
            |ended| {
                let ms = ended.duration_since(phase.started_at).as_millis();
                duration(i64::try_from(ms).unwrap_or_default())
            },
        );
        let failed = if phase.status == StageStatus::Failed { "**failed:** " } else { "" };
        let _ = writeln!(text, "| {} | {took} | {failed}{} |", plain(&phase.name), plain(&phase.message));
    }
}

fn workloads(text: &mut String, report: &Report) {
    if report.workloads.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n## Workloads\n\n| workload | image | replicas | ready |\n| --- | --- | --- | --- |"
    );
    for workload in &report.workloads {
        let images: Vec<String> = workload
            .containers
            .iter()
            .map(|container| {
                let written = if workload.written == Some(false) { " (not written)" } else { "" };
                format!("{} → {}{written}", code(&container.from), code(&container.to))
            })
            .collect();
        let replicas = workload.replicas.map_or_else(String::new, |replicas| {
            if replicas.before == replicas.after {
                replicas.after.to_string()
            } else {
                format!("{} → {}", replicas.before, replicas.after)
            }
        });
        let ready = match workload.ready {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not known",
        };
        let name = code(&format!("{}/{}", workload.kind, workload.name));
        let _ = writeln!(text, "| {name} | {} | {replicas} | {ready} |", images.join("<br>"));
    }
}

fn diagnoses(text: &mut String, report: &Report) {
    if report.diagnoses.is_empty() {
        return;
    }
    text.push_str("\n## Why workloads were not ready\n");
    for told in &report.diagnoses {
        let diagnosis = &told.diagnosis;
        let object = format!("{}/{}", told.object.kind, told.object.name);
        let _ = writeln!(
            text,
            "\n### {} {}\n\n{}, at {}.",
            code(&object),
            diagnosis.code,
            plain(&diagnosis.message),
            moment(told.at)
        );
        if !diagnosis.logs.is_empty() {
            let _ = writeln!(text, "\n{}", fenced("", &diagnosis.logs));
        }
        if !diagnosis.events.is_empty() {
            text.push('\n');
        }
        for event in &diagnosis.events {
            let _ = writeln!(text, "- {}", plain(event));
        }
        if !diagnosis.hint.is_empty() {
            let _ = writeln!(text, "\nLook at: {}", code(&diagnosis.hint));
        }
    }
}

fn checks(text: &mut String, report: &Report) {
    if !report.preflight.is_empty() {
        let passed = report.preflight.iter().filter(|finding| finding.status == FindingStatus::Pass).count();
        let _ = writeln!(text, "\n## Checks before the first write\n\n{} passed.", counted(passed, "check"));
        if report.remarkable().next().is_some() {
            let _ = writeln!(text, "\n| answer | check | of | |\n| --- | --- | --- | --- |");
        }
        for finding in report.remarkable() {
            let _ = writeln!(text, "{}", finding_row(finding));
        }
    }
    if !report.verify.is_empty() {
        let _ =
            writeln!(text, "\n## Checks afterwards\n\n| answer | check | of | |\n| --- | --- | --- | --- |");
        for check in &report.verify {
            let (name, subject) = (plain(&check.check), code(&check.subject));
            let _ = writeln!(
                text,
                "| {} | {name} | {subject} | {} |",
                answer(check.status),
                plain(&check.message)
            );
        }
    }
    if let Some(database) = &report.database {
        let _ = writeln!(text, "\n## Database\n");
        for sentence in sentences(database) {
            let _ = writeln!(text, "- {}", plain(&sentence));
        }
        let said = last_lines(database);
        if !said.is_empty() {
            let _ = writeln!(text, "\nThe program's last words:\n\n{}", fenced("", &said));
        }
    }
}

fn finding_row(finding: &Finding) -> String {
    let check = serde_json::to_value(finding.check).unwrap_or_default();
    let check = check.as_str().unwrap_or_default();
    let (subject, message) = (code(&finding.subject), plain(&finding.message));
    format!("| {} | {check} | {subject} | {message} |", answer(finding.status))
}

/// The answer of a check in a word.
pub fn answer(status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::Pass => "passed",
        FindingStatus::Warn => "to mind",
        FindingStatus::Fail => "failed",
        FindingStatus::Unknown => "not known",
    }
}

fn changes(text: &mut String, report: &Report) {
    if report.changes.is_empty() {
        text.push_str("\n## What was written\n\nNothing.\n");
        return;
    }
    let _ =
        writeln!(text, "\n## What was written\n\n| at | verb | object | what |\n| --- | --- | --- | --- |");
    for change in &report.changes {
        let object = code(&format!("{}/{}", change.object.kind, change.object.name));
        let at = change.at.strftime("%H:%M:%S");
        let (verb, words) = (plain(&change.verb), plain(&change_words(change)));
        let _ = writeln!(text, "| {at} | {verb} | {object} | {words} |");
    }
}

fn replicas(text: &mut String, report: &Report) {
    let workloads = report.workloads.iter().map(|told| (&told.kind, &told.name, &told.timeline));
    let jobs = report.jobs.iter().map(|told| (&told.kind, &told.name, &told.timeline));
    let mut steps: Vec<_> = workloads
        .chain(jobs)
        .flat_map(|(kind, name, timeline)| {
            timeline.iter().map(move |step| (step, code(&format!("{kind}/{name}"))))
        })
        .collect();
    if steps.is_empty() {
        return;
    }
    let _ =
        writeln!(text, "\n## Replicas over time\n\n| at | workload | ready | |\n| --- | --- | --- | --- |");
    steps.sort_by_key(|(step, _)| step.at);
    for (step, name) in steps {
        let at = step.at.strftime("%H:%M:%S");
        let _ =
            writeln!(text, "| {at} | {name} | {}/{} | {} |", step.ready, step.desired, plain(&step.state));
    }
}

fn list(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("- {line}")).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\n## {title}\n\n{}", lines.join("\n"));
    }
}

/// A text of somebody else on one line, with everything that Markdown or HTML would read something into taken its meaning.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in one_line(text).chars() {
        match character {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            // A mention would send somebody a message.
            '@' => plain.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                plain.push('\\');
                plain.push(character);
            }
            other => plain.push(other),
        }
    }
    plain
}

/// A text as code on one line, in a cell of a table too.
pub fn code(text: &str) -> String {
    let line = one_line(text).replace('|', "\\|");
    if line.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&line, '`') + 1);
    let blank = if line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{line}{blank}{fence}")
}

/// Lines as a block of code.
pub fn fenced(language: &str, lines: &[String]) -> String {
    let longest = lines.iter().map(|line| longest_run(line, '`')).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let lines: Vec<String> = lines.iter().map(|line| one_row(line)).collect();
    format!("{fence}{language}\n{}\n{fence}", lines.join("\n"))
}

fn one_line(text: &str) -> String {
    one_row(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn one_row(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|character| character != wanted).map(str::len).max().unwrap_or_default()
}
