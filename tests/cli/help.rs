//! Help pages, version and completion scripts.

use insta::assert_snapshot;

use crate::{program, run};

fn help_of(arguments: &[&str]) -> String {
    let output = run(&mut program(arguments));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    output.stdout
}

#[test]
fn top_level() {
    assert_snapshot!("help", help_of(&["--help"]));
}

#[test]
fn emergency() {
    assert_snapshot!("help-emergency", help_of(&["emergency", "--help"]));
}

#[test]
fn to() {
    assert_snapshot!("help-to", help_of(&["to", "--help"]));
}

#[test]
fn diff() {
    assert_snapshot!("help-diff", help_of(&["diff", "--help"]));
}

#[test]
fn plan() {
    assert_snapshot!("help-plan", help_of(&["plan", "--help"]));
}

#[test]
fn preflight() {
    assert_snapshot!("help-preflight", help_of(&["preflight", "--help"]));
}

#[test]
fn tags() {
    assert_snapshot!("help-tags", help_of(&["tags", "--help"]));
}

#[test]
fn status() {
    assert_snapshot!("help-status", help_of(&["status", "--help"]));
}

#[test]
fn history() {
    assert_snapshot!("help-history", help_of(&["history", "--help"]));
}

#[test]
fn list() {
    assert_snapshot!("help-list", help_of(&["list", "--help"]));
}

#[test]
fn reconcile() {
    assert_snapshot!("help-reconcile", help_of(&["reconcile", "--help"]));
}

#[test]
fn report() {
    assert_snapshot!("help-report", help_of(&["report", "--help"]));
}

#[test]
fn checklist() {
    assert_snapshot!("help-checklist", help_of(&["checklist", "--help"]));
}

#[test]
fn repair() {
    assert_snapshot!("help-repair", help_of(&["repair", "--help"]));
}

#[test]
fn version_is_the_packages() {
    let expected = env!("CARGO_PKG_VERSION");
    for arguments in [&["version"][..], &["--version"]] {
        let text = help_of(arguments);
        assert!(text.contains(expected), "{text}");
    }
    let document: serde_json::Value = serde_json::from_str(&help_of(&["version", "-o", "json"])).unwrap();
    assert!(document.to_string().contains(expected), "{document}");
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = help_of(&["completion", shell]);
        for command in [
            "emergency",
            "to",
            "plan",
            "diff",
            "preflight",
            "status",
            "history",
            "list",
            "reconcile",
            "repair",
        ] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn commands_that_are_not_built_yet_are_not_in_the_help() {
    let help = help_of(&["--help"]);
    for command in ["  freeze", "  thaw"] {
        assert!(!help.contains(command), "{command}");
    }
}

#[test]
fn databases() {
    assert_snapshot!("help-db", help_of(&["db", "--help"]));
    assert_snapshot!("help-db-downgrade", help_of(&["db", "downgrade", "--help"]));
}

#[test]
fn ci() {
    assert_snapshot!("help-ci", help_of(&["ci", "--help"]));
}

#[test]
fn config() {
    assert_snapshot!("help-config", help_of(&["config", "--help"]));
}

#[test]
fn verify() {
    assert_snapshot!("help-verify", help_of(&["verify", "--help"]));
}

#[test]
fn notify() {
    assert_snapshot!("help-notify", help_of(&["notify", "--help"]));
}

#[test]
fn completion_of_kubectl() {
    assert_snapshot!("help-completion", help_of(&["completion", "--help"]));
    assert!(help_of(&["__complete", "emergency", "--strat"]).starts_with("--strategy\t"));
}

#[test]
fn resume() {
    assert_snapshot!("help-resume", help_of(&["resume", "--help"]));
}

#[test]
fn abort() {
    assert_snapshot!("help-abort", help_of(&["abort", "--help"]));
}

#[test]
fn operations() {
    assert_snapshot!("help-operations", help_of(&["operations", "--help"]));
}
