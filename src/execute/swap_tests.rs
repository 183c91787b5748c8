//! The critical section against canned exchanges: whatever goes wrong, what was stopped is started.

use http::Method;
use serde_json::{Value, json};

use super::super::Options;
use super::super::patches::tests::sample;
use super::*;
use crate::context::interrupt::Signal;
use crate::context::tests::{Exchange, context, exchange};
use crate::plan::strategy::Strategy;

const PATH: &str = "/apis/apps/v1/namespaces/n/deployments/web";

fn deployment(image: &str, replicas: i32, remembered: bool) -> Value {
    let annotations = if remembered { json!({REPLICAS_BEFORE: "2"}) } else { json!({"some": "thing"}) };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 7, "annotations": annotations},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "side", "image": "side:1"}, {"name": "web", "image": image}
        ]}}}
    })
}

fn failed_test() -> Exchange {
    let message = "the server rejected our request due to an error in our request";
    exchange(
        Method::PATCH,
        PATH,
        422,
        json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": message}),
    )
}

fn trouble(code: u16) -> Exchange {
    exchange(
        Method::PATCH,
        PATH,
        code,
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": "InternalError", "message": "etcd is away"}),
    )
}

fn patched(image: &str, replicas: i32, remembered: bool) -> Exchange {
    exchange(Method::PATCH, PATH, 200, deployment(image, replicas, remembered))
}

fn read(image: &str, replicas: i32, remembered: bool) -> Exchange {
    exchange(Method::GET, PATH, 200, deployment(image, replicas, remembered))
}

async fn start_after_barrier(context: &Context) -> Swapped {
    let plan = sample(Strategy::StopFirst);
    barrier(context, &plan, &Options::default()).await;
    start_stopped(context, plan).await
}

/// The barrier is cut short by the signal before it asks anything, so its exchange must not stand in the way.
async fn start_after_signal(exchanges: Vec<Exchange>) -> (Swapped, Vec<Value>) {
    let (context, script, interrupter) = context(exchanges);
    interrupter.interrupt(Signal::Terminate);
    let swapped = start_after_barrier(&context).await;
    assert_eq!(script.left(), 0, "every canned exchange was asked for");
    (swapped, script.writes())
}

#[tokio::test(start_paused = true)]
async fn a_signal_does_not_keep_a_stopped_workload_from_starting() {
    let (swapped, writes) = start_after_signal(vec![patched("acme/web:good", 2, false)]).await;
    assert!(swapped.written && !swapped.left_stopped && swapped.problem.is_none());
    assert_eq!(swapped.generation, Some(7));
    assert!(writes[0].to_string().contains("acme/web:good"));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_repeated_until_the_server_answers() {
    let (swapped, writes) = start_after_signal(vec![
        trouble(500),
        read("acme/web:bad", 0, true),
        trouble(503),
        exchange(
            Method::GET,
            PATH,
            500,
            json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "", "message": ""}),
        ),
        patched("acme/web:good", 2, false),
    ])
    .await;
    assert!(swapped.written && !swapped.left_stopped);
    assert_eq!(writes.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_was_lost_is_not_repeated() {
    let lost = Exchange { status: None, ..patched("acme/web:good", 2, false) };
    let (swapped, writes) = start_after_signal(vec![lost, read("acme/web:good", 2, false)]).await;
    assert!(swapped.written && !swapped.left_stopped);
    assert_eq!(writes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_image_is_kept_but_the_replicas_come_back() {
    let (swapped, writes) = start_after_signal(vec![
        failed_test(),
        read("acme/web:hotfix", 0, true),
        patched("acme/web:hotfix", 2, false),
    ])
    .await;
    assert!(!swapped.written && !swapped.left_stopped);
    assert!(swapped.problem.unwrap().contains("acme/web:hotfix"));
    let text = writes[1].to_string();
    assert!(text.contains("/spec/replicas") && !text.contains("image"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_moved_in_the_list_is_found_again() {
    let mut moved = deployment("acme/web:bad", 0, true);
    moved["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().reverse();
    let (swapped, writes) = start_after_signal(vec![
        failed_test(),
        exchange(Method::GET, PATH, 200, moved),
        patched("acme/web:good", 2, false),
    ])
    .await;
    assert!(swapped.written);
    assert!(writes[1].to_string().contains("/containers/0/image"));
}

#[tokio::test(start_paused = true)]
async fn refused_images_bring_the_old_ones_back() {
    let refusal = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "denied by policy"});
    let (swapped, writes) = start_after_signal(vec![
        exchange(Method::PATCH, PATH, 403, refusal),
        read("acme/web:bad", 0, true),
        patched("acme/web:bad", 2, false),
    ])
    .await;
    assert!(!swapped.written && !swapped.left_stopped);
    assert!(swapped.problem.unwrap().contains("denied by policy"));
    assert!(!writes[1].to_string().contains("image"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_the_number_of_the_moment() {
    let (context, script, _interrupter) =
        context(vec![failed_test(), read("acme/web:bad", 6, false), patched("acme/web:bad", 0, true)]);
    let plan = stop(&context, &sample(Strategy::StopFirst)).await.expect("stopped");
    assert_eq!(plan.replicas.map(|replicas| (replicas.before, replicas.after)), Some((6, 6)));
    assert!(script.writes()[1].to_string().contains("\"6\""), "the annotation remembers the new number");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stopped_after_a_signal_or_for_another_image() {
    let (signalled, script, interrupter) = context(Vec::new());
    interrupter.interrupt(Signal::Interrupt);
    let swapped = stop(&signalled, &sample(Strategy::StopFirst)).await.expect_err("not stopped");
    assert!(!swapped.written && !swapped.left_stopped && script.writes().is_empty());

    let (changed, script, _interrupter) = context(vec![failed_test(), read("acme/web:hotfix", 2, false)]);
    let swapped = stop(&changed, &sample(Strategy::StopFirst)).await.expect_err("not stopped");
    assert!(swapped.problem.unwrap().contains("acme/web:hotfix"));
    assert_eq!(script.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rolled_workload_that_somebody_changed_is_left_alone() {
    let (context, script, _interrupter) = context(vec![failed_test(), read("acme/web:hotfix", 2, false)]);
    let swapped = roll(&context, &sample(Strategy::Rolling)).await;
    assert!(!swapped.written && swapped.problem.unwrap().contains("acme/web:hotfix"));
    assert_eq!(script.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_may_have_arrived_counts_as_a_stop() {
    // The server does not answer, and then the operator interrupts: the workload may stand at zero by now.
    let (signalled, _, interrupter) = context(vec![trouble(503)]);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        interrupter.interrupt(Signal::Interrupt);
    });
    stop(&signalled, &sample(Strategy::StopFirst)).await.expect("to be started again");

    // It stays away for longer than we have patience.
    let (away, script, _interrupter) = context((0..30).map(|_| trouble(503)).collect());
    stop(&away, &sample(Strategy::StopFirst)).await.expect("to be started again");
    assert!(script.writes().len() > 10, "{}", script.writes().len());

    // It comes back and says that the first attempt did arrive.
    let (back, script, _interrupter) =
        context(vec![trouble(503), failed_test(), read("acme/web:bad", 0, true)]);
    stop(&back, &sample(Strategy::StopFirst)).await.expect("stopped");
    assert_eq!(script.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_roll_waits_for_a_server_that_is_away() {
    let away = (0..8).map(|_| trouble(503));
    let (context, script, _interrupter) =
        context(away.chain([failed_test(), read("acme/web:good", 2, false)]).collect());
    let swapped = roll(&context, &sample(Strategy::Rolling)).await;
    assert!(swapped.written && swapped.problem.is_none(), "one of the writes had arrived");
    assert_eq!(script.left(), 0);
}
