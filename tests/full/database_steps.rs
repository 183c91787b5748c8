//! What tests of databases do and demand, whichever program keeps the migrations.

use std::io::Write as _;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::harness::{Cluster, Run, Test};
use crate::sql_platform::Program;

/// What an emergency and `to` are told to take the database back without a question.
pub const WITH_DATABASE: [&str; 3] = ["--yes", "--db-downgrade", "--i-have-a-backup"];

/// A file with a configuration.
fn config(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Arguments with the configuration of the database, and for JSON; the configuration lives as long as the file.
pub fn with_configuration(program: &Program, arguments: &[&str]) -> (NamedTempFile, Vec<String>) {
    let file = config(program.database);
    let path = file.path().display().to_string();
    let all = arguments.iter().copied().chain(["--config", &path, "-o", "json"]);
    let all = all.map(str::to_owned).collect();
    (file, all)
}

/// A run with the configuration of the database; what it says must not hold the password.
#[track_caller]
pub fn run(test: &Test, program: &Program, arguments: &[&str]) -> Run {
    let (_file, all) = with_configuration(program, arguments);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = test.run(&all);
    assert!(!run.stdout.contains("correct-horse") && !run.stderr.contains("correct-horse"), "{run}");
    run
}

/// An emergency to `v1`.
#[track_caller]
pub fn emergency(test: &Test, program: &Program, flags: &[&str]) -> Run {
    let arguments: Vec<&str> = ["emergency", "--tag", "v1"].iter().chain(flags).copied().collect();
    run(test, program, &arguments)
}

/// The images of what uses the database.
pub fn images(cluster: &Cluster) -> [String; 2] {
    ["deploy/todo-backend", "deploy/reminder-consumer"].map(|workload| cluster.image(workload))
}

/// The images that they have at a tag.
pub fn of_tag(program: &Program, tag: &str) -> [String; 2] {
    let image = format!("{}:{tag}", program.repository);
    [image.clone(), image]
}

/// Nothing is stopped, and nothing of ours is noted on a workload.
#[track_caller]
pub fn assert_started(cluster: &Cluster, said: &Run) {
    for name in ["deploy/todo-backend", "deploy/reminder-consumer"] {
        let workload = cluster.workload(name);
        assert_eq!(workload.replicas, Some(1), "{name}\n{said}");
        let annotations = workload.object["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("rollback.kubectl.dev"), "{name}: {annotations}\n{said}");
    }
}

/// What the check of the schema says: its status and its message.
#[track_caller]
pub fn schema(run: &Run) -> (String, String) {
    let document = run.json();
    let findings = document["preflight"].as_array().unwrap_or_else(|| panic!("{run}"));
    let found = findings.iter().find(|finding| finding["check"] == "schema");
    let found = found.unwrap_or_else(|| panic!("nothing about the schema: {run}"));
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// The Jobs that were made to take a database back.
pub fn downgrades(cluster: &Cluster) -> Vec<Value> {
    let is_one = |job: &Value| job["metadata"]["labels"]["rollback.kubectl.dev/database"] == "downgrade";
    cluster.list("jobs").into_iter().filter(is_one).collect()
}
