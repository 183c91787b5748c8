//! The checks before the first write, against a real API server: everything that is wrong is named in one run, and the
//! role that is printed is enough, and not too much.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Release, Run, Test, say, unique, wait_for};
use crate::images::registry;

/// Findings of a run with a status, as `check subject: message`.
fn found(run: &Run, status: &str) -> Vec<String> {
    let result = run.json();
    let findings = result["preflight"].as_array().cloned().unwrap_or_default();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .filter(|finding| finding["status"] == status)
        .map(|finding| {
            format!("{} {}: {}", text(finding, "check"), text(finding, "subject"), text(finding, "message"))
        })
        .collect()
}

#[track_caller]
fn assert_names(run: &Run, failed: &[String], start: &str, words: &str) {
    let is_named = failed.iter().any(|finding| finding.starts_with(start) && finding.contains(words));
    assert!(is_named, "{start} … {words} is not among {failed:#?}\n{run}");
}

fn apply(cluster: &Cluster, objects: &Value) {
    let output = cluster.tool("kubectl", "kubectl", &["apply", "-f", "-"], Some(&objects.to_string()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A definition of its own that goes away with the test.
struct Definition<'test> {
    cluster: &'test Cluster,
    group: String,
}

impl<'test> Definition<'test> {
    fn create(cluster: &'test Cluster) -> Self {
        let definition = Self { cluster, group: format!("g{}.example.com", unique()) };
        definition.serve(true);
        let name = definition.name();
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", &format!("crd/{name}")]);
        definition
    }

    fn name(&self) -> String {
        format!("things.{}", self.group)
    }

    /// Serves `v1`, and `v1alpha1` or not.
    fn serve(&self, old: bool) {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version = |name: &str, served: bool, storage: bool| json!({"name": name, "served": served, "storage": storage, "schema": schema});
        apply(
            self.cluster,
            &json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": self.name()},
                "spec": {
                    "group": self.group, "scope": "Namespaced",
                    "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                    "versions": [version("v1alpha1", old, false), version("v1", true, true)],
                },
            }),
        );
    }
}

impl Drop for Definition<'_> {
    fn drop(&mut self) {
        let name = self.name();
        let _ = self.cluster.tool("kubectl", "kubectl", &["delete", "crd", &name, "--wait=false"], None);
    }
}

/// A chart of one Deployment that needs a Secret which is not its own, and of one custom resource.
fn write_chart(folder: &Path, group: &str) {
    let templates = folder.join("templates");
    std::fs::create_dir_all(&templates).unwrap();
    let write =
        |path: &Path, text: &str| std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    write(&folder.join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    let web = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: web}}
  template:
    metadata: {labels: {app.kubernetes.io/name: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: "ghcr.io/acme/web:{{ .Values.tag }}"
          env:
            - {name: URL, valueFrom: {secretKeyRef: {name: database, key: url}}}
            - {name: EXTRA, valueFrom: {secretKeyRef: {name: nobody, key: x, optional: true}}}
"#;
    write(&templates.join("web.yaml"), web);
    let thing =
        format!("apiVersion: {group}/{{{{ .Values.thing }}}}\nkind: Thing\nmetadata: {{name: one}}\n");
    write(&templates.join("thing.yaml"), &thing);
}

/// Name of the service account that the printed role is for.
const ACCOUNT: &str = "kubectl-rollback";

fn user(test: &Test) -> String {
    format!("system:serviceaccount:{}:{ACCOUNT}", test.namespace())
}

/// The rules of a role, taken apart: one verb of one resource each.
fn rights_of(role: &Value) -> Vec<Value> {
    let list = |rule: &Value, field: &str| rule[field].as_array().cloned().unwrap_or_default();
    let mut rights = Vec::new();
    for rule in list(role, "rules") {
        for (resource, verb) in list(&rule, "resources")
            .iter()
            .flat_map(|resource| list(&rule, "verbs").into_iter().map(move |verb| (resource.clone(), verb)))
        {
            let mut right = rule.clone();
            (right["resources"], right["verbs"]) = (json!([resource]), json!([verb]));
            rights.push(right);
        }
    }
    rights
}

/// Whether the account has a right by now.
fn is_given(test: &Test, right: &Value) -> bool {
    let text = |field: &str| right[field][0].as_str().unwrap_or_default().to_owned();
    let resource = format!("{}.{}", text("resources"), text("apiGroups"));
    let name = right["resourceNames"][0].as_str();
    is_allowed(test, &text("verbs"), resource.trim_end_matches('.'), name)
}

fn is_allowed(test: &Test, verb: &str, resource: &str, name: Option<&str>) -> bool {
    let resource = name.map_or_else(|| resource.to_owned(), |name| format!("{resource}/{name}"));
    let arguments = ["auth", "can-i", verb, &resource, "--as", &user(test)];
    test.cluster.tool("kubectl", "kubectl", &arguments, None).status.success()
}

/// The one role among what `--print-role` prints.
fn role_of(objects: &Value) -> Value {
    let items = objects["items"].as_array().unwrap();
    let role = items.iter().find(|object| object["kind"] == "Role").cloned();
    role.unwrap_or_else(|| panic!("no role: {objects}"))
}

#[test]
fn everything_that_is_wrong_is_named_in_one_run() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let definition = Definition::create(cluster);
    let chart = tempfile::tempdir().unwrap();
    write_chart(chart.path(), &definition.group);
    cluster
        .create("secrets", &json!({"metadata": {"name": "database"}, "stringData": {"url": "canary-4711"}}));
    let path = chart.path().display().to_string();
    let release = Release::install(&test, Helm::Four, &path, &json!({"tag": "good-1", "thing": "v1alpha1"}));
    release.upgrade_and_wait(&json!({"tag": "good-2", "thing": "v1"}));

    // All is well: the checks alone say so.
    let address = registry(&["good-1"]);
    let has_it = format!("ghcr.io={address}");
    let alone = ["preflight", "shop", "1", "-o", "json", "--registry-mirror"];
    let well = test.run(&[&alone[..], &[has_it.as_str()]].concat()).expect(0);
    assert_eq!(well.json()["procedure"], "preflight", "{well}");
    assert!(found(&well, "fail").is_empty(), "{well}");
    let passed = found(&well, "pass");
    assert_names(&well, &passed, "reference 1 object", "exists");

    let role = test.run(&["preflight", "shop", "1", "--print-role", "-o", "json"]).expect(0).json();
    cluster.create("serviceaccounts", &json!({"metadata": {"name": ACCOUNT}}));
    let mut less = role.clone();
    for object in less["items"].as_array_mut().unwrap() {
        for rule in object["rules"].as_array_mut().into_iter().flatten() {
            if rule["resources"].to_string().contains("secrets") {
                rule["verbs"].as_array_mut().unwrap().retain(|verb| *verb != "patch");
            }
        }
    }
    apply(cluster, &less);
    wait_for("the role", Duration::from_secs(20), || {
        is_allowed(&test, "list", "secrets", None).then_some(())
    });
    definition.serve(false);
    cluster.delete("secrets", "database");
    let group = definition.group.clone();
    wait_for("the old version to be gone", Duration::from_secs(30), || {
        let path = format!("/apis/{group}/v1alpha1");
        cluster.send(http::Method::GET, &path, "application/json", &Value::Null).err()
    });
    let before = cluster.resource_versions();
    let address = registry(&[]);
    let mirror = format!("ghcr.io={address}");
    let user = user(&test);
    for command in ["to", "preflight"] {
        let begin = Instant::now();
        let arguments =
            [command, "shop", "1", "--yes", "-o", "json", "--as", &user, "--registry-mirror", &mirror];
        let run = test.run(&arguments).expect(3);
        say(&format!("{command}: four things are wrong, told after {:.2} s", begin.elapsed().as_secs_f64()));
        let failed = found(&run, "fail");
        assert_names(&run, &failed, "image ghcr.io/acme/web:good-1", "does not have it");
        assert_names(
            &run,
            &failed,
            "reference Secret/database",
            "deploy/web needs it, and it does not exist",
        );
        assert_names(&run, &failed, "permission patch secrets", "not allowed");
        assert_names(&run, &failed, "api revision 1", "v1alpha1 Thing");
        assert_eq!(run.json()["requests"]["writes"], 0, "{run}");
        assert_eq!(cluster.resource_versions(), before, "{run}");
        assert!(!run.to_string().contains("canary"), "{run}");
    }
}

#[test]
fn a_missing_key_stops_an_emergency_and_what_is_optional_does_not() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut web = crate::harness::deployment("web", 1, "ghcr.io/acme/web:good-2");
    web["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    web["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "b", "optional": true}}},
    ]);
    cluster.create("configmaps", &json!({"metadata": {"name": "settings"}, "data": {"a": "1"}}));
    cluster.create_ready(&[web]);
    let arguments = ["emergency", "deploy/web", "--image", "ghcr.io/acme/web=good-1", "--yes", "-o", "json"];
    cluster.patch("configmaps", "settings", "somebody", &json!({"data": {"a": null, "b": "1"}}));
    let before = cluster.resource_versions();
    let run = test.run(&arguments).expect(3);
    assert_names(
        &run,
        &found(&run, "fail"),
        "reference ConfigMap/settings",
        "lacks the key a (for deploy/web)",
    );
    assert_names(&run, &found(&run, "warn"), "reference Secret/pull", "pulls with it");
    assert_eq!(cluster.resource_versions(), before, "{run}");
    cluster.patch("configmaps", "settings", "somebody", &json!({"data": {"a": "1"}}));
    let run = test.run(&arguments).expect(0);
    assert_eq!(cluster.image("deploy/web"), "ghcr.io/acme/web:good-1", "{run}");
}

/// Takes each right away in turn: every one is missed before anything is written. With all of them the command succeeds.
fn every_right_is_needed(test: &Test, checks: &[&str], command: &[&str]) {
    let cluster = &test.cluster;
    let printed = [&["preflight"], checks, &["--print-role", "-o", "json"]].concat();
    let objects = test.run(&printed).expect(0).json();
    let role = role_of(&objects);
    cluster.create("serviceaccounts", &json!({"metadata": {"name": ACCOUNT}}));
    apply(cluster, &objects);
    let user = user(test);
    let arguments = [command, &["--yes", "-o", "json", "--as", &user]].concat();
    let before = cluster.resource_versions();
    let rights = rights_of(&role);
    for (index, right) in rights.iter().enumerate() {
        let mut less = role.clone();
        let others = rights.iter().enumerate().filter(|(other, _)| *other != index);
        less["rules"] = others.map(|(_, right)| right.clone()).collect();
        apply(cluster, &less);
        wait_for("the right to go", Duration::from_secs(20), || (!is_given(test, right)).then_some(()));
        let run = test.run(&arguments).expect(3);
        let missed = found(&run, "fail").join("\n");
        let wanted = format!(
            "permission {} {}",
            right["verbs"][0].as_str().unwrap(),
            right["resources"][0].as_str().unwrap()
        );
        assert!(missed.contains(&wanted), "{wanted}: {missed}\n{run}");
        assert_eq!(cluster.resource_versions(), before, "{right}\n{run}");
    }
    apply(cluster, &objects);
    wait_for("the whole role", Duration::from_secs(30), || {
        rights.iter().all(|right| is_given(test, right)).then_some(())
    });
    let run = test.run(&arguments).expect(0);
    assert!(run.json()["requests"]["writes"].as_u64() > Some(0), "{run}");
    say(&format!("{}: {} rights, each needed", command[0], rights.len()));
}

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

#[test]
fn the_printed_role_is_enough_for_an_emergency_and_not_too_much() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    every_right_is_needed(&test, &["shop", "--tag", "good-1"], &["emergency", "shop", "--tag", "good-1"]);
    assert_eq!(test.cluster.image("deploy/web"), "ghcr.io/acme/web:good-1");
    assert_eq!(release.newest(), (3, "deployed".to_owned()));
}

#[test]
fn the_printed_role_is_enough_for_a_rollback_and_not_too_much() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/registry-split", &values("good-1"));
    release.upgrade_and_wait(&values("good-2"));
    every_right_is_needed(&test, &["shop", "1"], &["to", "shop", "1"]);
    assert_eq!(test.cluster.image("deploy/web"), "ghcr.io/acme/web:good-1");
    assert_eq!(release.newest(), (3, "deployed".to_owned()));
}

/// Runs a command with the printed role and nothing else.
fn with_the_printed_role(test: &Test, checks: &[&str], command: &[&str]) -> Run {
    let printed = [&["preflight"], checks, &["--print-role", "-o", "json"]].concat();
    let objects = test.run(&printed).expect(0).json();
    test.cluster.create("serviceaccounts", &json!({"metadata": {"name": ACCOUNT}}));
    apply(&test.cluster, &objects);
    let rights = rights_of(&role_of(&objects));
    wait_for("the role", Duration::from_secs(30), || {
        rights.iter().all(|right| is_given(test, right)).then_some(())
    });
    test.run(&[command, &["--yes", "-o", "json", "--as", &user(test)]].concat()).expect(0)
}

#[test]
fn the_printed_role_is_enough_for_hooks() {
    let Some(test) = Test::begin() else { return };
    let chart = crate::hooks::chart("good-1");
    let path = chart.path().display().to_string();
    let release = Release::install(&test, Helm::Four, &path, &json!({}));
    release.upgrade_and_wait(&json!({}));
    let run = with_the_printed_role(&test, &["shop", "1"], &["to", "shop", "1"]);
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
}

#[test]
fn the_printed_role_is_enough_for_the_broken_pods_of_a_stateful_set() {
    let Some(test) = Test::begin() else { return };
    let tag = |tag: &str| json!({"web": {"image": {"tag": tag}}});
    let release = Release::install(&test, Helm::Four, "variants/statefulset", &tag("good-1"));
    release.upgrade(&tag("crash"));
    wait_for("a crashing pod", Duration::from_secs(30), || {
        let pod = test.cluster.find("pods", "web-2")?;
        (pod["status"]["containerStatuses"][0]["restartCount"].as_i64()? > 0).then_some(())
    });
    let command = ["emergency", "shop", "--tag", "good-1"];
    let run = with_the_printed_role(&test, &["shop", "--tag", "good-1"], &command);
    assert_eq!(test.cluster.image("sts/web"), "ghcr.io/acme/web:good-1", "{run}");
}
