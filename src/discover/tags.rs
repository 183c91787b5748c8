//! The tags of repositories, asked of their registries with the credentials with which the workloads pull.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Snapshot;
use crate::context::Context;
use crate::plan::tags::{Asked, Repository};
use crate::registry::docker_config::DockerConfig;
use crate::registry::pull_secrets::{self, Pullers};
use crate::registry::{Keyring, Location, Registry};

/// Time for all registries together.
const TIME_BOX: Duration = Duration::from_secs(30);

/// Asks for every repository at once, for `most` tags each.
pub async fn ask(
    context: &Context,
    snapshot: &Snapshot,
    repositories: Vec<Repository>,
    most: usize,
) -> Vec<Asked> {
    let deadline = Instant::now() + TIME_BOX;
    let keyring = timeout_at(deadline, keyring(context, snapshot)).await.unwrap_or_default();
    let registry = Registry::new(&context.registries);
    join_all(repositories.into_iter().map(|repository| {
        let (registry, keyring) = (&registry, &keyring);
        async move {
            let location = Location::of(&repository.name);
            match timeout_at(deadline, registry.tags(&location, keyring, most)).await {
                Ok(Ok(list)) => Asked { repository, tags: Ok(list.tags), more: list.more },
                Ok(Err(problem)) => Asked { repository, tags: Err(problem.to_string()), more: false },
                Err(_) => {
                    let why = format!("{} did not answer within {} s", location.host, TIME_BOX.as_secs());
                    Asked { repository, tags: Err(why), more: false }
                }
            }
        }
    }))
    .await
}

async fn keyring(context: &Context, snapshot: &Snapshot) -> Keyring {
    let mut pullers = Pullers { namespace: context.namespace.clone(), ..Pullers::default() };
    for workload in &snapshot.workloads {
        pullers.add(&workload.template()["spec"]);
    }
    let local = match &context.registries.docker_config {
        Some(folder) => DockerConfig::read(folder).await.map(Arc::new),
        None => None,
    };
    let texts = pull_secrets::read(&context.client, &pullers).await;
    pull_secrets::keyring(Keyring::with_local(local), &texts)
}
