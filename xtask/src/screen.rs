//! The one place that prints: results go to standard output, talk goes to standard error.

use std::io::Write as _;
use std::time::Duration;

/// Prints a line of talk on standard error.
///
/// A reader that has gone away is no reason to stop a chore, so errors of the stream are ignored.
pub fn say(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line of result on standard output.
pub fn result(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// A duration as people read it: `0.4 s`, `12.3 s`, `3 min 05 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = duration.as_secs();
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}
