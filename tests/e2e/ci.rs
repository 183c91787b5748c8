//! `ci`: a deploy under watch, with both real Helms as the deploy.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::harness::{Helm, Release, Run, Test, chart, say, text, wait_for};

fn values(tag: &str) -> Value {
    json!({"web": {"image": {"tag": tag}}, "worker": {"image": {"tag": tag}}})
}

/// A Helm as a pipeline calls it, and where its summary goes.
struct Pipeline {
    folder: TempDir,
    namespace: String,
}

impl Pipeline {
    fn new(test: &Test, helm: Helm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = if helm == Helm::Three { "helm3" } else { "helm4" };
        for (name, file) in [("helm", file), ("kubectl", "kubectl")] {
            std::os::unix::fs::symlink(test.cluster.tools.join(file), folder.path().join(name)).unwrap();
        }
        Self { folder, namespace: test.namespace().to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `helm upgrade --install` of these values, as a line for a shell.
    fn upgrade(&self, values: &Value, more: &str) -> String {
        let file = self.folder.path().join("values.json");
        std::fs::write(&file, values.to_string()).unwrap();
        format!(
            "{} upgrade --install shop {} -f {} -n {} {more}",
            self.path("helm"),
            chart("variants/registry-split"),
            file.display(),
            self.namespace
        )
    }

    /// Runs `ci` with a deploy that is no script.
    #[track_caller]
    fn run(&self, test: &Test, own: &[&str], deploy: &str) -> Run {
        let words: Vec<&str> = deploy.split_whitespace().collect();
        self.run_words(test, own, &words)
    }

    #[track_caller]
    fn run_script(&self, test: &Test, own: &[&str], script: &str) -> Run {
        self.run_words(test, own, &["sh", "-c", script])
    }

    #[track_caller]
    fn run_words(&self, test: &Test, own: &[&str], deploy: &[&str]) -> Run {
        let summary = self.path("summary.md");
        let base = ["ci", "shop", "--summary", &summary, "-o", "json"];
        let arguments = [&base[..], own, &["--"], deploy].concat();
        test.run(&arguments)
    }

    fn summary(&self) -> String {
        std::fs::read_to_string(self.path("summary.md")).unwrap_or_default()
    }
}

/// Revisions and statuses, oldest first.
fn history(release: &Release) -> Vec<String> {
    let history = release.helm.history(release.cluster, &release.name);
    history.iter().map(|entry| format!("{} {}", entry["revision"], text(&entry["status"]))).collect()
}

fn install(test: &Test, helm: Helm) -> Release<'_> {
    Release::install(test, helm, "variants/registry-split", &values("good-1"))
}

/// The release that a deploy finds, and the pipeline that runs the deploy with the same Helm.
fn installed(test: &Test, helm: Helm) -> (Release<'_>, Pipeline) {
    (install(test, helm), Pipeline::new(test, helm))
}

#[test]
fn a_good_deploy_is_left_as_it_is() {
    for helm in Helm::BOTH {
        let Some(test) = Test::begin() else { return };
        let (release, pipeline) = installed(&test, helm);
        let run =
            pipeline.run(&test, &[], &pipeline.upgrade(&values("good-2"), "--set a.b=hunter2")).expect(0);
        let result = run.json();
        assert_eq!(result["procedure"], "ci", "{run}");
        let deploy = &result["deploy"];
        assert_eq!((&deploy["exitCode"], &deploy["failures"]), (&json!(0), &json!([])), "{run}");
        assert_eq!((&deploy["revisionBefore"], &deploy["revision"]), (&json!(1), &json!(2)), "{run}");
        assert!(!deploy["verify"].as_array().unwrap().is_empty(), "{run}");
        assert_eq!(result["requests"]["writes"], 0, "{run}");
        // Helm's own words come as they come, and never where the result is.
        assert!(run.stderr.contains("has been upgraded"), "{run}");
        assert!(!run.stderr.contains("hunter2") && !pipeline.summary().contains("hunter2"), "{run}");
        assert!(pipeline.summary().contains("nothing had to be done"), "{}", pipeline.summary());
        assert_eq!(history(&release), ["1 superseded", "2 deployed"], "{run}");
        let plain = test.run(&["ci", "shop", "--", "echo", "hello"]).expect(0);
        assert!(plain.stdout.starts_with("hello\n") && plain.stdout.contains("is ready"), "{plain}");
    }
}

#[test]
fn what_the_deploy_prints_can_be_folded_away() {
    let Some(mut test) = Test::begin() else { return };
    install(&test, Helm::Four);
    for (pipeline, begin, end) in [
        (None, "", ""),
        (Some("GITHUB_ACTIONS"), "\n::group::sh -c", "\n::endgroup::\n"),
        (Some("GITLAB_CI"), "\n\u{1b}[0Ksection_start:", ":kubectl_rollback_deploy\r\u{1b}[0K\n"),
    ] {
        test.cluster.environment = pipeline.into_iter().map(|name| (name, "true")).collect();
        let run = test.run(&["ci", "shop", "--", "sh", "-c", "echo at work >&2"]).expect(0);
        let Some(_) = pipeline else {
            assert!(!run.stderr.contains("group") && !run.stderr.contains("section"), "{run}");
            continue;
        };
        let (_, within) = run.stderr.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}\n{run}"));
        let (within, behind) = within.split_once(end).unwrap_or_else(|| panic!("no {end:?}\n{run}"));
        assert!(within.contains("at work\n") && !behind.contains("at work\n"), "{run}");
        assert!(behind.contains("stage=wait"), "{run}");
        let nowhere = test.run(&["ci", "shop", "--", "/no/such/program"]).expect(2);
        let (_, behind) = nowhere.stderr.split_once(begin.trim_end_matches("sh -c")).unwrap();
        assert!(behind.contains(end), "what was begun ends\n{nowhere}");
        let quiet = test.run(&["ci", "shop", "-q", "--", "true"]).expect(0);
        assert!(!quiet.stderr.contains("group") && !quiet.stderr.contains("section"), "{quiet}");
    }
}

#[test]
fn a_crashing_deploy_is_stopped_and_taken_back() {
    for helm in Helm::BOTH {
        let Some(test) = Test::begin() else { return };
        let (release, pipeline) = installed(&test, helm);
        let line = pipeline.upgrade(&values("crash"), "--wait --timeout 60s");
        let run = pipeline.run(&test, &[], &line).expect(1);
        let deploy = run.json()["deploy"].clone();
        assert!(text(&deploy["stoppedEarly"]).contains("CrashLoop"), "{run}");
        assert_eq!(deploy["rolledBackTo"], 1, "{run}");
        assert_eq!(history(&release), ["1 superseded", "2 failed", "3 deployed"], "{run}");
        release.assert_record(3, &values("good-1"));
        let summary = pipeline.summary();
        assert!(summary.contains("CrashLoop") && summary.contains("KeyError"), "{summary}");
        assert!(summary.contains("rolled back to revision 1 as revision 3"), "{summary}");
        assert!(run.stderr.contains("KeyError: 'SMTP_URL'"), "{run}");
        // Nobody has asked for that revision.
        let target = "target  revision 1  the last good one, noted before the deploy";
        assert!(run.stderr.contains(target) && !run.stderr.contains("as asked for"), "{run}");

        // What plain Helm takes to say so, on the same release.
        let begin = std::time::Instant::now();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        release.helm.fail(&test.cluster, &words);
        let alone = begin.elapsed();
        say(&format!(
            "{helm:?}: a crashing deploy with ci: stopped after {} s, everything back after {:.1} s; helm upgrade --wait alone: failed after {:.1} s",
            deploy["seconds"],
            run.elapsed.as_secs_f32(),
            alone.as_secs_f32()
        ));
        assert!(run.elapsed < alone, "{:?} {alone:?}", run.elapsed);
    }
}

#[test]
fn helm_without_wait_is_waited_for() {
    let Some(test) = Test::begin() else { return };
    let (release, pipeline) = installed(&test, Helm::Four);
    let run = pipeline.run(&test, &[], &pipeline.upgrade(&values("crash"), "")).expect(1);
    let result = run.json();
    assert_eq!(result["deploy"]["exitCode"], 0, "{run}");
    assert!(result["deploy"]["failures"].to_string().contains("will not become ready"), "{run}");
    assert_eq!(history(&release), ["1 superseded", "2 superseded", "3 deployed"], "{run}");
    release.assert_record(3, &values("good-1"));
}

#[test]
fn a_deploy_that_is_ready_and_not_well_is_taken_back() {
    let Some(test) = Test::begin() else { return };
    let (release, pipeline) = installed(&test, Helm::Four);
    let upgrade = pipeline.upgrade(&values("good-2"), "--wait --timeout 60s");
    let script = format!(
        "{upgrade} && {} delete deployment worker -n {}",
        pipeline.path("kubectl"),
        pipeline.namespace
    );
    let run = pipeline.run_script(&test, &[], &script).expect(1);
    let result = run.json();
    let failures = result["deploy"]["failures"].to_string();
    assert!(failures.contains("check readiness") && failures.contains("worker"), "{run}");
    assert!(result["deploy"]["verify"].to_string().contains("fail"), "{run}");
    assert!(!result["verify"].to_string().contains("fail"), "{run}");
    assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
    release.assert_record(3, &values("good-1"));

    // Where the checks fail after the rollback too, its code counts.
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(
        b"verify: {checks: [{name: database, retries: 0, exec: {workload: deploy/web, command: ['true']}}]}",
    )
    .unwrap();
    let config = file.path().display().to_string();
    let run = pipeline.run(&test, &["--config", &config], &pipeline.upgrade(&values("good-2"), "")).expect(6);
    assert_eq!(release.newest(), (5, "deployed".to_owned()), "{run}");
    let left = ["--config", &config, "--no-verify"];
    let run = pipeline.run(&test, &left, &pipeline.upgrade(&values("good-2"), "")).expect(0);
    assert_eq!(release.newest(), (6, "deployed".to_owned()), "{run}");
}

#[test]
fn a_deploy_that_is_killed_is_taken_back() {
    for helm in Helm::BOTH {
        let Some(test) = Test::begin() else { return };
        let (release, pipeline) = installed(&test, helm);
        let upgrade = pipeline.upgrade(&values("unready"), "--wait --timeout 60s");
        // Helm itself: its record stays pending.
        let script = format!("{upgrade} & helm=$!; sleep 4; kill -9 $helm; wait $helm");
        let run = pipeline.run_script(&test, &[], &script).expect(137);
        assert_eq!(run.json()["deploy"]["rolledBackTo"], 1, "{run}");
        assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
        release.assert_record(3, &values("good-1"));
        // Its shell: Helm is still at work, and is ended first.
        let run = pipeline.run_script(&test, &[], &format!("{upgrade} & sleep 4; kill -9 $$")).expect(137);
        assert_eq!(run.json()["deploy"]["signal"], 9, "{run}");
        assert_eq!(release.newest(), (5, "deployed".to_owned()), "{run}");
        assert!(history(&release)[3].starts_with("4 failed"), "{:?}", history(&release));
        release.assert_record(5, &values("good-1"));
    }
}

#[test]
fn a_signal_ends_the_deploy_and_takes_it_back() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let Some(test) = Test::begin() else { return };
        let (release, pipeline) = installed(&test, Helm::Four);
        let line = pipeline.upgrade(&values("unready"), "--wait --timeout 60s");
        let arguments = ["ci", "shop", "-o", "json", "--"];
        let running = test.start(&arguments.into_iter().chain(line.split_whitespace()).collect::<Vec<_>>());
        wait_for("the deploy to have begun", Duration::from_secs(30), || {
            (test.cluster.image("deploy/web").ends_with("unready")).then_some(())
        });
        running.signal(signal);
        let run = running.finish().expect(code);
        assert_eq!(run.json()["deploy"]["rolledBackTo"], 1, "{run}");
        assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
        release.assert_record(3, &values("good-1"));
    }
}

#[test]
fn what_has_no_way_back_is_left() {
    for helm in Helm::BOTH {
        let Some(test) = Test::begin() else { return };
        let pipeline = Pipeline::new(&test, helm);
        // A first install.
        let line = pipeline.upgrade(&values("crash"), "--wait --timeout 60s");
        let run = pipeline.run(&test, &[], &line).expect(1);
        let result = run.json();
        assert!(text(&result["deploy"]["stoppedEarly"]).contains("CrashLoop"), "{run}");
        assert!(text(&result["deploy"]["leftAlone"]).contains("nothing was deployed before"), "{run}");
        assert_eq!(result["requests"]["writes"], 0, "{run}");
        assert_eq!(helm.history(&test.cluster, "shop").len(), 1);
        // The second one after that: still nothing good.
        let run = pipeline.run(&test, &[], &line).expect(1);
        assert!(text(&run.json()["deploy"]["leftAlone"]).contains("no revision to go back to"), "{run}");
        assert_eq!(helm.history(&test.cluster, "shop").len(), 2, "{run}");
    }
}

#[test]
fn a_deploy_that_wrote_nothing_is_only_told() {
    let Some(test) = Test::begin() else { return };
    let (release, pipeline) = installed(&test, Helm::Four);
    let run = pipeline.run(&test, &[], &pipeline.upgrade(&values("good-2"), "--set web=broken")).expect(1);
    let result = run.json();
    assert!(text(&result["deploy"]["leftAlone"]).contains("wrote no revision"), "{run}");
    assert_eq!(result["requests"]["writes"], 0, "{run}");
    assert_eq!(history(&release), ["1 deployed"]);
    pipeline.run_script(&test, &[], "exit 3").expect(3);
    let run = test.run(&["ci", "shop", "--", "/there/is/no/helm"]).expect(2);
    assert!(run.stderr.contains("nothing was changed"), "{run}");
    assert_eq!(history(&release), ["1 deployed"]);
}

#[test]
fn a_deploy_that_goes_back_by_itself_is_not_taken_back_again() {
    for (helm, flag) in [(Helm::Three, "--atomic"), (Helm::Four, "--rollback-on-failure")] {
        for own in [&["--no-fail-fast"][..], &[]] {
            let Some(test) = Test::begin() else { return };
            let (release, pipeline) = installed(&test, helm);
            let line = pipeline.upgrade(&values("crash"), &format!("{flag} --timeout 20s"));
            let run = pipeline.run(&test, own, &line).expect(1);
            let result = run.json();
            assert_eq!(release.newest(), (3, "deployed".to_owned()), "{run}");
            if !own.is_empty() {
                assert!(text(&result["deploy"]["leftAlone"]).contains("revision 3 is deployed"), "{run}");
                assert_eq!(result["requests"]["writes"], 0, "{run}");
            }
            release.assert_record(3, &values("good-1"));
        }
    }
}

#[test]
fn a_job_of_its_own_judges_the_newest_revision() {
    let Some(test) = Test::begin() else { return };
    let release = install(&test, Helm::Four);
    let run = test.run(&["ci", "shop"]).expect(0);
    assert!(run.stdout.contains("nothing had to be rolled back"), "{run}");
    assert_eq!(history(&release), ["1 deployed"]);

    release.upgrade(&values("crash"));
    let run = test.run(&["ci", "-o", "json"]).expect(1);
    assert_eq!(run.json()["deploy"]["rolledBackTo"], 1, "{run}");
    assert_eq!(run.json()["deploy"]["command"], Value::Null, "{run}");
    release.assert_record(3, &values("good-1"));

    // A deploy that was killed: only who knows that it is over may say so.
    let killed = Pipeline::new(&test, Helm::Four);
    let upgrade = killed.upgrade(&values("unready"), "--wait --timeout 60s");
    let helm = format!("{upgrade} & helm=$!; sleep 3; kill -9 $helm");
    std::process::Command::new("sh")
        .args(["-c", &helm])
        .env("KUBECONFIG", &test.cluster.kubeconfig)
        .output()
        .unwrap();
    assert_eq!(release.newest(), (4, "pending-upgrade".to_owned()));
    let run = test.run(&["ci", "shop"]).expect(8);
    assert!(run.stderr.contains("--take-over"), "{run}");
    test.run(&["ci", "shop", "--take-over"]).expect(1);
    assert_eq!(release.newest(), (5, "deployed".to_owned()));
    release.assert_record(5, &values("good-1"));
}
