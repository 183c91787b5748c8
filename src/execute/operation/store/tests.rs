//! A journal whose writes arrive and whose answers do not.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::context::tests::{Exchange, context, exchange};

const PATH: &str = "/api/v1/namespaces/n/secrets/kubectl-rollback.7f3a.0";

fn stored(entries: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kubectl-rollback.7f3a.0", "resourceVersion": "9"},
        "data": {"entries": STANDARD.encode(entries)},
    })
}

fn metadata() -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"resourceVersion": "10"}})
}

fn conflict() -> Value {
    json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "modified"})
}

fn broken() -> Vec<Exchange> {
    let lost = || Exchange { method: Method::PATCH, path: PATH, status: None, answer: Value::Null };
    (0..ATTEMPTS).map(|_| lost()).collect()
}

impl Store {
    /// The first Secret of a journal, as it was written and not touched since.
    pub(in crate::execute::operation) fn of(client: &Client, namespace: &str, operation: &str) -> Self {
        Self {
            api: api(client, namespace),
            operation: operation.to_owned(),
            labels: BTreeMap::new(),
            piece: 0,
            text: "old\n".to_owned(),
            version: "1".to_owned(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_arrived_although_nobody_said_so_are_no_contest() {
    let mut exchanges = broken();
    exchanges.extend([
        exchange(Method::PATCH, PATH, 409, conflict()),
        exchange(Method::GET, PATH, 200, stored("old\na\n")),
        exchange(Method::PATCH, PATH, 200, metadata()),
    ]);
    let (context, script, _interrupter) = context(exchanges);
    let mut store = Store::of(&context.client, "n", "7f3a");
    assert!(store.append("a\n").await.is_err());
    store.append("a\nb\n").await.unwrap();
    assert_eq!((store.text.as_str(), store.version.as_str()), ("old\na\nb\n", "10"));
    let last = script.writes().pop().unwrap();
    assert_eq!(last["data"]["entries"], STANDARD.encode("old\na\nb\n"));
    assert_eq!(last["metadata"]["resourceVersion"], "9");
    assert_eq!(script.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_lines_are_one() {
    let (context, ..) = context(vec![
        exchange(Method::PATCH, PATH, 409, conflict()),
        exchange(Method::GET, PATH, 200, stored("old\nof somebody else\n")),
    ]);
    let error = Store::of(&context.client, "n", "7f3a").append("a\n").await.unwrap_err();
    assert!(matches!(error, StoreError::Contested(_)), "{error}");
}
