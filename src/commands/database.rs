//! What the commands that touch a database have in common: where its program is run, what it says, and what follows for a
//! plan.

use std::collections::BTreeSet;

use super::{Failure, Session};
use crate::config::DatabaseConfig;
use crate::database::Wanted;
use crate::discover::{Snapshot, Workload};
use crate::event::{Finding, FindingStatus};
use crate::execute::database::{Heard, Place, Trouble, read};
use crate::plan::Plan;
use crate::plan::database::{DatabasePlan, Downgrade, Fit, add, fit};
use crate::preflight::schema::{self, Compared};
use crate::workload::WorkloadRef;

/// What is to become of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseWish {
    /// Nothing is asked, since that makes pods.
    NotAsked,
    /// It is said whether it fits.
    Checked,
    /// It goes back where it has to.
    TakenBack,
}

/// The workload in whose environment the program is run.
pub fn workload<'a>(settings: &DatabaseConfig, snapshot: &'a Snapshot) -> Result<&'a Workload, Failure> {
    let wanted = &settings.workload.0;
    let is_it = |workload: &&Workload| {
        workload.reference.kind == wanted.kind && workload.reference.name == wanted.name
    };
    snapshot.workloads.iter().find(is_it).ok_or_else(|| {
        let of = snapshot.release_name.as_ref().map(|name| format!(" of release {name}")).unwrap_or_default();
        let names: Vec<String> =
            snapshot.workloads.iter().map(|workload| workload.reference.to_string()).collect();
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
    let (current, target) = (current?, target?);
    let fit = fit(settings.adapter, &current.reading, &target.reading);
    Ok(BothHeard { current, target, fit })
}

/// The workloads that are stopped while the database goes back: those that the configuration names, else all whose images
/// change, and always the one whose program it is.
pub fn uses(settings: &DatabaseConfig, snapshot: &Snapshot, changed: &[WorkloadRef]) -> Vec<WorkloadRef> {
    let is_named = |reference: &WorkloadRef| {
        let named = |workload: &crate::config::Workload| {
            workload.0.kind == reference.kind && workload.0.name == reference.name
        };
        settings.uses.iter().any(named)
    };
    let all = snapshot.workloads.iter().map(|workload| &workload.reference);
    let used = all.filter(|reference| {
        let is_own = settings.workload.0.kind == reference.kind && settings.workload.0.name == reference.name;
        is_own || if settings.uses.is_empty() { changed.contains(reference) } else { is_named(reference) }
    });
    used.cloned().collect()
}

/// Names of `uses` that are no workloads of the snapshot.
fn unknown_users(settings: &DatabaseConfig, snapshot: &Snapshot) -> Vec<String> {
    let known: BTreeSet<(_, &str)> = snapshot
        .workloads
        .iter()
        .map(|workload| (workload.reference.kind, workload.reference.name.as_str()))
        .collect();
    let unknown = settings.uses.iter().filter(|named| !known.contains(&(named.0.kind, named.0.name.as_str())));
    unknown.map(ToString::to_string).collect()
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

/// Checks whether the database fits the images of a plan, where the configuration names one and the plan changes the image of
/// its workload; takes it back where that is wished. Answers what is to be said about it.
pub async fn check(
    session: &Session,
    plan: &mut Plan,
    snapshot: &Snapshot,
    wish: DatabaseWish,
) -> Result<Vec<Finding>, Failure> {
    let Some(settings) = session.config().await?.config.database.clone() else {
        return match wish {
            DatabaseWish::TakenBack => Err(Failure::usage(
                "--db-downgrade needs to know the database: the configuration has no section database; nothing was changed",
            )
            .hinted("kubectl rollback config validate   # docs/database.md says what belongs there")),
            _ => Ok(Vec::new()),
        };
    };
    let workload = workload(&settings, snapshot)?;
    let place = Place::of(&settings, workload).map_err(|error| Failure::usage(error.to_string()))?;
    let planned = plan.workloads.iter().find(|planned| planned.workload == place.workload);
    let change = planned.and_then(|planned| {
        planned.containers.iter().find(|change| !change.init && change.name == place.container)
    });
    let Some(target_image) = change.map(|change| change.to.to_string()) else { return Ok(Vec::new()) };
    let how = how_to_look(session, snapshot, plan);
    let compared = if wish == DatabaseWish::NotAsked {
        Compared::NotAsked
    } else {
        match Box::pin(compare(session, &settings, &place, &target_image)).await {
            Ok(heard) => Compared::Known { current: heard.current.reading, fit: heard.fit },
            Err(trouble) => Compared::Unreadable(trouble.to_string()),
        }
    };
    let takes_back = wish == DatabaseWish::TakenBack;
    let finding = schema::finding(&place.workload, &target_image, &compared, takes_back, &how);
    let mut findings = vec![finding];
    if let (true, Compared::Known { fit: Fit::Ahead(downgrade), .. }) = (takes_back, &compared) {
        let unknown = unknown_users(&settings, snapshot);
        let about = findings[0].clone();
        let message = "uses the database by the configuration, but is not among these workloads: it is not stopped";
        findings.extend(unknown.into_iter().map(|subject| Finding {
            status: FindingStatus::Warn,
            message: message.to_owned(),
            subject,
            hint: String::new(),
            ..about.clone()
        }));
        let changed: Vec<WorkloadRef> =
            plan.workloads.iter().map(|planned| planned.workload.clone()).collect();
        let uses = uses(&settings, snapshot, &changed);
        let step = step(&settings, &place, Some(&target_image), downgrade.clone(), uses);
        if let Err(why) = add(plan, step, snapshot) {
            findings.push(Finding { status: FindingStatus::Fail, message: why, ..about });
        }
    }
    Ok(findings)
}

/// The command that shows more of it.
fn how_to_look(session: &Session, snapshot: &Snapshot, plan: &Plan) -> String {
    let name = snapshot.release_name.as_deref().unwrap_or_default();
    let tag = plan.tag.as_ref().map(|tag| format!(" --tag {tag}")).unwrap_or_default();
    format!("kubectl rollback db plan {name}{tag} -n {}", session.context.namespace).replace("  ", " ")
}
