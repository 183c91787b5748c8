//! Words that several screens need: counted and aged ones, images that change, what a program has said at last. Pure.

use jiff::{SignedDuration, Timestamp};

/// `1 workload`, `2 workloads`: for nouns whose plural only takes an s.
pub fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How long something is ago, in its largest unit, as kubectl says it: `45s`, `31m`, `28h`, `3d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    elapsed(now.duration_since(then).max(SignedDuration::ZERO).as_secs())
}

/// A number of seconds in its largest unit.
pub fn elapsed(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What an image becomes: only the tag where the repository stays.
pub fn image_target<'a>(from: &str, to: &'a str) -> &'a str {
    match (from.rsplit_once(':'), to.rsplit_once(':')) {
        (Some((old, _)), Some((new, tag))) if old == new && !from.contains('@') => tag,
        _ => to,
    }
}

/// The line of a program's output that says what happened: the exception of the last Python traceback, whose text may go on
/// below it; else the last line that does not go on with the one above (`psql` asks there whether the server is running).
pub fn last_words(text: &str) -> &str {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let goes_on = |line: &str| line.starts_with([' ', '\t']);
    let traceback = lines.iter().rposition(|line| line.starts_with("Traceback (most recent call last)"));
    let exception = traceback.and_then(|start| lines[start + 1..].iter().find(|line| !goes_on(line)));
    let said = exception.or_else(|| lines.iter().rfind(|line| !goes_on(line))).or_else(|| lines.last());
    said.copied().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let said = [0, 1, 2].map(|number| counted(number, "check"));
        assert_eq!(said, ["0 checks", "1 check", "2 checks"]);
    }
}
