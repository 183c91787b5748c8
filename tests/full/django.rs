//! Databases with a real Django on a real PostgreSQL: two applications of a project, in which a migration of one stands on a
//! migration of the other, among those that Django brings along.

use serde_json::{Value, json};

use crate::begin;
use crate::database_steps::{self, WITH_DATABASE, assert_started, images, of_tag, schema};
use crate::harness::{Run, Test};
use crate::sql_platform::{DJANGO, SqlPlatform};

/// What `v2` brings along, newest first, and what `v1` has of the same applications.
const NEWER: [&str; 2] = ["labels.0002_label_color", "todos.0003_rename_title"];
const OLDER: [&str; 2] = ["labels.0001_initial", "todos.0002_todo_due"];

#[track_caller]
fn run(test: &Test, arguments: &[&str]) -> Run {
    database_steps::run(test, &DJANGO, arguments)
}

#[track_caller]
fn emergency(test: &Test, flags: &[&str]) -> Run {
    database_steps::emergency(test, &DJANGO, flags)
}

/// Runs Django's own program in the backend's pod.
#[track_caller]
fn manage(platform: &SqlPlatform<'_>, arguments: &[&str]) -> String {
    platform.exec("deploy/todo-backend", &[&["python", "manage.py"], arguments].concat())
}

/// Which of the project's own migrations were applied, as Django tells.
#[track_caller]
fn applied(platform: &SqlPlatform<'_>) -> Vec<String> {
    let plan = manage(platform, &["showmigrations", "--plan"]);
    let own = |line: &&str| line.starts_with("todos.") || line.starts_with("labels.");
    let mut found: Vec<String> =
        plan.lines().filter_map(|line| line.strip_prefix("[X]  ")).filter(own).map(str::to_owned).collect();
    found.sort();
    found
}

const OF_V1: [&str; 3] = ["labels.0001_initial", "todos.0001_initial", "todos.0002_todo_due"];

fn ids(migrations: &Value) -> Vec<&str> {
    migrations.as_array().unwrap().iter().map(|migration| migration["id"].as_str().unwrap()).collect()
}

#[test]
fn a_database_of_django_is_looked_at() {
    let Some(test) = begin() else { return };
    let platform = SqlPlatform::with(&test, &DJANGO);
    platform.upgrade("v2");
    let current = run(&test, &["db", "current"]).expect(0);
    // Each application has a place of its own.
    let of_django =
        ["auth.0012_alter_user_first_name_max_length", "contenttypes.0002_remove_content_type_name"];
    assert_eq!(current.json()["at"], json!([NEWER, of_django].concat()), "{current}");
    let history = run(&test, &["db", "history"]).expect(0).json();
    assert_eq!(
        ids(&history["known"])[..5],
        [NEWER[0], OLDER[0], NEWER[1], OLDER[1], "todos.0001_initial"],
        "{history}"
    );
    assert_eq!(history["known"][0]["parents"], json!([OLDER[0], NEWER[1]]));
    run(&test, &["db", "verify"]).expect(0);

    // By image, and by the migration that the other application's stands on: both go.
    for goal in [&["--tag", "v1"][..], &["--to-revision", "1"], &["--to", OLDER[1]]] {
        let plan = run(&test, &[&["db", "plan"][..], goal].concat()).expect(0);
        let document = plan.json();
        assert_eq!(
            (&document["plan"]["from"], &document["plan"]["to"]),
            (&json!(NEWER), &json!(OLDER)),
            "{plan}"
        );
        assert_eq!(ids(&document["plan"]["steps"]), NEWER, "{plan}");
        let sql = document["sql"].as_str().unwrap_or_else(|| panic!("{plan}"));
        let places =
            ["DROP COLUMN \"color\"", "RENAME COLUMN \"summary\" TO \"title\""].map(|text| sql.find(text));
        assert!(places[0].is_some() && places[0] < places[1], "{sql}");
    }
    let plan = run(&test, &["db", "plan", "--to", OLDER[0]]).expect(0).json();
    assert_eq!((ids(&plan["plan"]["steps"]), &plan["plan"]["to"]), (vec![NEWER[0]], &json!([OLDER[0]])));
    // Everything that stands on an application's tables goes with them.
    let plan = run(&test, &["db", "plan", "--to", "todos.zero"]).expect(0).json();
    assert_eq!(plan["plan"]["to"], json!(["labels.zero", "todos.zero"]));
    assert_eq!(applied(&platform).len(), 5, "plans change nothing");

    // Somebody else takes a step back: the image that runs wants it applied.
    manage(&platform, &["migrate", "labels", "0001"]);
    let wrong = run(&test, &["db", "verify"]).expect(6);
    assert!(wrong.stderr.contains("labels.0002_label_color was not applied"), "{wrong}");
}

#[test]
fn an_emergency_takes_django_back_before_the_old_code_starts() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::with(&test, &DJANGO);
    platform.sql("INSERT INTO todos_todo (title, done) VALUES ('kept', false)");
    platform.upgrade("v2");

    let refused = emergency(&test, &["--yes"]).expect(3);
    let (status, message) = schema(&refused);
    assert_eq!(status, "fail");
    assert!(message.contains(&format!("is at {}", NEWER.join(", "))), "{message}");
    assert!(message.contains(&format!("the newest that it knows is {}", OLDER.join(", "))), "{message}");
    assert_eq!(images(cluster), of_tag(&DJANGO, "v2"));
    assert_eq!(applied(&platform).len(), 5);

    let done = emergency(&test, &WITH_DATABASE).expect(0);
    assert_eq!(images(cluster), of_tag(&DJANGO, "v1"), "{done}");
    assert_started(cluster, &done);
    assert_eq!(applied(&platform), OF_V1, "{done}");
    assert_eq!(platform.sql("SELECT title FROM todos_todo"), "kept");
    let database = &done.json()["database"];
    assert_eq!(database["done"]["standing"], "down", "{done}");
    assert_eq!(database["done"]["at"], json!(OLDER), "{done}");
    let checked = done.json()["verify"].as_array().unwrap().clone();
    let checked = checked.iter().find(|check| check["check"] == "database").unwrap().clone();
    assert_eq!(checked["status"], "pass", "{done}");
    // The next deploy finds everything as it wants it.
    platform.upgrade("v2");
    assert_eq!(applied(&platform).len(), 5);
}

#[test]
fn a_migration_of_django_without_a_way_back_is_told_before() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::with(&test, &DJANGO);
    platform.upgrade("v2-oneway");
    let told =
        "django cannot undo todos.0003_rename_title, which the target does not know: it was written without";
    for goal in [&["--tag", "v1"][..], &["--to", OLDER[1]]] {
        let plan = run(&test, &[&["db", "plan"][..], goal].concat()).expect(7);
        assert!(plan.json()["error"].as_str().unwrap().contains(told), "{plan}");
    }
    // What stands before it goes back.
    let plan = run(&test, &["db", "plan", "--to", OLDER[0]]).expect(0).json();
    assert_eq!(ids(&plan["plan"]["steps"]), [NEWER[0]]);
    let to = run(&test, &[&["to", "1"], &WITH_DATABASE[..]].concat()).expect(3);
    for refused in [emergency(&test, &WITH_DATABASE).expect(3), emergency(&test, &["--yes"]).expect(3), to] {
        let (status, message) = schema(&refused);
        assert_eq!(status, "fail");
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(images(cluster), of_tag(&DJANGO, "v2-oneway"));
    assert_eq!(applied(&platform).len(), 5);
}

#[test]
fn a_migration_of_django_that_fails_half_way_starts_what_fits() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::with(&test, &DJANGO);
    platform.upgrade("v2-half");
    let failed = emergency(&test, &WITH_DATABASE).expect(7);
    assert_eq!(images(cluster), of_tag(&DJANGO, "v2-half"), "{failed}");
    assert_started(cluster, &failed);
    let workloads = failed.json()["workloads"].as_array().unwrap().clone();
    assert!(workloads.iter().all(|workload| workload["ready"] == true), "{failed}");
    // One application went back, the other did not.
    assert_eq!(applied(&platform), [OF_V1[0], OF_V1[1], OF_V1[2], NEWER[1]], "{failed}");
    let database = failed.json()["database"].clone();
    assert_eq!(database["from"], json!(NEWER), "{failed}");
    assert_eq!(database["done"]["standing"], "halfWay", "{failed}");
    assert_eq!(database["done"]["at"], json!([OLDER[0], NEWER[1]]), "{failed}");
    assert_eq!(database["done"]["left"], json!([NEWER[1]]), "{failed}");
    let problem = database["done"]["problem"].as_str().unwrap();
    assert!(problem.contains("RuntimeError: summaries may be longer"), "{problem}");
    assert_eq!(failed.json()["outcome"], "DatabaseFailed", "{failed}");

    // A human mends it, tells Django, and the operation is gone on with.
    platform.sql("ALTER TABLE todos_todo RENAME summary TO title");
    manage(&platform, &["migrate", "--fake", "todos", "0002"]);
    let operation = failed.json()["operation"].as_str().unwrap().to_owned();
    let resumed = run(&test, &["resume", &operation, "--yes"]).expect(0);
    assert_eq!(images(cluster), of_tag(&DJANGO, "v1"), "{resumed}");
    assert_eq!(applied(&platform), OF_V1, "{resumed}");
    assert_started(cluster, &resumed);
}
