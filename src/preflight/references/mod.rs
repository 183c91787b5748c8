//! Is everything there that the pods refer to? Secrets, ConfigMaps and their keys, volume claims, accounts, classes.
//!
//! Of Secrets no more than the metadata is asked for unless a key of it is named; of their contents nothing but the names
//! of keys is looked at.

mod judge;
mod needs;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kube::Client;
use kube::api::{Api, DynamicObject};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::TIME_BOX;
use crate::context::Context;
use crate::discover::list::{is_forbidden, words};
use crate::discover::rollback::RollbackSnapshot;
use crate::event::Finding;
use crate::plan::rollback::{Action, RollbackPlan};
use judge::State;
use needs::{Key, Needs};

pub use needs::{of_plan, of_rollback};

/// Looks at everything at once, within the time box. `known` is what the plan itself makes or deletes.
pub async fn findings(
    context: &Context,
    needs: &Needs,
    known: BTreeMap<Key, State>,
    hint: &str,
) -> Vec<Finding> {
    let deadline = Instant::now() + TIME_BOX;
    let asked = needs.0.iter().filter(|(key, _)| !known.contains_key(key)).map(|(key, need)| async move {
        let answer = timeout_at(deadline, look(&context.client, key, !need.keys.is_empty())).await;
        let state = answer.unwrap_or_else(|_| {
            State::Unknown(format!("the API server did not answer within {} s", TIME_BOX.as_secs()))
        });
        (key.clone(), state)
    });
    let mut states: BTreeMap<Key, State> = join_all(asked).await.into_iter().collect();
    states.extend(known);
    judge::findings(needs, &states, hint)
}

async fn look(client: &Client, key: &Key, wants_keys: bool) -> State {
    let resource = key.kind.api_resource();
    let api: Api<DynamicObject> = if key.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &key.namespace, &resource)
    };
    let answer = if wants_keys {
        let object = api.get_opt(&key.name).await;
        object.map(|object| object.map(|object| Some(keys_of(&object.data))))
    } else {
        api.get_metadata_opt(&key.name).await.map(|object| object.map(|_| None))
    };
    match answer {
        Ok(Some(keys)) => State::There(keys),
        Ok(None) => State::Missing,
        Err(error) if is_forbidden(&error) => {
            State::Unknown(format!("reading {} is forbidden", resource.plural))
        }
        Err(error) => State::Unknown(words(&error)),
    }
}

/// The names of the keys of a Secret or ConfigMap.
fn keys_of(object: &Value) -> BTreeSet<String> {
    let maps =
        ["data", "binaryData", "stringData"].into_iter().filter_map(|field| object.get(field)?.as_object());
    maps.flat_map(|map| map.keys().cloned()).collect()
}

/// What a rollback makes and deletes of the objects that are needed: those need not be looked for.
pub fn made_by(plan: &RollbackPlan, snapshot: &RollbackSnapshot, needs: &Needs) -> BTreeMap<Key, State> {
    let mut known = BTreeMap::new();
    for key in needs.0.keys() {
        let resource = key.kind.api_resource();
        let is_it = |group: &str, kind: &str, namespace: Option<&str>, name: &str| {
            (group, kind, namespace.unwrap_or_default(), name)
                == (
                    resource.group.as_str(),
                    resource.kind.as_str(),
                    key.namespace.as_str(),
                    key.name.as_str(),
                )
        };
        let step = plan.objects.iter().find(|step| {
            is_it(&step.key.group, &step.key.kind, step.key.namespace.as_deref(), &step.key.name)
        });
        let state = step.and_then(|step| match step.action {
            Action::Delete => Some(State::Deleted),
            Action::Keep => None,
            Action::Create | Action::Apply | Action::Replace => {
                let found = snapshot.objects.iter().find(|found| found.history.key == step.key)?;
                let mut keys = keys_of(found.history.target.as_ref()?);
                // What others have put there stays, unless the object is written whole; what newer revisions brought goes.
                if step.action == Action::Apply {
                    let newer: BTreeSet<String> = found.history.newer.iter().flat_map(keys_of).collect();
                    let live = found.live.as_ref().map(keys_of).unwrap_or_default();
                    keys.extend(live.difference(&newer).cloned());
                }
                Some(State::There(Some(keys)))
            }
        });
        let by_hook = plan
            .hooks
            .iter()
            .any(|hook| hook.kind == resource.kind && hook.name == key.name)
            .then_some(State::There(None));
        if let Some(state) = by_hook.or(state) {
            known.insert(key.clone(), state);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::context::tests::{context, exchange};
    use crate::event::FindingStatus;

    #[tokio::test]
    async fn contents_are_read_only_where_a_key_is_named_and_never_told() {
        let mut needs = Needs::default();
        let spec = json!({"containers": [{
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
            "envFrom": [{"secretRef": {"name": "whole"}}, {"configMapRef": {"name": "hidden"}}],
        }]});
        needs.add("deploy/web", "n", &spec, true);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"user": "Y2FuYXJ5LTQ3MTE="}});
        let metadata = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "whole"}});
        let refusal = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
        let (context, script, _interrupter) = context(vec![
            exchange(Method::GET, "/secrets/db", 200, secret),
            exchange(Method::GET, "/secrets/whole", 200, metadata),
            exchange(Method::GET, "/configmaps/hidden", 403, refusal),
        ]);
        let found = findings(&context, &needs, BTreeMap::new(), "restore it").await;
        assert_eq!(script.left(), 0);
        let shown: Vec<(&str, FindingStatus)> =
            found.iter().map(|finding| (finding.subject.as_str(), finding.status)).collect();
        assert_eq!(
            shown,
            [
                ("Secret/db", FindingStatus::Fail),
                ("ConfigMap/hidden", FindingStatus::Unknown),
                ("1 object", FindingStatus::Pass)
            ]
        );
        assert_eq!(found[0].message, "it lacks the key url (for deploy/web)");
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}
