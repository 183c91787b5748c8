//! What Django 3.2 and 5.2 print, in the same words.

use super::*;
use crate::plan::database::{Fit, fit, known_up_to, own_fit};

/// `showmigrations --plan --verbosity 2` in the newer image, after its migrations.
const NEWER: &str = "\
[X]  contenttypes.0001_initial
[X]  auth.0001_initial ... (contenttypes.0001_initial)
[X]  auth.0006_require_contenttypes_0002 ... (auth.0001_initial, contenttypes.0001_initial)
[X]  todos.0001_initial
[X]  todos.0002_todo_due ... (todos.0001_initial)
[X]  todos.0003_rename_title ... (todos.0002_todo_due)
[X]  labels.0001_initial ... (todos.0001_initial)
[X]  labels.0002_label_color ... (labels.0001_initial, todos.0003_rename_title)
";

/// The same in the older one: of what it has no file for it says nothing.
const OLDER: &str = "\
[X]  contenttypes.0001_initial
[X]  auth.0001_initial ... (contenttypes.0001_initial)
[X]  auth.0006_require_contenttypes_0002 ... (auth.0001_initial, contenttypes.0001_initial)
[X]  todos.0001_initial
[X]  labels.0001_initial ... (todos.0001_initial)
[X]  todos.0002_todo_due ... (todos.0001_initial)
";

/// In an image that has squashed two of them.
const SQUASHED: &str = "\
[X]  todos.0001_squashed_0002_todo_due
[X]  todos.0003_rename_title ... (todos.0001_squashed_0002_todo_due)
[X]  labels.0001_initial ... (todos.0001_squashed_0002_todo_due)
[X]  labels.0002_label_color ... (labels.0001_initial, todos.0003_rename_title)
";

fn reading(text: &str) -> Reading {
    let all = [said(Question::History, 0, text, "")];
    super::read(&settings(Adapter::Django), Wanted::Database, &all).unwrap()
}

#[test]
fn every_application_has_a_place_of_its_own() {
    let newer = reading(NEWER);
    assert_eq!(
        ids(&newer.known)[..4],
        ["labels.0002_label_color", "labels.0001_initial", "todos.0003_rename_title", "todos.0002_todo_due"]
    );
    let of_django = ["auth.0006_require_contenttypes_0002", "contenttypes.0001_initial"];
    let at = ["labels.0002_label_color", "todos.0003_rename_title"];
    assert_eq!(newer.at, [at, of_django].concat());
    assert_eq!(newer.heads, newer.at);
    assert_eq!(newer.applied.len(), 8);
    assert_eq!(newer.known[0].parents, ["labels.0001_initial", "todos.0003_rename_title"]);
    assert!(newer.known[7].parents.is_empty() && newer.known[7].id == "contenttypes.0001_initial");
    let none = [said(Question::History, 0, "(no migrations)\n", "")];
    assert!(super::read(&settings(Adapter::Django), Wanted::Image, &none).is_err());
    let behind = reading(&NEWER.replace("[X]  labels.0002", "[ ]  labels.0002"));
    let why = own_fit(Adapter::Django, &behind).unwrap_err();
    assert!(why.contains("labels.0002_label_color was not applied"), "{why}");
}

#[test]
fn what_stands_on_another_application_goes_first() {
    let newer = reading(NEWER);
    let named = known_up_to(Adapter::Django, &newer, "todos.0002").unwrap();
    for target in [reading(OLDER), named] {
        let Fit::Ahead(way) = fit(Adapter::Django, &newer, &target) else { panic!("{target:?}") };
        assert_eq!(ids(&way.steps), ["labels.0002_label_color", "todos.0003_rename_title"]);
        assert_eq!(way.from, ids(&way.steps));
        assert_eq!(way.to, ["labels.0001_initial", "todos.0002_todo_due"]);
    }
    let target = known_up_to(Adapter::Django, &newer, "todos.zero").unwrap();
    let Fit::Ahead(way) = fit(Adapter::Django, &newer, &target) else { panic!("{target:?}") };
    assert_eq!((way.to.join(" "), way.steps.len()), ("labels.zero todos.zero".to_owned(), 5));
}

/// The tables of an application are not dropped because its first migrations have another name.
#[test]
fn what_was_squashed_is_left_to_a_human() {
    let older = reading(&OLDER.lines().skip(3).collect::<Vec<_>>().join("\n"));
    let Fit::NeedsHuman(why) = fit(Adapter::Django, &reading(SQUASHED), &older) else { panic!() };
    assert!(
        why.starts_with("todos.0002_todo_due, todos.0001_initial were applied, and the image that runs"),
        "{why}"
    );
}

#[test]
fn only_the_sql_of_a_migration_tells_that_it_has_no_way_back() {
    let (mut newer, older) = (reading(NEWER), reading(OLDER));
    let Fit::Ahead(way) = fit(Adapter::Django, &newer, &older) else { panic!() };
    let printed = said(Question::Sql, 0, "BEGIN;\n-- THIS OPERATION CANNOT BE WRITTEN AS SQL\nCOMMIT;\n", "");
    // The end of a longer trace.
    let refused = "django.db.migrations.exceptions.IrreversibleError: Operation <RunPython <function tidy>> in \
                   todos.0003_rename_title is not reversible\n";
    let refused = said(Question::Sql, 1, "", refused);
    let away = said(Question::Sql, 1, "", "django.db.utils.OperationalError: connection refused\n");
    for (second, expected) in [(&printed, &[][..]), (&refused, &["todos.0003_rename_title"]), (&away, &[])] {
        assert_eq!(one_way(Adapter::Django, &way, &[printed.clone(), second.clone()]), expected);
    }
    assert!(one_way(Adapter::Alembic, &way, &[refused.clone(), refused]).is_empty());

    newer.known[2].irreversible = true;
    let Fit::NeedsHuman(why) = fit(Adapter::Django, &newer, &older) else { panic!() };
    assert!(why.contains("django cannot undo todos.0003_rename_title, which the target"), "{why}");
    assert!(why.contains("written without a way back"), "{why}");
}
