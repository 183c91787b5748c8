//! The terminal: the only place that prints. stdout carries the result, stderr the talk; progress bars on a terminal,
//! plain timestamped lines elsewhere, one JSON object a line where that was asked for.

mod checklist;
mod database;
mod diff;
mod failure;
mod history;
mod lines;
mod list;
mod operations;
mod plan;
mod preflight;
mod printer;
mod prompt;
mod repair;
mod rollback;
mod screen;
mod status;
mod table;
mod tags;
mod verify;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

pub use checklist::checklist_screen;
pub use database::{database_history, database_line, database_plan, database_position};
pub use diff::{Detail, diff_summary, diff_text};
pub use failure::failure_block;
pub use history::{history_table, workload_history_table};
pub use list::list_table;
pub use operations::{operation_screen, operations_table};
pub use plan::plan_screen;
pub use preflight::{PreflightHeader, preflight_table};
pub use printer::{Printer, Streams};
pub use printer::{can_ask, stderr_is_terminal};
pub use prompt::{Answer, ask_line, confirm};
pub use repair::repair_screen;
pub use rollback::{RollbackScreen, rollback_screen};
pub use status::status_table;
pub use table::{elapsed, one_line};
pub use tags::tags_table;
pub use verify::{summary as verify_summary, verify_table};

use crate::event::{Event, EventKind};
use crate::report::Collector;
use lines::Lines;
use screen::Screen;

/// Silence on stderr after which a reminder says what is still waited for.
const REMINDER: Duration = Duration::from_secs(15);

/// How events are shown.
enum Consumer {
    /// Bars and short lines on a terminal.
    Screen(Screen),
    /// Timestamped lines.
    Lines(Lines),
    /// One JSON object a line on stdout.
    JsonLines,
    /// Nothing.
    Silent,
}

/// Takes every event of an operation to its consumers: the screen, and the collector that the result is made from.
pub struct Reporter {
    printer: Printer,
    state: Mutex<State>,
}

struct State {
    seq: u64,
    consumer: Consumer,
    collector: Collector,
}

/// How events are to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStyle {
    /// Bars on a terminal.
    Progress,
    /// Timestamped lines.
    Lines,
    /// JSON lines on stdout.
    JsonLines,
    /// Nothing.
    Silent,
}

impl Reporter {
    /// A reporter that shows events in a style.
    pub fn new(printer: Printer, style: EventStyle) -> Self {
        let consumer = match style {
            EventStyle::Progress => Consumer::Screen(Screen::new(printer.clone())),
            EventStyle::Lines => Consumer::Lines(Lines::new(printer.clone())),
            EventStyle::JsonLines => Consumer::JsonLines,
            EventStyle::Silent => Consumer::Silent,
        };
        Self { printer, state: Mutex::new(State { seq: 0, consumer, collector: Collector::default() }) }
    }

    /// Where results and talk go.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Reports one event.
    pub fn emit(&self, operation: &str, ts: Timestamp, kind: EventKind) -> Event {
        let mut state = self.lock();
        state.seq += 1;
        let event = Event { v: 1, ts, operation: operation.to_owned(), seq: state.seq, kind };
        state.collector.take(&event);
        match &mut state.consumer {
            Consumer::Screen(screen) => screen.show(&event),
            Consumer::Lines(lines) => lines.show(&event),
            Consumer::JsonLines => {
                if let Ok(line) = serde_json::to_string(&event) {
                    self.printer.result(&line);
                }
            }
            Consumer::Silent => {}
        }
        event
    }

    /// What the events so far add up to.
    pub fn collected(&self) -> Collector {
        self.lock().collector.clone()
    }

    /// Forgets the diagnoses so far and answers them: what comes after belongs to something else.
    pub fn take_diagnoses(&self) -> Vec<((String, String), Vec<crate::event::Diagnosis>)> {
        self.lock().collector.take_diagnoses()
    }

    /// Takes bars off the screen, so that what follows is not drawn over.
    pub fn finish(&self) {
        if let Consumer::Screen(screen) = &mut self.lock().consumer {
            screen.finish();
        }
    }

    /// Says what is still waited for whenever stderr has been silent for a while; until the task is dropped.
    pub async fn remind(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if let Consumer::Lines(lines) = &mut self.lock().consumer {
                lines.remind(REMINDER);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
