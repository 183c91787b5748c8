//! Questions to the operator.

use std::io::BufRead;

use super::Printer;
use super::printer::can_ask;

/// What the operator answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes, or what was to be typed.
    Yes,
    /// Anything else.
    No,
    /// There is nobody to ask.
    NobodyThere,
}

/// Asks the operator to type a word; only that very word counts as yes.
pub async fn confirm(printer: &Printer, question: &str, word: &str) -> Answer {
    if !can_ask() {
        return Answer::NobodyThere;
    }
    printer.ask(&format!("{question} Type {} to continue: ", printer.strong(word)));
    match read_line().await {
        Some(line) if line.trim() == word => Answer::Yes,
        _ => Answer::No,
    }
}

/// Asks for a line of text; `None` where there is nobody to ask, or no more input.
pub async fn ask_line(printer: &Printer, question: &str) -> Option<String> {
    if !can_ask() {
        return None;
    }
    printer.ask(question);
    read_line().await.map(|line| line.trim().to_owned())
}

/// Reads a line without holding up the signals.
async fn read_line() -> Option<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).ok().filter(|&bytes| bytes > 0).map(|_| line)
    });
    read.await.ok().flatten()
}
