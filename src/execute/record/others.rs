//! The records beside the one that an operation holds: what becomes of them when it ends, when it is undone, and when a
//! release is repaired.

use std::time::Duration;

use super::{ATTEMPTS, changed, is_transient, storage, update};
use crate::context::Context;
use crate::helm::error::StorageError;
use crate::helm::history;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::{Driver, Storage};
use crate::plan::repair::StatusChange;
use crate::reconcile;

/// Gives records the statuses of a repair, in the plan's order, each over exactly the record that was found. Ends at the
/// first that cannot be written; the changes say which were.
pub async fn set_statuses(
    context: &Context,
    driver: Driver,
    changes: &mut [StatusChange],
) -> Result<(), StorageError> {
    let storage = storage(context, driver);
    for change in changes {
        let mut record = storage.get_whatever_status(&change.meta).await?.record;
        record.set_status(&change.to);
        if let Some(description) = &change.description {
            record.set_description(description);
        }
        let meta = update(&storage, &change.meta, &record, context).await?;
        change.written = true;
        changed(context, "update", &meta, &change.to);
    }
    Ok(())
}

/// Undoes what an operation wrote among Helm's records: whichever revision was deployed before is deployed again, and the
/// operation's own becomes `failed`; where it `touched` nothing else, it goes. Answers what was done in a sentence.
pub async fn undo(
    context: &Context,
    driver: Driver,
    release: &str,
    ours: u64,
    before: &[(u64, String)],
    touched: bool,
    why: &str,
) -> Result<Option<String>, StorageError> {
    let storage = storage(context, driver);
    let metas = storage.list(release).await?;
    let own = metas
        .iter()
        .find(|meta| meta.revision == ours && meta.operation.as_deref() == Some(context.operation.as_str()));
    let change = |meta: &RecordMeta, to: Status, description: Option<String>| StatusChange {
        revision: meta.revision,
        from: meta.status.clone(),
        to,
        description,
        why: why.to_owned(),
        resource_version: meta.resource_version.clone(),
        written: false,
        meta: meta.clone(),
    };
    let was_deployed = |meta: &RecordMeta| {
        before.iter().any(|(revision, status)| *revision == meta.revision && status == "deployed")
    };
    let is_newest = metas.first().is_none_or(|newest| newest.revision <= ours);
    let mut changes: Vec<StatusChange> = metas
        .iter()
        .filter(|meta| is_newest && was_deployed(meta) && meta.status == Status::Superseded)
        .map(|meta| change(meta, Status::Deployed, None))
        .collect();
    let mut said: Vec<String> =
        changes.iter().map(|change| format!("revision {} is deployed again", change.revision)).collect();
    match own {
        Some(own) if own.status.is_pending() && !touched => {
            set_statuses(context, driver, &mut changes).await?;
            storage.delete(own).await?;
            changed(context, "delete", own, &own.status);
            said.push(format!("revision {ours}, which described nothing, is gone"));
        }
        Some(own) if own.status != Status::Failed || touched => {
            let record = storage.get_whatever_status(own).await?.record;
            changes.push(change(own, Status::Failed, Some(reconcile::undone_description(&record, why))));
            set_statuses(context, driver, &mut changes).await?;
            said.push(format!("revision {ours} is failed, and says that it was undone"));
        }
        _ => set_statuses(context, driver, &mut changes).await?,
    }
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// A pending record that a dead operation left below ours becomes `failed`. After a success also every other `deployed`
/// record becomes `superseded`, and the history is pruned as Helm would. An error means that ours is true and another is
/// not; what could not be pruned is a warning.
pub(super) async fn settle(
    context: &Context,
    storage: &Storage,
    ours: &RecordMeta,
    base: Option<u64>,
    maximum: Option<usize>,
) -> Result<(), StorageError> {
    let metas = patiently(context, || storage.list(&ours.release)).await?;
    let is_deployed = ours.status == Status::Deployed;
    let mut problem = None;
    for (meta, status) in reconcile::to_settle(&metas, ours.revision) {
        if !is_deployed && status == Status::Superseded {
            continue;
        }
        match patiently(context, || give_status(context, storage, meta, &status)).await {
            Ok(meta) => changed(context, "update", &meta, &status),
            Err(error) => {
                context.warn(format!("revision {} could not be marked {status}: {error}", meta.revision));
                // A record that nobody can read is nobody's to mark: `repair` shows it.
                if !matches!(
                    error,
                    StorageError::Codec { .. } | StorageError::Disagrees { .. } | StorageError::Record { .. }
                ) {
                    problem = Some(error);
                }
            }
        }
    }
    if let Some(error) = problem {
        return Err(error);
    }
    if !is_deployed {
        return Ok(());
    }
    let maximum = maximum.unwrap_or_else(|| {
        history::maximum_from_environment(std::env::var("HELM_MAX_HISTORY").ok().as_deref())
    });
    // Our record exists already, so that one more may stay; the revision that it was made from is never pruned.
    let keep: Vec<u64> = base.into_iter().chain([ours.revision]).collect();
    for meta in history::prune_after(&metas, ours.revision, maximum, &keep) {
        if let Err(error) = storage.delete(meta).await {
            context.warn(format!("revision {} could not be pruned: {error}", meta.revision));
        }
    }
    Ok(())
}

/// Gives a record a status, over whatever it is now: an answer of ours that was lost is no conflict.
async fn give_status(
    context: &Context,
    storage: &Storage,
    meta: &RecordMeta,
    status: &Status,
) -> Result<RecordMeta, StorageError> {
    let stored = storage.get(meta).await?;
    if stored.record.status() == *status {
        return Ok(stored.meta);
    }
    let mut record = stored.record;
    record.set_status(status);
    storage.update(&stored.meta, &record, context.now()).await
}

/// Tries again what may be done twice, while the API server is away or somebody writes the same record.
async fn patiently<T, F: Future<Output = Result<T, StorageError>>>(
    context: &Context,
    work: impl Fn() -> F,
) -> Result<T, StorageError> {
    let mut pause = Duration::from_millis(300);
    for attempt in 1.. {
        match work().await {
            Err(error)
                if attempt < ATTEMPTS
                    && (is_transient(&error) || matches!(error, StorageError::Changed { .. })) =>
            {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
        if context.guard.lost().is_some() {
            break;
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::context::tests::{context, exchange};
    use crate::helm::codec;

    fn secret(revision: u64, status: &str) -> Value {
        let body = json!({"name": "app", "version": revision, "info": {"status": status, "description": "Preparing upgrade"}});
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": format!("sh.helm.release.v1.app.v{revision}"), "namespace": "n", "uid": "u", "resourceVersion": "7",
                "labels": {"name": "app", "owner": "helm", "status": status, "version": revision.to_string()},
            },
            "data": {"release": STANDARD.encode(codec::encode(&body))},
        })
    }

    fn change(revision: u64, to: Status) -> StatusChange {
        StatusChange {
            revision,
            from: Status::PendingUpgrade,
            to,
            description: Some("why".to_owned()),
            why: String::new(),
            resource_version: "1".to_owned(),
            written: false,
            meta: RecordMeta::for_test("app", revision, "pending-upgrade"),
        }
    }

    #[tokio::test]
    async fn a_repair_ends_at_the_first_record_that_somebody_else_wrote() {
        let mut answer = secret(2, "failed");
        answer["kind"] = "PartialObjectMetadata".into();
        answer["apiVersion"] = "meta.k8s.io/v1".into();
        let conflict = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "modified"});
        let (context, script, _interrupter) = context(vec![
            exchange(Method::GET, "/secrets/sh.helm.release.v1.app.v2", 200, secret(2, "pending-upgrade")),
            exchange(Method::PATCH, "/secrets/sh.helm.release.v1.app.v2", 200, answer),
            exchange(Method::GET, "/secrets/sh.helm.release.v1.app.v1", 200, secret(1, "deployed")),
            exchange(Method::PATCH, "/secrets/sh.helm.release.v1.app.v1", 409, conflict),
        ]);
        let mut changes =
            [change(2, Status::Failed), change(1, Status::Superseded), change(3, Status::Superseded)];
        let answer = set_statuses(&context, Driver::Secrets, &mut changes).await;
        assert!(matches!(answer, Err(StorageError::Changed { .. })), "{answer:?}");
        assert_eq!(changes.map(|change| change.written), [true, false, false]);
        assert_eq!(script.left(), 0);
        // The precondition is the version that the plan was made from, not the one that was read just before.
        let patch = &script.writes()[0];
        assert_eq!(patch[1], json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}));
        let payload = STANDARD.decode(patch[4]["value"].as_str().unwrap()).unwrap();
        let body = codec::decode(&String::from_utf8(payload).unwrap()).unwrap();
        assert_eq!(
            (&body["info"]["status"], &body["info"]["description"]),
            (&json!("failed"), &json!("why"))
        );
    }
}
