//! `tags`: the tags in the registry for the application's images, and which of them were deployed when.

use serde::Serialize;

use super::{Conclusion, Failure, Session, choose};
use crate::cli::TagsArgs;
use crate::discover::{self, Scope, tags};
use crate::outcome::{ExitCode, Outcome};
use crate::plan::tags::{self as planning, Repository, TagRow};
use crate::report::API_VERSION;
use crate::ui;

/// Tags that are read of one repository: the registry's order says nothing about their age, so that all are wanted.
const MOST: usize = 20_000;

/// What `tags` says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagsDocument {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `TagList`.
    pub kind: &'static str,
    /// The release, where there is one.
    pub release: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// What was asked for.
    pub repositories: Vec<RepositoryAnswer>,
    /// The tags that are shown, in the order of the table.
    pub tags: Vec<TagRow>,
    /// Tags that are not shown.
    pub hidden: usize,
    /// Repositories of the release whose tag never changed, and that were not asked for.
    pub not_asked: Vec<String>,
}

/// What became of the question for one repository.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryAnswer {
    /// The repository.
    pub repository: String,
    /// How many tags its registry has, as far as they were read; `null` where that is not known.
    pub tags: Option<usize>,
    /// Whether the registry has more.
    pub more: bool,
    /// Why they are not known.
    pub problem: Option<String>,
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &TagsArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let scope = Scope::read(&arguments.subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
    let snapshot = choose::with_release(session, &scope, async |scope| {
        let read = async { Ok(Box::pin(discover::run(context, scope, session.driver)).await?) };
        session.unless_interrupted(read).await
    })
    .await?;
    let (wanted, not_asked) = select(planning::repositories(&snapshot), &arguments.repository)?;
    let asking = async { Ok(Box::pin(tags::ask(context, &snapshot, wanted, MOST)).await) };
    let asked = session.unless_interrupted(asking).await?;

    let mut rows = planning::rows(&asked);
    let all = rows.len();
    if !arguments.all {
        let mut left = arguments.max;
        rows.retain(|row| {
            let is_used = row.current || row.ran || !row.deployed.is_empty();
            let is_shown = is_used || left > 0;
            left = left.saturating_sub(1);
            is_shown
        });
    }
    let document = TagsDocument {
        api_version: API_VERSION,
        kind: "TagList",
        release: snapshot.release_name.clone(),
        namespace: context.namespace.clone(),
        repositories: asked
            .iter()
            .map(|asked| RepositoryAnswer {
                repository: asked.repository.name.clone(),
                tags: asked.tags.as_ref().ok().map(Vec::len),
                more: asked.more,
                problem: asked.tags.as_ref().err().cloned(),
            })
            .collect(),
        hidden: all - rows.len(),
        tags: rows,
        not_asked,
    };
    conclude(session, &document)
}

/// The repositories to ask for: those named, else those whose tag changes, else all; and the rest.
fn select(
    repositories: Vec<Repository>,
    named: &[String],
) -> Result<(Vec<Repository>, Vec<String>), Failure> {
    let names = |list: &[Repository]| list.iter().map(|one| one.name.clone()).collect::<Vec<String>>();
    if let Some(unknown) = named.iter().find(|name| !repositories.iter().any(|one| one.name == **name)) {
        return Err(Failure::usage(format!(
            "nothing here pulls from {unknown}; there is {}",
            names(&repositories).join(", ")
        )));
    }
    let is_wanted = |one: &Repository| if named.is_empty() { one.moves() } else { named.contains(&one.name) };
    let (wanted, rest): (Vec<Repository>, Vec<Repository>) = repositories.into_iter().partition(is_wanted);
    Ok(if wanted.is_empty() { (rest, Vec::new()) } else { (wanted, names(&rest)) })
}

/// Exit code 0 where any registry answered.
fn conclude(session: &Session, document: &TagsDocument) -> Result<Conclusion, Failure> {
    let mut result = session.document();
    result.outcome = Outcome::Succeeded;
    let problems: Vec<String> = document
        .repositories
        .iter()
        .filter_map(|answer| Some(format!("{}: {}", answer.repository, answer.problem.as_ref()?)))
        .collect();
    if !problems.is_empty() && problems.len() == document.repositories.len() {
        (result.outcome, result.exit_code) = (Outcome::Failed, ExitCode::Unexpected.code());
        result.error = Some(format!("no registry told its tags: {}", problems.join("; ")));
    }
    Ok(Conclusion {
        document: result,
        text: ui::tags_table(session.printer(), document, session.context.now(), session.is_wide()),
        name: document.tags.iter().map(|row| row.tag.as_str()).collect::<Vec<_>>().join("\n"),
        own: Some(serde_json::to_value(document).map_err(anyhow::Error::from)?),
    })
}
