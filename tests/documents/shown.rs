//! What a page shows below its commands, held against what was seen on a terminal.

use regex::Regex;

use super::Block;

/// The exit code that a block names in a comment: `# exit code 4`.
pub fn exit_code(block: &Block) -> i32 {
    let named = block.lines.iter().find_map(|line| line.split_once("# exit code "));
    named.map_or(0, |(_, code)| code.trim().parse().unwrap())
}

/// What a person is shown to type as answers.
pub fn answers(shown: Option<&Block>) -> Vec<String> {
    let lines = shown.iter().flat_map(|block| &block.lines);
    lines.filter_map(|line| Some(line.split_once(" to continue: ")?.1.trim().to_owned())).collect()
}

/// A line without what is different every time: times, durations, hashes, and how wide the columns are.
fn normalised(line: &str) -> String {
    let mut line = line.to_owned();
    for (pattern, word) in [
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?Z", "TIME"),
        (r"\b\d\d:\d\d(:\d\d)?Z?\b", "TIME"),
        (r"\b\d+(\.\d+)?(ms|s|m|h|d)\b([ ]?\d+(s|m|h)\b)?", "DURATION"),
        (r"-[0-9a-f]{6,10}-[0-9a-z]{5}\b", "-POD"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
        (r"\boperation [0-9a-f]{4,}\b", "operation ID"),
        (r"─+", "─"),
        (r"\s+", " "),
    ] {
        line = Regex::new(pattern).unwrap().replace_all(&line, word).into_owned();
    }
    line.trim().to_owned()
}

/// Whether what is shown is in a line that was seen; `…` stands for anything.
fn is_in(shown: &str, seen: &str) -> bool {
    let mut rest = seen;
    shown.split('…').all(|part| {
        let found = rest.find(part.trim()).map(|at| at + part.trim().len());
        rest = &rest[found.unwrap_or(0)..];
        found.is_some()
    })
}

/// The first line that is shown and was not seen, in this order.
pub fn missing<'page>(shown: &'page Block, seen: &[String]) -> Option<&'page String> {
    let seen: Vec<String> = seen.iter().map(|line| normalised(line)).collect();
    let mut seen = seen.iter();
    shown.lines.iter().find(|line| {
        let line = normalised(line);
        !line.is_empty() && !seen.any(|seen| is_in(&line, seen))
    })
}
