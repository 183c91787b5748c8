//! `list` and `history`: what they say in JSON and YAML is what both Helms say, and more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Helm, Release, Test};

const CHART: &str = "variants/registry-split";

fn tags(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

/// A release with a past: an install, upgrades, one that failed, a rollback, words of a user.
#[track_caller]
fn eventful(test: &Test, helm: Helm) -> Release<'_> {
    let release = Release::install(test, helm, CHART, &tags("good-1"));
    release.upgrade_and_wait(&tags("good-2"));
    let chart = release.chart_path().to_owned();
    let set = ["--set", "web.image.tag=crash,worker.image.tag=good-2,password=hunter2"];
    let arguments = ["upgrade", "shop", &chart, set[0], set[1], "--wait", "--timeout", "3s"];
    helm.fail(&test.cluster, &arguments);
    helm.succeed(&test.cluster, &["rollback", "shop", "2"]);
    release.upgrade_and_wait(&tags("good-2"));
    let set = "web.image.tag=good-3,worker.image.tag=good-3,password=hunter2";
    helm.succeed(
        &test.cluster,
        &["upgrade", "shop", &chart, "--set", set, "--description", "release <3> & more"],
    );
    release
}

fn read(format: &str, text: &str) -> Value {
    match format {
        "json" => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")),
        _ => serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")),
    }
}

/// Demands that our rows have every key of Helm's rows with its value.
#[track_caller]
fn assert_superset(what: &str, ours: &Value, helms: &Value) {
    let (Some(our_rows), Some(helm_rows)) = (ours.as_array(), helms.as_array()) else {
        panic!("{what}: not two arrays\n{ours}\n{helms}")
    };
    let restricted: Vec<Value> = our_rows
        .iter()
        .zip(helm_rows)
        .map(|(ours, helms)| match (ours, helms) {
            (Value::Object(ours), Value::Object(helms)) => {
                let shared = ours.iter().filter(|(key, _)| helms.contains_key(*key));
                shared
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }
            (ours, _) => ours.clone(),
        })
        .collect();
    assert_eq!(our_rows.len(), helm_rows.len(), "{what}: rows\n{ours:#}\n{helms:#}");
    assert_eq!(Value::from(restricted), *helms, "{what}");
}

#[track_caller]
fn assert_history_is_helms(test: &Test) {
    for format in ["json", "yaml"] {
        for more in [&[][..], &["--max", "3"]] {
            let arguments = [&["history", "shop", "-o", format][..], more].concat();
            let ours = read(format, &test.run(&arguments).expect(0).stdout);
            for helm in Helm::BOTH {
                let helms = read(format, &helm.succeed(&test.cluster, &arguments));
                assert_superset(&format!("{helm:?} {arguments:?}"), &ours, &helms);
            }
        }
    }
}

#[track_caller]
fn assert_list_is_helms(test: &Test) {
    for format in ["json", "yaml"] {
        for flags in [
            &["--all"][..],
            &["--deployed"],
            &["--failed"],
            &["--pending"],
            &["--superseded"],
            &["--uninstalled"],
            &["--failed", "--uninstalled"],
            &["--all", "--date"],
            &["--all", "--date", "--reverse"],
            &["--all", "--reverse", "--max", "1"],
            &["--all", "--offset", "1"],
            &["--all", "--offset", "9"],
            &["--all", "--filter", "^(shop|b)"],
            &["--all", "--short"],
            &["--all", "--selector", "team=web"],
        ] {
            let arguments = [&["list", "-o", format][..], flags].concat();
            let ours = read(format, &test.run(&arguments).expect(0).stdout);
            for helm in Helm::BOTH {
                // Helm 4 lists everything unless told otherwise and knows no --all.
                let is_known = |flag: &&&str| helm == Helm::Three || **flag != "--all";
                let arguments: Vec<&str> = arguments.iter().filter(is_known).copied().collect();
                let helms = read(format, &helm.succeed(&test.cluster, &arguments));
                assert_superset(&format!("{helm:?} {arguments:?}"), &ours, &helms);
            }
        }
    }
}

/// Further releases beside the eventful one: one that failed, one that was uninstalled, one with a label.
#[track_caller]
fn neighbours(test: &Test, helm: Helm) {
    let folder = tempfile::tempdir().unwrap();
    write_chart(folder.path());
    let chart = folder.path().display().to_string();
    for name in ["gone", "labelled"] {
        helm.succeed(&test.cluster, &["install", name, &chart, "--labels", "team=web"]);
    }
    // Helm sorts dates by whole seconds.
    std::thread::sleep(Duration::from_secs(1));
    helm.succeed(&test.cluster, &["upgrade", "labelled", &chart]);
    helm.succeed(&test.cluster, &["uninstall", "gone", "--keep-history"]);
    std::thread::sleep(Duration::from_secs(1));
    helm.fail(
        &test.cluster,
        &["install", "broken", &chart, "--set", "tag=crash", "--wait", "--timeout", "3s"],
    );
}

/// A chart whose Deployment is named after the release, so that several stand in one namespace.
fn write_chart(folder: &Path) {
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: one\nversion: 0.1.0-beta.1\n").unwrap();
    fs::write(folder.join("values.yaml"), "tag: good-1\n").unwrap();
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: \"{{ .Release.Name }}\"}\nspec:\n  \
         selector: {matchLabels: &labels {app: \"{{ .Release.Name }}\"}}\n  template:\n    metadata: {labels: *labels}\n    \
         spec: {containers: [{name: one, image: \"ghcr.io/acme/one:{{ .Values.tag }}\"}]}\n";
    fs::write(folder.join("templates/all.yaml"), template).unwrap();
}

fn says_what_helm_says(helm: Helm, driver: Option<&'static str>) {
    let Some(mut test) = Test::begin() else { return };
    test.cluster.environment.extend(driver.map(|driver| ("HELM_DRIVER", driver)));
    eventful(&test, helm);
    assert_history_is_helms(&test);
    neighbours(&test, helm);
    assert_list_is_helms(&test);
}

#[test]
fn listing_of_helm_3() {
    says_what_helm_says(Helm::Three, None);
}

#[test]
fn listing_of_helm_4_in_config_maps() {
    says_what_helm_says(Helm::Four, Some("configmap"));
}

#[test]
fn history_says_what_was_good_and_where_to_go() {
    let Some(test) = Test::begin() else { return };
    eventful(&test, Helm::Four);
    let run = test.run(&["history", "-o", "json"]).expect(0);
    let rows = run.json();
    let picture: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let sign = |key: &str| if row[key] == true { format!(" {key}") } else { String::new() };
            format!(
                "{}{}{}{}{}",
                row["revision"],
                sign("good"),
                sign("current"),
                sign("target"),
                sign("helmTarget")
            )
        })
        .collect();
    // Revision 5 brought again what 4 had gone back to: both are good, the newer one is the target.
    assert_eq!(
        picture,
        ["1 good", "2 good", "3", "4 good", "5 good target helmTarget", "6 good current"],
        "{run}"
    );
    assert!(rows[2]["why"].as_str().unwrap().starts_with("it failed: Upgrade \"shop\" failed"), "{run}");
    let images: Vec<&Value> =
        rows[5]["images"].as_array().unwrap().iter().map(|image| &image["image"]).collect();
    assert_eq!(
        images,
        ["docker.io/library/redis:7.2.4", "ghcr.io/acme/web:good-3", "ghcr.io/acme/worker:good-3"]
    );

    Helm::Four.succeed(&test.cluster, &["rollback", "shop", "5"]);
    let run = test.run(&["history"]).expect(0);
    assert!(run.stdout.contains("would do nothing: revision 7 is itself a rollback to revision 5"), "{run}");
    assert!(
        run.stdout
            .contains("plain helm rollback would choose revision 6, although revision 7 went back past it"),
        "{run}"
    );
}

/// Values, manifests, hooks and notes stay in the records.
#[test]
fn status_and_history_keep_secrets() {
    let Some(test) = Test::begin() else { return };
    eventful(&test, Helm::Four);
    assert!(Helm::Four.values(&test.cluster, "shop").to_string().contains("hunter2"));
    for command in ["status", "history", "list"] {
        for format in ["table", "wide", "json", "yaml", "jsonl", "name"] {
            let run = test.run(&[command, "-o", format]).expect(0);
            for secret in [
                "hunter2",
                "# Source:",
                "matchLabels",
                "\"config\"",
                "\"manifest\"",
                "\"hooks\"",
                "\"notes\"",
            ] {
                assert!(!run.to_string().contains(secret), "{secret}\n{run}");
            }
        }
    }
}

#[test]
fn what_is_forbidden_is_said_with_a_way_out() {
    let Some(test) = Test::begin() else { return };
    Release::install(&test, Helm::Four, CHART, &tags("good-1"));
    let everywhere = test.run(&["list", "-A", "--as", "somebody"]).expect(1);
    assert!(everywhere.stderr.contains("not allowed to list Helm's records (secrets)"), "{everywhere}");
    assert!(everywhere.stderr.contains("next: list one namespace at a time"), "{everywhere}");
    test.cluster.create_operator("somebody");
    let run = test.run(&["history", "shop", "--as", "somebody"]).expect(1);
    assert!(run.stderr.contains("kubectl rollback history deploy/NAME"), "{run}");
    let run = test.run(&["history", "deploy/web", "--as", "somebody"]).expect(0);
    assert!(run.stdout.contains("ghcr.io/acme/web:good-1"), "{run}");
}

#[test]
fn all_namespaces_are_listed() {
    let Some(test) = Test::begin() else { return };
    Release::install(&test, Helm::Four, CHART, &tags("good-1"));
    // Tests beside this one install and remove releases at the same time.
    let own = |rows: Value| -> Vec<Value> {
        let Value::Array(rows) = rows else { panic!("{rows}") };
        rows.into_iter().filter(|row| row["namespace"] == test.namespace()).collect()
    };
    let ours = own(test.run(&["list", "-A", "-o", "json"]).expect(0).json());
    let helms = Helm::Four.succeed(&test.cluster, &["list", "-A", "-o", "json"]);
    assert_eq!(ours, own(serde_json::from_str(&helms).unwrap()));
    assert_eq!(ours.len(), 1, "{ours:?}");
}
