//! The configuration: where it is found, what is said about it, and the contexts that it protects.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::api::{Api, service};
use crate::{Output, program, program_against, run};

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("team.yaml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn without_path(output: &Output, folder: &Path) -> String {
    output.to_string().replace(&folder.display().to_string(), "FOLDER")
}

#[test]
fn a_file_is_shown_and_checked_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "protectedContexts: [prod]\nnotify: {webhooks: [{name: a, format: slack, url: 'https://hooks.example.com/HIDDEN'}]}\n",
    );
    let view = run(&mut program(["config", "view", "--config", &path]));
    assert_eq!(view.code, 0, "{view}");
    assert_snapshot!("config-view", without_path(&view, folder.path()));
    let valid = run(&mut program(["config", "validate", "-o", "json", "--config", &path]));
    let document: Value = serde_json::from_str(&valid.stdout).unwrap();
    assert_eq!((valid.code, &document["valid"]), (0, &json!(true)), "{valid}");

    let path = file(folder.path(), "verify:\n  chekcs: []\n");
    let broken = run(&mut program(["config", "validate", "--config", &path]));
    assert_eq!(broken.code, 1, "{broken}");
    assert_snapshot!("config-broken", without_path(&broken, folder.path()));
}

#[test]
fn the_file_of_the_folder_above_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".kubectl-rollback.yaml"), "protectedContexts: [eu]\n").unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    let found = run(program(["config", "view"]).current_dir(folder.path().join("below")));
    assert_eq!(found.code, 0, "{found}");
    assert!(found.stdout.contains("- eu"), "{found}");
}

#[test]
fn without_a_file_the_config_map_of_the_namespace_counts() {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubectl-rollback", "namespace": "shop"},
        "data": {"config.yaml": "protectedContexts: [us]\n"},
    });
    let api = Api::start(HashMap::from([("configmaps", vec![config_map])]));
    let folder = tempfile::tempdir().unwrap();
    let found = run(program_against(&api, &["config", "view"]).current_dir(folder.path()));
    assert_eq!(found.code, 0, "{found}");
    assert!(found.stdout.starts_with("# ConfigMap shop/kubectl-rollback\n"), "{found}");
    let none =
        run(program_against(&Api::start(HashMap::new()), &["config", "validate"]).current_dir(folder.path()));
    assert_eq!(none.code, 0, "{none}");
    assert!(none.stdout.contains("no configuration was found"), "{none}");
}

#[test]
fn a_protected_context_is_changed_only_by_who_names_it() {
    let mut objects = HashMap::new();
    service("backend", &mut objects);
    let api = Api::start(objects);
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "protectedContexts: ['pro*']\n");
    for command in [
        &["emergency", "-l", "team=shop", "--tag", "good-1"][..],
        &["to", "shop"],
        &["repair", "shop"],
        &["reconcile", "shop"],
    ] {
        for more in [&["--yes"][..], &["--yes", "--confirm-context", "staging"]] {
            let arguments = [command, more, &["--config", &path]].concat();
            let output = run(&mut program_against(&api, &arguments));
            assert_eq!(output.code, 9, "{arguments:?}: {output}");
            assert!(output.stderr.contains("--confirm-context prod"), "{output}");
        }
        // What comes next is another question than this one.
        let arguments = [command, &["--confirm-context", "prod", "--config", &path]].concat();
        let output = run(&mut program_against(&api, &arguments));
        assert!(!output.stderr.contains("protected"), "{arguments:?}: {output}");
    }
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
    let look = ["emergency", "-l", "team=shop", "--tag", "good-1", "--dry-run=client", "--config", &path];
    let output = run(&mut program_against(&api, &look));
    assert_eq!(output.code, 0, "a look needs no confirmation: {output}");
    let protected = ["emergency", "-l", "team=shop", "--tag", "good-1", "--yes", "--config", &path];
    let output = run(&mut program_against(&api, &protected));
    let error = output.stderr.lines().filter(|line| line.starts_with("error") || line.starts_with("next"));
    assert_snapshot!("config-protected", error.collect::<Vec<_>>().join("\n").replace(&path, "team.yaml"));
}
