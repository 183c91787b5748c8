//! Helm was killed, or left records that block it: after `repair` both Helms go on, and the records are true.

use std::time::Duration;

use kubectl_rollback::helm::codec;
use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Release, Run, Test, chart, wait_for};

const RECORD: &str = "sh.helm.release.v1.shop.v";

/// Every revision with its status, oldest first; both Helms must agree.
#[track_caller]
fn statuses(release: &Release<'_>) -> Vec<String> {
    let [three, four] = Helm::BOTH.map(|helm| {
        let history = helm.history(release.cluster, &release.name);
        let words = history
            .iter()
            .map(|entry| format!("{} {}", entry["revision"], entry["status"].as_str().unwrap_or_default()));
        words.collect::<Vec<String>>()
    });
    assert_eq!(three, four);
    four
}

/// What an upgrade and all that comes with it must find: one deployed record, which names what runs.
#[track_caller]
fn assert_both_helms_go_on(release: &Release<'_>, deployed: u64, run: &Run) {
    let history = statuses(release);
    let all: Vec<&String> = history.iter().filter(|status| status.ends_with(" deployed")).collect();
    assert_eq!(all, [&format!("{deployed} deployed")], "{history:?}\n{run}");
    for helm in Helm::BOTH {
        release.upgrade_reusing_values(helm);
        release.cluster.wait_until_ready();
        release.assert_manifest_names_what_runs(helm);
        let target = deployed.to_string();
        helm.succeed(release.cluster, &["rollback", &release.name, &target, "--wait"]);
        helm.succeed(release.cluster, &["status", &release.name]);
    }
}

/// Writes a status into the label and, unless `label_only`, the body of a record: an accident by hand.
fn write_status(cluster: &Cluster, revision: u64, status: &str, label_only: bool) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let name = format!("{RECORD}{revision}");
    let mut patch = json!({"metadata": {"labels": {"status": status}}});
    if !label_only {
        let stored = cluster.get("secrets", &name)["data"]["release"].as_str().unwrap().to_owned();
        let mut body = codec::decode(&String::from_utf8(STANDARD.decode(stored).unwrap()).unwrap()).unwrap();
        body["info"]["status"] = status.into();
        patch["data"] = json!({"release": STANDARD.encode(codec::encode(&body))});
    }
    cluster.patch("secrets", &name, "somebody", &patch);
}

fn settled(test: &Test) -> Vec<String> {
    let mut last = Vec::new();
    wait_for("the namespace to settle", Duration::from_secs(60), || {
        let now = test.cluster.resource_versions();
        let is_settled = now == last;
        last.clone_from(&now);
        std::thread::sleep(Duration::from_secs(if is_settled { 0 } else { 2 }));
        is_settled.then_some(now)
    })
}

/// Kills `helm upgrade --wait` to this tag once it has changed the Deployment.
#[track_caller]
fn kill_while_it_waits(release: &Release<'_>, tag: &str) {
    let tag = format!("global.image.tag={tag}");
    let helm = release.start_upgrade(&["--set", &tag, "--wait"]);
    wait_for("the upgrade to write the images", Duration::from_secs(60), || {
        let is_pending = release.newest().1 == "pending-upgrade";
        let wanted = tag.rsplit('=').next().unwrap_or_default();
        let all = ["deploy/web", "deploy/worker"];
        (is_pending && all.iter().all(|name| release.cluster.image(name).ends_with(wanted))).then_some(())
    });
    helm.kill();
    assert_eq!(release.newest().1, "pending-upgrade");
}

fn killed_upgrade_that_is_broken(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, helm, "variants/global-tag", &json!({}));
    kill_while_it_waits(&release, "unready");
    assert!(release.upgrade_fails(helm).contains("another operation"));

    let status = test.run(&["status"]).expect(0);
    assert!(status.stdout.contains("kubectl rollback repair shop"), "{status}");
    let status = test.run(&["status", "-o", "json"]).expect(0).json();
    assert!(
        status["stuck"][0].as_str().unwrap_or_default().contains("revision 2 is pending-upgrade"),
        "{status}"
    );

    // It was at work a moment ago: nobody but a person may say that it is dead.
    let before = settled(&test);
    let locked = test.run(&["repair", "shop", "--yes", "-o", "json"]).expect(8);
    let result = locked.json();
    assert_eq!(result["outcome"], "Locked", "{locked}");
    let error = result["error"].as_str().unwrap_or_default();
    assert!(error.contains("pending-upgrade") && error.to_lowercase().contains("ago by helm"), "{locked}");
    assert!(result["next"].to_string().contains("--take-over"), "{locked}");
    let planned = test.run(&["repair", "shop", "--dry-run=server", "-o", "json"]).expect(0);
    let result = planned.json();
    assert_eq!(
        (&result["outcome"], &result["repair"]["alive"]["revision"]),
        (&json!("Planned"), &json!(2)),
        "{planned}"
    );
    assert_eq!(result["repair"]["changes"][0]["to"], "failed", "{planned}");
    let unasked = test.run(&["repair", "shop", "--take-over"]).expect(9);
    assert!(unasked.stderr.contains("--yes") && unasked.stderr.contains("REPAIR"), "{unasked}");
    assert_eq!(cluster.resource_versions(), before, "nothing is written without consent\n{unasked}");

    let run = test
        .run(&["repair", "shop", "--yes", "--take-over", "-m", "CI was cancelled", "-o", "json"])
        .expect(0);
    let result = run.json();
    assert_eq!((&result["outcome"], &result["procedure"]), (&json!("Succeeded"), &json!("repair")), "{run}");
    assert_eq!(result["repair"]["changes"][0]["written"], true, "{run}");
    assert!(result["next"].to_string().contains("kubectl rollback emergency shop --to-revision 1"), "{run}");
    assert_eq!(statuses(&release), ["1 deployed", "2 failed"], "{run}");
    let newest = release.helm.history(cluster, "shop").pop().unwrap();
    let description = newest["description"].as_str().unwrap_or_default();
    assert!(
        description.contains("interrupted") && description.contains("CI was cancelled"),
        "{description}\n{run}"
    );
    assert!(cluster.image("deploy/web").ends_with(":unready"), "no workload is touched\n{run}");

    let again = test.run(&["repair", "-o", "json"]).expect(0);
    assert_eq!(again.json()["outcome"], "Unchanged", "{again}");
    // The upgrade that was refused before works, and brings the good tag back.
    assert_both_helms_go_on(&release, 1, &run);
    assert!(cluster.image("deploy/web").ends_with(":good-1"));
}

#[test]
fn helm_3_killed_in_a_broken_upgrade() {
    killed_upgrade_that_is_broken(Helm::Three);
}

#[test]
fn helm_4_killed_in_a_broken_upgrade() {
    killed_upgrade_that_is_broken(Helm::Four);
}

fn killed_upgrade_that_became_ready(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, helm, "variants/global-tag", &json!({}));
    kill_while_it_waits(&release, "slow");
    test.cluster.wait_until_ready();
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "jsonl"]).expect(0);
    let changes: Vec<Value> = run
        .events()
        .into_iter()
        .filter(|event| event["type"] == "Change")
        .map(|event| event["after"].clone())
        .collect();
    assert_eq!(changes, ["deployed", "superseded"], "rather two deployed for a moment than none\n{run}");
    assert_eq!(statuses(&release), ["1 superseded", "2 deployed"], "{run}");
    assert_eq!(release.values()["global"]["image"]["tag"], "slow", "{run}");
    assert_both_helms_go_on(&release, 2, &run);
}

#[test]
fn helm_3_killed_before_the_last_write() {
    killed_upgrade_that_became_ready(Helm::Three);
}

#[test]
fn helm_4_killed_before_the_last_write() {
    killed_upgrade_that_became_ready(Helm::Four);
}

#[test]
fn killed_in_a_hook_before_anything_changed() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/hook", &json!({}));
    let helm = release.start_upgrade(&["--set", "web.image.tag=unready"]);
    wait_for("the hook to run", Duration::from_secs(60), || test.cluster.find("jobs", "migrate").map(drop));
    helm.kill();
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 deployed", "2 failed"], "{run}");
    let why = run.json()["repair"]["changes"][0]["why"].clone();
    assert_eq!(why, "interrupted; revision 1 is what runs", "{run}");
    assert_both_helms_go_on(&release, 1, &run);
}

#[test]
fn killed_in_an_install() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let chart = chart("variants/global-tag");
    for (helm, verb) in [(Helm::Three, "upgrade"), (Helm::Four, "uninstall")] {
        let arguments = ["install", "shop", &chart, "--set", "global.image.tag=unready", "--wait"];
        let at_work = helm.start(cluster, &arguments);
        wait_for("the install", Duration::from_secs(60), || cluster.find("deployments", "worker").map(drop));
        at_work.kill();
        helm.fail(cluster, &["upgrade", "--install", "shop", &chart]);
        let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
        let history = helm.history(cluster, "shop");
        assert_eq!(history[0]["status"], "failed", "{run}");
        assert!(run.json()["next"].to_string().contains("helm upgrade --install shop"), "{run}");
        if verb == "upgrade" {
            let good = ["upgrade", "--install", "shop", &chart, "--set", "global.image.tag=good-1", "--wait"];
            helm.succeed(cluster, &good);
        }
        helm.succeed(cluster, &["uninstall", "shop", "--wait"]);
    }
}

/// A chart whose ConfigMap can be made to refuse a rollback.
fn chart_with_settings() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    write("values.yaml", "tag: good-1\nlevel: info\n");
    write(
        "templates/all.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: \"{{ .Values.level }}\"}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app.kubernetes.io/name: web}}\n  \
         template:\n    metadata: {labels: {app.kubernetes.io/name: web}}\n    spec:\n      containers:\n      - {name: web, image: \"ghcr.io/acme/web:{{ .Values.tag }}\"}\n",
    );
    folder
}

fn failed_rollback_without_a_deployed_record(helm: Helm) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let chart = chart_with_settings();
    let release = Release::install(&test, helm, &chart.path().display().to_string(), &json!({}));
    release.upgrade_and_wait(&json!({"tag": "good-2", "level": "debug"}));
    cluster.kubectl(&["patch", "configmap", "settings", "-p", "{\"immutable\":true}"]);
    helm.fail(cluster, &["rollback", "shop", "1"]);
    cluster.wait_until_ready();
    assert_eq!(statuses(&release), ["1 superseded", "2 superseded", "3 failed"], "what Helm leaves");
    let running = cluster.image("deploy/web");
    let wanted = if running.ends_with(":good-1") { 1 } else { 2 };

    // Nothing is pending, so that nobody can be at work.
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(0);
    let mut expected = vec!["1 superseded".to_owned(), "2 superseded".to_owned(), "3 failed".to_owned()];
    expected[wanted - 1] = format!("{wanted} deployed");
    assert_eq!(statuses(&release), expected, "{running}\n{run}");
    assert_eq!(run.json()["repair"]["problems"][0]["code"], "NoDeployed", "{run}");
    cluster.delete("configmaps", "settings");
    assert_both_helms_go_on(&release, wanted as u64, &run);
}

#[test]
fn helm_3_failed_rollback() {
    failed_rollback_without_a_deployed_record(Helm::Three);
}

#[test]
fn helm_4_failed_rollback() {
    failed_rollback_without_a_deployed_record(Helm::Four);
}

#[test]
fn accidents_by_hand() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Three, "variants/global-tag", &json!({}));
    release.upgrade_and_wait(&json!({"global": {"image": {"tag": "good-2"}}}));

    // Two deployed: the newest is what runs.
    write_status(cluster, 1, "deployed", false);
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 superseded", "2 deployed"], "{run}");
    assert_eq!(run.json()["repair"]["problems"][0]["code"], "SeveralDeployed", "{run}");

    // Two deployed, and the older one runs.
    cluster.kubectl(&["set", "image", "deployment/web", "web=ghcr.io/acme/web:good-1"]);
    cluster.kubectl(&["set", "image", "deployment/worker", "worker=ghcr.io/acme/worker:good-1"]);
    let images = [cluster.image("deploy/web"), cluster.image("deploy/worker")];
    let recorded = Helm::Three.succeed(cluster, &["get", "manifest", "shop", "--revision", "1"]);
    assert!(images.iter().all(|image| recorded.contains(image.as_str())), "{images:?}\n{recorded}");
    write_status(cluster, 1, "deployed", false);
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 deployed", "2 superseded"], "{run}");

    // Only the label: Helm finds records by it and judges them by the body.
    write_status(cluster, 1, "failed", true);
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(0);
    assert_eq!(run.json()["repair"]["problems"][0]["code"], "Contradiction", "{run}");
    assert_eq!(statuses(&release), ["1 deployed", "2 superseded"], "{run}");
    assert_eq!(
        cluster.get("secrets", &format!("{RECORD}1"))["metadata"]["labels"]["status"],
        "deployed",
        "{run}"
    );

    // The same of the newest record, over which nothing else can be done.
    write_status(cluster, 2, "pending-upgrade", true);
    test.run(&["reconcile", "--yes", "-o", "json"]).expect(3);
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 deployed", "2 failed"], "{run}");

    // An interrupted uninstall: Helm neither upgrades nor installs over it.
    write_status(cluster, 2, "uninstalling", false);
    write_status(cluster, 1, "superseded", false);
    for helm in Helm::BOTH {
        assert!(release.upgrade_fails(helm).contains("no deployed releases"));
    }
    test.run(&["repair", "--yes", "-o", "json"]).expect(8);
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 superseded", "2 failed"], "{run}");
    assert!(run.json()["next"].to_string().contains("helm uninstall shop"), "{run}");
    for helm in Helm::BOTH {
        release.upgrade_reusing_values(helm);
    }
}

#[test]
fn unreadable_newest_record_is_named_and_left_alone() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "variants/global-tag", &json!({}));
    release.upgrade_and_wait(&json!({"global": {"image": {"tag": "good-2"}}}));
    let garbage = json!({"data": {"release": "bm90IGEgcmVsZWFzZQ=="}});
    let name = format!("{RECORD}2");
    cluster.patch("secrets", &name, "somebody", &garbage);
    for helm in Helm::BOTH {
        release.upgrade_fails(helm);
    }
    let before = settled(&test);
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(3);
    let result = run.json();
    assert_eq!(result["outcome"], "Refused", "{run}");
    assert!(result["next"].to_string().contains(&name), "{run}");
    assert_eq!(cluster.resource_versions(), before, "{run}");
    // What it says to do: without that record the rest can be made true.
    cluster.delete("secrets", &name);
    let run = test.run(&["repair", "--yes", "-o", "json"]);
    assert!(matches!(run.code, Some(0 | 3)), "{run}");
}

#[test]
fn operation_of_ours_that_was_killed() {
    let Some(test) = Test::begin() else { return };
    let release = Release::install(&test, Helm::Four, "variants/global-tag", &json!({}));
    release.upgrade_and_wait(&json!({"global": {"image": {"tag": "good-2"}}}));
    let mut running = test.start(&[
        "emergency",
        "--tag",
        "slow",
        "--image",
        "ghcr.io/acme/web=ghcr.io/acme/web:slow",
        "--yes",
        "-o",
        "jsonl",
    ]);
    running.until("the wait", |event| event["type"] == "Stage" && event["stage"] == "wait");
    running.signal("KILL");
    let killed = running.finish();
    assert_eq!(release.newest(), (3, "pending-rollback".to_owned()), "{killed}");
    let locked = test.run(&["repair", "--yes", "-o", "json"]).expect(8);
    assert!(locked.json()["error"].as_str().unwrap_or_default().contains("of this tool"), "{locked}");
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 superseded", "2 deployed", "3 failed"], "{run}");
    assert!(run.json()["next"].to_string().contains("kubectl rollback reconcile shop"), "{run}");
    test.cluster.wait_until_ready();
    let run = test.run(&["reconcile", "--yes", "-o", "json"]).expect(0);
    assert_both_helms_go_on(&release, 4, &run);
}

#[test]
fn without_the_right_to_write_records_nothing_is_begun() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let release = Release::install(&test, Helm::Four, "variants/global-tag", &json!({}));
    write_status(cluster, 1, "pending-upgrade", false);
    cluster.create_operator("somebody");
    let arguments = ["repair", "shop", "--yes", "--take-over", "--as", "somebody", "-o", "json"];
    let run = test.run(&arguments).expect(3);
    assert!(run.json()["preflight"].to_string().contains("permission"), "{run}");
    // Whoever may read them sees what is wrong, and who is missing.
    cluster.create(
        "roles",
        &json!({"metadata": {"name": "reader"}, "rules": [
            {"apiGroups": [""], "verbs": ["get", "list"], "resources": ["secrets"]}]}),
    );
    cluster.kubectl(&["create", "rolebinding", "reader", "--role=reader", "--user=somebody"]);
    let run = wait_for("the new right", Duration::from_secs(20), || {
        let run = test.run(&arguments).expect(3);
        run.json()["repair"].is_object().then_some(run)
    });
    assert!(run.json()["error"].as_str().unwrap_or_default().contains("patch secrets"), "{run}");
    assert_eq!(release.newest().1, "pending-upgrade", "{run}");
}

#[test]
fn stuck_records_in_config_maps() {
    let Some(mut test) = Test::begin() else { return };
    test.cluster.environment.push(("HELM_DRIVER", "configmap"));
    let release = Release::install(&test, Helm::Three, "variants/global-tag", &json!({}));
    kill_while_it_waits(&release, "unready");
    let run = test.run(&["repair", "--yes", "--take-over", "-o", "json"]).expect(0);
    assert_eq!(statuses(&release), ["1 deployed", "2 failed"], "{run}");
    release.upgrade_reusing_values(Helm::Four);
    assert!(test.cluster.image("deploy/web").ends_with(":good-1"), "{run}");
}

#[test]
fn a_healthy_release_needs_no_repair() {
    let Some(test) = Test::begin() else { return };
    Release::install(&test, Helm::Four, "variants/global-tag", &json!({}));
    let before = settled(&test);
    let run = test.run(&["repair"]).expect(0);
    assert!(run.stdout.contains("the records are true"), "{run}");
    let run = test.run(&["repair", "--yes", "-o", "json"]).expect(0);
    let result = run.json();
    assert_eq!(
        (&result["outcome"], &result["repair"]["problems"]),
        (&json!("Unchanged"), &json!([])),
        "{run}"
    );
    assert_eq!(test.cluster.resource_versions(), before, "{run}");
}
