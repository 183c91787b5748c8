//! `history`: the stored revisions, which of them were good, and where a bare rollback would go.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Conclusion, Failure, Session, choose};
use crate::cli::HistoryArgs;
use crate::discover::revisions::{History, Revision};
use crate::discover::{self, DiscoverError, Scope, Workload};
use crate::plan::last_good::SkipReason;
use crate::plan::revisions::{Judgement, Judgements};
use crate::ui;

/// Bodies that are read at once below those shown, while the last good revision is not found.
const FURTHER: usize = 4;

/// What `history` says of a release; its machine-readable form is the rows alone, as Helm's.
#[derive(Debug, Clone)]
pub struct HistoryDocument {
    /// The release.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
    /// The revisions that are shown, oldest first.
    pub rows: Vec<HistoryRow>,
    /// Revisions that are stored and not shown.
    pub hidden: usize,
    /// The revision that a bare rollback would choose.
    pub target: Option<u64>,
    /// Why it would do nothing.
    pub nothing: Option<String>,
    /// What plain `helm rollback` would choose, with what speaks against that; `None` where it would fail.
    pub helm_target: Option<(u64, Option<String>)>,
}

/// One revision: Helm's own keys as Helm spells them, and ours.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HistoryRow {
    /// Its number.
    pub revision: u64,
    /// When it was deployed, as Helm stored it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub updated: String,
    /// Its status.
    pub status: String,
    /// `name-version` of the chart.
    pub chart: String,
    /// The chart's `appVersion`.
    pub app_version: String,
    /// What was done.
    pub description: String,
    /// The image of every container.
    pub images: Vec<ContainerImage>,
    /// Whether it really ran and no later revision left it; `null` where it cannot be told.
    pub good: Option<bool>,
    /// What speaks against it as the target of a rollback.
    pub why: Option<String>,
    /// Whether it is the newest.
    pub current: bool,
    /// Whether a bare rollback would choose it.
    pub target: bool,
    /// Whether plain `helm rollback` would choose it.
    #[serde(rename = "helmTarget")]
    pub helm_target: bool,
}

/// The image of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerImage {
    /// The workload's kind.
    pub kind: String,
    /// The workload's name.
    pub name: String,
    /// The container's name.
    pub container: String,
    /// The image.
    pub image: String,
}

/// What `history` says of workloads without a release.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadHistoryDocument {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `WorkloadHistory`.
    pub kind: &'static str,
    /// The namespace.
    pub namespace: String,
    /// The workloads.
    pub workloads: Vec<WorkloadHistory>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// The images that a workload's templates had.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloadHistory {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// `deploy/name`.
    #[serde(skip)]
    pub reference: String,
    /// The present template, then earlier ones, newest first; those that change no image are left out.
    pub templates: Vec<PastTemplate>,
}

/// The images of one pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastTemplate {
    /// Whether it is the present one.
    pub current: bool,
    /// Images by container.
    pub images: BTreeMap<String, String>,
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &HistoryArgs) -> Result<Conclusion, Failure> {
    match Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)? {
        Scope::Release(name) => of_release(session, name.as_deref(), arguments.max).await,
        scope => of_workloads(session, &scope, arguments.max).await,
    }
}

async fn of_release(session: &Session, name: Option<&str>, max: usize) -> Result<Conclusion, Failure> {
    let name = choose::release(session, name).await?;
    let (history, judgements) = session.unless_interrupted(read(session, &name, max)).await?;
    let document = document(session, &history, &judgements, shown(&history, max));
    let own = serde_json::to_value(&document.rows).map_err(anyhow::Error::from)?;
    let names: Vec<String> =
        document.rows.iter().map(|row| format!("release.helm.sh/{name}/{}", row.revision)).collect();
    let text = ui::history_table(session.printer(), &document, session.is_wide(), session.context.now());
    Ok(Conclusion { document: session.document(), text, name: names.join("\n"), own: Some(own) })
}

fn shown(history: &History, max: usize) -> usize {
    if max == 0 { history.metas.len() } else { max.min(history.metas.len()) }
}

async fn read(session: &Session, name: &str, max: usize) -> Result<(History, Judgements), Failure> {
    let (client, namespace) = (&session.context.client, &session.context.namespace);
    let failed = |error| Failure::from(DiscoverError::from(error));
    let mut history = History::find(client, namespace, name, session.driver).await.map_err(|error| {
        failed(error)
            .hinted(format!("kubectl rollback history deploy/NAME -n {namespace}, which reads ReplicaSets"))
    })?;
    if history.metas.is_empty() {
        let error = DiscoverError::NoSuchRecord { namespace: namespace.clone(), name: name.to_owned() };
        return Err(Failure::from(error).hinted(format!("kubectl rollback list -n {namespace}")));
    }
    let mut count = shown(&history, max);
    loop {
        history.read_newest(client, session.driver, count).await.map_err(failed)?;
        let judgements = Judgements::of(&history.metas, &history.read);
        if judgements.is_decided() || history.is_complete() {
            return Ok((history, judgements));
        }
        count = history.read.len() + FURTHER;
    }
}

fn document(session: &Session, history: &History, judgements: &Judgements, shown: usize) -> HistoryDocument {
    let judged = |revision: u64| judgements.revisions.iter().find(|judged| judged.revision == revision);
    let mut rows: Vec<HistoryRow> = history
        .read
        .iter()
        .take(shown)
        .map(|revision| row(revision, judged(revision.meta.revision), judgements))
        .collect();
    if let Some(newest) = rows.first_mut() {
        newest.current = true;
    }
    rows.reverse();
    let against = |revision: u64| judged(revision)?.reason.as_ref().map(ToString::to_string);
    HistoryDocument {
        release: history.release.clone(),
        namespace: session.context.namespace.clone(),
        rows,
        hidden: history.metas.len() - shown,
        target: judgements.target(),
        nothing: judgements.choice.as_ref().err().map(ToString::to_string),
        helm_target: judgements.helm_target.map(|revision| (revision, against(revision))),
    }
}

fn row(revision: &Revision, judged: Option<&Judgement>, judgements: &Judgements) -> HistoryRow {
    let number = revision.meta.revision;
    let blank = HistoryRow {
        revision: number,
        status: revision.meta.status.to_string(),
        why: judged.and_then(|judged| judged.reason.as_ref()).map(ToString::to_string),
        target: judgements.target() == Some(number),
        helm_target: judgements.helm_target == Some(number),
        ..HistoryRow::default()
    };
    let Ok(content) = &revision.content else { return blank };
    let has_failed = matches!(
        judged.and_then(|judged| judged.reason.as_ref()),
        Some(SkipReason::NeverRan(_) | SkipReason::MarkedSupersededButFailed)
    );
    let description = content.facts.description.clone();
    HistoryRow {
        updated: content.updated.clone(),
        chart: content.chart.clone(),
        app_version: content.app_version.clone(),
        images: content
            .images
            .iter()
            .map(|(container, image)| ContainerImage {
                kind: container.workload.kind.to_string(),
                name: container.workload.name.clone(),
                container: container.container.clone(),
                image: image.clone(),
            })
            .collect(),
        good: judged.map(|judged| judged.good),
        why: blank.why.map(|why| if has_failed { format!("{why}: {description}") } else { why }),
        description,
        ..blank
    }
}

async fn of_workloads(session: &Session, scope: &Scope, max: usize) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let read = async { discover::run(context, scope, session.driver).await.map_err(Failure::from) };
    let snapshot = session.unless_interrupted(read).await?;
    let document = WorkloadHistoryDocument {
        api_version: "kubectl-rollback/v1",
        kind: "WorkloadHistory",
        namespace: context.namespace.clone(),
        workloads: snapshot.workloads.iter().map(|workload| templates(workload, max)).collect(),
        warnings: snapshot.warnings,
    };
    let names: Vec<&str> = document.workloads.iter().map(|workload| workload.reference.as_str()).collect();
    let name = names.join("\n");
    let own = serde_json::to_value(&document).map_err(anyhow::Error::from)?;
    let text = ui::workload_history_table(session.printer(), &document);
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

fn templates(workload: &Workload, max: usize) -> WorkloadHistory {
    let present = workload
        .containers
        .iter()
        .map(|container| (container.name.clone(), container.image.clone()))
        .collect();
    let mut templates = vec![PastTemplate { current: true, images: present }];
    for images in &workload.past_images {
        if templates.last().is_some_and(|last| last.images != *images) {
            templates.push(PastTemplate { current: false, images: images.clone() });
        }
    }
    if max > 0 {
        templates.truncate(max);
    }
    WorkloadHistory {
        kind: workload.reference.kind.to_string(),
        name: workload.reference.name.clone(),
        reference: workload.reference.to_string(),
        templates,
    }
}
