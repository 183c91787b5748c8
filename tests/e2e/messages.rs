//! The messages of an incident, from the facts of operations that really took place.

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Test};

/// What the message of a kind is made from.
#[track_caller]
fn facts(test: &Test, kind: &str) -> Value {
    test.run(&["notify", kind, "-o", "json"]).expect(0).json()["facts"].clone()
}

#[test]
fn a_message_tells_what_the_last_operation_did() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release.upgrade(&values("crash"));
    // Nothing was rolled back yet: what is to be left is all that is known.
    let before = facts(&test, "started");
    assert_eq!((&before["from"], &before["to"]), (&json!("revision 3 (registry-split-1.0.0)"), &Value::Null));

    let emergency =
        ["emergency", "--tag", "good-2", "-m", "checkout fails", "--incident", "INC-482", "--yes"];
    let result = test.run(&[&emergency[..], &["-o", "json"]].concat()).expect(0).json();
    let complete = facts(&test, "complete");
    for (fact, expected) in [
        ("from", json!("revision 3 (registry-split-1.0.0)")),
        ("to", json!("tag good-2")),
        ("reason", json!("checkout fails")),
        ("incident", json!("INC-482")),
        ("operation", result["operation"].clone()),
        ("status", json!("monitoring")),
    ] {
        assert_eq!(complete[fact], expected, "{fact} in {complete}");
    }
    let checks = result["verify"].as_array().unwrap();
    let passed = checks.iter().filter(|check| check["status"] == "pass").count();
    assert_eq!(
        complete["health"],
        json!(format!("{passed} of {} checks passed", checks.len())),
        "{complete}"
    );
    assert!(
        complete["duration"].as_str().is_some_and(|took| took.ends_with('s') && took != "0s"),
        "{complete}"
    );
    let text = test.run(&["notify", "complete", "--health", "all is well"]).expect(0);
    assert!(
        text.stdout.contains("Incident: INC-482\n") && text.stdout.contains("Health: all is well\n"),
        "{text}"
    );

    // One that fails, and is undone.
    test.run(&[
        "emergency",
        "--tag",
        "crash-2",
        "--container",
        "deploy/web",
        "--exclude",
        "deploy/worker",
        "--yes",
    ])
    .expect(4);
    let failed = facts(&test, "update");
    assert_eq!(failed["health"], "the rollback did not end well: 0 of 1 workload ready", "{failed}");
    assert_eq!((&failed["to"], &failed["incident"]), (&json!("tag crash-2"), &Value::Null), "{failed}");
    test.run(&["abort", "--yes"]).expect(0);
    assert_eq!(facts(&test, "update")["health"], "the rollback was undone");

    // The next deploy is the one that a message is about, and Helm's own way back is read from its record.
    release.upgrade_and_wait(&values("good-3"));
    let deployed = facts(&test, "started");
    assert_eq!((&deployed["operation"], &deployed["to"]), (&Value::Null, &Value::Null), "{deployed}");
    Helm::Four.succeed(&test.cluster, &["rollback", "shop", "2"]);
    let back = facts(&test, "complete");
    assert_eq!((&back["operation"], &back["to"]), (&Value::Null, &json!("revision 2")), "{back}");
}
