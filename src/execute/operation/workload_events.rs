//! Kubernetes Events on what was rolled back: who did what and why, for whoever looks with `kubectl describe`. Best effort:
//! where they cannot be written nothing is lost but the note.

use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::context::Context;
use crate::helm::meta::object_name;
use crate::helm::storage::Driver;

/// The most characters that a note may have.
const LONGEST: usize = 1000;

/// Writes one Event on each object.
pub async fn tell(context: &Context, told: &[(ObjectReference, String)], is_good: bool) {
    let reporter =
        Reporter { controller: "kubectl-rollback".to_owned(), instance: Some(context.operation.clone()) };
    let recorder = Recorder::new(context.bare.clone(), reporter);
    let notes = told.iter().map(|(reference, note)| {
        let event = Event {
            type_: if is_good { EventType::Normal } else { EventType::Warning },
            reason: if is_good { "RolledBack" } else { "RollbackFailed" }.to_owned(),
            note: Some(note.chars().take(LONGEST).collect()),
            action: "Rollback".to_owned(),
            secondary: None,
        };
        let recorder = &recorder;
        async move {
            let _ = recorder.publish(&event, reference).await;
        }
    });
    join_all(notes).await;
}

/// The object that holds a record of Helm's.
pub fn record_reference(driver: Driver, context: &Context, release: &str, revision: u64) -> ObjectReference {
    let kind = match driver {
        Driver::Secrets => "Secret",
        Driver::ConfigMaps => "ConfigMap",
    };
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(context.namespace.clone()),
        name: Some(object_name(release, revision)),
        ..ObjectReference::default()
    }
}
