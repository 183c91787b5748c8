//! Which collections cannot be read at the moment, and what people are told about it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::follow::{SILENCE, Trouble};

/// A collection is reported as troubled after this long: short interruptions heal without a word.
const PATIENCE: Duration = Duration::from_secs(5);

struct Outage {
    since: Instant,
    trouble: Trouble,
    is_told: bool,
    is_over: bool,
}

/// The state of every collection, by the name that people know it by.
#[derive(Default)]
pub(super) struct Outages {
    outages: BTreeMap<&'static str, Outage>,
    heard: BTreeMap<&'static str, Instant>,
}

impl Outages {
    /// The collection answers. An outage that was told stays until its end has been told as well.
    pub(super) fn heard_of(&mut self, name: &'static str) {
        self.heard.insert(name, Instant::now());
        match self.outages.get_mut(name) {
            Some(outage) if outage.is_told => outage.is_over = true,
            _ => drop(self.outages.remove(name)),
        }
    }

    pub(super) fn trouble_with(&mut self, name: &'static str, trouble: Trouble) {
        let outage = self.outages.entry(name).or_insert_with(|| Outage {
            since: Instant::now(),
            trouble: trouble.clone(),
            is_told: false,
            is_over: false,
        });
        outage.trouble = trouble;
        outage.is_over = false;
    }

    /// Up to when what is known can be believed. A collection that is silent is listed again, so when nothing was
    /// heard of it for longer, nobody knows what goes on there: conditions may have ended meanwhile.
    pub(super) fn known_until(&self) -> Instant {
        let matters = |name: &str| !matches!(name, "events" | "replicasets");
        let oldest = self.heard.iter().filter(|(name, _)| matters(name)).map(|(_, heard)| *heard).min();
        let now = Instant::now();
        oldest.map_or(now, |heard| now.min(heard + SILENCE + Duration::from_secs(1)))
    }

    /// Sentences about collections that cannot be read, or can be read again, each told once.
    pub(super) fn notices(&mut self) -> Vec<String> {
        let mut notices = Vec::new();
        self.outages.retain(|name, outage| {
            if outage.is_over {
                notices.push(format!("{name} can be read again"));
                return false;
            }
            let is_due = outage.trouble.is_refusal || outage.since.elapsed() >= PATIENCE;
            if is_due && !outage.is_told {
                outage.is_told = true;
                notices.push(format!("{name} cannot be read, trying on: {}", outage.trouble.message));
            }
            true
        });
        notices
    }
}
