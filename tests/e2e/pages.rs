//! The pages of `docs/tasks`: every block of commands is typed into a shell on a terminal, in the page's order, on a platform
//! that is brought to where the page begins. What the page shows must be seen, and the exit codes must be those that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::documents::{Block, blocks, inline_code, words};
use crate::harness::{Helm, Release, Shell, Test, all_tags, broken_tags, chart, say};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tasks")
}

fn page(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.md"))).unwrap()
}

/// Where a page begins, as its first comment names it: `<!-- begins: broken -->`.
fn prepare<'test>(test: &'test Test, page: &str) -> Release<'test> {
    let (_, rest) = page.split_once("<!-- begins: ").expect("a page says where it begins");
    let (state, _) = rest.split_once(" -->").unwrap();
    let release = Release::install(test, Helm::Four, "todo-app", &all_tags("good-1"));
    for tag in ["good-2", "good-3"] {
        release.upgrade_and_wait(&all_tags(tag));
    }
    match state {
        // Three revisions, all of them good.
        "good" => {}
        // A fourth, which breaks all six services.
        "broken" => {
            release.upgrade(&broken_tags());
            test.cluster.wait_until_broken();
        }
        // And an emergency back to the third one's tag.
        "rolled back" => {
            release.upgrade(&broken_tags());
            test.cluster.wait_until_broken();
            test.run(&[
                "emergency",
                "--tag",
                "good-3",
                "--yes",
                "-m",
                "checkout fails",
                "--incident",
                "INC-482",
            ])
            .expect(0);
        }
        // Killed while it waits for the pods.
        "interrupted" => {
            release.upgrade(&broken_tags());
            test.cluster.wait_until_broken();
            let mut run = test.start(&["emergency", "--tag", "good-3", "--yes", "-o", "jsonl"]);
            run.until("the wait", |event| event["type"] == "Stage" && event["stage"] == "wait");
            run.signal("KILL");
            run.finish();
        }
        other => panic!("nobody knows how to begin with {other:?}"),
    }
    release
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

/// Types everything of a page.
fn walk(name: &str) {
    let Some(test) = Test::named(&format!("page-{name}")) else { return };
    let page = page(name);
    let release = prepare(&test, &page);
    let shell = Shell::open(&test, release.helm);
    std::os::unix::fs::symlink(chart("todo-app"), shell.folder.path().join("todo-app")).unwrap();
    let blocks = blocks(&page);
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

/// One test a page.
macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page,)*];

        $(#[test]
        fn $test() {
            walk($page);
        })*
    };
}

pages! {
    quick_rollback: "quick-rollback",
    chosen_revision: "chosen-revision",
    emergency: "emergency",
    pipeline: "pipeline",
    interrupted: "interrupted",
    after_the_rollback: "after-the-rollback",
}

#[test]
fn every_page_is_walked_and_leads_on() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, PAGES.iter().map(ToString::to_string).collect());
    let readme = include_str!("../../README.md");
    let mut place = 0;
    for name in PAGES {
        let page = page(name);
        for heading in ["## When", "## What you type", "## When it ends otherwise", "## What to read next"] {
            assert!(page.lines().any(|line| line == heading), "{name} has no {heading}");
        }
        let link = format!("docs/tasks/{name}.md");
        place += readme[place..]
            .find(&link)
            .unwrap_or_else(|| panic!("README leads to {link} too early or never"));
        let leads_on = PAGES.iter().any(|other| other != name && page.contains(&format!("]({other}.md")));
        assert!(leads_on, "{name} leads to no other page");
        // A newcomer has the time for one screen or two.
        assert!(page.lines().count() <= 110, "{name} has {} lines", page.lines().count());
    }
}

/// A command that only the text names is typed on some page, too.
#[test]
fn commands_within_the_text_are_typed_somewhere() {
    let pages: Vec<String> = PAGES.iter().map(|name| page(name)).collect();
    let typed: Vec<Vec<String>> = pages
        .iter()
        .flat_map(|page| blocks(page))
        .filter(|block| block.language == "sh")
        .flat_map(|block| block.lines)
        .map(|line| words(&line))
        .collect();
    for (name, page) in PAGES.iter().zip(&pages) {
        for code in inline_code(page).iter().filter(|code| code.starts_with("kubectl rollback ")) {
            let wanted = words(code);
            let is_typed = typed.iter().any(|line| line.starts_with(&wanted));
            assert!(is_typed, "{name} names {code}, which nobody types");
        }
    }
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
