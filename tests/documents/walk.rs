//! Pages whose blocks of commands are typed into a shell on a terminal, in the page's order. What a page shows must be seen, and
//! the exit codes must be those that it names.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::documents::{Block, blocks};
use crate::harness::{Release, Shell, Test, chart, say};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tasks")
}

pub fn page(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.md"))).unwrap()
}

/// The exit code that a block names in a comment: `# exit code 4`.
fn exit_code(block: &Block) -> i32 {
    let named = block.lines.iter().find_map(|line| line.split_once("# exit code "));
    named.map_or(0, |(_, code)| code.trim().parse().unwrap())
}

/// What a person is shown to type as answers.
fn answers(shown: Option<&Block>) -> Vec<String> {
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
fn missing<'page>(shown: &'page Block, seen: &[String]) -> Option<&'page String> {
    let seen: Vec<String> = seen.iter().map(|line| normalised(line)).collect();
    let mut seen = seen.iter();
    shown.lines.iter().find(|line| {
        let line = normalised(line);
        !line.is_empty() && !seen.any(|seen| is_in(&line, seen))
    })
}

/// Types everything of a page; a block of YAML is the configuration. `prepare` brings the platform to where the page begins.
pub fn walk<'test>(test: &'test Test, name: &str, prepare: impl FnOnce(&str) -> Release<'test>) {
    let page = page(name);
    let release = prepare(&page);
    let shell = Shell::open(test, release.helm);
    std::os::unix::fs::symlink(chart("todo-app"), shell.folder.path().join("todo-app")).unwrap();
    let blocks = blocks(&page);
    for block in blocks.iter().filter(|block| block.language == "yaml") {
        fs::write(shell.folder.path().join(".kubectl-rollback.yaml"), block.lines.join("\n")).unwrap();
    }
    let mut typed = 0;
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let shown = blocks.get(index + 1).filter(|next| next.language == "text");
        let run = shell.type_in(&block.lines, &answers(shown));
        if std::env::var_os("KUBECTL_ROLLBACK_TEST_SHOW").is_some() {
            say(&run.to_string());
        }
        assert_eq!(run.code, Some(exit_code(block)), "{name}: {run}");
        if let Some(line) = shown.and_then(|shown| missing(shown, &run.lines)) {
            panic!("{name}: not seen: {line}\n{run}");
        }
        typed += 1;
    }
    assert!(typed >= 2, "{name} has only {typed} blocks to type");
}

#[test]
fn what_is_shown_is_found_and_what_is_not_seen_is_missed() {
    let block = |lines: &[&str]| Block {
        language: "text".to_owned(),
        lines: lines.iter().map(ToString::to_string).collect(),
    };
    let seen = [
        "✔ wait       6 workloads ready  1.2s",
        "pod web-6b65c59c5-wmxj7 exited",
        "done at 2026-11-25 09:14Z",
    ];
    let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
    for (shown, expected) in [
        (&["✔ wait   6 workloads ready  14.1s"][..], None),
        (&["6 workloads", "…", "done at 2027-01-01 10:00Z"], None),
        (&["pod web-7c5b9d4f66-x2x4z exited"], None),
        (&["✔ … ready"], None),
        (&["5 workloads"], Some("5 workloads")),
        (&["done at 2026-11-25 09:14Z", "6 workloads"], Some("6 workloads")),
        (&["✔ … broken"], Some("✔ … broken")),
    ] {
        assert_eq!(missing(&block(shown), &seen).map(String::as_str), expected, "{shown:?}");
    }
    let question = block(&["Go back? Type todo-app to continue: todo-app"]);
    assert_eq!(answers(Some(&question)), ["todo-app"]);
    assert_eq!(exit_code(&block(&["kubectl rollback verify   # exit code 6"])), 6);
}
