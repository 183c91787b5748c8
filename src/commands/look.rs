//! What `to`, `diff` and `plan` have in common: from arguments to a plan that the server has been asked about.

use anyhow::anyhow;

use super::database::{self, DatabaseWish};
use super::forbidden::name_rights;
use super::{Failure, Session, choose};
use crate::cli::{DryRun, OutputFormat, TargetArgs};
use crate::discover::rollback::{self, RollbackError, RollbackSnapshot, Wanted};
use crate::event::{EventKind, Finding, FindingStatus, Phase, StageStatus};
use crate::execute::phase;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::rollback::forecast::{self, Forecast, ObjectDiff};
use crate::plan::rollback::saved::{self, SavedPlan};
use crate::plan::rollback::{self as planning, Request, RollbackPlan};
use crate::preflight::{self, rules::Extent};
use crate::ui::{self, RollbackScreen};
use crate::words::counted;

/// Which release, which revision, and what else was asked for.
pub struct Wish {
    release: Option<String>,
    wanted: Wanted,
    request: Request,
    saved: Option<SavedPlan>,
    /// What will be done beside the plan.
    pub extent: Extent,
    /// What it means that somebody else is at work on the release.
    pub in_progress: FindingStatus,
    /// What is to become of the database.
    pub database: DatabaseWish,
    gives_way: bool,
}

impl Wish {
    /// Reads the arguments.
    pub fn of(session: &Session, arguments: &TargetArgs, description: Option<&str>) -> Self {
        // `to 5` means the revision: a release is rarely called by a number, and can be named with a revision behind it.
        let (release, revision) = match (&arguments.release, arguments.revision) {
            (Some(only), None) if only.parse::<u64>().is_ok_and(|number| number > 0) => {
                (None, only.parse().ok())
            }
            (release, revision) => (release.clone(), revision),
        };
        let reason = match (&session.output.reason, &session.output.incident) {
            (Some(reason), Some(incident)) => Some(format!("{reason} ({incident})")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        let choice = &arguments.choice;
        let wanted = Wanted {
            revision,
            tag: choice.tag.clone(),
            noted: false,
            before: choice.before.map(|moment| moment.resolve(session.context.now())),
            chart_version: choice.chart_version.clone(),
            helm_compat: choice.helm_compat,
            allow_failed: choice.allow_failed_revision,
            below: None,
        };
        let request = Request {
            keep_replicas: choice.keep_replicas,
            allow_delete: choice.allow_delete.clone(),
            no_hooks: choice.no_hooks,
            restart: choice.restart,
            force_replace: choice.force_replace,
            description: description.map(str::to_owned),
            reason,
        };
        Self {
            release,
            wanted,
            request,
            saved: None,
            extent: Extent { records: Some(session.driver), ..Extent::default() },
            in_progress: FindingStatus::Warn,
            database: DatabaseWish::NotAsked,
            gives_way: false,
        }
    }

    /// What a saved plan asks for.
    pub fn of_saved(session: &Session, saved: SavedPlan) -> Self {
        let wanted =
            Wanted { revision: Some(saved.plan.target_revision), allow_failed: true, ..Wanted::default() };
        let (release, request) = (Some(saved.plan.release.clone()), saved.request.clone());
        Self {
            release,
            wanted,
            request,
            saved: Some(saved),
            extent: Extent { records: Some(session.driver), ..Extent::default() },
            in_progress: FindingStatus::Warn,
            database: DatabaseWish::NotAsked,
            gives_way: false,
        }
    }

    /// Says that the revision was noted before a deploy, where there is one: nobody has named it.
    pub fn note(&mut self) {
        self.wanted.noted = true;
    }

    /// Says that it is no failure if no revision is good: something else is done then.
    pub fn give_way(&mut self) {
        self.gives_way = true;
    }

    /// The release's name, where it was given.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// What was asked for beside the target.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The target in words.
    pub fn target(&self) -> String {
        match &self.wanted {
            Wanted { revision: Some(revision), .. } => format!("revision {revision}"),
            Wanted { tag: Some(tag), .. } => format!("the last good revision with tag {tag}"),
            Wanted { before: Some(time), .. } => format!("the good revision of {time}"),
            Wanted { chart_version: Some(version), .. } => {
                format!("the last good revision of chart version {version}")
            }
            Wanted { helm_compat: true, .. } => "the revision before the current one".to_owned(),
            _ => "the last good revision".to_owned(),
        }
    }
}

/// A plan with everything that is known about it.
pub struct Look {
    /// What was found.
    pub snapshot: RollbackSnapshot,
    /// What will be done.
    pub plan: RollbackPlan,
    /// What the server says of each object.
    pub forecast: Forecast,
    /// What it makes of each object, field by field.
    pub differences: Vec<ObjectDiff>,
    /// Results of the checks.
    pub findings: Vec<Finding>,
}

impl Look {
    /// Whether a check says that it cannot work.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.status == FindingStatus::Fail)
    }

    /// The screen of the plan.
    pub fn screen(&self, session: &Session, title: &str) -> String {
        let screen = RollbackScreen {
            snapshot: &self.snapshot,
            plan: &self.plan,
            differences: &self.differences,
            findings: &self.findings,
            context: &session.context.context_name,
            now: session.context.now(),
            title,
        };
        ui::rollback_screen(session.printer(), &screen)
    }

    /// Prints the plan on stderr, unless a machine reads along.
    pub fn show(&self, session: &Session, title: &str) {
        if session.output.output != OutputFormat::Jsonl {
            session.printer().talk(&self.screen(session, title));
        }
    }
}

/// Reads, plans and asks the server. `dry_run=client` leaves the server's word out.
pub async fn look(session: &Session, wish: &mut Wish, dry_run: DryRun) -> Result<Look, Failure> {
    let context = &session.context;
    wish.extent.database = wish.database != DatabaseWish::NoMatter && session.knows_a_database().await?;
    let snapshot = match Box::pin(read(session, wish)).await {
        Ok(snapshot) => snapshot,
        Err(failure) => return Err(Box::pin(name_rights(session, failure, wish.extent)).await),
    };
    for warning in &snapshot.warnings {
        context.warn(warning.clone());
    }
    let mut plan = phase(context, Phase::Plan, "deciding what to do", async {
        let plan = planning::plan(&wish.request, &snapshot);
        let message = format!("revision {} as revision {}", plan.target_revision, plan.new_revision);
        (plan, StageStatus::Done, message)
    })
    .await;
    let (forecast, findings) = session
        .unless_interrupted(Box::pin(ask_the_server(session, &snapshot, &mut plan, wish, dry_run)))
        .await?;
    plan.restarts = forecast::restarts(&plan, &snapshot, &forecast, wish.request.restart);
    if let Some(saved) = &wish.saved {
        check_saved(session, saved, &plan)?;
    }
    let differences = forecast::differences(&plan, &snapshot, &forecast);
    Ok(Look { snapshot, plan, forecast, differences, findings })
}

async fn read(session: &Session, wish: &mut Wish) -> Result<RollbackSnapshot, Failure> {
    wish.release = Some(choose::release(session, wish.release()).await?);
    session.unless_interrupted(Box::pin(find(session, wish))).await
}

async fn find(session: &Session, wish: &Wish) -> Result<RollbackSnapshot, Failure> {
    let context = &session.context;
    phase(context, Phase::Discover, "reading the cluster", async {
        let name = wish.release().unwrap_or_default();
        let answer = Box::pin(rollback::read(context, name, &wish.wanted, session.driver)).await;
        let (status, message) = match &answer {
            Ok(snapshot) => (
                StageStatus::Done,
                format!("release {}, {}", snapshot.name, counted(snapshot.objects.len(), "object")),
            ),
            Err(RollbackError::NothingToDo { .. }) => (StageStatus::Done, "nothing to do".to_owned()),
            Err(RollbackError::NothingGood { .. }) if wish.gives_way => {
                (StageStatus::Skipped, "no revision to go back to".to_owned())
            }
            Err(error) => (StageStatus::Failed, error.to_string()),
        };
        (answer, status, message)
    })
    .await
    .map_err(|error| failure(session, wish, error))
}

fn failure(session: &Session, wish: &Wish, error: RollbackError) -> Failure {
    let name = match &error {
        RollbackError::NothingToDo { name, .. }
        | RollbackError::NoSuchRevision { name, .. }
        | RollbackError::NothingGood { name, .. }
        | RollbackError::NotGood { name, .. } => name.clone(),
        RollbackError::Discover(_) | RollbackError::Records(_) => {
            wish.release().unwrap_or_default().to_owned()
        }
    };
    let namespace = &session.context.namespace;
    let history = format!("kubectl rollback history {name} -n {namespace}");
    match error {
        RollbackError::Discover(error) => error.into(),
        RollbackError::Records(error) => error.into(),
        // Not a failure: what was asked for is the case already.
        error @ RollbackError::NothingToDo { .. } => {
            Failure::new(ExitCode::Success, Outcome::Unchanged, error).hinted(history)
        }
        error @ RollbackError::NoSuchRevision { .. } => {
            Failure::new(ExitCode::Usage, Outcome::Refused, error).hinted(history)
        }
        error @ RollbackError::NothingGood { .. } => {
            let failure = Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error).hinted(history);
            match &wish.wanted.tag {
                Some(tag) => {
                    failure.hinted(format!("kubectl rollback emergency {name} -n {namespace} --tag {tag}"))
                }
                None => failure,
            }
        }
        error @ RollbackError::NotGood { .. } => {
            Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error)
                .hinted("go there all the same with --allow-failed-revision")
        }
    }
}

async fn ask_the_server(
    session: &Session,
    snapshot: &RollbackSnapshot,
    plan: &mut RollbackPlan,
    wish: &Wish,
    dry_run: DryRun,
) -> Result<(Forecast, Vec<Finding>), Failure> {
    let context = &session.context;
    phase(context, Phase::Preflight, "asking the API server", async {
        // What is stopped for the database's sake is known only afterwards, and changes nothing that is asked here.
        let before = plan.clone();
        let checks = async {
            if dry_run == DryRun::Client {
                return (Forecast::default(), before.findings.clone());
            }
            Box::pin(preflight::rollback::run(context, snapshot, &before, wish.extent, wish.in_progress))
                .await
        };
        let schema = Box::pin(database::check_rollback(session, plan, snapshot, wish.database));
        let ((forecast, mut findings), schema) = futures::join!(checks, schema);
        match schema {
            Ok(schema) => findings.extend(schema),
            Err(failure) => {
                return (Err(failure), StageStatus::Failed, "the database is not known".to_owned());
            }
        }
        for finding in &findings {
            context.emit(EventKind::Preflight(finding.clone()));
        }
        let failed = findings.iter().filter(|finding| finding.status == FindingStatus::Fail).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = format!("{}, {failed} failed", counted(findings.len(), "check"));
        (Ok((forecast, findings)), status, message)
    })
    .await
}

fn check_saved(session: &Session, saved: &SavedPlan, plan: &RollbackPlan) -> Result<(), Failure> {
    let context = &session.context;
    let mut moves = Vec::new();
    if saved.context != context.context_name || saved.plan.namespace != context.namespace {
        moves.push(format!(
            "it was made for {} in {}, this is {} in {}",
            saved.plan.namespace, saved.context, context.namespace, context.context_name
        ));
    }
    moves.extend(saved::moved(&saved.plan, plan));
    if moves.is_empty() {
        return Ok(());
    }
    let error = anyhow!(
        "the cluster has moved since the plan was made, and nothing was changed:\n  {}",
        moves.join("\n  ")
    );
    Err(Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error).hinted(format!(
        "kubectl rollback plan {} {} -n {} --save FILE",
        plan.release, plan.target_revision, plan.namespace
    )))
}
