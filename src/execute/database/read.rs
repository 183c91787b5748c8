//! Asks a program of migrations: in a pod that runs, else in a Job of its own. Both only read the database.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use super::{Trouble, jobs};
use crate::config::DatabaseConfig;
use crate::context::{Context, exec};
use crate::database::{self, Question, Reading, Said, Wanted, job};
use crate::discover::Workload;
use crate::execute::answers::words;
use crate::workload::WorkloadRef;

/// How long a Job that only read stays where it could not be deleted.
const STAYS: Duration = Duration::from_secs(300);

/// Where a program is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The workload whose pod template is taken.
    pub workload: WorkloadRef,
    /// Its UID.
    pub uid: String,
    /// The pod template.
    pub template: Value,
    /// The container of it.
    pub container: String,
    /// The image that is run.
    pub image: String,
    /// A ready pod that runs this image.
    pub pod: Option<String>,
}

impl Place {
    /// The image that a workload runs now.
    pub fn of(settings: &DatabaseConfig, workload: &Workload) -> Result<Self, Trouble> {
        let wanted = settings.container.as_deref();
        let container = workload
            .containers
            .iter()
            .find(|container| !container.init && wanted.is_none_or(|wanted| container.name == wanted));
        let Some(container) = container else {
            let container = wanted.unwrap_or_default().to_owned();
            return Err(Trouble::NoContainer { workload: workload.reference.clone(), container });
        };
        let runs_it = |pod: &&crate::discover::workload::PodSummary| {
            pod.ready && pod.images.get(&container.name) == Some(&container.image)
        };
        Ok(Self {
            workload: workload.reference.clone(),
            uid: workload.uid.clone(),
            template: workload.template().clone(),
            container: container.name.clone(),
            image: container.image.clone(),
            pod: workload.pods.iter().find(runs_it).map(|pod| pod.name.clone()),
        })
    }

    /// The same with another image, which no pod runs.
    #[must_use]
    pub fn in_image(&self, image: &str) -> Self {
        Self { image: image.to_owned(), pod: None, ..self.clone() }
    }

    /// The same after its pods were stopped.
    #[must_use]
    pub fn without_pods(&self) -> Self {
        Self { pod: None, ..self.clone() }
    }
}

/// What was heard, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it means.
    pub reading: Reading,
    /// `pod web-7c9` or `Job kubectl-rollback-7f3a-read-1`.
    pub source: String,
}

/// Asks what is wanted. `name` tells Jobs of one operation apart.
pub async fn read(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    wanted: Wanted,
    name: &str,
) -> Result<Heard, Trouble> {
    let questions = database::questions(settings, wanted);
    let (said, source) = ask(context, settings, place, &questions, name).await?;
    understood(settings, place, wanted, &said, source)
}

/// Asks what is wanted in a pod that runs, and nowhere else; `None` where there is none to ask in.
pub async fn read_in_pod(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    wanted: Wanted,
) -> Option<Result<Heard, Trouble>> {
    let pod = place.pod.as_ref()?;
    let questions = database::questions(settings, wanted);
    let said = in_pod(context, settings, place, pod, &questions).await?;
    Some(understood(settings, place, wanted, &said, format!("pod {pod}")))
}

fn understood(
    settings: &DatabaseConfig,
    place: &Place,
    wanted: Wanted,
    said: &[Said],
    source: String,
) -> Result<Heard, Trouble> {
    let program = settings.adapter.as_str();
    match database::read(settings, wanted, said) {
        Ok(reading) => Ok(Heard { reading, source }),
        Err(error) => Err(Trouble::Program { program, image: place.image.clone(), error }),
    }
}

/// Asks questions, each answered by a command.
pub async fn ask(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    questions: &[(Question, Vec<String>)],
    name: &str,
) -> Result<(Vec<Said>, String), Trouble> {
    if let Some(pod) = &place.pod
        && let Some(said) = in_pod(context, settings, place, pod, questions).await
    {
        return Ok((said, format!("pod {pod}")));
    }
    in_job(context, settings, place, questions, name).await
}

/// In a pod that runs; `None` where nothing can be run there, for whatever reason: a Job may do.
async fn in_pod(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    pod: &str,
    questions: &[(Question, Vec<String>)],
) -> Option<Vec<Said>> {
    let answers = questions.iter().map(|(question, words)| async move {
        let command = match &settings.directory {
            Some(directory) => {
                let start = ["sh", "-c", "cd \"$0\" && exec \"$@\"", directory];
                start.iter().map(ToString::to_string).chain(words.iter().cloned()).collect()
            }
            None => words.clone(),
        };
        let namespace = &place.workload.namespace;
        let run = exec::run(&context.client, namespace, pod, Some(&place.container), &command);
        let heard = timeout(settings.read_timeout, run).await.ok()?.ok()?;
        let code = exec::exit_code(heard.status.as_ref()?)?;
        Some(Said { question: *question, code, stdout: heard.stdout, stderr: heard.stderr })
    });
    join_all(answers).await.into_iter().collect()
}

async fn in_job(
    context: &Context,
    settings: &DatabaseConfig,
    place: &Place,
    questions: &[(Question, Vec<String>)],
    name: &str,
) -> Result<(Vec<Said>, String), Trouble> {
    let script = job::questions(questions);
    let limit = settings.read_timeout;
    let task = jobs::Task { name, purpose: "read", script: &script, limit, stays: STAYS };
    let run = jobs::make(context, settings, place, &task).await?;
    // The Job has the same limit of its own; what it says about that is better than what we would.
    let end =
        jobs::wait(context, &run, limit + Duration::from_secs(5), Some(context.interrupt.cancelled())).await;
    let problem = jobs::problem(end);
    let text = match &problem {
        None => jobs::text(context, &run).await.map_err(|error| words(&error)),
        Some(why) => Err(why.clone()),
    };
    jobs::delete(&run).await;
    let text = text.map_err(|why| Trouble::Job { name: run.name.clone(), why })?;
    Ok((job::answers(&text, questions), format!("Job {}", run.name)))
}
