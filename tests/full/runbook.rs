//! Every command of `docs/runbook.md` does what its line says, in the document's order, on a platform that is broken anew
//! before each procedure.

use std::collections::BTreeMap;
use std::path::Path;

use crate::begin;
use crate::documents;
use crate::harness::{Helm, Release, Test, all_tags, broken_tags};

/// The tag that the document speaks of, as in the runbook that it replaces.
const TAG: &str = "abc123def456";

/// The heading of the part about databases.
pub const DATABASE: &str = "Database rollback";

/// The commands of the document's tables, by heading, in order.
pub fn commands() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push((heading.to_owned(), Vec::new()));
        } else if let (Some(section), Some(here)) = (sections.last_mut(), line.split(" | ").nth(2)) {
            let code = documents::inline_code(here).into_iter();
            section
                .1
                .extend(code.filter_map(|code| code.strip_prefix("kubectl rollback ").map(str::to_owned)));
        }
    }
    sections
}

/// The words of a command, with a tag that there is.
fn words(command: &str) -> Vec<String> {
    let words = documents::words(command).into_iter();
    words.map(|word| if word == TAG { "good-1".to_owned() } else { word }).collect()
}

/// Brings the platform to where the section begins.
fn prepare(test: &Test, release: &Release<'_>, heading: &str) {
    if ["The pipeline", "Procedure", "When a rollback fails"].iter().any(|start| heading.starts_with(start)) {
        release.upgrade(&broken_tags());
        test.cluster.wait_until_broken();
    }
}

/// What must be true when a section has been worked through.
fn check(test: &Test, release: &Release<'_>, heading: &str) {
    let expected = BTreeMap::from([
        ("The pipeline", "good-3"),
        ("Procedure 1", "good-3"),
        ("Procedure 2", "good-3"),
        ("Procedure 3", "good-1"),
        ("When a rollback fails", "good-1"),
    ]);
    let Some((_, tag)) = expected.iter().find(|(start, _)| heading.starts_with(**start)) else { return };
    test.cluster.wait_until_ready();
    let backend = test.cluster.workload("deploy/todo-backend");
    let image = backend.object["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, format!("ghcr.io/acme/backend:{tag}"), "after {heading}");
    release.assert_manifest_names_what_runs(Helm::Four);
}

#[test]
fn every_line_of_the_runbook() {
    let Some(test) = begin() else { return };
    let release = Release::install(&test, Helm::Four, "todo-app", &all_tags("good-1"));
    for tag in ["good-2", "good-3"] {
        release.upgrade_and_wait(&all_tags(tag));
    }
    let mut run = 0;
    // Databases have a platform of their own.
    for (heading, commands) in commands().into_iter().filter(|(heading, _)| heading != DATABASE) {
        prepare(&test, &release, &heading);
        for command in commands {
            let mut words = words(&command);
            let writes = ["to", "emergency", "reconcile", "repair"].contains(&words[0].as_str());
            let code = match words[0].as_str() {
                // Ended operations are neither gone on with nor undone: that both say so is enough here.
                "resume" | "abort" => 2,
                // No test asks a real registry: which tags were deployed is told all the same. And where a pipeline's
                // release was taken back it stays red.
                "tags" | "ci" => 1,
                _ => 0,
            };
            if writes || code == 2 {
                words.push("--yes".to_owned());
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = test.run(&words).expect(code);
            assert!(words[0] != "tags" || answer.stdout.contains("good-2"), "{heading}: {answer}");
            assert!(code == 2 || !answer.stdout.trim().is_empty() || writes, "{heading}: {answer}");
            run += 1;
        }
        check(&test, &release, &heading);
    }
    assert!(run >= 35, "only {run} commands were found");
}
