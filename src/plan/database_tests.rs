//! Which way a database goes, by what two images know.

use super::database::*;
use crate::config::Adapter;
use crate::database::{Migration, Reading};

/// A reading: `02>03` is 03 on 02; newest first.
fn reading(links: &str, heads: &str, at: &str, applied: &str) -> Reading {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let known = links.split_whitespace().map(|link| {
        let (parents, id) = link.split_once('>').unwrap_or(("", link));
        let parents = parents.split(',').filter(|parent| !parent.is_empty()).map(str::to_owned).collect();
        Migration { id: id.to_owned(), parents, ..Migration::default() }
    });
    Reading {
        known: known.collect(),
        heads: list(heads),
        at: list(at),
        applied: list(applied),
        lost: Vec::new(),
    }
}

fn way(fit: &Fit) -> String {
    match fit {
        Fit::Exact => "exact".to_owned(),
        Fit::Behind(missing) => format!("behind {}", missing.join(" ")),
        Fit::Ahead(downgrade) => {
            let steps: Vec<&str> = downgrade.steps.iter().map(|step| step.id.as_str()).collect();
            format!("{} to {}", steps.join(" "), downgrade.to.join(" "))
        }
        Fit::NeedsHuman(why) => why.clone(),
    }
}

#[test]
fn the_goal_is_the_targets_newest_migration() {
    let line = "3>4 2>3 1>2 1";
    let branches = "b,3>4 2>b 2>3 1>2 1";
    for (current, target, expected) in [
        (reading(line, "4", "4", "4 3 2 1"), reading("1>2 1", "2", "", ""), "4 3 to 2"),
        (reading(line, "4", "3", "3 2 1"), reading("1>2 1", "2", "", ""), "3 to 2"),
        (reading(line, "4", "2", "2 1"), reading("1>2 1", "2", "", ""), "exact"),
        (reading(line, "4", "1", "1"), reading("1>2 1", "2", "", ""), "behind 2"),
        (reading(line, "4", "2", "2 1"), reading("", "", "", ""), "2 1 to "),
        (reading(branches, "4", "4", "4 b 3 2 1"), reading("1>2 1", "2", "", ""), "4 b 3 to 2"),
        (
            reading(branches, "4", "4", "4 b 3 2 1"),
            reading("2>3 1>2 1", "3", "", ""),
            "b stands on another branch than 3, the target's head",
        ),
        (
            reading(branches, "4", "b", "b 2 1"),
            reading("2>3 1>2 1", "3", "", ""),
            "the database has gone another way: 3, the target's head, was never applied to it",
        ),
        (
            reading(line, "4", "4", "4 3 2 1"),
            reading("1>x 1>2 1", "x 2", "", ""),
            "the target image has several heads: x, 2",
        ),
    ] {
        assert_eq!(way(&fit(Adapter::Alembic, &current, &target)), expected);
    }
    let mut lost = reading(line, "4", "", "");
    lost.lost = vec!["9".to_owned()];
    let said = way(&fit(Adapter::Alembic, &lost, &reading("1", "1", "", "")));
    assert!(said.starts_with("the database is at 9, which the image that runs does not know"), "{said}");
}

#[test]
fn django_goes_back_application_by_application() {
    let current = reading("b.1>b.2 a.1>a.2 b.1 a.1", "a.2 b.2", "b.2 a.2", "b.2 a.2 b.1 a.1");
    for (target, expected) in [
        (reading("b.1 a.1", "a.1 b.1", "b.1", "b.1 a.1"), "b.2 a.2 to b.1 a.1"),
        (reading("a.2 a.1", "a.2", "a.2", "a.2 a.1"), "b.2 b.1 to b.zero"),
        (reading("b.2 a.2 b.1 a.1", "a.2 b.2", "b.2", ""), "exact"),
    ] {
        assert_eq!(way(&fit(Adapter::Django, &current, &target)), expected);
    }
    // Where the database is, is said of those that go.
    let Fit::Ahead(downgrade) = fit(Adapter::Django, &current, &reading("a.2 b.1 a.1", "a.2 b.1", "", ""))
    else {
        panic!()
    };
    assert_eq!(downgrade.from, ["b.2"]);
    // Two branches of one application: the program would undo what joins them, and leave the other.
    let joined = reading("a.2,a.3>a.4 a.1>a.3 a.1>a.2 a.1", "a.4", "a.4", "a.4 a.3 a.2 a.1");
    assert_eq!(
        way(&fit(Adapter::Django, &joined, &reading("a.1>a.2 a.1", "a.2", "", ""))),
        "a.3 stands on another branch than a.2, which the target knows"
    );
}

#[test]
fn in_a_line_only_the_newest_can_be_undone() {
    let current = reading("4 3 2 1", "4", "4", "4 3 2 1");
    for (adapter, target, expected) in [
        (Adapter::Command, reading("2 1", "2", "", ""), "4 3 to 2"),
        (
            Adapter::Command,
            reading("4 2 1", "4", "", ""),
            "migrations that the target image knows were applied on top of some that it does not",
        ),
        (Adapter::Command, reading("", "", "", ""), "the target image knows no migration that was applied"),
        (Adapter::Flyway, reading("", "", "", ""), "4 3 2 1 to "),
    ] {
        assert_eq!(way(&fit(adapter, &current, &target)), expected);
    }
}

#[test]
fn a_goal_may_be_named() {
    let line = reading("3c>4d 2b>3c 1a>2b 1a", "4d", "4d", "4d 3c 2b 1a");
    let apps = reading("b.1>b.2 a.1,b.1>a.2 b.1 a.1", "a.2 b.2", "b.2 a.2", "b.2 a.2 b.1 a.1");
    for (adapter, current, goal, expected) in [
        (Adapter::Alembic, &line, "2b", "4d 3c to 2b"),
        (Adapter::Alembic, &line, "2", "4d 3c to 2b"),
        (Adapter::Alembic, &line, "base", "4d 3c 2b 1a to "),
        (Adapter::Alembic, &line, "4d", "exact"),
        (Adapter::Alembic, &line, "9", "9 is no migration that the image that runs knows"),
        (Adapter::Command, &line, "3c", "4d to 3c"),
        (Adapter::Django, &apps, "b.1", "b.2 to b.1"),
        (Adapter::Django, &apps, "b.zero", "b.2 a.2 b.1 to b.zero a.1"),
        (Adapter::Django, &apps, "a.1", "a.2 to a.1"),
        (Adapter::Django, &apps, "b", "b is the beginning of several migrations"),
    ] {
        let way = known_up_to(adapter, current, goal).map(|target| way(&fit(adapter, current, &target)));
        assert_eq!(way.unwrap_or_else(|why| why), expected, "{goal}");
    }
    let behind = reading("2>3 1>2 1", "3", "2", "2 1");
    let target = known_up_to(Adapter::Alembic, &behind, "3").unwrap();
    assert_eq!(way(&fit(Adapter::Alembic, &behind, &target)), "behind 3");
}
