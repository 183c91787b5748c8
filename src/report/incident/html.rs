//! The report as one HTML file: no script, nothing that is loaded from elsewhere. The template engine escapes every text.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html as template};

use super::database::{last_lines, sentences};
use super::markdown::answer;
use super::picture::picture;
use super::{Report, WorkloadTold, change_words, duration, moment};
use crate::event::FindingStatus;
use crate::words::{counted, image_target};

const STYLE: &str = include_str!("style.css");
/// Even if something of it were read as HTML, nothing would run and nothing would be loaded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Renders a report.
pub fn html(report: &Report) -> String {
    let page = template! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "Rollback of " (report.subject()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(report))
                    (tiles(report))
                    @if !report.next.is_empty() {
                        section { h2 { "Next steps" } pre { code { (report.next.join("\n")) } } }
                    }
                    section { h2 { "Timeline" } (picture(report)) }
                    (workloads(report))
                    (diagnoses(report))
                    (checks(report))
                    (list("Warnings", report.warnings.iter().map(|warning| template! { (warning) })))
                    (list("Left at zero", report.stopped.iter().map(|workload| template! { code { (workload) } })))
                    (changes(report))
                    (list("Left alone", report.skipped.iter().map(|skipped| template! { code { (skipped.what) } ": " (skipped.why) })))
                    (details(report))
                    footer { "Made from the journal of operation " (report.operation) ". Times are UTC." }
                }
            }
        }
    };
    page.into_string()
}

fn head(report: &Report) -> Markup {
    template! {
        header {
            p.over {
                "Rollback report"
                @if let Some(incident) = &report.incident { " · " (incident) }
                " · " (report.context) " / " (report.namespace)
            }
            h1 { (report.subject()) }
            span.badge.(if report.is_good() { "good" } else { "bad" }) { (report.ending()) }
            @if let Some(reason) = &report.reason { p.reason { (reason) } }
            @if let Some(error) = &report.error { p.error { (error) } }
        }
    }
}

fn tile(name: &str, value: &str, at: Option<Timestamp>) -> Markup {
    template! {
        div.tile {
            div.name { (name) }
            div.value { (value) }
            @if let Some(at) = at { div.at { (moment(at)) } }
        }
    }
}

fn tiles(report: &Report) -> Markup {
    let (times, durations) = (&report.times, &report.durations);
    let took = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), duration);
    template! {
        section {
            div.tiles {
                (tile("Recovery time", &took(durations.recovery_ms), times.restored_at))
                @if let Some(deployed) = times.deployed_at {
                    (tile("Deploy to rollback", &took(durations.until_started_ms), Some(deployed)))
                }
                (tile("Until the first write", &took(durations.until_first_write_ms), times.first_write_at))
                (tile("Until ready again", &took(durations.until_restored_ms), times.restored_at))
                (tile("Whole operation", &took(durations.whole_ms), times.finished_at))
            }
            p.note {
                @if durations.recovery_ms.is_some() { "Recovery time: " (durations.recovery_definition) "." }
                @else { "The recovery time is not known, because this operation did not see every workload ready." }
            }
        }
    }
}

fn workload_row(workload: &WorkloadTold) -> Markup {
    template! {
        tr {
            td { code { (workload.kind) "/" (workload.name) } }
            td {
                @for container in &workload.containers {
                    div {
                        code.from { (container.from) } " → " code { (image_target(&container.from, &container.to)) }
                        @if workload.written == Some(false) { " (not written)" }
                    }
                }
            }
            td data-name="replicas" {
                @if let Some(replicas) = workload.replicas {
                    @if replicas.before == replicas.after { (replicas.after) }
                    @else { (replicas.before) " → " (replicas.after) }
                }
            }
            @match workload.ready {
                Some(true) => td.yes data-name="ready" { "yes" },
                Some(false) => td.no data-name="ready" { "no" },
                None => td data-name="ready" { "not known" },
            }
        }
    }
}

fn workloads(report: &Report) -> Markup {
    template! {
        @if !report.workloads.is_empty() {
            section {
                h2 { "Workloads" }
                table {
                    thead { tr { th { "Workload" } th { "Image" } th { "Replicas" } th { "Ready" } } }
                    tbody { @for workload in &report.workloads { (workload_row(workload)) } }
                }
            }
        }
    }
}

fn diagnoses(report: &Report) -> Markup {
    template! {
        @if !report.diagnoses.is_empty() {
            section {
                h2 { "Why workloads were not ready" }
                @for told in &report.diagnoses {
                    div.diagnosis {
                        h3 { (told.object.kind) "/" (told.object.name) " · " (told.diagnosis.code.to_string()) }
                        p { (told.diagnosis.message) ", at " (moment(told.at)) }
                        @if !told.diagnosis.logs.is_empty() { pre { (told.diagnosis.logs.join("\n")) } }
                        @if !told.diagnosis.events.is_empty() {
                            ul { @for event in &told.diagnosis.events { li { (event) } } }
                        }
                        @if !told.diagnosis.hint.is_empty() { p { "Look at: " code { (told.diagnosis.hint) } } }
                    }
                }
            }
        }
    }
}

fn check_row(status: FindingStatus, check: &str, subject: &str, message: &str) -> Markup {
    let class = match status {
        FindingStatus::Pass => "yes",
        FindingStatus::Warn | FindingStatus::Unknown => "mind",
        FindingStatus::Fail => "no",
    };
    template! {
        tr {
            td.word.(class) { (answer(status)) }
            td.word { (check) }
            td { code { (subject) } }
            td { (message) }
        }
    }
}

fn checks(report: &Report) -> Markup {
    let passed = report.preflight.len() - report.remarkable().count();
    template! {
        @if !report.verify.is_empty() {
            section {
                h2 { "Checks afterwards" }
                table { tbody {
                    @for check in &report.verify {
                        (check_row(check.status, &check.check, &check.subject, &check.message))
                    }
                } }
            }
        }
        @if !report.preflight.is_empty() {
            section {
                h2 { "Checks before the first write" }
                p { (counted(passed, "check")) " passed." }
                @if report.remarkable().next().is_some() {
                    table { tbody {
                        @for finding in report.remarkable() {
                            @let check = serde_json::to_value(finding.check).unwrap_or_default();
                            (check_row(finding.status, check.as_str().unwrap_or_default(), &finding.subject, &finding.message))
                        }
                    } }
                }
            }
        }
        @if let Some(database) = &report.database {
            section {
                h2 { "Database" }
                ul { @for sentence in sentences(database) { li { (sentence) } } }
                @let said = last_lines(database);
                @if !said.is_empty() { p { "The program's last words:" } pre { (said.join("\n")) } }
            }
        }
    }
}

fn changes(report: &Report) -> Markup {
    template! {
        section {
            h2 { "What was written" }
            @if report.changes.is_empty() { p { "Nothing." } }
            @else {
                table {
                    thead { tr { th { "At" } th { "Verb" } th { "Object" } th { "What" } } }
                    tbody {
                        @for change in &report.changes {
                            tr {
                                td.when { (change.at.strftime("%H:%M:%S").to_string()) }
                                td.word { (change.verb) }
                                td { code { (change.object.kind) "/" (change.object.name) } }
                                td { (change_words(change)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn list(title: &str, lines: impl Iterator<Item = Markup>) -> Markup {
    let lines: Vec<Markup> = lines.collect();
    template! {
        @if !lines.is_empty() {
            section { h2 { (title) } ul { @for line in &lines { li { (line) } } } }
        }
    }
}

fn details(report: &Report) -> Markup {
    let change = &report.change;
    template! {
        section {
            h2 { "Operation" }
            dl {
                dt { "Operation" } dd { code { (report.operation) } " (" (report.procedure) ")" }
                dt { "Where" } dd { "context " (report.context) ", namespace " (report.namespace) }
                @if let Some(revision) = change.from_revision {
                    dt { "From" }
                    dd { "revision " (revision) @if let Some(status) = &change.from_status { " (" (status) ")" } }
                }
                dt { "To" }
                dd {
                    (change.target)
                    @if let Some(revision) = change.to_revision.filter(|_| report.procedure != "to") { ", the images of revision " (revision) }
                    @if let Some(revision) = change.new_revision { "; recorded as revision " (revision) }
                }
                @if report.runs.is_empty() { dt { "By" } dd { (report.actor) } dt { "Command" } dd { code { (report.command) } } }
                @for run in &report.runs {
                    dt { "Run" } dd { (moment(run.at)) " by " (run.actor) ": " code { (run.command) } }
                }
            }
        }
    }
}
