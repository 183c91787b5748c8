//! Events as timestamped lines, for logs and pipelines: `2026-02-07T14:31:02Z INFO operation=7f3a stage=stop …`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Printer;
use crate::event::{Event, EventKind, FindingStatus, ObjectReference, Phase, Severity, StageStatus};

/// Prints events as lines.
pub struct Lines {
    printer: Printer,
    /// On GitHub's runners, fatal diagnoses also become annotations.
    annotations: bool,
    last: Instant,
    operation: String,
    waiting: bool,
    pending: BTreeMap<String, String>,
}

impl Lines {
    /// Lines for a printer.
    pub fn new(printer: Printer) -> Self {
        Self {
            printer,
            annotations: std::env::var_os("GITHUB_ACTIONS").is_some(),
            last: Instant::now(),
            operation: String::new(),
            waiting: false,
            pending: BTreeMap::new(),
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        self.operation.clone_from(&event.operation);
        let Some((level, text)) = self.text(&event.kind) else {
            return;
        };
        self.line(&event.ts.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), level, &text);
        if let (true, EventKind::Diagnosis { object, diagnosis }) = (self.annotations, &event.kind)
            && diagnosis.severity == Severity::Fatal
        {
            let message = diagnosis.message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            self.printer.error(&format!(
                "::error title=rollback {:?}::{} {message}",
                diagnosis.code,
                name(object)
            ));
        }
    }

    fn line(&mut self, time: &str, level: &str, text: &str) {
        self.last = Instant::now();
        self.printer.talk(&format!("{time} {level:<5} operation={} {text}", self.operation));
    }

    fn text(&mut self, kind: &EventKind) -> Option<(&'static str, String)> {
        Some(match kind {
            EventKind::OperationStarted { procedure, context, namespace, target, .. } => (
                "INFO",
                format!(
                    "procedure={procedure} context={} namespace={namespace} target={}",
                    quoted(context),
                    quoted(target)
                ),
            ),
            EventKind::Preflight(finding) => {
                let check = serde_json::to_value(finding.check).unwrap_or_default();
                let check = check.as_str().unwrap_or_default();
                return found("preflight", check, finding.status, &finding.subject, &finding.message);
            }
            EventKind::Verify(result) => {
                return found("verify", &result.check, result.status, &result.subject, &result.message);
            }
            EventKind::Stage { stage, status, elapsed_ms, message, .. } => {
                self.waiting = *stage == Phase::Wait && *status == StageStatus::Started;
                if !self.waiting {
                    self.pending.clear();
                }
                let status = match status {
                    StageStatus::Started => "started",
                    StageStatus::Done => "done",
                    StageStatus::Skipped => "skipped",
                    StageStatus::Failed => "failed",
                };
                let elapsed = if status == "started" {
                    String::new()
                } else {
                    format!(" elapsed={}", seconds(*elapsed_ms))
                };
                let level = if status == "failed" { "ERROR" } else { "INFO" };
                (
                    level,
                    format!("stage={} status={status}{elapsed} message={}", stage.as_str(), quoted(message)),
                )
            }
            EventKind::Change { verb, object, fields, .. } => {
                if self.printer.verbosity() == 0 {
                    return None;
                }
                (
                    "INFO",
                    format!("change={verb} object={} fields={}", name(object), quoted(&fields.join(","))),
                )
            }
            EventKind::Progress(progress) => {
                let state = format!("{}/{} {}", progress.ready, progress.desired, progress.state);
                if progress.done {
                    self.pending.remove(&name(&progress.object));
                } else {
                    self.pending.insert(name(&progress.object), state);
                }
                (
                    "INFO",
                    format!(
                        "stage=wait object={} ready={}/{} state={}",
                        name(&progress.object),
                        progress.ready,
                        progress.desired,
                        quoted(&progress.state)
                    ),
                )
            }
            EventKind::Diagnosis { object, diagnosis } => {
                let level = if diagnosis.severity == Severity::Fatal { "ERROR" } else { "WARN" };
                let container =
                    diagnosis.container.as_ref().map(|name| format!(" container={name}")).unwrap_or_default();
                (
                    level,
                    format!(
                        "code={} object={}{container} message={}",
                        diagnosis.code,
                        name(object),
                        quoted(&diagnosis.message)
                    ),
                )
            }
            EventKind::Output { object, pod, container, lines } => {
                let text = quoted(&lines.join("\n"));
                ("INFO", format!("object={} pod={pod} container={container} output={text}", name(object)))
            }
            EventKind::Warning { message } => ("WARN", format!("message={}", quoted(message))),
            EventKind::OperationFinished { outcome, exit_code, elapsed_ms, .. } => {
                let level = if *exit_code == 0 { "INFO" } else { "ERROR" };
                (level, format!("outcome={outcome:?} exit={exit_code} elapsed={}", seconds(*elapsed_ms)))
            }
        })
    }

    /// Says what is still waited for, after a silence.
    pub fn remind(&mut self, silence: Duration) {
        if !self.waiting || self.pending.is_empty() || self.last.elapsed() < silence {
            return;
        }
        let still: Vec<String> =
            self.pending.iter().map(|(object, state)| format!("{object} ({state})")).collect();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.line(&now, "INFO", &format!("stage=wait still={}", quoted(&still.join(", "))));
    }
}

/// The line of a result; what passed is not told.
fn found(
    stage: &str,
    check: &str,
    status: FindingStatus,
    subject: &str,
    message: &str,
) -> Option<(&'static str, String)> {
    let (level, status) = match status {
        FindingStatus::Pass => return None,
        FindingStatus::Fail => ("ERROR", "fail"),
        FindingStatus::Unknown => ("WARN", "unknown"),
        FindingStatus::Warn => ("WARN", "warn"),
    };
    let (subject, message) = (quoted(subject), quoted(message));
    Some((level, format!("stage={stage} check={check} status={status} subject={subject} message={message}")))
}

fn name(object: &ObjectReference) -> String {
    format!("{}/{}", object.kind.to_lowercase(), object.name)
}

fn seconds(millis: u64) -> String {
    format!("{}.{}s", millis / 1000, millis % 1000 / 100)
}

/// A value as it stands behind `key=`: quoted where it has spaces, on one line always.
fn quoted(text: &str) -> String {
    let line = text.replace('\n', "\\n");
    if line.is_empty() || line.contains([' ', '"', '=']) {
        format!("\"{}\"", line.replace('"', "'"))
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_needed() {
        for (text, expected) in
            [("a", "a"), ("a b", "\"a b\""), ("", "\"\""), ("a\nb \"c\"", "\"a\\nb 'c'\"")]
        {
            assert_eq!(quoted(text), expected);
        }
    }
}
