//! Every way in which a deploy can end, and what follows.

use super::*;

fn newest(revision: u64, status: &str, is_rollback: bool) -> Newest {
    Newest { revision, status: status.into(), is_rollback }
}

fn evidence(
    end: Option<End>,
    after: impl Into<Option<Newest>>,
    wait: Option<WaitEnd>,
    failed_checks: usize,
) -> Evidence {
    let before = end.is_some().then_some(7);
    Evidence { before, good: before, end, stop: None, after: after.into(), wait, failed_checks }
}

#[test]
fn what_follows_from_a_deploy_that_ended_well() {
    let good = Some(End::Code(0));
    let nothing = Decision::Leave(Left::NothingChanged);
    for (about, evidence, decision, code) in [
        ("ended well", evidence(good, newest(8, "deployed", false), None, 0), Decision::Check, None),
        (
            "is well",
            evidence(good, newest(8, "deployed", false), Some(WaitEnd::Ready), 0),
            Decision::Well,
            None,
        ),
        (
            "not ready",
            evidence(good, newest(8, "deployed", false), Some(WaitEnd::NotReady), 0),
            Decision::RollBack(Some(7)),
            Some(1),
        ),
        (
            "not ready in time",
            evidence(good, newest(8, "deployed", false), Some(WaitEnd::TimedOut), 0),
            Decision::RollBack(Some(7)),
            Some(1),
        ),
        (
            "a check failed",
            evidence(good, newest(8, "deployed", false), Some(WaitEnd::Ready), 1),
            Decision::RollBack(Some(7)),
            Some(1),
        ),
        (
            "interrupted while it was looked at",
            evidence(good, newest(8, "deployed", false), Some(WaitEnd::Interrupted), 0),
            Decision::Leave(Left::Interrupted),
            None,
        ),
        (
            "wrote nothing and all is well",
            evidence(good, newest(7, "deployed", false), Some(WaitEnd::Ready), 0),
            Decision::Well,
            None,
        ),
        (
            "wrote nothing, and something is not ready",
            evidence(good, newest(7, "deployed", false), Some(WaitEnd::NotReady), 0),
            nothing.clone(),
            Some(1),
        ),
    ] {
        assert_eq!(evidence.decide(), decision, "{about}");
        if let Some(code) = code {
            assert_eq!(evidence.exit_code(), code, "{about}");
        }
    }
}

#[test]
fn what_follows_from_a_deploy_that_failed() {
    let nothing = Decision::Leave(Left::NothingChanged);
    let bad = Some(End::Code(1));
    let killed = Some(End::Signal(9));
    for (about, evidence, decision, code) in [
        ("failed", evidence(bad, newest(8, "failed", false), None, 0), Decision::RollBack(Some(7)), Some(1)),
        (
            "failed with its own code",
            evidence(Some(End::Code(3)), newest(8, "failed", false), None, 0),
            Decision::RollBack(Some(7)),
            Some(3),
        ),
        ("a template error", evidence(bad, newest(7, "deployed", false), None, 0), nothing.clone(), Some(1)),
        (
            "killed before it wrote",
            evidence(killed, newest(7, "deployed", false), None, 0),
            nothing.clone(),
            Some(137),
        ),
        (
            "killed in the middle",
            evidence(killed, newest(8, "pending-upgrade", false), None, 0),
            Decision::RollBack(Some(7)),
            Some(137),
        ),
        (
            "--atomic",
            evidence(bad, newest(9, "deployed", true), None, 0),
            Decision::Leave(Left::RolledBackItself(9)),
            Some(1),
        ),
        (
            "--atomic that failed too",
            evidence(bad, newest(9, "failed", true), None, 0),
            Decision::RollBack(Some(7)),
            Some(1),
        ),
        (
            "a rollback as the deploy",
            evidence(Some(End::Code(0)), newest(8, "deployed", true), Some(WaitEnd::NotReady), 0),
            Decision::RollBack(Some(7)),
            Some(1),
        ),
        ("uninstalled itself", evidence(bad, None, None, 0), nothing, Some(1)),
    ] {
        assert_eq!(evidence.decide(), decision, "{about}");
        if let Some(code) = code {
            assert_eq!(evidence.exit_code(), code, "{about}");
        }
    }
}

#[test]
fn what_follows_from_the_newest_revision_without_a_deploy() {
    for (about, evidence, decision, code) in [
        (
            "no program, failed",
            evidence(None, newest(8, "failed", false), None, 0),
            Decision::RollBack(None),
            Some(1),
        ),
        (
            "no program, pending",
            evidence(None, newest(8, "pending-upgrade", false), None, 0),
            Decision::RollBack(None),
            Some(1),
        ),
        (
            "no program, deployed",
            evidence(None, newest(8, "deployed", false), None, 0),
            Decision::Check,
            None,
        ),
        (
            "no program, not ready",
            evidence(None, newest(8, "deployed", false), Some(WaitEnd::NotReady), 0),
            Decision::RollBack(None),
            Some(1),
        ),
        (
            "no program, well",
            evidence(None, newest(8, "deployed", true), Some(WaitEnd::Ready), 0),
            Decision::Well,
            None,
        ),
    ] {
        assert_eq!(evidence.decide(), decision, "{about}");
        if let Some(code) = code {
            assert_eq!(evidence.exit_code(), code, "{about}");
        }
    }
}

#[test]
fn a_first_install_is_never_taken_back() {
    let first = Evidence {
        before: None,
        good: None,
        end: Some(End::Code(1)),
        stop: None,
        after: Some(newest(1, "failed", false)),
        wait: None,
        failed_checks: 0,
    };
    assert_eq!(first.decide(), Decision::Leave(Left::FirstInstall));
    let unready = Evidence { end: Some(End::Code(0)), wait: Some(WaitEnd::NotReady), ..first.clone() };
    assert_eq!(unready.decide(), Decision::Leave(Left::FirstInstall));
    // There were revisions, and none of them is known to be good: one is looked for.
    let second = Evidence { before: Some(1), after: Some(newest(2, "failed", false)), ..first };
    assert_eq!(second.decide(), Decision::RollBack(None));
}

#[test]
fn a_deploy_that_was_stopped_has_failed_whatever_it_says() {
    let doomed = || Some(Stop::Doomed("CrashLoop".into()));
    for (end, stop, code) in [
        (End::Code(0), doomed(), 1),
        (End::Code(1), doomed(), 1),
        (End::Code(4), doomed(), 4),
        // Our own signal says nothing about the deploy.
        (End::Signal(15), doomed(), 1),
        (End::Signal(9), Some(Stop::Late("5m".into())), 1),
        (End::Code(1), Some(Stop::Signal(Signal::Interrupt)), 130),
        (End::Signal(15), Some(Stop::Signal(Signal::Terminate)), 143),
    ] {
        let stopped = Evidence { stop, ..evidence(Some(end), newest(8, "failed", false), None, 0) };
        assert_eq!(stopped.decide(), Decision::RollBack(Some(7)), "{end:?}");
        assert_eq!(stopped.exit_code(), code, "{end:?} {:?}", stopped.stop);
    }
}
