//! A value that nobody may see stands in Secrets, values, environment, registry credentials and a token; then every command
//! runs, at every verbosity, and whatever it printed or left behind is searched.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Helm, Release, Test, all_tags, broken_tags, merge};

/// The value; the second one is put in place of the first by the last deploy, so that it differs between revisions.
const CANARIES: [&str; 2] = ["canary-4f1c9d-old", "canary-4f1c9d-new"];
const COMMON: &str = "canary-4f1c9d";

fn values(canary: &str) -> Value {
    json!({
        "backend": {
            "secret": {"DATABASE_URL": format!("postgresql://todo:{canary}@postgres/todo")},
            "extraEnv": {"API_TOKEN": canary},
        },
        "notification": {"secret": {"PUSH_TOKEN": canary}},
    })
}

/// A text and everything that it folds away.
fn unfold(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut unpacked = Vec::new();
    if flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked).is_ok() {
        text.push_str(&String::from_utf8_lossy(&unpacked));
    }
    text
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    let encoded = [STANDARD.encode(CANARIES[0]), STANDARD.encode(CANARIES[1])];
    for secret in [COMMON, &encoded[0], &encoded[1]] {
        if let Some(at) = text.find(secret) {
            let start = text[..at].char_indices().rev().nth(200).map_or(0, |(index, _)| index);
            panic!("{what} tells the secret: …{}…", &text[start..at + secret.len()]);
        }
    }
}

/// Everything that operations left in the cluster, except what `abort` needs and is meant to hold such values.
fn assert_nothing_left_behind(test: &Test) {
    for secret in test.cluster.list("secrets") {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if secret["type"] != "kubectl-rollback/journal" {
            continue;
        }
        assert_clean(&name, &secret["metadata"].to_string());
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
            assert_clean(&format!("{name} {key}"), &unfold(&bytes));
        }
    }
    for kind in ["leases", "events"] {
        assert_clean(kind, &json!(test.cluster.list(kind)).to_string());
    }
}

#[test]
fn no_command_tells_a_secret() {
    let Some(mut test) = Test::begin() else { return };
    let state = tempfile::tempdir().unwrap();
    let state_home: &'static str = Box::leak(state.path().display().to_string().into_boxed_str());
    test.cluster.environment.push(("XDG_STATE_HOME", state_home));
    let credentials = json!({"auths": {"ghcr.io": {"username": "robot", "password": CANARIES[0]}}});
    test.cluster.create(
        "secrets",
        &json!({
            "metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": STANDARD.encode(credentials.to_string())},
        }),
    );
    let release =
        Release::install(&test, Helm::Four, "todo-app", &merge(&all_tags("good-1"), &values(CANARIES[0])));
    release.upgrade_and_wait(&merge(&all_tags("good-2"), &values(CANARIES[0])));
    test.cluster.kubectl(&[
        "patch",
        "serviceaccount",
        "default",
        "-p",
        r#"{"imagePullSecrets": [{"name": "pull"}]}"#,
    ]);
    release.upgrade(&merge(&broken_tags(), &values(CANARIES[1])));
    test.cluster.wait_until_broken();

    let plan = state.path().join("plan.json").display().to_string();
    let token = ["--token", CANARIES[0]];
    let commands: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["history"],
        vec!["list"],
        vec!["diff"],
        vec!["plan", "--save", &plan],
        vec!["preflight"],
        vec!["preflight", "--tag", "good-2", "--print-role"],
        vec!["tags"],
        vec!["repair", "--yes"],
        vec!["to", "2", "--dry-run=server"],
        vec!["emergency", "--tag", "good-2", "--dry-run=server"],
        // Broken on purpose, so that there is something to resume and to abort.
        vec![
            "emergency",
            "--image",
            "ghcr.io/acme/backend=ghcr.io/acme/backend:missing",
            "--yes",
            "--timeout",
            "6s",
        ],
        vec!["operations"],
        vec!["resume", "--yes", "--timeout", "6s"],
        vec!["abort", "--yes"],
        vec!["to", "2", "--yes", "-m", "a reason"],
        vec!["operations"],
        vec!["reconcile", "--yes"],
        vec!["to", "3", "--allow-failed-revision", "--yes", "--timeout", "6s"],
        vec!["abort", "--yes"],
        vec!["emergency", "--tag", "good-1", "--yes"],
    ];
    let formats: [&[&str]; 3] = [&["-v", "-v"], &["-o", "json"], &["-o", "jsonl", "-v"]];
    for (number, command) in commands.iter().enumerate() {
        let more = formats[number % formats.len()];
        let arguments: Vec<&str> = command.iter().chain(more).copied().collect();
        let run = test.run(&arguments);
        assert_clean(&arguments.join(" "), &format!("{}{}", run.stdout, run.stderr));
        assert!(run.code.is_some_and(|code| code != 101), "{run}");
        assert_nothing_left_behind(&test);
    }
    let journals = test.run(&["operations", "-o", "json"]).expect(0).json();
    let operations = journals["operations"].as_array().unwrap();
    assert!(operations.len() >= 4, "{journals}");
    for row in operations {
        let operation = row["operation"].as_str().unwrap();
        for output in ["table", "json"] {
            let shown = test.run(&["operations", "show", operation, "-o", output]).expect(0);
            assert_clean("operations show", &shown.stdout);
        }
    }
    // Neither what is said nor what is written down of the command tells a token.
    let with_token = test.run(&[&["emergency", "--tag", "good-2", "--yes"][..], &token].concat());
    assert!(with_token.code.is_some_and(|code| code != 101), "{with_token}");
    assert_clean("a token", &format!("{}{}", with_token.stdout, with_token.stderr));
    let mut files = 0;
    let mut folders = vec![state.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_clean(&path.display().to_string(), &unfold(&std::fs::read(&path).unwrap()));
                files += 1;
            }
        }
    }
    assert!(files >= 4, "copies of journals and the saved plan are there");
}
