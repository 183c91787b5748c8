//! `status`: the release's record against what runs.

use serde::Serialize;

use super::{Conclusion, Failure, Session, choose};
use crate::cli::StatusArgs;
use crate::discover::owners::Effect;
use crate::discover::workload::REPLICAS_BEFORE;
use crate::discover::{self, Release, Scope, Snapshot, Workload};
use crate::plan::repair;
use crate::ui;
use crate::wait::readiness;

/// What `status` says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `Status`.
    pub kind: &'static str,
    /// Name of the kubeconfig context.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// The release; `null` where there is none, or its records cannot be read.
    pub release: Option<StatusRelease>,
    /// Why the records cannot be used.
    pub record_problem: Option<String>,
    /// The operation that holds the release, ours or Helm's.
    pub open_operation: Option<String>,
    /// What is wrong with the records so that Helm is stuck, as `repair` sees it; empty where nothing is.
    pub stuck: Vec<String>,
    /// The record of that operation; `null` where none is open.
    pub open_record: Option<OpenRecord>,
    /// Whether any image differs from the record.
    pub drift: bool,
    /// Whether every workload is ready.
    pub ready: bool,
    /// The workloads.
    pub workloads: Vec<StatusWorkload>,
    /// Workloads that the record names and the cluster does not have.
    pub missing: Vec<String>,
    /// Controllers that would undo a rollback, or are paused.
    pub owners: Vec<StatusOwner>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// The release as its newest record says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRelease {
    /// Its name.
    pub name: String,
    /// Its newest revision.
    pub revision: u64,
    /// That revision's status.
    pub status: String,
    /// The revision that is deployed.
    pub deployed_revision: Option<u64>,
    /// The chart.
    pub chart: String,
    /// The chart's `appVersion`.
    pub app_version: Option<String>,
    /// When the newest revision was written.
    pub updated: Option<String>,
    /// The newest revision's description.
    pub description: String,
}

/// A record that says that an operation is under way: it is, or it died and the release is stuck.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenRecord {
    /// The revision.
    pub revision: u64,
    /// `pending-install`, `pending-upgrade` or `pending-rollback`.
    pub status: String,
    /// When it was last written.
    pub since: Option<String>,
    /// How long that is ago.
    pub age_seconds: Option<i64>,
    /// Who wrote it last, by managedFields.
    pub last_writer: Option<String>,
}

/// A workload against the record.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusWorkload {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// `deploy/name`.
    #[serde(skip)]
    pub reference: String,
    /// Pods that are ready.
    pub ready_pods: i32,
    /// Pods wanted.
    pub desired_pods: i32,
    /// Whether it is ready.
    pub ready: bool,
    /// The state in words.
    pub state: String,
    /// Replicas that an interrupted run remembered; `null` otherwise.
    pub remembered_replicas: Option<i32>,
    /// The containers.
    pub containers: Vec<StatusContainer>,
}

/// A container against the record.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusContainer {
    /// Its name.
    pub name: String,
    /// The image it has.
    pub image: String,
    /// The image that the record names; `null` where it names none.
    pub recorded: Option<String>,
    /// Whether the two differ.
    pub drift: bool,
}

/// A controller that owns the workloads.
#[derive(Debug, Clone, Serialize)]
pub struct StatusOwner {
    /// `Argo CD Application`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it does about changes.
    pub effect: String,
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &StatusArgs) -> Result<Conclusion, Failure> {
    let scope = Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
    let context = &session.context;
    let snapshot = choose::with_release(session, &scope, async |scope| {
        let read = async { discover::glance(context, scope, session.driver).await.map_err(Failure::from) };
        session.unless_interrupted(read).await
    })
    .await?;
    let document = document(session, &snapshot);
    let text = ui::status_table(session.printer(), &document);
    let name = document
        .release
        .as_ref()
        .map_or_else(String::new, |release| format!("release.helm.sh/{}", release.name));
    let own = serde_json::to_value(&document).map_err(anyhow::Error::from)?;
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

fn document(session: &Session, snapshot: &Snapshot) -> StatusDocument {
    let workloads: Vec<StatusWorkload> =
        snapshot.workloads.iter().map(|workload| status_workload(snapshot, workload)).collect();
    let release = snapshot.release.as_ref();
    let context = &session.context;
    let request = repair::Request { now: context.now(), operation: &context.operation, reason: None };
    let stuck = repair::plan(request, snapshot).map(|plan| plan.problems).unwrap_or_default();
    StatusDocument {
        api_version: crate::report::API_VERSION,
        kind: "Status",
        context: session.context.context_name.clone(),
        namespace: session.context.namespace.clone(),
        release: release.and_then(|release| {
            let newest = release.newest()?;
            let record = release
                .records
                .iter()
                .find(|stored| stored.meta.revision == newest.revision)
                .map(|stored| &stored.record);
            Some(StatusRelease {
                name: release.name.clone(),
                revision: newest.revision,
                status: newest.status,
                deployed_revision: release.deployed().map(|meta| meta.revision),
                chart: record.map_or_else(String::new, crate::helm::record::Record::chart_label),
                app_version: record.and_then(|record| record.app_version()).map(str::to_owned),
                updated: record
                    .and_then(super::super::helm::record::Record::last_deployed)
                    .and_then(|time| time.round(jiff::Unit::Second).ok())
                    .map(|time| time.to_string()),
                description: record.map_or_else(String::new, |record| record.description().to_owned()),
            })
        }),
        record_problem: snapshot.record_problem.as_ref().map(ToString::to_string),
        open_operation: release.filter(|release| release.newest().is_some_and(|newest| newest.pending)).map(
            |release| {
                release.open_operation().map_or_else(
                    || "a Helm operation".to_owned(),
                    |operation| format!("kubectl-rollback {operation}"),
                )
            },
        ),
        stuck: stuck.into_iter().map(|problem| problem.message).collect(),
        open_record: release.and_then(|release| open_record(release, session.context.now())),
        drift: workloads.iter().flat_map(|workload| &workload.containers).any(|container| container.drift),
        ready: workloads.iter().all(|workload| workload.ready),
        workloads,
        missing: snapshot.missing.iter().map(ToString::to_string).collect(),
        owners: snapshot
            .owners
            .iter()
            .map(|owner| StatusOwner {
                kind: owner.kind.to_owned(),
                name: owner.name.clone(),
                effect: match &owner.effect {
                    Effect::Reverts(how) | Effect::RevertsLater(how) => how.clone(),
                    Effect::Paused => "paused, or no automatic sync".to_owned(),
                    Effect::Unknown(why) => format!("not known: {why}"),
                },
            })
            .collect(),
        warnings: snapshot.warnings.clone(),
    }
}

fn open_record(release: &Release, now: jiff::Timestamp) -> Option<OpenRecord> {
    let meta = release.metas.first().filter(|meta| meta.status.is_pending())?;
    let since = meta.modified.or(meta.created);
    Some(OpenRecord {
        revision: meta.revision,
        status: meta.status.to_string(),
        since: since.map(|since| since.to_string()),
        age_seconds: since.map(|since| now.duration_since(since).as_secs()),
        last_writer: meta.last_writer.clone(),
    })
}

fn status_workload(snapshot: &Snapshot, workload: &Workload) -> StatusWorkload {
    let readiness = readiness::of(workload.reference.kind.as_str(), &workload.object);
    let recorded = snapshot.release.as_ref().and_then(|release| release.revisions.first());
    let remembered = workload.annotations.get(REPLICAS_BEFORE).and_then(|number| number.parse().ok());
    let state = match remembered {
        Some(number) => format!("stopped by an interrupted run; it had {number} replicas"),
        None => readiness.state,
    };
    StatusWorkload {
        kind: workload.reference.kind.to_string(),
        name: workload.reference.name.clone(),
        reference: workload.reference.to_string(),
        ready_pods: readiness.ready,
        desired_pods: readiness.desired,
        ready: readiness.done && remembered.is_none(),
        state,
        remembered_replicas: remembered,
        containers: workload
            .containers
            .iter()
            .map(|container| {
                let reference = workload.container_ref(container);
                let recorded =
                    recorded.and_then(|stored| stored.images.get(&reference)).map(ToString::to_string);
                StatusContainer {
                    name: container.name.clone(),
                    image: container.image.clone(),
                    drift: recorded.as_ref().is_some_and(|recorded| *recorded != container.image),
                    recorded,
                }
            })
            .collect(),
    }
}
