//! Images, configuration, start and crash.

use serde_json::json;

use super::*;
use DiagnosisCode::{
    ConfigError, CrashLoop, ImageNotFound, ImagePullAuth, ImagePullTransient, InitFailed, InvalidImageName,
    OomKilled, StartError,
};

const NOT_FOUND: &str = "failed to resolve reference: ghcr.io/acme/web:good: not found";
const REFUSED: &str = "failed to authorize: 401 Unauthorized";
const BUSY: &str = "unexpected status from HEAD request: 503 Service Unavailable";

#[test]
fn a_missing_image_is_fatal_at_once_on_any_pod() {
    let mut scene = Scene::deployment([
        pod("a", &waiting("ErrImagePull", NOT_FOUND)),
        pod("b", &waiting("ContainerCreating", "")),
    ]);
    let told = scene.only(0);
    assert_eq!((told.code, told.severity), (ImageNotFound, F));
    assert!(told.message.contains(IMAGE) && told.hint.contains("kubectl describe pod -n shop a"), "{told:?}");
}

#[test]
fn a_missing_image_that_runs_from_a_cache_elsewhere_is_a_warning() {
    let mut scene =
        Scene::deployment([pod("a", &waiting("ErrImagePull", NOT_FOUND)), pod("b", &running_ready())]);
    assert_eq!(scene.at(60), [(ImageNotFound, W)]);
}

#[test]
fn the_last_answer_of_the_registry_is_remembered_through_the_back_off() {
    let mut scene = Scene::deployment([pod("a", &waiting("ErrImagePull", NOT_FOUND))]);
    assert_eq!(scene.at(0), [(ImageNotFound, F)]);
    scene.pods =
        vec![pod("a", &waiting("ImagePullBackOff", "Back-off pulling image \"ghcr.io/acme/web:good\""))];
    let told = scene.only(1);
    assert!(told.code == ImageNotFound && told.message.contains("not found"), "{told:?}");
    // Another pod has another memory.
    scene.pods =
        vec![pod("b", &waiting("ImagePullBackOff", "Back-off pulling image \"ghcr.io/acme/web:good\""))];
    assert_eq!(scene.at(2), [(ImagePullTransient, W)]);
}

#[test]
fn the_answer_may_also_stand_in_the_back_off_or_in_an_event() {
    let text = format!("Back-off pulling image \"{IMAGE}\": ErrImagePull: {NOT_FOUND}");
    assert_eq!(
        Scene::deployment([pod("a", &waiting("ImagePullBackOff", &text))]).at(0),
        [(ImageNotFound, F)]
    );
    let mut scene = Scene::deployment([pod("a", &waiting("ImagePullBackOff", "Back-off pulling image"))])
        .event("a", "Failed", &format!("Failed to pull image \"{IMAGE}\": {NOT_FOUND}"));
    assert_eq!(scene.at(0), [(ImageNotFound, F)]);
}

#[test]
fn refused_pulls_are_fatal_the_second_time_or_after_20_s() {
    let mut scene = Scene::deployment([pod("a", &waiting("ErrImagePull", REFUSED))]);
    assert_eq!(scene.at(0), [(ImagePullAuth, W)]);
    assert_eq!(scene.at(19), [(ImagePullAuth, W)]);
    assert_eq!(scene.at(20), [(ImagePullAuth, F)]);

    let mut scene = Scene::deployment([pod("a", &waiting("ErrImagePull", REFUSED))]);
    scene.at(0);
    scene.pods = vec![pod("a", &waiting("ImagePullBackOff", "Back-off"))];
    assert_eq!(scene.at(1), [(ImagePullAuth, W)]);
    scene.pods = vec![pod("a", &waiting("ErrImagePull", REFUSED))];
    assert_eq!(scene.at(2), [(ImagePullAuth, F)], "the second refusal");

    let mut scene = Scene::deployment([pod("a", &waiting("ErrImagePull", REFUSED))]);
    scene.push_event("a", "Failed", &format!("Failed to pull image: {REFUSED}"));
    scene.events[0].count = 2;
    let told = scene.only(0);
    assert_eq!(told.severity, F, "two refusals by the event's count");
    assert!(
        told.hint.contains("the pod has no imagePullSecrets") && told.hint.contains("serviceaccount"),
        "{told:?}"
    );
}

#[test]
fn a_registry_in_trouble_is_never_fatal_before_the_timeout() {
    let mut scene = Scene::deployment([pod("a", &waiting("ErrImagePull", BUSY))]);
    assert_eq!(scene.at(0), [(ImagePullTransient, W)]);
    assert_eq!(scene.at(3600), [(ImagePullTransient, W)]);
    assert_eq!(scene.at_timeout(3601), [(ImagePullTransient, F)]);
}

#[test]
fn invalid_names_and_forbidden_pulls_are_fatal_at_once() {
    for reason in ["InvalidImageName", "ErrImageNeverPull"] {
        assert_eq!(
            Scene::deployment([pod("a", &waiting(reason, ""))]).at(0),
            [(InvalidImageName, F)],
            "{reason}"
        );
    }
}

#[test]
fn bad_references_are_fatal_after_10_s() {
    for reason in ["CreateContainerConfigError", "CreateContainerError"] {
        let mut scene = Scene::deployment([pod("a", &waiting(reason, "secret \"db\" not found"))]);
        let told = scene.only(0);
        assert!(told.code == ConfigError && told.severity == W, "{told:?}");
        assert!(told.message.contains("secret \"db\" not found"), "{told:?}");
        assert_eq!(scene.at(9), [(ConfigError, W)]);
        assert_eq!(scene.at(10), [(ConfigError, F)]);
    }
    // The clock starts anew when the trouble was over in between.
    let mut scene = Scene::deployment([pod("a", &waiting("CreateContainerConfigError", "x"))]);
    scene.at(0);
    scene.pods = vec![pod("a", &waiting("ContainerCreating", ""))];
    assert_eq!(scene.at(5), []);
    scene.pods = vec![pod("a", &waiting("CreateContainerConfigError", "x"))];
    assert_eq!(scene.at(12), [(ConfigError, W)]);
}

#[test]
fn a_kubelet_that_is_behind_is_not_a_bad_reference() {
    let text = "failed to sync configmap cache: timed out waiting for the condition";
    assert_eq!(Scene::deployment([pod("a", &waiting("CreateContainerConfigError", text))]).at(60), []);
}

#[test]
fn start_errors_are_fatal_the_second_time_unless_the_node_is_to_blame() {
    let start = |restarts: i32, exit_code: i32, message: &str| {
        let ended = json!({"restartCount": restarts, "state": {"terminated": {
            "exitCode": exit_code, "reason": "StartError", "message": message}}});
        Scene::deployment([pod("a", &ended)]).at(0)
    };
    assert_eq!(start(0, 127, "no such file"), [(StartError, W)]);
    assert_eq!(start(1, 127, "no such file"), [(StartError, F)]);
    assert_eq!(
        start(5, 128, "failed to create shim task: cgroups: cannot allocate memory"),
        [(StartError, W)]
    );
    assert_eq!(start(1, 128, "exec: \"serve\": executable file not found in $PATH"), [(StartError, F)]);
    let waits = waiting("RunContainerError", "exec format error");
    assert_eq!(Scene::deployment([pod("a", &waits)]).at(0), [(StartError, W)]);
}

#[test]
fn crashing_is_fatal_when_all_new_pods_crash_or_one_has_restarted_three_times() {
    let with_other =
        |restarts: i32| Scene::deployment([pod("a", &crashed(restarts, 1)), pod("b", &running_ready())]);
    assert_eq!(with_other(2).at(0), [(CrashLoop, W)], "one of two, twice");
    assert_eq!(with_other(3).at(0), [(CrashLoop, F)], "one of two, three times");
    let mut both = Scene::deployment([pod("a", &crashed(1, 1)), pod("b", &crashed(1, 1))]);
    assert_eq!(both.at(0), [(CrashLoop, F)], "both, once");
    let mut any = with_other(1);
    any.crash_rule = CrashRule::Any;
    assert_eq!(any.at(0), [(CrashLoop, F)], "one is enough when asked for");
}

#[test]
fn a_crash_block_has_what_people_need() {
    let mut scene = Scene::deployment([pod("a", &crashed(3, 7))]).event(
        "a",
        "BackOff",
        "Back-off restarting failed container app in pod a",
    );
    scene.events[0].count = 3;
    let told = scene.only(0);
    assert_eq!((told.exit_code, told.restarts, told.container.as_deref()), (Some(7), 3, Some("app")));
    assert_eq!(told.hint, "kubectl logs -n shop a -c app --previous");
    assert_eq!(told.events, ["BackOff x3: Back-off restarting failed container app in pod a"]);
    assert_eq!(told.message, "container app exited with code 7 (3 restarts)");
}

#[test]
fn between_two_starts_a_crash_counts_only_when_we_saw_it() {
    let between = |restarts: i32| json!({"restartCount": restarts, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}});
    // Restarted long ago, and just not ready at the moment.
    let mut scene = Scene::deployment([pod("a", &between(8))]);
    assert_eq!(scene.at(0), []);
    scene.pods = vec![pod("a", &between(9))];
    assert_eq!(scene.at(1), [(CrashLoop, F)]);
    // Ready again: healed.
    let mut healed = between(9);
    healed["ready"] = json!(true);
    scene.pods = vec![pod("a", &healed)];
    assert_eq!(scene.at(2), []);
    // The first restart is no loop yet.
    let mut scene = Scene::deployment([pod("a", &between(0))]);
    scene.at(0);
    scene.pods = vec![pod("a", &between(1))];
    assert_eq!(scene.at(1), []);
}

#[test]
fn out_of_memory_counts_as_a_crash_and_names_the_limit() {
    let killed = |restarts: i32, field: &str| {
        let mut status = json!({"restartCount": restarts});
        status[field] = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        status
    };
    let mut first = Scene::deployment([pod("a", &killed(0, "state"))]);
    let told = first.only(0);
    assert_eq!((told.code, told.severity, told.exit_code), (OomKilled, W, Some(137)));
    assert!(told.message.contains("256Mi") && told.hint.contains("--limits=memory=512Mi"), "{told:?}");
    let mut looping = killed(1, "lastState");
    looping["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(Scene::deployment([pod("a", &looping)]).at(0), [(OomKilled, F)]);
    let mut beside = Scene::deployment([pod("a", &looping), pod("b", &running_ready())]);
    assert_eq!(beside.at(0), [(OomKilled, W)]);
}

#[test]
fn init_containers_are_named() {
    let with_init = |status: &Value| {
        let mut object = pod("a", &waiting("PodInitializing", ""));
        let mut init = status.clone();
        init["name"] = json!("prepare");
        object["status"]["initContainerStatuses"] = json!([init]);
        Scene::deployment([object])
    };
    let told = with_init(&crashed(1, 2)).only(0);
    assert_eq!((told.code, told.severity, told.container.as_deref()), (InitFailed, F, Some("prepare")));
    assert!(told.message.starts_with("init container prepare exited with code 2"), "{told:?}");
    assert_eq!(with_init(&waiting("ErrImagePull", NOT_FOUND)).at(0), [(ImageNotFound, F)]);
    // Through: it ended as it should.
    assert_eq!(with_init(&json!({"ready": true, "state": {"terminated": {"exitCode": 0}}})).at(0), []);
}
