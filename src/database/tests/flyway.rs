//! What Flyway 10.20 and 11.14 (OSS Edition) print of a real PostgreSQL; states that only a paid edition leaves behind are those
//! of its documentation.

use super::*;
use crate::plan::database::{Fit, fit, own_fit};

/// A whole document, as it stands; the others are made of what differs.
const INFO: &str = r#"{
  "timestamp" : "2026-12-01T12:40:44.268229746",
  "operation" : "info",
  "exception" : null,
  "licenseFailed" : false,
  "schemaVersion" : "4.1",
  "schemaName" : "",
  "migrations" : [ {
    "category" : "Versioned",
    "version" : "2",
    "rawVersion" : "2",
    "description" : "add due date",
    "type" : "SQL",
    "installedOnUTC" : "2026-12-01T12:38:00.573080Z",
    "state" : "Success",
    "undoable" : "No",
    "filepath" : "/flyway/sql/V2__add_due_date.sql",
    "undoFilepath" : "",
    "installedBy" : "postgres",
    "shouldExecuteExpression" : null,
    "executionTime" : 7
  }, {
    "category" : "Repeatable",
    "version" : "",
    "rawVersion" : "",
    "description" : "open todos",
    "type" : "SQL",
    "installedOnUTC" : "2026-12-01T12:38:00.607530Z",
    "state" : "Success",
    "undoable" : "",
    "filepath" : "/flyway/sql/R__open_todos.sql",
    "undoFilepath" : "",
    "installedBy" : "postgres",
    "shouldExecuteExpression" : null,
    "executionTime" : 12
  }, {
    "category" : "Versioned",
    "version" : "4.1",
    "rawVersion" : "4.1",
    "description" : "add labels",
    "type" : "SQL",
    "installedOnUTC" : "2026-12-01T12:39:58.607530Z",
    "state" : "Future",
    "undoable" : "No",
    "filepath" : "",
    "undoFilepath" : "",
    "installedBy" : "postgres",
    "shouldExecuteExpression" : null,
    "executionTime" : 4
  } ],
  "flywayVersion" : "10.20.1",
  "database" : "todo",
  "allSchemasEmpty" : false
}
"#;

fn told(code: i32, stdout: &str, stderr: &str) -> Result<Reading, ReadError> {
    super::read(
        &settings(Adapter::Flyway),
        Wanted::Database,
        &[said(Question::History, code, stdout, stderr)],
    )
}

/// Lines of `info` in their order: `version state`, with `?` before what can be undone, and `-` for a version of none.
fn info(lines: &[&str]) -> Result<Reading, ReadError> {
    let line = |line: &&str| {
        let (version, state) = line.split_once(' ').unwrap();
        let (version, undoable) =
            version.strip_prefix('?').map_or((version, "No"), |version| (version, "Yes"));
        let category = match (version, state) {
            ("-", _) => "Repeatable",
            (_, "Baseline") => "",
            _ => "Versioned",
        };
        let version = version.trim_start_matches('-');
        json!({"category": category, "version": version, "description": "d", "state": state, "undoable": undoable})
    };
    let lines: Vec<serde_json::Value> = lines.iter().map(line).collect();
    told(0, &format!("A notice\n{}", json!({"schemaVersion": "3", "migrations": lines})), "")
}

#[test]
fn it_tells_what_it_has_no_file_for() {
    let older = told(0, INFO, "").unwrap();
    assert_eq!(
        (ids(&older.known), older.lost.join(","), older.at.join(",")),
        (vec!["2"], "4.1".into(), "4.1".into())
    );
    assert!(own_fit(Adapter::Flyway, &older).is_err());
    for (lines, known, at, applied, lost, is_right) in [
        (
            &["1 Success", "2 Success", "- Success", "3 Pending", "4.1 Pending"][..],
            "4.1 3 2 1",
            "2",
            "2 1",
            "",
            false,
        ),
        (
            &["1 Success", "2 Success", "- Superseded", "3 Success", "- Outdated", "- Pending"],
            "3 2 1",
            "3",
            "3 2 1",
            "",
            true,
        ),
        // Out of order they stand where they were applied; those that were left out stand behind the others.
        (&["1 Success", "10 Success", "- Success", "9 Out of Order"], "10 9 1", "10", "10 9 1", "", true),
        (&["1 Success", "4.1 Success", "3 Ignored"], "4.1 3 1", "4.1", "4.1 1", "", true),
        // An old file was removed.
        (&["1 Missing", "2 Success"], "2", "2", "2", "", true),
        // A history that began with a schema that was there.
        (
            &["1 Below Baseline", "2 Ignored (Baseline)", "2 Baseline", "3 Success"],
            "3 2 1",
            "3",
            "3 2 1",
            "",
            true,
        ),
        (&["1 Below Baseline", "2 Ignored (Baseline)", "2 Baseline"], "2 1", "2", "2 1", "", true),
        (&["2 Baseline", "3 Pending"], "3", "2", "", "", false),
        (&["1 Pending", "2 Pending"], "2 1", "", "", "", false),
        // Undone, as a paid edition leaves it.
        (&["?1 Success", "2 Undone", "?2 Pending"], "2 1", "1", "1", "", false),
    ] {
        let reading = info(lines).unwrap();
        let found = (
            ids(&reading.known).join(" "),
            reading.at.join(" "),
            reading.applied.join(" "),
            reading.lost.join(" "),
        );
        assert_eq!(
            found,
            (known.to_owned(), at.to_owned(), applied.to_owned(), lost.to_owned()),
            "{lines:?}"
        );
        assert_eq!(own_fit(Adapter::Flyway, &reading).is_ok(), is_right, "{lines:?}");
    }
    for state in ["Failed", "Failed (Future)"] {
        let error = info(&["1 Success", &format!("2 {state}")]).unwrap_err().to_string();
        assert!(error.contains("version 2 has failed half-way"), "{error}");
    }
}

#[test]
fn an_edition_without_undo_is_told_before_anything_is_stopped() {
    let older = info(&["1 Success", "2 Success", "3 Future", "4.1 Future"]).unwrap();
    let newer = info(&["1 Success", "2 Success", "3 Success", "4.1 Success"]).unwrap();
    let Fit::NeedsHuman(why) = fit(Adapter::Flyway, &newer, &older) else { panic!() };
    assert!(
        why.starts_with("the database is at 4.1, and flyway cannot undo 4.1, 3, which the target"),
        "{why}"
    );
    assert!(why.contains("edition has no undo"), "{why}");
    let newer = info(&["?1 Success", "2 Success", "?3 Success", "?4.1 Success"]).unwrap();
    let Fit::Ahead(way) = fit(Adapter::Flyway, &newer, &older) else { panic!() };
    assert_eq!((ids(&way.steps), way.to), (vec!["4.1", "3"], vec!["2".to_owned()]));
    // By its version the newest of all stays: undoing what is below would undo it too.
    let newer = info(&["?1 Success", "?4.1 Success", "?3 Out of Order"]).unwrap();
    let older = info(&["1 Success", "4.1 Success", "3 Missing"]).unwrap();
    assert!(matches!(fit(Adapter::Flyway, &newer, &older), Fit::NeedsHuman(_)));
}

#[test]
fn its_own_words_are_found_among_advertisements() {
    let refused = json!({"error": {"errorCode": "DB_CONNECTION", "message": "Unable to obtain connection from database \
        (jdbc:postgresql://127.0.0.1:5432/todo) for user 'todo': Connection refused.\n-----\nSQL State  : 08001\n", "cause": null}});
    let error = told(1, &serde_json::to_string_pretty(&refused).unwrap(), "").unwrap_err().to_string();
    assert!(error.ends_with("exit code 1: Unable to obtain connection from database (jdbc:postgresql://127.0.0.1:5432/todo) for user 'todo': Connection refused."), "{error}");
    let error = told(127, "", "sh: 1: flyway: not found\n").unwrap_err().to_string();
    assert!(error.ends_with("flyway: not found"), "{error}");
    for (said, words) in [
        (
            "Flyway OSS Edition 10.20.1 by Redgate\n\nERROR: Flyway Redgate Edition Required: undo is not supported by OSS Edition\n\
             Download Redgate Edition for free: https://rd.gt/3GGIXhh\n",
            "ERROR: Flyway Redgate Edition Required: undo is not supported by OSS Edition",
        ),
        (
            "ERROR: Script U4__x.sql failed\n---\nLine       : 2\n\nCaused by: org.postgresql.util.PSQLException: ERROR: relation \"nowhere\" does not exist\n",
            "Caused by: org.postgresql.util.PSQLException: ERROR: relation \"nowhere\" does not exist",
        ),
        ("bad\n", "bad"),
    ] {
        assert_eq!(last_line_of(Adapter::Flyway, said), words);
    }
    assert_eq!(last_line_of(Adapter::Alembic, "ERROR: a\nb\n"), "b");
}
