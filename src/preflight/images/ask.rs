//! Asks the registries, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::wanted::{PullPolicy, Wanted};
use crate::context::Context;
use crate::registry::docker_config::DockerConfig;
use crate::registry::location::DOCKER_HUB;
use crate::registry::pull_secrets::{self, Pullers};
use crate::registry::{Keyring, Location, ManifestInfo, Problem, Registry};

/// What a registry said of one image; `None` where it need not be asked.
pub type Answer = Option<Result<ManifestInfo, Problem>>;

/// Asks for every image that a node may have to pull; the answers are in the order of `wanted`.
pub async fn registries(context: &Context, wanted: &[Wanted], deadline: Instant) -> Vec<Answer> {
    let pulled = || wanted.iter().filter(|wanted| wanted.policy != PullPolicy::Never);
    // What cannot be read in time is gone on without.
    let keyrings = timeout_at(deadline, keyrings(context, pulled())).await.unwrap_or_default();
    let registry = Registry::new(&context.registries);
    let nobody = Keyring::default();
    join_all(wanted.iter().map(|wanted| {
        let (registry, nobody, keyrings) = (&registry, &nobody, &keyrings);
        async move {
            if wanted.policy == PullPolicy::Never {
                return None;
            }
            let location = Location::of(&wanted.image.repository);
            let version = wanted.image.digest.as_deref().unwrap_or(wanted.image.version());
            let keyring = keyrings.get(&wanted.pullers.namespace).unwrap_or(nobody);
            // Docker Hub counts the second request as a pull.
            let platforms = location.host != DOCKER_HUB;
            let question = registry.manifest(&location, version, keyring, platforms);
            Some(match timeout_at(deadline, question).await {
                Ok(answer) => answer,
                Err(_) => Err(Problem::Unreachable {
                    host: location.host.clone(),
                    why: "no answer in time".to_owned(),
                }),
            })
        }
    }))
    .await
}

/// A keyring for each namespace.
async fn keyrings<'a>(
    context: &Context,
    wanted: impl Iterator<Item = &'a Wanted>,
) -> BTreeMap<String, Keyring> {
    let mut pullers: BTreeMap<String, Pullers> = BTreeMap::new();
    for wanted in wanted {
        let all = pullers.entry(wanted.pullers.namespace.clone()).or_insert_with(|| wanted.pullers.clone());
        all.secrets.extend(wanted.pullers.secrets.iter().cloned());
        all.accounts.extend(wanted.pullers.accounts.iter().cloned());
    }
    let local = match &context.registries.docker_config {
        Some(folder) if !pullers.is_empty() => DockerConfig::read(folder).await.map(Arc::new),
        _ => None,
    };
    let read = pullers.into_iter().map(|(namespace, pullers)| {
        let keyring = Keyring::with_local(local.clone());
        async move {
            let texts = pull_secrets::read(&context.client, &pullers).await;
            (namespace, pull_secrets::keyring(keyring, &texts))
        }
    });
    join_all(read).await.into_iter().collect()
}
