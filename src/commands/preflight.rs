//! `preflight`: the checks of a rollback or an emergency alone, and the role that it needs.

use serde_json::json;

use super::look::{Wish, look};
use super::rolled_back::Report;
use super::survey::{self, Assignment, Survey};
use super::{Conclusion, Failure, Session};
use crate::cli::{ChoiceArgs, DryRun, OutputFormat, PreflightArgs, TargetArgs};
use crate::event::{Finding, FindingStatus};
use crate::outcome::{ExitCode, Outcome};
use crate::preflight;
use crate::preflight::role::{self, Holder};
use crate::preflight::rules::{self, Extent, Rule};
use crate::ui::{self, PreflightHeader};

/// Runs the command.
pub async fn run(session: &Session, arguments: &PreflightArgs) -> Result<Conclusion, Failure> {
    if arguments.is_emergency() {
        of_emergency(session, arguments).await
    } else {
        of_rollback(session, arguments).await
    }
}

async fn of_emergency(session: &Session, arguments: &PreflightArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let tag = arguments.tag.as_deref();
    let mut assignment = Assignment::of(session, &arguments.subjects, tag, &arguments.swap)?;
    assignment.extent.no_wait = arguments.no_wait;
    assignment.in_progress = FindingStatus::Fail;
    assignment.extent.database = session.knows_a_database().await?;
    let extent = assignment.extent;
    session.start(assignment.release(), &assignment.target());
    let snapshot = Box::pin(survey::find(session, &assignment)).await?;
    let survey = Box::pin(survey::weigh(session, assignment, snapshot, !arguments.print_role)).await?;
    let Survey { plan, snapshot, findings, .. } = &survey;
    if arguments.print_role {
        let rules = preflight::rules_of(plan, snapshot, &context.namespace, extent);
        let name = plan.release.as_ref().map_or("workloads", |release| release.name.as_str());
        return print_role(session, arguments, name, &rules);
    }
    let subject = plan.release.as_ref().map_or("workloads", |release| release.name.as_str());
    let command = format!("emergency {}", words(arguments));
    Ok(conclude(session, survey.facts().planned(session), (subject, &plan.target, &command), findings))
}

async fn of_rollback(session: &Session, arguments: &PreflightArgs) -> Result<Conclusion, Failure> {
    let target = target_arguments(arguments)?;
    let mut wish = Wish::of(session, &target, None);
    wish.extent = Extent { no_wait: arguments.no_wait, ..wish.extent };
    wish.in_progress = FindingStatus::Fail;
    session.start(wish.release(), &wish.target());
    let dry_run = if arguments.print_role { DryRun::Client } else { DryRun::Server };
    let look = Box::pin(look(session, &mut wish, dry_run)).await?;
    if arguments.print_role {
        let rules = rules::of_rollback(&look.plan, &look.snapshot, wish.extent);
        return print_role(session, arguments, &look.plan.release, &rules);
    }
    let target = format!("revision {}", look.plan.target_revision);
    let command = format!("to {} {}", look.plan.release, look.plan.target_revision);
    let conclusion = Report { look: &look }.planned(session);
    Ok(conclude(session, conclusion, (&look.plan.release, &target, &command), &look.findings))
}

fn target_arguments(arguments: &PreflightArgs) -> Result<TargetArgs, Failure> {
    let (release, revision) = match arguments.subjects.as_slice() {
        [] => (None, None),
        [release] => (Some(release.clone()), None),
        [release, revision] => {
            let number = revision.parse::<u64>().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| {
                Failure::usage(format!(
                    "{revision:?} is no revision of a release; workloads need --tag, --digest or --image"
                ))
            })?;
            (Some(release.clone()), Some(number))
        }
        _ => {
            return Err(Failure::usage(
                "one release and one revision at most; workloads need --tag, --digest or --image",
            ));
        }
    };
    Ok(TargetArgs {
        release,
        revision,
        choice: ChoiceArgs {
            allow_failed_revision: arguments.allow_failed_revision,
            no_hooks: arguments.no_hooks,
            ..ChoiceArgs::default()
        },
    })
}

/// The arguments that the emergency itself would be started with.
fn words(arguments: &PreflightArgs) -> String {
    let mut words = arguments.subjects.clone();
    let mut flag =
        |name: &str, value: Option<String>| words.extend(value.map(|value| format!("--{name} {value}")));
    let swap = &arguments.swap;
    flag("selector", swap.selector.clone());
    flag("tag", arguments.tag.clone());
    flag("digest", swap.digest.clone());
    flag("to-revision", swap.to_revision.map(|revision| revision.to_string()));
    for image in &swap.image {
        flag("image", Some(format!("{}={}", image.repository, image.image)));
    }
    words.join(" ")
}

/// The result: the findings as a table, exit code 0 or 3.
fn conclude(
    session: &Session,
    mut conclusion: Conclusion,
    (subject, target, command): (&str, &str, &str),
    findings: &[Finding],
) -> Conclusion {
    let context = &session.context;
    let namespace = &context.namespace;
    let header = PreflightHeader { subject, context: &context.context_name, namespace, target };
    conclusion.text = ui::preflight_table(session.printer(), &header, findings);
    let failed: Vec<&Finding> =
        findings.iter().filter(|finding| finding.status == FindingStatus::Fail).collect();
    let document = &mut conclusion.document;
    document.preflight = findings.to_vec();
    if failed.is_empty() {
        (document.outcome, document.exit_code) = (Outcome::Succeeded, ExitCode::Success.code());
        document.next = vec![format!("kubectl rollback {command} -n {namespace}")];
    } else {
        (document.outcome, document.exit_code) = (Outcome::Refused, ExitCode::PreflightFailed.code());
        let named: Vec<String> =
            failed.iter().map(|finding| format!("{}: {}", finding.subject, finding.message)).collect();
        document.error = Some(format!("it would be refused: {}", named.join("; ")));
        document.next = Vec::new();
    }
    conclusion
}

fn print_role(
    session: &Session,
    arguments: &PreflightArgs,
    name: &str,
    rules: &[Rule],
) -> Result<Conclusion, Failure> {
    let namespace = &session.context.namespace;
    let account = &arguments.service_account;
    let (of, account) = account.split_once('/').unwrap_or((namespace, account));
    let holder = Holder { namespace: of.to_owned(), name: account.to_owned() };
    let objects = role::objects(rules, &format!("kubectl-rollback-{name}"), namespace, &holder);
    let mut document = session.document();
    document.outcome = Outcome::Succeeded;
    let mut texts = Vec::new();
    for object in &objects {
        texts.push(serde_saphyr::to_string(object).map_err(anyhow::Error::from)?);
    }
    let text = format!("{}{}", texts.join("---\n"), role::comments(rules));
    let is_yaml = session.output.output == OutputFormat::Yaml;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    Ok(Conclusion {
        document,
        text: text.trim_end().to_owned(),
        name: format!("kubectl-rollback-{name}"),
        own: Some(list).filter(|_| is_yaml || session.is_machine_readable()),
    })
}
