//! `db`: where a database is, what an image knows, and the way back.

mod downgrade;

use std::fmt::Write;

use serde::Serialize;

use super::database::{self, BothHeard};
use super::{Conclusion, Failure, Session, choose, survey};
use crate::cli::{DatabaseArgs, DatabaseCommand, Goal, GoalArgs};
use crate::config::{Adapter, DatabaseConfig, Text, Workload};
use crate::database::{Reading, Said, Wanted, position, sql};
use crate::discover::{self, Scope, Snapshot};
use crate::event::{Phase, StageStatus};
use crate::execute::database::{Heard, Place, Trouble, read};
use crate::execute::phase;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::database::{Downgrade, Fit, known_up_to};
use crate::registry::ImageReference;
use crate::report::{API_VERSION, ReleaseResult};
use crate::ui;
use crate::words::counted;

/// The procedure of an operation that takes a database back and leaves the images alone.
pub const DOWNGRADE: &str = "db downgrade";

/// The procedure of a command.
pub fn procedure(command: &DatabaseCommand) -> &'static str {
    match command {
        DatabaseCommand::Current(_) => "db current",
        DatabaseCommand::History(_) => "db history",
        DatabaseCommand::Plan(_) => "db plan",
        DatabaseCommand::Downgrade(_) => DOWNGRADE,
        DatabaseCommand::Verify(_) => "db verify",
    }
}

/// Runs the command.
pub async fn run(session: &Session, command: &DatabaseCommand) -> Result<Conclusion, Failure> {
    match command {
        DatabaseCommand::Current(arguments) => Box::pin(current(session, arguments)).await,
        DatabaseCommand::History(arguments) => Box::pin(history(session, arguments)).await,
        DatabaseCommand::Verify(arguments) => Box::pin(verify(session, arguments)).await,
        DatabaseCommand::Plan(arguments) => Box::pin(plan(session, arguments)).await,
        DatabaseCommand::Downgrade(arguments) => Box::pin(downgrade::run(session, arguments)).await,
    }
}

/// The document of the commands that only look.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    release: Option<&'a str>,
    namespace: &'a str,
    workload: String,
    adapter: Adapter,
    image: &'a str,
    /// Where it was read.
    source: &'a str,
    #[serde(flatten)]
    reading: &'a Reading,
    /// Whether it fits the target: `exact`, `behind`, `ahead`, `needsHuman`; only of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Downgrade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<&'a str>,
}

/// A database that is to be looked at.
pub(super) struct Target {
    pub settings: DatabaseConfig,
    pub snapshot: Snapshot,
    pub place: Place,
}

impl Target {
    fn subject(&self) -> String {
        self.snapshot.release_name.clone().unwrap_or_else(|| self.place.workload.to_string())
    }

    fn document<'a>(&'a self, session: &'a Session, heard: &'a Heard) -> Document<'a> {
        Document {
            api_version: API_VERSION,
            kind: "Database",
            release: self.snapshot.release_name.as_deref(),
            namespace: &session.context.namespace,
            workload: self.place.workload.to_string(),
            adapter: self.settings.adapter,
            image: &self.place.image,
            source: &heard.source,
            reading: &heard.reading,
            fit: None,
            target_image: None,
            plan: None,
            sql: None,
        }
    }

    fn conclude(
        &self,
        session: &Session,
        document: &Document<'_>,
        text: String,
    ) -> Result<Conclusion, Failure> {
        let mut result = session.document();
        result.release = self.snapshot.release_name.clone().map(|name| ReleaseResult {
            name,
            from_revision: None,
            to_revision: None,
            new_revision: None,
            tag: None,
        });
        Ok(Conclusion {
            document: result,
            text,
            name: position(&document.reading.at),
            own: Some(serde_json::to_value(document).map_err(anyhow::Error::from)?),
        })
    }
}

/// How it is run: by the command line, else by the configuration.
async fn settings(session: &Session, arguments: &DatabaseArgs) -> Result<DatabaseConfig, Failure> {
    let configured = session.config().await?.config.database.clone();
    let given = arguments.workload.clone().map(Workload);
    let text = |text: &String| text.parse::<Text>().map_err(Failure::usage);
    let container = arguments.container.as_ref().map(text).transpose()?;
    match (configured, given, arguments.adapter) {
        (Some(configured), given, adapter) if adapter.is_none_or(|adapter| adapter == configured.adapter) => {
            let container = if given.is_some() { container } else { configured.container.clone() };
            Ok(DatabaseConfig {
                workload: given.unwrap_or_else(|| configured.workload.clone()),
                container,
                ..configured
            })
        }
        (_, _, Some(Adapter::Command)) => Err(Failure::usage(
            "--adapter command needs commands, which only the configuration can name; nothing was read",
        )
        .hinted("kubectl rollback config validate   # docs/database.md says what belongs there")),
        (configured, given, Some(adapter)) => {
            let workload = given.or(configured.map(|configured| configured.workload)).ok_or_else(unknown)?;
            Ok(DatabaseConfig { container, ..DatabaseConfig::of(adapter, workload) })
        }
        _ => Err(unknown()),
    }
}

fn unknown() -> Failure {
    Failure::usage("which program keeps the migrations, and where it runs, is not known: the configuration has no section database; nothing was read")
        .hinted("kubectl rollback db current --adapter alembic --workload deploy/NAME")
}

/// Reads the cluster.
async fn find(session: &Session, arguments: &DatabaseArgs) -> Result<Target, Failure> {
    let settings = settings(session, arguments).await?;
    let scope = match (arguments.subjects.as_slice(), &arguments.workload) {
        ([], Some(workload)) => Scope::Workloads(vec![workload.clone()]),
        (subjects, _) => Scope::read(subjects, None).map_err(Failure::usage)?,
    };
    session.start(scope.release(), "the database");
    let snapshot = choose::with_release(session, &scope, async |scope| {
        let discovery = discover::run(&session.context, scope, session.driver);
        session.unless_interrupted(Box::pin(survey::read(session, discovery))).await
    })
    .await?;
    for warning in &snapshot.warnings {
        session.context.warn(warning.clone());
    }
    let workload = database::workload(&settings, &snapshot.workloads, snapshot.release_name.as_deref())?;
    let place = Place::of(&settings, workload).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Target { settings, snapshot, place })
}

/// A program that cannot be heard needs somebody who looks.
fn unheard(session: &Session, trouble: &Trouble) -> Failure {
    let error = anyhow::anyhow!("{trouble}; nothing was changed");
    let failure = Failure::new(ExitCode::DatabaseFailed, Outcome::DatabaseFailed, error);
    match trouble {
        Trouble::Create { .. } => {
            failure.hinted(format!("kubectl auth can-i create jobs -n {}", session.context.namespace))
        }
        _ => failure,
    }
}

/// Runs what only reads, as the phase of the database.
async fn reading<T>(
    session: &Session,
    about: &str,
    work: impl Future<Output = Result<T, Trouble>>,
    told: impl Fn(&T) -> String,
) -> Result<T, Failure> {
    phase(&session.context, Phase::Database, about, async {
        let answer = work.await;
        let (status, message) = match &answer {
            Ok(heard) => (StageStatus::Done, told(heard)),
            Err(trouble) => (StageStatus::Failed, trouble.to_string()),
        };
        (answer, status, message)
    })
    .await
    .map_err(|trouble| unheard(session, &trouble))
}

async fn look(session: &Session, target: &Target) -> Result<Heard, Failure> {
    let about = format!("asking {} in {}", target.settings.adapter.as_str(), target.place.image);
    let work = read(&session.context, &target.settings, &target.place, Wanted::Database, "current");
    Box::pin(reading(session, &about, work, |heard| format!("read in {}", heard.source))).await
}

async fn current(session: &Session, arguments: &DatabaseArgs) -> Result<Conclusion, Failure> {
    let target = find(session, arguments).await?;
    let heard = look(session, &target).await?;
    let text = format!(
        "{}: {}\n  {} of {}, read in {}",
        target.subject(),
        ui::database_position(&heard.reading),
        target.settings.adapter.as_str(),
        target.place.image,
        heard.source
    );
    target.conclude(session, &target.document(session, &heard), text)
}

async fn history(session: &Session, arguments: &DatabaseArgs) -> Result<Conclusion, Failure> {
    let target = find(session, arguments).await?;
    let heard = look(session, &target).await?;
    let text = ui::database_history(session.printer(), &heard.reading);
    target.conclude(session, &target.document(session, &heard), text)
}

async fn verify(session: &Session, arguments: &DatabaseArgs) -> Result<Conclusion, Failure> {
    let target = find(session, arguments).await?;
    let heard = look(session, &target).await?;
    let verdict = crate::plan::database::own_fit(target.settings.adapter, &heard.reading);
    let image = &target.place.image;
    let printer = session.printer();
    let text = match &verdict {
        Ok(at) => format!(
            "{} {}: the database is at {at}, the newest migration of {image}",
            printer.good("✔"),
            target.subject()
        ),
        Err(why) => format!("{} {}: {why} ({image})", printer.bad("✘"), target.subject()),
    };
    let mut conclusion = target.conclude(session, &target.document(session, &heard), text)?;
    if let Err(why) = verdict {
        conclusion.document.outcome = Outcome::VerificationFailed;
        conclusion.document.exit_code = ExitCode::VerificationFailed.code();
        conclusion.document.error = Some(format!("verification failed: {why}"));
    }
    Ok(conclusion)
}

/// The way to a goal.
pub(super) struct Way {
    pub current: Heard,
    pub target_image: Option<String>,
    pub fit: Fit,
    /// The way back in SQL, where it was asked.
    sql: Option<Vec<Said>>,
}

/// Finds the way to a goal.
async fn way(session: &Session, target: &Target, goal: &Goal) -> Result<Way, Failure> {
    let Some(image) = target_image(target, goal)? else {
        let goal = goal.to.as_deref().unwrap_or_default();
        let mut current = look(session, target).await?;
        let adapter = target.settings.adapter;
        let known = known_up_to(adapter, &current.reading, goal);
        let known = known.map_err(|why| Failure::usage(format!("{why}; nothing was changed")))?;
        let (settings, place) = (&target.settings, &target.place);
        let asked = database::way_back(session, settings, place, &mut current.reading, &known);
        let (fit, sql) = Box::pin(asked).await;
        return Ok(Way { current, target_image: None, fit, sql });
    };
    let about = format!("asking {} in {} and {image}", target.settings.adapter.as_str(), target.place.image);
    let work = database::compare(session, &target.settings, &target.place, &image);
    let told = |heard: &BothHeard| format!("read in {} and {}", heard.current.source, heard.target.source);
    let BothHeard { current, fit, sql, .. } = reading(session, &about, Box::pin(work), told).await?;
    Ok(Way { current, target_image: Some(image), fit, sql })
}

/// The image whose newest migration is the goal; `None` where a migration was named.
fn target_image(target: &Target, goal: &Goal) -> Result<Option<String>, Failure> {
    let place = &target.place;
    if let Some(tag) = &goal.tag {
        let now: ImageReference = place
            .image
            .parse()
            .map_err(|error| Failure::usage(format!("{}: {error}; nothing was read", place.image)))?;
        return Ok(Some(now.with_tag(tag).to_string()));
    }
    let Some(revision) = goal.to_revision else { return Ok(None) };
    let release = target.snapshot.release.as_ref();
    let stored =
        release.and_then(|release| release.revisions.iter().find(|stored| stored.revision == revision));
    let image = stored.and_then(|stored| {
        let wanted = |(container, _): &(&crate::workload::ContainerRef, &ImageReference)| {
            container.workload == place.workload && container.container == place.container
        };
        stored.images.iter().find(wanted).map(|(_, image)| image.to_string())
    });
    image.map(Some).ok_or_else(|| {
        let name = target.snapshot.release_name.as_deref().unwrap_or_default();
        Failure::usage(format!(
            "revision {revision} does not tell which image {} of {} had; nothing was read",
            place.container, place.workload
        ))
        .hinted(format!("kubectl rollback history {name} -n {}", place.workload.namespace).replace("  ", " "))
    })
}

/// What there is nothing to do about, or what no program may decide.
fn without_a_way(fit: &Fit, current: &Reading, image: &str) -> Result<String, Failure> {
    let at = current.position();
    match fit {
        Fit::Exact => Ok(format!("the database is at {at}, where {image} wants it; nothing is to be undone")),
        Fit::Behind(missing) => Ok(format!(
            "the database is at {at}, and {image} brings {} along; nothing is to be undone",
            position(missing)
        )),
        Fit::Ahead(_) => Ok(String::new()),
        Fit::NeedsHuman(why) => {
            let error = anyhow::anyhow!("{why}; nothing was changed");
            Err(Failure::new(ExitCode::DatabaseFailed, Outcome::DatabaseFailed, error))
        }
    }
}

async fn plan(session: &Session, arguments: &GoalArgs) -> Result<Conclusion, Failure> {
    let target = find(session, &arguments.database).await?;
    let mut way = way(session, &target, &arguments.goal).await?;
    let sql = way.sql.take();
    let goal = way.target_image.clone().or_else(|| arguments.goal.to.clone()).unwrap_or_default();
    let mut document = target.document(session, &way.current);
    document.target_image = way.target_image.as_deref();
    let Fit::Ahead(downgrade) = &way.fit else {
        let text = without_a_way(&way.fit, &way.current.reading, &goal)?;
        document.fit = Some(if way.fit == Fit::Exact { "exact" } else { "behind" });
        let mut conclusion = target.conclude(session, &document, format!("{}: {text}", target.subject()))?;
        conclusion.document.outcome = Outcome::Unchanged;
        return Ok(conclusion);
    };
    let sql = sql_of(session, &target, downgrade, sql).await;
    (document.fit, document.plan) = (Some("ahead"), Some(downgrade));
    document.sql = sql.as_deref().ok();
    let uses = downgrade::users(&target);
    let step =
        database::step(&target.settings, &target.place, way.target_image.as_deref(), downgrade.clone(), uses);
    let mut text = format!("PLAN  {}\n", target.subject());
    if let Some(image) = &way.target_image {
        let _ = writeln!(text, "  target image {image} knows up to {}", position(&downgrade.to));
    }
    text.push_str(&ui::database_plan(session.printer(), &step));
    match &sql {
        Ok(sql) => {
            text.push_str("  SQL that it would run:\n");
            text.extend(sql.lines().map(|line| format!("    {line}\n")));
        }
        Err(why) => {
            let _ = writeln!(text, "  SQL: {why}");
        }
    }
    let mut conclusion = target.conclude(session, &document, text.trim_end().to_owned())?;
    conclusion.document.outcome = Outcome::Planned;
    let release = target.snapshot.release_name.as_deref().unwrap_or_default();
    let namespace = &session.context.namespace;
    if let Some(tag) = &arguments.goal.tag {
        conclusion.document.next.push(
            format!("kubectl rollback emergency {release} --tag {tag} --db-downgrade -n {namespace}")
                .replace("  ", " "),
        );
    }
    Ok(conclusion)
}

/// The SQL of a downgrade, or why there is none to show.
async fn sql_of(
    session: &Session,
    target: &Target,
    downgrade: &Downgrade,
    said: Option<Vec<Said>>,
) -> Result<String, String> {
    let count = sql(&target.settings, downgrade).len();
    if count == 0 {
        return Err(format!("{} cannot print it without running it", target.settings.adapter.as_str()));
    }
    let said = if let Some(said) = said {
        said
    } else {
        let asked = database::ask_for_sql(session, &target.settings, &target.place, downgrade).await;
        asked.map_err(|trouble| trouble.to_string())?
    };
    if let Some(failed) = said.iter().find(|said| said.code != 0) {
        return Err(format!("it could not be printed: {}", crate::database::last_line(&failed.stderr)));
    }
    if said.len() < count {
        return Err(format!("only {} printed it", counted(said.len(), "command")));
    }
    let text: String = said.iter().map(|said| said.stdout.trim()).collect::<Vec<_>>().join("\n");
    Ok(text.trim().to_owned())
}
