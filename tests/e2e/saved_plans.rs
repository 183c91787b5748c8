//! An emergency that is planned first, kept in a file, and carried out later: as the file says, or not at all.

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Run, Test};

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

/// A small release at good-2 that was at good-1 before.
#[track_caller]
fn small_release(test: &Test) -> Release<'_> {
    let release = Release::install(test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release
}

#[track_caller]
fn assert_tags(test: &Test, tag: &str, run: &Run) {
    for name in ["web", "worker"] {
        let image = test.cluster.image(&format!("deploy/{name}"));
        assert_eq!(image, format!("ghcr.io/acme/{name}:{tag}"), "{run}");
    }
}

#[test]
fn a_tag_of_no_stored_revision_is_planned_as_an_emergency_and_carried_out() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json").display().to_string();

    let stored = test.run(&["plan", "--tag", "good-1", "-o", "json"]).expect(0).json();
    assert_eq!(
        (&stored["procedure"], &stored["plan"]["targetRevision"]),
        (&json!("to"), &json!(1)),
        "{stored}"
    );

    let before = test.cluster.resource_versions();
    let run = test.run(&["plan", "--tag", "good-3", "--save", &file, "-o", "json"]).expect(0);
    let plan = run.json();
    assert_eq!(test.cluster.resource_versions(), before, "a plan reads only\n{run}");
    assert_eq!((&plan["procedure"], &plan["outcome"]), (&json!("emergency"), &json!("Planned")), "{run}");
    assert!(plan["warnings"].to_string().contains("no earlier revision that ran tag good-3"), "{run}");
    assert_eq!(plan["plan"]["workloads"].as_array().unwrap().len(), 2, "{run}");

    let wrong = test.run(&["to", "--plan", &file, "--yes", "-o", "json"]).expect(2);
    assert!(wrong.stderr.contains(&format!("kubectl rollback emergency --plan {file}")), "{wrong}");
    let run = test.run(&["emergency", "--plan", &file, "--yes", "-o", "json"]).expect(0);
    assert_tags(&test, "good-3", &run);
    release.assert_record(3, &values("good-3"));
    // What was carried out is no plan any more.
    let run = test.run(&["emergency", "--plan", &file, "--yes", "-o", "json"]).expect(3);
    assert!(run.stderr.contains("the release is at revision 3, the plan was made at 2"), "{run}");
    assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
}

#[test]
fn a_saved_emergency_is_refused_once_the_cluster_has_moved() {
    let Some(test) = Test::begin() else { return };
    let release = small_release(&test);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json").display().to_string();
    let replicas = test.cluster.workload("deploy/web").replicas.unwrap();
    let asked = ["plan", "--tag", "good-1", "--strategy", "rolling", "--exclude", "deploy/redis"];
    test.run(&[&asked[..], &["--save", &file, "-o", "json"]].concat()).expect(0);
    let text = std::fs::read_to_string(&file).unwrap();
    let saved: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(saved["procedure"], "emergency", "{text}");
    let refused = |why: &str| {
        let run = test.run(&["emergency", "--plan", &file, "--yes", "-o", "json"]).expect(3);
        let result = run.json();
        assert_eq!(
            (&result["outcome"], &result["requests"]["writes"]),
            (&json!("Refused"), &json!(0)),
            "{run}"
        );
        assert!(result["error"].as_str().unwrap().contains(why), "{why}\n{run}");
        let again = "kubectl rollback plan shop -n";
        assert!(result["next"].to_string().contains(again), "{run}");
    };
    let (web, scale) = ("deployment/web", |number: i64| format!("--replicas={number}"));

    test.cluster.kubectl(&["scale", web, &scale(replicas + 1)]);
    refused("deploy/web has other replicas");
    test.cluster.kubectl(&["scale", web, &scale(replicas)]);

    test.cluster.kubectl(&["set", "image", web, "web=ghcr.io/acme/web:good-4"]);
    refused("deploy/web would leave other images behind: web ghcr.io/acme/web:good-4");
    test.cluster.kubectl(&["set", "image", web, "web=ghcr.io/acme/web:good-1"]);
    refused("deploy/web is at the target already");
    test.cluster.kubectl(&["set", "image", web, "web=ghcr.io/acme/web:good-2"]);

    let mut again = test.cluster.get("deployments", "web");
    test.cluster.delete("deployments", "web");
    refused("deploy/web is gone");
    let metadata = again["metadata"].as_object_mut().unwrap();
    metadata.retain(|name, _| ["name", "namespace", "labels", "annotations"].contains(&name.as_str()));
    again.as_object_mut().unwrap().remove("status");
    test.cluster.create("deployments", &again);
    refused("deploy/web was deleted and made anew since");

    release.upgrade(&values("good-2"));
    refused("the release is at revision 3, the plan was made at 2");
    // And what is planned anew is carried out.
    test.run(&[&asked[..], &["--save", &file, "-o", "json"]].concat()).expect(0);
    let run = test.run(&["emergency", "--plan", &file, "--yes", "-o", "json"]).expect(0);
    assert_tags(&test, "good-1", &run);
    assert_eq!(release.newest(), (4, "deployed".to_owned()));
}
