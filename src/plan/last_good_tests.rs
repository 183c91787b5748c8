//! Histories with the revision that must be chosen.

use serde_json::{Value, json};

use super::last_good::*;
use crate::helm::record::Record;
use crate::helm::status::Status;
use crate::reconcile;

/// `(status, description, content)`, oldest first; revision 1 is the first. Content that begins alike has equal images.
type History<'a> = &'a [(&'a str, &'a str, &'a str)];

const INSTALL: &str = "Install complete";
const UPGRADE: &str = "Upgrade complete";
const UPGRADE_FAILED: &str = "Upgrade \"todo\" failed: resource Deployment/shop/web not ready";
const NOT_READY: &str = "Release \"todo\" failed: context deadline exceeded";

fn facts(history: History) -> Vec<RevisionFacts> {
    let mut facts: Vec<RevisionFacts> = (1..)
        .zip(history)
        .map(|(revision, (status, description, content))| RevisionFacts {
            revision,
            status: Status::from(*status),
            description: (*description).to_owned(),
            fingerprint: Fingerprint::of(content),
            images: Fingerprint::of(content.split('/').next()),
        })
        .collect();
    facts.reverse();
    facts
}

fn search(history: History) -> Result<Choice, NothingToDo> {
    let facts = facts(history);
    let mut search = LastGood::begin(&facts[0])?;
    for older in &facts[1..] {
        if search.consider(older) == Verdict::Candidate {
            break;
        }
    }
    Ok(search.finish())
}

#[track_caller]
fn check(name: &str, history: History, target: Option<u64>) {
    assert_eq!(search(history).unwrap_or_else(|error| panic!("{name}: {error}")).target, target, "{name}");
}

fn emergency(from: u64) -> String {
    reconcile::description("emergency", "tag good-1", from, "7f3a")
}

#[test]
fn upgrades() {
    check("only one", &[("deployed", INSTALL, "a")], None);
    check("one back", &[("superseded", INSTALL, "a"), ("deployed", UPGRADE, "b")], Some(1));
    check(
        "the words of a user",
        &[("superseded", "hotfix: cart failed to load", "a"), ("deployed", "Rollback to 1.2.3", "b")],
        Some(1),
    );
    check(
        "the same content again is not back",
        &[("superseded", INSTALL, "a"), ("superseded", UPGRADE, "b"), ("deployed", UPGRADE, "b")],
        Some(1),
    );
    check("everything the same", &[("superseded", INSTALL, "a"), ("deployed", UPGRADE, "a")], None);
}

#[test]
fn a_failed_current_goes_to_the_deployed_one() {
    for status in ["failed", "pending-upgrade", "pending-rollback", "unknown"] {
        check(status, &[("deployed", INSTALL, "a"), (status, UPGRADE_FAILED, "b")], Some(1));
    }
    check(
        "nothing changed and the deploy died",
        &[("deployed", INSTALL, "a"), ("pending-upgrade", "Preparing upgrade", "a")],
        Some(1),
    );
}

#[test]
fn failures_are_skipped() {
    check(
        "failed last minus one",
        &[("superseded", INSTALL, "a"), ("failed", UPGRADE_FAILED, "b"), ("deployed", UPGRADE, "c")],
        Some(1),
    );
    check(
        "alternating",
        &[
            ("superseded", INSTALL, "a"),
            ("failed", UPGRADE_FAILED, "b"),
            ("deployed", UPGRADE, "c"),
            ("failed", UPGRADE_FAILED, "d"),
            ("pending-upgrade", "Preparing upgrade", "e"),
            ("failed", UPGRADE_FAILED, "f"),
        ],
        Some(3),
    );
    check(
        "everything failed",
        &[
            ("failed", NOT_READY, "a"),
            ("failed", UPGRADE_FAILED, "b"),
            ("uninstalled", "", "c"),
            ("failed", UPGRADE_FAILED, "d"),
        ],
        None,
    );
}

/// What Helm leaves when a rollback fails half way: the failed revision that it started from becomes superseded.
#[test]
fn failed_then_superseded_is_failed() {
    for (description, target) in [
        (UPGRADE_FAILED, 2),
        (NOT_READY, 2),
        ("Install \"todo\" failed: x", 2),
        ("Rollback \"todo\" failed: cannot patch \"web\" with kind Deployment: field is immutable", 1),
        ("Rollback to 1 failed: not ready", 1),
        (&format!("{} failed: web never became ready", emergency(2)), 1),
    ] {
        assert_eq!(
            ran(&Status::Superseded, description),
            Err(SkipReason::MarkedSupersededButFailed),
            "{description}"
        );
        check(
            description,
            &[
                ("superseded", INSTALL, "a"),
                ("superseded", UPGRADE, "b"),
                ("superseded", description, "c"),
                ("deployed", UPGRADE, "d"),
            ],
            Some(target),
        );
    }
    for description in [
        INSTALL,
        UPGRADE,
        "Rollback to 1",
        "Rollback to 1: cart failed: 500",
        &emergency(1),
        "Upgrade failed last night",
    ] {
        assert_eq!(ran(&Status::Superseded, description), Ok(()), "{description}");
    }
}

/// The trap of plain Helm: a second rollback brings the bad version back.
#[test]
fn what_a_rollback_left_stays_left() {
    let history: History =
        &[("superseded", INSTALL, "a"), ("superseded", UPGRADE, "bad"), ("deployed", "Rollback to 1", "a")];
    let nothing = search(history).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "there is nothing to go back from by default: revision 3 is itself a rollback to revision 1; name the revision to go to"
    );
    for description in ["Rollback to 1", "Rollback to 1: checkout 500s", "Rollback to 1 (INC-7)"] {
        check(
            description,
            &[
                ("superseded", INSTALL, "a"),
                ("superseded", UPGRADE, "bad"),
                ("superseded", description, "a"),
                ("deployed", UPGRADE, "a"),
            ],
            None,
        );
        check(
            description,
            &[
                ("superseded", INSTALL, "a"),
                ("superseded", UPGRADE, "bad"),
                ("superseded", description, "a"),
                ("failed", UPGRADE_FAILED, "c"),
            ],
            Some(3),
        );
    }
    let choice = search(&[
        ("superseded", INSTALL, "z"),
        ("superseded", INSTALL, "a"),
        ("superseded", UPGRADE, "bad"),
        ("failed", UPGRADE_FAILED, "worse"),
        ("superseded", "Rollback to 2", "a"),
        ("deployed", UPGRADE, "a"),
    ])
    .unwrap();
    assert_eq!(
        choice,
        Choice {
            target: Some(1),
            skipped: vec![
                (5, SkipReason::SameAsCurrent),
                (4, SkipReason::NeverRan(Status::Failed)),
                (3, SkipReason::LeftBy { revision: 5 }),
                (2, SkipReason::SameAsCurrent),
            ]
        }
    );
}

/// A rollback that failed or died is tried again; what it wanted to leave is not chosen instead.
#[test]
fn a_failed_rollback_is_tried_again() {
    for (status, description) in [
        ("failed", "Rollback to 1 failed: not ready"),
        ("failed", "Rollback \"todo\" failed: cannot patch"),
        ("failed", NOT_READY),
        ("pending-rollback", "Rollback to 1"),
    ] {
        for bad in ["deployed", "superseded"] {
            check(
                description,
                &[("superseded", INSTALL, "a"), (bad, UPGRADE, "bad"), (status, description, "a")],
                Some(1),
            );
        }
    }
    check(
        "a failed attempt to go where somebody had gone away from does not make that good",
        &[
            ("superseded", INSTALL, "a"),
            ("superseded", UPGRADE, "b"),
            ("superseded", "Rollback to 1", "a"),
            ("failed", "Rollback to 2 failed: not ready", "b"),
        ],
        Some(1),
    );
    check(
        "the target was pruned",
        &[
            ("superseded", UPGRADE, "z"),
            ("deployed", UPGRADE, "bad"),
            ("failed", "Rollback \"todo\" failed: cannot patch", "a"),
        ],
        Some(1),
    );
    check(
        "of two bad ones neither",
        &[
            ("superseded", INSTALL, "a"),
            ("superseded", UPGRADE, "bad"),
            ("deployed", UPGRADE, "worse"),
            ("failed", NOT_READY, "a"),
        ],
        Some(1),
    );
}

#[test]
fn what_an_emergency_left_stays_left() {
    let nothing = search(&[
        ("superseded", INSTALL, "a"),
        ("superseded", UPGRADE, "bad"),
        ("deployed", &emergency(2), "a"),
    ])
    .unwrap_err();
    assert!(nothing.to_string().contains("an emergency that left revision 2"), "{nothing}");
    check(
        "the emergency's own content is good",
        &[
            ("superseded", INSTALL, "a"),
            ("superseded", UPGRADE, "bad"),
            ("superseded", &emergency(2), "a/edited"),
            ("deployed", UPGRADE, "c"),
        ],
        Some(3),
    );
    check(
        "deployed again by the pipeline",
        &[
            ("superseded", INSTALL, "a"),
            ("superseded", UPGRADE, "bad"),
            ("superseded", &emergency(2), "a/edited"),
            ("deployed", UPGRADE, "a/edited"),
        ],
        Some(1),
    );
    let failed = format!("{}: checkout 500s failed: web never became ready", emergency(3));
    let history: History = &[
        ("superseded", INSTALL, "a"),
        ("superseded", UPGRADE, "bad"),
        ("deployed", UPGRADE, "worse"),
        ("failed", &failed, "a/edited"),
    ];
    check("the images that it brought were stored", history, Some(1));
    check(
        "they were not",
        &[history[0], ("superseded", UPGRADE, "b"), history[2], ("failed", &failed, "elsewhere")],
        Some(2),
    );
    check(
        "its placeholder was left open",
        &[history[0], history[1], ("pending-rollback", &emergency(2), "bad")],
        Some(1),
    );
}

#[test]
fn what_cannot_be_read_is_named_and_passed() {
    let facts =
        facts(&[("superseded", INSTALL, "a"), ("superseded", UPGRADE, "b"), ("deployed", UPGRADE, "c")]);
    let mut search = LastGood::begin(&facts[0]).unwrap();
    search.skip_unreadable(2, "record is torn".to_owned());
    assert_eq!(search.consider(&facts[2]), Verdict::Candidate);
    assert_eq!(
        search.finish(),
        Choice { target: Some(1), skipped: vec![(2, SkipReason::Unreadable("record is torn".to_owned()))] }
    );
}

/// Fed to the end, as `history` does, the choice stays the first candidate and every revision gets its verdict.
#[test]
fn every_revision_can_be_judged() {
    let facts = facts(&[
        ("superseded", INSTALL, "a"),
        ("superseded", UPGRADE, "bad"),
        ("superseded", "Rollback to 1", "a"),
        ("deployed", UPGRADE, "c"),
    ]);
    let mut search = LastGood::begin(&facts[0]).unwrap();
    let verdicts: Vec<Verdict> = facts[1..].iter().map(|older| search.consider(older)).collect();
    assert_eq!(
        verdicts,
        [Verdict::Candidate, Verdict::Skipped(SkipReason::LeftBy { revision: 3 }), Verdict::Candidate]
    );
    assert_eq!(search.finish(), Choice { target: Some(3), skipped: Vec::new() });
}

#[test]
fn reasons_are_sentences() {
    for (reason, text) in [
        (SkipReason::NeverRan(Status::Failed), "it failed"),
        (SkipReason::NeverRan(Status::PendingUpgrade), "it is pending-upgrade: it never finished"),
        (SkipReason::NeverRan(Status::Uninstalled), "it is uninstalled"),
        (SkipReason::NeverRan(Status::Unknown), "its status is unknown: it is not known to have run"),
        (SkipReason::LeftBy { revision: 4 }, "revision 4 went back past it"),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn plain_helm_takes_the_last_minus_one() {
    assert_eq!(helm_would_choose(4, &[1, 2, 3, 4]), Some(3));
    assert_eq!(helm_would_choose(4, &[1, 2, 4]), None);
    assert_eq!(helm_would_choose(1, &[1]), None);
}

#[test]
fn content_is_manifest_hooks_and_values() {
    let body = json!({
        "name": "todo", "version": 2, "namespace": "shop",
        "info": {"status": "superseded", "description": UPGRADE, "notes": "n"},
        "config": {"a": {"b": 1}},
        "manifest": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: web:1}]}}}\n",
        "hooks": [{"name": "migrate", "manifest": "kind: Job"}]
    });
    let of = |pointer: &str, value: Value| {
        let mut changed = body.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        RevisionFacts::of(&Record::from_json(changed).unwrap())
    };
    let facts = of("/version", json!(2));
    assert_eq!((facts.revision, &facts.status), (2, &Status::Superseded));
    assert_eq!(of("/version", json!(3)).fingerprint, facts.fingerprint);
    assert_eq!(of("/info/notes", json!("other")).fingerprint, facts.fingerprint);
    assert_eq!(of("/config", Value::Null).fingerprint, of("/config", json!({})).fingerprint);
    for (pointer, value) in [
        ("/manifest", json!("kind: Service")),
        ("/config/a/b", json!(2)),
        ("/config", Value::Null),
        ("/hooks/0/manifest", json!("kind: Pod")),
    ] {
        assert_ne!(of(pointer, value).fingerprint, facts.fingerprint, "{pointer}");
    }
    assert_eq!(of("/config/a/b", json!(2)).images, facts.images);
    let moved = body["manifest"].as_str().unwrap().replace("web:1", "web:2");
    assert_ne!(of("/manifest", json!(moved)).images, facts.images);
}
