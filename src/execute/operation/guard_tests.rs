//! What the gate lets through, and what it does not.

use http::Method;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::*;
use crate::context::client::guarded;
use crate::context::tests::{Exchange, context, exchange};
use crate::execute::operation::lease::Lease;
use crate::execute::operation::store::Store;
use crate::helm::meta::OPERATION_ANNOTATION;

const DEPLOYMENT: &str = "/deployments/web";
const LEASE: &str = "/leases/kubectl-rollback.web";
const JOURNAL: &str = "/secrets/kubectl-rollback.7f3a.0";
const RECORD: &str = "/secrets/sh.helm.release.v1.web.v4";
const NEXT: &str = "/secrets/sh.helm.release.v1.web.v5";

fn lease_of(identity: &str) -> Exchange {
    let object = json!({
        "metadata": {"name": "kubectl-rollback.web"},
        "spec": {"holderIdentity": identity, "renewTime": "2026-11-25T00:00:00.000000Z"},
    });
    exchange(Method::GET, LEASE, 200, object)
}

fn metadata(name: &str, labels: &Value, operation: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "resourceVersion": "7", "labels": labels, "annotations": {OPERATION_ANNOTATION: operation}}})
}

fn record(path: &'static str, revision: &str, operation: &str) -> Exchange {
    let labels = json!({"name": "web", "owner": "helm", "status": "pending-rollback", "version": revision});
    exchange(Method::GET, path, 200, metadata(path.rsplit('/').next().unwrap(), &labels, operation))
}

fn status(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "canned"})
}

fn gone(path: &'static str) -> Exchange {
    exchange(Method::GET, path, 404, status(404))
}

fn noted() -> Exchange {
    exchange(Method::PATCH, JOURNAL, 200, metadata("kubectl-rollback.7f3a.0", &json!({}), ""))
}

fn written() -> Exchange {
    exchange(Method::PATCH, DEPLOYMENT, 200, json!({"metadata": {"name": "web"}}))
}

/// What becomes of so many writes in a row, and what reaches the API server in all.
async fn writes(
    count: usize,
    holds_record: bool,
    exchanges: Vec<Exchange>,
) -> (Vec<Result<(), u16>>, Vec<String>) {
    let (context, script, _interrupter) = context(exchanges);
    let store = Store::of(&context.bare, "n", "7f3a");
    let lease = Lease::of(&context.bare, "n", "kubectl-rollback.web", "bob");
    context.guard.arm(Arc::new(Armed {
        operation: "7f3a".to_owned(),
        lease: Some(lease),
        journal: Arc::new(JournalWriter::new(Some(store), None)),
        record: Mutex::default(),
        seen: tokio::sync::Mutex::new(None),
        lost: Mutex::default(),
    }));
    if holds_record {
        context.guard.hold_record(Driver::Secrets, "n", "web", 4);
    }
    let client = guarded(&context.bare, &context.guard, "n");
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client, "n");
    let mut answers = Vec::new();
    for _ in 0..count {
        let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let answer = api.patch("web", &PatchParams::default(), &patch).await;
        answers.push(answer.map(|_| ()).map_err(|error| match error {
            kube::Error::Api(status) => status.code,
            error => panic!("{error}"),
        }));
        tokio::time::sleep(FRESH).await;
    }
    assert_eq!(script.left(), 0);
    let asked = script.asked.lock().unwrap();
    let sent = asked.iter().filter(|(method, ..)| *method != Method::GET);
    (answers, sent.map(|(_, uri, _)| uri.split('?').next().unwrap_or_default().to_owned()).collect())
}

#[tokio::test(start_paused = true)]
async fn the_intent_is_written_down_before_the_write() {
    let exchanges = vec![lease_of("bob"), noted(), written(), lease_of("bob"), noted(), written()];
    let (answers, sent) = writes(2, false, exchanges).await;
    assert_eq!(answers, [Ok(()), Ok(())]);
    let ends: Vec<bool> = sent.iter().map(|uri| uri.ends_with(JOURNAL)).collect();
    assert_eq!(ends, [true, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn what_is_somebody_elses_is_not_written_to() {
    for (holds_record, exchanges) in [
        // The lock has another holder.
        (false, vec![lease_of("ann")]),
        // A newer record of Helm's is there; ours is gone; ours is another operation's.
        (true, vec![lease_of("bob"), record(RECORD, "4", "7f3a"), record(NEXT, "5", "")]),
        (true, vec![lease_of("bob"), gone(RECORD), gone(NEXT)]),
        (true, vec![lease_of("bob"), record(RECORD, "4", "8c1d"), gone(NEXT)]),
    ] {
        // The second write is not asked about again.
        let (answers, sent) = writes(2, holds_record, exchanges).await;
        assert_eq!((answers, sent), (vec![Err(423), Err(423)], Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_tell_the_preconditions_have_to_do() {
    let unknown = |path| exchange(Method::GET, path, 503, status(503));
    let exchanges = vec![unknown(LEASE), unknown(RECORD), unknown(NEXT), noted(), written()];
    let (answers, _) = writes(1, true, exchanges).await;
    assert_eq!(answers, [Ok(())]);
    // A lock that somebody has deleted is nobody's.
    let (answers, _) = writes(1, false, vec![gone(LEASE), noted(), written()]).await;
    assert_eq!(answers, [Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn a_journal_with_lines_of_somebody_else_ends_the_operation() {
    let secret = json!({"metadata": {"name": "kubectl-rollback.7f3a.0", "resourceVersion": "9"},
        "data": {"entries": "c29tZWJvZHkgZWxzZQo="}});
    let exchanges = vec![
        lease_of("bob"),
        exchange(Method::PATCH, JOURNAL, 409, status(409)),
        exchange(Method::GET, JOURNAL, 200, secret),
    ];
    let (answers, sent) = writes(2, false, exchanges).await;
    assert_eq!(answers, [Err(423), Err(423)]);
    assert_eq!(sent.len(), 1, "only the journal was written to: {sent:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_operation_everything_passes() {
    let (context, script, _interrupter) = context(vec![written()]);
    let client = guarded(&context.bare, &context.guard, "n");
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client, "n");
    api.patch("web", &PatchParams::default(), &Patch::Merge(json!({}))).await.unwrap();
    assert_eq!(script.left(), 0);
}
