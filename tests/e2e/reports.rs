//! Reports and checklists of operations that really took place.

use serde_json::json;

use crate::harness::{Helm, Release, Test};

#[test]
fn an_operation_is_reported_and_its_checklist_kept() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    release.upgrade(&values("crash"));
    let reason = "checkout <b>fails</b>";
    let arguments =
        ["emergency", "--tag", "good-2", "--yes", "-m", reason, "--incident", "INC-1", "-o", "json"];
    let result = test.run(&arguments).expect(0).json();

    let report = test.run(&["report", "-o", "json"]).expect(0).json();
    assert_eq!(report["operation"], result["operation"], "{report}");
    assert_eq!((&report["reason"], &report["incident"]), (&json!(reason), &json!("INC-1")), "{report}");
    assert_eq!(report["times"]["restoredAt"], result["timings"]["restoredAt"], "{report}");
    // The deploy began when Helm made the record of the newest revision.
    let record = test.cluster.get("secrets", "sh.helm.release.v1.shop.v3");
    let deployed = record["metadata"]["creationTimestamp"].as_str().unwrap();
    assert_eq!(report["times"]["deployedAt"], json!(deployed), "{report}");
    let recovery = report["durations"]["recoveryMs"].as_i64().unwrap();
    assert!(recovery > report["durations"]["untilRestoredMs"].as_i64().unwrap(), "{report}");
    let web = report["workloads"].as_array().unwrap().iter().find(|workload| workload["name"] == "web");
    let last = web.and_then(|web| web["timeline"].as_array()?.last().cloned()).unwrap();
    assert_eq!((&last["ready"], &last["state"]), (&last["desired"], &json!("ready")), "{report}");
    let page = test.run(&["report", "-o", "html"]).expect(0);
    assert!(page.stdout.contains("checkout &lt;b&gt;fails&lt;/b&gt;"), "{page}");

    let list = test.run(&["checklist", "-o", "json"]).expect(0).json();
    let item = |list: &serde_json::Value, id: &str| {
        let items = list["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == id).cloned().unwrap()
    };
    assert_eq!(item(&list, "pods")["by"], "kubectl-rollback", "{list}");
    assert_eq!(item(&list, "workflow")["done"], false, "{list}");
    let done = ["checklist", "done", "workflow", "--note", "bought a book", "-o", "json"];
    let list = test.run(&done).expect(0).json();
    assert_eq!(item(&list, "workflow")["note"], "bought a book", "{list}");
    let before = test.cluster.resource_versions();
    let again = test.run(&["checklist", "done", "workflow", "--note", "bought a book"]).expect(0);
    assert!(again.stdout.contains("was done already"), "{again}");
    assert_eq!(test.cluster.resource_versions(), before, "the same mark again writes nothing");
    let operation = result["operation"].as_str().unwrap();
    let exported = test.run(&["checklist", operation, "export"]).expect(0);
    assert!(exported.stdout.contains("- [x] Test one user workflow end-to-end (done by "), "{exported}");
    // The journal is as it was.
    test.run(&["operations", "show", operation]).expect(0);
}

#[test]
fn two_people_tick_at_the_same_time_and_both_ticks_stay() {
    let Some(test) = Test::begin() else { return };
    let values = |tag: &str| json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    test.run(&["to", "1", "--yes", "-o", "json"]).expect(0);
    let items = ["workflow", "status-page", "postmortem", "root-cause"];
    let running = items.map(|item| test.start(&["checklist", "done", item, "--note", "seen"]));
    for run in running {
        run.finish().expect(0);
    }
    let list = test.run(&["checklist", "-o", "json"]).expect(0).json();
    let done: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["note"] == "seen")
        .filter_map(|item| item["id"].as_str())
        .collect();
    assert_eq!(done, items, "{list}");
}
