//! Whether the database is at the newest migration of the image that runs: what the configuration names as database is asked
//! in a ready pod.

use tokio::time::{Instant, sleep};

use super::exec::pods_now;
use super::{Answer, DEFAULT_PAUSE, DEFAULT_TRIES, Request, ended, report, unless_ended, with_tries};
use crate::config::DatabaseConfig;
use crate::context::Context;
use crate::database::Wanted;
use crate::discover::Workload;
use crate::event::Verification;
use crate::execute::database::{Place, read_in_pod};
use crate::plan::database::own_fit;

/// Asks until it fits, a few times: an application may migrate while it starts. Nothing where the workload is none of those
/// that are checked.
pub async fn check(
    context: &Context,
    request: &Request<'_>,
    settings: &DatabaseConfig,
) -> Option<Verification> {
    let wanted = &settings.workload.0;
    let workload = request.workloads.iter().find(|workload| wanted.selects(&workload.reference))?;
    let begin = Instant::now();
    let subject = format!("{} of {}", settings.adapter.as_str(), workload.reference);
    let mut tries = 0;
    let answer = loop {
        tries += 1;
        let Some(answer) = unless_ended(context, once(context, settings, workload)).await else {
            break ended(tries);
        };
        if answer.is_good() || tries >= DEFAULT_TRIES {
            break with_tries(answer, tries);
        }
        if unless_ended(context, sleep(DEFAULT_PAUSE)).await.is_none() {
            break with_tries(answer, tries);
        }
    };
    Some(report(context, "database", subject, answer, begin))
}

async fn once(context: &Context, settings: &DatabaseConfig, workload: &Workload) -> Answer {
    let workload = Workload { pods: pods_now(context, workload).await, ..workload.clone() };
    let place = match Place::of(settings, &workload) {
        Ok(place) => place,
        Err(trouble) => return Answer::fail(trouble.to_string()),
    };
    match read_in_pod(context, settings, &place, Wanted::Database).await {
        None => Answer::unknown("there is no ready pod to ask in")
            .hinted(format!("kubectl rollback db verify -n {}", workload.reference.namespace)),
        Some(Err(trouble)) => Answer::fail(trouble.to_string()),
        Some(Ok(heard)) => match own_fit(settings.adapter, &heard.reading) {
            Ok(at) => Answer::pass(format!("at {at}, the newest migration of {}", place.image)),
            Err(why) => Answer::fail(format!("{why} ({})", place.image)),
        },
    }
}
