//! How a command ends: its result document, and how that is printed.

use serde_json::Value;

use super::{Failure, Session};
use crate::cli::{OutputArgs, OutputFormat};
use crate::outcome::ExitCode;
use crate::report::ResultDocument;
use crate::ui::Printer;

/// How a command ended.
#[derive(Debug)]
pub struct Conclusion {
    /// The result.
    pub document: ResultDocument,
    /// The result as text for people.
    pub text: String,
    /// What `-o name` prints.
    pub name: String,
    /// A document of the command's own, printed in place of the result.
    pub own: Option<Value>,
}

impl Conclusion {
    /// The result of a command that failed before there was anything else to report.
    pub fn of_failure(session: &Session, failure: &Failure) -> Self {
        let is_failure = failure.exit != ExitCode::Success;
        let document = ResultDocument {
            outcome: failure.outcome,
            exit_code: failure.exit.code(),
            error: is_failure.then(|| failure.describe()),
            next: failure.next.clone(),
            ..session.document()
        };
        // Nothing to do is told as a result, not as an error.
        let text = if is_failure { String::new() } else { failure.describe() };
        Self { document, text, name: String::new(), own: None }
    }

    /// Prints a failure that came before there was a session; answers the exit code.
    pub fn without_session(
        printer: &Printer,
        output: &OutputArgs,
        procedure: &'static str,
        failure: &Failure,
    ) -> u8 {
        let blank = ResultDocument::new(procedure, failure.outcome, failure.exit, jiff::Timestamp::now());
        let document = ResultDocument {
            error: Some(failure.describe()),
            reason: output.reason.clone(),
            incident: output.incident.clone(),
            next: failure.next.clone(),
            ..blank
        };
        let conclusion = Self { document, text: String::new(), name: String::new(), own: None };
        conclusion.print_to(printer, output.output);
        conclusion.document.exit_code
    }

    /// Prints the result on stdout and, where it failed, the error on stderr.
    pub fn print(&self, session: &Session) {
        self.print_to(session.printer(), session.output.output);
    }

    fn value(&self) -> Value {
        self.own.clone().unwrap_or_else(|| serde_json::to_value(&self.document).unwrap_or_default())
    }

    /// The document that programs read.
    pub fn rendered(&self, format: OutputFormat) -> String {
        match format {
            OutputFormat::Yaml => {
                serde_saphyr::to_string(&self.value()).unwrap_or_default().trim_end().to_owned()
            }
            _ => serde_json::to_string_pretty(&self.value()).unwrap_or_default(),
        }
    }

    pub(super) fn print_to(&self, printer: &Printer, format: OutputFormat) {
        let document = &self.document;
        match format {
            OutputFormat::Json | OutputFormat::Yaml => printer.result(&self.rendered(format)),
            OutputFormat::Name if document.exit_code == 0 => printer.result(&self.name),
            OutputFormat::Name | OutputFormat::Jsonl => {}
            _ if !self.text.is_empty() => printer.result(&self.text),
            _ => {}
        }
        let is_text = matches!(
            format,
            OutputFormat::Table | OutputFormat::Wide | OutputFormat::Md | OutputFormat::Html
        );
        let shows_error = !is_text || self.text.is_empty();
        if let Some(error) = document.error.as_ref().filter(|_| shows_error) {
            printer.error(&format!("{} {error}", printer.bad("error:")));
        }
        for next in &document.next {
            printer.error(&format!("next: {next}"));
        }
    }
}
