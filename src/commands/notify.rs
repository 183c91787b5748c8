//! `notify`: the messages of an incident, from facts; posted only where `--send` says so.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Conclusion, Failure, Session, choose};
use crate::cli::{GoDuration, NotifyArgs};
use crate::config::{Config, MessageKind};
use crate::discover::Release;
use crate::discover::release::{self, Depth, Records};
use crate::execute::operation::store;
use crate::journal::Head;
use crate::notify::facts::{Told, told, told_by_journal};
use crate::notify::format::printed;
use crate::notify::webhook::{self, Delivery, Patience};
use crate::notify::{self, Facts, IncidentStatus, Message};
use crate::outcome::{ExitCode, Outcome};
use crate::report::incident::{self, Report};

/// Runs the command.
pub async fn run(session: &Session, arguments: &NotifyArgs) -> Result<Conclusion, Failure> {
    let config = &session.config().await?.config;
    let name = choose::release(session, arguments.release.as_deref()).await?;
    session.start(Some(&name), arguments.kind.as_str());
    let found = session.unless_interrupted(records(session, &name)).await?;
    let journal = session.unless_interrupted(last_operation(session, &name, found.as_ref())).await?;
    let facts = facts(session, arguments, config, name, found.as_ref(), journal.as_ref());
    let message = notify::message(&facts, &config.notify.templates).map_err(anyhow::Error::from)?;
    let text = printed(&message, &facts, arguments.format);
    let deliveries = if arguments.send {
        session.unless_interrupted(send(session, config, &message, &facts)).await?
    } else {
        Vec::new()
    };
    Ok(conclude(session, &facts, &message, text, &deliveries))
}

/// The release's records; nothing where they may not be read, for flags can say what they would.
async fn records(session: &Session, name: &str) -> Result<Option<Release>, Failure> {
    let context = &session.context;
    let found =
        release::read(&context.client, &context.namespace, name, session.driver, Depth::Evidence).await?;
    match found {
        Records::Found(release) | Records::Damaged(_, release) => Ok(Some(*release)),
        Records::Problem(problem) => {
            context.warn(format!("{problem}; only what flags say is known"));
            session.printer().talk(&format!("{problem}; only what flags say is known"));
            Ok(None)
        }
    }
}

/// The report of the release's newest operation, if nothing was deployed since. That it cannot be read fails nothing: Helm's
/// records tell most of it.
async fn last_operation(
    session: &Session,
    name: &str,
    found: Option<&Release>,
) -> Result<Option<Report>, Failure> {
    let context = &session.context;
    let (client, namespace) = (&context.bare, context.namespace.as_str());
    let opened = async {
        let listed = store::list(client, Some(namespace), Some(name)).await?;
        let Some(newest) = listed.first() else { return Ok(None) };
        store::open(client, namespace, &newest.operation).await.map(Some)
    };
    match opened.await {
        Ok(opened) => Ok(opened
            .filter(|opened| is_the_last(&opened.journal.head, found))
            .map(|opened| incident::assemble(&opened.journal, opened.state))),
        Err(error) => {
            context.warn(format!("{error}; what it tells is missing"));
            Ok(None)
        }
    }
}

/// Whether Helm's newest revision is the one that an operation wrote, or the one that it found.
fn is_the_last(head: &Head, found: Option<&Release>) -> bool {
    let Some(newest) = found.and_then(|release| release.metas.first()) else { return true };
    let before = head.statuses.iter().map(|(revision, _)| *revision).max();
    [before, head.new_revision()].contains(&Some(newest.revision))
}

fn facts(
    session: &Session,
    arguments: &NotifyArgs,
    config: &Config,
    release: String,
    found: Option<&Release>,
    journal: Option<&Report>,
) -> Facts {
    let context = &session.context;
    let now = context.now();
    let told = journal.map(told_by_journal).or_else(|| found.and_then(last_rollback)).unwrap_or_default();
    let from = told.from.map(|revision| in_words(found, revision));
    let known = told.began.map(|began| told.ended.unwrap_or(now).duration_since(began));
    let known = known.and_then(|known| std::time::Duration::try_from(known).ok());
    // Fractions of a second are nobody's business, but nothing takes no time.
    let known = known.map(|known| known.as_millis().div_ceil(1000).max(1));
    let known = known.and_then(|seconds| u64::try_from(seconds).ok());
    let known = known.map(|seconds| GoDuration(std::time::Duration::from_secs(seconds)));
    let or = |given: &Option<String>, known: Option<String>| given.clone().or(known);
    let status = arguments.status.unwrap_or(match arguments.kind {
        MessageKind::Complete => IncidentStatus::Monitoring,
        MessageKind::Started | MessageKind::Update => IncidentStatus::Identified,
    });
    Facts {
        kind: arguments.kind,
        time: now,
        environment: format!("{} / {}", context.context_name, context.namespace),
        context: context.context_name.clone(),
        namespace: context.namespace.clone(),
        from: or(&arguments.from, from.or_else(|| current(found))),
        to: or(&arguments.to, told.to),
        reason: or(&session.output.reason, told.reason),
        impact: arguments.impact.clone(),
        eta: arguments.eta.clone(),
        duration: arguments.duration.or(known).map(|duration| duration.to_string()),
        health: or(&arguments.health, told.health),
        next_steps: arguments.next_steps.clone(),
        status,
        incident: or(&session.output.incident, told.incident),
        operation: told.operation,
        contacts: config.contacts.clone(),
        release,
    }
}

/// What the newest record tells, where a rollback wrote it.
fn last_rollback(release: &Release) -> Option<Told> {
    let newest = release
        .records
        .first()
        .filter(|stored| release.metas.first().is_some_and(|meta| meta.revision == stored.meta.revision))?;
    let below = release.metas.get(1).map(|meta| meta.revision);
    told(&newest.meta, &newest.record, below)
}

/// Where no rollback has been yet, the newest revision is what is to be left.
fn current(found: Option<&Release>) -> Option<String> {
    let release = found?;
    if last_rollback(release).is_some() {
        return None;
    }
    release.metas.first().map(|newest| in_words(found, newest.revision))
}

/// A revision with its chart: `revision 7 (todo-app-1.0.2)`.
fn in_words(found: Option<&Release>, revision: u64) -> String {
    let stored =
        found.and_then(|release| release.records.iter().find(|stored| stored.meta.revision == revision));
    match stored.map(|stored| stored.record.chart_label()) {
        Some(chart) if !chart.is_empty() => format!("revision {revision} ({chart})"),
        _ => format!("revision {revision}"),
    }
}

async fn send(
    session: &Session,
    config: &Config,
    message: &Message,
    facts: &Facts,
) -> Result<Vec<Delivery>, Failure> {
    let wants = |events: &[MessageKind]| events.is_empty() || events.contains(&facts.kind);
    let webhooks: Vec<_> = config.notify.webhooks.iter().filter(|webhook| wants(&webhook.events)).collect();
    if webhooks.is_empty() {
        let error = anyhow::anyhow!(
            "no webhook of the configuration takes the message {:?}; nothing was sent",
            facts.kind.as_str()
        );
        return Err(
            Failure::new(ExitCode::Usage, Outcome::Refused, error).hinted("kubectl rollback config view")
        );
    }
    let context = &session.context;
    let posts = webhooks
        .into_iter()
        .map(|webhook| webhook::send(context, webhook, message, facts, Patience::default()));
    Ok(join_all(posts).await)
}

fn conclude(
    session: &Session,
    facts: &Facts,
    message: &Message,
    text: String,
    deliveries: &[Delivery],
) -> Conclusion {
    let mut document = session.document();
    let mut failed = Vec::new();
    for delivery in deliveries {
        match &delivery.error {
            None => session.printer().talk(&format!("sent to {}", delivery.webhook)),
            Some(why) => failed.push(format!("{}: {why}", delivery.webhook)),
        }
    }
    if !failed.is_empty() {
        document.outcome = Outcome::Failed;
        document.exit_code = ExitCode::Unexpected.code();
        let error = format!("not sent to {}", failed.join("; "));
        if !session.is_machine_readable() {
            session.printer().error(&format!("{} {error}", session.printer().bad("error:")));
        }
        document.error = Some(error);
    }
    let own = own(facts, message, deliveries, document.error.as_deref());
    let name = format!("message/{}", facts.kind.as_str());
    Conclusion { document, text, name, own: Some(own) }
}

fn own(facts: &Facts, message: &Message, deliveries: &[Delivery], error: Option<&str>) -> Value {
    json!({
        "apiVersion": crate::report::API_VERSION,
        "kind": "Message",
        "facts": facts,
        "title": message.title,
        "text": notify::format::text(message),
        "sent": deliveries,
        "error": error,
    })
}
