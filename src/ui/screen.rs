//! Events on a terminal: a line per finished phase, and while waiting a bar per workload.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;
use crate::event::{
    Event, EventKind, FindingStatus, ObjectReference, Phase, Progress, Severity, StageStatus,
};
use crate::words::counted;

/// Bars shown at once; the rest is counted in the phase's own line.
const MOST_BARS: usize = 16;

/// Draws events on a terminal.
pub struct Screen {
    printer: Printer,
    bars: MultiProgress,
    phase: Option<ProgressBar>,
    /// How many workloads the phase is about, where it is about workloads.
    total: Option<usize>,
    workloads: BTreeMap<String, ProgressBar>,
    done: BTreeMap<String, bool>,
}

impl Screen {
    /// A screen on stderr.
    pub fn new(printer: Printer) -> Self {
        let target =
            if printer.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(target);
        Self { printer, bars, phase: None, total: None, workloads: BTreeMap::new(), done: BTreeMap::new() }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Stage { stage, status, elapsed_ms, message, total } => {
                self.total = *total;
                self.stage(*stage, *status, *elapsed_ms, message);
            }
            EventKind::Progress(progress) => self.progress(progress),
            EventKind::Diagnosis { object, diagnosis } => {
                let mark = if diagnosis.severity == Severity::Fatal {
                    self.printer.bad("✘")
                } else {
                    self.printer.caution("!")
                };
                let code = serde_json::to_value(diagnosis.code).unwrap_or_default();
                let code = code.as_str().unwrap_or_default().to_owned();
                self.line(&format!("  {mark} {} {code}: {}", short_name(object), diagnosis.message));
            }
            EventKind::Preflight(finding) if finding.status != FindingStatus::Pass => {
                self.finding(finding.status, &finding.subject, &finding.message, &finding.hint);
            }
            EventKind::Verify(result) if result.status != FindingStatus::Pass => {
                let subject = format!("{} {}", result.check, result.subject);
                self.finding(result.status, &subject, &result.message, &result.hint);
            }
            EventKind::Output { object, pod, container, lines } => {
                self.line(&format!("  output of {}, pod {pod}, container {container}:", short_name(object)));
                for line in lines {
                    self.line(&format!("    {line}"));
                }
            }
            EventKind::Warning { message } => {
                let mark = self.printer.caution("!");
                self.line(&format!("{mark} {message}"));
            }
            EventKind::OperationFinished { .. } => self.finish(),
            EventKind::Change { verb, object, fields, .. } if self.printer.verbosity() > 0 => {
                self.line(&format!("  {verb} {} {}", short_name(object), fields.join(", ")));
            }
            _ => {}
        }
    }

    /// Takes the bars off the screen.
    pub fn finish(&mut self) {
        for (_, bar) in std::mem::take(&mut self.workloads) {
            bar.finish_and_clear();
        }
        if let Some(phase) = self.phase.take() {
            phase.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        if !self.printer.is_quiet() {
            self.bars.suspend(|| self.printer.talk(text));
        }
    }

    fn finding(&self, status: FindingStatus, subject: &str, message: &str, hint: &str) {
        let mark = match status {
            FindingStatus::Fail => self.printer.bad("✘ fail"),
            FindingStatus::Unknown => self.printer.caution("? unknown"),
            _ => self.printer.caution("! warn"),
        };
        self.line(&format!("  {mark}  {subject}: {message}"));
        if !hint.is_empty() {
            self.line(&format!("         hint: {hint}"));
        }
    }

    fn stage(&mut self, stage: Phase, status: StageStatus, elapsed_ms: u64, message: &str) {
        if status == StageStatus::Started {
            self.finish();
            self.done.clear();
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix:<10} {wide_msg} {elapsed}"));
            bar.set_prefix(stage.as_str());
            bar.set_message(message.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            self.phase = Some(bar);
            return;
        }
        if stage == Phase::Wait {
            self.keep_bars();
        }
        self.finish();
        let mark = match status {
            StageStatus::Failed => self.printer.bad("✘"),
            StageStatus::Skipped => "-".to_owned(),
            _ => self.printer.good("✔"),
        };
        let seconds = format!("{}.{}s", elapsed_ms / 1000, elapsed_ms % 1000 / 100);
        self.line(&format!("{mark} {:<10} {message}  {seconds}", stage.as_str()));
    }

    /// Leaves the last state of every bar on the screen as plain lines.
    fn keep_bars(&self) {
        for (name, bar) in &self.workloads {
            let position = format!("{}/{}", bar.position(), bar.length().unwrap_or_default());
            let state = bar.message();
            let mark = if self.done.get(name) == Some(&true) {
                self.printer.good("✔")
            } else {
                self.printer.bad("✘")
            };
            self.line(&format!("    {mark} {name:<40} {position:>7}  {state}"));
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let name = short_name(&progress.object);
        self.done.insert(name.clone(), progress.done);
        if !self.workloads.contains_key(&name) && self.workloads.len() < MOST_BARS {
            let bar = self.bars.add(ProgressBar::new(1));
            bar.set_style(style("    {prefix:<40} {bar:20} {pos}/{len}  {wide_msg}"));
            bar.set_prefix(name.clone());
            self.workloads.insert(name.clone(), bar);
        }
        if let Some(bar) = self.workloads.get(&name) {
            bar.set_length(u64::try_from(progress.desired).unwrap_or(0));
            bar.set_position(u64::try_from(progress.ready).unwrap_or(0));
            bar.set_message(progress.state.clone());
        }
        // Of a hook that runs in another phase the bar says enough.
        if let (Some(phase), Some(total)) = (&self.phase, self.total) {
            let ready = self.done.values().filter(|done| **done).count();
            phase.set_message(format!("{ready} of {} ready", counted(total, "workload")));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a broken one would only look plain.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█▉░")
}

fn short_name(object: &ObjectReference) -> String {
    match object.kind.parse::<crate::workload::WorkloadKind>() {
        Ok(kind) => format!("{}/{}", kind.short_name(), object.name),
        Err(_) => format!("{}/{}", object.kind, object.name),
    }
}
