//! What is refused before anything is asked of a cluster: exit 2, and a kubeconfig that is not there: exit 1.

use insta::assert_snapshot;

use crate::{program, run};

#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = run(&mut program(arguments));
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
    output.stderr
}

#[test]
fn no_command() {
    assert_snapshot!("no-command", refused(&[]));
}

#[test]
fn no_target() {
    assert_snapshot!("no-target", refused(&["emergency", "shop"]));
}

#[test]
fn two_targets() {
    assert_snapshot!("two-targets", refused(&["emergency", "--tag", "a", "--to-revision", "3"]));
}

#[test]
fn unknown_flags_and_commands_are_guessed() {
    assert_snapshot!("unknown-command", refused(&["emergancy"]));
    assert_snapshot!("unknown-flag", refused(&["emergency", "--tg", "a"]));
}

#[test]
fn values_that_cannot_be_meant() {
    let cases: [&[&str]; 13] = [
        &["emergency", "--tag", ""],
        &["emergency", "--tag", "-a"],
        &["emergency", "--tag", "a b"],
        &["emergency", "--tag", "acme/web:a"],
        &["emergency", "--digest", "abc"],
        &["emergency", "--to-revision", "0"],
        &["emergency", "--tag", "a", "--container", "web"],
        &["emergency", "--tag", "a", "--exclude", "pod/web"],
        &["emergency", "--tag", "a", "--replicas", "deploy/web=many"],
        &["emergency", "--tag", "a", "--replicas", "ds/web=1"],
        &["emergency", "--image", "ghcr.io/acme/web"],
        &["emergency", "--tag", "a", "--timeout", "5"],
        &["emergency", "--tag", "a", "--concurrency", "0"],
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|arguments| {
            let stderr = refused(arguments);
            let error = stderr.lines().next().unwrap_or_default();
            format!("{}\n    {error}", arguments.join(" "))
        })
        .collect();
    assert_snapshot!("values", said.join("\n"));
}

#[test]
fn flags_can_stand_in_the_environment() {
    let output = run(program(["emergency"]).env("KUBECTL_ROLLBACK_TAG", "a b"));
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("--tag"), "{output}");
}

#[test]
fn without_a_kubeconfig_the_error_is_one_line_and_a_next_command() {
    let output = run(&mut program(["emergency", "--tag", "a", "--yes"]));
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
    assert_snapshot!("no-kubeconfig", output.stderr);
    let output = run(&mut program(["emergency", "--tag", "a", "--yes", "-o", "json"]));
    let result: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (output.code, &result["exitCode"], &result["outcome"]),
        (1, &1.into(), &"Failed".into()),
        "{output}"
    );
}
