//! Databases with a real alembic on a real PostgreSQL: looked at, found unfit, taken back, taken back half-way, gone on with.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::begin;
use crate::database_steps::{
    self, WITH_DATABASE, assert_started, downgrades, images, schema, with_configuration,
};
use crate::documents;
use crate::harness::{Run, Test, wait_for};
use crate::runbook;
use crate::sql_platform::{ALEMBIC, REVISION_OF_V1, REVISION_OF_V2, REVISION_OF_V2_HALF, SqlPlatform};

#[path = "../documents/walk.rs"]
mod walk;

#[track_caller]
fn run(test: &Test, arguments: &[&str]) -> Run {
    database_steps::run(test, &ALEMBIC, arguments)
}

#[track_caller]
fn emergency(test: &Test, flags: &[&str]) -> Run {
    database_steps::emergency(test, &ALEMBIC, flags)
}

pub fn of_tag(tag: &str) -> [String; 2] {
    database_steps::of_tag(&ALEMBIC, tag)
}

/// The next deploy finds everything as it wants it.
#[track_caller]
pub fn assert_helm_goes_on(platform: &SqlPlatform<'_>) {
    platform.upgrade("v2");
    assert_eq!(platform.revision(), REVISION_OF_V2);
}

#[test]
fn a_database_is_looked_at_in_pods_that_run_and_in_images_that_do_not() {
    let Some(test) = begin() else { return };
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    let current = run(&test, &["db", "current"]).expect(0);
    assert_eq!(current.json()["at"], json!([REVISION_OF_V2]), "{current}");
    assert!(current.json()["source"].as_str().unwrap().starts_with("pod todo-backend-"), "{current}");
    let history = run(&test, &["db", "history"]).expect(0);
    let known = history.json()["known"].as_array().unwrap().clone();
    let ids: Vec<&str> = known.iter().map(|migration| migration["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [REVISION_OF_V2, REVISION_OF_V1, "1a2b3c4d5e01"]);
    run(&test, &["db", "verify"]).expect(0);
    // Among the other checks: at the wrong revision, and again at the right one.
    let set =
        |revision: &str| platform.sql(&format!("UPDATE alembic_version SET version_num = '{revision}'"));
    set(REVISION_OF_V1);
    let wrong = run(&test, &["verify"]).expect(6);
    assert!(wrong.stderr.contains(&format!("{REVISION_OF_V2} was not applied")), "{wrong}");
    set(REVISION_OF_V2);
    run(&test, &["verify"]).expect(0);

    // By tag and by revision of the release it is the same way, and the SQL is alembic's own.
    for goal in [&["--tag", "v1"][..], &["--to-revision", "1"], &["--to", REVISION_OF_V1]] {
        let arguments: Vec<&str> = ["db", "plan"].iter().chain(goal).copied().collect();
        let plan = run(&test, &arguments).expect(0);
        let document = plan.json();
        assert_eq!(document["fit"], "ahead", "{plan}");
        assert_eq!(document["plan"]["to"], json!([REVISION_OF_V1]), "{plan}");
        assert_eq!(document["plan"]["steps"].as_array().map(Vec::len), Some(1), "{plan}");
        assert!(document["sql"].as_str().unwrap().contains("ALTER TABLE todos RENAME"), "{plan}");
    }
    assert_eq!(platform.revision(), REVISION_OF_V2, "plans change nothing");

    // An older image under the newer schema: verify tells, alone and among the other checks.
    platform.break_with("v2-crash");
    let crashing = run(&test, &["db", "current"]).expect(0);
    assert!(
        crashing.json()["source"].as_str().unwrap().starts_with("pod todo-backend-")
            || crashing.json()["source"].as_str().unwrap().starts_with("Job "),
        "{crashing}"
    );
    let cluster = &test.cluster;
    let jobs = cluster.list("jobs");
    assert!(jobs.is_empty(), "Jobs that only read are gone: {jobs:?}");
}

#[test]
fn an_emergency_takes_the_database_back_before_the_old_code_starts() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.sql("INSERT INTO todos (title, done) VALUES ('kept', false)");
    platform.upgrade("v2");

    // Pods are ready; the old image does not know the schema.
    let refused = emergency(&test, &["--yes"]).expect(3);
    let (status, message) = schema(&refused);
    assert_eq!(status, "fail");
    assert!(message.contains(&format!("is at {REVISION_OF_V2}")), "{message}");
    assert!(message.contains(&format!("the newest that it knows is {REVISION_OF_V1}")), "{message}");
    emergency(&test, &["--yes", "--db-downgrade"]).expect(9);
    assert_eq!(images(cluster), of_tag("v2"));
    assert_eq!(platform.revision(), REVISION_OF_V2);

    let done = emergency(&test, &WITH_DATABASE).expect(0);
    assert_eq!(images(cluster), of_tag("v1"), "{done}");
    assert_eq!(platform.revision(), REVISION_OF_V1, "{done}");
    assert!(platform.sql("SELECT title FROM todos").contains("kept"), "{done}");
    assert_started(cluster, &done);
    let database = &done.json()["database"];
    assert_eq!(database["done"]["standing"], "down", "{done}");
    assert_eq!(database["from"], json!([REVISION_OF_V2]), "{done}");
    let checked = done.json()["verify"].as_array().unwrap().clone();
    let checked = checked.iter().find(|check| check["check"] == "database").unwrap().clone();
    assert_eq!(checked["status"], "pass", "{done}");
    let phases = done.json()["timings"]["phases"].as_array().unwrap().clone();
    let phases: Vec<&str> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    let place = |name: &str| phases.iter().position(|phase| *phase == name).unwrap();
    assert!(place("stop") < place("database") && place("database") < place("start"), "{phases:?}");
    assert_helm_goes_on(&platform);

    // The same with pods that crash, where there is nobody to ask but a Job.
    platform.break_with("v2-crash");
    wait_for("no ready backend", Duration::from_secs(60), || {
        cluster.kubectl(&["scale", "deploy/todo-backend", "--replicas=0"]);
        cluster.pods_of("todo-backend").is_empty().then_some(())
    });
    cluster.kubectl(&["scale", "deploy/todo-backend", "--replicas=1"]);
    platform.wait_for_crash("todo-backend");
    let done = emergency(&test, &WITH_DATABASE).expect(0);
    assert_eq!((images(cluster), platform.revision()), (of_tag("v1"), REVISION_OF_V1.to_owned()), "{done}");
    assert_started(cluster, &done);
    // Nothing is left to do the second time.
    let again = emergency(&test, &WITH_DATABASE).expect(0);
    assert_eq!(again.json()["outcome"], "Unchanged", "{again}");
}

#[test]
fn a_rollback_takes_the_database_back_before_it_applies() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.break_with("v2-crash");
    let refused = run(&test, &["to", "--yes"]).expect(3);
    assert_eq!(schema(&refused).0, "fail");
    let arguments: Vec<&str> = ["to"].iter().chain(&WITH_DATABASE).copied().collect();
    let done = run(&test, &arguments).expect(0);
    assert_eq!((images(cluster), platform.revision()), (of_tag("v1"), REVISION_OF_V1.to_owned()), "{done}");
    assert_started(cluster, &done);
    assert_eq!(done.json()["database"]["done"]["standing"], "down", "{done}");
    let history = platform.release.helm.history(cluster, &platform.release.name);
    assert_eq!(history.last().unwrap()["status"], "deployed", "{done}");
    assert_helm_goes_on(&platform);
}

#[test]
fn a_migration_that_fails_half_way_starts_what_fits() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.break_with("v2-half");
    let failed = emergency(&test, &WITH_DATABASE).expect(7);
    // One of two migrations was undone: only the newer image knows that place.
    assert_eq!(platform.revision(), REVISION_OF_V2, "{failed}");
    assert_eq!(images(cluster), of_tag("v2-half"), "{failed}");
    assert_started(cluster, &failed);
    let database = failed.json()["database"].clone();
    assert_eq!(database["done"]["standing"], "halfWay", "{failed}");
    assert_eq!(database["done"]["at"], json!([REVISION_OF_V2]), "{failed}");
    assert_eq!(database["from"], json!([REVISION_OF_V2_HALF]), "{failed}");
    let problem = database["done"]["problem"].as_str().unwrap();
    assert!(problem.contains("this migration cannot be undone"), "{problem}");
    let job = database["done"]["job"].as_str().unwrap();
    assert!(cluster.kubectl(&["logs", &format!("job/{job}")]).contains("RuntimeError"), "{failed}");
    let history = platform.release.helm.history(cluster, &platform.release.name);
    assert_eq!(history.last().unwrap()["status"], "failed", "{failed}");
    assert_eq!(failed.json()["outcome"], "DatabaseFailed", "{failed}");

    // A human mends it, and the operation is gone on with.
    platform.sql("ALTER TABLE todos RENAME summary TO title");
    platform.sql(&format!("UPDATE alembic_version SET version_num = '{REVISION_OF_V1}'"));
    let operation = failed.json()["operation"].as_str().unwrap().to_owned();
    let resumed = run(&test, &["resume", &operation, "--yes"]).expect(0);
    assert_eq!(
        (images(cluster), platform.revision()),
        (of_tag("v1"), REVISION_OF_V1.to_owned()),
        "{resumed}"
    );
    assert_started(cluster, &resumed);

    // The same for a rollback to a stored revision.
    platform.break_with("v2-half");
    let arguments: Vec<&str> = ["to", "1"].iter().chain(&WITH_DATABASE).copied().collect();
    let failed = run(&test, &arguments).expect(7);
    assert_eq!(
        (images(cluster), platform.revision()),
        (of_tag("v2-half"), REVISION_OF_V2.to_owned()),
        "{failed}"
    );
    assert_started(cluster, &failed);
    assert_eq!(failed.json()["database"]["done"]["standing"], "halfWay", "{failed}");
}

/// Kills an emergency to `v1` while the Job of its downgrade runs; answers the operation.
#[track_caller]
fn killed_while_it_takes_the_database_back(test: &Test) -> String {
    let arguments: Vec<&str> = ["emergency", "--tag", "v1"].iter().chain(&WITH_DATABASE).copied().collect();
    let (_file, arguments) = with_configuration(&ALEMBIC, &arguments);
    let running = test.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let job =
        wait_for("the Job of the downgrade", Duration::from_secs(60), || downgrades(&test.cluster).pop());
    running.signal("KILL");
    assert_eq!(test.cluster.workload("deploy/todo-backend").replicas, Some(0));
    job["metadata"]["labels"]["rollback.kubectl.dev/operation"].as_str().unwrap().to_owned()
}

/// Killed while the Job of the downgrade runs: its end is waited for, and it is not run twice.
#[test]
fn a_process_that_goes_on_waits_for_the_downgrade_that_runs() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    let operation = killed_while_it_takes_the_database_back(&test);
    let resumed = run(&test, &["resume", &operation, "--yes", "--take-over"]).expect(0);
    assert_eq!(
        (images(cluster), platform.revision()),
        (of_tag("v1"), REVISION_OF_V1.to_owned()),
        "{resumed}"
    );
    assert_started(cluster, &resumed);
    assert_eq!(downgrades(cluster).len(), 1, "{resumed}");
    assert_helm_goes_on(&platform);
}

/// The same, undone instead: nothing is started beside the Job, and where it leaves the database is said.
#[test]
fn undoing_waits_for_the_downgrade_that_runs_and_leaves_it() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    let operation = killed_while_it_takes_the_database_back(&test);
    let undone = run(&test, &["abort", &operation, "--yes", "--take-over"]).expect(0);
    assert!(undone.stderr.contains("the operation has begun to take the database back"), "{undone}");
    let job = downgrades(cluster).pop().unwrap();
    let ended = job["status"]["completionTime"].as_str().map(|time| time.parse::<Timestamp>().unwrap());
    let document = undone.json();
    let started = document["timings"]["firstWriteAt"].as_str().map(|time| time.parse::<Timestamp>().unwrap());
    assert!(ended.is_some() && ended <= started, "{ended:?} {started:?}\n{undone}");
    assert_eq!((images(cluster), platform.revision()), (of_tag("v2"), REVISION_OF_V1.to_owned()), "{undone}");
    assert_started(cluster, &undone);
    assert_helm_goes_on(&platform);
}

#[test]
fn a_downgrade_alone_stops_and_starts_what_uses_the_database() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    run(&test, &["db", "downgrade", "--tag", "v1", "--yes"]).expect(9);
    let done = run(&test, &["db", "downgrade", "--tag", "v1", "--yes", "--i-have-a-backup"]).expect(0);
    assert_eq!((images(cluster), platform.revision()), (of_tag("v2"), REVISION_OF_V1.to_owned()), "{done}");
    assert_started(cluster, &done);
    let document = done.json();
    let workloads: Vec<&str> =
        document["workloads"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(workloads, ["reminder-consumer", "todo-backend"], "{done}");
    // The newer image under the older schema: the database is not where it should be.
    let verify = run(&test, &["db", "verify"]).expect(6);
    assert!(verify.stderr.contains(&format!("{REVISION_OF_V2} was not applied")), "{verify}");
    // And an emergency to the old image finds nothing to take back.
    let done = emergency(&test, &["--yes"]).expect(0);
    assert_eq!(schema(&done).0, "pass", "{done}");
    let again = run(&test, &["db", "downgrade", "--tag", "v1", "--yes", "--i-have-a-backup"]).expect(0);
    assert_eq!(platform.revision(), REVISION_OF_V1, "{again}");
    assert_helm_goes_on(&platform);
}

/// The page of a newcomer, typed line by line.
#[test]
fn the_page_about_databases() {
    let Some(test) = begin() else { return };
    walk::walk(&test, "database", |_| {
        let platform = SqlPlatform::install(&test);
        platform.break_with("v2-crash");
        platform.release
    });
}

/// Every command of the runbook's part about databases, in its order.
#[test]
fn the_database_part_of_the_runbook() {
    let Some(test) = begin() else { return };
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    let commands = runbook::commands();
    let (_, commands) = commands.iter().find(|(heading, _)| heading == runbook::DATABASE).unwrap();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let mut words = documents::words(command);
        let writes = words[0] == "emergency" || words[1] == "downgrade";
        if words[1] == "downgrade" {
            platform.upgrade("v2");
        }
        if words[1] == "verify" {
            // What the downgrade alone has left is for the older image.
            emergency(&test, &["--yes"]).expect(0);
        }
        words.extend(writes.then(|| "--yes".to_owned()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&test, &words).expect(0);
        assert!(!writes || platform.revision() == REVISION_OF_V1, "after {command}");
    }
}
