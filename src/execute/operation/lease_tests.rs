//! A lock that is free, held, left, and taken in between. Time is the runtime's: what waits 15 s passes at once.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::context::tests::{Exchange, context, exchange};

const NAME: &str = "kubectl-rollback.todo-app";
const PATH: &str = "/leases/kubectl-rollback.todo-app";

/// A lock as the API server has it, renewed so many seconds ago by our clock.
fn held(version: &str, identity: &str, seconds: i64) -> Value {
    let time = MicroTime(Timestamp::now() - SignedDuration::from_secs(seconds));
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": NAME, "resourceVersion": version,
            "annotations": {ACTOR: "ann@laptop", OPERATION: "7f3a", COMMAND: "kubectl rollback to 3"},
        },
        "spec": {"holderIdentity": identity, "leaseDurationSeconds": 15, "renewTime": time, "acquireTime": time, "leaseTransitions": 4},
    })
}

fn found(object: Value) -> Exchange {
    exchange(Method::GET, PATH, 200, object)
}

fn nothing() -> Exchange {
    exchange(Method::GET, PATH, 404, status(404, "NotFound"))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

fn replaced() -> Exchange {
    exchange(Method::PUT, PATH, 200, held("9", "bob", 0))
}

fn claim() -> Claim {
    let text = |text: &str| text.to_owned();
    Claim {
        identity: text("bob"),
        actor: text("bob@desk"),
        operation: text("8c1d"),
        command: text("kubectl rollback to 2"),
    }
}

async fn taken(exchanges: Vec<Exchange>, takeable: &Takeable) -> (Result<(), LeaseError>, Vec<Value>, u64) {
    let (context, script, _interrupter) = context(exchanges);
    let begin = tokio::time::Instant::now();
    let taken = acquire(&context.client, "n", NAME, &claim(), takeable).await.map(|_| ());
    assert_eq!(script.left(), 0);
    (taken, script.writes(), begin.elapsed().as_secs())
}

fn watched(times: usize, version: &str) -> Vec<Exchange> {
    (0..times).map(|_| found(held(version, "ann", 60))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_the_living_from_the_dead_by_our_own_clock() {
    let renewed = || found(held("6", "ann", 3600));
    for (exchanges, expected, seconds) in [
        (vec![nothing()], "free", 0),
        (vec![found(held("5", "", 0))], "free", 0),
        (vec![found(held("5", "ann", 3))], "held", 0),
        // Their clock is an hour slow, or fast: what counts is that the lock is renewed while we look, or is not.
        (vec![found(held("5", "ann", 3600)), found(held("5", "ann", 3600)), renewed()], "held", 2),
        (vec![found(held("5", "ann", -3600)), renewed()], "held", 1),
        (watched(16, "5"), "lifeless 5", 15),
        ((0..16).map(|_| found(held("5", "ann", -3600))).collect(), "lifeless 5", 15),
        // Given back, or taken away, while we look.
        (vec![found(held("5", "ann", 60)), found(held("6", "", 0))], "lifeless 5", 1),
        (vec![found(held("5", "ann", 60)), nothing()], "lifeless 5", 1),
    ] {
        let (context, script, _interrupter) = context(exchanges);
        let begin = tokio::time::Instant::now();
        let told = match look(&context.client, "n", NAME).await.unwrap() {
            Found::Free => "free".to_owned(),
            Found::Held(holder) => {
                assert_eq!(holder.actor, "ann@laptop");
                "held".to_owned()
            }
            Found::Lifeless(version) => format!("lifeless {version}"),
        };
        assert_eq!((told.as_str(), begin.elapsed().as_secs(), script.left()), (expected, seconds, 0));
        assert!(script.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_taken_is() {
    let created = || exchange(Method::POST, "/leases", 201, held("1", "bob", 0));
    let watched_version = Takeable::Watched("5".to_owned());
    let after = |mut exchanges: Vec<Exchange>, last: Exchange| {
        exchanges.push(last);
        exchanges
    };
    for (exchanges, takeable, seconds) in [
        (vec![nothing(), created()], Takeable::Lifeless, 0),
        (vec![found(held("5", "", 0)), replaced()], Takeable::Lifeless, 0),
        (vec![found(held("5", "bob", 1)), replaced()], Takeable::Lifeless, 0),
        (vec![found(held("5", "ann", 1)), replaced()], Takeable::Any, 0),
        (after(watched(16, "5"), replaced()), Takeable::Lifeless, 15),
        // It was watched in this version, and need not be again; in another one it must.
        (vec![found(held("5", "ann", 60)), replaced()], watched_version.clone(), 0),
        (after(watched(16, "6"), replaced()), watched_version.clone(), 15),
    ] {
        let (result, writes, waited) = taken(exchanges, &takeable).await;
        result.unwrap();
        assert_eq!((writes.len(), waited), (1, seconds), "{takeable:?}");
        assert_eq!(writes[0]["spec"]["holderIdentity"], "bob");
        assert_eq!(writes[0]["metadata"]["annotations"][COMMAND], "kubectl rollback to 2");
    }
    for takeable in [Takeable::Lifeless, watched_version] {
        let (result, writes, _) = taken(vec![found(held("6", "ann", 3))], &takeable).await;
        let Err(LeaseError::Held(holder)) = result else { panic!("{result:?}") };
        let said = holder.describe(Timestamp::now());
        for part in ["ann@laptop", "7f3a", "«kubectl rollback to 3»", "3s"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(writes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_changes_under_our_hands_is_looked_at_again() {
    let conflict = |method: Method, path| exchange(method, path, 409, status(409, "Conflict"));
    // Somebody was quicker.
    let exchanges = vec![nothing(), conflict(Method::POST, "/leases"), found(held("1", "ann", 0))];
    let (result, ..) = taken(exchanges, &Takeable::Lifeless).await;
    assert!(matches!(result, Err(LeaseError::Held(_))), "{result:?}");
    // Our own write arrived and its answer did not.
    let lost = Exchange { method: Method::POST, path: "/leases", status: None, answer: Value::Null };
    let (result, writes, _) =
        taken(vec![nothing(), lost, found(held("1", "bob", 0)), replaced()], &Takeable::Lifeless).await;
    result.unwrap();
    assert_eq!(writes[1]["metadata"]["resourceVersion"], "1");
    assert_eq!(writes[1]["spec"]["leaseTransitions"], 4);
    // We may not.
    let (result, ..) =
        taken(vec![exchange(Method::GET, PATH, 403, status(403, "Forbidden"))], &Takeable::Any).await;
    assert!(matches!(result, Err(LeaseError::Forbidden(_))), "{result:?}");
}

#[tokio::test]
async fn it_is_renewed_and_given_back_only_while_it_is_ours() {
    let (context, script, _interrupter) = context(vec![
        exchange(Method::PATCH, PATH, 200, held("2", "bob", 0)),
        exchange(Method::PATCH, PATH, 200, held("3", "", 0)),
        found(held("4", "ann", 0)),
        found(held("5", "bob", 0)),
        nothing(),
    ]);
    let lease = Lease::of(&context.client, "n", NAME, "bob");
    lease.renew().await.unwrap();
    lease.release().await.unwrap();
    for write in script.writes() {
        assert_eq!(write[0], json!({"op": "test", "path": "/spec/holderIdentity", "value": "bob"}));
    }
    assert_eq!(lease.taken_by().await.unwrap().map(|holder| holder.identity).as_deref(), Some("ann"));
    assert_eq!(lease.taken_by().await.unwrap(), None);
    assert_eq!(lease.taken_by().await.unwrap(), None);
}
