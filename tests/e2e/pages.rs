//! The pages of `docs/tasks`: every block of commands is typed into a shell on a terminal, in the page's order, on a platform
//! that is brought to where the page begins. What the page shows must be seen, and the exit codes must be those that it names.

use std::collections::BTreeSet;
use std::fs;

use crate::documents::{blocks, inline_code, words};
use crate::harness::{Helm, Release, Test, all_tags, broken_tags};

#[path = "../documents/walk.rs"]
mod walk;

use walk::{folder, page};

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

/// One test a page.
macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page,)*];

        $(#[test]
        fn $test() {
            let Some(test) = Test::named(concat!("page-", $page)) else { return };
            walk::walk(&test, $page, |page| prepare(&test, page));
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
    // The database's page needs real containers: tests/full types it.
    assert_eq!(files, PAGES.iter().chain(&["database"]).map(ToString::to_string).collect());
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
