//! What `emergency` and `plan` have in common: from arguments, or a saved plan, to a plan that the server has been asked
//! about.

use anyhow::anyhow;

use super::database::{self, DatabaseWish};
use super::decide::decide;
use super::facts::Facts;
use super::forbidden::{name_rights, name_rights_to_records};
use super::{Failure, Session, choose};
use crate::cli::{OutputFormat, StrategyChoice, SwapArgs};
use crate::discover::{self, DiscoverError, Scope, Snapshot};
use crate::event::{EventKind, Finding, FindingStatus, Phase, StageStatus};
use crate::execute::phase;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::Plan;
use crate::plan::emergency::saved::{self, Order, SavedEmergency};
use crate::plan::emergency::{Request, Target};
use crate::plan::strategy::Wish;
use crate::preflight::{self, rules::Extent};
use crate::ui;
use crate::words::counted;

/// What was asked for: on the command line, or by a saved plan.
pub struct Assignment {
    order: Order,
    saved: Option<SavedEmergency>,
    /// What will be done beside the plan.
    pub extent: Extent,
    /// What it means that somebody else is at work on the release.
    pub in_progress: FindingStatus,
    /// What is to become of the database.
    pub database: DatabaseWish,
}

impl Assignment {
    /// Reads the arguments.
    pub fn of(
        session: &Session,
        subjects: &[String],
        tag: Option<&str>,
        arguments: &SwapArgs,
    ) -> Result<Self, Failure> {
        let scope = Scope::read(subjects, arguments.selector.as_deref()).map_err(Failure::usage)?;
        let target = match (tag, &arguments.digest, arguments.to_revision) {
            (Some(tag), _, _) => Target::Tag(tag.to_owned()),
            (_, Some(digest), _) => Target::Digest(digest.clone()),
            (_, _, Some(revision)) => Target::Revision(revision),
            _ if arguments.image.is_empty() => {
                let missing = "what to go back to is missing: give --tag, --digest, --to-revision or --image";
                return Err(Failure::usage(missing));
            }
            _ => Target::ImagesOnly,
        };
        let request = Request {
            target,
            images: arguments.image.clone(),
            take: arguments.container.clone(),
            keep: arguments.exclude.clone(),
            replicas: arguments.replicas.clone(),
            wish: match arguments.strategy {
                StrategyChoice::Auto => Wish::Auto,
                StrategyChoice::Rolling => Wish::Rolling,
                StrategyChoice::StopFirst => Wish::StopFirst,
            },
            named_workloads: matches!(scope, Scope::Workloads(_)),
        };
        let namespace = session.context.namespace.clone();
        let order = Order { namespace, scope, skip_reconcile: arguments.skip_reconcile, request };
        Ok(Self::ordered(session, order, None))
    }

    /// What a saved plan asks for; `--skip-reconcile` may be added to it.
    pub fn of_saved(session: &Session, saved: SavedEmergency, skip_reconcile: bool) -> Self {
        let mut order = saved.request.clone();
        order.skip_reconcile |= skip_reconcile;
        Self::ordered(session, order, Some(saved))
    }

    fn ordered(session: &Session, order: Order, saved: Option<SavedEmergency>) -> Self {
        let records = (!order.skip_reconcile).then_some(session.driver);
        let extent = Extent { records, ..Extent::default() };
        // Whether somebody else is at work is decided by the lock.
        Self { order, saved, extent, in_progress: FindingStatus::Warn, database: DatabaseWish::NotAsked }
    }

    /// The release's name, where it was given.
    pub fn release(&self) -> Option<&str> {
        self.order.scope.release()
    }

    /// The target in words.
    pub fn target(&self) -> String {
        self.order.request.target.to_string()
    }
}

/// A plan with everything that is known about it.
pub struct Survey {
    /// What was asked for, with everything that was answered since.
    pub order: Order,
    /// What was found.
    pub snapshot: Snapshot,
    /// What will be done.
    pub plan: Plan,
    /// Results of the checks.
    pub findings: Vec<Finding>,
}

impl Survey {
    /// Whether a check says that it cannot work.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.status == FindingStatus::Fail)
    }

    /// What results are made from.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            plan: &self.plan,
            snapshot: &self.snapshot,
            findings: &self.findings,
            skip_reconcile: self.order.skip_reconcile,
        }
    }

    /// The screen of the plan.
    pub fn screen(&self, session: &Session) -> String {
        let (context, namespace) = (&session.context.context_name, &session.context.namespace);
        ui::plan_screen(session.printer(), &self.plan, context, namespace, &self.findings, session.is_wide())
    }

    /// Prints the plan on stderr, unless a machine reads along.
    pub fn show(&self, session: &Session) {
        if session.output.output != OutputFormat::Jsonl {
            session.printer().talk(&self.screen(session));
        }
    }
}

/// Reads the cluster; missing rights are a failed check.
pub async fn find(session: &Session, assignment: &Assignment) -> Result<Snapshot, Failure> {
    let found = choose::with_release(session, &assignment.order.scope, async |scope| {
        let discovery = discover::run(&session.context, scope, session.driver);
        session.unless_interrupted(Box::pin(read(session, discovery))).await
    });
    let snapshot = match found.await {
        Ok(snapshot) => snapshot,
        Err(failure) => return Err(Box::pin(name_rights(session, failure, assignment.extent)).await),
    };
    for warning in &snapshot.warnings {
        session.context.warn(warning.clone());
    }
    Ok(snapshot)
}

/// Plans, and asks the API server unless only a plan is wanted. A saved plan must still hold.
pub async fn weigh(
    session: &Session,
    assignment: Assignment,
    snapshot: Snapshot,
    asks_the_server: bool,
) -> Result<Survey, Failure> {
    let Assignment { mut order, saved, mut extent, in_progress, database } = assignment;
    extent.database = session.knows_a_database().await?;
    if let (Scope::Release(name @ None), Some(found)) = (&mut order.scope, &snapshot.release_name) {
        *name = Some(found.clone());
    }
    let mut plan = match &saved {
        None => planned(session, &mut order.request, &snapshot, extent).await?,
        Some(saved) => again(session, saved, &order.request, &snapshot).await?,
    };
    let scope = preflight::Scope { server: asks_the_server, extent, in_progress };
    let findings = session
        .unless_interrupted(Box::pin(ask_the_server(session, &snapshot, &mut plan, scope, database)))
        .await?;
    Ok(Survey { order, snapshot, plan, findings })
}

/// Plans; where Helm's records may not be read, that is said in place of questions that they would have answered.
async fn planned(
    session: &Session,
    request: &mut Request,
    snapshot: &Snapshot,
    extent: Extent,
) -> Result<Plan, Failure> {
    match session.unless_interrupted(decide(session, request, snapshot)).await {
        Err(failure) if failure.outcome == Outcome::Refused => {
            Err(Box::pin(name_rights_to_records(session, failure, snapshot, extent)).await)
        }
        answer => answer,
    }
}

/// The saved plan on what was found now, if it still holds.
async fn again(
    session: &Session,
    saved: &SavedEmergency,
    request: &Request,
    snapshot: &Snapshot,
) -> Result<Plan, Failure> {
    let context = &session.context;
    let answer = phase(context, Phase::Plan, "seeing whether the plan still holds", async {
        let answer = if saved.context == context.context_name && saved.request.namespace == context.namespace
        {
            saved::again(&saved.plan, request, snapshot)
        } else {
            Err(vec![format!(
                "it was made for {} in {}, this is {} in {}",
                saved.request.namespace, saved.context, context.namespace, context.context_name
            )])
        };
        let (status, message) = match &answer {
            Ok(plan) => {
                (StageStatus::Done, format!("{} to write", counted(plan.workloads.len(), "workload")))
            }
            Err(_) => (StageStatus::Failed, "the cluster has moved since it was made".to_owned()),
        };
        (answer, status, message)
    })
    .await;
    answer.map_err(|moves| {
        let error = anyhow!(
            "the cluster has moved since the plan was made, and nothing was changed:\n  {}",
            moves.join("\n  ")
        );
        Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error)
            .hinted(format!("kubectl rollback plan {} --save FILE", saved.request.arguments()))
    })
}

/// Reads the cluster, as the phase of that name.
pub(super) async fn read(
    session: &Session,
    discovery: impl Future<Output = Result<Snapshot, DiscoverError>>,
) -> Result<Snapshot, Failure> {
    phase(&session.context, Phase::Discover, "reading the cluster", async {
        let answer = discovery.await;
        let (status, message) = match &answer {
            Ok(snapshot) => {
                let name = snapshot
                    .release_name
                    .as_ref()
                    .map(|name| format!("release {name}, "))
                    .unwrap_or_default();
                (StageStatus::Done, format!("{name}{}", counted(snapshot.workloads.len(), "workload")))
            }
            Err(error) => (StageStatus::Failed, error.to_string()),
        };
        (answer, status, message)
    })
    .await
    .map_err(Failure::from)
}

async fn ask_the_server(
    session: &Session,
    snapshot: &Snapshot,
    plan: &mut Plan,
    scope: preflight::Scope,
    database: DatabaseWish,
) -> Result<Vec<Finding>, Failure> {
    let context = &session.context;
    phase(context, Phase::Preflight, "asking the API server", async {
        // What is stopped for the database's sake is known only afterwards, and changes nothing that is asked here.
        let before = plan.clone();
        let asked = Box::pin(preflight::run(context, snapshot, &before, scope));
        let (mut findings, schema) =
            futures::join!(asked, Box::pin(database::check(session, plan, snapshot, database)));
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
        (Ok(findings), status, message)
    })
    .await
}
