//! Hooks that fail, never run, take too long or are interrupted; and trouble on the way.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failure_is_noted_told_and_tidied_up() {
    let mut case = Case::new(
        "csa",
        &[
            hook("a", 0, &["hook-succeeded"], &["hook-succeeded"]),
            hook("b", 1, &["hook-failed", "before-hook-creation"], &["hook-failed"]),
            hook("c", 2, &[], &[]),
        ],
        vec![
            apis(),
            absent("/jobs/a"),
            created("a"),
            found("/jobs/a", job("a", &[("Complete", "")])),
            absent("/jobs/b"),
            created("b"),
            found("/jobs/b", job("b", &[("FailureTarget", "x"), ("Failed", "BackoffLimitExceeded")])),
            pods(&[pod("b", None)]),
            log("KeyError: 'SMTP_URL'"),
            pods(&[pod("b", None)]),
            log("KeyError: 'SMTP_URL'"),
            deleted("/jobs/b"),
            deleted("/jobs/a"),
        ],
    );
    let error = case.run().await.unwrap();
    case.assert_all_asked();
    assert_eq!(error.to_string(), "the pre-rollback hook Job b: it failed: BackoffLimitExceeded: it says so");
    assert_eq!(phases(&case.record), ["Succeeded", "Failed", ""]);
    assert_eq!(case.stored.last().unwrap(), &["Succeeded", "Failed", ""], "Helm leaves Running behind");
    let diagnosis = &case.events("Diagnosis")[0];
    assert_eq!(diagnosis["code"], "JobFailed");
    assert_eq!(diagnosis["logs"], json!(["\"KeyError: 'SMTP_URL'\""]));
    assert_eq!(case.events("Output").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_fails_the_hook() {
    let refusal = status(403, "Forbidden", "denied: token=hunter2 is wrong");
    let mut case = Case::new(
        "csa",
        &[hook("a", 0, &["hook-failed"], &[])],
        vec![apis(), absent("/jobs/a"), exchange(Method::POST, "/jobs", 403, refusal)],
    );
    let error = case.run().await.unwrap();
    assert_eq!(
        error.to_string(),
        "the pre-rollback hook Job a: its object could not be created: denied: token=*** is wrong"
    );
    assert_eq!(case.stored, [["Running"], ["Failed"]]);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_run_ends_the_wait_early() {
    let missing = pod("a", Some(("ErrImagePull", "manifest for app:1 not found: manifest unknown")));
    let look = || [found("/jobs/a", job("a", &[])), pods(std::slice::from_ref(&missing))];
    let looks = [look(), look(), look()].into_iter().flatten();
    let exchanges = [apis(), absent("/jobs/a"), created("a")].into_iter().chain(looks);
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], exchanges.collect());
    let error = case.run().await.unwrap();
    case.assert_all_asked();
    let said = error.to_string();
    assert!(
        said.starts_with("the pre-rollback hook Job a: it cannot run: image app:1 does not exist"),
        "{said}"
    );
    assert_eq!(
        error.next().last().unwrap(),
        "kubectl delete job a -n n",
        "it would run once the image is there"
    );
    assert_eq!(case.events("Diagnosis")[0]["code"], "ImageNotFound");
    assert_eq!(phases(&case.record), ["Failed"]);
}

#[tokio::test(start_paused = true)]
async fn crashes_are_left_to_the_jobs_own_limit() {
    let mut crashing = pod("a", Some(("CrashLoopBackOff", "back-off")));
    let status = &mut crashing["status"]["containerStatuses"][0];
    status["restartCount"] = json!(5);
    status["lastState"] = json!({"terminated": {"exitCode": 1}});
    let look = || [found("/jobs/a", job("a", &[])), pods(std::slice::from_ref(&crashing))];
    let mut exchanges = vec![apis(), absent("/jobs/a"), created("a")];
    exchanges.extend(look());
    exchanges.push(log("not yet"));
    exchanges.extend([look(), look(), look()].into_iter().flatten());
    exchanges.push(found("/jobs/a", job("a", &[("Complete", "")])));
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], exchanges);
    assert!(case.run().await.is_none());
    case.assert_all_asked();
    let diagnoses = case.events("Diagnosis");
    assert_eq!(diagnoses.len(), 1);
    assert_eq!((&diagnoses[0]["code"], &diagnoses[0]["severity"]), (&json!("CrashLoop"), &json!("warning")));
    assert_eq!(diagnoses[0]["logs"], json!(["\"not yet\""]), "at once: later they may be gone");
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_for_each_hook() {
    let mut exchanges = vec![apis(), absent("/jobs/a"), created("a")];
    for _ in 0..3 {
        exchanges.extend([found("/jobs/a", job("a", &[])), pods(&[pod("a", None)])]);
    }
    exchanges.extend([pods(&[pod("a", None)]), log("still at it")]);
    let mut case = Case::new("csa", &[hook("a", 0, &["hook-succeeded"], &[])], exchanges);
    case.timeout = Duration::from_millis(1500);
    let error = case.run().await.unwrap();
    case.assert_all_asked();
    assert_eq!(error.to_string(), "the pre-rollback hook Job a: it did not end within 1 s");
    assert!(error.is_timeout());
    assert_eq!(phases(&case.record), ["Failed"]);
    assert_eq!(case.events("Diagnosis")[0]["logs"], json!(["\"still at it\""]));
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_wait_and_nothing_is_deleted() {
    let mut exchanges = vec![apis(), absent("/jobs/a"), created("a")];
    for _ in 0..3 {
        exchanges.extend([found("/jobs/a", job("a", &[])), pods(&[pod("a", None)])]);
    }
    let mut case = Case::new("csa", &[hook("a", 0, &["hook-failed"], &["hook-failed"])], exchanges);
    let (interrupter, interrupt) = crate::context::interrupt::Interrupt::new();
    case.context.interrupt = interrupt;
    let signal = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        interrupter.interrupt(Signal::Interrupt);
    };
    let (error, ()) = futures::join!(case.run(), signal);
    let error = error.unwrap();
    case.assert_all_asked();
    assert_eq!(
        error.to_string(),
        "the pre-rollback hook Job a: Ctrl-C came while it ran; it goes on in the cluster"
    );
    assert_eq!(error.signal(), Some(Signal::Interrupt));
    assert_eq!(phases(&case.record), ["Unknown"]);
    // A signal that came before keeps the hook from being begun.
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], vec![apis()]);
    case.interrupter.interrupt(Signal::Terminate);
    let error = case.run().await.unwrap();
    assert_eq!(error.signal(), Some(Signal::Terminate));
    assert_eq!(phases(&case.record), [""]);
}

#[tokio::test(start_paused = true)]
async fn somebody_else_at_the_record_keeps_the_hook_from_running() {
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], vec![apis(), absent("/jobs/a")]);
    case.persist_answer = || Err(StorageError::Changed { record: "sh.helm.release.v1.r.v3".to_owned() });
    let said = case.run().await.unwrap().to_string();
    assert!(said.contains("somebody else works on this release"), "{said}");
    case.assert_all_asked();
    assert!(case.script.writes().is_empty());
    // Where the record cannot be written for another reason, the rollback goes on.
    let mut case = Case::new(
        "csa",
        &[hook("a", 0, &[], &[])],
        vec![apis(), absent("/jobs/a"), created("a"), found("/jobs/a", job("a", &[("Complete", "")]))],
    );
    case.persist_answer =
        || Err(StorageError::Forbidden { action: "write".to_owned(), message: "no".to_owned() });
    assert!(case.run().await.is_none());
    assert_eq!(case.events("Warning").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_outages_are_survived() {
    let mut case = Case::new(
        "csa",
        &[hook("a", 0, &[], &[])],
        vec![
            apis(),
            absent("/jobs/a"),
            broken(Method::POST, "/jobs"),
            exchange(Method::POST, "/jobs", 409, status(409, "AlreadyExists", "jobs \"a\" already exists")),
            found("/jobs/a", job("a", &[])),
            broken(Method::GET, "/jobs/a"),
            exchange(Method::GET, "/jobs/a", 503, status(503, "ServiceUnavailable", "etcd is away")),
            found("/jobs/a", job("a", &[("Complete", "")])),
        ],
    );
    assert!(case.run().await.is_none());
    case.assert_all_asked();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_deletes_itself_has_ended_as_its_events_say() {
    let event = |reason: &str| json!({"metadata": {}, "involvedObject": {"kind": "Job", "uid": "uid-a"}, "reason": reason, "message": "x"});
    for (told, expected) in [
        (vec![event("SuccessfulCreate"), event("Completed")], None),
        (vec![event("BackoffLimitExceeded")], Some("it failed: BackoffLimitExceeded: x")),
        (vec![], Some("it was deleted while it was waited for, and nothing says how it had ended")),
    ] {
        let mut exchanges = vec![apis(), absent("/jobs/a"), created("a"), absent("/jobs/a"), events(&told)];
        if expected.is_some_and(|text| text.starts_with("it failed")) {
            exchanges.push(pods(&[]));
        }
        let mut case = Case::new("csa", &[hook("a", 0, &[], &[])], exchanges);
        let said = case.run().await.map(|error| error.to_string());
        case.assert_all_asked();
        let expected = expected.map(|text| format!("the pre-rollback hook Job a: {text}"));
        assert_eq!(said, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_found_out_before_anything_runs() {
    let mut removed = hook("b", 5, &[], &[]);
    removed["manifest"] = json!("apiVersion: batch/v1\nkind: CronTab\nmetadata: {name: b}");
    let mut case = Case::new("csa", &[hook("a", 0, &[], &[]), removed], vec![apis()]);
    let said = case.run().await.unwrap().to_string();
    assert_eq!(
        said,
        "the pre-rollback hook Job b: the API server does not serve batch/v1 CronTab; no hook was run"
    );
    let mut case = Case::new("csa", &[], vec![]);
    assert!(case.run().await.is_none(), "a release without hooks asks nothing");
}
