//! The program is killed before and after writes of an emergency that takes a database back. `resume` then ends where an
//! undisturbed run does; `abort` leaves every workload on the image that it had, and the database where it is.

use crate::begin;
use crate::database::{assert_helm_goes_on, of_tag};
use crate::database_steps::{assert_started, downgrades, images, with_configuration};
use crate::harness::{Killer, is_long_run, is_write, say};
use crate::sql_platform::{ALEMBIC, REVISION_OF_V1, REVISION_OF_V2, SqlPlatform};

/// An emergency with the database, that does not wait for the lock of one that was killed.
const EMERGENCY: [&str; 7] =
    ["emergency", "--tag", "v1", "--yes", "--db-downgrade", "--i-have-a-backup", "--take-over"];

fn is_of_jobs(target: &str) -> bool {
    target.split('?').next().is_some_and(|path| path.ends_with("/jobs"))
}

#[test]
fn whoever_is_killed_with_a_database_can_be_gone_on_with_and_undone() {
    let Some(test) = begin() else { return };
    let cluster = &test.cluster;
    let platform = SqlPlatform::install(&test);
    platform.upgrade("v2");
    let is_long = is_long_run();
    let killer = Killer::at(&test, move |method, target| {
        is_write(method, target) && (is_long || method == "POST" && is_of_jobs(target))
    });
    let (_file, arguments) = with_configuration(&ALEMBIC, &EMERGENCY);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (undisturbed, writes) = killer.count(&test, &arguments);
    let undisturbed = undisturbed.expect(0);
    assert_eq!((images(cluster), platform.revision()), (of_tag("v1"), REVISION_OF_V1.to_owned()));
    assert!(writes > 0, "{undisturbed}");

    let points: Vec<(usize, bool)> = if is_long {
        (1..=writes).flat_map(|write| [(write, false), (write, true)]).collect()
    } else {
        // The last Job is the downgrade's; what follows after it was made has tests of its own.
        vec![(writes, false)]
    };
    for at in &points {
        for way in ["resume", "abort"] {
            platform.upgrade("v2");
            assert_eq!(platform.revision(), REVISION_OF_V2);
            let earlier = downgrades(cluster).len();
            let Some(killed) = killer.kill(&test, &arguments, *at) else { continue };
            let (_file, told) = with_configuration(&ALEMBIC, &[way, "--yes", "--take-over"]);
            let told: Vec<&str> = told.iter().map(String::as_str).collect();
            let run = test.run(&told);
            let when = format!("killed {killed}, {way}\n{run}");
            // Before its journal was there, and after its end, there is no operation to go on with or to undo.
            assert!(matches!(run.code, Some(0 | 2)), "{when}");
            assert_started(cluster, &run);
            let made = downgrades(cluster).len() - earlier;
            let (now, revision) = (images(cluster), platform.revision());
            match (way, run.code) {
                ("resume", Some(0)) => {
                    assert_eq!((made, now, revision), (1, of_tag("v1"), REVISION_OF_V1.to_owned()), "{when}");
                }
                ("abort", Some(0)) => {
                    let expected = if made == 0 { REVISION_OF_V2 } else { REVISION_OF_V1 };
                    assert_eq!((now, revision), (of_tag("v2"), expected.to_owned()), "{when}");
                }
                _ if made == 0 => {
                    assert_eq!((now, revision), (of_tag("v2"), REVISION_OF_V2.to_owned()), "{when}");
                }
                _ => assert_eq!((now, revision), (of_tag("v1"), REVISION_OF_V1.to_owned()), "{when}"),
            }
            assert!(platform.release.newest().1 != "pending-rollback", "{when}");
        }
    }
    say(&format!("an emergency with a database: {writes} writes, killed at {} points", points.len()));
    assert_helm_goes_on(&platform);
}
