//! Decides once where text goes and whether it may have colour.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};

use owo_colors::{OwoColorize, Style};

use crate::cli::ColorChoice;

/// The two streams, so that whole commands can be tested in-process.
pub struct Streams {
    /// The result.
    pub out: Box<dyn Write + Send>,
    /// The talk.
    pub err: Box<dyn Write + Send>,
}

/// Writes to the streams.
#[derive(Clone)]
pub struct Printer {
    streams: Arc<Mutex<Streams>>,
    quiet: bool,
    verbose: u8,
    color: bool,
}

/// Whether stderr is a terminal that can move its cursor.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether questions can be asked and answered.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl Printer {
    /// A printer for the process's own streams.
    pub fn standard(quiet: bool, verbose: u8, color: ColorChoice) -> Self {
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let variable = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                (stderr_is_terminal() || variable("CLICOLOR_FORCE")) && !variable("NO_COLOR")
            }
        };
        let streams = Streams { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) };
        Self::new(streams, quiet, verbose, color)
    }

    /// A printer for any streams.
    pub fn new(streams: Streams, quiet: bool, verbose: u8, color: bool) -> Self {
        Self { streams: Arc::new(Mutex::new(streams)), quiet, verbose, color }
    }

    /// Prints a line of the result. A reader that has gone away (`| head`) is no error.
    pub fn result(&self, text: &str) {
        let mut streams = self.lock();
        let _ = writeln!(streams.out, "{text}").and_then(|()| streams.out.flush());
    }

    /// Prints a line of talk, unless `--quiet`.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Prints a line of talk even with `--quiet`: errors, and questions.
    pub fn error(&self, text: &str) {
        let mut streams = self.lock();
        let _ = writeln!(streams.err, "{text}").and_then(|()| streams.err.flush());
    }

    /// Prints without ending the line, for a question.
    pub fn ask(&self, text: &str) {
        let mut streams = self.lock();
        let _ = write!(streams.err, "{text}").and_then(|()| streams.err.flush());
    }

    /// Whether the operator asked for silence.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How much the operator wants to hear.
    pub fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Text in a style, where colour is on.
    pub fn styled(&self, text: &str, style: Style) -> String {
        if self.color { text.style(style).to_string() } else { text.to_owned() }
    }

    /// Important text.
    pub fn strong(&self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    /// Text that says that something is well.
    pub fn good(&self, text: &str) -> String {
        self.styled(text, Style::new().green())
    }

    /// Text that says that something is wrong.
    pub fn bad(&self, text: &str) -> String {
        self.styled(text, Style::new().red().bold())
    }

    /// Text that wants to be read.
    pub fn caution(&self, text: &str) -> String {
        self.styled(text, Style::new().yellow())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
