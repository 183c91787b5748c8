//! What the commands that touch a database have in common: where its program is run, what it says, and what follows for a
//! plan.

use super::{Failure, Session};
use crate::cli::DryRun;
use crate::config::DatabaseConfig;
use crate::database::{Question, Reading, Said, Wanted, one_way, position, sql, sql_tells_the_way};
use crate::discover::rollback::RollbackSnapshot;
use crate::discover::{Snapshot, Workload};
use crate::event::{Finding, FindingStatus};
use crate::execute::database::{Heard, Place, Trouble, ask as ask_program, read};
use crate::helm::manifest::Manifest;
use crate::plan::Plan;
use crate::plan::database::{DatabasePlan, Downgrade, Fit, add, add_to_rollback, fit};
use crate::plan::rollback::RollbackPlan;
use crate::preflight::schema::{self, Compared};
use crate::workload::{ContainerRef, WorkloadRef};

/// What is to become of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseWish {
    /// It is no matter: not even the configuration is asked whether there is one.
    NoMatter,
    /// Nothing is asked, since that makes pods.
    NotAsked,
    /// It is said whether it fits.
    Checked,
    /// It goes back where it has to.
    TakenBack,
}

impl DatabaseWish {
    /// What the flags ask for: a dry run makes no pods.
    pub fn of(dry_run: DryRun, takes_back: bool) -> Self {
        match (dry_run, takes_back) {
            (DryRun::None, true) => Self::TakenBack,
            (DryRun::None, false) => Self::Checked,
            _ => Self::NotAsked,
        }
    }
}

/// What is asked before a database goes back and something else is done.
pub fn question(step: &DatabasePlan, and: &str, place: &str) -> String {
    let to = position(&step.downgrade.to);
    format!(
        "Take the database back to {to} and {and} in {place}? What the migrations drop is in a backup, or lost."
    )
}

/// The workload in whose environment the program is run.
pub fn workload<'a>(
    settings: &DatabaseConfig,
    workloads: &'a [Workload],
    release: Option<&str>,
) -> Result<&'a Workload, Failure> {
    let wanted = &settings.workload.0;
    workloads.iter().find(|workload| wanted.selects(&workload.reference)).ok_or_else(|| {
        let of = release.map(|name| format!(" of release {name}")).unwrap_or_default();
        let names: Vec<String> = workloads.iter().map(|workload| workload.reference.to_string()).collect();
        Failure::usage(format!(
            "{} is none of the workloads{of}: {}; nothing was changed",
            settings.workload,
            names.join(", ")
        ))
    })
}

/// What both images say.
pub struct BothHeard {
    /// What the image that runs says about the database.
    pub current: Heard,
    /// What the target image knows.
    pub target: Heard,
    /// Whether the database fits the target.
    pub fit: Fit,
    /// The way back in SQL, where it was asked.
    pub sql: Option<Vec<Said>>,
}

/// Asks the image that runs where the database is, and the target image what it knows, both at once.
pub async fn compare(
    session: &Session,
    settings: &DatabaseConfig,
    place: &Place,
    target_image: &str,
) -> Result<BothHeard, Trouble> {
    let context = &session.context;
    let target_place = place.in_image(target_image);
    let current = read(context, settings, place, Wanted::Database, "current");
    let target = read(context, settings, &target_place, Wanted::Image, "target");
    let (current, target) = futures::join!(current, target);
    let (mut current, target) = (current?, target?);
    let (fit, sql) = way_back(session, settings, place, &mut current.reading, &target.reading).await;
    Ok(BothHeard { current, target, fit, sql })
}

/// Whether the database fits what `known` knows, and the way back in SQL, where only that tells whether there is one. What
/// cannot be undone is marked in `current`.
pub async fn way_back(
    session: &Session,
    settings: &DatabaseConfig,
    place: &Place,
    current: &mut Reading,
    known: &Reading,
) -> (Fit, Option<Vec<Said>>) {
    let fitting = fit(settings.adapter, current, known);
    let Fit::Ahead(downgrade) = &fitting else { return (fitting, None) };
    if !sql_tells_the_way(settings.adapter) {
        return (fitting, None);
    }
    // Where it cannot be asked, the downgrade itself tells.
    let Ok(said) = ask_for_sql(session, settings, place, downgrade).await else { return (fitting, None) };
    let one_way = one_way(settings.adapter, downgrade, &said);
    if one_way.is_empty() {
        return (fitting, Some(said));
    }
    for migration in &mut current.known {
        migration.irreversible |= one_way.contains(&migration.id);
    }
    (fit(settings.adapter, current, known), None)
}

/// Asks for the SQL of a downgrade; no answer where the program cannot print it.
pub async fn ask_for_sql(
    session: &Session,
    settings: &DatabaseConfig,
    place: &Place,
    downgrade: &Downgrade,
) -> Result<Vec<Said>, Trouble> {
    let questions: Vec<_> =
        sql(settings, downgrade).into_iter().map(|words| (Question::Sql, words)).collect();
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let (said, _) = Box::pin(ask_program(&session.context, settings, place, &questions, "sql")).await?;
    Ok(said)
}

/// The workloads that are stopped while the database goes back: those that the configuration names, else all whose images
/// change, and always the one whose program it is.
pub fn uses(settings: &DatabaseConfig, workloads: &[Workload], changed: &[WorkloadRef]) -> Vec<WorkloadRef> {
    let is_named = |reference: &WorkloadRef| settings.uses.iter().any(|named| named.0.selects(reference));
    let all = workloads.iter().map(|workload| &workload.reference);
    let used = all.filter(|reference| {
        settings.workload.0.selects(reference)
            || if settings.uses.is_empty() { changed.contains(reference) } else { is_named(reference) }
    });
    used.cloned().collect()
}

/// Names of `uses` that are none of the workloads.
fn unknown_users(settings: &DatabaseConfig, workloads: &[Workload]) -> Vec<String> {
    let is_known = |named: &crate::config::Workload| {
        workloads.iter().any(|workload| named.0.selects(&workload.reference))
    };
    settings.uses.iter().filter(|named| !is_known(named)).map(ToString::to_string).collect()
}

/// The database step of a plan.
pub fn step(
    settings: &DatabaseConfig,
    place: &Place,
    target_image: Option<&str>,
    downgrade: Downgrade,
    uses: Vec<WorkloadRef>,
) -> DatabasePlan {
    DatabasePlan {
        settings: settings.clone(),
        workload: place.workload.clone(),
        uid: place.uid.clone(),
        container: place.container.clone(),
        image: place.image.clone(),
        target_image: target_image.map(str::to_owned),
        downgrade,
        uses,
    }
}

/// Where nobody is asked, somebody must have said that there is a backup.
pub fn consent(session: &Session, has_backup: bool) -> Result<(), Failure> {
    if !session.output.yes || has_backup {
        return Ok(());
    }
    let message = "with --yes, taking the database back needs --i-have-a-backup; nothing was changed";
    Err(Failure::not_confirmed(message)
        .hinted("add --i-have-a-backup where there is one, or leave --yes away to be asked"))
}

/// What is asked about a database that goes along with a plan.
struct Asked<'a> {
    settings: &'a DatabaseConfig,
    place: &'a Place,
    target_image: &'a str,
    wish: DatabaseWish,
    /// The command that looks closer.
    how: String,
}

/// What is said about it, and the way back that is to be gone.
async fn ask(session: &Session, asked: &Asked<'_>) -> (Finding, Option<Downgrade>) {
    let Asked { settings, place, target_image, wish, how } = asked;
    let compared = if *wish == DatabaseWish::NotAsked {
        Compared::NotAsked
    } else {
        match Box::pin(compare(session, settings, place, target_image)).await {
            Ok(heard) => Compared::Known { current: heard.current.reading, fit: heard.fit },
            Err(trouble) => Compared::Unreadable(trouble.to_string()),
        }
    };
    let takes_back = *wish == DatabaseWish::TakenBack;
    let finding = schema::finding(&place.workload, target_image, &compared, takes_back, how);
    let way = match compared {
        Compared::Known { fit: Fit::Ahead(downgrade), .. } if takes_back => Some(downgrade),
        _ => None,
    };
    (finding, way)
}

/// The settings, where there are any; taking a database back needs them.
async fn configured(session: &Session, wish: DatabaseWish) -> Result<Option<DatabaseConfig>, Failure> {
    if wish == DatabaseWish::NoMatter {
        return Ok(None);
    }
    let settings = session.config().await?.config.database.clone();
    if settings.is_none() && wish == DatabaseWish::TakenBack {
        let message = "--db-downgrade needs to know the database: the configuration has no section database; nothing was changed";
        return Err(Failure::usage(message)
            .hinted("kubectl rollback config validate   # docs/database.md says what belongs there"));
    }
    Ok(settings)
}

/// What is said of a way back: names of the configuration that are no workloads here, and why something cannot be stopped.
fn said_of_step(
    about: &Finding,
    settings: &DatabaseConfig,
    workloads: &[Workload],
    added: Result<(), String>,
) -> Vec<Finding> {
    let unknown = unknown_users(settings, workloads).into_iter().map(|subject| Finding {
        status: FindingStatus::Warn,
        message:
            "uses the database by the configuration, but is not among these workloads: it is not stopped"
                .to_owned(),
        subject,
        hint: String::new(),
        ..about.clone()
    });
    let refused =
        added.err().map(|why| Finding { status: FindingStatus::Fail, message: why, ..about.clone() });
    unknown.chain(refused).collect()
}

/// Checks whether the database fits the images of an emergency, where the configuration names one and the plan changes the
/// image of its workload; takes it back where that is wished. Answers what is to be said about it.
pub async fn check(
    session: &Session,
    plan: &mut Plan,
    snapshot: &Snapshot,
    wish: DatabaseWish,
) -> Result<Vec<Finding>, Failure> {
    let Some(settings) = configured(session, wish).await? else { return Ok(Vec::new()) };
    let of = snapshot.release_name.as_deref();
    let workload = workload(&settings, &snapshot.workloads, of)?;
    let place = Place::of(&settings, workload).map_err(|error| Failure::usage(error.to_string()))?;
    let planned = plan.workloads.iter().find(|planned| planned.workload == place.workload);
    let change = planned.and_then(|planned| {
        planned.containers.iter().find(|change| !change.init && change.name == place.container)
    });
    let Some(target_image) = change.map(|change| change.to.to_string()) else { return Ok(Vec::new()) };
    let how = how_to_look(session, of, plan.tag.as_ref().map(|tag| format!("--tag {tag}")));
    let asked = Asked { settings: &settings, place: &place, target_image: &target_image, wish, how };
    let (finding, way) = ask(session, &asked).await;
    let mut findings = vec![finding];
    if let Some(downgrade) = way {
        let changed: Vec<WorkloadRef> =
            plan.workloads.iter().map(|planned| planned.workload.clone()).collect();
        let uses = uses(&settings, &snapshot.workloads, &changed);
        let step = step(&settings, &place, Some(&target_image), downgrade, uses);
        let added = add(plan, step, snapshot);
        findings.extend(said_of_step(&findings[0], &settings, &snapshot.workloads, added));
    }
    Ok(findings)
}

/// The same for a rollback to a stored revision.
pub async fn check_rollback(
    session: &Session,
    plan: &mut RollbackPlan,
    snapshot: &RollbackSnapshot,
    wish: DatabaseWish,
) -> Result<Vec<Finding>, Failure> {
    let Some(settings) = configured(session, wish).await? else { return Ok(Vec::new()) };
    let workloads: Vec<Workload> = snapshot.of_release().cloned().collect();
    let workload = workload(&settings, &workloads, Some(&snapshot.name))?;
    let place = Place::of(&settings, workload).map_err(|error| Failure::usage(error.to_string()))?;
    let images = Manifest::parse(snapshot.target.record.manifest(), &plan.namespace).images();
    let target_of = |workload: &Workload, container: &str| {
        let name = ContainerRef { workload: workload.reference.clone(), container: container.to_owned() };
        images.get(&name)
    };
    let target_image = target_of(workload, &place.container).filter(|image| **image != place.image).cloned();
    let Some(target_image) = target_image else { return Ok(Vec::new()) };
    let goal = format!("--to-revision {}", plan.target_revision);
    let how = how_to_look(session, Some(&snapshot.name), Some(goal));
    let asked = Asked { settings: &settings, place: &place, target_image: &target_image, wish, how };
    let (finding, way) = ask(session, &asked).await;
    let mut findings = vec![finding];
    if let Some(downgrade) = way {
        let changes = |workload: &&Workload| {
            workload.containers.iter().any(|container| {
                target_of(workload, &container.name).is_some_and(|image| *image != container.image)
            })
        };
        let changed: Vec<WorkloadRef> =
            workloads.iter().filter(changes).map(|workload| workload.reference.clone()).collect();
        let uses = uses(&settings, &workloads, &changed);
        let step = step(&settings, &place, Some(&target_image), downgrade, uses);
        let added = add_to_rollback(plan, step, snapshot);
        findings.extend(said_of_step(&findings[0], &settings, &workloads, added));
    }
    Ok(findings)
}

/// The command that shows more of it.
fn how_to_look(session: &Session, release: Option<&str>, goal: Option<String>) -> String {
    let words = [
        "kubectl rollback db plan",
        release.unwrap_or_default(),
        &goal.unwrap_or_default(),
        "-n",
        &session.context.namespace,
    ];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}
